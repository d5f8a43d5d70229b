package load

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/skein-realtime/skein/internal/ws"
)

type phase uint8

const (
	shaking phase = iota // waits for the 101 response
	meeting              // waits for the welcome
	joining              // waits for the ok of sub
	open
	over
)

// conn is one connection of a swarm.
type conn struct {
	swarm   *Swarm
	lane    *lane
	opening Opening
	ready   chan error // gets one value
	address string

	// Owned by whoever holds the lane's lock.
	phase  phase
	parser ws.Parser
	head   []byte // of a response that is not whole yet
	tracks []track
	hint   int
	told   int64
	pub    *publisher
	echo   *echo
	follow *follow // nil: the channel is none that is kept

	mu  sync.Mutex // guards all below
	fd  int        // -1: nc carries it, or it is closed
	nc  net.Conn   // nil: fd carries it
	out []byte     // what the kernel did not take
}

// begin sends the first bytes.
func (c *conn) begin() {
	o := &c.opening
	if o.http {
		c.lane.mu.Lock()
		c.phase = open
		c.lane.mu.Unlock()
		c.ready <- nil
		return
	}
	target := "/ws"
	if o.User != "" {
		target += "?user=" + url.QueryEscape(o.User)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", target, c.swarm.host, c.swarm.key)
	if o.Early {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", o.Token)
	}
	b.WriteString("\r\n")
	c.write([]byte(b.String()))
}

// send sends one frame.
func (c *conn) send(frame []byte) {
	c.write(ws.AppendMasked(make([]byte, 0, len(frame)+14), ws.Text, c.swarm.mask, frame))
}

// write sends bytes, now or when there is room.
func (c *conn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.nc != nil:
		_, _ = c.nc.Write(b) // the reader sees the failure too
		return
	case c.fd < 0:
		return
	case len(c.out) > 0:
		c.out = append(c.out, b...)
		return
	}
	n, err := c.writeNow(b)
	if err == nil && n < len(b) {
		c.out = append(c.out, b[n:]...)
		c.arm(true)
	}
}

// flush sends what waits.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 || len(c.out) == 0 {
		return
	}
	n, err := c.writeNow(c.out)
	if c.out = c.out[n:]; err != nil || len(c.out) == 0 {
		c.out = nil
		c.arm(false)
	}
}

// close ends a connection that a goroutine serves.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nc != nil {
		_ = c.nc.Close()
	}
}

// fail ends an opening that went wrong.
func (c *conn) fail(err error) {
	c.settle(err)
	c.lost(err)
}

// settle tells whoever waits for the opening, once.
func (c *conn) settle(err error) {
	select {
	case c.ready <- err:
	default:
	}
}

// lost says that the connection has ended.
func (c *conn) lost(err error) {
	if c.phase == over {
		return
	}
	c.phase = over
	c.forget()
	c.close()
	if c.swarm.closed.Load() {
		return
	}
	c.lane.disconnected.Add(1)
	c.trouble("connection lost: " + err.Error())
	c.settle(fmt.Errorf("connection lost: %w", err))
}

// trouble keeps the first thing that went wrong.
func (c *conn) trouble(text string) {
	if c.lane.trouble == "" {
		c.lane.trouble = text
	}
}

// receive takes what was read. The lane is locked.
func (c *conn) receive(b []byte) {
	switch {
	case c.phase == over:
		return
	case c.opening.http:
		c.response(b)
		return
	case c.phase == shaking:
		if b = c.handshake(b); len(b) == 0 {
			return
		}
	}
	if err := c.parser.Feed(b, c); err != nil {
		c.fail(err)
	}
}

// handshake takes bytes of the 101 response and gives those that follow it.
func (c *conn) handshake(b []byte) []byte {
	c.head = append(c.head, b...)
	end := bytes.Index(c.head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(c.head) > 16<<10 {
			c.fail(errors.New("the answer to the handshake does not end"))
		}
		return nil
	}
	head, rest := string(c.head[:end]), c.head[end+4:]
	c.head = nil
	status, _, _ := strings.Cut(head, "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") || !strings.Contains(head, c.swarm.accept) {
		c.fail(fmt.Errorf("the handshake was refused: %s", status))
		return nil
	}
	c.phase = meeting
	c.introduce()
	return rest
}

// introduce sends the connect frame, where the handshake has not done its work,
// and what leaves together with it.
func (c *conn) introduce() {
	o := &c.opening
	var b []byte
	add := func(frame string) { b = ws.AppendMasked(b, ws.Text, c.swarm.mask, []byte(frame)) }
	switch {
	case o.Token != "" && !o.Early:
		add(`{"type":"connect","token":"` + o.Token + `"}`)
	case o.Token == "" && o.User == "":
		add(`{"type":"connect"}`)
	}
	if o.Together && o.Channel != "" {
		add(o.sub())
	}
	if len(b) > 0 {
		c.write(b)
	}
}

