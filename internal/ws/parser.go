package ws

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// defaultMessage is what MaxMessage is when it is not set.
const defaultMessage = 64 << 10

// maxLimit is what any limit is cut to, so that no sum of two overflows.
const maxLimit = 1 << 40

// maxControl is the largest payload of a control frame (RFC 6455, 5.5).
const maxControl = 125

// ParserConfig is what all parsers of a server share; it must not change while
// one of them uses it.
type ParserConfig struct {
	// MaxFrame is the largest payload of one data frame, in bytes, as sent.
	// Zero: as MaxMessage.
	MaxFrame int64
	// MaxMessage is the largest message in bytes, all fragments together and
	// after decompression. Zero: 64 KiB. Both limits end at 1 TiB.
	MaxMessage int64
	// Deflate says that permessage-deflate was negotiated without context
	// takeover; only then may frames be compressed.
	Deflate bool
	// Client makes it the client's side: frames from a server must not be
	// masked. Zero: the server's side, where they must be.
	Client bool
}

// limits are the largest frame and message on the wire. Compressed data may be a
// little larger than the data itself when it does not compress (RFC 1951, 3.2.4:
// five bytes a stored block), so it gets that much more; what comes out of it is
// measured against MaxMessage exactly.
func (c *ParserConfig) limits(compressed bool) (frame, message int64) {
	message = c.MaxMessage
	if message == 0 {
		message = defaultMessage
	}
	frame = c.MaxFrame
	if frame == 0 {
		frame = message
	}
	frame, message = min(frame, maxLimit), min(message, maxLimit)
	if compressed {
		frame += frame/256 + 64
		message += message/256 + 64
	}
	return frame, message
}

// Sink takes what a [Parser] finds. An error that it returns ends the parser.
type Sink interface {
	// Message is a whole data message, decompressed; op is Text (then payload
	// is valid UTF-8) or Binary. payload is valid only during the call, as it
	// may lie in the read buffer.
	Message(op Opcode, payload []byte) error
	// Control is a Ping, Pong or Close frame; it may come between the fragments
	// of a message. The payload of a Close is one that [ParseClose] accepts.
	// payload is valid only during the call.
	Control(op Opcode, payload []byte) error
}

// Parser turns a stream of bytes into messages. Init it before use. It is small
// and holds no buffer while no message is under way, as a server has one for
// every idle connection. It is not safe for use by several goroutines at once.
type Parser struct {
	cfg     *ParserConfig
	message *buffer // payload of the message under way, unmasked, still compressed
	control *buffer // payload of a control frame that has come in part
	left    int64   // payload bytes of the current frame that have not come
	key     uint32  // masking key for the next of them

	header [14]byte // a header that has come in part
	held   uint8    // its bytes so far

	state      state
	frameOp    Opcode // of the current frame
	messageOp  Opcode // of the message under way; Continuation when there is none
	fin        bool   // the current frame is the last of its message
	compressed bool   // the message under way is
	open       uint8  // last bytes of message that are an incomplete rune
}

type state uint8

const (
	wantHeader state = iota
	wantPayload
	ended // a Close frame or an error has come; what follows is ignored
)

// Init makes the parser ready for a new connection.
func (p *Parser) Init(cfg *ParserConfig) { *p = Parser{cfg: cfg} }

// Reset gives the parser's buffers back and leaves it as after Init.
func (p *Parser) Reset() {
	p.message.release()
	p.control.release()
	*p = Parser{cfg: p.cfg}
}

// end gives the buffers back and makes the parser ignore what follows.
func (p *Parser) end() {
	p.Reset()
	p.state = ended
}

// Feed takes the next bytes of the stream, all of them, and hands what they
// complete to the sink. It unmasks in place, so data is changed.
//
// The first error ends the parser: a *[CloseError] with the code to send when
// the peer broke the rules or a limit, or the sink's own error as it is. After an
// error, and after a Close frame, further bytes are ignored (RFC 6455, 5.5.1).
func (p *Parser) Feed(data []byte, sink Sink) error {
	for len(data) > 0 && p.state != ended {
		var n int
		var err error
		if p.state == wantHeader {
			n, err = p.feedHeader(data, sink)
		} else {
			n, err = p.feedPayload(data, sink)
		}
		if err != nil {
			p.end()
			return err
		}
		data = data[n:]
	}
	return nil
}

// header is a frame's head (RFC 6455, 5.2).
type header struct {
	op   Opcode
	fin  bool
	rsv1 bool
	n    int64  // payload length
	key  uint32 // zero when not masked
	size int    // bytes of the header itself; 0 when b does not hold all of it
	need int    // bytes to collect before looking again, when size is 0
}

