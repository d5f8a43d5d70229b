package fatigue

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The bytes of a state, all numbers as unsigned varints in their shortest form:
//
//	version     one byte, 1
//	total       of all entries
//	zones       how many; then of each: length and bytes of its name,
//	            in the order in which the entries first use them
//	categories  how many; then of each, in the order of the names:
//	  name      length and bytes
//	  runs      how many; then of each stretch of entries counted in one zone:
//	    zone    its index
//	    length  how many entries
//	    times   of each: milliseconds since the entry before it in the category,
//	            of the first: since 1970
//
// One state has one form: what is read is written again byte by byte. A state of ten
// pushes in one category and one zone has about 70 bytes.
const version = 1

// Append writes the state behind b, for [Decode]. It writes nothing for a state
// without entries.
func (s *State) Append(b []byte) []byte {
	total := 0
	for i := range s.counts {
		total += len(s.counts[i].entries)
	}
	if total == 0 {
		return b
	}
	var few [2][8]int32
	order, place := few[0][:0], few[1][:]
	if len(s.zones) > len(place) {
		place = make([]int32, len(s.zones))
	}
	order = s.order(order, place)
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(total))
	b = binary.AppendUvarint(b, uint64(len(order)))
	for _, zone := range order {
		b = appendName(b, s.zones[zone])
	}
	b = binary.AppendUvarint(b, uint64(len(s.counts)))
	for i := range s.counts {
		b = s.counts[i].append(b, place)
	}
	return b
}

func appendName(b []byte, name string) []byte {
	b = binary.AppendUvarint(b, uint64(len(name)))
	return append(b, name...)
}

// order lists the zones that are in use, in the order in which they are written, and
// notes the place of each in that list plus one.
func (s *State) order(list, place []int32) []int32 {
	for i := range s.counts {
		for _, e := range s.counts[i].entries {
			if place[e.zone] == 0 {
				list = append(list, e.zone)
				place[e.zone] = int32(len(list))
			}
		}
	}
	return list
}

func (c *count) append(b []byte, place []int32) []byte {
	b = appendName(b, c.category)
	runs := 1
	for i, e := range c.entries[1:] {
		if e.zone != c.entries[i].zone {
			runs++
		}
	}
	b = binary.AppendUvarint(b, uint64(runs))
	before := int64(0)
	for rest := c.entries; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].zone == rest[0].zone {
			n++
		}
		b = binary.AppendUvarint(b, uint64(place[rest[0].zone]-1))
		b = binary.AppendUvarint(b, uint64(n))
		for _, e := range rest[:n] {
			b = binary.AppendUvarint(b, uint64(e.at-before))
			before = e.at
		}
		rest = rest[n:]
	}
	return b
}

// Decode reads what Append wrote; no bytes are a user to whom nothing was pushed. It
// does not keep b. Anything else is an error, which no client has caused and so is
// not a *fault.Error.
func Decode(b []byte) (s State, err error) {
	err = s.Read(b)
	return s, err
}

// Read is [Decode] in place of what the state had, whose memory it uses. After an error
// nothing is counted.
func (s *State) Read(b []byte) error {
	s.zones, s.counts = s.zones[:0], s.counts[:0]
	if len(b) == 0 {
		return nil
	}
	d := decoder{all: b, rest: b}
	if d.state(s); d.err != nil {
		s.zones, s.counts = s.zones[:0], s.counts[:0]
		return fmt.Errorf("counts of a user in %d bytes: %w", len(b), d.err)
	}
	return nil
}

// The least bytes that a zone, a category and an entry take. A count of them that
// does not fit into what is left is refused before room is made for it.
const (
	leastZone     = 1
	leastCategory = 5
	leastEntry    = 1
)

// A decoder reads bytes from the front. After its first error it reads only zeros.
type decoder struct {
	all  []byte
	rest []byte
	text string  // all, once a name is needed that the state did not have
	room []entry // for the entries of all categories, and one more for each
	seen int32   // how many zones are in use so far
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
		d.rest = nil
	}
}

