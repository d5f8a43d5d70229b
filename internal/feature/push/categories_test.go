package push_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	feature "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

func TestACategoryIsPutListedAndDeleted(t *testing.T) {
	dir := t.TempDir()
	w := startIn(t, dir, config{categories: promo()})
	got := w.must("categories.put", `{"name":"news"}`)
	changed := got["changed"]
	if now := float64(time.Now().UnixMilli()); changed.(float64) > now || changed.(float64) < now-20_000 {
		t.Errorf("it was changed at %v", changed)
	}
	delete(got, "changed")
	want := `{"name":"news","on_cap":"inbox","on_quiet":"defer","priority":5,"mutable":true,"source":"api"}`
	if diff := cmp.Diff(object(t, want), got); diff != "" {
		t.Error(diff)
	}
	got = w.must("categories.put", `{"name":"news","caps":[{"per":"day","max":5},{"max":2,"per":"90m"}],"parent":"promo","quiet":{"from":"22:00","to":"08:00"},
		"on_cap":"drop","on_quiet":"ignore","priority":0,"ttl":"72h","bypass":false,"mutable":false,"escalate":"10m"}`)
	delete(got, "changed")
	want = `{"name":"news","caps":[{"per":"day","max":5},{"per":"90m","max":2}],"parent":"promo","quiet":{"from":"22:00","to":"08:00"},
		"on_cap":"drop","on_quiet":"ignore","priority":0,"ttl":"72h","mutable":false,"escalate":"10m","source":"api"}`
	if diff := cmp.Diff(object(t, want), got); diff != "" {
		t.Error(diff)
	}
	w.close()
	w = startIn(t, dir, config{categories: promo()}) // it is kept
	list := w.must("categories.list", `{}`)
	if diff := cmp.Diff([]any{"alarm", "news", "night", "promo"}, items(list, "name")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"config", "api", "config", "config"}, items(list, "source")); diff != "" {
		t.Error(diff)
	}
	kept := list["items"].([]any)[1].(map[string]any)
	delete(kept, "changed")
	if diff := cmp.Diff(object(t, want), kept); diff != "" {
		t.Error(diff)
	}
	if alarm := list["items"].([]any)[0].(map[string]any); alarm["mutable"] != false || alarm["bypass"] != true {
		t.Errorf("who bypasses cannot be muted: %v", alarm)
	}
	if got := w.must("categories.delete", `{"name":"news"}`); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	w.refused("categories.delete", `{"name":"news"}`, `not_found: name: there is no category "news"`)
	w.refused("push", `{"to":{"users":["1"]},"data":1,"category":"news"}`, `not_found: category: there is no category "news"`)
}

