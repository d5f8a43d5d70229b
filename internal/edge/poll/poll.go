// Package poll is the door for long polling, POST /poll, for networks where nothing
// else passes. Each call brings frames up and takes frames down; one that finds
// nothing to take waits a while.
//
// Answers with frames are numbered. What was answered is kept until the next call
// tells, by the number, that it has arrived; a call that tells of the one before gets
// it again. So nothing is lost when an answer is, and who cares only to have things
// simple leaves the number out. A number means the same frames however often it is
// answered: a call that its client has given up on may be served long after others.
//
// It stores nothing. An idle connection costs no goroutine; a call costs that of its
// request.
package poll

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
)

// Config of a [Door].
type Config struct {
	Streams  *stream.Server
	Encoding int           // the place of [Encoding] among the hub's
	Wait     time.Duration // how long a call waits for frames; zero: 25 s, less than proxies have patience
}

// Door is the door of one server.
type Door struct {
	cfg  Config
	kind stream.Kind

	mu    sync.Mutex // guards conns
	conns map[*stream.Conn]*conn
}

// New makes a Door.
func New(cfg Config) *Door {
	if cfg.Wait == 0 {
		cfg.Wait = 25 * time.Second
	}
	return &Door{cfg: cfg, kind: stream.Kind{Name: "poll", Encoding: cfg.Encoding}, conns: map[*stream.Conn]*conn{}}
}

// Metrics gives the live counters.
func (d *Door) Metrics() *stream.Metrics { return &d.kind.Metrics }

// Encoding is the encoding of this door for the hub: a frame and a comma, so that
// what is joined needs only brackets around it.
func Encoding() hub.Encoding { return listed{} }

type listed struct{}

// Append implements hub.Encoding.
func (listed) Append(dst, frame []byte) []byte { return append(append(dst, frame...), ',') }

// Show implements hub.Shower.
func (listed) Show(wire []byte, show func(message []byte)) {
	list := append(append([]byte{'['}, wire[:len(wire)-1]...), ']')
	_ = protocol.EachElement(list, func(frame []byte) error { // the server itself has made them
		show(frame)
		return nil
	})
}

// batch bounds the frames of one answer.
const batch = 256 << 10

// conn is what a connection has between its calls.
type conn struct {
	*stream.Conn
	door *Door

	mu     sync.Mutex // guards all below
	call   *call      // the one that waits or answers; nil: none
	number uint64     // of the last answer with frames
	kept   [][]byte   // its frames, until somebody says to have got them
	failed bool       // they have not even left
	idle   int64      // when the last call ended, on the clock
}

// call is one request that waits for frames.
type call struct {
	other chan struct{} // closed when another one has come
	done  chan struct{} // closed when it is answered
	taken bool          // it answers: nobody else does until it is done
	again bool          // it gets the last answer once more
}

// ServeHTTP serves POST /poll.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.cfg.Streams.Serve(w, r, &d.kind, http.MethodPost, d.serve)
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	body, err := d.cfg.Streams.Body(w, r, &d.kind)
	var q request
	if err == nil {
		q, err = parse(body)
	}
	if err != nil {
		stream.Refuse(w, err)
		return
	}
	c, err := d.find(&q)
	if c == nil && err == nil {
		if c, err = d.open(w, r, &q); c == nil && err == nil {
			return // it is answered
		}
	}
	if err != nil {
		stream.Refuse(w, err)
		return
	}
	d.kind.Metrics.Requests.Add(1)
	c.answer(w, r.Context(), &q)
}

var errUnknown = fault.New(fault.NotFound, "connection: there is no such connection, or no longer")

// find gives the connection that a call names; nil when it names none.
func (d *Door) find(q *request) (*conn, *fault.Error) {
	if q.connection == "" {
		return nil, nil
	}
	sc := d.cfg.Streams.Find(q.connection, &d.kind)
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.conns[sc]; c != nil {
		return c, nil
	}
	return nil, errUnknown
}

