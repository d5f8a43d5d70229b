package push

import (
	"slices"
	"sync"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// user is what is remembered of one.
type user struct {
	name string

	// Guarded by the shard's lock.
	in     inbound     // what the worker does not know yet
	coming []*hub.Conn // that have been welcomed, and the worker has not begun with them
	listed bool        // it stands in the shard's line
	due    int64       // Unix milliseconds: when it is to be looked at again; 0: not by itself

	mu sync.Mutex // guards all below; the worker holds it while it works, and alone changes them

	n      uint64  // the user's number; 0: it is not known yet
	seats  []*seat // connections that are behind
	flight []entry // what is under way, by seq
	hold   []item  // what was told while the store is read
	passed uint64  // the highest seq that was told
	reach  uint64  // those that are live have got everything up to it

	// Of what was never sent, some may be after low; for everybody.
	low     uint64
	lacking bool

	job     job         // what is being read; its kind is none when nothing is
	judge   bool        // what waits is to be judged
	look    bool        // somebody has come; it is to be seen whether anything waits
	stalled bool        // the window is full
	retryAt int64       // nothing is read before
	over    over        // what has ended since the job began
	here    []*hub.Conn // the worker's alone: who gets what is for the user, as its turn began
}

// seat is a connection that lacks something.
type seat struct {
	conn    *hub.Conn
	last    uint64 // it has got everything up to it
	fresh   bool   // it has just come, and is told what is held back
	notice  []byte // that it is still to be told
	waiting bool   // its queue is full
}

// entry is a message that is under way.
type entry struct {
	seq   uint64
	id    string
	at    int64 // Unix milliseconds: when it was last sent
	tries int   // how often it was sent again
}

// item is a message for one user.
type item struct {
	n, seq uint64
	m      *message
}

// ends are deliveries that have ended.
type ends struct {
	upTo uint64
	seqs []uint64
	ids  []string
}

// inbound is what a worker is told of a user.
type inbound struct {
	arrived  []*hub.Conn
	drained  []*hub.Conn
	live     []item // committed, in the order of seq
	missed   uint64 // the seq of the first one after them that was not kept; 0: none was
	passed   uint64 // the highest seq of those
	woken    []item
	ends     []ends
	recalled []store.EndedRow
	result   *result
	judge    bool // there may be a message to everybody
	late     uint64
	isLate   bool // another process has put something after late into the inbox
	open     bool // something may be open that nobody here was sent
	tick     bool
}

// over is what has ended since the store was read.
type over struct {
	upTo uint64
	seqs map[uint64]struct{}
}

func (o *over) add(seq uint64) {
	if o.seqs == nil {
		o.seqs = map[uint64]struct{}{}
	}
	o.seqs[seq] = struct{}{}
}

func (o *over) has(seq uint64) bool {
	_, ok := o.seqs[seq]
	return ok || seq <= o.upTo
}

// find gives the place of a seq in what is under way.
func (u *user) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(u.flight, seq, func(e entry, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
}

// seat finds that of a connection; nil: it is live.
func (u *user) seat(c *hub.Conn) *seat {
	for _, s := range u.seats {
		if s.conn == c {
			return s
		}
	}
	return nil
}

// from is after which seq somebody lacks something; false: nobody does who could take
// it.
func (u *user) from() (after uint64, ok bool) {
	if u.lacking {
		after, ok = u.low, true
	}
	for _, s := range u.seats {
		if !s.waiting && (!ok || s.last < after) {
			after, ok = s.last, true
		}
	}
	return after, ok
}

// lack notes that what is after seq is to be read for everybody.
func (u *user) lack(seq uint64) {
	if !u.lacking || seq < u.low {
		u.low, u.lacking = seq, true
	}
}

// idle tells whether there is nothing to remember.
func (u *user) idle() bool {
	return len(u.seats) == 0 && len(u.flight) == 0 && len(u.hold) == 0 && !u.lacking && u.job.kind == none && !u.judge && !u.look
}
