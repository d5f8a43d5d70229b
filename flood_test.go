package skein_test

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/ws"
)

// numbered reads the next message and the number in its data.
func (w *wire) numbered() int {
	w.t.Helper()
	for {
		op, payload, err := w.frame()
		if err != nil {
			w.t.Fatal(err)
		}
		if op != ws.Text {
			continue
		}
		_, rest, found := bytes.Cut(payload, []byte(`"data":{"n":`))
		digits, _, _ := bytes.Cut(rest, []byte(`,`))
		n, err := strconv.Atoi(string(digits))
		if !found || err != nil {
			w.t.Fatalf("%.200s is not a numbered message", payload)
		}
		return n
	}
}

// subscriber opens a connection that is subscribed to the flooded channel.
func (s *testServer) subscriber(user string) *wire {
	s.t.Helper()
	w := s.wire("user=" + user)
	w.text(`{"type":"sub","id":1,"channel":"room:flood"}`)
	w.expect("ok")
	_ = w.SetDeadline(time.Now().Add(6 * patience))
	return w
}

// flood publishes count messages of about size bytes one after the other, each
// when all readers have the one before, and gives the 99th percentile of the
// time until the last reader has it.
func (s *testServer) flood(count, size int, readers []*wire) (p99 time.Duration) {
	s.t.Helper()
	var message struct {
		To   map[string]string `json:"to"`
		Data struct {
			N int    `json:"n"`
			X string `json:"x"`
		} `json:"data"`
	}
	message.To = map[string]string{"channel": "room:flood"}
	message.Data.X = strings.Repeat("x", size)
	took := make([]time.Duration, count)
	for i := range count {
		began := time.Now()
		message.Data.N = i
		if err := s.Call(context.Background(), "publish", message, nil); err != nil {
			s.t.Fatal(err)
		}
		for _, w := range readers {
			if n := w.numbered(); n != i {
				s.t.Fatalf("got message %d, want %d", n, i)
			}
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[count*99/100]
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A reader that reads nothing costs the others no time and the server no
// memory; when it reads again it is told how much it missed.
func TestSlowReaderHurtsNobodyAndLearnsWhatItMissed(t *testing.T) {
	const count, size = 1_560, 64 << 10 // 102 MB
	cfg := func() skein.Config {
		c := open()
		c.Logger = (&logbook{}).logger()
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		readers := []*wire{s.subscriber("fast")}
		alone := s.flood(200, size, readers)

		slow := s.subscriber("slow")
		before := heap()
		beside := s.flood(count, size, readers)
		if grown := heap() - before; grown > 6<<20 {
			t.Errorf("the heap has grown by %d bytes, want about the queue of 1 MiB", grown)
		}
		if limit := 10*alone + 20*time.Millisecond; beside > limit {
			t.Errorf("p99 is %s beside a slow reader and %s without, want at most %s", beside, alone, limit)
		}
		items := s.verb("connections", `{"user":"slow"}`)["items"].([]any)
		if len(items) != 1 {
			t.Fatal("the slow reader was given up: the flood took longer than a peer may take no byte (20 s)")
		}
		queued := items[0].(map[string]any)["queued"].(float64)
		if queued == 0 || queued > 1<<20+size+200 {
			t.Errorf("%v bytes are queued for the slow reader, want about 1 MiB", queued)
		}

		received, dropped, last := 0, 0, -1
		for received+dropped < count {
			op, payload, err := slow.frame()
			if err != nil {
				t.Fatalf("after %d received and %d dropped: %v", received, dropped, err)
			}
			if op != ws.Text {
				continue
			}
			var f struct {
				Type, Channel string
				Count         int
				Data          struct{ N int }
			}
			if err := json.Unmarshal(payload, &f); err != nil {
				t.Fatal(err)
			}
			switch f.Type {
			case "msg":
				if f.Data.N <= last {
					t.Fatalf("message %d comes after %d", f.Data.N, last)
				}
				received, last = received+1, f.Data.N
			case "dropped":
				if f.Channel != "room:flood" {
					t.Errorf("dropped names %s", f.Channel)
				}
				dropped += f.Count
			}
		}
		if received+dropped != count || received == 0 || dropped < count/2 || last != count-1 {
			t.Errorf("%d received and %d dropped of %d, the last %d", received, dropped, count, last)
		}
		if got := s.stat("dropped"); got != float64(dropped) {
			t.Errorf("the server counts %v dropped, the reader was told %d", got, dropped)
		}
		s.flood(3, 10, append(readers, slow)) // it is a subscriber like the others again
		_ = slow.Close()
	})
}

// Replies are never dropped: a client that asks and asks and reads nothing is
// held up, and gets every answer in the end.
func TestClientThatReadsNoRepliesIsHeldUp(t *testing.T) {
	cfg := func() skein.Config {
		c := open()
		c.Limits.FramesPerSecond = -1
		c.Limits.Queue = 16 << 10
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		const pings = 40_000
		w := s.wire("user=ann")
		w.expect("welcome")
		_ = w.SetDeadline(time.Now().Add(3 * patience))
		id := strings.Repeat("i", 60)
		frame := ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping","id":"`+id+`"}`))
		sent := make(chan error, 1)
		go func() {
			_, err := w.Write(bytes.Repeat(frame, pings))
			sent <- err
		}()
		// It stops getting replies once what the kernel holds, and half the queue, are full.
		written := -1.0
		eventually(t, "the server holds it up", func() bool {
			item := s.verb("connections", `{"user":"ann"}`)["items"].([]any)[0].(map[string]any)
			still := item["bytes"] == written && item["queued"].(float64) > 8<<10
			written = item["bytes"].(float64)
			return still
		})
		for range pings {
			w.expect("pong")
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}
