// Package link is one WebSocket connection after its handshake: bytes in,
// messages out to a handler; frames in, bytes out to the peer.
//
// Two drivers move the bytes. The epoll driver (Linux, plain TCP) keeps no
// goroutine, timer or buffer for an idle connection. The portable driver parks
// one goroutine per connection, which holds no buffer either while it waits
// (with TLS it holds a small one); it is the reference that tests compare with.
//
// Reading. A driver feeds what arrived to the connection's parser. Whole
// messages go into the connection's inbox, and a goroutine hands them to the
// [Handler], one after the other; it exists only while the inbox is not empty.
// A full inbox, or a full queue of replies, stops the reading, so that TCP
// slows the peer down.
//
// Writing. [Conn.Send] writes at once when nothing waits, from the caller's
// goroutine and without blocking. What the kernel does not take waits in a
// queue that is bounded in bytes; over the bound the oldest messages that may
// be dropped are dropped, counted and reported to their [Subscriber].
//
// The package stores nothing. [Server] owns the pollers and one goroutine that
// pings, notices dead peers and calls deadlines; [Server.Close] waits for them.
package link

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// Handler is the protocol above a connection. Its methods are never called at
// the same time for one connection.
type Handler interface {
	// Receive handles one data message. payload is the handler's to keep.
	Receive(op ws.Opcode, payload []byte)
	// Drained says that the queue has emptied after messages had been dropped, or
	// an offer had not been taken whole.
	Drained()
	// Closed is the last call: the connection is gone, for this reason.
	Closed(reason protocol.Close, message string)
}

// Subscriber is who messages that may be dropped are meant for. Its methods are
// called with the connection locked, so they must not call back into it.
type Subscriber interface {
	// Live tells whether the messages are still wanted.
	Live() bool
	// Dropped says that n messages did not fit and are gone.
	Dropped(n uint32)
}

// Buf is some bytes that are ready for the wire and shared by many receivers:
// nobody may change them. N is how many messages they hold. Most is how many bytes
// may wait before they are taken by Offer, themselves included; zero: as many as
// there is room for.
type Buf struct {
	B    []byte
	N    uint32
	Most int
}

// Room is how many bytes may wait where room is the bound for everybody.
func (b *Buf) Room(room int) int {
	if b.Most > 0 {
		return min(room, b.Most)
	}
	return room
}

// item is a Buf that waits for one connection.
type item struct {
	b   []byte
	sub Subscriber // nil: must not be dropped
	n   uint32
	// kept says that the subscriber can read it again from elsewhere, so the queue
	// took it only because it fitted; it is not dropped either.
	kept bool
}

// inbound is something that happened on the reading side, kept in order.
type inbound struct {
	data []byte
	op   ws.Opcode
	end  *ending // not nil: nothing follows
}

// ending is why the reading side ended.
type ending struct {
	reason  protocol.Close
	message string
	reply   bool // a close frame is owed to the peer
	peer    bool // it answers the peer's own
}

type state uint8

const (
	stateOpen    state = iota
	stateClosing       // our close frame is on its way; what still arrives is ignored
	stateClosed        // the descriptor is gone
)

// Conn is one connection. The zero value is ready for [Server.Adopt].
type Conn struct {
	// Static after Adopt.
	srv     *Server
	handler Handler
	drv     driver
	remote  netip.AddrPort
	bound   int // bytes that may wait for the peer; zero: as configured

	heard  atomic.Int64 // when the last bytes arrived, on the server's clock
	pinged int64        // when the last ping left; only the sweeper's
	index  int          // place in the sweeper's ring; guarded by its lock

	// Owned by whoever reads: one poller, or the connection's own goroutine.
	parser   ws.Parser
	controls ratelimit.Bucket
	deaf     bool // the reading side has ended; further bytes are ignored

	mu       sync.Mutex // guards all below
	out      []item     // out[0] may be written in part
	done     int        // bytes of out[0] that are written
	pinned   int        // items at the head that a flusher is writing right now
	queued   int        // bytes in out that are not written yet
	written  int64      // bytes that have left
	progress int64      // when the peer last took bytes, while out is not empty
	in       []inbound
	inBytes  int
	final    *ending // why the connection ended; nil until it is known
	state    state
	held     bool // everything waits for unhold, to leave in one write
	mute     bool // the server has ended the connection: what still arrives is ignored
	running  bool // the worker goroutine exists
	paused   bool // the driver was told to stop reading
	stalled  bool // the worker waits for the queue to shrink
	armed    bool // the driver was told to say when it can write
	last     bool // nothing follows what is in out: the stream can be ended behind it
	answered bool // and the peer has sent its close frame: so can the connection
	lost     bool // something was dropped or not taken since the queue was last empty
	reported bool // Closed has been called

	fd   int32 // epoll driver: the descriptor
	slot uint32
	gen  uint32
}

