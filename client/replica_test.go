package client

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/tree"
)

// What follows is a model of a server and its documents, as plain as it can be: a
// value is what encoding/json makes of JSON, and a patch makes a new one.

type modelOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
	By    int    `json:"by,omitempty"`
	Min   *int   `json:"min,omitempty"`
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, m := range v {
			out[name] = clone(m)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clone(v[i])
		}
		return out
	}
	return v
}

// carryOut gives the value after a patch, and the operations as a server tells
// them; false: it is a conflict.
func carryOut(v any, ops []modelOp) (after any, done []map[string]any, fits bool) {
	v = clone(v)
	for _, op := range ops {
		old, here, reachable := look(v, op.Path)
		if !reachable {
			return nil, nil, false
		}
		told := map[string]any{"op": op.Op, "path": op.Path, "value": op.Value}
		switch op.Op {
		case "set":
			v = put(v, op.Path, clone(op.Value))
		case "remove":
			if !here {
				return nil, nil, false
			}
			v = drop(v, op.Path)
			delete(told, "value")
		case "inc":
			n, isNumber := old.(float64)
			if here && !isNumber {
				return nil, nil, false
			}
			n += float64(op.By)
			if op.Min != nil && n < float64(*op.Min) {
				return nil, nil, false
			}
			v = put(v, op.Path, n)
			told["by"], told["value"] = op.By, n
		case "append":
			array, isArray := old.([]any)
			if here && !isArray {
				return nil, nil, false
			}
			v = put(v, op.Path, append(slices.Clone(array), clone(op.Value)))
		case "merge":
			v = put(v, op.Path, merged(old, op.Value))
		case "test":
			if !here || asText(old) != asText(op.Value) {
				return nil, nil, false
			}
			continue
		}
		done = append(done, told)
	}
	return v, done, true
}

func merged(old, patch any) any {
	members, isObject := patch.(map[string]any)
	if !isObject {
		return clone(patch)
	}
	out, _ := clone(old).(map[string]any)
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range members {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = merged(out[name], value)
		}
	}
	return out
}

func names(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path[1:], "/")
}

// look tells what is at a path, and whether the way there leads through objects.
func look(v any, path string) (at any, here, reachable bool) {
	for _, name := range names(path) {
		if v == nil {
			return nil, false, true
		}
		object, isObject := v.(map[string]any)
		if !isObject {
			return nil, false, false
		}
		v = object[name]
	}
	return v, v != nil, true
}

func put(v any, path string, value any) any {
	list := names(path)
	if len(list) == 0 {
		return value
	}
	object, _ := v.(map[string]any)
	if object == nil {
		object = map[string]any{}
	}
	rest := ""
	if len(list) > 1 {
		rest = "/" + strings.Join(list[1:], "/")
	}
	object[list[0]] = put(object[list[0]], rest, value)
	return object
}

func drop(v any, path string) any {
	list := names(path)
	parent, _, _ := look(v, strings.TrimSuffix(path, "/"+list[len(list)-1]))
	delete(parent.(map[string]any), list[len(list)-1])
	return v
}

func asText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sameJSON brings JSON text into the form of asText.
func sameJSON(raw []byte) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Sprintf("%s: %v", raw, err)
	}
	return asText(v)
}

// modelFrame is a frame on its way to a client.
type modelFrame struct {
	kind    string // snapshot, patch, ok, error
	version uint64
	data    string // of a snapshot the value, of a patch its ops
	key     string
}

type modelServer struct {
	history []any // the value at each version
	patches []modelFrame
	answers map[string]modelFrame // to the keys that were seen
	clients []*modelClient
}

// modelClient is a client and the two directions of its connection.
type modelClient struct {
	r         replica
	edits     map[string][]modelOp
	unsettled []*edit // without an answer
	up        []*edit
	down      []modelFrame
}

func (s *modelServer) version() uint64 { return uint64(len(s.history) - 1) }

