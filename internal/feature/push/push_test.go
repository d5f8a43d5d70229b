package push_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	feature "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/store"
)

// promo lets two an hour through.
func promo() map[string]feature.Category {
	return map[string]feature.Category{
		"promo": {Caps: []fatigue.Cap{{Per: "1h", Max: 2}}, TTL: "72h"},
		"alarm": {Bypass: true, Escalate: "10m"},
		"night": {Quiet: around(time.Now())},
	}
}

func TestAPushGoesIntoTheInboxesOfUsers(t *testing.T) {
	w := start(t, config{categories: promo()})
	got := w.must("push", `{"to":{"users":["1","2","1"]},"event":"sale","data":{"n":1},"category":"promo","collapse":"sale","expires":"2h"}`)
	id, _ := got["id"].(string)
	if len(id) != 26 {
		t.Fatalf("got %v", got)
	}
	if diff := cmp.Diff(object(t, `{"id":"`+id+`","audience":2,"counts":{"queued":2}}`), got); diff != "" {
		t.Error(diff)
	}
	page := w.must("inbox.list", `{"user":"1"}`)
	item := page["items"].([]any)[0].(map[string]any)
	at, expires := item["time"].(float64), item["expires"].(float64)
	if now := float64(time.Now().UnixMilli()); at > now || at < now-20_000 || expires != at+2*3600*1000 || item["queued"].(float64) < at {
		t.Errorf("the times are wrong: %v", item)
	}
	delete(item, "time")
	delete(item, "expires")
	delete(item, "queued")
	want := `{"id":"` + id + `","seq":1,"event":"sale","data":{"n":1},"category":"promo","collapse":"sale","outcome":"queued"}`
	if diff := cmp.Diff(object(t, want), item); diff != "" {
		t.Error(diff)
	}
	delete(page, "items")
	epoch, _ := page["epoch"].(string)
	if diff := cmp.Diff(object(t, `{"more":false,"epoch":"`+epoch+`","seq":1,"read":0,"unread":1}`), page); diff != "" || epoch == "" {
		t.Error(diff, epoch)
	}
	// The third one of the hour is over the cap, and still in the inbox.
	w.must("push", `{"to":{"users":["1"]},"data":null,"category":"promo"}`)
	got = w.must("push", `{"to":{"users":["1","3"]},"data":3,"category":"promo"}`)
	if diff := cmp.Diff(any(object(t, `{"queued":1,"capped":1}`)), got["counts"]); diff != "" {
		t.Error(diff)
	}
	page = w.must("inbox.list", `{"user":"1"}`)
	if diff := cmp.Diff([]any{"queued", "queued", "capped"}, items(page, "outcome")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{nil, nil, "promo: 2 per 1h"}, items(page, "rule")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"sale", "message", "message"}, items(page, "event")); diff != "" {
		t.Error(diff)
	}
	if got := w.must("push", `{"to":{"users":[]},"data":1}`); got["audience"] != 0.0 || len(got["counts"].(map[string]any)) != 0 {
		t.Errorf("to nobody: got %v", got)
	}
}