// open begins a connection. Its name is a secret, unlike its id, which others see.
func (d *Door) open(w http.ResponseWriter, r *http.Request, q *request) (*conn, *fault.Error) {
	query := r.URL.Query()
	token := q.token
	if token == "" {
		token = stream.Bearer(r, query)
	}
	o, err := d.cfg.Streams.Opening(r, &d.kind, token, or(q.user, query.Get("user")), or(q.device, query.Get("device")))
	if err != nil {
		d.kind.Metrics.Refused[stream.RefusedRequest].Add(1)
		return nil, err
	}
	sc, ok := d.cfg.Streams.Enter(w, r, &d.kind)
	if !ok {
		return nil, nil
	}
	sc.Secret()
	c := &conn{Conn: sc, door: d, idle: d.cfg.Streams.Config().Clock.Now()}
	d.mu.Lock()
	d.conns[sc] = c
	d.mu.Unlock()
	sc.OnRelease(c.forget)
	sc.Begin(o, q.connects)
	c.watch(c.idle)
	return c, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// forget takes the connection off the door's list.
func (c *conn) forget() {
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	delete(c.door.conns, c.Conn)
}

// watch asks to be called when the connection has not been polled for too long.
func (c *conn) watch(since int64) {
	cfg := c.door.cfg.Streams.Config()
	cfg.Clock.Deadline(since+int64(cfg.Heartbeat)*int64(cfg.Misses), c)
}

// Due implements link.Deadline.
func (c *conn) Due(now int64) {
	select {
	case <-c.Gone():
		return
	default:
	}
	cfg := c.door.cfg.Streams.Config()
	c.mu.Lock()
	since := c.idle
	if c.call != nil {
		since = now
	}
	c.mu.Unlock()
	if silence := time.Duration(now - since); silence >= cfg.Heartbeat*time.Duration(cfg.Misses) {
		c.door.kind.Metrics.Lost.Add(1)
		c.Abort(protocol.CloseHeartbeat, "not polled for "+silence.Round(time.Millisecond).String())
		return
	}
	c.watch(since)
}

// enter makes a call the one that waits, once the one before it has answered. Its
// error is about the number that the call gives.
func (c *conn) enter(ctx context.Context, q *request) (*call, *fault.Error) {
	for {
		c.mu.Lock()
		other := c.call
		if other == nil {
			break
		}
		if !other.taken {
			select {
			case <-other.other:
			default:
				close(other.other)
			}
		}
		c.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the request has ended")
		}
	}
	defer c.mu.Unlock()
	k := &call{other: make(chan struct{}), done: make(chan struct{})}
	switch {
	case c.kept != nil && (q.after.given && q.after.n == c.number-1 || !q.after.given && c.failed):
		k.again = true
	case !q.after.given || q.after.n == c.number:
		if c.kept != nil {
			c.kept = nil
			c.Box.Done()
			c.Left()
		}
	default:
		return nil, fault.New(fault.Conflict, "after: %d is neither the last answer nor the one before it", q.after.n)
	}
	c.call = k
	return k, nil
}

// leave ends a call.
func (c *conn) leave(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call = nil
	c.idle = c.door.cfg.Streams.Config().Clock.Now()
	close(k.done)
}

