package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
)

// logging gives namespaces that keep what is said, in a directory of the test.
func logging(t testing.TB) func() skein.Config {
	return func() skein.Config { return logConfig(t.TempDir()) }
}

func logConfig(dir string) skein.Config {
	cfg := open()
	cfg.Data = dir
	cfg.Limits.FramesPerSecond = -1
	cfg.Namespaces = map[string]skein.Namespace{
		"room":  {Kind: "log", Subscribe: "anyone", Publish: "anyone", Presence: "members"},
		"short": {Kind: "log", Subscribe: "anyone", Publish: "anyone", Keep: skein.Keep{Count: 5}},
		"event": {Kind: "event", Subscribe: "anyone", Publish: "anyone"},
	}
	return cfg
}

// reader follows a log channel as a client does that goes away and comes back:
// it remembers the last message that it has handled, and checks each one.
type reader struct {
	s       *testServer
	user    string
	channel string
	epoch   string
	seq     uint64
	datas   []string
}

// follow reads until it has the message with the given seq, or so many messages
// at most; then it goes away.
func (r *reader) follow(until uint64, most int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+r.s.addr+"/ws?user="+r.user, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseNow() }()
	sub := fmt.Sprintf(`{"type":"sub","id":1,"channel":%q,"since":{"epoch":%q,"seq":%d}}`, r.channel, r.epoch, r.seq)
	if err := c.Write(ctx, websocket.MessageText, []byte(sub)); err != nil {
		return err
	}
	for got := 0; r.seq < until && got < most; {
		_, data, err := c.Read(ctx)
		if err != nil {
			return fmt.Errorf("after %d: %w", r.seq, err)
		}
		var f struct {
			Type, Epoch, Code, Message string
			Seq                        uint64
			Recovered                  *bool
			Data                       json.RawMessage
		}
		if err := json.Unmarshal(data, &f); err != nil {
			return err
		}
		switch f.Type {
		case "welcome":
		case "ok":
			if r.epoch != "" && r.epoch != f.Epoch || f.Recovered == nil || !*f.Recovered || f.Seq < r.seq {
				return fmt.Errorf("the subscription is answered by %s", data)
			}
			r.epoch = f.Epoch
		case "msg":
			if f.Seq != r.seq+1 {
				return fmt.Errorf("%d came after %d", f.Seq, r.seq)
			}
			r.seq, got = f.Seq, got+1
			r.datas = append(r.datas, string(f.Data))
		default:
			return fmt.Errorf("got %s", data)
		}
	}
	return nil
}

