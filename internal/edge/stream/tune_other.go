//go:build !linux

package stream

import "net"

// tune bounds what the kernel holds; the other option has another name, or none.
func tune(tcp *net.TCPConn) { _ = tcp.SetWriteBuffer(64 << 10) }
