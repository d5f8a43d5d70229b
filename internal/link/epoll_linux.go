package link

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const epollAvailable = true

// pollers are the epoll drivers of a server; connections are dealt out in turn.
type pollers struct {
	all  []*poller
	mu   sync.Mutex
	turn int
}

func startPollers(s *Server, n int) (*pollers, error) {
	ps := &pollers{}
	for range n {
		p, err := newPoller(s)
		if err != nil {
			ps.close()
			return nil, err
		}
		ps.all = append(ps.all, p)
	}
	return ps, nil
}

func (ps *pollers) close() {
	for _, p := range ps.all {
		_ = p.file.Close()
		<-p.done
	}
}

// adopt moves a TCP connection out of net's hands: the descriptor is doubled
// and the net.Conn closed, which takes it off Go's own poller.
func (ps *pollers) adopt(c *Conn, tcp *net.TCPConn) (begin func(), err error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	_ = tcp.Close()
	ps.mu.Lock()
	p := ps.all[ps.turn%len(ps.all)]
	ps.turn++
	ps.mu.Unlock()
	c.fd, c.drv = int32(fd), p
	p.take(c)
	return func() { p.begin(c) }, nil
}

// poller is one epoll descriptor and the goroutine that serves it.
type poller struct {
	srv  *Server
	epfd int
	file *os.File // epfd, parked in Go's own poller: no thread waits for it
	done chan struct{}

	mu    sync.Mutex // guards the slots
	slots []slot
	free  []uint32
}

// slot is what an event's data points at. gen tells a stale event, of a
// connection that had the slot before, from a fresh one.
type slot struct {
	conn *Conn
	gen  uint32
}

func newPoller(s *Server) (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		_ = unix.Close(epfd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{srv: s, epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll"), done: make(chan struct{})}
	raw, err := p.file.SyscallConn()
	if err != nil {
		_ = p.file.Close()
		return nil, err
	}
	go p.run(raw)
	return p, nil
}

func (p *poller) take(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c.slot = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		c.slot = uint32(len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	s := &p.slots[c.slot]
	s.gen++
	s.conn, c.gen = c, s.gen
}

// begin asks for events; they may arrive before it returns.
func (p *poller) begin(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateClosed {
		p.ctl(c, unix.EPOLL_CTL_ADD)
	}
}

// ctl tells epoll what the connection waits for. Called with c.mu held.
func (p *poller) ctl(c *Conn, op int) {
	ev := unix.EpollEvent{Fd: int32(c.slot), Pad: int32(c.gen)}
	if !c.paused {
		ev.Events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if len(c.out) > 0 {
		ev.Events |= unix.EPOLLOUT
	}
	// It fails only for want of memory or past max_user_watches; the connection
	// would be deaf then, so it ends.
	if err := unix.EpollCtl(p.epfd, op, int(c.fd), &ev); err != nil {
		_ = unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
	}
}

func (p *poller) write(c *Conn, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(c.fd), b)
		switch {
		case err == nil && n == len(b):
			return n, nil
		case err == nil:
			return n, errAgain
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errAgain
		default:
			return 0, err
		}
	}
}

func (p *poller) arm(c *Conn) { p.ctl(c, unix.EPOLL_CTL_MOD) }

func (p *poller) pause(c *Conn, _ bool) { p.ctl(c, unix.EPOLL_CTL_MOD) }

func (p *poller) shut(c *Conn) { _ = unix.Shutdown(int(c.fd), unix.SHUT_WR) }

// close is close(2) under the connection's lock, once: nobody can use the
// number after it has gone to somebody else.
func (p *poller) close(c *Conn) {
	_ = unix.Close(int(c.fd))
	c.fd = -1
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[c.slot].conn = nil
	p.free = append(p.free, c.slot)
}

const (
	readSize  = 64 << 10
	batchSize = 256
)

func (p *poller) run(raw syscall.RawConn) {
	defer close(p.done)
	buf := make([]byte, readSize)
	events := make([]unix.EpollEvent, batchSize)
	conns := make([]*Conn, batchSize)
	// The function given to Read returns false when there is nothing to do, which
	// parks this goroutine until the epoll descriptor itself becomes readable.
	_ = raw.Read(func(uintptr) bool {
		for {
			n, err := unix.EpollWait(p.epfd, events, 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return true
			}
			if n == 0 {
				return false
			}
			p.mu.Lock()
			for i, ev := range events[:n] {
				conns[i] = nil
				if s := p.slots[ev.Fd]; s.gen == uint32(ev.Pad) {
					conns[i] = s.conn
				}
			}
			p.mu.Unlock()
			now := p.srv.Now()
			for i, c := range conns[:n] {
				if c != nil {
					p.serve(c, events[i].Events, buf, now)
					conns[i] = nil
				}
			}
		}
	})
}

func (p *poller) serve(c *Conn, what uint32, buf []byte, now int64) {
	if what&unix.EPOLLOUT != 0 {
		c.flush(now)
	}
	if what&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	c.mu.Lock()
	if c.state == stateClosed {
		c.mu.Unlock()
		return
	}
	if c.paused && what&(unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		c.mu.Unlock()
		return
	}
	n, err := unix.Read(int(c.fd), buf)
	c.mu.Unlock()
	switch {
	case n > 0:
		c.feed(buf[:n], now)
	case n == 0 && err == nil:
		c.eof()
	case err != unix.EAGAIN && err != unix.EINTR:
		c.eof()
	}
}
