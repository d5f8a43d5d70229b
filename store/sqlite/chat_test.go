package sqlite_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

// verifyChat looks whether the conversation of an older file (that of testdata/5.sql) is
// there, and whether a file that had none takes it.
func verifyChat(t *testing.T, s store.Store, filled bool) {
	t.Helper()
	same := func(what string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	const at = 1763084076000
	ids := []string{unpacked("00000000000000000008", at+1), unpacked("00000000000000000009", at+2)}
	if !filled {
		say := func(user, id string, at int64, data string) store.Append {
			return store.Append{Channel: "team:1", ID: id, Time: at, Event: "message", Data: []byte(data), Sender: protocol.Sender{User: user}, Author: &store.Author{User: user, Alert: user == "bob"}}
		}
		first := say("ann", ids[0], at+1, "1")
		first.Meta = store.Meta{Reply: 1, Mentions: []string{"bob"}}
		do[store.Admitted](t, s, store.Admit{Channel: "team:1", By: "ann", Users: []string{"bob"}, Create: &store.GroupSettings{Data: []byte(`{"title":"Us"}`), Join: store.JoinOpen}, Time: at})
		do[store.Appended](t, s, first)
		do[store.Appended](t, s, say("bob", ids[1], at+2, "2"))
		do[store.Edited](t, s, store.EditMessage{Channel: "team:1", Seq: 1, Event: "message", Data: []byte(`"edited"`), Time: at})
		do[store.AlertsSet](t, s, store.SetAlerts{Channel: "team:1", User: "ann", Level: store.AlertMentions})
		do[store.PeerBlocked](t, s, store.BlockPeer{User: "ann", Peer: "eve", Blocked: true, Time: at})
	}
	c, err := s.Conversation(t.Context(), "team:1", "ann")
	same("a conversation", store.Conversation{
		Channel: "team:1", Place: store.ConversationPlace{Time: at + 2, Channel: "team:1"}, Head: store.Head{Epoch: c.Head.Epoch, Top: 2, Recalled: 2, Recalls: 1},
		RosterMember: store.RosterMember{User: "ann", Since: at, Role: store.RoleOwner, Delivered: 1, Read: 1, Alerts: store.AlertMentions}, Members: 2,
		Last:  &store.Message{Seq: 2, ID: ids[1], Time: at + 2, Event: "message", Data: []byte("2"), Sender: protocol.Sender{User: "bob"}},
		Group: &store.GroupSettings{Data: []byte(`{"title":"Us"}`), Join: store.JoinOpen}, Peer: store.RosterMember{User: "bob", Since: at, Role: store.RoleMember, Delivered: 2, Read: 2},
	}, c, err)
	edited, err := s.Recalls(t.Context(), "team:1", 2, 9)
	same("an edited message", []store.Message{{
		Seq: 1, ID: ids[0], Time: at + 1, Event: "message", Data: []byte(`"edited"`), Sender: protocol.Sender{User: "ann"}, Meta: store.Meta{Reply: 1, Mentions: []string{"bob"}}, Edited: true,
	}}, edited, err)
	blocks, err := s.Blocks(t.Context(), "ann", "", 9)
	same("blocks", []store.Member{{User: "eve", Since: at}}, blocks, err)
	alerts, err := s.Alerts(t.Context(), store.Alert{}, 9)
	same("alerts", []store.Alert{{Channel: "team:1", Seq: 2}}, alerts, err)
	// Those who were members before there were roles.
	old, err := s.RosterMembers(t.Context(), "room:1", "carol")
	same("a member of old", []store.RosterMember{{User: "carol", Since: at, Role: store.RoleMember}}, old, err)
	versions, err := s.RosterVersions(t.Context(), "team:1", "room:1")
	if err != nil || versions[0] == 0 || versions[1] == 0 || versions[0] == versions[1] {
		t.Errorf("the versions are %d, %v", versions, err)
	}
}

// unpacked is the id of a message of that time whose random part is zeros and a digit.
func unpacked(random string, ms int64) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	text := make([]byte, 10)
	for i := 9; i >= 0; i-- {
		text[i] = alphabet[ms&31]
		ms >>= 5
	}
	return string(text) + "000000000000000" + random[len(random)-1:]
}

// Versions of rosters that were given between a backup and its restore are not given again.
func TestRosterVersionsOfALostHistoryDoNotComeAgain(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	s := open(t, sqlite.Config{Dir: dir})
	version := func() uint64 {
		t.Helper()
		list, err := s.RosterVersions(t.Context(), "team:1")
		if err != nil {
			t.Fatal(err)
		}
		return list[0]
	}
	do[store.Admitted](t, s, store.Admit{Channel: "team:1", Users: []string{"ann"}, Time: 1})
	if err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	do[store.Admitted](t, s, store.Admit{Channel: "team:1", Users: []string{"bob"}, Time: 1})
	lost := version()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Restore(t.Context(), file, dir, true); err != nil {
		t.Fatal(err)
	}
	s = open(t, sqlite.Config{Dir: dir})
	do[store.Admitted](t, s, store.Admit{Channel: "team:1", Users: []string{"eve"}, Time: 1})
	if again := version(); again <= lost {
		t.Errorf("version %d was given, and now %d", lost, again)
	}
}

// What an edit has replaced is not in the file any more.
func TestWhatWasEditedIsGoneFromTheFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlite.Config{Dir: dir})
	const secret = "a sentence that somebody regrets"
	seq := publish(t, s, "team:1", `"`+secret+`"`).Seq
	publish(t, s, "team:1", "2")
	do[store.Edited](t, s, store.EditMessage{Channel: "team:1", Seq: seq, Event: "message", Data: []byte("1"), Time: 1})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "skein.db"))
	if err != nil || bytes.Contains(b, []byte(secret)) {
		t.Errorf("it is still there, %v", err)
	}
}
