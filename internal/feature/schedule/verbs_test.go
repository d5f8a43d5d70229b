package schedule_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/schedule"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

func TestMistakesInParamsAreNamed(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		verb.Add(n.verbs, "strict", "Reads its own params.", func(context.Context, strictParams) (struct{}, error) { return struct{}{}, nil })
		tests := []struct{ params, want string }{
			{`{}`, `name: is missing`},
			{`{"name":"` + strings.Repeat("n", 129) + `"}`, `name: has 129 bytes; at most 128 are allowed`},
			{`{"name":"a\u0000"}`, `name: no control characters are allowed`},
			{`{"name":7}`, `name: must be a string, not a number`},
			{`{"name":"a","color":"red"}`, `color: is not a field of this verb`},
			{`{"name":"a","verb":"note"}`, `at: give one of at, every and cron`},
			{`{"name":"a","every":"5s","cron":"@daily","verb":"note"}`, `at: give one of at, every and cron`},
			{`{"name":"a","at":"2000-01-02T00:00:00Z","every":"5s","verb":"note"}`, `at: give one of at, every and cron`},
			{`{"name":"a","at":"tomorrow","verb":"note"}`, `at: "tomorrow" is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970`},
			{`{"name":"a","at":"1960-01-02T00:00:00Z","verb":"note"}`, `at: "1960-01-02T00:00:00Z" is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970`},
			{`{"name":"a","at":"1999-12-31T23:00:00Z","verb":"note"}`, `at: 1999-12-31T23:00:00Z has passed`},
			{`{"name":"a","at":"2000-01-02T00:00:00Z","count":2,"verb":"note"}`, `count: goes with every and cron; at is once`},
			{`{"name":"a","at":"2000-01-02T00:00:00Z","until":"2001-01-02T00:00:00Z","verb":"note"}`, `until: goes with every and cron; at is once`},
			{`{"name":"a","every":"often","verb":"note"}`, `every: "often" is not a duration such as 5s or 1h30m`},
			{`{"name":"a","every":"99ms","verb":"note"}`, `every: 99ms is not between 100ms and 8760h0m0s`},
			{`{"name":"a","every":"-5s","verb":"note"}`, `every: -5s is not between 100ms and 8760h0m0s`},
			{`{"name":"a","every":"8761h","verb":"note"}`, `every: 8761h is not between 100ms and 8760h0m0s`},
			{`{"name":"a","every":"100.5ms","verb":"note"}`, `every: 100.5ms is not whole milliseconds`},
			{`{"name":"a","every":"5s","start":"now","verb":"note"}`, `start: "now" is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970`},
			{`{"name":"a","cron":"@daily","start":"2000-01-02T00:00:00Z","verb":"note"}`, `start: goes with every`},
			{`{"name":"a","every":"5s","zone":"Europe/Berlin","verb":"note"}`, `zone: goes with cron`},
			{`{"name":"a","cron":"61 * * * *","verb":"note"}`, `cron: minute: 61 is not between 0 and 59`},
			{`{"name":"a","cron":"0 0 30 2 *","verb":"note"}`, `cron: never: 30 FEB does not exist`},
			{`{"name":"a","cron":"@daily","zone":"Europe/Atlantis","verb":"note"}`, `zone: "Europe/Atlantis" is not a time zone such as Europe/Berlin`},
			{`{"name":"a","cron":"@daily","zone":"Local","verb":"note"}`, `zone: "Local" is not a time zone such as Europe/Berlin`},
			{`{"name":"a","cron":"@daily","zone":"../etc/passwd","verb":"note"}`, `zone: "../etc/passwd" is not a time zone such as Europe/Berlin`},
			{`{"name":"a","every":"5s"}`, `verb: is missing`},
			{`{"name":"a","every":"5s","verb":"dance"}`, `verb: "dance" is not known`},
			{`{"name":"a","every":"5s","verb":"schedules.put"}`, `verb: "schedules.put" cannot be scheduled`},
			{`{"name":"a","every":"5s","verb":"note","params":[1]}`, `params: must be an object, not an array`},
			{`{"name":"a","every":"5s","verb":"note","params":"x"}`, `params: must be an object, not a string`},
			{`{"name":"a","every":"5s","verb":"note","params":{"txt":"x"}}`, `params.txt: is not a field of note`},
			{`{"name":"a","every":"5s","verb":"note","params":{"text":7}}`, `params.text: cannot be a JSON number`},
			{`{"name":"a","every":"5s","verb":"note","params":{"key":"k"}}`, `params.key: is given by the schedule: each firing has its own`},
			{`{"name":"a","every":"5s","verb":"strict","params":{"x":1}}`, `params.x: must be a string, not a number`},
			{`{"name":"a","every":"5s","verb":"strict","params":{"x":"whole"}}`, `params: the whole is wrong`},
			{`{"name":"a","every":"5s","verb":"note","params":{"text":"` + strings.Repeat("x", 64<<10) + `"}}`, `params: has 65547 bytes; at most 65536 are allowed`},
			{`{"name":"a","every":"5s","verb":"note","while_occupied":"lobby"}`, `while_occupied: "lobby" is not a channel name; write namespace:name`},
			{`{"name":"a","every":"5s","verb":"note","while_occupied":"a:b","misfire":"once"}`, `misfire: is skip with while_occupied: what is missed there is not made up`},
			{`{"name":"a","every":"5s","verb":"note","misfire":"twice"}`, `misfire: is skip, once, or {"all": n} with n from 1 to 100`},
			{`{"name":"a","every":"5s","verb":"note","misfire":"all"}`, `misfire: is skip, once, or {"all": n} with n from 1 to 100`},
			{`{"name":"a","every":"5s","verb":"note","misfire":"all:0"}`, `misfire: is skip, once, or {"all": n} with n from 1 to 100`},
			{`{"name":"a","every":"5s","verb":"note","misfire":{"all":101}}`, `misfire: is skip, once, or {"all": n} with n from 1 to 100`},
			{`{"name":"a","every":"5s","verb":"note","misfire":{"all":1,"x":2}}`, `misfire: is skip, once, or {"all": n} with n from 1 to 100`},
			{`{"name":"a","every":"5s","verb":"note","misfire":5}`, `misfire: is skip, once, or {"all": n} with n from 1 to 100`},
			{`{"name":"a","every":"5s","verb":"note","overlap":"both"}`, `overlap: "both" is not skip or queue`},
			{`{"name":"a","every":"5s","verb":"note","jitter":"much"}`, `jitter: "much" is not a duration such as 5s or 1h30m`},
			{`{"name":"a","every":"5s","verb":"note","jitter":"5s"}`, `jitter: 5s is not less than the interval of 5s`},
			{`{"name":"a","cron":"0 9,10 * * *","verb":"note","jitter":"60m"}`, `jitter: 60m is not less than the interval of 1h0m0s`},
			{`{"name":"a","cron":"@yearly","verb":"note","jitter":"25h"}`, `jitter: 25h is not between 1ms and 24h0m0s`},
			{`{"name":"a","every":"5s","verb":"note","until":"2000"}`, `until: "2000" is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970`},
			{`{"name":"a","every":"5s","verb":"note","until":"2000-01-01T00:00:04Z"}`, `until: no planned time comes before 2000-01-01T00:00:04Z`},
			{`{"name":"a","every":"5s","verb":"note","count":0}`, `count: 0 is not between 1 and 9007199254740991`},
			{`{"name":"a","every":"5s","verb":"note","count":"many"}`, `count: must be an integer, not a string`},
			{`{"name":"a","every":"5s","verb":"note","enabled":"yes"}`, `enabled: must be true or false, not a string`},
		}
		for _, tt := range tests {
			_, got := n.try("put", tt.params)
			if want := "bad_request: " + tt.want; got != want {
				w.Errorf("%.200s:\ngot  %s\nwant %s", tt.params, got, want)
			}
		}
		for _, name := range []string{"get", "delete", "run", "pause", "resume"} {
			if _, got := n.try(name, `{}`); got != "bad_request: name: is missing" {
				w.Errorf("%s: got %s", name, got)
			}
			if _, got := n.try(name, `{"name":"nothing"}`); got != `not_found: name: there is no schedule "nothing"` {
				w.Errorf("%s: got %s", name, got)
			}
		}
		for _, limit := range []string{"0", "1001", "-1"} {
			if _, got := n.try("list", `{"limit":`+limit+`}`); got != "bad_request: limit: "+limit+" is not between 1 and 1000" {
				w.Errorf("got %s", got)
			}
		}
	})
}

