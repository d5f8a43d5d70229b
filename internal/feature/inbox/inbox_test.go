package inbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/inbox"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// categories are those that there are, and whether they can be muted.
type categories map[string]bool

func (c categories) Mutable(name string) (mutable, known bool) {
	mutable, known = c[name]
	return mutable, known
}

// world is sessions with inboxes, on a store in a file.
type world struct {
	*sessiontest.World
	pushes *push.Pushes
	store  store.Store
}

func start(t *testing.T, s push.Settings) *world {
	t.Helper()
	w := &world{World: sessiontest.Start(t, sessiontest.Options{})}
	w.pushes = push.New(push.Config{Settings: func() push.Settings { return s }, Logger: slog.New(slog.DiscardHandler)})
	kept, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Relaxed: true, Options: store.Options{Pushed: w.pushes.Pushed}})
	if err != nil {
		t.Fatal(err)
	}
	w.store = kept
	if err := w.pushes.Start(t.Context(), w.Hub, kept); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.pushes.Close()
		_ = kept.Close()
	})
	inbox.New(inbox.Config{Pushes: w.pushes, Categories: categories{"promo": true, "news": true, "orders": false}, Page: func() int { return 64 << 10 }}, w.Server)
	welcome := func(s *session.Session) { w.pushes.Welcome(&s.Conn) }
	w.SetHooks(session.Hooks{Welcomed: welcome, Bound: welcome})
	return w
}

// push pushes messages to a user, with data 1, 2, 3 …, and gives their ids.
func (w *world) push(user string, count int, policy fatigue.Policy) (ids []string) {
	w.T.Helper()
	for i := range count {
		done, err := w.pushes.Push(context.Background(), push.Message{
			Content: store.Content{Data: fmt.Append(nil, i+1), Category: policy.Category, Policy: policy},
		}, []store.Recipient{{User: user}})
		if err != nil {
			w.T.Fatal(err)
		}
		ids = append(ids, done.ID)
	}
	return ids
}

// messages takes msg frames of the inbox with the seqs given.
func messages(c *sessiontest.Client, seqs ...int) {
	c.T.Helper()
	for _, seq := range seqs {
		if f := c.Expect("msg"); f["channel"] != "@inbox" || f["seq"] != float64(seq) {
			c.T.Fatalf("got %v, want the message %d of the inbox", f, seq)
		}
	}
}

// has checks members of a frame, as they are printed.
func has(t testing.TB, f map[string]any, members ...string) {
	t.Helper()
	for i := 0; i < len(members); i += 2 {
		if got := fmt.Sprint(f[members[i]]); got != members[i+1] {
			t.Errorf("%s is %s in %v, want %s", members[i], got, f, members[i+1])
		}
	}
}

var never = fatigue.Policy{Category: "promo", Chain: []fatigue.Level{{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 0}}}}}

