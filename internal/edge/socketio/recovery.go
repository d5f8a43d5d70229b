package socketio

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// Recovery. A socket of a namespace with channels that are kept has a secret, and
// each message from such a channel carries its place as a last argument. A client
// that comes back with both goes on where it was: with its id, its rooms and what
// it missed in them.
//
// The client names one place, but may be in many channels. So the order in which
// a socket was given messages of its channels is remembered, as far as the client
// has not shown that it got them. What an application sends to one socket is kept
// nowhere else, so it is remembered as well.

// Since is where a subscription to a channel goes on.
type Since struct {
	Epoch string
	Seq   uint64
}

// Missed is a message that a socket has missed. IDs rise with time, in all
// channels of a server.
type Missed struct {
	ID    string
	Seq   uint64
	Frame []byte
}

// appendOffset appends the place of a message as a JSON string.
func appendOffset(dst, channel, seq []byte) []byte {
	name, _ := protocol.Unquote(channel)
	return protocol.AppendString(dst, string(seq)+"@"+name)
}

// parseOffset reads such a place back.
func parseOffset(text string) (channel string, seq uint64, ok bool) {
	number, channel, ok := strings.Cut(text, "@")
	if !ok || len(number) > 16 {
		return "", 0, false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return channel, seq, err == nil
}

// kept tells whether the namespace has channels that are kept.
func (p *place) kept() bool {
	for _, channel := range []string{p.named.Channel, p.named.Rooms + ":x"} {
		if space, err := p.space(channel); err == nil && space.IsLog() {
			return true
		}
	}
	return false
}

// trail is the order in which a socket was given messages of its channels.
type trail struct {
	mu    sync.Mutex // guards all below; held while messages are handed over
	steps []step
	bytes int    // of the events in steps
	seen  int    // steps that had been made when the client was pinged last
	sent  uint64 // events that were sent to the socket alone
	gone  uint64 // the last of them that is not in steps any more
}

// step is some messages of one channel, from a seq on; or, when there is no channel,
// an event for the socket alone, whose number is start.
type step struct {
	channel string
	start   uint64
	event   []byte
	id      string // of an event
}

// Bounds of a trail. Who has more under way than that begins anew.
const (
	maxSteps      = 4096
	maxTrailBytes = 256 << 10
)

// emit sends an event, an array that is complete, to the socket alone.
func (t *trail) emit(s *socket, event []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	event = append(event[:len(event)-1], ',')
	event = append(appendOffset(event, nil, strconv.AppendUint(nil, t.sent, 10)), ']')
	t.makeRoom()
	t.bytes += len(event)
	t.steps = append(t.steps, step{start: t.sent, event: event, id: id.Message(time.Now())})
	s.send(sio.Packet{Kind: sio.Event, Data: event})
}

func (t *trail) makeRoom() {
	if len(t.steps) >= maxSteps || t.bytes > maxTrailBytes {
		t.forget((len(t.steps) + 1) / 2)
	}
}

func (t *trail) offer(to *socket, bufs []link.Buf, sub link.Subscriber) int {
	s, ok := sub.(*hub.Sub)
	if !ok {
		return to.offer(bufs, sub)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	start := s.Next()
	n := to.offer(bufs, sub)
	if n == 0 {
		return 0
	}
	t.makeRoom()
	name := s.Channel().Name()
	if last := len(t.steps) - 1; last < 0 || t.steps[last].channel != name {
		t.steps = append(t.steps, step{channel: name, start: start})
	}
	return n
}

func (t *trail) forget(n int) {
	for _, step := range t.steps[:n] {
		if step.channel == "" {
			t.gone = step.start
			t.bytes -= len(step.event)
		}
	}
	t.steps = append([]step(nil), t.steps[n:]...)
	t.seen = max(0, t.seen-n)
}

// pinged and ponged tell that the client was asked, and has answered, whether it
// is there: then it has got everything that was sent before.
func (t *trail) pinged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = max(0, len(t.steps)-1) // the last one may still grow
}

func (t *trail) ponged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen > 0 {
		t.forget(t.seen)
	}
	t.seen = 0
}

