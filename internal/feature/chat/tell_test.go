package chat

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/test/sessiontest"
)

// brief is a conversation frame without what differs from run to run.
func brief(f map[string]any) map[string]any {
	if last, there := f["last"].(map[string]any); there {
		delete(last, "id")
	}
	return f
}

func TestFollowersAreToldOfMessages(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob", "eve")
	w.speak("team:1", "ann")
	ann, phone, pad, idle, kim := w.follow("ann", ""), w.follow("bob", "phone"), w.follow("bob", "pad"), w.User("eve", ""), w.follow("kim", "")
	w.speak("team:1", "eve", "ann")
	for _, c := range []*sessiontest.Client{ann, phone, pad} {
		same(t, brief(c.Expect("conversation")), `{"type":"conversation","channel":"team:1","seq":2,
			"last":{"seq":2,"event":"message","data":2,"from":{"user":"eve"},"mentions":["ann"],"time":10002},"time":10002,"members":3}`)
	}
	w.quiet(ann, phone, pad, idle, kim)

	phone.Do(`{"type":"conversations","live":false}`)
	pad.Closed(protocol.CloseNormal, "")
	w.speak("team:1", "")
	same(t, brief(ann.Expect("conversation")), `{"type":"conversation","channel":"team:1","seq":3,
		"last":{"seq":3,"event":"message","data":3,"time":10003},"time":10003,"members":3}`)
	w.quiet(ann, phone, pad, idle, kim)
	ann.Do(`{"type":"conversations","limit":1}`) // reading says nothing about following
	if n := w.Feature.Metrics().Followers.Load(); n != 2 {
		t.Errorf("%d connections follow, want those of ann and kim", n)
	}
}

func TestADirectConversationBeginsInBothLists(t *testing.T) {
	w := chatWorld(t)
	ann, bob, eve := w.follow("ann", ""), w.follow("bob", ""), w.follow("eve", "")
	w.speak("dm:ann:bob", "ann")
	for c, want := range map[*sessiontest.Client]string{
		ann: `{"kind":"direct","role":"member","seq":1,"read":1,"unread":0,"members":2,"peer":{"user":"bob","read":0,"delivered":0,"online":true}}`,
		bob: `{"kind":"direct","role":"member","seq":1,"read":0,"unread":1,"members":2,"peer":{"user":"ann","read":1,"delivered":1,"online":true}}`,
	} {
		f := c.Expect("conversation")
		if _, whole := f["role"]; !whole { // what is said may be told before
			same(t, pick(f, "channel", "seq"), `{"channel":"dm:ann:bob","seq":1}`)
			f = c.Expect("conversation")
		}
		same(t, pick(f, "kind", "role", "seq", "read", "unread", "members", "peer"), want)
	}
	w.quiet(ann, bob, eve)
}

func TestQuickMessagesAreToldTogether(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob")
	ann, bob := w.follow("ann", ""), w.follow("bob", "")
	const count = 400
	for i := range count {
		w.speak("team:1", []string{"ann", "bob"}[i%2])
	}
	w.settled()
	for _, c := range []*sessiontest.Client{ann, bob} {
		frames, last, read := 0, 0.0, map[any]float64{}
		for c.Out.Waiting() > 0 {
			f := c.Next()
			switch f["type"] {
			case "conversation":
				frames++
				if seq := f["seq"].(float64); seq <= last {
					t.Errorf("%v comes after %v", seq, last)
				} else {
					last = seq
				}
			case "mark":
				read[f["user"]] = f["read"].(float64)
			}
		}
		if frames == 0 || frames > count/4 || last != count {
			t.Errorf("%d frames for %d messages, the last one about %v", frames, count, last)
		}
		// Who has written has read: where another's message hides that, a mark says it.
		if c == ann && read["ann"] != count-1 {
			t.Errorf("ann is told that she has read %v, want %d", read["ann"], count-1)
		}
	}
	if w.Feature.Metrics().Coalesced.Load() == 0 {
		t.Error("nothing is counted as told together")
	}
}

