package push

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Message is what is pushed. Its category is looked up by the caller: Content has its
// name and its policy.
type Message struct {
	store.Content // ID and Time may be empty: then they are made

	// Key makes a repeat harmless; see [store.Push].
	Key, Digest []byte
	KeyExpires  int64
	// Step, when not nil, is the step of a campaign that this is. It is one command.
	Step *store.Step
}

// Pushed is what became of a message.
type Pushed struct {
	ID        string
	Duplicate bool         // the key was used before
	Totals    store.Totals // of those it is for now: how many are in which state
}

// maxGroup is how many users are written in one transaction, so that what is for one
// user never waits long behind what is for many.
const maxGroup = 250

// Push puts a message into the inboxes of users, each named once. After an error it may
// have reached the first ones: the same again, with the same key or ID, goes to the
// others, and to nobody twice. Its error is a *fault.Error.
func (p *Pushes) Push(ctx context.Context, m Message, to []store.Recipient) (done Pushed, err error) {
	now := p.now()
	m.complete(now)
	s := p.settings()
	done.ID = m.ID
	if m.Collapse != "" && p.running.Load() { // what it replaces may have been sent just now
		p.settler.flush(ctx)
	}
	group := maxGroup
	if m.Step != nil {
		group = max(1, len(to))
	}
	for first := true; first || len(to) > 0; first = false {
		n := min(len(to), group)
		r, err := one[store.Pushed](ctx, p, store.Push{
			Content: m.Content, To: to[:n], Now: p.nowMilli(), Zone: s.Zone, Keep: s.Keep, Key: m.Key, Digest: m.Digest, KeyExpires: m.KeyExpires, Step: m.Step,
		})
		if err != nil {
			return done, err
		}
		if first {
			done.ID, done.Duplicate = r.ID, r.Duplicate
			m.ID = r.ID
		}
		for i := range r.Rows {
			tally(&done.Totals, r.Rows[i].State)
		}
		to = to[n:]
	}
	return done, nil
}

// complete fills in what was left out.
func (m *Message) complete(now time.Time) {
	if m.Time == 0 {
		m.Time = now.UnixMilli()
	}
	if m.ID == "" {
		m.ID = id.Message(now)
	}
}

func tally(t *store.Totals, s store.State) {
	switch s {
	case store.Queued:
		t.Queued++
	case store.Sent:
		t.Sent++
	case store.Delivered:
		t.Delivered++
	case store.Capped:
		t.Capped++
	case store.Muted:
		t.Muted++
	case store.Expired:
		t.Expired++
	case store.Withdrawn:
		t.Recalled++
	case store.Failed:
		t.Failed++
	}
}

// Broadcast pushes a message to everybody who has been heard of. Who is connected gets
// it soon, the others when they come. Its error is a *fault.Error.
func (p *Pushes) Broadcast(ctx context.Context, m Message) (store.Broadcasted, error) {
	m.complete(p.now())
	b, err := one[store.Broadcasted](ctx, p, store.Broadcast{
		Content: m.Content, Now: p.nowMilli(), Key: m.Key, Digest: m.Digest, KeyExpires: m.KeyExpires, Step: m.Step,
	})
	if err == nil {
		p.Broadcasted()
	}
	return b, err
}

// Broadcasted says that somebody else has put a [store.Broadcast] into the store, so that
// those who are connected get it at once, not when it is next looked for.
func (p *Pushes) Broadcasted() {
	select {
	case p.sweeps <- struct{}{}:
	default: // it will be looked for anyway
	}
}

// Recall withdraws a message from everybody who has not acknowledged it, and tells from
// how many. Whoever may have it is told; who gets it in this very moment is told, too,
// though its caps may not have counted it. Its error is a *fault.Error: not_found when there is no such message.
func (p *Pushes) Recall(ctx context.Context, message string) (count int, err error) {
	if p.running.Load() {
		p.settler.flush(ctx)
	}
	for {
		e, err := one[store.Ended](ctx, p, store.RecallPush{ID: message, Now: p.nowMilli(), Limit: 1000})
		if err != nil {
			return count, err
		}
		count += len(e.Rows)
		p.metrics.Recalled.Add(int64(len(e.Rows)))
		for i := range e.Rows {
			r := &e.Rows[i]
			if p.hub.HasUser(r.User) {
				p.note(r.User, true, func(in *inbound) { in.recalled = append(in.recalled, *r) })
			}
		}
		if !e.More {
			return count, nil
		}
	}
}

// Ack is what a device of a user acknowledges: all up to Seq, or messages by their ids.
type Ack struct {
	User, Device string
	Conn         *hub.Conn // on which it came; nil: on none
	Seq          uint64
	Messages     []string // in place of Seq: at most 500
	// Then is called with the result before anything is sent that the acknowledgement
	// makes room for. It must not block. Nil: nobody is.
	Then func(Acked)
}

// Acked is what an acknowledgement did.
type Acked struct {
	Count   int      // deliveries that became delivered
	Unknown []string // ids that are not in the inbox
}

const idLength = 26 // of a message

// MaxAck is how many ids one acknowledgement may have.
const MaxAck = 500

