package skein

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/webhook"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
)

// A ConfigError says what is wrong with one value of a [Config]. Path is the
// place in the configuration file: "namespaces.room.kind", "api.keys[0].hash".
type ConfigError struct {
	Path    string
	Message string
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Path + ": " + e.Message }

// DefaultConfig is Config{} with every default filled in.
func DefaultConfig() Config { return Config{}.withDefaults() }

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.Listen = or(c.Listen, "127.0.0.1:8000")
	c.Data = or(c.Data, "./data")
	c.Durability = or(c.Durability, "full")
	c.Auth.Timeout = or(c.Auth.Timeout, Duration(15*time.Second))
	c.Heartbeat.Interval = or(c.Heartbeat.Interval, Duration(15*time.Second))
	c.Heartbeat.Misses = or(c.Heartbeat.Misses, 3)
	l := &c.Limits
	l.Message = or(l.Message, 64<<10)
	l.Queue = or(l.Queue, 1<<20)
	l.Subscriptions = or(l.Subscriptions, 256)
	l.FramesPerSecond = or(l.FramesPerSecond, 100)
	l.Handshake = or(l.Handshake, Duration(10*time.Second))
	l.Depth = or(l.Depth, 64)
	l.Body = or(l.Body, 8<<20)
	l.Recent = or(l.Recent, 64<<20)
	l.Document = or(l.Document, 1<<20)
	l.Documents = or(l.Documents, 64<<20)
	l.Ops = or(l.Ops, 1000)
	c.WebSocket.Driver = or(c.WebSocket.Driver, "auto")
	c.SocketIO = c.SocketIO.WithDefaults(c.Namespaces)
	h := &c.Hooks
	h.Timeout = or(h.Timeout, Duration(3*time.Second))
	h.Retries = or(h.Retries, 1)
	h.Concurrency = or(h.Concurrency, 64)
	h.OnFailure = or(h.OnFailure, "refuse")
	h.Failures = or(h.Failures, 5)
	h.Pause = or(h.Pause, Duration(5*time.Second))
	c.Online.Grace = or(c.Online.Grace, Duration(3*time.Second))
	c.Push = c.Push.withDefaults()
	if c.Categories != nil {
		categories := make(map[string]Category, len(c.Categories))
		for name, category := range c.Categories {
			categories[name] = category.WithDefaults()
		}
		c.Categories = categories
	}
	c.Console.Session = or(c.Console.Session, Duration(12*time.Hour))
	if c.Audit.Keep == nil {
		c.Audit.Keep = new(Duration(90 * 24 * time.Hour))
	}
	c.Drain.Timeout = or(c.Drain.Timeout, Duration(25*time.Second))
	c.Drain.Spread = or(c.Drain.Spread, Duration(10*time.Second))
	c.Log.Level = or(c.Log.Level, "info")
	c.Log.Format = or(c.Log.Format, "auto")
	if c.Namespaces != nil {
		spaces := make(map[string]Namespace, len(c.Namespaces))
		for name, ns := range c.Namespaces {
			spaces[name] = ns.WithDefaults()
		}
		c.Namespaces = spaces
	}
	return c
}

// settled is withDefaults for a server: it decides whether there is a store.
func (c Config) settled() Config {
	if !c.KeepsState() {
		c.Data = noData
	}
	return c.withDefaults()
}

// WithDefaults fills in what is left out: an event channel for the server
// alone, without presence.
func (n Namespace) WithDefaults() Namespace {
	n.Kind = or(n.Kind, "event")
	if n.Chat.Kind != "" {
		n.Chat = n.Chat.withDefaults()
		n.Subscribe, n.Publish = or(n.Subscribe, "member"), or(n.Publish, "member")
		if n.Kind == hub.KindLog {
			n.History = or(n.History, "member")
		}
	}
	n.Subscribe = or(n.Subscribe, "server")
	if n.Kind == hub.KindDoc {
		n.Patch = or(n.Patch, "server")
		n.Publish = or(n.Publish, n.Patch) // notices
	}
	n.Publish = or(n.Publish, "server")
	n.Presence = or(n.Presence, "none")
	n.PresenceMax = or(n.PresenceMax, 1000)
	n.PresenceTo = or(n.PresenceTo, n.Subscribe)
	if n.Kind == hub.KindLog {
		n.History = or(n.History, n.Subscribe)
	}
	return n
}

