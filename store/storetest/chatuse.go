package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/skein-realtime/skein/store"
)

// UseChat carries out each command about conversations and each read of them, in each of
// their ways, with a few users and channels of its own. It is for those who look at how
// that is done, as [UsePushes] is.
func UseChat(t testing.TB, s store.Store, round int) {
	t.Helper()
	ctx := t.Context()
	do := func(group ...store.Command) {
		t.Helper()
		if _, err := s.Do(ctx, group...); err != nil {
			t.Fatal(err)
		}
	}
	denied := func(group ...store.Command) {
		t.Helper()
		if _, err := s.Do(ctx, group...); !errors.Is(err, store.ErrDenied) {
			t.Fatal(err)
		}
	}
	own := func(name string) string { return fmt.Sprintf("%s %d", name, round) }
	team, ann, bob, eve := own("team:1"), own("ann"), own("bob"), own("eve")
	dm := "dm:" + ann + ":" + bob
	do(store.Admit{Channel: team, By: ann, Users: []string{bob}, Create: &store.GroupSettings{Data: []byte("1"), Join: store.JoinMembers}, Time: noon})
	do(store.Admit{Channel: team, Users: []string{eve}, By: bob, Time: noon}, store.Admit{Channel: own("team:2"), Users: []string{eve, ann}, Time: noon})
	do(store.SetRole{Channel: team, User: bob, Role: store.RoleOwner, By: ann}, store.SetAlerts{Channel: team, User: bob, Level: store.AlertAll}, store.PutGroup{Channel: team, Data: []byte("2"), Time: noon, By: bob})
	do(store.BlockPeer{User: eve, Peer: bob, Blocked: true, Time: noon})
	first := direct(dm, ann, ann, bob, "1")
	first.Author.Alert = true
	do(first)
	do(direct(dm, bob, ann, bob, "2"), said(team, bob, "1"), said(team, eve, "2"))
	do(first, store.EditMessage{Channel: dm, Seq: 1, Data: []byte("3"), Time: noon}, said(team, bob, "3"))
	denied(said(team, own("stranger"), "1"))
	denied(direct(own("dm:x"), bob, bob, eve, "1"))
	do(store.MarkMember{Channel: dm, User: ann, Read: 2})
	do(store.MarkMember{Channel: team, User: ann, Read: 2}, store.MarkMember{Channel: team, User: eve, Delivered: 1})
	do(store.AlertsDone{Alerts: []store.Alert{{Channel: dm, Seq: 1}}})
	readChat(t, s, ann, []string{dm, team})
	do(store.Dismiss{Channel: team, Users: []string{bob}, By: bob}, store.RemoveMembers{Channel: own("team:2"), Users: []string{ann}})
	do(store.Dismiss{Channel: team, Some: 9})
	do(store.BlockPeer{User: eve, Peer: bob, Time: noon}, store.DeleteUsers{Users: []string{eve}, Time: noon})
}

func readChat(t testing.TB, s store.Store, user string, channels []string) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	q := store.ConversationQuery{User: user, Namespaces: []string{"team", "dm"}, Limit: 2}
	page, err := s.Conversations(ctx, q)
	check(err)
	q.After = page.Items[1].Place
	check(second(s.Conversations(ctx, q)))
	for _, c := range channels {
		check(second(s.Conversation(ctx, c, user)))
	}
	check(second(s.Roster(ctx, channels[0], "", 9)))
	check(second(s.RosterMembers(ctx, channels[0], user, "nobody")))
	check(second(s.RosterVersions(ctx, channels...)))
	check(second(s.Group(ctx, channels[1])))
	check(second(s.Blocks(ctx, user, "", 9)))
	check(second(s.Alerts(ctx, store.Alert{}, 1)))
	_, _, err = s.Blocking(ctx, user, "nobody", "somebody")
	check(err)
}
