package push

import (
	"context"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// ExplainParams are the params of explain.
type ExplainParams struct {
	User     string `json:"user"`
	Category string `json:"category"`
}

// Explained is the result of explain. Times are milliseconds since 1970 UTC.
type Explained struct {
	Deliver bool   `json:"deliver" jsonschema:"it would come now, or as soon as the user is there"`
	Outcome string `json:"outcome" jsonschema:"what its record would say: queued, capped or muted"`
	Rule    string `json:"rule,omitempty" jsonschema:"what holds it back"`
	Until   int64  `json:"until,omitempty" jsonschema:"when that rule lets it through; absent when it never does"`
	Online  bool   `json:"online" jsonschema:"the user is connected to this node"`
	Zone    string `json:"zone" jsonschema:"the time zone in which the user is taken to be"`
	Muted   bool   `json:"muted" jsonschema:"the user has muted the category"`
	Quiet   bool   `json:"quiet" jsonschema:"these are quiet hours"`
	Caps    []Use  `json:"caps" jsonschema:"the caps of the category and of those above it"`
}

// Use is how far a cap is used up.
type Use struct {
	Category string `json:"category" jsonschema:"whose cap it is"`
	Per      string `json:"per"`
	Max      int    `json:"max"`
	Used     int    `json:"used" jsonschema:"what was counted; more than max when something that bypasses it was"`
	Until    int64  `json:"until,omitempty" jsonschema:"full: when there is room; otherwise when the first one counts no longer; absent when nothing is used, or max is 0"`
}

func (f *Feature) explain(ctx context.Context, p ExplainParams) (e Explained, err error) {
	if err := protocol.UserID("user", p.User); err != nil {
		return e, err
	}
	if p.Category == "" {
		return e, fault.Field("category", "is missing")
	}
	category, err := f.categories.need(p.Category)
	if err != nil {
		return e, err
	}
	st, err := f.running()
	if err != nil {
		return e, err
	}
	counts, user, err := st.Counts(ctx, p.User)
	if err != nil {
		return e, failure(err)
	}
	state, err := fatigue.Decode(counts)
	if err != nil {
		return e, fault.Wrap(fault.Internal, err, "what was counted of this user cannot be read")
	}
	name := user.Zone
	zone, known := fatigue.Zone(name)
	if !known {
		name = f.zone()
		zone, _ = fatigue.Zone(name)
	}
	now := f.cfg.Now()
	policy := &category.policy
	muted := slices.Contains(user.Muted, p.Category)
	verdict := state.Judge(policy, zone, muted, now)
	e = Explained{
		Deliver: verdict.Kind == fatigue.Deliver, Outcome: outcome(policy, verdict), Rule: verdict.Rule, Until: milli(verdict.Until),
		Online: f.cfg.Hub.HasUser(p.User), Zone: name, Muted: muted, Caps: []Use{},
	}
	if category.quiet != nil {
		alone := fatigue.Policy{Category: p.Category, Quiet: category.quiet}
		e.Quiet = new(fatigue.State).Judge(&alone, zone, false, now).Kind == fatigue.QuietHours
	}
	for _, use := range state.Used(policy, zone, now) {
		e.Caps = append(e.Caps, Use{Category: use.Category, Per: use.Per, Max: use.Max, Used: use.Used, Until: milli(use.Until)})
	}
	return e, nil
}

// milli gives a time in Unix milliseconds, 0 for none.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// outcome is what a record says of a message that was judged so.
func outcome(p *fatigue.Policy, v fatigue.Verdict) string {
	deferred := v.Kind == fatigue.QuietHours && (p.OnQuiet == "" || p.OnQuiet == fatigue.Defer) ||
		v.Kind == fatigue.Capped && p.OnCap == fatigue.Defer && !v.Until.IsZero()
	switch {
	case v.Kind == fatigue.Deliver || deferred:
		return store.Queued.String()
	case v.Kind == fatigue.Capped:
		return store.Capped.String()
	}
	return store.Muted.String()
}

// page is how many users are looked at in one go.
const page = 1000

// dryRun tells what would become of a push.
func (f *Feature) dryRun(ctx context.Context, st Store, to audience.Target, c store.Content, now time.Time) (Result, error) {
	query := store.EstimateQuery{Policy: c.Policy, Now: now.UnixMilli(), Zone: f.zone()}
	sum := store.Estimate{Capped: map[string]int64{}}
	add := func(q store.EstimateQuery) error {
		e, err := st.Estimate(ctx, q)
		if err != nil {
			return failure(err)
		}
		sum.Audience += e.Audience
		sum.Muted += e.Muted
		sum.Quiet += e.Quiet
		for rule, n := range e.Capped {
			sum.Capped[rule] += n
		}
		return nil
	}
	var online int64
	see := func(user string) {
		if f.cfg.Hub.HasUser(user) {
			online++
		}
	}
	var err error
	switch {
	case to.Users != nil:
		for users := range slices.Chunk(to.Users, page) {
			query.Users = users
			if err = add(query); err != nil {
				break
			}
			each(users, see)
		}
	case to.Members != "":
		err = members(ctx, st, to.Members, func(users []string) error {
			query.Users = users
			each(users, see)
			return add(query)
		})
	case to.All:
		query.Everyone = true
		_, users, _ := f.cfg.Hub.Counts()
		online = int64(users)
		err = add(query)
	default:
		query.Where = to.Where
		if err = add(query); err == nil {
			err = chosen(ctx, st, to.Where, see)
		}
	}
	if err != nil {
		return Result{}, err
	}
	return estimated(&c.Policy, sum, online), nil
}

func each(users []string, see func(string)) {
	for _, user := range users {
		see(user)
	}
}

// members goes through the members of a channel.
func members(ctx context.Context, st Store, channel string, fn func(users []string) error) error {
	for after := ""; ; {
		list, err := st.Members(ctx, channel, after, page)
		if err != nil {
			return failure(err)
		}
		users := make([]string, len(list))
		for i, m := range list {
			users[i] = m.User
		}
		if len(users) > 0 {
			if err := fn(users); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
		after = list[len(list)-1].User
	}
}

// chosen goes through the users that a filter chooses.
func chosen(ctx context.Context, st Store, where *store.Filter, see func(user string)) error {
	for after := uint64(0); ; {
		list, err := st.Audience(ctx, store.AudienceQuery{Where: where, After: after, Limit: page})
		if err != nil {
			return failure(err)
		}
		for _, r := range list {
			see(r.User)
		}
		if len(list) < page {
			return nil
		}
		after = list[len(list)-1].N
	}
}

// estimated makes the result of a dry run.
func estimated(p *fatigue.Policy, e store.Estimate, online int64) Result {
	var capped int64
	for _, n := range e.Capped {
		capped += n
	}
	r := Result{Audience: e.Audience, Estimate: &Estimate{
		Online: online, Deliver: e.Audience - e.Muted - e.Quiet - capped, Muted: e.Muted, Quiet: e.Quiet, Capped: e.Capped,
	}}
	r.Counts = Counts{Queued: r.Estimate.Deliver, Muted: e.Muted}
	if p.OnQuiet == fatigue.Inbox {
		r.Counts.Muted += e.Quiet
	} else {
		r.Counts.Queued += e.Quiet
	}
	if p.OnCap == fatigue.Defer {
		r.Counts.Queued += capped
	} else {
		r.Counts.Capped += capped
	}
	return r
}
