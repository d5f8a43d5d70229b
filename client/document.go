package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
)

// Document is a document as one client sees it: the value that the server has
// told, with the program's own patches carried out on it at once. When the server
// refuses a patch, it is taken back. It works on the client's [Channel] of the same
// name: they share one subscription.
type Document struct {
	ch *Channel

	onChange listeners[Change]

	mu      sync.Mutex // guards all below; taken after the channel's
	replica replica
	epoch   string // of the subscription
	anew    bool   // the value is not what the server has: the next snapshot replaces it
	edits   []*patching
	changes []Change      // that nobody was told of yet
	marked  bool          // the queue has a docMark
	ready   chan struct{} // closed once there is a value
}

// patching is a call of Patch.
type patching struct {
	*edit
	ifVersion *uint64
	sent      *conn // that it was last sent on; nil: none yet
	done      chan result
	user      string // in whose name it was first sent
}

type result struct {
	version uint64
	err     error
}

// Reason is why a value has changed.
type Reason string

// The reasons of a [Change].
const (
	Patched  Reason = "patch"    // somebody has patched it: the program itself too
	Snapshot Reason = "snapshot" // the value has come as a whole
	Local    Reason = "local"    // the program's own patch was carried out, and the server has not answered yet
	Rollback Reason = "rollback" // the program's own patch was refused
)

// Change says that the value has changed.
type Change struct {
	Channel string
	Reason  Reason
	Version uint64 // of the server's value
	// Ops are the operations that were carried out; nil for a Snapshot. Of a Rollback
	// they are those that were taken back.
	Ops  []Op
	From Sender    // of a patch
	Time time.Time // of a patch; by the server's clock
}

// docMark is in the queue of the channel when the document has something to tell.
type docMark struct{}

// maxChanges is how many changes wait to be told before they are told as one.
const maxChanges = 256

// Document gives the document of a name.
func (c *Client) Document(name string) *Document {
	ch := c.Channel(name, ChannelOptions{})
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.doc == nil {
		ch.doc = newDocument(ch)
	}
	return ch.doc
}

func newDocument(ch *Channel) *Document { return &Document{ch: ch, ready: make(chan struct{})} }

// Channel gives the channel of the document, for notices, presence and events. Its
// NoEcho is not used.
func (d *Document) Channel() *Channel { return d.ch }

// Subscribe subscribes to the document, waits until there is a value, and follows it
// from then on, over reconnects too. See [Channel.Subscribe].
func (d *Document) Subscribe(ctx context.Context) error {
	if err := d.ch.Subscribe(ctx); err != nil {
		return err
	}
	if kind := d.ch.Kind(); kind != KindDocument {
		return wrong("channel", "%s is no document but of the kind %s", d.ch.name, kind)
	}
	d.mu.Lock()
	ready := d.ready
	d.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.ch.c.done:
		return d.ch.c.over()
	}
}

// Unsubscribe ends the subscription. The last value of the server stays.
func (d *Document) Unsubscribe(ctx context.Context) error { return d.ch.Unsubscribe(ctx) }

// OnChange calls fn after each change of the value. When changes come faster than
// fn returns they are told together: as one of the reason Snapshot, without
// operations. stop ends it.
func (d *Document) OnChange(fn func(Change)) (stop func()) { return d.onChange.add(fn) }

// Value gives the value as JSON: null when there is none.
func (d *Document) Value() json.RawMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.replica.text()
}

// Get decodes what is at a path into v, as encoding/json does. It tells whether
// anything is there; v is not touched when nothing is.
func (d *Document) Get(path string, v any) (found bool, err error) {
	p, err := tree.ParsePath(path)
	if err != nil {
		return false, local(err)
	}
	d.mu.Lock()
	var raw []byte
	if d.replica.known {
		raw, _ = d.replica.value.Get(p)
	}
	d.mu.Unlock()
	if raw == nil {
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}

// Version gives the version of the server's value that the client has; 0: none.
func (d *Document) Version() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.replica.version
}