func TestAMessageHasWhatItsCategorySays(t *testing.T) {
	w := start(t, config{categories: promo()})
	now := time.Now().UnixMilli()
	const hour = 3600 * 1000
	tests := []struct {
		params            string
		expires, escalate int64 // after it was pushed; 0: not
	}{
		{`"data":1`, 0, 0},
		{`"data":1,"category":"promo"`, 72 * hour, 0},
		{`"data":1,"category":"promo","expires":"90m","escalate":"5m"`, 90 * 60 * 1000, 5 * 60 * 1000},
		{`"data":1,"category":"alarm"`, 0, 10 * 60 * 1000},
		{`"data":1,"category":"alarm","escalate":"0s","expires":null`, 0, 0},
		{`"data":1,"category":"alarm","escalate":"30s"`, 0, 30 * 1000},
	}
	for _, tt := range tests {
		id := w.must("push", `{"to":{"users":["1"]},%s}`, tt.params)["id"].(string)
		kept, err := w.store.PushedMessages(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c := kept[0].Content
		if c.Expires > 0 {
			c.Expires -= c.Time
		}
		if c.Expires != tt.expires || c.Escalate != tt.escalate || c.Time < now {
			t.Errorf("%s: expires after %d, escalates after %d", tt.params, c.Expires, c.Escalate)
		}
	}
	for _, text := range []string{fmt.Sprint(now + hour), `"` + time.UnixMilli(now+hour).UTC().Format(time.RFC3339Nano) + `"`} {
		id := w.must("push", `{"to":{"users":["1"]},"data":1,"expires":%s}`, text)["id"].(string)
		if kept, err := w.store.PushedMessages(t.Context(), id); err != nil || kept[0].Expires != now+hour {
			t.Errorf("%s: %v, %+v", text, err, kept)
		}
	}
}

func TestWrongPushesAreNamed(t *testing.T) {
	w := start(t, config{categories: promo()})
	w.settings.Data = 100
	tests := []struct{ params, want string }{
		{`{}`, "bad_request: to: is missing"},
		{`{"to":{"users":["1"]}}`, "bad_request: data: is missing"},
		{`{"to":{"users":["1"]},"data":1,"exclude":{}}`, "bad_request: exclude: is not a field of this verb"},
		{`{"to":["1"],"data":1}`, `bad_request: to: must be an object such as {"users": ["42"]}, not an array`},
		{`{"to":{"list":true},"data":1}`, "bad_request: to.list: is not a kind of target; use users, where, members or all"},
		{`{"to":{"where":{"any":[{"tag":"a"},{"level":1}]}},"data":1}`, "bad_request: to.where.any[1].level: is not a member of a filter; use all, any, not, tag and field, and with field eq, in, gt, gte, lt, lte, prefix and exists"},
		{`{"to":{"members":"hall:1"},"data":1}`, `not_found: to.members: namespace "hall" is not configured`},
		{`{"to":{"users":["1"]},"data":1,"category":"none"}`, `not_found: category: there is no category "none"`},
		{`{"to":{"users":["1"]},"data":1,"category":7}`, "bad_request: category: must be a string, not a number"},
		{`{"to":{"users":["1"]},"data":1,"event":"a\u0007"}`, "bad_request: event: no control characters in an event name"},
		{`{"to":{"users":["1"]},"data":1,"collapse":"` + strings.Repeat("x", 129) + `"}`, "bad_request: collapse: has 129 bytes; at most 128 are allowed"},
		{`{"to":{"users":["1"]},"data":1,"escalate":"soon"}`, `bad_request: escalate: "soon" is not a duration such as 72h or 1h30m`},
		{`{"to":{"users":["1"]},"data":1,"escalate":"-1m"}`, "bad_request: escalate: -1m is not between 1s and 8784h0m0s"},
		{`{"to":{"users":["1"]},"data":1,"escalate":600}`, "bad_request: escalate: must be a string, not a number"},
		{`{"to":{"users":["1"]},"data":1,"expires":{}}`, "bad_request: expires: must be a time (RFC 3339, or milliseconds since 1970), not an object"},
		{`{"to":{"users":["1"]},"data":1,"expires":"soon"}`, `bad_request: expires: "soon" is neither a time such as "2030-01-31T12:00:00Z" (RFC 3339) nor how long it is good, such as "2h"`},
		{`{"to":{"users":["1"]},"data":1,"expires":1.5}`, "bad_request: expires: 1.5 is not milliseconds since 1970"},
		{`{"to":{"users":["1"]},"data":1,"expires":-5}`, "bad_request: expires: -5 is not milliseconds since 1970"},
		{`{"to":{"users":["1"]},"data":1,"expires":"-5s"}`, "bad_request: expires: -5s is over already"},
		{`{"to":{"users":["1"]},"data":1,"expires":"9000h"}`, "bad_request: expires: 9000h is not between 1s and 8784h0m0s"},
		{`{"to":{"users":["1"]},"data":1,"dry_run":1}`, "bad_request: dry_run: must be true or false, not a number"},
		{`{"to":{"users":["1"]},"data":"` + strings.Repeat("x", 99) + `"}`, "too_large: data: has 101 bytes; at most 100 are allowed in a message that is kept (limits.message)"},
		{`{"to":{"all":"users"},"data":1}`, "unavailable: to: for more than 1000 users, or users that are not named, campaigns are needed"},
	}
	for _, tt := range tests {
		w.refused("push", tt.params, tt.want)
	}
	for _, past := range []string{`1000000`, `"2001-01-31T12:00:00Z"`} {
		_, failure := w.Run("push", `{"to":{"users":["1"]},"data":1,"expires":`+past+`}`)
		if !strings.HasPrefix(failure, "bad_request: expires: is in the past: it is ") {
			t.Errorf("%s: got %q", past, failure)
		}
	}
	if got := w.must("records", `{}`); len(got["items"].([]any)) != 0 {
		t.Errorf("something was pushed all the same: %v", got)
	}
}

func TestAKeyPushesOnce(t *testing.T) {
	dir := t.TempDir()
	w := startIn(t, dir, config{categories: promo()})
	const params = `{"to":{"users":["1","2"]},"data":{"n":1},"category":"promo"}`
	first, err := w.keyed("push", params, "k")
	if err != nil || first["duplicate"] != nil {
		t.Fatal(err, first)
	}
	again := func(w *world) {
		t.Helper()
		got, err := w.keyed("push", params, "k")
		if err != nil {
			t.Fatal(err)
		}
		first["duplicate"] = true
		if diff := cmp.Diff(first, got); diff != "" {
			t.Error(diff)
		}
		if page := w.must("records", `{"message":"%s"}`, first["id"]); len(page["items"].([]any)) != 2 {
			t.Errorf("the message has these records: %v", page)
		}
		// Nothing of the message may be another, nor whom it is for.
		for _, other := range []string{
			`{"to":{"users":["1","2"]},"data":{"n":2},"category":"promo"}`,
			`{"to":{"users":["1","2"]},"data":{"n":1}}`,
			`{"to":{"users":["1","2","3"]},"data":{"n":1},"category":"promo"}`,
			`{"to":{"users":["1","2"]},"data":{"n":1},"category":"promo","collapse":"x"}`,
		} {
			if _, err := w.keyed("push", other, "k"); err == nil || err.Code != fault.Conflict || err.Message != "key: it was used for a request with other content" {
				t.Errorf("%s: got %v", other, err)
			}
		}
	}
	again(w)
	w.close()
	w = startIn(t, dir, config{categories: promo()}) // after a restart only the store knows it
	again(w)
	other, err := w.keyed("push", params, "another")
	if err != nil || other["id"] == first["id"] || other["duplicate"] != nil {
		t.Errorf("with another key: %v, %v", other, err)
	}
	inner, err := w.keyed("push", `{"key":"k2",`+params[1:], "")
	if err != nil || inner["duplicate"] != nil {
		t.Errorf("in the params: %v, %v", inner, err)
	}
}

func TestAPushThatWasInterruptedIsResumedByItsKey(t *testing.T) {
	w := start(t, config{})
	users := make([]string, 600)
	for i := range users {
		users[i] = fmt.Sprintf(`"%d"`, i)
	}
	params := `{"to":{"users":[` + strings.Join(users, ",") + `]},"data":1}`
	w.store.after.Store(2)
	if _, err := w.keyed("push", params, "k"); err == nil || err.Code != fault.Unavailable {
		t.Fatalf("it was not interrupted: %v", err)
	}
	records, err := w.store.Records(t.Context(), store.RecordQuery{Limit: 1000})
	if err != nil || len(records.Records) == 0 || len(records.Records) >= 600 {
		t.Fatalf("%d have got it: %v", len(records.Records), err)
	}
	got, failed := w.keyed("push", params, "k")
	if failed != nil || got["duplicate"] != true || got["id"] != records.Records[0].Message || got["audience"] != 600.0 {
		t.Fatalf("%v, %v", got, failed)
	}
	if diff := cmp.Diff(any(object(t, `{"queued":600}`)), got["counts"]); diff != "" {
		t.Error(diff)
	}
	all := w.must("records", `{"message":"%s","limit":1000}`, got["id"])
	had := map[any]bool{}
	for _, user := range items(all, "user") {
		if had[user] {
			t.Errorf("%v has it twice", user)
		}
		had[user] = true
	}
	if len(had) != 600 {
		t.Errorf("%d users have it", len(had))
	}
}

func TestAPushToManyIsACampaign(t *testing.T) {
	w := start(t, config{categories: promo(), campaigns: true})
	users := make([]string, 10_000)
	for i := range users {
		users[i] = fmt.Sprintf(`"%d"`, i)
	}
	params := `{"to":{"users":[` + strings.Join(users, ",") + `]},"data":1,"category":"promo"}`
	got, err := w.keyed("push", params, "k")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object(t, fmt.Sprintf(`{"id":%q,"audience":10000,"counts":{"queued":10000},"campaign":"job 1"}`, got["id"])), got); diff != "" {
		t.Error(diff)
	}
	if got := w.must("push", `{"to":{"users":["1","2"]},"data":1}`); got["campaign"] != nil {
		t.Errorf("to two: got %v", got)
	}
	if _, err := w.store.Do(t.Context(), store.AddMembers{Channel: "team:1", Users: []string{"a", "b"}, Time: 1}); err != nil {
		t.Fatal(err)
	}
	if got := w.must("push", `{"to":{"members":"team:1"},"data":1}`); got["campaign"] != "job 1" || got["audience"] != 2.0 {
		t.Errorf("to members: got %v", got)
	}
}

