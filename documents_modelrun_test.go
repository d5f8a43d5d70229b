package skein_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/tree"
)

// burst has everybody who is there count at once, without waiting for answers.
func (m *docModel) burst(t *rapid.T) {
	const each = 8
	ids := map[*modelClient][]string{}
	for _, c := range m.clients {
		if !c.there {
			continue
		}
		for range each {
			id, err := c.ask(patchFrame(m.channel, `[{"op":"inc","path":"/count/all","by":1}]`, ""))
			if err != nil {
				t.Fatal(err)
			}
			ids[c] = append(ids[c], id)
		}
	}
	seen := map[uint64]bool{}
	for _, c := range m.clients {
		for _, id := range ids[c] {
			f, err := c.answer(id)
			if err != nil || seen[f.Version] {
				t.Fatalf("counting is answered by %+v, %v", f, err)
			}
			if f.Type == "ok" {
				seen[f.Version] = true
			}
			code := m.apply(`[{"op":"inc","path":"/count/all","by":1}]`, m.guard(c), c.user)
			if f.Code != string(code) {
				t.Fatalf("counting is answered by %+v; the model says %q", f, code)
			}
		}
	}
}

// enter lets a client come in, if it is not there, and go on where it was.
func (m *docModel) enter(t *rapid.T, c *modelClient) {
	if c.there {
		return
	}
	way, err := doors[m.door](m.s, "user="+c.user+"&role="+c.role)
	if err != nil {
		t.Fatal(err)
	}
	c.wayIn, c.there = way, true
	since, recovers := "", false
	if c.value != nil {
		switch rapid.SampledFrom([]string{"epoch", "epoch", "version", "another", "anew"}).Draw(t, "since") {
		case "epoch":
			since, recovers = fmt.Sprintf(`,"since":{"version":%d,"epoch":%q}`, c.version, c.epoch), true
		case "version":
			since, recovers = fmt.Sprintf(`,"since":{"version":%d}`, c.version), true
		case "another":
			since = fmt.Sprintf(`,"since":{"version":%d,"epoch":"another"}`, c.version)
		}
	}
	had, values := c.version, c.values
	f := m.ask(t, c, fmt.Sprintf(`{"type":"sub","channel":%q%s}`, m.channel, since))
	switch {
	case f.Type != "ok" || f.Version != m.version() || f.Epoch == "" || (f.Recovered != nil) != (since != ""):
		t.Fatalf("the subscription%s is answered by %+v; the model has version %d", since, f, m.version())
	case f.Recovered != nil && *f.Recovered && !recovers:
		t.Fatalf("the subscription%s was recovered: %+v", since, f)
	case had == m.version() && recovers && !*f.Recovered:
		t.Fatalf("who has everything is answered by %+v", f)
	case f.Recovered == nil || !*f.Recovered:
		for c.values == values { // the value comes before any patch
			patches := c.patches
			if err := c.pump(); err != nil || c.patches > patches {
				t.Fatalf("after the subscription%s: %d patches before the value, %v", since, c.patches-patches, err)
			}
		}
	}
}

func (m *docModel) goAway(c *modelClient) {
	c.leave()
	c.there, c.answers = false, map[string]docFrame{}
	if p, ok := c.wayIn.(*polls); ok {
		p.got = nil
	}
	eventually(m.s.t, c.user+" is gone", func() bool {
		return len(m.s.verb("connections", fmt.Sprintf(`{"user":%q}`, c.user))["items"].([]any)) == 0
	})
}

