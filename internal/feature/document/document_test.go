package document_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	feature "github.com/skein-realtime/skein/internal/feature/document"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is sessions with the feature, on a store in a file.
type world struct{ *sessiontest.World }

func start(t *testing.T) *world {
	t.Helper()
	place, err := auth.ParsePlace("/open write anyone")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{
		{Name: "game", Kind: hub.KindDoc, Subscribe: auth.Anyone, Patch: auth.User},
		{Name: "board", Kind: hub.KindDoc, Subscribe: auth.Anyone, Patch: auth.Anyone, Places: auth.NewPlaces([]auth.Place{place})},
		{Name: "few", Kind: hub.KindDoc, Count: 16},
		{Name: "event", Kind: hub.KindEvent, Subscribe: auth.Anyone, Patch: auth.Anyone},
	}})}
	kept, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	limits := func() tree.Limits { return tree.Limits{Bytes: 1000, Depth: 8, Ops: 10} }
	docs := document.New(document.Config{Limits: limits, Logger: slog.New(slog.DiscardHandler)})
	docs.Start(w.Hub, kept)
	t.Cleanup(func() {
		docs.Close()
		_ = kept.Close()
	})
	feature.New(feature.Config{Hub: w.Hub, Documents: docs, Limits: limits, Page: func() int { return 64 << 10 }}, w.Server, w.Verbs)
	return w
}

// run runs a verb; it must succeed.
func (w *world) run(name, params string) map[string]any {
	w.T.Helper()
	out, text := w.Run(name, params)
	if text != "" {
		w.T.Fatalf("%s %s: %s", name, params, text)
	}
	return out
}

// keyed runs a verb under a key.
func (w *world) keyed(name, params, key string) (string, error) {
	b, err := w.Verbs.Run(verb.WithCaller(context.Background(), verb.Caller{Name: "backend"}), name, []byte(params), key)
	return string(b), err
}

// has checks the text of a document.
func (w *world) has(channel, want string) {
	w.T.Helper()
	b, err := w.keyed("doc.get", fmt.Sprintf(`{"channel":%q}`, channel), "")
	var r struct{ Data json.RawMessage }
	if err == nil {
		err = json.Unmarshal([]byte(b), &r)
	}
	if err != nil || string(r.Data) != want {
		w.T.Errorf("%s is %s, %v; want %s", channel, b, err, want)
	}
}

