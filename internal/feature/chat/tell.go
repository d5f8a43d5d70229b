package chat

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Metrics counts what others were told of conversations.
type Metrics struct {
	Told          atomic.Int64 // frames that were handed to connections
	Coalesced     atomic.Int64 // messages, marks and changes that were told together with a later one
	Followers     atomic.Int64 // connections that follow their list now
	Failures      atomic.Int64 // reads and writes of the store that failed and are tried again
	Alerts        atomic.Int64 // users to whom an alert was pushed
	AlertFailures atomic.Int64 // alerts that could not be pushed; they are tried again unless their category is not there
	Cleared       atomic.Int64 // times that alerts were ended because their conversation was read
}

// Metrics gives the live counters.
func (f *Feature) Metrics() *Metrics { return &f.metrics }

// TellingWaits tells of how many conversations something is still to be told, and of how many
// alerts are to be pushed or ended.
func (f *Feature) TellingWaits() (told, alerts int) {
	return f.teller.waiting() + f.onlines.waiting(), f.alerts.pushes.waiting() + f.alerts.clears.waiting()
}

const (
	tellEvery   = 100 * time.Millisecond // the least time between two tellings of one conversation
	saidDelay   = 5 * time.Millisecond   // so that what comes with a message is told with it: that the conversation has begun
	changeDelay = 20 * time.Millisecond  // the same for changes, which come in pairs
	tellers     = 4                      // goroutines that tell
	entriesPage = 500                    // members whose entries are read at once
)

// news is what is to be told of one conversation.
type news struct {
	said  *said                 // nil: nothing about its newest message
	marks movedMarks            // that have moved
	users map[string]listChange // whose list has changed
	group bool                  // what is kept about the group is another
}

// listChange is what has become of a conversation in the list of one user.
type listChange struct {
	gone string // why it is not there any more; "": what he is in it is another
	// Those who followed then are told that it is gone. Who has begun since has read a list without
	// it, or with it because it is there again.
	to []*follower
}

// said is a message of which a list is told.
type said struct {
	seq    uint64
	time   int64
	from   string
	last   []byte // as JSON
	amends bool   // it was edited or recalled: that is told only if it is the newest
}

// over gives what of two is to be told: of the message that came last, as it is now.
func (s *said) over(old *said) *said {
	switch {
	case old == nil || s.seq > old.seq:
		return s
	case s.seq < old.seq:
		return old
	}
	both := *s
	both.amends = s.amends && old.amends
	return &both
}

// below puts older news under newer, because they could not be told.
func (n *news) below(old news) {
	if old.said != nil {
		if n.said == nil {
			n.said = old.said
		} else {
			n.said = n.said.over(old.said)
		}
	}
	for _, m := range old.marks.list {
		n.marks.add(m)
	}
	for user, c := range old.users {
		if _, later := n.users[user]; !later {
			n.user(user, c)
		}
	}
	n.group = n.group || old.group
}

func (n *news) user(user string, c listChange) {
	if n.users == nil {
		n.users = map[string]listChange{}
	}
	n.users[user] = c
}

// Committed is told what the store has committed. It does not block and does not call the store.
func (f *Feature) Committed(commits []store.Commit) {
	for i := range commits {
		c := &commits[i]
		space := f.cfg.Hub.Space(namespaceOf(c.Channel))
		if space == nil || space.Chat == nil {
			continue
		}
		if c.Message != nil {
			f.alerts.said(c.Channel, space, c.Message)
		}
		if !f.followers.none() && space.Subscribe != auth.Server {
			f.note(c)
		}
	}
}

// note has those told who follow their list.
func (f *Feature) note(c *store.Commit) {
	m := c.Message
	for _, other := range [...]*store.Message{c.Recall, c.Edit} {
		if m == nil {
			m = other
		}
	}
	s := &said{seq: m.Seq, time: m.Time, from: m.Sender.User, amends: c.Message == nil}
	if c.Recall != nil {
		stub := store.Message{Seq: m.Seq, ID: m.ID, Time: m.Time, Recalled: true}
		m = &stub
	}
	s.last = appendLast(make([]byte, 0, min(len(m.Data), maxLast)+256), m)
	joined := f.teller.put(c.Channel, saidDelay, func(n *news) {
		n.said = s.over(n.said)
		if !s.amends && s.from != "" {
			n.marks.add(moved{user: s.from, delivered: s.seq, read: s.seq, own: true})
		}
	})
	f.coalesced(joined)
}

