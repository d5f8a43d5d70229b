package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
)

// lazy is a transport that takes its time, in a bubble.
type lazy struct {
	blackHole
	transport string
	takes     time.Duration
}

func (l lazy) Send([]link.Buf, link.Subscriber) { <-time.After(l.takes) }

func (l lazy) Offer(bufs []link.Buf, _ link.Subscriber) int {
	<-time.After(l.takes)
	return len(bufs)
}

func (l lazy) Transport() string { return l.transport }

// What is told of a message is how long it took until the last connection had it.
func TestDeliveryIsTheTimeUntilTheLastHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Config{Encodings: []hub.Encoding{lines{}}, Shards: 1})
		defer h.Close()
		h.SetSpaces([]*hub.Space{space})
		time.Sleep(time.Second) // nothing is accepted at zero of the clock
		for range 4 {
			p := newPeer()
			h.Add(&p.Conn, lazy{takes: 25 * time.Millisecond}, h.Encoding(0), p, auth.Identity{}, 1)
			if _, err := h.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		told := func(what string, count int64, p50, p99 time.Duration) {
			t.Helper()
			synctest.Wait()
			time.Sleep(time.Second)
			got := h.TakeDelivery()
			near := func(a, b time.Duration) bool { return a >= b-b/20 && a <= b+b/20 }
			if got.Count != count || !near(got.P50, p50) || !near(got.P99, p99) {
				t.Errorf("%s: got %+v, want %d with %v and %v", what, got, count, p50, p99)
			}
		}
		told("nothing", 0, 0, 0)
		publish := func(channel string) {
			t.Helper()
			if _, err := h.Publish(t.Context(), channel, []byte("a"), nil); err != nil {
				t.Fatal(err)
			}
		}
		publish("room:1")
		told("four readers", 1, 100*time.Millisecond, 100*time.Millisecond)
		publish("room:2")
		told("no reader", 0, 0, 0)
		publish("room:1")
		time.Sleep(50 * time.Millisecond) // half of its pass
		publish("room:1")
		told("one that waits for the other", 2, 100*time.Millisecond, 150*time.Millisecond)
		if _, err := h.PublishAll(t.Context(), false, []byte("a"), nil); err != nil {
			t.Fatal(err)
		}
		told("everybody", 1, 100*time.Millisecond, 100*time.Millisecond)
		h.Deliver("room:1", hub.Frame{Seq: 1, JSON: []byte("a")}, hub.Frame{Seq: 2, JSON: []byte("b")})
		synctest.Wait()
		if got := h.TakeDelivery(); got.Count != 2 {
			t.Errorf("of a log %d were counted", got.Count)
		}
	})
}

// Of many messages in a channel some stand for the others.
func TestManyMessagesAreMeasuredByTheEighth(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	p := w.connect("", 0)
	w.subscribe(p, "room:1")
	for _, messages := range []int64{1, 16, 17, 24, 800} {
		w.TakeDelivery()
		for range messages {
			w.publish("room:1", "a")
		}
		w.flush()
		// The sentinel's message is one more.
		if got := w.TakeDelivery().Count - 1; got < messages-8 || got > messages {
			t.Errorf("%d messages are told as %d", messages, got)
		}
	}
}

// Connections are counted by transport, and the ways of Socket.IO as one.
func TestConnectionsAreCountedByTransport(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	var peers []*peer
	for i, transport := range []string{"websocket", "socket.io/websocket", "socket.io/polling", "sse", "poll", "another", "websocket"} {
		p := newPeer()
		w.Add(&p.Conn, lazy{transport: transport}, w.Encoding(0), p, auth.Identity{User: fmt.Sprint(i)}, 1)
		peers = append(peers, p)
	}
	counted := func() (list [len(hub.Transports)]int64) {
		for i := range list {
			list[i] = w.Metrics().Connections[i].Load()
		}
		return list
	}
	if got := counted(); got != [...]int64{2, 2, 1, 1} {
		t.Errorf("counted %v as %v", got, hub.Transports)
	}
	for _, p := range peers {
		w.Remove(&p.Conn)
	}
	if got := counted(); got != [len(hub.Transports)]int64{} {
		t.Errorf("%v are left", got)
	}
}
