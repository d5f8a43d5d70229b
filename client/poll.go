package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// pollLink is a connection by long polling. read makes calls that wait for
// frames; write makes calls that bring some, which the server lets answer the
// waiting one at once.
type pollLink struct {
	o       *opening
	address string
	life    context.Context // ends when it is dropped
	end     context.CancelFunc

	mu         sync.Mutex // guards all below
	connection string     // its secret name
	after      *uint64    // as the last answer said it
	frames     [][]byte   // that have come and were not read
	closed     error      // it has ended: what read returns once the frames are read
}

// A call waits up to 25 s for frames. A proxy may have less patience, and cut it.
const (
	pollRetries = 5
	pollPause   = 300 * time.Millisecond
)

type pollRequest struct {
	Connection string          `json:"connection,omitempty"`
	After      *uint64         `json:"after,omitempty"`
	Frames     json.RawMessage `json:"frames,omitempty"`
	Close      bool            `json:"close,omitempty"`
}

type pollAnswer struct {
	Connection string            `json:"connection"`
	After      *uint64           `json:"after"`
	Frames     []json.RawMessage `json:"frames"`
	Closed     int               `json:"closed"`
}

func openPoll(ctx context.Context, o *opening) (link, error) {
	l := &pollLink{o: o, address: o.address("/poll")}
	l.life, l.end = context.WithCancel(context.Background())
	first, err := o.connect()
	if err == nil {
		var frames [][]byte
		if first != nil {
			frames = append(frames, first)
		}
		err = l.call(ctx, frames)
	}
	if err != nil {
		l.drop()
		return nil, err
	}
	return l, nil
}

// call makes one call and takes what it brings.
func (l *pollLink) call(ctx context.Context, frames [][]byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()
	if len(frames) == 0 {
		return l.exchange(ctx, nil)
	}
	return inBatches(frames, func(list []byte) error { return l.exchange(ctx, list) })
}

func (l *pollLink) exchange(ctx context.Context, frames []byte) error {
	l.mu.Lock()
	if frames == nil && len(l.frames) > 0 {
		l.mu.Unlock()
		return nil // waiting for more would hold up these
	}
	q := pollRequest{Connection: l.connection, After: l.after, Frames: frames}
	l.mu.Unlock()
	body, err := encode(q)
	if err != nil {
		return err
	}
	// The token stands in the connect frame. An answer has about 256 KiB of frames, or
	// one frame.
	text, err := l.o.post(ctx, l.address, "", body, l.o.MaxFrame+1<<20)
	if hasStatus(err, http.StatusConflict) && l.beyond(q.After) {
		return l.exchange(ctx, frames)
	}
	if err != nil {
		return err
	}
	var a pollAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("the answer to a poll cannot be read: %w", err)
	}
	l.take(&a)
	return nil
}

// beyond tells whether there was an answer since a call was made. One that is on its way
// for longer than two others is refused for it, and nothing of it is carried out.
func (l *pollLink) beyond(after *uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.after != nil && (after == nil || *l.after > *after)
}

// take keeps the frames of an answer, unless they have come before: when two
// calls were under way the server may have given both the same.
func (l *pollLink) take(a *pollAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connection == "" {
		l.connection = a.Connection
	}
	if a.After != nil && (l.after == nil || *a.After > *l.after) {
		l.after = a.After
		for _, f := range a.Frames {
			l.frames = append(l.frames, f)
		}
	}
	if a.Closed != 0 && l.closed == nil {
		l.closed = endOf(a.Closed, "")
	}
}

func (l *pollLink) read() ([]byte, error) {
	failures := 0
	for {
		l.mu.Lock()
		if len(l.frames) > 0 {
			f := l.frames[0]
			l.frames = l.frames[1:]
			l.mu.Unlock()
			return f, nil
		}
		err := l.closed
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if err = l.call(l.life, nil); err == nil {
			failures = 0
			continue
		}
		// Nothing is lost when a call that brings no frames is made again.
		if failures++; failures > pollRetries || l.life.Err() != nil || !passing(err) {
			return nil, err
		}
		l.rest()
	}
}

// rest lets a moment pass, unless the link is dropped.
func (l *pollLink) rest() {
	pause := time.NewTimer(pollPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-l.life.Done():
	}
}

// passing tells whether it was the network that failed, or something in it, rather
// than the server that refused.
func passing(err error) bool {
	var e *statusError
	if !errors.As(err, &e) {
		return true
	}
	return e.status == http.StatusBadGateway || e.status == http.StatusServiceUnavailable || e.status == http.StatusGatewayTimeout
}

// write brings frames. The server refuses them, with 503, while replies wait that
// nobody has taken; the call that waits will.
func (l *pollLink) write(ctx context.Context, frames [][]byte) error {
	for turn := 0; ; turn++ {
		err := l.call(ctx, frames)
		if turn >= pollRetries || !hasStatus(err, http.StatusServiceUnavailable) {
			return err
		}
		l.rest()
	}
}

func (l *pollLink) welcomed(string) {}

func (l *pollLink) leave(ctx context.Context) {
	l.mu.Lock()
	q := pollRequest{Connection: l.connection, Close: true}
	l.mu.Unlock()
	if body, err := encode(q); err == nil && q.Connection != "" {
		_, _ = l.o.post(ctx, l.address, "", body, l.o.MaxFrame+1<<20)
	}
	l.drop()
}

func (l *pollLink) drop() { l.end() }
