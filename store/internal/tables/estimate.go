package tables

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

const (
	// Each of the two alone is found by the index.
	sqlSpan = `SELECT coalesce((SELECT min(n) FROM person), 0), coalesce((SELECT max(n) FROM person), 0)`

	estimateColumns = `p.zone, p.muted, p.counts`

	sqlEstimateRange = `SELECT ` + estimateColumns + ` FROM person AS p WHERE p.n > ? AND p.n <= ?`

	sqlEstimateUser = `SELECT 0, ` + estimateColumns + ` FROM person AS p WHERE p.user_id = ?`

	sqlEstimateUsers = `
SELECT w.place, ` + estimateColumns + ` FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT * FROM person WHERE user_id = w.user_id OFFSET 0) AS p`
)

// Estimate goes through so many rows at once only when there are that many, and
// asks for so many users at a time.
const (
	estimateApart = 5_000
	estimateUsers = 1_000
)

// estimate is the sum over a part of an audience.
type estimate struct {
	q     *store.EstimateQuery
	now   time.Time
	zone  *time.Location
	zones map[string]*estimateZone
	state fatigue.State // of who is judged
	store.Estimate
}

// estimateZone is a time zone, and what happens to those in it who have muted nothing:
// when nothing was counted of them, and for some counts that came. Who was reached by
// the same step of a campaign has the same ones.
type estimateZone struct {
	zone   *time.Location
	plain  fatigue.Verdict
	judged map[string]fatigue.Verdict
}

// estimateJudged is how many different counts are kept in mind. They come in the order
// of the steps, so that few are enough, and cost little where no two are the same.
const estimateJudged = 64

func newEstimate(q *store.EstimateQuery) *estimate {
	e := &estimate{q: q, now: time.UnixMilli(q.Now), zone: time.UTC, zones: map[string]*estimateZone{}}
	if zone, known := fatigue.Zone(q.Zone); known {
		e.zone = zone
	}
	return e
}

// user judges one user.
func (e *estimate) user(zone, muted, counts []byte) error {
	z := e.zones[string(zone)]
	if z == nil {
		z = &estimateZone{zone: e.zone, judged: map[string]fatigue.Verdict{}}
		if known, is := fatigue.Zone(string(zone)); is {
			z.zone = known
		}
		var nothing fatigue.State
		z.plain = nothing.Judge(&e.q.Policy, z.zone, false, e.now)
		e.zones[string(zone)] = z
	}
	e.Audience++
	if len(muted) == 0 && len(counts) == 0 {
		e.add(z.plain)
		return nil
	}
	if verdict, known := z.judged[string(counts)]; known && len(muted) == 0 {
		e.add(verdict)
		return nil
	}
	categories, err := mutedOf(muted)
	if err != nil {
		return err
	}
	if err := e.state.Read(counts); err != nil {
		return err
	}
	_, is := slices.BinarySearch(categories, e.q.Policy.Category)
	verdict := e.state.Judge(&e.q.Policy, z.zone, is, e.now)
	if e.add(verdict); is {
		return nil
	}
	if len(z.judged) == estimateJudged {
		clear(z.judged)
	}
	z.judged[string(counts)] = verdict
	return nil
}

func (e *estimate) add(v fatigue.Verdict) {
	switch v.Kind {
	case fatigue.Muted:
		e.Muted++
	case fatigue.QuietHours:
		e.Quiet++
	case fatigue.Capped:
		e.capped(v.Rule, 1)
	}
}

func (e *estimate) capped(rule string, n int64) {
	if e.Capped == nil {
		e.Capped = map[string]int64{}
	}
	e.Capped[rule] += n
}

// with adds another part.
func (e *estimate) with(other *estimate) {
	e.Audience, e.Muted, e.Quiet = e.Audience+other.Audience, e.Muted+other.Muted, e.Quiet+other.Quiet
	for rule, n := range other.Capped {
		e.capped(rule, n)
	}
}

// take gives what judges a row of estimateColumns. The memory of the columns is used again.
func (e *estimate) take() func(Scan) error {
	var zone, muted, counts []byte
	into := []any{&zone, &muted, &counts}
	return func(scan Scan) error {
		if err := scan(into...); err != nil {
			return err
		}
		return e.user(zone, muted, counts)
	}
}

// Estimate implements [store.PushReader]. It reads two halves of the people at the
// same time, in transactions of their own.
func (r Reader) Estimate(ctx context.Context, q store.EstimateQuery) (store.Estimate, error) {
	if q.Users != nil && !q.Everyone {
		return r.estimateUsers(ctx, &q)
	}
	f, err := r.where("estimate", q.Where)
	if err != nil {
		return store.Estimate{}, err
	}
	var s source
	var low, high int64
	if _, err := look(ctx, r, "estimate", func(ctx context.Context, tx Tx) (none struct{}, err error) {
		if !q.Everyone {
			if s, err = sourceOf(ctx, tx, f, fewForAll); err != nil {
				return none, err
			}
		}
		return none, tx.Query(ctx, sqlSpan, func(scan Scan) error { return scan(&low, &high) })
	}); err != nil {
		return store.Estimate{}, err
	}
	cuts := []int64{low - 1, high}
	if len(s) == 0 && high-low > estimateApart {
		cuts = []int64{low - 1, low + (high-low)/2, high}
	}
	parts, failed := make([]*estimate, len(cuts)-1), make([]error, len(cuts)-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() {
			if parts[i], failed[i] = r.estimateRange(ctx, &q, f, s, cuts[i], cuts[i+1]); failed[i] != nil {
				cancel() // the rest is for nothing
			}
		})
	}
	wait.Wait()
	sum := newEstimate(&q)
	for i, err := range failed {
		if err != nil {
			return store.Estimate{}, fmt.Errorf("%s: estimate: %w", r.name, err)
		}
		sum.with(parts[i])
	}
	return sum.Estimate, nil
}

// estimateRange goes through those with a number beyond from, up to to.
func (r Reader) estimateRange(ctx context.Context, q *store.EstimateQuery, f *store.Filter, s source, from, to int64) (*estimate, error) {
	return look(ctx, r, "estimate", func(ctx context.Context, tx Tx) (*estimate, error) {
		e := newEstimate(q)
		if q.Everyone {
			return e, tx.QueryThrough(ctx, sqlEstimateRange, e.take(), from, to)
		}
		query, args := chosen(s, wordsOf(tx.Dialect()), f, estimateColumns, " AND p.n > ? AND p.n <= ?", "", from, to)
		return e, ask(tx, s)(ctx, query, e.take(), args...)
	})
}

// estimateUsers judges users by name; who was never heard of has nothing that could
// hold a push back but the hour.
func (r Reader) estimateUsers(ctx context.Context, q *store.EstimateQuery) (store.Estimate, error) {
	e, err := look(ctx, r, "estimate", func(ctx context.Context, tx Tx) (*estimate, error) {
		e := newEstimate(q)
		for users := range slices.Chunk(distinct(q.Users), estimateUsers) {
			found := 0
			var zone, muted, counts []byte
			var failed error
			if err := lookup(ctx, tx, sqlEstimateUser, sqlEstimateUsers, nil, users, []any{&zone, &muted, &counts}, func(int) {
				found++
				if err := e.user(zone, muted, counts); err != nil {
					failed = err
				}
			}); err != nil || failed != nil {
				return nil, cmp.Or(err, failed)
			}
			for range len(users) - found {
				if err := e.user(nil, nil, nil); err != nil {
					return nil, err
				}
			}
		}
		return e, nil
	})
	if err != nil {
		return store.Estimate{}, err
	}
	return e.Estimate, nil
}
