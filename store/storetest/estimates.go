package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

func (s *subject) estimate(q store.EstimateQuery) store.Estimate {
	s.Helper()
	return must1(s, func(q store.EstimateQuery) (store.Estimate, error) { return s.store.Estimate(s.Context(), q) }, q)
}

// An estimate says what a push would do: who has muted the category, who sleeps, and
// whom a cap holds back.
func testEstimate(s *subject) {
	at := time.Date(2027, 3, 10, 7, 30, 0, 0, time.UTC).UnixMilli() // 8:30 in Berlin, 15:30 in Shanghai
	policy := fatigue.Policy{Category: "news", Mutable: true, Chain: []fatigue.Level{{Category: "news", Caps: []fatigue.Cap{{Per: "day", Max: 1}}}},
		Quiet: &fatigue.Quiet{From: 22 * 60, To: 8 * 60}}
	s.equal("of nobody", store.Estimate{}, s.estimate(store.EstimateQuery{Everyone: true, Policy: policy, Now: at}))
	put := store.PutUsers{Time: noon}
	for i := range 60 {
		zone := []string{"Europe/Berlin", "Asia/Shanghai", "nowhere"}[i%3]
		put.Users = append(put.Users, store.UserPut{User: fmt.Sprint("user ", i), Attributes: fmt.Appendf(nil, `{"tz":%q,"i":%d}`, zone, i)})
	}
	s.do(put, store.MuteCategory{User: "user 0", Category: "news", Muted: true, Time: noon}, store.MuteCategory{User: "user 1", Category: "other", Muted: true, Time: noon},
		store.MuteCategory{User: "nothing is known", Category: "news", Muted: true, Time: noon})
	// Three have had theirs today, one of them in a zone where that is not known.
	push := store.Push{Content: store.Content{ID: id.Message(time.UnixMilli(at)), Time: at, Data: []byte("1"), Category: "news", Policy: policy}, Now: at - 60_000, Zone: "Asia/Tokyo"}
	for _, i := range []int{3, 4, 5} {
		push.To = append(push.To, store.Recipient{User: fmt.Sprint("user ", i)})
	}
	s.do(push)
	rule := "news: 1 per day"
	for _, tt := range []struct {
		what string
		q    store.EstimateQuery
		want store.Estimate
	}{
		// In UTC it is 7:30, which is quiet, and in Tokyo it is not.
		{"everybody", store.EstimateQuery{Everyone: true}, store.Estimate{Audience: 61, Muted: 2, Quiet: 20, Capped: map[string]int64{rule: 2}}},
		{"in another default zone", store.EstimateQuery{Everyone: true, Zone: "Asia/Tokyo"}, store.Estimate{Audience: 61, Muted: 2, Capped: map[string]int64{rule: 3}}},
		{"who has attributes", store.EstimateQuery{}, store.Estimate{Audience: 60, Muted: 1, Quiet: 20, Capped: map[string]int64{rule: 2}}},
		{"some", store.EstimateQuery{Where: &store.Filter{Field: "/i", Lt: json.RawMessage("5")}}, store.Estimate{Audience: 5, Muted: 1, Quiet: 1, Capped: map[string]int64{rule: 2}}},
		{"by name", store.EstimateQuery{Users: []string{"user 0", "user 2", "user 3", "user 3", "nobody"}}, store.Estimate{Audience: 4, Muted: 1, Quiet: 2, Capped: map[string]int64{rule: 1}}},
		{"no names", store.EstimateQuery{Users: []string{}}, store.Estimate{}},
		{"everybody though there are names", store.EstimateQuery{Users: []string{"user 0"}, Everyone: true, Zone: "Asia/Tokyo"}, store.Estimate{Audience: 61, Muted: 2, Capped: map[string]int64{rule: 3}}},
	} {
		tt.q.Policy, tt.q.Now = policy, at
		s.equal(tt.what, tt.want, s.estimate(tt.q))
	}
	s.equal("without a category", store.Estimate{Audience: 61}, s.estimate(store.EstimateQuery{Everyone: true, Now: at}))
	s.equal("and nothing was counted", store.Estimate{Audience: 60, Muted: 1, Quiet: 20, Capped: map[string]int64{rule: 2}}, s.estimate(store.EstimateQuery{Policy: policy, Now: at}))

	counts, user, err := s.store.Counts(s.Context(), "user 4")
	must(s, counts, err)
	s.userIs("the user", store.User{User: "user 4", Attributes: []byte(`{"tz":"Asia/Shanghai","i":4}`), Zone: "Asia/Shanghai", Created: noon, Changed: noon}, user)
	state, err := fatigue.Decode(counts)
	must(s, state, err)
	shanghai, _ := fatigue.Zone("Asia/Shanghai")
	if used := state.Used(&policy, shanghai, time.UnixMilli(at)); len(used) != 1 || used[0].Used != 1 {
		s.Errorf("of user 4 was used %+v", used)
	}
	if counts, user, err := s.store.Counts(s.Context(), "nobody"); len(counts) > 0 || user.N != 0 || err != nil {
		s.Errorf("of nobody: %q, %+v, %v", counts, user, err)
	}
}

