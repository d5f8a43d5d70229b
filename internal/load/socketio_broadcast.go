package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// SocketIOReport says what came of broadcasts to [SocketIO] clients.
type SocketIOReport struct {
	Broadcasts   int
	Expected     int64 // deliveries
	Delivered    int64
	Lost         int64 // counted client by client
	Doubled      int64
	Strange      int64 // events of another size
	Disconnected int64
	Took         time.Duration
	CPU          time.Duration // of the server
	Joined       float64       // events that one read brought
	Latency      Latency       // from asking for a broadcast until all clients have it
	Trouble      error         // the first thing that went wrong
}

// PerDelivery is the processor time of the server for one delivery, in µs.
func (r *SocketIOReport) PerDelivery() float64 {
	return r.CPU.Seconds() * 1e6 / float64(max(1, r.Delivered))
}

// PerSecond is how many deliveries there were in a second.
func (r *SocketIOReport) PerSecond() float64 {
	return float64(r.Delivered) / max(r.Took.Seconds(), 1e-9)
}

// Broadcast asks the server for count broadcasts, each with a POST to path, and
// waits until all clients have them. Fewer than window of them are not delivered
// to everybody when the next one begins. Dial comes before it.
func (s *SocketIO) Broadcast(ctx context.Context, path string, count, window int, server Process) (*SocketIOReport, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: window}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: s.cfg.Patience}
	s.mu.Lock()
	n := int64(len(s.sockets))
	s.mu.Unlock()
	first := s.sent.Load()
	delivered, reads, doubled, strange := s.delivered.Load(), s.reads.Load(), s.doubled.Load(), s.strange.Load()
	cpu, err := server.CPU()
	if err != nil {
		return nil, err
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	asked := make([]time.Time, 0, count)
	latency := newHistogram()
	begun := time.Now()
	for done := 0; done < count; {
		for len(asked) < count && len(asked)-done < window {
			s.mu.Lock()
			s.reached = append(s.reached, 0)
			s.sent.Add(1)
			s.mu.Unlock()
			asked = append(asked, time.Now())
			asking.Go(func() {
				if err := post(ctx, client, "http://"+s.host+path); err != nil {
					s.fail(err)
				}
			})
		}
		complete, err := s.wait(ctx, first+int64(done))
		if err != nil {
			break // what is missing is lost
		}
		now := time.Now()
		for ; done < int(complete-first); done++ {
			record(latency, int64(now.Sub(asked[done])))
		}
	}
	took := time.Since(begun)
	asking.Wait()
	now, err := server.CPU()
	if err != nil {
		return nil, err
	}
	select { // whatever comes now has come once too often
	case <-time.After(200 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r := &SocketIOReport{
		Broadcasts: len(asked), Expected: n * int64(len(asked)), Delivered: s.delivered.Load() - delivered,
		Doubled: s.doubled.Load() - doubled, Strange: s.strange.Load() - strange, Disconnected: s.disconnected.Load(),
		Took: took, CPU: now - cpu, Latency: latencyOf(latency),
	}
	r.Joined = float64(r.Delivered) / float64(max(1, s.reads.Load()-reads))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, reached := range s.reached[first:] {
		r.Lost += n - reached
	}
	r.Trouble = s.trouble
	return r, nil
}

// wait waits until more than so many events are complete, and gives how many.
func (s *SocketIO) wait(ctx context.Context, than int64) (int64, error) {
	idle := time.NewTicker(s.cfg.Patience)
	defer idle.Stop()
	before := int64(-1)
	for {
		s.mu.Lock()
		complete := s.complete
		s.mu.Unlock()
		if complete > than {
			return complete, nil
		}
		select {
		case <-s.kick:
		case <-idle.C:
			now := s.delivered.Load()
			if now == before {
				return 0, errors.New("nothing happens")
			}
			before = now
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// post makes one request without a body.
func post(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(""))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		err = fmt.Errorf("POST %s: %s", url, res.Status)
	}
	return errors.Join(err, res.Body.Close())
}
