package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/tree"
)

// documents gives namespaces of documents: one that anyone may change, and one where
// who they are and what they are decides.
func documents(t testing.TB) func() skein.Config {
	return func() skein.Config { return docConfig(t.TempDir()) }
}

func docConfig(dir string) skein.Config {
	cfg := logConfig(dir)
	cfg.Namespaces["game"] = skein.Namespace{Kind: "doc", Subscribe: "anyone", Patch: "anyone"}
	cfg.Namespaces["board"] = skein.Namespace{Kind: "doc", Subscribe: "user", Patch: "user", Rules: boardRules}
	return cfg
}

var boardRules = []string{
	"/** read user write role:desk",
	"/count/** write user",
	"/players/{user}/** read anyone write user",
	"/players/*/cards read role:desk",
	"/players/{user}/cards read user",
	"/secret/** read role:desk",
}

// replica is what a client keeps of a document (spec/documents.md, 1).
type replica struct {
	channel string
	epoch   string
	version uint64
	value   *tree.Value // nil: there was no snapshot yet
	patches int         // that came
	values  int         // snapshots that came
}

// docFrame is a frame about a document, or an answer.
type docFrame struct {
	Type, Channel, Epoch, Code, Message, Key string
	ID                                       json.RawMessage
	Version                                  uint64
	Duplicate                                bool
	Recovered                                *bool
	Ops, Data, From, Reply                   json.RawMessage
}

// take takes a frame; it is an error when it does not follow what is there.
func (r *replica) take(f *docFrame) error {
	switch f.Type {
	case "snapshot":
		if r.value != nil && f.Epoch == r.epoch && f.Version < r.version {
			return fmt.Errorf("a snapshot of version %d came after version %d", f.Version, r.version)
		}
		v, err := tree.Parse(f.Data, tree.Limits{Depth: 1000})
		if err != nil {
			return fmt.Errorf("the snapshot %.200s: %w", f.Data, err)
		}
		r.epoch, r.version, r.value = f.Epoch, f.Version, v
		r.values++
	case "patch":
		if r.value == nil || f.Version != r.version+1 {
			return fmt.Errorf("the patch of version %d came after version %d (a value: %t)", f.Version, r.version, r.value != nil)
		}
		if err := carryOut(r.value, f.Ops); err != nil {
			return fmt.Errorf("version %d, %.300s, on %.300s: %w", f.Version, f.Ops, r.value.Append(nil), err)
		}
		r.version = f.Version
		r.patches++
	default:
		return fmt.Errorf("got %+v", f)
	}
	return nil
}

// carryOut does to a value what a patch frame says: of a sum, the result counts.
func carryOut(v *tree.Value, ops []byte) error {
	done, err := tree.ParseDone(ops)
	if err != nil {
		return err
	}
	list := make([]tree.Op, len(done))
	for i, d := range done {
		if list[i] = d.Op; d.Kind == tree.Inc {
			list[i] = tree.Op{Kind: tree.Set, Path: d.Path, Value: d.Result}
		}
	}
	_, err = v.Apply(list, tree.Limits{Depth: 1000, Ops: 1 << 20}, nil)
	return err
}

func (r *replica) text() string {
	if r.value == nil {
		return "nothing"
	}
	return string(r.value.Append(nil))
}

// wayIn is a connection, however it is made.
type wayIn interface {
	send(frame string) error
	next() ([]byte, error) // the next frame
	leave()
}

// docClient is a client that keeps a document and asks for changes.
type docClient struct {
	t testing.TB
	wayIn
	replica
	asked   int
	answers map[string]docFrame
	note    func(*docFrame) // is shown every frame; nil: nobody
}

// pump takes one frame.
func (c *docClient) pump() error {
	raw, err := c.next()
	if err != nil {
		return err
	}
	var f docFrame
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("%q: %w", raw, err)
	}
	if c.note != nil {
		c.note(&f)
	}
	switch f.Type {
	case "welcome", "ping":
	case "ok", "error":
		c.answers[string(f.ID)] = f
	default:
		return c.take(&f)
	}
	return nil
}

// ask sends a frame whose first member is left to it, and gives the id of its answer.
func (c *docClient) ask(frame string) (id string, err error) {
	c.asked++
	id = fmt.Sprintf(`"q%d"`, c.asked)
	return id, c.send(strings.Replace(frame, "{", `{"id":`+id+`,`, 1))
}

// answer reads until an answer has come.
func (c *docClient) answer(id string) (docFrame, error) {
	for {
		if f, ok := c.answers[id]; ok {
			delete(c.answers, id)
			return f, nil
		}
		if err := c.pump(); err != nil {
			return docFrame{}, err
		}
	}
}

