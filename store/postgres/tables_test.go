package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
)

// Two processes change the same members, schedules and denials in groups of
// everything, in any order: sizes are exact, each due schedule is given to one,
// who asks for denials misses none, and nobody waits in a circle.
func TestTwoStoresShareTheTables(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	const callers, rounds, channels, schedules = 16, 40, 5, 6
	var put []store.Command
	for i := range schedules {
		put = append(put, store.PutSchedule{Schedule: store.Schedule{Name: fmt.Sprint(i), Next: 1}})
	}
	if _, err := stores[0].Do(t.Context(), put...); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	given := map[string]int{} // claims, by schedule and time
	denied := 0
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for round := range rounds {
				var group []store.Command
				now := int64(1 + round)
				for range 1 + random.IntN(5) {
					channel, user := fmt.Sprintf("room:%d", random.IntN(channels)), fmt.Sprint(random.IntN(20))
					switch random.IntN(6) {
					case 0, 1:
						group = append(group, store.AddMembers{Channel: channel, Users: []string{user, fmt.Sprint(random.IntN(20))}, Time: 1})
					case 2:
						group = append(group, store.RemoveMembers{Channel: channel, Users: []string{fmt.Sprint(random.IntN(20)), user}})
					case 3:
						group = append(group, store.ClaimSchedule{Name: fmt.Sprint(random.IntN(schedules)), Owner: fmt.Sprint(i), Now: now, Until: now + 1})
					case 4:
						group = append(group, store.PutDenial{Denial: store.Denial{Token: fmt.Sprint(i, " ", round, " ", len(group)), Time: 1}})
					case 5:
						group = append(group, store.SawUsers{Seen: []store.Seen{{User: user, Time: now}, {User: fmt.Sprint(random.IntN(20)), Time: now}}})
					}
				}
				results, err := stores[i%2].Do(t.Context(), group...)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range results {
					switch r := r.(type) {
					case store.ScheduleClaimed:
						if r.OK {
							given[fmt.Sprint(r.Schedule.Name, " until ", r.Schedule.Until)]++
						}
					case store.DenialPut:
						denied++
					}
				}
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { wait.Wait(); close(ended) }()
	known, after, over := 0, uint64(0), false
	for page := []store.Denial(nil); !over || len(page) > 0; {
		select {
		case <-ended:
			over = true
		default:
		}
		var err error
		if page, err = stores[1].Denials(t.Context(), after, 5); err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			known, after = known+1, d.Seq
		}
	}
	if known != denied || denied == 0 {
		t.Errorf("%d denials were put, and %d seen", denied, known)
	}
	if len(given) == 0 {
		t.Error("nothing was claimed")
	}
	for claim, n := range given {
		if n != 1 {
			t.Errorf("schedule %s was given %d times", claim, n)
		}
	}
	check(t, stores[0])
	noDeadlocks(t, url, stores)
}

// Four processes do the same at the same moment, again and again: one is told that
// it did it.
func TestOneOfManyProcessesDoesIt(t *testing.T) {
	url := server.Database(t)
	const processes, rounds = 4, 60
	stores := make([]*postgres.Store, processes)
	for i := range stores {
		stores[i] = open(t, postgres.Config{URL: url, Writers: 1, Readers: 1})
	}
	do[store.SchedulePut](t, stores[0], store.PutSchedule{Schedule: store.Schedule{Name: "daily", Next: 1}})
	none := uint64(0)
	for round := range int64(rounds) {
		for what, c := range map[string]store.Command{
			"claim": store.ClaimSchedule{Name: "daily", Owner: "one", Now: 1 + round, Until: 2 + round},
			"put":   store.PutSchedule{Schedule: store.Schedule{Name: fmt.Sprint(round)}, If: &none},
			"deny":  store.PutDenial{Denial: store.Denial{User: fmt.Sprint(round), Time: 1}},
			"join":  store.AddMembers{Channel: fmt.Sprint("room:", round/2), Users: []string{fmt.Sprint(round)}, Time: 1},
			"leave": store.RemoveMembers{Channel: fmt.Sprint("room:", round/2-1), Some: 1},
		} {
			var wait sync.WaitGroup
			did := make([]int, processes)
			for i, s := range stores {
				wait.Go(func() {
					results, err := s.Do(t.Context(), c)
					if err != nil {
						if what != "put" || !errors.Is(err, store.ErrConflict) {
							t.Errorf("%s: %v", what, err)
						}
						return
					}
					switch r := results[0].(type) {
					case store.ScheduleClaimed:
						if r.OK {
							did[i] = 1
						}
					case store.SchedulePut:
						did[i] = 1
					case store.DenialPut:
						if !r.Was {
							did[i] = 1
						}
					case store.MembersChanged:
						did[i] = len(r.Users)
					}
				})
			}
			wait.Wait()
			sum := 0
			for _, n := range did {
				sum += n
			}
			want := 1
			if what == "leave" {
				// Two have joined the one before; they leave in the first of two rounds.
				if want = 2; round < 2 || round%2 == 1 {
					want = 0
				}
			}
			if sum != want {
				t.Errorf("round %d: %s was done %d times, want %d", round, what, sum, want)
			}
		}
	}
	check(t, stores[0])
}

