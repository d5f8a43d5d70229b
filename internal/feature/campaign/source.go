package campaign

import (
	"context"
	"fmt"
	"strconv"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/store"
)

// maxPage is how many users are read at once.
const maxPage = 1000

// source gives the users of an audience in order, from a place on. It reads one page
// ahead, in a goroutine of its own.
type source struct {
	pages  chan page
	cancel context.CancelFunc
	ended  chan struct{}
	rest   []store.Recipient // of the present page
	byN    bool
}

type page struct {
	to  []store.Recipient
	err error
}

// newSource begins to read behind the user that is named last. limit is how many to read
// at once: who is paced does not look far ahead.
func newSource(ctx context.Context, st Store, campaign string, to audience.Target, last string, limit int) (*source, error) {
	s := &source{pages: make(chan page), ended: make(chan struct{}), byN: to.Where != nil}
	after := uint64(0)
	if s.byN && last != "" {
		var err error
		if after, err = strconv.ParseUint(last, 10, 64); err != nil {
			return nil, fmt.Errorf("the cursor %q is no number", last)
		}
	}
	read := func(ctx context.Context) ([]store.Recipient, error) {
		switch {
		case s.byN:
			return st.Audience(ctx, store.AudienceQuery{Where: to.Where, After: after, Limit: limit})
		case to.Members != "":
			members, err := st.Members(ctx, to.Members, last, limit)
			list := make([]store.Recipient, len(members))
			for i, m := range members {
				list[i].User = m.User
			}
			return list, err
		}
		users, err := st.CampaignUsers(ctx, campaign, last, limit)
		list := make([]store.Recipient, len(users))
		for i, user := range users {
			list[i].User = user
		}
		return list, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go func() {
		defer close(s.ended)
		defer close(s.pages)
		for {
			list, err := read(ctx)
			if n := len(list); n > 0 {
				last, after = list[n-1].User, list[n-1].N
			}
			select {
			case s.pages <- page{list, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || len(list) == 0 {
				return
			}
		}
	}()
	return s, nil
}

// next gives up to n users; none: there are no more.
func (s *source) next(ctx context.Context, n int) ([]store.Recipient, error) {
	if len(s.rest) == 0 {
		select {
		case p := <-s.pages:
			if p.err != nil {
				return nil, p.err
			}
			if len(p.to) == 0 && ctx.Err() != nil {
				return nil, ctx.Err() // it was cut short, which is not the end
			}
			s.rest = p.to
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n = min(n, len(s.rest))
	list := s.rest[:n]
	s.rest = s.rest[n:]
	return list, nil
}

// place is what a cursor has of a user.
func (s *source) place(r store.Recipient) string {
	if s.byN {
		return strconv.FormatUint(r.N, 10)
	}
	return r.User
}

// close ends the goroutine.
func (s *source) close() {
	s.cancel()
	<-s.ended
}

// countAudience tells how many users a target has.
func countAudience(ctx context.Context, st Store, campaign string, to audience.Target) (int64, error) {
	switch {
	case to.Where != nil:
		return st.CountUsers(ctx, to.Where)
	case to.Members != "":
		counts, err := st.MemberCounts(ctx, to.Members)
		if err != nil {
			return 0, err
		}
		return counts[0], nil
	}
	return st.CampaignSize(ctx, campaign)
}
