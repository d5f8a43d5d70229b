package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/storetest"
)

// useUsers does the same with users, categories and campaigns.
func useUsers(ctx context.Context, s *postgres.Store, i int) error {
	user, other, name := fmt.Sprintf("user-%d", i), fmt.Sprintf("other-%d", i), fmt.Sprintf("%d", i)
	attributes := fmt.Appendf(nil, `{"i":%d,"tags":["t%d"]}`, i, i)
	results, err := s.Do(ctx,
		store.PutUsers{Users: []store.UserPut{{User: user, Attributes: attributes}, {User: other, Attributes: attributes}}, Time: 1},
		store.PutUsers{Users: []store.UserPut{{User: user, Attributes: fmt.Appendf(nil, `{"tags":["new %d"]}`, i)}}, Time: 1, Merge: true},
		store.MuteCategory{User: user, Category: "c", Muted: true, Time: 1}, store.DeleteUsers{Users: []string{other}, Time: 1},
		store.PutCategory{Name: name, Time: 1}, store.PutCategory{Name: name, Time: 2}, store.DeleteCategory{Name: name},
		store.PutCampaign{Campaign: store.Campaign{ID: name, State: "draft", Next: int64(1_000_000 - i)}}, store.PutCampaign{Campaign: store.Campaign{ID: name + "x"}},
		store.ClaimCampaign{ID: name, Owner: "o", Now: 2_000_000, Until: 2_000_001}, store.AddToCampaign{ID: name, Users: []string{user, other}},
		store.DeleteCampaign{ID: name + "x"},
	)
	if err != nil {
		return err
	}
	claimed := results[9].(store.CampaignClaimed)
	if _, err := s.Do(ctx, store.PutCampaign{Campaign: claimed.Campaign, If: claimed.Campaign.Version}); err != nil {
		return err
	}
	for _, read := range []func() error{
		func() error { _, err := s.Users(ctx, store.UserQuery{After: "user-5", Limit: 3}); return err },
		func() error { _, err := s.LookUsers(ctx, user, "nobody"); return err },
		func() error { _, _, err := s.Counts(ctx, user); return err },
		func() error { _, err := s.Audience(ctx, store.AudienceQuery{After: 5, Limit: 3}); return err },
		func() error {
			_, err := s.Audience(ctx, store.AudienceQuery{Where: &store.Filter{Tag: fmt.Sprint("new ", i)}, Limit: 3})
			return err
		},
		func() error {
			_, err := s.Estimate(ctx, store.EstimateQuery{Users: []string{user, "nobody"}})
			return err
		},
		func() error { _, err := s.Campaign(ctx, name); return err },
		func() error { _, err := s.Campaigns(ctx, "", name, 3); return err },
		func() error { _, err := s.Campaigns(ctx, "draft", name, 3); return err },
		func() error { _, err := s.DueCampaigns(ctx, 3); return err },
		func() error { _, err := s.CampaignUsers(ctx, name, "", 3); return err },
		func() error { _, err := s.CampaignSize(ctx, name); return err },
	} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// What few have is looked up by index; what many have is gone through in the order
// that is asked for.
func TestFiltersUseIndexes(t *testing.T) {
	for name, analyzed := range map[string]bool{"with statistics": true, "without": false} {
		t.Run(name, func(t *testing.T) { filtersUseIndexes(t, analyzed) })
	}
}

func filtersUseIndexes(t *testing.T, analyzed bool) {
	url := server.Database(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"person", "person_tag"} {
		server.Exec(t, url, `ALTER TABLE skein.`+table+` SET (autovacuum_enabled = off)`)
	}
	const users = 6000
	for from := 0; from < users; from += 1000 {
		put := store.PutUsers{Time: 1}
		for i := from; i < from+1000; i++ {
			put.Users = append(put.Users, store.UserPut{User: fmt.Sprint(i), Attributes: fmt.Appendf(nil, `{"city":"c%d","a":{"level":%d},"all":1,"tags":["t%d","all"],"other":%d}`, i%500, i, i%500, i)})
		}
		do[store.UsersPut](t, s, put)
	}
	if err := s.UserIndexes(t.Context(), []string{"/city", "/a/level", "/all"}); err != nil {
		t.Fatal(err)
	}
	if analyzed {
		server.Exec(t, url, `ANALYZE`)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const few, enough = 150, 2300 // rows of a read by index, and of one that first finds out that there are more
	for filter, most := range map[string]float64{
		`{"field":"/city","eq":"c7"}`:                                              few,
		`{"field":"/city","in":["c7","c8"]}`:                                       few,
		`{"field":"/city","prefix":"c49"}`:                                         3 * few,
		`{"field":"/a/level","eq":17}`:                                             few,
		`{"field":"/a/level","in":["1",2]}`:                                        few,
		`{"field":"/a/level","lt":30}`:                                             few,
		`{"all":[{"field":"/a/level","gte":5990},{"field":"/a/level","lt":6010}]}`: few,
		`{"all":[{"field":"/other","gt":3},{"field":"/city","eq":"c7"}]}`:          few,
		`{"any":[{"tag":"t7"},{"field":"/city","eq":"c9"}]}`:                       few,
		`{"tag":"all"}`:                enough,
		`{"field":"/all","eq":1}`:      enough,
		`{"field":"/a/level","gt":30}`: enough,
		`{"field":"/city","gt":"b"}`:   enough,
	} {
		var f store.Filter
		if err := json.Unmarshal([]byte(filter), &f); err != nil {
			t.Fatal(err)
		}
		before := rowsRead(t, url)
		s, err := postgres.Open(t.Context(), postgres.Config{URL: url, Writers: 1, Readers: 1})
		if err != nil {
			t.Fatal(err)
		}
		const rounds = 5
		for range rounds {
			if list, err := s.Users(t.Context(), store.UserQuery{Where: &f, Limit: 10}); err != nil || len(list) == 0 {
				t.Fatalf("%s gave %v, %v", filter, list, err)
			}
			if list, err := s.Audience(t.Context(), store.AudienceQuery{Where: &f, Limit: 10}); err != nil || len(list) == 0 {
				t.Fatalf("%s gave %v, %v", filter, list, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if each := float64(rowsRead(t, url)-before) / (2 * rounds); each > most {
			t.Errorf("%s: for each page %.0f rows were read", filter, each)
		}
	}
}

// As TestPlansStayGoodWhenTablesGrow, for what is pushed.
func TestPlansOfPushesStayGoodWhenTheyGrow(t *testing.T) {
	w := wear(t, 5, []string{"person", "push", "push_key", "delivery", "campaign"}, func(s *postgres.Store, round int) { storetest.UsePushes(t, s, round) })
	// Who is there is counted for a push to everybody.
	w.readsNoMore(30, func(s store.Store) { grow(t, s) }, grown)
}

// grown is how many users grow adds.
const grown = 1000

// grow adds many users with many pushes that are open.
func grow(t *testing.T, s store.Store) {
	t.Helper()
	var to []store.Recipient
	for i := range grown {
		to = append(to, store.Recipient{User: fmt.Sprint("grown ", i)})
	}
	const later = 1_900_000_000_000 // than all that is used, so that none of it is old
	for range 20 {
		do[store.Pushed](t, s, store.Push{Content: store.Content{ID: id.Message(time.UnixMilli(later)), Time: later, Data: []byte("1")}, To: to, Now: later})
	}
}

// Two processes push to the same users at the same time.
func TestTwoStoresPushTogether(t *testing.T) {
	url := server.Database(t)
	storetest.PushTogether(t, open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url}))
}

// indexes lists the indexes of attributes.
func indexes(t *testing.T, url string) (list []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT indexname || CASE WHEN i.indisvalid THEN '' ELSE ' is not valid' END FROM pg_indexes
		JOIN pg_index i ON i.indexrelid = (schemaname || '.' || indexname)::regclass
		WHERE schemaname = 'skein' AND indexname LIKE 'person\_field\_%' AND indexname <> 'person_field_pkey' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	if list, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	return list
}

// Processes that start together make each index once, and one that was never finished
// is made anew; who writes meanwhile does not wait for it.
func TestProcessesMakeIndexesOnce(t *testing.T) {
	url := server.Database(t)
	stores := make([]*postgres.Store, 4)
	for i := range stores {
		stores[i] = open(t, postgres.Config{URL: url, Writers: 1, Readers: 2})
	}
	do[store.UsersPut](t, stores[0], store.PutUsers{Users: []store.UserPut{{User: "ann", Attributes: []byte(`{"a":1,"b":"x"}`)}}, Time: 1})
	together := func(fields ...string) {
		t.Helper()
		stop := make(chan struct{})
		var writing, all sync.WaitGroup
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := stores[0].Do(context.Background(), store.PutUsers{Users: []store.UserPut{{User: fmt.Sprint(i), Attributes: fmt.Appendf(nil, `{"a":%d}`, i)}}, Time: 1}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for _, s := range stores {
			all.Go(func() {
				if err := s.UserIndexes(t.Context(), fields); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		close(stop)
		writing.Wait()
	}
	together("/a", "/b", "#tags", "/a")
	first := indexes(t, url)
	if len(first) != 4 {
		t.Errorf("there are %q", first)
	}
	server.Exec(t, url, `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'skein.`+first[0]+`'::regclass`)
	together("/a", "/b")
	if diff := cmp.Diff(first, indexes(t, url)); diff != "" {
		t.Errorf("after one was not finished (-before +after):\n%s", diff)
	}
	together("/b", "/c")
	if after := indexes(t, url); len(after) != 4 || cmp.Diff(first, after) == "" {
		t.Errorf("with others there are %q", after)
	}
	together()
	if left := indexes(t, url); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	n, err := stores[0].CountUsers(t.Context(), &store.Filter{Field: "/b", Eq: json.RawMessage(`"x"`)})
	if n != 1 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stores[0].UserIndexes(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits: %v", err)
	}
	check(t, stores[0])
}

// Two processes put, mute, push, settle and delete the same users, in groups of
// everything: nobody waits in a circle for ever, and everything adds up.
func TestTwoStoresShareUsers(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	const callers, rounds, users = 8, 25, 12
	do[store.CampaignPut](t, stores[0], store.PutCampaign{Campaign: store.Campaign{ID: "c", Next: 1}})
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			name := func() string { return fmt.Sprint("user ", random.IntN(users)) }
			for round := range rounds {
				var group []store.Command
				for range 1 + random.IntN(4) {
					switch random.IntN(7) {
					case 0, 1:
						group = append(group, store.PutUsers{Users: []store.UserPut{{User: name(), Attributes: fmt.Appendf(nil, `{"tags":["t%d"]}`, random.IntN(3))},
							{User: name(), Attributes: fmt.Appendf(nil, `{"c%d":%d}`, i, round)}}, Time: 1, Merge: true})
					case 2:
						group = append(group, store.MuteCategory{User: name(), Category: fmt.Sprint(i), Muted: round%2 == 0, Time: 1})
					case 3:
						push := store.Push{Content: store.Content{ID: id.Message(time.UnixMilli(5)), Time: 5, Data: []byte("1")}, Now: 5, Keep: 5}
						first := random.IntN(users)
						for n := range 5 {
							push.To = append(push.To, store.Recipient{User: fmt.Sprint("user ", (first+n*5)%users)})
						}
						group = append(group, push)
					case 4:
						group = append(group, store.Settle{Settlements: []store.Settlement{{User: name(), Seq: 2, UpTo: true, State: store.Delivered, Time: 6}, {User: name(), Seq: 1, State: store.Sent, Time: 6}}, Now: 6})
					case 5:
						group = append(group, store.DeleteUsers{Users: []string{name(), name()}, Time: 7})
					case 6:
						group = append(group, store.AddToCampaign{ID: "c", Users: []string{name()}}, store.ClaimCampaign{ID: "c", Owner: fmt.Sprint(i), Now: int64(1 + round), Until: int64(2 + round)})
					}
				}
				if _, err := stores[i%2].Do(t.Context(), group...); err != nil {
					t.Errorf("%+v: %v", group, err)
					return
				}
			}
		})
	}
	wait.Wait()
	check(t, stores[0])
}

// fillUsers makes what the dumps hold of users and campaigns, from version 4 on.
func fillUsers(t *testing.T, s store.Store) {
	t.Helper()
	if _, err := s.Do(t.Context(),
		store.PutUsers{Users: []store.UserPut{{User: "alice", Attributes: []byte(`{"level":7,"tags":["vip"],"tz":"Europe/Berlin"}`)}}, Time: 5},
		store.MuteCategory{User: "b\x00b", Category: "news", Muted: true, Time: 6},
		store.PutCategory{Name: "news", Body: []byte("body"), Time: 7},
		store.PutCampaign{Campaign: store.Campaign{ID: "spring", State: "running", Plan: []byte("plan"), Notes: []byte("notes"), Next: 5, Cursor: "half", Created: 4}},
		store.AddToCampaign{ID: "spring", Users: []string{"alice", "b\x00b"}},
		store.ClaimCampaign{ID: "spring", Owner: "node", Now: 5, Until: 6},
	); err != nil {
		t.Fatal(err)
	}
}

func verifyUsers(t *testing.T, s store.Store) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	users, err := s.LookUsers(t.Context(), "alice", "b\x00b", "nobody")
	same("users", []store.User{
		{N: 1, User: "alice", Attributes: []byte(`{"tz": "Europe/Berlin", "tags": ["vip"], "level": 7}`), Zone: "Europe/Berlin", Created: 5, Changed: 5},
		{N: 2, User: "b\x00b", Created: 6, Muted: []string{"news"}}, {},
	}, users, err)
	audience, err := s.Audience(t.Context(), store.AudienceQuery{Where: &store.Filter{Tag: "vip"}, Limit: 9})
	same("a tag", []store.Recipient{{N: 1, User: "alice"}}, audience, err)
	categories, err := s.Categories(t.Context())
	same("categories", []store.Category{{Name: "news", Body: []byte("body"), Changed: 7}}, categories, err)
	campaign, err := s.Campaign(t.Context(), "spring")
	campaign.Version %= 1_000_000_000 // a dump of another cluster has made the store skip numbers
	same("campaign", store.Campaign{ID: "spring", State: "running", Plan: []byte("plan"), Notes: []byte("notes"), Next: 5, Cursor: "half", Created: 4,
		Version: 2, Owner: "node", Until: 6}, campaign, err)
	due, err := s.DueCampaigns(t.Context(), 9)
	same("due", []store.DueSchedule{{Name: "spring", At: 6}}, due, err)
	list, err := s.CampaignUsers(t.Context(), "spring", "", 9)
	same("its list", []string{"alice", "b\x00b"}, list, err)
	if put := do[store.UsersPut](t, s, store.PutUsers{Users: []store.UserPut{{User: "new", Attributes: []byte(`{}`)}}, Time: 9}); put.Created != 1 {
		t.Errorf("another user: %+v", put)
	}
}
