package push

import (
	"context"
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) register(r *verb.Registry) {
	verb.Add(r, "push", "Pushes a message to users: into their inboxes, and to their devices as far as its category lets it.", f.push, verb.Keyed)
	verb.Add(r, "inbox.list", "Reads the inbox of a user, a page at a time.", f.list)
	verb.Add(r, "inbox.mark", "Says that messages of an inbox were read, or were delivered.", f.mark)
	verb.Add(r, "records", "Tells what became of messages, the newest first, a page at a time.", f.records)
	verb.Add(r, "explain", "Tells whether a message of a category would interrupt a user now, and if not, which rule says so.", f.explain)
	verb.Add(r, "categories.put", "Keeps a category: how often, and when, its messages may interrupt a user.", f.putCategory)
	verb.Add(r, "categories.list", "Lists the categories, by name.", f.listCategories)
	verb.Add(r, "categories.delete", "Forgets a category. What was pushed under it is as it was.", f.deleteCategory)
	verb.Add(r, "categories.mute", "Mutes a category for a user, or unmutes it, and tells what the user has muted.", f.mute)
}

// atOnce is how many users a push goes to without being a campaign.
const atOnce = 1000

// Result is the result of push.
type Result struct {
	ID        string    `json:"id,omitempty" jsonschema:"the id of the message; absent in a dry run"`
	Audience  int64     `json:"audience" jsonschema:"how many users it is for"`
	Counts    Counts    `json:"counts" jsonschema:"users by what became of the message so far"`
	Campaign  string    `json:"campaign,omitempty" jsonschema:"the campaign as which it goes on"`
	Duplicate bool      `json:"duplicate,omitempty" jsonschema:"the key was used before: this is the first message, and who had it did not get it again"`
	Estimate  *Estimate `json:"estimate,omitempty" jsonschema:"of a dry run: what the counts are made of"`
}

// Counts are users by outcome; those without users are absent.
type Counts struct {
	Queued    int64 `json:"queued,omitempty" jsonschema:"it may interrupt them, at once or when they come, or later when it was put off"`
	Sent      int64 `json:"sent,omitempty"`
	Delivered int64 `json:"delivered,omitempty"`
	Capped    int64 `json:"capped,omitempty"`
	Muted     int64 `json:"muted,omitempty"`
	Expired   int64 `json:"expired,omitempty"`
	Recalled  int64 `json:"recalled,omitempty"`
	Failed    int64 `json:"failed,omitempty"`
}

// Estimate is what would become of a push.
type Estimate struct {
	Online  int64            `json:"online" jsonschema:"users who are connected to this node"`
	Deliver int64            `json:"deliver" jsonschema:"users whom it may interrupt now"`
	Muted   int64            `json:"muted" jsonschema:"users who have muted the category"`
	Quiet   int64            `json:"quiet" jsonschema:"users who have quiet hours"`
	Capped  map[string]int64 `json:"capped,omitempty" jsonschema:"users by the cap that refuses"`
}

// AppendJSON implements verb.Appender.
func (r Result) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if r.ID != "" {
		b = append(protocol.AppendString(append(b, `"id":`...), r.ID), ',')
	}
	b = strconv.AppendInt(append(b, `"audience":`...), r.Audience, 10)
	b = r.Counts.append(append(b, `,"counts":`...))
	if r.Campaign != "" {
		b = protocol.AppendString(append(b, `,"campaign":`...), r.Campaign)
	}
	if r.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	if r.Estimate != nil {
		if text, err := verb.Marshal(r.Estimate); err == nil {
			b = append(append(b, `,"estimate":`...), text...)
		}
	}
	return append(b, '}')
}

func (c Counts) append(b []byte) []byte {
	start := len(b)
	for _, one := range [...]struct {
		name string
		n    int64
	}{
		{`"queued":`, c.Queued}, {`"sent":`, c.Sent}, {`"delivered":`, c.Delivered}, {`"capped":`, c.Capped},
		{`"muted":`, c.Muted}, {`"expired":`, c.Expired}, {`"recalled":`, c.Recalled}, {`"failed":`, c.Failed},
	} {
		if one.n != 0 {
			b = strconv.AppendInt(append(append(b, ','), one.name...), one.n, 10)
		}
	}
	if len(b) == start {
		return append(b, '{', '}')
	}
	b[start] = '{'
	return append(b, '}')
}

// totals are counts as the store has them.
func totals(t store.Totals) Counts {
	return Counts{
		Queued: t.Queued, Sent: t.Sent, Delivered: t.Delivered, Capped: t.Capped,
		Muted: t.Muted, Expired: t.Expired, Recalled: t.Recalled, Failed: t.Failed,
	}
}

func (f *Feature) push(ctx context.Context, p Params) (Result, error) {
	return f.pushAs(ctx, p, verb.KeyOf(ctx), p.digest())
}

// Push is the verb for the server itself, which pushes once for each key, whatever it says.
func (f *Feature) Push(ctx context.Context, p Params, key string) (Result, error) {
	scope := "server\x00" + key // no caller of the verb has a key like this: theirs name the verb
	digest := sha256.Sum256([]byte(scope))
	return f.pushAs(ctx, p, scope, digest[:keySize])
}

// pushAs pushes; a scope that is not "" is the key, with whose it is, under which that
// happens once, and digest what it stands for.
func (f *Feature) pushAs(ctx context.Context, p Params, scope string, digest []byte) (Result, error) {
	st, err := f.running()
	if err != nil {
		return Result{}, err
	}
	if p.To.Members != "" {
		if err := f.channel("to.members", p.To.Members); err != nil {
			return Result{}, err
		}
	}
	now := f.cfg.Now()
	content, err := f.content(&p, now)
	if err != nil {
		return Result{}, err
	}
	if p.DryRun {
		return f.dryRun(ctx, st, p.To, content, now)
	}
	job := audience.Job{Name: "push " + content.ID, To: p.To, Content: content}
	if scope != "" {
		key := sha256.Sum256([]byte(scope))
		job.Key, job.Digest = key[:keySize], digest
		job.KeyExpires = content.Time + int64(verb.DefaultKeyTTL/time.Millisecond)
	}
	if p.To.Users == nil || len(p.To.Users) > atOnce {
		return f.begin(ctx, job)
	}
	return f.pushNow(ctx, job)
}

// begin hands a push over to campaigns.
func (f *Feature) begin(ctx context.Context, job audience.Job) (Result, error) {
	if f.cfg.Campaigns == nil {
		return Result{}, fault.New(fault.Unavailable, "to: for more than %d users, or users that are not named, campaigns are needed", atOnce)
	}
	b, err := f.cfg.Campaigns.Begin(ctx, job)
	if err != nil {
		return Result{}, err
	}
	return Result{ID: b.Message, Audience: b.Audience, Counts: totals(b.Totals), Campaign: b.Campaign, Duplicate: b.Duplicate}, nil
}

// pushNow pushes to users that are named.
func (f *Feature) pushNow(ctx context.Context, job audience.Job) (Result, error) {
	to := make([]store.Recipient, len(job.To.Users))
	for i, user := range job.To.Users {
		to[i].User = user
	}
	done, err := f.cfg.Engine.Push(ctx, push.Message{Content: job.Content, Key: job.Key, Digest: job.Digest, KeyExpires: job.KeyExpires}, to)
	if err != nil {
		return Result{}, err
	}
	return Result{ID: done.ID, Audience: int64(len(to)), Counts: totals(done.Totals), Duplicate: done.Duplicate}, nil
}
