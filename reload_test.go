package skein_test

import (
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// A reload says what it put in force and what has to wait for a restart.
func TestReloadTellsWhatIsInForce(t *testing.T) {
	base, _ := keyed(t, "*")
	for what, tt := range map[string]struct {
		change           func(*skein.Config)
		applied, restart []string
	}{
		"nothing":           {func(*skein.Config) {}, nil, nil},
		"auth":              {func(c *skein.Config) { c.Auth.Anonymous = true }, []string{"auth"}, nil},
		"api":               {func(c *skein.Config) { c.API.Keys = nil }, []string{"api"}, nil},
		"origins":           {func(c *skein.Config) { c.Origins = []string{"*"} }, []string{"origins"}, nil},
		"trusted proxies":   {func(c *skein.Config) { c.TrustedProxies = []string{"10.0.0.0/8"} }, []string{"trusted_proxies"}, nil},
		"message":           {func(c *skein.Config) { c.Limits.Message = 1 << 10 }, []string{"limits"}, nil},
		"namespaces":        {func(c *skein.Config) { c.Namespaces = nil }, []string{"namespaces"}, nil},
		"drain":             {func(c *skein.Config) { c.Drain.Spread = skein.Duration(time.Minute) }, []string{"drain"}, nil},
		"compression":       {func(c *skein.Config) { c.WebSocket.Compression = true }, []string{"websocket.compression"}, nil},
		"driver":            {func(c *skein.Config) { c.WebSocket.Driver = "portable" }, nil, []string{"websocket.driver"}},
		"listen":            {func(c *skein.Config) { c.Listen = "127.0.0.1:1" }, nil, []string{"listen"}},
		"heartbeat":         {func(c *skein.Config) { c.Heartbeat.Misses = 9 }, nil, []string{"heartbeat"}},
		"queue":             {func(c *skein.Config) { c.Limits.Queue = 1 << 16 }, nil, []string{"limits.queue"}},
		"handshake":         {func(c *skein.Config) { c.Limits.Handshake = skein.Duration(time.Second) }, nil, []string{"limits.handshake"}},
		"demos":             {func(c *skein.Config) { c.Demos = true }, nil, []string{"demos"}},
		"log":               {func(c *skein.Config) { c.Log.Level = "debug" }, nil, []string{"log"}},
		"some of each":      {func(c *skein.Config) { c.Limits.Queue, c.Limits.Depth, c.Demos = 1<<16, 9, true }, []string{"limits"}, []string{"demos", "limits.queue"}},
		"a default by name": {func(c *skein.Config) { c.Heartbeat.Misses = 3 }, nil, nil},
	} {
		s := start(t, base)
		cfg := base
		cfg.Listen = "127.0.0.1:0"
		tt.change(&cfg)
		applied, restart, err := s.Reload(cfg)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": applied", applied, tt.applied)
		same(t, what+": needs a restart", restart, tt.restart)
	}
}

// A configuration that is wrong changes nothing.
func TestReloadRefusesAWrongConfiguration(t *testing.T) {
	s := start(t, strict())
	cfg := strict()
	cfg.Namespaces["room"] = skein.Namespace{Subscribe: "nobody"}
	cfg.Auth.JWT.HMACSecret = "another secret of more than thirty-two bytes"
	applied, restart, err := s.Reload(cfg)
	if err == nil || applied != nil || restart != nil || !strings.Contains(err.Error(), "namespaces.room.subscribe") {
		t.Errorf("got %v, %v, %v; want an error that names namespaces.room.subscribe", applied, restart, err)
	}
	c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
	c.expect("welcome")
	c.do(`{"type":"sub","channel":"room:1"}`)
}

// New rules hold for who is connected: what they no longer allow ends.
func TestReloadedNamespacesEndSubscriptions(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		ann := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
		ann.ID = ann.expect("welcome")["connection"].(string)
		boss := s.dial("token=" + token(t, auth.Identity{User: "boss", Caps: caps(t, map[string]string{"room:*": "sub pub"})}))
		boss.expect("welcome")
		for _, c := range []*client{ann, boss} {
			c.do(`{"type":"sub","channel":"room:1"}`)
			c.do(`{"type":"sub","channel":"tick:1"}`)
		}
		s.verb("subscribe", `{"connection":"`+ann.ID+`","channel":"room:2"}`)
		ann.expect("subscribed")

		cfg := strict()
		cfg.Listen = "127.0.0.1:0"
		cfg.Namespaces = map[string]skein.Namespace{"room": {Subscribe: "token", Publish: "token"}, "new": {Subscribe: "user"}}
		if _, _, err := s.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		lost := map[string]any{}
		for range 2 {
			f := ann.expect("unsubscribed")
			lost[f["channel"].(string)] = f["reason"]
		}
		same(t, "ann lost", lost, map[string]any{"room:1": "denied", "tick:1": "denied"})
		if f := boss.expect("unsubscribed"); f["channel"] != "tick:1" {
			t.Errorf("boss got %v, want tick:1 to end", f)
		}
		ann.lives()
		boss.lives()
		ann.fails(`{"type":"sub","channel":"room:1"}`, "denied")
		ann.fails(`{"type":"sub","channel":"tick:1"}`, "not_found")
		ann.do(`{"type":"sub","channel":"new:1"}`)
		for channel, want := range map[string]float64{"room:1": 1, "room:2": 1} {
			if out := s.verb("publish", `{"to":{"channel":"`+channel+`"},"data":1}`); out["connections"] != want {
				t.Errorf("%s reaches %v connections, want %v", channel, out["connections"], want)
			}
		}
		boss.expect("msg")
		if m := ann.expect("msg"); m["channel"] != "room:2" {
			t.Errorf("ann got %v, want only what the server subscribed her to", m)
		}
	})
}

// New limits, keys and secrets hold from the reload on.
func TestReloadedLimitsKeysAndSecretsHold(t *testing.T) {
	cfg, keys := keyed(t, "info")
	s := start(t, cfg)
	c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
	c.expect("welcome")
	c.do(`{"type":"sub","channel":"room:1"}`)

	next, nextKeys := keyed(t, "info")
	next.Listen = "127.0.0.1:0"
	next.Limits.Subscriptions = 1
	next.Limits.Connections = 2
	next.Auth.JWT.HMACSecret = strings.Repeat("fresh ", 10)
	if _, _, err := s.Reload(next); err != nil {
		t.Fatal(err)
	}
	c.fails(`{"type":"sub","channel":"room:2"}`, "too_large")
	if status, _, _ := s.post(keys["info"], "info", `{}`); status != 401 {
		t.Errorf("the old key: %d, want 401", status)
	}
	if status, _, _ := s.post(nextKeys["info"], "info", `{}`); status != 200 {
		t.Errorf("the new key: %d, want 200", status)
	}
	s.dial("token="+token(t, auth.Identity{User: "ann"})).goodbye("token_refused", 4002)
	eventually(t, "one connection", func() bool { return s.stat("open") == 1 })
	s.dial("token=" + sign(t, next.Auth.JWT.HMACSecret, auth.Identity{User: "ann"}, "shop", "live")).expect("welcome")
	if status, _, _ := s.request("GET", "/ws", "", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="); status != 503 {
		t.Errorf("a third connection: %d, want 503", status)
	}
}
