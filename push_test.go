package skein_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// What is pushed comes to those it is for, on all their devices and through every door,
// and to nobody else; what push answers, what the records say and what devices saw agree.
func TestAPushReachesThoseItIsFor(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, cfg())
		s.verb("users.put", `{"users":[
			{"id":"ann","attributes":{"city":"Paris","level":12,"tags":["vip","beta"]}},
			{"id":"bob","attributes":{"city":"Rome","level":30}},
			{"id":"carl","attributes":{"city":"Paris","level":3,"blocked":true}}]}`)
		s.verb("members.add", `{"channel":"team:1","users":["bob","dora","away"]}`)
		devices := map[string]*device{
			"ann": s.device("ann", "phone"), "ann's other": s.device("ann", "desk"),
			"carl": s.deviceAt("sse", "carl", ""), "eve": s.device("eve", ""),
		}
		for _, name := range []string{"bob", "dora"} {
			devices[name] = s.deviceAt("poll", name, "")
		}
		want := map[string][]string{}
		for i, tt := range []struct {
			to   string
			want string
		}{
			{`{"users":["ann","bob","ann","stranger"]}`, "ann bob stranger"},
			{`{"users":[]}`, ""},
			{`{"where":{"field":"/city","eq":"Paris"}}`, "ann carl"},
			{`{"where":{"all":[{"field":"/city","in":["Paris","Rome"]},{"field":"/level","gte":10},{"not":{"field":"/blocked","eq":true}}]}}`, "ann bob"},
			{`{"where":{"any":[{"tag":"vip"},{"field":"/level","lt":5}]}}`, "ann carl"},
			{`{"where":{"field":"/city","eq":"Oslo"}}`, ""},
			{`{"where":{}}`, "ann bob carl"},
			{`{"members":"team:1"}`, "away bob dora"},
			{`{"members":"team:none"}`, ""},
		} {
			data := fmt.Sprint("push ", i)
			r := s.pushes(tt.to, data, "")
			list := strings.Fields(tt.want)
			if int(r.Audience) != len(list) || r.ID == "" {
				t.Errorf("%s: the answer is %+v, want an audience of %d", tt.to, r, len(list))
			}
			expect := map[string]string{}
			for _, user := range list {
				want[user] = append(want[user], data)
				expect[user] = "delivered"
			}
			for name, d := range devices {
				if d.user != name || !slices.Contains(list, name) {
					continue
				}
				msgs := d.gets(len(want[name]))
				if last := msgs[len(msgs)-1]; last.name() != r.ID || d.acks(last) != 1 {
					t.Errorf("%s: %s got %+v, want the message %s", tt.to, name, last, r.ID)
				}
			}
			for _, user := range []string{"away", "stranger"} {
				if expect[user] != "" {
					expect[user] = "queued"
				}
			}
			same(t, tt.to, s.outcomes(r.ID), expect)
		}
		want["ann's other"] = want["ann"]
		for name, d := range devices {
			same(t, name, d.has(), append([]string{}, want[name]...))
			if !rising(seqs(d.msgs)) || len(d.msgs) > 0 && d.msgs[0].Seq != 1 {
				t.Errorf("%s has the seqs %v", name, seqs(d.msgs))
			}
		}
		forEverybody(t, s, devices)
	})
}

// forEverybody pushes to all: those who are there, those who are not, and nobody who is
// heard of later.
func forEverybody(t *testing.T, s *testServer, devices map[string]*device) {
	t.Helper()
	before := s.pushes(`{"all":"users"}`, "for all", "")
	if before.Audience != 7 { // ann, bob, carl, dora, eve, away, stranger
		t.Errorf("got %+v", before)
	}
	for name, d := range devices {
		last := d.gets(len(d.msgs) + 1)
		if f := last[len(last)-1]; f.name() != before.ID || datas(last[len(last)-1:])[0] != "for all" {
			t.Errorf("%s got %+v", name, f)
		}
	}
	same(t, "who has come since", s.device("late", "").has(), []string{})
	after := s.pushes("late stranger", "next", "")
	if late := s.device("late", "").gets(1); late[0].name() != after.ID || late[0].Seq != 1 {
		t.Errorf("who has come since got %+v", late)
	}
	// It was heard of before, because something was pushed to it; now it comes.
	// What is for all has its place since then.
	stranger := s.device("stranger", "")
	same(t, "who was away", datas(stranger.gets(3)), []string{"push 0", "next", "for all"})
	same(t, "the places", seqs(stranger.msgs), []uint64{1, 2, 3})
	var got map[string]string
	eventually(t, "all was sent", func() bool {
		got = s.outcomes(before.ID)
		delete(got, "away") // nobody has looked at that inbox
		return !slices.Contains(slices.Collect(maps.Values(got)), "queued")
	})
	same(t, "what became of it", got, map[string]string{"ann": "sent", "bob": "sent", "carl": "sent", "dora": "sent", "eve": "sent", "stranger": "sent"})
	same(t, "away", s.verb("inbox.list", `{"user":"away"}`)["seq"], 2.0)
	same(t, "away, since it was looked at", s.outcomes(before.ID)["away"], "queued")
}

