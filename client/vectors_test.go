package client_test

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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

// The vectors of the protocol, played through this package's WebSocket and codec.

// frameTime is how long a frame or an answer may take.
const frameTime = 5 * time.Second

// vectorFile is one of spec/vectors/*.json.
type vectorFile struct {
	Name   string          `json:"name"`
	About  string          `json:"about"`
	Dev    bool            `json:"dev"`
	Config json.RawMessage `json:"config"`
	Cases  []struct {
		Name  string            `json:"name"`
		Steps []json.RawMessage `json:"steps"`
	} `json:"cases"`
}

// vectorStep is one thing that is done; exactly one of its verbs is set.
type vectorStep struct {
	Note   string `json:"note"`
	Repeat int    `json:"repeat"`

	Conn string `json:"conn"`
	Open *struct {
		Query       json.RawMessage `json:"query"`
		Headers     json.RawMessage `json:"headers"`
		Subprotocol string          `json:"subprotocol"`
	} `json:"open"`
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

func TestVectors(t *testing.T) {
	files, err := filepath.Glob("../spec/vectors/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors found: %v", err)
	}
	for _, file := range files {
		switch filepath.Base(file) {
		case "hooks.json", "document-ops.json":
			continue // lists that are no stories: signatures, operations
		}
		src, err := os.ReadFile(file)
		must(t, err)
		var f vectorFile
		if err := strictly(src, &f); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range f.Cases {
			t.Run(f.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				play(t, &f, c.Steps)
			})
		}
	}
}

func strictly(src []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// story is a case that is being played.
type story struct {
	base   string // of the server
	http   *http.Client
	key    string // of the API, when the step names none
	conns  map[string]*peer
	memory memory
}

func play(t *testing.T, f *vectorFile, steps []json.RawMessage) {
	var cfg skein.Config
	if len(f.Config) > 0 {
		must(t, yaml.UnmarshalWithOptions(f.Config, &cfg, yaml.Strict()))
	}
	s := &story{key: "vectors", conns: map[string]*peer{}, memory: memory{}}
	if f.Dev {
		cfg, s.key = cfg.WithDev(), "dev"
	}
	cfg.Logger, cfg.Data = slog.New(slog.DiscardHandler), t.TempDir()
	srv, err := skein.New(cfg)
	must(t, err)
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
			t.Fatalf("step %d, %s: %v", i+1, text(raw), err)
		}
	}
	for _, p := range s.conns {
		if err := s.quiet(p); err != nil {
			t.Fatalf("at the end: %v", err)
		}
	}
}

