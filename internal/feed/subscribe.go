package feed

import (
	"cmp"
	"context"
	"slices"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// From says where a subscription wants to begin: after a message that it knows,
// with the newest ones, or with what comes.
type From struct {
	Since *Position // not nil: after it
	Last  uint64    // the newest so many; used when Since is nil
	Echo  bool      // also what the connection publishes itself
	// Floor hides messages up to this seq, although they are kept: to the subscription they
	// are as if they were gone, until the connection subscribes anew. Zero: nothing is hidden.
	Floor uint64
}

// Position is the last message that a client has.
type Position struct {
	Epoch string
	Seq   uint64
}

// Joining is what the reply to a subscription tells.
type Joining struct {
	Epoch     string
	Seq       uint64 // the head
	Asked     bool   // it asked to go on after a message that it knows
	Recovered bool   // and nothing of what came after it is gone
}

// Bounds of what a reader that comes back is told of revisions of messages that it had;
// one that has missed more is not recovered.
const (
	maxRevised      = 1024
	maxRevisedBytes = 256 << 10
)

// Subscribe subscribes a connection to a log channel: opt.Log and opt.More are
// set here, and reply gives the frame that tells the client. Its error is a
// *fault.Error.
func (f *Feeds) Subscribe(ctx context.Context, c *hub.Conn, name string, space *hub.Space, from From, opt hub.SubOptions, reply func(Joining) []byte) (fresh bool, err error) {
	ch, err := f.pin(ctx, name)
	if err != nil {
		return false, err
	}
	defer f.unpin(ch) // the hub knows the subscription then, which keeps it
	revisions := ch.revisionCount()
	b, err := f.begin(ctx, ch, space, from)
	if err != nil {
		return false, err
	}
	ch.expect(c, known{floor: b.floor, told: revisions})
	opt.Log = &hub.Start{Next: b.next, Floor: b.floor, Echo: from.Echo}
	opt.Reply = func() []byte { return reply(b.Joining) }
	opt.More = b.more
	if fresh, err = f.hub.Subscribe(c, name, space, opt); err != nil {
		return fresh, err
	}
	if from.Since != nil && b.Recovered {
		// One may have been revised while this went on; telling it twice does no harm.
		f.retell(ctx, ch, c, revisions, b.floor+1, from.Since.Seq)
	}
	return fresh, nil
}

// beginning is how a subscription begins.
type beginning struct {
	Joining
	next  uint64   // the seq that it needs next
	floor uint64   // what is hidden from it
	more  [][]byte // frames that it is told before
}

// begin decides with which message a subscription starts, and what it is told
// before.
func (f *Feeds) begin(ctx context.Context, ch *channel, space *hub.Space, from From) (b beginning, err error) {
	ch.mu.Lock()
	head := store.Head{Epoch: ch.epoch, Top: ch.head}
	inMemory := ch.readable(space) - 1 // whoever has up to here lacks nothing that is not in memory
	revised := ch.revised
	ch.mu.Unlock()

	wanted := head.Top // the subscription begins after it
	switch {
	case from.Since != nil:
		wanted = from.Since.Seq
	case from.Last > 0:
		wanted = head.Top - min(head.Top, from.Last)
	}
	exact := wanted >= inMemory && max(wanted, from.Floor) <= head.Top && (from.Since == nil || from.Since.Epoch == head.Epoch)
	if !exact {
		if head, err = f.storedHead(ctx, ch.name); err != nil {
			return b, err
		}
		if f.noticeEpoch(ch, head) {
			revised = head.Recalled
		}
	}
	b.Joining = Joining{Epoch: head.Epoch, Seq: head.Top, Asked: from.Since != nil}
	b.floor = min(from.Floor, head.Top) // what a restored backup does not have is not hidden when it comes
	gone := max(head.Floor, b.floor)
	switch {
	case from.Since == nil:
		b.next = max(wanted, gone) + 1
		return b, nil
	case from.Since.Epoch != head.Epoch && !(from.Since.Seq == 0 && from.Since.Epoch == ""), wanted > head.Top:
		b.next = gone + 1
		b.more = [][]byte{protocol.AppendGap(nil, ch.name, 1, gone, head.Epoch)}
		f.metrics.Gaps.Add(1)
		return b, nil
	case wanted < b.floor:
		// Nothing that is live may come before what is hidden has been passed.
		b.next = gone + 1
		b.more = [][]byte{protocol.AppendGap(nil, ch.name, wanted+1, gone, head.Epoch)}
		f.metrics.Gaps.Add(1)
		return b, nil
	}
	b.next = wanted + 1
	b.Recovered = wanted >= head.Floor
	if wanted <= revised && revised > 0 {
		complete, list, err := f.revised(ctx, ch, b.floor, wanted)
		if err != nil {
			return b, err
		}
		b.Recovered = b.Recovered && complete
		b.more = list
	}
	return b, nil
}

// revised gives the frames that tell a reader who has everything after floor up to since
// which of that was revised meanwhile; false when there is more than it is told.
func (f *Feeds) revised(ctx context.Context, ch *channel, floor, since uint64) (complete bool, frames [][]byte, err error) {
	ch.mu.Lock()
	late := ch.passedLocked(0, since)
	ch.mu.Unlock()
	list, complete, err := f.recalls(ctx, ch.name, since)
	if err == nil && len(late) > 0 {
		// For the readers here a revision of another process came when it was noticed here,
		// which may have been after messages that the store has behind it.
		late = slices.DeleteFunc(late, func(r revision) bool {
			return slices.ContainsFunc(list, func(m store.Message) bool { return m.Seq == r.seq })
		})
		var more []store.Message
		more, err = f.asNow(ctx, ch.name, late, floor+1, since, maxRevisedBytes)
		list = append(list, more...)
		slices.SortFunc(list, func(a, b store.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	if err != nil {
		return false, nil, Fault(err)
	}
	bytes := 0
	for i := range list {
		if list[i].Seq <= floor {
			continue
		}
		frame := revisionOf(ch.name, &list[i], 0)
		if bytes += len(frame); bytes > maxRevisedBytes {
			return false, frames, nil
		}
		frames = append(frames, frame)
	}
	return complete, frames, nil
}

// recalls lists messages up to since that were revised since that was the newest; not
// complete: there are more.
func (f *Feeds) recalls(ctx context.Context, channel string, since uint64) (list []store.Message, complete bool, err error) {
	// The store reads all that it is asked for, and edited messages may be large: so first
	// a few, and more only when those were small.
	for limit := maxRevised / 16; ; limit *= 4 {
		if list, err = f.store.Recalls(ctx, channel, since, limit); err != nil || len(list) < limit {
			return list, true, err
		}
		bytes := 0
		for i := range list {
			bytes += len(list[i].Data)
		}
		if limit >= maxRevised || bytes > maxRevisedBytes {
			return list, false, nil
		}
	}
}

// Message is a message to be stored, and who does not get it live.
type Message struct {
	store.Append
	Except []*hub.Conn
}

// Publish stores a message and gives its place. It waits while the channel's
// subscribers cannot take more. Its error is a *fault.Error; nothing is stored
// then, unless the connection to the database broke in between.
func (f *Feeds) Publish(ctx context.Context, a store.Append, except []*hub.Conn) (store.Appended, error) {
	list, err := f.PublishAll(ctx, []Message{{a, except}})
	if err != nil {
		return store.Appended{}, err
	}
	return list[0], nil
}

// PublishAll is [Feeds.Publish] for several messages, all or none of which are
// stored.
func (f *Feeds) PublishAll(ctx context.Context, list []Message) ([]store.Appended, error) {
	group := make([]store.Command, len(list))
	for i := range list {
		m := &list[i]
		if err := f.hub.Await(ctx, m.Channel); err != nil {
			return nil, err
		}
		if len(m.Except) > 0 {
			f.except.Store(m.ID, m.Except)
			defer f.except.Delete(m.ID)
		}
		group[i] = m.Append
	}
	results, err := f.store.Do(ctx, group...)
	if err != nil {
		return nil, Fault(err)
	}
	out := make([]store.Appended, len(results))
	for i := range results {
		out[i] = results[i].(store.Appended)
	}
	return out, nil
}

// Recall withdraws a message. Its error is a *fault.Error.
func (f *Feeds) Recall(ctx context.Context, r store.Recall) (store.Recalled, error) {
	results, err := f.store.Do(ctx, r)
	if err != nil {
		return store.Recalled{}, Fault(err)
	}
	return results[0].(store.Recalled), nil
}

// Edit puts other content in the place of a message's. It waits while the channel's
// subscribers cannot take more. Its error is a *fault.Error.
func (f *Feeds) Edit(ctx context.Context, e store.EditMessage) (store.Edited, error) {
	if err := f.hub.Await(ctx, e.Channel); err != nil {
		return store.Edited{}, err
	}
	results, err := f.store.Do(ctx, e)
	if err != nil {
		return store.Edited{}, Fault(err)
	}
	return results[0].(store.Edited), nil
}

// History reads messages of a channel. Its error is a *fault.Error.
func (f *Feeds) History(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := f.store.Read(ctx, q)
	if err != nil {
		return page, Fault(err)
	}
	return page, nil
}

// Head gives the seq of a channel's newest message, as far as it is known here.
func (f *Feeds) Head(channel string) uint64 {
	if ch := f.peek(channel); ch != nil {
		if head := ch.headForReaders(); head != unknown {
			return head
		}
	}
	return 0
}

// Lag tells how many messages a reader lacks; zero when it is live.
func (f *Feeds) Lag(s *hub.Sub) uint64 {
	place := s.Place()
	if place.Live {
		return 0
	}
	ch := f.peek(s.Channel().Name())
	if ch == nil {
		return 0
	}
	if head := ch.headForReaders(); head != unknown && head >= place.Next {
		return head + 1 - place.Next
	}
	return 0
}
