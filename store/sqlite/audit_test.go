package sqlite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
)

// verifyAudit looks whether the lines and secrets of an older file (that of testdata/6.sql)
// are there, and whether one that had none takes them.
func verifyAudit(t *testing.T, s store.Store, filled bool) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	const at = 1763084075007
	lines := []store.AuditLine{
		{ID: "01K9ZZZZZZ000000000000000A", Time: at, Who: "ann", By: "console", Role: "admin", Address: "192.0.2.1", Verb: "users.delete", Target: "bob",
			Params: []byte(`{"users":["bob"]}`), Outcome: "denied", Error: "no"},
		{ID: "01K9ZZZZZZ000000000000000B", Time: at, Who: "backend", By: "key", Verb: "categories.put", Truncated: true, Outcome: store.AuditOK},
		{ID: "01K9ZZZZZZ000000000000000C", Time: at, Who: "backend", By: "key", Verb: "schedules.run"},
	}
	key, link := store.Secret{Name: "key", Value: []byte{0, 0xFF}}, store.Secret{Name: "link", Expires: at + 9}
	if !filled {
		for _, l := range lines {
			do[store.AuditAdded](t, s, store.AddAudit{AuditLine: l})
		}
		do[store.SecretPut](t, s, store.PutSecret{Secret: key, Now: at})
		do[store.SecretPut](t, s, store.PutSecret{Secret: link, Now: at})
	}
	for q, want := range map[store.AuditQuery][]store.AuditLine{
		{}:                    {lines[2], lines[1], lines[0]},
		{Who: "backend"}:      {lines[2], lines[1]},
		{Verb: "users.*"}:     {lines[0]},
		{Failed: true}:        {lines[0]},
		{Open: true}:          {lines[2]},
		{Outcome: "ok"}:       {lines[1]},
		{From: at + 1}:        nil,
		{From: at, To: at}:    {lines[2], lines[1], lines[0]},
		{After: lines[1].ID}:  {lines[0]},
		{Outcome: "internal"}: nil,
	} {
		q.Limit = 9
		page, err := s.AuditLines(t.Context(), q)
		same("lines", store.AuditPage{Lines: want}, page, err)
	}
	got, err := s.Secret(t.Context(), "key")
	same("a secret", key, got, err)
	same("the same", store.SecretPut{Secret: key}, do[store.SecretPut](t, s, store.PutSecret{Secret: store.Secret{Name: "key"}, IfAbsent: true, Now: at}), nil)
	same("a link", store.SecretTaken{Secret: link}, do[store.SecretTaken](t, s, store.TakeSecret{Name: "link", Now: at}), nil)
}
