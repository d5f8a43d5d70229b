package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/store"
)

func (s *subject) putSchedule(x store.Schedule) store.SchedulePut {
	s.Helper()
	return s.do(store.PutSchedule{Schedule: x})[0].(store.SchedulePut)
}

func (s *subject) schedule(name string) store.Schedule {
	s.Helper()
	return must1(s, func(name string) (store.Schedule, error) { return s.store.Schedule(s.Context(), name) }, name)
}

func (s *subject) claim(name, owner string, now, until int64) store.ScheduleClaimed {
	s.Helper()
	return s.do(store.ClaimSchedule{Name: name, Owner: owner, Now: now, Until: until})[0].(store.ScheduleClaimed)
}

func (s *subject) finish(c store.FinishSchedule) store.ScheduleFinished {
	s.Helper()
	return s.do(c)[0].(store.ScheduleFinished)
}

func (s *subject) due(limit int) []store.DueSchedule {
	s.Helper()
	return must1(s, func(limit int) ([]store.DueSchedule, error) { return s.store.Due(s.Context(), limit) }, limit)
}

func testSchedules(s *subject) {
	s.expect("one that is not there", store.ErrNotFound, func() error { _, err := s.store.Schedule(s.Context(), "a"); return err }())
	put := s.putSchedule(store.Schedule{Name: "a", Plan: []byte("plan \x00\xff"), State: []byte("state"), Next: noon, Version: 99, Owner: "nobody", Until: 7})
	if !put.Created || put.Version == 0 {
		s.Errorf("the first put gave %+v", put)
	}
	want := store.Schedule{Name: "a", Plan: []byte("plan \x00\xff"), State: []byte("state"), Next: noon, Version: put.Version}
	s.equal("as it was put", want, s.schedule("a"))
	s.reopen()
	s.equal("after a restart", want, s.schedule("a"))
	// A put ends a claim and replaces everything.
	claimed := s.claim("a", "one", noon, noon+10)
	again := s.putSchedule(store.Schedule{Name: "a", Next: noon + 1})
	if again.Created || again.Version <= claimed.Schedule.Version || claimed.Schedule.Version <= put.Version {
		s.Errorf("versions are %d, %d, %d", put.Version, claimed.Schedule.Version, again.Version)
	}
	s.equal("as it was put again", store.Schedule{Name: "a", Next: noon + 1, Version: again.Version}, s.schedule("a"))
	// With a condition.
	for _, tt := range []struct {
		name string
		is   uint64
		want error
	}{
		{"a", 0, store.ErrConflict}, {"a", put.Version, store.ErrConflict}, {"a", again.Version + 1, store.ErrConflict}, {"a", again.Version, nil},
		{"b", 5, store.ErrConflict}, {"b", 1<<64 - 1, store.ErrConflict}, {"b", 0, nil}, {"b", 0, store.ErrConflict},
	} {
		c := store.PutSchedule{Schedule: store.Schedule{Name: tt.name, Plan: []byte("conditional")}, If: &tt.is}
		if tt.want != nil {
			s.refuses(tt.want, c)
		} else if got := s.do(c)[0].(store.SchedulePut); got.Created != (tt.name == "b") {
			s.Errorf("if %s is %d it gave %+v", tt.name, tt.is, got)
		}
	}
	// Deleted and put anew it has another version.
	last := s.schedule("b").Version
	s.equal("deleted", store.Result(store.ScheduleDeleted{}), s.do(store.DeleteSchedule{Name: "b"})[0])
	s.refuses(store.ErrNotFound, store.DeleteSchedule{Name: "b"})
	s.reopen()
	if got := s.putSchedule(store.Schedule{Name: "b"}); !got.Created || got.Version <= last {
		s.Errorf("put anew after version %d it gave %+v", last, got)
	}
	if st := s.stats(); st.Schedules != 2 {
		s.Errorf("it has %+v", st)
	}
}