// vanish breaks a connection, perhaps while a patch is on its way, which is then
// sent again.
func (m *docModel) vanish(t *rapid.T) {
	c, i := m.client(t)
	if !c.there {
		return
	}
	inc := `[{"op":"inc","path":"/count/all","by":1}]`
	before := m.version()
	if !rapid.Bool().Draw(t, "while it asks") || m.apply(inc, m.guard(c), c.user) != "" {
		m.goAway(c)
		return
	}
	key := fmt.Sprintf("key %d", len(m.keys))
	frame := patchFrame(m.channel, inc, fmt.Sprintf(`,"key":%q`, key))
	if _, err := c.ask(frame); err != nil {
		t.Fatal(err)
	}
	m.goAway(c)
	way, err := doors[m.door](m.s, "user="+c.user+"&role="+c.role)
	if err != nil {
		t.Fatal(err)
	}
	c.wayIn = way
	if f := m.ask(t, c, frame); f.Type != "ok" || f.Version != before+1 {
		t.Fatalf("what was on its way is answered by %+v; the model has version %d", f, m.version())
	}
	m.keys[key] = keptPatch{frame, i, before + 1}
	m.goAway(c)
}

func (m *docModel) comeBack(t *rapid.T) {
	c, _ := m.client(t)
	m.enter(t, c)
}

// read has a client read some of what it lacks.
func (m *docModel) read(t *rapid.T) {
	c, _ := m.present(t)
	to := min(m.version(), c.version+rapid.Uint64Range(1, 20).Draw(t, "versions"))
	m.follow(t, c, to)
}

func (m *docModel) follow(t *rapid.T, c *modelClient, to uint64) {
	for c.value == nil || c.version < to {
		if err := c.pump(); err != nil {
			t.Fatalf("%s, at version %d of %d: %v", c.user, c.version, m.version(), err)
		}
	}
	if c.version > m.version() {
		t.Fatalf("%s has version %d; the model has %d", c.user, c.version, m.version())
	}
	if c.version == m.version() && !tree.Equal([]byte(c.text()), []byte(m.shown(c))) {
		t.Fatalf("%s has, at version %d,\n%.2000s\nthe model\n%.2000s", c.user, c.version, c.text(), m.shown(c))
	}
}

// crowd puts so much into memory that the document has no place there.
func (m *docModel) crowd(t *rapid.T) {
	for i := range 2 {
		m.s.verb("doc.put", fmt.Sprintf(`{"channel":"game:crowd-%d","data":"%s"}`, i, strings.Repeat("x", 300_000)))
	}
}

func (m *docModel) isRight(t *rapid.T) {
	var got struct {
		Version uint64
		Data    json.RawMessage
	}
	if err := m.s.Call(m.s.t.Context(), "doc.get", map[string]string{"channel": m.channel}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != m.version() || !tree.Equal(got.Data, m.value.Append(nil)) {
		t.Fatalf("the server has version %d: %.2000s\nthe model %d: %.2000s", got.Version, got.Data, m.version(), m.value.Append(nil))
	}
}

// finish has everybody come and read to the end, and reads the history.
func (m *docModel) finish(t *rapid.T) {
	for _, c := range m.clients {
		m.enter(t, c)
		m.follow(t, c, m.version())
	}
	var value tree.Value
	after := uint64(0)
	for more := true; more; {
		var page struct {
			Patches []struct {
				Version uint64
				Ops     json.RawMessage
			}
			More    bool
			Version uint64
		}
		if err := m.s.Call(m.s.t.Context(), "doc.history", map[string]any{"channel": m.channel, "after": after, "limit": 7}, &page); err != nil {
			t.Fatal(err)
		}
		after = max(after, m.floor)
		for _, p := range page.Patches {
			if after++; p.Version != after {
				t.Fatalf("the history has version %d where %d should be", p.Version, after)
			}
			if m.floor > 0 {
				continue
			}
			if err := carryOut(&value, p.Ops); err != nil {
				t.Fatalf("version %d of the history: %v", p.Version, err)
			}
		}
		if more = page.More; page.Version != m.version() {
			t.Fatalf("the history is of version %d; the model has %d", page.Version, m.version())
		}
	}
	if after != m.version() || m.floor == 0 && !tree.Equal(value.Append(nil), m.value.Append(nil)) {
		t.Fatalf("the history ends with %d of %d, and makes %.1000s; the model has %.1000s", after, m.version(), value.Append(nil), m.value.Append(nil))
	}
}

func (m *docModel) leave() {
	for _, c := range m.clients {
		if c.there {
			c.leave()
		}
	}
}