// number reads a varint.
func (d *decoder) number() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 {
		n := d.rest[0]
		d.rest = d.rest[1:]
		return uint64(n)
	}
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || d.rest[size-1] == 0 {
		d.fail("a number is cut off, too great or longer than needed")
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// amount reads how many things follow that take so many bytes at least.
func (d *decoder) amount(what string, least int) int {
	n := d.number()
	if n > uint64(len(d.rest)/least) {
		d.fail("%d %s do not fit into %d bytes", n, what, len(d.rest))
		return 0
	}
	return int(n)
}

// name reads a name; had is what was at its place before, and often the same.
func (d *decoder) name(had string) string {
	n := d.amount("bytes of a name", 1)
	from := len(d.all) - len(d.rest)
	name := d.rest[:n]
	if d.rest = d.rest[n:]; string(name) == had {
		return had
	}
	if d.text == "" {
		d.text = string(d.all)
	}
	return d.text[from : from+n]
}

// state reads into a state that is empty.
func (d *decoder) state(s *State) {
	if d.rest[0] != version {
		d.fail("version %d is not known", d.rest[0])
		return
	}
	d.rest = d.rest[1:]
	total := d.amount("entries", leastEntry)
	zones := d.amount("zones", leastZone)
	s.zones = slices.Grow(s.zones, zones)[:zones]
	d.zones(s.zones)
	categories := d.amount("categories", leastCategory)
	if d.err == nil && categories == 0 {
		d.fail("there is no category")
	}
	if d.err != nil {
		return
	}
	s.counts = slices.Grow(s.counts, categories)[:categories]
	if cap(s.room) < total+categories {
		s.room = make([]entry, total+categories)
	}
	d.room = s.room[:total+categories]
	for i := range s.counts {
		c := &s.counts[i]
		c.category = d.name(c.category)
		if i > 0 && c.category <= s.counts[i-1].category {
			d.fail("the categories are not in order")
		}
		if d.entries(c, int32(len(s.zones))); d.err != nil {
			return
		}
	}
	switch {
	case len(d.rest) > 0:
		d.fail("%d bytes follow the end", len(d.rest))
	case len(d.room) > 0:
		d.fail("%d of the %d entries are missing", len(d.room), total)
	case int(d.seen) < len(s.zones):
		d.fail("%d zones are not used", len(s.zones)-int(d.seen))
	}
}

// zones reads the names of zones. All differ.
func (d *decoder) zones(names []string) {
	for i := range names {
		names[i] = d.name(names[i])
	}
	if len(names) < 2 || d.err != nil {
		return
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) < len(names) {
		d.fail("a zone stands twice")
	}
}

// entries reads the runs of a category into a part of the room.
func (d *decoder) entries(c *count, zones int32) {
	runs := d.amount("runs", 2+leastEntry)
	if runs == 0 {
		d.fail("a category has no entries")
	}
	n, before, last := 0, uint64(0), int32(-1)
	for range runs {
		zone, length := d.zone(zones), d.amount("entries", leastEntry)
		switch {
		case length == 0:
			d.fail("a run has no entries")
		case zone == last:
			d.fail("two runs of one zone follow each other")
		case n+length > MaxEntries:
			d.fail("a category has more than %d entries", MaxEntries)
		case n+length >= len(d.room):
			d.fail("there are more entries than announced")
		}
		if d.err != nil {
			return
		}
		for k := range length {
			delta := d.number()
			if delta > latest-before {
				d.fail("a time is too late")
				return
			}
			before += delta
			d.room[n+k] = entry{at: int64(before), zone: zone}
		}
		n, last = n+length, zone
	}
	if d.err == nil {
		// The place behind them is for the next one, which needs no new room then.
		c.entries, d.room = d.room[:n:n+1], d.room[n+1:]
	}
}

// zone reads the index of a zone. They are numbered as they come.
func (d *decoder) zone(zones int32) int32 {
	n := d.number()
	if n > uint64(d.seen) || n >= uint64(zones) {
		d.fail("zone %d is not the next one", n)
		return 0
	}
	if int32(n) == d.seen {
		d.seen++
	}
	return int32(n)
}
