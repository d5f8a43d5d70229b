package session

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

// Hooks are what sessions ask and tell others: the application, and features. Nil
// functions are neither asked nor told. What is asked may take its time: the
// connection's next frames wait for the answer, and nobody else's. Errors are sent
// to the client; those that are no *fault.Error are internal.
type Hooks struct {
	// Connect decides about a connection that wants to be welcomed.
	Connect func(ctx context.Context, c *Connecting) error
	// Subscribe decides about a subscription that a client asks for; allowed tells
	// what the rules say.
	Subscribe func(ctx context.Context, s *Session, channel string, allowed bool) (bool, error)
	// Message decides about what a client publishes.
	Message func(ctx context.Context, s *Session, m *Message) error
	// Call answers methods that nobody has registered; false: it does not know it.
	Call func(ctx context.Context, s *Session, method string, data []byte) (result []byte, known bool, err error)
	// Welcomed is told of a connection that is in, before its frames are handled.
	Welcomed func(s *Session)
	// Closed is told of a connection that was welcomed and has ended, while its
	// identity, its session and its subscriptions can still be asked for.
	Closed func(s *Session, why protocol.Close, message string)

	// Admit refuses identities that are not let in, whatever their token says.
	Admit func(identity auth.Identity) error
	// Bound is told of a session that has got another identity since it was welcomed.
	Bound func(s *Session)
	// Belongs gives the channels that a user is a member of, and a stamp for Settle.
	Belongs func(ctx context.Context, user string) (channels []string, stamp uint64, err error)
	// Settle makes up for what has changed since Belongs gave the stamp.
	Settle func(ctx context.Context, s *Session, user string, stamp uint64)
	// IsMember tells whether a user is a member of a channel.
	IsMember func(ctx context.Context, channel, user string) (bool, error)
	// Converse tells whether a user may do verb in a conversation; its error says why not.
	Converse func(ctx context.Context, space *hub.Space, verb auth.Verb, channel, user string) error
	// Review is told of a session whose rights may have changed.
	Review func(s *Session)
	// Join subscribes a session to a channel, for the server's reasons; as long as it
	// is the user's, who is nil when that does not matter.
	Join func(ctx context.Context, s *Session, user *string, channel string, by hub.Reason) error
}

// Connecting is a connection that wants to be welcomed. Who answers may change
// what is below the line.
type Connecting struct {
	ID        id.Connection
	Transport string
	Remote    netip.AddrPort
	Query     string // of the request
	Header    http.Header
	Data      []byte // of the connect frame, raw JSON; nil: none
	Known     bool   // it has brought an identity that is believed
	Token     string // what it has brought where no tokens are believed here

	Identity auth.Identity
	State    []byte   // the session that it begins with, a JSON object; nil: {}
	Channels []string // that it is subscribed to at once
	Accept   bool     // it may be without a user
}

// Message is what a client publishes. Who answers may change what is below the
// line.
type Message struct {
	Channel string
	Space   *hub.Space
	Key     string
	Notice  bool   // it is a notice
	Patch   bool   // it is a patch of a document: Data is its operations, and Event cannot be changed
	Edit    uint64 // the message with this seq gets other content; zero: it is a new one
	Allowed bool   // what the rules say; may be changed, too, but not in a conversation

	Event string
	Data  []byte // raw JSON
	Reply []byte // raw JSON; not nil: it is answered with this and not published
}

// SetHooks says who is asked and told from now on.
func (srv *Server) SetHooks(h Hooks) { srv.hooks.Store(&h) }

// Hooks gives who is asked and told.
func (srv *Server) Hooks() *Hooks { return srv.hooks.Load() }

// Asks tells whether connections are decided about by somebody who wants to see
// their request.
func (srv *Server) Asks() bool { return srv.Hooks().Connect != nil }

// Opaque tells that tokens are for who decides about connections to understand.
func (srv *Server) Opaque() bool { return srv.Asks() && !srv.Tokens() }

// Judge asks whether a connection is let in. Its error is a *fault.Error.
func (srv *Server) Judge(ctx context.Context, c *Connecting) error {
	if err := srv.Admits(c.Identity); err != nil {
		return fault.Of(err)
	}
	c.Accept = c.Known
	if srv.Hooks().Connect == nil {
		return nil
	}
	before := c.Identity.User
	if err := srv.Hooks().Connect(ctx, c); err != nil {
		return fault.Of(err)
	}
	if c.Identity.User != before {
		if err := protocol.UserID("user", c.Identity.User); c.Identity.User != "" && err != nil {
			return fault.Wrap(fault.Internal, err, "the application named a user that cannot be")
		}
		if err := srv.Admits(c.Identity); err != nil {
			return fault.Of(err)
		}
	}
	if err := protocol.DeviceID("device", c.Identity.Device); err != nil {
		return fault.Wrap(fault.Internal, err, "the application named a device that cannot be")
	}
	c.Accept = c.Accept || c.Identity.User != ""
	return nil
}

// existing gives the channels that can be, each once.
func (s *Session) existing(channels []string) []string {
	var list []string
	for _, channel := range channels {
		namespace, err := protocol.Namespace("channel", channel)
		if err == nil && s.srv.cfg.Hub.Space(namespace) == nil {
			err = fault.New(fault.NotFound, "namespace %q is not configured", namespace)
		}
		switch {
		case err == nil && !slices.Contains(list, channel):
			list = append(list, channel)
		case err != nil && s.srv.cfg.Logger != nil:
			s.srv.cfg.Logger.Warn("the application wants a connection in a channel that cannot be", "connection", s.ID.String(), "channel", channel, "error", err)
		}
	}
	return list
}

