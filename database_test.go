package skein_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/test/pgtest"
)

// onDatabase is logConfig with the state in a database.
func onDatabase(url string) skein.Config {
	cfg := logConfig("")
	cfg.Database = url
	return cfg
}

// quickly is how long a publisher may wait at most for the answer that nothing
// can be stored: the store's deadline for a transaction, and something for a
// busy machine.
const quickly = 8 * time.Second

// TestAKilledDatabaseIsSurvived kills PostgreSQL while clients publish and starts
// it again. Publishers are told at once, nobody loses the connection, who lacks
// messages waits, and it all goes on by itself: nothing that was acknowledged
// is missing, nothing that was repeated with its key is there twice.
func TestAKilledDatabaseIsSurvived(t *testing.T) {
	pg := pgtest.Start(t)
	cfg := onDatabase(pg.Database(t))
	cfg.Limits.Recent, cfg.Limits.Queue = 1<<20, 32<<10 // little, so that readers need the database
	s := start(t, cfg)

	slow := slowReader(t, s, "room:slow")
	l := listening(t, s, "room:1", "event:1")
	other := s.user("other")
	a := publishing(t, s, "room:1", "author", 6)
	for round := range 2 {
		a.areTaken(20)
		a.slowest()
		pg.Kill()
		a.areRefused()
		other.fails(`{"type":"sub","channel":"room:unseen"}`, "unavailable")
		other.fails(`{"type":"sub","channel":"room:slow","since":{"seq":0}}`, "unavailable")
		if e := other.fails(`{"type":"history","channel":"room:1"}`, "unavailable"); e["retry_after"] == nil {
			t.Errorf("got %v", e)
		}
		status, _, text := s.request("POST", "/api/v1/publish", `{"to":{"channel":"room:2"},"data":"refused"}`, "Authorization: Bearer dev", "Content-Type: application/json")
		if status != 503 || !strings.Contains(text, `"retry_after"`) {
			t.Errorf("the API answers %d %s", status, text)
		}
		event := fmt.Sprintf("during %d", round)
		other.do(fmt.Sprintf(`{"type":"pub","channel":"event:1","data":%q}`, event))
		l.hears(t, event)
		if round == 0 {
			slow.untilItWaits(t)
		}
		pg.Restart(t)
		a.areTaken(20)
		if longest := a.slowest(); longest > quickly {
			t.Errorf("an author waited %v for an answer", longest)
		}
	}
	a.stop()
	slow.finish(t)
	// Whether a message was stored whose connection broke during the commit nobody
	// knows; those with keys have been repeated, the others may be there.
	a.mu.Lock()
	clear(a.refused)
	a.mu.Unlock()
	datas := l.reaches(t, a.top())
	a.agree(t, "the listener", datas)
	r := &reader{s: s, user: "newcomer", channel: "room:1"}
	if err := r.follow(a.top(), 1<<30); err != nil {
		t.Fatal(err)
	}
	a.agree(t, "a newcomer", r.datas)
	if ok := other.do(`{"type":"pub","channel":"room:2","data":1}`); ok["seq"] != 1.0 {
		t.Errorf("got %v", ok)
	}
}

// sluggish is a reader that has fallen behind so far that it needs the store.
type sluggish struct {
	ws    *websocket.Conn
	seq   uint64
	total uint64
	alive func()
}

const sluggishSize = 20 << 10

// slowReader subscribes somebody who does not read, and publishes more than
// sockets, queue and memory hold.
func slowReader(t *testing.T, s *testServer, channel string) *sluggish {
	t.Helper()
	c := s.user("slow")
	c.do(fmt.Sprintf(`{"type":"sub","channel":%q}`, channel))
	c.do(`{"type":"sub","channel":"event:slow"}`)
	r := &sluggish{ws: c.ws, total: 300}
	publisher := s.user("publisher")
	text := strings.Repeat("x", sluggishSize)
	for i := range r.total {
		publisher.do(fmt.Sprintf(`{"type":"pub","channel":%q,"data":"%d %s"}`, channel, i+1, text))
	}
	r.alive = func() { publisher.do(`{"type":"pub","channel":"event:slow","data":"alive"}`) }
	return r
}

// next reads a frame. It is a message of the log in its turn, or an event.
func (r *sluggish) next(t *testing.T) (event bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, raw, err := r.ws.Read(ctx)
	if err != nil {
		t.Fatalf("the slow reader, after %d of %d: %v", r.seq, r.total, err)
	}
	want := fmt.Sprintf(`"seq":%d,`, r.seq+1)
	head := string(raw[:min(200, len(raw))])
	switch {
	case strings.Contains(head, `"channel":"event:slow"`):
		return true
	case !strings.Contains(head, want) || !strings.Contains(head, fmt.Sprintf(`"data":"%d x`, r.seq+1)):
		t.Fatalf("after %d the slow reader got %s", r.seq, head)
	}
	r.seq++
	return false
}

// untilItWaits reads what is on its way. The rest is in the database, so the
// reader gets an event before it, which shows that it is connected.
func (r *sluggish) untilItWaits(t *testing.T) {
	t.Helper()
	r.alive()
	for !r.next(t) {
	}
	if r.seq == r.total {
		t.Fatal("the slow reader did not need the database")
	}
	t.Logf("the slow reader waits after %d of %d messages", r.seq, r.total)
}

// finish reads the rest.
func (r *sluggish) finish(t *testing.T) {
	t.Helper()
	for r.seq < r.total {
		if r.next(t) {
			t.Fatal("an event came that nobody has published")
		}
	}
}

// TestTwoServersShareADatabase has clients publish on both of two servers and
// follow on the other one: everybody gets everything, in order.
func TestTwoServersShareADatabase(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	a, b := start(t, onDatabase(url)), start(t, onDatabase(url))
	here, there := listening(t, a, "room:1", "event:1"), listening(t, b, "room:1", "event:1")
	if here.epoch != there.epoch {
		t.Errorf("the epochs are %s and %s", here.epoch, there.epoch)
	}
	on := []*authors{publishing(t, a, "room:1", "here", 3), publishing(t, b, "room:1", "there", 3)}
	for _, list := range on {
		list.areTaken(50)
	}
	// The last messages come from one server alone, so that on the other one no
	// message of its own shows the hole.
	on[0].stop()
	on[1].areTaken(50)
	on[1].stop()
	stopped := time.Now()
	top := max(on[0].top(), on[1].top())
	for name, l := range map[string]*listener{"who listens on the first server": here, "who listens on the second server": there} {
		datas := l.reaches(t, top)
		if uint64(len(datas)) != top {
			t.Errorf("%s has %d messages, want %d", name, len(datas), top)
		}
		for seq := uint64(1); seq <= top; seq++ {
			first, ok := on[0].acked[seq]
			second, also := on[1].acked[seq]
			if ok == also || datas[seq-1] != first+second {
				t.Fatalf("%s has %s at seq %d; acknowledged were %q and %q", name, datas[seq-1], seq, first, second)
			}
		}
	}
	t.Logf("the last messages came after %v", time.Since(stopped))

	// Keys count on every server.
	first := a.user("ann").do(`{"type":"pub","channel":"room:2","data":1,"key":"k"}`)
	again := b.user("ann").do(`{"type":"pub","channel":"room:2","data":1,"key":"k"}`)
	if first["seq"] != 1.0 || again["seq"] != 1.0 || again["duplicate"] != true || again["message"] != first["message"] {
		t.Errorf("a repeat on the other server is answered by %v after %v", again, first)
	}
}
