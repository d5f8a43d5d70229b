package tree

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// AppendOld appends what was there before a patch as a JSON list.
func AppendOld(dst []byte, list []Old) []byte {
	dst = append(dst, '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := &list[i]
		dst = strconv.AppendInt(append(dst, `{"op":`...), int64(o.Op), 10)
		dst = appendPath(append(dst, `,"path":`...), o.Path)
		if o.Index >= 0 {
			dst = strconv.AppendInt(append(dst, `,"index":`...), int64(o.Index), 10)
		} else if o.Value != nil {
			dst = append(append(dst, `,"value":`...), o.Value...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// ParseOld reads what [AppendOld] has written. The text is not kept.
func ParseOld(raw []byte) ([]Old, error) {
	var list []Old
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	err := protocol.EachElement(raw, func(element []byte) error {
		if err := o.Read(element, maxDepth); err != nil {
			return err
		}
		op, err := o.Int("op", 0, 0, protocol.MaxInt)
		if err != nil {
			return err
		}
		index, err := o.Int("index", -1, 0, protocol.MaxInt)
		if err != nil {
			return err
		}
		path, err := readPath(o, "path")
		if err != nil {
			return err
		}
		was := Old{Op: int(op), Path: path, Index: int(index)}
		if o.Has("value") {
			if was.Value, err = value(o); err != nil {
				return err
			}
		}
		list = append(list, was)
		return nil
	})
	return list, err
}

// Touch is a place that a later patch has changed.
type Touch struct {
	Path Path
	Kind string // of the operation
	By   string // how a message calls the patch
}

// Touches gives the places that a patch has changed.
func Touches(done []Done, old []Old, by string) []Touch {
	list := make([]Touch, 0, len(old))
	for i := range old {
		t := Touch{Path: old[i].Path, By: by}
		if at := old[i].Op; at < len(done) {
			t.Path, t.Kind = old[i].place(&done[at]), done[at].Kind
		}
		list = append(list, t)
	}
	return list
}

// place is what the operation was about: Path may be that of an object that was
// made on the way there.
func (o *Old) place(d *Done) Path {
	if len(d.Path) > len(o.Path) {
		return d.Path
	}
	return o.Path
}

// Undo takes a patch back that others may have come after; later are the places
// that those have changed. What both have changed is a conflict, unless later is
// nil: then it gets what was there before. Sums stay right: what was added is
// subtracted, whatever was added since. Where nobody else came, exactly what was
// there before comes back. Errors name the field "version".
func (v *Value) Undo(done []Done, old []Old, later []Touch, limits Limits) (*Change, error) {
	u := undo{
		change: change{Change: &Change{}, v: v, limits: limits.Or()},
		back:   done, old: old, later: sorted(later), force: later == nil, taken: make([]bool, len(old)),
	}
	before := v.Size()
	err := u.all()
	if err == nil {
		err = u.fits(before)
	}
	if err != nil {
		v.Revert(u.Change)
		return nil, asVersion(err)
	}
	return u.Change, nil
}

// undo is a patch that is being taken back.
type undo struct {
	change
	back  []Done
	old   []Old
	later []Touch // by path, each once
	force bool
	taken []bool // of old: it was done with one that came after it
}

// sorted brings touches into the order of their paths. Of those of one kind at one
// place the first is left.
func sorted(list []Touch) []Touch {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Touch) int {
		return cmp.Or(slices.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind))
	})
	return slices.CompactFunc(list, func(a, b Touch) bool { return a.Kind == b.Kind && slices.Equal(a.Path, b.Path) })
}

func (u *undo) all() error {
	for _, o := range u.old {
		if o.Op >= len(u.back) {
			return fault.New(fault.Internal, "the history of the document is damaged")
		}
	}
	for i := len(u.old) - 1; i >= 0; i-- {
		if u.taken[i] {
			continue
		}
		if err := u.one(i); err != nil {
			return err
		}
	}
	return nil
}

// asVersion makes an error name the one field that an undo has.
func asVersion(err error) error {
	e := fault.Of(err)
	return as("version", e.Field, e)
}

// place is the place of one of the old ones, and the operation on it.
func (u *undo) place(i int) (Path, *Done) {
	d := &u.back[u.old[i].Op]
	return u.old[i].place(d), d
}

// one takes back what was done at one place.
func (u *undo) one(i int) error {
	place, d := u.place(i)
	o := &u.old[i]
	added, err := u.disturbed(place, d.Kind)
	if err != nil {
		return err
	}
	n, err := u.find(place)
	if err != nil {
		if o.Value == nil && u.force {
			return nil // what it made is gone
		}
		return err
	}
	switch {
	case d.Kind == Inc && n != nil && n.kind == kindNumber:
		return u.subtract(d, o, n.text, added)
	case d.Kind == Append && n != nil && n.kind == kindArray:
		return u.take(i, n)
	case d.Kind == Append && o.Index >= 0:
		return conflict("version", "there is no array at %s any more", place.place())
	}
	return u.restore(place, o)
}

// disturbed tells whether others have added to the same place, which can be taken
// back without them. Any other change of theirs there, above or below is an error.
func (u *undo) disturbed(place Path, kind string) (added bool, err error) {
	for depth := 0; depth <= len(place); depth++ {
		at, _ := slices.BinarySearchFunc(u.later, place[:depth], func(t Touch, p Path) int { return slices.Compare(t.Path, p) })
		for ; at < len(u.later); at++ {
			t := &u.later[at]
			switch same := len(t.Path) == len(place); {
			case !place[:depth].Covers(t.Path), depth < len(place) && len(t.Path) > depth:
				// Of what is above the place nothing but itself counts.
			case same && kind == t.Kind && (kind == Inc || kind == Append):
				added = true
				continue
			default:
				return false, conflict("version", "%s has changed %s since", t.By, place.place())
			}
			break
		}
	}
	return added, nil
}

// restore puts back what was there before.
func (u *undo) restore(place Path, o *Old) error {
	if o.Value != nil {
		return u.set(place, o.Value)
	}
	n, err := u.find(place)
	if err != nil || n == nil {
		return err
	}
	// Objects that were made on the way go too, unless others have found a use for them.
	top := len(place)
	for top > len(o.Path) && u.trail[top-1].live == 1 {
		top--
	}
	return u.remove(place[:top:top])
}

// subtract takes an Inc back.
func (u *undo) subtract(d *Done, o *Old, now []byte, added bool) error {
	by := append([]byte("-"), d.By...)
	if d.By[0] == '-' {
		by = d.By[1:]
	}
	if !added && bytes.Equal(now, d.Result) {
		// Nothing has happened. When the difference is not what was there, because doubles
		// are rounded or there was no number, that comes back.
		if was, err := appendSum(nil, now, by); err != nil || !bytes.Equal(was, o.Value) {
			return u.restore(d.Path, o)
		}
	}
	return u.inc(&Op{Path: d.Path, By: by})
}

// take removes elements that were appended, wherever they are by now: that of an
// old one, and all that the patch has appended to the same array before it. An array
// is written anew once, however many there are.
func (u *undo) take(i int, array *node) error {
	place, _ := u.place(i)
	elements := make([][]byte, 0, array.count)
	for list := (&cursor{text: array.text, i: 1}); list.next(); {
		elements = append(elements, list.skip())
	}
	made := -1 // the old one that has made the array
	for ; i >= 0; i-- {
		at, d := u.place(i)
		switch {
		case d.Kind == Append && slices.Equal(at, place):
			k, err := find(elements, d.Value, u.old[i].Index)
			if err != nil {
				return err
			}
			if k < 0 {
				return conflict("version", "the element is not in %s any more", place.place())
			}
			elements[k], u.taken[i] = nil, true
			if u.old[i].Index < 0 {
				made = i
			}
			continue
		case !at.Covers(place) && !place.Covers(at):
			continue // it makes no difference which comes first
		}
		break
	}
	elements = slices.DeleteFunc(elements, func(text []byte) bool { return text == nil })
	if len(elements) == 0 && made >= 0 {
		return u.restore(place, &u.old[made])
	}
	rest := append(make([]byte, 0, len(array.text)), '[')
	rest = append(rest, bytes.Join(elements, []byte(","))...)
	return u.set(place, append(rest, ']'))
}

// find looks for an element among those that are left (not nil): where it was, or
// before that, as others may have been taken out; -1 when it is nowhere.
func find(elements [][]byte, value []byte, index int) (int, error) {
	want, err := parse(value, maxDepth, true)
	if err != nil {
		return 0, err
	}
	text := want.copy()
	is := func(k int) bool {
		return elements[k] != nil && (bytes.Equal(elements[k], text) || sameText(elements[k], text))
	}
	start := min(max(0, index), len(elements)-1)
	for k := start; k >= 0; k-- {
		if is(k) {
			return k, nil
		}
	}
	for k := len(elements) - 1; k > start; k-- {
		if is(k) {
			return k, nil
		}
	}
	return -1, nil
}