// As TestPlansStayGoodWhenTablesGrow, for members, schedules and denials.
func TestPlansOfTheTablesStayGoodWhenTheyGrow(t *testing.T) {
	tables := []string{"member", "group_size", "schedule", "denial", "seen", "person", "person_tag", "category", "campaign", "campaign_user"}
	wear(t, 20, tables, func(s *postgres.Store, round int) {
		if err := useTables(t.Context(), s, round); err != nil {
			t.Fatal(err)
		}
	}).readsAtMost(1000, 200)
}

// useTables does each thing once, about what was not there before and beside
// what is there in growing numbers.
func useTables(ctx context.Context, s *postgres.Store, i int) error {
	user, channel, name := fmt.Sprintf("user-%d", i), fmt.Sprintf("room:%d", i), fmt.Sprintf("%d", i)
	now := int64(1_000_000 - i)
	results, err := s.Do(ctx,
		store.AddMembers{Channel: "room:one", Users: []string{user, user + "b", user + "c"}, Time: 1},
		store.AddMembers{Channel: channel, Users: []string{"one", user}, Time: 1},
		store.RemoveMembers{Channel: "room:one", Users: []string{user + "b", user + "d"}},
		store.PutSchedule{Schedule: store.Schedule{Name: name, Next: now}},
		store.ClaimSchedule{Name: name, Owner: "o", Now: now, Until: now + 1},
		store.PutDenial{Denial: store.Denial{User: user, Time: 1}},
		store.PutDenial{Denial: store.Denial{User: user, Time: 1, Lifted: true}},
		store.PutDenial{Denial: store.Denial{Token: user, Time: 1, Expires: 1}},
		store.SawUsers{Seen: []store.Seen{{User: user, Time: 1}, {User: "one", Time: int64(i)}}},
	)
	if err != nil {
		return err
	}
	if err := useUsers(ctx, s, i); err != nil {
		return err
	}
	claimed := results[4].(store.ScheduleClaimed)
	if _, err := s.Do(ctx, store.FinishSchedule{Name: name, Version: claimed.Schedule.Version, Next: now}); err != nil {
		return err
	}
	if i%10 == 0 {
		if _, err := s.Do(ctx, store.RemoveMembers{Channel: "room:one", Some: 1}, store.DeleteSchedule{Name: name}); err != nil {
			return err
		}
	}
	for _, read := range []func() error{
		func() error { _, err := s.Members(ctx, "room:one", "user-5", 3); return err },
		func() error { _, err := s.Memberships(ctx, "one", "room:5", 3); return err },
		// Of few among many, which the other index finds only at the end.
		func() error { _, err := s.Members(ctx, channel, "", 3); return err },
		func() error { _, err := s.Memberships(ctx, user, "", 3); return err },
		func() error { _, err := s.IsMember(ctx, "room:one", user, "nobody"); return err },
		func() error { _, err := s.MemberCounts(ctx, "room:one", channel); return err },
		func() error { _, err := s.Groups(ctx, "room:5", "", 3); return err },
		func() error { _, err := s.Schedule(ctx, name); return err },
		func() error { _, err := s.Schedules(ctx, "5", "", 3); return err },
		func() error { _, err := s.Due(ctx, 3); return err },
		func() error { _, err := s.Denials(ctx, results[6].(store.DenialPut).Seq-1, 3); return err },
		func() error { _, err := s.LastSeen(ctx, user, "nobody"); return err },
		func() error { _, err := s.Trim(ctx, nil, time.UnixMilli(2), 10); return err },
	} {
		if err := read(); err != nil && !(i%10 == 0 && strings.Contains(err.Error(), "not found")) {
			return err
		}
	}
	return nil
}

