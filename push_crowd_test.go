package skein_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// pushCrowd is users with devices, and authors who push to all of them without a break,
// whatever becomes of the server. It remembers what was promised.
type pushCrowd struct {
	t       testing.TB
	users   []string
	stopped atomic.Bool
	work    sync.WaitGroup

	taken, refused       atomic.Int64 // answers to authors
	noted, refusedDevice atomic.Int64 // answers to acknowledgements

	mu      sync.Mutex // guards all below
	n       int
	pushed  map[string]string            // the data of what was accepted, by id
	pending map[string]string            // by author: what has no answer yet; it is sent again
	seen    map[string]map[string]uint64 // by user: the seqs of what has come, by id
	acked   map[string]map[string]bool   // by user: ids that were acknowledged, and are by the answer
}

func newCrowd(t testing.TB, n int) *pushCrowd {
	c := &pushCrowd{t: t, pushed: map[string]string{}, pending: map[string]string{}, seen: map[string]map[string]uint64{}, acked: map[string]map[string]bool{}}
	for i := range n {
		user := fmt.Sprint("crowd", i)
		c.users = append(c.users, user)
		c.seen[user], c.acked[user] = map[string]uint64{}, map[string]bool{}
	}
	return c
}

// tryAPI calls a verb of a server that may be gone.
func (s *testServer) tryAPI(verb, params string) (status int, out map[string]any, err error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/v1/"+verb, strings.NewReader(params))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer dev")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, out, json.NewDecoder(res.Body).Decode(&out)
}

// begin lets authors and devices begin. They end with the server, or by stop.
func (c *pushCrowd) begin(s *testServer, authors int) {
	for a := range authors {
		c.work.Go(func() {
			for !c.stopped.Load() {
				if err := c.push(s, fmt.Sprint("author", a)); err != nil {
					return // the server is gone
				}
			}
		})
	}
	for i, user := range c.users {
		c.work.Go(func() { c.follow(s, user, 1+i%4) })
	}
}