// turns does a step as often as it says.
func (s *story) turns(raw []byte) error {
	var st vectorStep
	if err := strictly(raw, &st); err != nil {
		return err
	}
	for n := range max(1, st.Repeat) {
		var turn vectorStep
		if err := strictly(bytes.ReplaceAll(raw, []byte("{n}"), strconv.AppendInt(nil, int64(n), 10)), &turn); err != nil {
			return err
		}
		if err := s.do(&turn); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) do(st *vectorStep) error {
	ctx, cancel := context.WithTimeout(context.Background(), frameTime)
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
		return p.wire.Send(ctx, frame)
	case st.Text != nil:
		message, err := s.filledText(st.Text)
		if err != nil {
			return err
		}
		return p.wire.Send(ctx, []byte(message))
	case st.Binary != nil:
		message, err := s.filledText(st.Binary)
		if err != nil {
			return err
		}
		return p.wire.SendBinary(ctx, []byte(message))
	case st.Expect != nil:
		return s.expect(ctx, p, st.Expect)
	case st.Closed != nil:
		return p.closed(ctx, st.Closed.Code)
	case st.Close != 0:
		p.left = true
		return p.wire.Close(st.Close)
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

func (s *story) filledText(template []byte) (out string, err error) {
	filled, err := s.filled(template)
	if err != nil {
		return "", err
	}
	err = json.Unmarshal(filled, &out)
	return out, err
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

func (s *story) expect(ctx context.Context, p *peer, pattern []byte) error {
	want, err := parse(pattern)
	if err != nil {
		return err
	}
	frame, err := p.next(ctx)
	if err != nil {
		return err
	}
	if frame["type"] == "welcome" {
		s.memory["connection:"+p.name] = frame["connection"]
		p.welcomed = true
	}
	if why := s.memory.match("frame", want, frame); why != "" {
		return fmt.Errorf("%s\nthe frame is %s", why, text(frame))
	}
	return nil
}

func (s *story) open(ctx context.Context, st *vectorStep) error {
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
	values, header := url.Values{}, http.Header{}
	for name, value := range query {
		values.Set(name, value)
	}
	for name, value := range headers {
		header.Set(name, value)
	}
	wire, status, err := client.DialWire(ctx, s.http, s.base+"/ws?"+values.Encode(), header)
	switch {
	case st.Refused != 0 && err == nil:
		wire.Drop()
		return fmt.Errorf("the handshake succeeded, want status %d", st.Refused)
	case st.Refused != 0 && status != st.Refused:
		return fmt.Errorf("the handshake got status %d, want %d: %w", status, st.Refused, err)
	case st.Refused != 0:
		return nil
	case err != nil:
		return err
	}
	s.conns[st.Conn] = listen(st.Conn, wire)
	if got, want := wire.Subprotocol(), st.Open.Subprotocol; want != "" && got != want {
		return fmt.Errorf("subprotocol is %q, want %q", got, want)
	}
	return nil
}

// quiet shows that no frame has come that nobody expected.
func (s *story) quiet(p *peer) error {
	if !p.welcomed || p.left {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), frameTime)
	defer cancel()
	if err := p.wire.Send(ctx, []byte(`{"type":"ping","id":"end of the case"}`)); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	frame, err := p.next(ctx)
	if err == nil && (frame["type"] != "pong" || frame["id"] != "end of the case") {
		err = fmt.Errorf("%s got a frame that nobody expected: %s", p.name, text(frame))
	}
	return err
}

// request does the steps that are plain HTTP.
func (s *story) request(ctx context.Context, st *vectorStep) error {
	method, path, _ := strings.Cut(st.HTTP, " ")
	body, err := []byte(nil), error(nil)
	if st.API != "" {
		method, path, body = http.MethodPost, "/api/v1/"+st.API, []byte("{}")
	}
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
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return s.answer(st, res, answer)
}

func (s *story) answer(st *vectorStep, res *http.Response, body []byte) error {
	want := st.Status
	if want == 0 {
		want = http.StatusOK
	}
	if res.StatusCode != want {
		return fmt.Errorf("status is %d: %s", res.StatusCode, body)
	}
	if st.ExpectHeaders != nil {
		pattern, err := parse(st.ExpectHeaders)
		if err != nil {
			return err
		}
		got := map[string]any{}
		for name := range res.Header {
			got[name] = res.Header.Get(name)
		}
		if why := s.memory.match("headers", pattern, got); why != "" {
			return errors.New(why)
		}
	}
	if st.Expect == nil {
		return nil
	}
	pattern, err := parse(st.Expect)
	if err != nil {
		return err
	}
	got, err := parse(body)
	if err != nil {
		return fmt.Errorf("%w: %q", err, body)
	}
	if why := s.memory.match("body", pattern, got); why != "" {
		return fmt.Errorf("%s\nthe body is %s", why, text(got))
	}
	return nil
}

// peer is one connection of a story. A goroutine reads it until it ends.
type peer struct {
	name     string
	wire     *client.Wire
	frames   chan map[string]any // what came; closed after the last
	over     chan struct{}       // closed to let the reader go
	end      error               // why the reading ended; valid once frames is closed
	welcomed bool
	left     bool // closed, by either side
}

func listen(name string, wire *client.Wire) *peer {
	p := &peer{name: name, wire: wire, frames: make(chan map[string]any, 1000), over: make(chan struct{})}
	go func() {
		defer close(p.frames)
		for {
			members, err := wire.Read()
			frame := map[string]any{}
			for name, raw := range members {
				if err == nil {
					frame[name], err = parse(raw)
				}
			}
			if err != nil {
				p.end = err
				return
			}
			select {
			case p.frames <- frame:
			case <-p.over:
				return
			}
		}
	}()
	return p
}

// drop ends the connection and waits for its reader.
func (p *peer) drop() {
	close(p.over)
	p.wire.Drop()
	for range p.frames {
		continue // until the reader has closed it
	}
}

func (p *peer) next(ctx context.Context) (map[string]any, error) {
	select {
	case frame, open := <-p.frames:
		if !open {
			p.left = true
			return nil, fmt.Errorf("%s: no frame comes any more: %w", p.name, p.end)
		}
		return frame, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no frame came within %s", p.name, frameTime)
	}
}

func (p *peer) closed(ctx context.Context, want int) error {
	frame, err := p.next(ctx)
	if err == nil {
		return fmt.Errorf("%s got %s, want close code %d", p.name, text(frame), want)
	}
	if !p.left {
		return err
	}
	if got := client.CloseCode(p.end); got != want {
		return fmt.Errorf("%s ended with %w, want close code %d", p.name, p.end, want)
	}
	return nil
}
