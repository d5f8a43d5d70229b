package skein

import (
	"context"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/feature/chat"
	pushes "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/store"
)

// This file puts together what conversations are made of.

// newChats makes the feature.
func (s *Server) newChats(cfg Config) {
	s.chats = chat.New(chat.Config{
		Hub: s.hub, Feeds: s.feeds, Sessions: s.sessions, Verbs: s.verbs, Members: s.groups,
		Push: s.pushAlert, Clear: s.pushes.Clear, Leaving: s.online.Leaving,
		Page:    func() int { return int(cfg.Limits.Queue) / 4 },
		Message: func() int { return int(s.message.Load()) },
		Logger:  s.log,
	})
	s.groups.Converse(s.chats)
}

// pushAlert pushes an alert to members of a conversation who are away.
func (s *Server) pushAlert(ctx context.Context, p chat.Push) error {
	_, err := s.pushVerbs.Push(ctx, pushes.Params{
		To: audience.Target{Users: p.Users}, Category: p.Category, Event: p.Event, Data: p.Data, Collapse: p.Collapse,
	}, p.Key)
	return err
}

// hiddenFrom is the seq up to which what was said in a channel is not shown to the user of a
// connection.
func (s *Server) hiddenFrom(ctx context.Context, c *session.Session, space *hub.Space, channel string) (uint64, error) {
	if space.Chat == nil {
		return 0, nil
	}
	return s.chats.Hidden(ctx, space, channel, c.User())
}

// committed is told what the store has committed.
func (s *Server) committed(commits []store.Commit) {
	s.feeds.Committed(commits)
	s.chats.Committed(commits)
}