func TestWrongParamsNameTheirField(t *testing.T) {
	w := start(t)
	w.run("doc.put", `{"channel":"game:1","data":{"a":1,"list":[1]}}`)
	for _, tt := range []struct {
		verb, params string
		code         fault.Code
		message      string
	}{
		{"doc.get", `{}`, fault.BadRequest, "channel"},
		{"doc.get", `{"channel":"none:1"}`, fault.NotFound, `channel: namespace "none" is not configured`},
		{"doc.get", `{"channel":"event:1"}`, fault.BadRequest, "channel: event channels are no documents (kind: event)"},
		{"doc.get", `{"channel":"game:1","path":"a"}`, fault.BadRequest, "path: must be empty or begin with /"},
		{"doc.get", `{"channel":"game:1","path":"/a~"}`, fault.BadRequest, "path: "},
		{"doc.put", `{"channel":"game:1"}`, fault.BadRequest, "data: is missing"},
		{"doc.put", `{"channel":"game:1","data":{"a":1,"a":2}}`, fault.BadRequest, "data: "},
		{"doc.put", `{"channel":"game:1","data":"` + strings.Repeat("x", 2000) + `"}`, fault.TooLarge, "limits.document"},
		{"doc.put", `{"channel":"game:1","data":1,"by":""}`, "", ""},
		{"doc.put", `{"channel":"game:1","data":1,"by":"` + strings.Repeat("x", 300) + `"}`, fault.BadRequest, "by: "},
		{"doc.put", `{"channel":"game:1","data":1,"if_version":-1}`, fault.BadRequest, "if_version: must be between 0 and"},
		{"doc.put", `{"channel":"game:1","data":1,"if_version":9007199254740993}`, fault.BadRequest, "if_version: "},
		{"doc.put", `{"channel":"game:1","data":1,"if_version":7}`, fault.Conflict, "if_version: the document has version"},
		{"doc.patch", `{"channel":"game:1"}`, fault.BadRequest, "ops: give exactly one of ops, json_patch and merge_patch"},
		{"doc.patch", `{"channel":"game:1","ops":[],"merge_patch":{}}`, fault.BadRequest, "ops: give exactly one"},
		{"doc.patch", `{"channel":"game:1","ops":[]}`, fault.BadRequest, "ops: must have at least one"},
		{"doc.patch", `{"channel":"game:1","ops":null}`, fault.BadRequest, "ops: "},
		{"doc.patch", `{"channel":"game:1","ops":[{"op":"move","from":"/a","path":"/b"}]}`, fault.BadRequest, "ops[0].op: "},
		{"doc.patch", `{"channel":"game:1","ops":[{"op":"remove","path":"/none"}]}`, fault.Conflict, "ops[0].path: "},
		{"doc.patch", `{"channel":"game:1","json_patch":[{"op":"test","path":"","value":1},{"op":"inc","path":"/a","by":1}]}`, fault.BadRequest, "json_patch[1].op: "},
		{"doc.patch", `{"channel":"game:1","json_patch":[{"op":"test","path":"","value":1},{"op":"replace","path":"/none","value":1}]}`, fault.Conflict, "json_patch[1].path: "},
		{"doc.patch", `{"channel":"game:1","json_patch":[{"op":"move","from":"/none","path":"/a"}]}`, fault.Conflict, "json_patch[0].from: "},
		{"doc.patch", `{"channel":"game:1","json_patch":{}}`, fault.BadRequest, "json_patch: must be a list"},
		{"doc.patch", `{"channel":"game:1","merge_patch":{"a":1,"a":2}}`, fault.BadRequest, "merge_patch: "},
		{"doc.patch", `{"channel":"game:1","ops":[` + strings.Repeat(`{"op":"inc","path":"/n","by":1},`, 10) + `{"op":"inc","path":"/n","by":1}]}`, fault.TooLarge, "ops: has 11 operations; at most 10"},
		{"doc.undo", `{"channel":"game:1"}`, fault.BadRequest, "version: must be between 1 and"},
		{"doc.undo", `{"channel":"game:1","version":99}`, fault.NotFound, "version: the document has no version 99"},
		{"doc.delete", `{"channel":"game:none"}`, fault.Conflict, "channel: "},
		{"doc.history", `{"channel":"game:1","limit":0}`, fault.BadRequest, "limit: must be between 1 and 500"},
		{"doc.history", `{"channel":"game:1","limit":501}`, fault.BadRequest, "limit: "},
		{"doc.history", `{"channel":"game:1","before":0}`, fault.BadRequest, "before: "},
		{"doc.history", `{"channel":"game:1","after":-1}`, fault.BadRequest, "after: "},
		{"doc.history", `{"channel":"game:1","after":1,"before":3}`, fault.BadRequest, "after: cannot be given together with before"},
	} {
		_, err := w.keyed(tt.verb, tt.params, "")
		e := fault.Of(err)
		if tt.code == "" && err == nil {
			continue
		}
		if err == nil || e.Code != tt.code || !strings.Contains(e.Message, tt.message) {
			t.Errorf("%s %.150s: %v; want %s: %s", tt.verb, tt.params, err, tt.code, tt.message)
		}
	}
	w.has("game:1", "1")
}

