package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

func TestAClientConnectsAndLeaves(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := newClient(t, s.url(), client.Options{User: "ann", Device: "phone", Transports: []client.Transport{transport}})
		states := collect(t, c.OnState)
		if got := c.State().Phase; got != client.Idle {
			t.Errorf("before Connect the phase is %s", got)
		}
		must(t, c.Connect(soon(t)))
		got := c.State()
		if got.Connection == "" || got.Err != nil {
			t.Errorf("state = %+v", got)
		}
		got.Connection = ""
		if diff := cmp.Diff(client.State{Phase: client.Connected, Transport: transport, User: "ann", Device: "phone"}, got); diff != "" {
			t.Errorf("state (-want +got):\n%s", diff)
		}
		all := states.until("connected", func(all []client.State) bool { return len(all) > 0 && all[len(all)-1].Phase == client.Connected })
		if all[0].Phase != client.Connecting {
			t.Errorf("the first state is %+v", all[0])
		}
		must(t, c.Close(soon(t)))
		if got := c.State(); got.Phase != client.Closed || got.Err != nil {
			t.Errorf("after Close the state is %+v", got)
		}
		eventually(t, "the server has forgotten it", func() bool { return s.verb("stats", nil)["connections"] == 0.0 })
		if _, err := c.Channel("event:a", client.ChannelOptions{}).Publish(soon(t), "", 1, client.PublishOptions{}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("after Close publishing gives %v", err)
		}
		if err := c.Connect(soon(t)); !errors.Is(err, client.ErrClosed) {
			t.Errorf("after Close connecting gives %v", err)
		}
	})
}

func TestATokenSaysWhoTheClientIs(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c, err := client.Dial(soon(t), s.url(), client.Options{
			Token: client.StaticToken(token(t, "ann", time.Hour, nil)), Device: "desk", Transports: []client.Transport{transport},
		})
		must(t, err)
		defer func() { must(t, c.Close(soon(t))) }()
		if got := c.State(); got.User != "ann" || got.Device != "desk" || time.Until(got.Expires) < 50*time.Minute {
			t.Errorf("state = %+v", got)
		}
		// What is sent up has to carry the token as well.
		ch := c.Channel("event:a", client.ChannelOptions{})
		must(t, ch.Subscribe(soon(t)))
	})
}

func TestARefusedTokenEndsTheClient(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := newClient(t, s.url(), client.Options{
			Token: client.StaticToken(token(t, "ann", -time.Hour, nil)), Transports: []client.Transport{transport},
		})
		states := collect(t, c.OnState)
		err := c.Connect(soon(t))
		if !errors.Is(err, client.ErrClosed) || !strings.Contains(err.Error(), "token") {
			t.Fatalf("Connect gives %v, want one about the token", err)
		}
		states.until("closed", func(all []client.State) bool {
			return len(all) > 0 && all[len(all)-1].Phase == client.Closed && all[len(all)-1].Err != nil
		})
		if err := c.Channel("event:a", client.ChannelOptions{}).Subscribe(soon(t)); !errors.Is(err, client.ErrClosed) {
			t.Errorf("subscribing gives %v", err)
		}
		var end *client.EndError
		if transport != client.SSE && (!errors.As(err, &end) || end.Status != 4002 || end.Word != "token_refused") {
			t.Errorf("the reason is %#v", end)
		}
	})
}

func TestATokenThatCannotBeHad(t *testing.T) {
	s := start(t, config())
	t.Run("is asked for again", func(t *testing.T) {
		var asked atomic.Int32
		c := connect(t, s.url(), client.Options{Token: func(context.Context) (string, error) {
			if asked.Add(1) < 3 {
				return "", errors.New("the backend is away")
			}
			return token(t, "ann", time.Hour, nil), nil
		}})
		if got := c.State().User; got != "ann" || asked.Load() != 3 {
			t.Errorf("user %q after %d attempts", got, asked.Load())
		}
	})
	t.Run("because the program says no", func(t *testing.T) {
		c := newClient(t, s.url(), client.Options{Token: func(context.Context) (string, error) {
			return "", &client.Error{Code: client.Unauthorized, Message: "signed out"}
		}})
		var e *client.Error
		if err := c.Connect(soon(t)); !errors.As(err, &e) || e.Code != client.Unauthorized {
			t.Errorf("Connect gives %v", err)
		}
	})
}

func TestATokenIsRefreshedBeforeItExpires(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		var asked atomic.Int32
		c := connect(t, s.url(), client.Options{
			Transports: []client.Transport{transport},
			Token: func(context.Context) (string, error) {
				if asked.Add(1) == 1 {
					return token(t, "ann", 2*time.Second, nil), nil
				}
				return token(t, "ann", time.Hour, nil), nil
			},
		})
		before := c.State()
		eventually(t, "a later end", func() bool { return time.Until(c.State().Expires) > time.Minute })
		if got := c.State().Connection; got != before.Connection {
			t.Error("the connection is another one")
		}
		ch := c.Channel("event:a", client.ChannelOptions{})
		must(t, ch.Subscribe(soon(t)))
	})
}