// strictParams read themselves, as those of publish do.
type strictParams struct{}

func (*strictParams) ReadParams(o *protocol.Object) error {
	x, err := o.String("x", 10)
	if x == "whole" {
		return fault.New(fault.BadRequest, "the whole is wrong")
	}
	return err
}

func TestAPutOfTheSameChangesNothing(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		const put = `{"name":"x","every":"90s","verb":"note","params":{"text":"a","size":1}}`
		first := n.must("put", "%s", put)
		w.pass(100 * time.Second)
		before := w.counts.commands.Load()
		for _, again := range []string{put, `{"name":"x","every":"1m30s","verb":"note","params":{"text": "a", "size": 1},"misfire":"once","overlap":"skip","enabled":true}`} {
			s := n.must("put", "%s", again)
			if s.Changed != first.Changed || s.Next != first.Next+90_000 || s.Runs != 1 {
				w.Errorf("got %+v", s)
			}
		}
		if writes := w.counts.commands.Load() - before; writes != 0 {
			w.Errorf("%d writes", writes)
		}
	})
}

func TestWhatAPutChanges(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		start := time.Now()
		n.must("put", `{"name":"x","every":"90s","verb":"note"}`)
		w.pass(120 * time.Second)
		kept := ms(start.Add(180 * time.Second))
		s := n.must("put", `{"name":"x","every":"90s","verb":"plain","params":{"text":"b"},"jitter":"5s","overlap":"queue"}`)
		if s.Next != kept || s.Runs != 1 || s.Last == nil || s.Verb != "plain" || s.Changed != ms(time.Now()) || s.Created != ms(start) {
			w.Errorf("another verb: got %+v", s)
		}
		s = n.must("put", `{"name":"x","every":"100s","verb":"plain"}`)
		if s.Next != ms(time.Now().Add(100*time.Second)) || s.Runs != 1 {
			w.Errorf("another interval: got %+v", s)
		}
		s = n.must("put", `{"name":"x","every":"100s","start":%q,"verb":"plain"}`, rfc(start))
		if s.Next != ms(start.Add(200*time.Second)) {
			w.Errorf("another start: got %+v", s)
		}
		s = n.must("put", `{"name":"x","cron":"0 12 * * *","zone":"Asia/Kolkata","verb":"plain"}`)
		if s.Next != ms(start.Add(6*time.Hour+30*time.Minute)) || s.Every != "" {
			w.Errorf("a cron line: got %+v", s)
		}
		s = n.must("put", `{"name":"x","cron":"0 12 * * *","zone":"Asia/Kolkata","verb":"plain","enabled":false}`)
		if s.Next != 0 || s.State != "paused" || s.Enabled {
			w.Errorf("not enabled: got %+v", s)
		}
		s = n.must("put", `{"name":"x","cron":"0 12 * * *","zone":"Asia/Kolkata","verb":"note"}`)
		if s.State != "paused" {
			w.Errorf("enabled is not given: got %+v", s)
		}
		s = n.must("put", `{"name":"x","cron":"0 12 * * *","zone":"Asia/Kolkata","verb":"note","enabled":true}`)
		if s.State != "active" || s.Next != ms(start.Add(6*time.Hour+30*time.Minute)) {
			w.Errorf("enabled: got %+v", s)
		}
		s = n.must("put", `{"name":"x","cron":"0 12 * * *","zone":"Asia/Kolkata","verb":"note","until":"2000-01-01T03:00:00Z"}`)
		if s.State != "done" || s.Next != 0 {
			w.Errorf("until is sooner: got %+v", s)
		}
		w.taken()
		w.pass(24 * time.Hour)
		if ran := w.taken(); len(ran) > 0 {
			w.Errorf("it ran %d times", len(ran))
		}
	})
}

