package push_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	feature "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/store"
)

func TestRecordsAreFilteredAndPaged(t *testing.T) {
	w := start(t, config{categories: promo()})
	var ids []string
	for i := range 4 {
		ids = append(ids, w.must("push", `{"to":{"users":["1","2","3"]},"data":%d,"category":"promo"}`, i)["id"].(string))
	}
	w.must("inbox.mark", `{"user":"2","read":1,"device":"ipad"}`)
	w.must("inbox.mark", `{"user":"3","delivered":["%s"]}`, ids[1])
	if _, _, err := w.Recall(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	count := func(params string, want int) {
		t.Helper()
		if got := w.must("records", "%s", params); len(got["items"].([]any)) != want {
			t.Errorf("%s: %d records, want %d: %v", params, len(got["items"].([]any)), want, got)
		}
	}
	now := time.Now()
	future, past := now.Add(time.Hour), now.Add(-time.Hour)
	count(`{}`, 12)
	count(`{"user":"1"}`, 4)
	count(`{"user":"nobody"}`, 0)
	count(`{"message":"`+ids[1]+`"}`, 3)
	count(`{"message":"`+strings.Repeat("0", 26)+`"}`, 0)
	count(`{"campaign":"none"}`, 0)
	count(`{"outcome":"capped"}`, 6)
	count(`{"outcome":["recalled","delivered"]}`, 4)
	count(`{"outcome":"recalled","user":"2"}`, 0)
	count(`{"outcome":null,"from":null,"read":false}`, 12)
	count(`{"read":true}`, 1)
	count(fmt.Sprintf(`{"from":%d}`, future.UnixMilli()), 0)
	count(fmt.Sprintf(`{"from":%d,"to":%q}`, past.UnixMilli(), future.Format(time.RFC3339)), 12)
	count(fmt.Sprintf(`{"to":%q}`, past.UTC().Format(time.RFC3339)), 0)

	got := w.must("records", `{"user":"2","read":true}`)
	r := got["items"].([]any)[0].(map[string]any)
	for _, name := range []string{"queued", "sent", "delivered", "read"} {
		if at, _ := r[name].(float64); at < float64(past.UnixMilli()) || at > float64(future.UnixMilli()) {
			t.Errorf("%s is %v", name, r[name])
		}
		delete(r, name)
	}
	want := `{"message":"` + ids[0] + `","user":"2","seq":1,"category":"promo","outcome":"delivered","device":"ipad"}`
	if diff := cmp.Diff(object(t, want), r); diff != "" {
		t.Error(diff)
	}

	// Pages, the newest first, have each record once.
	all := w.must("records", `{"limit":1000}`)["items"].([]any)
	var paged []any
	for after := ""; ; {
		page := w.must("records", `{"limit":5,"after":%q}`, after)
		paged = append(paged, page["items"].([]any)...)
		if page["next"] == nil {
			break
		}
		after = page["next"].(string)
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Error(diff)
	}
	if all[0].(map[string]any)["message"] != ids[3] || all[11].(map[string]any)["message"] != ids[0] {
		t.Errorf("the newest is not first: %v", all)
	}
}

func TestWrongParamsOfReadsAreNamed(t *testing.T) {
	w := start(t, config{categories: promo()})
	const words = "queued, sent, delivered, capped, muted, expired, recalled or failed"
	ids := strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("0", 26)+`",`, 501), ",")
	tests := []struct{ verb, params, want string }{
		{"records", `{"limit":0}`, "limit: 0 is not between 1 and 1000"},
		{"records", `{"limit":1001}`, "limit: 1001 is not between 1 and 1000"},
		{"records", `{"users":["1"]}`, "users: is not a field of this verb"},
		{"records", `{"user":"a\u0007"}`, "user: no control characters are allowed"},
		{"records", `{"message":"m"}`, "message: is not the id of a message"},
		{"records", `{"campaign":"` + strings.Repeat("x", 65) + `"}`, "campaign: is not the id of a campaign"},
		{"records", `{"outcome":"read"}`, `outcome: "read" is not ` + words},
		{"records", `{"outcome":["capped",7]}`, "outcome[1]: 7 is not " + words},
		{"records", `{"outcome":[]}`, "outcome: is an empty list"},
		{"records", `{"outcome":7}`, "outcome: must be " + words + ", or a list of them, not a number"},
		{"records", `{"from":"2h"}`, `from: "2h" is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970`},
		{"records", `{"from":true}`, "from: must be a time (RFC 3339, or milliseconds since 1970), not a boolean"},
		{"records", `{"to":1.5}`, "to: 1.5 is not milliseconds since 1970"},
		{"records", `{"from":2000,"to":2000}`, "to: is not after from"},
		{"records", `{"after":"!"}`, "after: is not the next of a page"},
		{"records", `{"after":"0"}`, "after: is not the next of a page"},
		{"inbox.list", `{}`, "user: is missing"},
		{"inbox.list", `{"user":"1","before":0}`, "before: 0 is not between 1 and 9007199254740991"},
		{"inbox.list", `{"user":"1","after":-1}`, "after: -1 is not between 0 and 9007199254740991"},
		{"inbox.list", `{"user":"1","before":1,"after":1}`, "before: cannot be given together with after"},
		{"inbox.list", `{"user":"1","limit":501}`, "limit: 501 is not between 1 and 500"},
		{"inbox.mark", `{"read":1}`, "user: is missing"},
		{"inbox.mark", `{"user":"1"}`, "read: is missing; give read, delivered or both"},
		{"inbox.mark", `{"user":"1","read":-1}`, "read: -1 is not between 0 and 9007199254740991"},
		{"inbox.mark", `{"user":"1","read":1,"device":"a\u0007"}`, "device: no control characters are allowed"},
		{"inbox.mark", `{"user":"1","delivered":0}`, "delivered: must be a seq or a list of ids of messages, not a number"},
		{"inbox.mark", `{"user":"1","delivered":"x"}`, "delivered: must be a seq or a list of ids of messages, not a string"},
		{"inbox.mark", `{"user":"1","delivered":[]}`, "delivered: is an empty list"},
		{"inbox.mark", `{"user":"1","delivered":["` + strings.Repeat("0", 26) + `","x"]}`, "delivered[1]: is not the id of a message"},
		{"inbox.mark", `{"user":"1","delivered":[` + ids + `]}`, "delivered: names more than 500 messages"},
		{"explain", `{"category":"promo"}`, "user: is missing"},
		{"explain", `{"user":"1"}`, "category: is missing"},
	}
	for _, tt := range tests {
		w.refused(tt.verb, tt.params, "bad_request: "+tt.want)
	}
	w.refused("explain", `{"user":"1","category":"none"}`, `not_found: category: there is no category "none"`)
}

