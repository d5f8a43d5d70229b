package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

// documents is a server with a namespace of documents.
func documents() skein.Config {
	cfg := config()
	cfg.Namespaces["game"] = skein.Namespace{Kind: client.KindDocument, Subscribe: "anyone", Patch: "anyone", Presence: "members"}
	return cfg
}

// shows waits until a document has a value, written as JSON.
func shows(t testing.TB, d *client.Document, want string) {
	t.Helper()
	var w any
	must(t, json.Unmarshal([]byte(want), &w))
	b, err := json.Marshal(w)
	must(t, err)
	eventually(t, want, func() bool {
		var got any
		must(t, json.Unmarshal(d.Value(), &got))
		g, err := json.Marshal(got)
		return err == nil && string(g) == string(b) && d.Pending() == 0
	})
}

func TestADocumentIsReadAndPatched(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, documents())
		ann, bob := connect(t, s.url(), over(transport, "ann")), connect(t, s.url(), over(transport, "bob"))
		mine, theirs := ann.Document("game:1"), bob.Document("game:1")
		must(t, mine.Subscribe(soon(t)))
		must(t, theirs.Subscribe(soon(t)))
		if string(mine.Value()) != "null" || mine.Version() != 0 {
			t.Errorf("at first it is %s at version %d", mine.Value(), mine.Version())
		}
		changes := collect(t, theirs.OnChange)
		points := client.Path("players", "an/na", "points")
		version, err := mine.Patch(soon(t), client.Set("/title", "final"), client.Inc(points, 2).AtLeast(0).AtMost(10))
		must(t, err)
		same(t, "the version", version, uint64(1))
		_, err = mine.Patch(soon(t), client.Inc(points, 3), client.Append("/log", "start"), client.Merge("", map[string]any{"open": true}))
		must(t, err)
		want := `{"title":"final","players":{"an/na":{"points":5}},"log":["start"],"open":true}`
		shows(t, mine, want)
		shows(t, theirs, want)
		var n int
		if found, err := theirs.Get(points, &n); err != nil || !found || n != 5 {
			t.Errorf("Get gives %d, %t, %v", n, found, err)
		}
		if found, err := theirs.Get("/nobody/x", &n); err != nil || found {
			t.Errorf("Get of nothing gives %t, %v", found, err)
		}
		if _, err := theirs.Get("no pointer", &n); code(err) != client.BadRequest {
			t.Errorf("Get of what is no path gives %v", err)
		}
		all := changes.count(2)
		same(t, "the first change", all[0], client.Change{
			Channel: "game:1", Reason: client.Patched, Version: 1, From: client.Sender{User: "ann", Connection: ann.State().Connection},
			Ops: []client.Op{
				{Kind: "set", Path: "/title", Value: []byte(`"final"`)},
				{Kind: "inc", Path: points, By: []byte(`2`), Value: []byte(`2`)},
			},
		}, cmpopts.IgnoreUnexported(client.Op{}), cmpopts.IgnoreFields(client.Change{}, "Time"))
		must(t, mine.Unsubscribe(soon(t)))
		_, err = mine.Patch(soon(t), client.Set("/title", "semifinal")) // is done, and not seen
		must(t, err)
		shows(t, mine, want)
		_, err = theirs.Patch(soon(t), client.Remove(""))
		must(t, err)
		shows(t, theirs, `null`)
		must(t, mine.Subscribe(soon(t)))
		shows(t, mine, `null`)
	})
}

func TestAPatchIsShownAtOnceAndTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, documents())
		p := throughProxy(t, s.addr)
		c := connect(t, p.url(), over(transport, "ann"))
		d := c.Document("game:1")
		must(t, d.Subscribe(soon(t)))
		_, err := d.Patch(soon(t), client.Set("/n", 5))
		must(t, err)
		shows(t, d, `{"n":5}`)
		changes := collect(t, d.OnChange)
		p.swallow(true)
		// The server learns of another value that this client does not see yet.
		s.verb("doc.patch", map[string]any{"channel": "game:1", "ops": []any{map[string]any{"op": "set", "path": "/n", "value": 1}}})
		answer := make(chan error, 1)
		go func() {
			_, err := d.Patch(soon(t), client.Inc("/n", -3).AtLeast(0))
			answer <- err
		}()
		eventually(t, "it is shown at once", func() bool { return string(d.Value()) == `{"n":2}` })
		same(t, "pending", d.Pending(), 1)
		p.swallow(false)
		p.refuse(true)
		p.cut()
		p.refuse(false)
		if err := <-answer; code(err) != client.Conflict || !strings.Contains(err.Error(), "ops[0]") {
			t.Errorf("the server says %v", err)
		}
		shows(t, d, `{"n":1}`)
		all := changes.count(2)
		if all[0].Reason != client.Local || len(all[0].Ops) != 1 || all[0].Ops[0].Kind != "inc" {
			t.Errorf("the first change is %+v", all[0])
		}
	})
}

