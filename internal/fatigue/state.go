package fatigue

import (
	"slices"
	"time"
)

const (
	// MaxEntries is how many entries of a category are kept, the newest ones. It is
	// twice what a cap may allow, so that a full window stays full whatever is
	// forgotten. Only pushes that no cap stops, such as those that bypass and
	// count, get there. What was forgotten cannot be refunded; and who has more
	// than that many in one day and then changes the time zone may be let through
	// before the day of the old zone is over.
	MaxEntries = 2000
	// Keep is how long an entry can matter at most: the longest window has 30 days,
	// and no clock is changed by more than one.
	Keep = 31 * 24 * time.Hour
)

// State is what was counted of one user: when, under which category and in which
// time zone. The zero value is a user to whom nothing was pushed. A State must not be
// copied once it is changed, nor used by two goroutines at a time.
type State struct {
	zones  []string // names; entries hold indexes
	counts []count  // sorted by category, none without entries
	room   []entry  // the memory of entries that were read
}

// count is what was counted under one category.
type count struct {
	category string
	entries  []entry // by time, at most MaxEntries; of equal times, the latest noted is the last
}

// entry is one live delivery, or a reservation for one.
type entry struct {
	at   int64 // Unix milliseconds, 0 to latest
	zone int32
}

// latest is the last time that an entry can have, in the year 6429.
const latest = 1<<47 - 1

// milli gives a time as entries have it. Times out of reach become the nearest.
func milli(t time.Time) int64 { return min(max(t.UnixMilli(), 0), latest) }

// named is the zone's name, as states have it.
func named(zone *time.Location) string {
	if zone == nil {
		return time.UTC.String()
	}
	return zone.String()
}

// Empty tells whether nothing is counted.
func (s *State) Empty() bool { return len(s.counts) == 0 }

// Count notes a live delivery, or a reservation for one, at a time for every level of the
// chain. A nil zone is UTC. A policy that bypasses and does not count notes nothing.
func (s *State) Count(p *Policy, zone *time.Location, at time.Time) {
	if !p.counted() || len(p.Chain) == 0 {
		return
	}
	e := entry{at: milli(at), zone: s.addZone(named(zone))}
	for i := range p.Chain {
		s.add(p.Chain[i].Category, e)
	}
}

// Refund takes back what Count noted for this policy at that time, one entry of each
// level. It is false, and changes nothing, when there was none or it is forgotten.
// Entries of one category and one millisecond are the same to it.
func (s *State) Refund(p *Policy, at time.Time) bool {
	if !p.counted() || len(p.Chain) == 0 {
		return false
	}
	// What the category itself has not counted, a parent has counted for others.
	when := milli(at)
	if !s.remove(p.Chain[0].Category, when) {
		return false
	}
	for i := range p.Chain[1:] {
		s.remove(p.Chain[1+i].Category, when)
	}
	return true
}

// Move is Refund at one time and Count at another: a reservation that becomes a
// delivery. It counts in any case; it tells whether there was something to refund.
func (s *State) Move(p *Policy, zone *time.Location, from, to time.Time) bool {
	refunded := s.Refund(p, from)
	s.Count(p, zone, to)
	return refunded
}

// Prune forgets what can no longer matter: what is older than [Keep].
func (s *State) Prune(now time.Time) {
	oldest := milli(now) - Keep.Milliseconds()
	empty := false
	for i := range s.counts {
		c := &s.counts[i]
		old := 0
		for old < len(c.entries) && c.entries[old].at < oldest {
			old++
		}
		c.entries = c.entries[old:]
		empty = empty || len(c.entries) == 0
	}
	if empty {
		s.counts = slices.DeleteFunc(s.counts, func(c count) bool { return len(c.entries) == 0 })
	}
}

// find gives the place of a category, or the one where it belongs.
func (s *State) find(category string) (int, bool) {
	// There are a handful; a search by halves is not worth its calls.
	for i := range s.counts {
		if have := s.counts[i].category; have >= category {
			return i, have == category
		}
	}
	return len(s.counts), false
}

func (s *State) of(category string) []entry {
	if i, ok := s.find(category); ok {
		return s.counts[i].entries
	}
	return nil
}

func (s *State) add(category string, e entry) {
	i, ok := s.find(category)
	if !ok {
		s.counts = slices.Insert(s.counts, i, count{category: category})
	}
	c := &s.counts[i]
	at := len(c.entries)
	for at > 0 && c.entries[at-1].at > e.at {
		at--
	}
	if len(c.entries) < MaxEntries {
		c.entries = slices.Insert(c.entries, at, e)
		return
	}
	if at == 0 {
		return // older than all that is kept
	}
	copy(c.entries, c.entries[1:at])
	c.entries[at-1] = e
}

// remove takes the latest noted entry of a time away.
func (s *State) remove(category string, at int64) bool {
	i, ok := s.find(category)
	if !ok {
		return false
	}
	c := &s.counts[i]
	for k := len(c.entries) - 1; k >= 0 && c.entries[k].at >= at; k-- {
		if c.entries[k].at > at {
			continue
		}
		if c.entries = slices.Delete(c.entries, k, k+1); len(c.entries) == 0 {
			s.counts = slices.Delete(s.counts, i, i+1)
		}
		return true
	}
	return false
}

// zone gives the index of a name, -1 when no entry has it.
func (s *State) zone(name string) int32 {
	for i, have := range s.zones {
		if have == name {
			return int32(i)
		}
	}
	return -1
}

func (s *State) addZone(name string) int32 {
	if i := s.zone(name); i >= 0 {
		return i
	}
	s.zones = append(s.zones, name)
	return int32(len(s.zones) - 1)
}
