package skein_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// What cannot be is refused with a code that tells why, names the operation, and
// changes nothing.
func TestPatchesThatCannotBeAreRefused(t *testing.T) {
	s := start(t, documents(t)())
	c := s.docClient("ann", "", "game:1")
	const value = `{"object":{"a":{"b":1}},"list":[1,{"x":1}],"text":"t","number":5,"null":null}`
	s.verb("doc.put", `{"channel":"game:1","data":`+value+`}`)
	c.reaches(1)
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for _, tt := range []struct{ ops, more, code, message string }{
		{`[{"op":"remove","path":"/missing"}]`, "", "conflict", "ops[0].path: there is nothing at /missing"},
		{`[{"op":"remove","path":"/object/a/missing"}]`, "", "conflict", "ops[0].path"},
		{`[{"op":"remove","path":"/missing/below"}]`, "", "conflict", "ops[0].path"},
		{`[{"op":"set","path":"/list/0","value":1}]`, "", "conflict", "/list is an array"},
		{`[{"op":"set","path":"/list/-","value":1}]`, "", "conflict", "/list is an array"},
		{`[{"op":"set","path":"/list/1/x","value":1}]`, "", "conflict", "/list is an array"},
		{`[{"op":"remove","path":"/list/0"}]`, "", "conflict", "/list is an array"},
		{`[{"op":"test","path":"/list/0","value":1}]`, "", "conflict", "/list is an array"},
		{`[{"op":"inc","path":"/list/0","by":1}]`, "", "conflict", "/list is an array"},
		{`[{"op":"set","path":"/text/a","value":1}]`, "", "conflict", "/text is a string"},
		{`[{"op":"set","path":"/number/a","value":1}]`, "", "conflict", "/number is a number"},
		{`[{"op":"inc","path":"/text","by":1}]`, "", "conflict", "not a number"},
		{`[{"op":"inc","path":"/object","by":1}]`, "", "conflict", "not a number"},
		{`[{"op":"append","path":"/object","value":1}]`, "", "conflict", "not an array"},
		{`[{"op":"inc","path":"/number","by":1,"max":5}]`, "", "conflict", "ops[0].max"},
		{`[{"op":"inc","path":"/number","by":-6,"min":0}]`, "", "conflict", "ops[0].min"},
		{`[{"op":"inc","path":"/number","by":1.5e308},{"op":"inc","path":"/number","by":1.5e308}]`, "", "conflict", "ops[1].by"},
		{`[{"op":"test","path":"/number","value":"5"}]`, "", "conflict", "ops[0].value"},
		{`[{"op":"set","path":"/new","value":1},{"op":"test","path":"/new","value":2}]`, "", "conflict", "ops[1].value"},
		{`[{"op":"set","path":"/new","value":1}]`, `,"if_version":0`, "conflict", "if_version: the document has version 1"},
		{`[{"op":"set","path":"/new","value":1}]`, `,"if_version":2`, "conflict", "if_version"},
		{`[{"op":"set","path":"/new","value":1}]`, `,"if_version":-1`, "bad_request", "if_version"},
		{`[{"op":"set","path":"/new","value":1}]`, `,"if_version":"1"`, "bad_request", "if_version"},
		{`[{"op":"set","path":"/new","value":1}]`, `,"key":"` + strings.Repeat("k", 129) + `"`, "bad_request", "key"},
		{`[{"op":"set","path":"/new","value":1}]`, `,"key":5`, "bad_request", "key"},
		{`[]`, "", "bad_request", "at least one operation"},
		{`null`, "", "bad_request", "ops: is missing"},
		{`{}`, "", "bad_request", "ops: must be a list"},
		{`"set"`, "", "bad_request", "ops: must be a list"},
		{`[5]`, "", "bad_request", "ops[0]: must be an object"},
		{`[{"op":"set","path":"/a","value":1},{}]`, "", "bad_request", "ops[1].op"},
		{`[{"op":"add","path":"/a","value":1}]`, "", "bad_request", "ops[0].op"},
		{`[{"op":5,"path":"/a"}]`, "", "bad_request", "ops[0].op"},
		{`[{"op":"set","value":1}]`, "", "bad_request", "ops[0].path"},
		{`[{"op":"set","path":"a","value":1}]`, "", "bad_request", "ops[0].path"},
		{`[{"op":"set","path":"/a~","value":1}]`, "", "bad_request", "ops[0].path"},
		{`[{"op":"set","path":["a"],"value":1}]`, "", "bad_request", "ops[0].path"},
		{`[{"op":"set","path":"/a"}]`, "", "bad_request", "ops[0].value"},
		{`[{"op":"inc","path":"/number"}]`, "", "bad_request", "ops[0].by"},
		{`[{"op":"inc","path":"/number","by":"1"}]`, "", "bad_request", "ops[0].by"},
		{`[{"op":"inc","path":"/number","by":1,"min":"0"}]`, "", "bad_request", "ops[0].min"},
		{`[{"op":"inc","path":"/number","by":1e9999999}]`, "", "bad_request", "ops[0].by"},
		{`[{"op":"inc","path":"/number","by":` + strings.Repeat("9", 1001) + `}]`, "", "bad_request", "ops[0].by"},
		{`[{"op":"set","path":"/a","value":{"x":1,"x":2}}]`, "", "bad_request", "ops[0].value"},
		{`[{"op":"set","path":"` + strings.Repeat("/a", 30) + `","value":` + deep + `}]`, "", "too_large", "limits.depth"},
		{`[{"op":"set","path":"` + strings.Repeat("/a", 70) + `","value":1}]`, "", "too_large", "limits.depth"},
		{`[` + strings.Repeat(`{"op":"inc","path":"/number","by":1},`, 1000) + `{"op":"inc","path":"/number","by":1}]`, "", "too_large", "ops: has 1001 operations; at most 1000"},
	} {
		f := c.refused(patchFrame("game:1", tt.ops, tt.more), tt.code)
		if !strings.Contains(f.Message, tt.message) || f.Channel != "game:1" {
			t.Errorf("%.200s: %+v, want %q", tt.ops, f, tt.message)
		}
	}
	if version, data := s.document("game:1"); version != 1 || data != value {
		t.Errorf("it is %s at version %d", data, version)
	}
	if f := c.must(patchFrame("game:1", `[{"op":"test","path":"/null","value":null},{"op":"test","path":"/missing","value":null},{"op":"test","path":"/number","value":5.0}]`, "")); f.Version != 1 {
		t.Errorf("testing is answered by %+v", f)
	}
	for _, frame := range []string{`{"type":"patch","ops":[]}`, `{"type":"patch","channel":"","ops":[]}`} {
		c.refused(frame, "bad_request")
	}
	c.refused(patchFrame("nowhere:1", `[{"op":"remove","path":""}]`, ""), "not_found")
	c.refused(patchFrame("event:1", `[{"op":"remove","path":""}]`, ""), "denied")
	for _, frame := range []string{`{"type":"pub","channel":"game:1","data":1}`, `{"type":"history","channel":"game:1"}`, `{"type":"sub","channel":"game:1","last":1}`} {
		c.refused(frame, "bad_request")
	}
	for verb, params := range map[string]string{"publish": `{"to":{"channel":"game:1"},"data":1}`, "history": `{"channel":"game:1"}`, "recall": `{"channel":"game:1","seq":1}`} {
		if status, out := s.api(verb, params); status != 400 {
			t.Errorf("%s is answered by %d %v", verb, status, out)
		}
	}
	c.must(`{"type":"notice","channel":"game:1","event":"typing"}`)
}