// parseHeader reads the header at the start of b and refuses what no frame may
// have, as soon as the bytes that show it are there.
func parseHeader(b []byte, client bool) (h header, err *CloseError) {
	if len(b) < 2 {
		return header{need: 2}, nil
	}
	h.op, h.fin, h.rsv1 = Opcode(b[0]&0x0F), b[0]&0x80 != 0, b[0]&0x40 != 0
	masked, length := b[1]&0x80 != 0, b[1]&0x7F
	switch {
	case b[0]&0x30 != 0:
		return h, protocolError("a reserved bit is set")
	case h.op > Binary && h.op < Close || h.op > Pong:
		return h, protocolError("opcode " + strconv.Itoa(int(h.op)) + " is not defined")
	case h.op.control() && !h.fin:
		return h, protocolError("a " + h.op.String() + " frame is fragmented")
	case h.op.control() && length > maxControl:
		return h, protocolError("a " + h.op.String() + " frame is longer than 125 bytes")
	case !masked && !client:
		return h, protocolError("a frame from the client is not masked")
	case masked && client:
		return h, protocolError("a frame from the server is masked")
	}
	size := 2
	switch length {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	lengthEnd := size
	if masked {
		size += 4
	}
	if len(b) < size {
		h.need = size
		return h, nil
	}
	switch length {
	case 126:
		h.n = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		n := binary.BigEndian.Uint64(b[2:])
		if n > 1<<63-1 {
			return h, protocolError("the top bit of a 64-bit length is set")
		}
		h.n = int64(n)
	default:
		h.n = int64(length)
	}
	if length == 126 && h.n < 126 || length == 127 && h.n < 1<<16 {
		return h, protocolError("a length is not in its shortest form")
	}
	if masked {
		h.key = binary.LittleEndian.Uint32(b[lengthEnd:])
	}
	h.size = size
	return h, nil
}

// feedHeader reads a header and, when it lies in data as a whole, the payload.
func (p *Parser) feedHeader(data []byte, sink Sink) (used int, err error) {
	b := data
	if p.held > 0 {
		b = p.header[:p.held]
	}
	h, bad := parseHeader(b, p.cfg.Client)
	for bad == nil && h.size == 0 {
		// Only a header that is cut in two is copied.
		n := copy(p.header[p.held:h.need], data[used:])
		p.held += uint8(n)
		used += n
		h, bad = parseHeader(p.header[:p.held], p.cfg.Client)
		if used == len(data) && bad == nil && h.size == 0 {
			return used, nil
		}
	}
	if bad != nil {
		return used, bad
	}
	if p.held == 0 {
		used = h.size
	}
	p.held = 0
	if bad := p.begin(h); bad != nil {
		return used, bad
	}
	if rest := data[used:]; int64(len(rest)) >= h.n && (p.frameOp.control() || p.fin && !p.compressed && p.message == nil) {
		payload := rest[:h.n:h.n]
		mask(payload, h.key)
		return used + int(h.n), p.whole(payload, sink)
	}
	p.state = wantPayload
	if p.left == 0 {
		return used, p.endFrame(sink)
	}
	return used, nil
}

// begin checks that the frame may come now and is within the limits, before a
// byte of it is kept.
func (p *Parser) begin(h header) *CloseError {
	if h.rsv1 && (!p.cfg.Deflate || h.op != Text && h.op != Binary) {
		return protocolError("a reserved bit is set")
	}
	p.frameOp, p.fin, p.left, p.key = h.op, h.fin, h.n, h.key
	if h.op.control() {
		return nil
	}
	switch {
	case h.op == Continuation && p.messageOp == Continuation:
		return protocolError("a continuation frame comes without a message")
	case h.op != Continuation && p.messageOp != Continuation:
		return protocolError("a new message begins inside another one")
	case h.op != Continuation:
		p.messageOp, p.compressed = h.op, h.rsv1
	}
	frame, message := p.cfg.limits(p.compressed)
	if h.n > frame {
		return tooBig("a frame", frame)
	}
	if h.n > message-int64(len(p.message.bytes())) {
		return tooBig("a message", message)
	}
	return nil
}

// whole handles a frame that needs no buffer: a control frame, or a data message
// in one frame, whose payload is the caller's memory.
func (p *Parser) whole(payload []byte, sink Sink) error {
	if p.frameOp.control() {
		return p.deliverControl(payload, sink)
	}
	op := p.messageOp
	p.messageOp, p.open = Continuation, 0
	if op == Text && !utf8.Valid(payload) {
		return errNotUTF8()
	}
	return sink.Message(op, payload)
}

// feedPayload takes what data has of the current frame's payload.
func (p *Parser) feedPayload(data []byte, sink Sink) (used int, err error) {
	used = int(min(p.left, int64(len(data))))
	piece := data[:used]
	p.key = mask(piece, p.key)
	p.left -= int64(used)
	if p.frameOp.control() {
		p.control = p.control.add(piece)
	} else {
		p.message = p.message.add(piece)
		if p.messageOp == Text && !p.compressed {
			fresh := p.message.b[len(p.message.b)-used-int(p.open):]
			open, ok := validStart(fresh)
			if !ok {
				return used, errNotUTF8()
			}
			p.open = uint8(open)
		}
	}
	if p.left > 0 {
		return used, nil
	}
	return used, p.endFrame(sink)
}

// endFrame handles the end of a frame whose payload was collected.
func (p *Parser) endFrame(sink Sink) error {
	p.state = wantHeader
	if p.frameOp.control() {
		b := p.control
		p.control = nil
		err := p.deliverControl(b.bytes(), sink)
		b.release()
		return err
	}
	if !p.fin {
		return nil
	}
	// The parser is ready for the next message before the sink sees this one.
	op, b, compressed, open := p.messageOp, p.message, p.compressed, p.open
	p.messageOp, p.message, p.compressed, p.open = Continuation, nil, false, 0
	if compressed {
		_, limit := p.cfg.limits(false)
		var bad *CloseError
		if b, bad = inflate(b, limit); bad != nil {
			return bad
		}
		if op == Text && !utf8.Valid(b.bytes()) {
			open = 1
		}
	}
	if open > 0 {
		b.release()
		return errNotUTF8()
	}
	err := sink.Message(op, b.bytes())
	b.release()
	return err
}

// deliverControl hands a control frame on. A Close is checked first, and ends
// the parser whatever the sink makes of it.
func (p *Parser) deliverControl(payload []byte, sink Sink) error {
	if p.frameOp != Close {
		return sink.Control(p.frameOp, payload)
	}
	if _, _, err := ParseClose(payload); err != nil {
		return err
	}
	p.end()
	return sink.Control(Close, payload)
}

func errNotUTF8() *CloseError { return invalidPayload("a text message is not valid UTF-8") }
