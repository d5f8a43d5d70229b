// Package session is the protocol state of a connection: who it is, what it may
// do, the frames it sends. It knows the frames that every connection needs
// (connect, refresh, ping, call, reply); features register the others.
//
// A session stores nothing. Its frames are handled one after the other by
// whoever calls [Session.Receive]; calls of the application run on goroutines of
// their own, bounded per session, that end with the session.
package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

// Verifier says who a token is for.
type Verifier interface {
	Enabled() bool
	Verify(ctx context.Context, token string) (auth.Identity, error)
}

// Clock calls deadlines; *link.Server is one.
type Clock interface {
	Now() int64
	Deadline(at int64, d link.Deadline)
}

// Config of a [Server]. Settings may be replaced while it runs; the rest may not.
type Config struct {
	Hub      *hub.Hub
	Clock    Clock
	Verifier Verifier
	Logger   *slog.Logger
	Settings Settings
}

// Settings are the limits and rules that a reload can change.
type Settings struct {
	AuthTimeout     time.Duration
	Heartbeat       time.Duration // told in welcome
	Anonymous       bool          // a connection may stay without a user
	Dev             bool          // ?user= binds without a token
	Depth           int           // nesting of JSON
	Subscriptions   int           // per connection
	FramesPerSecond int           // per connection; negative: no limit
}

// FrameHandler carries out one frame. It replies itself, with [Session.OK], when
// it succeeds; an error that it returns is sent to the client.
type FrameHandler func(ctx context.Context, s *Session, f *protocol.Frame) error

// CallHandler answers the call of a method by a client: raw JSON in and out.
type CallHandler func(ctx context.Context, s *Session, data []byte) ([]byte, error)

// Metrics counts what sessions have done.
type Metrics struct {
	Frames      atomic.Int64 // frames handled
	Errors      atomic.Int64 // error frames sent
	RateLimited atomic.Int64
	Welcomed    atomic.Int64
	Refused     atomic.Int64 // tokens refused
	AuthTimeout atomic.Int64
	Expired     atomic.Int64

	// By the limits of [Server.SetLimits]: what was refused, and what would have
	// been if they were not tried out only.
	UserLimited, FrameLimited           atomic.Int64
	UserWouldLimited, FrameWouldLimited atomic.Int64
}

// Server is what all sessions share.
type Server struct {
	cfg      Config
	settings atomic.Pointer[Settings]
	limits   atomic.Pointer[limits] // nil: none
	metrics  Metrics
	frames   map[string]FrameHandler
	reserved map[reserved]FrameHandler
	calls    map[string]CallHandler
	own      []ownCalls
	hooks    atomic.Pointer[Hooks]
	running  sync.WaitGroup

	ctx    context.Context // ends with the server; sessions run their handlers under it
	cancel context.CancelFunc
}

