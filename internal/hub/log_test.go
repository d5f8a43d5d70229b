package hub_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/hub"
)

var logSpace = &hub.Space{Name: "room", Kind: hub.KindLog}

// logWorld is a world whose readers that are behind are kept in a list.
type logWorld struct {
	*world
	mu     sync.Mutex
	behind []*hub.Sub
}

func startLog(t testing.TB, shards int) *logWorld {
	w := &logWorld{}
	hook := func(s *hub.Sub) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.behind = append(w.behind, s)
	}
	w.world = start(t, hub.Config{Shards: shards, Behind: hook, Joined: hook})
	return w
}

// take gives those who are behind since the last call.
func (w *logWorld) take() []*hub.Sub {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.behind
	w.behind = nil
	return list
}

// read subscribes p from seq next on and gives its subscription, still behind.
func (w *logWorld) read(p *peer, next uint64, echo bool) *hub.Sub {
	w.t.Helper()
	s := w.join(p, next, echo)
	if list := w.take(); len(list) != 1 || list[0] != s {
		w.t.Fatalf("%d readers joined", len(list))
	}
	return s
}

func (w *logWorld) join(p *peer, next uint64, echo bool) *hub.Sub {
	w.t.Helper()
	fresh, err := w.Subscribe(&p.Conn, "room:1", logSpace, hub.SubOptions{
		Log: &hub.Start{Next: next, Echo: echo}, Reply: func() []byte { return []byte("ok") }, More: [][]byte{[]byte("more")},
	})
	if err != nil || !fresh {
		w.t.Fatalf("fresh is %v, %v", fresh, err)
	}
	if got := p.out.take(); len(got) != 2 || !strings.HasSuffix(got[0], "ok") || !strings.HasSuffix(got[1], "more") {
		w.t.Fatalf("got %q", got)
	}
	return p.Subs()[0]
}

func (w *logWorld) deliver(from, to uint64, author *hub.Conn, except ...*hub.Conn) {
	for seq := from; seq <= to; seq++ {
		w.Deliver("room:1", hub.Frame{Seq: seq, JSON: []byte(strconv.FormatUint(seq, 10)), Author: author, Except: except})
	}
	w.flush()
}

func at(head uint64) func() uint64 { return func() uint64 { return head } }

func (w *logWorld) expect(p *peer, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, p.out.take()); diff != "" {
		w.t.Error(diff)
	}
}

func TestAReaderOfALogBecomesLiveWhenItHasEverything(t *testing.T) {
	w := startLog(t, 2)
	defer w.Close()
	p := w.connect("", 0)
	s := w.read(p, 3, true)
	w.deliver(4, 5, nil)
	w.expect(p)
	if s.Rejoin(at(5)) {
		t.Error("live without 3, 4 and 5")
	}
	if got := s.Feed(s.Place(), []hub.Piece{{Bytes: []byte("3\n4\n"), Messages: 2, Next: 5}, {Bytes: []byte("5\n"), Messages: 1, Next: 6}}); got != hub.ProgressTaken {
		t.Errorf("got %v", got)
	}
	if !s.Rejoin(at(5)) || !s.Place().Live || w.Metrics().Behind.Load() != 0 {
		t.Errorf("not live: %+v, %d behind", s.Place(), w.Metrics().Behind.Load())
	}
	w.deliver(6, 7, nil)
	w.deliver(5, 7, nil) // what came before is not sent again
	w.expect(p, "3", "4", "5", "6", "7")
}

func TestAHoleSendsAReaderToWhatIsKept(t *testing.T) {
	w := startLog(t, 1)
	defer w.Close()
	p := w.connect("", 0)
	s := w.read(p, 1, true)
	s.Rejoin(at(0))
	w.deliver(1, 1, nil)
	w.deliver(3, 3, nil)
	if list := w.take(); len(list) != 1 || list[0] != s || s.Place().Live || s.Place().Next != 2 {
		t.Errorf("%d behind, at %+v", len(list), s.Place())
	}
	w.deliver(4, 4, nil)
	if list := w.take(); list != nil {
		t.Error("told twice")
	}
	w.expect(p, "1")
	if m := w.Metrics(); m.Behind.Load() != 1 || m.FellBehind.Load() != 1 {
		t.Errorf("%d behind, fell %d times", m.Behind.Load(), m.FellBehind.Load())
	}
}

