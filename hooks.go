package skein

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/webhook"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// This file asks and tells the application: its functions, and its backend over
// HTTP (spec/hooks.md).

// setHooks puts what features, functions and the backend want to hear together.
func (s *Server) setHooks() {
	f := &s.functions
	h := session.Hooks{
		Admit:    s.access.Admit,
		Belongs:  s.groups.Belongs,
		Settle:   s.groups.Settle,
		IsMember: s.groups.IsMember,
		Converse: s.chats.May,
		Join:     s.channels.Join,
		Welcomed: s.welcomed,
		Bound: func(c *session.Session) {
			s.access.Recheck(c)
			s.chats.Bound(c)
			s.pushes.Welcome(&c.Conn)
		},
		Review: func(c *session.Session) { s.documents.Review(&c.Conn) },
		Closed: s.connectionClosed,
	}
	w := s.backend.Load()
	if len(f.connect) > 0 || w.wants(webhook.Connect) {
		h.Connect = s.askConnect
	}
	if len(f.subscribe) > 0 || w.wants(webhook.Subscribe) {
		h.Subscribe = s.askSubscribe
	}
	if len(f.message) > 0 || w.wants(webhook.Message) {
		h.Message = s.askMessage
	}
	if w.wants(webhook.Call) {
		h.Call = func(ctx context.Context, c *session.Session, method string, data []byte) ([]byte, bool, error) {
			out, err := w.call(ctx, c, method, data)
			return out, true, err
		}
	}
	s.sessions.SetHooks(h)
}

func (s *Server) askConnect(ctx context.Context, c *session.Connecting) error {
	if len(s.functions.connect) > 0 {
		if err := s.connectFunctions(ctx, c); err != nil {
			return err
		}
	}
	if w := s.backend.Load(); w.wants(webhook.Connect) {
		return w.connect(ctx, c)
	}
	return nil
}

func (s *Server) connectFunctions(ctx context.Context, c *session.Connecting) error {
	query, _ := url.ParseQuery(c.Query) // what cannot be read is left out
	p := &Connecting{
		Connection: c.ID.String(), Transport: c.Transport, Remote: c.Remote, Query: query, Header: c.Header, Data: c.Data, Known: c.Known, Token: c.Token,
		User: c.Identity.User, Device: c.Identity.Device, Expires: c.Identity.Expires.Time(), Caps: c.Identity.Caps.Map(),
		Roles: c.Identity.Roles.List(),
	}
	for _, fn := range s.functions.connect {
		err := error(errPanic)
		s.guard("a function for connections", func() { err = fn(ctx, p) })
		if err != nil {
			return err
		}
	}
	caps, err := auth.ParseCaps(p.Caps)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "internal error")
	}
	if p.User != c.Identity.User { // what a token gave ends with the identity that it gave it to
		if reflect.DeepEqual(p.Caps, c.Identity.Caps.Map()) {
			caps = nil
		}
		if p.Expires.Equal(c.Identity.Expires.Time()) {
			p.Expires = time.Time{}
		}
		if slices.Equal(p.Roles, c.Identity.Roles.List()) {
			p.Roles = nil
		}
		c.Identity = auth.Identity{}
	}
	roles, err := auth.ParseRoles(p.Roles)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "internal error")
	}
	c.Identity.Roles = roles
	c.Identity.User, c.Identity.Device, c.Identity.Expires, c.Identity.Caps = p.User, p.Device, auth.At(p.Expires), caps
	c.Accept = c.Accept || p.Accept
	c.Channels = append(c.Channels, p.Channels...)
	return setState(c, p.Session)
}

// setState takes the session that a connection begins with.
func setState(c *session.Connecting, state []byte) error {
	if state == nil {
		return nil
	}
	if err := protocol.Valid(state, 64); err != nil || len(state) == 0 || state[0] != '{' {
		return fault.Wrap(fault.Internal, errors.New("a session must be a JSON object"), "internal error")
	}
	c.State = state
	return nil
}

func (s *Server) askSubscribe(ctx context.Context, c *session.Session, channel string, allowed bool) (bool, error) {
	sub := &Subscribing{Conn: &Conn{s, c}, Channel: channel, Allow: allowed}
	namespace, _, _ := strings.Cut(channel, ":")
	for _, fn := range both(s.functions.subscribe, namespace) {
		err := error(errPanic)
		s.guard("a function for subscriptions", func() { err = fn(ctx, sub) })
		if err != nil {
			return false, err
		}
	}
	if w := s.backend.Load(); w.wants(webhook.Subscribe) && w.covers(channel) {
		return w.subscribe(ctx, c, channel, sub.Allow)
	}
	return sub.Allow, nil
}

