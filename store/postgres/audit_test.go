package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/storetest"
)

// Of several nodes one makes a secret, and one takes it; and groups of secrets in any
// order do not wait for each other in a circle.
func TestASecretIsMadeAndTakenByOneOfSeveralNodes(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	for round := range 15 {
		names := []string{fmt.Sprint("a", round), fmt.Sprint("b", round)}
		var mu sync.Mutex
		made, taken, values := 0, 0, map[string]bool{}
		var wait sync.WaitGroup
		for i, s := range stores {
			for k := range 4 {
				wait.Go(func() {
					put := func(name string) store.PutSecret {
						return store.PutSecret{Secret: store.Secret{Name: name, Value: fmt.Append(nil, i, k)}, IfAbsent: true, Now: 1}
					}
					r, err := s.Do(t.Context(), put(names[k%2]), put(names[1-k%2]), store.PutSchedule{Schedule: store.Schedule{Name: "s"}}, store.SawUsers{Seen: []store.Seen{{User: "u", Time: 1}}})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					for _, one := range r[:2] {
						if one.(store.SecretPut).Created {
							made++
						}
						values[string(one.(store.SecretPut).Secret.Value)] = true
					}
				})
			}
		}
		wait.Wait()
		for i := range 12 {
			wait.Go(func() {
				_, err := stores[i%3].Do(t.Context(), store.TakeSecret{Name: names[0], Now: 1})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					taken++
				} else if !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if made != 2 || taken != 1 || len(values) > 2 {
			t.Fatalf("%d were made of 2, with %v, and one was taken %d times", made, values, taken)
		}
	}
	check(t, stores[0])
}

// What is written into the audit log and read from it looks at few rows, however many
// there are.
func TestTheAuditLogStaysQuickWhenItGrows(t *testing.T) {
	wear(t, 20, []string{"audit", "secret"}, func(s *postgres.Store, round int) { storetest.UseAudit(t, s, round) }).readsAtMost(800, 200)
}

// auditLines are what the dumps hold from version 6 on.
var auditLines = []store.AuditLine{
	{ID: "01KAJ9N0GCAAAAAAAAAAAAAAAA", Time: 1763698180620, Who: "ann", By: "console", Role: "admin", Address: "192.0.2.1", Verb: "users.delete", Target: "b\x00b",
		Params: []byte(`{"users":["bob"]}`), Outcome: "denied", Error: "no"},
	{ID: "01KAJ9N0GCBBBBBBBBBBBBBBBB", Time: 1763698180620, Who: "backend", By: "key", Verb: "categories.put", Truncated: true, Outcome: store.AuditOK},
	{ID: "01KAJ9N0GDAAAAAAAAAAAAAAAA", Time: 1763698180621, Who: "backend", By: "key", Verb: "schedules.run"},
}

func fillAudit(t *testing.T, s store.Store) {
	t.Helper()
	for _, l := range auditLines {
		do[store.AuditAdded](t, s, store.AddAudit{AuditLine: l})
	}
	do[store.SecretPut](t, s, store.PutSecret{Secret: store.Secret{Name: "key", Value: []byte{0, 0xFF}}, Now: 1})
}

func verifyAudit(t *testing.T, s store.Store) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	for q, want := range map[store.AuditQuery][]store.AuditLine{
		{}:                {auditLines[2], auditLines[1], auditLines[0]},
		{Verb: "users.*"}: {auditLines[0]},
		{Failed: true}:    {auditLines[0]},
		{Open: true}:      {auditLines[2]},
		{Outcome: "ok"}:   {auditLines[1]},
	} {
		q.Limit = 9
		page, err := s.AuditLines(t.Context(), q)
		same("lines", store.AuditPage{Lines: want}, page, err)
	}
	secret, err := s.Secret(t.Context(), "key")
	same("a secret", store.Secret{Name: "key", Value: []byte{0, 0xFF}}, secret, err)
}