func TestASlowReaderWaitsForItsQueueAndLosesNothing(t *testing.T) {
	w := startLog(t, 1)
	defer w.Close()
	p, quick := w.connect("", 0), w.connect("", 1)
	s := w.read(p, 1, true)
	other := w.read(quick, 1, true)
	s.Rejoin(at(0))
	other.Rejoin(at(0))
	p.out.full.Store(true)
	w.deliver(1, 3, nil)
	w.expect(p)
	w.expect(quick, "2:1", "2:2", "2:3")
	if w.take() != nil || s.Place().Live {
		t.Error("it is served before its queue is empty")
	}
	piece := []hub.Piece{{Bytes: []byte("1\n"), Messages: 1, Next: 2}}
	p.out.full.Store(false)
	p.Drained()
	if list := w.take(); len(list) != 1 || list[0] != s {
		t.Fatalf("%d are to be served", len(list))
	}
	p.Drained()
	if w.take() != nil {
		t.Error("told twice")
	}
	p.out.full.Store(true)
	if got := s.Feed(s.Place(), piece); got != hub.ProgressWaiting || s.Place().Next != 1 {
		t.Errorf("got %v, at %+v", got, s.Place())
	}
	p.out.full.Store(false)
	p.Drained()
	if len(w.take()) != 1 || s.Feed(s.Place(), piece) != hub.ProgressTaken || s.Rejoin(at(3)) {
		t.Error("it did not go on")
	}
	if s.Feed(s.Place(), []hub.Piece{{Bytes: []byte("2\n3\n"), Messages: 2, Next: 4}}) != hub.ProgressTaken || !s.Rejoin(at(3)) {
		t.Error("it did not join again")
	}
	w.deliver(4, 4, nil)
	w.expect(p, "1", "2", "3", "4")
}

func TestWhoGetsOnesOwn(t *testing.T) {
	w := startLog(t, 2)
	defer w.Close()
	a, b, c := w.connect("", 0), w.connect("", 0), w.connect("", 0)
	w.read(a, 1, false).Rejoin(at(0))
	w.read(b, 1, true).Rejoin(at(0))
	w.read(c, 1, true).Rejoin(at(0))
	w.deliver(1, 1, &a.Conn)
	w.deliver(2, 2, &b.Conn)
	w.deliver(3, 3, nil, &c.Conn)
	w.Deliver("room:1", hub.Frame{Seq: 4, JSON: []byte("4"), Author: &a.Conn}, hub.Frame{Seq: 5, JSON: []byte("5")})
	w.flush()
	w.expect(a, "2", "3", "5")
	w.expect(b, "1", "2", "3", "4", "5")
	w.expect(c, "1", "2", "4", "5")
	if w.WantsOwn(&a.Conn, "room:1") || !w.WantsOwn(&b.Conn, "room:1") || !w.WantsOwn(&a.Conn, "room:2") {
		t.Error("who wants its own is not known")
	}
	if len(w.take()) != 0 {
		t.Error("somebody fell behind")
	}
}

func TestAskingForAnotherPlace(t *testing.T) {
	w := startLog(t, 1)
	defer w.Close()
	p := w.connect("", 0)
	s := w.read(p, 1, true)
	s.Rejoin(at(0))
	w.deliver(1, 4, nil)
	p.out.take()
	old := s.Place()
	fresh, err := w.Subscribe(&p.Conn, "room:1", logSpace, hub.SubOptions{Log: &hub.Start{Next: 2}, Reply: func() []byte { return []byte("again") }})
	if fresh || err != nil {
		t.Fatalf("fresh is %v, %v", fresh, err)
	}
	if list := w.take(); len(list) != 1 || list[0] != s || s.Place().Live || s.Place().Echo {
		t.Errorf("%d behind, at %+v", len(list), s.Place())
	}
	if got := s.Feed(old, []hub.Piece{{Bytes: []byte("5\n"), Messages: 1, Next: 6}}); got != hub.ProgressMoved {
		t.Errorf("what was meant for the old place: got %v", got)
	}
	if got := s.Feed(s.Place(), []hub.Piece{{Bytes: []byte("2\n3\n4\n"), Messages: 3, Next: 5}}); got != hub.ProgressTaken || !s.Rejoin(at(4)) {
		t.Errorf("got %v", got)
	}
	w.expect(p, "again", "2", "3", "4")
	w.Renew("room:1", 1, []byte("gap"), nil)
	if list := w.take(); len(list) != 1 || s.Place().Live || s.Place().Next != 1 {
		t.Errorf("%d behind, at %+v", len(list), s.Place())
	}
	w.expect(p, "gap")
	if m := w.Metrics().Behind.Load(); m != 1 {
		t.Errorf("%d behind", m)
	}
	w.Unsubscribe(&p.Conn, "room:1")
	if m := w.Metrics().Behind.Load(); m != 0 {
		t.Errorf("%d behind when nobody is subscribed", m)
	}
	if got := s.Feed(s.Place(), []hub.Piece{{Bytes: []byte("1\n"), Messages: 1, Next: 2}}); got != hub.ProgressEnded || !s.Place().Ended {
		t.Errorf("after the end: got %v", got)
	}
	w.expect(p)
}

