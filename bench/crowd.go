package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
)

// crowd is many connections that count the messages they get, whatever channel
// they come in. What arrives before [crowd.expect] counts as well, so the server
// must be quiet then.
type crowd struct {
	conns   []net.Conn
	arrived atomic.Int64
	every   atomic.Int64  // so many messages are one broadcast
	kick    chan struct{} // a broadcast has arrived in full
	lost    atomic.Int64  // connections that ended by themselves
	closing atomic.Bool
	running sync.WaitGroup
}

// newCrowd opens n connections, each with its token, and waits for their welcomes.
func newCrowd(ctx context.Context, base string, n int, token func(int) string) (*crowd, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	c := &crowd{conns: make([]net.Conn, n), kick: make(chan struct{}, 1)}
	c.every.Store(int64(n))
	failed := make(chan error, n)
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := c.open(u.Host, i, token(i)); err != nil {
					failed <- fmt.Errorf("connection %d: %w", i+1, err)
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-failed:
		c.close()
		return nil, err
	default:
		return c, ctx.Err()
	}
}

// open opens one connection and begins to read it.
func (c *crowd) open(host string, i int, token string) error {
	nc, err := net.DialTimeout("tcp", host, 10*time.Second)
	if err != nil {
		return err
	}
	c.conns[i] = nc
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(nc, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer %s\r\n\r\n", host, token)
	r := bufio.NewReaderSize(nc, 2<<10)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the handshake is answered by %s", res.Status)
	}
	m := &member{crowd: c, nc: nc}
	m.parser.Init(&ws.ParserConfig{Client: true, MaxMessage: 1 << 20})
	buf := make([]byte, 2<<10)
	for !m.welcomed {
		n, err := r.Read(buf)
		if err == nil {
			err = m.parser.Feed(buf[:n], m)
		}
		if err != nil {
			return err
		}
	}
	_ = nc.SetDeadline(time.Time{})
	early, _ := r.Peek(r.Buffered())
	if err := m.parser.Feed(early, m); err != nil {
		return err
	}
	c.running.Go(func() { m.read(buf) })
	return nil
}

// close ends the connections and waits for their goroutines.
func (c *crowd) close() {
	c.closing.Store(true)
	for _, nc := range c.conns {
		if nc != nil {
			_ = nc.Close()
		}
	}
	c.running.Wait()
}

// member is one connection of a crowd.
type member struct {
	crowd    *crowd
	nc       net.Conn
	parser   ws.Parser
	welcomed bool
	count    int64 // messages of one read
}

func (m *member) read(buf []byte) {
	for {
		n, err := m.nc.Read(buf)
		if err == nil {
			err = m.parser.Feed(buf[:n], m)
		}
		if m.count > 0 {
			each := m.crowd.every.Load()
			now := m.crowd.arrived.Add(m.count)
			if now/each != (now-m.count)/each {
				select {
				case m.crowd.kick <- struct{}{}:
				default:
				}
			}
			m.count = 0
		}
		if err != nil {
			if !m.crowd.closing.Load() {
				m.crowd.lost.Add(1)
			}
			return
		}
	}
}

var (
	welcomeLead = []byte(`{"type":"welcome"`)
	messageLead = []byte(`{"type":"msg"`)
	patchLead   = []byte(`{"type":"patch"`)
)

// Message implements ws.Sink.
func (m *member) Message(_ ws.Opcode, frame []byte) error {
	switch {
	case bytes.HasPrefix(frame, messageLead), bytes.HasPrefix(frame, patchLead):
		m.count++
	case bytes.HasPrefix(frame, welcomeLead):
		m.welcomed = true
	}
	return nil
}

// Control implements ws.Sink.
func (m *member) Control(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.Ping:
		_, err := m.nc.Write(ws.AppendMasked(nil, ws.Pong, [4]byte{1, 2, 3, 4}, payload))
		return err
	case ws.Close:
		return io.EOF
	}
	return nil
}

// broadcast has post called again and again for the time that is measured, so that
// no more than window broadcasts are on their way; begun and ended are called
// at both ends of that time, with what has arrived by then. It waits until
// everything has arrived.
func (c *crowd) broadcast(ctx context.Context, window int, warmup, span time.Duration, post func(context.Context) error, at func() error) (delivered int64, took time.Duration, err error) {
	n, before := c.every.Load(), c.arrived.Load()
	work, failed := make(chan struct{}, window), make(chan error, window)
	var workers sync.WaitGroup
	for range window {
		workers.Go(func() {
			for range work {
				if err := post(ctx); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	defer func() { close(work); workers.Wait() }()
	begin, patience := time.After(warmup), time.NewTimer(10*time.Second)
	defer patience.Stop()
	var end <-chan time.Time
	var begun time.Time
	var first, sent int64
	over := false
	for {
		missing := sent*n - (c.arrived.Load() - before)
		if over && missing == 0 {
			return delivered, took, nil
		}
		if missing < 0 {
			return 0, 0, errors.New("more messages arrived than were sent")
		}
		for !over && sent*n-(c.arrived.Load()-before) <= int64(window-1)*n {
			sent++
			work <- struct{}{}
		}
		select {
		case <-c.kick:
			patience.Reset(10 * time.Second)
		case <-begin:
			begun, first, end = time.Now(), c.arrived.Load(), time.After(span)
			err = at()
		case <-end:
			delivered, took, over = c.arrived.Load()-first, time.Since(begun), true
			err = at()
		case err = <-failed:
		case <-patience.C:
			err = fmt.Errorf("%d deliveries are missing, %d connections have ended", missing, c.lost.Load())
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return 0, 0, err
		}
	}
}