func TestWrongCategoriesAreNamed(t *testing.T) {
	w := start(t, config{categories: promo()})
	caps := strings.TrimSuffix(strings.Repeat(`{"per":"day","max":1},`, 9), ",")
	tests := []struct{ params, want string }{
		{``, "name: is missing"},
		{`"name":""`, "name: is missing"},
		{`"name":7`, "name: must be a string, not a number"},
		{`"name":"Promo"`, `name: "Promo" is not the name of a category: lower-case letters, digits and _ . -, at most 64`},
		{`"name":"a:b"`, `name: "a:b" is not the name of a category: lower-case letters, digits and _ . -, at most 64`},
		{`"name":"` + strings.Repeat("x", 65) + `"`, `name: "` + strings.Repeat("x", 65) + `" is not the name of a category: lower-case letters, digits and _ . -, at most 64`},
		{`"name":"x","colour":1`, "colour: is not a field of this verb"},
		{`"name":"x","caps":{}`, "caps: must be a list of caps, not an object"},
		{`"name":"x","caps":[5]`, `caps[0]: must be an object such as {"per": "day", "max": 5}, not a number`},
		{`"name":"x","caps":[{"per":"day","max":1},{"per":"day"}]`, "caps[1].max: is missing"},
		{`"name":"x","caps":[{"max":1}]`, "caps[0].per: is missing"},
		{`"name":"x","caps":[{"per":"day","max":1,"min":0}]`, "caps[0].min: is not a field of this verb"},
		{`"name":"x","caps":[{"per":"month","max":1}]`, `caps[0].per: "month" is not day, week, hour or a duration from 1s to 720h such as 90m`},
		{`"name":"x","caps":[{"per":"721h","max":1}]`, `caps[0].per: "721h" is not day, week, hour or a duration from 1s to 720h such as 90m`},
		{`"name":"x","caps":[{"per":"day","max":5},{"per":"day","max":1001}]`, "caps[1].max: 1001 is not between 0 and 1000"},
		{`"name":"x","caps":[{"per":"day","max":-1}]`, "caps[0].max: -1 is not between 0 and 1000"},
		{`"name":"x","caps":[{"per":"day","max":"5"}]`, "caps[0].max: must be an integer, not a string"},
		{`"name":"x","caps":[` + caps + `]`, "caps: has 9 caps; at most 8 are allowed"},
		{`"name":"x","parent":"y"`, `parent: there is no category "y"`},
		{`"name":"x","parent":"x"`, "parent: is the category itself"},
		{`"name":"x","parent":"Y"`, `parent: "Y" is not the name of a category: lower-case letters, digits and _ . -, at most 64`},
		{`"name":"x","quiet":"22:00-08:00"`, `quiet: must be an object such as {"from": "22:00", "to": "08:00"}, not a string`},
		{`"name":"x","quiet":{"from":"22:00"}`, "quiet.to: is missing"},
		{`"name":"x","quiet":{"from":"22:00","to":"24:00"}`, `quiet.to: "24:00" is not a time of day from 00:00 to 23:59`},
		{`"name":"x","quiet":{"from":"22:00","to":"22:00"}`, "quiet.to: is the same as from: 22:00"},
		{`"name":"x","quiet":{"from":"22:00","to":"08:00","zone":"UTC"}`, "quiet.zone: is not a field of this verb"},
		{`"name":"x","on_cap":"later"`, `on_cap: "later" is not inbox, drop or defer`},
		{`"name":"x","on_quiet":"drop"`, `on_quiet: "drop" is not defer, inbox or ignore`},
		{`"name":"x","priority":10`, "priority: 10 is not between 0 and 9"},
		{`"name":"x","ttl":"3 days"`, `ttl: "3 days" is not a duration such as 72h or 1h30m`},
		{`"name":"x","ttl":"10ms"`, "ttl: 10ms is not between 1s and 8784h0m0s"},
		{`"name":"x","ttl":"1.0000001s"`, "ttl: 1.0000001s is not whole milliseconds"},
		{`"name":"x","escalate":"-1m"`, "escalate: -1m is not between 1s and 8784h0m0s"},
		{`"name":"x","bypass":1`, "bypass: must be true or false, not a number"},
		{`"name":"x","counts":true`, "counts: goes with bypass; without it everything counts"},
		{`"name":"x","bypass":true,"quiet":{"from":"22:00","to":"08:00"}`, "quiet: does not hold with bypass"},
		{`"name":"x","mutable":"yes"`, "mutable: must be true or false, not a string"},
	}
	for _, tt := range tests {
		w.refused("categories.put", "{"+tt.params+"}", "bad_request: "+tt.want)
	}
	w.refused("categories.put", `{"name":"promo"}`, `conflict: name: "promo" is a category of the configuration`)
	w.refused("categories.delete", `{"name":"promo"}`, `conflict: name: "promo" is a category of the configuration`)
	w.refused("categories.delete", `{}`, "bad_request: name: is missing")
	if list := w.must("categories.list", `{}`); len(list["items"].([]any)) != 3 {
		t.Errorf("something was put all the same: %v", list)
	}
}

func TestParentsMakeNoCircle(t *testing.T) {
	w := start(t, config{})
	w.must("categories.put", `{"name":"c0"}`)
	for i := 1; i < 8; i++ {
		w.must("categories.put", `{"name":"c%d","parent":"c%d"}`, i, i-1)
	}
	w.refused("categories.put", `{"name":"c8","parent":"c7"}`, "bad_request: parent: more than 7 categories would be above this one")
	w.refused("categories.put", `{"name":"c0","parent":"c3"}`, `bad_request: parent: "c3" has this one above it`)
	w.must("categories.put", `{"name":"top"}`)
	w.refused("categories.put", `{"name":"c0","parent":"top"}`, `bad_request: parent: more than 7 categories would be above "c7", which is below this one`)
	w.refused("categories.delete", `{"name":"c3"}`, `conflict: name: "c3" is the parent of "c4"`)
	w.must("categories.delete", `{"name":"c7"}`)
	w.must("categories.put", `{"name":"c0","parent":"top"}`)
	p, _, _, err := w.Policy("c2")
	if err != nil {
		t.Fatal(err)
	}
	var chain []string
	for _, level := range p.Chain {
		chain = append(chain, level.Category)
	}
	if diff := cmp.Diff([]string{"c2", "c1", "c0", "top"}, chain); diff != "" {
		t.Error(diff)
	}
}