// Large values and many operations are done up to the limits, and each limit says
// which it is.
func TestLargeDocuments(t *testing.T) {
	cfg := documents(t)()
	cfg.Limits.Message = 3 << 20
	cfg.Limits.Document = 2 << 20
	cfg.Limits.Ops = 10_000
	s := start(t, cfg)
	c, reader := s.docClient("ann", "", "game:1"), s.docClient("ben", "", "game:1")
	megabyte := strings.Repeat("m", 1<<20)
	c.patch(`[{"op":"set","path":"/a","value":"` + megabyte + `"}]`)
	f := c.refused(patchFrame("game:1", `[{"op":"set","path":"/b","value":"`+megabyte+`"}]`, ""), "too_large")
	if !strings.Contains(f.Message, "limits.document") {
		t.Errorf("got %+v", f)
	}
	c.refused(patchFrame("game:1", `[{"op":"append","path":"/list","value":"`+megabyte+`"}]`, ""), "too_large")
	var ops []string
	for i := range 10_000 {
		ops = append(ops, fmt.Sprintf(`{"op":"set","path":"/n/%d","value":%d}`, i, i))
	}
	c.patch("[" + strings.Join(ops, ",") + "]")
	c.refused(patchFrame("game:1", "["+strings.Join(ops, ",")+`,{"op":"remove","path":"/n"}]`, ""), "too_large")
	reader.reaches(2)
	version, data := s.document("game:1")
	if reader.text() != data || version != 2 || reader.values != 1 {
		t.Errorf("the reader has %d bytes at version %d, the server %d at %d", len(reader.text()), reader.version, len(data), version)
	}
	newcomer := s.docClient("eve", "", "game:1")
	if newcomer.text() != data {
		t.Errorf("a newcomer has %d bytes", len(newcomer.text()))
	}
	c.patch(`[{"op":"set","path":"","value":{}}]`)
	if out := s.verb("doc.undo", `{"channel":"game:1","version":3}`); out["version"] != 4.0 {
		t.Errorf("got %v", out)
	}
	reader.reaches(4)
	newcomer.reaches(4)
	if reader.text() != data || newcomer.text() != data {
		t.Error("taking it back gives something else")
	}
}

