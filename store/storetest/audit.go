package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

func auditCases() []struct {
	name string
	test func(*subject)
} {
	return []struct {
		name string
		test func(*subject)
	}{
		{"lines of the audit log are kept", testAudit},
		{"an outcome is said once", testAuditOutcome},
		{"pages of the audit log", testAuditPages},
		{"a rare line is found among many", testAuditRare},
		{"trimming the audit log", testAuditTrim},
		{"what is no line and no secret is named", testAuditRefused},
		{"secrets are put and taken", testSecrets},
		{"a secret is taken by one of many", testSecretRace},
		{"trim deletes expired secrets", testTrimSecrets},
	}
}

// line is one of the audit log.
func line(ms int64, who, verb string) store.AuditLine {
	return store.AuditLine{ID: id.Message(time.UnixMilli(ms)), Time: ms, Who: who, By: "key", Verb: verb}
}

func (s *subject) addLine(l store.AuditLine) store.AuditLine {
	s.Helper()
	s.equal("the result", store.Result(store.AuditAdded{}), s.do(store.AddAudit{AuditLine: l})[0])
	return l
}

func (s *subject) auditPage(q store.AuditQuery) store.AuditPage {
	s.Helper()
	page, err := s.store.AuditLines(s.Context(), q)
	if err != nil {
		s.Fatalf("%+v: %v", q, err)
	}
	return page
}

// auditLog reads all that a query asks for, a page at a time.
func (s *subject) auditLog(q store.AuditQuery) []store.AuditLine {
	s.Helper()
	list, err := wholeLog(s.Context(), s.store, q)
	if err != nil {
		s.Fatal(err)
	}
	return list
}

func wholeLog(ctx context.Context, st store.Store, q store.AuditQuery) (list []store.AuditLine, err error) {
	for {
		page, err := st.AuditLines(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("%+v: %w", q, err)
		}
		if len(page.Lines) > q.Limit {
			return nil, fmt.Errorf("%+v gave %d lines", q, len(page.Lines))
		}
		list = append(list, page.Lines...)
		if page.Next == "" {
			return list, nil
		}
		if q.After != "" && page.Next >= q.After {
			return nil, fmt.Errorf("after %q comes %q", q.After, page.Next)
		}
		q.After = page.Next
	}
}

func testAudit(s *subject) {
	first := s.addLine(store.AuditLine{
		ID: id.Message(time.UnixMilli(noon)), Time: noon, Who: "ann", By: "console", Role: "admin", Address: "192.0.2.1", Verb: "users.delete", Target: "bob\x00\xff",
		Params: []byte(`{"users":["bob"]}`), Outcome: "denied", Error: "no: \"é\"",
	})
	second := s.addLine(store.AuditLine{ID: id.Message(time.UnixMilli(noon)), Time: noon, Who: "\xff\x00", By: "key", Verb: "x", Truncated: true, Outcome: store.AuditOK})
	third := s.addLine(line(noon+1, "ann", "users.put"))
	for range 2 {
		s.equal("the log", store.AuditPage{Lines: []store.AuditLine{third, second, first}}, s.auditPage(store.AuditQuery{Limit: 3}))
		s.reopen()
	}
	// An id is used once.
	again := line(noon, "eve", "x")
	again.ID = first.ID
	s.refuses(store.ErrConflict, store.AddAudit{AuditLine: line(noon+2, "eve", "x")}, store.AddAudit{AuditLine: again})
	s.equal("after a conflict", store.AuditPage{Lines: []store.AuditLine{third, second, first}}, s.auditPage(store.AuditQuery{Limit: 9}))
	if n := s.stats().AuditLines; n != 3 {
		s.Errorf("%d lines are counted", n)
	}
}

