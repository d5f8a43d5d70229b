package document

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// prepared is a request that was carried out in memory.
type prepared struct {
	*request
	change *tree.Change
	append store.Append
	entry  entry
	own    []byte
}

// Bounds of a commit.
const (
	maxAttempts   = 16 // when other processes are always faster
	commitTimeout = 30 * time.Second
)

// handle carries out requests and fills in their answers.
func (d *Documents) handle(x *doc, batch []*request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	fail := func(err error) {
		for _, r := range batch {
			r.err = err
		}
	}
	if d.ctx.Err() != nil {
		fail(unavailable())
		return
	}
	if err := d.loadLocked(ctx, x); err != nil {
		fail(err)
		return
	}
	again, err := d.commit(ctx, x, batch)
	switch {
	case errors.Is(err, store.ErrMoved), errors.Is(err, store.ErrConflict):
		// Somebody else was first, or a patch was there before: find out which.
		d.metrics.Repeated.Add(1)
		d.repeat(ctx, x, batch)
	case err != nil:
		fail(feed.Fault(err))
	case len(again) > 0:
		d.reconsider(ctx, x, again)
	}
	d.chargeLocked(x)
	d.compactLocked(x)
}

// reconsider carries out those again whose answers were made of a value that nobody
// else has, if there is another one now.
func (d *Documents) reconsider(ctx context.Context, x *doc, list []answered) {
	epoch, version := x.epoch, x.version
	if d.store.Shared() {
		if err := d.refreshLocked(ctx, x); err != nil {
			for _, a := range list {
				a.err = err
			}
			return
		}
	}
	fresh := x.epoch != epoch || x.version != version
	var again []*request
	for _, a := range list {
		if fresh || a.wrong {
			again = append(again, a.request)
		}
	}
	d.repeat(ctx, x, again)
}

// repeat carries out requests one by one, on what is stored by now.
func (d *Documents) repeat(ctx context.Context, x *doc, list []*request) {
	for i, r := range list {
		r.out, r.err = Patched{}, nil
		if i == 0 && d.store.Shared() {
			if r.err = d.refreshLocked(ctx, x); r.err != nil {
				continue
			}
		}
		if err := d.commitAlone(ctx, x, r); err != nil {
			r.err = err
		}
	}
}

// commitAlone carries out one request, however often others are faster.
func (d *Documents) commitAlone(ctx context.Context, x *doc, r *request) error {
	for range maxAttempts {
		_, err := d.commit(ctx, x, []*request{r})
		switch {
		case errors.Is(err, store.ErrConflict):
			return feed.Fault(err)
		case !errors.Is(err, store.ErrMoved):
			if err != nil {
				return feed.Fault(err)
			}
			return nil
		}
		if err := d.loadLocked(ctx, x); err != nil {
			return err
		}
		if err := d.refreshLocked(ctx, x); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "others are changing the document all the time").After(100 * time.Millisecond)
}

// answered is a request whose answer needed nothing to be stored: it was refused, or
// changed nothing.
type answered struct {
	*request
	after int  // so many that are to be stored came before it
	wrong bool // not all of those were: what it has seen was never there
}

// commit carries out a batch in memory, stores it, tells the subscribers and fills
// in the answers. It gives those whose answers are right only if nobody else has
// changed the document. With an error of the store nothing has changed in memory.
func (d *Documents) commit(ctx context.Context, x *doc, batch []*request) (doubtful []answered, err error) {
	before := x.version
	list := make([]prepared, 0, len(batch))
	views := d.viewsOf(x.name)
	now := time.Now()
	for _, r := range batch {
		if r.Forget && d.probe(ctx, x, r, now) {
			continue
		}
		p, err := d.prepare(ctx, x, r, now, views)
		switch {
		case p != nil:
			list = append(list, *p)
			continue
		case err != nil:
			if r.err = err; definite(err) && d.probe(ctx, x, r, now) {
				r.err = nil
			}
		}
		if !r.out.Duplicate {
			doubtful = append(doubtful, answered{request: r, after: len(list)})
		}
	}
	if len(list) > 0 {
		if list, err = d.keep(ctx, x, list, before, now); err != nil {
			return nil, err
		}
	}
	for i := range doubtful {
		doubtful[i].wrong = doubtful[i].after > len(list)
	}
	if !d.store.Shared() {
		doubtful = slices.DeleteFunc(doubtful, func(a answered) bool { return !a.wrong })
	}
	return doubtful, nil
}

// definite tells whether an error would come again, as long as nothing changes.
func definite(err error) bool {
	code := fault.Of(err).Code
	return code != fault.Unavailable && code != fault.Internal
}

// keep stores what was carried out, tells the subscribers, and gives what has become
// a version: the first ones of list.
func (d *Documents) keep(ctx context.Context, x *doc, list []prepared, before uint64, now time.Time) ([]prepared, error) {
	group := make([]store.Command, 0, len(list)+1)
	for i := range list {
		group = append(group, list[i].append)
	}
	if list[0].Forget {
		group = append(group, store.PutSnapshot{Channel: x.name, Version: x.version, Time: now.UnixMilli(), Data: x.value.Append(nil), Floor: x.version - 1})
	}
	results, err := d.store.Do(ctx, group...)
	if err != nil {
		d.revertLocked(x, list, before)
		if !errors.Is(err, store.ErrMoved) && !errors.Is(err, store.ErrConflict) {
			x.loaded = false // nobody knows: it is read again
		}
		return nil, err
	}
	d.metrics.Commits.Add(1)
	// Those that were done before can only be the last ones: after them the
	// versions would not be right.
	newest := uint64(0)
	for i := len(list) - 1; i >= 0; i-- {
		a := results[i].(store.Appended)
		if !a.Duplicate {
			break
		}
		d.revertLocked(x, list[i:], x.version-1)
		list[i].out = Patched{Epoch: a.Epoch, Version: a.Seq, Duplicate: true}
		list, newest = list[:i], max(newest, a.Seq)
	}
	if len(list) == 0 {
		if newest > x.version { // it was done elsewhere, and is not known here yet
			_ = d.refreshLocked(ctx, x) // counted there; the answers are right without
		}
		return nil, nil
	}
	if list[0].Forget {
		x.ring, x.ringSize, x.keys, x.snapshot, x.since = nil, 0, nil, x.version, 0
	}
	for i := range list {
		p := &list[i]
		x.pushLocked(p.entry)
		x.since += len(p.append.Data)
		d.tellLocked(x, p.Author, p.own)
		d.metrics.Patches.Add(1)
	}
	return list, nil
}