func TestADryRunPushesNothing(t *testing.T) {
	cats := promo()
	cats["late"] = feature.Category{Caps: []fatigue.Cap{{Per: "1h", Max: 1}}, OnCap: "defer", Quiet: around(time.Now()), OnQuiet: "inbox"}
	w := start(t, config{categories: cats})
	put := store.PutUsers{Time: 1}
	for i := range 2500 {
		put.Users = append(put.Users, store.UserPut{User: fmt.Sprint(i), Attributes: []byte(`{"level":` + fmt.Sprint(i%10) + `}`)})
		if len(put.Users) == 1000 || i == 2499 {
			if _, err := w.store.Do(t.Context(), put); err != nil {
				t.Fatal(err)
			}
			put.Users = nil
		}
	}
	for range 2 {
		w.must("push", `{"to":{"users":["0","1","2"]},"data":1,"category":"promo"}`)
	}
	w.must("categories.mute", `{"user":"3","category":"promo","muted":true}`)
	if _, err := w.store.Do(t.Context(), store.AddMembers{Channel: "team:1", Users: []string{"0", "3", "5", "6"}, Time: 1}); err != nil {
		t.Fatal(err)
	}
	w.User("0", "")
	w.User("10", "")
	before := w.must("records", `{"limit":1000}`)
	tests := []struct{ params, want string }{
		{
			`{"to":{"users":["0","1","3","4"]},"data":1,"category":"promo"`,
			`{"audience":4,"counts":{"queued":1,"capped":2,"muted":1},"estimate":{"online":1,"deliver":1,"muted":1,"quiet":0,"capped":{"promo: 2 per 1h":2}}}`,
		},
		{
			`{"to":{"where":{"field":"/level","eq":0}},"data":1,"category":"promo"`,
			`{"audience":250,"counts":{"queued":249,"capped":1},"estimate":{"online":2,"deliver":249,"muted":0,"quiet":0,"capped":{"promo: 2 per 1h":1}}}`,
		},
		{
			`{"to":{"members":"team:1"},"data":1,"category":"promo"`,
			`{"audience":4,"counts":{"queued":2,"capped":1,"muted":1},"estimate":{"online":1,"deliver":2,"muted":1,"quiet":0,"capped":{"promo: 2 per 1h":1}}}`,
		},
		{
			`{"to":{"all":"users"},"data":1,"category":"promo"`,
			`{"audience":2500,"counts":{"queued":2496,"capped":3,"muted":1},"estimate":{"online":2,"deliver":2496,"muted":1,"quiet":0,"capped":{"promo: 2 per 1h":3}}}`,
		},
		{
			`{"to":{"users":["0","9"]},"data":1,"category":"night"`,
			`{"audience":2,"counts":{"queued":2},"estimate":{"online":1,"deliver":0,"muted":0,"quiet":2}}`,
		},
		{
			`{"to":{"users":["0","9"]},"data":1,"category":"late"`,
			`{"audience":2,"counts":{"muted":2},"estimate":{"online":1,"deliver":0,"muted":0,"quiet":2}}`,
		},
		{
			`{"to":{"users":["7","8"]},"data":1`,
			`{"audience":2,"counts":{"queued":2},"estimate":{"online":0,"deliver":2,"muted":0,"quiet":0}}`,
		},
	}
	for _, tt := range tests {
		got := w.must("push", "%s", tt.params+`,"dry_run":true}`)
		if diff := cmp.Diff(object(t, tt.want), got); diff != "" {
			t.Errorf("%s: %s", tt.params, diff)
		}
	}
	if diff := cmp.Diff(before, w.must("records", `{"limit":1000}`)); diff != "" {
		t.Errorf("something was pushed: %s", diff)
	}
}

