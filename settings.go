package skein

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/edge/websocket"
	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

// This file turns the one Config into what each part of the server takes.

func linkConfig(cfg Config) link.Config {
	tick := min(cfg.Heartbeat.Interval.Std()/15, cfg.Auth.Timeout.Std()/10, 1e9)
	return link.Config{
		Queue:             int(cfg.Limits.Queue),
		Inbox:             max(64<<10, 2*int(cfg.Limits.Message)),
		Heartbeat:         cfg.Heartbeat.Interval.Std(),
		Misses:            cfg.Heartbeat.Misses,
		ControlsPerSecond: controls(cfg),
		Tick:              tick,
		Epoll:             cfg.WebSocket.Driver == "epoll" || cfg.WebSocket.Driver == "auto" && link.EpollAvailable(),
		Pollers:           runtime.GOMAXPROCS(0),
	}
}

// controls is how many control frames a peer may send each second. Protocol
// test suites, which development mode is for, ping as fast as they can.
func controls(cfg Config) int {
	if cfg.Dev {
		return 0
	}
	return max(0, cfg.Limits.FramesPerSecond)
}

func sessionSettings(cfg Config) session.Settings {
	return session.Settings{
		AuthTimeout:     cfg.Auth.Timeout.Std(),
		Heartbeat:       cfg.Heartbeat.Interval.Std(),
		Anonymous:       cfg.Auth.Anonymous,
		Dev:             cfg.Dev,
		Depth:           cfg.Limits.Depth,
		Subscriptions:   cfg.Limits.Subscriptions,
		FramesPerSecond: cfg.Limits.FramesPerSecond,
	}
}

func doorSettings(cfg Config) websocket.Settings {
	return websocket.Settings{
		Origins:     cfg.Origins,
		Deflate:     cfg.WebSocket.Compression,
		MaxFrame:    int64(cfg.Limits.Frame),
		MaxMessage:  int64(cfg.Limits.Message),
		Connections: cfg.Limits.Connections,
		PerAddress:  cfg.Limits.PerAddress,
		Proxies:     prefixes(cfg.TrustedProxies),
		Dev:         cfg.Dev,
	}
}

func newVerifier(cfg Config, log *slog.Logger) (*auth.Verifier, error) {
	jwt := cfg.Auth.JWT
	ac := auth.Config{JWKS: jwt.JWKS, Issuer: jwt.Issuer, Audience: jwt.Audience, Logger: log}
	if jwt.HMACSecret != "" {
		ac.HMACSecret = []byte(jwt.HMACSecret)
	}
	for _, entry := range jwt.PublicKeys {
		text, err := PublicKeyPEM(entry)
		if err != nil {
			return nil, err
		}
		ac.PublicKeys = append(ac.PublicKeys, text)
	}
	return auth.NewVerifier(ac)
}

func apiKeys(cfg Config) (*auth.Keys, error) {
	var list []auth.APIKey
	for _, k := range cfg.API.Keys {
		hash, err := auth.ParseHash(k.Hash)
		if err != nil {
			return nil, err
		}
		scopes, err := auth.ParseScopes(k.Scopes)
		if err != nil {
			return nil, err
		}
		list = append(list, auth.APIKey{Name: k.Name, Hash: hash, Scopes: scopes})
	}
	return auth.NewKeys(list), nil
}

var presences = map[string]hub.Presence{"none": hub.PresenceNone, "counts": hub.PresenceCounts, "members": hub.PresenceMembers}

// spaces makes the rules of all namespaces. before gives those that were in force;
// rules of places that are the same stay the same, so that nobody is shown anew
// what it sees already.
func spaces(cfg Config, before func(name string) *hub.Space) []*hub.Space {
	var list []*hub.Space
	who := func(text string) auth.Who {
		w, err := auth.ParseWho(text)
		if err != nil {
			return auth.Server // Validate has let only known words through
		}
		return w
	}
	for name, ns := range cfg.Namespaces {
		space := &hub.Space{
			Name: name, Kind: ns.Kind, Presence: presences[ns.Presence],
			Subscribe: who(ns.Subscribe), Publish: who(ns.Publish), PresenceTo: who(ns.PresenceTo),
			PresenceMax: ns.PresenceMax, PresenceGrace: ns.PresenceGrace.Std(),
			History: who(or(ns.History, ns.Subscribe)), Count: ns.Keep.Count, Age: ns.Keep.Age.Std(),
			Chat: chatRules(ns.Chat),
		}
		if ns.Kind == hub.KindDoc {
			space.Patch, space.Rules, space.Check = who(ns.Patch), ns.Rules, checkOf(ns.Schema)
			if old := before(name); old != nil && slices.Equal(old.Rules, ns.Rules) {
				space.Places = old.Places
			} else {
				space.Places = places(ns.Rules)
			}
		}
		list = append(list, space)
	}
	return list
}

