package storetest

import (
	"cmp"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

// pushModel is what is pushed, as it would be if it were a few lists. What a store may
// choose, the model takes from its records: the numbers of users, the time of a place
// in the list of all, and by how much what is put off is spread.
type pushModel struct {
	now        int64
	persons    map[string]*modelPerson
	messages   []*modelMessage // in the order in which they came
	broadcasts int
}

type modelMessage struct {
	store.Content
	everyone  int // which broadcast; 0: it is none
	audience  int64
	withdrawn int64
	ended     bool         // all that was open of it has been ended, for good
	totals    store.Totals // of what was pruned
}

type modelPerson struct {
	held                     uint64 // the first that was held back and not told; 0: none
	told                     bool   // the user is being told
	user                     string
	n                        uint64
	zone                     *time.Location // nil: that of the command
	muted                    map[string]bool
	top, floor, read, merged int
	counts                   fatigue.State
	rows                     []*modelRow // by seq; those that were pruned are gone
}

type modelRow struct {
	message *modelMessage
	hidden  bool
	counted int64
	until   int64 // put off until then at the least; what the store makes of it is in Due
	store.Item
}

func (r *modelRow) waits() bool { return r.State == store.Queued && r.Due == 0 }

func (m *pushModel) person(user string) *modelPerson {
	p := m.persons[user]
	if p == nil {
		p = &modelPerson{user: user, merged: m.broadcasts, muted: map[string]bool{}}
		m.persons[user] = p
	}
	return p
}

func (m *pushModel) find(id string) *modelMessage {
	for _, x := range m.messages {
		if x.ID == id {
			return x
		}
	}
	return nil
}

func (p *modelPerson) row(message *modelMessage) *modelRow {
	for _, r := range p.rows {
		if r.message == message {
			return r
		}
	}
	return nil
}

func (p *modelPerson) open() (list []*modelRow) {
	for _, r := range p.rows {
		if r.State.Open() {
			list = append(list, r)
		}
	}
	return list
}

// settled is up to where nothing is open.
func (p *modelPerson) settled() int {
	if open := p.open(); len(open) > 0 {
		return int(open[0].Seq) - 1
	}
	return p.top
}

func (x *modelMessage) over(now int64) bool {
	return x.withdrawn != 0 || x.ended || x.Expires != 0 && x.Expires <= now
}

func (x *modelMessage) counts() bool {
	return len(x.Policy.Chain) > 0 && (!x.Policy.Bypass || x.Policy.Counts)
}

// place puts a message at the end of an inbox, not judged.
func (m *pushModel) place(p *modelPerson, x *modelMessage) *modelRow {
	p.top++
	r := &modelRow{message: x, Item: store.Item{Seq: uint64(p.top), Content: x.Content, State: store.Queued, Queued: m.now}}
	p.rows = append(p.rows, r)
	return r
}

func (m *pushModel) end(p *modelPerson, r *modelRow, state store.State, reason string) {
	if r.State == store.Queued {
		m.refund(p, r)
	}
	r.State, r.Reason, r.Rule, r.Ended, r.Due, r.until = state, reason, "", m.now, 0, 0
}

func (m *pushModel) refund(p *modelPerson, r *modelRow) {
	if r.counted != 0 {
		p.counts.Refund(&r.message.Policy, time.UnixMilli(r.counted))
		r.counted = 0
	}
}

// over ends a row whose message is over.
func (m *pushModel) over(p *modelPerson, r *modelRow) bool {
	if !r.message.over(m.now) {
		return false
	}
	state, reason := store.Expired, ""
	if r.message.withdrawn != 0 {
		state = store.Withdrawn
	} else if r.Due != 0 {
		reason = r.Reason
	}
	rule := r.Rule
	m.end(p, r, state, reason)
	if reason != "" {
		r.Rule = rule
	}
	return true
}

// judge decides about a row that waits.
func (m *pushModel) judge(p *modelPerson, r *modelRow, zone *time.Location) {
	if m.over(p, r) {
		return
	}
	if p.zone != nil {
		zone = p.zone
	}
	policy := &r.message.Policy
	v := p.counts.Judge(policy, zone, p.muted[policy.Category], time.UnixMilli(m.now))
	r.Due, r.until, r.Reason, r.Rule = 0, 0, "", v.Rule
	off := func(reason string) {
		r.until, r.Reason = v.Until.UnixMilli(), reason
		r.Due = r.until
	}
	held := func(state store.State, reason string, hidden bool) {
		m.end(p, r, state, reason)
		r.Rule, r.hidden = v.Rule, hidden
		if !hidden && !p.told && (p.held == 0 || r.Seq < p.held) {
			p.held = r.Seq
		}
	}
	switch v.Kind {
	case fatigue.Deliver:
		if r.message.counts() {
			p.counts.Count(policy, zone, time.UnixMilli(m.now))
			r.counted = m.now
		}
	case fatigue.Muted:
		held(store.Muted, store.ReasonUser, policy.OnCap == fatigue.Drop)
	case fatigue.QuietHours:
		if policy.OnQuiet == fatigue.Inbox {
			held(store.Muted, store.ReasonQuiet, false)
		} else {
			off(store.ReasonQuiet)
		}
	case fatigue.Capped:
		if policy.OnCap == fatigue.Defer && !v.Until.IsZero() {
			off(store.ReasonCap)
		} else {
			held(store.Capped, store.ReasonCap, policy.OnCap == fatigue.Drop)
		}
	}
}

// raise takes what is over the bound out of an inbox.
func (m *pushModel) raise(p *modelPerson, keep int) {
	if keep == 0 || p.top-keep <= p.floor {
		return
	}
	p.floor = p.top - keep
	for _, r := range p.open() {
		if int(r.Seq) <= p.floor && !m.over(p, r) {
			m.end(p, r, store.Expired, store.ReasonFull)
		}
	}
}

// replace ends what waits and would come before a row with the same key.
func (m *pushModel) replace(p *modelPerson, fresh *modelRow) {
	x := fresh.message
	if x.Collapse == "" || x.over(m.now) {
		return
	}
	for _, r := range p.rows {
		if r.Seq < fresh.Seq && r.State == store.Queued && r.message.Collapse == x.Collapse && r.message.Category == x.Category {
			m.end(p, r, store.Withdrawn, store.ReasonReplaced)
		}
	}
}

// push gives the rows of recipients, and which had one.
func (m *pushModel) push(c store.Push, zone *time.Location) (rows []*modelRow, again []bool) {
	x := m.find(c.ID)
	if x == nil {
		x = &modelMessage{Content: c.Content}
		m.messages = append(m.messages, x)
	}
	for _, to := range c.To {
		p := m.person(to.User)
		r := p.row(x)
		if again = append(again, r != nil); r == nil {
			r = m.place(p, x)
			m.raise(p, c.Keep)
			m.replace(p, r)
			m.judge(p, r, zone)
		}
		rows = append(rows, r)
	}
	return rows, again
}

func (m *pushModel) broadcast(c store.Broadcast) {
	m.broadcasts++
	m.messages = append(m.messages, &modelMessage{Content: c.Content, everyone: m.broadcasts, audience: int64(len(m.persons))})
}

// collect gives what may interrupt the user and what was held.
func (m *pushModel) collect(c store.Collect, zone *time.Location) (live, held []*modelRow) {
	if c.Peek && m.persons[c.User] == nil {
		return nil, nil
	}
	p := m.person(c.User)
	var fresh []*modelRow
	for _, x := range m.messages {
		if x.everyone > p.merged {
			fresh = append(fresh, m.place(p, x))
		}
	}
	// A visit that finds nothing new bounds nothing.
	tell := c.Tell && !c.Peek
	if len(p.open()) > 0 && !c.Peek || p.merged < m.broadcasts || tell && p.held != 0 {
		m.raise(p, c.Keep)
	}
	p.told = tell
	defer func() { p.told = false }()
	p.merged = m.broadcasts
	for _, r := range fresh {
		m.replace(p, r)
	}
	waiting := fresh
	if !c.Peek {
		waiting = p.open()
	}
	waiting = slices.DeleteFunc(slices.Clone(waiting), func(r *modelRow) bool { return !r.waits() })
	for _, r := range waiting {
		m.refund(p, r)
	}
	slices.SortFunc(waiting, func(a, b *modelRow) int {
		return cmp.Or(cmp.Compare(b.Policy.Priority, a.Policy.Priority), cmp.Compare(b.Seq, a.Seq))
	})
	for _, r := range waiting {
		m.judge(p, r, zone)
	}
	for _, r := range waiting {
		if r.State == store.Capped || r.State == store.Muted || r.Due != 0 {
			held = append(held, r)
		}
	}
	if tell && p.held != 0 {
		for _, r := range p.rows {
			if r.Seq >= p.held && int(r.Seq) > max(p.read, p.floor) && (r.State == store.Capped || r.State == store.Muted) && !r.hidden && r.Read == 0 && !slices.Contains(held, r) {
				held = append(held, r)
			}
		}
		p.held = 0
	}
	slices.SortFunc(held, func(a, b *modelRow) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, r := range p.open() {
		if r.Due == 0 && r.Seq > c.After && !r.message.over(m.now) {
			live = append(live, r)
		}
	}
	return live, held
}

func (m *pushModel) deliver(r *modelRow, device string, at int64) {
	r.State, r.Reason, r.Rule, r.Due, r.until, r.Device, r.Delivered = store.Delivered, "", "", 0, 0, device, at
	if r.Sent == 0 {
		r.Sent = at
	}
}

func (m *pushModel) settle(s store.Settlement) (one store.SettledOne) {
	p := m.persons[s.User]
	if p == nil {
		return one
	}
	one.Found = s.UpTo
	for _, r := range p.rows {
		is := s.UpTo && r.Seq <= s.Seq && r.Due == 0 || !s.UpTo && (s.ID == r.ID || s.ID == "" && s.Seq == r.Seq)
		if one.Found = one.Found || is; !is || !r.State.Open() || r.State == s.State {
			continue
		}
		if s.State == store.Delivered && r.message.over(s.Time) {
			m.over(p, r)
			continue
		}
		if s.State == store.Delivered {
			m.deliver(r, s.Device, s.Time)
		} else {
			r.State, r.Sent, r.Due, r.until, r.Reason, r.Rule = store.Sent, s.Time, 0, 0, "", ""
		}
		one.Seqs = append(one.Seqs, r.Seq)
	}
	return one
}

func (m *pushModel) markRead(c store.MarkRead) (moved bool, seqs []uint64) {
	p := m.persons[c.User]
	if p == nil || min(int(c.Seq), p.top) <= p.read {
		return false, nil
	}
	from := max(p.read, p.floor)
	p.read = min(int(c.Seq), p.top)
	for _, r := range p.rows {
		if int(r.Seq) > p.read {
			break
		}
		if r.State.Open() && !m.over(p, r) {
			m.deliver(r, c.Device, m.now)
			seqs = append(seqs, r.Seq)
		}
		if int(r.Seq) > from && !r.hidden && r.State != store.Withdrawn && r.State != store.Expired && r.Read == 0 {
			r.Read = m.now
		}
	}
	return true, seqs
}

// clear ends what is open of what was read elsewhere, and marks the rest.
func (m *pushModel) clear(c store.ClearPushed) (ended []store.EndedRow) {
	p := m.persons[c.User]
	if p == nil {
		return nil
	}
	for _, r := range p.rows {
		if int(r.Seq) <= max(p.read, p.floor) || r.hidden || r.Read != 0 || r.Collapse != c.Collapse || r.Category != c.Category {
			continue
		}
		switch r.State {
		case store.Queued, store.Sent:
			if m.over(p, r) {
				continue
			}
			m.end(p, r, store.Withdrawn, store.ReasonRead)
			ended = append(ended, store.EndedRow{User: c.User, Seq: r.Seq, ID: r.ID, Sent: r.Sent != 0})
		case store.Delivered, store.Capped, store.Muted:
			r.Read = m.now
		}
	}
	return ended
}

// wake judges what is due, the oldest first, and gives how much it was and what may
// interrupt now.
func (m *pushModel) wake(zone *time.Location) (n int, live []*modelRow) {
	type due struct {
		p *modelPerson
		r *modelRow
	}
	var list []due
	for _, p := range m.persons {
		for _, r := range p.rows {
			if r.Due != 0 && r.Due <= m.now {
				list = append(list, due{p, r})
			}
		}
	}
	slices.SortFunc(list, func(a, b due) int { return cmp.Compare(a.r.Due, b.r.Due) })
	for _, d := range list {
		if m.judge(d.p, d.r, zone); d.r.waits() {
			live = append(live, d.r)
		}
	}
	return len(list), live
}

// finish ends what is open of the messages that are chosen.
func (m *pushModel) finish(which func(*modelMessage) bool) (n int) {
	for _, x := range m.messages {
		if !which(x) {
			continue
		}
		x.ended = true
		for _, p := range m.persons {
			if r := p.row(x); r != nil && r.State.Open() && m.over(p, r) {
				n++
			}
		}
	}
	return n
}

func (m *pushModel) prune(records int64) (n int) {
	for _, p := range m.persons {
		last, settled := 0, p.settled()
		p.rows = slices.DeleteFunc(p.rows, func(r *modelRow) bool {
			if r.Queued >= records || r.State.Open() {
				return false
			}
			n++
			last = max(last, int(r.Seq))
			addTotal(&r.message.totals, r.State, r.Read != 0)
			return true
		})
		p.floor = max(p.floor, min(last, settled))
	}
	m.messages = slices.DeleteFunc(m.messages, func(x *modelMessage) bool {
		if x.Time >= records {
			return false
		}
		for _, p := range m.persons {
			if p.row(x) != nil {
				return false
			}
		}
		return true
	})
	return n
}
