package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

func (s *subject) putCampaign(c store.Campaign, version uint64) uint64 {
	s.Helper()
	return s.do(store.PutCampaign{Campaign: c, If: version})[0].(store.CampaignPut).Version
}

func (s *subject) campaign(id string) store.Campaign {
	s.Helper()
	return must1(s, func(id string) (store.Campaign, error) { return s.store.Campaign(s.Context(), id) }, id)
}

func (s *subject) claimCampaign(id, owner string, now, until int64) store.CampaignClaimed {
	s.Helper()
	return s.do(store.ClaimCampaign{ID: id, Owner: owner, Now: now, Until: until})[0].(store.CampaignClaimed)
}

func (s *subject) campaigns(state, before string, limit int) []string {
	s.Helper()
	list, err := s.store.Campaigns(s.Context(), state, before, limit)
	return names(must(s, list, err), func(c store.Campaign) string { return c.ID })
}

func (s *subject) dueCampaigns(limit int) []store.DueSchedule {
	s.Helper()
	return must1(s, func(limit int) ([]store.DueSchedule, error) { return s.store.DueCampaigns(s.Context(), limit) }, limit)
}

func (s *subject) listed(id, after string, limit int) []string {
	s.Helper()
	list, err := s.store.CampaignUsers(s.Context(), id, after, limit)
	return must(s, list, err)
}

func (s *subject) listSize(id string) int64 {
	s.Helper()
	n, err := s.store.CampaignSize(s.Context(), id)
	return must(s, n, err)
}

func testCampaigns(s *subject) {
	_, err := s.store.Campaign(s.Context(), "a")
	s.expect("one that is not there", store.ErrNotFound, err)
	c := store.Campaign{ID: "a", State: "draft", Plan: []byte("plan \x00\xff"), Notes: []byte("notes"), Next: noon, Cursor: "start", Created: noon - 5, Version: 77, Owner: "x", Until: 9}
	first := s.putCampaign(c, 0)
	want := c
	want.Version, want.Owner, want.Until = first, "", 0
	s.equal("as it was put", want, s.campaign("a"))
	s.reopen()
	s.equal("after a restart", want, s.campaign("a"))
	s.refuses(store.ErrConflict, store.PutCampaign{Campaign: c})
	s.refuses(store.ErrConflict, store.PutCampaign{Campaign: c, If: first + 1})
	s.refuses(store.ErrConflict, store.PutCampaign{Campaign: store.Campaign{ID: "b"}, If: first})

	// The cursor, and when it was created, stay.
	second := s.putCampaign(store.Campaign{ID: "a", State: "running", Plan: []byte("other"), Next: noon + 1, Cursor: "no", Created: 3}, first)
	want = store.Campaign{ID: "a", State: "running", Plan: []byte("other"), Next: noon + 1, Cursor: "start", Created: noon - 5, Version: second}
	s.equal("as it was put again", want, s.campaign("a"))
	if second <= first {
		s.Errorf("after version %d comes %d", first, second)
	}

	// A claim, kept and ended.
	s.equal("before its time", store.CampaignClaimed{Campaign: want}, s.claimCampaign("a", "one", noon, noon+9))
	s.equal("one that is not there", store.CampaignClaimed{}, s.claimCampaign("b", "one", noon, noon+9))
	claimed := s.claimCampaign("a", "one", noon+1, noon+10)
	want.Version, want.Owner, want.Until = claimed.Campaign.Version, "one", noon+10
	s.equal("claimed", store.CampaignClaimed{OK: true, Campaign: want}, claimed)
	s.equal("while another has it", store.CampaignClaimed{Campaign: want}, s.claimCampaign("a", "two", noon+9, noon+20))
	keep := want
	keep.Notes, keep.Until = []byte("half"), noon+30
	kept := s.do(store.PutCampaign{Campaign: keep, If: want.Version, Keep: true})[0].(store.CampaignPut).Version
	keep.Version = kept
	s.equal("kept", keep, s.campaign("a"))
	s.refuses(store.ErrConflict, store.PutCampaign{Campaign: keep, If: want.Version, Keep: true})
	second2 := s.claimCampaign("a", "two", noon+30, noon+40)
	if !second2.OK || second2.Campaign.Owner != "two" {
		s.Errorf("when the claim has ended it gave %+v", second2)
	}
	s.refuses(store.ErrConflict, store.PutCampaign{Campaign: keep, If: kept})
	done := s.putCampaign(store.Campaign{ID: "a", State: "done"}, second2.Campaign.Version)
	s.equal("done", store.Campaign{ID: "a", State: "done", Cursor: "start", Created: noon - 5, Version: done}, s.campaign("a"))
	s.equal("what is done is not claimed", false, s.claimCampaign("a", "one", noon*2, noon*2+1).OK)

	// Deleted and put anew it has another version.
	s.equal("deleted", store.Result(store.CampaignDeleted{}), s.do(store.DeleteCampaign{ID: "a"})[0])
	s.refuses(store.ErrNotFound, store.DeleteCampaign{ID: "a"})
	s.reopen()
	if again := s.putCampaign(store.Campaign{ID: "a"}, 0); again <= done {
		s.Errorf("put anew after version %d it gave %d", done, again)
	}
}