// belongs looks up what a user is a member of.
func (s *Session) belongs(ctx context.Context, user string) (channels []string, stamp uint64, err error) {
	if user == "" || s.srv.Hooks().Belongs == nil {
		return nil, 0, nil
	}
	return s.srv.Hooks().Belongs(ctx, user)
}

// enter subscribes a session that has just been welcomed, or bound to another
// user, to what the application wants and what its user is a member of.
func (s *Session) enter(ctx context.Context, asked, belongs []string, user string, stamp uint64) {
	h := s.srv.Hooks()
	join := func(list []string, who *string, by hub.Reason) {
		for _, channel := range list {
			err := h.Join(ctx, s, who, channel, by)
			if err != nil && !s.ended.Load() && s.srv.cfg.Logger != nil {
				s.srv.cfg.Logger.Warn("a connection could not be subscribed", "connection", s.ID.String(), "channel", channel, "error", err)
			}
			if fault.Of(err) != nil && fault.Of(err).Code == fault.Unavailable {
				// What it misses now nobody would tell it: it shall try again.
				s.Bye(protocol.Close{Word: string(fault.Unavailable), Code: protocol.CloseInternal.Code, Reconnect: true}, "the connection's channels cannot be read now", 5*time.Second)
				return
			}
		}
	}
	if h.Join != nil {
		join(asked, nil, hub.Ordered)
		join(belongs, &user, hub.Membership)
	}
	if user != "" && h.Settle != nil {
		h.Settle(ctx, s, user, stamp)
	}
}

// Rebind makes the connection that of another user, or of nobody: it leaves what it
// had as a member or by its token, and joins what the new user is a member of.
func (s *Session) Rebind(ctx context.Context, identity auth.Identity) error {
	if err := s.srv.Admits(identity); err != nil {
		return err
	}
	same := s.User() == identity.User
	var channels []string
	var stamp uint64
	var err error
	if !same {
		if channels, stamp, err = s.belongs(ctx, identity.User); err != nil {
			return err
		}
	}
	s.rebound(identity)
	s.Recheck()
	if !same {
		s.enter(ctx, nil, channels, identity.User, stamp)
	}
	return nil
}

// rebound gives the session another identity and says so.
func (s *Session) rebound(identity auth.Identity) {
	s.Bind(identity)
	if bound := s.srv.Hooks().Bound; bound != nil {
		bound(s)
	}
}

// right tells whether the session may do verb in a channel.
func (s *Session) right(ctx context.Context, space *hub.Space, verb auth.Verb, channel string) (bool, error) {
	if space.Chat == nil && rule(space, verb) == auth.Member && s.srv.cfg.Hub.IsMember(&s.Conn, channel) {
		return true, nil
	}
	return s.srv.Right(ctx, space, verb, channel, s.Identity())
}

// Right tells whether an identity may do verb in a channel, also as a member. In a
// conversation its error says why not: nobody is asked whether it may be all the same.
func (srv *Server) Right(ctx context.Context, space *hub.Space, verb auth.Verb, channel string, identity auth.Identity) (bool, error) {
	if space.Chat != nil {
		err := srv.converse(ctx, space, verb, channel, identity)
		return err == nil, err
	}
	if Allowed(space, verb, channel, identity) {
		return true, nil
	}
	if rule(space, verb) != auth.Member || identity.User == "" || srv.Hooks().IsMember == nil {
		return false, nil
	}
	return srv.Hooks().IsMember(ctx, channel, identity.User)
}

// converse tells whether an identity may do verb in a conversation. Its members may, as
// far as they may by their role; where the namespace says token, the token must say so, too.
func (srv *Server) converse(ctx context.Context, space *hub.Space, verb auth.Verb, channel string, identity auth.Identity) error {
	switch {
	case identity.User == "":
		return fault.New(fault.Unauthorized, "channel: a conversation is between users, and this connection has none")
	case !Capable(space, verb, channel, identity) || srv.Hooks().Converse == nil:
		return Denied(verb, channel)
	}
	return srv.Hooks().Converse(ctx, space, verb, channel, identity.User)
}

// Capable tells whether the rules of a conversation leave a verb to those of its members
// who have this identity.
func Capable(space *hub.Space, verb auth.Verb, channel string, identity auth.Identity) bool {
	switch rule(space, verb) {
	case auth.Server:
		return false
	case auth.Token:
		return identity.Caps.Allows(channel, verb)
	}
	return true
}

// Admits refuses an identity that is not let in.
func (srv *Server) Admits(identity auth.Identity) error {
	if srv.Hooks().Admit == nil {
		return nil
	}
	return srv.Hooks().Admit(identity)
}

// KeyScope is an idempotency key with whose it is; "" for none. Keys belong to the
// user, so that a client may repeat on a new connection; an anonymous client's
// belong to its connection.
func (s *Session) KeyScope(key string) string {
	switch {
	case key == "":
		return ""
	case s.User() == "":
		return "connection\x00" + s.ID.String() + "\x00" + key
	}
	return "user\x00" + s.User() + "\x00" + key
}

// Find gives the rules of the frame's channel, and whether the session has the
// right to do verb there.
func (s *Session) Find(ctx context.Context, f *protocol.Frame, verb auth.Verb) (channel string, space *hub.Space, allowed bool, err error) {
	channel, namespace, err := f.Channel()
	if err != nil {
		return "", nil, false, err
	}
	if space = s.srv.cfg.Hub.Space(namespace); space == nil {
		return channel, nil, false, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	}
	allowed, err = s.right(ctx, space, verb, channel)
	return channel, space, allowed, err
}

// Denied is the error of one who has not the right to do verb in a channel.
func Denied(verb auth.Verb, channel string) error {
	return fault.New(fault.Denied, "no right to %s %s", words[verb], channel)
}