// request asks and waits.
func (c *docClient) request(frame string) (docFrame, error) {
	id, err := c.ask(frame)
	if err != nil {
		return docFrame{}, err
	}
	return c.answer(id)
}

func (c *docClient) must(frame string) docFrame {
	c.t.Helper()
	f, err := c.request(frame)
	if err != nil || f.Type != "ok" {
		c.t.Fatalf("%.300s is answered by %+v, %v", frame, f, err)
	}
	return f
}

func (c *docClient) refused(frame, code string) docFrame {
	c.t.Helper()
	f, err := c.request(frame)
	if err != nil || f.Type != "error" || f.Code != code {
		c.t.Fatalf("%.300s is answered by %+v, %v; want %s", frame, f, err, code)
	}
	return f
}

// patchFrame asks for a change; more are other members, such as `,"key":"k"`.
func patchFrame(channel, ops, more string) string {
	return fmt.Sprintf(`{"type":"patch","channel":%q,"ops":%s%s}`, channel, ops, more)
}

// patch changes the document; it must be taken.
func (c *docClient) patch(ops string) docFrame {
	c.t.Helper()
	return c.must(patchFrame(c.channel, ops, ""))
}

// reaches reads until the client has a version.
func (c *docClient) reaches(version uint64) {
	c.t.Helper()
	for c.value == nil || c.version < version {
		if err := c.pump(); err != nil {
			c.t.Fatalf("after version %d of %d: %v", c.version, version, err)
		}
	}
}

// socket is a connection through a WebSocket.
type socket struct{ ws *websocket.Conn }

func (w socket) send(frame string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return w.ws.Write(ctx, websocket.MessageText, []byte(frame))
}

func (w socket) next() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	_, raw, err := w.ws.Read(ctx)
	return raw, err
}

func (w socket) leave() { _ = w.ws.CloseNow() }

// stream is a connection through server-sent events.
type stream struct{ e *source }

func (w stream) send(frame string) error {
	if w.e.ID == "" {
		return fmt.Errorf("the stream has no connection yet")
	}
	req, err := http.NewRequest("POST", "http://"+w.e.s.addr+"/sse/"+w.e.ID, strings.NewReader(frame))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("a post is answered by %s %s, %v", res.Status, text, err)
	}
	return nil
}

func (w stream) next() ([]byte, error) {
	data, err := w.e.event()
	return []byte(data), err
}

func (w stream) leave() { w.e.close() }

// polls is a connection through calls.
type polls struct {
	s     *testServer
	name  string
	after float64
	user  string // of the first call
	query string // alike
	got   []json.RawMessage
}

// call makes one call; the first one opens the connection.
func (w *polls) call(frames string) error {
	path, body := "/poll", fmt.Sprintf(`{"connection":%q,"after":%v,"frames":[%s]}`, w.name, w.after, frames)
	if w.name == "" {
		path, body = "/poll?"+w.query, fmt.Sprintf(`{"user":%q}`, w.user)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+w.s.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var a struct {
		Connection string
		After      float64
		Frames     []json.RawMessage
	}
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &a)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("a call is answered by %s %s, %v", res.Status, text, err)
	}
	w.name, w.after = a.Connection, a.After
	w.got = append(w.got, a.Frames...)
	return nil
}

func (w *polls) send(frame string) error { return w.call(frame) }

func (w *polls) next() ([]byte, error) {
	for len(w.got) == 0 {
		if err := w.call(""); err != nil {
			return nil, err
		}
	}
	raw := w.got[0]
	w.got = w.got[1:]
	return raw, nil
}

func (w *polls) leave() {
	if _, _, text := w.s.request("POST", "/poll", fmt.Sprintf(`{"connection":%q,"close":true}`, w.name)); !strings.Contains(text, "closed") {
		w.s.t.Logf("leaving is answered by %s", text)
	}
}

// doors are the ways in, by name; query says who it is.
var doors = map[string]func(s *testServer, query string) (wayIn, error){
	"websocket": func(s *testServer, query string) (wayIn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?"+query, nil)
		if err != nil {
			return nil, err
		}
		ws.SetReadLimit(64 << 20)
		return socket{ws}, nil
	},
	"sse": func(s *testServer, query string) (wayIn, error) {
		e, err := s.openSource("http://"+s.addr, query)
		if err != nil {
			return nil, err
		}
		f, err := e.next()
		if err == nil && f["type"] != "welcome" {
			err = fmt.Errorf("got %v", f)
		}
		if err != nil {
			e.close()
			return nil, err
		}
		e.ID = f["connection"].(string)
		return stream{e}, nil
	},
	"poll": func(s *testServer, query string) (wayIn, error) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return nil, err
		}
		w := &polls{s: s, user: q.Get("user"), query: "role=" + q.Get("role")}
		return w, w.call("")
	},
}
