package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

// do carries out one command that must succeed.
func do[R store.Result](t *testing.T, s store.Store, c store.Command) R {
	t.Helper()
	results, err := s.Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return results[0].(R)
}

// verifyTables looks whether members, schedules and denials of an older file
// (those of testdata/2.sql) are there, and whether one that had none takes them.
func verifyTables(t *testing.T, s store.Store, filled bool) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	const at = 1763084076000
	if filled {
		members, err := s.Members(t.Context(), "room:1", "", 9)
		same("members", []store.Member{{User: "ann", Since: at + 1}, {User: "bob", Since: at + 2}}, members, err)
		schedule, err := s.Schedule(t.Context(), "daily")
		same("schedule", store.Schedule{Name: "daily", Plan: []byte("plan"), State: []byte("state"), Next: at, Version: 9, Owner: "node", Until: at + 1000}, schedule, err)
		due, err := s.Due(t.Context(), 9)
		same("due", []store.DueSchedule{{Name: "daily", At: at + 1000}}, due, err)
		denials, err := s.Denials(t.Context(), 4, 9)
		same("denials", []store.Denial{{Seq: 5, User: "eve", Before: at, Reason: "why", Time: at + 3, Expires: at + 3000, Lifted: true}}, denials, err)
		seen, err := s.LastSeen(t.Context(), "ann")
		same("seen", []store.Seen{{User: "ann", Device: "phone", Time: at + 4}}, seen, err)
	}
	want := store.MembersChanged{Users: []string{"carol"}, Count: 1}
	version, seq := uint64(1), uint64(1)
	if filled {
		want.Count, version, seq = 3, 10, 8
	}
	same("a member", want, do[store.MembersChanged](t, s, store.AddMembers{Channel: "room:1", Users: []string{"carol"}, Time: at}), nil)
	same("a schedule", store.SchedulePut{Version: version, Created: true}, do[store.SchedulePut](t, s, store.PutSchedule{Schedule: store.Schedule{Name: "new"}}), nil)
	same("a denial", store.DenialPut{Seq: seq}, do[store.DenialPut](t, s, store.PutDenial{Denial: store.Denial{User: "new", Time: at}}), nil)
}

// What was given between a backup and its restore is not given again, so that
// whoever knows of it does not take something new for it.
func TestNumbersOfALostHistoryDoNotComeAgain(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	s := open(t, sqlite.Config{Dir: dir})
	put := store.PutSchedule{Schedule: store.Schedule{Name: "daily"}}
	deny := store.PutDenial{Denial: store.Denial{User: "eve", Time: 1}}
	do[store.SchedulePut](t, s, put)
	do[store.DenialPut](t, s, deny)
	if err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	campaigns := 0
	putCampaign := func() uint64 {
		campaigns++
		return do[store.CampaignPut](t, s, store.PutCampaign{Campaign: store.Campaign{ID: fmt.Sprint(campaigns)}}).Version
	}
	forgotten := putCampaign()
	lost, unknown := do[store.SchedulePut](t, s, put).Version, do[store.DenialPut](t, s, deny).Seq
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Restore(t.Context(), file, dir, true); err != nil {
		t.Fatal(err)
	}
	s = open(t, sqlite.Config{Dir: dir})
	if got := do[store.SchedulePut](t, s, put).Version; got <= lost {
		t.Errorf("version %d was given, and now %d", lost, got)
	}
	if got := do[store.DenialPut](t, s, deny).Seq; got <= unknown {
		t.Errorf("seq %d was given, and now %d", unknown, got)
	}
	if got := putCampaign(); got <= forgotten {
		t.Errorf("campaign version %d was given, and now %d", forgotten, got)
	}
}

// Of the groups that share a transaction, only the one that the file refuses fails.
func TestAGroupWithAFaultOfItsOwnLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlite.Config{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, dir, `CREATE TRIGGER refuse BEFORE INSERT ON member WHEN NEW.user_id = CAST('bad' AS BLOB) BEGIN SELECT RAISE(ABORT, 'refused'); END`)
	s = open(t, sqlite.Config{Dir: dir})
	outcome := make(chan error)
	const callers = 30
	for i := range callers {
		user := "good"
		if i%3 == 0 {
			user = "bad"
		}
		go func() {
			_, err := s.Do(t.Context(), store.AddMembers{Channel: "room:1", Users: []string{"someone", user}, Time: 1})
			if (err != nil) != (user == "bad") {
				t.Errorf("%s: the error is %v", user, err)
			}
			outcome <- err
		}()
	}
	for range callers {
		<-outcome
	}
	if got, err := s.MemberCounts(t.Context(), "room:1"); err != nil || got[0] != 2 {
		t.Errorf("%d members, %v", got, err)
	}
	if err := s.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}
