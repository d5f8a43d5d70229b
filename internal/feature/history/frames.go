package history

import (
	"context"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

func (f *Feature) registerFrames(s *session.Server) {
	s.Handle(protocol.TypeHistory, f.history)
}

func (f *Feature) history(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, space, err := s.Space(ctx, fr, auth.History)
	if err != nil {
		return err
	}
	if err := checkKind("channel", space); err != nil {
		return err
	}
	before, err := fr.Int("before", -1, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	after, err := fr.Int("after", -1, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	limit, err := fr.Int("limit", defaultLimit, 1, maxLimit)
	if err != nil {
		return err
	}
	floor := uint64(0)
	if f.hidden != nil {
		if floor, err = f.hidden(ctx, s, space, channel); err != nil {
			return err
		}
	}
	page, err := f.read(ctx, channel, before, after, limit, floor)
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return appendPage(append(b, ','), channel, page) })
	return nil
}