func testAuditOutcome(s *subject) {
	set := func(key, outcome, text string) bool {
		s.Helper()
		return s.do(store.SetAuditOutcome{ID: key, Outcome: outcome, Error: text})[0].(store.AuditOutcomeSet).OK
	}
	good, bad, open := s.addLine(line(noon, "ann", "push")), s.addLine(line(noon, "ann", "push")), s.addLine(line(noon, "ann", "push"))
	if !set(good.ID, store.AuditOK, "") || !set(bad.ID, "bad_request", "to: is missing") {
		s.Error("an outcome was not taken")
	}
	for _, key := range []string{good.ID, bad.ID, id.Message(time.UnixMilli(noon))} {
		if set(key, "internal", "late") {
			s.Errorf("%s got another outcome", key)
		}
	}
	good.Outcome, bad.Outcome, bad.Error = store.AuditOK, "bad_request", "to: is missing"
	for _, tt := range []struct {
		q    store.AuditQuery
		want []store.AuditLine
	}{
		{store.AuditQuery{}, []store.AuditLine{open, bad, good}},
		{store.AuditQuery{Open: true}, []store.AuditLine{open}},
		{store.AuditQuery{Failed: true}, []store.AuditLine{bad}},
		{store.AuditQuery{Outcome: "ok"}, []store.AuditLine{good}},
		{store.AuditQuery{Outcome: "bad_request"}, []store.AuditLine{bad}},
		{store.AuditQuery{Outcome: "internal"}, nil},
	} {
		tt.q.Limit = 5
		s.equal(fmt.Sprintf("%+v", tt.q), tt.want, s.auditLog(tt.q))
	}
}

func testAuditPages(s *subject) {
	var all []store.AuditLine
	verbs := []string{"users.put", "users.delete", "push", "pushes", "users", "users.", "USERS.put"}
	for i := range 60 {
		l := line(noon+int64(i/3), []string{"ann", "bob"}[i%2], verbs[i%len(verbs)])
		if i%4 > 0 {
			l.Outcome = []string{"", store.AuditOK, "denied", "internal"}[i%4]
		}
		all = append(all, s.addLine(l))
	}
	slices.Reverse(all)
	for _, q := range []store.AuditQuery{
		{}, {Who: "ann"}, {Who: "nobody"}, {Verb: "push"}, {Verb: "push*"}, {Verb: "users.*"}, {Verb: "*"}, {Verb: "none*"}, {Outcome: "ok"}, {Failed: true}, {Open: true},
		{Who: "bob", Verb: "users*", Failed: true}, {Verb: "users.put", Outcome: "denied"}, {Verb: "users*", Outcome: "ok"}, {Who: "ann", Open: true},
		{From: noon + 3, To: noon + 5}, {From: noon + 19}, {To: noon}, {Who: "ann", Verb: "p*", From: noon + 2, To: noon + 14}, {From: noon + 100}, {To: 1},
		{From: noon + 5, To: noon + 3},
	} {
		var want []store.AuditLine
		for _, l := range all {
			if fits(&q, &l) {
				want = append(want, l)
			}
		}
		for _, limit := range []int{1, 2, 7, 60, 1000} {
			q.Limit = limit
			s.equal(fmt.Sprintf("%+v", q), want, s.auditLog(q))
		}
	}
	// What is gone, or never was, is a place all the same.
	s.equal("after an id of nobody", all[3:], s.auditLog(store.AuditQuery{After: id.Prefix(noon + 19), Limit: 100}))
}

// fits is what a query asks for, said once more.
func fits(q *store.AuditQuery, l *store.AuditLine) bool {
	prefix, begins := strings.CutSuffix(q.Verb, "*")
	return (q.Who == "" || q.Who == l.Who) && (q.Verb == "" || begins && strings.HasPrefix(l.Verb, prefix) || q.Verb == l.Verb) &&
		(q.Outcome == "" || q.Outcome == l.Outcome) && (!q.Open || l.Outcome == "") && (!q.Failed || l.Outcome != "" && l.Outcome != store.AuditOK) &&
		(q.From == 0 || l.Time >= q.From) && (q.To == 0 || l.Time <= q.To) && (q.After == "" || l.ID < q.After)
}

