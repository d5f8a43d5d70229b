package session

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/protocol"
)

// Bounds of what is kept of a connection that is not welcomed yet.
const (
	maxEarlyFrames = 64
	maxEarlyBytes  = 64 << 10
)

// Session is one connection's protocol state. The zero value is ready for
// [Server.Open].
type Session struct {
	hub.Conn
	srv      *Server
	authAt   int64 // when patience for authentication ends, on the clock
	welcomed atomic.Bool
	ended    atomic.Bool

	// Owned by whoever calls Receive.
	bucket  ratelimit.Bucket
	early   *early // nil: nothing came before the welcome
	strikes int32

	leaving atomic.Bool // it has been told goodbye

	mu    sync.Mutex // guards calls and what is in it
	calls *calls     // nil: none so far
}

// early is what came before the welcome.
type early struct {
	frames  [][]byte
	bytes   int
	opening *Opening // for who decides at the connect frame; nil: nobody
}

// calls are the calls of one connection, in both directions. Few connections
// have any, so they are kept apart.
type calls struct {
	ctx     context.Context // of the client's; ended with the session
	cancel  context.CancelFunc
	running int                    // the client's that run
	asked   map[uint64]chan answer // ours that wait for a reply
	last    uint64
	attached
	parting *parting // what its client was told at the end; nil: nothing
}

// callsLocked makes them on first use.
func (s *Session) callsLocked() *calls {
	if s.calls == nil {
		s.calls = &calls{asked: map[uint64]chan answer{}}
		s.calls.ctx, s.calls.cancel = context.WithCancel(s.srv.ctx)
	}
	return s.calls
}

// Opening is what a client gave before its first frame.
type Opening struct {
	Token        string        // query or header; "": none
	User, Device string        // query, in development mode
	Roles        string        // alike, with commas between them
	Encoding     int           // of the hub's encodings
	Request      *http.Request // nil unless somebody asks for it; see [Server.Asks]
}

// bare tells that there is nothing in the request by which somebody could tell who
// the client is.
func (o *Opening) bare() bool {
	return o.Token == "" && (o.Request == nil || o.Request.URL.RawQuery == "" && o.Request.Header.Get("Cookie") == "" && o.Request.Header.Get("Authorization") == "")
}

// connecting is what is asked about a connection.
func (o *Opening) connecting(s *Session, identity auth.Identity, known bool) *Connecting {
	c := &Connecting{ID: s.ID, Transport: s.Out().Transport(), Remote: s.Out().Remote(), Identity: identity, Known: known}
	if o != nil && s.srv.Opaque() {
		c.Token = o.Token
	}
	if o != nil && o.Request != nil {
		c.Query, c.Header = o.Request.URL.RawQuery, o.Request.Header
	}
	return c
}

// Prepare binds the session to its server and its way out, before the transport
// can deliver frames.
func (srv *Server) Prepare(s *Session, out hub.Outlet, encoding int) {
	srv.PrepareIn(s, out, srv.cfg.Hub.Encoding(encoding))
}

// PrepareIn is [Server.Prepare] with an encoding that the hub has no index for.
func (srv *Server) PrepareIn(s *Session, out hub.Outlet, encoding hub.Encoding) {
	s.srv = srv
	s.Prepare(out, encoding)
	s.ID = id.NewConnection()
}

// Begin starts the session: it welcomes a connection that has brought its
// identity along, and gives any other some time to.
func (s *Session) Begin(o Opening) {
	settings := s.srv.settings.Load()
	s.authAt = s.srv.cfg.Clock.Now() + int64(settings.AuthTimeout)
	identity, known, err := s.srv.Identify(s.srv.ctx, o)
	if err != nil {
		s.refuse(fault.Of(err))
		return
	}
	asks := s.srv.Asks()
	if !known || asks {
		s.srv.cfg.Clock.Deadline(s.authAt, s)
	}
	if !known && (!asks || o.bare()) {
		s.keep(o)
		return
	}
	c := o.connecting(s, identity, known)
	switch err := s.srv.Judge(s.srv.ctx, c); {
	case err != nil:
		s.refuse(fault.Of(err))
	case c.Accept:
		s.welcome(nil, c)
	default:
		s.keep(o)
	}
}

// keep remembers what a client gave at first for who decides later.
func (s *Session) keep(o Opening) {
	if s.srv.Asks() {
		s.early = &early{opening: &o}
	}
}

// Welcomed tells whether the client is in.
func (s *Session) Welcomed() bool { return s.welcomed.Load() }

