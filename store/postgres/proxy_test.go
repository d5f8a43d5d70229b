package postgres_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a store and the server, and can be told to fail like a
// network does.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	change  *sync.Cond // mode has changed
	mode    mode
	conns   map[net.Conn]struct{}
	down    bool
	running sync.WaitGroup
}

// mode is what a proxy does with what it gets.
type mode int

const (
	passing  mode = iota
	stalling      // hold back everything, in both directions
	deaf          // hold back what the server says
)

// newProxy makes a proxy to the server of a URL, and gives the URL through it.
func newProxy(t *testing.T, to string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: u.Host, conns: make(map[net.Conn]struct{})}
	p.change = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	u.Host = l.Addr().String()
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close() // as if there were no proxy
			continue
		}
		p.mu.Lock()
		if p.down {
			_ = client.Close()
			_ = server.Close()
		}
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.running.Go(func() { p.copy(server, client, false) })
		p.running.Go(func() { p.copy(client, server, true) })
	}
}

// copy hands on bytes as the mode allows.
func (p *proxy) copy(to, from net.Conn, fromServer bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			for !p.down && (p.mode == stalling || p.mode == deaf && fromServer) {
				p.change.Wait()
			}
			p.mu.Unlock()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				return
			}
			return
		}
	}
}

func (p *proxy) set(m mode) {
	p.mu.Lock()
	p.mode = m
	p.change.Broadcast()
	p.mu.Unlock()
}

// cut ends all connections; what was held back is lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.down = true
	p.change.Broadcast()
	p.mu.Unlock()
	p.cut()
	p.running.Wait()
}
