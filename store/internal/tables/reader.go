package tables

import (
	"context"
	"fmt"

	"github.com/skein-realtime/skein/store"
)

// Reader is the reads of the tables for a store: [store.MemberReader], [store.ChatReader],
// [store.ScheduleReader], [store.DenialReader], [store.PushReader],
// [store.CampaignReader], [store.AuditReader], and [store.UserReader] but for its UserIndexes.
type Reader struct {
	name string
	lend Lend
}

// Lend lends fn a transaction that sees one moment. what names the read, as
// [store.Observer] is told it.
type Lend func(ctx context.Context, what string, fn func(context.Context, Tx) error) error

// NewReader makes a Reader; name is the store's, for errors.
func NewReader(name string, lend Lend) Reader { return Reader{name, lend} }

// look carries out a read.
func look[R any](ctx context.Context, r Reader, what string, read func(context.Context, Tx) (R, error)) (result R, err error) {
	err = r.lend(ctx, what, func(ctx context.Context, tx Tx) (err error) {
		result, err = read(ctx, tx)
		return err
	})
	if err != nil {
		var none R
		return none, err
	}
	return result, nil
}

// page is look with a limit.
func page[R any](ctx context.Context, r Reader, what string, limit int, read func(context.Context, Tx) (R, error)) (none R, err error) {
	if err := checkLimit(limit); err != nil {
		return none, fmt.Errorf("%s: %s: %w", r.name, what, err)
	}
	return look(ctx, r, what, read)
}

// Members implements [store.MemberReader].
func (r Reader) Members(ctx context.Context, channel, after string, limit int) ([]store.Member, error) {
	return page(ctx, r, "members", limit, func(ctx context.Context, tx Tx) ([]store.Member, error) {
		return members(ctx, tx, channel, after, limit)
	})
}

// Memberships implements [store.MemberReader].
func (r Reader) Memberships(ctx context.Context, user, after string, limit int) ([]store.Membership, error) {
	return page(ctx, r, "memberships", limit, func(ctx context.Context, tx Tx) ([]store.Membership, error) {
		return memberships(ctx, tx, user, after, limit)
	})
}

// IsMember implements [store.MemberReader].
func (r Reader) IsMember(ctx context.Context, channel string, users ...string) ([]bool, error) {
	return look(ctx, r, "members", func(ctx context.Context, tx Tx) ([]bool, error) {
		return areMembers(ctx, tx, channel, users)
	})
}

// MemberCounts implements [store.MemberReader].
func (r Reader) MemberCounts(ctx context.Context, channels ...string) ([]int64, error) {
	return look(ctx, r, "members", func(ctx context.Context, tx Tx) ([]int64, error) {
		return memberCounts(ctx, tx, channels)
	})
}

// Groups implements [store.MemberReader].
func (r Reader) Groups(ctx context.Context, prefix, after string, limit int) ([]store.Group, error) {
	return page(ctx, r, "members", limit, func(ctx context.Context, tx Tx) ([]store.Group, error) {
		return groups(ctx, tx, prefix, after, limit)
	})
}

// Schedule implements [store.ScheduleReader].
func (r Reader) Schedule(ctx context.Context, name string) (store.Schedule, error) {
	found, err := look(ctx, r, "schedules", func(ctx context.Context, tx Tx) (store.Schedule, error) {
		return oneSchedule(ctx, tx, name)
	})
	if err == nil && found.Version == 0 {
		err = store.ErrNotFound
	}
	return found, err
}

// Schedules implements [store.ScheduleReader].
func (r Reader) Schedules(ctx context.Context, prefix, after string, limit int) ([]store.Schedule, error) {
	return page(ctx, r, "schedules", limit, func(ctx context.Context, tx Tx) ([]store.Schedule, error) {
		return schedules(ctx, tx, prefix, after, limit)
	})
}

// Due implements [store.ScheduleReader].
func (r Reader) Due(ctx context.Context, limit int) ([]store.DueSchedule, error) {
	return page(ctx, r, "due", limit, func(ctx context.Context, tx Tx) ([]store.DueSchedule, error) {
		return firstDue(ctx, tx, limit)
	})
}

// Denials implements [store.DenialReader].
func (r Reader) Denials(ctx context.Context, after uint64, limit int) ([]store.Denial, error) {
	return page(ctx, r, "denials", limit, func(ctx context.Context, tx Tx) ([]store.Denial, error) {
		return denials(ctx, tx, after, limit)
	})
}

// LastSeen implements [store.DenialReader].
func (r Reader) LastSeen(ctx context.Context, users ...string) ([]store.Seen, error) {
	return look(ctx, r, "seen", func(ctx context.Context, tx Tx) ([]store.Seen, error) {
		return lastSeen(ctx, tx, users)
	})
}
