package skein_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein"
)

// TestInboxesAgreeWithTheirModel does random things to the inboxes of users through real
// clients, behind every door, and compares what comes, what is answered, what can be
// read and what became of each message with a list in memory: pushes under caps and
// mutes, with and without collapse keys, that expire or not, to one or to both; devices
// that come and go, that acknowledge messages one by one, up to a seq, never, or those
// of others; marks, withdrawals, and users that are deleted.
func TestInboxesAgreeWithTheirModel(t *testing.T) {
	pushCluster.hold(t)
	t.Parallel()
	fewerChecks(t, 8) // only now: the flag is one for all tests
	onEachStore(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, cfg())
		var cases atomic.Int64
		var over []*inboxModel // whose messages may have expired since
		rapid.Check(t, func(rt *rapid.T) {
			m := &inboxModel{s: s}
			defer m.leave()
			n := cases.Add(1)
			for i, user := range []string{"ann", "ben"} {
				m.users[i] = &modelInbox{user: fmt.Sprint(user, n), muted: map[string]bool{}}
			}
			rt.Repeat(map[string]func(*rapid.T){
				"push":       m.push,
				"push again": m.push,
				"burst":      m.burst,
				"connect":    m.connect,
				"cut":        m.cut,
				"ack":        m.ack,
				"ack up to":  m.ackUpTo,
				"ack others": m.ackOthers,
				"mark":       m.mark,
				"mute":       m.mute,
				"recall":     m.recall,
				"delete":     m.remove,
				"expire":     m.expire,
				"":           m.isRight,
			})
			m.finish(rt)
			over = append(over, m)
		})
		for _, m := range over {
			m.isOver(t)
		}
	})
}

// inboxModel is two users.
type inboxModel struct {
	s     *testServer
	users [2]*modelInbox
	n     int // pushes
}

// modelInbox is the inbox of a user as it should be.
type modelInbox struct {
	user    string
	items   []*modelItem // by seq-1
	muted   map[string]bool
	read    uint64
	told    int // items up to this seq were held back and told of, or not held back
	devices [2]*modelDevice
}

// modelDevice is a device of a user that is there; what came to it was looked at.
type modelDevice struct{ *device }

// modelItem is a message in an inbox.
type modelItem struct {
	seq                          uint64
	id, data, category, collapse string
	outcome                      string // as a record has it, with the reason; open ones are queued, or put off
	sent                         bool   // a device was given it
	slot                         bool   // it is counted by caps
	expires                      int64
}

func (i *modelItem) open() bool { return i.outcome == "queued" || i.outcome == "queued/cap" }

// gone tells whether it cannot be read.
func (i *modelItem) gone() bool {
	return slices.Contains([]string{"expired", "recalled", "recalled/replaced"}, i.outcome) || i.hidden()
}

// hidden tells whether it was dropped.
func (i *modelItem) hidden() bool {
	return i.category == "sale" && (i.outcome == "capped/cap" || i.outcome == "muted/user")
}

// modelRules are what pushConfig says of categories: whose caps hold, and how many.
var modelRules = map[string]map[string]int{"promo": {"promo": 3}, "sale": {"sale": 2, "promo": 3}, "later": {"later": 1}}

// counts tells whether a message of one category is counted by the cap of another.
func counts(category, of string) bool { return category == of || category == "sale" && of == "promo" }

func (b *modelInbox) here() []*modelDevice {
	return slices.DeleteFunc(slices.Clone(b.devices[:]), func(d *modelDevice) bool { return d == nil })
}

// full tells whether a cap refuses a message of a category.
func (b *modelInbox) full(category string) bool {
	for of, most := range modelRules[category] {
		used := 0
		for _, i := range b.items {
			if i.slot && counts(i.category, of) {
				used++
			}
		}
		if used >= most {
			return true
		}
	}
	return false
}

// judge decides what becomes of a message now.
func (b *modelInbox) judge(i *modelItem) {
	switch {
	case i.category != "alarm" && b.muted[i.category]:
		i.outcome = "muted/user"
	case !b.full(i.category):
		i.outcome, i.slot = "queued", modelRules[i.category] != nil
	case i.category == "later":
		i.outcome = "queued/cap"
	default:
		i.outcome = "capped/cap"
	}
}