func TestWrongFramesNameTheirMember(t *testing.T) {
	w := start(t, push.Settings{})
	c := w.User("ann", "pad")
	many := strings.Repeat(`"x",`, push.MaxAck) + `"x"`
	for _, tt := range []struct {
		frame   string
		code    fault.Code
		message string
	}{
		{`{"type":"ack"}`, fault.BadRequest, "seq: is missing; or give messages"},
		{`{"type":"ack","seq":0}`, fault.BadRequest, "seq: 0 is not between 1 and"},
		{`{"type":"ack","seq":"8"}`, fault.BadRequest, "seq: "},
		{`{"type":"ack","seq":1,"messages":["x"]}`, fault.BadRequest, "messages: cannot be given together with seq"},
		{`{"type":"ack","messages":[]}`, fault.BadRequest, "messages: is empty; 1 to 500 ids are needed"},
		{`{"type":"ack","messages":"x"}`, fault.BadRequest, "messages: must be a list of ids, not a string"},
		{`{"type":"ack","messages":["x",7]}`, fault.BadRequest, "messages[1]: must be a string, not a number"},
		{`{"type":"ack","messages":[""]}`, fault.BadRequest, "messages[0]: has 0 bytes; 1 to 64 are allowed"},
		{`{"type":"ack","messages":[` + many + `]}`, fault.BadRequest, "messages: has more than 500 ids"},
		{`{"type":"mark","channel":"@inbox"}`, fault.BadRequest, "read: is missing"},
		{`{"type":"mark","channel":"@inbox","read":-1}`, fault.BadRequest, "read: -1 is not between 0 and"},
		{`{"type":"mark","channel":"@inbox","read":1.5}`, fault.BadRequest, "read: "},
		{`{"type":"history","channel":"@inbox","limit":0}`, fault.BadRequest, "limit: 0 is not between 1 and 500"},
		{`{"type":"history","channel":"@inbox","limit":501}`, fault.BadRequest, "limit: 501 is not between 1 and 500"},
		{`{"type":"history","channel":"@inbox","before":3,"after":1}`, fault.BadRequest, "before: cannot be given together with after"},
		{`{"type":"history","channel":"@inbox","before":0}`, fault.BadRequest, "before: 0 is not a seq"},
		{`{"type":"history","channel":"@inbox","after":-1}`, fault.BadRequest, "after: "},
		{`{"type":"history","channel":"@inbox","unread":1}`, fault.BadRequest, "unread: "},
		{`{"type":"sub","channel":"@inbox","since":{"epoch":"e","seq":1}}`, fault.BadRequest, "since: what was not acknowledged"},
		{`{"type":"sub","channel":"@inbox","last":501}`, fault.BadRequest, "last: 501 is not between 0 and 500"},
		{`{"type":"sub","channel":"@inbox","unread":"yes"}`, fault.BadRequest, "unread: "},
		{`{"type":"unsub","channel":"@inbox"}`, fault.BadRequest, "channel: nobody is subscribed to the inbox"},
		{`{"type":"mute","category":"promo"}`, fault.BadRequest, "muted: is missing"},
		{`{"type":"mute","muted":true}`, fault.BadRequest, "category: is missing"},
		{`{"type":"mute","category":"","muted":true}`, fault.BadRequest, "category: is empty"},
		{`{"type":"mute","category":"promo","muted":1}`, fault.BadRequest, "muted: "},
		{`{"type":"mute","category":"` + strings.Repeat("x", 65) + `","muted":true}`, fault.BadRequest, "category: "},
		{`{"type":"mute","category":"none","muted":true}`, fault.NotFound, `category: there is no category "none"`},
		{`{"type":"mute","category":"orders","muted":true}`, fault.Denied, `category: "orders" cannot be muted`},
	} {
		c.Send(tt.frame)
		c.ExpectError(tt.code, tt.message)
	}
}

func TestWhoHasNoInbox(t *testing.T) {
	w := start(t, push.Settings{})
	c := w.User("", "")
	for _, frame := range []string{
		`{"type":"ack","seq":1}`, `{"type":"mark","channel":"@inbox","read":1}`, `{"type":"mute"}`, `{"type":"history","channel":"@inbox"}`,
		`{"type":"sub","channel":"@inbox"}`, `{"type":"unsub","channel":"@inbox"}`, `{"type":"history","channel":"\u0040inbox"}`,
	} {
		c.Send(frame)
		c.ExpectError(fault.Unauthorized, "a connection without a user has no inbox")
	}
}

