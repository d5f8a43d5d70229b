// Package ws is the WebSocket protocol (RFC 6455) with permessage-deflate
// (RFC 7692) as pure code: bytes in, messages out, and the other way round.
//
// [Parser] turns what was read into messages, however it was cut. The Append
// functions make frames. [CheckUpgrade] judges the handshake, [Deflate] packs a
// message once for all its receivers.
//
// The package does no input or output, starts no goroutine and stores nothing.
// While no message is under way a parser holds no memory but itself; buffers
// come from pools that all parsers share. It answers no frame by itself: to
// send the pong or the close frame is up to the caller.
package ws

import "strconv"

// Opcode says what a frame is (RFC 6455, 5.2).
type Opcode byte

// The opcodes that the RFC defines; a frame with any other is refused.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// String implements fmt.Stringer.
func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "opcode " + strconv.Itoa(int(o))
}

// control tells control frames from data frames: the top bit of the opcode.
func (o Opcode) control() bool { return o&0x8 != 0 }

// The close codes that the parser itself gives (RFC 6455, 7.4.1).
const (
	CodeProtocolError  uint16 = 1002
	CodeInvalidPayload uint16 = 1007
	CodeTooBig         uint16 = 1009
)

// CloseError is why the parser gave up: the close code to send (RFC 6455,
// 7.4.1) and a short sentence that may go into the close frame.
type CloseError struct {
	Code   uint16
	Reason string
}

// Error implements error.
func (e *CloseError) Error() string {
	return "websocket: " + e.Reason + " (close code " + strconv.Itoa(int(e.Code)) + ")"
}

func protocolError(reason string) *CloseError {
	return &CloseError{Code: CodeProtocolError, Reason: reason}
}

func invalidPayload(reason string) *CloseError {
	return &CloseError{Code: CodeInvalidPayload, Reason: reason}
}

func tooBig(what string, limit int64) *CloseError {
	return &CloseError{Code: CodeTooBig, Reason: what + " is larger than " + strconv.FormatInt(limit, 10) + " bytes"}
}