// take handles the next patch of a client.
func (s *modelServer) take(c *modelClient, okFirst bool) {
	e := c.up[0]
	c.up = c.up[1:]
	if answer, seen := s.answers[e.key]; seen {
		c.down = append(c.down, answer)
		return
	}
	value, done, fits := carryOut(s.history[s.version()], c.edits[e.key])
	if !fits {
		c.down = append(c.down, modelFrame{kind: "error", key: e.key})
		return
	}
	if len(done) > 0 {
		s.history = append(s.history, value)
	}
	answer := modelFrame{kind: "ok", version: s.version(), key: e.key}
	s.answers[e.key] = answer
	if okFirst {
		c.down = append(c.down, answer)
	}
	if len(done) > 0 {
		f := modelFrame{kind: "patch", version: s.version(), data: asText(done)}
		s.patches = append(s.patches, f)
		for _, other := range s.clients {
			own := f
			if other == c {
				own.key = e.key
			}
			other.down = append(other.down, own)
		}
	}
	if !okFirst {
		c.down = append(c.down, answer)
	}
}

// deliver hands the next frame to a client.
func (c *modelClient) deliver(t *rapid.T) {
	f := c.down[0]
	c.down = c.down[1:]
	i := slices.IndexFunc(c.unsettled, func(e *edit) bool { return e.key == f.key })
	switch f.kind {
	case "snapshot":
		if err := c.r.snapshot("e", f.version, []byte(f.data)); err != nil {
			t.Fatalf("snapshot: %v", err)
		}
	case "patch":
		if got := c.r.patch(f.version, []byte(f.data), f.key); got == amiss {
			t.Fatalf("patch %d %s does not fit version %d", f.version, f.data, c.r.version)
		}
		if f.key != "" && slices.ContainsFunc(c.r.pending, func(e *edit) bool { return e.key == f.key }) {
			t.Fatalf("patch %d is its own, and is still pending", f.version)
		}
	case "ok":
		if i >= 0 {
			c.r.accept(c.unsettled[i], f.version)
			c.unsettled = slices.Delete(c.unsettled, i, i+1)
		}
	case "error":
		if i >= 0 {
			c.r.remove(c.unsettled[i])
			c.unsettled = slices.Delete(c.unsettled, i, i+1)
		}
	}
}

// reconnect loses what is on its way, subscribes anew and sends again what has no
// answer.
func (s *modelServer) reconnect(c *modelClient, snapshot bool) {
	c.down = nil
	if snapshot || !c.r.known {
		c.down = append(c.down, modelFrame{kind: "snapshot", version: s.version(), data: asText(s.history[s.version()])})
	} else {
		for _, f := range s.patches {
			if f.version > c.r.version {
				c.down = append(c.down, f)
			}
		}
	}
	c.up = slices.Clone(c.unsettled)
}

// catchUp gives a slow reader the newest value in the place of the patches that wait.
func (s *modelServer) catchUp(c *modelClient) {
	c.down = slices.DeleteFunc(c.down, func(f modelFrame) bool { return f.kind == "patch" || f.kind == "snapshot" })
	c.down = append([]modelFrame{{kind: "snapshot", version: s.version(), data: asText(s.history[s.version()])}}, c.down...)
}

// check compares what a client shows with what it should: the value of its version
// with its pending patches on top.
func (s *modelServer) check(t *rapid.T, c *modelClient) {
	if !c.r.known {
		return
	}
	want := s.history[c.r.version]
	for _, e := range c.r.pending {
		if after, _, fits := carryOut(want, c.edits[e.key]); fits {
			want = after
		}
	}
	if got := sameJSON(c.r.text()); got != asText(want) {
		t.Fatalf("at version %d with %d pending it shows\n%s, want\n%s", c.r.version, len(c.r.pending), got, asText(want))
	}
}

