package sio

import (
	"slices"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/ws"
)

// appendMessage appends a text message of Engine.IO in two parts.
func appendMessage(dst, head, data []byte) []byte {
	dst = ws.AppendHeader(dst, ws.Text, true, false, 1+len(head)+len(data))
	return append(append(append(dst, byte(engineio.Message)), head...), data...)
}

// appendMsgpackMessage appends a packet in the msgpack form as the binary message
// that it is. Its length is known only when it is there.
func appendMsgpackMessage(dst []byte, p *Packet) []byte {
	begin := len(dst)
	dst = AppendMsgpack(dst, p)
	var room [ws.MaxHeader]byte
	return slices.Insert(dst, begin, ws.AppendHeader(room[:0], ws.Binary, true, false, len(dst)-begin)...)
}
