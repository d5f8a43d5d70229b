package sqlite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
)

// verifyUsers looks whether users, categories and campaigns of an older file (those
// of testdata/4.sql) are there, and whether one that had none takes them.
func verifyUsers(t *testing.T, s store.Store, filled bool) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	const at = 1763084076000
	if filled {
		users, err := s.LookUsers(t.Context(), "ann", "bob")
		same("users", []store.User{
			{N: 3, User: "ann", Attributes: []byte(`{"level":7,"tags":["vip"],"tz":"Europe/Berlin"}`), Zone: "Europe/Berlin", Created: at, Changed: at + 1},
			{N: 4, User: "bob", Created: at + 2, Muted: []string{"news"}},
		}, users, err)
		audience, err := s.Audience(t.Context(), store.AudienceQuery{Where: &store.Filter{Tag: "vip"}, Limit: 9})
		same("a tag", []store.Recipient{{N: 3, User: "ann"}}, audience, err)
		categories, err := s.Categories(t.Context())
		same("categories", []store.Category{{Name: "news", Body: []byte("body"), Changed: at}}, categories, err)
		campaign, err := s.Campaign(t.Context(), "spring")
		same("campaign", store.Campaign{ID: "spring", State: "running", Plan: []byte("plan"), Notes: []byte("notes"), Next: at, Cursor: "half", Created: at - 1,
			Version: 6, Owner: "node", Until: at + 1000}, campaign, err)
		list, err := s.CampaignUsers(t.Context(), "spring", "", 9)
		same("its list", []string{"ann", "bob"}, list, err)
		inbox, err := s.ReadInbox(t.Context(), store.InboxQuery{User: "ann", Limit: 9, Now: at + 9})
		if err != nil || len(inbox.Items) != 1 || string(inbox.Items[0].Data) != `"pushed"` || inbox.Items[0].State != store.Queued {
			t.Errorf("the inbox is %+v, %v", inbox, err)
		}
	}
	number, version := uint64(1), uint64(1)
	if filled {
		number, version = 6, 7
	}
	same("a user", store.UsersPut{Created: 1}, do[store.UsersPut](t, s, store.PutUsers{Users: []store.UserPut{{User: "new", Attributes: []byte(`{}`)}}, Time: at}), nil)
	users, err := s.LookUsers(t.Context(), "new")
	same("his number", []store.User{{N: number, User: "new", Attributes: []byte(`{}`), Created: at, Changed: at}}, users, err)
	same("a campaign", store.CampaignPut{Version: version}, do[store.CampaignPut](t, s, store.PutCampaign{Campaign: store.Campaign{ID: "new"}}), nil)
}