func TestAChangeDuringARunDoesNotRepeatIt(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		start := time.Now()
		n.must("put", `{"name":"x","every":"10s","verb":"plain","params":{"take":"5s"}}`)
		w.pass(12 * time.Second)
		s := n.must("put", `{"name":"x","every":"10s","verb":"plain","params":{"take":"6s"}}`)
		if s.Next != ms(start.Add(20*time.Second)) || s.Runs != 0 {
			w.Errorf("got %+v", s)
		}
		w.pass(4 * time.Second)
		if s := n.get("x"); s.Runs != 1 || s.Last.Finished != ms(start.Add(15*time.Second)) || s.Next != ms(start.Add(20*time.Second)) {
			w.Errorf("the run is not noted: %+v", s)
		}
		w.pass(6 * time.Second)
		n.must("pause", `{"name":"x"}`)
		w.pass(20 * time.Second)
		w.same("runs", []float64{10, 20}, w.times(start))
		if s := n.get("x"); s.Runs != 2 || s.State != "paused" || s.Next != 0 {
			w.Errorf("got %+v", s)
		}
		n.must("resume", `{"name":"x"}`)
		w.pass(9 * time.Second)
		n.must("delete", `{"name":"x"}`)
		w.pass(time.Minute)
		w.same("after the resume", []float64{50}, w.times(start))
		if _, failed := n.try("get", `{"name":"x"}`); failed != `not_found: name: there is no schedule "x"` {
			w.Errorf("the run has brought it back: %s", failed)
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		start := time.Now()
		n.must("put", `{"name":"x","every":"10s","verb":"note","misfire":{"all":9}}`)
		w.pass(15 * time.Second)
		for range 2 {
			if s := n.must("pause", `{"name":"x"}`); s.State != "paused" || s.Next != 0 || s.Runs != 1 {
				w.Errorf("got %+v", s)
			}
		}
		w.pass(time.Minute)
		for range 2 {
			if s := n.must("resume", `{"name":"x"}`); s.State != "active" || s.Next != ms(start.Add(80*time.Second)) {
				w.Errorf("got %+v", s)
			}
		}
		w.pass(10 * time.Second)
		w.same("nothing is made up", []float64{10, 80}, w.times(start))

		n.must("put", `{"name":"once","at":%q,"verb":"note","enabled":false}`, rfc(time.Now().Add(time.Minute)))
		w.pass(2 * time.Minute)
		if s := n.must("resume", `{"name":"once"}`); s.State != "done" {
			w.Errorf("its time has passed: got %+v", s)
		}
	})
}

