package skein_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/ws"
)

// member is one of a crowd: a connection that costs the test little and that
// may fail without ending it.
type member struct {
	net.Conn
	r *bufio.Reader
}

// join connects one of a crowd, with its first frames in the same write.
func join(addr, query string, frames ...string) (*member, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(3 * patience))
	m := &member{c, bufio.NewReaderSize(c, 512)}
	b := []byte(handshakeText(query))
	for _, f := range frames {
		b = ws.AppendMasked(b, ws.Text, [4]byte{1, 2, 3, 4}, []byte(f))
	}
	if _, err := m.Write(b); err != nil {
		_ = c.Close()
		return nil, err
	}
	res, err := http.ReadResponse(m.r, nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(res.Status)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return m, nil
}

// await reads until a frame of the given type. Frames of a crowd are short.
func (m *member) await(frameType string) error {
	for {
		var h [2]byte
		if _, err := io.ReadFull(m.r, h[:]); err != nil {
			return err
		}
		n := int(h[1])
		if n == 126 {
			if _, err := io.ReadFull(m.r, h[:]); err != nil {
				return err
			}
			n = int(h[0])<<8 | int(h[1])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(m.r, payload); err != nil {
			return err
		}
		if bytes.Contains(payload, []byte(`{"type":"`+frameType+`"`)) {
			return nil
		}
	}
}

// vanish ends the connection without a word: a reset.
func (m *member) vanish() {
	_ = m.Conn.(*net.TCPConn).SetLinger(0)
	_ = m.Close()
}

// descriptors counts the open files of this process.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Three thousand come at once and go at once, and nothing of them stays.
func TestCrowdLeavesNothingBehind(t *testing.T) {
	const crowd = 3000
	cfg := func() skein.Config {
		c := open()
		c.Limits.PerAddress = crowd + 10 // so that addresses are counted too
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		s.user("first").lives() // what is made once is there
		eventually(t, "the first is there", func() bool { return s.stat("open") == 1 })
		files, goroutines := descriptors(t), runtime.NumGoroutine()

		members := make([]*member, crowd)
		failed := make([]error, crowd)
		together := func(fn func(i int)) {
			var wg sync.WaitGroup
			for i := range crowd {
				wg.Go(func() { fn(i) })
			}
			wg.Wait()
			for i, err := range failed {
				if err != nil {
					t.Fatalf("member %d: %v", i, err)
				}
			}
		}
		together(func(i int) {
			members[i], failed[i] = join(s.addr, fmt.Sprintf("user=u%d", i%1000),
				fmt.Sprintf(`{"type":"sub","id":1,"channel":"room:%d"}`, i%100))
			if failed[i] == nil {
				failed[i] = members[i].await("ok")
			}
		})
		same(t, "counts", []float64{s.stat("connections"), s.stat("open"), s.stat("users"), s.stat("channels")},
			[]float64{crowd + 1, crowd + 1, 1001, 100})
		out := s.verb("publish", `{"to":{"all":"connections"},"data":1}`)
		same(t, "reach", []any{out["connections"], out["users"]}, []any{crowd + 1.0, 1001.0})
		together(func(i int) { failed[i] = members[i].await("msg") })

		together(func(i int) {
			switch m := members[i]; i % 3 {
			case 0:
				_, _ = m.Write(ws.AppendMaskedClose(nil, [4]byte{1, 2, 3, 4}, 1000, ""))
				_, _ = io.Copy(io.Discard, m.r) // until the server has closed
				_ = m.Close()
			case 1:
				_ = m.Close()
			default:
				m.vanish()
			}
		})
		eventually(t, "one is left", func() bool { return s.stat("open") == 1 && s.stat("connections") == 1 })
		same(t, "counts", []float64{s.stat("users"), s.stat("channels")}, []float64{1, 0})
		if items := s.verb("connections", `{}`)["items"].([]any); len(items) != 1 {
			t.Errorf("%d connections are listed", len(items))
		}
		eventually(t, fmt.Sprintf("%d goroutines", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, fmt.Sprintf("%d descriptors", files), func() bool { return descriptors(t) <= files })
	})
}