// driver moves bytes. All but close may be called only with c.mu held.
type driver interface {
	// write writes what the kernel takes without blocking; errAgain when that is nothing.
	write(c *Conn, b []byte) (int, error)
	// arm asks for a call of c.flush (or does the like) once writing is possible.
	arm(c *Conn)
	// pause stops or resumes the reading.
	pause(c *Conn, stop bool)
	// shut ends our side of the stream; the peer's may go on. It does not block.
	shut(c *Conn)
	// close gives the descriptor back. It does not block.
	close(c *Conn)
}

// Remote is the peer's address, as the edge found it.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Queued tells how many bytes wait for the peer.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Written tells how many bytes have left for the peer.
func (c *Conn) Written() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

// SetQueue sets how many bytes may wait for this peer, before it is adopted.
func (c *Conn) SetQueue(bytes int) { c.bound = bytes }

func (c *Conn) queueBound() int {
	if c.bound > 0 {
		return c.bound
	}
	return c.srv.cfg.Queue
}

// Handler is the protocol above the connection.
func (c *Conn) Handler() Handler { return c.handler }

// Transport names the transport for listings.
func (c *Conn) Transport() string { return "websocket" }

// feed takes bytes that arrived. It is called by the connection's reader alone,
// without the lock.
func (c *Conn) feed(data []byte, now int64) {
	c.heard.Store(now)
	if c.deaf {
		return
	}
	c.srv.metrics.BytesIn.Add(int64(len(data)))
	if err := c.parser.Feed(data, (*sink)(c)); err != nil {
		c.deaf = true
		c.parser.Reset()
		c.push(inbound{end: endingOf(err)})
	}
}

// eof says that the peer's side of the stream has ended or broken.
func (c *Conn) eof() {
	c.mu.Lock()
	c.releaseLocked()
	c.mu.Unlock()
	if !c.deaf {
		c.deaf = true
		c.parser.Reset()
		c.push(inbound{end: &ending{reason: closeLost, message: lostMessage}})
	}
}

func endingOf(err error) *ending {
	switch e := err.(type) {
	case *endingError:
		return &e.ending
	case *ws.CloseError:
		reason := protocol.CloseProtocol
		for _, r := range []protocol.Close{protocol.CloseUnsupported, protocol.CloseBadUTF8, protocol.ClosePolicy, protocol.CloseTooBig, protocol.CloseInternal} {
			if r.Code == e.Code {
				reason = r
			}
		}
		return &ending{reason: reason, message: e.Reason, reply: true}
	}
	return &ending{reason: protocol.CloseInternal, message: "internal error", reply: true}
}

// endingError ends the parser from within the sink.
type endingError struct{ ending }

func (e *endingError) Error() string { return e.message }

// sink receives from the parser; it is the Conn under another name so that its
// methods stay out of the Conn's.
type sink Conn

// Message implements ws.Sink.
func (s *sink) Message(op ws.Opcode, payload []byte) error {
	c := (*Conn)(s)
	c.srv.metrics.MessagesIn.Add(1)
	c.push(inbound{op: op, data: append(make([]byte, 0, len(payload)), payload...)})
	return nil
}

// Control implements ws.Sink.
func (s *sink) Control(op ws.Opcode, payload []byte) error {
	c := (*Conn)(s)
	if rate := int(c.srv.controls.Load()); op != ws.Close && rate > 0 && !c.controls.Allow(c.srv.Now(), rate, rate) {
		return &endingError{ending{reason: protocol.CloseRateLimited, message: "too many control frames", reply: true}}
	}
	switch op {
	case ws.Ping:
		c.SendControl(ws.AppendFrame(nil, ws.Pong, payload), nil)
	case ws.Close:
		code, reason, err := ws.ParseClose(payload)
		if err != nil {
			return err
		}
		e := ending{reason: protocol.CloseNormal, message: reason, reply: true, peer: true}
		if code != 0 {
			e.reason.Code = code
		}
		return &endingError{e}
	}
	return nil
}

// push appends to the inbox and sees to it that a worker runs.
func (c *Conn) push(m inbound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute && m.end == nil {
		return
	}
	c.in = append(c.in, m)
	c.inBytes += len(m.data)
	if !c.paused && (c.inBytes > c.srv.cfg.Inbox || len(c.in) > maxInbox) && c.state == stateOpen {
		c.paused = true
		c.drv.pause(c, true)
	}
	c.scheduleLocked()
}

// maxInbox bounds the messages that wait for the handler, whatever their size.
const maxInbox = 128

func (c *Conn) scheduleLocked() {
	if !c.running {
		c.running = true
		c.srv.workers.Add(1)
		go c.work()
	}
}