func TestWithdrawalsReachWhoHasTheMessage(t *testing.T) {
	w := startLog(t, 1)
	defer w.Close()
	has, lacks, full := w.connect("", 0), w.connect("", 0), w.connect("", 0)
	w.read(has, 1, true).Rejoin(at(0))
	w.read(lacks, 1, true)
	w.read(full, 1, true).Rejoin(at(0))
	w.deliver(1, 2, nil)
	full.out.full.Store(true)
	w.Deliver("room:1", hub.Frame{Seq: 1, JSON: []byte("withdrawn"), Withdraws: true})
	w.Deliver("room:1", hub.Frame{Seq: 3, JSON: []byte("3")})
	w.flush()
	w.expect(has, "1", "2", "withdrawn", "3")
	w.expect(lacks)
	w.expect(full, "1", "2", "withdrawn") // a withdrawal does not wait for room
	full.out.full.Store(false)
	if _, err := w.Subscribe(&full.Conn, "room:1", logSpace, hub.SubOptions{Log: &hub.Start{Next: 4, Floor: 1}, Reply: func() []byte { return []byte("again") }}); err != nil {
		t.Fatal(err)
	}
	w.Deliver("room:1",
		hub.Frame{Seq: 1, JSON: []byte("edited"), Withdraws: true, Shows: true},
		hub.Frame{Seq: 2, JSON: []byte("edited, too"), Withdraws: true, Shows: true},
		hub.Frame{Seq: 1, JSON: []byte("withdrawn again"), Withdraws: true})
	w.flush()
	w.expect(has, "edited", "edited, too", "withdrawn again")
	w.expect(full, "again", "edited, too", "withdrawn again") // the first is hidden from it
}

// TestNobodyMissesAMessageHoweverItReads lets readers join, fall behind, move
// and leave at random while messages are delivered, and checks what each saw.
func TestNobodyMissesAMessageHoweverItReads(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := startLog(t, 2)
			defer w.Close()
			r := rand.New(rand.NewPCG(seed, 1))
			head := uint64(0)
			type reader struct {
				*peer
				sub  *hub.Sub
				from uint64
			}
			var readers []*reader
			feed := func(s *hub.Sub) {
				place := s.Place()
				if place.Ended || place.Live || s.Rejoin(at(head)) {
					return
				}
				to := min(head, place.Next+r.Uint64N(4))
				var b strings.Builder
				for seq := place.Next; seq <= to; seq++ {
					fmt.Fprintf(&b, "%d\n", seq)
				}
				if s.Feed(place, []hub.Piece{{Bytes: []byte(b.String()), Messages: int(to + 1 - place.Next), Next: to + 1}}) == hub.ProgressTaken && !s.Rejoin(at(head)) {
					w.mu.Lock()
					w.behind = append(w.behind, s)
					w.mu.Unlock()
				}
			}
			for range 400 {
				switch r.IntN(6) {
				case 0, 1:
					head++
					w.Deliver("room:1", hub.Frame{Seq: head, JSON: []byte(strconv.FormatUint(head, 10))})
				case 2:
					p := &reader{peer: w.connect("", 0), from: head + 1 - r.Uint64N(min(head, 5)+1)}
					p.sub = w.join(p.peer, p.from, true)
					readers = append(readers, p)
				case 3:
					if len(readers) > 0 {
						p := readers[r.IntN(len(readers))]
						p.out.full.Store(!p.out.full.Load())
						if !p.out.full.Load() {
							p.Drained()
						}
					}
				case 4:
					for _, s := range w.take() {
						feed(s)
					}
				case 5:
					w.flush()
				}
			}
			for _, p := range readers {
				p.out.full.Store(false)
			}
			w.flush() // a pass that was under way may still have found one full
			for _, p := range readers {
				p.Drained()
			}
			for list := w.take(); len(list) > 0; list = w.take() {
				for _, s := range list {
					feed(s)
				}
			}
			w.flush()
			for i, p := range readers {
				var want []string
				for seq := p.from; seq <= head; seq++ {
					want = append(want, strconv.FormatUint(seq, 10))
				}
				if diff := cmp.Diff(want, p.out.take()); diff != "" {
					t.Fatalf("reader %d, from %d of %d: %s", i, p.from, head, diff)
				}
			}
			if n := w.Metrics().Behind.Load(); n != 0 {
				t.Errorf("%d are behind", n)
			}
		})
	}
}