func testCampaignPages(s *subject) {
	var ids []string
	for i := range 25 {
		id := fmt.Sprintf("c%02d\xff", i)
		ids = append(ids, id)
		s.putCampaign(store.Campaign{ID: id, State: []string{"draft", "running"}[i%2], Next: int64(1000 - i%3)}, 0)
	}
	slices.Reverse(ids)
	for _, limit := range []int{1, 4, 25, 100} {
		for _, state := range []string{"", "draft", "running", "none"} {
			var got []string
			for before := ""; ; before = got[len(got)-1] {
				page := s.campaigns(state, before, limit)
				if got = append(got, page...); len(page) < limit {
					break
				}
			}
			want := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
				return state != "" && state != map[bool]string{true: "draft", false: "running"}[id[2]%2 == 0]
			})
			if fmt.Sprint(got) != fmt.Sprint(want) {
				s.Errorf("%s by %d: %q, want %q", state, limit, got, want)
			}
		}
	}
	due := s.dueCampaigns(100)
	if len(due) != 25 || due[0] != (store.DueSchedule{Name: "c02\xff", At: 998}) || due[24] != (store.DueSchedule{Name: "c24\xff", At: 1000}) {
		s.Errorf("due are %v", due)
	}
	claimed := s.claimCampaign("c02\xff", "one", 1000, 2000)
	s.equal("the first then", store.DueSchedule{Name: "c05\xff", At: 998}, s.dueCampaigns(1)[0])
	s.equal("the claimed one is the last", store.DueSchedule{Name: "c02\xff", At: 2000}, s.dueCampaigns(100)[24])
	s.putCampaign(store.Campaign{ID: "c02\xff"}, claimed.Campaign.Version)
	s.equal("due are the others", 24, len(s.dueCampaigns(100)))
}