func TestAPushIsWithdrawn(t *testing.T) {
	w := start(t, config{})
	id := w.must("push", `{"to":{"users":["1","2","3"]},"data":1}`)["id"].(string)
	w.must("inbox.mark", `{"user":"2","delivered":["%s"],"device":"ipad"}`, id)
	news, count, err := w.Recall(t.Context(), id)
	if !news || count != 2 || err != nil {
		t.Errorf("got %v, %d, %v", news, count, err)
	}
	news, count, err = w.Recall(t.Context(), id)
	if news || count != 0 || err != nil {
		t.Errorf("again: got %v, %d, %v", news, count, err)
	}
	_, _, err = w.Recall(t.Context(), strings.Repeat("0", 26))
	if e := fault.Of(err); e == nil || e.Code != fault.NotFound || e.Message != "there is no such message, or no longer" {
		t.Errorf("of an unknown one: got %v", err)
	}
	got := w.must("records", `{"message":"%s"}`, id)
	outcomes := map[any]any{}
	for _, item := range got["items"].([]any) {
		r := item.(map[string]any)
		outcomes[r["user"]] = r["outcome"]
	}
	if diff := cmp.Diff(map[any]any{"1": "recalled", "2": "delivered", "3": "recalled"}, outcomes); diff != "" {
		t.Error(diff)
	}
	if page := w.must("inbox.list", `{"user":"1"}`); len(page["items"].([]any)) != 0 {
		t.Errorf("it is still in the inbox: %v", page)
	}
}

func BenchmarkPushToOneUser(b *testing.B) {
	w := start(b, config{categories: map[string]feature.Category{"chat": {Caps: []fatigue.Cap{{Per: "day", Max: 1000}}}}})
	b.ReportAllocs()
	b.SetParallelism(64) // so that commits are shared, as they are between connections
	b.RunParallel(func(pb *testing.PB) {
		n := 0
		for pb.Next() {
			n++
			if _, err := w.Verbs.Run(b.Context(), "push", fmt.Appendf(nil, `{"to":{"users":["%d"]},"event":"order","data":{"no":17},"category":"chat"}`, n), ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}
