package skein_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
)

// A schema is a file; what breaks it is refused and the place is named. A reload
// puts another one in force.
func TestASchemaIsFulfilledByEveryVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "game.json")
	write := func(schema string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(schema), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["name"],"additionalProperties":false,
		"properties":{"name":{"type":"string"},"points":{"type":"integer","minimum":0},"players":{"type":"object","additionalProperties":{"$ref":"#/$defs/player"}}},
		"$defs":{"player":{"type":"object","properties":{"points":{"type":"integer","maximum":9}}}}}`)
	dir := t.TempDir()
	config := func() skein.Config {
		cfg := docConfig(dir)
		cfg.Listen = "127.0.0.1:0"
		cfg.Namespaces["game"] = skein.Namespace{Kind: "doc", Subscribe: "anyone", Patch: "anyone", Schema: file}
		return cfg
	}
	s := start(t, config())
	c := s.docClient("ann", "", "game:1")
	refused := func(ops string, places ...string) {
		t.Helper()
		f := c.refused(patchFrame("game:1", ops, ""), "bad_request")
		for _, place := range places {
			if !strings.Contains(f.Message, place) {
				t.Errorf("%s: %s; it does not name %s", ops, f.Message, place)
			}
		}
	}
	refused(`[{"op":"set","path":"/points","value":1}]`, "name")
	if version, data := s.document("game:1"); version != 0 || data != "null" {
		t.Errorf("it is %s at %d", data, version)
	}
	c.patch(`[{"op":"set","path":"","value":{"name":"chess","players":{"ann":{"points":3}}}}]`)
	refused(`[{"op":"set","path":"/points","value":-1}]`, "points")
	refused(`[{"op":"set","path":"/points","value":"many"}]`, "points")
	refused(`[{"op":"inc","path":"/players/ann/points","by":7}]`, "players", "points")
	refused(`[{"op":"remove","path":"/name"}]`, "name")
	refused(`[{"op":"set","path":"/other","value":1}]`, "other")
	refused(`[{"op":"set","path":"","value":[]}]`)
	for verb, params := range map[string]string{
		"doc.put":   `{"channel":"game:1","data":{"points":1}}`,
		"doc.patch": `{"channel":"game:1","merge_patch":{"players":{"ben":5}}}`,
	} {
		if status, out := s.api(verb, params); status != 400 {
			t.Errorf("%s is answered by %d %v", verb, status, out)
		}
	}
	c.patch(`[{"op":"remove","path":"/players"},{"op":"set","path":"/players/ben","value":{"points":9}}]`) // in the end it fits
	c.reaches(2)

	for _, schema := range []string{`{`, `[]`, `{"$ref":"#/$defs/none"}`} {
		write(schema)
		if _, _, err := s.Reload(config()); err == nil || !strings.Contains(err.Error(), "namespaces.game.schema") {
			t.Errorf("the schema %s is taken: %v", schema, err)
		}
	}
	refused(`[{"op":"set","path":"/points","value":-1}]`, "points") // the one before is in force
	file = filepath.Join(t.TempDir(), "other.json")
	write(`{"properties":{"points":{"maximum":5}}}`)
	if _, _, err := s.Reload(config()); err != nil {
		t.Fatal(err)
	}
	c.patch(`[{"op":"set","path":"/points","value":-1},{"op":"remove","path":"/name"}]`)
	refused(`[{"op":"set","path":"/points","value":6}]`, "points")
	c.reaches(3)
	if _, data := s.document("game:1"); c.text() != data || data != `{"players":{"ben":{"points":9}},"points":-1}` {
		t.Errorf("it is %s; the client has %s", data, c.text())
	}
}

// A server that stops while patches wait answers them or refuses them; what it has
// answered is there afterwards.
func TestAServerThatStopsAnswersPatches(t *testing.T) {
	for _, how := range []string{"drain", "close"} {
		for _, driver := range drivers {
			t.Run(how+"/"+driver, func(t *testing.T) {
				dir := t.TempDir()
				cfg := docConfig(dir)
				cfg.WebSocket.Driver = driver
				done := map[uint64]bool{}
				t.Run("stops", func(t *testing.T) { stopWhilePatching(t, cfg, how == "drain", done) })
				version, data := start(t, cfg).document("game:1")
				for v := range done {
					if v > version {
						t.Errorf("version %d was told; it ends at %d", v, version)
					}
				}
				if data != fmt.Sprintf(`{"n":%d}`, version) || len(done) == 0 {
					t.Errorf("it is %s at version %d; %d were told", data, version, len(done))
				}
			})
		}
	}
}

// stopWhilePatching stops a server while clients and the application change a
// document, and notes the versions that were told.
func stopWhilePatching(t *testing.T, cfg skein.Config, drain bool, done map[uint64]bool) {
	s := start(t, cfg)
	var mu sync.Mutex
	enough := make(chan struct{})
	note := func(version uint64) {
		mu.Lock()
		defer mu.Unlock()
		if done[version] {
			t.Errorf("version %d was told twice", version)
		}
		if done[version] = true; len(done) == 200 {
			close(enough)
		}
	}
	var work sync.WaitGroup
	for i := range 4 {
		c := s.docStranger(fmt.Sprint("user", i), "", "game:1")
		work.Go(func() {
			for {
				f, err := c.request(patchFrame("game:1", `[{"op":"inc","path":"/n","by":1}]`, ""))
				switch {
				case err != nil: // a bye, and the end
					c.leave()
					return
				case f.Type == "ok":
					note(f.Version)
				case f.Code != "unavailable":
					t.Errorf("got %+v", f)
					return
				}
			}
		})
		work.Go(func() {
			for {
				r, err := s.DocPatch(context.Background(), skein.DocPatchParams{Change: skein.DocChange{Channel: "game:1"}, Ops: []byte(`[{"op":"inc","path":"/n","by":1}]`)})
				if err != nil {
					if !hasCode(err, "unavailable") {
						t.Errorf("got %v", err)
					}
					return
				}
				note(r.Version)
			}
		})
	}
	<-enough
	if drain {
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	work.Wait()
	if _, err := s.DocPatch(context.Background(), skein.DocPatchParams{Change: skein.DocChange{Channel: "game:1"}, Ops: []byte(`[{"op":"inc","path":"/n","by":1}]`)}); !hasCode(err, "unavailable") {
		t.Errorf("after the end: %v", err)
	}
}

// Last-Event-ID brings an EventSource back to the version that it has.
func TestLastEventIDBringsTheVersionsThatAreMissing(t *testing.T) {
	s := start(t, documents(t)())
	author := s.docStranger("ann", "", "game:1")
	author.patch(`[{"op":"set","path":"/text","value":"` + strings.Repeat("x", 20_000) + `"}]`)
	r := replica{channel: "game:1"}
	last := ""
	for round := range 12 {
		e, err := s.openSource("http://"+s.addr, "user=ben&channels=game:1", "Last-Event-ID: "+last)
		if err != nil {
			t.Fatal(err)
		}
		c := &docClient{t: t, wayIn: stream{e}, replica: r, answers: map[string]docFrame{}}
		ok, err := c.answer(`"channels.0"`)
		if err != nil || ok.Type != "ok" || round > 0 && (ok.Recovered == nil || !*ok.Recovered || !strings.Contains(last, fmt.Sprintf("game:1=%d", r.version))) {
			t.Fatalf("round %d, with the id %q at version %d: %+v, %v", round, last, r.version, ok, err)
		}
		to := ok.Version
		for range round % 3 {
			to = author.patch(`[{"op":"inc","path":"/n","by":1}]`).Version
		}
		c.reaches(to)
		if round%4 == 3 { // nothing has come since: the id says so, too
			eventually(t, "the id is there", func() bool { return strings.Contains(e.last, fmt.Sprintf("game:1=%d", to)) })
		}
		r, last = c.replica, e.last
		c.leave()
		for range round % 4 {
			author.patch(`[{"op":"inc","path":"/n","by":1}]`)
		}
	}
	if r.values != 1 {
		t.Errorf("it got %d snapshots", r.values)
	}
}

// A reload reads the schema's file anew, though its name is the same.
func TestAReloadReadsTheSchemaAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "game.json")
	dir := t.TempDir()
	config := func(schema string) skein.Config {
		if err := os.WriteFile(file, []byte(schema), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := docConfig(dir)
		cfg.Listen = "127.0.0.1:0"
		cfg.Namespaces["game"] = skein.Namespace{Kind: "doc", Subscribe: "anyone", Patch: "anyone", Schema: file}
		return cfg
	}
	s := start(t, config(`{"properties":{"n":{"maximum":5}}}`))
	c := s.docClient("ann", "", "game:1")
	c.refused(patchFrame("game:1", `[{"op":"set","path":"/n","value":6}]`, ""), "bad_request")
	if _, _, err := s.Reload(config(`{"properties":{"n":{"maximum":7}}}`)); err != nil {
		t.Fatal(err)
	}
	c.patch(`[{"op":"set","path":"/n","value":6}]`)
}

// A document can be deleted whatever its schema says of its value.
func TestADocumentWithASchemaCanBeDeleted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "game.json")
	if err := os.WriteFile(file, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := documents(t)()
	cfg.Namespaces["game"] = skein.Namespace{Kind: "doc", Subscribe: "anyone", Patch: "anyone", Schema: file}
	s := start(t, cfg)
	s.verb("doc.put", `{"channel":"game:1","data":{}}`)
	if out := s.verb("doc.delete", `{"channel":"game:1","forget":true}`); out["version"] != 2.0 {
		t.Errorf("got %v", out)
	}
}