// NewServer makes a Server. Features register on it before the first session.
func NewServer(cfg Config) *Server {
	s := &Server{cfg: cfg, frames: map[string]FrameHandler{}, reserved: map[reserved]FrameHandler{}, calls: map[string]CallHandler{}}
	s.Configure(cfg.Settings)
	s.SetHooks(Hooks{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.frames[protocol.TypeConnect] = connect
	s.frames[protocol.TypeRefresh] = refresh
	s.frames[protocol.TypePing] = ping
	s.frames[protocol.TypeCall] = call
	s.frames[protocol.TypeReply] = reply
	return s
}

// Configure replaces the settings. Sessions that are open see them at once.
func (s *Server) Configure(settings Settings) { s.settings.Store(&settings) }

// Metrics gives the live counters.
func (s *Server) Metrics() *Metrics { return &s.metrics }

// Handle registers what answers a frame type.
func (s *Server) Handle(frameType string, fn FrameHandler) { s.frames[frameType] = fn }

// reserved is a frame type for one of the server's own channels.
type reserved struct{ channel, frameType string }

// HandleIn registers what answers a frame type that is also registered for all
// channels, for one of the server's own channels, whose names begin with "@", or, with "",
// for frames that name no channel.
func (s *Server) HandleIn(channel, frameType string, fn FrameHandler) {
	s.reserved[reserved{channel, frameType}] = fn
}

// handler finds what answers a frame; nil: nothing does.
func (s *Server) handler(f *protocol.Frame) FrameHandler {
	if raw := f.Raw("channel"); len(s.reserved) > 0 && (raw == nil || len(raw) > 2 && (raw[1] == '@' || raw[1] == '\\')) {
		channel, _ := protocol.Unquote(raw) // "" when there is none
		if fn := s.reserved[reserved{channel, f.Type}]; fn != nil {
			return fn
		}
	}
	return s.frames[f.Type]
}

// HandleCall registers what answers the call of a method.
func (s *Server) HandleCall(method string, fn CallHandler) { s.calls[method] = fn }

// ownCalls are methods of the server itself.
type ownCalls struct {
	prefix string
	there  func() bool
	answer func(ctx context.Context, s *Session, method string, data []byte) ([]byte, error)
}

// HandleOwnCalls has the server itself answer the methods whose names begin with prefix,
// whatever the application does, as long as there says so.
func (s *Server) HandleOwnCalls(prefix string, there func() bool, answer func(ctx context.Context, s *Session, method string, data []byte) ([]byte, error)) {
	s.own = append(s.own, ownCalls{prefix, there, answer})
}

// OwnCall tells whether a method is one that the server itself answers.
func (s *Server) OwnCall(method string) bool { return s.ownCall(method) != nil }

func (s *Server) ownCall(method string) CallHandler {
	for _, o := range s.own {
		if strings.HasPrefix(method, o.prefix) && o.there() {
			return func(ctx context.Context, c *Session, data []byte) ([]byte, error) {
				return o.answer(ctx, c, method, data)
			}
		}
	}
	return nil
}

// Hub is where the sessions' connections are.
func (s *Server) Hub() *hub.Hub { return s.cfg.Hub }

// Cancel ends the contexts of handlers and of who is asked.
func (s *Server) Cancel() { s.cancel() }

// Close ends the handlers' contexts and waits for calls that still run.
func (s *Server) Close() {
	s.cancel()
	s.running.Wait()
}

// Server is what the session shares with others.
func (s *Session) Server() *Server { return s.srv }

// Of gives the session of a connection of the hub.
func Of(c *hub.Conn) *Session { return c.Owner().(*Session) }

// Jitter is a random time up to span, so that clients do not come back together.
func Jitter(span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	return rand.N(span)
}

// Allowed tells whether a connection has the right to do verb in a channel.
//
// It does not know who is a member; see [Session.Space]. In a conversation nobody has a
// right without being one.
func Allowed(space *hub.Space, verb auth.Verb, channel string, id auth.Identity) bool {
	if space.Chat != nil {
		return false
	}
	return auth.Allowed(rule(space, verb), verb, channel, id)
}

// rule is a namespace's rule for verb.
func rule(space *hub.Space, verb auth.Verb) auth.Who {
	switch verb {
	case auth.Sub:
		return space.Subscribe
	case auth.Pub:
		return space.Publish
	case auth.Presence:
		return space.PresenceTo
	case auth.History:
		return space.History
	case auth.Patch:
		return space.Patch
	}
	return auth.Server
}

// Space gives the rules of the frame's channel if the session has the right to
// do verb there.
func (s *Session) Space(ctx context.Context, f *protocol.Frame, verb auth.Verb) (channel string, space *hub.Space, err error) {
	channel, space, allowed, err := s.Find(ctx, f, verb)
	if err == nil && !allowed {
		return channel, nil, Denied(verb, channel)
	}
	return channel, space, err
}

var words = map[auth.Verb]string{auth.Sub: "subscribe to", auth.Pub: "publish to", auth.Presence: "see the presence of", auth.History: "read the history of", auth.Patch: "change"}

// Recheck ends the subscriptions that the session has no right to any more, and
// shows in the others what it may see now.
func (s *Session) Recheck() {
	id := s.Identity()
	for _, sub := range s.Subs() {
		ch := sub.Channel()
		space := s.srv.cfg.Hub.Space(ch.Space().Name)
		reasons, why := sub.Reasons(), "denied"
		switch {
		case space == nil: // its rules are gone
		case reasons == 0:
			why = "server" // it was there for what has ended
		case space.Chat != nil && reasons&hub.Ordered == 0 && rule(space, auth.Sub) == auth.Token && !Capable(space, auth.Sub, ch.Name(), id):
			// a member without the capability
		case reasons&^hub.Asked != 0 || Allowed(space, auth.Sub, ch.Name(), id):
			continue
		}
		if s.srv.cfg.Hub.Unsubscribe(&s.Conn, ch.Name()) {
			s.SendFrame(Unsubscribed(ch.Name(), why), nil)
		}
	}
	if review := s.srv.Hooks().Review; review != nil {
		review(s)
	}
}

// Subscribed is the frame that tells a client of a subscription by the server;
// more appends further members, nil: none.
func Subscribed(channel, reason string, more func(b []byte) []byte) []byte {
	b := changed(protocol.TypeSubscribed, channel, reason)
	if more == nil {
		return b
	}
	return append(more(b[:len(b)-1]), '}')
}

// Unsubscribed is the frame that tells a client that the server ended a subscription.
func Unsubscribed(channel, reason string) []byte {
	return changed(protocol.TypeUnsubscribed, channel, reason)
}

func changed(kind, channel, reason string) []byte {
	b := append(append([]byte(`{"type":"`), kind...), `","channel":`...)
	b = protocol.AppendString(b, channel)
	b = protocol.AppendString(append(b, `,"reason":`...), reason)
	return append(b, '}')
}

// Methods lists the methods that clients can call.
func (s *Server) Methods() []string {
	names := make([]string, 0, len(s.calls))
	for name := range s.calls {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// MayPresence tells whether the session may see who is in a channel.
func (s *Session) MayPresence(ctx context.Context, space *hub.Space, channel string) (bool, error) {
	return s.right(ctx, space, auth.Presence, channel)
}
