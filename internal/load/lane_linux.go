package load

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// multiplexer is one epoll descriptor. Unlike the server, the generator may
// block a thread in epoll_wait: that is the shortest way from the kernel to it.
type multiplexer struct {
	epfd    int
	stopper int     // an eventfd; readable: stop
	conns   []*conn // by descriptor; the lane's lock guards it
	ended   atomic.Bool
}

func (m *multiplexer) available() bool { return true }

// portLater has the port chosen when the destination is known, so that one port
// serves connections to several.
func portLater(_, _ string, raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt", err)
}

func (l *lane) open() (err error) {
	m := &l.plain
	if m.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if m.stopper, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = unix.EpollCtl(m.epfd, unix.EPOLL_CTL_ADD, m.stopper, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(m.stopper)})
	}
	if err != nil {
		_ = unix.Close(m.epfd)
		return os.NewSyscallError("eventfd", err)
	}
	l.swarm.running.Go(l.run)
	return nil
}

func (l *lane) stop() {
	l.plain.ended.Store(true)
	_, _ = unix.Write(l.plain.stopper, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// take moves a TCP connection out of net's hands.
func (m *multiplexer) take(c *conn, tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	_ = tcp.Close()
	c.mu.Lock()
	c.fd = fd
	c.mu.Unlock()
	c.lane.mu.Lock()
	for fd >= len(m.conns) {
		m.conns = append(m.conns, nil)
	}
	m.conns[fd] = c
	c.lane.mu.Unlock()
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(m.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (l *lane) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := &l.plain
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range m.conns {
			if c != nil {
				c.forget()
			}
		}
		_ = unix.Close(m.epfd)
		_ = unix.Close(m.stopper)
	}()
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 128<<10)
	for !m.ended.Load() {
		n, err := unix.EpollWait(m.epfd, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		l.mu.Lock()
		for _, ev := range events[:max(n, 0)] {
			var c *conn
			if int(ev.Fd) < len(m.conns) {
				c = m.conns[ev.Fd]
			}
			if c == nil {
				continue // the stopper, or a stale event
			}
			if ev.Events&unix.EPOLLOUT != 0 {
				c.flush()
			}
			if ev.Events&^unix.EPOLLOUT == 0 {
				continue
			}
			n, err := unix.Read(int(ev.Fd), buf)
			l.now = l.swarm.now()
			l.reads.Add(1)
			switch {
			case n > 0:
				c.receive(buf[:n])
			case err == nil:
				c.lost(io.EOF)
			case err != unix.EAGAIN && err != unix.EINTR:
				c.lost(err)
			}
		}
		l.mu.Unlock()
		l.swarm.awake()
	}
}

// writeNow gives the kernel what it takes.
func (c *conn) writeNow(b []byte) (int, error) {
	n, err := unix.Write(c.fd, b)
	if err == unix.EAGAIN || err == unix.EINTR {
		return max(n, 0), nil
	}
	return max(n, 0), err
}

// arm asks to be told when the kernel takes bytes again, or not to be any more.
func (c *conn) arm(wanted bool) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}
	if wanted {
		ev.Events |= unix.EPOLLOUT
	}
	_ = unix.EpollCtl(c.lane.plain.epfd, unix.EPOLL_CTL_MOD, c.fd, &ev) // fails only for a descriptor that is gone
}

// forget closes the descriptor. The lane is locked, so that it does not meet the
// number again when the kernel has given it to somebody else.
func (c *conn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		c.lane.plain.conns[c.fd] = nil
		_ = unix.Close(c.fd)
		c.fd = -1
	}
}