// Identify finds out who a client is by what it brought along; known is false
// when it brought nothing. Its error is a *fault.Error.
func (srv *Server) Identify(ctx context.Context, o Opening) (identity auth.Identity, known bool, err error) {
	switch {
	case o.Token != "" && !srv.Opaque():
		if identity, err = srv.cfg.Verifier.Verify(ctx, o.Token); err != nil {
			return auth.Identity{}, false, err
		}
		if identity.Device == "" {
			identity.Device = o.Device
		}
		return identity, true, nil
	case o.User != "" && srv.settings.Load().Dev:
		if err = protocol.UserID("user", o.User); err == nil {
			err = protocol.DeviceID("device", o.Device)
		}
		identity = auth.Identity{User: o.User, Device: o.Device}
		if err == nil && o.Roles != "" {
			if identity.Roles, err = auth.ParseRoles(strings.Split(o.Roles, ",")); err != nil {
				err = fault.Field("role", "%s", strings.TrimPrefix(err.Error(), "roles: "))
			}
		}
		return identity, err == nil, err
	}
	return auth.Identity{}, false, nil
}

// Tokens tells whether there are tokens that are believed.
func (srv *Server) Tokens() bool { return srv.cfg.Verifier.Enabled() }

// Anonymous tells whether a connection may stay without a user.
func (srv *Server) Anonymous() bool { return srv.settings.Load().Anonymous }

// Welcome starts a session whose transport has found out who the client is,
// instead of [Session.Begin]. False: the connection has ended meanwhile.
func (s *Session) Welcome(c *Connecting) bool {
	s.welcome(nil, c)
	return s.welcomed.Load()
}

// refuse ends a connection whose token is no good, or asks it to come back when
// that could not be found out.
func (s *Session) refuse(e *fault.Error) {
	s.srv.metrics.Refused.Add(1)
	s.log("a connection was refused", e)
	if e.Code == fault.Unavailable || e.Code == fault.Internal {
		s.bye(protocol.Close{Word: string(fault.Unavailable), Code: protocol.CloseInternal.Code, Reconnect: true}, e.Message, e.RetryAfter+Jitter(time.Second))
		return
	}
	s.bye(protocol.CloseTokenRefused, e.Message, 0)
}

// Bye says goodbye and closes. A client that should come back is told when.
func (s *Session) Bye(c protocol.Close, message string, spread time.Duration) {
	after := time.Duration(0)
	if c.Reconnect {
		after = Jitter(spread)
	}
	s.bye(c, message, after)
}

func (s *Session) bye(c protocol.Close, message string, after time.Duration) {
	s.ByeAfter(c, message, after)
}

// ByeAfter is Bye after some last frames, and with a given wait. False: the client
// had been told goodbye before.
func (s *Session) ByeAfter(c protocol.Close, message string, after time.Duration, last ...[]byte) bool {
	s.part(c, message)
	var wire []byte
	for _, frame := range last {
		wire = s.AppendEncoded(wire, frame)
	}
	wire = s.AppendEncoded(wire, protocol.AppendBye(nil, c, message, after))
	first := !s.leaving.Swap(true)
	s.Outlet().Close(c, c.Word, wire)
	return first
}

// part notes what the client is told at the end, for who wants to know.
func (s *Session) part(why protocol.Close, message string) {
	if s.srv.Hooks().Closed == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.callsLocked(); c.parting == nil {
		c.parting = &parting{why, message}
	}
}

// parting is what a client was told at the end.
type parting struct {
	why     protocol.Close
	message string
}

func (s *Session) encode(frame []byte) []byte {
	return s.Encode(frame)
}

func (s *Session) send(frame []byte) { s.SendFrame(frame, nil) }

// Due implements link.Deadline: time to authenticate, or the token, has run out.
func (s *Session) Due(now int64) {
	if s.ended.Load() {
		return
	}
	if !s.welcomed.Load() {
		if now >= s.authAt {
			s.srv.metrics.AuthTimeout.Add(1)
			s.Bye(protocol.CloseAuthTimeout, "no valid connect frame in time", time.Second)
		}
		return
	}
	identity := s.Identity()
	if identity.Expires.IsZero() {
		return
	}
	if time.Now().Before(identity.Expires.Time()) {
		s.watchExpiry(identity) // it was refreshed, or the wall clock was set back
		return
	}
	s.srv.metrics.Expired.Add(1)
	s.Bye(protocol.CloseTokenExpired, "the token has expired", time.Second)
}

// maxWatch is the longest that the expiry of a token goes unlooked at. The clock
// could not count to that of tokens that expire in the year 9999.
const maxWatch = 24 * time.Hour

