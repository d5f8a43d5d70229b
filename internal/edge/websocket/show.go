package websocket

import "github.com/skein-realtime/skein/internal/ws"

// Show implements hub.Shower.
func (text) Show(wire []byte, show func(message []byte)) { messages(wire, show) }

// Show implements hub.Shower.
func (deflated) Show(wire []byte, show func(message []byte)) { messages(wire, show) }

// messages calls show for each message of frames that this door has made: without
// their headers, inflated.
func messages(wire []byte, show func(message []byte)) {
	var p ws.Parser
	p.Init(&ws.ParserConfig{MaxMessage: 1 << 30, Deflate: true, Client: true})
	// The parser writes into what it reads, and the frames belong to all receivers.
	_ = p.Feed(append([]byte(nil), wire...), shown(show)) // the server has made them
}

// shown receives from the parser.
type shown func(message []byte)

// Message implements ws.Sink.
func (s shown) Message(_ ws.Opcode, payload []byte) error {
	s(payload)
	return nil
}

// Control implements ws.Sink.
func (s shown) Control(ws.Opcode, []byte) error { return nil }