// state is what is remembered of a socket that may come back.
type state struct {
	private, namespace string
	dialect            sio.Dialect
	id                 id.Connection
	identity           auth.Identity
	session            []byte
	channels           []kept
	steps              []step
	sent, gone         uint64
	since              map[string]uint64 // filled in when it comes back
	again              []step            // events for it alone that it has missed; likewise
	timer              *time.Timer
}

// kept is a channel that a socket was subscribed to.
type kept struct {
	name  string
	log   bool
	epoch string
	next  uint64
}

// lost are the sockets that may come back.
type lost struct {
	mu     sync.Mutex // guards all below
	states map[string]*state
}

// maxLost bounds how many are remembered.
const maxLost = 100_000

// recoverable tells the ends after which a client may go on.
func recoverable(why reason) bool {
	switch why {
	case reasonTransportClose, reasonTransportError, reasonPingTimeout, reasonForced, reasonShutdown:
		return true
	}
	return false
}

// stateOf gives what is to be remembered of a socket that ends; nil: nothing.
func (s *socket) stateOf(why reason) *state {
	if s.trail == nil || !recoverable(why) {
		return nil
	}
	st := &state{private: s.private, namespace: s.place.name, dialect: s.client.dialect, id: s.ID, identity: s.Identity(), session: s.Session.Session()}
	for _, sub := range s.Subs() {
		k := kept{name: sub.Channel().Name(), log: sub.Channel().Space().IsLog()}
		if k.log {
			k.epoch, k.next = s.epoch(k.name), sub.Place().Next
		}
		st.channels = append(st.channels, k)
	}
	s.trail.mu.Lock()
	st.steps, st.sent, st.gone = s.trail.steps, s.trail.sent, s.trail.gone
	s.trail.mu.Unlock()
	return st
}

// keep remembers a socket that has ended.
func (l *lost) keep(st *state, span time.Duration) {
	if st == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.states == nil {
		l.states = map[string]*state{}
	}
	if len(l.states) >= maxLost {
		return
	}
	l.states[st.private] = st
	st.timer = time.AfterFunc(span, func() { l.remove(st.private) })
}

func (l *lost) remove(private string) *state {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.states[private]
	delete(l.states, private)
	return st
}

func (l *lost) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, st := range l.states {
		st.timer.Stop()
	}
	l.states = nil
}

// take gives the state of a client that comes back, once; nil when there is none
// that it could go on with.
func (l *lost) take(at *place, h *Handshake, dialect sio.Dialect) *state {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if o.Read(h.Auth, 8) != nil {
		return nil
	}
	private, err := o.String("pid", 64)
	if err != nil || private == "" {
		return nil
	}
	offset, err := o.String("offset", 2*protocol.MaxChannel+32)
	if err != nil {
		return nil
	}
	st := l.remove(private)
	if st == nil {
		return nil
	}
	st.timer.Stop()
	channel, seq, ok := parseOffset(offset)
	if !ok || st.namespace != at.name || st.dialect != dialect || !st.identity.Expires.IsZero() && time.Now().After(st.identity.Expires.Time()) || !st.locate(channel, seq) {
		return nil
	}
	for _, k := range st.channels {
		if _, err := at.space(k.name); err != nil {
			return nil
		}
	}
	return st
}

