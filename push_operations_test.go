package skein_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// What becomes of pushes is counted on the page of metrics.
func TestMetricsCountPushes(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		c.Push.AckTimeout, c.Push.AckRetries = skein.Duration(200*time.Millisecond), 1
		s := start(t, c)
		ann := s.device("ann", "")
		for range 4 {
			s.pushes("ann bob", "x", `,"category":"promo"`) // three of them may come
		}
		ann.gets(3)
		ann.acks(ann.msgs[0])
		r := s.pushes("ann", "withdrawn", "")
		s.verb("recall", fmt.Sprintf(`{"message":%q}`, r.ID))
		s.verb("categories.mute", `{"user":"ann","category":"orders","muted":true}`)
		s.pushes("ann", "muted", `,"category":"orders"`)
		for name, want := range map[string]float64{
			`push_admitted_total{outcome="queued"}`: 7,
			`push_admitted_total{outcome="capped"}`: 2,
			`push_admitted_total{outcome="muted"}`:  1,
			`push_delivered_total`:                  1,
			`push_recalled_total`:                   1,
			`push_failures_total`:                   0,
			`push_in_flight`:                        0,
			`push_behind`:                           0,
			`push_users`:                            0,
		} {
			eventually(t, fmt.Sprint(name, " is ", want), func() bool { return s.metric("skein_"+name) == want })
		}
		// On a busy machine more than the two that stay may have been sent again.
		if again, over := s.metric("skein_push_resent_total"), s.metric("skein_push_given_up_total"); again < 2 || over < 2 {
			t.Errorf("%v were sent again, and %v given up", again, over)
		}
		// Who was away is told of what was held back meanwhile.
		s.verb("categories.mute", `{"user":"bob","category":"promo","muted":true}`)
		bob := s.device("bob", "")
		bob.until("the notice", func() bool { return len(bob.notices) == 1 })
		same(t, "the notice", string(bob.notices[0].Data), `{"count":4,"categories":{"promo":4}}`)
		same(t, "what was held back", s.metric("skein_push_held_total") >= 3, true)
		many := make([]string, 1100)
		for i := range many {
			many[i] = fmt.Sprint("user", i)
		}
		s.pushes(users(many...), "to many", "")
		eventually(t, "the campaign has ended", func() bool { return s.metric("skein_campaigns_finished_total") == 1 })
		same(t, "users of campaigns", s.metric("skein_campaign_users_total"), float64(len(many)))
	})
}

// A trace shows what goes in and out of an inbox: what came by itself, what was asked, and
// the notices of it.
func TestATraceShowsAnInbox(t *testing.T) {
	s := start(t, pushConfig(t.TempDir()))
	s.pushes("ann", "waits", `,"category":"orders"`)
	tr := s.trace("user=ann")
	ann := s.device("ann", "phone")
	tr.expect("connected")
	if l := tr.expect("out msg"); l["frame"].(map[string]any)["channel"] != "@inbox" || l["frame"].(map[string]any)["data"] != "waits" || l["device"] != "phone" {
		t.Errorf("got %v", l)
	}
	ann.gets(1)
	r := s.pushes("ann", "live", "")
	ann.gets(2)
	if f := tr.expect("out msg")["frame"].(map[string]any); f["id"] != r.ID || f["seq"] != 2.0 {
		t.Errorf("got %v", f)
	}
	ann.must(`{"type":"ack","seq":1}`)
	ann.must(`{"type":"mark","channel":"@inbox","read":1}`)
	ann.must(`{"type":"mute","category":"orders","muted":true}`)
	ann.must(`{"type":"history","channel":"@inbox"}`)
	tr.expect("in ack", "out ok", "in mark", "out ok", "in mute", "out ok", "in history", "out ok")
	s.verb("recall", fmt.Sprintf(`{"message":%q}`, r.ID))
	tr.expect("out recall")
	s.verb("inbox.mark", `{"user":"ann","read":2}`)
	if f := tr.expect("out mark")["frame"].(map[string]any); f["read"] != 2.0 || f["unread"] != 0.0 {
		t.Errorf("got %v", f)
	}
	stream := s.deviceAt("sse", "ann", "")
	tr.expect("connected")
	s.pushes("ann", "to both", "")
	stream.gets(1)
	for range 2 {
		if l := tr.expect("out msg"); l["frame"].(map[string]any)["data"] != "to both" {
			t.Errorf("got %v", l)
		}
	}
}

