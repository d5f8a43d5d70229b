//go:build unix

package link

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const nonblocking = true

var readBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// readRaw waits for bytes without a buffer and takes a pooled one only when
// they are there. What it does with them needs stack, and Go does not give a
// parked goroutine's stack back: so a fresh goroutine does the next waiting.
func (p *portable) readRaw(c *Conn) {
	if !p.resumed(c) {
		return
	}
	buf, n, err := p.in.read(p.raw)
	if buf == nil || n <= 0 {
		if buf != nil {
			readBuffers.Put(buf)
		}
		if err != unix.EINTR {
			c.eof()
			return
		}
	} else {
		c.feed((*buf)[:n], c.srv.Now())
		readBuffers.Put(buf)
	}
	c.srv.workers.Add(1)
	go p.read(c)
}

// rawRead is read(2) that waits. Like rawWrite it keeps its parts from call to call.
type rawRead struct {
	buf *[]byte
	n   int
	err error
	try func(fd uintptr) bool
}

// read gives a buffer of the pool and how much of it is filled. The buffer is
// nil when the connection was closed.
func (r *rawRead) read(raw syscall.RawConn) (*[]byte, int, error) {
	if r.try == nil {
		r.try = r.once
	}
	r.n, r.err = 0, nil
	if err := raw.Read(r.try); err != nil {
		return nil, 0, err
	}
	buf := r.buf
	r.buf = nil
	return buf, r.n, r.err
}

func (r *rawRead) once(fd uintptr) bool {
	r.buf = readBuffers.Get().(*[]byte)
	r.n, r.err = unix.Read(int(fd), *r.buf)
	if r.err == unix.EAGAIN {
		readBuffers.Put(r.buf)
		r.buf = nil
		return false
	}
	return true
}

// rawWrite is write(2) without waiting. It keeps its arguments, and the function
// that net wants, from call to call, so that a write allocates nothing.
type rawWrite struct {
	b   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

func (w *rawWrite) write(raw syscall.RawConn, b []byte) (int, error) {
	if w.try == nil {
		w.try = w.once
	}
	w.b = b
	failed := raw.Write(w.try)
	w.b = nil
	switch {
	case failed != nil:
		return 0, failed
	case w.err == unix.EAGAIN:
		return 0, errAgain
	case w.err != nil:
		return 0, w.err
	case w.n < len(b):
		return w.n, errAgain
	}
	return w.n, nil
}

func (w *rawWrite) once(fd uintptr) bool {
	for {
		w.n, w.err = unix.Write(int(fd), w.b)
		if w.err != unix.EINTR {
			return true
		}
	}
}