func TestAnInboxIsPagedAndMarked(t *testing.T) {
	w := start(t, config{})
	var ids []string
	for i := range 5 {
		ids = append(ids, w.must("push", `{"to":{"users":["1"]},"data":%d}`, i)["id"].(string))
	}
	seqs := func(params string, more bool, want ...any) {
		t.Helper()
		page := w.must("inbox.list", "%s", params)
		if diff := cmp.Diff(want, items(page, "seq")); diff != "" || page["more"] != more {
			t.Errorf("%s: more %v, %s", params, page["more"], diff)
		}
	}
	seqs(`{"user":"1"}`, false, 1.0, 2.0, 3.0, 4.0, 5.0)
	seqs(`{"user":"1","limit":2}`, true, 4.0, 5.0)
	seqs(`{"user":"1","limit":2,"before":4}`, true, 2.0, 3.0)
	seqs(`{"user":"1","limit":2,"after":0}`, true, 1.0, 2.0)
	seqs(`{"user":"1","after":3}`, false, 4.0, 5.0)
	mark := func(params, want string) {
		t.Helper()
		if diff := cmp.Diff(object(t, want), w.must("inbox.mark", "%s", params)); diff != "" {
			t.Errorf("%s: %s", params, diff)
		}
	}
	unknown := strings.Repeat("0", 26)
	mark(`{"user":"1","delivered":["`+ids[4]+`","`+unknown+`"],"device":"ipad"}`, `{"read":0,"unread":5,"acked":1,"unknown":["`+unknown+`"]}`)
	mark(`{"user":"1","delivered":2}`, `{"read":0,"unread":5,"acked":2}`)
	mark(`{"user":"1","read":3}`, `{"read":3,"unread":2,"acked":1}`)
	mark(`{"user":"1","read":1}`, `{"read":3,"unread":2,"acked":0}`)
	mark(`{"user":"1","read":99,"delivered":4}`, `{"read":5,"unread":0,"acked":1}`)
	mark(`{"user":"nobody","read":99}`, `{"read":0,"unread":0,"acked":0}`)
	seqs(`{"user":"1","unread":true}`, false)
	page := w.must("inbox.list", `{"user":"1"}`)
	if diff := cmp.Diff([]any{"delivered", "delivered", "delivered", "delivered", "delivered"}, items(page, "outcome")); diff != "" {
		t.Error(diff)
	}
	if device := items(page, "device")[4]; device != "ipad" {
		t.Errorf("it was acknowledged by %v", device)
	}
}