// WithDev relaxes what a developer on the same machine may have relaxed:
// ?user= binds without a token, the API key "dev" works from loopback, anyone
// may stay anonymous, any origin may connect, the demos are on, and, when no
// namespace is configured, "event:*" (event) and "room:*" (log) and "game:*" (doc) are open to
// anyone, "team:*" (groups) and "dm:*" (direct) are conversations, "arena:*" (doc) has rules for a desk and players, and "tick:*" shows what the demos say.
// When no category is configured there are "orders", which always comes, "news" and "promo", which have caps. A server in this mode refuses to listen on an address that is not loopback.
func (c Config) WithDev() Config {
	c.Dev = true
	c.Auth.Anonymous = true
	c.Origins = []string{"*"}
	c.Demos = true
	if len(c.Namespaces) == 0 {
		c.Namespaces = map[string]Namespace{
			"event": {Kind: "event", Subscribe: "anyone", Publish: "anyone", Presence: "members"},
			"room":  {Kind: "log", Subscribe: "anyone", Publish: "anyone", Presence: "members", Keep: Keep{Count: 10_000}},
			"tick":  {Kind: "event", Subscribe: "anyone", Publish: "server"},
			"team":  {Kind: "log", Presence: "members", Keep: Keep{Count: 10_000}, Chat: Chat{Kind: "group"}},
			"game":  {Kind: "doc", Subscribe: "anyone", Patch: "anyone", Presence: "members", Keep: Keep{Count: 10_000}},
			"arena": {Kind: "doc", Subscribe: "anyone", Patch: "anyone", Presence: "members", Keep: Keep{Count: 10_000},
				Rules: []string{"/** read anyone write role:desk", "/players/{user}/** write user"}},
			"dm": {Kind: "log", Presence: "members", Keep: Keep{Count: 10_000}, Chat: Chat{Kind: "direct"}},
		}
	}
	if len(c.Categories) == 0 {
		c.Categories = map[string]Category{
			"orders": {Bypass: true},
			"news":   {Caps: []string{"10 per hour"}},
			"promo":  {Caps: []string{"3 per day", "10 per week"}, TTL: Duration(72 * time.Hour)},
		}
	}
	return c
}

var (
	namespaceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)
	keyHash       = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Validate says what is wrong with the configuration: nil, or a joined error of
// [*ConfigError]s, one for each wrong value.
func (c Config) Validate() error {
	c = c.withDefaults()
	v := &validation{}
	v.listen(c)
	v.tls(c.TLS)
	v.auth(c.Auth)
	v.keys(c.API.Keys)
	v.state(c)
	v.hooks(c)
	_, wrong := accessLimits(c.Rates)
	v.errs = append(v.errs, wrong...)
	v.limits(c)
	v.namespaces(c.Namespaces)
	v.socketIO(c.SocketIO, c.Namespaces)
	v.push(c)
	v.duration("audit.keep", *c.Audit.Keep, 0, 10*maxTTL)
	v.console(c.Console)
	for i, o := range c.Origins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Path != "") {
			v.wrong(fmt.Sprintf("origins[%d]", i), "%q is not an origin; write scheme://host[:port] without a path, or \"*\"", o)
		}
	}
	for i, p := range c.TrustedProxies {
		if _, err := netip.ParsePrefix(p); err != nil {
			v.wrong(fmt.Sprintf("trusted_proxies[%d]", i), "%q is not a network; write it as 10.0.0.0/8", p)
		}
	}
	v.oneOf("websocket.driver", c.WebSocket.Driver, "auto", "epoll", "portable")
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "auto", "text", "json")
	return errors.Join(v.errs...)
}

type validation struct{ errs []error }

func (v *validation) wrong(path, format string, args ...any) {
	v.errs = append(v.errs, &ConfigError{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (v *validation) oneOf(path, got string, allowed ...string) {
	if !slices.Contains(allowed, got) {
		v.wrong(path, "%q is not one of %s", got, strings.Join(allowed, ", "))
	}
}

func (v *validation) between(path string, got, low, high int64) {
	if got < low || got > high {
		v.wrong(path, "%d is not between %d and %d", got, low, high)
	}
}

func (v *validation) duration(path string, got Duration, low, high time.Duration) {
	if got.Std() < low || got.Std() > high {
		v.wrong(path, "%s is not between %s and %s", got, Duration(low), Duration(high))
	}
}

func (v *validation) listen(c Config) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil || port == "" {
		v.wrong("listen", "%q is not an address; write host:port", c.Listen)
		return
	}
	if !c.Dev {
		return
	}
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		v.wrong("listen", "%q is not a loopback address, and --dev lets anyone in who can reach it; use 127.0.0.1 or leave --dev out", c.Listen)
	}
}

func (v *validation) tls(t TLS) {
	if (t.Cert == "") != (t.Key == "") {
		v.wrong("tls", "cert and key go together; one of them is missing")
		return
	}
	for path, file := range map[string]string{"tls.cert": t.Cert, "tls.key": t.Key} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			v.wrong(path, "cannot read %s: %v", file, errors.Unwrap(err))
		}
	}
}