func drawOps(t *rapid.T) []modelOp {
	path := rapid.SampledFrom([]string{"/a", "/b", "/a/x", "/a/y", "/a/y/z", "/list"})
	value := rapid.SampledFrom([]any{1.0, 2.0, "s", true, map[string]any{"x": 1.0}, map[string]any{}, []any{1.0}})
	patch := rapid.SampledFrom([]any{map[string]any{"x": nil, "y": 2.0}, map[string]any{"a": map[string]any{"x": nil}}, "s", map[string]any{}})
	op := rapid.Custom(func(t *rapid.T) modelOp {
		o := modelOp{Op: rapid.SampledFrom([]string{"set", "remove", "inc", "inc", "append", "merge", "test"}).Draw(t, "op"), Path: path.Draw(t, "path")}
		switch o.Op {
		case "set", "append", "test":
			o.Value = value.Draw(t, "value")
		case "merge":
			o.Value = patch.Draw(t, "value")
			if _, object := o.Value.(map[string]any); object && rapid.Bool().Draw(t, "whole") {
				o.Path = ""
			}
		case "inc":
			o.By = rapid.IntRange(1, 3).Draw(t, "by")
			if rapid.Bool().Draw(t, "negative") {
				o.By = -o.By
			}
			if rapid.Bool().Draw(t, "bounded") {
				o.Min = new(int)
			}
		}
		return o
	})
	return rapid.SliceOfN(op, 1, 3).Draw(t, "ops")
}

// Whatever happens on the way, a client shows the value that the server had with
// its own patches on top, and in the end everybody has the same.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &modelServer{history: []any{nil}, answers: map[string]modelFrame{}}
		for range rapid.IntRange(1, 3).Draw(t, "clients") {
			c := &modelClient{edits: map[string][]modelOp{}}
			s.clients = append(s.clients, c)
			s.reconnect(c, true)
		}
		keys := 0
		one := func(t *rapid.T) *modelClient { return rapid.SampledFrom(s.clients).Draw(t, "client") }
		deliver := func(t *rapid.T) {
			if c := one(t); len(c.down) > 0 {
				c.deliver(t)
			}
		}
		take := func(t *rapid.T) {
			if c := one(t); len(c.up) > 0 {
				s.take(c, rapid.Bool().Draw(t, "ok first"))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":         func(t *rapid.T) { s.checkAll(t) },
			"deliver":  deliver,
			"deliver2": deliver,
			"take":     take,
			"take2":    take,
			"edit": func(t *rapid.T) {
				c := one(t)
				ops := drawOps(t)
				keys++
				key := fmt.Sprint("key ", keys)
				c.edits[key] = ops
				e, err := c.r.add(key, json.RawMessage(asText(ops)))
				if err != nil {
					t.Fatalf("%s: %v", asText(ops), err)
				}
				c.unsettled, c.up = append(c.unsettled, e), append(c.up, e)
			},
			"reconnect": func(t *rapid.T) { s.reconnect(one(t), rapid.Bool().Draw(t, "snapshot")) },
			"slow":      func(t *rapid.T) { s.catchUp(one(t)) },
		})
		for _, c := range s.clients {
			for len(c.up) > 0 {
				s.take(c, true)
			}
		}
		for i, c := range s.clients {
			for len(c.down) > 0 {
				c.deliver(t)
			}
			if got, want := sameJSON(c.r.text()), asText(s.history[s.version()]); got != want || c.r.version != s.version() || len(c.r.pending) != 0 {
				t.Fatalf("in the end client %d has version %d with %d pending and shows\n%s, want version %d\n%s",
					i, c.r.version, len(c.r.pending), got, s.version(), want)
			}
		}
	})
}

func (s *modelServer) checkAll(t *rapid.T) {
	for _, c := range s.clients {
		s.check(t, c)
	}
}

func newReplica(t *testing.T, version uint64, data string) *replica {
	t.Helper()
	r := &replica{}
	if err := r.snapshot("e", version, []byte(data)); err != nil {
		t.Fatal(err)
	}
	return r
}