// ends is an end without an acknowledgement: what was not sent gives its slot back.
func (i *modelItem) ends(outcome string) {
	i.outcome = outcome
	i.slot = i.slot && i.sent
}

// admit puts a message into the inbox.
func (b *modelInbox) admit(i modelItem) *modelItem {
	i.seq = uint64(len(b.items) + 1)
	if i.collapse != "" {
		for _, old := range b.items {
			if old.collapse == i.collapse && old.category == i.category && old.open() && !old.sent {
				old.ends("recalled/replaced")
			}
		}
	}
	b.judge(&i)
	b.items = append(b.items, &i)
	return &i
}

// pass marks what has expired by now; it ends the time of what is about to.
func (b *modelInbox) pass() {
	for _, i := range b.items {
		if i.open() && i.expires > 0 && i.expires <= time.Now().UnixMilli() {
			i.ends("expired")
		}
	}
}

func (m *inboxModel) one(t *rapid.T) *modelInbox {
	return m.users[rapid.IntRange(0, len(m.users)-1).Draw(t, "user")]
}

// there is a user with a device, if there is one.
func (m *inboxModel) there(t *rapid.T) (*modelInbox, *modelDevice) {
	b := m.one(t)
	if list := b.here(); len(list) > 0 {
		return b, list[rapid.IntRange(0, len(list)-1).Draw(t, "device")]
	}
	return nil, nil
}

var modelCategories = []string{"", "orders", "alarm", "promo", "promo", "sale", "later"}

func (m *inboxModel) push(t *rapid.T) {
	to := rapid.SampledFrom([][]*modelInbox{m.users[:1], m.users[1:], m.users[:]}).Draw(t, "to")
	collapse := rapid.SampledFrom([]string{"", "", "", "a", "b"}).Draw(t, "collapse")
	m.pushTo(t, to, rapid.SampledFrom(modelCategories).Draw(t, "category"), collapse, 0)
}

// pushTo pushes; who is there gets what may come.
func (m *inboxModel) pushTo(t *rapid.T, to []*modelInbox, category, collapse string, expires int64) {
	m.n++
	data, more := fmt.Sprint("message ", m.n), ""
	if category != "" {
		more += fmt.Sprintf(`,"category":%q`, category)
	}
	if collapse != "" {
		more += fmt.Sprintf(`,"collapse":%q`, collapse)
	}
	if expires != 0 {
		more += fmt.Sprintf(`,"expires":%d`, expires)
	}
	names := make([]string, len(to))
	for i, b := range to {
		names[i] = b.user
	}
	r := m.s.pushes(users(names...), data, more)
	want := map[string]int64{}
	for _, b := range to {
		b.pass()
		i := b.admit(modelItem{id: r.ID, data: data, category: category, collapse: collapse, expires: expires})
		want[i.outcome[:6]]++ // queued, capped, muted/
		if i.outcome == "queued" {
			b.comes(t, i)
		}
	}
	if n := want["muted/"]; n > 0 {
		delete(want, "muted/")
		want["muted"] = n
	}
	if r.Audience != int64(len(to)) || fmt.Sprint(r.Counts) != fmt.Sprint(want) {
		t.Fatalf("the push %s of %q is answered by %+v; the model says %v", data, category, r, want)
	}
}

// comes has all devices that are there get a message.
func (b *modelInbox) comes(t *rapid.T, i *modelItem) {
	for _, d := range b.here() {
		d.takes(t, i)
		i.sent = true
	}
}

// takes waits for the next message, which must be this one.
func (d *modelDevice) takes(t *rapid.T, i *modelItem) {
	t.Helper()
	for len(d.msgs) == 0 {
		if err := d.pump(); err != nil {
			t.Fatalf("%s waits for %+v: %v", d.user, *i, err)
		}
	}
	f := d.msgs[0]
	d.msgs = d.msgs[1:]
	if f.name() != i.id || f.Seq != i.seq || datas([]boxFrame{f})[0] != i.data || f.Category != i.category || f.Collapse != i.collapse {
		t.Fatalf("%s got %+v, want %+v", d.user, f, *i)
	}
}

