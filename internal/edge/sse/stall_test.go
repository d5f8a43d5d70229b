package sse_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/sse"
	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// world is a door with real parts behind it.
type world struct {
	door    *sse.Door
	streams *stream.Server
	hub     *hub.Hub
	addr    string
}

func start(t *testing.T, cfg stream.Config) *world {
	t.Helper()
	links, err := link.Start(link.Config{Heartbeat: 15 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{hub: hub.New(hub.Config{Encodings: []hub.Encoding{sse.Encoding()}})}
	sessions := session.NewServer(session.Config{Hub: w.hub, Clock: links, Verifier: verifier, Settings: session.Settings{
		AuthTimeout: time.Minute, Heartbeat: time.Minute, Anonymous: true, Dev: true, Depth: 8, Subscriptions: 10, FramesPerSecond: -1,
	}})
	cfg.Sessions, cfg.Clock = sessions, links
	cfg.Admit = func(http.ResponseWriter, *http.Request) (netip.AddrPort, func(), bool) {
		return netip.AddrPort{}, func() {}, true
	}
	cfg.Settings.Dev, cfg.Settings.Message = true, 1<<20
	w.streams = stream.New(cfg)
	w.door = sse.New(sse.Config{Streams: w.streams, Sessions: sessions, Verifier: verifier,
		Epoch: func(context.Context, string) (string, error) { return "", nil }})
	mux := http.NewServeMux()
	mux.HandleFunc("/sse", w.door.Stream)
	mux.HandleFunc("/sse/{connection}", w.door.Frames)
	front := httptest.NewUnstartedServer(mux)
	front.Config.ConnContext = stream.WithConn
	front.Start()
	w.addr = front.Listener.Addr().String()
	t.Cleanup(func() {
		w.streams.Close()
		front.Close()
		links.Close()
		sessions.Close()
		w.hub.Close()
	})
	return w
}

// open opens a stream whose client reads no more than the head of the answer.
func (w *world) open(t *testing.T, user string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET /sse?user=%s HTTP/1.1\r\nHost: x\r\n\r\n", user); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q, %v", line, err)
	}
	eventually(t, "it is welcomed", func() bool { return len(w.hub.UserConns(user)) == 1 })
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

var frame = []byte(`{"type":"msg","channel":"@direct","id":"m","event":"message","data":"` + strings.Repeat("x", 64<<10) + `","time":1}`)

func TestAReaderThatTakesNothingIsEnded(t *testing.T) {
	w := start(t, stream.Config{Stall: 300 * time.Millisecond, Queue: 4 << 20})
	w.open(t, "ann")
	conns := w.hub.UserConns("ann")
	for range 40 {
		w.hub.PublishTo(conns, frame)
	}
	if n := conns[0].Out().Queued(); n < 1<<20 {
		t.Fatalf("%d bytes wait: the kernel takes more than it should", n)
	}
	eventually(t, "it is ended", func() bool { return w.streams.Open() == 0 && len(w.hub.UserConns("ann")) == 0 })
	if n := w.door.Metrics().Stalled.Load(); n != 1 {
		t.Errorf("the metric says %d", n)
	}
}

func TestRepliesThatNobodyReadsEndTheConnection(t *testing.T) {
	w := start(t, stream.Config{Stall: time.Hour, Queue: 128 << 10})
	w.open(t, "ann")
	conn := w.hub.UserConns("ann")[0]
	for conn.SendFrame(frame, nil) {
	}
	eventually(t, "it is ended", func() bool { return w.streams.Open() == 0 && len(w.hub.UserConns("ann")) == 0 })
	if n := w.door.Metrics().Stalled.Load(); n != 1 {
		t.Errorf("the metric says %d", n)
	}
}

// A write that nobody takes holds nothing up when the server stops, and a goodbye
// does not wait longer than it should.
func TestAWriteThatIsStuckIsInterrupted(t *testing.T) {
	w := start(t, stream.Config{Stall: time.Hour, Linger: 200 * time.Millisecond, Queue: 4 << 20})
	for _, user := range []string{"ann", "bob"} {
		w.open(t, user)
		conns := w.hub.UserConns(user)
		for range 40 {
			w.hub.PublishTo(conns, frame)
		}
	}
	w.hub.UserConns("ann")[0].Owner().(*session.Session).Bye(protocol.CloseDisconnected, "go", 0)
	eventually(t, "the one that was sent away is gone", func() bool { return w.streams.Open() == 1 })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		w.streams.Close()
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("closing waits for a reader that does not read")
	}
}

// A client that posts faster than its replies are taken has to wait.
func TestPostsWaitForAReaderThatDoesNotRead(t *testing.T) {
	w := start(t, stream.Config{Stall: time.Hour, Queue: 64 << 10, Inbox: 1 << 10})
	c := w.open(t, "ann")
	conn := w.hub.UserConns("ann")[0]
	for range 30 {
		w.hub.PublishTo([]*hub.Conn{conn}, frame)
	}
	eventually(t, "its queue is full", func() bool { return conn.Out().Queued() > 40<<10 })
	body := `[` + strings.Repeat(`{"type":"ping"},`, 90) + `{"type":"ping"}]`
	post := func(ctx context.Context) (int, error) {
		req, err := http.NewRequestWithContext(ctx, "POST", "http://"+w.addr+"/sse/"+conn.ID.String(), strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		_ = res.Body.Close()
		return res.StatusCode, nil
	}
	defer http.DefaultClient.CloseIdleConnections()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		status, err := post(ctx)
		cancel()
		if err != nil {
			break // it waits
		}
		if status != http.StatusAccepted {
			t.Fatalf("a post is answered by %d", status)
		}
	}
	done := make(chan int, 1)
	go func() {
		status, _ := post(context.Background())
		done <- status
	}()
	go func() { // reading lets it go on
		b := make([]byte, 64<<10)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	select {
	case status := <-done:
		if status != http.StatusAccepted {
			t.Errorf("a post is answered by %d", status)
		}
	case <-time.After(patience):
		t.Error("it waits for ever")
	}
}
