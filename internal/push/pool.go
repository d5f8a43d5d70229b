package push

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/skein-realtime/skein/store"
)

// kind is what is read for a user.
type kind uint8

const (
	none    kind = iota
	looking      // whether there is anything
	judging      // what waits, after it was judged
	paging       // what comes after a place
)

// job is something that is to be read for a user.
type job struct {
	kind  kind
	user  *user
	at    int64 // Unix milliseconds: when it was asked for
	after uint64
	limit int
	zone  string
	keep  int
	tell  bool // somebody is to be told what is held back
}

// result is what was read.
type result struct {
	job
	out  store.Collected
	held held
	err  error
}

// pool is the jobs that wait. Each kind has a line of its own, which have their turns
// one after the other: so many who come at once do not keep those waiting who are
// here, and the other way round.
type pool struct {
	mu     sync.Mutex // guards all below
	wake   sync.Cond
	lines  [paging + 1][]*job
	turn   kind
	closed bool
}

// Bounds of what is read together.
const (
	readers   = 2
	maxLooks  = 256
	maxJudges = 8 // a transaction must not take long
	maxPages  = 16
	pageLimit = 32
	listLimit = 250 // of an inbox that is looked through
)

func (p *pool) add(j *job) {
	p.mu.Lock()
	p.lines[j.kind] = append(p.lines[j.kind], j)
	p.mu.Unlock()
	p.wake.Signal()
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake.Broadcast()
}

func (p *pool) waiting() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		n += len(line)
	}
	return n
}

// take waits for jobs of one kind; nil: there will be none.
func (p *pool) take() []*job {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed {
		for range paging {
			if p.turn++; p.turn > paging {
				p.turn = looking
			}
			line := p.lines[p.turn]
			if len(line) == 0 {
				continue
			}
			n := min(len(line), [...]int{looking: maxLooks, judging: maxJudges, paging: maxPages}[p.turn])
			list := slices.Clone(line[:n])
			clear(line[:n])
			if p.lines[p.turn] = line[n:]; n == len(line) {
				p.lines[p.turn] = nil
			}
			return list
		}
		p.wake.Wait()
	}
	return nil
}

// read is a goroutine of the pool.
func (p *Pushes) read() {
	for {
		jobs := p.pool.take()
		if jobs == nil {
			return
		}
		results := make([]*result, len(jobs))
		for i, j := range jobs {
			results[i] = &result{job: *j}
		}
		if jobs[0].kind == looking {
			p.lookAt(results)
		} else {
			p.collect(results)
		}
		for _, r := range results {
			p.deliver(r)
		}
	}
}

// deliver gives a result to the user's worker.
func (p *Pushes) deliver(r *result) {
	s := p.shard(r.user.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tops != nil && r.err == nil {
		s.tops[r.user.name] = max(s.tops[r.user.name], r.out.Inbox.Top)
	}
	r.user.in.result = r
	s.listLocked(r.user)
}

func (p *Pushes) fail(list []*result, what string, err error) {
	p.failed(what, err)
	for _, r := range list {
		r.err = err
	}
}

// lookAt sees whether users have anything.
func (p *Pushes) lookAt(list []*result) {
	ctx, cancel := context.WithTimeout(p.ctx, storeTime)
	defer cancel()
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.user.name
	}
	inboxes, err := p.store.Inboxes(ctx, names...)
	if err != nil {
		p.fail(list, "look at inboxes", err)
		return
	}
	for i, r := range list {
		r.out.Inbox = inboxes[i]
	}
}

// collect reads what is for users, and has it judged before if that was asked for.
func (p *Pushes) collect(list []*result) {
	ctx, cancel := context.WithTimeout(p.ctx, storeTime)
	defer cancel()
	// In the same order everywhere, so that processes do not wait for each other.
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b *result) int { return cmp.Compare(a.user.name, b.user.name) })
	var group []store.Command
	places := make([]int, len(list)) // of the answers
	for i, r := range list {
		if r.kind == judging {
			// What was sent interrupted the user, whether that is on disk yet or not.
			if sents := p.settler.of(r.user.name); len(sents) > 0 {
				group = append(group, store.Settle{Settlements: sents, Now: r.at})
			}
		}
		places[i] = len(group)
		group = append(group, store.Collect{User: r.user.name, Now: p.nowMilli(), Zone: r.zone, Keep: r.keep, After: r.after, Limit: r.limit, Peek: r.kind == paging, Tell: r.kind == judging && r.tell})
	}
	results, err := p.store.Do(ctx, group...)
	switch {
	case err != nil && len(list) > 1 && !passing(err):
		for _, r := range list { // the fault of one of them
			p.collect([]*result{r})
		}
		return
	case err != nil:
		p.fail(list, "read inboxes", err)
		return
	}
	for i, r := range list {
		r.out = results[places[i]].(store.Collected)
		if r.tell && len(r.out.Held) > 0 {
			r.held = heldOf(r.out.Held)
		}
	}
}

// passing tells whether an error is that of the store as a whole.
func passing(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// heldOf counts what is held back and can be read in the inbox, by category.
func heldOf(rows []store.HeldRow) held {
	h := held{}
	for i := range rows {
		if r := &rows[i]; !r.Hidden {
			h[r.Category]++
		}
	}
	return h
}
