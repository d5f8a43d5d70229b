package client

import (
	"encoding/json"
	"slices"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// replica is the value of a document as one client sees it: what the server has
// said, with the client's own patches that the server has not shown yet carried
// out on top. It is pure data: nothing in it knows of connections or goroutines.
//
// Between its methods the value has every pending patch that fits carried out. To
// take something of the server they are taken back, newest first, and carried
// out anew.
type replica struct {
	known   bool // there is a value
	epoch   string
	version uint64
	value   *tree.Value
	pending []*edit
	frozen  bool // nobody tells what happens: patches are not shown
}

// edit is one patch of this client.
type edit struct {
	key      string
	raw      json.RawMessage // its ops
	ops      []tree.Op
	change   *tree.Change // what it has done to the value; nil: it does not fit
	accepted bool
	version  uint64 // as the server said it in the ok, once accepted
}

// shows tells whether the patch changes the value that is shown.
func (e *edit) shows() bool { return e.change != nil && e.change.Changed() }

// hereLimits are the limits for what is carried out here: the server's are its own business.
func hereLimits() tree.Limits { return tree.Limits{Depth: depth, Ops: 1 << 20} }

// lift takes the pending patches back.
func (r *replica) lift() {
	for _, e := range slices.Backward(r.pending) {
		if e.change != nil {
			r.value.Revert(e.change)
			e.change = nil
		}
	}
}

// lay carries the pending patches out. One that does not fit is left out, and
// comes in again when it does.
func (r *replica) lay() {
	for _, e := range r.pending {
		e.change, _ = r.value.Apply(e.ops, hereLimits(), nil)
	}
}

// add puts a new patch on top. Its error says why it cannot be a patch at all; one
// that only does not fit now is the server's to judge.
func (r *replica) add(key string, raw json.RawMessage) (*edit, error) {
	ops, err := tree.ParseOps(raw, hereLimits())
	if err != nil {
		return nil, err
	}
	e := &edit{key: key, raw: raw, ops: ops}
	if r.frozen {
		return e, nil
	}
	if r.known {
		if e.change, err = r.value.Apply(ops, hereLimits(), nil); err != nil && fault.Of(err).Code != fault.Conflict {
			return nil, err
		}
	}
	r.pending = append(r.pending, e)
	return e, nil
}

// join puts a patch on top that was made while the value was frozen.
func (r *replica) join(e *edit) {
	if r.known {
		e.change, _ = r.value.Apply(e.ops, hereLimits(), nil)
	}
	r.pending = append(r.pending, e)
}

// freeze goes back to what the server has said, and tells whether that is another
// value than was shown.
func (r *replica) freeze() (changed bool) {
	changed = slices.ContainsFunc(r.pending, (*edit).shows)
	if r.known {
		r.lift()
	}
	r.pending, r.frozen = nil, true
	return changed
}

// remove takes a patch away: it was refused, or is in the value of the server.
func (r *replica) remove(e *edit) {
	i := slices.Index(r.pending, e)
	if i < 0 {
		return
	}
	if r.known {
		r.lift()
	}
	r.pending = slices.Delete(r.pending, i, i+1)
	if r.known {
		r.lay()
	}
}

// accept notes that the server has carried a patch out. It stays on top until its
// version has come. When that has come already, without telling that it was this
// one, it was carried out twice here until now: then the value changes.
func (r *replica) accept(e *edit, version uint64) (changed bool) {
	e.accepted, e.version = true, version
	if !r.known || version <= r.version {
		changed = e.shows() && slices.Contains(r.pending, e)
		r.remove(e)
	}
	return changed
}

// settle drops the accepted patches that the value has by now. The pending ones
// must be lifted.
func (r *replica) settle() {
	r.pending = slices.DeleteFunc(r.pending, func(e *edit) bool { return e.accepted && e.version <= r.version })
}

// snapshot takes a whole value.
func (r *replica) snapshot(epoch string, version uint64, data []byte) error {
	value := &tree.Value{}
	if data != nil {
		var err error
		if value, err = tree.Parse(data, hereLimits()); err != nil {
			return err
		}
	}
	for _, e := range r.pending {
		e.change = nil // of the old value, which goes
	}
	if r.known && epoch != r.epoch {
		// The versions of another history mean nothing here.
		r.pending = slices.DeleteFunc(r.pending, func(e *edit) bool { return e.accepted })
	}
	r.known, r.epoch, r.version, r.value = true, epoch, version, value
	r.settle()
	r.lay()
	return nil
}

// fit tells what a patch of the server is to the replica.
type fit int

const (
	fits  fit = iota
	old       // the value has it
	amiss     // something before it is missing, or it cannot be carried out
)

// patch takes a patch of the server. key is that of this client's own patch, "" for
// all others.
func (r *replica) patch(version uint64, ops []byte, key string) fit {
	switch {
	case !r.known || version > r.version+1:
		return amiss
	case version <= r.version:
		return old
	}
	done, err := tree.ParseDone(ops)
	if err != nil {
		return amiss
	}
	r.lift()
	if list := results(done); len(list) > 0 {
		if _, err = r.value.Apply(list, hereLimits(), nil); err != nil {
			r.lay()
			return amiss
		}
	}
	r.version = version
	if key != "" {
		r.pending = slices.DeleteFunc(r.pending, func(e *edit) bool { return e.key == key })
	}
	r.settle()
	r.lay()
	return fits
}

// results are the operations with which a patch that was carried out is carried
// out here: a sum is put where it belongs, so that nobody rounds differently.
func results(done []tree.Done) []tree.Op {
	list := make([]tree.Op, len(done))
	for i, d := range done {
		list[i] = d.Op
		if d.Kind == tree.Inc {
			list[i] = tree.Op{Kind: tree.Set, Path: d.Path, Value: d.Result}
		}
	}
	return list
}

// text gives the value as JSON; null when there is none.
func (r *replica) text() json.RawMessage {
	if !r.known {
		return json.RawMessage("null")
	}
	return r.value.Append(nil)
}
