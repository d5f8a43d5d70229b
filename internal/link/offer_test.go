package link_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/link"
)

// offered gives frames with the numbers from..to.
func offered(from, to int) (bufs []link.Buf) {
	for i := from; i <= to; i++ {
		bufs = append(bufs, link.Buf{B: numbered(i), N: 1})
	}
	return bufs
}

func TestWhatIsOfferedIsTakenAsFarAsItFitsAndNeverDropped(t *testing.T) {
	const queue, total = 256 << 10, 8000
	inEveryMode(t, link.Config{Queue: queue, Stall: time.Hour}, func(t *testing.T, s *server) {
		c, h := s.dial()
		var sub, event subscriber
		next := 0
		for next < total { // nobody reads, so at some time it takes no more
			n := h.Offer(offered(next, next+9), &sub)
			next += n
			if q := h.Queued(); q > queue/2+2<<10 {
				t.Fatalf("%d bytes wait, over half of %d", q, queue)
			}
			if n < 10 {
				break
			}
		}
		if next == total {
			t.Fatal("everything was taken, though nobody reads")
		}
		// What may be dropped finds the other half, and pushes nothing out.
		for i := range 2000 {
			h.Send([]link.Buf{{B: numbered(-i - 1), N: 1}}, &event)
		}
		if event.dropped.Load() == 0 || sub.dropped.Load() != 0 {
			t.Fatalf("%d events and %d of what is kept were dropped", event.dropped.Load(), sub.dropped.Load())
		}
		if !h.SendControl(numbered(-1), nil) {
			t.Fatal("a reply finds no room")
		}
		fed := make(chan struct{})
		go func() { // offers the rest, whenever there is room again
			defer close(fed)
			for next < total {
				<-h.drained
				for n := 10; n == 10 && next < total; next += n {
					n = h.Offer(offered(next, min(next+9, total-1)), &sub)
				}
			}
		}()
		for want := 0; want < total; {
			f, err := c.next()
			if err != nil {
				t.Fatalf("before message %d: %v", want, err)
			}
			text, _, _ := strings.Cut(f.payload, " ")
			i, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			if i < 0 {
				continue // an event, or the reply
			}
			if i != want {
				t.Fatalf("%d came, want %d", i, want)
			}
			want++
		}
		<-fed
	})
}

func TestAnOfferToNobodyIsTaken(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		c, h := s.dial()
		var sub subscriber
		sub.dead.Store(true)
		if n := h.Offer(offered(0, 3), &sub); n != 4 || h.Queued() != 0 {
			t.Errorf("%d taken, %d bytes wait", n, h.Queued())
		}
		_ = c.Close()
		wait(t, h.closed)
		sub.dead.Store(false)
		if n := h.Offer(offered(0, 3), &sub); n != 4 {
			t.Errorf("%d taken by a connection that has ended", n)
		}
	})
}