func TestPatchesOfTheStandards(t *testing.T) {
	w := start(t)
	for _, tt := range []struct{ params, want string }{
		{`"json_patch":[{"op":"add","path":"","value":{"a":{"b":1},"list":[1]}}]`, `{"a":{"b":1},"list":[1]}`},
		{`"json_patch":[{"op":"add","path":"/list/-","value":2},{"op":"copy","from":"/a","path":"/c"},{"op":"replace","path":"/a/b","value":12345678901234567890}]`, `{"a":{"b":12345678901234567890},"list":[1,2],"c":{"b":1}}`},
		{`"json_patch":[{"op":"move","from":"/c/b","path":"/d"},{"op":"remove","path":"/c"},{"op":"test","path":"/d","value":1.0}]`, `{"a":{"b":12345678901234567890},"list":[1,2],"d":1}`},
		{`"merge_patch":{"a":{"b":null,"c":{"x":null,"y":2}},"list":"gone","d":null}`, `{"a":{"c":{"y":2}},"list":"gone"}`},
		{`"ops":[{"op":"append","path":"/new/list","value":{}},{"op":"inc","path":"/new/n","by":0.5}]`, `{"a":{"c":{"y":2}},"list":"gone","new":{"list":[{}],"n":0.5}}`},
		{`"merge_patch":null`, `null`},
	} {
		w.run("doc.patch", `{"channel":"game:1",`+tt.params+`}`)
		w.has("game:1", tt.want)
	}
}

func TestAKeyMakesARepeatHarmless(t *testing.T) {
	w := start(t)
	w.run("doc.put", `{"channel":"game:3","data":1}`)
	w.run("doc.put", `{"channel":"game:4","data":1}`)
	for verb, params := range map[string]string{
		"doc.patch":  `{"channel":"game:1","ops":[{"op":"inc","path":"/n","by":1}]}`,
		"doc.put":    `{"channel":"game:2","data":{"n":1},"if_version":0}`,
		"doc.delete": `{"channel":"game:3","forget":true}`,
		"doc.undo":   `{"channel":"game:4","version":1}`,
	} {
		first, err := w.keyed(verb, params, "k")
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.keyed(verb, params, "k")
		if err != nil || !strings.Contains(again, `"duplicate":true`) || strings.Replace(again, `,"duplicate":true`, "", 1) != first {
			t.Errorf("%s gives %s, and its repeat %s, %v", verb, first, again, err)
		}
		other := strings.Replace(params, "{", `{"by":"ann",`, 1)
		if out, err := w.keyed(verb, other, "k"); fault.Of(err) == nil || fault.Of(err).Code != fault.Conflict {
			t.Errorf("%s with other content gives %s, %v", verb, out, err)
		}
	}
}

func TestTheHistoryNamesTheOperator(t *testing.T) {
	w := start(t)
	ctx := verb.WithCaller(t.Context(), verb.Caller{Name: verb.ConsolePrefix + "ann", By: verb.ByConsole})
	for _, c := range [][2]string{
		{"doc.put", `{"channel":"game:1","data":{"n":1}}`},
		{"doc.patch", `{"channel":"game:1","ops":[{"op":"inc","path":"/n","by":1}],"by":"ben"}`},
		{"doc.undo", `{"channel":"game:1","version":2}`},
	} {
		if _, err := w.Verbs.Run(ctx, c[0], []byte(c[1]), ""); err != nil {
			t.Fatalf("%s: %v", c[0], err)
		}
	}
	raw, err := w.keyed("doc.history", `{"channel":"game:1"}`, "")
	if err != nil {
		t.Fatal(err)
	}
	var history struct {
		Patches []struct{ From struct{ User string } }
	}
	if err := json.Unmarshal([]byte(raw), &history); err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, v := range history.Patches {
		users = append(users, v.From.User)
	}
	if want := []string{"console:ann", "ben", "console:ann"}; !slices.Equal(users, want) {
		t.Errorf("the changes are from %v, want %v: %s", users, want, raw)
	}
}

