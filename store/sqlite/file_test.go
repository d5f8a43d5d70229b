package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func open(tb testing.TB, cfg sqlite.Config) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func publish(t *testing.T, s store.Store, channel, data string) store.Appended {
	t.Helper()
	now := time.Now()
	r, err := s.Do(t.Context(), store.Append{Channel: channel, ID: id.Message(now), Time: now.UnixMilli(), Event: "message", Data: []byte(data), Sender: protocol.Sender{User: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	return r[0].(store.Appended)
}

func texts(t *testing.T, s store.Store, channel string) (list []string) {
	t.Helper()
	page, err := s.Read(t.Context(), store.Query{Channel: channel, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range page.Messages {
		list = append(list, string(m.Data))
	}
	return list
}

func epoch(t *testing.T, s store.Store) string {
	t.Helper()
	heads, err := s.Heads(t.Context(), "room:1")
	if err != nil {
		t.Fatal(err)
	}
	return heads[0].Epoch
}

// change runs SQL on the file of a directory that no store uses.
func change(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "skein.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Every released schema has a file in testdata with what it could hold.
func TestOlderFilesAreBroughtUpToDate(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		change(t, dir, string(script))
		s := open(t, sqlite.Config{Dir: dir})
		page, err := s.Read(t.Context(), store.Query{Channel: "room:1", Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		if page.Head != (store.Head{Epoch: "anepochofold", Top: 4, Floor: 1, Recalled: 4, Recalls: 1}) || len(page.Messages) != 3 {
			t.Fatalf("%s: got %+v", file, page)
		}
		first, stub, last := page.Messages[0], page.Messages[1], page.Messages[2]
		if string(first.Data) != `"two"` || first.Event != "said" || first.Sender.User != "ann" || first.ID != "01K9ZZZZZZ0000000000000002" || first.Time != timeOf(first.ID) {
			t.Errorf("%s: got %+v", file, first)
		}
		if !stub.Recalled || stub.Seq != 3 || last.Event != "message" || last.Sender != (protocol.Sender{}) {
			t.Errorf("%s: got %+v and %+v", file, stub, last)
		}
		again := store.Append{Channel: "room:1", ID: id.Message(time.Now()), Time: first.Time, Event: "message", Data: []byte("1"), Key: []byte("key"), Content: []byte("content")}
		if r, err := s.Do(t.Context(), again); err != nil || r[0] != (store.Appended{Epoch: "anepochofold", Seq: 4, ID: "01K9ZZZZZZ0000000000000004", Duplicate: true}) {
			t.Errorf("%s: a key of old gives %+v, %v", file, r, err)
		}
		if r := publish(t, s, "room:1", "5"); r.Seq != 5 {
			t.Errorf("%s: got %+v", file, r)
		}
		verifyTables(t, s, filepath.Base(file) != "1.sql")
		verifyDocument(t, s, filepath.Base(file) >= "3.sql")
		verifyUsers(t, s, filepath.Base(file) >= "4.sql")
		verifyChat(t, s, filepath.Base(file) >= "5.sql")
		verifyAudit(t, s, filepath.Base(file) >= "6.sql")
		if err := s.Check(t.Context(), func(p string) { t.Errorf("%s: %s", file, p) }); err != nil {
			t.Error(err)
		}
	}
}

func timeOf(ulid string) (ms int64) {
	for _, c := range ulid[:10] {
		ms = ms<<5 | int64(strings.IndexRune("0123456789ABCDEFGHJKMNPQRSTVWXYZ", c))
	}
	return ms
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    string
	}{
		"no database": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "skein.db"), strings.Repeat("this is a text and no database ", 100))
		}, "is no database of this program"},
		"another program's": {func(t *testing.T, dir string) { change(t, dir, "CREATE TABLE songs (name TEXT)") }, "a database of another program"},
		"a newer one":       {func(t *testing.T, dir string) { change(t, dir, "PRAGMA user_version = 99") }, "written by a newer version"},
		"a damaged one": {func(t *testing.T, dir string) {
			s := open(t, sqlite.Config{Dir: dir})
			publish(t, s, "room:1", strings.Repeat("x", 10_000))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "skein.db")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 100; i < 4096; i++ {
				b[i] = 0xAA
			}
			write(t, path, string(b))
		}, "is damaged"},
		"one in use": {func(t *testing.T, dir string) { open(t, sqlite.Config{Dir: dir}) }, fmt.Sprintf("is used by another server (process %d)", os.Getpid())},
		"a file":     {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "sub"), "") }, "cannot be made"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			if name == "a file" {
				dir = filepath.Join(dir, "sub", "dir")
			}
			s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) && name != "a file" {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Relaxed commits may be lost with the power, so the epoch changes when the
// store did not end in order and the machine was started anew.
func TestAPowerCutChangesTheEpochOfARelaxedStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlite.Config{Dir: dir, Relaxed: true})
	first := epoch(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, sql string
		changes   bool
	}{
		{"an orderly end", "DELETE FROM meta WHERE k = 'relaxed'", false},
		{"killed, the machine runs on", "INSERT INTO meta VALUES ('relaxed', '" + boot(t) + "')", false},
		{"killed with the machine", "INSERT INTO meta VALUES ('relaxed', 'another boot')", true},
	} {
		change(t, dir, tt.sql)
		s := open(t, sqlite.Config{Dir: dir})
		if now := epoch(t, s); (now != first) != tt.changes {
			t.Errorf("%s: the epoch was %s and is %s", tt.name, first, now)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func boot(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatalf("this system does not tell one start from another: %v", err)
	}
	return strings.TrimSpace(string(b))
}

func TestBackupAndRestore(t *testing.T) {
	dir, backups := t.TempDir(), t.TempDir()
	file := filepath.Join(backups, "one.db")
	s := open(t, sqlite.Config{Dir: dir})
	before := epoch(t, s)
	publish(t, s, "room:1", "before")
	stop, stopped := make(chan struct{}), sync.WaitGroup{}
	stopped.Go(func() { // the server goes on while the copy is made
		for {
			select {
			case <-stop:
				return
			default:
				now := time.Now()
				if _, err := s.Do(context.Background(), store.Append{Channel: "room:2", ID: id.Message(now), Time: now.UnixMilli(), Event: "message", Data: []byte("x")}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	err := sqlite.Backup(t.Context(), dir, file)
	close(stop)
	stopped.Wait()
	if err != nil {
		t.Fatal(err)
	}
	publish(t, s, "room:1", "after")
	if err := s.Backup(t.Context(), file); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a backup over another: %v", err)
	}
	if err := s.Backup(t.Context(), filepath.Join(backups, "two.db")); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(backups); err != nil || len(list) != 2 {
		t.Errorf("the directory has %v, %v", list, err)
	}
	if err := sqlite.Restore(t.Context(), file, dir, true); err == nil || !strings.Contains(err.Error(), "is used by another server") {
		t.Errorf("a restore under a server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Restore(t.Context(), file, dir, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("a restore over a store: %v", err)
	}
	for _, target := range []string{dir, filepath.Join(t.TempDir(), "fresh")} {
		if err := sqlite.Restore(t.Context(), file, target, true); err != nil {
			t.Fatal(err)
		}
		restored := open(t, sqlite.Config{Dir: target})
		if got := texts(t, restored, "room:1"); len(got) != 1 || got[0] != "before" {
			t.Errorf("room:1 has %q", got)
		}
		if now := epoch(t, restored); now == before {
			t.Error("clients cannot tell that messages are gone")
		}
		if err := restored.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
			t.Error(err)
		}
	}
	if list, _ := filepath.Glob(filepath.Join(dir, "skein.db.before-*")); len(list) == 0 {
		t.Error("the old file was not kept")
	}
	write(t, filepath.Join(backups, "bad.db"), "no backup")
	if err := sqlite.Restore(t.Context(), filepath.Join(backups, "bad.db"), t.TempDir(), false); err == nil {
		t.Error("a file that is no backup is restored")
	}
	if err := sqlite.Backup(t.Context(), t.TempDir(), filepath.Join(backups, "three.db")); err == nil {
		t.Error("a backup of nothing is made")
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlite.Config{Dir: dir})
	for i := range 5 {
		publish(t, s, "room:1", fmt.Sprint(i))
	}
	writeDocument(t, s, 3, store.PutSnapshot{Channel: "doc:1", Version: 2, Time: 1, Data: []byte("2")})
	if _, err := s.Do(t.Context(), store.AddMembers{Channel: "room:1", Users: []string{"ann", "bob"}, Time: 1},
		store.PutSchedule{Schedule: store.Schedule{Name: "daily", Next: 5}}, store.PutDenial{Denial: store.Denial{User: "eve", Time: 1}},
		store.PutUsers{Users: []store.UserPut{{User: "ann", Attributes: []byte(`{"tags":["x"]}`)}}, Time: 1}, store.PutCategory{Name: "news", Time: 1},
		store.Push{Content: store.Content{ID: "01K9ZZZZZZ0000000000000002", Time: 1, Data: []byte("1")}, To: []store.Recipient{{User: "ann"}, {User: "bob"}}, Now: 1,
			Key: []byte("key"), KeyExpires: 5},
		store.PutCampaign{Campaign: store.Campaign{ID: "spring", Next: 5}}, store.AddToCampaign{ID: "spring", Users: []string{"ann", "bob"}},
		store.AddAudit{AuditLine: store.AuditLine{ID: "01K9ZZZZZZ000000000000000A", Time: 1763084075007, Who: "ann", By: "key", Verb: "push", Params: []byte("1")}},
		store.PutSecret{Secret: store.Secret{Name: "link"}, Now: 1}); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Check(t.Context(), dir, func(p string) { t.Error(p) }); err != nil {
		t.Error(err) // while the server runs
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for statement, want := range map[string]string{
		"DELETE FROM message WHERE ch = 1 AND seq = 3":               "channel room:1: of the messages 1 to 5 only 4 are there",
		"UPDATE channel SET top = 9":                                 "channel room:1: of the messages 1 to 9 only 5 are there",
		"UPDATE message SET seq = 0 WHERE ch = 1 AND seq = 1":        "channel room:1: message 0 stands before its beginning",
		"UPDATE channel SET floor = 9":                               "channel room:1: its head makes no sense: top 5, floor 9, swept 0, recalled 0",
		"UPDATE message SET ch = 77 WHERE ch = 1 AND seq = 2":        "belongs to channel 77, which does not exist",
		"UPDATE message SET recalled = 1, data = NULL WHERE seq = 2": "channel room:1: message 2 was withdrawn and still has content",
		"UPDATE message SET age = 0 WHERE seq = 2":                   "channel room:1: message 2 is kept under another namespace",
		"DELETE FROM namespace":                                      "channel room:1 belongs to namespace 1, which does not exist",
		"DELETE FROM message WHERE ch = 2 AND seq = 2":               "channel doc:1: of the messages 1 to 3 only 2 are there",
		"UPDATE channel SET floor = 3 WHERE id = 2":                  "channel doc:1: the snapshot's version 2 is not from the floor 3 to the top 3",
		"UPDATE channel SET snapshot = 9 WHERE id = 2":               "channel doc:1: the snapshot's version 9 is not from the floor 0 to the top 3",
		"UPDATE channel SET snapshot = 1 WHERE id = 2":               "channel doc:1: its snapshot has the version 2, and should have 1",
		"DELETE FROM document":                                       "channel doc:1: its snapshot has the version 0, and should have 2",
		"UPDATE document SET ch = 1":                                 "channel room:1: its snapshot has the version 2, and should have 0",
		"UPDATE document SET ch = 77":                                "a snapshot belongs to channel 77, which does not exist",
		"UPDATE document SET data = x'7b'":                           "channel doc:1: its snapshot is no JSON",
		"UPDATE channel SET snapshot = NULL":                         "channel doc:1: message 1 and its channel do not agree whether it is a document",
		"UPDATE channel SET snapshot = 0 WHERE id = 1":               "channel room:1: message 1 and its channel do not agree whether it is a document",
		"UPDATE group_size SET n = 3":                                "channel \"room:1\": it should have 3 members and has 2",
		"DELETE FROM group_size":                                     "channel \"room:1\": it should have 0 members and has 2",
		"DELETE FROM member":                                         "channel \"room:1\": it should have 2 members and has 0",
		"INSERT INTO group_size VALUES (x'61', 0, 1)":                "channel \"a\": it should have 0 members and has 0",
		"UPDATE member SET user_id = x'' WHERE user_id = x'616e6e'":  "channel \"room:1\": user \"\" is a member; neither may be empty",
		"UPDATE schedule SET due = 4":                                "schedule \"daily\": when it can be claimed does not agree with its next time 5 and its claim by \"\" until 0",
		"UPDATE schedule SET due = NULL":                             "schedule \"daily\": when it can be claimed does not agree",
		"UPDATE schedule SET until = 9":                              "schedule \"daily\": when it can be claimed does not agree",
		"UPDATE counter SET n = 0 WHERE name = 'schedule'":           "schedule \"daily\": its version 1 is beyond the last one, 0",
		"UPDATE counter SET n = 0 WHERE name = 'denial'":             "denial of user \"eve\", token \"\": its seq 1 is beyond the last one, 0",
		"UPDATE denial SET dated = 1":                                "denial of user \"eve\", token \"\": seq 1 does not say whom it is about",
		"DELETE FROM counter WHERE name = 'seen'":                    "of the 8 counters 7 are there",
		"UPDATE person SET open = 0":                                 "user \"ann\": 0 deliveries should be open and 1 are",
		"UPDATE person SET top = 0, settled = 0":                     "user \"ann\": the inbox ends at 0 and has a delivery 1",
		"UPDATE person SET settled = 1":                              "user \"ann\": nothing up to 1 should be open and delivery 1 is",
		"UPDATE person SET floor = 2":                                "user \"ann\": the inbox makes no sense: floor 2, top 1",
		"UPDATE person SET merged = 1":                               "user \"ann\": has the pushes to everybody up to 1, and the last one is 0",
		"UPDATE person SET counts = x'ff'":                           "user \"ann\": what was counted is not readable",
		"UPDATE person SET muted = x'ff'":                            "user \"ann\": a list of muted categories is none",
		"UPDATE person SET attributes = x'ff' WHERE n = 1":           "user ann: the attributes are no JSON object",
		"UPDATE person SET attributes = jsonb('[1]') WHERE n = 1":    "user ann: the attributes are no JSON object",
		"DELETE FROM person WHERE n = 1":                             "tag \"x\": user number 1 has it and does not exist",
		"DELETE FROM person":                                         "delivery 1 of user number 1: of push \"01K9ZZZZZZ0000000000000002\" for user \"\"",
		"DELETE FROM push":                                           "a key points to push number 1, which does not exist",
		"UPDATE push SET queued = 1":                                 "push \"01K9ZZZZZZ0000000000000002\": its totals do not agree with its 2 deliveries",
		"UPDATE push SET failed = 1":                                 "",
		"UPDATE delivery SET state = 3":                              "push \"01K9ZZZZZZ0000000000000002\": its totals do not agree with its 2 deliveries",
		"DELETE FROM delivery":                                       "push \"01K9ZZZZZZ0000000000000002\": 2 should be queued and 0 sent, and nothing is",
		"UPDATE push SET everyone = 7":                               "push \"01K9ZZZZZZ0000000000000002\": it has the number 7 of those to everybody, and the last one is 0",
		"UPDATE category SET name = x''":                             "a category has no name",
		"UPDATE campaign SET size = 3":                               "campaign \"spring\": its list should have 3 users and has 2",
		"DELETE FROM campaign":                                       "campaign number 1: user \"ann\" is in its list and it does not exist",
		"UPDATE campaign SET version = 9":                            "campaign \"spring\": its version 9 is beyond the last one, 1",
		"UPDATE campaign SET due = NULL":                             "campaign \"spring\": when it can be claimed does not agree",
		"UPDATE member SET role = 9 WHERE user_id = x'616e6e'":       "channel \"room:1\": member \"ann\" has the role 9 and the alerts 0, one of which cannot be",
		"UPDATE member SET alerts = 4 WHERE user_id = x'616e6e'":     "channel \"room:1\": member \"ann\" has the role 2 and the alerts 4, one of which cannot be",
		"UPDATE member SET role = 4":                                 "channel \"room:1\": it has 2 owners",
		"UPDATE member SET delivered = 6 WHERE user_id = x'616e6e'":  "channel \"room:1\": the marks of member \"ann\" make no sense: 6 were delivered of 5",
		"UPDATE member SET read = 1 WHERE user_id = x'616e6e'":       "channel \"room:1\": the marks of member \"ann\" make no sense: 0 were delivered of 5",
		"UPDATE member SET hidden = 5, read = 5, delivered = 5":      "",
		"INSERT INTO conversation VALUES (x'61', NULL, 0, 1, 1)":     "group \"a\": it has the rule 0 and the version 1, one of which cannot be",
		"INSERT INTO peer_block VALUES (x'61', x'61', 1)":            "user \"a\" has blocked \"a\"",
		"INSERT INTO alert VALUES (CAST('room:1' AS BLOB), 6)":       "channel \"room:1\": absent members are to be told of message 6, and it ends at 5",
		"INSERT INTO alert VALUES (CAST('room:1' AS BLOB), 5)":       "",
		"UPDATE audit SET time = 7":                                  "line \"01K9ZZZZZZ000000000000000A\" of the audit log: its time 7 is not that of its id",
		"UPDATE audit SET id = x'61'":                                "line \"a\" of the audit log: its time 1763084075007 is not that of its id",
		"UPDATE audit SET params = x'7b'":                            "line \"01K9ZZZZZZ000000000000000A\" of the audit log: its params are no JSON",
		"UPDATE audit SET truncated = 1":                             "its params are no JSON, or were left out and are there",
		"UPDATE audit SET verb = x''":                                "of the audit log: who \"ann\" ran which verb is not there",
		"UPDATE secret SET name = x''":                               "secret \"\": it has 0 bytes until 0, one of which cannot be",
		"UPDATE secret SET expires = -1":                             "secret \"link\": it has 0 bytes until -1, one of which cannot be",
		"UPDATE audit SET truncated = 1, params = x''":               "",
		"UPDATE message SET recalled = 3 WHERE ch = 1 AND seq = 2; UPDATE channel SET recalled = 3, recalls = 1 WHERE id = 1": "",
		"INSERT INTO idem VALUES (1, x'00', 9, 'x', 0, NULL)":                                                                 "a key of channel 1 points to message 9, which never was",
		"DROP INDEX message_seq; DELETE FROM message WHERE seq IN (1,2)":                                                      "channel room:1: of the messages 1 to 5 only 3 are there",
	} {
		copied := t.TempDir()
		b, err := os.ReadFile(filepath.Join(dir, "skein.db"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(copied, "skein.db"), string(b))
		change(t, copied, statement)
		var problems []string
		if err := sqlite.Check(t.Context(), copied, func(p string) { problems = append(problems, p) }); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
		if !strings.Contains(strings.Join(problems, "\n"), want) || want == "" && len(problems) > 0 {
			t.Errorf("%s: got %q, want %q", statement, problems, want)
		}
	}
}

// What is withdrawn is not in the file any more.
func TestWithdrawnContentIsGoneFromTheFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlite.Config{Dir: dir})
	const secret = "a sentence that somebody regrets"
	publish(t, s, "room:1", secret)
	if _, err := s.Do(t.Context(), store.Recall{Channel: "room:1", Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range list {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), secret) {
			t.Errorf("%s still has it", file)
		}
	}
}