// Pending gives the number of patches that the server has not confirmed yet.
func (d *Document) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.replica.pending)
}

// Patch carries operations out, all or none: on the value here at once, if the
// document is subscribed, and on the server, whose answer it waits for. It gives the version that they have made.
//
// Each patch has a key, so that it can be sent again when the connection was lost,
// in the order of the calls; a patch that is refused with a time to wait is sent
// again, too. When ctx ends before the patch was sent it is taken back; after that
// it stays until the server has answered, whatever Patch has returned. An anonymous
// client has nothing by which the server could know it again: there a lost
// connection is [ErrLost].
func (d *Document) Patch(ctx context.Context, ops ...Op) (version uint64, err error) {
	return d.patch(ctx, nil, ops)
}

// PatchIf is Patch for a document that must have a version; otherwise it is a
// conflict. 0 is a document that was never written.
func (d *Document) PatchIf(ctx context.Context, version uint64, ops ...Op) (uint64, error) {
	return d.patch(ctx, &version, ops)
}

func (d *Document) patch(ctx context.Context, ifVersion *uint64, ops []Op) (uint64, error) {
	raw, err := encodeOps(ops)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p := &patching{ifVersion: ifVersion, done: make(chan result, 1)}
	if err := d.begin(p, raw, ops); err != nil {
		return 0, err
	}
	select {
	case r := <-p.done:
		return r.version, r.err
	case <-d.ch.c.done:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.endLocked(p, result{err: d.ch.c.over()}, true)
		r := <-p.done
		return r.version, r.err
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		if p.sent == nil {
			d.endLocked(p, result{err: ctx.Err()}, true)
		}
		return 0, ctx.Err()
	}
}

// begin carries a patch out here and sends it, when there is a connection.
func (d *Document) begin(p *patching, raw json.RawMessage, ops []Op) error {
	c := d.ch.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Phase == Closed {
		if c.state.Err != nil {
			return errors.Join(ErrClosed, c.state.Err)
		}
		return ErrClosed
	}
	if other := c.channels[d.ch.name]; other != nil && other != d.ch {
		return wrong("channel", "this Document was closed, and there is another one for %s", d.ch.name)
	}
	c.channels[d.ch.name] = d.ch // so that the next connection is told, too
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if p.edit, err = d.replica.add(newKey(), raw); err != nil {
		return local(err)
	}
	d.edits = append(d.edits, p)
	if p.shows() {
		d.tellLocked(Change{Channel: d.ch.name, Reason: Local, Version: d.replica.version, Ops: ops})
	}
	if c.current != nil {
		d.sendLocked(c.current, p)
	}
	return nil
}

// sendLocked sends a patch.
func (d *Document) sendLocked(k *conn, p *patching) {
	if p.sent == nil {
		p.user = k.user
	}
	p.sent = k
	o := outgoing{Type: protocol.TypePatch, Channel: d.ch.name, Ops: p.raw, Key: p.key, IfVers: p.ifVersion}
	if _, err := k.ask(o, func(f *incoming, err error) { d.answered(k, p, f, err) }); err != nil {
		d.endLocked(p, result{err: err}, true)
	}
}

// attach sends again what the last connection has not answered, and what was
// never sent, in order.
func (d *Document) attach(k *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range slices.Clone(d.edits) {
		if p.sent != nil && (p.user == "" || p.user != k.user) {
			d.endLocked(p, result{err: ErrLost}, true)
			continue
		}
		d.sendLocked(k, p)
	}
}

// answered takes the server's answer to a patch.
func (d *Document) answered(k *conn, p *patching, f *incoming, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.sent != k {
		return // it was sent again since
	}
	var e *Error
	switch {
	case err == nil:
		version := f.number("version")
		if d.replica.accept(p.edit, version) {
			d.tellLocked(Change{Channel: d.ch.name, Reason: Snapshot, Version: d.replica.version})
		}
		d.endLocked(p, result{version: version}, false)
	case errors.Is(err, ErrLost): // the next connection decides
	case errors.As(err, &e) && e.temporary():
		k.after(k.delay(e), func() { d.again(k, p) })
	default:
		d.endLocked(p, result{err: err}, true)
	}
}

