package skein_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// seen asks the verb online when users were last there.
func (s *testServer) seen(users string) map[string]any {
	s.t.Helper()
	return s.verb("online", `{"users":`+users+`,"seen":true}`)
}

// since checks that a user is offline and was there between two moments.
func (s *testServer) since(user string, from, to time.Time) float64 {
	s.t.Helper()
	o := s.seen(fmt.Sprintf("[%q]", user))[user].(map[string]any)
	at, _ := o["seen"].(float64)
	if o["online"] != false || at < float64(from.UnixMilli()) || at > float64(to.UnixMilli()) {
		s.t.Errorf("%s is %v, want a time from %d to %d", user, o, from.UnixMilli(), to.UnixMilli())
	}
	return at
}

// gone waits until a user has no connection.
func (s *testServer) gone(user string) {
	s.t.Helper()
	eventually(s.t, user+" has gone", func() bool {
		return s.verb("online", fmt.Sprintf(`{"users":[%q]}`, user))[user].(map[string]any)["online"] == false
	})
}

func TestOnlineTellsWhenUsersWereLastThere(t *testing.T) {
	away := func() map[string]any {
		return map[string]any{"online": false, "connections": 0.0, "devices": []any{}}
	}
	dir := ""
	cfg := func() skein.Config {
		cfg := grouped(t)
		dir = cfg.Data
		return cfg
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		phone := s.dial("user=ann&device=phone")
		phone.expect("welcome")
		desk, bob := s.user("ann"), s.user("bob")
		// Who is there, and who never was, has no time.
		want := map[string]any{
			"ann":  map[string]any{"online": true, "connections": 2.0, "devices": []any{"phone"}},
			"carl": away(),
		}
		same(t, "at first", s.seen(`["ann","carl"]`), want)

		_ = phone.ws.CloseNow()
		eventually(t, "the phone has gone", func() bool { return len(s.UserConns("ann")) == 1 })
		want["ann"] = map[string]any{"online": true, "connections": 1.0, "devices": []any{}}
		same(t, "with one of two devices", s.seen(`["ann","carl"]`), want)

		from := time.Now()
		_ = desk.ws.CloseNow()
		s.gone("ann")
		at := s.since("ann", from, time.Now())
		same(t, "a repeat", s.since("ann", from, time.Now()), at)
		_, out := s.api("online", `{"users":["ann"],"seen":true}`)
		same(t, "over HTTP", out["ann"].(map[string]any)["seen"], any(at))
		// Only whoever asks for it is told.
		for _, params := range []string{`{"users":["ann"]}`, `{"users":["ann"],"seen":false}`} {
			same(t, params, s.verb("online", params), map[string]any{"ann": away()})
		}
		// It is about users: of connections nothing is kept.
		same(t, "of connections", s.verb("online", `{"connections":["`+desk.ID+`"],"seen":true}`), map[string]any{desk.ID: away()})

		// Who comes back has none, and then a later one.
		again := s.user("ann")
		same(t, "back", s.seen(`["ann"]`)["ann"], any(map[string]any{"online": true, "connections": 1.0, "devices": []any{}}))
		from = time.Now()
		s.verb("disconnect", `{"user":"ann"}`)
		again.goodbye("disconnected", 4004)
		s.gone("ann")
		if later := s.since("ann", from, time.Now()); later < at {
			t.Errorf("%v comes before %v", later, at)
		}
		// A connection that is bound to somebody else is seen as the one that it was at the end.
		s.verb("bind", `{"connection":"`+bob.ID+`","user":"dora"}`)
		from = time.Now()
		_ = bob.ws.CloseNow()
		s.gone("dora")
		s.since("dora", from, time.Now())

		// It outlives the server, whose own end is one of those who were there.
		s.user("emil")
		from = time.Now()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		to := time.Now()
		next := grouped(t)
		next.Data = dir
		s = start(t, next)
		s.since("emil", from, to)
		s.since("dora", time.Time{}, from)
		same(t, "after a restart", s.seen(`["carl"]`), map[string]any{"carl": away()})
	})
}

