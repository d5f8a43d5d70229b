package skein

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// This file is where an application's own functions come in. They are registered
// before the server serves. A function's error goes to the client: an *[Error] as
// it is, any other as an internal error without its text. Functions may be called
// at the same time for different connections; for one connection one after the
// other, in the order of its frames, so a function that waits makes its client wait.

// Connecting is a client that wants to be welcomed.
type Connecting struct {
	Connection string // the id that it will have
	Transport  string
	Remote     netip.AddrPort
	Query      url.Values  // of the request
	Header     http.Header // of the request; not to be changed
	// Data is what the client put into data of its connect frame, or into auth with
	// Socket.IO: raw JSON, nil when there is none.
	Data  json.RawMessage
	Known bool   // its token is believed
	Token string // what it gave as token when the server is not configured to believe any (auth.jwt)

	// A function may change what follows.

	User, Device string // who it is; by its token, if it has one
	Expires      time.Time
	Caps         map[string][]string // rights on top of the namespaces' rules
	Roles        []string            // for the rules of documents
	Session      json.RawMessage     // the session it begins with, a JSON object; nil: {}
	Channels     []string            // that it is subscribed to at once, whatever its rights
	Accept       bool                // it may stay without a user, also where anonymous clients may not
}

// Subscribing is a client that wants to subscribe to a channel.
type Subscribing struct {
	Conn    *Conn
	Channel string
	// Allow tells what the rules say; a function may change it.
	Allow bool
}

// Message is something that a client wants to publish.
type Message struct {
	Conn    *Conn
	Channel string
	Key     string // its idempotency key; "": none
	Notice  bool   // it is a notice: Data may be empty, and nobody keeps it
	Patch   bool   // it is a patch of a document: Data is its operations, Event is "patch" and stays so
	// Edit is not zero when the message with this seq in a conversation is to get other content.
	Edit uint64

	// A function may change what follows.

	Event string
	Data  json.RawMessage
	// Allow is what the rules say. In a conversation (chat) nobody is asked about what they
	// refuse, and nothing can be allowed beyond them.
	Allow bool

	reply []byte // the answer; nil: none
	err   error  // it cannot be encoded
}

// Decode reads the message's data into v.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Data, v); err != nil {
		return fault.Wrap(fault.BadRequest, err, "data: %s", err)
	}
	return nil
}

// Reply answers the message: it is not published, and the publisher's ok carries v
// as reply (a Socket.IO client gets it as acknowledgement).
func (m *Message) Reply(v any) {
	if m.reply, m.err = encode(v); m.err != nil {
		m.err = fault.Wrap(fault.Internal, m.err, "internal error")
	}
}

// Closing is why a connection ended.
type Closing struct {
	Reason  string // the word that bye has: normal, going_away, heartbeat_lost, too_slow …
	Code    int    // the WebSocket close code
	Message string
}

// functions are those of an application.
type functions struct {
	connect   []func(context.Context, *Connecting) error
	subscribe map[string][]func(context.Context, *Subscribing) error
	message   map[string][]func(context.Context, *Message) error
	open      []func(context.Context, *Conn)
	closed    []func(*Conn, Closing)
	user      []func(user string, online bool)
	channel   []func(channel string, occupied bool)
	escalate  []func(context.Context, Escalation) error
}

// OnConnect adds a function that decides about each connection before it is
// welcomed. It is asked with the client's first request when that has a token, a
// cookie or a query, and with its connect frame otherwise; when the request alone
// does not say who it is, it is asked again then.
func (s *Server) OnConnect(fn func(ctx context.Context, c *Connecting) error) {
	s.functions.connect = append(s.functions.connect, fn)
	s.setHooks()
}

// OnOpen adds a function that is called for each connection that was welcomed,
// before its frames are handled.
func (s *Server) OnOpen(fn func(ctx context.Context, c *Conn)) {
	s.functions.open = append(s.functions.open, fn)
	s.setHooks()
}

// OnSubscribe adds a function that decides about subscriptions in a namespace, ""
// for all of them.
func (s *Server) OnSubscribe(namespace string, fn func(ctx context.Context, sub *Subscribing) error) {
	if s.functions.subscribe == nil {
		s.functions.subscribe = map[string][]func(context.Context, *Subscribing) error{}
	}
	s.functions.subscribe[namespace] = append(s.functions.subscribe[namespace], fn)
	s.setHooks()
}

