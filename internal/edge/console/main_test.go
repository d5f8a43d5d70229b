package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// passwords of the users of a world.
const (
	annsPassword = "correct horse battery"
	bobsPassword = "staple of the barn"
)

func hash(password string) auth.PasswordHash {
	return auth.HashPassword(password, auth.PasswordCost{Memory: 1 << 10, Passes: 1, Lanes: 1})
}

var annsHash, bobsHash = hash(annsPassword), hash(bobsPassword)

func users() []User {
	return []User{{Name: "ann", Role: auth.Operator, Password: annsHash}, {Name: "bob", Role: auth.Viewer, Password: bobsHash}}
}

// entry is what the door told the audit log.
type entry struct {
	who, role, verb, params string
	failed                  bool
}

// book is an audit log that a test reads.
type book struct {
	mu    sync.Mutex
	lines []entry
	err   error // of everything that is written
}

func (b *book) record(_ context.Context, c verb.Caller, name string, params []byte, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.lines = append(b.lines, entry{c.Who(), c.Role, name, string(params), err != nil})
	return nil
}

func (b *book) read() []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]entry(nil), b.lines...)
}

// world is a door over real HTTP, on a real store.
type world struct {
	*httptest.Server
	t     *testing.T
	door  *Door
	verbs *verb.Registry
	book  *book
}

// page is a page as the build makes it.
func page() fstest.MapFS {
	return fstest.MapFS{
		"index.html":                   {Data: []byte("<!doctype html><title>Console</title>" + strings.Repeat("<p>text</p>", 50))},
		"favicon.svg":                  {Data: []byte("<svg xmlns='http://www.w3.org/2000/svg'/>")},
		"assets/index-Ab3_x-9Z.js":     {Data: []byte("export const n = 1;\n" + strings.Repeat("// text\n", 100))},
		"assets/index-Qw12er34.css":    {Data: []byte("body{margin:0}")},
		"assets/words.json":            {Data: []byte("{}")},
		".gitkeep":                     {},
		"assets/.hidden-Ab3defgh.html": {Data: []byte("hidden")},
	}
}

func settingsOf(change func(*Settings)) Settings {
	s := Settings{Session: time.Hour, Users: users()}
	if change != nil {
		change(&s)
	}
	return s
}

// newDoor makes a door without a server.
func newDoor(t *testing.T, st Store, shared bool, change func(*Config)) (*Door, *verb.Registry, *book) {
	t.Helper()
	verbs := verb.NewRegistry(verb.NewMemo(0, 0), 16)
	for _, name := range []string{"info", "push", "users.delete", "app.reset"} {
		verb.Add(verbs, name, "A verb.", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	}
	var d *Door
	links := operator.New(operator.Config{Base: func(context.Context) string { return "http://skein.test" }, Off: func() bool { return d.Off() }}, verbs)
	b := &book{}
	cfg := Config{
		Files: page(), Verbs: verbs.Names, Link: links.Take, Record: b.record, Fail: httpapi.Fail, Logger: slog.New(slog.DiscardHandler),
		Remote: func(r *http.Request) netip.AddrPort {
			p, _ := netip.ParseAddrPort(r.RemoteAddr)
			return p
		},
		Settings: settingsOf(nil),
	}
	if change != nil {
		change(&cfg)
	}
	d = New(cfg)
	links.Start(st)
	d.Start(st, shared)
	return d, verbs, b
}

func open(t *testing.T) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func start(t *testing.T, change func(*Config)) *world { return startOn(t, open(t), false, change) }

func startOn(t *testing.T, st Store, shared bool, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t}
	w.door, w.verbs, w.book = newDoor(t, st, shared, change)
	mux := http.NewServeMux()
	mux.Handle("/console/", w.door)
	mux.HandleFunc("/api/v1/", func(rw http.ResponseWriter, r *http.Request) {
		c, ok, err := w.door.Caller(r)
		switch {
		case err != nil:
			httpapi.Fail(rw, err)
		case !ok:
			rw.WriteHeader(http.StatusTeapot) // where API keys are asked for
		default:
			_, _ = io.WriteString(rw, c.Name+" "+c.By+" "+c.Role+" "+c.Address)
		}
	})
	w.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		w.Client().CloseIdleConnections()
		w.Close()
	})
	return w
}

// reply is an answer that was read.
type reply struct {
	*http.Response
	body string
}

// do makes a request; header lines are "Name: value".
func (w *world) do(method, path, body string, header ...string) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := w.Client().Transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{res, string(text)}
}

// wants checks the status of an answer, and the code of a problem.
func (r reply) wants(t *testing.T, what string, status int, code string) {
	t.Helper()
	var p struct{ Code string }
	_ = json.Unmarshal([]byte(r.body), &p)
	if r.StatusCode != status || p.Code != code {
		t.Errorf("%s: got %d %s, want %d %s", what, r.StatusCode, r.body, status, code)
	}
}

// login is somebody who has logged in.
type login struct {
	Session
	cookie string // header line
	token  string // header line
	set    *http.Cookie
}

func (w *world) login(body string, header ...string) login {
	w.t.Helper()
	r := w.do("POST", "/console/login", body, header...)
	if r.StatusCode != 200 || len(r.Cookies()) != 1 {
		w.t.Fatalf("%s: got %d %s with %v", body, r.StatusCode, r.body, r.Cookies())
	}
	l := login{set: r.Cookies()[0]}
	dec := json.NewDecoder(bytes.NewReader([]byte(r.body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l.Session); err != nil {
		w.t.Fatal(err)
	}
	l.cookie, l.token = "Cookie: "+l.set.Name+"="+l.set.Value, csrfHeader+": "+l.CSRF
	return l
}

const (
	asAnn = `{"user":"ann","password":"` + annsPassword + `"}`
	asBob = `{"user":"bob","password":"` + bobsPassword + `"}`
)
