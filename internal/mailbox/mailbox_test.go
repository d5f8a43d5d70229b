package mailbox_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/mailbox"
)

// subscriber counts what it missed.
type subscriber struct {
	dead    atomic.Bool
	dropped atomic.Int64
}

func (s *subscriber) Live() bool       { return !s.dead.Load() }
func (s *subscriber) Dropped(n uint32) { s.dropped.Add(int64(n)) }

// box is a box that notes what it is told.
type box struct {
	mailbox.Box
	clock                     int64
	woken, drained, overflows int
	dropped, queued           atomic.Int64
}

func newBox(bound int) *box {
	b := &box{}
	b.Init(bound, func() int64 { return b.clock }, func() { b.woken++ }, func() { b.drained++ }, func() { b.overflows++ })
	b.Count(&b.dropped, &b.queued)
	return b
}

func buf(text string) []link.Buf { return []link.Buf{{B: []byte(text), N: 1}} }

// take gives all that can be taken, as words.
func (b *box) take() string {
	list, _ := b.Take(1 << 20)
	return string(bytes.Join(list, nil))
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestOverTheBoundTheOldestEventsGo(t *testing.T) {
	b, s := newBox(10), &subscriber{}
	b.SendControl([]byte("rr"), nil)
	for _, word := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
		b.Send(buf(word), s)
	}
	same(t, "what is left", b.take(), "rrccccdddd")
	same(t, "dropped", []int64{s.dropped.Load(), b.dropped.Load()}, []int64{2, 2})
	b.Done()
	same(t, "drained", b.drained, 1)
	b.Send(buf(strings.Repeat("x", 100)), s) // the newest is kept, whatever its size
	same(t, "a large one", len(b.take()), 100)
	b.Done()
	same(t, "drained, though nothing was lost", b.drained, 1)
	same(t, "written", b.Written(), int64(110))
}

func TestWhatIsBeingWrittenIsNotDropped(t *testing.T) {
	b, s := newBox(10), &subscriber{}
	b.Send(buf("aaaa"), s)
	b.Send(buf("bbbb"), s)
	list, more := b.Take(5)
	same(t, "taken", string(bytes.Join(list, nil)), "aaaa")
	same(t, "more", more, true)
	b.Send(buf("cccc"), s)
	b.Send(buf("dddd"), s)
	same(t, "queued, with what is being written", b.Queued(), 8)
	same(t, "the rest", b.take(), "dddd")
	b.Wrote(6)
	same(t, "queued after a part", b.Queued(), 2)
	b.Done()
	same(t, "queued at the end", []any{b.Queued(), b.Empty(), b.Waits(), b.drained}, []any{0, true, false, 1})
	b.Done()
	b.Wrote(0)
	same(t, "told again", b.drained, 1)
}

func TestAnOfferFindsHalfOfTheBound(t *testing.T) {
	b, s := newBox(20), &subscriber{}
	many := append(append(buf("aaaa"), buf("bbbb")...), buf("cccc")...)
	same(t, "taken", b.Offer(many, s), 2)
	same(t, "taken of the rest", b.Offer(many[2:], s), 0)
	if !b.SendControl([]byte("rrrr"), nil) {
		t.Error("a reply finds no room")
	}
	for range 5 {
		b.Send(buf("eeee"), s)
	}
	same(t, "what waits", b.take(), "aaaabbbbrrrreeeeeeee")
	same(t, "dropped", s.dropped.Load(), int64(3))
	same(t, "drained", b.drained, 0)
	b.Done()
	same(t, "drained", b.drained, 1)
	same(t, "an empty queue takes one of any size", b.Offer(buf(strings.Repeat("x", 100)), s), 1)
	same(t, "but not a second", b.Offer(buf("y"), s), 0)
	s.dead.Store(true)
	same(t, "nobody wants it", b.Offer(many, s), 3)
	b.Send(buf("z"), s)
	same(t, "what waits", len(b.take()), 100)
}

