package campaign

import (
	"context"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

// bounds are how much work an estimate is. Beyond them, the result is that of a part, brought
// up to the size of the whole.
type bounds struct {
	judged int // users of a list, or members of a channel, that are judged
	paged  int // users that a filter chooses who are gone through to see who is online
	looked int // online users of whom it is asked whether a filter chooses them
}

// lookPage is how many users are looked up at once.
const lookPage = 500

// EstimateParams are the params of campaigns.estimate.
type EstimateParams struct {
	ID       string          `json:"id,omitempty" jsonschema:"a campaign; or give to and category"`
	To       audience.Target `json:"to,omitzero"`
	Category string          `json:"category,omitempty"`
}

// Estimate is what would become of a push now.
type Estimate struct {
	Audience    int64            `json:"audience"`
	Online      int64            `json:"online" jsonschema:"of them, who has a connection to this node"`
	Deliver     int64            `json:"deliver" jsonschema:"whom it would interrupt, at once or when they come"`
	Muted       int64            `json:"muted" jsonschema:"who has muted the category"`
	Quiet       int64            `json:"quiet" jsonschema:"who has quiet hours"`
	Capped      map[string]int64 `json:"capped" jsonschema:"who is over a cap, by rule"`
	Approximate bool             `json:"approximate,omitempty" jsonschema:"a part was looked at, and the rest taken to be like it; audience is exact"`
}

func (f *Feature) estimate(ctx context.Context, p EstimateParams) (Estimate, error) {
	named := p.To.Users != nil || p.To.Where != nil || p.To.Members != "" || p.To.All || p.To.List
	switch {
	case (p.ID == "") == !named:
		return Estimate{}, fault.Field("id", "give one of id and to")
	case p.ID != "" && p.Category != "":
		return Estimate{}, fault.Field("category", "goes with to")
	case p.To.List:
		return Estimate{}, fault.Field("to.list", "is the list of a campaign; give its id")
	}
	e, err := f.running()
	if err != nil {
		return Estimate{}, err
	}
	w := estimating{e: e, id: p.ID, to: p.To, now: f.now(), zone: f.settings().Zone}
	category := p.Category
	if p.ID != "" {
		if err := checkID(p.ID); err != nil {
			return Estimate{}, err
		}
		r, err := e.read(ctx, p.ID)
		if err != nil {
			return Estimate{}, err
		}
		w.to, category = r.plan.To, r.plan.Category
		if z := r.plan.Frozen; z != nil {
			w.policy = &z.Policy
		}
	}
	if w.to.Users == nil {
		if err := f.checkTarget(w.to); err != nil {
			return Estimate{}, err
		}
	}
	if w.policy == nil {
		if err := f.checkCategory(category); err != nil {
			return Estimate{}, err
		}
		policy, _, _, err := f.policy(category)
		if err != nil {
			return Estimate{}, err
		}
		w.policy = &policy
	}
	if err := w.carryOut(ctx); err != nil {
		return Estimate{}, outage.Fault(err)
	}
	return w.found, nil
}

// estimating is one estimate.
type estimating struct {
	e      *engine
	id     string
	to     audience.Target
	policy *fatigue.Policy
	now    int64
	zone   string
	found  Estimate
}

func (w *estimating) carryOut(ctx context.Context) error {
	w.found.Capped = map[string]int64{}
	st := w.e.store
	switch {
	case w.to.Where != nil || w.to.All:
		if err := w.judge(ctx, store.EstimateQuery{Where: w.to.Where, Everyone: w.to.All}); err != nil {
			return err
		}
		online := w.e.f.online()
		if w.to.All {
			w.found.Online = int64(len(online)) // who is here was heard of
			break
		}
		if err := w.countOnline(ctx, online); err != nil {
			return err
		}
	case w.to.Users != nil:
		for users := w.to.Users; len(users) > 0; users = users[min(maxPage, len(users)):] {
			if err := w.judgeUsers(ctx, users[:min(maxPage, len(users))]); err != nil {
				return err
			}
		}
	default:
		whole, err := countAudience(ctx, st, w.id, w.to)
		if err != nil {
			return err
		}
		if err := w.judgePages(ctx); err != nil {
			return err
		}
		w.extend(whole)
	}
	w.found.Deliver = w.found.Audience - w.found.Muted - w.found.Quiet
	for _, n := range w.found.Capped {
		w.found.Deliver -= n
	}
	w.found.Deliver = max(0, w.found.Deliver)
	return nil
}

// judge adds what would become of some users.
func (w *estimating) judge(ctx context.Context, q store.EstimateQuery) error {
	q.Policy, q.Now, q.Zone = *w.policy, w.now, w.zone
	got, err := w.e.store.Estimate(ctx, q)
	if err != nil {
		return err
	}
	w.found.Audience += got.Audience
	w.found.Muted += got.Muted
	w.found.Quiet += got.Quiet
	for rule, n := range got.Capped {
		w.found.Capped[rule] += n
	}
	return nil
}

func (w *estimating) judgeUsers(ctx context.Context, users []string) error {
	for _, user := range users {
		if w.e.f.isOnline(user) {
			w.found.Online++
		}
	}
	return w.judge(ctx, store.EstimateQuery{Users: users})
}

// judgePages goes through a list or the members of a channel.
func (w *estimating) judgePages(ctx context.Context) error {
	from, err := newSource(ctx, w.e.store, w.id, w.to, "", maxPage)
	if err != nil {
		return err
	}
	defer from.close()
	users := make([]string, 0, maxPage)
	for n := 0; n < w.e.f.bounds.judged; n += len(users) {
		list, err := from.next(ctx, maxPage)
		if err != nil || len(list) == 0 {
			return err
		}
		users = users[:0]
		for _, r := range list {
			users = append(users, r.User)
		}
		if err := w.judgeUsers(ctx, users); err != nil {
			return err
		}
	}
	return nil
}

// extend brings what was found of a part up to the whole.
func (w *estimating) extend(whole int64) {
	part := w.found.Audience
	if part == 0 || part >= whole || part < int64(w.e.f.bounds.judged) {
		return // what is missing came while we looked
	}
	scale := func(n int64) int64 { return int64(float64(n) * float64(whole) / float64(part)) }
	w.found.Approximate, w.found.Audience = true, whole
	w.found.Online, w.found.Muted, w.found.Quiet = scale(w.found.Online), scale(w.found.Muted), scale(w.found.Quiet)
	for rule, n := range w.found.Capped {
		w.found.Capped[rule] = scale(n)
	}
}

// countOnline counts who of those that the filter chooses is online: by going through the
// smaller of the two sets.
func (w *estimating) countOnline(ctx context.Context, online map[string]struct{}) error {
	st := w.e.store
	if len(online) == 0 {
		return nil
	}
	if w.found.Audience <= int64(w.e.f.bounds.paged) {
		for after := uint64(0); ; {
			list, err := st.Audience(ctx, store.AudienceQuery{Where: w.to.Where, After: after, Limit: maxPage})
			if err != nil || len(list) == 0 {
				return err
			}
			for _, r := range list {
				if _, here := online[r.User]; here {
					w.found.Online++
				}
			}
			after = list[len(list)-1].N
		}
	}
	users := make([]string, 0, min(len(online), w.e.f.bounds.looked))
	for user := range online {
		if len(users) == w.e.f.bounds.looked {
			break
		}
		users = append(users, user)
	}
	hits := int64(0)
	for rest := users; len(rest) > 0; rest = rest[min(lookPage, len(rest)):] {
		looked, err := st.LookUsers(ctx, rest[:min(lookPage, len(rest))]...)
		if err != nil {
			return err
		}
		for _, u := range looked {
			if u.N == 0 {
				continue
			}
			// The first one behind the user before is the user, or the filter does not choose him.
			list, err := st.Audience(ctx, store.AudienceQuery{Where: w.to.Where, After: u.N - 1, Limit: 1})
			if err != nil {
				return err
			}
			if len(list) > 0 && list[0].N == u.N {
				hits++
			}
		}
	}
	w.found.Online = hits * int64(len(online)) / int64(len(users))
	w.found.Approximate = len(users) < len(online)
	return nil
}

// online gives the users who have a connection here.
func (f *Feature) online() map[string]struct{} {
	set := map[string]struct{}{}
	if f.cfg.Hub == nil {
		return set
	}
	f.cfg.Hub.EachConn(func(c *hub.Conn) bool {
		if user := c.User(); user != "" {
			set[user] = struct{}{}
		}
		return true
	})
	return set
}

func (f *Feature) isOnline(user string) bool {
	return f.cfg.Hub != nil && len(f.cfg.Hub.UserConns(user)) > 0
}