func TestRunNowGivesTheResult(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		before := n.must("put", `{"name":"x","every":"1h","verb":"note","params":{"text":"hi"},"enabled":false}`)
		for range 2 {
			w.pass(time.Second)
			raw, err := n.verbs.Run(w.Context(), "schedules.run", []byte(`{"name":"x"}`), "")
			var r schedule.RunResult
			if err == nil {
				err = json.Unmarshal(raw, &r)
			}
			if err != nil || string(r.Result) != `{"said":"hi"}` || !strings.HasPrefix(r.ID, "x@2000-01-01T00:00:0") || !strings.HasSuffix(r.ID, "#manual") {
				w.Errorf("got %s, %v", raw, err)
			}
			if notes := w.taken(); len(notes) != 1 || notes[0].key != r.ID || notes[0].caller != "schedule:x" {
				w.Errorf("got %+v", notes)
			}
		}
		if diff := cmp.Diff(before, n.get("x")); diff != "" {
			w.Error(diff)
		}
		w.setFail(fault.New(fault.Denied, "no"))
		w.pass(time.Second)
		if _, failed := n.try("run", `{"name":"x"}`); failed != "denied: no" {
			w.Errorf("got %s", failed)
		}
	})
}

func TestWhoMayNotRunAVerbMayNotScheduleIt(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.idle("a", func(c *schedule.Config) {
			c.Allow = func(ctx context.Context, name string) error {
				if verb.CallerOf(ctx).Name != "root" && name == "note" {
					return fault.New(fault.Denied, "no scope for %s", name)
				}
				return nil
			}
		})
		n.Start(w.store, false)
		n.Begin()
		w.Cleanup(n.Close)
		const put = `{"name":"x","every":"1h","verb":"note"}`
		if _, failed := n.try("put", put); failed != "denied: no scope for note" {
			w.Errorf("put: %s", failed)
		}
		if _, err := n.verbs.Run(verb.WithCaller(w.Context(), verb.Caller{Name: "root"}), "schedules.put", []byte(put), ""); err != nil {
			w.Error(err)
		}
		n.must("pause", `{"name":"x"}`)
		for _, name := range []string{"run", "resume"} {
			if _, failed := n.try(name, `{"name":"x"}`); failed != "denied: no scope for note" {
				w.Errorf("%s: %s", name, failed)
			}
		}
		n.must("put", `{"name":"y","every":"1h","verb":"plain"}`)
	})
}