func TestTooManyRepliesEndTheConnection(t *testing.T) {
	b, s := newBox(10), &subscriber{}
	b.Offer(buf(strings.Repeat("k", 12)), s) // what is kept elsewhere does not count
	for i := range 3 {
		ok := b.SendControl([]byte("rrrr"), nil)
		same(t, fmt.Sprint("reply ", i), ok, i < 2)
	}
	same(t, "told", b.overflows, 1)
	same(t, "left", []any{b.Queued(), b.take(), b.Finished()}, []any{0, "", true})
	if b.SendControl([]byte("r"), nil) || b.SendFirst(func() { t.Error("a box that has ended runs what comes before") }, []byte("r")) {
		t.Error("something can be sent")
	}
	b.Finish([]byte("bye"))
	same(t, "told", []any{b.overflows, b.take()}, []any{1, ""})
}

func TestWhatIsPutBackIsTakenAgain(t *testing.T) {
	b, s := newBox(100), &subscriber{}
	b.SendControl([]byte("aa"), nil)
	b.SendControl([]byte("bb"), nil)
	same(t, "taken", b.take(), "aabb")
	b.Wrote(3)
	b.Send(buf("cc"), s)
	woken := b.woken
	b.PutBack()
	same(t, "woken", b.woken, woken+1)
	same(t, "taken again", b.take(), "bbcc")
	b.Done()
	same(t, "left", []any{b.Queued(), b.Written()}, []any{0, int64(6)})
	b.PutBack()
	same(t, "woken for nothing", b.woken, woken+1)
}

func TestFirstAndThenKeepTheirPlaces(t *testing.T) {
	b := newBox(100)
	var order []string
	b.SendFirst(func() { order = append(order, fmt.Sprint("before ", b.woken)) }, []byte("a"))
	b.SendControl([]byte("b"), func() { order = append(order, fmt.Sprint("then ", b.woken)) })
	same(t, "order", order, []string{"before 0", "then 1"})
	same(t, "taken", b.take(), "ab")
}

func TestAFinishedBoxGivesWhatWaits(t *testing.T) {
	b, s := newBox(10), &subscriber{}
	b.SendControl([]byte("aaaaaaaa"), nil)
	b.Finish([]byte("last words"))
	b.Finish([]byte("more"))
	b.Send(buf("x"), s)
	same(t, "offered", b.Offer(buf("x"), s), 1)
	same(t, "finished too soon", b.Finished(), false)
	same(t, "taken", b.take(), "aaaaaaaalast words")
	b.PutBack()
	same(t, "taken again", b.take(), "aaaaaaaalast words")
	b.Done()
	same(t, "finished", b.Finished(), true)
	b.Abandon()
	same(t, "overflows", b.overflows, 0)
}

func TestStalledIsSinceTheLastProgress(t *testing.T) {
	b := newBox(100)
	b.clock = 5
	same(t, "nothing waits", b.Stalled(), int64(0))
	b.SendControl([]byte("aa"), nil)
	b.clock = 15
	b.SendControl([]byte("bb"), nil)
	same(t, "it waits", b.Stalled(), int64(10))
	b.take()
	b.Wrote(2)
	b.clock = 18
	same(t, "after some left", b.Stalled(), int64(3))
	b.Done()
	same(t, "all has left", b.Stalled(), int64(0))
}