// again sends what was refused for a moment.
func (d *Document) again(k *conn, p *patching) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.sent == k && slices.Contains(d.edits, p) {
		d.sendLocked(k, p)
	}
}

// endLocked ends a call of Patch, and takes the patch back if it was refused.
func (d *Document) endLocked(p *patching, r result, back bool) {
	at := slices.Index(d.edits, p)
	if at < 0 {
		return // it has ended before
	}
	d.edits = slices.Delete(d.edits, at, at+1)
	if back {
		shown := p.shows()
		d.replica.remove(p.edit)
		if shown {
			d.tellLocked(Change{Channel: d.ch.name, Reason: Rollback, Version: d.replica.version, Ops: readOps(p.raw)})
		}
	}
	p.done <- r
}

// since is where the document's subscription goes on; nil: from the beginning.
func (d *Document) since() *place {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.replica.known || d.anew {
		return nil
	}
	version := d.replica.version
	return &place{Epoch: d.replica.epoch, Version: &version}
}

// subscribed takes the ok of a subscription, or what the server says of its own.
func (d *Document) subscribed(f *incoming) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch = f.text("epoch")
	if f.flag("recovered") {
		d.readyLocked()
	}
	if d.replica.frozen {
		d.replica.frozen = false
		for _, p := range d.edits {
			d.replica.join(p.edit)
		}
	}
}

// readyLocked tells those who wait that there is a value.
func (d *Document) readyLocked() {
	select {
	case <-d.ready:
	default:
		close(d.ready)
	}
}

// freeze leaves the value at what the server has said last: nothing more comes.
func (d *Document) freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.ready:
		d.ready = make(chan struct{})
	default:
	}
	if d.replica.freeze() {
		d.tellLocked(Change{Channel: d.ch.name, Reason: Snapshot, Version: d.replica.version})
	}
}

// receive takes a snapshot or a patch; false: it does not fit, and the document
// has to be had anew.
func (d *Document) receive(f *incoming) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	version := f.number("version")
	change := Change{Channel: d.ch.name, Reason: Snapshot, Version: version}
	if f.kind == protocol.TypeSnapshot {
		if epoch := f.text("epoch"); epoch != "" {
			d.epoch = epoch
		}
		if err := d.replica.snapshot(d.epoch, version, f.data()); err != nil {
			d.ch.c.fault(err)
			return true // it would not become better
		}
		d.anew = false
		d.readyLocked()
		d.tellLocked(change)
		return true
	}
	switch d.replica.patch(version, f.raw("ops"), f.text("key")) {
	case amiss:
		d.anew = version <= d.replica.version+1 // no hole: it could not be carried out
		return false
	case fits:
		d.replica.epoch = d.epoch
		change.Reason, change.Ops, change.From, change.Time = Patched, readOps(f.raw("ops")), f.sender(), f.milli("time")
		d.tellLocked(change)
	}
	return true
}

// readOps reads operations that were checked before.
func readOps(raw json.RawMessage) []Op {
	ops := []Op{}
	_ = json.Unmarshal(raw, &ops)
	return ops
}

// tellLocked notes a change for the functions.
func (d *Document) tellLocked(c Change) {
	if d.onChange.empty() {
		return
	}
	if len(d.changes) >= maxChanges {
		d.changes = []Change{{Channel: c.Channel, Reason: Snapshot}}
	} else {
		d.changes = append(d.changes, c)
	}
	d.changes[len(d.changes)-1].Version = c.Version
	if !d.marked {
		d.marked = true
		d.ch.queue.force(docMark{})
	}
}

// tell hands the changes to the functions. It runs in the goroutine of the queue.
func (d *Document) tell() {
	d.mu.Lock()
	changes := d.changes
	d.changes, d.marked = nil, false
	d.mu.Unlock()
	for _, c := range changes {
		d.onChange.call(c)
	}
}