func TestUsersAreSeenThroughEveryDoor(t *testing.T) {
	cfg := ioConfig()
	cfg.Data = t.TempDir()
	s := start(t, cfg)
	from := time.Now()
	for user, enter := range map[string]func(user string) func(){
		"sse":  func(user string) func() { return s.source("user=" + user).close },
		"poll": func(user string) func() { return s.poller(fmt.Sprintf(`{"user":%q}`, user)).leave },
		"socket.io": func(user string) func() {
			c := s.io("&user=" + url.QueryEscape(user))
			c.connect("/", "")
			return func() { _ = c.ws.CloseNow() }
		},
	} {
		leave := enter(user)
		same(t, user+" is there", s.seen(fmt.Sprintf("[%q]", user))[user].(map[string]any)["online"], any(true))
		leave()
		s.gone(user)
		s.since(user, from, time.Now())
	}
}

func TestWithoutAStoreNobodyWasSeen(t *testing.T) {
	s := start(t, open())
	_ = s.user("ann").ws.CloseNow()
	s.gone("ann")
	same(t, "seen", s.seen(`["ann"]`), map[string]any{"ann": map[string]any{"online": false, "connections": 0.0, "devices": []any{}}})
}

func TestConnectionsShowsASingleOne(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		ann := s.dial("user=ann&device=phone")
		ann.ID = ann.expect("welcome")["connection"].(string)
		desk, guest := s.user("ann"), s.anonymous()
		ann.do(`{"type":"sub","channel":"room:1"}`)
		ann.do(`{"type":"sub","channel":"room:2"}`)
		of := func(c *client, more string) []any {
			t.Helper()
			page := s.verb("connections", `{"connection":"`+c.ID+`"`+more+`}`)
			if page["next"] != nil {
				t.Errorf("there is more: %v", page)
			}
			return page["items"].([]any)
		}
		items := of(ann, "")
		if len(items) != 1 {
			t.Fatalf("got %v", items)
		}
		item := items[0].(map[string]any)
		same(t, "the one", []any{item["id"], item["user"], item["device"], item["transport"], item["channels"]},
			[]any{ann.ID, "ann", "phone", "websocket", []any{"room:1", "room:2"}})
		if item["bytes"].(float64) < 100 || time.Since(time.UnixMilli(int64(item["since"].(float64)))) > time.Minute {
			t.Errorf("got %v", item)
		}
		if items := of(guest, ""); len(items) != 1 || items[0].(map[string]any)["id"] != guest.ID || items[0].(map[string]any)["user"] != nil {
			t.Errorf("got %v", items)
		}
		// Other filters hold as well.
		for more, n := range map[string]int{
			`,"user":"ann"`: 1, `,"user":"bob"`: 0, `,"channel":"room:1"`: 1, `,"channel":"room:3"`: 0,
			`,"user":"ann","channel":"room:2"`: 1, `,"user":"bob","channel":"room:2"`: 0, `,"limit":1`: 1, `,"after":"` + ann.ID + `"`: 0,
		} {
			if items := of(ann, more); len(items) != n || n == 1 && items[0].(map[string]any)["id"] != ann.ID {
				t.Errorf("%s: got %v", more, items)
			}
		}
		same(t, "who is not subscribed", of(desk, `,"channel":"room:1"`), []any{})
		// One that has gone is no mistake; what is no id is one.
		_ = desk.ws.CloseNow()
		eventually(t, "it has gone", func() bool { return s.Conn(desk.ID) == nil })
		same(t, "one that has gone", of(desk, ""), []any{})
		if status, out := s.api("connections", `{"connection":"nonsense"}`); status != 400 || out["field"] != "connection" || out["detail"] != "connection: is not the id of a connection" {
			t.Errorf("got %d %v", status, out)
		}
	})
}

