package postgres

import (
	"context"
	"net"
	"sync"
	"time"
)

// lines are the network connections of a store that are open, those on which
// the driver tells the server to give up a query among them. The driver waits up to
// 15 s for an answer to that; a store that closes does not.
type lines struct {
	mu   sync.Mutex // guards all below
	open map[*line]struct{}
	cut  bool
}

// line is one network connection.
type line struct {
	net.Conn
	of *lines
}

// dial is the driver's way to the network.
func (l *lines) dial(dialer *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.cut {
			_ = c.Close()
			return nil, net.ErrClosed
		}
		n := &line{c, l}
		l.open[n] = struct{}{}
		return n, nil
	}
}

// Close implements net.Conn.
func (n *line) Close() error {
	n.of.mu.Lock()
	delete(n.of.open, n)
	n.of.mu.Unlock()
	return n.Conn.Close()
}

// cutAfter ends all of them when d has passed, and all that would come; stop
// prevents it.
func (l *lines) cutAfter(d time.Duration) (stop func()) {
	t := time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cut = true
		for n := range l.open {
			_ = n.Conn.Close()
		}
	})
	return func() { t.Stop() }
}
