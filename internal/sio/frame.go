package sio

import (
	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/ws"
)

// appendMessage appends a text message of Engine.IO in two parts.
func appendMessage(dst, head, data []byte) []byte {
	dst = ws.AppendHeader(dst, ws.Text, true, false, 1+len(head)+len(data))
	return append(append(append(dst, byte(engineio.Message)), head...), data...)
}
