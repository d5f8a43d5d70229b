package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/registry"
)

// write puts a text into a file of its own called skein.yaml.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "skein.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// load loads a text as the file, and gives the error with the folder left out.
func load(t *testing.T, text string, opt Options) (Loaded, string) {
	t.Helper()
	if text != "" {
		opt.File = write(t, text)
	}
	l, err := Load(opt)
	if err == nil {
		return l, ""
	}
	return l, strings.ReplaceAll(err.Error(), filepath.Dir(opt.File)+"/", "")
}

func mustLoad(t *testing.T, text string, opt Options) Loaded {
	t.Helper()
	l, wrong := load(t, text, opt)
	if wrong != "" {
		t.Fatalf("Load: %s", wrong)
	}
	return l
}

func TestNothingGivenIsTheDefaults(t *testing.T) {
	l := mustLoad(t, "", Options{})
	if diff := cmp.Diff(skein.DefaultConfig(), l.Config, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	for path, o := range l.Origins {
		if o != (Origin{Kind: FromDefault}) {
			t.Errorf("%s comes from %v", path, o)
		}
	}
}

func TestEveryShapeOfValueIsRead(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	l := mustLoad(t, `
listen: 0.0.0.0:9000
origins: ["https://example.com", 'https://example.org']
auth:
  timeout: 1m30s
  anonymous: true
  jwt:
    hmac_secret: |-
      0123456789abcdef0123456789abcdef
api:
  keys:
    - {name: backend, hash: "`+hash+`", scopes: [publish, "users.*"]}
limits:
  message: 65536
  queue: 2 MiB
  subscriptions: 1_000
  frames_per_second: -1
namespaces:
  room: &open {kind: event, subscribe: anyone, publish: user}
  hall: *open
  lobby: {<<: *open, publish: anyone, presence: counts}
  0day:
log:
tls:
`, Options{})
	want := skein.DefaultConfig()
	want.Listen = "0.0.0.0:9000"
	want.Origins = []string{"https://example.com", "https://example.org"}
	want.Auth.Timeout = skein.Duration(90 * time.Second)
	want.Auth.Anonymous = true
	want.Auth.JWT.HMACSecret = "0123456789abcdef0123456789abcdef"
	want.API.Keys = []skein.APIKey{{Name: "backend", Hash: hash, Scopes: []string{"publish", "users.*"}}}
	want.Limits.Message = 64 << 10
	want.Limits.Queue = 2 << 20
	want.Limits.Subscriptions = 1000
	want.Limits.FramesPerSecond = -1
	open := skein.Namespace{Kind: "event", Subscribe: "anyone", Publish: "user", Presence: "none", PresenceMax: 1000, PresenceTo: "anyone"}
	lobby := open
	lobby.Publish, lobby.Presence = "anyone", "counts"
	want.Namespaces = map[string]skein.Namespace{"room": open, "hall": open, "lobby": lobby,
		"0day": {Kind: "event", Subscribe: "server", Publish: "server", Presence: "none", PresenceMax: 1000, PresenceTo: "server"}}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Error(diff)
	}
}

