package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/protocol"
)

// Limits are how fast clients may go, besides [Settings].FramesPerSecond. The zero
// value limits nothing.
type Limits struct {
	// User is how many frames a user may send over all connections of this server.
	// Connections without a user are not counted.
	User ratelimit.Rate
	// Frames is how many frames of a type each connection may send, by type, as
	// "pub".
	Frames map[string]ratelimit.Rate
	// DryRun lets everything through: what would have been refused is counted and
	// logged, at most one line for a user and minute.
	DryRun bool
}

// limits are Limits in force.
type limits struct {
	Limits
	users  *ratelimit.Table[string]
	frames map[string]*ratelimit.Table[id.Connection]
	said   *ratelimit.Table[string] // by user: who was logged
}

// SetLimits replaces the limits; everybody begins anew. It is called when the
// frame types are registered. Its error names what is wrong, as "frames.pub", and
// then nothing is changed.
func (srv *Server) SetLimits(l Limits) error {
	if err := l.User.Validate(); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	l.Frames = maps.Clone(l.Frames)
	next := &limits{
		Limits: l, users: ratelimit.NewTable[string](l.User), frames: map[string]*ratelimit.Table[id.Connection]{},
		said: ratelimit.NewTable[string](ratelimit.Rate{PerSecond: 1.0 / 60, Burst: 1}),
	}
	for _, name := range slices.Sorted(maps.Keys(l.Frames)) {
		if srv.frames[name] == nil {
			return fmt.Errorf("frames.%s: is not a type of frame that clients send; those are %s", name, strings.Join(srv.Types(), ", "))
		}
		if err := l.Frames[name].Validate(); err != nil {
			return fmt.Errorf("frames.%s: %w", name, err)
		}
		if table := ratelimit.NewTable[id.Connection](l.Frames[name]); table != nil {
			next.frames[name] = table
		}
	}
	if next.users == nil && len(next.frames) == 0 {
		next = nil // frames do not look for what is not there
	}
	srv.limits.Store(next)
	return nil
}

// Types lists the types of frames that clients send, by name.
func (srv *Server) Types() []string { return slices.Sorted(maps.Keys(srv.frames)) }

// allowsUser counts something that a client has sent against its user's rate.
// False: the client has been told that it is too fast.
func (l *limits) allowsUser(s *Session, frameID []byte) bool {
	if l.users == nil {
		return true
	}
	user := s.User()
	if user == "" {
		return true
	}
	now := s.srv.cfg.Clock.Now()
	wait, ok := l.users.Allow(now, user)
	if ok {
		return true
	}
	m := &s.srv.metrics
	if l.DryRun {
		m.UserWouldLimited.Add(1)
		l.say(s, now, "frames of a user", l.User)
		return true
	}
	m.UserLimited.Add(1)
	s.fail(frameID, "", fault.New(fault.RateLimited, "the user sends more frames than %s, over all connections", l.User).After(wait))
	return false
}

// allowsFrame counts a frame against the rate of its type. False: the client has
// been told that it is too fast.
func (l *limits) allowsFrame(s *Session, f *protocol.Frame) bool {
	table := l.frames[f.Type]
	if table == nil {
		return true
	}
	now := s.srv.cfg.Clock.Now()
	wait, ok := table.Allow(now, s.ID)
	if ok {
		return true
	}
	m := &s.srv.metrics
	if l.DryRun {
		m.FrameWouldLimited.Add(1)
		l.say(s, now, f.Type, l.Frames[f.Type])
		return true
	}
	m.FrameLimited.Add(1)
	channel, _ := protocol.Unquote(f.Raw("channel"))
	s.fail(f.ID, channel, fault.New(fault.RateLimited, "more %s frames on this connection than %s", f.Type, l.Frames[f.Type]).After(wait))
	return false
}

// say logs what would have been refused, unless the user was in the log during
// the last minute. Connections without a user are one here.
func (l *limits) say(s *Session, now int64, what string, rate ratelimit.Rate) {
	user := s.User()
	if s.srv.cfg.Logger == nil {
		return
	}
	if _, ok := l.said.Allow(now, user); ok {
		s.srv.cfg.Logger.Warn("a rate limit that is tried out would have refused this", "user", user, "connection", s.ID.String(), "what", what, "rate", rate.String())
	}
}