// locate finds out what the client has of each channel when a message is the
// last that it got; false when that is not known any more.
func (st *state) locate(channel string, seq uint64) bool {
	st.since = map[string]uint64{}
	for _, k := range st.channels {
		if k.log {
			st.since[k.name] = k.next - 1
		}
	}
	var named kept
	if channel == "" {
		named.next = st.gone + 1 // the first event in steps, or the next one
	}
	for _, k := range st.channels {
		if k.log && k.name == channel {
			named = k
		}
	}
	at, first := -1, named.next
	for i, step := range st.steps {
		if step.channel != channel {
			continue
		}
		if step.start <= seq {
			at = i
		}
		first = min(first, step.start)
	}
	switch {
	case channel == "" && seq > st.sent, channel != "" && (named.name == "" || seq >= named.next), at < 0 && seq+1 != first:
		return false
	}
	found := map[string]bool{}
	if channel != "" {
		st.since[channel] = seq
		found[channel] = true
	}
	for _, step := range st.steps[at+1:] {
		if step.channel == "" {
			st.again = append(st.again, step)
			continue
		}
		if _, subscribed := st.since[step.channel]; subscribed && !found[step.channel] {
			found[step.channel] = true
			st.since[step.channel] = step.start - 1
		}
	}
	return true
}

// restore makes a socket what it was: it gets what it has missed, in the order in
// which that was said, and goes on from there.
func (s *socket) restore(st *state) {
	_, _ = s.UpdateSession(func([]byte) ([]byte, error) { return st.session, nil })
	s.replay(st)
	for _, k := range st.channels {
		if k.log {
			s.subscribe(k.name, &Since{k.epoch, st.since[k.name]})
		} else {
			s.subscribe(k.name, nil)
		}
	}
	// What could not be replayed comes before what it does next.
	ctx, cancel := context.WithTimeout(s.client.e.ctx(), settleTimeout)
	defer cancel()
	for _, sub := range s.Subs() {
		sub.AwaitLive(ctx)
	}
}

// source is something that a socket has missed a part of.
type source struct {
	channel string // empty: what was sent to the socket alone
	list    []Missed
}

// replay sends what was missed, merged by time, and moves the places of channels
// behind it. What is too much is left to the channels.
func (s *socket) replay(st *state) {
	room := s.client.e.door.cfg.Queue / 2
	var sources []source
	var alone source
	for _, step := range st.again {
		alone.list = append(alone.list, Missed{ID: step.id, Seq: step.start, Frame: step.event})
	}
	sources = append(sources, alone)
	for _, k := range st.channels {
		if !k.log {
			continue
		}
		list, upTo, ok := s.client.e.door.cfg.Missed(&s.Session, k.name, Since{k.epoch, st.since[k.name]})
		for i := range list {
			room -= 2 * len(list[i].Frame)
		}
		if ok && room > 0 {
			sources = append(sources, source{k.name, list})
			st.since[k.name] = upTo
		}
	}
	s.trail.mu.Lock()
	defer s.trail.mu.Unlock()
	s.trail.sent, s.trail.gone = st.sent, st.sent
	if len(alone.list) > 0 {
		s.trail.gone = alone.list[0].Seq - 1
	}
	enc := encoding{s.client.dialect, s.place.name, true}
	for {
		next := -1
		for i := range sources {
			if len(sources[i].list) > 0 && (next < 0 || sources[i].list[0].ID < sources[next].list[0].ID) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		m := sources[next].list[0]
		sources[next].list = sources[next].list[1:]
		if sources[next].channel == "" {
			s.trail.bytes += len(m.Frame)
			s.trail.steps = append(s.trail.steps, step{start: m.Seq, event: m.Frame, id: m.ID})
			s.send(sio.Packet{Kind: sio.Event, Data: m.Frame})
			continue
		}
		// Its subscription is not there yet; the channel's name is what it is found by.
		s.trail.steps = append(s.trail.steps, step{channel: sources[next].channel, start: m.Seq})
		s.Outlet().SendControl(enc.Append(nil, m.Frame), nil)
	}
}

// settleTimeout bounds how long a client that comes back waits for what it has
// missed; the rest comes while it goes on.
const settleTimeout = time.Second

// epoch is which history of a channel the socket has read.
func (s *socket) epoch(channel string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epochs[channel]
}

func (s *socket) setEpoch(channel, epoch string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epochs == nil {
		s.epochs = map[string]string{}
	}
	s.epochs[channel] = epoch
}