func (f *Feature) coalesced(joined bool) {
	if joined {
		f.metrics.Coalesced.Add(1)
	}
}

// begun tells users that a conversation is in their list, or that what they are in it has changed.
func (f *Feature) begun(channel string, users []string) { f.changed(channel, users, "") }

// ended tells users that a conversation is in their list no more: left, removed or deleted.
func (f *Feature) ended(channel string, users []string, reason string) {
	f.changed(channel, users, reason)
}

func (f *Feature) changed(channel string, users []string, why string) {
	if f.followers.none() {
		return
	}
	users = slices.DeleteFunc(slices.Clone(users), func(user string) bool { return !f.followers.has(user) })
	if len(users) == 0 {
		return
	}
	f.coalesced(f.teller.put(channel, changeDelay, func(n *news) {
		for _, user := range users {
			c := listChange{gone: why}
			if why != "" {
				c.to = f.followers.appendFollowers(n.users[user].to, user)
			}
			n.user(user, c)
		}
	}))
}

// groupChanged tells the members that what is kept about their group has changed.
func (f *Feature) groupChanged(channel string) {
	if !f.followers.none() {
		f.coalesced(f.teller.put(channel, changeDelay, func(n *news) { n.group = true }))
	}
}

// tell tells of one conversation. What has the error nil need not be told again.
func (f *Feature) tell(ctx context.Context, channel string, n news) error {
	space := f.cfg.Hub.Space(namespaceOf(channel))
	if space == nil || space.Chat == nil {
		return nil // its rules were taken away, and with them everything that could be told
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	err := f.tellNews(ctx, channel, space, &n)
	if e := fault.Of(err); e == nil || e.Code != fault.Unavailable && e.Code != fault.Internal {
		return nil // what cannot be looked up does not become better
	}
	f.failed("tell of conversations", err)
	return err
}

// storeTime bounds the reads and writes of one turn.
const storeTime = 10 * time.Second

// failed notes that the store could not do something that is tried again.
func (f *Feature) failed(what string, err error) {
	if f.ctx.Err() != nil {
		return
	}
	f.metrics.Failures.Add(1)
	// While a database is away, everybody fails: saying it now and then is enough.
	now, before := f.cfg.Now().UnixMilli(), f.said.Load()
	if now-before >= sayEvery.Milliseconds() && f.said.CompareAndSwap(before, now) {
		f.cfg.Logger.Warn("the store could not do what conversations need; it is tried again", "what", what, "error", err)
	}
}

const sayEvery = 5 * time.Second

func (f *Feature) tellNews(ctx context.Context, channel string, space *hub.Space, n *news) error {
	r, err := f.roster(ctx, channel, space)
	if err != nil {
		return err
	}
	if space.Subscribe == auth.Server { // no client has it in its list
		*n = news{marks: n.marks}
	}
	if n.said != nil && n.said.amends {
		heads, err := f.store.Heads(ctx, channel)
		if err != nil {
			return failure(err)
		}
		if heads[0].Top != n.said.seq {
			n.said = nil
		}
	}
	var whole []string // who gets a whole entry
	for user, c := range n.users {
		if c.gone == "" {
			whole = append(whole, user)
			continue
		}
		f.tellAll(f.followers.still(nil, c.to), [][]byte{goneFrame(channel, c.gone)}, nil)
		if _, again := r.member(user); again && f.followers.has(user) {
			whole = append(whole, user) // nobody followed when he came back; somebody does now
		}
	}
	var shared []*hub.Conn
	f.followers.each(r, func(user string, m member) {
		if _, told := n.users[user]; told {
			return
		}
		switch {
		case n.group:
			whole = append(whole, user)
		case n.said != nil && n.said.seq > m.hidden:
			shared = f.followers.appendLocked(shared, user)
		}
	})
	if n.said != nil {
		f.tellAll(seeing(space, channel, shared), [][]byte{f.saidFrame(channel, r, n.said)}, nil)
	}
	if len(n.marks.list) > 0 {
		f.tellMarks(channel, space, r, n.marks.list, n.said)
	}
	slices.Sort(whole) // so that processes that read do not differ
	for page := range slices.Chunk(whole, entriesPage) {
		if err := f.tellEntries(ctx, channel, space, page); err != nil {
			return err
		}
	}
	return nil
}

// saidFrame is what all who follow get of a message.
func (f *Feature) saidFrame(channel string, r *roster, s *said) []byte {
	b := protocol.AppendString(append(make([]byte, 0, len(s.last)+len(channel)+128), `{"type":"conversation","channel":`...), channel)
	b = strconv.AppendUint(append(b, `,"seq":`...), s.seq, 10)
	b = append(append(b, `,"last":`...), s.last...)
	b = strconv.AppendInt(append(b, `,"time":`...), s.time, 10)
	return append(strconv.AppendInt(append(b, `,"members":`...), int64(r.size()), 10), '}')
}

// goneFrame is what somebody gets whose membership has ended.
func goneFrame(channel, why string) []byte {
	b := protocol.AppendString([]byte(`{"type":"conversation","channel":`), channel)
	b = append(append(b, `,"gone":true,"reason":"`...), why...)
	return append(b, '"', '}')
}

// tellEntries gives each of some users the conversation as he sees it.
func (f *Feature) tellEntries(ctx context.Context, channel string, space *hub.Space, users []string) error {
	entries, err := f.entriesOf(ctx, channel, space, users)
	if err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		for _, c := range f.followers.append(nil, e.User) {
			// Few have another token than the user's other connections, so each is made by itself.
			e.hides = !sees(space, channel, c)
			f.tellAll([]*hub.Conn{c}, [][]byte{f.entryOf(e)}, nil)
		}
	}
	return nil
}

