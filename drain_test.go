package skein_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/ws"
)

// A server that stops tells everybody when to come back, takes nobody in, and
// is done when the last has gone.
func TestDrainSendsEverybodyAway(t *testing.T) {
	const spread = 400
	cfg := func() skein.Config {
		c := strict()
		c.Drain = skein.Drain{Timeout: skein.Duration(patience), Spread: skein.Duration(spread * time.Millisecond)}
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		if status, _, body := s.request("GET", "/readyz", ""); status != 200 {
			t.Errorf("readyz before: %d %s", status, body)
		}
		var all []*client
		for i := range 40 {
			c := s.dial("token=" + token(t, auth.Identity{User: fmt.Sprint("user-", i)}))
			c.expect("welcome")
			all = append(all, c)
		}
		all = append(all, s.dial("")) // not welcomed yet
		eventually(t, "all are there", func() bool { return s.stat("open") == 41 })

		done := make(chan error, 1)
		go func() { done <- s.Drain(context.Background()) }()
		first := all[0].expect("bye")
		status, h, _ := s.request("GET", "/ws", "", "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
		if status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
			t.Errorf("a new connection: %d %v, want 503 with Retry-After", status, h)
		}
		if status, _, _ := s.request("GET", "/readyz", ""); status != http.StatusServiceUnavailable {
			t.Errorf("readyz: %d, want 503", status)
		}
		if status, _, _ := s.request("GET", "/healthz", ""); status != http.StatusOK {
			t.Errorf("healthz: %d, want 200", status)
		}
		info := s.verb("info", `{}`)["nodes"].([]any)[0].(map[string]any)
		if info["state"] != "draining" {
			t.Errorf("info says %v", info)
		}
		select {
		case err := <-done:
			t.Errorf("Drain returned %v while clients were there", err)
		default:
		}
		low, high := spread, 0
		for i, c := range all {
			bye := first
			if i > 0 {
				bye = c.expect("bye")
			}
			after := int(bye["after"].(float64))
			if bye["code"] != "going_away" || bye["reconnect"] != true || after < 0 || after > spread {
				t.Errorf("bye is %v, want going_away within %d ms", bye, spread)
			}
			low, high = min(low, after), max(high, after)
			if code := c.closed(); code != 1001 {
				t.Errorf("close code %d, want 1001", code)
			}
		}
		if high-low < spread/2 {
			t.Errorf("all come back between %d and %d ms, want them spread over %d", low, high, spread)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("all are gone, and Drain still waits")
		}
		s.empty()
	})
}

// A client that does not answer holds a stopping server up only until the
// deadline.
func TestDrainEndsAtItsDeadline(t *testing.T) {
	log := &logbook{}
	cfg := func() skein.Config {
		c := open()
		c.Logger = log.logger()
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		w := s.wire("user=deaf")
		w.expect("welcome")
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := s.Drain(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 150*time.Millisecond || took > 2*time.Second {
			t.Errorf("Drain took %s, want 200 ms", took)
		}
		if bye := w.expect("bye"); bye["code"] != "going_away" {
			t.Errorf("bye is %v", bye)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections after Close", n)
		}
	})
}

// Run serves until its context ends, and then has nothing left.
func TestRunEndsWithItsContext(t *testing.T) {
	cfg := open()
	cfg.Listen = "127.0.0.1:0"
	s, err := skein.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	eventually(t, "it listens", func() bool { return s.Addr() != nil })
	at := &testServer{s, t, s.Addr().String()}
	c := at.user("ann")
	c.lives()
	cancel()
	c.goodbye("going_away", 1001)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("Run did not end")
	}
}

// storm lets clients come until the server refuses them, and gives each to
// inside. It returns when the first of them are in; wait for the rest with all.
func (s *testServer) storm(inside func(w *wire)) (all *sync.WaitGroup) {
	const coming, enough = 16, 300
	all = &sync.WaitGroup{}
	came := make(chan struct{}, 100*enough)
	for range coming {
		all.Go(func() {
			for {
				w, status := s.knock("user=ann")
				if status != http.StatusSwitchingProtocols {
					return
				}
				came <- struct{}{}
				all.Go(func() { inside(w) })
			}
		})
	}
	for range enough {
		<-came
	}
	return all
}

// Who comes at the very moment when the server stops is sent away like the
// others, and does not hold it up.
func TestDrainMissesNobodyWhoIsJustComing(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		all := s.storm(func(w *wire) {
			if err := w.sentAway(); err != nil {
				t.Errorf("a client that came: %v", err)
			}
		})
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("Drain took %s", took)
		}
		all.Wait()
		s.empty()
	})
}

// Close ends also who comes while it is at it, and keeps no descriptor of them.
func TestCloseMissesNobodyWhoIsJustComing(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		all := s.storm(func(w *wire) {
			defer func() { _ = w.Close() }()
			var err error
			for err == nil {
				_, _, err = w.frame()
			}
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				t.Errorf("a client that came was kept: %v", err)
			}
		})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections after Close", n)
		}
	})
}

// sentAway reads to the close frame, answers it, and tells what is wrong.
func (w *wire) sentAway() error {
	defer func() { _ = w.Close() }()
	told := false
	for {
		op, payload, err := w.frame()
		switch {
		case err != nil:
			return fmt.Errorf("told %v: %w", told, err)
		case op == ws.Close && told:
			_, err := w.Write(ws.AppendMaskedClose(nil, [4]byte{1, 2, 3, 4}, 1001, ""))
			return err
		case op == ws.Close:
			return fmt.Errorf("closed without a bye: %q", payload)
		case bytes.Contains(payload, []byte(`"going_away"`)):
			told = true
		}
	}
}

// knock tries a handshake.
func (s *testServer) knock(query string) (w *wire, status int) {
	c, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		s.t.Error(err)
		return nil, http.StatusServiceUnavailable
	}
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	w = &wire{Conn: c, t: s.t, r: bufio.NewReader(c)}
	if _, err := io.WriteString(c, handshakeText(query)); err != nil {
		s.t.Error(err)
	}
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		_ = c.Close()
		return nil, http.StatusServiceUnavailable
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		_ = c.Close()
	}
	return w, res.StatusCode
}