func testAuditRare(s *subject) {
	const many = 12_000
	group := make([]store.Command, 0, many)
	var rare store.AuditLine
	for i := range many {
		l := line(noon+int64(i), "ann", fmt.Sprintf("verb%d", i%3))
		l.Outcome = store.AuditOK
		if i == 100 {
			l.Verb = "other"
			rare = l
		}
		group = append(group, store.AddAudit{AuditLine: l})
	}
	for _, some := range slices.Collect(slices.Chunk(group, 2000)) {
		s.do(some...)
	}
	// The verb and the outcome have it at once.
	s.equal("by verb", store.AuditPage{Lines: []store.AuditLine{rare}}, s.auditPage(store.AuditQuery{Verb: "other", Limit: 10}))
	s.equal("failed", store.AuditPage{}, s.auditPage(store.AuditQuery{Failed: true, Limit: 10}))
	// What no index says takes several pages, each of which looks at some.
	q := store.AuditQuery{Who: "ann", Verb: "other", Limit: 10}
	if page := s.auditPage(q); len(page.Lines) > 0 || page.Next == "" {
		s.Errorf("the first page has %+v", page)
	}
	s.equal("by who and verb", []store.AuditLine{rare}, s.auditLog(q))
}

func testAuditTrim(s *subject) {
	var all []store.AuditLine
	for i := range 10 {
		all = append(all, s.addLine(line(noon+int64(i), "ann", "push")))
	}
	trim := func(before int64, limit int) store.AuditTrimmed {
		s.Helper()
		return s.do(store.TrimAudit{Before: before, Limit: limit})[0].(store.AuditTrimmed)
	}
	s.equal("nothing is as old", store.AuditTrimmed{}, trim(noon, 5))
	s.equal("some", store.AuditTrimmed{Lines: 3, More: true}, trim(noon+4, 3))
	s.equal("the rest", store.AuditTrimmed{Lines: 1}, trim(noon+4, 3))
	slices.Reverse(all)
	s.equal("what is left", all[:6], s.auditLog(store.AuditQuery{Limit: 100}))
}

func testAuditRefused(s *subject) {
	good := line(noon, "ann", "push")
	with := func(change func(*store.AuditLine)) store.AddAudit {
		l := good
		change(&l)
		return store.AddAudit{AuditLine: l}
	}
	long := strings.Repeat("x", 1025)
	for want, c := range map[string]store.Command{
		"add audit: ID: has 3":      with(func(l *store.AuditLine) { l.ID = "abc" }),
		"add audit: ID: \"":         with(func(l *store.AuditLine) { l.Time++ }),
		"add audit: Time: 0":        with(func(l *store.AuditLine) { l.Time = 0 }),
		"add audit: Who: has 0":     with(func(l *store.AuditLine) { l.Who = "" }),
		"add audit: By: has 0":      with(func(l *store.AuditLine) { l.By = "" }),
		"add audit: Verb: has 1025": with(func(l *store.AuditLine) { l.Verb = long }),
		"add audit: Target: has":    with(func(l *store.AuditLine) { l.Target = long }),
		"add audit: Params: has":    with(func(l *store.AuditLine) { l.Params = bytes.Repeat([]byte("1"), 4097) }),
		"add audit: Error: has":     with(func(l *store.AuditLine) { l.Error = long }),
		"set audit outcome: ID":     store.SetAuditOutcome{ID: "x", Outcome: "ok"},
		"set audit outcome: Out":    store.SetAuditOutcome{ID: good.ID},
		"trim audit: Limit: 0":      store.TrimAudit{},
		"put secret: Name: has 0":   store.PutSecret{Now: 1},
		"put secret: Name: has 257": store.PutSecret{Secret: store.Secret{Name: long[:257]}, Now: 1},
		"put secret: Value":         store.PutSecret{Secret: store.Secret{Name: "a", Value: bytes.Repeat([]byte("1"), 4097)}, Now: 1},
		"put secret: Now":           store.PutSecret{Secret: store.Secret{Name: "a"}},
		"take secret: Name":         store.TakeSecret{Now: 1},
		"take secret: Now":          store.TakeSecret{Name: "a"},
	} {
		_, err := s.store.Do(s.Context(), store.SawUsers{}, c)
		if err == nil || !strings.Contains(err.Error(), "command 1: "+want) {
			s.Errorf("%+v gave the error %v, want %q", c, err, want)
		}
	}
	for _, q := range []store.AuditQuery{{}, {Limit: 1, Open: true, Failed: true}, {Limit: 1, Open: true, Outcome: "ok"}} {
		if _, err := s.store.AuditLines(s.Context(), q); err == nil {
			s.Errorf("%+v is asked", q)
		}
	}
	if list := s.auditLog(store.AuditQuery{Limit: 9}); len(list) > 0 {
		s.Errorf("it took %+v", list)
	}
}

