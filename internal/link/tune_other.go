//go:build !linux

package link

import "net"

func tune(tcp *net.TCPConn) { _ = tcp.SetWriteBuffer(64 << 10) }