// Ack returns when the acknowledgement is on disk. Up to a seq means what has come by
// then: what waits behind the window is not acknowledged by it. Its error is a
// *fault.Error.
func (p *Pushes) Ack(ctx context.Context, a Ack) (Acked, error) {
	if err := p.ready(); err != nil {
		return Acked{}, err
	}
	now := p.nowMilli()
	r := &request{done: make(chan struct{})}
	upTo := uint64(0)
	if len(a.Messages) == 0 {
		var err error
		if upTo, r.list, err = p.come(ctx, &a, now); err != nil {
			return Acked{}, err
		}
	}
	var out Acked
	var known []string
	for _, message := range a.Messages {
		if len(message) != idLength { // nothing has such an id
			out.Unknown = append(out.Unknown, message)
			continue
		}
		known = append(known, message)
		r.list = append(r.list, store.Settlement{User: a.User, ID: message, State: store.Delivered, Device: a.Device, Time: now})
	}
	if len(r.list) == 0 {
		if a.Then != nil {
			a.Then(out)
		}
		return out, nil
	}
	if err := p.settler.do(ctx, r); err != nil {
		return Acked{}, failure(err)
	}
	var seqs []uint64
	for i := range r.results {
		done := &r.results[i]
		out.Count += len(done.Seqs)
		seqs = append(seqs, done.Seqs...)
		if !done.Found && len(known) > 0 {
			out.Unknown = append(out.Unknown, known[i])
		}
	}
	p.metrics.Delivered.Add(int64(out.Count))
	if a.Then != nil {
		a.Then(out)
	}
	p.ended(a.User, ends{upTo: upTo, seqs: seqs, ids: known})
	return out, nil
}

// ended tells the user's worker that deliveries have ended, if it remembers any.
func (p *Pushes) ended(user string, e ends) {
	p.note(user, false, func(in *inbound) { in.ends = append(in.ends, e) })
}

// Mark is how far an inbox was read.
type Mark struct {
	Read   uint64
	Unread int64 // messages that were not read; at most 1000 are counted
}

// Read says that a device of a user has read everything up to a seq, and tells the
// user's other connections when that is news; by is the one that says so, nil for
// none. What was read is delivered, too, as many as count tells. Its error is a
// *fault.Error.
func (p *Pushes) Read(ctx context.Context, user, device string, seq uint64, by *hub.Conn) (m Mark, count int, err error) {
	r, err := one[store.ReadMarked](ctx, p, store.MarkRead{User: user, Seq: seq, Device: device, Now: p.nowMilli()})
	if err != nil {
		return m, 0, err
	}
	p.metrics.Delivered.Add(int64(len(r.Seqs)))
	if len(r.Seqs) > 0 {
		p.settler.forget(user, r.Seqs)
		p.ended(user, ends{seqs: r.Seqs})
	}
	page, err := p.List(ctx, store.InboxQuery{User: user, Backward: true, Limit: 1})
	if err != nil {
		return m, len(r.Seqs), err
	}
	m = Mark{Read: page.Inbox.Read, Unread: page.Unread}
	if r.Moved {
		frame := appendMark(nil, user, m)
		for _, c := range p.hub.UserConns(user) {
			if c != by && c.Native() {
				c.SendFrame(frame, nil)
			}
		}
	}
	return m, len(r.Seqs), nil
}

// List reads a page of an inbox: what is as old as the settings let it be read. Its
// error is a *fault.Error.
func (p *Pushes) List(ctx context.Context, q store.InboxQuery) (store.InboxPage, error) {
	if err := p.ready(); err != nil {
		return store.InboxPage{}, err
	}
	q.Now = p.nowMilli()
	if age := p.settings().Age; age > 0 {
		q.Oldest = max(q.Oldest, q.Now-age.Milliseconds())
	}
	page, err := p.store.ReadInbox(ctx, q)
	return page, failure(err)
}

// Records reads what became of messages. Its error is a *fault.Error.
func (p *Pushes) Records(ctx context.Context, q store.RecordQuery) (store.RecordPage, error) {
	if err := p.ready(); err != nil {
		return store.RecordPage{}, err
	}
	page, err := p.store.Records(ctx, q)
	return page, failure(err)
}

// Mute has a user hear no more of a category, or hear of it again, and gives all that
// the user has muted. Whether users may do that is for the caller to know. Its error is a
// *fault.Error.
func (p *Pushes) Mute(ctx context.Context, user, category string, muted bool) ([]string, error) {
	r, err := one[store.CategoryMuted](ctx, p, store.MuteCategory{User: user, Category: category, Muted: muted, Time: p.nowMilli()})
	return r.Muted, err
}

// Muted gives what a user has muted. Its error is a *fault.Error.
func (p *Pushes) Muted(ctx context.Context, user string) ([]string, error) {
	if err := p.ready(); err != nil {
		return nil, err
	}
	users, err := p.store.LookUsers(ctx, user)
	if err != nil {
		return nil, failure(err)
	}
	if len(users) != 1 {
		return nil, fault.New(fault.Internal, "internal error")
	}
	return users[0].Muted, nil
}

// appendMark appends the `mark` frame of an inbox.
func appendMark(b []byte, user string, m Mark) []byte {
	b = protocol.AppendString(append(b, `{"type":"mark","channel":"@inbox","user":`...), user)
	return append(AppendMark(b, m), '}')
}
