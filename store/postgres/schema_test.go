package postgres_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
)

func TestNodesThatStartTogetherMakeOneSchema(t *testing.T) {
	url := server.Database(t)
	stores := make([]*postgres.Store, 8)
	var starts sync.WaitGroup
	for i := range stores {
		starts.Go(func() {
			var err error
			if stores[i], err = postgres.Open(t.Context(), postgres.Config{URL: url}); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	for i, s := range stores {
		if s == nil {
			continue
		}
		if got := do[store.Appended](t, s, newAppend("room:1", "1")); got.Seq != uint64(i+1) {
			t.Errorf("store %d: %+v", i, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	url := server.Database(t)
	open(t, postgres.Config{URL: url})
	server.Exec(t, url, `UPDATE skein.store SET version = 1000`)
	_, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err == nil || !strings.Contains(err.Error(), "has version 1000") || !strings.Contains(err.Error(), "run a newer one") {
		t.Errorf("got %v", err)
	}
}

func TestATableOfSomebodyElseIsLeftAlone(t *testing.T) {
	url := server.Database(t)
	server.Exec(t, url, `CREATE SCHEMA skein CREATE TABLE store (shop text)`)
	_, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("got %v", err)
	}
}

// A role needs no more than its own schema.
func TestARoleWithoutRightsIsEnough(t *testing.T) {
	url := server.Database(t)
	server.Exec(t, url, `CREATE ROLE plain LOGIN`)
	t.Cleanup(func() { server.Exec(t, "postgres", `DROP ROLE plain`) })
	t.Cleanup(func() { server.Exec(t, url, `DROP OWNED BY plain`) })
	plain := strings.Replace(url, "postgres@", "plain@", 1)
	if _, err := postgres.Open(t.Context(), postgres.Config{URL: plain}); err == nil || !strings.Contains(err.Error(), "creating schema skein") {
		t.Errorf("without a schema: %v", err)
	}
	server.Exec(t, url, `CREATE SCHEMA skein AUTHORIZATION plain`)
	s := open(t, postgres.Config{URL: plain})
	do[store.Appended](t, s, newAppend("room:1", "1"))
	check(t, s)
	var origin string
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), `SELECT origin FROM skein.store`).Scan(&origin); err != nil || origin == "" {
		t.Errorf("the origin is %q (%v): a restore would not be found out", origin, err)
	}
}

// Every schema that was released is brought up to date with what is in it.
// testdata/N.sql is a dump of version N that holds what fillSample does, from
// version 2 on what fillTables does, from version 3 on what fillDocument does, from version
// 4 on what fillUsers does, from version 5 on what fillChat does, and from version 6 on what
// fillAudit does; the environment variable SKEIN_DUMP=testdata/N.sql makes
// TestADumpIsABackup write the one of the latest version.
func TestReleasedSchemasAreMigrated(t *testing.T) {
	dumps, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(dumps) == 0 {
		t.Fatalf("no dumps: %v", err)
	}
	newest := server.Database(t)
	open(t, postgres.Config{URL: newest})
	fresh := definitions(t, newest)
	for _, dump := range dumps {
		t.Run(filepath.Base(dump), func(t *testing.T) {
			text, err := os.ReadFile(dump)
			if err != nil {
				t.Fatal(err)
			}
			url := server.Database(t)
			restore(t, url, string(text))
			s := open(t, postgres.Config{URL: url})
			// A schema that was released never changes, but gets a successor.
			if diff := cmp.Diff(fresh, definitions(t, url)); diff != "" {
				t.Errorf("what the migration made is not what a new store has (-new +migrated):\n%s", diff)
			}
			verifySample(t, s)
			if filepath.Base(dump) == "1.sql" {
				fillTables(t, s) // that version had none
			}
			verifyTables(t, s)
			if base := filepath.Base(dump); base == "1.sql" || base == "2.sql" {
				fillDocument(t, s)
			}
			verifyDocument(t, s)
			if filepath.Base(dump) < "4.sql" {
				fillUsers(t, s)
			}
			verifyUsers(t, s)
			if filepath.Base(dump) < "5.sql" {
				fillChat(t, s)
			}
			verifyChat(t, s)
			if filepath.Base(dump) < "6.sql" {
				fillAudit(t, s)
			}
			verifyAudit(t, s)
			check(t, s)
			if got := do[store.Appended](t, s, newAppend("room:sample", "5")); got.Seq != 5 {
				t.Errorf("an append gives %+v", got)
			}
		})
	}
}

func restore(t *testing.T, url, dump string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), dump).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// sample is what the dumps hold: in room:sample four messages, of which the
// first is trimmed, the third withdrawn and the last has an id of another time,
// and a key.
var sample = []store.Append{
	{Channel: "room:sample", ID: "01KAJ9N0G0AAAAAAAAAAAAAAAA", Time: 1763698180608, Event: "message", Data: []byte(`1`)},
	{Channel: "room:sample", ID: "01KAJ9N0G1BBBBBBBBBBBBBBBB", Time: 1763698180609, Event: "news", Data: []byte(`{"n":2}`),
		Sender: protocol.Sender{User: "alice", Device: "phone", Connection: "AAECAwQFBgcICQoLDA0ODw"}},
	{Channel: "room:sample", ID: "01KAJ9N0G2CCCCCCCCCCCCCCCC", Time: 1763698180610, Event: "message", Data: []byte(`3`)},
	{Channel: "room:sample", ID: "01KAJ9N0G3DDDDDDDDDDDDDDDD", Time: 1763698180999, Event: "message", Data: []byte(`4`), Keep: 3,
		Key: []byte("key"), Content: []byte("content"), Expires: 4102444800000},
}

func fillSample(t *testing.T, s store.Store) {
	t.Helper()
	for _, a := range sample {
		do[store.Appended](t, s, a)
	}
	do[store.Recalled](t, s, store.Recall{Channel: "room:sample", Seq: 3})
}

func verifySample(t *testing.T, s store.Store) {
	t.Helper()
	page, err := s.Read(t.Context(), store.Query{Channel: "room:sample", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if page.Head.Epoch == "" {
		t.Error("there is no epoch")
	}
	page.Head.Epoch = ""
	want := store.Page{
		Head: store.Head{Top: 4, Floor: 1, Recalled: 4, Recalls: 1},
		Messages: []store.Message{
			{Seq: 2, ID: sample[1].ID, Time: sample[1].Time, Event: "news", Data: sample[1].Data, Sender: sample[1].Sender},
			{Seq: 3, ID: sample[2].ID, Time: sample[2].Time, Recalled: true},
			{Seq: 4, ID: sample[3].ID, Time: sample[3].Time, Event: "message", Data: sample[3].Data},
		},
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("the sample differs (-want +got):\n%s", diff)
	}
	again := sample[3]
	again.ID, again.Time = "01KAJ9N0G4EEEEEEEEEEEEEEEE", again.Time+1
	if got := do[store.Appended](t, s, again); !got.Duplicate || got.Seq != 4 || got.ID != sample[3].ID {
		t.Errorf("the key gives %+v", got)
	}
}

// definitions lists the columns and indexes of a store.
func definitions(t *testing.T, url string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `
		SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, is_identity)
		FROM information_schema.columns WHERE table_schema = 'skein'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'skein' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A dump can be made, also of a store in use, and holds everything.
func TestADumpIsABackup(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url})
	fillSample(t, s)
	fillTables(t, s)
	fillDocument(t, s)
	fillUsers(t, s)
	fillChat(t, s)
	fillAudit(t, s)
	dump := exec.Command(filepath.Join(server.Bin(), "pg_dump"), "--schema=skein", "--no-owner", "--inserts", url)
	out, err := dump.Output()
	if err != nil {
		t.Fatal(err)
	}
	// Without what only psql understands, and without comments and settings.
	text := regexp.MustCompile(`(?m)^(\\.*|--.*|SET .*|SELECT pg_catalog\.set_config.*|)\n`).ReplaceAllString(string(out), "")
	if path := os.Getenv("SKEIN_DUMP"); path != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := server.Database(t)
	restore(t, other, text)
	restored := open(t, postgres.Config{URL: other})
	verifySample(t, restored)
	verifyTables(t, restored)
	verifyDocument(t, restored)
	verifyUsers(t, restored)
	verifyChat(t, restored)
	verifyAudit(t, restored)
	check(t, restored)
}
