package chat

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
)

// membersOf lists a roster as texts: user and role.
func membersOf(r *roster) (list []string) {
	r.each(func(user string, m member) bool {
		list = append(list, user+" "+roleName(m.role))
		return true
	})
	return list
}

// verb runs a verb, which must succeed.
func (w *chatting) verb(name, params string) {
	w.T.Helper()
	if _, code := w.Run(name, params); code != "" {
		w.T.Fatalf("%s %s: %s", name, params, code)
	}
}

func (w *chatting) rosterOf(channel string) *roster {
	w.T.Helper()
	r, err := w.roster(w.T.Context(), channel, w.Hub.Space(namespaceOf(channel)))
	if err != nil {
		w.T.Fatal(err)
	}
	return r
}

func TestARosterIsWhoIsAMember(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "bob", "ann", "carl")
	r := w.rosterOf("team:1")
	if diff := cmp.Diff([]string{"ann member", "bob owner", "carl member"}, membersOf(r)); diff != "" {
		t.Error(diff)
	}
	if m, is := r.member("bob"); !is || m.role != store.RoleOwner || m.since != 1000 {
		t.Errorf("bob is %+v, %v", m, is)
	}
	if _, is := r.member("eve"); is || r.size() != 3 || r.settings == nil {
		t.Errorf("eve is there: %v; %d members; %v is kept", is, r.size(), r.settings)
	}
	if r := w.rosterOf("team:none"); r.size() != 0 || r.settings != nil {
		t.Errorf("a group that is not there has %v", membersOf(r))
	}

	// A direct one needs no store: both are there before it has begun.
	d := w.rosterOf("dm:ann:bob")
	if diff := cmp.Diff([]string{"ann member", "bob member"}, membersOf(d)); diff != "" || d.peer("ann") != "bob" || d.peer("bob") != "ann" || r.peer("bob") != "" {
		t.Error(diff, d.peer("ann"), d.peer("bob"))
	}
}

func TestALargeRosterIsReadPageByPage(t *testing.T) {
	w := chatWorld(t)
	users := make([]string, 2*rosterPage)
	for i := range users {
		users[i] = fmt.Sprintf("u%05d", i)
	}
	w.do(store.Admit{Channel: "team:1", Users: users, Role: store.RoleMember, Time: 1})
	if n := w.rosterOf("team:1").size(); n != len(users) {
		t.Errorf("it has %d members", n)
	}
}

func TestARosterIsForgottenWithAChange(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob")
	old := w.rosterOf("team:1")
	if w.rosterOf("team:1") != old {
		t.Error("it was read twice")
	}
	w.verb("chat.role", `{"channel":"team:1","user":"bob","role":"admin"}`)
	if diff := cmp.Diff([]string{"ann owner", "bob admin"}, membersOf(w.rosterOf("team:1"))); diff != "" {
		t.Error(diff)
	}

	// What was read before a change is not kept after it.
	before := w.rosters.change("team:1").Load()
	w.rosters.forget("team:1")
	w.rosters.keep(old, time.Now(), before)
	if r, _ := w.rosters.find("team:1"); r != nil {
		t.Errorf("%v is kept, which was read before the change", membersOf(r))
	}
}

func TestRostersAreBoundedByTheirMembers(t *testing.T) {
	var rs rosters
	rs.init()
	add := func(channel string, members int) {
		rs.keep(&roster{channel: channel, users: make([]string, members), members: make([]member, members)}, time.Now(), rs.change(channel).Load())
	}
	const large = maxRosterMembers/4 - rosterMembers
	for i := range 4 {
		add(fmt.Sprint("team:", i), large)
	}
	rs.find("team:0") // used last now
	add("team:4", large)
	there := map[string]bool{}
	for i := range 5 {
		name := fmt.Sprint("team:", i)
		r, _ := rs.find(name)
		there[name] = r != nil
	}
	want := map[string]bool{"team:0": true, "team:1": false, "team:2": true, "team:3": true, "team:4": true}
	if diff := cmp.Diff(want, there); diff != "" || rs.total != maxRosterMembers {
		t.Errorf("%d members in all: %s", rs.total, diff)
	}
	add("team:5", maxRosterMembers/2)
	if r, _ := rs.find("team:5"); r != nil || rs.used.Len() != 4 {
		t.Error("one roster pushes out most of the others")
	}
	for i := range 100_000 {
		add(fmt.Sprint("empty:", i), 0)
	}
	if rs.total > maxRosterMembers || rs.used.Len() > maxRosterMembers/rosterMembers || len(rs.m) != rs.used.Len() {
		t.Errorf("%d rosters are kept, of %d in all", rs.used.Len(), rs.total)
	}
}

func TestWhatAnotherProcessChangesIsSeenAfterAWhile(t *testing.T) {
	now := time.Now()
	w := chatWorldOf(t, chatOptions{shared: true, now: func() time.Time { return now }})
	w.group("team:1", "ann", "bob")
	old := w.rosterOf("team:1")
	other := func(c store.Command) {
		t.Helper()
		if _, err := w.kept.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	other(store.SetRole{Channel: "team:1", User: "bob", Role: store.RoleAdmin})
	if w.rosterOf("team:1") != old {
		t.Error("the store was asked again at once")
	}
	now = now.Add(rosterAge)
	fresh := w.rosterOf("team:1")
	if diff := cmp.Diff([]string{"ann owner", "bob admin"}, membersOf(fresh)); diff != "" {
		t.Error(diff)
	}
	now = now.Add(rosterAge)
	if w.rosterOf("team:1") != fresh {
		t.Error("nothing has changed, and it was read again")
	}

	// Who may subscribe is looked up each time: nobody here would end the subscription.
	other(store.Dismiss{Channel: "team:1", Users: []string{"bob"}})
	if role, err := w.roleOf(t.Context(), w.Hub.Space("team"), "team:1", "bob"); err != nil || role != 0 {
		t.Errorf("bob is a %s, %v", roleName(role), err)
	}
}

func TestABlockIsRememberedUntilItChanges(t *testing.T) {
	w := chatWorld(t)
	is := func(want bool) {
		t.Helper()
		for _, pair := range [][2]string{{"ann", "bob"}, {"bob", "ann"}} {
			if got, err := w.blocked(t.Context(), pair[0], pair[1]); err != nil || got != want {
				t.Errorf("%v blocked: %v, %v", pair, got, err)
			}
		}
	}
	is(false)
	w.verb("chat.block", `{"user":"bob","peer":"ann","blocked":true}`)
	is(true)
	w.verb("chat.block", `{"user":"ann","peer":"bob","blocked":true}`)
	w.verb("chat.block", `{"user":"bob","peer":"ann","blocked":false}`)
	is(true)
	w.verb("chat.block", `{"user":"ann","peer":"bob","blocked":false}`)
	is(false)

	// What was read before a change is not kept after it, and there is a bound.
	pair := pairOf("ann", "bob")
	_, _, before := w.blocks.find(pair)
	w.blocks.forget(pair)
	w.blocks.keep(pair, blockSeen{true, time.Now()}, before)
	is(false)
	_, _, now := w.blocks.find(pair)
	for i := range maxBlocks + 10 {
		w.blocks.keep(pairOf("ann", fmt.Sprint(i)), blockSeen{false, time.Now()}, now)
	}
	if n := len(w.blocks.m); n != maxBlocks {
		t.Errorf("%d pairs are remembered", n)
	}
}
