package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// modelCap is how many messages of the category may ever interrupt one user.
const modelCap = 3

// modelled is what a run of the model knows.
type modelled struct {
	*world
	rt      *rapid.T
	users   []string
	live    []*device
	all     []*device
	pushed  map[string][]string // message id: to whom
	mayCome map[string]bool     // false: its rules never let it interrupt
	counted map[string]bool     // it is of the category with a cap
}

// TestEveryMessageEndsOnce has users come and go, acknowledge and be silent, while
// messages with all kinds of rules are pushed to them.
func TestEveryMessageEndsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		window := rapid.SampledFrom([]int{1, 3, 100}).Draw(rt, "window")
		queue := rapid.SampledFrom([]int{1, 4096}).Draw(rt, "queue")
		w := start(t, options{
			Config:   push.Config{Workers: 2, Queue: queue},
			settings: push.Settings{Window: window, AckTimeout: 150 * time.Millisecond, AckRetries: 1000},
		})
		defer w.stop()
		m := &modelled{world: w, rt: rt, users: []string{"ann", "bob"}, pushed: map[string][]string{}, mayCome: map[string]bool{}, counted: map[string]bool{}}
		for range rapid.IntRange(8, 30).Draw(rt, "steps") {
			m.step()
		}
		m.finish()
	})
}

func (m *modelled) step() {
	user := rapid.SampledFrom(m.users).Draw(m.rt, "user")
	action := rapid.SampledFrom([]string{"push", "push", "push", "push", "come", "come", "cut", "ack", "acks", "read", "recall", "stop", "go", "everybody"}).Draw(m.rt, "action")
	if len(m.live) == 0 && (action == "cut" || action == "ack" || action == "acks" || action == "stop" || action == "go") {
		action = "come"
	}
	pick := func() (int, *device) {
		i := rapid.IntRange(0, len(m.live)-1).Draw(m.rt, "device")
		return i, m.live[i]
	}
	switch action {
	case "push":
		m.say(rapid.SampledFrom([][]string{{user}, {user}, m.users}).Draw(m.rt, "to"))
	case "everybody":
		if b, err := m.Broadcast(context.Background(), push.Message{Content: store.Content{Data: []byte("0")}}); err != nil {
			m.rt.Fatal(err)
		} else {
			m.pushed[b.ID], m.mayCome[b.ID] = nil, true
		}
	case "come":
		d := m.connect(user)
		m.live, m.all = append(m.live, d), append(m.all, d)
	case "cut":
		i, d := pick()
		d.leave()
		m.live = append(m.live[:i:i], m.live[i+1:]...)
	case "ack":
		_, d := pick()
		if got := d.got(); len(got) > 0 {
			f := got[rapid.IntRange(0, len(got)-1).Draw(m.rt, "which")]
			if _, err := m.Ack(context.Background(), push.Ack{User: d.User(), Conn: &d.Conn, Messages: []string{f.ID}}); err != nil {
				m.rt.Error(err)
			}
		}
	case "acks":
		_, d := pick()
		if got := d.got(); len(got) > 0 { // what it has not got, it does not acknowledge
			d.ack(got[rapid.IntRange(0, len(got)-1).Draw(m.rt, "up to")].Seq)
		}
	case "read":
		if _, _, err := m.Read(context.Background(), user, "", uint64(rapid.IntRange(0, 10).Draw(m.rt, "seq")), nil); err != nil {
			m.rt.Error(err)
		}
	case "recall":
		for id := range m.pushed { // any
			if _, err := m.Recall(context.Background(), id); err != nil && fault.Of(err).Code != fault.NotFound {
				m.rt.Error(err)
			}
			break
		}
	case "stop":
		_, d := pick()
		d.setFull(true)
	case "go":
		_, d := pick()
		d.setFull(false)
	}
}