func TestAnExpiredTokenIsReplacedByReconnecting(t *testing.T) {
	s := start(t, config())
	var asked atomic.Int32
	c := newClient(t, s.url(), client.Options{Token: func(ctx context.Context) (string, error) {
		switch asked.Add(1) {
		case 1:
			return token(t, "ann", 2*time.Second, nil), nil // its end is cut to whole seconds
		case 2, 3, 4: // while the token is still good
			return "", errors.New("the backend is away")
		}
		return token(t, "ann", time.Hour, nil), nil
	}})
	states := collect(t, c.OnState)
	errs := collect(t, c.OnError)
	must(t, c.Connect(soon(t)))
	all := states.until("a second connection", func(all []client.State) bool {
		return len(all) > 3 && all[len(all)-1].Phase == client.Connected && time.Until(all[len(all)-1].Expires) > time.Minute
	})
	var end *client.EndError
	for _, st := range all {
		if st.Phase == client.Waiting && errors.As(st.Err, &end) {
			break
		}
	}
	if end == nil || end.Word != "token_expired" || end.Status != 4003 {
		t.Errorf("the first connection ended with %v", end)
	}
	if e := errs.first(); !strings.Contains(e.Error(), "the backend is away") {
		t.Errorf("OnError got %v", e)
	}
}

func TestAServerThatIsAwayIsWaitedFor(t *testing.T) {
	s := start(t, config())
	s.stop()
	c := newClient(t, s.url(), client.Options{User: "ann"})
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := c.Connect(short)
	var network *net.OpError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &network) {
		t.Errorf("Connect gives %v, want a deadline and the reason", err)
	}
	s.begin()
	must(t, c.Connect(soon(t)))
}

func TestRetryEndsTheWaiting(t *testing.T) {
	s := start(t, config())
	s.stop()
	c := newClient(t, s.url(), client.Options{User: "ann", Backoff: func(int) time.Duration { return time.Hour }})
	states := collect(t, c.OnState)
	short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := c.Connect(short); err == nil {
		t.Fatal("it is connected")
	}
	st := states.until("waiting", func(all []client.State) bool { return len(all) > 0 && all[len(all)-1].Phase == client.Waiting })
	if wait := time.Until(st[len(st)-1].Retry); wait < 50*time.Minute {
		t.Errorf("it wants to wait %s", wait)
	}
	s.begin()
	c.Retry()
	must(t, c.Connect(soon(t)))
}

func TestADrainingServerIsComeBackTo(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		// The waiting time has to be the server's: this one's would be too long.
		o := over(transport, "ann")
		first := true
		o.Backoff = func(int) time.Duration {
			if first {
				first = false
				return time.Hour
			}
			return 5 * time.Millisecond
		}
		c := newClient(t, s.url(), o)
		states := collect(t, c.OnState)
		must(t, c.Connect(soon(t)))
		s.stop()
		all := states.until("waiting", func(all []client.State) bool {
			return len(all) > 0 && all[len(all)-1].Phase == client.Waiting || len(all) > 5
		})
		var end *client.EndError
		for _, st := range all {
			if st.Phase == client.Waiting {
				errors.As(st.Err, &end)
				break
			}
		}
		if end == nil || end.Word != "going_away" || !end.Reconnect {
			t.Errorf("it ended with %v", end)
		}
		s.begin()
		eventually(t, "it is back", func() bool { c.Retry(); return c.State().Phase == client.Connected })
	})
}

func TestADisconnectedClientStaysAway(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := newClient(t, s.url(), over(transport, "ann"))
		states := collect(t, c.OnState)
		must(t, c.Connect(soon(t)))
		s.verb("disconnect", map[string]any{"user": "ann", "message": "enough"})
		all := states.until("closed", func(all []client.State) bool { return len(all) > 0 && all[len(all)-1].Phase == client.Closed })
		var end *client.EndError
		if !errors.As(all[len(all)-1].Err, &end) || end.Word != "disconnected" || end.Message != "enough" || end.Reconnect {
			t.Errorf("the reason is %v", all[len(all)-1].Err)
		}
		if err := c.Connect(soon(t)); !errors.Is(err, client.ErrClosed) || !errors.As(err, &end) {
			t.Errorf("Connect gives %v", err)
		}
	})
}

