package vectors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/skein-realtime/skein"
)

// patience is how long a frame or an answer may take.
const patience = 5 * time.Second

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

// A story is a case that is being played.
type story struct {
	client Client
	base   string // of the server, http://host:port
	http   *http.Client
	key    string // of the API, when the step names none
	conns  map[string]*peer
	memory memory
}

func play(t *testing.T, f *file, steps []json.RawMessage, client Client) {
	var cfg skein.Config
	if len(f.Config) > 0 {
		if err := yaml.UnmarshalWithOptions(f.Config, &cfg, yaml.Strict()); err != nil {
			t.Fatalf("config: %v", err)
		}
	}
	s := &story{client: client, key: "vectors", conns: map[string]*peer{}, memory: memory{}}
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
		return p.conn.Send(ctx, frame)
	case st.Text != nil:
		return s.write(ctx, p.conn.Send, st.Text)
	case st.Binary != nil:
		return s.write(ctx, p.conn.SendBinary, st.Binary)
	case st.Expect != nil:
		return s.expect(ctx, p, st.Expect)
	case st.Closed != nil:
		return p.closed(ctx, st.Closed.Code)
	case st.Close != 0:
		p.left = true
		return p.conn.Close(st.Close)
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
func (s *story) filledStrings(template []byte) (out map[string]string, err error) {
	if template == nil {
		return nil, nil
	}
	filled, err := s.filled(template)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(filled, &out)
	return out, err
}

// filledText is filled for a text.
func (s *story) filledText(template []byte) (out string, err error) {
	filled, err := s.filled(template)
	if err != nil {
		return "", err
	}
	err = json.Unmarshal(filled, &out)
	return out, err
}

// write sends the text of a template with one of the ways of a Conn.
func (s *story) write(ctx context.Context, send func(context.Context, []byte) error, template []byte) error {
	message, err := s.filledText(template)
	if err != nil {
		return err
	}
	return send(ctx, []byte(message))
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
	if object, ok := frame.(map[string]any); ok && object["type"] == "welcome" {
		s.memory["connection:"+p.name] = object["connection"]
		p.welcomed = true
	}
	if why := s.memory.match("frame", want, frame); why != "" {
		return fmt.Errorf("%s\nthe frame is %s", why, text(frame))
	}
	return nil
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
	values, header := url.Values{}, http.Header{}
	for name, value := range query {
		values.Set(name, value)
	}
	for name, value := range headers {
		header.Set(name, value)
	}
	conn, status, err := s.client.Dial(ctx, Handshake{
		HTTP: s.http, URL: s.base + "/ws?" + values.Encode(), Header: header, Subprotocol: st.Open.Subprotocol,
	})
	switch {
	case st.Refused != 0 && err == nil:
		conn.Drop()
		return fmt.Errorf("the handshake succeeded, want status %d", st.Refused)
	case st.Refused != 0 && status == st.Refused:
		return nil
	case st.Refused != 0 && status != 0:
		return fmt.Errorf("the handshake got status %d, want %d: %w", status, st.Refused, err)
	case err != nil:
		return err
	}
	s.conns[st.Conn] = listen(st.Conn, conn)
	if got, want := conn.Subprotocol(), cmp.Or(st.Open.Subprotocol, s.client.Offers); got != want {
		return fmt.Errorf("subprotocol is %q, want %q", got, want)
	}
	return nil
}

// quiet checks at the end that nothing came that no step expected.
func (s *story) quiet(p *peer) error {
	if !p.welcomed || p.left {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.conn.Send(ctx, []byte(`{"type":"ping","id":"end of the case"}`)); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	frame, err := p.next(ctx)
	if err != nil {
		return err
	}
	if why := s.memory.match("frame", map[string]any{"type": "pong", "id": "end of the case"}, frame); why != "" {
		return fmt.Errorf("%s got a frame that nobody expected: %s", p.name, text(frame))
	}
	return nil
}