func (v *validation) auth(a Auth) {
	v.duration("auth.timeout", a.Timeout, 100*time.Millisecond, time.Hour)
	if s := a.JWT.HMACSecret; s != "" && len(s) < 32 {
		v.wrong("auth.jwt.hmac_secret", "%d bytes are too short for HS256; at least 32 are needed (RFC 7518 section 3.2)", len(s))
	}
	for i, k := range a.JWT.PublicKeys {
		if err := checkPublicKey(k); err != nil {
			v.wrong(fmt.Sprintf("auth.jwt.public_keys[%d]", i), "%v", err)
		}
	}
	if a.JWT.JWKS != "" {
		if u, err := url.Parse(a.JWT.JWKS); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			v.wrong("auth.jwt.jwks", "%q is not an http or https URL", a.JWT.JWKS)
		}
	}
}

// PublicKeyPEM gives the PEM text of an entry of JWT.PublicKeys, which is
// either the text itself or the name of a file that holds it.
func PublicKeyPEM(entry string) ([]byte, error) {
	if strings.Contains(entry, "-----BEGIN") {
		return []byte(entry), nil
	}
	return os.ReadFile(entry)
}

func checkPublicKey(entry string) error {
	text, err := PublicKeyPEM(entry)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("no PEM block in it")
	}
	if block.Type == "CERTIFICATE" {
		_, err = x509.ParseCertificate(block.Bytes)
		return err
	}
	_, err = x509.ParsePKIXPublicKey(block.Bytes)
	return err
}

func (v *validation) keys(keys []APIKey) {
	seen := map[string]bool{}
	for i, k := range keys {
		at := fmt.Sprintf("api.keys[%d]", i)
		if k.Name == "" {
			v.wrong(at+".name", "a key needs a name")
		} else if isConsoleName(k.Name) {
			v.wrong(at+".name", "%q %s", k.Name, errConsoleName)
		} else if seen[k.Name] {
			v.wrong(at+".name", "%q is used twice", k.Name)
		}
		seen[k.Name] = true
		if !keyHash.MatchString(k.Hash) {
			v.wrong(at+".hash", "not a hash; it is sha256: and %d hex digits, as skein key prints it", hex.EncodedLen(32))
		}
		if len(k.Scopes) == 0 {
			v.wrong(at+".scopes", "without scopes the key can do nothing; [\"*\"] allows every verb")
		}
	}
}

func (v *validation) limits(c Config) {
	l := c.Limits
	v.duration("heartbeat.interval", c.Heartbeat.Interval, 100*time.Millisecond, time.Hour)
	v.between("heartbeat.misses", int64(c.Heartbeat.Misses), 1, 100)
	v.between("limits.message", int64(l.Message), 128, 64<<20)
	if l.Frame != 0 {
		v.between("limits.frame", int64(l.Frame), 128, 64<<20)
	}
	v.between("limits.queue", int64(l.Queue), 4<<10, 1<<30)
	v.between("limits.connections", int64(l.Connections), 0, 1<<30)
	v.between("limits.per_address", int64(l.PerAddress), 0, 1<<30)
	v.between("limits.subscriptions", int64(l.Subscriptions), 1, 1_000_000)
	v.between("limits.frames_per_second", int64(l.FramesPerSecond), -1, 1_000_000)
	v.duration("limits.handshake", l.Handshake, 10*time.Millisecond, time.Hour)
	v.between("limits.depth", int64(l.Depth), 4, 1000)
	v.between("limits.recent", int64(l.Recent), 1<<20, 1<<40)
	v.between("limits.document", int64(l.Document), 1<<10, 16<<20)
	v.between("limits.documents", int64(l.Documents), 1<<20, 1<<40)
	v.between("limits.ops", int64(l.Ops), 1, 100_000)
	v.between("limits.body", int64(l.Body), 1<<10, 1<<30)
	v.duration("drain.timeout", c.Drain.Timeout, time.Millisecond, time.Hour)
	v.duration("drain.spread", c.Drain.Spread, time.Millisecond, time.Hour)
}

func (v *validation) hooks(c Config) {
	h := c.Hooks
	v.oneOf("hooks.on_failure", h.OnFailure, "refuse", "allow")
	v.duration("hooks.timeout", h.Timeout, 10*time.Millisecond, 5*time.Minute)
	v.between("hooks.retries", int64(h.Retries), -1, 10)
	v.between("hooks.concurrency", int64(h.Concurrency), 1, 10_000)
	v.between("hooks.failures", int64(h.Failures), 1, 1000)
	v.duration("hooks.pause", h.Pause, 10*time.Millisecond, time.Hour)
	v.duration("online.grace", c.Online.Grace, time.Millisecond, time.Hour)
	if c.Online.Channel != "" {
		namespace, err := protocol.Namespace("online.channel", c.Online.Channel)
		if _, known := c.Namespaces[namespace]; err != nil {
			v.wrong("online.channel", "%q is not the name of a channel", c.Online.Channel)
		} else if !known {
			v.wrong("online.channel", "namespace %q is not configured", namespace)
		}
	}
	if h.URL == "" {
		if len(h.Events) > 0 {
			v.wrong("hooks.url", "is missing; events have to go somewhere")
		}
		return
	}
	for i, name := range h.Namespaces {
		if _, known := c.Namespaces[name]; !known {
			v.wrong(fmt.Sprintf("hooks.namespaces[%d]", i), "%q is not configured under namespaces", name)
		}
	}
	wc := webhookConfig(h)
	var list interface{ Unwrap() []error }
	switch err := wc.Validate(); {
	case err == nil:
	case errors.As(err, &list):
		for _, e := range list.Unwrap() {
			v.hook(e)
		}
	default:
		v.hook(err)
	}
}

