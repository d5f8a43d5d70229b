package httpapi_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/feature/channel"
	"github.com/skein-realtime/skein/internal/feature/connection"
	"github.com/skein-realtime/skein/internal/feature/node"
	"github.com/skein-realtime/skein/internal/feature/presence"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type plain struct{}

func (plain) Append(dst, frame []byte) []byte { return append(dst, frame...) }

// world is the API over real sockets, with every feature behind it.
type world struct {
	*httptest.Server
	t     *testing.T
	api   *httpapi.API
	verbs *verb.Registry
	hub   *hub.Hub
	keys  map[string]string // by name
	memo  *verb.Memo
}

func start(t *testing.T) *world {
	t.Helper()
	links, err := link.Start(link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Config{Encodings: []hub.Encoding{plain{}}})
	h.SetSpaces([]*hub.Space{{Name: "room", Kind: "event"}})
	sessions := session.NewServer(session.Config{Hub: h, Clock: links})
	w := &world{t: t, hub: h, memo: verb.NewMemo(0, 0), keys: map[string]string{}}
	w.verbs = verb.NewRegistry(w.memo, 16)
	channel.New(channel.Config{Hub: h, Memo: w.memo, Subscriptions: func() int { return 10 }}, sessions, w.verbs)
	presence.New(h, sessions, w.verbs)
	connection.New(h, func(*hub.Sub) uint64 { return 0 }, nil, w.verbs)
	figures := node.New(node.Config{Version: "1.2.3", Hub: h, Link: links, Sessions: sessions, Draining: func() bool { return false }}, w.verbs)
	w.api = httpapi.New(httpapi.Config{Registry: w.verbs, Version: "1.2.3", Logger: slog.New(slog.DiscardHandler), Settings: w.settings(false)})
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", w.api)
	mux.Handle("/guarded", w.api.Guard("metrics", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "in") })))
	w.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		w.Client().CloseIdleConnections()
		w.Close()
		figures.Close()
		links.Close()
		sessions.Close()
		h.Close()
	})
	return w
}

// settings gives four keys with different scopes.
func (w *world) settings(dev bool) httpapi.Settings {
	w.t.Helper()
	var list []auth.APIKey
	for name, scopes := range map[string][]string{"all": {"*"}, "reader": {"info", "stats"}, "sessions": {"session.*"}, "ops": {"metrics"}} {
		s, err := auth.ParseScopes(scopes)
		if err != nil {
			w.t.Fatal(err)
		}
		text := auth.NewKey()
		w.keys[name] = text
		list = append(list, auth.APIKey{Name: name, Hash: auth.HashKey(text), Scopes: s})
	}
	return httpapi.Settings{Keys: auth.NewKeys(list), Body: 64 << 10, Dev: dev}
}

// call is a request that a test varies.
type call struct {
	method  string // "": POST
	path    string
	key     string // name of a key; "": none
	body    string
	headers map[string]string
	chunked bool
}

func (w *world) do(c call) (*http.Response, string) {
	w.t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	var body io.Reader = strings.NewReader(c.body)
	if c.chunked {
		body = io.MultiReader(body) // hides the length
	}
	req, err := http.NewRequest(c.method, w.URL+c.path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+w.keys[c.key])
	}
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	res, err := w.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(text)
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m
}
