package link

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// portable is the driver for every system, and for TLS. Its reader is a
// goroutine of the connection; a second one exists only while bytes wait that
// the kernel did not take at once.
type portable struct {
	nc   net.Conn
	raw  syscall.RawConn // nil: only blocking calls are possible (TLS, Windows)
	wake chan struct{}   // resumes a paused reader; closed with the connection
	out  rawWrite        // guarded by the connection's lock
	in   rawRead         // the reader's
}

func adoptPortable(c *Conn, nc net.Conn) (begin func()) {
	p := &portable{nc: nc, wake: make(chan struct{}, 1)}
	if tcp, ok := nc.(*net.TCPConn); ok && nonblocking {
		p.raw, _ = tcp.SyscallConn()
	}
	c.drv = p
	return func() {
		c.srv.workers.Add(1)
		go p.read(c)
	}
}

// smallRead is the buffer that a connection keeps while it waits, where waiting
// without one is not possible.
const smallRead = 1 << 10

func (p *portable) read(c *Conn) {
	defer c.srv.workers.Done()
	if p.raw != nil {
		p.readRaw(c)
		return
	}
	buf := make([]byte, smallRead)
	for p.resumed(c) {
		n, err := p.nc.Read(buf)
		if n > 0 {
			c.feed(buf[:n], c.srv.Now())
		}
		if err != nil {
			c.eof()
			return
		}
	}
}

// resumed waits while the reading is paused; false: the connection has ended.
func (p *portable) resumed(c *Conn) bool {
	for {
		c.mu.Lock()
		paused, state := c.paused, c.state
		c.mu.Unlock()
		if state == stateClosed {
			return false
		}
		if !paused {
			return true
		}
		<-p.wake
	}
}

func (p *portable) write(_ *Conn, b []byte) (int, error) {
	if p.raw == nil {
		return 0, errAgain
	}
	return p.out.write(p.raw, b)
}

// arm starts the flusher when something waits.
func (p *portable) arm(c *Conn) {
	if len(c.out) == 0 {
		return
	}
	c.srv.workers.Add(1)
	go p.flush(c)
}

// flushStep is what one blocking call writes: small, so that a peer that takes
// its bytes slowly is seen to take some.
const flushStep = 16 << 10

// flush writes the queue with blocking calls until it is empty.
func (p *portable) flush(c *Conn) {
	defer c.srv.workers.Done()
	for {
		c.mu.Lock()
		if c.state == stateClosed || len(c.out) == 0 {
			_ = p.nc.SetWriteDeadline(time.Time{}) // it would also end the calls that do not block
			c.flushedLocked()
			c.mu.Unlock()
			return
		}
		head := c.out[0].b[c.done:]
		head = head[:min(len(head), flushStep)]
		c.pinned = 1
		c.mu.Unlock()
		_ = p.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.Stall + time.Second))
		n, err := p.nc.Write(head)
		c.mu.Lock()
		c.pinned = 0
		if c.state != stateClosed {
			if n > 0 {
				c.wroteLocked(n, c.srv.Now())
			}
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded): // before the sweeper has come by
				c.srv.metrics.Stalled.Add(1)
				c.stalledLocked()
			case err != nil:
				c.abortLocked(closeLost, lostMessage)
			default:
				c.relievedLocked()
			}
		}
		c.mu.Unlock()
	}
}

func (p *portable) pause(_ *Conn, stop bool) {
	if !stop {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

func (p *portable) shut(c *Conn) {
	w, ok := p.nc.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	if p.raw != nil {
		_ = w.CloseWrite()
		return
	}
	c.srv.workers.Add(1)
	go func() { // TLS writes an alert first
		defer c.srv.workers.Done()
		_ = w.CloseWrite()
	}()
}

// close does not block: a TLS connection still writes an alert, so that has a
// goroutine of its own.
func (p *portable) close(c *Conn) {
	close(p.wake)
	if p.raw != nil {
		_ = p.nc.Close()
		return
	}
	c.srv.workers.Add(1)
	go func() {
		defer c.srv.workers.Done()
		_ = p.nc.Close()
	}()
}
