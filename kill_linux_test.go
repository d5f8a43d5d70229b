package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// TestKilledServerLosesNothing kills a server at random moments while clients
// publish, and then asks the next one for everything that was acknowledged.
func TestKilledServerLosesNothing(t *testing.T) {
	const kills, publishers = 20, 8
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(7, 7))
	acked := map[string]map[uint64]string{} // data by seq, by channel
	var epochs sync.Map
	var last string // the data and the key of a message that may be in doubt
	for round := range kills {
		c := startChild(t, "log "+dir)
		s := &testServer{t: t, addr: c.addr}
		checkKept(t, s, acked, &epochs)
		if last != "" { // a repeat is safe, whether it was stored or not
			if err := pubOnce(s, last); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var wait sync.WaitGroup
		var count atomic.Int64
		enough := int64(1 + rnd.IntN(400))
		killed := make(chan struct{})
		var once sync.Once
		kill := func() {
			if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			close(killed)
		}
		for p := range publishers {
			channel := fmt.Sprintf("room:%d", p%3)
			wait.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				ws, _, err := websocket.Dial(ctx, "ws://"+c.addr+"/ws?user=ann", nil)
				if err != nil {
					return // the server is gone already
				}
				defer func() { _ = ws.CloseNow() }()
				for i := 0; ; i++ {
					data := fmt.Sprintf(`"%d-%d-%d"`, round, p, i)
					frame := fmt.Sprintf(`{"type":"pub","id":1,"channel":%q,"data":%s,"key":%s}`, channel, data, data)
					mu.Lock()
					last = frame
					mu.Unlock()
					if ws.Write(ctx, websocket.MessageText, []byte(frame)) != nil {
						return
					}
					seq, err := readAck(ctx, ws)
					if err != nil {
						return
					}
					mu.Lock()
					if acked[channel] == nil {
						acked[channel] = map[uint64]string{}
					}
					acked[channel][seq] = data
					mu.Unlock()
					if count.Add(1) == enough {
						once.Do(kill)
					}
				}
			})
		}
		<-killed
		wait.Wait()
		_ = c.in.Close()
		_ = c.cmd.Wait() // it was killed
	}
	c := startChild(t, "log "+dir)
	checkKept(t, &testServer{t: t, addr: c.addr}, acked, &epochs)
	c.end(t)
	total := 0
	for _, list := range acked {
		total += len(list)
	}
	t.Logf("%d messages were acknowledged", total)
}

// readAck reads the next answer and gives its seq.
func readAck(ctx context.Context, ws *websocket.Conn) (uint64, error) {
	for {
		_, raw, err := ws.Read(ctx)
		if err != nil {
			return 0, err
		}
		var f struct {
			Type string
			Seq  uint64
		}
		if err := json.Unmarshal(raw, &f); err != nil {
			return 0, err
		}
		switch f.Type {
		case "ok":
			return f.Seq, nil
		case "welcome":
		default:
			return 0, fmt.Errorf("got %s", raw)
		}
	}
}

// pubOnce publishes a frame on a connection of its own.
func pubOnce(s *testServer, frame string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?user=ann", nil)
	if err != nil {
		return err
	}
	defer func() { _ = ws.CloseNow() }()
	if err := ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		return err
	}
	_, err = readAck(ctx, ws)
	return err
}

// checkKept reads every channel from its beginning and compares it with what was
// acknowledged: all of it is there, seqs have no holes, no message stands twice.
func checkKept(t *testing.T, s *testServer, acked map[string]map[uint64]string, epochs *sync.Map) {
	t.Helper()
	for channel, want := range acked {
		c := s.user("reader")
		seen := map[string]bool{}
		after, top := 0, 0
		for more := true; more; {
			page := c.do(fmt.Sprintf(`{"type":"history","channel":%q,"after":%d,"limit":500}`, channel, after))
			if old, known := epochs.LoadOrStore(channel, page["epoch"]); known && old != page["epoch"] {
				t.Fatalf("the epoch of %s was %v and is %v", channel, old, page["epoch"])
			}
			more = page["more"].(bool)
			for _, m := range page["messages"].([]any) {
				m := m.(map[string]any)
				after++
				data := fmt.Sprintf("%q", m["data"])
				if m["seq"] != float64(after) || seen[data] {
					t.Fatalf("%s: %v stands at %v, want seq %d", channel, data, m["seq"], after)
				}
				seen[data] = true
				if w, ok := want[uint64(after)]; ok && w != data {
					t.Fatalf("%s: %d is %s; acknowledged was %s", channel, after, data, w)
				}
			}
		}
		for seq := range want {
			top = max(top, int(seq))
		}
		if top > after {
			t.Fatalf("%s ends at %d; %d was acknowledged", channel, after, top)
		}
		_ = c.ws.CloseNow()
	}
}