func TestStrongerLayersWin(t *testing.T) {
	file := "listen: 127.0.0.1:1\nauth: {timeout: 1s}\nlog: {level: warn, format: json}\norigins: [https://a.example, https://b.example]\nnamespaces: {room: {kind: event}}\n"
	l := mustLoad(t, file, Options{
		Env: []string{
			"SKEIN_LISTEN=127.0.0.1:2", "SKEIN_LOG_LEVEL=error", "SKEIN_ORIGINS=https://c.example, https://d.example", "SKEIN_AUTH_ANONYMOUS=true",
			"SKEIN_LIMITS_PER_ADDRESS=7", "SKEIN_NAMESPACES={tick: {subscribe: anyone},\n hall: {publish: user}}", "HOME=/root",
			"SKEIN_KEY=k", "SKEIN_TOKEN=t", "SKEIN_URL=u", "SKEIN_CONFIG=c", "SKEIN_DRAIN_SPREAD=",
		},
		Flags: []Flag{{Path: "listen", Name: "--listen", Value: "127.0.0.1:3"}},
	})
	got := map[string]string{}
	for _, s := range Explain(l) {
		if s.Origin.Kind != FromDefault {
			where := s.Origin.String()
			got[s.Path] = s.Value + " " + where[strings.LastIndex(where, "/")+1:]
		}
	}
	want := map[string]string{
		"listen": "127.0.0.1:3 --listen", "auth.timeout": "1s skein.yaml:2:17", "auth.anonymous": "true SKEIN_AUTH_ANONYMOUS",
		"log.level": "error SKEIN_LOG_LEVEL", "log.format": "json skein.yaml:3:28",
		"origins": "[https://c.example, https://d.example] SKEIN_ORIGINS", "limits.per_address": "7 SKEIN_LIMITS_PER_ADDRESS",
		"namespaces.tick.subscribe": "anyone SKEIN_NAMESPACES:1:20", "namespaces.hall.publish": "user SKEIN_NAMESPACES:2:18",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, stale := l.Origins["namespaces.room.kind"]; stale {
		t.Error("a namespace of the file survived SKEIN_NAMESPACES")
	}
}

func TestDevIsSaidToComeFromItsFlag(t *testing.T) {
	l := mustLoad(t, "demos: true\n", Options{Dev: true})
	if !l.Config.Dev {
		t.Error("Dev is off")
	}
	for path, want := range map[string]Kind{"auth.anonymous": FromFlag, "origins": FromFlag, "namespaces.event.publish": FromFlag, "demos": FromFile, "listen": FromDefault} {
		if got := l.Origins[path]; got.Kind != want || want == FromFlag && got.Where != "--dev" {
			t.Errorf("%s comes from %+v, want %s", path, got, want)
		}
	}
	_, wrong := load(t, "listen: 0.0.0.0:8000\n", Options{Dev: true})
	if !strings.HasPrefix(wrong, `skein.yaml:1:9: listen: "0.0.0.0:8000" is not a loopback address`) {
		t.Errorf("error: %s", wrong)
	}
}

func TestInitLoadsAsDefaultsAndExamples(t *testing.T) {
	l := mustLoad(t, string(Init()), Options{})
	want := skein.DefaultConfig()
	want.Namespaces = map[string]skein.Namespace{
		"tick":  {Kind: "event", Subscribe: "anyone", Publish: "server", Presence: "none", PresenceMax: 1000, PresenceTo: "anyone"},
		"event": {Kind: "event", Subscribe: "user", Publish: "user", Presence: "members", PresenceMax: 1000, PresenceTo: "user"},
	}
	want.SocketIO.Namespaces = map[string]skein.SocketIONamespace{"/": {Channel: "event:all", Rooms: "event"}}
	want.Categories = map[string]skein.Category{
		"orders": {OnCap: "inbox", OnQuiet: "defer", Priority: new(5), Bypass: true, Mutable: new(false)},
		"promo":  {OnCap: "inbox", OnQuiet: "defer", Priority: new(5), Mutable: new(true), Caps: []string{"2 per day", "5 per week"}, Quiet: "21:00-09:00", TTL: skein.Duration(72 * time.Hour)},
	}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Error(diff)
	}
}

func TestEverySettingHasADocAndItsOwnVariable(t *testing.T) {
	names := map[string]string{}
	settings().each(func(s *setting) {
		if s.name == "" {
			return
		}
		if s.doc == "" {
			t.Errorf("%s has no doc", s.path)
		}
		if s.env == "" {
			return
		}
		if other := names[s.env]; other != "" {
			t.Errorf("%s and %s share %s", s.path, other, s.env)
		}
		names[s.env] = s.path
	})
	for env, path := range map[string]string{"SKEIN_AUTH_TIMEOUT": "auth.timeout", "SKEIN_LIMITS_PER_ADDRESS": "limits.per_address",
		"SKEIN_AUTH_JWT_HMAC_SECRET": "auth.jwt.hmac_secret", "SKEIN_NAMESPACES": "namespaces", "SKEIN_API_KEYS": "api.keys"} {
		if names[env] != path {
			t.Errorf("%s sets %q, want %q", env, names[env], path)
		}
	}
}