// More people than are gone through at once add up.
func testEstimateMany(s *subject) {
	const users = 6_000
	for from := 0; from < users; from += 1000 {
		put := store.PutUsers{Time: noon}
		for i := from; i < from+1000; i++ {
			put.Users = append(put.Users, store.UserPut{User: fmt.Sprint(i), Attributes: fmt.Appendf(nil, `{"third":%v}`, i%3 == 0)})
		}
		s.do(put)
	}
	third := &store.Filter{Field: "/third", Eq: json.RawMessage("true")}
	s.equal("everybody", int64(users), s.estimate(store.EstimateQuery{Everyone: true, Now: noon}).Audience)
	s.equal("a third", int64(users+2)/3, s.estimate(store.EstimateQuery{Where: third, Now: noon}).Audience)
	s.equal("a third, counted", int64(users+2)/3, s.countUsers(third))
	got := s.audience(third, 1500)
	if len(got) != (users+2)/3 || got[0] != "0" || got[len(got)-1] != "5997" {
		s.Errorf("the audience has %d", len(got))
	}
}

// Who is deleted leaves nothing, and what was open counts as failed.
func testUserDeleted(s *subject) {
	s.putUsers(false, noon, "ann", `{"tags":["x"]}`, "bob", `{}`)
	push := func(id string, users ...string) {
		p := store.Push{Content: store.Content{ID: id, Time: noon, Data: []byte("1")}, Now: noon}
		for _, u := range users {
			p.To = append(p.To, store.Recipient{User: u})
		}
		s.do(p)
	}
	first, second := id.Message(time.UnixMilli(noon)), id.Message(time.UnixMilli(noon+1))
	push(first, "ann", "bob", "carl")
	push(second, "ann")
	s.do(store.Settle{Now: noon + 5, Settlements: []store.Settlement{{User: "ann", Seq: 1, State: store.Sent, Time: noon + 5}, {User: "bob", Seq: 1, State: store.Delivered, Time: noon + 5}}})
	s.equal("deleted", store.Result(store.UsersDeleted{Count: 3}), s.do(store.DeleteUsers{Users: []string{"carl", "nobody", "ann", "bob"}, Time: noon + 6})[0])
	list, err := s.store.PushedMessages(s.Context(), first, second)
	must(s, list, err)
	s.equal("the first", store.Totals{Delivered: 1, Failed: 2}, list[0].Totals)
	s.equal("the second", store.Totals{Failed: 1}, list[1].Totals)
	s.equal("nobody is left", make([]store.User, 3), s.lookUsers("ann", "bob", "carl"))
	s.equal("nor a tag", int64(0), s.countUsers(&store.Filter{Tag: "x"}))
	page, err := s.store.ReadInbox(s.Context(), store.InboxQuery{User: "ann", Limit: 9, Now: noon + 7})
	must(s, page, err)
	records, err := s.store.Records(s.Context(), store.RecordQuery{Limit: 9})
	must(s, records, err)
	if len(page.Items) > 0 || len(records.Records) > 0 || page.Inbox.N != 0 {
		s.Errorf("left are %+v and %+v", page, records)
	}
	s.putUsers(false, noon+8, "ann", `{}`)
	page, err = s.store.ReadInbox(s.Context(), store.InboxQuery{User: "ann", Limit: 9, Now: noon + 9})
	must(s, page, err)
	if len(page.Items) > 0 || page.Inbox.Top != 0 {
		s.Errorf("anew there are %+v", page)
	}
}