func testClaims(s *subject) {
	s.equal("one that is not there", store.ScheduleClaimed{}, s.claim("a", "one", noon, noon+1))
	s.putSchedule(store.Schedule{Name: "a", Plan: []byte("plan"), Next: noon})
	s.putSchedule(store.Schedule{Name: "never"})
	never := s.schedule("never")
	s.equal("one that is never due", store.ScheduleClaimed{Schedule: never}, s.claim("never", "one", noon*2, noon*2+1))
	early := s.schedule("a")
	s.equal("before it is due", store.ScheduleClaimed{Schedule: early}, s.claim("a", "one", noon-1, noon+9))
	first := s.claim("a", "one", noon, noon+10)
	want := store.Schedule{Name: "a", Plan: []byte("plan"), Next: noon, Version: first.Schedule.Version, Owner: "one", Until: noon + 10}
	s.equal("when it is due", store.ScheduleClaimed{OK: true, Schedule: want}, first)
	s.equal("as it is kept", want, s.schedule("a"))
	s.equal("while another has it", store.ScheduleClaimed{Schedule: want}, s.claim("a", "two", noon+9, noon+20))
	s.equal("while oneself has it", store.ScheduleClaimed{Schedule: want}, s.claim("a", "one", noon+9, noon+20))
	second := s.claim("a", "two", noon+10, noon+20)
	if !second.OK || second.Schedule.Version <= want.Version || second.Schedule.Owner != "two" {
		s.Errorf("when the claim has ended it gave %+v", second)
	}
	// Who has lost the claim changes nothing.
	before := s.schedule("a")
	for _, c := range []store.FinishSchedule{
		{Name: "a", Version: first.Schedule.Version, Next: noon + 99, State: []byte("late")},
		{Name: "a", Version: first.Schedule.Version, Next: noon + 99, Until: noon + 99},
		{Name: "a", Version: early.Version}, {Name: "a", Version: 0}, {Name: "a", Version: 1<<64 - 1}, {Name: "b", Version: first.Schedule.Version}, {Name: "b"},
		{Name: "never", Version: never.Version},
	} {
		s.equal("after the claim was lost", store.ScheduleFinished{}, s.finish(c))
	}
	s.equal("after those", []store.Schedule{before, never}, []store.Schedule{s.schedule("a"), s.schedule("never")})
	// The end of the lease alone loses nothing, and the claim can be kept.
	kept := s.finish(store.FinishSchedule{Name: "a", Version: second.Schedule.Version, Next: noon + 1, State: []byte("half"), Until: noon + 40})
	want = store.Schedule{Name: "a", Plan: []byte("plan"), State: []byte("half"), Next: noon + 1, Version: kept.Version, Owner: "two", Until: noon + 40}
	s.equal("kept", want, s.schedule("a"))
	if got := s.finish(store.FinishSchedule{Name: "a", Version: second.Schedule.Version}); got.OK || !kept.OK || kept.Version <= second.Schedule.Version {
		s.Errorf("keeping gave %+v, the old version then %+v", kept, got)
	}
	done := s.finish(store.FinishSchedule{Name: "a", Version: kept.Version, Next: noon + 50})
	s.equal("done", store.Schedule{Name: "a", Plan: []byte("plan"), Next: noon + 50, Version: done.Version}, s.schedule("a"))
	// A put while it is claimed takes it away.
	third := s.claim("a", "three", noon+50, noon+60)
	s.putSchedule(store.Schedule{Name: "a", Plan: []byte("new"), Next: noon + 70})
	s.equal("finished after a put", store.ScheduleFinished{}, s.finish(store.FinishSchedule{Name: "a", Version: third.Schedule.Version}))
}

