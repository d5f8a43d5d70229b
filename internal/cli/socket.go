package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// dialTimeout bounds the handshake, and the wait for the welcome.
const dialTimeout = 20 * time.Second

// frame is what a command needs to know of a frame from the server.
type frame struct {
	Type      string     `json:"type"`
	ID        string     `json:"id"`
	Channel   string     `json:"channel"`
	User      string     `json:"user"`
	Code      fault.Code `json:"code"`
	Message   string     `json:"message"`
	Reconnect bool       `json:"reconnect"`
	After     int64      `json:"after"`     // ms
	Heartbeat float64    `json:"heartbeat"` // s

	raw []byte
}

// final is an error after which connecting again would change nothing.
type final struct{ err error }

// Error implements error.
func (f *final) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f *final) Unwrap() error { return f.err }

// leaving is a `bye` that asks the client to come back.
type leaving struct {
	err   error
	after time.Duration
}

// Error implements error.
func (l *leaving) Error() string { return l.err.Error() }

// Unwrap gives the cause.
func (l *leaving) Unwrap() error { return l.err }

// socket is a welcomed WebSocket connection. One goroutine pings the server, so
// that a link that died in silence is found; close ends it.
type socket struct {
	conn    *websocket.Conn
	welcome frame
	cancel  context.CancelFunc
	pinging sync.WaitGroup
}

// dial connects and waits for the welcome.
func (s *server) dial(ctx context.Context) (*socket, error) {
	address := s.base + "/ws"
	if s.user != "" {
		address += "?user=" + url.QueryEscape(s.user)
	}
	handshake, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(handshake, address, &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		if resp != nil && resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			return nil, &final{fmt.Errorf("%s answered %s to the handshake", address, resp.Status)}
		}
		return nil, s.unreachable(err)
	}
	conn.SetReadLimit(maxAnswer)
	k := &socket{conn: conn, cancel: func() {}}
	if s.user == "" {
		err = k.send(handshake, map[string]any{"type": protocol.TypeConnect, "token": s.token})
	}
	for err == nil && k.welcome.Type != protocol.TypeWelcome {
		k.welcome, err = k.read(handshake)
	}
	if err != nil {
		k.close()
		return nil, s.refused(err)
	}
	pings, stop := context.WithCancel(ctx)
	k.cancel = stop
	k.pinging.Go(func() { k.ping(pings) })
	return k, nil
}

// refused adds to the reason why there was no welcome what can be done about it.
func (s *server) refused(err error) error {
	switch {
	case s.user != "":
		return fmt.Errorf("%w; --user is for servers in development mode, others want a --token", err)
	case s.token == "":
		return fmt.Errorf("%w; give --token or SKEIN_TOKEN", err)
	}
	return err
}

// send writes a frame.
func (k *socket) send(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return k.conn.Write(ctx, websocket.MessageText, b)
}

// read gives the next frame. A `bye` is an error: final when the server does
// not want to see the client again.
func (k *socket) read(ctx context.Context) (frame, error) {
	_, text, err := k.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	var loose struct {
		frame
		ID json.RawMessage `json:"id"` // a text or a number
	}
	if err := json.Unmarshal(text, &loose); err != nil {
		return frame{}, fmt.Errorf("the server sent a frame that cannot be read: %w", err)
	}
	f := loose.frame
	f.raw = text
	_ = json.Unmarshal(loose.ID, &f.ID) // the ids of this program are texts
	if f.Type != protocol.TypeBye {
		return f, nil
	}
	err = fmt.Errorf("the server ended the connection: %s: %s", f.Code, f.Message)
	if !f.Reconnect {
		return f, &final{err}
	}
	return f, &leaving{err, time.Duration(f.After) * time.Millisecond}
}

// err gives what an `error` frame says.
func (f frame) err() error { return &fault.Error{Code: f.Code, Message: f.Message} }

// ping pings once per heartbeat and ends the connection when no answer comes.
func (k *socket) ping(ctx context.Context) {
	interval := max(time.Duration(k.welcome.Heartbeat*float64(time.Second)), time.Second)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := k.pong(ctx, interval); err != nil && ctx.Err() == nil {
			_ = k.conn.CloseNow()
			return
		}
	}
}

func (k *socket) pong(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return k.conn.Ping(ctx)
}

// close ends the connection and waits for its goroutine.
func (k *socket) close() {
	k.cancel()
	_ = k.conn.CloseNow()
	k.pinging.Wait()
}

// leave is close for a client that has nothing more to say.
func (k *socket) leave() {
	k.cancel()
	_ = k.conn.Close(websocket.StatusNormalClosure, "")
	k.pinging.Wait()
}

func isFinal(err error) bool {
	f := (*final)(nil)
	return errors.As(err, &f)
}