func TestTheHistoryInPages(t *testing.T) {
	w := start(t)
	for i := range 9 {
		w.run("doc.patch", fmt.Sprintf(`{"channel":"game:1","ops":[{"op":"set","path":"/n","value":%d}],"by":"user%d"}`, i, i))
	}
	w.run("doc.undo", `{"channel":"game:1","version":9,"by":"boss"}`)
	for params, want := range map[string]string{
		`"limit":3`:              "[8 9 10] true",
		`"limit":3,"before":8`:   "[5 6 7] true",
		`"limit":4,"before":5`:   "[1 2 3 4] false",
		`"limit":4,"after":0`:    "[1 2 3 4] true",
		`"limit":4,"after":6`:    "[7 8 9 10] false",
		`"after":10`:             "[] false",
		`"after":99`:             "[] false",
		`"before":1`:             "[] false",
		`"limit":500,"before":9`: "[1 2 3 4 5 6 7 8] false",
	} {
		out := w.run("doc.history", `{"channel":"game:1",`+params+`}`)
		versions := []any{}
		for _, p := range out["patches"].([]any) {
			versions = append(versions, p.(map[string]any)["version"])
		}
		if got := fmt.Sprint(versions, " ", out["more"]); got != want || out["version"] != 10.0 {
			t.Errorf("%s: %s of %v, want %s", params, got, out["version"], want)
		}
	}
	last := w.run("doc.history", `{"channel":"game:1","limit":1}`)["patches"].([]any)[0].(map[string]any)
	if last["undoes"] != 9.0 || fmt.Sprint(last["from"]) != "map[user:boss]" || fmt.Sprint(last["old"]) != "[map[op:0 path:/n value:8]]" {
		t.Errorf("the undo is %v", last)
	}
	never := w.run("doc.history", `{"channel":"game:never"}`)
	if len(never["patches"].([]any)) != 0 || never["version"] != 0.0 || never["epoch"] == "" {
		t.Errorf("one that was never written: %v", never)
	}
}

func TestWhoMayPatch(t *testing.T) {
	w := start(t)
	ann, nobody := w.User("ann", ""), w.User("", "")
	patch := func(channel, path string) string {
		return fmt.Sprintf(`{"type":"patch","id":1,"channel":%q,"ops":[{"op":"inc","path":%q,"by":1}]}`, channel, path)
	}
	nobody.Send(patch("game:1", "/n"))
	nobody.ExpectError(fault.Denied, "no right to change game:1")
	ann.Send(patch("game:1", "/n"))
	ann.Expect("ok")
	for _, c := range []*sessiontest.Client{ann, nobody} {
		c.Send(patch("board:1", "/open"))
		c.Expect("ok")
		c.Send(patch("board:1", "/closed"))
		c.ExpectError(fault.Denied, "ops[0].path: no right to change /closed")
		c.Send(patch("few:1", "/n"))
		c.ExpectError(fault.Denied, "no right to change few:1")
		c.Send(patch("event:1", "/n"))
		c.ExpectError(fault.BadRequest, "event channels are no documents")
		c.Send(patch("none:1", "/n"))
		c.ExpectError(fault.NotFound, "is not configured")
	}
	w.has("board:1", `{"open":2}`)
	// A key belongs to the user, or to the connection of one without.
	keyed := strings.Replace(patch("board:2", "/open"), `"id":1`, `"id":1,"key":"k"`, 1)
	for _, tt := range []struct {
		c         *sessiontest.Client
		version   float64
		duplicate any
	}{{ann, 1, nil}, {nobody, 2, nil}, {w.User("ann", ""), 1, true}, {w.User("", ""), 3, nil}, {nobody, 2, true}} {
		tt.c.Send(keyed)
		if ok := tt.c.Expect("ok"); ok["version"] != tt.version || ok["duplicate"] != tt.duplicate {
			t.Errorf("got %v, want version %v", ok, tt.version)
		}
	}
}