// publishAll has so many connections publish so many messages each, flat out,
// and gives what was acknowledged: data by seq.
func publishAll(t testing.TB, s *testServer, channel string, connections, each int) map[uint64]string {
	t.Helper()
	var mu sync.Mutex
	acked := map[uint64]string{}
	var wait sync.WaitGroup
	for p := range connections {
		c := s.user(fmt.Sprintf("publisher%d", p))
		wait.Go(func() {
			for i := range each {
				data := fmt.Sprintf(`"%d-%d"`, p, i)
				ok := c.do(fmt.Sprintf(`{"type":"pub","channel":%q,"data":%s}`, channel, data))
				mu.Lock()
				acked[uint64(ok["seq"].(float64))] = data
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return acked
}

func TestWhoComesBackGetsEveryMessageOnceAndInOrder(t *testing.T) {
	each(t, logging(t), func(t *testing.T, s *testServer) {
		const publishers, messages, readers = 4, 250, 12
		const total = publishers * messages
		var wait sync.WaitGroup
		all := make([]*reader, readers)
		for i := range all {
			r := &reader{s: s, user: fmt.Sprintf("reader%d", i), channel: "room:1"}
			all[i] = r
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			wait.Go(func() {
				for r.seq < total {
					if err := r.follow(total, 1+rnd.IntN(100)); err != nil {
						t.Errorf("%s: %v", r.user, err)
						return
					}
				}
			})
		}
		acked := publishAll(t, s, "room:1", publishers, messages)
		wait.Wait()
		for _, r := range all {
			for i, data := range r.datas {
				if want := acked[uint64(i+1)]; data != want {
					t.Fatalf("%s has %s at seq %d, the publisher was told of %s", r.user, data, i+1, want)
				}
			}
			if len(r.datas) != total {
				t.Errorf("%s has %d messages", r.user, len(r.datas))
			}
		}
	})
}

// A reader that reads nothing leaves the live path; the others do not wait for
// it, what waits for it stays within its queue, and then it gets everything.
func TestASlowReaderOfALogLosesNothing(t *testing.T) {
	each(t, logging(t), func(t *testing.T, s *testServer) {
		const total, size = 1500, 8000 // far more than its queue and the kernel's buffers, and soon there
		slow, quick := s.user("slow"), s.user("quick")
		slow.do(`{"type":"sub","channel":"room:1"}`)
		quick.do(`{"type":"sub","channel":"room:1"}`)
		var done sync.WaitGroup
		done.Go(func() {
			for want := 1; want <= total; want++ {
				if f := quick.expect("msg"); f["seq"] != float64(want) {
					t.Errorf("the quick reader got %v, want %d", f["seq"], want)
					return
				}
			}
		})
		publisher := s.user("publisher")
		text := strings.Repeat("x", size)
		for i := range total {
			publisher.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":"%d %s"}`, i+1, text))
		}
		done.Wait()
		items := s.verb("connections", `{"user":"slow"}`)["items"].([]any)
		item := items[0].(map[string]any)
		behind, _ := item["behind"].([]any)
		if len(behind) != 1 || item["queued"].(float64) > 1<<20 {
			t.Fatalf("the slow reader is shown as %v", item)
		}
		if b := behind[0].(map[string]any); b["channel"] != "room:1" || b["messages"].(float64) < 100 {
			t.Errorf("it is behind by %v", b)
		}
		if _, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev"); !strings.Contains(text, "skein_readers_behind 1\n") {
			t.Errorf("the metric does not show it:\n%s", text)
		}
		for want := 1; want <= total; want++ {
			f := slow.expect("msg")
			if data := f["data"].(string); f["seq"] != float64(want) || !strings.HasPrefix(data, fmt.Sprint(want, " ")) {
				t.Fatalf("the slow reader got %v, want %d", f["seq"], want)
			}
		}
		publisher.do(`{"type":"pub","channel":"room:1","data":"live again"}`)
		if f := slow.expect("msg"); f["data"] != "live again" {
			t.Errorf("got %v", f)
		}
		quick.expect("msg")
		eventually(t, "nobody is behind", func() bool {
			_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
			return strings.Contains(text, "skein_readers_behind 0\n")
		})
	})
}

func TestALogOutlivesItsServer(t *testing.T) {
	cfg := logging(t)()
	var epoch, id any
	t.Run("before", func(t *testing.T) {
		s := start(t, cfg)
		c := s.user("ann")
		epoch = c.do(`{"type":"sub","channel":"room:1"}`)["epoch"]
		for i := range 3 {
			c.send(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":%d,"key":"k%d"}`, i, i))
			id = c.expect("msg")["id"]
		}
	})
	s := start(t, cfg)
	c := s.user("ann")
	if ok := c.do(`{"type":"pub","channel":"room:1","data":2,"key":"k2"}`); ok["message"] != id || ok["seq"] != 3.0 || ok["duplicate"] != true {
		t.Errorf("a repeat is answered by %v", ok)
	}
	c.fails(`{"type":"pub","channel":"room:1","data":5,"key":"k2"}`, "conflict")
	if ok := c.do(fmt.Sprintf(`{"type":"sub","channel":"room:1","since":{"epoch":%q,"seq":1}}`, epoch)); ok["recovered"] != true || ok["seq"] != 3.0 {
		t.Errorf("got %v", ok)
	}
	c.expect("msg")
	if f := c.expect("msg"); f["seq"] != 3.0 || f["data"] != 2.0 {
		t.Errorf("got %v", f)
	}
	c.send(`{"type":"pub","channel":"room:1","data":"new"}`)
	if f := c.expect("msg"); f["seq"] != 4.0 {
		t.Errorf("got %v", f)
	}
	// The API's keys are remembered in the log as well.
	params := `{"to":{"channel":"room:2"},"data":1,"key":"api"}`
	first := s.verb("publish", params)
	if again := s.verb("publish", params); again["id"] != first["id"] || again["seq"] != 1.0 || again["duplicate"] != true {
		t.Errorf("got %v after %v", again, first)
	}
}

func TestTwoServersOnOneDirectory(t *testing.T) {
	cfg := logging(t)()
	start(t, cfg)
	second, err := newOnFreePort(cfg)
	if err == nil {
		_ = second.Close()
		t.Fatal("the second server starts")
	}
	if !strings.Contains(err.Error(), cfg.Data) {
		t.Errorf("the error does not name the directory: %v", err)
	}
}

func TestRetentionGoesOnInTheBackground(t *testing.T) {
	cfg := logging(t)()
	cfg.Namespaces["brief"] = skein.Namespace{Kind: "log", Subscribe: "anyone", Publish: "anyone", Keep: skein.Keep{Age: skein.Duration(time.Second)}}
	s := start(t, cfg)
	c := s.user("ann")
	for i := range 20 {
		c.do(fmt.Sprintf(`{"type":"pub","channel":"short:1","data":%d}`, i))
	}
	c.do(`{"type":"pub","channel":"brief:1","data":"gone soon"}`)
	page := c.do(`{"type":"history","channel":"short:1"}`)
	if list := page["messages"].([]any); len(list) != 5 || page["seq"] != 20.0 {
		t.Errorf("%d messages are kept, want 5", len(list))
	}
	eventually(t, "the message is too old", func() bool {
		return len(c.do(`{"type":"history","channel":"brief:1"}`)["messages"].([]any)) == 0
	})
	ok := c.do(`{"type":"sub","channel":"brief:1","since":{"seq":0}}`)
	if ok["recovered"] != false || ok["seq"] != 1.0 {
		t.Errorf("got %v", ok)
	}
	if gap := c.expect("gap"); gap["from"] != 1.0 || gap["to"] != 1.0 || gap["epoch"] != ok["epoch"] {
		t.Errorf("got %v", gap)
	}
	c.send(`{"type":"pub","channel":"brief:1","data":"next"}`)
	if f := c.expect("msg"); f["seq"] != 2.0 {
		t.Errorf("got %v", f)
	}
	eventually(t, "the rows are deleted", func() bool {
		_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
		return strings.Contains(text, "skein_trimmed_messages_total 16\n")
	})
}

// While hundreds of clients come back at once, those who are there get their
// messages as before, and everybody gets all.
func TestReconnectStorm(t *testing.T) {
	each(t, logging(t), func(t *testing.T, s *testServer) {
		const clients, missed = 300, 50
		publishAll(t, s, "room:1", 5, missed/5)
		live := s.user("live")
		live.do(`{"type":"sub","channel":"room:1"}`)
		var wait sync.WaitGroup
		var failed atomic.Int64
		for i := range clients {
			wait.Go(func() {
				r := &reader{s: s, user: fmt.Sprint("user", i), channel: "room:1"}
				if err := r.follow(missed+10, 1000); err != nil {
					failed.Add(1)
					t.Log(err)
				}
			})
		}
		publisher := s.user("publisher")
		for i := range 10 {
			publisher.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":%d}`, i))
			if f := live.expect("msg"); f["seq"] != float64(missed+i+1) {
				t.Errorf("got %v", f["seq"])
			}
		}
		wait.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d did not get everything", n, clients)
		}
	})
}

func TestReloadKeepsTheKindsOfNamespaces(t *testing.T) {
	cfg := logging(t)()
	s := start(t, cfg)
	next := cfg
	next.Namespaces = map[string]skein.Namespace{
		"room":  {Kind: "event", Subscribe: "anyone", Publish: "anyone"},
		"short": {Kind: "log", Subscribe: "anyone", Publish: "anyone", Keep: skein.Keep{Count: 2}},
		"new":   {Kind: "log", Subscribe: "anyone", Publish: "anyone"},
	}
	applied, restart, err := s.Reload(next)
	if err != nil || !slices.Contains(applied, "namespaces") || !slices.Contains(restart, "namespaces.room") || slices.Contains(restart, "namespaces.short") {
		t.Errorf("applied %v, restart %v, %v", applied, restart, err)
	}
	c := s.user("ann")
	for i := range 4 {
		c.do(fmt.Sprintf(`{"type":"pub","channel":"short:1","data":%d}`, i))
	}
	if list := c.do(`{"type":"history","channel":"short:1"}`)["messages"].([]any); len(list) != 2 {
		t.Errorf("%d messages are kept", len(list))
	}
	if ok := c.do(`{"type":"sub","channel":"room:1"}`); ok["kind"] != "log" {
		t.Errorf("got %v", ok)
	}
	if ok := c.do(`{"type":"sub","channel":"new:1"}`); ok["kind"] != "log" {
		t.Errorf("got %v", ok)
	}
	events := start(t, open())
	applied, restart, err = events.Reload(cfg)
	if err != nil || !slices.Contains(restart, "namespaces.room") || !slices.Contains(restart, "namespaces.short") {
		t.Errorf("a server without a store: applied %v, restart %v, %v", applied, restart, err)
	}
}

func TestMessagesThatAreKeptAreLimited(t *testing.T) {
	cfg := logging(t)()
	cfg.Limits.Message = 4 << 10
	s := start(t, cfg)
	for size, want := range map[int]int{4<<10 - 2: 200, 4<<10 - 1: 413} {
		body := fmt.Sprintf(`{"to":{"channel":"room:1"},"data":"%s"}`, strings.Repeat("x", size))
		status, _, text := s.request("POST", "/api/v1/publish", body, "Authorization: Bearer dev", "Content-Type: application/json")
		if status != want {
			t.Errorf("%d bytes: %d %s", size+2, status, text)
		}
	}
}