// both gives what is for a namespace after what is for all.
func both[T any](m map[string][]T, namespace string) []T {
	if len(m) == 0 {
		return nil
	}
	return append(slices.Clip(m[""]), m[namespace]...)
}

func (s *Server) askMessage(ctx context.Context, c *session.Session, m *session.Message) error {
	if list := both(s.functions.message, m.Space.Name); len(list) > 0 {
		p := &Message{Conn: &Conn{s, c}, Channel: m.Channel, Key: m.Key, Notice: m.Notice, Patch: m.Patch, Edit: m.Edit, Event: m.Event, Data: m.Data, Allow: m.Allowed}
		for _, fn := range list {
			err := error(errPanic)
			s.guard("a function for messages", func() { err = fn(ctx, p) })
			switch {
			case err != nil:
				return err
			case p.err != nil:
				return p.err
			case p.reply != nil:
				m.Reply = p.reply
				return nil
			}
		}
		m.Allowed = p.Allow
		if err := change(m, p.Event, p.Data); err != nil {
			return err
		}
	}
	if w := s.backend.Load(); m.Allowed && w.wants(webhook.Message) && w.covers(m.Channel) {
		return w.message(ctx, c, m)
	}
	return nil
}

// change replaces what is published by what the application has made of it.
func change(m *session.Message, event string, data []byte) error {
	event, err := protocol.Event("event", event)
	if err == nil && string(data) != string(m.Data) {
		err = protocol.Valid(data, 64)
		if len(data) == 0 && !m.Notice {
			err = errors.New("data is missing")
		}
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "internal error")
	}
	if !m.Patch {
		m.Event = event
	}
	m.Data = data
	return nil
}

// welcomed is told of each connection that is in.
func (s *Server) welcomed(c *session.Session) {
	s.access.Recheck(c)
	for _, fn := range s.functions.open {
		s.guard("a function for open connections", func() { fn(s.life, &Conn{s, c}) })
	}
	s.pushes.Welcome(&c.Conn)
}

// connectionClosed is told of each connection that has ended.
func (s *Server) connectionClosed(c *session.Session, why protocol.Close, message string) {
	s.traces.Closed(&c.Conn, why, message)
	if identity := c.Identity(); identity.User != "" {
		s.access.Saw(identity.User, identity.Device, time.Now())
	}
	if w := s.backend.Load(); w.wants(webhook.Close) {
		b := appendConnection(nil, c)
		b = strconv.AppendInt(append(b, `,"code":`...), int64(why.Code), 10)
		b = protocol.AppendString(append(b, `,"reason":`...), why.Word)
		if message != "" {
			b = protocol.AppendString(append(b, `,"message":`...), message)
		}
		w.Tell(webhook.Close, or(c.User(), c.ID.String()), b)
	}
	for _, fn := range s.functions.closed {
		s.guard("a function for closed connections", func() { fn(&Conn{s, c}, closing(why, message)) })
	}
}

// userChanged is told that a user has come or gone.
func (s *Server) userChanged(user string, there bool, at time.Time) {
	s.chats.UserChanged(user, there, at)
	event := map[bool]string{true: webhook.Online, false: webhook.Offline}[there]
	if w := s.backend.Load(); w.wants(event) {
		w.Tell(event, user, protocol.AppendString([]byte(`,"user":`), user))
	}
	if channel := s.config().Online.Channel; channel != "" {
		s.announce(channel, event, protocol.AppendString([]byte(`{"user":`), user))
	}
	for _, fn := range s.functions.user {
		s.guard("a function for users", func() { fn(user, there) })
	}
}

// channelChanged is told that a channel is occupied or vacated.
func (s *Server) channelChanged(channel string, there bool, _ time.Time) {
	event := map[bool]string{true: webhook.Occupied, false: webhook.Vacated}[there]
	if w := s.backend.Load(); w.wants(event) {
		w.Tell(event, channel, protocol.AppendString([]byte(`,"channel":`), channel))
	}
	// Of the channel in which it is told nothing is told: nobody is there to hear it.
	if to := s.config().Online.Channel; to != "" && to != channel {
		s.announce(to, event, protocol.AppendString([]byte(`{"channel":`), channel))
	}
	for _, fn := range s.functions.channel {
		s.guard("a function for channels", func() { fn(channel, there) })
	}
}

// announce publishes an event of the server itself; data is an object that is left open.
func (s *Server) announce(channel, event string, data []byte) {
	if !s.begin() {
		return
	}
	defer s.running.Done()
	ctx, cancel := context.WithTimeout(s.life, 10*time.Second)
	defer cancel()
	if err := s.channels.Publish(ctx, protocol.Sender{}, channel, event, append(data, '}'), nil); err != nil {
		s.log.Warn("who is online could not be announced", "channel", channel, "error", err)
	}
}