// watchExpiry asks to be called when the identity expires, or to look again.
func (s *Session) watchExpiry(identity auth.Identity) {
	if !identity.Expires.IsZero() {
		s.srv.cfg.Clock.Deadline(s.srv.cfg.Clock.Now()+int64(min(time.Until(identity.Expires.Time()), maxWatch)), s)
	}
}

// welcome makes the connection part of the hub and runs what it sent too early.
func (s *Session) welcome(frameID []byte, c *Connecting) {
	identity := c.Identity
	belongs, stamp, err := s.belongs(s.srv.ctx, identity.User)
	if err != nil {
		s.refuse(fault.Of(err))
		return
	}
	c.Channels = s.existing(c.Channels)
	if c.State != nil {
		_, _ = s.UpdateSession(func([]byte) ([]byte, error) { return c.State, nil })
	}
	settings := s.srv.settings.Load()
	now := time.Now()
	b := make([]byte, 0, 256)
	b = append(b, `{"type":"welcome"`...)
	if frameID != nil {
		b = append(append(b, `,"id":`...), frameID...)
	}
	b = append(s.ID.Append(append(b, `,"connection":"`...)), '"')
	if identity.User != "" {
		b = protocol.AppendString(append(b, `,"user":`...), identity.User)
	}
	if identity.Device != "" {
		b = protocol.AppendString(append(b, `,"device":`...), identity.Device)
	}
	b = append(b, `,"heartbeat":`...)
	b = strconv.AppendFloat(b, settings.Heartbeat.Seconds(), 'f', -1, 64)
	b = append(append(b, `,"session":`...), s.Session()...)
	b = append(b, `,"channels":[`...)
	for i, channel := range slices.Concat(c.Channels, belongs) {
		if i >= len(c.Channels) && slices.Contains(c.Channels, channel) {
			continue // it is both
		}
		if b[len(b)-1] != '[' {
			b = append(b, ',')
		}
		b = protocol.AppendString(b, channel)
	}
	b = append(b, ']')
	if !identity.Expires.IsZero() {
		b = strconv.AppendInt(append(b, `,"expires":`...), int64(identity.Expires), 10)
	}
	b = strconv.AppendInt(append(b, `,"time":`...), now.UnixMilli(), 10)
	h := s.srv.cfg.Hub
	if !s.Out().SendFirst(func() {
		h.Add(&s.Conn, s.Out(), nil, s, identity, now.UnixMilli())
		s.welcomed.Store(true)
	}, s.encode(append(b, '}'))) {
		return // it has ended meanwhile
	}
	s.srv.metrics.Welcomed.Add(1)
	s.watchExpiry(identity)
	s.enter(s.srv.ctx, c.Channels, belongs, identity.User, stamp)
	if welcomed := s.srv.Hooks().Welcomed; welcomed != nil {
		welcomed(s)
	}
	if e := s.early; e != nil {
		s.early = nil
		for _, text := range e.frames {
			s.Received(text)
			f := frames.Get().(*protocol.Frame)
			s.handle(f, text, f.Read(text, settings.Depth))
			frames.Put(f)
		}
	}
}

// Receive handles one frame. Calls must not overlap; text is the session's to keep.
func (s *Session) Receive(text []byte) {
	s.Received(text)
	s.run(text)
}

// ReceiveBinary answers a binary message, which the protocol has no use for.
func (s *Session) ReceiveBinary() {
	s.fail(nil, "", fault.New(fault.BadFrame, "binary messages are not part of the protocol; send JSON as text"))
}

var frames = sync.Pool{New: func() any { return new(protocol.Frame) }}

func (s *Session) run(text []byte) {
	settings := s.srv.settings.Load()
	f := frames.Get().(*protocol.Frame)
	defer frames.Put(f)
	err := f.Read(text, settings.Depth)
	if s.Admit(f.ID) {
		s.handle(f, text, err)
	}
}

// Admit counts something that the client has sent, if its rate allows it;
// otherwise the client has been told. A frame counts by itself; this is for what a
// transport hands to the application. Calls must not overlap.
func (s *Session) Admit(frameID []byte) bool {
	rate := s.srv.settings.Load().FramesPerSecond
	if rate > 0 {
		if now := s.srv.cfg.Clock.Now(); !s.bucket.Allow(now, rate, rate) {
			s.limited(frameID, rate, now)
			return false
		}
		if s.strikes > 0 {
			s.strikes--
		}
	}
	l := s.srv.limits.Load()
	return l == nil || l.allowsUser(s, frameID)
}