// Reload puts a new configuration in force as far as that is possible while the
// server runs. It gives the names of the sections that changed and are in force
// now, and of those that need a restart. After an error nothing has changed.
func (s *Server) Reload(cfg Config) (applied, needRestart []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	given := cfg
	cfg = cfg.settled()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.cfg
	cfg.Dev = old.Dev
	changed := func(name string, a, b any, live bool) bool {
		if reflect.DeepEqual(a, b) {
			return false
		}
		if live {
			applied = append(applied, name)
		} else {
			needRestart = append(needRestart, name)
		}
		return true
	}
	changed("listen", old.Listen, cfg.Listen, false)
	changed("data", old.Data, cfg.Data, false)
	changed("database", old.Database, cfg.Database, false)
	changed("durability", old.Durability, cfg.Durability, false)
	changed("limits.recent", old.Limits.Recent, cfg.Limits.Recent, false)
	changed("limits.documents", old.Limits.Documents, cfg.Limits.Documents, false)
	cfg.Data, cfg.Database, cfg.Durability, cfg.Limits.Recent, cfg.Limits.Documents = old.Data, old.Database, old.Durability, old.Limits.Recent, old.Limits.Documents
	s.keepKinds(cfg.Namespaces, old.Namespaces, func(name string) { needRestart = append(needRestart, "namespaces."+name) })
	changed("tls", old.TLS, cfg.TLS, false)
	changed("socketio", old.SocketIO, cfg.SocketIO, false)
	changed("heartbeat", old.Heartbeat, cfg.Heartbeat, false)
	changed("websocket.driver", old.WebSocket.Driver, cfg.WebSocket.Driver, false)
	changed("limits.queue", old.Limits.Queue, cfg.Limits.Queue, false)
	changed("limits.handshake", old.Limits.Handshake, cfg.Limits.Handshake, false)
	changed("demos", old.Demos, cfg.Demos, false)
	changed("log", old.Log, cfg.Log, false)
	cfg.Listen, cfg.TLS, cfg.Heartbeat, cfg.Demos, cfg.Log, cfg.SocketIO = old.Listen, old.TLS, old.Heartbeat, old.Demos, old.Log, old.SocketIO
	cfg.WebSocket.Driver, cfg.Limits.Queue, cfg.Limits.Handshake = old.WebSocket.Driver, old.Limits.Queue, old.Limits.Handshake

	keys, err := apiKeys(cfg)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.ratesOf(cfg.Rates); err != nil {
		return nil, nil, err
	}
	if !reflect.DeepEqual(old.Auth.JWT, cfg.Auth.JWT) {
		verifier, err := newVerifier(cfg, s.log)
		if err != nil {
			return nil, nil, err
		}
		s.verifier.v.Swap(verifier).Close()
	}
	changed("auth", old.Auth, cfg.Auth, true)
	changed("api", old.API, cfg.API, true)
	changed("origins", old.Origins, cfg.Origins, true)
	changed("trusted_proxies", old.TrustedProxies, cfg.TrustedProxies, true)
	changed("websocket.compression", old.WebSocket.Compression, cfg.WebSocket.Compression, true)
	changed("limits", old.Limits, cfg.Limits, true)
	if changed("rates", old.Rates, cfg.Rates, true) {
		if err := s.setRates(cfg.Rates); err != nil {
			return nil, nil, err
		}
	}
	changed("console", old.Console, cfg.Console, true)
	changed("audit", old.Audit, cfg.Audit, true)
	changed("drain", old.Drain, cfg.Drain, true)
	if changed("hooks", old.Hooks, cfg.Hooks, true) {
		if err := s.setBackend(cfg); err != nil {
			return nil, nil, err
		}
		defer s.setHooks()
	}
	changed("online.grace", old.Online.Grace, cfg.Online.Grace, false)
	if err = s.reloadPushes(old, cfg, changed); err != nil {
		return nil, nil, err
	}
	changed("online.channel", old.Online.Channel, cfg.Online.Channel, true)
	cfg.Online.Grace = old.Online.Grace
	rules := changed("namespaces", old.Namespaces, cfg.Namespaces, true)
	for _, ns := range cfg.Namespaces {
		rules = rules || ns.Schema != "" // the file may have changed
	}
	s.explain(given, cfg)
	s.cfg = cfg
	s.sessions.Configure(sessionSettings(cfg))
	s.links.LimitControls(controls(cfg))
	s.door.Configure(doorSettings(cfg))
	s.doors.streams.Configure(streamSettings(cfg))
	s.api.Configure(httpapi.Settings{Keys: keys, Body: int64(cfg.Limits.Body), Dev: cfg.Dev})
	s.console.Configure(consoleSettings(cfg))
	s.verbs.SetDepth(cfg.Limits.Depth)
	s.setLimits(cfg)
	if rules {
		s.hub.SetSpaces(spaces(cfg, s.hub.Space))
		s.hub.EachConn(func(c *hub.Conn) bool {
			session.Of(c).Recheck()
			return true
		})
	}
	slices.Sort(applied)
	slices.Sort(needRestart)
	return applied, needRestart, nil
}