func (s *subject) secret(name string) (store.Secret, error) {
	return s.store.Secret(s.Context(), name)
}

func testSecrets(s *subject) {
	put := func(c store.PutSecret) store.SecretPut {
		s.Helper()
		return s.do(c)[0].(store.SecretPut)
	}
	key := store.Secret{Name: "key", Value: []byte("one\x00\xff")}
	s.equal("the first", store.SecretPut{Secret: key, Created: true}, put(store.PutSecret{Secret: key, IfAbsent: true, Now: 100}))
	s.equal("another", store.SecretPut{Secret: key}, put(store.PutSecret{Secret: store.Secret{Name: "key", Value: []byte("two")}, IfAbsent: true, Now: 100}))
	link := store.Secret{Name: "link", Value: []byte("admin"), Expires: 200}
	s.equal("a link", store.SecretPut{Secret: link, Created: true}, put(store.PutSecret{Secret: link, Now: 100}))
	empty := store.Secret{Name: "Link", Expires: 200}
	s.equal("without a value", store.SecretPut{Secret: empty, Created: true}, put(store.PutSecret{Secret: empty, Now: 100}))
	for range 2 {
		for _, want := range []store.Secret{key, link, empty} {
			got, err := s.secret(want.Name)
			s.expect("a read", nil, err)
			s.equal("a secret", want, got)
		}
		s.reopen()
	}
	_, err := s.secret("lin")
	s.expect("one that is not there", store.ErrNotFound, err)
	// It is taken once, and before it expires.
	s.refuses(store.ErrNotFound, store.TakeSecret{Name: "link", Now: 200})
	s.equal("taken", store.Result(store.SecretTaken{Secret: link}), s.do(store.TakeSecret{Name: "link", Now: 199})[0])
	s.refuses(store.ErrNotFound, store.TakeSecret{Name: "link", Now: 199})
	s.refuses(store.ErrNotFound, store.TakeSecret{Name: "Link", Now: 1}, store.TakeSecret{Name: "nobody", Now: 1})
	s.equal("it is still there", store.Result(store.SecretTaken{Secret: empty}), s.do(store.TakeSecret{Name: "Link", Now: 1})[0])
	// One that has expired is as one that is not there.
	old, fresh := store.Secret{Name: "old", Value: []byte("1"), Expires: 300}, store.Secret{Name: "old", Value: []byte("2"), Expires: 900}
	put(store.PutSecret{Secret: old, Now: 100})
	s.equal("in its place", store.SecretPut{Secret: fresh, Created: true}, put(store.PutSecret{Secret: fresh, IfAbsent: true, Now: 300}))
	s.equal("replaced", store.SecretPut{Secret: old}, put(store.PutSecret{Secret: old, Now: 899}))
}