func (m *inboxModel) burst(t *rapid.T) {
	category := rapid.SampledFrom(modelCategories).Draw(t, "category")
	for range rapid.IntRange(2, 6).Draw(t, "pushes") {
		m.pushTo(t, m.users[:], category, "", 0)
	}
}

// connect lets a device come: it gets what is open, after that was judged anew.
func (m *inboxModel) connect(t *rapid.T) {
	b := m.one(t)
	place := rapid.IntRange(0, len(b.devices)-1).Draw(t, "place")
	if b.devices[place] == nil {
		m.enter(t, b, place)
	}
}

func (m *inboxModel) enter(t *rapid.T, b *modelInbox, place int) {
	door := rapid.SampledFrom([]string{"websocket", "sse", "poll"}).Draw(t, "door")
	b.pass()
	way, err := m.s.open(door, b.user, "")
	if err != nil {
		t.Fatal(err)
	}
	d := &modelDevice{way}
	held := b.held()
	for _, i := range b.items {
		if i.outcome == "queued" {
			d.takes(t, i)
			i.sent = true
		}
	}
	// The notice comes after it.
	if held != "" {
		for len(d.notices) == 0 {
			if err := d.pump(); err != nil {
				t.Fatalf("%s waits for the notice of %s: %v", d.user, held, err)
			}
		}
		if got := string(d.notices[0].Data); got != held {
			t.Fatalf("%s is told of %s; the model says %s", d.user, got, held)
		}
		d.notices = nil
	}
	b.devices[place] = d
}

// held judges what waits, the newest first because all have one priority, and gives what
// the next notice tells: what was held back since the last one, can be read, and was not.
func (b *modelInbox) held() string {
	waiting := []*modelItem{}
	for _, i := range slices.Backward(b.items) {
		if i.outcome == "queued" && !i.sent {
			i.slot = false
			waiting = append(waiting, i)
		}
	}
	first := uint64(b.told)
	for _, i := range waiting {
		if b.judge(i); i.outcome != "queued" {
			first = min(first, i.seq-1)
		}
	}
	of, total := map[string]int{}, 0
	for _, i := range b.items[first:] {
		if held := i.outcome == "capped/cap" || i.outcome == "muted/user"; held && !i.hidden() && (i.seq > b.read || slices.Contains(waiting, i)) {
			of[i.category]++
			total++
		}
	}
	b.told = len(b.items)
	if total == 0 {
		return ""
	}
	text := ""
	for _, category := range []string{"later", "orders", "promo"} {
		if of[category] > 0 {
			text += fmt.Sprintf(`,%q:%d`, category, of[category])
		}
	}
	return fmt.Sprintf(`{"count":%d,"categories":{%s}}`, total, text[min(1, len(text)):])
}

// cut ends a connection.
func (m *inboxModel) cut(t *rapid.T) {
	if b, d := m.there(t); d != nil {
		m.goAway(t, b, d)
	}
}

func (m *inboxModel) goAway(t *rapid.T, b *modelInbox, d *modelDevice) {
	d.nothing(t)
	d.leave()
	b.devices[slices.Index(b.devices[:], d)] = nil
	eventually(m.s.t, b.user+" has as many connections", func() bool {
		return len(m.s.verb("connections", fmt.Sprintf(`{"user":%q}`, b.user))["items"].([]any)) == len(b.here())
	})
}

// nothing says that nothing has come that was not looked at.
func (d *modelDevice) nothing(t *rapid.T) {
	t.Helper()
	if f, err := d.request(`{"type":"ping"}`); err != nil || len(d.msgs)+len(d.notices)+len(d.recalls)+len(d.marks) > 0 {
		t.Fatalf("%s is answered by %+v, %v after %+v, %+v, %v, %+v", d.user, f, err, d.msgs, d.notices, d.recalls, d.marks)
	}
}
