package skein_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/config"
)

// problem waits for a problem with a code, which begins about now.
func (s *testServer) problem(code string) skein.Problem {
	s.t.Helper()
	var found skein.Problem
	eventually(s.t, "the problem "+code, func() bool {
		list, err := s.Problems(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, p := range list.Problems {
			if p.Code == code {
				found = p
			}
		}
		return found.Code != ""
	})
	if age := time.Since(time.UnixMilli(found.Since)); age < -time.Second || age > patience {
		s.t.Errorf("%s began %v ago", code, age)
	}
	if found.Text == "" || found.Values == nil {
		s.t.Errorf("got %+v", found)
	}
	if got := s.metric(fmt.Sprintf(`skein_problems{code=%q}`, code)); got != 1 {
		s.t.Errorf("the metric for %s is %v", code, got)
	}
	return found
}

// solved waits until there is no problem with a code.
func (s *testServer) solved(code string) {
	s.t.Helper()
	eventually(s.t, code+" is solved", func() bool {
		list, err := s.Problems(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, p := range list.Problems {
			if p.Code == code {
				return false
			}
		}
		return true
	})
}

// Each second tells what happened in it, and all of them together what happened.
func TestSeriesOfFigures(t *testing.T) {
	s := start(t, logConfig(t.TempDir()))
	ann, bob := s.user("ann"), s.user("bob")
	for _, c := range []*client{ann, bob} {
		c.do(`{"type":"sub","channel":"room:1"}`)
	}
	const messages = 50
	for i := range messages {
		s.verb("publish", fmt.Sprintf(`{"to":{"channel":"room:1"},"data":%d}`, i))
	}
	for range messages {
		bob.expect("msg")
	}
	before := s.stat("messages_in")
	var sum skein.StatsPoint
	var last skein.StatsSeries
	eventually(t, "all of it was measured", func() bool {
		page, err := s.StatsSeries(t.Context(), skein.StatsSeriesParams{})
		if err != nil {
			t.Fatal(err)
		}
		sum, last = skein.StatsPoint{}, page
		for _, p := range page.Points {
			sum.MessagesIn += p.MessagesIn
			sum.MessagesOut += p.MessagesOut
			sum.Delivery.Count += p.Delivery.Count
			sum.Commit.Count += p.Commit.Count
		}
		return float64(sum.MessagesIn) >= before && sum.Commit.Count > 0
	})
	if sum.MessagesOut < messages || sum.Delivery.Count < messages {
		t.Errorf("in all %+v", sum)
	}
	newest := last.Points[len(last.Points)-1]
	if newest.Connections.WebSocket != 2 || newest.Users != 2 || newest.Channels != 1 || newest.Memory <= 0 || newest.Time > last.Now+1000 {
		t.Errorf("the newest of %d is %+v", last.Now, newest)
	}
	for _, p := range last.Points {
		for _, timing := range []struct {
			p50, p99 float64
			count    int64
		}{{p.Delivery.P50, p.Delivery.P99, p.Delivery.Count}, {p.Commit.P50, p.Commit.P99, p.Commit.Count}} {
			if timing.p50 > timing.p99 || (timing.count == 0) != (timing.p99 == 0) {
				t.Errorf("got %+v", p)
			}
		}
	}
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.ByTransport.WebSocket != 2 || stats.MessagesIn != stats.Frames || stats.Uptime <= 0 || stats.Store == nil || stats.Store.Kind != "sqlite" || stats.Store.Bytes <= 0 {
		t.Errorf("got %+v", stats)
	}
}

// A slow reader is a problem when it misses something, and what waits for it is counted.
func TestASlowReaderIsAProblem(t *testing.T) {
	each(t, func() skein.Config {
		cfg := open()
		cfg.Limits.Queue = 64 << 10
		return cfg
	}, func(t *testing.T, s *testServer) {
		slow := s.wire("user=slow")
		slow.expect("welcome")
		slow.text(`{"type":"sub","id":1,"channel":"room:1"}`)
		slow.expect("ok")
		text := strings.Repeat("x", 32<<10)
		eventually(t, "messages are dropped", func() bool {
			s.verb("publish", fmt.Sprintf(`{"to":{"channel":"room:1"},"data":%q}`, text))
			return s.stat("dropped") > 0
		})
		if queued := s.stat("queued"); queued <= 0 || queued > 128<<10 {
			t.Errorf("%v bytes are queued", queued)
		}
		p := s.problem("messages_dropped")
		if p.Severity != "warning" || p.Values["count"].(float64) < 1 {
			t.Errorf("got %+v", p)
		}
		_ = slow.Close()
		eventually(t, "nothing is queued", func() bool { return s.stat("queued") == 0 })
	})
}

// A backend that fails is left alone; what went wrong is listed without what nobody should see.
func TestABackendThatFails(t *testing.T) {
	well := make(chan struct{})
	a := backend(t, func(string, map[string]any) (int, string) {
		select {
		case <-well:
			return 200, `{"user":"ann"}`
		default:
			return 500, "the password is hunter2"
		}
	})
	cfg := a.config("connect", "close")
	cfg.Dev, cfg.Auth.Anonymous = true, true
	cfg.Hooks.URL = strings.Replace(a.URL, "http://", "http://ann:hidden@", 1) + "/hooks?token=hidden"
	cfg.Hooks.Failures, cfg.Hooks.Pause = 3, skein.Duration(200*time.Millisecond)
	s := start(t, cfg)
	list := func() skein.Hook {
		t.Helper()
		page, err := s.ListHooks(t.Context())
		if err != nil || len(page.Hooks) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
		return page.Hooks[0]
	}
	if h := list(); h.State != "idle" || len(h.Errors) != 0 || h.URL != a.URL+"/hooks" || !reflect.DeepEqual(h.Events, []string{"connect", "close"}) {
		t.Errorf("before: %+v", h)
	}
	for range 3 {
		s.dial("user=ann")
	}
	eventually(t, "the backend is left alone", func() bool { return list().State == "open" })
	p := s.problem("hooks_open")
	if p.Severity != "error" || !strings.Contains(p.Text, "status 500") {
		t.Errorf("got %+v", p)
	}
	h := list()
	if h.Opened != 1 || h.Asked < 1 || len(h.Errors) < 3 {
		t.Errorf("got %+v", h)
	}
	for i, e := range h.Errors {
		if e.Status != 500 || e.Event != "connect" || e.Text != "the backend failed: status 500" || i > 0 && e.Time > h.Errors[i-1].Time {
			t.Errorf("the error %d is %+v", i, e)
		}
	}
	raw, err := json.Marshal([]any{h, p})
	if err != nil || strings.Contains(string(raw), "hidden") || strings.Contains(string(raw), "hunter2") {
		t.Errorf("got %s, %v", raw, err)
	}
	close(well)
	eventually(t, "it is well again", func() bool {
		s.dial("user=ann") // it is asked for this one, unless it is still left alone
		return list().State == "ok"
	})
	s.solved("hooks_open")
	if h := list(); len(h.Errors) < 3 {
		t.Errorf("the errors are forgotten: %+v", h)
	}
}

// Without a backend there is none, and nothing is wrong but what development mode is.
func TestNothingIsWrongInDevelopmentMode(t *testing.T) {
	s := start(t, open())
	same(t, "hooks", s.verb("hooks.list", `{}`), map[string]any{"hooks": []any{}})
	list, err := s.Problems(t.Context())
	if err != nil || len(list.Problems) != 1 || list.Problems[0].Code != "dev" || list.Problems[0].Severity != "warning" {
		t.Errorf("got %+v, %v", list, err)
	}
}

// A schedule whose last run failed is a problem until it runs well, or is paused; also after a restart.
func TestAScheduleThatFails(t *testing.T) {
	cfg := logConfig(t.TempDir())
	t.Run("before a restart", func(t *testing.T) {
		s := start(t, cfg)
		s.verb("schedules.put", `{"name":"bad","every":"100ms","verb":"recall","params":{"message":"none"}}`)
		s.verb("schedules.put", `{"name":"good","every":"100ms","verb":"publish","params":{"to":{"channel":"event:1"},"data":1}}`)
		p := s.problem("schedule_failed")
		if p.Values["name"] != "bad" || p.Values["error"] == "" || p.Severity != "warning" {
			t.Errorf("got %+v", p)
		}
	})
	s := start(t, cfg)
	if p := s.problem("schedule_failed"); p.Values["name"] != "bad" {
		t.Errorf("got %+v", p)
	}
	s.verb("schedules.pause", `{"name":"bad"}`)
	s.solved("schedule_failed")
	s.verb("schedules.put", `{"name":"bad","every":"100ms","verb":"publish","params":{"to":{"channel":"event:1"},"data":1}}`)
	s.verb("schedules.resume", `{"name":"bad"}`)
	s.solved("schedule_failed")
}

// A campaign that rests because its category is gone is a problem until it is cancelled.
func TestACampaignThatFails(t *testing.T) {
	s := start(t, logConfig(t.TempDir()))
	s.verb("categories.put", `{"name":"short"}`)
	at := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
	made := s.verb("campaigns.create", fmt.Sprintf(`{"name":"winter","to":{"users":["ann"]},"data":1,"category":"short","at":%q}`, at))
	s.verb("campaigns.start", fmt.Sprintf(`{"id":%q}`, made["id"]))
	s.verb("categories.delete", `{"name":"short"}`)
	p := s.problem("campaign_failing")
	if p.Values["id"] != made["id"] || p.Severity != "error" || p.Values["error"] == "" {
		t.Errorf("got %+v", p)
	}
	s.verb("campaigns.cancel", fmt.Sprintf(`{"id":%q}`, made["id"]))
	s.solved("campaign_failing")
}

// Nearly as many connections as may be are a problem.
func TestConnectionsThatAreNearlyTooMany(t *testing.T) {
	cfg := open()
	cfg.Limits.Connections = 10
	s := start(t, cfg)
	for i := range 9 {
		s.user(fmt.Sprint("user", i))
	}
	p := s.problem("connections_full")
	if p.Severity != "warning" || p.Values["connections"] != 9.0 || p.Values["limit"] != 10.0 {
		t.Errorf("got %+v", p)
	}
	s.user("last")
	if p := s.problem("connections_full"); p.Severity != "error" {
		t.Errorf("got %+v", p)
	}
	cfg.Limits.Connections = 100
	if _, _, err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	s.solved("connections_full")
}

// A server that sends its clients away says so as long as it can be asked.
func TestDrainingIsAProblem(t *testing.T) {
	s := start(t, open())
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := s.problem("draining"); p.Severity != "warning" {
		t.Errorf("got %+v", p)
	}
}

// Every setting that is in force is listed with where it is from, also those that a program has set.
func TestSettingsOfAProgram(t *testing.T) {
	cfg := open()
	cfg.Limits.Queue = 3 << 20
	cfg.API.Keys = []skein.APIKey{{Name: "app", Hash: "sha256:" + strings.Repeat("ab", 32), Scopes: []string{"*"}}}
	s := start(t, cfg)
	want := map[string]skein.Setting{
		"limits.queue":             {Value: "3MiB", Source: "program", Env: "SKEIN_LIMITS_QUEUE"},
		"limits.message":           {Value: "64KiB", Source: "default", Env: "SKEIN_LIMITS_MESSAGE"},
		"listen":                   {Value: `127.0.0.1:0`, Source: "program", Env: "SKEIN_LISTEN"},
		"api.keys[0].name":         {Value: "app", Source: "program"},
		"api.keys[0].hash":         {Value: "********", Source: "program"},
		"namespaces.room.publish":  {Value: "anyone", Source: "program"},
		"namespaces.room.kind":     {Value: "event", Source: "default"},
		"data":                     {Value: `"off"`, Source: "default", Env: "SKEIN_DATA"},
		"auth.jwt.hmac_secret":     {Value: `""`, Source: "default", Env: "SKEIN_AUTH_JWT_HMAC_SECRET"},
		"namespaces.room.presence": {Value: "members", Source: "program"},
	}
	check := func(want map[string]skein.Setting) {
		t.Helper()
		list, err := s.Settings(t.Context())
		if err != nil || list.File != "" {
			t.Fatalf("%v, file %q", err, list.File)
		}
		seen := map[string]bool{}
		for _, got := range list.Settings {
			if seen[got.Key] || got.Doc == "" {
				t.Errorf("got %+v", got)
			}
			seen[got.Key] = true
			if w, there := want[got.Key]; there {
				w.Key, w.Doc = got.Key, got.Doc
				same(t, got.Key, got, w)
			}
		}
		for key := range want {
			if !seen[key] {
				t.Errorf("%s is not listed", key)
			}
		}
	}
	check(want)
	// A reload is seen, as far as it is in force.
	cfg.Limits.Queue, cfg.Limits.Message, cfg.Limits.Depth = 1<<20, 32<<10, 9
	cfg.Listen = "127.0.0.1:0"
	if _, _, err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	check(map[string]skein.Setting{
		"limits.queue":   want["limits.queue"], // needs a restart
		"limits.message": {Value: "32KiB", Source: "program", Env: "SKEIN_LIMITS_MESSAGE"},
		"limits.depth":   {Value: "9", Source: "program", Env: "SKEIN_LIMITS_DEPTH"},
	})
}

// The settings of a server that was configured by file, environment and flags are those that
// config explain prints.
func TestSettingsOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skein.yaml")
	text := "limits:\n  queue: 2MiB\n  depth: 20\ndata: off\nnamespaces:\n  room: {publish: user}\n"
	load := func() skein.Config {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := config.Load(config.Options{
			File: file, Env: []string{"SKEIN_AUTH_TIMEOUT=7s"}, Flags: []config.Flag{{Path: "listen", Name: "--listen", Value: "127.0.0.1:0"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		l.Config.Sources = l.Sources()
		return l.Config
	}
	s := start(t, load())
	settings := func() map[string]skein.Setting {
		list, err := s.Settings(t.Context())
		if err != nil || list.File != file {
			t.Fatalf("%v, file %q", err, list.File)
		}
		all := map[string]skein.Setting{}
		for _, got := range list.Settings {
			got.Doc = ""
			all[got.Key] = got
		}
		return all
	}
	all := settings()
	for _, want := range []skein.Setting{
		{Key: "limits.queue", Value: "2MiB", Source: "file", Place: file + ":2", Env: "SKEIN_LIMITS_QUEUE"},
		{Key: "limits.depth", Value: "20", Source: "file", Place: file + ":3", Env: "SKEIN_LIMITS_DEPTH"},
		{Key: "namespaces.room.publish", Value: "user", Source: "file", Place: file + ":6"},
		{Key: "namespaces.room.subscribe", Value: "server", Source: "default"},
		{Key: "auth.timeout", Value: "7s", Source: "environment", Env: "SKEIN_AUTH_TIMEOUT"},
		{Key: "listen", Value: "127.0.0.1:0", Source: "flag", Place: "--listen", Env: "SKEIN_LISTEN"},
		{Key: "heartbeat.misses", Value: "3", Source: "default", Env: "SKEIN_HEARTBEAT_MISSES"},
	} {
		same(t, want.Key, all[want.Key], want)
	}
	// A place moves with a reload; what is not in force keeps the one it had.
	text = "heartbeat: {misses: 5}\n# a line\n" + strings.Replace(text, "2MiB", "4MiB", 1)
	if _, _, err := s.Reload(load()); err != nil {
		t.Fatal(err)
	}
	all = settings()
	for key, want := range map[string]string{
		"limits.queue":            "2MiB " + file + ":2",
		"limits.depth":            "20 " + file + ":5",
		"namespaces.room.publish": "user " + file + ":8",
		"heartbeat.misses":        "3 ",
	} {
		if got := all[key].Value + " " + all[key].Place; got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

// No value of a field that is marked as secret is ever in the answer, whatever it is, and
// neither is what an address says of who uses it.
func TestSettingsKeepSecrets(t *testing.T) {
	cfg := open()
	cfg.Dev = false
	secrets := fillSecrets(t, &cfg)
	if len(secrets) < 6 {
		t.Fatalf("only %v are secret", secrets)
	}
	cfg.Hooks.URL = "http://ann:passw0rd-of-a-url@127.0.0.1:1/hooks?token=passw0rd-of-a-query"
	cfg.Auth.JWT.JWKS = "https://ann:passw0rd-of-jwks@keys.example/set"
	cfg.Database = "" // would have to be there; config explain shows it below
	s := start(t, cfg)
	raw, err := json.Marshal(s.verb("settings", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range append(secrets, "passw0rd") {
		if strings.Contains(string(raw), secret) {
			t.Errorf("%s is in the answer", secret)
		}
	}
	if n := strings.Count(string(raw), "********"); n < len(secrets)-1 {
		t.Errorf("%d values are masked, of %d", n, len(secrets))
	}
	l := config.Loaded{Config: cfg}
	l.Config.Database = "postgres://ann:passw0rd@db.example/skein?password=passw0rd"
	for _, v := range config.Explain(l) {
		if strings.Contains(v.Value, "passw0rd") {
			t.Errorf("config explain prints %s: %s", v.Path, v.Value)
		}
	}
}

// fillSecrets gives every field that is marked as secret a value that the server takes.
func fillSecrets(t *testing.T, cfg *skein.Config) (secrets []string) {
	t.Helper()
	cfg.API.Keys = make([]skein.APIKey, 2)
	cfg.Console.Users = make([]skein.ConsoleUser, 2)
	var fill func(v reflect.Value, path string)
	fill = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			name := path + field.Tag.Get("yaml")
			switch {
			case field.Tag.Get("yaml") == "-":
			case field.Tag.Get("secret") != "":
				secret := fmt.Sprintf("secret-%03d-of-more-than-thirty-two-bytes", len(secrets))
				switch name {
				case "database":
					continue
				case "api.keys[].hash":
					key := fmt.Sprintf("key %d", len(secrets))
					secret = auth.FormatHash(auth.HashKey(key))
				case "console.users[].password":
					secret = auth.HashPassword(fmt.Sprintf("password %d", len(secrets)), auth.PasswordCost{Memory: 1 << 10, Passes: 1, Lanes: 1}).String()
				}
				value.SetString(secret)
				secrets = append(secrets, secret)
			case value.Kind() == reflect.Struct:
				fill(value, name+".")
			case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct:
				for i := range value.Len() {
					fill(value.Index(i), name+"[].")
				}
			}
		}
	}
	fill(reflect.ValueOf(cfg).Elem(), "")
	for i := range cfg.API.Keys {
		cfg.API.Keys[i].Name, cfg.API.Keys[i].Scopes = fmt.Sprint("key", i), []string{"*"}
	}
	for i := range cfg.Console.Users {
		cfg.Console.Users[i].Name, cfg.Console.Users[i].Role = fmt.Sprint("user", i), "viewer"
	}
	return secrets
}