// answer carries out a call: its frames are handled, then it gets what waits.
func (c *conn) answer(w http.ResponseWriter, ctx context.Context, q *request) {
	k, err := c.enter(ctx, q)
	if err != nil {
		stream.Refuse(w, err)
		return
	}
	defer c.leave(k)
	if err := c.push(ctx, q.frames); err != nil {
		stream.Refuse(w, err)
		return
	}
	timer := time.NewTimer(c.door.cfg.Wait)
	defer timer.Stop()
	if !c.settle(ctx, k, timer) {
		return
	}
	if q.close {
		c.Close(protocol.CloseNormal, "closed by the client", nil)
	}
	if !c.wait(ctx, k, timer) {
		return
	}
	bufs, after := c.take(k)
	b := protocol.AppendString([]byte(`{"connection":`), c.Name())
	b = strconv.AppendUint(append(b, `,"after":`...), after, 10)
	b = append(b, `,"frames":[`...)
	for _, buf := range bufs {
		b = append(b, buf...)
	}
	if len(bufs) > 0 {
		b = b[:len(b)-1] // the last comma
	}
	b = append(b, ']')
	over := c.End() != nil && !c.Box.Waits()
	if over {
		b = strconv.AppendUint(append(b, `,"closed":`...), uint64(c.End().Reason.Code), 10)
	}
	b = append(b, '}', '\n')
	written := c.write(w, b)
	if len(bufs) > 0 {
		c.mu.Lock()
		c.failed = !written
		c.mu.Unlock()
	}
	if over && written {
		c.Release()
	}
}

// push hands a call's frames to the session. When that cannot go on because its
// replies wait for this very client, the client has to take them first.
func (c *conn) push(ctx context.Context, frames [][]byte) *fault.Error {
	if len(frames) == 0 {
		return nil
	}
	for {
		ok, moved := c.TryPush(frames)
		if ok {
			return nil
		}
		if c.Settled() == nil && c.Box.Waits() {
			return fault.New(fault.Unavailable, "frames: nothing more is taken before what waits has been; call without frames").After(time.Second)
		}
		select {
		case <-moved:
		case <-c.Gone():
			return errUnknown
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err(), "the request has ended")
		}
	}
}

// settle waits until the frames that came with the call have been handled, so that
// their replies are in its answer; false: the client has gone.
func (c *conn) settle(ctx context.Context, k *call, timer *time.Timer) bool {
	for {
		settled := c.Settled()
		if settled == nil {
			return true
		}
		if stop, here := c.pause(ctx, k, timer, settled); stop {
			return here
		}
	}
}

// wait waits until there is something to answer; false: the client has gone.
func (c *conn) wait(ctx context.Context, k *call, timer *time.Timer) bool {
	for !k.again && !c.Box.Waits() && c.End() == nil {
		if stop, here := c.pause(ctx, k, timer, c.Woken()); stop {
			return here
		}
	}
	return ctx.Err() == nil
}

// pause waits for a signal. stop: there is no use in waiting for more of them; here:
// the client is still there.
func (c *conn) pause(ctx context.Context, k *call, timer *time.Timer, signal <-chan struct{}) (stop, here bool) {
	select {
	case <-signal:
		return false, true
	case <-k.other:
	case <-c.Gone():
	case <-timer.C:
		timer.Reset(0) // whoever pauses next does not wait either
	case <-ctx.Done():
		return true, false
	}
	return true, true
}

// take takes what a call answers, nothing when another one has come, and gives the
// number of the last answer that its client has then.
func (c *conn) take(k *call) (bufs [][]byte, after uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-k.other:
		if k.again {
			return nil, c.number - 1
		}
		return nil, c.number
	default:
	}
	k.taken = true
	if k.again {
		return c.kept, c.number
	}
	if bufs, _ = c.Box.Take(batch); len(bufs) > 0 {
		c.number++
		c.kept = bufs
	}
	return bufs, c.number
}

// write writes an answer; false: it has not left.
func (c *conn) write(w http.ResponseWriter, b []byte) bool {
	rc := http.NewResponseController(w)
	cfg := c.door.cfg.Streams.Config()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_ = rc.SetWriteDeadline(time.Now().Add(cfg.Stall))
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // the TCP connection serves other requests
	_, err := w.Write(b)
	if err == nil {
		err = rc.Flush()
	}
	if err != nil {
		return false
	}
	c.door.kind.Metrics.BytesOut.Add(int64(len(b)))
	return true
}