func testDue(s *subject) {
	if got := s.due(5); len(got) > 0 {
		s.Errorf("due are %v", got)
	}
	for _, x := range []store.Schedule{
		{Name: "d", Next: noon + 2}, {Name: "b", Next: noon + 1}, {Name: "\xff", Next: noon + 1}, {Name: "never"}, {Name: "B", Next: noon + 1}, {Name: "z", Next: 1},
	} {
		s.putSchedule(x)
	}
	want := []store.DueSchedule{{Name: "z", At: 1}, {Name: "B", At: noon + 1}, {Name: "b", At: noon + 1}, {Name: "\xff", At: noon + 1}, {Name: "d", At: noon + 2}}
	for limit := range len(want) + 2 {
		if limit > 0 {
			s.equal(fmt.Sprint("with the limit ", limit), want[:min(limit, len(want))], s.due(limit))
		}
	}
	// A claim moves it, to the later of the two times; its end moves it back.
	claimed := s.claim("z", "one", noon, noon+9)
	s.claim("b", "one", noon+1, noon+8)
	s.equal("claimed", []store.DueSchedule{{Name: "B", At: noon + 1}, {Name: "\xff", At: noon + 1}, {Name: "d", At: noon + 2}, {Name: "b", At: noon + 8}, {Name: "z", At: noon + 9}}, s.due(9))
	kept := s.finish(store.FinishSchedule{Name: "z", Version: claimed.Schedule.Version, Next: noon + 11, Until: noon + 10})
	s.equal("kept", store.DueSchedule{Name: "z", At: noon + 11}, s.due(9)[4])
	s.finish(store.FinishSchedule{Name: "z", Version: kept.Version, Next: noon})
	s.equal("done", store.DueSchedule{Name: "z", At: noon}, s.due(1)[0])
	last := s.claim("z", "one", noon, noon+1)
	s.finish(store.FinishSchedule{Name: "z", Version: last.Schedule.Version})
	s.do(store.DeleteSchedule{Name: "d"})
	s.reopen()
	s.equal("never again, and deleted", []store.DueSchedule{{Name: "B", At: noon + 1}, {Name: "\xff", At: noon + 1}, {Name: "b", At: noon + 8}}, s.due(9))
}

// Sixteen want the same schedules: each is given to one, again and again.
func testClaimRace(s *subject) {
	const racers, schedules, rounds = 16, 12, 4
	var group []store.Command
	for i := range schedules {
		group = append(group, store.PutSchedule{Schedule: store.Schedule{Name: fmt.Sprint(i), Next: noon}})
	}
	s.do(group...)
	for round := range int64(rounds) {
		now := noon + round*100
		var given [schedules]atomic.Int64
		var finished atomic.Int64
		var wait sync.WaitGroup
		for r := range racers {
			wait.Go(func() {
				owner := fmt.Sprint("racer ", r)
				for n := range schedules {
					i := (n + r) % schedules
					results, err := s.store.Do(context.Background(), store.ClaimSchedule{Name: fmt.Sprint(i), Owner: owner, Now: now, Until: now + 100})
					if err != nil {
						s.Error(err)
						return
					}
					got := results[0].(store.ScheduleClaimed)
					if got.OK != (got.Schedule.Owner == owner) {
						s.Errorf("%s got %+v", owner, got)
					}
					// Half of them end well; of the others the claim runs out.
					if got.OK {
						given[i].Add(1)
						if i%2 == 0 {
							results, err := s.store.Do(context.Background(), store.FinishSchedule{Name: fmt.Sprint(i), Version: got.Schedule.Version, Next: now + 100})
							if err != nil || !results[0].(store.ScheduleFinished).OK {
								s.Errorf("finishing gave %v, %v", results, err)
							}
							finished.Add(1)
						}
					}
				}
			})
		}
		wait.Wait()
		for i := range given {
			if n := given[i].Load(); n != 1 {
				s.Errorf("round %d: schedule %d was given to %d", round, i, n)
			}
		}
		if n := finished.Load(); n != schedules/2 {
			s.Errorf("round %d: %d were finished", round, n)
		}
	}
}