func TestAcknowledging(t *testing.T) {
	w := start(t, push.Settings{})
	c := w.User("ann", "pad")
	ids := w.push("ann", 4, fatigue.Policy{})
	messages(c, 1, 2, 3, 4)
	has(t, c.Do(fmt.Sprintf(`{"type":"ack","messages":[%q,%q,"nothing"]}`, ids[1], ids[1])), "acked", "1", "unknown", "[nothing]")
	has(t, c.Do(`{"type":"ack","channel":"@inbox","seq":3}`), "acked", "2", "unknown", "<nil>")
	has(t, c.Do(`{"type":"ack","seq":3}`), "acked", "0")
	c.Send(`{"type":"ack","seq":4}`) // without an id nobody is told
	has(t, c.Do(`{"type":"ack","seq":4}`), "acked", "0")
	page, err := w.pushes.Records(t.Context(), store.RecordQuery{User: "ann", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Records {
		if r := &page.Records[i]; r.State != store.Delivered || r.Device != "pad" {
			t.Errorf("%d is %s by %q", r.Seq, r.State, r.Device)
		}
	}
}

func TestMarking(t *testing.T) {
	w := start(t, push.Settings{})
	a, b := w.User("ann", "pad"), w.User("ann", "phone")
	w.push("ann", 3, fatigue.Policy{})
	messages(a, 1, 2, 3)
	messages(b, 1, 2, 3)
	has(t, a.Do(`{"type":"mark","channel":"@inbox","read":2}`), "read", "2", "unread", "1")
	has(t, b.Expect("mark"), "channel", "@inbox", "user", "ann", "read", "2", "unread", "1")
	has(t, b.Do(`{"type":"mark","channel":"@inbox","read":1}`), "read", "2", "unread", "1")
	has(t, b.Do(`{"type":"mark","channel":"@inbox","read":900}`), "read", "3", "unread", "0")
	has(t, a.Expect("mark"), "read", "3", "unread", "0")
	has(t, a.Do(`{"type":"ack","seq":3}`), "acked", "0") // what was read is delivered
}

func TestHistory(t *testing.T) {
	w := start(t, push.Settings{})
	w.push("ann", 4, fatigue.Policy{})
	w.push("ann", 1, never)
	c := w.User("ann", "pad")
	messages(c, 1, 2, 3, 4)
	c.Expect("notice") // of the one that is held back
	c.Do(`{"type":"mark","channel":"@inbox","read":2}`)
	for _, tt := range []struct{ members, want, more string }{
		{``, "1 delivered true, 2 delivered true, 3 sent <nil>, 4 sent <nil>, 5 capped <nil>", "false"},
		{`,"limit":2`, "4 sent <nil>, 5 capped <nil>", "true"},
		{`,"before":3,"limit":2`, "1 delivered true, 2 delivered true", "false"},
		{`,"after":1,"limit":2`, "2 delivered true, 3 sent <nil>", "true"},
		{`,"unread":true`, "3 sent <nil>, 4 sent <nil>, 5 capped <nil>", "false"},
		{`,"after":9`, "", "false"},
	} {
		f := ok(w, c, `{"type":"history","channel":"@inbox"`+tt.members+`}`)
		var got []string
		for _, x := range f["messages"].([]any) {
			m := x.(map[string]any)
			got = append(got, fmt.Sprint(m["seq"], " ", m["outcome"], " ", m["read"]))
			if m["type"] != nil || m["channel"] != nil || m["id"] == nil || m["time"] == nil || m["event"] != "message" {
				t.Errorf("a message is %v", m)
			}
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.members, s, tt.want)
		}
		has(t, f, "more", tt.more, "seq", "5", "read", "2", "unread", "3")
		if f["epoch"] == "" {
			t.Error("it has no epoch")
		}
	}
}

// ok is Do once what the engine writes by itself is written.
func ok(w *world, c *sessiontest.Client, frame string) map[string]any {
	w.T.Helper()
	for over := time.Now().Add(10 * time.Second); ; {
		f := c.Do(frame)
		if !strings.Contains(fmt.Sprint(f["messages"]), "queued") || time.Now().After(over) {
			return f
		}
	}
}

func TestSubscribingShowsTheNewest(t *testing.T) {
	w := start(t, push.Settings{})
	w.push("ann", 3, fatigue.Policy{})
	w.push("ann", 1, never)
	c := w.User("ann", "pad")
	messages(c, 1, 2, 3)
	c.Expect("notice") // of the one that is held back
	c.Do(`{"type":"mark","channel":"@inbox","read":3}`)
	has(t, c.Do(`{"type":"sub","channel":"@inbox"}`), "channel", "@inbox", "kind", "log", "seq", "4", "read", "3", "unread", "1")
	c.Do(`{"type":"sub","channel":"@inbox","last":2}`)
	messages(c, 3, 4)
	c.Do(`{"type":"sub","channel":"@inbox","unread":true}`)
	messages(c, 4)
	c.Do(`{"type":"sub","channel":"@inbox","unread":true,"last":0}`)
	c.Send(`{"type":"sub","channel":"@inbox","last":1}`)
	messages(c, 4)
	c.Send(`{"type":"ping"}`)
	c.Expect("pong")
}

func TestMuting(t *testing.T) {
	w := start(t, push.Settings{})
	c := w.User("ann", "pad")
	has(t, c.Do(`{"type":"mute"}`), "muted", "[]")
	has(t, c.Do(`{"type":"mute","category":"promo","muted":true}`), "muted", "[promo]")
	has(t, c.Do(`{"type":"mute","category":"news","muted":true}`), "muted", "[news promo]")
	has(t, c.Do(`{"type":"mute","category":"promo","muted":false}`), "muted", "[news]")
	has(t, w.User("ann", "phone").Do(`{"type":"mute"}`), "muted", "[news]")
}

func TestARefreshedOrBoundConnection(t *testing.T) {
	w := start(t, push.Settings{})
	w.push("ann", 1, fatigue.Policy{})
	w.push("bob", 1, fatigue.Policy{})
	c := w.User("", "")
	identity := c.Identity()
	for _, user := range []string{"ann", "bob", ""} {
		identity.User = user
		if err := c.Rebind(t.Context(), identity); err != nil {
			t.Fatal(err)
		}
		if user != "" {
			messages(c, 1)
		}
	}
	c.Send(`{"type":"history","channel":"@inbox"}`)
	c.ExpectError(fault.Unauthorized, "without a user")
}