// What a client asks to go on after may be anything.
func TestGoingOnAfterAnyVersion(t *testing.T) {
	s := start(t, documents(t)())
	author := s.docClient("ann", "", "game:1")
	author.patch(`[{"op":"set","path":"/text","value":"` + strings.Repeat("x", 20_000) + `"}]`)
	for range 49 {
		author.patch(`[{"op":"inc","path":"/n","by":1}]`)
	}
	_, data := s.document("game:1")
	author.reaches(50)
	for version := range uint64(53) {
		for _, epoch := range []string{"", author.epoch, "another"} {
			c := s.docStranger("ben", "", "game:1")
			since := fmt.Sprintf(`"version":%d`, version)
			if epoch != "" {
				since += fmt.Sprintf(`,"epoch":%q`, epoch)
			}
			f := c.must(`{"type":"sub","channel":"game:1","since":{` + since + `}}`)
			// All of it is longer than the value.
			want := epoch != "another" && version >= 1 && version <= 50
			if f.Version != 50 || f.Recovered == nil || *f.Recovered != want {
				t.Fatalf("since %s is answered by %+v, want recovered %t", since, f, want)
			}
			if want {
				c.version, c.value = version, author.value // only what comes is looked at
				for next := version + 1; next <= 50; next++ {
					var came uint64
					c.note = func(f *docFrame) { came = f.Version }
					c.version = next - 1
					if _ = c.pump(); came != next {
						t.Fatalf("since %s: version %d came, want %d", since, came, next)
					}
				}
			} else if c.reaches(50); c.text() != data {
				t.Fatalf("since %s: it has %.100s", since, c.text())
			}
			c.leave()
		}
	}
	c := s.docStranger("ben", "", "game:1")
	for _, since := range []string{`5`, `"7"`, `{}`, `{"seq":1}`, `{"version":-1}`, `{"version":1.5}`, `{"version":"1"}`, `{"version":1,"epoch":5}`, `{"version":99999999999999999999}`} {
		if f := c.refused(`{"type":"sub","channel":"game:1","since":`+since+`}`, "bad_request"); !strings.Contains(f.Message, "since") {
			t.Errorf("%s: got %+v", since, f)
		}
	}
	if f := c.must(`{"type":"sub","channel":"game:1","since":null}`); f.Recovered != nil {
		t.Errorf("got %+v", f)
	}
}

// Without echo the author's own patches do not come; the others' do, in order.
func TestAnAuthorWithoutEcho(t *testing.T) {
	each(t, documents(t), func(t *testing.T, s *testServer) {
		silent, other := s.docStranger("ann", "", "game:1"), s.docClient("ben", "", "game:1")
		silent.must(`{"type":"sub","channel":"game:1","echo":false}`)
		silent.reaches(0)
		mine, came := map[uint64]bool{}, map[uint64]bool{}
		silent.note = func(f *docFrame) {
			if f.Type == "patch" {
				came[f.Version] = true
				silent.version = f.Version - 1 // its own are not looked at
			}
		}
		var both sync.WaitGroup
		both.Go(func() {
			for range 200 {
				other.patch(`[{"op":"inc","path":"/n","by":1}]`)
			}
		})
		for range 200 {
			mine[silent.patch(`[{"op":"inc","path":"/n","by":1}]`).Version] = true
		}
		both.Wait()
		last := other.patch(`[{"op":"inc","path":"/n","by":1}]`).Version
		silent.reaches(last)
		other.reaches(last)
		for version := uint64(1); version <= last; version++ {
			if mine[version] == came[version] {
				t.Errorf("version %d: its own %t, and it came: %t", version, mine[version], came[version])
			}
		}
		if silent.text() != other.text() || other.text() != `{"n":401}` {
			t.Errorf("they have %s and %s", silent.text(), other.text())
		}
	})
}
