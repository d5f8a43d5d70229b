package chat

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// marksDelay is how long marks are collected before the others are told: when everybody in a
// conversation acknowledges a message at once, each of them gets all that in one write.
const marksDelay = 30 * time.Millisecond

// defaultMarks is how many members a conversation has at most whose marks are told to each other.
const defaultMarks = 100

// moved is a mark that has moved and is to be told.
type moved struct {
	user            string
	delivered, read uint64
	by              *hub.Conn // which said so; nil: none did
	whole           bool      // and was told all of it
	own             bool      // by what the user has said: who is subscribed knows
}

// mark answers `mark`.
func (f *Feature) mark(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, user, space, err := f.marked(s, fr)
	if err != nil {
		return err
	}
	read, err := fr.Int("read", -1, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	delivered, err := fr.Int("delivered", -1, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	if read < 0 && delivered < 0 {
		return fault.Field("read", "is missing; give read, delivered or both")
	}
	m, err := f.move(ctx, channel, space, moved{user: user, delivered: uint64(max(0, delivered)), read: uint64(max(0, read)), by: &s.Conn, whole: true})
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte {
		return strconv.AppendUint(append(appendMarks(b, m.Delivered, m.Read), `,"unread":`...), unread(m.Head, m.Read), 10)
	})
	return nil
}

// ack answers `ack` of a conversation.
func (f *Feature) ack(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, user, space, err := f.marked(s, fr)
	if err != nil {
		return err
	}
	switch {
	case fr.Raw("messages") != nil:
		return fault.Field("messages", "can be given for %s alone; give seq", protocol.Inbox)
	case fr.Raw("seq") == nil:
		return fault.Field("seq", "is missing")
	}
	seq, err := fr.Int("seq", 0, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	m, err := f.move(ctx, channel, space, moved{user: user, delivered: uint64(seq), by: &s.Conn})
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return strconv.AppendUint(append(b, `,"delivered":`...), m.Delivered, 10) })
	return nil
}

// marked gives the conversation that a frame moves marks in, and whose they are. Whether the
// user is a member is for the store to say.
func (f *Feature) marked(s *session.Session, fr *protocol.Frame) (channel, user string, space *hub.Space, err error) {
	if channel, err = fr.Required("channel", protocol.MaxChannel); err != nil {
		return channel, "", nil, err
	}
	space, err = f.keepsMarks(channel)
	user = s.User()
	switch {
	case err != nil:
	case user == "":
		err = errNobody
	case !sees(space, channel, &s.Conn):
		err = session.Denied(auth.Sub, channel)
	}
	return channel, user, space, err
}

// keepsMarks gives the rules of a channel, whose members must have marks.
func (f *Feature) keepsMarks(channel string) (*hub.Space, error) {
	if space := f.cfg.Hub.Space(namespaceOf(channel)); space != nil && space.Chat == nil {
		return nil, fault.Field("channel", "%s keeps no marks: it is no conversation", channel)
	}
	return f.conversation(channel)
}

// move moves the marks of a member, as far as they have not been beyond. It returns when that is
// stored; who is to hear of it does so soon. A direct conversation that has not begun has zeros.
func (f *Feature) move(ctx context.Context, channel string, space *hub.Space, m moved) (store.MemberMarked, error) {
	if f.store == nil {
		return store.MemberMarked{}, errNoStore
	}
	results, err := f.store.Do(ctx, store.MarkMember{Channel: channel, User: m.user, Delivered: m.delivered, Read: m.read})
	if errors.Is(err, store.ErrNotFound) {
		if space.Chat.Direct {
			if a, b, err := directUsers("channel", channel); err == nil && (a == m.user || b == m.user) {
				return store.MemberMarked{}, nil
			}
		}
		return store.MemberMarked{}, fault.Wrap(fault.Denied, err, "channel: only members of %s have marks there", channel)
	}
	if err != nil {
		return store.MemberMarked{}, failure(err)
	}
	now := results[0].(store.MemberMarked)
	if now.Moved {
		m.delivered, m.read = now.Delivered, now.Read
		f.tellMark(channel, m)
	}
	if now.Moved || !f.shared { // nobody may have ended the alerts when they did: the process was killed
		f.alerts.marked(channel, space, m.user, now)
	}
	return now, nil
}

// tellMark has those told who are to hear of a mark.
func (f *Feature) tellMark(channel string, m moved) {
	if f.followers.none() && f.cfg.Hub.Channel(channel) == nil {
		return
	}
	f.teller.put(channel, marksDelay, func(n *news) { n.marks.add(m) })
}

// movedMarks are marks of a channel, of each user the newest.
type movedMarks struct {
	list []moved
	at   map[string]int // places in it, when it is long; nil: it is short
}

// manyMarks is how long a list is through which nobody goes for each mark.
const manyMarks = 32

func (ms *movedMarks) place(user string) int {
	if ms.at == nil {
		return slices.IndexFunc(ms.list, func(x moved) bool { return x.user == user })
	}
	if i, there := ms.at[user]; there {
		return i
	}
	return -1
}

