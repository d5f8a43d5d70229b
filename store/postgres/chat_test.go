package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/storetest"
)

// What holds of conversations in one node holds in several.
func TestConversationsOfSeveralNodes(t *testing.T) {
	url := server.Database(t)
	storetest.ChatRaces(t, open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url}))
}

// Messages of members, in batches of many channels, and those who come, go, mark and
// write first, on several nodes, do not wait for each other in a circle.
func TestMembersWhoWriteAndGoDoNotBlockEachOther(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	const channels = 8
	var users []string
	for i := range 6 {
		users = append(users, fmt.Sprint("user ", i))
	}
	name := func(i int) string { return fmt.Sprint("team:", i%channels) }
	for i := range channels {
		do[store.Admitted](t, stores[0], store.Admit{Channel: name(i), Users: users, Time: 1})
	}
	var wait sync.WaitGroup
	for i := range 24 {
		wait.Go(func() {
			s := stores[i%2]
			for k := range 40 {
				group := []store.Command{}
				// In an order of their own.
				for n := range 3 {
					channel, user := name(i+5*k+3*n), users[(i*k+n)%len(users)]
					switch i % 4 {
					case 0, 1:
						a := newAppend(channel, "1")
						a.Author = &store.Author{User: user}
						group = append(group, a)
					case 2:
						group = append(group, store.MarkMember{Channel: channel, User: user, Read: uint64(k)})
					case 3:
						if k%2 == 0 {
							group = append(group, store.Dismiss{Channel: channel, Users: []string{user, users[0]}})
						} else {
							back := slices.Clone(users)
							slices.Reverse(back)
							group = append(group, store.Admit{Channel: channel, Users: back, Time: 1})
						}
					}
				}
				if _, err := s.Do(t.Context(), group...); err != nil && !errors.Is(err, store.ErrDenied) && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	check(t, stores[0])
	noDeadlocks(t, url, stores)
}

// As TestPlansStayGoodWhenTablesGrow, for conversations.
func TestPlansOfConversationsStayGoodWhenTheyGrow(t *testing.T) {
	tables := []string{"channel", "message", "member", "group_size", "conversation", "peer_block", "alert"}
	w := wear(t, 8, tables, func(s *postgres.Store, round int) { storetest.UseChat(t, s, round) })
	w.readsNoMore(30, func(s store.Store) { growChat(t, s) }, 0)
}

// growChat adds many conversations, members, blocks and alerts.
func growChat(t *testing.T, s store.Store) {
	t.Helper()
	for i := range grown / 4 {
		channel, users := fmt.Sprint("team:grown ", i), []string(nil)
		for k := range 20 {
			users = append(users, fmt.Sprint("grown ", i*7+k))
		}
		a := newAppend(channel, "1")
		a.Author = &store.Author{User: users[0], Alert: true}
		do[store.Admitted](t, s, store.Admit{Channel: channel, Users: users, By: users[0], Create: &store.GroupSettings{}, Time: 1})
		do[store.Appended](t, s, a)
		do[store.PeerBlocked](t, s, store.BlockPeer{User: users[0], Peer: users[1], Blocked: true, Time: 1})
	}
}

// The two messages of fillChat.
var chatIDs = []string{"01KAJ9N0GAAAAAAAAAAAAAAAAA", "01KAJ9N0GBBBBBBBBBBBBBBBBB"}

func fillChat(t *testing.T, s store.Store) {
	t.Helper()
	say := func(user, id string, at int64, data string) store.Append {
		return store.Append{Channel: "team:sample", ID: id, Time: at, Event: "message", Data: []byte(data), Sender: protocol.Sender{User: user}, Author: &store.Author{User: user, Alert: user == "bob"}}
	}
	first := say("alice", chatIDs[0], 1763698180618, "1")
	first.Meta = store.Meta{Reply: 1, Mentions: []string{"bob"}}
	do[store.Admitted](t, s, store.Admit{Channel: "team:sample", By: "alice", Users: []string{"bob"}, Create: &store.GroupSettings{Data: []byte(`{"title":"Us"}`), Join: store.JoinOpen}, Time: 5})
	do[store.Appended](t, s, first)
	do[store.Appended](t, s, say("bob", chatIDs[1], 1763698180619, "2"))
	do[store.Edited](t, s, store.EditMessage{Channel: "team:sample", Seq: 1, Event: "message", Data: []byte(`"edited"`), Time: 9})
	do[store.AlertsSet](t, s, store.SetAlerts{Channel: "team:sample", User: "alice", Level: store.AlertMentions})
	do[store.PeerBlocked](t, s, store.BlockPeer{User: "alice", Peer: "eve", Blocked: true, Time: 7})
}

func verifyChat(t *testing.T, s store.Store) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	c, err := s.Conversation(t.Context(), "team:sample", "alice")
	same("a conversation", store.Conversation{
		Channel: "team:sample", Place: store.ConversationPlace{Time: 1763698180619, Channel: "team:sample"}, Head: store.Head{Epoch: c.Head.Epoch, Top: 2, Recalled: 2, Recalls: 1},
		RosterMember: store.RosterMember{User: "alice", Since: 5, Role: store.RoleOwner, Delivered: 1, Read: 1, Alerts: store.AlertMentions}, Members: 2,
		Last:  &store.Message{Seq: 2, ID: chatIDs[1], Time: 1763698180619, Event: "message", Data: []byte("2"), Sender: protocol.Sender{User: "bob"}},
		Group: &store.GroupSettings{Data: []byte(`{"title":"Us"}`), Join: store.JoinOpen}, Peer: store.RosterMember{User: "bob", Since: 5, Role: store.RoleMember, Delivered: 2, Read: 2},
	}, c, err)
	edited, err := s.Recalls(t.Context(), "team:sample", 2, 9)
	same("an edited message", []store.Message{{
		Seq: 1, ID: chatIDs[0], Time: 1763698180618, Event: "message", Data: []byte(`"edited"`), Sender: protocol.Sender{User: "alice"},
		Meta: store.Meta{Reply: 1, Mentions: []string{"bob"}}, Edited: true,
	}}, edited, err)
	blocks, err := s.Blocks(t.Context(), "alice", "", 9)
	same("blocks", []store.Member{{User: "eve", Since: 7}}, blocks, err)
	alerts, err := s.Alerts(t.Context(), store.Alert{}, 9)
	same("alerts", []store.Alert{{Channel: "team:sample", Seq: 2}}, alerts, err)
	versions, err := s.RosterVersions(t.Context(), "team:sample", "room:sample", "team:none")
	if err != nil || versions[0] == 0 || versions[1] == 0 || versions[0] == versions[1] || versions[2] != 0 {
		t.Errorf("the versions are %d, %v", versions, err)
	}
	// Numbers that were given are not given again.
	do[store.AlertsSet](t, s, store.SetAlerts{Channel: "team:sample", User: "bob", Level: store.AlertNone})
	after, err := s.RosterVersions(t.Context(), "team:sample")
	if err != nil || slices.Contains(versions, after[0]) {
		t.Errorf("the version was %d and is %d, %v", versions[0], after[0], err)
	}
	do[store.AlertsSet](t, s, store.SetAlerts{Channel: "team:sample", User: "bob", Level: store.AlertDefault})
}

// Versions of rosters that were given between a backup and its restore are not given again.
func TestRosterVersionsOfALostHistoryDoNotComeAgain(t *testing.T) {
	s := open(t, postgres.Config{URL: server.Database(t)})
	last := uint64(0)
	for i := range 3 {
		do[store.Admitted](t, s, store.Admit{Channel: "team:1", Users: []string{fmt.Sprint("user ", i)}, Time: 1})
		list, err := s.RosterVersions(t.Context(), "team:1")
		if err != nil || list[0] <= last || i > 0 && list[0] < last+1000 {
			t.Errorf("after version %d comes %d, %v", last, list[0], err)
		}
		last = list[0]
		if err := s.NewEpochs(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
