package access

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) registerVerbs() {
	r := f.cfg.Verbs
	verb.Add(r, "users.block", "Keeps a user out and ends the user's connections.", f.block)
	verb.Add(r, "users.unblock", "Lets a user in again.", f.unblock)
	verb.Add(r, "users.blocked", "Lists who is blocked, or tells it of users.", f.blocked)
	verb.Add(r, "tokens.revoke", "Makes tokens worthless and ends connections that came with them.", f.revoke)
}

const (
	maxReason = 1 << 10
	// liftedFor is how long it is kept that somebody was unblocked: a node that has
	// not reached the store for longer goes on keeping the user out.
	liftedFor = 7 * 24 * time.Hour
	// revokedFor is how long a revocation lasts when nobody says: as long as the
	// tokens that it is about may live.
	revokedFor = 30 * 24 * time.Hour
	// ahead is how far in the future the time of issue may be up to which tokens are
	// revoked, for clocks that differ.
	ahead = time.Minute
	// A time before 1973 is one in seconds, by mistake; one after the year 9999 in microseconds.
	firstTime, lastTime = 100_000_000_000, 253_402_300_799_999
)

// moment checks a time in Unix milliseconds.
func moment(field string, ms int64) error {
	if ms < firstTime || ms > lastTime {
		return fault.Field(field, "%d is not a time in milliseconds since 1970", ms)
	}
	return nil
}

// future checks a time that has to come.
func future(field string, ms, now int64) error {
	err := moment(field, ms)
	if err == nil && ms <= now {
		err = fault.Field(field, "%d has passed; it is %d now", ms, now)
	}
	return err
}

// put stores a denial and puts it in force here.
func (f *Feature) put(ctx context.Context, st Store, d store.Denial) (connections int, was bool, err error) {
	results, err := st.Do(ctx, store.PutDenial{Denial: d})
	if err != nil {
		return 0, false, outage.Fault(err)
	}
	result := results[0].(store.DenialPut)
	d.Seq = result.Seq
	f.denials.apply(d, time.Now().UnixMilli())
	if !d.Lifted {
		connections = f.cut(d)
	}
	return connections, result.Was, nil
}

// BlockParams are the params of users.block.
type BlockParams struct {
	User   string `json:"user"`
	Reason string `json:"reason,omitempty" jsonschema:"for the user, who gets to see it"`
	Until  int64  `json:"until,omitempty" jsonschema:"when it ends by itself, Unix milliseconds; never when absent"`
	For    string `json:"for,omitempty" jsonschema:"instead of until: for how long, such as 24h"`
}

// Blocked is the result of users.block.
type Blocked struct {
	Connections int  `json:"connections" jsonschema:"connections that were ended on this node"`
	Was         bool `json:"was" jsonschema:"whether the user was blocked before"`
}

func (f *Feature) block(ctx context.Context, p BlockParams) (b Blocked, err error) {
	if err := protocol.UserID("user", p.User); err != nil {
		return b, err
	}
	if len(p.Reason) > maxReason {
		return b, fault.Field("reason", "has %d bytes; at most %d are allowed", len(p.Reason), maxReason)
	}
	now := time.Now().UnixMilli()
	switch {
	case p.Until != 0 && p.For != "":
		return b, fault.Field("for", "give either until or for")
	case p.Until != 0:
		if err := future("until", p.Until, now); err != nil {
			return b, err
		}
	case p.For != "":
		d, err := time.ParseDuration(p.For)
		if err != nil || d < time.Millisecond {
			return b, fault.Field("for", `%.40q is not a length of time such as "24h" or "30m"`, p.For)
		}
		p.Until = now + d.Milliseconds()
	}
	st, err := f.running("users.block")
	if err != nil {
		return b, err
	}
	b.Connections, b.Was, err = f.put(ctx, st, store.Denial{User: p.User, Reason: p.Reason, Time: now, Expires: p.Until})
	return b, err
}

// UnblockParams are the params of users.unblock.
type UnblockParams struct {
	User string `json:"user"`
}

// Unblocked is the result of users.unblock.
type Unblocked struct {
	Was bool `json:"was" jsonschema:"whether the user was blocked"`
}

func (f *Feature) unblock(ctx context.Context, p UnblockParams) (u Unblocked, err error) {
	if err := protocol.UserID("user", p.User); err != nil {
		return u, err
	}
	st, err := f.running("users.unblock")
	if err != nil {
		return u, err
	}
	now := time.Now()
	_, u.Was, err = f.put(ctx, st, store.Denial{User: p.User, Time: now.UnixMilli(), Expires: now.Add(liftedFor).UnixMilli(), Lifted: true})
	return u, err
}

// RevokeParams are the params of tokens.revoke.
type RevokeParams struct {
	User   string `json:"user,omitempty" jsonschema:"whose tokens; or name a token"`
	Device string `json:"device,omitempty" jsonschema:"with user: only for this device"`
	Token  string `json:"token,omitempty" jsonschema:"the id of one token (its jti claim)"`
	Before int64  `json:"before,omitempty" jsonschema:"tokens that were issued up to then, Unix milliseconds; now when absent"`
	Until  int64  `json:"until,omitempty" jsonschema:"how long it is remembered, Unix milliseconds; 30 days when absent. It should be as long as the tokens may live"`
}

// Revoked is the result of tokens.revoke.
type Revoked struct {
	Connections int `json:"connections" jsonschema:"connections that were ended on this node"`
}

