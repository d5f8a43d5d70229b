package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/store"
)

// likeItsModel: whatever is done, the store gives what the model gives.
func likeItsModel(t *testing.T, empty func() Opener) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{now: 1_000, channels: make(map[string]*modelChannel)}
		told := 0
		var broken []string
		opt := store.Options{Committed: func(commits []store.Commit) {
			for _, c := range commits {
				if told >= len(m.told) {
					broken = append(broken, fmt.Sprintf("told too much: %+v", c))
				} else if diff := cmp.Diff(m.told[told], c); diff != "" {
					broken = append(broken, "told (-want +got):\n"+diff)
				}
				told++
			}
		}}
		open := empty()
		s := openAgain(t, nil, open, opt)
		defer func() { _ = s.Close() }()
		heads, err := s.Heads(t.Context(), "room:a")
		if err != nil {
			t.Fatal(err)
		}
		m.epoch = heads[0].Epoch
		t.Repeat(map[string]func(*rapid.T){
			"do":     func(t *rapid.T) { m.checkDo(t, s) },
			"wait":   func(t *rapid.T) { m.now += rapid.Int64Range(1, 20).Draw(t, "ms") },
			"trim":   func(t *rapid.T) { m.checkTrim(t, s) },
			"reopen": func(t *rapid.T) { s = openAgain(t, s, open, opt) },
			"": func(t *rapid.T) {
				m.checkReads(t, s)
				if told != len(m.told) || len(broken) > 0 {
					t.Fatalf("told %d of %d; %s", told, len(m.told), strings.Join(broken, "\n"))
				}
			},
		})
		if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
			t.Error(err)
		}
		stats, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		channels, documents := int64(0), int64(0)
		for _, c := range m.channels {
			if c.head.Top > 0 {
				channels++
			}
			if c.document {
				documents++
			}
		}
		if stats.Channels != channels || stats.Documents != documents || stats.Bytes <= 0 {
			t.Errorf("stats are %+v, there are %d channels with %d documents", stats, channels, documents)
		}
	})
}

func openAgain(t *rapid.T, old store.Store, open Opener, opt store.Options) store.Store {
	if old != nil {
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (m *model) checkDo(t *rapid.T, s store.Store) {
	var group []store.Command
	for range rapid.IntRange(1, 4).Draw(t, "commands") {
		switch rapid.IntRange(0, 8).Draw(t, "command") {
		case 0:
			group = append(group, drawRecall(t, m, group))
		case 8:
			group = append(group, drawEdit(t, m))
		case 1, 2:
			group = append(group, drawSnapshot(t, m, group))
		default:
			group = append(group, drawAppend(t, m, group))
		}
	}
	want, failure := m.do(group)
	got, err := s.Do(t.Context(), group...)
	if !errors.Is(err, failure) {
		t.Fatalf("%+v gave %v, want %v", group, err, failure)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", group, diff)
	}
}

func (m *model) checkTrim(t *rapid.T, s store.Store) {
	rules := []store.Keep{
		{Namespace: "room", Count: rapid.IntRange(0, 4).Draw(t, "count"), Age: time.Duration(rapid.IntRange(0, 60).Draw(t, "age")) * time.Millisecond},
		{Namespace: "nobody", Count: 1},
	}
	budget := rapid.IntRange(1, 5).Draw(t, "budget")
	for steps := 0; ; steps++ {
		done, err := s.Trim(t.Context(), rules, time.UnixMilli(m.now), budget)
		if err != nil {
			t.Fatal(err)
		}
		if done.Messages > 2*budget || done.Keys > 2*budget || steps > 1000 {
			t.Fatalf("step %d: %+v", steps, done)
		}
		if !done.More {
			break
		}
	}
	m.trim(rules)
}

func (m *model) checkReads(t *rapid.T, s store.Store) {
	name := rapid.SampledFrom(slices.Concat(modelNames, modelDocuments)).Draw(t, "look at")
	some := rapid.Uint64Range(0, 12)
	q := store.Query{
		Channel: name, After: some.Draw(t, "after"), Backward: rapid.Bool().Draw(t, "backward"), Before: some.Draw(t, "before"),
		Limit: rapid.IntRange(1, 5).Draw(t, "limit"), Bytes: rapid.IntRange(0, 30).Draw(t, "bytes"),
	}
	page, err := s.Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.read(q), page); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", q, diff)
	}
	since := some.Draw(t, "since")
	list, err := s.Recalls(t.Context(), name, since, q.Limit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.recalls(name, since, q.Limit), list); diff != "" {
		t.Fatalf("recalls since %d (-want +got):\n%s", since, diff)
	}
	document, err := s.Document(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.document(name), document); diff != "" {
		t.Fatalf("the document (-want +got):\n%s", diff)
	}
}