// handle carries out a frame that was read, with what the reading gave.
func (s *Session) handle(f *protocol.Frame, text []byte, err error) {
	s.srv.metrics.Frames.Add(1)
	if err != nil {
		s.fail(f.ID, "", fault.Of(err))
		return
	}
	if !s.welcomed.Load() && f.Type != protocol.TypeConnect {
		s.postpone(f, text)
		return
	}
	handler := s.srv.handler(f)
	if handler == nil {
		s.fail(f.ID, "", fault.New(fault.UnknownType, "type: %q is not a frame type", f.Type))
		return
	}
	if l := s.srv.limits.Load(); l != nil && !l.allowsFrame(s, f) {
		return
	}
	if err := handler(s.srv.ctx, s, f); err != nil {
		channel, _ := protocol.Unquote(f.Raw("channel"))
		s.fail(f.ID, channel, fault.Of(err))
	}
}

// limited answers a frame that came too soon, and ends a client that does not
// listen.
func (s *Session) limited(frameID []byte, rate int, now int64) {
	s.srv.metrics.RateLimited.Add(1)
	s.strikes++
	if int(s.strikes) > 10*rate {
		s.Bye(protocol.CloseRateLimited, "far more frames than "+strconv.Itoa(rate)+" a second", 10*time.Second)
		return
	}
	wait := s.bucket.Wait(now, rate, rate)
	s.fail(frameID, "", fault.New(fault.RateLimited, "more than %d frames a second (limits.frames_per_second)", rate).After(wait))
}

// postpone keeps a frame that came before the welcome.
func (s *Session) postpone(f *protocol.Frame, text []byte) {
	if s.ended.Load() {
		return
	}
	if s.early == nil {
		s.early = new(early)
	}
	if len(s.early.frames) >= maxEarlyFrames || s.early.bytes+len(text) > maxEarlyBytes {
		s.fail(f.ID, "", fault.New(fault.TooLarge, "too much sent before the welcome; at most %d frames and %d bytes are kept", maxEarlyFrames, maxEarlyBytes))
		return
	}
	s.early.frames = append(s.early.frames, text)
	s.early.bytes += len(text)
}

// OK sends the reply to a frame, if the client asked for one. fields appends the
// reply's members, each with a comma in front; nil for none.
func (s *Session) OK(f *protocol.Frame, fields func([]byte) []byte) {
	if b := OKFrame(f.ID, fields); b != nil {
		s.send(b)
	}
}

// OKFrame builds the reply to the frame with the given id: nil when there is none.
func OKFrame(frameID []byte, fields func([]byte) []byte) []byte {
	if frameID == nil {
		return nil
	}
	b := append(make([]byte, 0, 160), `{"type":"ok","id":`...)
	b = append(b, frameID...)
	if fields != nil {
		b = fields(b)
	}
	return append(b, '}')
}

// log tells what a client is not told of an error.
func (s *Session) log(what string, e *fault.Error) {
	if e.Code == fault.Internal && e.Err != nil && s.srv.cfg.Logger != nil {
		s.srv.cfg.Logger.Error(what, "connection", s.ID.String(), "error", e.Err)
	}
}

func (s *Session) fail(frameID []byte, channel string, e *fault.Error) {
	s.srv.metrics.Errors.Add(1)
	s.log("a frame failed", e)
	s.send(protocol.AppendError(nil, frameID, channel, e))
}

// Drained tells the client what it missed while it was too slow.
func (s *Session) Drained() {
	if !s.welcomed.Load() {
		return
	}
	s.Conn.Drained()
	s.Drops(func(channel string, count uint32) {
		b := append([]byte(nil), `{"type":"dropped","channel":`...)
		b = protocol.AppendString(b, channel)
		b = strconv.AppendUint(append(b, `,"count":`...), uint64(count), 10)
		s.send(append(b, '}'))
	})
}

// Closed ends the session: the connection is gone, for the reason given.
func (s *Session) Closed(why protocol.Close, message string) {
	s.mu.Lock()
	s.ended.Store(true)
	s.early = nil
	var stops []func()
	if c := s.calls; c != nil {
		for _, stop := range c.stops {
			stops = append(stops, stop)
		}
		c.stops = nil
		if p := c.parting; p != nil {
			why, message = p.why, p.message
		}
		c.cancel()
		for _, ch := range c.asked {
			ch <- answer{err: fault.New(fault.NotFound, "the connection has ended")}
		}
		clear(c.asked)
	}
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	if !s.welcomed.Load() {
		return
	}
	if closed := s.srv.Hooks().Closed; closed != nil {
		closed(s, why, message)
	}
	s.srv.cfg.Hub.Remove(&s.Conn)
}
