package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
	"github.com/skein-realtime/skein/store/storetest"
)

var aboutTables = regexp.MustCompile(`\b(member|group_size|schedule|denial|seen|counter|document|snapshot|person|person_tag|push|push_key|delivery|category|campaign|campaign_user|conversation|peer_block|alert|audit|secret)\b`)

// A small table may be read from end to end; all persons are counted for a push to
// everybody; and all members of a group are looked at for who becomes its owner.
var small = regexp.MustCompile(`ORDER BY m.role DESC, m.since, m.user_id LIMIT 1$|FROM person_field$|^SELECT count\(\*\) FROM person$`)

// harmless steps go through what was chosen before, or is given.
var harmless = regexp.MustCompile(`^SCAN (CONSTANT ROW|u|w|[0-9]+-ROW VALUES CLAUSE)$`)

// Each read of members, schedules, denials, users, campaigns and documents, and each
// statement that changes them, goes by an index: it looks at no more than it gives, and
// sorts nothing.
func TestTablesAreReadByTheirIndexes(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	put := store.Schedule{Name: "a", Next: 1}
	if _, err := s.Do(t.Context(),
		store.AddMembers{Channel: "room:1", Users: []string{"a", "b", "c"}, Time: 1}, store.RemoveMembers{Channel: "room:1", Users: []string{"c"}},
		store.RemoveMembers{Channel: "room:1", Some: 1}, store.AddMembers{Channel: "room:1", Time: 1},
		store.PutSchedule{Schedule: put}, store.ClaimSchedule{Name: "a", Owner: "o", Now: 1, Until: 2}, store.FinishSchedule{Name: "a", Version: 2},
		store.DeleteSchedule{Name: "a"}, store.PutDenial{Denial: store.Denial{User: "u", Time: 1, Expires: 1}}, store.SawUsers{Seen: []store.Seen{{User: "u", Time: 1}}},
	); err != nil {
		t.Fatal(err)
	}
	patch := store.Append{Channel: "doc:1", ID: id.Message(time.UnixMilli(1)), Time: 1, Version: 1, Data: []byte("1")}
	if _, err := s.Do(t.Context(), patch, store.PutSnapshot{Channel: "doc:1", Version: 1, Time: 1, Data: []byte("1"), Floor: 1}); err != nil {
		t.Fatal(err)
	}
	for patch.Version = 2; patch.Version < 4; patch.Version++ {
		if _, err := s.Do(t.Context(), patch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Do(t.Context(), store.PutSnapshot{Channel: "doc:1", Version: 2, Time: 1, Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(t.Context(),
		store.PutUsers{Users: []store.UserPut{{User: "a", Attributes: []byte(`{"tags":["x"]}`)}}, Time: 1}, store.PutUsers{Users: []store.UserPut{{User: "a", Attributes: []byte(`{"tags":["y"]}`)}}, Time: 1},
		store.MuteCategory{User: "a", Category: "c", Muted: true, Time: 1}, store.PutCategory{Name: "c", Time: 1}, store.PutCategory{Name: "c", Time: 2}, store.DeleteCategory{Name: "c"},
		store.Push{Content: store.Content{ID: id.Message(time.UnixMilli(1)), Time: 1, Data: []byte("1")}, To: []store.Recipient{{User: "a"}}, Now: 1},
		store.DeleteUsers{Users: []string{"a"}, Time: 1}, store.PutCampaign{Campaign: store.Campaign{ID: "c", Next: 1}}, store.ClaimCampaign{ID: "c", Owner: "o", Now: 1, Until: 2},
		store.PutCampaign{Campaign: store.Campaign{ID: "c"}, If: 2}, store.AddToCampaign{ID: "c", Users: []string{"a"}}, store.DeleteCampaign{ID: "c"},
	); err != nil {
		t.Fatal(err)
	}
	storetest.UsePushes(t, s, 1)
	storetest.UseChat(t, s, 1)
	storetest.UseAudit(t, s, 1)
	for _, read := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := s.LookUsers(ctx, "a"); return err },
		func(ctx context.Context) error { _, _, err := s.Counts(ctx, "a"); return err },
		func(ctx context.Context) error { _, err := s.Audience(ctx, store.AudienceQuery{Limit: 1}); return err },
		func(ctx context.Context) error {
			_, err := s.Estimate(ctx, store.EstimateQuery{Everyone: true})
			return err
		},
		func(ctx context.Context) error {
			_, err := s.Estimate(ctx, store.EstimateQuery{Users: []string{"a"}})
			return err
		},
		func(ctx context.Context) error { _, err := s.Categories(ctx); return err },
		func(ctx context.Context) error { _, err := s.Campaign(ctx, "c"); return ignore(err, store.ErrNotFound) },
		func(ctx context.Context) error { _, err := s.Campaigns(ctx, "", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Campaigns(ctx, "draft", "", 1); return err },
		func(ctx context.Context) error { _, err := s.DueCampaigns(ctx, 1); return err },
		func(ctx context.Context) error { _, err := s.CampaignUsers(ctx, "c", "", 1); return err },
		func(ctx context.Context) error { _, err := s.CampaignSize(ctx, "c"); return err },
		func(ctx context.Context) error { _, err := s.Document(ctx, "doc:1"); return err },
		func(ctx context.Context) error { _, err := s.Members(ctx, "room:1", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Memberships(ctx, "a", "", 1); return err },
		func(ctx context.Context) error { _, err := s.IsMember(ctx, "room:1", "a"); return err },
		func(ctx context.Context) error { _, err := s.MemberCounts(ctx, "room:1"); return err },
		func(ctx context.Context) error { _, err := s.Groups(ctx, "room:", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Schedules(ctx, "a", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Due(ctx, 1); return err },
		func(ctx context.Context) error { _, err := s.Denials(ctx, 0, 1); return err },
		func(ctx context.Context) error { _, err := s.LastSeen(ctx, "a"); return err },
	} {
		if err := read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Trim(t.Context(), []store.Keep{{Namespace: "doc", Age: time.Millisecond}}, time.UnixMilli(3), 10); err != nil || n.Keys != 1 || n.Messages != 2 {
		t.Fatalf("trim did %+v, %v", n, err)
	}
	// What was prepared is what is asked.
	reader := <-s.readers
	queries := slices.Collect(maps.Keys(reader.st))
	s.readers <- reader
	if err := s.queue.do(t.Context(), &job{work: func(w *writer) error {
		queries = append(queries, slices.Collect(maps.Keys(w.c.st))...)
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := dial(s.path(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	explained := 0
	for _, q := range queries {
		if !aboutTables.MatchString(q) || small.MatchString(q) || strings.HasPrefix(q, "SELECT * ") { // the start looks at the first row of each
			continue
		}
		explained++
		args := make([]driverValue, strings.Count(q, "?"))
		if err := c.query(t.Context(), func(row []driverValue) error {
			if step := text(row[3]); strings.Contains(step, "SCAN") && !harmless.MatchString(step) || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\n%s", q, step)
			}
			return nil
		}, "EXPLAIN QUERY PLAN "+q, args...); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	if explained < 60 {
		t.Errorf("only %d queries were looked at", explained)
	}
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// listening keeps the plans of what is asked once.
type listening struct {
	tx
	plans *[]string
}

func (l listening) QueryOnce(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	var plan []string
	if err := l.c.once(ctx, func(columns []driverValue) error {
		plan = append(plan, text(columns[3]))
		return nil
	}, "EXPLAIN QUERY PLAN "+query, values(args)...); err != nil {
		return err
	}
	*l.plans = append(*l.plans, strings.Join(plan, "; "))
	return l.tx.QueryOnce(ctx, query, row, args...)
}

func (l listening) QueryThrough(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	return l.QueryOnce(ctx, query, row, args...)
}

// What few have is looked up by index; what many have is gone through in the order
// that is asked for. Nothing is sorted but few.
func TestFiltersUseIndexes(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const users = 6000
	for from := 0; from < users; from += 1000 {
		put := store.PutUsers{Time: 1}
		for i := from; i < from+1000; i++ {
			put.Users = append(put.Users, store.UserPut{User: fmt.Sprint(i), Attributes: fmt.Appendf(nil, `{"city":"c%d","a":{"level":%d},"all":1,"tags":["t%d","all"],"other":%d}`, i%500, i, i%500, i)})
		}
		if _, err := s.Do(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.UserIndexes(t.Context(), []string{"/city", "/a/level", "/all"}); err != nil {
		t.Fatal(err)
	}
	var plans []string
	reader := tables.NewReader("sqlite", func(ctx context.Context, what string, fn func(context.Context, tables.Tx) error) error {
		return s.reader(ctx, what, 0, func(ctx context.Context, c *conn) error { return fn(ctx, listening{tx{c}, &plans}) })
	})
	for filter, byIndex := range map[string]bool{
		`{"field":"/city","eq":"c7"}`:                                                             true,
		`{"field":"/city","in":["c7","c8"]}`:                                                      true,
		`{"field":"/city","prefix":"c49"}`:                                                        true,
		`{"field":"/a/level","eq":17}`:                                                            true,
		`{"field":"/a/level","in":[1,2,9007199254740993]}`:                                        true,
		`{"field":"/a/level","in":["1",2]}`:                                                       true,
		`{"field":"/a/level","lt":30}`:                                                            true,
		`{"field":"/a/level","gte":5990}`:                                                         true,
		`{"all":[{"field":"/a/level","gte":3000},{"field":"/a/level","lt":3010}]}`:                true,
		`{"all":[{"field":"/all","eq":1},{"field":"/other","gt":3},{"field":"/city","eq":"c7"}]}`: true,
		`{"tag":"t7"}`: true,
		`{"any":[{"tag":"t7"},{"field":"/city","eq":"c9"}]}`: true,
		`{"tag":"all"}`:                                    false,
		`{"field":"/all","eq":1}`:                          false,
		`{"field":"/a/level","gt":30}`:                     false,
		`{"field":"/other","eq":7}`:                        false,
		`{"not":{"field":"/city","eq":"c7"}}`:              false,
		`{"any":[{"tag":"t7"},{"field":"/other","eq":1}]}`: false,
	} {
		var f store.Filter
		if err := json.Unmarshal([]byte(filter), &f); err != nil {
			t.Fatal(err)
		}
		for what, ask := range map[string]func() error{
			"users": func() error { _, err := reader.Users(t.Context(), store.UserQuery{Where: &f, Limit: 10}); return err },
			"audience": func() error {
				_, err := reader.Audience(t.Context(), store.AudienceQuery{Where: &f, Limit: 10})
				return err
			},
		} {
			plans = nil
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			for _, plan := range plans[:len(plans)-1] {
				if strings.Contains(plan, "SCAN person") || !strings.Contains(plan, "INDEX person_field") && !strings.Contains(plan, "person_tag") {
					t.Errorf("%s: looking for an index took %s", filter, plan)
				}
			}
			last := plans[len(plans)-1]
			if strings.Contains(last, "SCAN p") || strings.Contains(last, "SCAN person") || byIndex != strings.Contains(last, "SCAN d") || !byIndex && strings.Contains(last, "TEMP B-TREE") {
				t.Errorf("%s: %s takes %s", filter, what, last)
			}
			if byIndex && !strings.Contains(last, "INDEX person_field") && !strings.Contains(last, "SEARCH person_tag") {
				t.Errorf("%s: %s takes %s", filter, what, last)
			}
		}
	}
}