func TestCheckNamesWhatIsWrongWithTheTables(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url})
	fillTables(t, s)
	fillAudit(t, s)
	check(t, s)
	for _, tt := range []struct{ damage, repair, want string }{
		{`UPDATE skein.group_size SET n = 3`, `UPDATE skein.group_size SET n = 2`, `channel "room:sample": it should have 3 members and has 2`},
		{`DELETE FROM skein.group_size`, `INSERT INTO skein.group_size VALUES ('room:sample', 2)`, `channel "room:sample": it should have 0 members and has 2`},
		{`INSERT INTO skein.member VALUES ('', '', 1)`, `DELETE FROM skein.member WHERE channel = ''`, `channel "": user "" is a member`},
		{`UPDATE skein.schedule SET due = 4`, `UPDATE skein.schedule SET due = until`, `schedule "daily": when it can be claimed does not agree`},
		{`UPDATE skein.counter SET n = n - 1`, `UPDATE skein.counter SET n = n + 1`, `denial of user "eve", token "": its seq 1 is beyond the last one, 0`},
		{`UPDATE skein.member SET role = 9 WHERE user_id = 'alice'`, `UPDATE skein.member SET role = 2`, `channel "room:sample": member "alice" has the role 9 and the alerts 0`},
		{`UPDATE skein.member SET role = 4`, `UPDATE skein.member SET role = 2`, `channel "room:sample": it has 2 owners`},
		{`UPDATE skein.member SET delivered = 7 WHERE user_id = 'alice'`, `UPDATE skein.member SET delivered = 0`, `channel "room:sample": the marks of member "alice" make no sense: 7 were delivered of 0`},
		{`INSERT INTO skein.alert VALUES ('room:sample', 1)`, `DELETE FROM skein.alert`, `channel "room:sample": absent members are to be told of message 1, and it ends at 0`},
		{`INSERT INTO skein.conversation VALUES ('a', NULL, 0, 1, 1)`, `DELETE FROM skein.conversation`, `group "a": it has the rule 0 and the version 1`},
		{`DELETE FROM skein.counter WHERE name = 'seen'`, `INSERT INTO skein.counter VALUES ('seen', 0)`, `of the 7 counters 6 are there`},
		{`UPDATE skein.audit SET time = 7`, `DELETE FROM skein.audit`, `of the audit log: its time 7 is not that of its id`},
	} {
		server.Exec(t, url, tt.damage)
		var problems []string
		if err := s.Check(t.Context(), func(p string) { problems = append(problems, p) }); err != nil || !strings.Contains(strings.Join(problems, "\n"), tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.damage, problems, err, tt.want)
		}
		server.Exec(t, url, tt.repair)
		check(t, s)
	}
}

// What was given between a backup and its restore is not given again.
func TestNumbersOfALostHistoryDoNotComeAgain(t *testing.T) {
	url := server.Database(t)
	put, deny := store.PutSchedule{Schedule: store.Schedule{Name: "daily"}}, store.PutDenial{Denial: store.Denial{User: "eve", Time: 1}}
	campaigns := 0
	putCampaign := func(s store.Store) uint64 {
		campaigns++
		return do[store.CampaignPut](t, s, store.PutCampaign{Campaign: store.Campaign{ID: fmt.Sprint(campaigns)}}).Version
	}
	s := open(t, postgres.Config{URL: url})
	version, seq := do[store.SchedulePut](t, s, put).Version, do[store.DenialPut](t, s, deny).Seq
	campaign := putCampaign(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	later := func(what string, s store.Store) {
		t.Helper()
		v, q := do[store.SchedulePut](t, s, put).Version, do[store.DenialPut](t, s, deny).Seq
		if v < version+1000 || q < seq+1000 {
			t.Errorf("%s: after version %d and seq %d come %d and %d", what, version, seq, v, q)
		}
		version, seq = v, q
		if c := putCampaign(s); c < campaign+1000 {
			t.Errorf("%s: after campaign version %d comes %d", what, campaign, c)
		} else {
			campaign = c
		}
	}
	server.Exec(t, url, `UPDATE skein.store SET origin = 'another cluster'`)
	s = open(t, postgres.Config{URL: url})
	later("of another origin", s)
	if err := s.NewEpochs(t.Context()); err != nil {
		t.Fatal(err)
	}
	later("after a restore in place", s)
	check(t, s)
}

// fillTables makes what the dumps hold of members, schedules and denials, from
// version 2 on.
func fillTables(t *testing.T, s store.Store) {
	t.Helper()
	if _, err := s.Do(t.Context(),
		store.AddMembers{Channel: "room:sample", Users: []string{"alice", "b\x00b"}, Time: 5},
		store.PutSchedule{Schedule: store.Schedule{Name: "daily", Plan: []byte("plan"), State: []byte("state"), Next: 5}},
		store.ClaimSchedule{Name: "daily", Owner: "node", Now: 5, Until: 6},
		store.PutDenial{Denial: store.Denial{User: "eve", Before: 4, Reason: "why", Time: 3, Expires: 4102444800000, Lifted: true}},
		store.SawUsers{Seen: []store.Seen{{User: "alice", Device: "phone", Time: 7}}},
	); err != nil {
		t.Fatal(err)
	}
}

func verifyTables(t *testing.T, s store.Store) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	members, err := s.Members(t.Context(), "room:sample", "", 9)
	same("members", []store.Member{{User: "alice", Since: 5}, {User: "b\x00b", Since: 5}}, members, err)
	counts, err := s.MemberCounts(t.Context(), "room:sample")
	same("counts", []int64{2}, counts, err)
	// A dump of another cluster has made the store skip numbers.
	const skipped = 1_000_000_000
	schedule, err := s.Schedule(t.Context(), "daily")
	schedule.Version %= skipped
	same("schedule", store.Schedule{Name: "daily", Plan: []byte("plan"), State: []byte("state"), Next: 5, Version: 2, Owner: "node", Until: 6}, schedule, err)
	due, err := s.Due(t.Context(), 9)
	same("due", []store.DueSchedule{{Name: "daily", At: 6}}, due, err)
	denials, err := s.Denials(t.Context(), 0, 9)
	for i := range denials {
		denials[i].Seq %= skipped
	}
	same("denials", []store.Denial{{Seq: 1, User: "eve", Before: 4, Reason: "why", Time: 3, Expires: 4102444800000, Lifted: true}}, denials, err)
	seen, err := s.LastSeen(t.Context(), "alice")
	same("seen", []store.Seen{{User: "alice", Device: "phone", Time: 7}}, seen, err)
	if got := do[store.DenialPut](t, s, store.PutDenial{Denial: store.Denial{User: "another", Time: 1}}); got.Seq <= 1 {
		t.Errorf("the next seq is %d", got.Seq)
	}
}