func TestEditsAndRecallsOfTheNewestMessageAreTold(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob")
	w.speak("team:1", "ann")
	w.speak("team:1", "bob")
	ann := w.follow("ann", "")
	w.do(store.EditMessage{Channel: "team:1", Seq: 1, Event: "message", Data: []byte(`"old"`), Time: 5}) // not the newest
	w.quiet(ann)
	w.do(store.EditMessage{Channel: "team:1", Seq: 2, Event: "message", Data: []byte(`"new"`), Time: 5})
	same(t, brief(ann.Expect("conversation")), `{"type":"conversation","channel":"team:1","seq":2,
		"last":{"seq":2,"event":"message","data":"new","from":{"user":"bob"},"edited":true,"time":10002},"time":10002,"members":2}`)
	w.quiet(ann)

	// One who has come since must not see it.
	w.do(store.Admit{Channel: "team:1", Users: []string{"eve"}, Role: store.RoleMember, Time: 2000})
	eve := w.follow("eve", "")
	w.do(store.EditMessage{Channel: "team:1", Seq: 2, Event: "message", Data: []byte(`"newer"`), Time: 6})
	ann.Expect("conversation")
	w.quiet(ann, eve)
	w.do(store.Recall{Channel: "team:1", Seq: 2})
	same(t, brief(ann.Expect("conversation")), `{"type":"conversation","channel":"team:1","seq":2,"last":{"seq":2,"recalled":true,"time":10002},"time":10002,"members":3}`)
	w.quiet(ann, eve)
}

func TestChangesOfMembershipsAreTold(t *testing.T) {
	w := chatWorld(t)
	ann, bob, eve := w.follow("ann", ""), w.follow("bob", ""), w.follow("eve", "")
	run := func(verb, params string) {
		t.Helper()
		if _, problem := w.Run(verb, params); problem != "" {
			t.Fatalf("%s %s: %s", verb, params, problem)
		}
	}
	// last waits until everything is told, and gives the last frame that is there.
	last := func(c *sessiontest.Client) (f map[string]any) {
		t.Helper()
		w.settled()
		for c.Out.Waiting() > 0 {
			f = c.Expect("conversation")
		}
		return f
	}
	run("chat.create", `{"channel":"team:1","users":["bob"],"by":"ann","data":{"title":"One"}}`)
	same(t, pick(last(ann), "channel", "role", "members", "data"), `{"channel":"team:1","role":"owner","members":2,"data":{"title":"One"}}`)
	same(t, pick(last(bob), "channel", "role", "members", "data"), `{"channel":"team:1","role":"member","members":2,"data":{"title":"One"}}`)
	w.speak("team:1", "ann")
	last(ann)
	last(bob)
	run("chat.invite", `{"channel":"team:1","users":["eve"]}`)
	same(t, pick(last(eve), "role", "members", "hidden", "last", "unread"), `{"role":"member","members":3,"hidden":1,"unread":0}`)
	same(t, pick(last(bob), "role", "members", "unread"), `{"role":"member","members":3,"unread":1}`)
	run("chat.role", `{"channel":"team:1","user":"bob","role":"admin"}`)
	same(t, pick(last(bob), "role"), `{"role":"admin"}`)
	run("chat.set", `{"channel":"team:1","data":{"title":"Two"}}`)
	for c, role := range map[*sessiontest.Client]string{ann: "owner", bob: "admin", eve: "member"} {
		same(t, pick(last(c), "role", "data"), `{"role":"`+role+`","data":{"title":"Two"}}`)
	}
	run("chat.remove", `{"channel":"team:1","users":["eve"]}`)
	same(t, last(eve), `{"type":"conversation","channel":"team:1","gone":true,"reason":"removed"}`)
	same(t, pick(last(ann), "members"), `{"members":2}`)
	run("chat.leave", `{"channel":"team:1","user":"ann"}`)
	same(t, last(ann), `{"type":"conversation","channel":"team:1","gone":true,"reason":"left"}`)
	same(t, pick(last(bob), "role", "members"), `{"role":"owner","members":1}`)
	run("chat.delete", `{"channel":"team:1"}`)
	same(t, last(bob), `{"type":"conversation","channel":"team:1","gone":true,"reason":"deleted"}`)
	w.quiet(ann, bob, eve)
}

func TestOfWhatNoClientMaySeeNobodyIsTold(t *testing.T) {
	w := chatWorld(t)
	ann := w.follow("ann", "")
	for verb, params := range map[string]string{
		"chat.create": `{"channel":"house:1","users":["ann","bob"]}`, "chat.set": `{"channel":"house:2","data":1}`, "chat.invite": `{"channel":"house:2","users":["ann"]}`,
	} {
		if _, problem := w.Run(verb, params); problem != "" && verb != "chat.set" {
			t.Fatalf("%s: %s", verb, problem)
		}
	}
	w.speak("house:1", "")
	if _, problem := w.Run("chat.remove", `{"channel":"house:1","users":["ann"]}`); problem != "" {
		t.Fatal(problem)
	}
	w.quiet(ann)
}

