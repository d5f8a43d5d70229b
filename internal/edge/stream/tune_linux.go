package stream

import (
	"net"

	"golang.org/x/sys/unix"
)

const (
	sendBuffer  = 64 << 10 // SO_SNDBUF: the kernel doubles it
	userTimeout = 30_000   // TCP_USER_TIMEOUT in ms: unacknowledged bytes end the connection (RFC 5482)
)

// tune does what it can; failing to is no reason to refuse a client.
func tune(tcp *net.TCPConn) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout)
	})
}