func TestTheCapsOfAParentHold(t *testing.T) {
	w := start(t, config{categories: map[string]feature.Category{"all": {Caps: []fatigue.Cap{{Per: "1h", Max: 2}}}}})
	w.must("categories.put", `{"name":"news","parent":"all"}`)
	w.must("categories.put", `{"name":"promo","parent":"all","caps":[{"per":"1h","max":1}]}`)
	outcomes := []any{}
	for _, category := range []string{"promo", "promo", "news", "news"} {
		w.must("push", `{"to":{"users":["1"]},"data":1,"category":%q}`, category)
	}
	page := w.must("inbox.list", `{"user":"1"}`)
	outcomes = append(outcomes, items(page, "rule")...)
	if diff := cmp.Diff([]any{nil, "promo: 1 per 1h", nil, "all: 2 per 1h"}, outcomes); diff != "" {
		t.Error(diff)
	}
}

func TestANewConfigurationReplacesItsCategories(t *testing.T) {
	w := start(t, config{categories: map[string]feature.Category{"all": {}, "old": {}}})
	w.must("categories.put", `{"name":"news","parent":"all"}`)
	w.must("categories.put", `{"name":"mine","priority":1}`)
	for _, tt := range []struct {
		wrong map[string]feature.Category
		want  string
	}{
		{map[string]feature.Category{"A": {}}, `categories: "A" is not the name of a category: lower-case letters, digits and _ . -, at most 64`},
		{map[string]feature.Category{"a": {Caps: []fatigue.Cap{{Per: "day", Max: -1}}}}, "categories.a.caps[0].max: -1 is not between 0 and 1000"},
		{map[string]feature.Category{"a": {Parent: "news"}}, `categories.a.parent: there is no category "news"`},
		{map[string]feature.Category{"a": {Parent: "b"}, "b": {Parent: "a"}}, `categories.a.parent: "b" has this one above it`},
	} {
		if e := fault.Of(w.SetCategories(tt.wrong)); e == nil || e.Message != tt.want {
			t.Errorf("got %v, want %s", e, tt.want)
		}
	}
	if list := w.must("categories.list", `{}`); len(list["items"].([]any)) != 4 {
		t.Errorf("what was wrong has changed something: %v", list)
	}
	if err := w.SetCategories(map[string]feature.Category{"fresh": {}, "mine": {Priority: new(9)}}); err != nil {
		t.Fatal(err)
	}
	list := w.must("categories.list", `{}`)
	if diff := cmp.Diff([]any{"fresh", "mine", "news"}, items(list, "name")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{5.0, 9.0, 5.0}, items(list, "priority")); diff != "" {
		t.Error(diff)
	}
	// One of the API whose parent is gone lets nothing through unseen.
	const gone = `category: nothing can be pushed under "news": parent: there is no category "all"`
	if diff := cmp.Diff([]any{nil, nil, gone}, items(list, "error")); diff != "" {
		t.Error(diff)
	}
	w.refused("push", `{"to":{"users":["1"]},"data":1,"category":"news"}`, "conflict: "+gone)
	w.refused("explain", `{"user":"1","category":"news"}`, "conflict: "+gone)
	w.must("categories.put", `{"name":"news"}`)
	w.must("push", `{"to":{"users":["1"]},"data":1,"category":"news"}`)
	if err := w.SetCategories(nil); err != nil {
		t.Fatal(err)
	}
	if list := w.must("categories.list", `{}`); cmp.Diff([]any{"api", "api"}, items(list, "source")) != "" || cmp.Diff([]any{1.0, 5.0}, items(list, "priority")) != "" {
		t.Errorf("what was hidden is there again: %v", list)
	}
}

