package skein_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// follow has a device subscribe from its place on.
func (m *chatModel) follow(t *rapid.T, d *chatDevice, k *chatTalk) {
	r, since, hidden := d.replica(k), `{"seq":0}`, uint64(0)
	if r.epoch != "" {
		since = fmt.Sprintf(`{"epoch":%q,"seq":%d}`, r.epoch, r.place)
	}
	r.joined = false
	f := m.asks(t, d, fmt.Sprintf(`{"type":"sub","channel":%s,"since":%s}`, jsonOf(k.channel), since))
	if !k.mayRead(d.user) {
		if f.code() != isDenied {
			t.Fatalf("%v, who is no member, subscribes to %s: %+v", d, k.channel, f)
		}
		return
	}
	if c := k.members[d.user]; c != nil {
		hidden = c.hidden
	}
	if k.epoch == "" {
		k.epoch = f.Epoch
	}
	recovers := r.place >= hidden
	if f.Type != "ok" || f.Seq != k.head() || f.Epoch != k.epoch || f.Recovered == nil || *f.Recovered != recovers {
		t.Fatalf("%v subscribes to %s after %d: %+v; the model has %d, and %d is hidden", d, k.channel, r.place, f, k.head(), hidden)
	}
	r.epoch, r.joined, r.told, r.out = f.Epoch, true, true, false
	if !recovers {
		r.owed = hidden
	}
	m.readMarks(t, d, k)
}

// readMarks has a device read the marks of all members.
func (m *chatModel) readMarks(t *rapid.T, d *chatDevice, k *chatTalk) {
	r := d.replica(k)
	r.marks, r.read, r.vague = map[string]chatMarks{}, m.step, false
	f := m.asks(t, d, fmt.Sprintf(`{"type":"call","method":"chat.members","data":{"channel":%s}}`, jsonOf(k.channel)))
	var page struct {
		Items []struct {
			User            string
			Read, Delivered uint64
		}
	}
	if err := json.Unmarshal(f.Data, &page); f.Type != "ok" || err != nil {
		t.Fatalf("%v reads the members of %s: %+v, %v", d, k.channel, f, err)
	}
	for _, i := range page.Items {
		r.marks[i.User] = r.marks[i.User].or(chatMarks{i.Read, i.Delivered})
	}
	if len(page.Items) != len(k.members) {
		t.Fatalf("%v reads the members of %s: %s; the model has %d", d, k.channel, f.Data, len(k.members))
	}
}

// agrees compares an entry that was read with the model.
func (m *chatModel) agrees(t *rapid.T, u *chatUser, k *chatTalk, e *chatEntry, fresh bool) {
	t.Helper()
	want := k.entry(u)
	if e == nil || e.text(fresh) != want.text(fresh) {
		t.Fatalf("%s reads %s; the model has %s", u.name, e.text(fresh), want.text(fresh))
	}
	at := e.Since
	if e.Last != nil {
		at = e.Last.Time
	}
	if e.Time != at {
		t.Fatalf("%s reads of %s that its time is %d; it should be %d", u.name, k.channel, e.Time, at)
	}
}

// lists has a device read its list, some at a time; live says whether it follows from then on.
func (m *chatModel) lists(t *rapid.T, d *chatDevice, limit int, live string) {
	list, more, last := map[string]*chatEntry{}, live, int64(0)
	unread, count := m.unread(d.user)
	for {
		f := m.asks(t, d, fmt.Sprintf(`{"type":"conversations","limit":%d%s}`, limit, more))
		if f.Type != "ok" || f.Unread != unread || f.Count != count || len(f.Conversations) > limit {
			t.Fatalf("%v reads its list: %+v; the model has %d unread in %d", d, f, unread, count)
		}
		for i := range f.Conversations {
			e := &f.Conversations[i]
			k := m.talk(e.Channel)
			if k == nil || k.members[d.user] == nil || list[e.Channel] != nil || last != 0 && e.Time > last {
				t.Fatalf("%v reads its list: %s, whose time is %d, comes behind %d, or twice, or is not his", d, e.text(true), e.Time, last)
			}
			m.agrees(t, d.user, k, e, true)
			list[e.Channel], last = e, e.Time
		}
		if f.Next == "" {
			break
		}
		more = fmt.Sprintf(`,"after":%q`, f.Next)
	}
	if int64(len(list)) != count {
		t.Fatalf("%v reads a list of %d; the model has %d", d, len(list), count)
	}
	switch {
	case strings.Contains(live, "true"):
		d.live, d.list, d.own = true, list, map[string]chatMarks{}
	case live != "":
		d.live, d.list, d.own = false, nil, nil
	}
}

// settles has a device take what must come, until it has what the model has.
func (m *chatModel) settles(t *rapid.T, d *chatDevice) {
	for {
		for _, k := range m.talks {
			if r := d.replica(k); r.told && !r.joined && k.mayRead(d.user) {
				m.follow(t, d, k)
			}
		}
		if d.stale {
			m.refresh(t, d) // and perhaps once more: it may hear only meanwhile that it has missed something
			continue
		}
		why := m.differs(d)
		if why == "" {
			return
		}
		d.pump(t, why)
	}
}

// refresh has a device read again what it may have missed.
func (m *chatModel) refresh(t *rapid.T, d *chatDevice) {
	d.stale = false
	if d.live {
		m.lists(t, d, 50, `,"live":true`)
	}
	for _, k := range m.talks {
		if d.replica(k).joined && k.mayRead(d.user) {
			m.readMarks(t, d, k)
		}
	}
}