// push pushes once: what was not answered before, or something new. An error is one of
// the connection.
func (c *pushCrowd) push(s *testServer, author string) error {
	c.mu.Lock()
	data := c.pending[author]
	if data == "" {
		c.n++
		data = fmt.Sprint("push ", c.n)
		c.pending[author] = data
	}
	c.mu.Unlock()
	status, out, err := s.tryAPI("push", pushParams(users(c.users...), data, fmt.Sprintf(`,"key":%q`, data)))
	switch {
	case err != nil:
		return err
	case status == http.StatusServiceUnavailable && out["code"] == "unavailable" && out["retry_after"] != nil:
		c.refused.Add(1)
		return nil
	case status != http.StatusOK:
		c.t.Errorf("a push is answered by %d %v", status, out)
		return fmt.Errorf("it ends")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushed[out["id"].(string)] = data
	delete(c.pending, author)
	c.taken.Add(1)
	return nil
}

// follow is a device: it acknowledges after so many messages, until the connection ends.
func (c *pushCrowd) follow(s *testServer, user string, most int) {
	d, err := s.open("websocket", user, "")
	if err != nil {
		return
	}
	defer d.leave()
	held := []boxFrame{}
	for last := 0; !c.stopped.Load(); {
		if err := d.pump(); err != nil {
			return
		}
		for _, m := range d.msgs[last:] {
			if err := c.note(user, m); err != nil {
				c.t.Error(err)
				return
			}
			held = append(held, m)
		}
		last = len(d.msgs)
		for len(held) >= most && !c.stopped.Load() {
			n := min(len(held), 400)
			f, err := d.request(ackFrame(held[:n]...))
			switch {
			case err != nil:
				return
			case f.Type == "ok" && len(f.Unknown) == 0:
				c.mu.Lock()
				for _, m := range held[:n] {
					c.acked[user][m.name()] = true
				}
				c.mu.Unlock()
				held = held[n:]
				c.noted.Add(1)
			case f.Code == "unavailable" && f.RetryAfter > 0:
				c.refusedDevice.Add(1)
			default:
				c.t.Errorf("an acknowledgement of %s is answered by %+v", user, f)
				return
			}
		}
	}
}

// note notes a message that came: it is the one that came before at its seq, and was not
// acknowledged.
func (c *pushCrowd) note(user string, m boxFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq, known := c.seen[user][m.name()]
	switch {
	case known && seq != m.Seq:
		return fmt.Errorf("%s has %s at %d and at %d", user, m.name(), seq, m.Seq)
	case c.acked[user][m.name()]:
		return fmt.Errorf("%s got %d again, which was acknowledged", user, m.Seq)
	}
	c.seen[user][m.name()] = m.Seq
	return nil
}

// more waits until authors and devices were answered so often again.
func (c *pushCrowd) more(n int64) {
	c.t.Helper()
	taken, noted := c.taken.Load()+n, c.noted.Load()+n
	eventually(c.t, "pushes and acknowledgements are taken", func() bool { return c.taken.Load() >= taken && c.noted.Load() >= noted })
}

// isRefused waits until authors are told that nothing can be stored. Devices are, too, if they
// have something to acknowledge.
func (c *pushCrowd) isRefused() {
	c.t.Helper()
	before := c.refused.Load()
	eventually(c.t, "pushes are refused", func() bool { return c.refused.Load() >= before+3 })
}

// stop ends authors and devices of a server that is there.
func (c *pushCrowd) stop(s *testServer) {
	c.t.Helper()
	c.stopped.Store(true)
	for _, user := range c.users {
		s.calls("publish", fmt.Sprintf(`{"to":{"user":%q},"data":0}`, user))
	}
	c.work.Wait()
	c.stopped.Store(false)
}

// agree compares what there is with what was promised: what was accepted has one place in
// each inbox, what was acknowledged is, and the rest comes once more, in order. others are
// how many messages there are that the crowd has not pushed.
func (c *pushCrowd) agree(s *testServer, others int) {
	c.t.Helper()
	for len(c.pending) > 0 { // whoever had no answer asks again
		for author := range maps.Clone(c.pending) {
			if err := c.push(s, author); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	for _, user := range c.users {
		records := map[string]pushRecord{}
		open := []string{}
		places := map[uint64]bool{}
		for _, r := range s.records(fmt.Sprintf(`"user":%q`, user)) {
			records[r.Message] = r
			if places[r.Seq] {
				c.t.Fatalf("%s has two messages at %d", user, r.Seq)
			}
			places[r.Seq] = true
			if r.Outcome != "delivered" {
				open = append(open, fmt.Sprintf("%06d %s", r.Seq, r.Message))
			}
		}
		for id, data := range c.pushed {
			if records[id].Message == "" {
				c.t.Fatalf("%s, which was accepted, is not there for %s", data, user)
			}
		}
		if len(records) != len(c.pushed)+others {
			c.t.Fatalf("%s has %d messages; %d and %d were accepted", user, len(records), len(c.pushed), others)
		}
		for id := range c.acked[user] {
			if records[id].Outcome != "delivered" {
				c.t.Fatalf("%s has acknowledged %s, which is %+v", user, id, records[id])
			}
		}
		for id, seq := range c.seen[user] {
			if records[id].Seq != seq {
				c.t.Fatalf("%s has seen %s at %d; it is %+v", user, id, seq, records[id])
			}
		}
		slices.Sort(open)
		d := s.device(user, "")
		for n := range open { // the window is smaller than all of them
			m := d.gets(n + 1)[n]
			if got := fmt.Sprintf("%06d %s", m.Seq, m.name()); got != open[n] {
				c.t.Fatalf("%s got %s, want %s", user, got, open[n])
			}
			d.acks(m)
		}
		if left := s.records(fmt.Sprintf(`"user":%q,"outcome":["queued","sent"]`, user)); len(left) > 0 {
			c.t.Fatalf("%s has acknowledged all; open are %+v", user, left)
		}
		d.leave()
	}
	c.t.Logf("%d pushes were accepted, %d acknowledged, %d and %d refused", len(c.pushed), c.noted.Load(), c.refused.Load(), c.refusedDevice.Load())
}
