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

// writeRaw is one write(2) that does not wait.
func writeRaw(raw syscall.RawConn, b []byte) (n int, err error) {
	failed := raw.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Write(int(fd), b)
			if err != unix.EINTR {
				return true
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case err == unix.EAGAIN:
		return 0, errAgain
	case err != nil:
		return 0, err
	case n < len(b):
		return n, errAgain
	}
	return n, nil
}
