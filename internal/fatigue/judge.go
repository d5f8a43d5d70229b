package fatigue

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"
)

// Judge tells what would happen to a push now. It changes nothing. A nil zone is UTC.
//
// A cap that lets through has room for one more; reserve it with Count before the
// next push is judged.
func (s *State) Judge(p *Policy, zone *time.Location, muted bool, now time.Time) Verdict {
	if p.Bypass {
		return Verdict{}
	}
	if muted && p.Mutable {
		return Verdict{Kind: Muted, Rule: "muted by the user"}
	}
	v := s.view(zone, now)
	if p.Quiet != nil && p.OnQuiet != Ignore {
		if end, quiet := p.Quiet.until(v.clock, v.now/1000); quiet {
			return Verdict{Kind: QuietHours, Rule: "quiet hours " + p.Quiet.String(), Until: time.Unix(end, 0).UTC()}
		}
	}
	var by *Level
	var full Cap
	var until int64
	for i := range p.Chain {
		level := &p.Chain[i]
		entries := s.of(level.Category)
		for _, c := range level.Caps {
			if free := v.refuses(entries, c); free > until {
				by, full, until = level, c, free
			}
		}
	}
	if by == nil {
		return Verdict{}
	}
	verdict := Verdict{Kind: Capped, Rule: by.Category + ": " + strconv.Itoa(full.Max) + " per " + full.Per}
	if until != never {
		verdict.Until = time.UnixMilli(until).UTC()
	}
	return verdict
}

// Used tells of each cap of the chain how far it is used up, also of those of a policy
// that bypasses them. A nil zone is UTC.
func (s *State) Used(p *Policy, zone *time.Location, now time.Time) []Use {
	var list []Use
	v := s.view(zone, now)
	for _, level := range p.Chain {
		entries := s.of(level.Category)
		for _, c := range level.Caps {
			use := Use{Category: level.Category, Per: c.Per, Max: c.Max}
			kind, length := readPer(c.Per)
			n, mixed := v.used(entries, kind, length)
			use.Used = n
			if rank := min(n, c.Max); rank > 0 {
				use.Until = time.UnixMilli(v.ends(entries, kind, length, rank, mixed)).UTC()
			}
			list = append(list, use)
		}
	}
	return list
}

// never is the end of a refusal that has none.
const never = math.MaxInt64

// A view is a state as it is seen in a zone at a moment.
type view struct {
	state *State
	clock clock
	here  int32 // index of the zone; -1: no entry was counted in it
	now   int64 // Unix milliseconds

	window [perRolling]struct { // the calendar windows that now lies in; zero until asked for
		from, to int64 // Unix milliseconds
	}
}

func (s *State) view(zone *time.Location, now time.Time) view {
	if zone == nil {
		zone = time.UTC
	}
	return view{state: s, clock: clockOf(zone), here: s.zone(zone.String()), now: milli(now)}
}

// current gives the window of a kind that now lies in.
func (v *view) current(kind per) (from, to int64) {
	w := &v.window[kind]
	if w.to == 0 {
		from, to := calendar(kind, v.clock, v.now/1000)
		w.from, w.to = from*1000, to*1000
	}
	return w.from, w.to
}

// refuses gives the time until which a cap refuses; zero: it does not.
func (v *view) refuses(entries []entry, c Cap) int64 {
	kind, length := readPer(c.Per)
	switch {
	case kind == perNone:
		return 0
	case c.Max <= 0:
		return never
	case len(entries) < c.Max:
		return 0
	}
	n, mixed := v.used(entries, kind, length)
	if n < c.Max {
		return 0
	}
	return v.ends(entries, kind, length, c.Max, mixed)
}

// used counts the entries that are in a window. mixed: some were counted in other
// zones.
func (v *view) used(entries []entry, kind per, length int64) (n int, mixed bool) {
	switch kind {
	case perNone:
		return 0, false
	case perRolling:
		for n < len(entries) && v.now < entries[len(entries)-1-n].at+length {
			n++
		}
		return n, false
	}
	from, _ := v.current(kind)
	reach := from - reachBack(kind)
	for i := len(entries) - 1; i >= 0 && entries[i].at >= reach; i-- {
		e := entries[i]
		switch {
		case e.zone == v.here:
			if e.at >= from {
				n++
			}
		case e.at >= from || v.now < v.ownEnd(e, kind):
			n++
			mixed = true
		}
	}
	return n, mixed
}

// reachBack is longer than any calendar window of a kind, in milliseconds: no entry
// that is that much older than the current window is in one that has not ended.
func reachBack(kind per) int64 {
	const slack = 3 * day
	if kind == perWeek {
		return (7*day + slack) * 1000
	}
	return slack * 1000
}

// ownEnd is when the window ends that an entry was counted in, in its own zone. When
// that zone is not known any more, it is the beginning of time: the current zone
// alone decides.
func (v *view) ownEnd(e entry, kind per) int64 {
	c := loaded.clock(v.state.zones[e.zone])
	if c.zone == nil {
		return 0
	}
	_, to := calendar(kind, c, e.at/1000)
	return to * 1000
}

// end is when an entry stops counting in calendar windows of a kind.
func (v *view) end(e entry, kind per) int64 {
	from, to := v.current(kind)
	if e.at < from || e.at >= to {
		_, to = calendar(kind, v.clock, e.at/1000)
		to *= 1000
	}
	if e.zone == v.here {
		return to
	}
	return max(to, v.ownEnd(e, kind))
}

// ends gives when only rank-1 of the entries in a window are left, if none is added.
// There must be rank of them.
func (v *view) ends(entries []entry, kind per, length int64, rank int, mixed bool) int64 {
	// Unless entries of other zones count, those that count are the newest ones, and
	// what comes later ends later.
	last := entries[len(entries)-rank]
	if kind == perRolling {
		return last.at + length
	}
	if !mixed {
		return v.end(last, kind)
	}
	from, _ := v.current(kind)
	reach := from - reachBack(kind)
	var list []int64
	for i := len(entries) - 1; i >= 0 && entries[i].at >= reach; i-- {
		list = append(list, v.end(entries[i], kind)) // also what does not count, which ends before all that does
	}
	slices.SortFunc(list, func(a, b int64) int { return cmp.Compare(b, a) })
	return list[rank-1]
}