// say pushes a message of some kind.
func (m *modelled) say(to []string) {
	msg := push.Message{Content: store.Content{Data: []byte("1")}}
	may := true
	switch rapid.SampledFrom([]string{"plain", "plain", "cap", "cap", "quiet", "brief", "collapse"}).Draw(m.rt, "kind") {
	case "cap":
		msg.Category, msg.Policy = "promo", fatigue.Policy{
			Category: "promo", Priority: 5, Chain: []fatigue.Level{{Category: "promo", Caps: []fatigue.Cap{{Per: "720h", Max: modelCap}}}},
		}
	case "quiet":
		may = false
		msg.Category, msg.Policy = "news", fatigue.Policy{Category: "news", Quiet: &fatigue.Quiet{From: 0, To: 1439}, OnQuiet: fatigue.Inbox}
		if h := time.Now().UTC(); h.Hour() == 23 && h.Minute() == 59 {
			may = true
		}
	case "brief":
		msg.Expires = time.Now().Add(time.Duration(rapid.IntRange(1, 100).Draw(m.rt, "ms")) * time.Millisecond).UnixMilli()
	case "collapse":
		msg.Collapse = "score"
	}
	done := m.push(msg, to...)
	m.pushed[done.ID], m.mayCome[done.ID], m.counted[done.ID] = to, may, msg.Category == "promo"
}

// got gives the messages that a device has got so far.
func (d *device) got() (list []frame) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range d.frames {
		var f frame
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			d.w.t.Errorf("%q: %v", text, err)
		}
		if f.Type == protocol.TypeMsg {
			list = append(list, f)
		}
	}
	return list
}

// finish has everybody come and acknowledge all that comes, and looks at what became
// of everything.
func (m *modelled) finish() {
	for _, d := range m.live {
		d.setFull(false)
	}
	for _, user := range m.users {
		d := m.connect(user)
		m.all = append(m.all, d)
		m.until("all that waits is acknowledged", func() bool {
			ids := []string{}
			for _, f := range d.got() {
				ids = append(ids, f.ID)
			}
			if len(ids) > push.MaxAck {
				ids = ids[len(ids)-push.MaxAck:]
			}
			if len(ids) > 0 {
				if _, err := m.Ack(context.Background(), push.Ack{User: user, Conn: &d.Conn, Messages: ids}); err != nil {
					m.rt.Error(err)
				}
			}
			m.do(store.Expire{Now: time.Now().UnixMilli(), Limit: 1000}) // at once, not when the engine does
			in, err := m.store.Inboxes(context.Background(), user)
			if err != nil {
				m.rt.Fatal(err)
			}
			return in[0].Open == 0 && !in[0].Behind
		})
	}
	m.idle()
	seen := map[string]bool{} // user and message
	for i, d := range m.all {
		m.inOrder(i, d, seen)
	}
	interrupted := map[string]int{}
	records := map[string]int{}
	for _, user := range m.users {
		page, err := m.Records(context.Background(), store.RecordQuery{User: user, Limit: 1000})
		if err != nil {
			m.rt.Fatal(err)
		}
		for _, r := range page.Records {
			key := user + " " + r.Message
			records[key]++
			switch {
			case r.State.Open():
				m.rt.Errorf("%s is %s at the end", key, r.State)
			case r.State == store.Delivered && !seen[key] && r.Item.Read == 0:
				m.rt.Errorf("%s is delivered, and nobody has seen it", key)
			}
			// What is withdrawn in the moment in which it is sent gives its room back.
			if seen[key] && m.counted[r.Message] && r.State != store.Withdrawn {
				interrupted[user]++
			}
		}
	}
	for id, to := range m.pushed {
		for _, user := range to {
			if key := user + " " + id; records[key] != 1 {
				m.rt.Errorf("%s has %d records", key, records[key])
			}
		}
	}
	for user, n := range interrupted {
		if n > modelCap {
			m.rt.Errorf("%s was interrupted %d times", user, n)
		}
	}
}

// inOrder checks that a device got its messages in the order of seq, but for those
// that came again.
func (m *modelled) inOrder(i int, d *device, seen map[string]bool) {
	last := uint64(0)
	before := map[uint64]string{}
	for _, f := range d.got() {
		if id, again := before[f.Seq]; !again && f.Seq < last || again && id != f.ID {
			m.rt.Errorf("device %d got %d (%s) after %d", i, f.Seq, f.ID, last)
		}
		if !m.mayCome[f.ID] {
			m.rt.Errorf("device %d got %s, which may not come", i, f.ID)
		}
		before[f.Seq], last = f.ID, max(last, f.Seq)
		user := d.User()
		if user == "" {
			user = fmt.Sprint("device ", i)
		}
		seen[user+" "+f.ID] = true
	}
}
