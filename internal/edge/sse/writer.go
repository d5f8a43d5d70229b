package sse

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
)

const (
	// padding makes proxies and browsers that wait for some bytes pass on the first event.
	padding = 2 << 10
	// batch bounds what is written at once, and so what a reader must take in time.
	batch = 64 << 10
	// A client that is not told when to come back does so after a time between these.
	retryMin = time.Second
	retryMax = 5 * time.Second
	// away keeps an EventSource from coming back that does not heed the bye.
	away = 24 * time.Hour
)

// writer writes one connection's events.
type writer struct {
	door   *Door
	conn   *stream.Conn
	subs   [][]byte // sub frames that the session has yet to get
	places places
	w      http.ResponseWriter
	rc     *http.ResponseController

	id    []byte // the last that was written
	taken [][]byte
}

// preamble is what every stream begins with.
var preamble = append(bytes.Repeat([]byte{':'}, padding), '\n', '\n')

// buffers hold a batch while it is put together; idle connections have none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// run writes until the connection ends. ctx ends when the client goes.
func (s *writer) run(ctx context.Context) {
	c := s.conn
	cfg := s.door.cfg.Streams.Config()
	c.Interrupt(func() { _ = s.rc.SetWriteDeadline(time.Now()) })
	defer func() {
		c.Interrupt(nil)
		_ = s.rc.SetWriteDeadline(time.Time{}) // the TCP connection may serve other requests
	}()
	// The server's limit for reading a request does not hold for one whose answer goes on.
	_ = s.rc.SetReadDeadline(time.Time{})
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Connection", "keep-alive")
	retry := retryMin + rand.N(retryMax-retryMin)
	if !s.write(append(appendRetry(bytes.Clone(preamble), uint64(retry.Milliseconds())), '\n')) {
		return
	}
	pace := s.feed()
	beat := time.NewTimer(cfg.Heartbeat)
	defer beat.Stop()
	for {
		if !s.flush() {
			return
		}
		beat.Reset(cfg.Heartbeat)
		for idle := true; idle; {
			select {
			case <-c.Woken():
				idle = !c.Box.Waits() && !c.Box.Finished()
			case <-pace:
				pace = s.feed()
			case <-beat.C:
				if !s.write(ping) {
					return
				}
				beat.Reset(cfg.Heartbeat)
			case <-ctx.Done():
				return
			case <-c.Gone():
				return
			}
		}
	}
}

// ping is a sign of life that the client's program can see; an EventSource does not
// show comments.
var ping = []byte(prefix + `{"type":"ping"}` + suffix)

// feed gives the session as many of the door's own frames as a second has room for
// besides the client's, and says when to go on; nil: that is all.
func (s *writer) feed() <-chan time.Time {
	n := len(s.subs)
	if rate := s.door.cfg.Streams.Settings().Frames; rate > 0 {
		n = min(n, max(1, rate/2))
	}
	if n == 0 {
		return nil
	}
	s.conn.Add(s.subs[:n])
	if s.subs = s.subs[n:]; len(s.subs) == 0 {
		s.subs = nil
		return nil
	}
	return time.After(time.Second + 50*time.Millisecond)
}

// flush writes all that waits; false: the stream is over.
func (s *writer) flush() bool {
	c := s.conn
	for more := true; more; {
		s.taken, more = c.Box.TakeInto(s.taken[:0], batch)
		if len(s.taken) == 0 {
			break
		}
		out := buffers.Get().(*[]byte)
		b := (*out)[:0]
		for _, buf := range s.taken {
			for r := (record{}); len(buf) > 0; {
				r, buf = next(buf)
				b = s.append(b, &r)
			}
		}
		clear(s.taken)
		ok := s.write(b)
		if cap(b) <= 2*batch {
			*out = b
			buffers.Put(out)
		}
		if !ok {
			return false
		}
		c.Box.Done()
		c.Left()
	}
	if c.Box.Finished() {
		return false
	}
	return s.settle()
}

// append appends the event of a record.
func (s *writer) append(b []byte, r *record) []byte {
	var notes [][]byte
	switch r.effect {
	case effectNone:
	case effectBye:
		if r.seq == 0 {
			r.seq = uint64(away.Milliseconds())
		}
		b = appendRetry(b, r.seq)
	case effectCheck:
		if _, ok := s.subscription(string(r.channel)); !ok && s.places.drop(r.channel) {
			b, notes = s.appendPlaces(b)
		}
	default:
		if s.places.apply(r, s.epoch) {
			b, notes = s.appendPlaces(b)
		}
	}
	b = append(b, r.text...)
	for _, note := range notes {
		b = append(append(append(b, prefix...), note...), suffix...)
	}
	return b
}

// appendPlaces appends the id that says where the connection stands now, and gives
// what the client is to be told of it.
func (s *writer) appendPlaces(b []byte) (out []byte, notes [][]byte) {
	s.id = s.places.appendText(s.id[:0], func(channel string) {
		notes = append(notes, protocol.AppendError(nil, nil, channel, fault.New(fault.TooLarge,
			"the place in this channel does not fit into an event's id (%d bytes); after coming back subscribe to it with since", maxID)))
	})
	return appendID(b, s.id), notes
}

// settle finds out where subscriptions begin that nothing has come of, and tells
// the client by an id alone: it takes that without an event.
func (s *writer) settle() bool {
	if !s.places.unsettled() {
		return true
	}
	next := map[string]uint64{}
	for _, sub := range s.conn.Session.Subs() {
		if name := sub.Channel().Name(); s.places.find([]byte(name)) >= 0 {
			next[name] = sub.Place().Next
		}
	}
	if !s.conn.Box.Empty() {
		return true // what was handed over meanwhile may be of these channels
	}
	if !s.places.settle(func(channel string) (uint64, bool) { n := next[channel]; return n, n > 0 }) {
		return true
	}
	b, notes := s.appendPlaces(nil)
	b = append(b, '\n')
	for _, note := range notes {
		b = append(append(append(b, prefix...), note...), suffix...)
	}
	return s.write(b)
}

// subscription finds the connection's subscription to a channel.
func (s *writer) subscription(channel string) (*hub.Sub, bool) {
	for _, sub := range s.conn.Session.Subs() {
		if sub.Channel().Name() == channel {
			return sub, true
		}
	}
	return nil, false
}

// epoch looks up the epoch of a channel whose subscription was not told of.
func (s *writer) epoch(channel string) (string, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), epochTimeout)
	defer cancel()
	epoch, err := s.door.cfg.Epoch(ctx, channel)
	return epoch, err == nil && epoch != ""
}

// epochTimeout bounds the look-up; the next message tries again.
const epochTimeout = 5 * time.Second

// write writes bytes and sees to it that they leave; false: the client is gone, or
// takes nothing.
func (s *writer) write(b []byte) bool {
	stall := s.door.cfg.Streams.Config().Stall
	start := time.Now()
	_ = s.rc.SetWriteDeadline(start.Add(stall))
	select {
	case <-s.conn.Gone():
		return false
	default:
	}
	_, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		if time.Since(start) >= stall {
			s.door.kind.Metrics.Stalled.Add(1)
			s.conn.Abort(protocol.CloseTooSlow, "no bytes were taken for "+stall.String())
		}
		return false
	}
	s.door.kind.Metrics.BytesOut.Add(int64(len(b)))
	return true
}