// differs tells what a device lacks, or has that it should not have.
func (m *chatModel) differs(d *chatDevice) string {
	for _, k := range m.talks {
		if why := m.lacks(d, k); why != "" {
			return fmt.Sprintf("%s: %s", k.channel, why)
		}
	}
	if !d.live {
		return ""
	}
	count := 0
	for _, k := range m.talks {
		if k.members[d.user] == nil {
			continue
		}
		count++
		e := d.list[k.channel]
		if e == nil {
			return fmt.Sprintf("its list lacks %s", k.channel)
		}
		e.Unread = e.Seq - min(e.Seq, e.Read)
		if want := k.entry(d.user); e.text(false) != want.text(false) {
			return fmt.Sprintf("its list has %s; the model has %s", e.text(false), want.text(false))
		}
	}
	if len(d.list) != count {
		return fmt.Sprintf("its list has %d; the model has %d", len(d.list), count)
	}
	return ""
}

// lacks is differs for one conversation.
func (m *chatModel) lacks(d *chatDevice, k *chatTalk) string {
	r, c := d.replica(k), k.members[d.user]
	switch {
	case !k.mayRead(d.user) && (r.told || r.joined):
		return "its subscription does not end"
	case k.follow && c != nil && !r.told && !r.joined && !r.out:
		return "it is not subscribed"
	case !r.joined:
		return ""
	case r.place != k.head():
		return fmt.Sprintf("it has %d of %d", r.place, k.head())
	case c == nil:
		return ""
	}
	for seq := c.hidden + 1; seq <= k.head(); seq++ {
		if got, want := r.has[seq], k.said[seq-1].now(); got.data != want.data || got.edited != want.edited || got.recalled != want.recalled {
			return fmt.Sprintf("message %d is %.100v; the model has %.100v", seq, got, want)
		}
	}
	for u, c := range k.members {
		from := k.past[u][len(k.past[u])-1].from
		if got := r.marks[u.name]; (from <= r.read || k.direct) && !r.vague && got != c.chatMarks {
			return fmt.Sprintf("the marks of %s are %+v; the model has %+v", u.name, got, c.chatMarks)
		}
	}
	return ""
}

// finish has everybody come, and compares everything.
func (m *chatModel) finish(t *rapid.T) {
	m.everybody(t) // as they are
	m.step++
	for i, u := range m.users {
		d := m.opens(t, u, i%len(u.devices))
		m.lists(t, d, 2, `,"live":true`)
		for _, d := range u.here() {
			for _, k := range m.talks {
				if k.mayRead(u) {
					m.follow(t, d, k)
				}
			}
		}
	}
	// Everybody hears of what is said now, wherever he comes from.
	for _, k := range m.talks {
		m.serverSays(t, k, fmt.Sprintf(`"the last word, step %d"`, m.step))
	}
	m.everybody(t)
	m.isRight(t)
	for _, u := range m.users {
		for _, k := range m.talks {
			m.histories(t, u.here()[0], k)
		}
		for _, d := range u.here() {
			if f := m.asks(t, d, `{"type":"ping"}`); f.Type != "pong" {
				t.Fatalf("%v: %+v", d, f)
			}
			if why := m.differs(d); why != "" {
				t.Fatalf("%v: %s", d, why)
			}
		}
	}
}

// histories compares a history, read backwards or forwards.
func (m *chatModel) histories(t *rapid.T, d *chatDevice, k *chatTalk) {
	var got, want []string
	hidden, place := uint64(0), k.head()+1
	if c := k.members[d.user]; c != nil {
		hidden = c.hidden
	}
	for more := true; more; {
		f := m.asks(t, d, fmt.Sprintf(`{"type":"history","channel":%s,"limit":7,"before":%d}`, jsonOf(k.channel), place))
		if !k.mayRead(d.user) {
			if f.code() != isDenied {
				t.Fatalf("%v, who is no member, reads the history of %s: %+v", d, k.channel, f)
			}
			return
		}
		if f.Type != "ok" || f.Seq != k.head() {
			t.Fatalf("%v reads the history of %s: %+v; the model has %d", d, k.channel, f, k.head())
		}
		for i := range slices.Backward(f.Messages) {
			got = append(got, f.Messages[i].String())
			place = f.Messages[i].Seq
		}
		if more = f.More; more && len(f.Messages) == 0 {
			t.Fatalf("%v reads the history of %s before %d: an empty page, and more", d, k.channel, place)
		}
	}
	for seq := k.head(); seq > hidden; seq-- {
		want = append(want, k.shown(seq).String())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%v reads the history of %s, where up to %d is hidden from him:\n%s\nthe model has\n%s", d, k.channel, hidden, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// isRight compares what the server has of the conversations to which something was done.
func (m *chatModel) isRight(t *rapid.T) {
	for _, k := range m.talks {
		if m.same[k] {
			continue
		}
		m.same[k] = true
		var page struct {
			Items []struct {
				User, Role      string
				Since           int64
				Read, Delivered uint64
			}
			Members int
		}
		m.verb(t, "chat.members", map[string]any{"channel": k.channel}, &page)
		var got, want []string
		for _, i := range page.Items {
			got = append(got, fmt.Sprint(i.User, " ", i.Role, " ", i.Since, " ", i.Read, " ", i.Delivered))
			for u, c := range k.members {
				if u.name == i.User && c.since == 0 {
					c.since = i.Since
				}
			}
		}
		for u, c := range k.members {
			want = append(want, fmt.Sprint(u.name, " ", chatRoles[c.role], " ", c.since, " ", c.read, " ", c.delivered))
		}
		slices.Sort(want)
		slices.Sort(got) // they come by their names' bytes, which a space behind changes
		if !slices.Equal(got, want) || page.Members != len(want) {
			t.Fatalf("the %d members of %s are %v; the model says %v", page.Members, k.channel, got, want)
		}
	}
}