// Control implements ws.Sink.
func (c *conn) Control(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.Ping:
		c.write(ws.AppendMasked(nil, ws.Pong, c.swarm.mask, payload))
	case ws.Close:
		code, reason, _ := ws.ParseClose(payload)
		c.fail(fmt.Errorf("the server closed it: %d %s", code, reason))
	}
	return nil
}

var typeLead = []byte(`"type":"`)

// typeOf gives the type of a frame, without decoding it: the first member
// called type, which the server writes first.
func typeOf(frame []byte) string {
	at := bytes.Index(frame, typeLead)
	if at < 0 {
		return ""
	}
	rest := frame[at+len(typeLead):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return ""
	}
	switch string(rest[:end]) { // the common ones without garbage
	case "msg":
		return "msg"
	case "ok":
		return "ok"
	case "pong":
		return "pong"
	}
	return string(rest[:end])
}

// Message implements ws.Sink.
func (c *conn) Message(_ ws.Opcode, frame []byte) error {
	switch typeOf(frame) {
	case "msg":
		c.message(frame)
	case "ok":
		c.agreed(frame)
	case "pong":
		if c.echo != nil {
			c.echo.back(c)
		}
	case "welcome":
		c.welcomed()
	case "dropped":
		n := numberOf(frame, `"count":`)
		c.told += n
		c.lane.told.Add(n)
	case "error", "bye":
		c.refused(frame)
	case "gap":
		c.lane.errors.Add(1)
		c.trouble(string(frame))
	}
	return nil
}

// agreed handles an ok.
func (c *conn) agreed(frame []byte) {
	switch {
	case c.phase == joining:
		c.phase = open
		c.followed(frame)
		c.settle(nil)
	case c.pub != nil:
		c.pub.answered(c.lane.now, 1, 0, "")
	case c.follow != nil:
		c.followed(frame)
		c.lane.agreed.Add(1)
	}
}

func (c *conn) welcomed() {
	if c.phase != meeting {
		return
	}
	if c.opening.Channel == "" {
		c.phase = open
		c.settle(nil)
		return
	}
	c.phase = joining
	if !c.opening.Together {
		c.send([]byte(c.opening.sub()))
	}
}

func (c *conn) message(frame []byte) {
	if c.follow != nil && c.follow.take(uint64(numberOf(frame, seqLead))) {
		c.caughtUp()
	}
	m, at := findMark(frame, c.hint)
	if at < 0 {
		return
	}
	c.hint = at
	l := c.lane
	if l.sample == nil {
		l.sample = bytes.Clone(frame)
	}
	if int(m.publisher) >= len(c.tracks) {
		return
	}
	c.tracks[m.publisher].take(m.number)
	record(l.latency, l.now-m.sent)
	l.delivered.Add(1)
	l.bytes.Add(int64(len(frame)))
}

// refused handles an error or bye frame.
func (c *conn) refused(frame []byte) {
	c.lane.errors.Add(1)
	c.trouble(string(frame))
	switch {
	case c.phase != open:
		c.fail(fmt.Errorf("the server answered %s", frame))
	case c.pub != nil:
		c.pub.answered(c.lane.now, 0, 1, string(frame))
	case c.echo != nil:
		c.echo.refused(c)
	}
}

// numberOf reads the integer after name.
func numberOf(frame []byte, name string) (n int64) {
	_, rest, _ := bytes.Cut(frame, []byte(name))
	for _, d := range rest {
		if d < '0' || d > '9' {
			break
		}
		n = n*10 + int64(d-'0')
	}
	return n
}

// response takes bytes of the HTTP API's answer.
func (c *conn) response(b []byte) {
	if len(c.head) > 0 {
		c.head = append(c.head, b...)
		b = c.head
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	length := -1
	if end >= 0 {
		length = contentLength(b[:end])
		if length < 0 {
			c.fail(errors.New("the API's answer has no Content-Length"))
			return
		}
	}
	if end < 0 || len(b) < end+4+length {
		if len(c.head) == 0 {
			c.head = append(c.head, b...)
		}
		return
	}
	c.head = c.head[:0]
	c.pub.response(c.lane.now, string(b[9:min(12, end)]), b[end+4:end+4+length])
}

func contentLength(head []byte) int {
	const name = "\r\ncontent-length:"
	for i := 0; i+len(name) <= len(head); i++ {
		if head[i] == '\r' && bytes.EqualFold(head[i:i+len(name)], []byte(name)) {
			line, _, _ := bytes.Cut(head[i+len(name):], []byte("\r"))
			if n, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}
