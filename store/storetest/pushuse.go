package storetest

import (
	"fmt"
	"testing"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

// UsePushes carries out each command about pushes and each read of them, in each of
// their ways, with a few users of its own and some that all rounds share. It is for
// those who look at how that is done: at the plans of a database, or at how much it
// reads when there is more and more.
func UsePushes(t testing.TB, s store.Store, round int) {
	t.Helper()
	do := func(group ...store.Command) []store.Result {
		t.Helper()
		results, err := s.Do(t.Context(), group...)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	own, campaign := fmt.Sprint("own ", round), fmt.Sprint("run ", round)
	now := noon + int64(round)*minute
	put := do(store.PutCampaign{Campaign: store.Campaign{ID: campaign, State: "running"}})[0].(store.CampaignPut)
	c := capped("promo", fatigue.Defer, 1, "90m")
	c.Time, c.Expires, c.Collapse, c.Escalate, c.Campaign = now, now+hour, "key", minute, campaign
	push := func(c store.Content, keep int, users ...string) []store.Row {
		t.Helper()
		return do(store.Push{Content: c, To: to(users...), Now: now, Keep: keep})[0].(store.Pushed).Rows
	}
	keyed := store.Push{
		Content: c, To: to(own, "shared"), Now: now, Keep: 5, Key: []byte(own), KeyExpires: now + minute, Step: &store.Step{Campaign: campaign, Version: put.Version, To: "x"},
	}
	do(keyed)
	keyed.Step = nil
	do(keyed)
	n := push(another(c), 5, own, "shared")[0].N
	plain := content("1")
	plain.Time = now
	for range 3 {
		plain = another(plain)
		push(plain, 2, own)
	}
	many := make([]store.Recipient, 40)
	for k := range many {
		many[k].User = fmt.Sprint("many ", k)
	}
	for k, r := range do(store.Push{Content: plain, To: many, Now: now, Keep: 5})[0].(store.Pushed).Rows {
		many[k].N = r.N
	}
	do(store.Push{Content: plain, To: many, Now: now, Keep: 5})
	last := another(plain)
	do(store.Push{Content: last, To: many, Now: now, Keep: 5})
	do(store.Broadcast{Content: another(c), Now: now})
	do(store.Collect{User: own, Now: now, Limit: 10, Keep: 5}, store.Collect{User: "shared", Now: now, Limit: 10, Keep: 5}, store.Collect{User: own, Now: now, Limit: 10, Peek: true})
	do(store.Settle{Now: now, Settlements: []store.Settlement{
		{User: own, Seq: 4, State: store.Sent, Time: now}, {N: n, ID: plain.ID, State: store.Delivered, Time: now}, {User: "shared", Seq: 1 << 40, UpTo: true, State: store.Delivered, Time: now},
	}})
	do(store.ClearPushed{User: "shared", Category: "promo", Collapse: "key", Now: now})
	do(store.MarkRead{User: own, Seq: 5, Now: now}, store.Escalated{N: n, Seq: 6, Next: now + minute})
	do(store.Wake{Now: now + 2*hour, Limit: 10})
	for _, end := range []store.Command{store.RecallPush{ID: last.ID, Now: now, Limit: 100}, store.Expire{Now: now + hour, Limit: 100}, store.Prune{Records: now - 5*minute, Now: now, Limit: 100}} {
		for range 3 {
			do(end)
		}
	}
	readPushes(t, s, own, plain.ID, campaign, now)
}

func readPushes(t testing.TB, s store.Store, user, message, campaign string, now int64) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(second(s.Inboxes(ctx, user, "shared")))
	check(second(s.PushedMessages(ctx, message)))
	check(second(s.LastBroadcast(ctx)))
	check(second(s.DueWake(ctx)))
	check(second(s.DueEscalations(ctx, now, 5)))
	for _, q := range []store.InboxQuery{{}, {Backward: true}, {Unread: true}} {
		q.User, q.Limit, q.Now = user, 5, now
		check(second(s.ReadInbox(ctx, q)))
	}
	for _, q := range []store.RecordQuery{{}, {User: user}, {Message: message}, {Campaign: campaign}, {User: user, Message: message}} {
		q.Limit = 2
		page, err := s.Records(ctx, q)
		check(err)
		if page.More {
			q.After = page.Records[1].Pos
			check(second(s.Records(ctx, q)))
		}
	}
}