// only lets the paths through that begin with one of these.
func only(t *testing.T, to string, paths ...string) string {
	t.Helper()
	u, err := url.Parse(to)
	must(t, err)
	through := httputil.NewSingleHostReverseProxy(u)
	through.FlushInterval = -1
	through.ErrorLog = log.New(io.Discard, "", 0) // streams that are cut are no news
	transport := &http.Transport{}
	through.Transport = transport
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, p := range paths {
			if strings.HasPrefix(r.URL.Path, p) {
				through.ServeHTTP(w, r)
				return
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(func() { web.CloseClientConnections(); web.Close(); transport.CloseIdleConnections() })
	return web.URL
}

func TestTheClientFallsBackToWhatGetsThrough(t *testing.T) {
	for _, tc := range []struct {
		paths []string
		want  client.Transport
	}{
		{[]string{"/ws", "/sse", "/poll"}, client.WebSocket},
		{[]string{"/sse", "/poll"}, client.SSE},
		{[]string{"/poll"}, client.Poll},
	} {
		t.Run(string(tc.want), func(t *testing.T) {
			s := start(t, config())
			c := connect(t, only(t, s.url(), tc.paths...), client.Options{User: "ann"})
			if got := c.State().Transport; got != tc.want {
				t.Errorf("it is connected by %s, want %s", got, tc.want)
			}
			ch := c.Channel("room:a", client.ChannelOptions{})
			messages := collect(t, ch.OnMessage)
			must(t, ch.Subscribe(soon(t)))
			s.publish("room:a", 1)
			messages.count(1)
			must(t, c.Close(soon(t)))
		})
	}
}

func TestADeadLinkIsFound(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		cfg := config()
		cfg.Heartbeat.Misses = 100
		cfg.Heartbeat.Interval = skein.Duration(100 * time.Millisecond)
		s := start(t, cfg)
		p := throughProxy(t, s.addr)
		c := newClient(t, p.url(), over(transport, "ann"))
		states := collect(t, c.OnState)
		must(t, c.Connect(soon(t)))
		p.swallow(true)
		all := states.until("lost", func(all []client.State) bool { return len(all) > 0 && all[len(all)-1].Phase == client.Waiting })
		if why := all[len(all)-1].Err; why == nil || !strings.Contains(why.Error(), "nothing was heard") {
			t.Errorf("the reason is %v", why)
		}
		p.swallow(false)
		p.cut()
		must(t, c.Connect(soon(t)))
	})
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		address string
		o       client.Options
		want    string
	}{
		{"localhost:8000", client.Options{}, "address: "},
		{"ftp://localhost", client.Options{}, "address: "},
		{"http://", client.Options{}, "address: "},
		{"http://a/?x=1", client.Options{}, "address: "},
		{"http://a", client.Options{Transports: []client.Transport{"carrier pigeon"}}, "Transports: "},
		{"http://a", client.Options{HTTPClient: &http.Client{Timeout: time.Second}}, "HTTPClient: "},
		{"http://a", client.Options{Device: "a\x00b"}, "Device: "},
		{"http://a", client.Options{Data: func() {}}, "Data: "},
	} {
		_, err := client.New(tc.address, tc.o)
		var e *client.Error
		if !errors.As(err, &e) || e.Code != client.BadRequest || !strings.HasPrefix(e.Message, tc.want) {
			t.Errorf("New(%q, %+v) gives %v, want %s…", tc.address, tc.o, err, tc.want)
		}
	}
}

func TestFullJitterIsBounded(t *testing.T) {
	for attempt, bound := range map[int]time.Duration{0: 500 * time.Millisecond, 1: time.Second, 3: 4 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := client.FullJitter(attempt)
			low, high = min(low, d), max(high, d)
		}
		if low < 0 || high > bound || low > bound/10 || high < bound*9/10 {
			t.Errorf("before attempt %d it waits %s to %s, want 0 to %s", attempt, low, high, bound)
		}
	}
}

func TestAPollThatWasOvertakenIsMadeAgain(t *testing.T) {
	asked := make(chan string, 10)
	overtake := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Connection string
			After      int
			Frames     []struct{ ID int }
			Close      bool
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Errorf("a call cannot be read: %v", err)
		}
		switch {
		case q.Connection == "":
			_, _ = fmt.Fprint(w, `{"connection":"secret","after":1,"frames":[{"type":"welcome","connection":"c","user":"ann","heartbeat":15}]}`)
		case q.Close:
		case len(q.Frames) > 0:
			_, _ = fmt.Fprintf(w, `{"connection":"secret","after":2,"frames":[{"type":"ok","id":%d,"seq":7,"stored":true}]}`, q.Frames[0].ID)
			time.AfterFunc(10*time.Millisecond, func() { close(overtake) })
		default:
			asked <- fmt.Sprint(q.After)
			select {
			case <-overtake:
			case <-r.Context().Done():
				return
			}
			if q.After > 1 {
				<-r.Context().Done()
				return
			}
			w.WriteHeader(http.StatusConflict)
		}
	}))
	t.Cleanup(web.Close)
	c := connect(t, web.URL, client.Options{Transports: []client.Transport{client.Poll}})
	states := collect(t, c.OnState)
	same(t, "after", <-asked, "1")
	p, err := c.Channel("room:1", client.ChannelOptions{}).Publish(soon(t), "", 1, client.PublishOptions{})
	must(t, err)
	same(t, "seq", p.Seq, uint64(7))
	same(t, "after", <-asked, "2")
	for _, s := range states.now() {
		if s.Phase != client.Connected {
			t.Errorf("the client is %s, %v", s.Phase, s.Err)
		}
	}
}