// A push to many goes on as a campaign: each of them gets it once.
func TestAPushToThousandsReachesEachOnce(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		const many, there = 3000, 20
		s := start(t, cfg())
		list := make([]string, many)
		for i := range list {
			list[i] = fmt.Sprint("user", i)
		}
		devices := make([]*device, there)
		for i := range devices {
			devices[i] = s.device(list[i*many/there], "")
		}
		try := s.pushes(users(list...), "hello", `,"dry_run":true`)
		same(t, "a dry run", []any{try.ID, try.Audience, try.Estimate["online"], try.Estimate["deliver"]}, []any{"", int64(many), float64(there), float64(many)})
		r := s.pushes(users(list...), "hello", `,"key":"one"`)
		if r.Campaign == "" || r.Audience != many {
			t.Fatalf("got %+v", r)
		}
		for _, d := range devices {
			if f := d.gets(1)[0]; f.name() != r.ID || d.acks(f) != 1 {
				t.Errorf("%s got %+v", d.user, f)
			}
		}
		campaign := fmt.Sprintf(`{"id":%q}`, r.Campaign)
		eventually(t, "it is done", func() bool { return s.verb("campaigns.get", campaign)["state"] == "done" })
		c := s.verb("campaigns.get", campaign)
		same(t, "counts", c["counts"], any(map[string]any{"queued": float64(many - there), "delivered": float64(there)}))
		same(t, "progress", []any{c["audience"], c["progress"], c["message"]}, []any{float64(many), float64(many), r.ID})
		again := s.pushes(users(list...), "hello", `,"key":"one"`)
		if again.ID != r.ID || !again.Duplicate {
			t.Errorf("the same again is answered by %+v", again)
		}
		got := s.outcomes(r.ID)
		for i, user := range list {
			want := "queued"
			if i%(many/there) == 0 {
				want = "delivered"
			}
			if got[user] != want {
				t.Fatalf("it is %q for %s, want %s", got[user], user, want)
			}
		}
		if len(got) != many {
			t.Errorf("%d users have a record", len(got))
		}
		for _, d := range devices {
			same(t, d.user, d.has(), []string{"hello"})
		}
	})
}

// A message that was written to a connection is not delivered: it comes to each next
// connection, the same, until a device has acknowledged it.
func TestAMessageIsDeliveredWhenADeviceSaysSo(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, cfg())
		for door := range doors {
			user := "ann-" + door
			phone, desk := s.deviceAt(door, user, "phone"), s.deviceAt(door, user, "desk")
			first, second := s.pushes(user, "first", ""), s.pushes(user, "second", "")
			for _, d := range []*device{phone, desk} {
				msgs := d.gets(2)
				same(t, door+": ids", []string{msgs[0].name(), msgs[1].name()}, []string{first.ID, second.ID})
				same(t, door+": seqs", seqs(msgs), []uint64{1, 2})
			}
			s.became(first.ID, user, "sent")
			phone.leave()
			again := s.deviceAt(door, user, "phone")
			same(t, door+": again", datas(again.gets(2)), []string{"first", "second"})
			same(t, door+": seqs again", seqs(again.msgs), []uint64{1, 2})
			same(t, door+": one is acknowledged", again.acks(again.msgs[0]), 1)
			same(t, door+": twice", again.acks(again.msgs[0]), 0)
			ok := again.must(fmt.Sprintf(`{"type":"ack","channel":"@inbox","messages":["01J0000000000000000000000X",%q,"garbage"]}`, first.ID))
			slices.Sort(ok.Unknown)
			same(t, door+": unknown", ok.Unknown, []string{"01J0000000000000000000000X", "garbage"})
			r := s.records(fmt.Sprintf(`"message":%q`, first.ID))[0]
			if r.ended() != "delivered" || r.Delivered == 0 || door == "websocket" && r.Device != "phone" {
				t.Errorf("%s: the record is %+v", door, r)
			}
			third := s.deviceAt(door, user, "tv")
			same(t, door+": what is left", datas(third.gets(1)), []string{"second"})
			same(t, door+": all up to it", desk.must(`{"type":"ack","seq":2}`).Acked, 1)
			s.pushes(user, "third", "")
			same(t, door+": nothing is left", datas(s.deviceAt(door, user, "new").gets(1)), []string{"third"})
			same(t, door+": in all", []int{len(phone.msgs), len(desk.gets(3)), len(again.gets(3)), len(third.gets(2))}, []int{2, 3, 3, 2})
		}
	})
}