func (v *validation) hook(err error) {
	var e *webhook.ConfigError
	if errors.As(err, &e) {
		v.wrong(e.Field, "%s", e.Message)
		return
	}
	v.wrong("hooks", "%v", err)
}

func (v *validation) state(c Config) {
	v.oneOf("durability", c.Durability, "full", "relaxed")
	if c.Database == "" {
		for name, ns := range c.Namespaces {
			if c.Data == noData && (ns.Kind == hub.KindLog || ns.Kind == hub.KindDoc) {
				v.wrong("data", "is off, but namespace %q keeps its messages", name)
			}
		}
		return
	}
	u, err := url.Parse(c.Database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && u.Query().Get("host") == "" {
		// The text may hold a password, so it is not repeated.
		v.wrong("database", "is not the URL of a PostgreSQL database; write postgres://user:password@host/name")
	}
}

// document checks what is about documents.
func (v *validation) document(at string, ns Namespace) {
	if ns.Kind != hub.KindDoc {
		for _, s := range []struct {
			name string
			set  bool
		}{{"patch", ns.Patch != ""}, {"rules", len(ns.Rules) > 0}, {"schema", ns.Schema != ""}} {
			if s.set {
				v.wrong(at+"."+s.name, "is about documents; it belongs to kind: doc")
			}
		}
		return
	}
	v.oneOf(at+".patch", ns.Patch, who...)
	if len(ns.Rules) > auth.MaxPlaces {
		v.wrong(at+".rules", "has %d rules; at most %d are allowed", len(ns.Rules), auth.MaxPlaces)
	}
	for i, text := range ns.Rules {
		if _, err := auth.ParsePlace(text); err != nil {
			v.wrong(fmt.Sprintf("%s.rules[%d]", at, i), "%v", err)
		}
	}
	if _, err := readSchema(ns.Schema); err != nil {
		v.wrong(at+".schema", "%v", err)
	}
}

// who are the words of a rule.
var who = []string{"anyone", "user", "member", "token", "server"}

func (v *validation) namespaces(spaces map[string]Namespace) {
	for name, ns := range spaces {
		at := "namespaces." + name
		if !namespaceName.MatchString(name) {
			v.wrong(at, "%q is not a name; use lower-case letters, digits, '_', '.', '-', at most 64", name)
		}
		v.oneOf(at+".kind", ns.Kind, hub.KindEvent, hub.KindLog, hub.KindDoc)
		v.oneOf(at+".subscribe", ns.Subscribe, who...)
		if ns.Kind != hub.KindDoc || ns.Publish != ns.Patch { // left out it is the same, and so would be its mistake
			v.oneOf(at+".publish", ns.Publish, who...)
		}
		v.oneOf(at+".presence", ns.Presence, "none", "counts", "members")
		v.between(at+".presence_max", int64(ns.PresenceMax), 1, 100_000)
		if ns.PresenceGrace != 0 {
			v.duration(at+".presence_grace", ns.PresenceGrace, time.Millisecond, time.Hour)
		}
		if ns.PresenceTo != ns.Subscribe { // left out it is the same, and so would be its mistake
			v.oneOf(at+".presence_to", ns.PresenceTo, who...)
		}
		v.between(at+".keep.count", int64(ns.Keep.Count), 0, protocol.MaxInt)
		if ns.Keep.Age != 0 {
			v.duration(at+".keep.age", ns.Keep.Age, time.Second, 100*365*24*time.Hour)
		}
		if ns.History != "" && ns.History != ns.Subscribe {
			v.oneOf(at+".history", ns.History, who...)
		}
		if ns.Kind != hub.KindLog {
			if ns.History != "" {
				v.wrong(at+".history", "is about messages that are kept; it belongs to kind: log")
			}
			if ns.Keep != (Keep{}) && ns.Kind != hub.KindDoc {
				v.wrong(at+".keep", "an event channel keeps nothing; it belongs to kind: log or doc")
			}
		}
		v.document(at, ns)
		v.chat(at, ns, spaces)
	}
}