func TestAnInboxThatIsLookedAtHasWhatIsForEverybody(t *testing.T) {
	w := start(t, config{})
	w.must("push", `{"to":{"users":["1"]},"data":1}`)
	if _, err := w.store.Do(t.Context(), store.Broadcast{Content: store.Content{ID: strings.Repeat("A", 26), Time: 1, Data: []byte(`2`)}, Now: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	if page := w.must("inbox.list", `{"user":"1"}`); cmp.Diff([]any{1.0, 2.0}, items(page, "data")) != "" {
		t.Errorf("got %v", page)
	}
	if page := w.must("inbox.list", `{"user":"unheard of"}`); len(page["items"].([]any)) != 0 {
		t.Errorf("got %v", page)
	}
}

func TestExplainSaysWhatHappens(t *testing.T) {
	now := time.Now()
	tokyo := now.In(mustZone(t, "Asia/Tokyo"))
	categories := map[string]feature.Category{
		"free":  {},
		"all":   {Caps: []fatigue.Cap{{Per: "2h", Max: 3}}},
		"promo": {Parent: "all", Caps: []fatigue.Cap{{Per: "1h", Max: 1}, {Per: "week", Max: 50}}},
		"drop":  {Parent: "all", OnCap: "drop"},
		"later": {Parent: "all", OnCap: "defer", Caps: []fatigue.Cap{{Per: "90m", Max: 1}}},
		"never": {Caps: []fatigue.Cap{{Per: "day", Max: 0}}, OnCap: "defer"},
		"quiet": {Quiet: around(now)},
		"sleep": {Quiet: around(now), OnQuiet: "inbox"},
		"loud":  {Quiet: around(now), OnQuiet: "ignore"},
		"tokyo": {Quiet: &feature.Quiet{From: tokyo.Add(-time.Hour).Format("15:04"), To: tokyo.Add(time.Hour).Format("15:04")}},
		"alarm": {Bypass: true, Parent: "all", Counts: true},
	}
	w := start(t, config{categories: categories})
	if _, err := w.store.Do(t.Context(), store.PutUsers{Time: 1, Users: []store.UserPut{{User: "1", Attributes: []byte(`{"tz":"Asia/Tokyo"}`)}}}); err != nil {
		t.Fatal(err)
	}
	w.must("categories.mute", `{"user":"2","category":"free","muted":true}`)
	// Each is explained, and then pushed: the record says what was foretold.
	for _, category := range []string{"free", "promo", "promo", "all", "drop", "drop", "later", "later", "never", "quiet", "sleep", "loud", "tokyo", "alarm", "alarm"} {
		for _, user := range []string{"1", "2"} {
			told := w.must("explain", `{"user":%q,"category":%q}`, user, category)
			id := w.must("push", `{"to":{"users":[%q]},"data":1,"category":%q}`, user, category)["id"]
			r := w.must("records", `{"user":%q,"message":%q}`, user, id)["items"].([]any)[0].(map[string]any)
			if told["outcome"] != r["outcome"] || told["rule"] != r["rule"] || told["deliver"] != (r["outcome"] == "queued" && r["until"] == nil) {
				t.Errorf("%s to %s: foretold %v\nhas become %v", category, user, told, r)
			}
			until, _ := told["until"].(float64)
			if due, _ := r["until"].(float64); due != 0 && (due < until-5000 || due > until+65_000) {
				t.Errorf("%s to %s: it comes at %.0f, %.0f was foretold", category, user, due, until)
			}
			delete(told, "until")
		}
	}
	w.User("2", "")
	got := w.must("explain", `{"user":"2","category":"free"}`)
	want := `{"deliver":false,"outcome":"muted","rule":"muted by the user","online":true,"zone":"UTC","muted":true,"quiet":false,"caps":[]}`
	if diff := cmp.Diff(object(t, want), got); diff != "" {
		t.Error(diff)
	}
	w.settings.Zone = "Europe/Berlin"
	if got := w.must("explain", `{"user":"2","category":"never"}`); got["zone"] != "Europe/Berlin" || got["until"] != nil || got["outcome"] != "capped" {
		t.Errorf("got %v", got)
	}
	got = w.must("explain", `{"user":"1","category":"tokyo"}`)
	if got["zone"] != "Asia/Tokyo" || got["quiet"] != true || got["rule"] != "quiet hours "+categories["tokyo"].Quiet.From+"-"+categories["tokyo"].Quiet.To {
		t.Errorf("got %v", got)
	}
	got = w.must("explain", `{"user":"1","category":"promo"}`)
	var caps []string
	for _, c := range got["caps"].([]any) {
		use := c.(map[string]any)
		caps = append(caps, fmt.Sprintf("%v %v %v/%v", use["category"], use["per"], use["used"], use["max"]))
		if use["until"] == nil {
			t.Errorf("it does not say until when: %v", use)
		}
	}
	// all: promo, all, drop, and both that bypass and count.
	if diff := cmp.Diff([]string{"promo 1h 1/1", "promo week 1/50", "all 2h 5/3"}, caps); diff != "" {
		t.Error(diff)
	}
}

func mustZone(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, ok := fatigue.Zone(name)
	if !ok {
		t.Fatalf("there is no zone %s", name)
	}
	return zone
}

func TestParamsAreWrittenAsTheyAreRead(t *testing.T) {
	at := time.UnixMilli(1_770_000_000_000)
	tests := []struct {
		params any
		want   string
	}{
		{feature.Params{To: audience.Target{All: true}, Data: []byte(`1`), Expires: feature.Moment{For: 2 * time.Hour}}, `{"to":{"all":"users"},"data":1,"expires":"2h0m0s"}`},
		{feature.Params{To: audience.Target{Users: []string{"1"}}, Data: []byte(`1`), Expires: feature.Moment{Time: at}}, `{"to":{"users":["1"]},"data":1,"expires":1770000000000}`},
		{feature.Params{To: audience.Target{Members: "team:1"}, Data: []byte(`1`)}, `{"to":{"members":"team:1"},"data":1}`},
		{feature.RecordsParams{Outcome: feature.Outcomes{store.Capped, store.Muted}, From: feature.Moment{Time: at}}, `{"outcome":["capped","muted"],"from":1770000000000}`},
		{feature.MarkParams{User: "1", Delivered: feature.Acknowledged{Seq: 7}}, `{"user":"1","delivered":7}`},
		{feature.MarkParams{User: "1", Delivered: feature.Acknowledged{Messages: []string{"a", "b"}}}, `{"user":"1","delivered":["a","b"]}`},
		{feature.MarkParams{User: "1", Read: new(int64(7))}, `{"user":"1","read":7}`},
	}
	for _, tt := range tests {
		b, err := json.Marshal(tt.params)
		if err != nil || string(b) != tt.want {
			t.Errorf("got %s, %v\nwant %s", b, err, tt.want)
		}
	}
	var m feature.Moment
	if err := json.Unmarshal([]byte(`"2h"`), &m); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(m); err != nil || string(b) != `"2h"` || m.IsZero() {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestResultsAreAsTheyAreDescribed(t *testing.T) {
	w := start(t, config{categories: promo()})
	for range 3 {
		w.must("push", `{"to":{"users":["1"]},"data":1,"category":"promo","expires":"1h","collapse":"x"}`)
	}
	w.must("inbox.mark", `{"user":"1","read":3,"device":"ipad"}`)
	for verb, params := range map[string]string{
		"push": `{"to":{"users":["1"]},"data":1,"category":"promo","dry_run":true}`, "records": `{}`, "inbox.list": `{"user":"1"}`,
		"inbox.mark": `{"user":"1","delivered":["00000000000000000000000000"]}`, "explain": `{"user":"1","category":"promo"}`,
		"categories.list": `{}`, "categories.put": `{"name":"x","caps":[{"per":"day","max":1}],"quiet":{"from":"22:00","to":"08:00"}}`,
		"categories.mute": `{"user":"1"}`,
	} {
		described, err := jsonschema.ForType(w.Verbs.Find(verb).Result, &jsonschema.ForOptions{})
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := described.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(w.must(verb, "%s", params)); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestRecordsOfAUserHaveWhatIsForEverybody(t *testing.T) {
	w := start(t, config{})
	w.must("push", `{"to":{"users":["1"]},"data":1}`) // heard of
	b, err := w.engine.Broadcast(t.Context(), push.Message{Content: store.Content{Data: []byte("1")}})
	if err != nil {
		t.Fatal(err)
	}
	w.must("push", `{"to":{"users":["2"]},"data":1}`) // heard of afterwards
	for user, want := range map[string]int{"1": 1, "2": 0} {
		items := w.must("records", `{"user":%q,"message":%q}`, user, b.ID)["items"].([]any)
		if len(items) != want {
			t.Errorf("user %s has %d records of it, want %d", user, len(items), want)
		}
	}
}
