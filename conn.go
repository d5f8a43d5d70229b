package skein

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// Conn is one live connection. Its methods may be called at any time and from
// anywhere; once the connection has ended they do nothing, or their error has the
// code not_found.
type Conn struct {
	server *Server
	s      *session.Session
}

// Conn gives a live connection by its id, nil when there is none.
func (s *Server) Conn(connection string) *Conn {
	c, err := s.conn(connection)
	if err != nil {
		return nil
	}
	return &Conn{s, session.Of(c)}
}

// UserConns gives the live connections of a user.
func (s *Server) UserConns(user string) []*Conn {
	conns := s.hub.UserConns(user)
	list := make([]*Conn, len(conns))
	for i, c := range conns {
		list[i] = &Conn{s, session.Of(c)}
	}
	return list
}

// ID is the connection's id, as clients and verbs know it.
func (c *Conn) ID() string { return c.s.ID.String() }

// User is who it is bound to; "" when it is anonymous.
func (c *Conn) User() string { return c.s.User() }

// Device is the device that it named; "" when it named none.
func (c *Conn) Device() string { return c.s.Identity().Device }

// Roles are the roles of its user, by its token or by the application; nil: none.
func (c *Conn) Roles() []string { return c.s.Identity().Roles.List() }

// Transport tells how it is connected: websocket, sse, poll, socket.io/websocket …
func (c *Conn) Transport() string { return c.s.Out().Transport() }

// Remote is the client's address, that of a trusted proxy's client.
func (c *Conn) Remote() netip.AddrPort { return c.s.Out().Remote() }

// Since is when it was welcomed.
func (c *Conn) Since() time.Time { return time.UnixMilli(c.s.Since()) }

// Channels lists what it is subscribed to.
func (c *Conn) Channels() []string { return c.s.Channels() }

// Alive tells whether it is still there.
func (c *Conn) Alive() bool { return c.server.hub.Conn(c.s.ID) == &c.s.Conn }

// Session reads the connection's session into v, as JSON.
func (c *Conn) Session(v any) error { return json.Unmarshal(c.s.Session(), v) }

// SetSession replaces the connection's session: v encodes to a JSON object.
func (c *Conn) SetSession(ctx context.Context, v any) error {
	return c.server.Call(ctx, "session.set", map[string]any{"connection": c.ID(), "data": v}, nil)
}

// MergeSession merges v into the connection's session (RFC 7396).
func (c *Conn) MergeSession(ctx context.Context, v any) error {
	return c.server.Call(ctx, "session.merge", map[string]any{"connection": c.ID(), "data": v}, nil)
}

// Send sends it a message, which its client gets with the channel @direct. It is
// not kept; delivered tells whether it was handed over.
func (c *Conn) Send(ctx context.Context, event string, data any) (delivered bool, err error) {
	raw, err := encode(data)
	if err != nil {
		return false, err
	}
	r, err := c.server.Publish(ctx, PublishParams{To: Targets{{Connection: c.ID()}}, Event: event, Data: raw})
	return r.Connections > 0, err
}

// Subscribe subscribes it to a channel, whatever its rights.
func (c *Conn) Subscribe(ctx context.Context, channel string) error {
	_, err := c.server.Subscribe(ctx, SubscribeParams{Connection: c.ID(), Channel: channel})
	return err
}

// Unsubscribe ends its subscription to a channel.
func (c *Conn) Unsubscribe(ctx context.Context, channel string) error {
	_, err := c.server.Unsubscribe(ctx, UnsubscribeParams{SubscribeParams: SubscribeParams{Connection: c.ID(), Channel: channel}})
	return err
}

// Bind makes it the connection of a user, with a device if one is named.
func (c *Conn) Bind(ctx context.Context, user, device string) error {
	return c.server.Bind(ctx, BindParams{Connection: c.ID(), User: user, Device: device})
}

// Unbind makes it anonymous.
func (c *Conn) Unbind(ctx context.Context) error {
	return c.server.Unbind(ctx, UnbindParams{Connection: c.ID()})
}

// Call calls a method of its client and waits for the reply until ctx ends. result
// may be nil. What the client answers as an error is a *[ClientError].
func (c *Conn) Call(ctx context.Context, method string, data, result any) error {
	raw, err := encode(data)
	if err != nil {
		return err
	}
	out, err := c.s.Call(ctx, method, raw)
	if said := (*session.ClientError)(nil); errors.As(err, &said) {
		return &ClientError{string(said.Fault.Code), said.Fault.Message}
	}
	if err != nil || result == nil {
		return err
	}
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("the client's reply to %s: %w", method, err)
	}
	return nil
}

// ClientError is what a client answered to a call in place of a result. It is not
// an [Error]: a function that returns it to another client sends an internal error.
type ClientError struct{ Code, Message string }

// Error implements error.
func (e *ClientError) Error() string { return e.Code + ": " + e.Message }

// Close sends it away for good: its client does not come back by itself. message
// says why.
func (c *Conn) Close(message string) { c.s.Bye(protocol.CloseDisconnected, message, 0) }

// After calls fn once, after d, unless the connection has ended by then. stop
// prevents it.
func (c *Conn) After(d time.Duration, fn func(context.Context)) (stop func()) {
	return c.timer(d, false, fn)
}

// Every calls fn every d until the connection ends or stop is called. A call that
// takes longer than d delays the next one; what was due meanwhile is left out.
func (c *Conn) Every(d time.Duration, fn func(context.Context)) (stop func()) {
	return c.timer(d, true, fn)
}

func (c *Conn) timer(d time.Duration, again bool, fn func(context.Context)) (stop func()) {
	t := newTicker(c.server, d, again, fn, nil)
	detach := c.s.Attach(t.stop)
	t.ended = detach
	t.start()
	return func() {
		detach()
		t.stop()
	}
}

// conn finds a connection that must be there.
func (s *Server) conn(connection string) (*hub.Conn, error) {
	c, ok := id.ParseConnection(connection)
	if !ok {
		return nil, fault.Field("connection", "is not the id of a connection")
	}
	conn := s.hub.Conn(c)
	if conn == nil {
		return nil, fault.New(fault.NotFound, "connection: there is no such connection")
	}
	return conn, nil
}
