package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// authors publish in a log channel without a break, a connection each, whatever
// they are answered. Every second one gives keys, and repeats what was refused;
// the others go on to the next message.
type authors struct {
	t       testing.TB
	channel string
	name    string
	list    []*author
	work    sync.WaitGroup
	stopped atomic.Bool

	mu      sync.Mutex        // guards all below
	acked   map[uint64]string // the data that was acknowledged, by seq
	refused map[string]bool   // data that was refused and not repeated
	longest time.Duration     // that an answer took
}

// author counts its answers.
type author struct{ taken, refused atomic.Int64 }

// publishing lets so many authors begin. Nobody else has their name.
func publishing(t testing.TB, s *testServer, channel, name string, n int) *authors {
	t.Helper()
	a := &authors{t: t, channel: channel, name: name, acked: map[uint64]string{}, refused: map[string]bool{}}
	for i := range n {
		one := &author{}
		a.list = append(a.list, one)
		c := s.user(fmt.Sprint(name, i))
		a.work.Go(func() { a.publish(one, c.ws, i) })
	}
	t.Cleanup(a.stop) // also when the test fails
	return a
}

func (a *authors) publish(one *author, ws *websocket.Conn, number int) {
	ctx := context.Background()
	keyed := number%2 == 0
	data := ""
	for i := 0; !a.stopped.Load(); {
		if data == "" {
			data = fmt.Sprintf(`"%s%d-%d"`, a.name, number, i)
			i++
		}
		key := ""
		if keyed {
			key = `,"key":` + data
		}
		began := time.Now()
		answer, err := a.ask(ctx, ws, fmt.Sprintf(`{"type":"pub","id":1,"channel":%q,"data":%s%s}`, a.channel, data, key))
		a.note(time.Since(began))
		switch {
		case err != nil:
			if !a.stopped.Load() {
				a.t.Errorf("author %d: %v", number, err)
			}
			return
		case answer.Type == "ok":
			a.take(answer.Seq, data)
			one.taken.Add(1)
			data = ""
		case answer.Code != "unavailable" || answer.RetryAfter <= 0:
			a.t.Errorf("author %d is answered by %+v", number, answer)
			return
		default:
			if !keyed {
				a.mu.Lock()
				a.refused[data] = true
				a.mu.Unlock()
				data = ""
			}
			one.refused.Add(1)
		}
	}
}

// pubAnswer is the answer to a pub frame.
type pubAnswer struct {
	Type, Code, Message string
	Seq                 uint64
	RetryAfter          int64 `json:"retry_after"`
}

func (a *authors) ask(ctx context.Context, ws *websocket.Conn, frame string) (answer pubAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		return answer, err
	}
	_, raw, err := ws.Read(ctx)
	if err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(raw, &answer)
}

func (a *authors) note(took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.longest = max(a.longest, took)
}

func (a *authors) take(seq uint64, data string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.acked[seq]; ok && old != data {
		a.t.Errorf("seq %d was acknowledged for %s and for %s", seq, old, data)
	}
	a.acked[seq] = data
}

// each waits until every author has got n more answers of one kind.
func (a *authors) each(what string, n int64, count func(*author) int64) {
	a.t.Helper()
	before := make([]int64, len(a.list))
	for i, one := range a.list {
		before[i] = count(one)
	}
	eventually(a.t, what, func() bool {
		for i, one := range a.list {
			if count(one) < before[i]+n {
				return false
			}
		}
		return true
	})
}

func (a *authors) areTaken(n int64) {
	a.t.Helper()
	a.each("every author's messages are taken", n, func(one *author) int64 { return one.taken.Load() })
}

func (a *authors) areRefused() {
	a.t.Helper()
	a.each("every author is refused", 1, func(one *author) int64 { return one.refused.Load() })
}

// slowest is the longest time that an answer took since it was asked last.
func (a *authors) slowest() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	longest := a.longest
	a.longest = 0
	return longest
}

// stop ends the authors after their present messages.
func (a *authors) stop() {
	a.stopped.Store(true)
	a.work.Wait()
}

// top is the greatest seq that was acknowledged.
func (a *authors) top() (top uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for seq := range a.acked {
		top = max(top, seq)
	}
	return top
}

// agree compares what somebody has of the channel, by seq from 1 on, with what
// the authors were told: all that was acknowledged stands in its place, nothing
// stands there twice, and nothing that was refused stands there at all.
func (a *authors) agree(t testing.TB, who string, datas []string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[string]bool{}
	for i, data := range datas {
		want, ok := a.acked[uint64(i+1)]
		switch {
		case ok && want != data:
			t.Fatalf("%s has %s at seq %d, %s was acknowledged", who, data, i+1, want)
		case seen[data]:
			t.Fatalf("%s has %s twice, the second time at seq %d", who, data, i+1)
		case a.refused[data]:
			t.Fatalf("%s has %s at seq %d, which was refused", who, data, i+1)
		}
		seen[data] = true
	}
	for seq, data := range a.acked {
		if seq > uint64(len(datas)) {
			t.Fatalf("%s has %d messages; %s was acknowledged at %d", who, len(datas), data, seq)
		}
	}
}

// listener is a subscriber of a log channel and of an event channel that stays
// connected all the time, and checks each frame.
type listener struct {
	c    *client
	done chan struct{}

	mu     sync.Mutex // guards all below
	epoch  string
	datas  []string // of the log channel, by seq-1
	events []string
	wrong  error
}

// listening subscribes to both channels, to the log from its beginning.
func listening(t testing.TB, s *testServer, log, event string) *listener {
	t.Helper()
	l := &listener{c: s.user("listener"), done: make(chan struct{})}
	l.c.do(fmt.Sprintf(`{"type":"sub","channel":%q}`, event))
	l.epoch = l.c.do(fmt.Sprintf(`{"type":"sub","channel":%q,"since":{"seq":0}}`, log))["epoch"].(string)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		l.read(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-l.done
	})
	return l
}

func (l *listener) read(ctx context.Context) {
	for {
		_, raw, err := l.c.ws.Read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = l.take(raw)
		}
		if err != nil {
			l.mu.Lock()
			l.wrong = err
			l.mu.Unlock()
			return
		}
	}
}

func (l *listener) take(raw []byte) error {
	var f struct {
		Type, Channel string
		Seq           uint64
		Data          json.RawMessage
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case f.Type == "msg" && f.Seq == 0:
		l.events = append(l.events, strings.Trim(string(f.Data), `"`))
	case f.Type == "msg" && f.Seq == uint64(len(l.datas)+1):
		l.datas = append(l.datas, string(f.Data))
	default:
		return fmt.Errorf("after seq %d came %s", len(l.datas), raw)
	}
	return nil
}

// reaches waits until the listener has the message with the given seq, and
// gives all that it has.
func (l *listener) reaches(t testing.TB, seq uint64) []string {
	t.Helper()
	var datas []string
	eventually(t, fmt.Sprintf("the listener has seq %d", seq), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.wrong != nil {
			t.Fatalf("the listener: %v", l.wrong)
		}
		datas = append(datas[:0], l.datas...)
		return uint64(len(datas)) >= seq
	})
	return datas
}

// hears waits for an event.
func (l *listener) hears(t testing.TB, event string) {
	t.Helper()
	eventually(t, "the listener hears "+event, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.wrong != nil {
			t.Fatalf("the listener: %v", l.wrong)
		}
		for _, e := range l.events {
			if e == event {
				return true
			}
		}
		return false
	})
}