// What nobody acknowledges is sent again to every device, so often and no more, and then
// to who connects.
func TestWhatNobodyAcknowledgesComesAgain(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		const timeout = 700 * time.Millisecond
		c.Push.AckTimeout, c.Push.AckRetries = skein.Duration(timeout), 2
		s := start(t, c)
		phone, desk := s.device("ann", "phone"), s.device("ann", "desk")
		s.pushes("ann", "ignored", "")
		for _, d := range []*device{phone, desk} {
			msgs := d.gets(3)
			same(t, "what comes again", datas(msgs), []string{"ignored", "ignored", "ignored"})
			for i := range 2 {
				if took := msgs[i+1].at.Sub(msgs[i].at); d == phone && took < timeout/2 {
					t.Errorf("it came again after %v", took)
				}
				if msgs[i+1].name() != msgs[i].name() || msgs[i+1].Seq != 1 {
					t.Errorf("got %+v after %+v", msgs[i+1], msgs[i])
				}
			}
		}
		eventually(t, "it is given up", func() bool { return s.metric("skein_push_given_up_total") == 1 })
		// One that is acknowledged by one device comes again to none.
		s.pushes("ann", "seen", "")
		desk.acks(desk.gets(4)[3])
		s.pushes("ann", "ignored, too", "")
		same(t, "the phone", datas(phone.gets(7)), []string{"ignored", "ignored", "ignored", "seen", "ignored, too", "ignored, too", "ignored, too"})
		eventually(t, "it is given up", func() bool { return s.metric("skein_push_given_up_total") == 2 })
		same(t, "the phone", len(phone.has()), 7)
		same(t, "the desk", len(desk.has()), 7)
		tablet := s.device("ann", "tablet")
		same(t, "who connects", datas(tablet.gets(2)), []string{"ignored", "ignored, too"})
		same(t, "acknowledged", tablet.must(`{"type":"ack","seq":3}`).Acked, 2)
		same(t, "nothing is left", s.device("ann", "").has(), []string{})
	})
}

// What has expired does not come, whether it waits or was sent, and an acknowledgement of it
// counts for nothing.
func TestAMessageThatHasExpiredIsGone(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, cfg())
		ann := s.device("ann", "phone")
		brief := fmt.Sprintf(`,"expires":%d`, time.Now().Add(time.Second).UnixMilli())
		r := s.pushes("ann bob", "brief", brief)
		lasting := s.pushes("ann bob", "lasting", `,"expires":"2h"`)
		carl := s.device("carl", "")
		until := time.Now().Add(500 * time.Millisecond)
		missed := s.pushes("carl dora", "missed", fmt.Sprintf(`,"expires":%d`, until.UnixMilli()))
		carl.gets(1)
		eventually(t, "its time is over", func() bool { return time.Now().After(until) })
		// That is noted a little later, and counts at once.
		same(t, "acknowledged at once", carl.acks(carl.msgs...), 0)
		s.verb("inbox.mark", `{"user":"dora","read":1}`)
		s.became(missed.ID, "carl", "expired")
		s.became(missed.ID, "dora", "expired")
		same(t, "at first", datas(ann.gets(2)), []string{"brief", "lasting"})
		eventually(t, "it has expired", func() bool {
			got := s.outcomes(r.ID)
			return got["ann"] == "expired" && got["bob"] == "expired"
		})
		same(t, "acknowledged too late", ann.acks(ann.msgs...), 1)
		same(t, "who comes", datas(s.device("bob", "").gets(1)), []string{"lasting"})
		same(t, "the history", datas(ann.must(`{"type":"history","channel":"@inbox"}`).Messages), []string{"lasting"})
		same(t, "what became of it", s.outcomes(r.ID), map[string]string{"ann": "expired", "bob": "expired"})
		s.became(lasting.ID, "bob", "sent")
	})
}

// recipient is a user with devices that come and go while pushes go on, and read and
// acknowledge what they like. What comes is checked: on each connection seqs rise, and
// each message comes that no device has acknowledged.
type recipient struct {
	s          *testServer
	user, door string

	mu    sync.Mutex      // guards all below
	asked map[uint64]bool // seqs that some device has begun to acknowledge
	acked map[uint64]bool // of which one has heard that they are
	data  map[uint64]string
}