func TestManyMembersGetTheirOwnEntries(t *testing.T) {
	w := chatWorld(t)
	users := make([]string, 12)
	clients := make([]*sessiontest.Client, len(users))
	for i := range users {
		users[i] = fmt.Sprintf("user-%02d", i)
		clients[i] = w.follow(users[i], "")
	}
	w.group("team:1", users[:10]...)
	w.speak("team:1", users[1])
	w.do(store.Admit{Channel: "team:1", Users: users[10:], Role: store.RoleReader, Time: 77})
	w.settled()
	for _, c := range clients {
		for c.Out.Waiting() > 0 {
			c.Next()
		}
	}
	w.groupChanged("team:1")
	for i, c := range clients {
		f := brief(c.Expect("conversation"))
		want := `{"role":"member","hidden":0,"read":0,"unread":1,"members":12,"last":{"seq":1,"event":"message","data":1,"from":{"user":"user-01"},"time":10001},"time":10001,"data":{"title":"T"}}`
		switch {
		case i == 0:
			want = strings.Replace(want, "member", "owner", 1)
		case i == 1: // who has written
			want = strings.Replace(want, `"read":0,"unread":1`, `"read":1,"unread":0`, 1)
		case i >= 10:
			want = `{"role":"reader","hidden":1,"read":1,"unread":0,"members":12,"time":77,"data":{"title":"T"}}`
		}
		same(t, pick(f, "role", "hidden", "read", "unread", "members", "last", "time", "data"), want)
	}
	w.quiet(clients...)
}

func TestWhatCannotBeReadIsToldLater(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob")
	w.do(store.AddMembers{Channel: "team:2", Users: []string{"ann"}, Time: 1})
	ann := w.follow("ann", "")
	w.do(store.RemoveMembers{Channel: "team:2", Users: []string{"ann"}})
	w.fail("roster", 3)
	w.changed("team:2", []string{"ann"}, reasonRemoved)
	same(t, ann.Expect("conversation"), `{"type":"conversation","channel":"team:2","gone":true,"reason":"removed"}`)
	if n := w.Feature.Metrics().Failures.Load(); n != 3 {
		t.Errorf("%d failures are counted, want 3", n)
	}
	w.quiet(ann)
	w.fail("conversations", 1) // who cannot be given the list does not follow it
	bob := w.User("bob", "")
	bob.Send(`{"type":"conversations","live":true}`)
	bob.ExpectError("unavailable", "")
	w.speak("team:1", "ann")
	ann.Expect("conversation")
	w.quiet(ann, bob)
	bob.Do(`{"type":"conversations","live":true}`)
	w.fail("conversations", 1) // but who did goes on
	bob.Send(`{"type":"conversations","live":true}`)
	bob.ExpectError("unavailable", "")
	w.speak("team:1", "ann")
	bob.Expect("conversation")
}

func TestAConnectionOfAnotherUserFollowsNothing(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	c := w.follow("ann", "")
	if err := c.Rebind(t.Context(), auth.Identity{User: "eve"}); err != nil {
		t.Fatal(err)
	}
	w.speak("dm:ann:bob", "bob")
	w.quiet(c)
	if err := c.Rebind(t.Context(), auth.Identity{User: "ann"}); err != nil {
		t.Fatal(err)
	}
	w.speak("dm:ann:bob", "bob")
	w.quiet(c)
	c.Do(`{"type":"conversations","live":true}`)
	w.speak("dm:ann:bob", "bob")
	same(t, pick(c.Expect("conversation"), "seq"), `{"seq":4}`)
}

func TestNothingOlderComesAfterTheEndOfAMembership(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann")
	bob := w.follow("bob", "")
	rounds := 30
	var work sync.WaitGroup
	stop := make(chan struct{})
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.speak("team:1", "ann")
			}
		}
	})
	for range rounds {
		for _, call := range []string{"chat.invite", "chat.remove"} {
			if _, problem := w.Run(call, `{"channel":"team:1","users":["bob"]}`); problem != "" {
				t.Fatal(problem)
			}
		}
	}
	close(stop)
	work.Wait()
	w.settled()
	there, gone := false, false
	for bob.Out.Waiting() > 0 {
		f := bob.Expect("conversation")
		_, whole := f["role"]
		if _, gone = f["gone"]; gone {
			there = false
		} else if whole {
			there = true
		}
	}
	if there || !gone {
		t.Errorf("at the end bob is told to be a member: %t; the last frame says that he is gone: %t", there, gone)
	}
}

