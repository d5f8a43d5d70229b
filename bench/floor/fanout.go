package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/skein-realtime/skein/internal/load"
	"github.com/skein-realtime/skein/internal/ws"
)

// fanout returns only when it cannot go on.
func fanout(l net.Listener, frame []byte, join int) error {
	f := &floor{frame: frame, join: join}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			if err := f.client(c); err != nil {
				fmt.Fprintln(os.Stderr, "floor:", err)
			}
		}()
	}
}

// floor is the sockets, and what is written to them.
type floor struct {
	frame []byte
	join  int

	mu       sync.Mutex // guards all below
	sockets  []int
	channels map[string]int // the socket that subscribed to it last
	conns    []net.Conn     // keeps the sockets open
}

// client shakes hands and then serves one connection: a goroutine goes on only
// for a publisher.
func (f *floor) client(c net.Conn) error {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	up, refusal := ws.CheckUpgrade(req, ws.UpgradeOptions{})
	if refusal != nil {
		return fmt.Errorf("handshake: %s", refusal.Message)
	}
	if _, err := c.Write(up.Response()); err != nil {
		return err
	}
	return (&client{floor: f, conn: c}).converse(r)
}

// client is one connection and what it sends.
type client struct {
	floor      *floor
	conn       net.Conn
	parser     ws.Parser
	subscribed bool
	joined     []byte
	answers    []byte
	pending    int
}

// converse answers frames until the client has subscribed, or has gone.
func (s *client) converse(r io.Reader) error {
	s.parser.Init(&ws.ParserConfig{})
	buf := make([]byte, 64<<10)
	for !s.subscribed {
		n, err := r.Read(buf)
		if err != nil {
			return s.conn.Close() // a publisher has finished
		}
		if err := s.parser.Feed(buf[:n], s); err != nil {
			return err
		}
	}
	return nil
}

// Control implements ws.Sink.
func (s *client) Control(ws.Opcode, []byte) error { return nil }

// Message implements ws.Sink.
func (s *client) Message(_ ws.Opcode, frame []byte) error {
	switch {
	case bytes.HasPrefix(frame, []byte(`{"type":"connect"`)):
		return s.say(`{"type":"welcome"}`)
	case bytes.HasPrefix(frame, []byte(`{"type":"sub"`)):
		_, rest, _ := bytes.Cut(frame, channelLead)
		name, _, _ := bytes.Cut(rest, []byte(`"`))
		if err := s.subscribe(string(name)); err != nil {
			return err
		}
		return s.say(`{"type":"ok","id":1}`)
	}
	return s.publish(frame)
}

func (s *client) say(frame string) error {
	_, err := s.conn.Write(ws.AppendFrame(nil, ws.Text, []byte(frame)))
	return err
}

func (s *client) subscribe(channel string) error {
	raw, err := s.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		s.floor.mu.Lock()
		defer s.floor.mu.Unlock()
		s.floor.sockets = append(s.floor.sockets, int(fd))
		s.floor.conns = append(s.floor.conns, s.conn)
		if s.floor.channels == nil {
			s.floor.channels = map[string]int{}
		}
		s.floor.channels[channel] = int(fd)
		s.subscribed = true
	})
}

// publish collects a message and writes when there are enough.
func (s *client) publish(frame []byte) error {
	f := s.floor
	if !load.Restamp(f.frame, frame) {
		return fmt.Errorf("a frame without a mark: %s", frame)
	}
	s.joined = ws.AppendFrame(s.joined, ws.Text, f.frame)
	s.answers = ws.AppendFrame(s.answers, ws.Text, []byte(`{"type":"ok","id":1}`))
	if s.pending++; s.pending < f.join {
		return nil
	}
	f.mu.Lock()
	sockets := f.sockets
	f.mu.Unlock()
	for _, fd := range sockets {
		if err := writeAll(fd, s.joined); err != nil {
			return err
		}
	}
	_, err := s.conn.Write(s.answers)
	s.joined, s.answers, s.pending = s.joined[:0], s.answers[:0], 0
	return err
}

// writeAll writes b to a socket that is almost always ready for it.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch err {
		case nil:
			b = b[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil && err != unix.EINTR {
				return err
			}
		default:
			return err
		}
	}
	return nil
}