// visit connects, and takes so many messages at most until it has the one with the seq.
// Each n-th is acknowledged together with those before it, by ids or up to the seq.
func (f *recipient) visit(until uint64, most, n int, byIDs bool) error {
	f.mu.Lock()
	over := map[uint64]bool{}
	for seq := range f.acked {
		over[seq] = true
	}
	f.mu.Unlock()
	d, err := f.s.open(f.door, f.user, "")
	if err != nil {
		return err
	}
	defer d.leave()
	taken, last, held := 0, uint64(0), []boxFrame{}
	for taken < most {
		f.mu.Lock()
		done := f.acked[until] && len(f.acked) == int(until)
		f.mu.Unlock()
		if done {
			return nil
		}
		if len(d.msgs) == taken {
			if err := d.pump(); err != nil {
				return fmt.Errorf("%s after %d: %w", f.user, last, err)
			}
			continue
		}
		m := d.msgs[taken]
		taken++
		if err := f.check(m, last, over); err != nil {
			return err
		}
		last = m.Seq
		if held = append(held, m); len(held) < n && m.Seq != until {
			continue
		}
		f.note(f.asked, held)
		frame := ackFrame(held...)
		if !byIDs {
			frame = fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq)
		}
		if a, err := d.request(frame); err != nil || a.Type != "ok" || len(a.Unknown) > 0 {
			return fmt.Errorf("%s is answered by %+v, %w", frame, a, err)
		}
		if f.note(f.acked, held) == int(until) {
			// Whoever of the user is still there waits for something that does not come.
			f.s.verb("publish", fmt.Sprintf(`{"to":{"user":%q},"data":0}`, f.user))
		}
		held = held[:0]
	}
	return nil
}

// note puts seqs into a set and gives its size.
func (f *recipient) note(in map[uint64]bool, list []boxFrame) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range list {
		in[m.Seq] = true
	}
	return len(in)
}

// check checks a message that came after the one with the seq last; over are those that
// were acknowledged before the connection began.
func (f *recipient) check(m boxFrame, last uint64, over map[uint64]bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	data := datas([]boxFrame{m})[0] + " " + m.name()
	switch old, known := f.data[m.Seq]; {
	case known && old != data:
		return fmt.Errorf("%s has %s and %s at seq %d", f.user, old, data, m.Seq)
	case m.Seq <= last:
		return fmt.Errorf("%s got %d after %d", f.user, m.Seq, last)
	case over[m.Seq]:
		return fmt.Errorf("%s got %d, which was acknowledged before", f.user, m.Seq)
	}
	for seq := last + 1; seq < m.Seq; seq++ {
		if !f.asked[seq] {
			return fmt.Errorf("%s got %d after %d, and not %d", f.user, m.Seq, last, seq)
		}
	}
	f.data[m.Seq] = data
	return nil
}

// While pushes go on flat out, devices come and go: what waited comes before what is
// new, all of it in order, and nothing twice to a connection.
func TestWhatWaitsComesBeforeWhatIsNew(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		const authors, each = 3, 80
		const total = authors * each
		s := start(t, cfg())
		var list []*recipient
		names := []string{}
		for door := range doors {
			f := &recipient{s: s, user: "user-" + door, door: door, asked: map[uint64]bool{}, acked: map[uint64]bool{}, data: map[uint64]string{}}
			list, names = append(list, f), append(names, f.user)
		}
		var work sync.WaitGroup
		for _, f := range list {
			for d := range 2 {
				work.Go(func() {
					for visits := 0; len(f.copied()) < total; visits++ {
						most := 5 + (7*visits+11*d)%60
						if err := f.visit(total, most, 1+(visits+d)%9, (visits+d)%2 == 0); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		ids := make([]string, 0, total)
		var mu sync.Mutex
		for a := range authors {
			work.Go(func() {
				for i := range each {
					r := s.verb("push", pushParams(users(names...), fmt.Sprintf("%d-%d", a, i), ""))
					mu.Lock()
					ids = append(ids, r["id"].(string))
					mu.Unlock()
				}
			})
		}
		work.Wait()
		for _, f := range list {
			got := f.copied()
			if len(f.data) != total || len(got) != total {
				t.Fatalf("%s has seen %d and acknowledged %d of %d", f.user, len(f.data), len(got), total)
			}
			next := map[string]int{} // each author's pushes come in their order
			for seq := uint64(1); seq <= total; seq++ {
				author, rest, _ := strings.Cut(f.data[seq], "-")
				if want := fmt.Sprint(next[author], " "); !strings.HasPrefix(rest, want) {
					t.Fatalf("%s has %s at %d, want %s-%s", f.user, f.data[seq], seq, author, want)
				}
				next[author]++
			}
			same(t, f.user+": nothing is left", s.device(f.user, "").has(), []string{})
		}
		for _, id := range ids {
			for _, name := range names {
				if got := s.outcomes(id)[name]; got != "delivered" {
					t.Fatalf("%s is %s for %s", id, got, name)
				}
			}
		}
	})
}

// copied is what was acknowledged.
func (f *recipient) copied() map[uint64]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.acked)
}