func testSecretRace(s *subject) {
	const callers, rounds = 16, 20
	for round := range rounds {
		name := fmt.Sprint("link ", round)
		var mu sync.Mutex
		created, taken, given := 0, 0, map[string]int{}
		var wait sync.WaitGroup
		for i := range callers {
			wait.Go(func() {
				r, err := s.store.Do(context.Background(), store.PutSecret{Secret: store.Secret{Name: name, Value: fmt.Append(nil, i)}, IfAbsent: true, Now: 1})
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if r[0].(store.SecretPut).Created {
					created++
				}
				given[string(r[0].(store.SecretPut).Secret.Value)]++
			})
		}
		wait.Wait()
		for range callers {
			wait.Go(func() {
				_, err := s.store.Do(context.Background(), store.TakeSecret{Name: name, Now: 1})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					taken++
				} else if !errors.Is(err, store.ErrNotFound) {
					s.Error(err)
				}
			})
		}
		wait.Wait()
		if created != 1 || taken != 1 || len(given) != 1 {
			s.Fatalf("it was created %d times, taken %d times, and told as %v", created, taken, given)
		}
	}
}

func testTrimSecrets(s *subject) {
	for i := range int64(10) {
		s.do(store.PutSecret{Secret: store.Secret{Name: fmt.Sprint(i), Expires: noon + i}, Now: 1})
	}
	s.do(store.PutSecret{Secret: store.Secret{Name: "for ever"}, Now: 1})
	if got := s.trim(noon+6, 3); got != (store.Trimmed{Keys: 7}) {
		s.Errorf("it did %+v", got)
	}
	for i := range 10 {
		_, err := s.secret(fmt.Sprint(i))
		if gone := errors.Is(err, store.ErrNotFound); gone != (i < 7) {
			s.Errorf("secret %d: %v", i, err)
		}
	}
	_, err := s.secret("for ever")
	s.expect("one that stays", nil, err)
}

// auditLikeItsModel: whatever is written, pages have what a list of lines has, and
// secrets are those of a map.
func auditLikeItsModel(t *testing.T, empty func() Opener) {
	s, err := empty()(store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	rapid.Check(t, func(t *rapid.T) {
		if _, err := s.Do(t.Context(), store.TrimAudit{Before: 1<<48 - 1, Limit: 10_000}); err != nil {
			t.Fatal(err)
		}
		m := &auditModel{}
		t.Repeat(map[string]func(*rapid.T){
			"add":  func(t *rapid.T) { m.add(t, s) },
			"set":  func(t *rapid.T) { m.set(t, s) },
			"trim": func(t *rapid.T) { m.trim(t, s) },
			"":     func(t *rapid.T) { m.check(t, s) },
		})
		if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
			t.Error(err)
		}
	})
}

// auditModel is the log as a list, the newest first.
type auditModel struct{ lines []store.AuditLine }

// Few names, so that queries find several.
var (
	auditWho      = []string{"ann", "Ann", "\xff"}
	auditVerbs    = []string{"push", "users.put", "users.delete", "users"}
	auditOutcomes = []string{"", store.AuditOK, "denied", "bad_request"}
)

func (m *auditModel) add(t *rapid.T, s store.Store) {
	var group []store.Command
	for range rapid.IntRange(1, 3).Draw(t, "lines") {
		l := line(rapid.Int64Range(1, 9).Draw(t, "time"), rapid.SampledFrom(auditWho).Draw(t, "who"), rapid.SampledFrom(auditVerbs).Draw(t, "verb"))
		l.Outcome = rapid.SampledFrom(auditOutcomes).Draw(t, "outcome")
		group = append(group, store.AddAudit{AuditLine: l})
		m.lines = append(m.lines, l)
	}
	slices.SortFunc(m.lines, func(a, b store.AuditLine) int { return strings.Compare(b.ID, a.ID) })
	if _, err := s.Do(t.Context(), group...); err != nil {
		t.Fatal(err)
	}
}

