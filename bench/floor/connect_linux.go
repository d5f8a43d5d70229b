package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/skein-realtime/skein/internal/ws"
)

// opener answers the steps of connecting. Nothing is parsed but what is needed:
// the key of the handshake, and how many frames one read found.
type opener struct {
	epfd, listener int
	hello          []byte
	accept         []byte   // the part of hello that differs
	answers        [][]byte // in the order of the client's frames
	step           []uint8  // by descriptor: 0: shakes hands; n: n-1 frames were answered
}

// connect returns only when it cannot go on.
func connect(l *net.TCPListener, hello, welcome, ok []byte) error {
	const name = "\r\nSec-WebSocket-Accept: "
	at := bytes.Index(hello, []byte(name))
	if at < 0 || len(welcome) == 0 || len(ok) == 0 {
		return errors.New("the recorded answers are not whole")
	}
	file, err := l.File() // a descriptor that Go's own poller does not know
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := l.Close(); err != nil {
		return err
	}
	o := &opener{listener: int(file.Fd()), hello: hello, accept: hello[at+len(name):][:len(ws.AcceptKey(""))], answers: [][]byte{welcome, ok}}
	if o.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(o.listener, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := o.watch(o.listener); err != nil {
		return err
	}
	return o.run()
}

func (o *opener) watch(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(o.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (o *opener) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(o.epfd, events, -1)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == o.listener {
				err = o.admit()
			} else {
				err = o.serve(int(ev.Fd), buf)
			}
			if err != nil {
				return err
			}
		}
	}
}

// admit accepts all who wait.
func (o *opener) admit() error {
	for {
		fd, _, err := unix.Accept4(o.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return os.NewSyscallError("accept4", err)
		}
		for fd >= len(o.step) {
			o.step = append(o.step, 0)
		}
		o.step[fd] = 0
		if err := o.watch(fd); err != nil {
			return err
		}
	}
}

// serve answers what one read found. A client writes each step at once and on
// the loopback interface it arrives so, which makes the reading simple.
func (o *opener) serve(fd int, buf []byte) error {
	n, err := unix.Read(fd, buf)
	if n <= 0 {
		return unix.Close(fd)
	}
	b, step := buf[:n], &o.step[fd]
	if err != nil {
		return os.NewSyscallError("read", err)
	}
	if *step == 0 {
		const name = "\r\nSec-WebSocket-Key: "
		_, rest, _ := bytes.Cut(b, []byte(name))
		key, _, whole := bytes.Cut(rest, []byte("\r\n"))
		if !whole {
			return errors.New("the handshake did not arrive at once")
		}
		copy(o.accept, ws.AcceptKey(string(key)))
		*step = 1
		return writeAll(fd, o.hello)
	}
	var out []byte
	for len(b) > 0 {
		size := frameSize(b)
		if int(*step) > len(o.answers) || size > len(b) {
			return fmt.Errorf("%d bytes of a client were not expected", len(b))
		}
		if a := o.answers[*step-1]; out == nil {
			out = a
		} else {
			out = append(out[:len(out):len(out)], a...)
		}
		*step++
		b = b[size:]
	}
	return writeAll(fd, out)
}

// frameSize is the length of the masked frame that b begins with (RFC 6455,
// section 5.2). Frames of 64 KB and more are not sent here.
func frameSize(b []byte) int {
	const mask, short, long = 4, 2, 4
	if len(b) < long {
		return len(b) + 1
	}
	if n := int(b[1] & 127); n < 126 {
		return short + mask + n
	}
	return long + mask + int(binary.BigEndian.Uint16(b[2:]))
}
