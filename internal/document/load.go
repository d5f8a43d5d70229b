package document

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// loadLocked makes the value of what is stored, unless it is there.
func (d *Documents) loadLocked(ctx context.Context, x *doc) error {
	if x.loaded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	page, err := d.store.Document(ctx, x.name)
	if err != nil {
		d.metrics.Failures.Add(1)
		return feed.Fault(err)
	}
	d.metrics.Loads.Add(1)
	value := &tree.Value{}
	if page.Snapshot.Data != nil {
		if value, err = tree.Parse(page.Snapshot.Data, unlimited); err != nil {
			return d.damaged(x.name, page.Snapshot.Version, err)
		}
	}
	epoch := x.epoch
	x.value, x.version, x.epoch, x.snapshot = value, page.Snapshot.Version, page.Head.Epoch, page.Snapshot.Version
	x.ring, x.ringSize, x.keys, x.sent, x.sentSize, x.since = nil, 0, nil, nil, 0, 0
	for i := range page.Messages {
		if err := d.replayLocked(x, &page.Messages[i], nil); err != nil {
			return err
		}
	}
	if x.version < page.Head.Top {
		return d.damaged(x.name, x.version+1, fmt.Errorf("the last version should be %d", page.Head.Top))
	}
	x.loaded = true
	x.head.Store(x.version)
	if epoch != "" && epoch != x.epoch {
		d.restart(x.name)
	} else {
		d.missedLocked(x)
	}
	d.chargeLocked(x)
	d.compactLocked(x)
	return nil
}

func (d *Documents) damaged(name string, version uint64, err error) error {
	d.cfg.Logger.Error("a document cannot be read", "channel", name, "version", version, "error", err)
	return fault.Wrap(fault.Internal, err, "what is kept of the document cannot be read")
}

// replayLocked carries out a version that is stored. views are those for which
// frames are made, too.
func (d *Documents) replayLocked(x *doc, m *store.Message, views []any) error {
	if m.Seq != x.version+1 {
		return d.damaged(x.name, m.Seq, fmt.Errorf("the version before it is %d", x.version))
	}
	r, err := parseRecord(m.Data)
	if err != nil {
		return d.damaged(x.name, m.Seq, err)
	}
	ops := make([]tree.Op, len(r.done))
	for i := range r.done {
		ops[i] = r.done[i].Op
	}
	change, err := x.value.Apply(ops, unlimited, nil)
	if err != nil {
		return d.damaged(x.name, m.Seq, err)
	}
	x.version = m.Seq
	e := entry{version: m.Seq, author: m.Sender.Connection}
	e.frame, e.views = d.framesOf(x, change, tree.AppendOps(nil, change.Done), m.Sender, m.Time, views)
	x.pushLocked(e)
	x.since += len(m.Data)
	return nil
}

// framesOf makes the frames of a version that was just carried out: one for those
// who see everything, and one for each view.
func (d *Documents) framesOf(x *doc, change *tree.Change, ops []byte, from protocol.Sender, time int64, views []any) ([]byte, map[any][]byte) {
	frame := frameOf(x.name, x.version, ops, from, time, "")
	if views == nil {
		return frame, nil
	}
	all := make(map[any][]byte, len(views))
	for _, view := range views {
		all[view] = d.frameFor(x, change, view, frame, from, time, "")
	}
	return frame, all
}

// frameFor makes the frame of a version for one view; whole is the one for those
// who see everything.
func (d *Documents) frameFor(x *doc, change *tree.Change, view any, whole []byte, from protocol.Sender, time int64, key string) []byte {
	ops, sight := change.AppendOpsFor(nil, x.value, view.(tree.View))
	switch {
	case sight == tree.Everything && key == "":
		return whole
	case sight == tree.Nothing && key == "":
		from = protocol.Sender{}
	}
	return frameOf(x.name, x.version, ops, from, time, key)
}

// pushLocked adds a version to those in memory.
func (x *doc) pushLocked(e entry) {
	if n := len(x.ring); n > 0 && x.ring[n-1].version+1 != e.version {
		x.ring, x.ringSize, x.keys = nil, 0, nil
	}
	x.ring = append(x.ring, e)
	x.ringSize += e.size()
	if e.key != "" {
		if x.keys == nil {
			x.keys = map[string]*entry{}
		}
		known := e
		x.keys[e.key] = &known
	}
	for len(x.ring) > maxRing || x.ringSize > maxRingBytes && len(x.ring) > 1 {
		old := x.ring[0]
		x.ring[0] = entry{}
		x.ring = x.ring[1:]
		x.ringSize -= old.size()
		if old.key != "" {
			delete(x.keys, old.key)
		}
	}
}

func (e *entry) size() int {
	n := len(e.frame) + 64
	for _, frame := range e.views {
		n += len(frame) + 64
	}
	return n
}