func TestUnsubscribeTakesEverybodyOutOfAChannel(t *testing.T) {
	each(t, func() skein.Config { return grouped(t) }, func(t *testing.T, s *testServer) {
		s.verb("members.add", `{"channel":"team:1","users":["ann"]}`)
		member, ordered, guest := s.user("ann"), s.user("bob"), s.anonymous()
		member.expect("subscribed")
		for _, c := range []*client{ordered, guest} {
			s.verb("subscribe", `{"connection":"`+c.ID+`","channel":"team:1"}`)
			c.expect("subscribed")
		}
		all := []*client{member, ordered, guest}
		for _, c := range all {
			c.do(`{"type":"sub","channel":"room:1"}`)
			c.do(`{"type":"sub","channel":"room:2"}`)
		}
		out := func(channel string) {
			t.Helper()
			same(t, channel, s.verb("unsubscribe", `{"channel":"`+channel+`","all":true}`), map[string]any{"connections": 3.0})
			for _, c := range all {
				f := c.expect("unsubscribed")
				same(t, "frame", []any{f["channel"], f["reason"]}, []any{channel, "server"})
				c.lives()
			}
			same(t, "reach", s.verb("publish", `{"to":{"channel":"`+channel+`"},"data":1}`)["connections"], any(0.0))
			same(t, "again", s.verb("unsubscribe", `{"channel":"`+channel+`","all":true}`), map[string]any{"connections": 0.0})
		}
		out("room:1")
		out("team:1")
		// The other channel goes on, and who may subscribe can come back.
		same(t, "elsewhere", s.verb("publish", `{"to":{"channel":"room:2"},"data":2}`)["connections"], any(3.0))
		for _, c := range all {
			c.expect("msg")
		}
		guest.do(`{"type":"sub","channel":"room:1"}`)
		member.do(`{"type":"sub","channel":"team:1"}`)
		ordered.fails(`{"type":"sub","channel":"team:1"}`, "denied")
		// Memberships stay: their users are subscribed again when they connect.
		same(t, "members", s.verb("members.count", `{"channel":"team:1"}`), map[string]any{"count": 1.0})
		if f := s.user("ann").expect("subscribed"); f["channel"] != "team:1" {
			t.Errorf("got %v", f)
		}
		for _, more := range []string{`"user":"ann"`, `"connection":"` + guest.ID + `"`} {
			if status, out := s.api("unsubscribe", `{"channel":"room:1","all":true,`+more+`}`); status != 400 || out["detail"] != "all: cannot be given together with connection or user" {
				t.Errorf("%s: got %d %v", more, status, out)
			}
		}
		if status, out := s.api("unsubscribe", `{"channel":"room:1","all":false}`); status != 400 || out["field"] != "connection" {
			t.Errorf("got %d %v", status, out)
		}
		guest.lives() // is still there
		same(t, "still there", s.verb("presence", `{"channel":"room:1"}`)["connections"], any(1.0))
	})
}

// Those who watch a channel see everybody leave; through each door the frame is
// the same.
func TestUnsubscribingAllIsSeenThroughEveryDoor(t *testing.T) {
	s := start(t, ioConfig())
	watcher := s.anonymous()
	watcher.do(`{"type":"sub","channel":"room:1","presence":true}`)
	e := s.source("user=ann&channels=room:1")
	e.expect("ok")
	p := s.poller(`{"user":"bob","frames":[{"type":"sub","channel":"room:1","id":1}]}`)
	p.expect("ok")
	c := s.io("&user=carl")
	c.connect("/", "")
	c.send(`421["skein",{"type":"sub","channel":"room:1"}]`)
	c.next()
	for _, user := range []string{"ann", "bob", "carl"} {
		same(t, "joins", watcher.expect("join")["user"], any(user))
	}
	same(t, "all", s.verb("unsubscribe", `{"channel":"room:1","all":true}`), map[string]any{"connections": 4.0})
	same(t, "sse", e.expect("unsubscribed")["reason"], any("server"))
	same(t, "poll", p.expect("unsubscribed")["reason"], any("server"))
	c.expect(`42["skein",{"type":"unsubscribed","channel":"room:1","reason":"server"}]`)
	// The watcher is one of them: it sees those who go before it.
	for left := map[any]bool{}; ; {
		f, err := watcher.read()
		if err != nil {
			t.Fatal(err)
		}
		if f["type"] == "unsubscribed" {
			break
		}
		if f["type"] != "leave" || left[f["user"]] {
			t.Fatalf("got %v after %v", f, left)
		}
		left[f["user"]] = true
	}
	watcher.lives()
}
