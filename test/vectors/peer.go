package vectors

import (
	"context"
	"errors"
	"fmt"
)

// A peer is one WebSocket of a story. A goroutine reads it until it ends.
type peer struct {
	name     string
	conn     Conn
	frames   chan any      // what came; closed after the last
	over     chan struct{} // closed to let the reader go
	end      error         // why the reading ended; valid once frames is closed
	welcomed bool
	left     bool // closed, by either side
}

func listen(name string, conn Conn) *peer {
	p := &peer{name: name, conn: conn, frames: make(chan any, 1000), over: make(chan struct{})}
	go func() {
		defer close(p.frames)
		for {
			frame, err := read(conn)
			if err != nil {
				p.end = err
				return
			}
			select {
			case p.frames <- frame:
			case <-p.over:
				p.end = errors.New("dropped")
				return
			}
		}
	}()
	return p
}

func read(conn Conn) (any, error) {
	message, err := conn.Read()
	if err != nil {
		return nil, err
	}
	frame, err := parse(message)
	if err != nil {
		return nil, fmt.Errorf("a message is not JSON: %w: %q", err, message)
	}
	return frame, nil
}

// drop ends the connection and waits for its reader.
func (p *peer) drop() {
	close(p.over)
	p.conn.Drop()
	for range p.frames {
		continue // until the reader has closed it
	}
}

func (p *peer) next(ctx context.Context) (any, error) {
	select {
	case frame, open := <-p.frames:
		if !open {
			p.left = true
			return nil, fmt.Errorf("%s: no frame comes any more: %w", p.name, p.end)
		}
		return frame, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no frame came within %s", p.name, patience)
	}
}

func (p *peer) closed(ctx context.Context, code int) error {
	frame, err := p.next(ctx)
	if err == nil {
		return fmt.Errorf("%s got %s, want close code %d", p.name, text(frame), code)
	}
	if !p.left {
		return err
	}
	var end *CloseError
	if !errors.As(p.end, &end) || end.Code != code {
		return fmt.Errorf("%s ended with %w, want close code %d", p.name, p.end, code)
	}
	return nil
}