// work hands the inbox to the handler until it is empty.
func (c *Conn) work() {
	defer c.srv.workers.Done()
	for {
		c.mu.Lock()
		if c.lost && len(c.out) == 0 && c.state == stateOpen {
			c.lost = false
			c.mu.Unlock()
			c.handler.Drained()
			continue
		}
		if c.state == stateOpen && c.final == nil && c.queued > c.queueBound()/2 {
			// The peer does not take its replies, so it gets no new ones: wait for flush.
			c.stalled = true
			c.running = false
			c.mu.Unlock()
			return
		}
		if len(c.in) == 0 {
			if c.state == stateClosed && !c.reported {
				c.reported = true
				e := c.final
				c.mu.Unlock()
				c.handler.Closed(e.reason, e.message)
				continue
			}
			c.in = nil
			c.running = false
			c.mu.Unlock()
			return
		}
		m := c.in[0]
		c.in[0] = inbound{}
		c.in = c.in[1:]
		c.inBytes -= len(m.data)
		if c.paused && c.inBytes <= c.srv.cfg.Inbox/2 && len(c.in) <= maxInbox/2 && c.state != stateClosed {
			c.paused = false
			c.drv.pause(c, false)
		}
		mute := c.mute
		c.mu.Unlock()
		switch {
		case m.end != nil:
			c.ended(m.end)
		case !mute:
			c.handler.Receive(m.op, m.data)
		}
	}
}

// ended carries out what the reading side asked for, in its turn.
func (c *Conn) ended(e *ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final == nil {
		c.final = e
	}
	switch {
	case c.state == stateClosed:
	case c.state == stateClosing: // the peer has answered our close frame, or broken the rules since
		c.releaseLocked()
	case e.reply:
		c.sendLocked(ws.AppendClose(nil, e.reason.Code, e.message), nil, 0)
		if c.state == stateClosed {
			return
		}
		c.last, c.answered = true, e.peer
		if e.peer && len(c.out) == 0 {
			c.releaseLocked()
			return
		}
		c.lingerLocked()
		c.shutLocked()
	default:
		c.releaseLocked()
	}
}

// lingerLocked waits for the peer to take the close frame and to answer it, but
// not for ever. Closing at once would make the kernel answer what is unread
// with a reset, which can take the close frame away from the peer.
func (c *Conn) lingerLocked() {
	c.state = stateClosing
	if c.paused {
		c.paused = false
		c.drv.pause(c, false)
	}
	c.srv.Deadline(c.srv.Now()+int64(c.srv.cfg.Linger), (*linger)(c))
}

// shutLocked ends our side of the stream once everything is written, so that a
// peer that broke the rules sees the end without a reset that could take the
// close frame away from it. When both close frames are sent the connection
// itself ends: the server ends TCP first (RFC 6455 section 7.1.1).
func (c *Conn) shutLocked() {
	switch {
	case !c.last || len(c.out) > 0 || c.state != stateClosing:
	case c.answered:
		c.releaseLocked()
	default:
		c.last = false
		c.drv.shut(c)
	}
}

// linger is a Conn as seen by the deadline that ends its closing.
type linger Conn

// Due implements Deadline.
func (l *linger) Due(int64) {
	c := (*Conn)(l)
	c.mu.Lock()
	c.releaseLocked()
	c.mu.Unlock()
}

// Close ends the connection from the server's side: last (frames ready for the
// wire, may be nil) and a close frame are sent, then the peer has a few seconds
// to answer. What it still sends is ignored. Only the first call counts.
func (c *Conn) Close(reason protocol.Close, message string, last []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final != nil || c.state != stateOpen {
		return
	}
	c.final, c.mute = &ending{reason: reason, message: message}, true
	if last != nil {
		c.sendLocked(last, nil, 0)
	}
	c.sendLocked(ws.AppendClose(nil, reason.Code, message), nil, 0)
	if c.state == stateOpen {
		c.lingerLocked()
	}
	c.scheduleLocked()
}

// Abort ends the connection at once, without a word to the peer.
func (c *Conn) Abort(reason protocol.Close, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
	c.abortLocked(reason, message)
}

func (c *Conn) abortLocked(reason protocol.Close, message string) {
	if c.final == nil {
		c.final = &ending{reason: reason, message: message}
	}
	c.releaseLocked()
}

// releaseLocked gives the descriptor and everything that waits for it back, once.
func (c *Conn) releaseLocked() {
	if c.state == stateClosed {
		return
	}
	c.state = stateClosed
	if c.final == nil {
		c.final = &ending{reason: closeLost, message: lostMessage}
	}
	c.drv.close(c)
	c.waitLocked(-c.queued)
	c.out, c.done = nil, 0
	// Before it is forgotten: a server that closes waits for the workers that there are when it
	// finds no more connections.
	c.scheduleLocked()
	c.srv.forget(c)
}

// Config is what all connections of a server share. The zero value of a limit
// means its default.
type Config struct {
	Queue             int           // bytes that may wait for one peer; zero: 1 MiB
	Inbox             int           // bytes that may wait for one handler; zero: 64 KiB
	Heartbeat         time.Duration // between two pings to a silent peer; zero: 15 s
	Misses            int           // silent intervals after which a peer is lost; zero: 3
	Stall             time.Duration // a peer that takes no byte for so long is lost; zero: 20 s
	Linger            time.Duration // how long a peer may take to answer a close frame; zero: 5 s
	ControlsPerSecond int           // control frames a peer may send each second; zero: no limit
	Tick              time.Duration // how exact deadlines are; zero: a fifteenth of Heartbeat, at most 1 s
	Epoll             bool          // use the epoll driver where it can be used
	Pollers           int           // epoll drivers; zero: GOMAXPROCS
}
