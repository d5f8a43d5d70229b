package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// returns measures many users who come back at once with messages waiting, and what that
// does to those who are there.
func (p *pushed) returns(ctx context.Context) error {
	n, waiting := pick(p.bench, 10_000, 1_000), 5
	for from := 0; from < n; from += 1000 {
		var list []string
		for i := from; i < min(n, from+1000); i++ {
			list = append(list, "away-"+strconv.Itoa(i))
		}
		for k := range waiting {
			if err := p.call(ctx, "push", object{"to": object{"users": list}, "category": "alert", "data": object{"no": k, "text": "something that the user waits for"}}, nil); err != nil {
				return err
			}
		}
	}
	live := &livePushes{pushed: p}
	if err := live.begin(ctx, 20); err != nil {
		return err
	}
	defer live.end()
	if err := sleep(ctx, pick(p.bench, 5*time.Second, time.Second)); err != nil {
		return err
	}
	_, quiet := quantiles(live.collect())
	begun := time.Now()
	var came atomic.Int64
	var next atomic.Int64
	var work sync.WaitGroup
	errs := make(chan error, n)
	var mu sync.Mutex
	var conns []*websocket.Conn
	for range 64 {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				ws, err := p.socket(ctx, p.child, "away-"+strconv.Itoa(i))
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				conns = append(conns, ws)
				mu.Unlock()
				go func() {
					errs <- p.takeAll(ctx, ws, waiting, &came)
				}()
			}
		})
	}
	work.Wait()
	var err error
	for range n {
		err = errors.Join(err, <-errs)
		if err != nil {
			return err
		}
	}
	took := time.Since(begun)
	all := live.collect()
	_, busy := quantiles(all)
	for _, ws := range conns {
		_ = ws.CloseNow()
	}
	p.report(line{Name: fmt.Sprintf("%s: %d users come back, %d messages each, acknowledged", p.store, n, waiting), Unit: "s", Measured: took.Seconds(),
		Note: fmt.Sprintf("%.0f users/s, connecting included", float64(n)/took.Seconds())})
	p.report(line{Name: p.store + ": p99 of a push to who is there, meanwhile", Unit: "ms", Measured: milliseconds(busy), Budget: 1000,
		Note: fmt.Sprintf("%d pushes; before %.1f ms", len(all), milliseconds(quiet))})
	return nil
}

// takeAll reads so many messages in their order, and acknowledges them.
func (p *pushed) takeAll(ctx context.Context, ws *websocket.Conn, n int, came *atomic.Int64) error {
	for seq := 1; seq <= n; {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		var m struct {
			Type string
			Seq  int
		}
		if err := json.Unmarshal(frame, &m); err != nil {
			return err
		}
		if m.Type != "msg" {
			continue
		}
		if m.Seq != seq {
			return fmt.Errorf("message %d comes where %d should", m.Seq, seq)
		}
		seq++
		came.Add(1)
	}
	if err := ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","id":1,"seq":%d}`, n)); err != nil {
		return err
	}
	_, frame, err := ws.Read(ctx)
	if err != nil {
		return err
	}
	var ok struct {
		Type  string
		Acked int
	}
	if err := json.Unmarshal(frame, &ok); err != nil || ok.Type != "ok" || ok.Acked != n {
		return fmt.Errorf("the acknowledgement is answered by %s, %w", frame, err)
	}
	return nil
}

// livePushes pushes to some users who are there, one after the other, and measures how
// long it takes to their devices.
type livePushes struct {
	*pushed
	mu    sync.Mutex
	taken []time.Duration
	stop  context.CancelFunc
	work  sync.WaitGroup
}

func (l *livePushes) begin(ctx context.Context, users int) error {
	ctx, l.stop = context.WithCancel(ctx)
	for i := range users {
		ws, err := l.socket(ctx, l.child, "there-"+strconv.Itoa(i))
		if err != nil {
			return err
		}
		l.work.Go(func() {
			defer func() { _ = ws.CloseNow() }()
			for {
				_, frame, err := ws.Read(ctx)
				if err != nil {
					return
				}
				var m struct {
					Type string
					Seq  int
					Data int64
				}
				if json.Unmarshal(frame, &m) != nil || m.Type != "msg" {
					continue
				}
				l.mu.Lock()
				l.taken = append(l.taken, time.Duration(time.Now().UnixNano()-m.Data))
				l.mu.Unlock()
				if ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","seq":%d}`, m.Seq)) != nil {
					return
				}
			}
		})
	}
	l.work.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := l.call(ctx, "push", object{"to": object{"users": []string{"there-" + strconv.Itoa(i%users)}}, "category": "alert", "data": time.Now().UnixNano()}, nil); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				return
			}
		}
	})
	return nil
}

func (l *livePushes) collect() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.taken
	l.taken = nil
	return all
}

func (l *livePushes) end() {
	l.stop()
	l.work.Wait()
}