func (f *Feature) entryOf(e *listed) []byte {
	b := append(make([]byte, 0, 512), `{"type":"conversation",`...)
	start := len(b)
	b = f.appendEntry(b, e)
	return append(b[:start], b[start+1:]...) // without its brace
}

// entriesOf reads a conversation as some of its members see it; who is none is left out. For
// a group it is read once.
func (f *Feature) entriesOf(ctx context.Context, channel string, space *hub.Space, users []string) ([]listed, error) {
	if len(users) <= 2 {
		var list []listed
		for _, user := range users {
			c, err := f.store.Conversation(ctx, channel, user)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, failure(err)
			}
			l, err := f.complete(ctx, user, store.ConversationPage{Items: []store.Conversation{c}}, nil)
			if err != nil {
				return nil, err
			}
			list = append(list, l.entries...)
		}
		return list, nil
	}
	members, err := f.store.RosterMembers(ctx, channel, users...)
	if err != nil {
		return nil, failure(err)
	}
	members = slices.DeleteFunc(members, func(m store.RosterMember) bool { return m.Role == 0 })
	if len(members) == 0 {
		return nil, nil
	}
	// What all of them see alike is that of one of them who sees most.
	first := members[0]
	for _, m := range members {
		if m.Hidden < first.Hidden {
			first = m
		}
	}
	c, err := f.store.Conversation(ctx, channel, first.User)
	if errors.Is(err, store.ErrNotFound) { // he has left this moment
		return nil, fault.Wrap(fault.Unavailable, err, "the members of %s are changing", channel)
	}
	if err != nil {
		return nil, failure(err)
	}
	list := make([]listed, 0, len(members))
	for _, m := range members {
		own := c
		own.RosterMember = m
		if c.Last == nil || c.Last.Seq <= m.Hidden {
			own.Last, own.Place.Time = nil, m.Since
		}
		list = append(list, listed{Conversation: &own, space: space})
	}
	return list, nil
}