func (f *Feature) revoke(ctx context.Context, p RevokeParams) (r Revoked, err error) {
	now := time.Now()
	d, err := p.denial(now)
	if err != nil {
		return r, err
	}
	st, err := f.running("tokens.revoke")
	if err != nil {
		return r, err
	}
	// What was revoked stays so, when another call says an earlier time.
	select {
	case f.revoking <- struct{}{}:
		defer func() { <-f.revoking }()
	case <-ctx.Done():
		return r, outage.Fault(ctx.Err())
	}
	if old, there := f.denials.get(keyOf(&d)); there && old.inForce(d.Time) {
		d.Before, d.Expires = max(d.Before, old.before), max(d.Expires, old.expires)
	}
	r.Connections, _, err = f.put(ctx, st, d)
	return r, err
}

// denial checks the params and says what they mean.
func (p *RevokeParams) denial(now time.Time) (d store.Denial, err error) {
	ms := now.UnixMilli()
	switch {
	case p.User == "" && p.Token == "":
		return d, fault.Field("user", "is missing; name a user or a token")
	case p.Device != "" && p.User == "":
		return d, fault.Field("device", "needs a user")
	case len(p.Token) > auth.MaxTokenID:
		return d, fault.Field("token", "has %d bytes; at most %d are allowed (it is the token's id, its jti claim, not the token itself)", len(p.Token), auth.MaxTokenID)
	case p.Token != "" && p.Before != 0:
		return d, fault.Field("before", "is not for a token that is named by its id")
	}
	if p.User != "" {
		if err := protocol.UserID("user", p.User); err != nil {
			return d, err
		}
	}
	if err := protocol.DeviceID("device", p.Device); err != nil {
		return d, err
	}
	if p.Until == 0 {
		p.Until = now.Add(revokedFor).UnixMilli()
	}
	if err := future("until", p.Until, ms); err != nil {
		return d, err
	}
	switch {
	case p.Token != "":
	case p.Before == 0:
		p.Before = ms
	default:
		if err := moment("before", p.Before); err != nil {
			return d, err
		}
		if p.Before > now.Add(ahead).UnixMilli() {
			return d, fault.Field("before", "%d is in the future; it is %d now", p.Before, ms)
		}
	}
	return store.Denial{User: p.User, Device: p.Device, Token: p.Token, Before: p.Before, Time: ms, Expires: p.Until}, nil
}

// BlockedParams are the params of users.blocked.
type BlockedParams struct {
	Users []string `json:"users,omitempty" jsonschema:"only these, as a map; without it a page of all who are blocked"`
	After string   `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit int      `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// Block is one user who is blocked.
type Block struct {
	User   string `json:"user"`
	Reason string `json:"reason,omitempty"`
	Since  int64  `json:"since" jsonschema:"Unix milliseconds"`
	Until  int64  `json:"until,omitempty" jsonschema:"Unix milliseconds; for ever when absent"`
}

// State tells whether a user is blocked.
type State struct {
	Blocked bool   `json:"blocked"`
	Reason  string `json:"reason,omitempty"`
	Since   int64  `json:"since,omitempty" jsonschema:"Unix milliseconds"`
	Until   int64  `json:"until,omitempty" jsonschema:"Unix milliseconds; for ever when absent"`
}

// BlockedPage is the result of users.blocked: items and next, or users.
type BlockedPage struct {
	Items []Block          `json:"items,omitzero" jsonschema:"who is blocked, by user"`
	Next  string           `json:"next,omitempty" jsonschema:"what to give as after; absent on the last page"`
	Users map[string]State `json:"users,omitzero" jsonschema:"the users that were asked for"`
}

const maxAsked = 10_000

func (f *Feature) blocked(_ context.Context, p BlockedParams) (page BlockedPage, err error) {
	if p.Limit, err = verb.PageLimit(p.Limit); err != nil {
		return page, err
	}
	switch {
	case p.Users != nil && p.After != "":
		return page, fault.Field("after", "is not for users that are named")
	case len(p.Users) > maxAsked:
		return page, fault.Field("users", "at most %d can be asked for at once", maxAsked)
	}
	if _, err := f.running("users.blocked"); err != nil {
		return page, err
	}
	now := time.Now().UnixMilli()
	if p.Users != nil {
		page.Users = make(map[string]State, len(p.Users))
		for _, user := range p.Users {
			page.Users[user] = State{}
			if e, there := f.denials.get(key{user: user}); there && e.inForce(now) && user != "" {
				page.Users[user] = State{true, e.reason, e.time, e.expires}
			}
		}
		return page, nil
	}
	page.Items = f.denials.blocks(p.After, p.Limit+1, now)
	if len(page.Items) > p.Limit {
		page.Items = page.Items[:p.Limit]
		page.Next = page.Items[p.Limit-1].User
	}
	return page, nil
}

// blocks lists users that are blocked, by name, after one; at most limit.
func (t *denials) blocks(after string, limit int, now int64) []Block {
	list := []Block{}
	first := func() {
		slices.SortFunc(list, func(a, b Block) int { return cmp.Compare(a.User, b.User) })
		list = list[:min(limit, len(list))]
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for k, e := range t.m {
		if k.user > after && k == (key{user: k.user}) && e.inForce(now) {
			list = append(list, Block{k.user, e.reason, e.time, e.expires})
		}
		if len(list) >= 4*limit+1000 { // there may be very many
			first()
		}
	}
	first()
	return list
}