// What there is much of is not counted row by row.
func TestLargeTablesAreEstimated(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url})
	server.Exec(t, url, `ALTER TABLE skein.delivery SET (autovacuum_enabled = off)`)
	fill := func(from, to int) {
		server.Exec(t, url, fmt.Sprintf(`INSERT INTO skein.delivery (pos, person, seq, push, state, reason, hidden, counted, sent, ended, read)
			SELECT g, g %% 1000, g, g, 3, 0, 0, 0, 0, 0, 0 FROM generate_series(%d, %d) AS g`, from, to))
	}
	deliveries := func() int64 {
		stats, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stats.Deliveries
	}
	fill(1, 1000)
	server.Exec(t, url, `ANALYZE skein.delivery`)
	fill(1001, 1234)
	if n := deliveries(); n != 1234 {
		t.Errorf("of few there are %d", n)
	}
	fill(1235, 120_000)
	server.Exec(t, url, `ANALYZE skein.delivery`)
	if n := deliveries(); n != 120_000 {
		t.Errorf("of many there are %d", n)
	}
	fill(120_001, 180_000)
	if n := deliveries(); n < 170_000 || n > 190_000 {
		t.Errorf("of more there are %d", n)
	}
	server.Exec(t, url, `UPDATE pg_class SET reltuples = 10 * reltuples WHERE oid = 'skein.delivery'::regclass`)
	if n := deliveries(); n < 1_700_000 {
		t.Errorf("they are counted: %d", n)
	}
}

// Rows that lie far from each other are asked for at once where the database can do that,
// and one after the other where it must not.
func TestRecordsWithoutPrefetching(t *testing.T) {
	url := server.Database(t)
	to := []store.Recipient{{User: "ann"}, {User: "bob"}}
	for _, concurrency := range []int{0, 1, 200} {
		server.Exec(t, url, fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET effective_io_concurrency = %d', current_database()); END $$`, concurrency))
		s, err := postgres.Open(t.Context(), postgres.Config{URL: url, Readers: 1})
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.Records(t.Context(), store.RecordQuery{User: "ann", Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		c := store.Content{ID: id.Message(time.UnixMilli(5)), Time: 5, Data: []byte("1")}
		do[store.Pushed](t, s, store.Push{Content: c, To: to, Now: c.Time})
		for range 3 { // the connection is as it was
			page, err := s.Records(t.Context(), store.RecordQuery{User: "ann", Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(page.Records); n != len(before.Records)+1 || page.Records[0].Message != c.ID || page.Behind {
				t.Errorf("with %d at once: %+v", concurrency, page)
			}
			if heads, err := s.Heads(t.Context(), "room:none"); err != nil || len(heads) != 1 {
				t.Errorf("with %d at once: heads %v, %v", concurrency, heads, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