func TestAConditionOnTheVersion(t *testing.T) {
	s := start(t, documents())
	c := connect(t, s.url(), client.Options{User: "ann"})
	d := c.Document("game:1")
	version, err := d.PatchIf(soon(t), 0, client.Set("/a", 1)) // works without a subscription
	must(t, err)
	if _, err := d.PatchIf(soon(t), 0, client.Set("/a", 2)); code(err) != client.Conflict {
		t.Errorf("another version gives %v", err)
	}
	_, err = d.PatchIf(soon(t), version, client.Set("/a", 3))
	must(t, err)
	if _, err := d.Patch(soon(t), client.Test("/a", 1), client.Set("/a", 4)); code(err) != client.Conflict {
		t.Errorf("a test that fails gives %v", err)
	}
	version, err = d.Patch(soon(t), client.Test("/a", 3))
	must(t, err)
	same(t, "a test makes no version", version, uint64(2))
	must(t, d.Subscribe(soon(t)))
	shows(t, d, `{"a":3}`)
	changes := collect(t, d.OnChange)
	if _, err := d.PatchIf(soon(t), 1, client.Set("/a", 5)); code(err) != client.Conflict {
		t.Errorf("an old version gives %v", err)
	}
	all := changes.count(2)
	same(t, "it is shown, and taken back", []client.Reason{all[0].Reason, all[1].Reason}, []client.Reason{client.Local, client.Rollback})
	shows(t, d, `{"a":3}`)
	for _, ops := range [][]client.Op{nil, {client.Set("a", 1)}, {client.Inc("/a", "1")}, {client.Set("/a", func() {})}, {{Kind: "jump"}}} {
		if _, err := d.Patch(soon(t), ops...); code(err) != client.BadRequest {
			t.Errorf("Patch(%v) gives %v", ops, err)
		}
	}
	if err := c.Document("room:a").Subscribe(soon(t)); code(err) != client.BadRequest {
		t.Errorf("a log as a document gives %v", err)
	}
}

func TestLargeNumbersKeepTheirDigits(t *testing.T) {
	s := start(t, documents())
	c := connect(t, s.url(), client.Options{User: "ann"})
	d := c.Document("game:1")
	must(t, d.Subscribe(soon(t)))
	_, err := d.Patch(soon(t), client.Set("/n", json.Number("12345678901234567890123")), client.Set("/f", json.Number("1.50")))
	must(t, err)
	_, err = d.Patch(soon(t), client.Inc("/n", 1))
	must(t, err)
	eventually(t, "the value", func() bool { return string(d.Value()) == `{"n":12345678901234567890124,"f":1.50}` })
}

// Several programs patch one document while their network breaks again and again:
// each patch is carried out once, and all of them end with the same value.
func TestPatchesSurviveABrokenNetwork(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, documents())
		p := throughProxy(t, s.addr)
		const authors = 3
		var wg sync.WaitGroup
		done := make(chan struct{})
		sent := make([]int, authors)
		var docs []*client.Document
		for a := range authors {
			c := connect(t, p.url(), over(transport, fmt.Sprint("user-", a)))
			d := c.Document("game:1")
			must(t, d.Subscribe(soon(t)))
			docs = append(docs, d)
			wg.Go(func() {
				for i := 0; going(done) && i < 300; i++ {
					if _, err := d.Patch(soon(t), client.Inc("/all", 1), client.Append(client.Path("by", fmt.Sprint(a)), i)); err != nil {
						t.Errorf("patching: %v", err)
					}
					sent[a]++
				}
			})
		}
		p.cutOften(20)
		close(done)
		wg.Wait()
		all, by := 0, map[string][]int{}
		for a, n := range sent {
			all += n
			for i := range n {
				by[fmt.Sprint(a)] = append(by[fmt.Sprint(a)], i)
			}
		}
		want := map[string]any{"all": all, "by": by}
		text, err := json.Marshal(want)
		must(t, err)
		for _, d := range docs {
			shows(t, d, string(text))
			same(t, "the version", d.Version(), uint64(all))
		}
	})
}