// keepKinds leaves namespaces as they are whose kind, or whose kind of conversations, cannot change while the
// server runs: subscribers would be served in another way from one moment to
// the next, and the store may not be open.
func (s *Server) keepKinds(next, old map[string]Namespace, kept func(name string)) {
	for name, ns := range next {
		before, known := old[name]
		switch {
		case known && (before.Kind != ns.Kind || before.Chat.Kind != ns.Chat.Kind):
			next[name] = before
		case !known && (ns.Kind == hub.KindLog || ns.Kind == hub.KindDoc) && s.state == nil:
			delete(next, name)
		default:
			continue
		}
		kept(name)
	}
}

// setRates puts in force how fast one may go.
func (s *Server) setRates(r Rates) error {
	l, err := s.ratesOf(r)
	if err != nil {
		return err
	}
	return s.access.SetLimits(l)
}

// ratesOf reads rates, of frames and verbs that there are. An application's verbs
// may be registered later.
func (s *Server) ratesOf(r Rates) (access.Limits, error) {
	l, errs := accessLimits(r)
	unknown := func(path string, entries []string, what string, known func(name string) bool) {
		for i, entry := range entries {
			if name, _, _ := strings.Cut(entry, " "); !known(name) {
				errs = append(errs, &ConfigError{path + "[" + strconv.Itoa(i) + "]", fmt.Sprintf("%q is not %s", name, what)})
			}
		}
	}
	types := s.sessions.Types()
	unknown("rates.frames", r.Frames, "a type of frame that clients send; those are "+strings.Join(types, ", "), func(name string) bool { return slices.Contains(types, name) })
	unknown("rates.verbs", r.Verbs, "a verb", func(name string) bool { return s.verbs.Find(name) != nil || strings.HasPrefix(name, applicationVerb) })
	return l, errors.Join(errs...)
}

// applicationVerb begins the names of verbs of the application.
const applicationVerb = "app."

// accessLimits reads rates; its errors are [*ConfigError]s.
func accessLimits(r Rates) (l access.Limits, errs []error) {
	l.DryRun = r.DryRun
	read := func(path, text string) (rate ratelimit.Rate) {
		rate, err := ratelimit.ParseRate(text)
		if err != nil {
			errs = append(errs, &ConfigError{path, err.Error()})
		}
		return rate
	}
	list := func(path string, entries []string) map[string]ratelimit.Rate {
		m := map[string]ratelimit.Rate{}
		for i, entry := range entries {
			at := path + "[" + strconv.Itoa(i) + "]"
			name, text, ok := strings.Cut(entry, " ")
			if _, twice := m[name]; !ok || twice {
				errs = append(errs, &ConfigError{at, fmt.Sprintf("%q is not a name and a rate, such as \"%s\", each name once", entry, map[bool]string{true: "pub 20/s", false: "publish 20/s"}[path == "rates.frames"])})
				continue
			}
			m[name] = read(at, text)
		}
		return m
	}
	l.User = read("rates.user", r.User)
	l.Frames, l.Verbs = list("rates.frames", r.Frames), list("rates.verbs", r.Verbs)
	return l, errs
}

// exempt tells the program's own calls, which no rate is for.
func exempt(caller string) bool {
	return caller == "library" || strings.HasPrefix(caller, verb.SchedulePrefix)
}

func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
