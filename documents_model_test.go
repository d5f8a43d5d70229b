package skein_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// TestADocumentAgreesWithItsModel does random things to documents through real
// clients and compares what they keep, and what they are answered, with a value in
// memory: patches of clients and of the server, with and without keys, repeats,
// connections that break at any moment, readers that do not read for a while,
// documents that do not fit into memory, history that is taken back or forgotten.
func TestADocumentAgreesWithItsModel(t *testing.T) {
	fewerChecks(t, 8)
	for name, configure := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modelled(t, "websocket", func(cfg *docModelConfig) { configure(t, &cfg.Config) })
		})
	}
	for _, door := range []string{"sse", "poll"} {
		t.Run(door, func(t *testing.T) {
			t.Parallel()
			modelled(t, door, func(*docModelConfig) {})
		})
	}
	t.Run("portable", func(t *testing.T) {
		t.Parallel()
		modelled(t, "websocket", func(cfg *docModelConfig) { cfg.WebSocket.Driver = "portable" })
	})
}

// docModelConfig is what a model changes of its server.
type docModelConfig struct{ skein.Config }

func modelled(t *testing.T, door string, configure func(*docModelConfig)) {
	cfg := docModelConfig{docConfig(t.TempDir())}
	cfg.Limits.Queue = 128 << 10   // little, so that readers fall behind
	cfg.Limits.Documents = 1 << 20 // alike, so that documents are forgotten and loaded
	configure(&cfg)
	s := start(t, cfg.Config)
	var cases atomic.Int64
	for _, namespace := range []string{"game", "board"} {
		rapid.Check(t, func(rt *rapid.T) {
			m := &docModel{s: s, door: door, channel: fmt.Sprintf("%s:%d", namespace, cases.Add(1)), rules: namespace == "board", value: &tree.Value{}, keys: map[string]keptPatch{}}
			defer m.leave()
			m.begin(rt)
			rt.Repeat(map[string]func(*rapid.T){
				"patch":     m.patch,
				"server":    m.serverPatch,
				"big":       m.big,
				"repeat":    m.repeat,
				"undo":      m.undo,
				"put":       m.put,
				"delete":    m.remove,
				"burst":     m.burst,
				"vanish":    m.vanish,
				"come back": m.comeBack,
				"read":      m.read,
				"crowd":     m.crowd,
				"":          m.isRight,
			})
			m.finish(rt)
		})
	}
}

// docModel is the document as it should be.
type docModel struct {
	s        *testServer
	door     string
	channel  string
	rules    bool
	value    *tree.Value
	versions []madeVersion // by version-1
	floor    uint64        // versions up to it are forgotten
	keys     map[string]keptPatch
	clients  [3]*modelClient
}

// madeVersion is what a version has done.
type madeVersion struct {
	done []tree.Done
	old  []tree.Old
	by   string
}

// keptPatch is one that was done under a key.
type keptPatch struct {
	frame   string
	author  int
	version uint64
}

// modelClient is a client with a name, which comes and goes.
type modelClient struct {
	*docClient
	user, role string
	there      bool
}

func (m *docModel) begin(t *rapid.T) {
	for i, who := range [][2]string{{"ann", ""}, {"ben", "desk"}, {"eve", ""}} {
		m.clients[i] = &modelClient{user: who[0], role: who[1]}
		m.clients[i].docClient = &docClient{t: m.s.t, replica: replica{channel: m.channel}, answers: map[string]docFrame{}}
	}
}

func (m *docModel) version() uint64 { return uint64(len(m.versions)) }

