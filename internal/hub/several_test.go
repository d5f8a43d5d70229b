package hub_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/hub"
)

func TestFramesLeaveInOrderWithoutThoseOfTheReceiver(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	a, b, c := w.connect("ann", 0), w.connect("bob", 0), w.connect("cid", 1)
	conns := []*hub.Conn{&a.Conn, &b.Conn, &c.Conn}
	frames := [][]byte{[]byte("1"), []byte("2"), []byte("3"), []byte("4")}
	for _, tt := range []struct {
		name  string
		by    []*hub.Conn
		count int
		want  [3][]string
	}{
		{"nobody's", nil, len(frames), [3][]string{{"1", "2", "3", "4"}, {"1", "2", "3", "4"}, {"2:1", "2:2", "2:3", "2:4"}}},
		{"the first and the last", []*hub.Conn{&a.Conn, nil, nil, &a.Conn}, len(frames), [3][]string{{"2", "3"}, {"1", "2", "3", "4"}, {"2:1", "2:2", "2:3", "2:4"}}},
		{"those in the middle", []*hub.Conn{nil, &c.Conn, &c.Conn}, len(frames), [3][]string{{"1", "2", "3", "4"}, {"1", "2", "3", "4"}, {"2:1", "2:4"}}},
		{"each one's own", []*hub.Conn{&a.Conn, &b.Conn, &c.Conn, nil}, len(frames), [3][]string{{"2", "3", "4"}, {"1", "3", "4"}, {"2:1", "2:2", "2:4"}}},
		{"all of one", []*hub.Conn{&b.Conn}, 1, [3][]string{{"1"}, nil, {"2:1"}}},
		{"none at all", nil, 0, [3][]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.Metrics().Deliveries.Load()
			w.PublishFrames(conns, frames[:tt.count], tt.by)
			total := 0
			for i, p := range []*peer{a, b, c} {
				got := p.out.take()
				if diff := cmp.Diff(tt.want[i], got); diff != "" {
					t.Errorf("connection %d (-want +got):\n%s", i, diff)
				}
				total += len(got)
			}
			if got := w.Metrics().Deliveries.Load() - before; got != int64(total) {
				t.Errorf("%d deliveries are counted, %d came", got, total)
			}
		})
	}
	if n := a.out.n.Load() + b.out.n.Load() + c.out.n.Load(); n != w.Metrics().Deliveries.Load() {
		t.Errorf("the transports were told of %d messages, %d were delivered", n, w.Metrics().Deliveries.Load())
	}
}

func TestFramesForManyAllocateNothingForEach(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	conns := make([]*hub.Conn, 100)
	for i := range conns {
		p := newPeer()
		w.Add(&p.Conn, blackHole{}, w.Encoding(i%2), p, p.Identity(), 1)
		conns[i] = &p.Conn
	}
	frames := [][]byte{[]byte("1"), []byte("2")}
	if n := testing.AllocsPerRun(20, func() { w.PublishFrames(conns, frames, nil) }); n > 10 {
		t.Errorf("%v allocations for %d connections", n, len(conns))
	}
}

func BenchmarkPublishFrames(b *testing.B) {
	w := start(b, hub.Config{})
	defer w.Close()
	conns, by, frames := make([]*hub.Conn, 100), make([]*hub.Conn, 100), make([][]byte, 100)
	for i := range conns {
		p := newPeer()
		w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, p.Identity(), 1)
		conns[i], by[i], frames[i] = &p.Conn, &p.Conn, fmt.Appendf(nil, `{"type":"mark","channel":"team:7","user":"user-%d","read":17,"delivered":17}`, i)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.PublishFrames(conns, frames, by)
	}
}
