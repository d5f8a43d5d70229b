package document

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
)

// Patch is what somebody wants to do to a document.
type Patch struct {
	Channel string
	Space   *hub.Space
	Ops     []tree.Op
	Undo    uint64     // not zero: take this version back; Ops is empty then
	Force   bool       // of Undo: whatever came after it
	Forget  bool       // delete the history, too
	If      *uint64    // the version that it must have; nil: any
	Guard   tree.Guard // nil: everything is allowed
	From    protocol.Sender
	Author  *hub.Conn // gets its own frame; nil: nobody
	Name    string    // the client's key, which stands in that frame
	Key     []byte    // makes a repeat harmless; see [store.Append]
	Content []byte
	KeyTTL  time.Duration
}

// Patched is what became of it.
type Patched struct {
	Epoch     string
	Version   uint64
	Duplicate bool // it had been done before
}

// request is a patch that waits for its turn.
type request struct {
	*Patch
	out  Patched
	err  error
	done chan struct{}
}

// Bounds of what waits, and of what is stored together.
const (
	maxBatch      = 128
	maxBatchBytes = 512 << 10
	maxWaiting    = 1024 // patches of one document that may wait
)

// Do carries out a patch, and returns when it is stored. It waits while the
// document's subscribers cannot take more. Its error is a *fault.Error; nothing was
// done then, unless the connection to a database broke in between.
func (d *Documents) Do(ctx context.Context, p *Patch) (Patched, error) {
	if err := d.hub.Await(ctx, p.Channel); err != nil {
		return Patched{}, err
	}
	r := &request{Patch: p, done: make(chan struct{})}
	if err := d.enqueue(r); err != nil {
		return Patched{}, err
	}
	<-r.done // what waits is carried out or refused, also while the server stops
	if r.err != nil {
		d.metrics.Refused.Add(1)
	}
	return r.out, r.err
}

func (d *Documents) enqueue(r *request) error {
	for {
		x := d.doc(r.Channel)
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return unavailable()
		}
		if d.docs[r.Channel] != x {
			d.mu.Unlock()
			continue // it was forgotten meanwhile
		}
		x.queue.Lock()
		full := len(x.waiting) >= maxWaiting
		start := !full && !x.running
		if !full {
			x.waiting = append(x.waiting, r)
			x.running = true
		}
		if start {
			d.work.Go(func() { d.serve(x) })
		}
		x.queue.Unlock()
		d.mu.Unlock()
		if full {
			return fault.New(fault.Unavailable, "%d patches of this document wait already", maxWaiting).After(time.Second)
		}
		return nil
	}
}

// serve carries out what waits, until nothing does.
func (d *Documents) serve(x *doc) {
	for {
		x.queue.Lock()
		if len(x.waiting) == 0 {
			x.waiting, x.running = nil, false
			x.queue.Unlock()
			return
		}
		n := batchOf(x.waiting)
		batch := append([]*request(nil), x.waiting[:n]...)
		clear(x.waiting[:n])
		x.waiting = x.waiting[n:]
		x.queue.Unlock()
		d.handle(x, batch)
		for _, r := range batch {
			close(r.done)
		}
	}
}

// batchOf is how many requests are stored together.
func batchOf(list []*request) int {
	bytes := 0
	for i, r := range list {
		if i == maxBatch || bytes > maxBatchBytes || i > 0 && (r.alone() || list[0].alone()) {
			return i
		}
		for k := range r.Ops {
			bytes += len(r.Ops[k].Value) + 32
		}
	}
	return len(list)
}

// alone tells whether it needs to see what is stored.
func (r *request) alone() bool { return r.Undo > 0 || r.Forget }