// OnMessage adds a function that decides about what clients publish in a namespace,
// notices and patches too, "" for all of them: it may refuse it, change it, or answer it. It is asked also
// when the rules do not allow it, and may allow it.
func (s *Server) OnMessage(namespace string, fn func(ctx context.Context, m *Message) error) {
	if s.functions.message == nil {
		s.functions.message = map[string][]func(context.Context, *Message) error{}
	}
	s.functions.message[namespace] = append(s.functions.message[namespace], fn)
	s.setHooks()
}

// OnUser adds a function that is told when a user's first connection is there, and
// when its last one has gone and the grace time (Online.Grace) has passed.
func (s *Server) OnUser(fn func(user string, online bool)) {
	s.functions.user = append(s.functions.user, fn)
}

// OnChannel adds a function that is told when a channel has its first subscriber,
// and when it has none any more and the grace time has passed.
func (s *Server) OnChannel(fn func(channel string, occupied bool)) {
	s.functions.channel = append(s.functions.channel, fn)
}

// OnClose adds a function that is called when a connection has ended. Who it was,
// its session and its channels can still be asked for during the call.
func (s *Server) OnClose(fn func(c *Conn, why Closing)) {
	s.functions.closed = append(s.functions.closed, fn)
	s.setHooks()
}

// OnCall answers the calls of a method by clients: raw JSON in and out. fn may be
// called many times at once, also for one connection. Where a namespace has conversations,
// methods whose names begin with "chat." are the server's own. See also [HandleCall].
func (s *Server) OnCall(method string, fn func(ctx context.Context, c *Conn, data []byte) ([]byte, error)) {
	if s.sessions.OwnCall(method) {
		panic("skein: the server itself answers calls that begin with \"chat.\": " + method)
	}
	s.sessions.HandleCall(method, func(ctx context.Context, c *session.Session, data []byte) (out []byte, err error) {
		err = errPanic
		s.guard("a function for calls", func() { out, err = fn(ctx, &Conn{s, c}, data) })
		return out, err
	})
}

// HandleCall is [Server.OnCall] with Go values: params that do not fit are an error
// of the client.
func HandleCall[P, R any](s *Server, method string, fn func(ctx context.Context, c *Conn, params P) (R, error)) {
	s.OnCall(method, func(ctx context.Context, c *Conn, data []byte) ([]byte, error) {
		var p P
		if len(data) > 0 {
			if err := json.Unmarshal(data, &p); err != nil {
				return nil, fault.Wrap(fault.BadRequest, err, "data: %s", err)
			}
		}
		r, err := fn(ctx, c, p)
		if err != nil {
			return nil, err
		}
		return verb.Marshal(r)
	})
}

// HandleVerb adds a verb of the application's to those of the server: it is called
// over HTTP with an API key (POST /api/v1/app.…), by [Server.Call], and by
// schedules. Its name begins with "app."; params and results are Go values that
// encode to JSON objects. summary is a sentence for the reference.
func HandleVerb[P, R any](s *Server, name, summary string, fn func(ctx context.Context, params P) (R, error)) {
	if rest, ok := strings.CutPrefix(name, applicationVerb); !ok || rest == "" {
		panic("skein: the name of an application's verb begins with \"app.\": " + name)
	}
	verb.Add(s.verbs, name, summary, func(ctx context.Context, p P) (r R, err error) {
		err = errPanic
		s.guard("a verb of the application", func() { r, err = fn(ctx, p) })
		return r, err
	})
}

// NewError makes an error that a client gets as it is. code is a word of the
// protocol: denied, not_found, bad_request, conflict …
func NewError(code, message string) *Error {
	for _, known := range fault.Codes {
		if string(known) == code {
			return &Error{Code: known, Message: message}
		}
	}
	return &Error{Code: fault.Internal, Message: message}
}

var errPanic = fault.New(fault.Internal, "internal error")

// guard runs a function of the application. One that panics costs its client an
// error, and nobody else.
func (s *Server) guard(what string, fn func()) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error(what+" panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	fn()
}

// begin notes work that Close waits for; false: it is too late.
func (s *Server) begin() bool {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.life.Err() != nil {
		return false
	}
	s.running.Add(1)
	return true
}

// encode gives a value as JSON.
func encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok && raw != nil {
		if err := protocol.Valid(raw, 1<<10); err != nil {
			return nil, fault.Wrap(fault.BadRequest, err, "the data is not JSON: %s", err)
		}
		return raw, nil
	}
	b, err := verb.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(fault.BadRequest, err, "the data cannot be encoded: %s", err)
	}
	return b, nil
}

// closing turns a close of the protocol into what functions are told.
func closing(why protocol.Close, message string) Closing {
	return Closing{Reason: why.Word, Code: int(why.Code), Message: message}
}
