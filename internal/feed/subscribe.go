package feed

import (
	"context"

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

// maxRecalls bounds what a reader that comes back is told of withdrawn messages
// that it had; a client that had more of them starts with a gap.
const maxRecalls = 1000

// Subscribe subscribes a connection to a log channel: opt.Log and opt.More are
// set here, and reply gives the frame that tells the client. Its error is a
// *fault.Error.
func (f *Feeds) Subscribe(ctx context.Context, c *hub.Conn, name string, space *hub.Space, from From, opt hub.SubOptions, reply func(Joining) []byte) (fresh bool, err error) {
	ch, err := f.load(ctx, name)
	if err != nil {
		return false, err
	}
	recalls := ch.recallCount()
	j, start, more, err := f.begin(ctx, ch, space, from)
	if err != nil {
		return false, err
	}
	opt.Log = &start
	opt.Reply = func() []byte { return reply(j) }
	opt.More = more
	if fresh, err = f.hub.Subscribe(c, name, space, opt); err != nil {
		return fresh, err
	}
	if from.Since != nil && j.Recovered && ch.recallCount() != recalls {
		// One was withdrawn while this went on; telling it twice does no harm.
		for _, frame := range ch.withdrawnSince(recalls, 1, from.Since.Seq) {
			c.SendFrame(frame, nil)
		}
	}
	return fresh, nil
}

func (ch *channel) recallCount() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.recalls
}

// begin decides with which message a subscription starts, and what it is told
// before.
func (f *Feeds) begin(ctx context.Context, ch *channel, space *hub.Space, from From) (j Joining, start hub.Start, more [][]byte, err error) {
	ch.mu.Lock()
	head := store.Head{Epoch: ch.epoch, Top: ch.head}
	inMemory := ch.readable(space) - 1 // whoever has up to here lacks nothing that is not in memory
	withdrawn := ch.withdrawn
	ch.mu.Unlock()

	wanted := head.Top // the subscription begins after it
	switch {
	case from.Since != nil:
		wanted = from.Since.Seq
	case from.Last > 0:
		wanted = head.Top - min(head.Top, from.Last)
	}
	exact := wanted >= inMemory && wanted <= head.Top && (from.Since == nil || from.Since.Epoch == head.Epoch)
	if !exact {
		if head, err = f.storedHead(ctx, ch.name); err != nil {
			return j, start, nil, err
		}
		if f.noticeEpoch(ch, head) {
			withdrawn = head.Recalled
		}
	}
	j = Joining{Epoch: head.Epoch, Seq: head.Top}
	start = hub.Start{Next: wanted + 1, Echo: from.Echo}
	switch {
	case from.Since == nil:
		start.Next = max(start.Next, head.Floor+1)
		return j, start, nil, nil
	case from.Since.Epoch != head.Epoch && !(from.Since.Seq == 0 && from.Since.Epoch == ""), wanted > head.Top:
		j.Asked = true
		start.Next = head.Floor + 1
		f.metrics.Gaps.Add(1)
		return j, start, [][]byte{protocol.AppendGap(nil, ch.name, 1, head.Floor, head.Epoch)}, nil
	}
	j.Asked = true
	j.Recovered = wanted >= head.Floor
	if wanted <= withdrawn && withdrawn > 0 {
		complete, list, err := f.recalled(ctx, ch, wanted)
		if err != nil {
			return j, start, nil, err
		}
		if !complete {
			j.Recovered = false
		}
		more = list
	}
	return j, start, more, nil
}

// recalled gives the frames that tell a reader who has everything up to since
// which of that was withdrawn meanwhile; false when there are more.
func (f *Feeds) recalled(ctx context.Context, ch *channel, since uint64) (complete bool, frames [][]byte, err error) {
	list, err := f.store.Recalls(ctx, ch.name, since, maxRecalls)
	if err != nil {
		return false, nil, Fault(err)
	}
	for i := range list {
		frames = append(frames, protocol.AppendRecall(nil, ch.name, list[i].Seq, list[i].ID))
	}
	return len(list) < maxRecalls, frames, nil
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