func (m *auditModel) set(t *rapid.T, s store.Store) {
	if len(m.lines) == 0 {
		return
	}
	l := &m.lines[rapid.IntRange(0, len(m.lines)-1).Draw(t, "which")]
	c := store.SetAuditOutcome{ID: l.ID, Outcome: rapid.SampledFrom(auditOutcomes[1:]).Draw(t, "outcome"), Error: "why"}
	r, err := s.Do(t.Context(), c)
	compare(t)("the result", []store.Result{store.AuditOutcomeSet{OK: l.Outcome == ""}}, r, err)
	if l.Outcome == "" {
		l.Outcome, l.Error = c.Outcome, c.Error
	}
}

func (m *auditModel) trim(t *rapid.T, s store.Store) {
	c := store.TrimAudit{Before: rapid.Int64Range(0, 10).Draw(t, "before"), Limit: rapid.IntRange(1, 3).Draw(t, "limit")}
	n := 0
	for n < c.Limit && len(m.lines) > 0 && m.lines[len(m.lines)-1].Time < c.Before {
		m.lines = m.lines[:len(m.lines)-1]
		n++
	}
	r, err := s.Do(t.Context(), c)
	compare(t)("the result", []store.Result{store.AuditTrimmed{Lines: n, More: n == c.Limit}}, r, err)
}

func (m *auditModel) check(t *rapid.T, s store.Store) {
	q := store.AuditQuery{
		Who:   rapid.SampledFrom(append([]string{"", ""}, auditWho...)).Draw(t, "who"),
		Verb:  rapid.SampledFrom([]string{"", "", "push", "users*", "users.*", "*", "x*", "users"}).Draw(t, "verb"),
		From:  rapid.Int64Range(0, 4).Draw(t, "from"),
		To:    rapid.SampledFrom([]int64{0, 0, 3, 6, 9}).Draw(t, "to"),
		Limit: rapid.IntRange(1, 5).Draw(t, "limit"),
	}
	switch rapid.IntRange(0, 4).Draw(t, "outcome") {
	case 0:
		q.Open = true
	case 1:
		q.Failed = true
	case 2:
		q.Outcome = rapid.SampledFrom(auditOutcomes[1:]).Draw(t, "code")
	}
	var want []store.AuditLine
	for _, l := range m.lines {
		if fits(&q, &l) {
			want = append(want, l)
		}
	}
	got, err := wholeLog(t.Context(), s, q)
	compare(t)(fmt.Sprintf("%+v", q), want, got, err)
}

// UseAudit carries out each command about the audit log and secrets, and each read of
// them in each of their ways. It is for those who look at how that is done, as [UsePushes] is.
func UseAudit(t testing.TB, s store.Store, round int) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bad, open, good := line(noon+int64(round), "ann", "push"), line(noon+int64(round), "ann", "push"), line(noon+int64(round), "ann", "push")
	good.Outcome = store.AuditOK
	name := fmt.Sprint("secret ", round)
	check(second(s.Do(t.Context(), store.AddAudit{AuditLine: bad}, store.AddAudit{AuditLine: open}, store.SetAuditOutcome{ID: bad.ID, Outcome: "denied"}, store.AddAudit{AuditLine: good})))
	check(second(s.Do(t.Context(), store.PutSecret{Secret: store.Secret{Name: name, Expires: 9}, Now: 1}, store.TakeSecret{Name: name, Now: 1})))
	for _, q := range []store.AuditQuery{{}, {Who: "ann"}, {Verb: "push"}, {Verb: "pu*"}, {Failed: true}, {Open: true}, {Outcome: "denied"}, {Outcome: "ok"}, {Who: "ann", Verb: "p*", From: 1, To: noon}} {
		q.Limit = 2
		check(second(s.AuditLines(t.Context(), q)))
	}
	if _, err := s.Secret(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	check(second(s.Do(t.Context(), store.TrimAudit{Before: 1, Limit: 5})))
}