func edited(t *testing.T, r *replica, key, ops string) *edit {
	t.Helper()
	e, err := r.add(key, json.RawMessage(ops))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAReplicaTakesTheServersSum(t *testing.T) {
	r := newReplica(t, 1, `{"n":9007199254740993}`)
	if got := r.patch(2, []byte(`[{"op":"inc","path":"/n","by":1,"value":9007199254740994}]`), ""); got != fits {
		t.Fatalf("the patch is %d", got)
	}
	if got := string(r.text()); got != `{"n":9007199254740994}` {
		t.Errorf("the value is %s", got)
	}
}

func TestAReplicaKnowsWhatItLacks(t *testing.T) {
	r := newReplica(t, 5, `{"a":1}`)
	for _, tc := range []struct {
		version uint64
		ops     string
		want    fit
	}{
		{7, `[]`, amiss},
		{5, `[]`, old},
		{4, `nonsense`, old},
		{6, `[{"op":"remove","path":"/nothing"}]`, amiss},
		{6, `[{"op":"inc","path":"/a","by":1}]`, amiss}, // a sum without its result
		{6, `[]`, fits},
		{7, `[{"op":"set","path":"/b","value":2}]`, fits},
	} {
		if got := r.patch(tc.version, []byte(tc.ops), ""); got != tc.want {
			t.Errorf("patch %d %s is %d, want %d", tc.version, tc.ops, got, tc.want)
		}
	}
	if got := string(r.text()); got != `{"a":1,"b":2}` || r.version != 7 {
		t.Errorf("version %d is %s", r.version, got)
	}
}

func TestAnotherHistoryForgetsWhatWasAccepted(t *testing.T) {
	r := newReplica(t, 5, `{}`)
	done := edited(t, r, "done", `[{"op":"inc","path":"/n","by":1}]`)
	edited(t, r, "open", `[{"op":"inc","path":"/n","by":10}]`)
	r.accept(done, 6) // its patch has not come yet
	if err := r.snapshot("another", 1, []byte(`{"n":100}`)); err != nil {
		t.Fatal(err)
	}
	if got := string(r.text()); got != `{"n":110}` || len(r.pending) != 1 {
		t.Errorf("the value is %s with %d pending", got, len(r.pending))
	}
}

func TestAPatchThatDoesNotFitComesInWhenItDoes(t *testing.T) {
	r := newReplica(t, 1, `{}`)
	edited(t, r, "k", `[{"op":"test","path":"/open","value":true},{"op":"set","path":"/mine","value":1}]`)
	if got := string(r.text()); got != `{}` {
		t.Errorf("before it fits the value is %s", got)
	}
	r.patch(2, []byte(`[{"op":"set","path":"/open","value":true}]`), "")
	if got := sameJSON(r.text()); got != `{"mine":1,"open":true}` {
		t.Errorf("once it fits the value is %s", got)
	}
}

func TestWhatCanBeNoPatchIsRefusedHere(t *testing.T) {
	r := newReplica(t, 1, `{}`)
	for _, ops := range []string{`[]`, `[{"op":"jump","path":""}]`, `[{"op":"set","path":"a","value":1}]`, `[{"op":"inc","path":"/a","by":"1"}]`} {
		if _, err := r.add("k", json.RawMessage(ops)); err == nil {
			t.Errorf("%s is taken", ops)
		}
	}
	if len(r.pending) != 0 {
		t.Errorf("%d are pending", len(r.pending))
	}
}

func TestModelAndTreeAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var model any
		value := &tree.Value{}
		for range rapid.IntRange(1, 12).Draw(t, "patches") {
			ops := drawOps(t)
			parsed, err := tree.ParseOps([]byte(asText(ops)), tree.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			after, _, fits := carryOut(model, ops)
			if _, err := value.Apply(parsed, tree.Limits{}, nil); (err == nil) != fits {
				t.Fatalf("%s on %s: the tree says %v, the model %v", asText(ops), asText(model), err, fits)
			}
			if fits {
				model = after
			}
			if got := sameJSON(value.Append(nil)); got != asText(model) {
				t.Fatalf("after %s the tree has %s, the model %s", asText(ops), got, asText(model))
			}
		}
	})
}
