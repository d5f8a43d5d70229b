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
// they are there.
func (p *portable) readRaw(c *Conn) {
	var buf *[]byte
	var n int
	var err error
	try := func(fd uintptr) bool {
		if buf == nil {
			buf = readBuffers.Get().(*[]byte)
		}
		n, err = unix.Read(int(fd), *buf)
		if err == unix.EAGAIN || err == unix.EINTR {
			readBuffers.Put(buf)
			buf = nil
			return err == unix.EINTR
		}
		return true
	}
	for p.resumed(c) {
		failed := p.raw.Read(try)
		if failed != nil || err != nil && err != unix.EINTR || n == 0 && err == nil {
			if buf != nil {
				readBuffers.Put(buf)
			}
			c.eof()
			return
		}
		if n > 0 {
			c.feed((*buf)[:n], c.srv.Now())
		}
		if buf != nil {
			readBuffers.Put(buf)
			buf = nil
		}
	}
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