func TestPeersAreToldWhoIsOnline(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	w.speak("dm:ann:eve", "ann")
	w.group("team:1", "ann", "kim")
	w.do(store.AddMembers{Channel: "dm:not-a-name", Users: []string{"ann"}, Time: 1})
	w.do(store.AddMembers{Channel: "dl:before", Users: []string{"ann"}, Time: 1})
	bob, pad, idle, kim := w.follow("bob", ""), w.follow("bob", "pad"), w.User("eve", ""), w.follow("kim", "")
	at := w.cfg.Now()
	ann := w.User("ann", "")
	w.fail("memberships", 2)
	w.UserChanged("ann", true, at)
	for _, c := range []*sessiontest.Client{bob, pad} {
		same(t, c.Expect("online"), fmt.Sprintf(`{"type":"online","user":"ann","online":true,"time":%d}`, at.UnixMilli()))
	}
	w.UserChanged("ann", false, at) // which is not so any more: who is told is told of her coming, too
	w.quiet(bob, pad)
	ann.Closed(protocol.CloseNormal, "")
	w.UserChanged("ann", false, at)
	for _, c := range []*sessiontest.Client{bob, pad} {
		same(t, pick(c.Expect("online"), "user", "online"), `{"user":"ann","online":false}`)
	}
	w.UserChanged("nobody", false, at)
	w.quiet(bob, pad, idle, kim)
}

// TestWhoFollowsLaterIsNotToldOfAnEarlierEnd has a membership end and begin again while the
// store cannot be read, and nobody follows in between.
func TestWhoFollowsLaterIsNotToldOfAnEarlierEnd(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob")
	old, stays := w.follow("bob", "old"), w.follow("bob", "stays")
	run := func(verb string) {
		t.Helper()
		if _, problem := w.Run(verb, `{"channel":"team:1","users":["bob"]}`); problem != "" {
			t.Fatal(problem)
		}
	}
	n := news{}
	run("chat.remove")
	for _, c := range []*sessiontest.Client{old, stays} { // so much is told
		same(t, pick(c.Expect("conversation"), "gone"), `{"gone":true}`)
	}
	w.quiet(old, stays)
	// As it was noted, told late, and together with what is said since.
	n.said = &said{seq: 7, last: []byte(`{"seq":7}`)}
	n.user("bob", listChange{gone: reasonRemoved, to: w.followers.appendFollowers(nil, "bob")})
	old.Do(`{"type":"conversations","live":false}`)
	run("chat.invite")
	same(t, pick(stays.Expect("conversation"), "role"), `{"role":"member"}`)
	fresh := w.follow("bob", "fresh")
	same(t, channels(old.Do(`{"type":"conversations","live":true}`)), `["team:1"]`)
	w.settled()
	if err := w.tell(t.Context(), "team:1", n); err != nil {
		t.Fatal(err)
	}
	same(t, pick(stays.Expect("conversation"), "gone"), `{"gone":true}`) // who followed all the time is told of both, in order
	for _, c := range []*sessiontest.Client{old, stays, fresh} {
		same(t, pick(c.Expect("conversation"), "role", "gone"), `{"role":"member"}`)
	}
	w.quiet(old, stays, fresh)
}

func TestAUserWhoMayBeBackAtOnceIsOnlineStill(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	away := map[string]bool{"ann": true}
	w.cfg.Leaving = func(user string) bool { return away[user] }
	bob := w.User("bob", "")
	online := func() any {
		entry := bob.Do(`{"type":"conversation","channel":"dm:ann:bob"}`)["conversation"].(map[string]any)
		return entry["peer"].(map[string]any)["online"]
	}
	if online() != true {
		t.Error("who has gone this moment is offline")
	}
	delete(away, "ann")
	if online() != false {
		t.Error("who has gone is online")
	}
	w.User("ann", "")
	if online() != true {
		t.Error("who is there is offline")
	}
}

func TestFollowersOfAUserAreFoundFromTheSmallerSide(t *testing.T) {
	w := chatWorld(t)
	for _, user := range []string{"ann", "bob", "eve"} {
		w.follow(user, "1")
		w.follow(user, "2")
	}
	for _, users := range [][]string{{"ann"}, {"ann", "bob", "cid", "dan", "zoe"}, {"cid"}, nil} {
		r := &roster{users: users, members: make([]member, len(users))}
		var got []string
		w.followers.each(r, func(user string, _ member) { got = append(got, user) })
		slices.Sort(got)
		var want []string
		for _, user := range users {
			if w.followers.has(user) {
				want = append(want, user)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %v: got %v, want %v", users, got, want)
		}
	}
}

// BenchmarkTell is one message in a group all of whose members follow their lists.
func BenchmarkTell(b *testing.B) {
	for _, members := range []int{2, 1000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			w := chatWorld(b)
			users := make([]string, members)
			for i := range users {
				users[i] = fmt.Sprintf("user-%04d", i)
				c := w.User(users[i], "")
				w.followers.follow(&c.Session, users[i])
			}
			w.group("team:1", users...)
			seq := w.speak("team:1", users[0])
			w.settled()
			n := news{said: &said{seq: seq, time: 1, from: users[0], last: []byte(`{"id":"x"}`)}}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.tell(b.Context(), "team:1", n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