// TestBoundsAreThoseOfValidate keeps the wording of Validate, which bounds
// reads, and bounds together.
func TestBoundsAreThoseOfValidate(t *testing.T) {
	got := map[string]bounds{}
	settings().each(func(s *setting) {
		if b := s.bounds(); !reflect.DeepEqual(b, bounds{}) {
			got[s.path] = b
		}
		if b := s.bounds(); (s.shape == whole || s.shape == size || s.shape == duration) && b.low == "" {
			t.Errorf("Validate takes any number for %s, or says so in other words", s.path)
		}
	})
	for path, want := range map[string]bounds{
		"heartbeat.misses": {low: "1", high: "100"}, "auth.timeout": {low: "100ms", high: "1h"}, "limits.message": {low: "128", high: "67108864"},
		"websocket.driver": {oneOf: []string{"auto", "epoll", "portable"}}, "namespaces.*.presence": {oneOf: []string{"none", "counts", "members"}},
	} {
		if diff := cmp.Diff(want, got[path], cmp.AllowUnexported(bounds{})); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	l := mustLoad(t, "auth: {jwt: {hmac_secret: "+secret+"}}\n", Options{})
	var b strings.Builder
	if err := WriteJSON(&b, Explain(l)); err != nil {
		t.Fatal(err)
	}
	if err := WriteTable(&b, Explain(l)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), secret) || strings.Count(b.String(), mask) != 2 {
		t.Errorf("the explanation shows the secret, or does not show that there is one:\n%s", b.String())
	}
	for _, text := range []string{
		"auth: {jwt: {hmac_secret: " + secret + ", issuer: 3}}\n",
		"auth: {jwt: {hmac_secrt: " + secret + "}}\n",
		"auth: {jwt: {hmac_secret: [" + secret + "]}}\n",
		"auth: {jwt: {hmac_secret: \"" + secret + "}}\n",
		"auth: {jwt: {hmac_secret: " + secret + ", hmac_secret: " + secret + "}}\n",
	} {
		if _, wrong := load(t, text, Options{}); wrong == "" || strings.Contains(wrong, secret) {
			t.Errorf("%s gives: %s", text, wrong)
		}
	}
	// A hash of a password has commas and dollars.
	const hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$" + secret
	for _, value := range []string{hash, `"` + hash + `"`, "'" + hash + "'", `"` + hash} {
		texts := []string{"console:\n  users:\n    - password: " + value + "\n      role: boss\n"}
		if value != hash { // in braces it has to be quoted
			texts = append(texts, "console: {users: [{name: ann, role: boss, password: "+value+"}]}\n", "console:\n  users:\n  - {password: "+value+", role: boss}\n")
		}
		for _, text := range texts {
			if _, wrong := load(t, text, Options{}); wrong == "" || strings.Contains(wrong, secret[:8]) || strings.Contains(wrong, "c29tZXNhbHQ") {
				t.Errorf("%s gives: %s", text, wrong)
			}
		}
	}
}

func TestExplainTakesPaths(t *testing.T) {
	var paths []string
	for _, s := range Explain(mustLoad(t, "", Options{}), "heartbeat", "auth.timeout", "log.lev") {
		paths = append(paths, s.Path)
	}
	if diff := cmp.Diff([]string{"auth.timeout", "heartbeat.interval", "heartbeat.misses"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestTextsAreQuotedWhereYAMLNeedsIt(t *testing.T) {
	for in, want := range map[string]string{
		"": `""`, "plain": "plain", "127.0.0.1:8000": "127.0.0.1:8000", "./a/b.pem": `"./a/b.pem"`, "true": `"true"`, "Null": `"Null"`, "12": `"12"`,
		"1e3": `"1e3"`, "a b": `"a b"`, "a: b": `"a: b"`, "*": `"*"`, "a\"b\n": `"a\"b\n"`, "https://x.example/p": "https://x.example/p", "end:": `"end:"`, "0x1f": `"0x1f"`,
	} {
		if got := registry.Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
		l := mustLoad(t, "auth: {jwt: {issuer: "+registry.Quote(in)+"}}\n", Options{})
		if got := l.Config.Auth.JWT.Issuer; got != in {
			t.Errorf("%q comes back as %q", in, got)
		}
	}
}
