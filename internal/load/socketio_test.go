package load_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/load"
)

// broadcaster starts a server that emits an event for each POST; emit says how.
func broadcaster(t *testing.T, emit func(io *skein.IOBroadcast)) string {
	t.Helper()
	s, err := skein.New(skein.Config{SocketIO: skein.SocketIO{
		Namespaces: map[string]skein.SocketIONamespace{}, PingInterval: skein.Duration(50 * time.Millisecond), PingTimeout: skein.Duration(time.Second),
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.SocketIO("/")
	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.HandleFunc("POST /broadcast", func(http.ResponseWriter, *http.Request) { emit(s.SocketIOIn("/")) })
	h := httptest.NewServer(mux)
	t.Cleanup(func() {
		h.Close()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h.URL
}

func send(t *testing.T, io *skein.IOBroadcast, text string) {
	t.Helper()
	if err := io.Emit("news", text); err != nil {
		t.Errorf("emit: %v", err)
	}
}

// clients connects n of them.
func clients(t *testing.T, cfg load.SocketIOConfig, n int) *load.SocketIO {
	t.Helper()
	all, err := load.NewSocketIO(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Close)
	if err := all.Dial(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEverySocketIOClientHasEveryBroadcastOnce(t *testing.T) {
	const n, count = 50, 40
	self := load.Process{PID: os.Getpid()}
	for _, polling := range []bool{false, true} {
		for _, window := range []int{1, 10} {
			t.Run(fmt.Sprintf("polling %v, %d in flight", polling, window), func(t *testing.T) {
				url := broadcaster(t, func(io *skein.IOBroadcast) { send(t, io, "hello") })
				all := clients(t, load.SocketIOConfig{URL: url, Polling: polling, Size: len(`42["news","hello"]`)}, n)
				for range 2 {
					r, err := all.Broadcast(t.Context(), "/broadcast", count, window, self)
					if err != nil {
						t.Fatal(err)
					}
					if r.Delivered != n*count || r.Expected != n*count || r.Lost+r.Doubled+r.Strange+r.Disconnected != 0 || r.Trouble != nil {
						t.Errorf("something went wrong: %+v", r)
					}
					if r.Latency.Count != count || r.Took <= 0 || window == 1 && !polling && r.Joined != 1 {
						t.Errorf("not a result: %+v", r)
					}
				}
			})
		}
	}
}

func TestSocketIOClientsNoticeWhatIsWrong(t *testing.T) {
	const n = 20
	for _, c := range []struct {
		name                   string
		emit                   func(t *testing.T, io *skein.IOBroadcast)
		lost, doubled, strange int64
	}{
		{"nothing is sent", func(*testing.T, *skein.IOBroadcast) {}, n, 0, 0},
		{"it is sent twice", func(t *testing.T, io *skein.IOBroadcast) { send(t, io, "hello"); send(t, io, "hello") }, 0, n, 0},
		{"it has another size", func(t *testing.T, io *skein.IOBroadcast) { send(t, io, "hello!") }, 0, 0, n},
		{"some are left out", func(t *testing.T, io *skein.IOBroadcast) { send(t, io.ExceptSocket(io.Sockets()[0]), "hello") }, 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := broadcaster(t, func(io *skein.IOBroadcast) { c.emit(t, io) })
			all := clients(t, load.SocketIOConfig{URL: url, Size: len(`42["news","hello"]`), Patience: 200 * time.Millisecond}, n)
			r, err := all.Broadcast(t.Context(), "/broadcast", 1, 1, load.Process{PID: os.Getpid()})
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost != c.lost || r.Doubled != c.doubled || r.Strange != c.strange {
				t.Errorf("%d lost, %d doubled, %d of another size; want %d, %d, %d", r.Lost, r.Doubled, r.Strange, c.lost, c.doubled, c.strange)
			}
		})
	}
}

func TestSocketIOClientsAnswerPings(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprintf("polling %v", polling), func(t *testing.T) {
			url := broadcaster(t, func(io *skein.IOBroadcast) { send(t, io, "hello") })
			all := clients(t, load.SocketIOConfig{URL: url, Polling: polling}, 5)
			// Many heartbeats of 50 ms pass during these.
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
				r, err := all.Broadcast(t.Context(), "/broadcast", 1, 1, load.Process{PID: os.Getpid()})
				if err != nil {
					t.Fatal(err)
				}
				if r.Lost+r.Doubled+r.Disconnected != 0 {
					t.Fatalf("something went wrong: %+v", r)
				}
			}
		})
	}
}

func TestSocketIOServersThatDoNotLetClientsInAreNamed(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refusing.Close)
	for _, polling := range []bool{false, true} {
		all, err := load.NewSocketIO(load.SocketIOConfig{URL: refusing.URL, Polling: polling})
		if err != nil {
			t.Fatal(err)
		}
		if err := all.Dial(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("polling %v: the error is %v", polling, err)
		}
		all.Close()
	}
	if _, err := load.NewSocketIO(load.SocketIOConfig{URL: "ftp://example.com"}); err == nil || !strings.HasPrefix(err.Error(), "url: ") {
		t.Errorf("the error is %v", err)
	}
}