func TestWithoutAStoreNothingWorks(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.idle("a", nil)
		defer n.Close()
		for name, params := range map[string]string{
			"put": `{"name":"x","every":"1h","verb":"note"}`, "get": `{"name":"x"}`, "list": `{}`, "delete": `{"name":"x"}`,
			"run": `{"name":"x"}`, "pause": `{"name":"x"}`, "resume": `{"name":"x"}`,
		} {
			if _, failed := n.try(name, params); failed != "unavailable: schedules need a store (data or database)" {
				w.Errorf("%s: %s", name, failed)
			}
		}
		n.Close()
		n.Start(w.store, false)
		n.Begin()
		if _, failed := n.try("list", `{}`); failed != "unavailable: the server is shutting down" {
			w.Errorf("after Close: %s", failed)
		}
	})
}

// list reads a page.
func (n *node) list(params string) (page schedule.Page) {
	n.w.Helper()
	raw, err := n.verbs.Run(n.w.Context(), "schedules.list", []byte(params), "")
	if err == nil {
		err = json.Unmarshal(raw, &page)
	}
	if err != nil {
		n.w.Fatal(err)
	}
	return page
}

func TestListsArePages(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		for _, name := range []string{"b/2", "a", "b/1", "c", "b/3"} {
			n.must("put", `{"name":%q,"every":"1h","verb":"note"}`, name)
		}
		names := func(p schedule.Page) (list []string) {
			for _, s := range p.Items {
				list = append(list, s.Name)
			}
			return append(list, "next "+p.Next)
		}
		for params, want := range map[string][]string{
			`{}`:                                   {"a", "b/1", "b/2", "b/3", "c", "next "},
			`{"limit":2}`:                          {"a", "b/1", "next b/1"},
			`{"limit":2,"after":"b/1"}`:            {"b/2", "b/3", "next b/3"},
			`{"limit":2,"after":"b/3"}`:            {"c", "next "},
			`{"prefix":"b/"}`:                      {"b/1", "b/2", "b/3", "next "},
			`{"prefix":"b/","limit":3}`:            {"b/1", "b/2", "b/3", "next "},
			`{"prefix":"b/","limit":1}`:            {"b/1", "next b/1"},
			`{"prefix":"b/","after":"b/2"}`:        {"b/3", "next "},
			`{"prefix":"zebra"}`:                   {"next "},
			`{"after":"zebra","limit":1000}`:       {"next "},
			`{"prefix":"b","after":"a","limit":1}`: {"b/1", "next b/1"},
		} {
			if diff := cmp.Diff(want, names(n.list(params))); diff != "" {
				w.Errorf("%s: %s", params, diff)
			}
		}
		big := strings.Repeat("x", 60<<10)
		for i := range 100 {
			n.must("put", `{"name":"large/%03d","every":"1h","verb":"note","params":{"text":%q}}`, i, big)
		}
		seen, pages := 0, 0
		for next := "large/"; next != ""; pages++ {
			page := n.list(fmt.Sprintf(`{"prefix":"large/","after":%q,"limit":1000}`, next))
			seen, next = seen+len(page.Items), page.Next
		}
		if seen != 100 || pages != 2 {
			w.Errorf("%d large ones in %d pages", seen, pages)
		}
	})
}

func TestManyChangesAtOnceLoseNothing(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := []*node{w.node("a", true), w.node("b", true)}
		var wait sync.WaitGroup
		for i := range 40 {
			wait.Go(func() {
				n := nodes[i%2]
				var err error
				for err = errors.New("not yet"); err != nil; {
					_, err = n.verbs.Run(w.Context(), "schedules.put", fmt.Appendf(nil, `{"name":"x","every":"100ms","verb":"note","params":{"size":%d}}`, i), "")
					if err != nil && fault.Of(err).Code != fault.Unavailable {
						w.Error(err)
						return
					}
				}
			})
		}
		wait.Wait()
		w.pass(3 * time.Second)
		w.taken()
		w.pass(time.Second)
		sizes := map[string]int{}
		for _, x := range w.taken() {
			sizes[x.key]++
		}
		if len(sizes) != 10 {
			w.Errorf("in a second ran %v", sizes)
		}
	})
}