// revertLocked takes back what was carried out in memory.
func (d *Documents) revertLocked(x *doc, list []prepared, version uint64) {
	for i := len(list) - 1; i >= 0; i-- {
		x.value.Revert(list[i].change)
	}
	x.version = version
}

// prepare carries out a request in memory. Nil without an error: it is answered.
func (d *Documents) prepare(ctx context.Context, x *doc, r *request, now time.Time, views []any) (*prepared, error) {
	if e := x.keys[string(r.Key)]; e != nil && len(r.Key) > 0 {
		if e.content != string(r.Content) {
			return nil, feed.Fault(store.ErrConflict)
		}
		r.out = Patched{Epoch: x.epoch, Version: e.version, Duplicate: true}
		return nil, nil
	}
	if r.If != nil && *r.If != x.version {
		return nil, &fault.Error{Code: fault.Conflict, Field: "if_version", Message: fmt.Sprintf("if_version: the document has version %d", x.version)}
	}
	change, err := d.carryOut(ctx, x, r)
	if err != nil {
		return nil, err
	}
	if !change.Changed() {
		r.out = Patched{Epoch: x.epoch, Version: x.version}
		return nil, nil
	}
	// What is deleted needs to fit nothing.
	if r.Space != nil && r.Space.Check != nil && !x.value.IsNull() {
		if err := r.Space.Check(x.value.Append(nil)); err != nil {
			x.value.Revert(change)
			return nil, &fault.Error{Code: fault.BadRequest, Field: "ops", Message: "ops: the document would not fit its schema: " + err.Error()}
		}
	}
	x.version++
	p := &prepared{request: r, change: change}
	ms := now.UnixMilli()
	ops := tree.AppendOps(nil, change.Done)
	p.append = store.Append{
		Channel: x.name, ID: id.Message(now), Time: ms, Event: protocol.TypePatch, Sender: r.From, Version: x.version,
		Data: appendRecord(nil, ops, change, !r.Forget, r.Undo), Key: r.Key, Content: r.Content,
	}
	if r.Space != nil {
		p.append.Keep = r.Space.Count
	}
	if len(r.Key) > 0 {
		p.append.Expires = ms + r.KeyTTL.Milliseconds()
	}
	p.entry = entry{version: x.version, author: r.From.Connection, key: string(r.Key), content: string(r.Content)}
	p.entry.frame, p.entry.views = d.framesOf(x, change, ops, r.From, ms, views)
	if r.Author != nil && r.Name != "" {
		p.own = d.ownFrame(x, r, change, ops, ms)
	}
	r.out = Patched{Epoch: x.epoch, Version: x.version}
	return p, nil
}

// ownFrame is what the author gets: with its key, and no more than it may see.
func (d *Documents) ownFrame(x *doc, r *request, change *tree.Change, ops []byte, ms int64) []byte {
	if r.Space != nil && r.Space.Places.Reads() {
		identity := r.Author.Identity()
		return d.frameFor(x, change, r.Space.Places.View(identity.User, identity.Roles), nil, r.From, ms, r.Name)
	}
	return frameOf(x.name, x.version, ops, r.From, ms, r.Name)
}

func (d *Documents) carryOut(ctx context.Context, x *doc, r *request) (*tree.Change, error) {
	switch {
	case r.Forget && x.version > 0 && x.value.IsNull():
		// It has been deleted before, and its history is still there.
		return x.value.Apply([]tree.Op{{Kind: tree.Set, Value: []byte("null")}}, d.cfg.Limits(), nil)
	case r.Undo == 0:
		return x.value.Apply(r.Ops, d.cfg.Limits(), r.Guard)
	}
	rec, touched, err := d.recordOf(ctx, x, r.Undo, !r.Force)
	if err != nil {
		return nil, err
	}
	if !rec.kept {
		return nil, &fault.Error{Code: fault.NotFound, Field: "version", Message: fmt.Sprintf("version: what was there before %d has been forgotten", r.Undo)}
	}
	return x.value.Undo(rec.done, rec.old, touched, d.cfg.Limits())
}

// probe tells whether a request was carried out before: then the first answer is
// its answer, though it could not be carried out now.
func (d *Documents) probe(ctx context.Context, x *doc, r *request, now time.Time) bool {
	if len(r.Key) == 0 {
		return false
	}
	results, err := d.store.Do(ctx, store.Append{
		Channel: x.name, ID: id.Message(now), Time: now.UnixMilli(), Event: protocol.TypePatch, Data: []byte("{}"),
		Version: math.MaxInt64, Key: r.Key, Content: r.Content, Expires: now.Add(r.KeyTTL).UnixMilli(),
	})
	if err != nil {
		if errors.Is(err, store.ErrConflict) {
			r.err = feed.Fault(err)
		}
		return false
	}
	a := results[0].(store.Appended)
	r.out = Patched{Epoch: a.Epoch, Version: a.Seq, Duplicate: true}
	return a.Duplicate
}