// add joins a mark with what is there of its user: marks only grow, whatever comes first.
func (ms *movedMarks) add(m moved) {
	i := ms.place(m.user)
	if i < 0 {
		ms.list = append(ms.list, m)
		if ms.at == nil && len(ms.list) > manyMarks {
			ms.at = make(map[string]int, 2*manyMarks)
			for k, x := range ms.list {
				ms.at[x.user] = k
			}
		}
		if ms.at != nil {
			ms.at[m.user] = len(ms.list) - 1
		}
		return
	}
	x := &ms.list[i]
	both := moved{user: m.user, delivered: max(m.delivered, x.delivered), read: max(m.read, x.read), own: m.own && x.own}
	// Who has said what counts now, and was told all of it, needs not hear of it; nor does who has
	// said everything.
	for _, last := range [...]*moved{&m, x} {
		if last.delivered == both.delivered && last.read == both.read {
			if last.whole || m.by == x.by {
				both.by, both.whole = last.by, last.whole
			}
			break
		}
	}
	*x = both
}

// tellMarks tells of the marks of a channel: its subscribers, unless it has too many members,
// the other connections of the same user that follow their list, and in a direct conversation
// those of the peer. said is what these are told of the newest message; nil: nothing.
func (f *Feature) tellMarks(channel string, space *hub.Space, r *roster, marks []moved, said *said) {
	most := space.Chat.Marks
	if most == 0 {
		most = defaultMarks
	}
	var subscribers []*hub.Conn
	if ch := f.cfg.Hub.Channel(channel); ch != nil && r.size() <= most {
		subscribers = ch.Conns()
	}
	frames, by := make([][]byte, 0, len(marks)), make([]*hub.Conn, 0, len(marks))
	for _, m := range marks {
		if !m.own {
			frames, by = append(frames, markFrame(channel, m)), append(by, m.by)
		}
	}
	f.tellAll(subscribers, frames, by)
	if f.followers.none() {
		return
	}
	told := make(map[*hub.Conn]bool, len(subscribers))
	for _, c := range subscribers {
		told[c] = true
	}
	var conns []*hub.Conn
	for _, m := range marks {
		if m.own && said != nil && said.from == m.user && said.seq == m.read {
			continue // that says it
		}
		conns = f.followers.append(conns[:0], m.user)
		if peer := r.peer(m.user); peer != "" {
			conns = f.followers.append(conns, peer)
		}
		conns = slices.DeleteFunc(seeing(space, channel, conns), func(c *hub.Conn) bool { return !m.own && told[c] })
		if len(conns) > 0 {
			f.tellAll(conns, [][]byte{markFrame(channel, m)}, []*hub.Conn{m.by})
		}
	}
}

// tellAll hands frames to connections, as [hub.Hub.PublishFrames] does.
func (f *Feature) tellAll(conns []*hub.Conn, frames [][]byte, by []*hub.Conn) {
	f.cfg.Hub.PublishFrames(conns, frames, by)
	f.metrics.Told.Add(int64(len(conns) * len(frames)))
}

// markFrame is the `mark` frame.
func markFrame(channel string, m moved) []byte {
	b := protocol.AppendString(make([]byte, 0, len(channel)+len(m.user)+100), channel)
	b = append([]byte(`{"type":"mark","channel":`), b...)
	b = protocol.AppendString(append(b, `,"user":`...), m.user)
	return append(appendMarks(b, m.delivered, m.read), '}')
}

// MarkParams are the params of chat.mark.
type MarkParams struct {
	Channel   string `json:"channel"`
	User      string `json:"user,omitempty" jsonschema:"a member; of a client's call its user"`
	Read      *int64 `json:"read,omitempty" jsonschema:"everything up to this seq was read, and so delivered"`
	Delivered *int64 `json:"delivered,omitempty" jsonschema:"everything up to this seq was handed to the application of some device"`
}

// Marked is the result of chat.mark: the marks as they are now.
type Marked struct {
	Read      uint64 `json:"read"`
	Delivered uint64 `json:"delivered"`
	Unread    uint64 `json:"unread" jsonschema:"messages after what was read"`
}

func (f *Feature) markVerb(ctx context.Context, p MarkParams) (r Marked, err error) {
	space, err := f.keepsMarks(p.Channel)
	if err != nil {
		return r, err
	}
	user, err := acting(ctx, "user", p.User)
	if err != nil {
		return r, err
	}
	m := moved{user: user}
	if s := clientOf(ctx); s != nil {
		if m.by, m.whole = &s.Conn, true; !sees(space, p.Channel, &s.Conn) {
			return r, session.Denied(auth.Sub, p.Channel)
		}
	}
	for _, one := range []struct {
		field string
		given *int64
		to    *uint64
	}{{"read", p.Read, &m.read}, {"delivered", p.Delivered, &m.delivered}} {
		switch {
		case one.given == nil:
		case *one.given < 0 || *one.given > protocol.MaxInt:
			return r, fault.Field(one.field, "%d is not between 0 and %d", *one.given, int64(protocol.MaxInt))
		default:
			*one.to = uint64(*one.given)
		}
	}
	if p.Read == nil && p.Delivered == nil {
		return r, fault.Field("read", "is missing; give read, delivered or both")
	}
	now, err := f.move(ctx, p.Channel, space, m)
	return Marked{Read: now.Read, Delivered: now.Delivered, Unread: unread(now.Head, now.Read)}, err
}

// namespaceOf is the part of a channel's name before the colon.
func namespaceOf(channel string) string {
	namespace, _, _ := strings.Cut(channel, ":")
	return namespace
}