func TestCategoriesWithoutAStoreAreThoseOfTheConfiguration(t *testing.T) {
	f, verbs := bare(t, promo())
	if _, _, escalate, err := f.Policy("alarm"); err != nil || escalate != 10*time.Minute {
		t.Errorf("got %v, %v", escalate, err)
	}
	if mutable, known := f.Mutable("alarm"); mutable || !known {
		t.Errorf("alarm: %v, %v", mutable, known)
	}
	if mutable, known := f.Mutable("none"); mutable || known {
		t.Errorf("none: %v, %v", mutable, known)
	}
	for name, params := range map[string]string{
		"categories.put": `{"name":"x"}`, "categories.delete": `{"name":"x"}`, "categories.mute": `{"user":"1"}`, "explain": `{"user":"1","category":"promo"}`,
		"push": `{"to":{"users":["1"]},"data":1}`, "records": `{}`, "inbox.mark": `{"user":"1","read":1}`,
	} {
		_, err := verbs.Run(t.Context(), name, []byte(params), "")
		if e := fault.Of(err); e == nil || e.Code != fault.Unavailable || e.Message != "pushes need a store: set data or database" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := verbs.Run(t.Context(), "categories.list", nil, ""); err != nil {
		t.Error(err)
	}
	if _, err := feature.New(feature.Config{Verbs: verb.NewRegistry(verb.NewMemo(0, 0), 16), Categories: map[string]feature.Category{"a": {Parent: "b"}}}); err == nil {
		t.Error("a wrong configuration was taken")
	}
}

// bare makes the feature alone: it has no hub and no engine.
func bare(t *testing.T, categories map[string]feature.Category) (*feature.Feature, *verb.Registry) {
	t.Helper()
	verbs := verb.NewRegistry(verb.NewMemo(0, 0), 64)
	f, err := feature.New(feature.Config{Verbs: verbs, Categories: categories, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, verbs
}

func TestWhatAnotherNodeHasPutIsInForceSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t, t.TempDir(), store.Options{})
		defer func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}()
		one, verbs := bare(t, nil)
		other, _ := bare(t, nil)
		for _, f := range []*feature.Feature{one, other} {
			if err := f.Start(t.Context(), st, true); err != nil {
				t.Fatal(err)
			}
		}
		run := func(name, params string) {
			t.Helper()
			if _, err := verbs.Run(t.Context(), name, []byte(params), ""); err != nil {
				t.Fatal(err)
			}
		}
		pass := func() {
			<-time.After(2001 * time.Millisecond)
			synctest.Wait()
		}
		priority := func(name string) int {
			p, _, _, err := other.Policy(name)
			if err != nil {
				return -1
			}
			return p.Priority
		}
		run("categories.put", `{"name":"news","priority":3}`)
		if p, _, _, err := one.Policy("news"); err != nil || p.Priority != 3 {
			t.Errorf("it is not in force at once where it was put: %+v, %v", p, err)
		}
		if pass(); priority("news") != 3 {
			t.Error("the other node does not know it after two seconds")
		}
		run("categories.put", `{"name":"news","priority":4}`)
		if pass(); priority("news") != 4 {
			t.Error("the other node does not know the change")
		}
		// What cannot be read is not there, and is no reason to stop.
		if _, err := st.Do(t.Context(), store.PutCategory{Name: "newer", Body: []byte(`{"caps":"9 per moon"}`), Time: 1}); err != nil {
			t.Fatal(err)
		}
		run("categories.delete", `{"name":"news"}`)
		if pass(); priority("news") != -1 || priority("newer") != -1 {
			t.Error("the other node knows what is gone")
		}
		one.Close()
		other.Close()
	})
}

func TestThereIsABoundOnCategories(t *testing.T) {
	w := start(t, config{})
	for i := range 1000 {
		if _, err := w.store.Do(t.Context(), store.PutCategory{Name: fmt.Sprint(i), Body: []byte(`{}`), Time: 1}); err != nil {
			t.Fatal(err)
		}
	}
	w.refused("categories.put", `{"name":"one-more"}`, "too_large: name: there are 1000 categories; no more are kept")
	w.must("categories.put", `{"name":"7","priority":1}`)
}

func TestACategoryIsMutedForAUser(t *testing.T) {
	w := start(t, config{categories: promo()})
	muted := func(params, want string) {
		t.Helper()
		if diff := cmp.Diff(object(t, want), w.must("categories.mute", "%s", params)); diff != "" {
			t.Errorf("%s: %s", params, diff)
		}
	}
	muted(`{"user":"1"}`, `{"muted":[]}`)
	w.must("categories.put", `{"name":"news"}`)
	muted(`{"user":"1","category":"promo","muted":true}`, `{"muted":["promo"]}`)
	muted(`{"user":"1","category":"news","muted":true}`, `{"muted":["news","promo"]}`)
	muted(`{"user":"1"}`, `{"muted":["news","promo"]}`)
	got := w.must("push", `{"to":{"users":["1"]},"data":1,"category":"news"}`)
	if diff := cmp.Diff(any(object(t, `{"muted":1}`)), got["counts"]); diff != "" {
		t.Error(diff)
	}
	w.must("categories.delete", `{"name":"news"}`)
	muted(`{"user":"1","category":"news","muted":false}`, `{"muted":["promo"]}`)
	muted(`{"user":"1","category":"promo","muted":false}`, `{"muted":[]}`)
	for _, tt := range []struct{ params, want string }{
		{`{}`, "bad_request: user: is missing"},
		{`{"user":"1","category":"promo"}`, "bad_request: muted: is missing; true or false"},
		{`{"user":"1","muted":true}`, "bad_request: category: is missing; muted goes with it"},
		{`{"user":"1","category":"alarm","muted":true}`, `denied: category: "alarm" cannot be muted`},
		{`{"user":"1","category":"news","muted":true}`, `not_found: category: there is no category "news"`},
		{`{"user":"1","category":"news","muted":false}`, `not_found: category: there is no category "news"`},
	} {
		w.refused("categories.mute", tt.params, tt.want)
	}
}