// Whatever is done in whatever order: replies and what is kept come out once and in
// order, events in order, and what is missing of them is counted.
func TestNothingButEventsIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const bound = 64
		b, s := newBox(bound), &subscriber{}
		sent, want := 0, []int{} // by number; what must come out
		events := map[int]bool{} // numbers of events
		var taken, out []int     // what was taken and not done; what has left
		read := func(list [][]byte) []int {
			var ns []int
			for _, w := range list {
				n := 0
				fmt.Sscanf(string(w), "%d", &n)
				ns = append(ns, n)
			}
			return ns
		}
		word := func() []byte {
			sent++
			return fmt.Appendf(nil, "%04d%s", sent, strings.Repeat(".", rapid.IntRange(0, 28).Draw(t, "size")))
		}
		lost := false
		t.Repeat(map[string]func(*rapid.T){
			"event": func(*rapid.T) {
				before := s.dropped.Load()
				b.Send([]link.Buf{{B: word(), N: 1}}, s)
				events[sent] = true
				lost = lost || s.dropped.Load() > before
			},
			"reply": func(*rapid.T) {
				if b.Queued() > bound/2 {
					return // the session does not make more of them then
				}
				before := s.dropped.Load()
				if !b.SendControl(word(), nil) {
					t.Fatal("it has ended")
				}
				want = append(want, sent)
				lost = lost || s.dropped.Load() > before
			},
			"kept": func(*rapid.T) {
				w := word()
				if b.Offer([]link.Buf{{B: w, N: 1}}, s) == 0 {
					if b.Empty() || b.Queued()+len(w) <= bound/2 {
						t.Fatalf("%d bytes are not taken while %d wait", len(w), b.Queued())
					}
					lost = true
					return
				}
				want = append(want, sent)
			},
			"take": func(t *rapid.T) {
				list, more := b.Take(rapid.IntRange(0, 100).Draw(t, "max"))
				taken = append(taken, read(list)...)
				if more != b.Waits() {
					t.Fatal("more is not what waits")
				}
			},
			"put back": func(*rapid.T) { b.PutBack(); taken = nil },
			"done": func(*rapid.T) {
				drained := b.drained
				waits := b.Waits()
				had := !b.Empty()
				b.Done()
				out = append(out, taken...)
				taken = nil
				if told := b.drained > drained; told != (lost && had && !waits) {
					t.Fatalf("told of an empty queue: %v; lost %v, had %v, waits %v", told, lost, had, waits)
				}
				if !waits {
					lost = false
				}
			},
			"": func(*rapid.T) {
				last, missing := 0, int64(0)
				all := append(append([]int(nil), out...), taken...)
				b.PutBack()
				list, _ := b.Take(1 << 20)
				rest := read(list)
				b.PutBack()
				again, _ := b.Take(sizeOf(list[:len(taken)])) // as it was
				if len(taken) == 0 {
					b.PutBack()
				} else if len(again) != len(taken) {
					t.Fatalf("%d instead of %d are taken again", len(again), len(taken))
				}
				all = append(all, rest[len(taken):]...)
				must := 0
				for _, n := range all {
					if n <= last {
						t.Fatalf("%d comes after %d", n, last)
					}
					last = n
					if !events[n] {
						if must >= len(want) || want[must] != n {
							t.Fatalf("%d comes, want %v", n, want[must:])
						}
						must++
					}
				}
				if must != len(want) {
					t.Fatalf("lost %v", want[must:])
				}
				missing = int64(len(events) + len(want) - len(all))
				if missing != s.dropped.Load() {
					t.Fatalf("%d are missing and %d were counted", missing, s.dropped.Load())
				}
				if b.queued.Load() != int64(b.Queued()) {
					t.Fatalf("%d bytes wait, and %d are counted", b.Queued(), b.queued.Load())
				}
				if b.Queued() > bound+34+bound {
					t.Fatalf("%d bytes wait", b.Queued())
				}
			},
		})
	})
}

func sizeOf(list [][]byte) (n int) {
	for _, b := range list {
		n += len(b)
	}
	return n
}

// Many send while one takes; each sender's words come out in their order.
func TestManySendWhileOneTakes(t *testing.T) {
	const senders, each = 8, 2000
	var box mailbox.Box
	woken := make(chan struct{}, 1)
	drained := make(chan struct{}, 1)
	signal := func(c chan struct{}) func() {
		return func() {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
	box.Init(256, func() int64 { return 0 }, signal(woken), signal(drained), func() { t.Error("overflow") })
	var sub subscriber
	var wait sync.WaitGroup
	turn := make(chan struct{}, 1) // one waits for room at a time
	turn <- struct{}{}
	for s := range senders {
		wait.Go(func() {
			for i := range each {
				b := []link.Buf{{B: fmt.Appendf(nil, "%d %d\n", s, i), N: 1}}
				for box.Offer(b, &sub) == 0 {
					<-turn
					if box.Offer(b, &sub) == 1 {
						turn <- struct{}{}
						break
					}
					<-drained
					turn <- struct{}{}
				}
			}
		})
	}
	next := make([]int, senders)
	for got := 0; got < senders*each; {
		<-woken
		for more := true; more; {
			var list [][]byte
			list, more = box.Take(64)
			for _, b := range list {
				var s, i int
				if _, err := fmt.Sscanf(string(b), "%d %d", &s, &i); err != nil || next[s] != i {
					t.Fatalf("%q comes, want %d", b, next[s])
				}
				next[s]++
				got++
			}
			box.Done()
		}
	}
	wait.Wait()
}