func places(t testing.TB, rules []string) *auth.Places {
	t.Helper()
	var list []auth.Place
	for _, text := range rules {
		p, err := auth.ParsePlace(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return auth.NewPlaces(list)
}

func rolesOf(role string) auth.Roles {
	if role == "" {
		return ""
	}
	return auth.Roles(role)
}

// guard is what a client may do.
func (m *docModel) guard(c *modelClient) tree.Guard {
	if !m.rules {
		return nil
	}
	return places(m.s.t, boardRules).Guard(c.user, rolesOf(c.role))
}

// shown is what a client should have.
func (m *docModel) shown(c *modelClient) string {
	if !m.rules {
		return string(m.value.Append(nil))
	}
	return string(m.value.AppendView(nil, places(m.s.t, boardRules).View(c.user, rolesOf(c.role))))
}

// apply does to the model what a patch should do; the code is that of the error.
func (m *docModel) apply(ops string, guard tree.Guard, by string) (code fault.Code) {
	limits := tree.Limits{Bytes: 1 << 20, Depth: 64, Ops: 1000}
	list, err := tree.ParseOps([]byte(ops), limits)
	var change *tree.Change
	if err == nil {
		change, err = m.value.Apply(list, limits, guard)
	}
	if err != nil {
		return fault.Of(err).Code
	}
	m.did(change, by)
	return ""
}

func (m *docModel) did(change *tree.Change, by string) {
	if change.Changed() {
		m.versions = append(m.versions, madeVersion{change.Done, change.Old(), by})
	}
}

// client is one of them, whether it is there or not.
func (m *docModel) client(t *rapid.T) (*modelClient, int) {
	i := rapid.IntRange(0, len(m.clients)-1).Draw(t, "client")
	return m.clients[i], i
}

// present is a client that is there.
func (m *docModel) present(t *rapid.T) (*modelClient, int) {
	c, i := m.client(t)
	m.enter(t, c)
	return c, i
}

var (
	somePaths  = []string{"/count/all", "/count/x", "/players/ann", "/players/ann/cards", "/players/ben/points", "/players/eve/cards/a", "/players/ben", "/secret", "/secret/key", "/open", "/open/list", "/open/a~1b/c"}
	someValues = []string{`1`, `null`, `"text"`, `{}`, `{"a":1,"b":{"c":null}}`, `[1,2]`, `{"cards":{"x":1},"points":12345678901234567890}`, `{"key":"k"}`, `-0.5`}
)

// ops draws operations; the sum of /count/all is left to those who count.
func (m *docModel) ops(t *rapid.T) string {
	var list []string
	for range rapid.IntRange(1, 4).Draw(t, "operations") {
		path := rapid.SampledFrom(somePaths[1:]).Draw(t, "path")
		value := rapid.SampledFrom(someValues).Draw(t, "value")
		switch kind := rapid.SampledFrom([]string{"set", "set", "set", "remove", "inc", "append", "merge", "test"}).Draw(t, "op"); kind {
		case "remove":
			list = append(list, fmt.Sprintf(`{"op":"remove","path":%q}`, path))
		case "inc":
			list = append(list, fmt.Sprintf(`{"op":"inc","path":%q,"by":%s}`, path, rapid.SampledFrom([]string{"1", "-2", "0.1", "123456789012345678901234567890"}).Draw(t, "by")))
		default:
			list = append(list, fmt.Sprintf(`{"op":%q,"path":%q,"value":%s}`, kind, path, value))
		}
	}
	return "[" + strings.Join(list, ",") + "]"
}

// expect compares an answer with what the model says of it.
func (m *docModel) expect(t *rapid.T, what string, f docFrame, code fault.Code) {
	t.Helper()
	switch {
	case code != "" && (f.Type != "error" || f.Code != string(code)):
		t.Fatalf("%.300s is answered by %+v; the model says %s (it has %.300s)", what, f, code, m.value.Append(nil))
	case code == "" && (f.Type != "ok" || f.Version != m.version() || f.Duplicate):
		t.Fatalf("%.300s is answered by %+v; the model has version %d", what, f, m.version())
	}
}

func (m *docModel) ask(t *rapid.T, c *modelClient, frame string) docFrame {
	t.Helper()
	f, err := c.request(frame)
	if err != nil {
		t.Fatalf("%s, at version %d: %.300s: %v", c.user, c.version, frame, err)
	}
	return f
}

func (m *docModel) patch(t *rapid.T) {
	c, i := m.present(t)
	ops, more, key := m.ops(t), "", ""
	if rapid.Bool().Draw(t, "keyed") {
		key = fmt.Sprintf("key %d", len(m.keys))
		more = fmt.Sprintf(`,"key":%q`, key)
	}
	if rapid.IntRange(0, 3).Draw(t, "condition") == 0 {
		version := m.version() - min(m.version(), rapid.Uint64Range(0, 1).Draw(t, "older"))
		more += fmt.Sprintf(`,"if_version":%d`, version)
		if version != m.version() {
			m.expect(t, ops, m.ask(t, c, patchFrame(m.channel, ops, more)), fault.Conflict)
			return
		}
	}
	before := m.version()
	code := m.apply(ops, m.guard(c), c.user)
	frame := patchFrame(m.channel, ops, more)
	f := m.ask(t, c, frame)
	m.expect(t, frame, f, code)
	if key != "" && m.version() > before { // what makes no version needs no key
		m.keys[key] = keptPatch{frame, i, f.Version}
	}
}

// verbCode runs a verb of the server and gives the code of its error.
func (m *docModel) verbCode(t *rapid.T, name, params string, version *uint64) fault.Code {
	t.Helper()
	var out struct{ Version uint64 }
	err := m.s.Call(m.s.t.Context(), name, json.RawMessage(params), &out)
	if version != nil {
		*version = out.Version
	}
	if err == nil {
		return ""
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s %s: %v", name, params, err)
	}
	return e.Code
}

// does runs a verb that should do what the model has done.
func (m *docModel) does(t *rapid.T, name, params string, code fault.Code) {
	t.Helper()
	var version uint64
	if got := m.verbCode(t, name, params, &version); got != code || code == "" && version != m.version() {
		t.Fatalf("%s %.300s gives version %d, %q; the model has %d, %q: %.300s", name, params, version, got, m.version(), code, m.value.Append(nil))
	}
}

func (m *docModel) serverPatch(t *rapid.T) {
	ops := m.ops(t)
	m.does(t, "doc.patch", fmt.Sprintf(`{"channel":%q,"ops":%s,"by":"office"}`, m.channel, ops), m.apply(ops, nil, "office"))
}

// big makes versions so large that a reader which does not read falls behind.
func (m *docModel) big(t *rapid.T) {
	text := strings.Repeat("y", 30_000)
	for i := range rapid.IntRange(1, 12).Draw(t, "patches") {
		ops := fmt.Sprintf(`[{"op":"set","path":"/open/big","value":"%d %s"}]`, i, text)
		m.does(t, "doc.patch", fmt.Sprintf(`{"channel":%q,"ops":%s}`, m.channel, ops), m.apply(ops, nil, ""))
	}
}

// repeat sends something again that was done under a key.
func (m *docModel) repeat(t *rapid.T) {
	for key, k := range m.keys {
		c := m.clients[k.author]
		m.enter(t, c)
		if f := m.ask(t, c, k.frame); f.Type != "ok" || f.Version != k.version || !f.Duplicate {
			t.Fatalf("a repeat of %s, which made version %d, is answered by %+v", k.frame, k.version, f)
		}
		other := patchFrame(m.channel, `[{"op":"set","path":"/open","value":"something else"}]`, fmt.Sprintf(`,"key":%q`, key))
		if f := m.ask(t, c, other); f.Code != "conflict" {
			t.Fatalf("another patch with the key of version %d is answered by %+v", k.version, f)
		}
		break
	}
}

func (m *docModel) undo(t *rapid.T) {
	if m.version() == 0 {
		return
	}
	version := rapid.Uint64Range(max(1, m.version()-min(m.version(), 6)), m.version()).Draw(t, "version")
	force := rapid.Bool().Draw(t, "force")
	params := fmt.Sprintf(`{"channel":%q,"version":%d,"force":%t}`, m.channel, version, force)
	made := m.versions[version-1]
	if version <= m.floor || made.old == nil {
		m.does(t, "doc.undo", params, fault.NotFound)
		return
	}
	var later []tree.Touch
	if !force {
		later = []tree.Touch{}
		for _, v := range m.versions[version:] {
			later = append(later, tree.Touches(v.done, v.old, v.by)...)
		}
		if len(later) == 0 {
			later = nil
		}
	}
	change, err := m.value.Undo(made.done, made.old, later, tree.Limits{Bytes: 1 << 20})
	if err != nil {
		m.does(t, "doc.undo", params, fault.Of(err).Code)
		return
	}
	m.did(change, "")
	m.does(t, "doc.undo", params, "")
}

func (m *docModel) put(t *rapid.T) {
	value := rapid.SampledFrom(someValues[2:]).Draw(t, "value")
	m.does(t, "doc.put", fmt.Sprintf(`{"channel":%q,"data":%s}`, m.channel, value), m.apply(`[{"op":"set","path":"","value":`+value+`}]`, nil, ""))
}

func (m *docModel) remove(t *rapid.T) {
	forget := rapid.Bool().Draw(t, "forget")
	params := fmt.Sprintf(`{"channel":%q,"forget":%t}`, m.channel, forget)
	ops := `[{"op":"remove","path":""}]`
	if forget && m.version() > 0 && string(m.value.Append(nil)) == "null" {
		ops = `[{"op":"set","path":"","value":null}]`
	}
	code := m.apply(ops, nil, "")
	m.does(t, "doc.delete", params, code)
	if code == "" && forget {
		m.floor = m.version() - 1
		m.versions[m.floor].old = nil
	}
}
