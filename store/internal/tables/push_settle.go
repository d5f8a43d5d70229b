package tables

import (
	"cmp"
	"slices"

	"github.com/skein-realtime/skein/store"
)

func (w *work) settle(c *store.Settle) (store.Result, error) {
	numbers, err := w.settlers(c.Settlements)
	if err != nil {
		return nil, err
	}
	found, err := w.settled(c.Settlements, numbers)
	if err != nil {
		return nil, err
	}
	r := store.Settled{Results: make([]store.SettledOne, len(c.Settlements))}
	for k := range c.Settlements {
		s, one := &c.Settlements[k], &r.Results[k]
		one.Found = len(found[k]) > 0 || s.UpTo && w.inboxes[numbers[k]] != nil
		for _, d := range found[k] {
			if s.UpTo && d.due != 0 || !d.state.Open() || d.state == s.State {
				continue
			}
			if s.State == store.Delivered {
				if d.message.over(s.Time) { // it came too late
					w.over(d)
					continue
				}
				w.deliver(d, s.Device, s.Time)
			} else {
				d.state, d.sent, d.due, d.reason, d.rule, d.changed = store.Sent, s.Time, 0, byNone, "", true
			}
			one.Seqs = append(one.Seqs, uint64(d.seq))
		}
	}
	return r, w.save()
}

// settlers locks the inboxes that settlements are about and gives their numbers; 0:
// there is none.
func (w *work) settlers(list []store.Settlement) ([]int64, error) {
	numbers := make([]int64, len(list))
	places := map[string]int{} // of users that are to be looked up
	var users []string
	for k := range list {
		if numbers[k] = int64(list[k].N); numbers[k] == 0 {
			if _, known := places[list[k].User]; !known {
				places[list[k].User] = len(users)
				users = append(users, list[k].User)
			}
		}
	}
	own, err := w.numbersOf(users, len(places) < len(list), false)
	if err != nil {
		return nil, err
	}
	for k := range list {
		if numbers[k] == 0 {
			numbers[k] = own[places[list[k].User]]
		}
	}
	return numbers, w.lock(sorted(numbers))
}

// sorted gives each number once.
func sorted(numbers []int64) []int64 {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// settled gives for each settlement the deliveries that it is about, by seq.
func (w *work) settled(list []store.Settlement, numbers []int64) ([][]*delivery, error) {
	var persons, seqs, named, upto, low, high []int64
	var ids [][]byte
	for k := range list {
		i := w.inboxes[numbers[k]]
		if i == nil {
			continue
		}
		switch s := &list[k]; {
		case s.ID != "":
			named, ids = append(named, i.n), append(ids, []byte(s.ID))
		case s.UpTo:
			if last := int64(min(s.Seq, uint64(i.top))); last > i.settled {
				upto, low, high = append(upto, i.n), append(low, i.settled), append(high, last)
			}
		default:
			persons, seqs = append(persons, i.n), append(seqs, int64(min(s.Seq, uint64(i.top+1))))
		}
	}
	var rows []*delivery
	for _, ask := range []struct {
		one, all string
		columns  []column
	}{
		{sqlBySeq, sqlBySeqs, []column{persons, seqs}},
		{sqlByID, sqlByIDs, []column{named, ids}},
		{sqlUpTo, sqlUpTos, []column{upto, low, high}},
	} {
		if err := queryRows(w.ctx, w.tx, ask.one, ask.all, w.taking(&rows), ask.columns...); err != nil {
			return nil, err
		}
	}
	if err := w.attach(rows); err != nil {
		return nil, err
	}
	return w.assign(list, numbers), nil
}

// assign deals the deliveries that were read to the settlements.
func (w *work) assign(list []store.Settlement, numbers []int64) [][]*delivery {
	type seqOf struct{ person, seq int64 }
	type idOf struct {
		person int64
		id     string
	}
	bySeq, byID, byPerson := map[seqOf]*delivery{}, map[idOf]*delivery{}, map[int64][]*delivery{}
	for _, d := range w.deliveries {
		bySeq[seqOf{d.person, d.seq}], byID[idOf{d.person, d.message.ID}] = d, d
		byPerson[d.person] = append(byPerson[d.person], d)
	}
	for _, rows := range byPerson {
		slices.SortFunc(rows, func(a, b *delivery) int { return cmp.Compare(a.seq, b.seq) })
	}
	found := make([][]*delivery, len(list))
	for k := range list {
		s, n := &list[k], numbers[k]
		switch {
		case s.UpTo:
			for _, d := range byPerson[n] {
				if uint64(d.seq) <= s.Seq {
					found[k] = append(found[k], d)
				}
			}
		case s.ID != "":
			if d := byID[idOf{n, s.ID}]; d != nil {
				found[k] = []*delivery{d}
			}
		default:
			if d := bySeq[seqOf{n, int64(min(s.Seq, 1<<63-1))}]; d != nil {
				found[k] = []*delivery{d}
			}
		}
	}
	return found
}

// What is shown in an inbox and was not read yet is marked; each gives its message.
const sqlMarkRead = `
UPDATE delivery SET read = ? WHERE person = ? AND seq > ? AND seq <= ? AND read = 0 AND hidden = 0 AND state <> 6 AND state <> 7 RETURNING push`

func (w *work) markRead(c *store.MarkRead) (store.Result, error) {
	i, err := w.visit(c.User)
	if err != nil || i == nil {
		return store.ReadMarked{}, err
	}
	to := int64(min(c.Seq, uint64(i.top)))
	if to <= i.read {
		return store.ReadMarked{Inbox: i.state()}, nil
	}
	if i, err = w.lockOne(i); err != nil {
		return nil, err
	}
	from := i.read
	if to <= from {
		return store.ReadMarked{Inbox: i.state()}, nil
	}
	i.read, i.changed = to, true
	r := store.ReadMarked{Moved: true}
	var rows []*delivery
	if i.open > 0 && i.settled < to {
		if err := w.tx.Query(w.ctx, sqlUpTo, w.taking(&rows), i.n, i.settled, to); err != nil {
			return nil, err
		}
		if err := w.attach(rows); err != nil {
			return nil, err
		}
	}
	for _, d := range rows {
		if w.over(d) {
			continue
		}
		w.deliver(d, c.Device, c.Now)
		r.Seqs = append(r.Seqs, uint64(d.seq))
	}
	if err := w.save(); err != nil {
		return nil, err
	}
	reads := map[int64]int64{}
	if err := w.tx.Query(w.ctx, sqlMarkRead, func(scan Scan) error {
		var push int64
		err := scan(&push)
		reads[push]++
		return err
	}, c.Now, i.n, max(from, i.floor), to); err != nil {
		return nil, err
	}
	for push, n := range reads {
		if w.messages[push] == nil {
			w.messages[push] = &message{n: push}
		}
		w.messages[push].change[0] += n
	}
	r.Inbox = i.state()
	return r, w.saveTotals()
}

const sqlEscalated = `UPDATE delivery SET escalate = nullif(CAST(? AS bigint), 0) WHERE person = ? AND seq = ? AND state <= 2`

func (w *work) escalated(c *store.Escalated) (store.Result, error) {
	// Whoever has the person locked may write the whole delivery.
	if err := w.lock([]int64{int64(c.N)}); err != nil {
		return nil, err
	}
	_, err := w.tx.Exec(w.ctx, sqlEscalated, c.Next, int64(c.N), int64(c.Seq))
	return store.EscalationNoted{}, err
}