func TestADocumentSurvivesARestartOfTheServer(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, documents())
		c := connect(t, s.url(), over(transport, "ann"))
		d := c.Document("game:1")
		must(t, d.Subscribe(soon(t)))
		_, err := d.Patch(soon(t), client.Inc("/n", 1))
		must(t, err)
		s.stop()
		answer := make(chan error, 1)
		go func() { _, err := d.Patch(soon(t), client.Inc("/n", 1)); answer <- err }()
		eventually(t, "it is shown while the server is away", func() bool { return string(d.Value()) == `{"n":2}` })
		s.begin()
		eventually(t, "it is back", func() bool { c.Retry(); return c.State().Phase == client.Connected })
		must(t, <-answer)
		shows(t, d, `{"n":2}`)
		s.stop()
		s.cfg.Data = t.TempDir() // all is lost
		s.begin()
		eventually(t, "it is back", func() bool { c.Retry(); return c.State().Phase == client.Connected })
		shows(t, d, `null`)
	})
}

func TestPatchesThatAreTakenBackInTime(t *testing.T) {
	s := start(t, documents())
	c := connect(t, s.url(), client.Options{User: "ann"})
	d := c.Document("game:1")
	must(t, d.Subscribe(soon(t)))
	s.stop()
	eventually(t, "it is away", func() bool { return c.State().Phase != client.Connected })
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 2)
	go func() { _, err := d.Patch(ctx, client.Set("/n", 1)); answer <- err }()
	eventually(t, "it is shown", func() bool { return d.Pending() == 1 })
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("Patch gives %v", err)
	}
	shows(t, d, `null`)
	go func() { _, err := d.Patch(soon(t), client.Set("/n", 2)); answer <- err }()
	eventually(t, "it is shown", func() bool { return d.Pending() == 1 })
	must(t, c.Close(soon(t)))
	if err := <-answer; !errors.Is(err, client.ErrClosed) {
		t.Errorf("when the client is closed Patch gives %v", err)
	}
	if _, err := d.Patch(soon(t), client.Set("/n", 3)); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after that Patch gives %v", err)
	}
}

func TestADocumentThatTheServerHasSubscribed(t *testing.T) {
	s := start(t, documents())
	s.verb("doc.put", map[string]any{"channel": "game:1", "data": map[string]any{"a": 1}})
	c := newClient(t, s.url(), client.Options{User: "ann"})
	docs := collect(t, func(fn func(*client.Document)) func() {
		return c.OnSubscribed(func(ch *client.Channel) { fn(c.Document(ch.Name())) })
	})
	must(t, c.Connect(soon(t)))
	s.verb("subscribe", map[string]any{"channel": "game:1", "user": "ann"})
	d := docs.first()
	shows(t, d, `{"a":1}`)
	s.verb("doc.patch", map[string]any{"channel": "game:1", "ops": []any{map[string]any{"op": "inc", "path": "/a", "by": 1}}})
	shows(t, d, `{"a":2}`)
	same(t, "the name", d.Channel().Name(), "game:1")
}

func TestADocumentIsFollowedBySlowFunctions(t *testing.T) {
	s := start(t, documents())
	c := connect(t, s.url(), client.Options{User: "ann"})
	d := c.Document("game:1")
	must(t, d.Subscribe(soon(t)))
	hold := make(chan struct{})
	d.OnChange(func(client.Change) { <-hold })
	changes := collect(t, d.OnChange)
	for range 400 {
		_, err := d.Patch(soon(t), client.Inc("/n", 1))
		must(t, err)
	}
	shows(t, d, `{"n":400}`)
	close(hold)
	all := changes.until("the newest version", func(all []client.Change) bool { return len(all) > 0 && all[len(all)-1].Version == 400 })
	if len(all) > 300 {
		t.Errorf("%d changes were told", len(all))
	}
}