// Each verb of pushes and users has a scope: a key without it is denied, and nothing is done.
func TestVerbsOfPushesNeedTheirScopes(t *testing.T) {
	cfg, keys := keyed(t, "publish", "push", "inbox.*", "users.get records", "campaigns.* categories.list")
	cfg.Data = t.TempDir()
	s := start(t, cfg)
	params := map[string]string{
		"push":              pushParams("ann", "x", ""),
		"inbox.list":        `{"user":"ann"}`,
		"inbox.mark":        `{"user":"ann","read":1}`,
		"records":           `{}`,
		"users.put":         `{"id":"ben","attributes":{}}`,
		"users.get":         `{"id":"ann"}`,
		"users.query":       `{}`,
		"users.delete":      `{"id":"carl"}`,
		"categories.put":    `{"name":"new"}`,
		"categories.list":   `{}`,
		"categories.delete": `{"name":"new"}`,
		"categories.mute":   `{"user":"ann"}`,
		"explain":           `{"user":"ann","category":"new"}`,
		"campaigns.create":  `{"name":"x","to":{"all":"users"},"data":1}`,
		"campaigns.list":    `{}`,
		"recall":            `{"message":"01J0000000000000000000000X"}`,
	}
	allowed := map[string][]string{
		"publish":     nil,
		"push":        {"push"},
		"inbox.*":     {"inbox.list", "inbox.mark"},
		"users.get":   {"users.get", "records"},
		"campaigns.*": {"campaigns.create", "campaigns.list", "categories.list"},
	}
	if status, _, out := s.post(keys["push"], "push", params["push"]); status != 200 {
		t.Fatalf("got %d %v", status, out)
	}
	for name, may := range allowed {
		for verb, text := range params {
			want := 403
			if strings.Contains(" "+strings.Join(may, " ")+" ", " "+verb+" ") {
				want = 200
			}
			if status, _, out := s.post(keys[name], verb, text); status != want || want == 403 && out["code"] != "denied" {
				t.Errorf("%s with the key for %s is answered by %d %v, want %d", verb, name, status, out, want)
			}
		}
	}
	if status, _, _ := s.post("nonsense", "push", params["push"]); status != 401 {
		t.Errorf("no key: %d", status)
	}
	// Two pushes were allowed, of which one was marked as read, and none of what was denied was done.
	c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
	c.expect("welcome")
	if m := c.expect("msg"); m["seq"] != 2.0 {
		t.Errorf("got %v", m)
	}
	c.lives()
}

// Frames about an inbox have rates as others have: what is over them changes nothing, and is
// right a little later.
func TestFramesOfAnInboxHaveRates(t *testing.T) {
	cfg := pushConfig(t.TempDir())
	cfg.Rates = skein.Rates{Frames: []string{"ack 2/h", "mute 1/h", "mark 1/h"}}
	s := start(t, cfg)
	phone, desk := s.device("ann", ""), s.device("ann", "")
	for i := range 4 {
		s.pushes("ann", fmt.Sprint(i), "")
	}
	phone.gets(4)
	desk.gets(4)
	same(t, "the first two", phone.acks(phone.msgs[0])+phone.acks(phone.msgs[1]), 2)
	f := phone.refused(ackFrame(phone.msgs[2]), "rate_limited")
	if f.Message != "more ack frames on this connection than 2/h" || f.RetryAfter <= 0 {
		t.Errorf("got %+v", f)
	}
	phone.must(`{"type":"mute"}`)
	phone.refused(`{"type":"mute"}`, "rate_limited")
	phone.must(`{"type":"mark","channel":"@inbox","read":1}`)
	phone.refused(`{"type":"mark","channel":"@inbox","read":4}`, "rate_limited")
	same(t, "another connection", desk.acks(desk.msgs...), 2)
	same(t, "the history has no rate", string(phone.must(`{"type":"history","channel":"@inbox"}`).Read), "1")
	same(t, "who comes", s.device("ann", "").has(), []string{})
}
