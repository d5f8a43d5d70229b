// Package spec_test plays the protocol vectors against the server: through a
// listener, with another WebSocket implementation as the client.
package spec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/goccy/go-yaml"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein"
)

// patience is how long a frame or an answer may take.
const patience = 5 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A file is one of vectors/*.json.
type file struct {
	Name   string          `json:"name"`
	About  string          `json:"about"`
	Dev    bool            `json:"dev"`
	Config json.RawMessage `json:"config"`
	Cases  []struct {
		Name  string            `json:"name"`
		Steps []json.RawMessage `json:"steps"`
	} `json:"cases"`
}

// A step is one thing that is done; exactly one of its verbs is set.
type step struct {
	Note   string `json:"note"`
	Repeat int    `json:"repeat"`

	Conn    string          `json:"conn"`
	Open    *opening        `json:"open"`
	Refused int             `json:"refused"`
	Send    json.RawMessage `json:"send"`
	Text    json.RawMessage `json:"text"`
	Binary  json.RawMessage `json:"binary"`
	Expect  json.RawMessage `json:"expect"`
	Closed  *struct {
		Code int `json:"code"`
	} `json:"closed"`
	Close int `json:"close"`

	API           string          `json:"api"`
	Params        json.RawMessage `json:"params"`
	Key           *string         `json:"key"`
	HTTP          string          `json:"http"`
	Headers       json.RawMessage `json:"headers"`
	Status        int             `json:"status"`
	ExpectHeaders json.RawMessage `json:"expect_headers"`
}

type opening struct {
	Query       json.RawMessage `json:"query"`
	Headers     json.RawMessage `json:"headers"`
	Subprotocol string          `json:"subprotocol"`
}

func TestVectors(t *testing.T) {
	names, err := filepath.Glob("vectors/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors found: %v", err)
	}
	for _, name := range names {
		switch filepath.Base(name) {
		case "hooks.json", "document-ops.json":
			continue // signatures, and operations without a server: those who carry them out check them
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f file
		if err := strict(src, &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := strings.TrimSuffix(filepath.Base(name), ".json"); f.Name != want || len(f.Cases) == 0 {
			t.Errorf("%s: name is %q with %d cases, want %q and some", name, f.Name, len(f.Cases), want)
		}
		for _, c := range f.Cases {
			t.Run(f.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				play(t, &f, c.Steps)
			})
		}
	}
}

// strict decodes JSON and knows every member.
func strict(src []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// A story is a case that is being played.
type story struct {
	t      *testing.T
	base   string // of the server, http://host:port
	http   *http.Client
	key    string // of the API, when the step names none
	conns  map[string]*peer
	memory memory
}

func play(t *testing.T, f *file, steps []json.RawMessage) {
	var cfg skein.Config
	if len(f.Config) > 0 {
		if err := yaml.UnmarshalWithOptions(f.Config, &cfg, yaml.Strict()); err != nil {
			t.Fatalf("config: %v", err)
		}
	}
	s := &story{t: t, key: "vectors", conns: map[string]*peer{}, memory: memory{}}
	if f.Dev {
		cfg, s.key = cfg.WithDev(), "dev"
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Data = t.TempDir()
	srv, err := skein.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	web := httptest.NewServer(srv.Handler())
	s.base, s.http = web.URL, web.Client()
	defer func() {
		for _, p := range s.conns {
			p.drop()
		}
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		web.Close()
	}()
	for i, raw := range steps {
		if err := s.turns(raw); err != nil {
			t.Fatalf("step %d, %s: %v", i+1, text(json.RawMessage(raw)), err)
		}
	}
	if err := s.end(); err != nil {
		t.Fatalf("at the end: %v", err)
	}
}

// turns does a step as often as it says.
func (s *story) turns(raw []byte) error {
	var st step
	if err := strict(raw, &st); err != nil {
		return err
	}
	for n := range max(1, st.Repeat) {
		turn := bytes.ReplaceAll(raw, []byte("{n}"), strconv.AppendInt(nil, int64(n), 10))
		var st step
		if err := strict(turn, &st); err != nil {
			return err
		}
		if err := s.do(&st); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) do(st *step) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch {
	case st.API != "" || st.HTTP != "":
		return s.request(ctx, st)
	case st.Open != nil:
		return s.open(ctx, st)
	}
	p := s.conns[st.Conn]
	if p == nil {
		return fmt.Errorf("no connection is called %q", st.Conn)
	}
	switch {
	case st.Send != nil:
		frame, err := s.filled(st.Send)
		if err != nil {
			return err
		}
		return p.ws.Write(ctx, websocket.MessageText, frame)
	case st.Text != nil:
		return s.write(ctx, p, websocket.MessageText, st.Text)
	case st.Binary != nil:
		return s.write(ctx, p, websocket.MessageBinary, st.Binary)
	case st.Expect != nil:
		return s.expect(ctx, p, st.Expect)
	case st.Closed != nil:
		return p.closed(ctx, st.Closed.Code)
	case st.Close != 0:
		p.left = true
		return p.ws.Close(websocket.StatusCode(st.Close), "")
	}
	return errors.New("the step does nothing")
}

// filled makes the JSON that is sent for a template.
func (s *story) filled(template []byte) ([]byte, error) {
	v, err := parse(template)
	if err != nil {
		return nil, err
	}
	if v, err = s.memory.fill(v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// filledStrings is filled for an object of strings.
func (s *story) filledStrings(template []byte) (map[string]string, error) {
	if template == nil {
		return nil, nil
	}
	filled, err := s.filled(template)
	if err != nil {
		return nil, err
	}
	var m map[string]string
	return m, json.Unmarshal(filled, &m)
}

func (s *story) filledText(template []byte) (string, error) {
	filled, err := s.filled(template)
	if err != nil {
		return "", err
	}
	var v string
	return v, json.Unmarshal(filled, &v)
}

func (s *story) write(ctx context.Context, p *peer, kind websocket.MessageType, template []byte) error {
	message, err := s.filledText(template)
	if err != nil {
		return err
	}
	return p.ws.Write(ctx, kind, []byte(message))
}

func (s *story) expect(ctx context.Context, p *peer, pattern []byte) error {
	want, err := parse(pattern)
	if err != nil {
		return err
	}
	frame, err := p.next(ctx)
	if err != nil {
		return err
	}
	s.welcomed(p, frame)
	if why := s.memory.match("frame", want, frame); why != "" {
		return fmt.Errorf("%s\nthe frame is %s", why, text(frame))
	}
	return nil
}

// welcomed remembers the id of a connection that is welcomed by the frame.
func (s *story) welcomed(p *peer, frame any) {
	if object, ok := frame.(map[string]any); ok && object["type"] == "welcome" {
		s.memory["connection:"+p.name] = object["connection"]
		p.welcomed = true
	}
}

func (s *story) open(ctx context.Context, st *step) error {
	if old := s.conns[st.Conn]; old != nil {
		old.drop()
		delete(s.conns, st.Conn)
	}
	query, err := s.filledStrings(st.Open.Query)
	if err != nil {
		return err
	}
	headers, err := s.filledStrings(st.Open.Headers)
	if err != nil {
		return err
	}
	options := &websocket.DialOptions{HTTPClient: s.http, HTTPHeader: http.Header{}}
	for name, value := range headers {
		options.HTTPHeader.Set(name, value)
	}
	if st.Open.Subprotocol != "" {
		options.Subprotocols = []string{st.Open.Subprotocol}
	}
	values := url.Values{}
	for name, value := range query {
		values.Set(name, value)
	}
	conn, response, err := websocket.Dial(ctx, s.base+"/ws?"+values.Encode(), options)
	switch {
	case st.Refused != 0 && err == nil:
		_ = conn.CloseNow()
		return fmt.Errorf("the handshake succeeded, want status %d", st.Refused)
	case st.Refused != 0 && response != nil:
		if response.StatusCode != st.Refused {
			return fmt.Errorf("the handshake got status %d, want %d", response.StatusCode, st.Refused)
		}
		return nil
	case err != nil:
		return err
	}
	if got := conn.Subprotocol(); got != st.Open.Subprotocol {
		return fmt.Errorf("subprotocol is %q, want %q", got, st.Open.Subprotocol)
	}
	s.conns[st.Conn] = listen(st.Conn, conn)
	return nil
}

// request does the steps that are plain HTTP.
func (s *story) request(ctx context.Context, st *step) error {
	method, path, _ := strings.Cut(st.HTTP, " ")
	body := []byte(nil)
	if st.API != "" {
		method, path, body = http.MethodPost, "/api/v1/"+st.API, []byte("{}")
	}
	var err error
	if st.Params != nil {
		body, err = s.filled(st.Params)
	} else if st.Text != nil {
		var raw string
		raw, err = s.filledText(st.Text)
		body = []byte(raw)
	}
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if st.API != "" {
		req.Header.Set("Content-Type", "application/json")
		if st.Key == nil {
			st.Key = &s.key
		}
	}
	if st.Key != nil && *st.Key != "" {
		req.Header.Set("Authorization", "Bearer "+*st.Key)
	}
	headers, err := s.filledStrings(st.Headers)
	if err != nil {
		return err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return s.answer(st, res, answer)
}

func (s *story) answer(st *step, res *http.Response, body []byte) error {
	if want := max(st.Status, 0); want != 0 && res.StatusCode != want || want == 0 && res.StatusCode != http.StatusOK {
		return fmt.Errorf("status is %d: %s", res.StatusCode, body)
	}
	if kind := res.Header.Get("Content-Type"); st.API != "" && res.StatusCode >= 400 && kind != "application/problem+json" {
		return fmt.Errorf("the content type of the error is %q, want application/problem+json", kind)
	}
	if st.ExpectHeaders != nil {
		want, err := parse(st.ExpectHeaders)
		if err != nil {
			return err
		}
		got := map[string]any{}
		for name := range res.Header {
			got[name] = res.Header.Get(name)
		}
		if why := s.memory.match("headers", want, got); why != "" {
			return errors.New(why)
		}
	}
	if st.Expect == nil {
		return nil
	}
	want, err := parse(st.Expect)
	if err != nil {
		return err
	}
	got, err := parse(body)
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w: %q", err, body)
	}
	if why := s.memory.match("body", want, got); why != "" {
		return fmt.Errorf("%s\nthe body is %s", why, body)
	}
	return nil
}

// end checks that nothing came that no step expected.
func (s *story) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, p := range s.conns {
		if !p.welcomed || p.left {
			continue
		}
		if err := p.ws.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","id":"end of the case"}`)); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		frame, err := p.next(ctx)
		if err != nil {
			return err
		}
		if why := s.memory.match("frame", map[string]any{"type": "pong", "id": "end of the case"}, frame); why != "" {
			return fmt.Errorf("%s got a frame that nobody expected: %s", p.name, text(frame))
		}
	}
	return nil
}

// A peer is one WebSocket of a story. A goroutine reads it until it ends.
type peer struct {
	name     string
	ws       *websocket.Conn
	frames   chan any // what came; closed after the last
	end      error    // why the reading ended; valid once frames is closed
	welcomed bool
	left     bool // closed, by either side
	cancel   context.CancelFunc
}

func listen(name string, conn *websocket.Conn) *peer {
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{name: name, ws: conn, frames: make(chan any, 1000), cancel: cancel}
	conn.SetReadLimit(16 << 20)
	go func() {
		defer close(p.frames)
		for {
			kind, message, err := conn.Read(ctx)
			if err == nil && kind != websocket.MessageText {
				err = fmt.Errorf("a binary message came: %q", message)
			}
			var frame any
			if err == nil {
				if frame, err = parse(message); err != nil {
					err = fmt.Errorf("a message is not JSON: %w: %q", err, message)
				}
			}
			if err != nil {
				p.end = err
				return
			}
			select {
			case p.frames <- frame:
			case <-ctx.Done():
				p.end = ctx.Err()
				return
			}
		}
	}()
	return p
}

// drop ends the connection and waits for its reader.
func (p *peer) drop() {
	p.cancel()
	_ = p.ws.CloseNow()
	for range p.frames {
		continue // until the reader has closed it
	}
}

func (p *peer) next(ctx context.Context) (any, error) {
	select {
	case frame, open := <-p.frames:
		if !open {
			p.left = true
			return nil, fmt.Errorf("%s: no frame comes any more: %w", p.name, p.end)
		}
		return frame, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no frame came within %s", p.name, patience)
	}
}

func (p *peer) closed(ctx context.Context, code int) error {
	frame, err := p.next(ctx)
	if err == nil {
		return fmt.Errorf("%s got %s, want close code %d", p.name, text(frame), code)
	}
	if !p.left {
		return err
	}
	if got := websocket.CloseStatus(p.end); int(got) != code {
		return fmt.Errorf("%s ended with %w, want close code %d", p.name, p.end, code)
	}
	return nil
}

// TestVectorFilesCoverTheProtocol fails when a frame type or an error code of
// the protocol is in no vector.
func TestVectorFilesCoverTheProtocol(t *testing.T) {
	names, err := filepath.Glob("vectors/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range names {
		switch filepath.Base(name) {
		case "hooks.json", "document-ops.json":
			continue // signatures, and operations without a server: those who carry them out check them
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, src...)
	}
	var compact bytes.Buffer
	for _, line := range bytes.Split(all, []byte("\n")) {
		compact.Write(bytes.TrimSpace(line))
	}
	words := func(member string, list ...string) {
		for _, word := range list {
			if !slices.ContainsFunc([]string{`"%s":"%s"`, `"%s": "%s"`}, func(form string) bool {
				return bytes.Contains(compact.Bytes(), fmt.Appendf(nil, form, member, word))
			}) {
				t.Errorf("no vector has %q: %q", member, word)
			}
		}
	}
	words("type", "connect", "refresh", "sub", "unsub", "pub", "notice", "presence", "call", "reply", "ping",
		"welcome", "ok", "error", "msg", "join", "leave", "subscribed", "unsubscribed", "pong", "bye")
	words("code", "bad_frame", "bad_request", "unknown_type", "unauthorized", "denied", "not_found", "conflict",
		"too_large", "rate_limited",
		"auth_timeout", "token_refused", "token_expired", "disconnected")
	words("api", "publish", "subscribe", "unsubscribe", "bind", "unbind", "disconnect", "online", "connections",
		"channels", "presence", "session.get", "session.set", "session.merge", "info", "stats", "batch")
}