// refreshLocked carries out what other processes have stored.
func (d *Documents) refreshLocked(ctx context.Context, x *doc) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for {
		page, err := d.store.Read(ctx, store.Query{Channel: x.name, After: x.version, Limit: 256, Bytes: 1 << 20})
		if err != nil {
			d.metrics.Failures.Add(1)
			return feed.Fault(err)
		}
		if page.Head.Epoch != x.epoch || page.Head.Top < x.version || len(page.Messages) > 0 && page.Messages[0].Seq != x.version+1 ||
			len(page.Messages) == 0 && page.Head.Top > x.version {
			return d.reloadLocked(ctx, x)
		}
		views := d.viewsOf(x.name)
		for i := range page.Messages {
			if err := d.replayLocked(x, &page.Messages[i], views); err != nil {
				return err
			}
			d.tellLocked(x, nil, nil)
		}
		if !page.More {
			return nil
		}
	}
}

// reloadLocked begins anew with what is stored.
func (d *Documents) reloadLocked(ctx context.Context, x *doc) error {
	x.loaded = false
	return d.loadLocked(ctx, x)
}

// missedLocked sends those readers to what they lack who would wait for it in vain:
// it was made while the document was not in memory, or nobody knew of it.
func (d *Documents) missedLocked(x *doc) {
	ch := d.hub.Channel(x.name)
	if ch == nil {
		return
	}
	for _, s := range ch.Subs() {
		place := s.Place()
		if !place.Live || place.Next == x.version+1 {
			continue
		}
		at := hub.Start{Next: place.Next, Echo: place.Echo, View: place.View}
		if at.Next > x.version {
			at.Next = 0
		}
		s.Review(at)
	}
}

// restart has every reader get the value anew.
func (d *Documents) restart(name string) {
	ch := d.hub.Channel(name)
	if ch == nil {
		return
	}
	for _, s := range ch.Subs() {
		place := s.Place()
		s.Review(hub.Start{Echo: place.Echo, View: place.View})
	}
}

// viewsOf gives the views of a document's readers; nil when all see everything. Where
// not all do, a reader who comes meanwhile must not get what has no view.
func (d *Documents) viewsOf(name string) []any {
	if space := d.space(name); space == nil || !space.Places.Reads() {
		return nil
	}
	return append([]any{}, d.hub.Views(name)...)
}

func (d *Documents) space(name string) *hub.Space {
	namespace, err := protocol.Namespace("channel", name)
	if err != nil {
		return nil
	}
	return d.hub.Space(namespace)
}

// tellLocked hands the newest version to the subscribers; own is what the author
// gets instead.
func (d *Documents) tellLocked(x *doc, author *hub.Conn, own []byte) {
	e := &x.ring[len(x.ring)-1]
	x.head.Store(e.version)
	d.hub.Deliver(x.name, hub.Frame{Seq: e.version, JSON: e.frame, Views: e.views, Author: author, Own: own})
}

// How much is stored as patches before the whole value is stored again.
const (
	compactPatches = 1000
	compactBytes   = 256 << 10
)

// compactLocked stores the whole value when enough was stored since it last was:
// in the background, so that no patch waits for it.
func (d *Documents) compactLocked(x *doc) {
	patches := compactPatches
	if space := d.space(x.name); space != nil && space.Count > 0 {
		patches = min(patches, max(16, space.Count)) // what is to be forgotten must be in the value
	}
	due := x.version-x.snapshot >= uint64(patches) || x.since > max(compactBytes, 2*x.value.Size())
	if !due || x.storing || d.ctx.Err() != nil {
		return
	}
	x.storing = true
	put := store.PutSnapshot{Channel: x.name, Version: x.version, Time: time.Now().UnixMilli(), Data: x.value.Append(make([]byte, 0, x.value.Size()))}
	since := x.since
	d.background(func() {
		_, err := d.store.Do(d.ctx, put)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.storing = false
		if err != nil {
			d.metrics.Failures.Add(1)
			return // the next patch tries again
		}
		d.metrics.Compacted.Add(1)
		if put.Version > x.snapshot {
			x.snapshot = put.Version
			x.since = max(0, x.since-since)
		}
	})
}

// background runs fn on a goroutine that Close waits for; not any more after it.
func (d *Documents) background(fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.work.Go(fn)
	}
}

// compare finds versions that other processes have stored and of which nobody has
// told.
func (d *Documents) compare() { d.hub.Visit(d.ctx, (*hub.Space).IsDoc, d.compareHeads) }

func (d *Documents) compareHeads(names []string) {
	ctx, cancel := context.WithTimeout(d.ctx, readTimeout)
	defer cancel()
	heads, err := d.store.Heads(ctx, names...)
	if err != nil {
		d.metrics.Failures.Add(1)
		return
	}
	for i, head := range heads {
		if x := d.peek(names[i]); x != nil {
			x.mu.Lock()
			known := x.loaded && !x.evicted
			if known && (head.Epoch != x.epoch || head.Top > x.version) {
				_ = d.refreshLocked(ctx, x) // counted there; the next comparison tries again
			}
			x.mu.Unlock()
			if known {
				continue
			}
		}
		if d.misses(names[i], head.Top) {
			if x, err := d.lock(ctx, names[i]); err == nil { // so they are told
				x.mu.Unlock()
			}
		}
	}
}

// misses tells whether a reader waits for another version than the one after top.
func (d *Documents) misses(name string, top uint64) bool {
	ch := d.hub.Channel(name)
	return ch != nil && slices.ContainsFunc(ch.Subs(), func(s *hub.Sub) bool {
		place := s.Place()
		return place.Live && place.Next != top+1
	})
}