func testCampaignLists(s *subject) {
	add := func(id string, users ...string) int64 {
		s.Helper()
		return s.do(store.AddToCampaign{ID: id, Users: users})[0].(store.CampaignList).Count
	}
	s.refuses(store.ErrNotFound, store.AddToCampaign{ID: "a", Users: []string{"u"}})
	s.equal("of one that is not there", []int64{0, 0}, []int64{s.listSize("a"), int64(len(s.listed("a", "", 9)))})
	version := s.putCampaign(store.Campaign{ID: "a", Next: 1}, 0)
	s.putCampaign(store.Campaign{ID: "b"}, 0)
	s.equal("counts", []int64{3, 3, 4, 1}, []int64{add("a", "b", "a", "\x00\xff", "a"), add("a", "a"), add("a", "\xff", "b"), add("b", "b")})
	s.equal("versions stay", version, s.campaign("a").Version)
	s.equal("by bytes", []string{"\x00\xff", "a", "b", "\xff"}, s.listed("a", "", 9))
	s.equal("a page", []string{"b"}, s.listed("a", "a", 1))
	// A group that fails has listed nobody.
	s.refuses(store.ErrNotFound, store.AddToCampaign{ID: "a", Users: []string{"new"}}, store.AddToCampaign{ID: "c", Users: []string{"new"}})
	s.equal("as before", int64(4), s.listSize("a"))
	s.reopen()

	// Twelve add to one list at once, each half of the users.
	const callers, each = 12, 2000
	var wait sync.WaitGroup
	for c := range callers {
		wait.Go(func() {
			var users []string
			for i := range each {
				users = append(users, fmt.Sprintf("user %05d", (i*2+c%2)*5))
			}
			slices.Reverse(users[:c*100])
			for part := range slices.Chunk(users, 500) {
				if _, err := s.store.Do(context.Background(), store.AddToCampaign{ID: "a", Users: part}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wait.Wait()
	s.equal("all are in it once", int64(2*each+4), s.listSize("a"))
	var all []string
	for after := ""; ; after = all[len(all)-1] {
		page := s.listed("a", after, 999)
		if all = append(all, page...); len(page) < 999 {
			break
		}
	}
	if len(all) != 2*each+4 || !slices.IsSorted(all) || len(slices.Compact(all)) != len(all) {
		s.Errorf("read in pages there are %d", len(all))
	}

	// Deletion goes step by step; nobody can claim it meanwhile.
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprint("x", i)
	}
	add("a", many...)
	if got := s.do(store.DeleteCampaign{ID: "a"})[0].(store.CampaignDeleted); !got.More {
		s.Error("all was deleted at once")
	}
	s.equal("claimed meanwhile", false, s.claimCampaign("a", "one", noon, noon+1).OK)
	s.equal("left", int64(2*each+4), s.listSize("a"))
	s.reopen()
	if got := s.do(store.DeleteCampaign{ID: "a"})[0].(store.CampaignDeleted); got.More {
		s.Error("there is more")
	}
	_, err := s.store.Campaign(s.Context(), "a")
	s.expect("afterwards", store.ErrNotFound, err)
	s.equal("the list of the other", []string{"b"}, s.listed("b", "", 9))
	s.putCampaign(store.Campaign{ID: "a"}, 0)
	s.equal("the list of a new one", 0, len(s.listed("a", "", 9)))
}

// Sixteen want the same campaigns: each is given to one, again and again, and who
// has it keeps it against all who had it before.
func testCampaignRace(s *subject) {
	const racers, campaigns, rounds = 16, 6, 4
	for i := range campaigns {
		s.putCampaign(store.Campaign{ID: fmt.Sprint(i), Next: noon}, 0)
	}
	for round := range int64(rounds) {
		now := noon + round*100
		var given [campaigns]atomic.Int64
		var wait sync.WaitGroup
		for r := range racers {
			wait.Go(func() {
				owner := fmt.Sprint("racer ", r)
				for n := range campaigns {
					i := (n + r) % campaigns
					id := fmt.Sprint(i)
					results, err := s.store.Do(context.Background(), store.ClaimCampaign{ID: id, Owner: owner, Now: now, Until: now + 100})
					if err != nil {
						s.Error(err)
						return
					}
					got := results[0].(store.CampaignClaimed)
					if !got.OK {
						continue
					}
					given[i].Add(1)
					// Half of them end well; of the others the claim runs out.
					if i%2 == 0 {
						if _, err := s.store.Do(context.Background(), store.PutCampaign{Campaign: store.Campaign{ID: id, Next: now + 100}, If: got.Campaign.Version}); err != nil {
							s.Error(err)
						}
					}
				}
			})
		}
		wait.Wait()
		for i := range given {
			if n := given[i].Load(); n != 1 {
				s.Errorf("round %d: campaign %d was given to %d", round, i, n)
			}
		}
	}
}

// stepAt is where a campaign is after so many steps.
func stepAt(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// A campaign and many others push to the same users: everybody is told of in the order
// of his inbox (the recorder looks), steps are taken once, and users change meanwhile.
func testCampaignAmongPushes(s *subject) {
	const steps, users, callers = 12, 30, 6
	version := s.putCampaign(store.Campaign{ID: "c"}, 0)
	to := make([]store.Recipient, users)
	for i := range to {
		to[i].User = fmt.Sprint("user ", i)
	}
	content := func() store.Content {
		return store.Content{ID: id.Message(time.UnixMilli(noon)), Time: noon, Data: []byte("1")}
	}
	var wait sync.WaitGroup
	var taken, pushed atomic.Int64
	for range 3 { // who work on the campaign at the same time
		wait.Go(func() {
			for i := range steps {
				step := &store.Step{Campaign: "c", Version: version, From: stepAt(i), To: stepAt(i + 1)}
				_, err := s.store.Do(context.Background(), store.Push{Content: content(), Now: noon, To: to, Step: step})
				switch {
				case err == nil:
					taken.Add(1)
				case !errors.Is(err, store.ErrConflict):
					s.Error(err)
				}
			}
		})
	}
	for c := range callers {
		wait.Go(func() {
			for i := range 20 {
				user := fmt.Sprint("user ", (i*7+c)%users)
				if _, err := s.store.Do(context.Background(), store.Push{Content: content(), Now: noon, To: []store.Recipient{{User: user}}}); err != nil {
					s.Error(err)
				}
				pushed.Add(1)
				if _, err := s.store.Do(context.Background(), putUsers(true, noon, user, fmt.Sprintf(`{"c%d":%d}`, c, i)), store.MuteCategory{User: user, Category: "x", Muted: i%2 == 0, Time: noon}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wait.Wait()
	// Who is behind the others finds each step taken, who is ahead none that it may take.
	if n := taken.Load(); n < 1 || n > steps {
		s.Errorf("%d of %d steps were taken", n, steps)
	}
	s.equal("the cursor", stepAt(int(taken.Load())), s.campaign("c").Cursor)
	s.equal("the version", version, s.campaign("c").Version)
	told := 0
	for _, p := range s.told.takePushes() {
		told += len(p.Rows)
	}
	s.equal("told of", int(taken.Load())*users+int(pushed.Load()), told)
}
