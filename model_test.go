package skein_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/test/pgtest"
)

// TestTheLogAgreesWithItsModel does random things to a log channel through real
// clients and compares what they see with a list in memory: publishing with and
// without keys, withdrawing, coming and going at any moment, not reading for a
// while, with a retention that takes messages away all the time.
func TestTheLogAgreesWithItsModel(t *testing.T) {
	fewerChecks(t, 40)
	for name, configure := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := logging(t)()
			cfg.Limits.Queue = 128 << 10 // little, so that readers fall behind
			cfg.Namespaces["room"] = skein.Namespace{Kind: "log", Subscribe: "anyone", Publish: "anyone", Keep: skein.Keep{Count: 40}}
			configure(t, &cfg)
			s := start(t, cfg)
			var cases atomic.Int64
			rapid.Check(t, func(rt *rapid.T) {
				m := &logModel{s: s, channel: fmt.Sprintf("room:%d", cases.Add(1)), keep: 40, keys: map[string]uint64{}}
				defer m.leave()
				rt.Repeat(map[string]func(*rapid.T){
					"publish":  m.publish,
					"burst":    m.burst,
					"withdraw": m.withdraw,
					"come":     m.come,
					"go":       m.goAway,
					"read":     m.read,
					"":         func(*rapid.T) {},
				})
				m.finish(rt)
			})
		})
	}
}

// fewerChecks sets how often properties are checked in a test, unless the command
// line says it (-rapid.checks): each check here is a conversation of its own.
func fewerChecks(t *testing.T, n int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() != checks.DefValue {
		return
	}
	if err := checks.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Value.Set(checks.DefValue) }) // it was good before
}

// logModel is the ten lines: what was published, and what may still be read.
type logModel struct {
	s         *testServer
	channel   string
	keep      int
	messages  []string // the data, by seq-1; "": withdrawn
	keys      map[string]uint64
	publisher *client
	readers   [3]modelReader
}

func (m *logModel) floor() uint64 { return uint64(max(0, len(m.messages)-m.keep)) }
func (m *logModel) top() uint64   { return uint64(len(m.messages)) }

// modelReader is a client that knows how far it has come.
type modelReader struct {
	ws    *websocket.Conn
	epoch string
	seq   uint64
	owed  bool   // the answer to its subscription has not been read
	floor uint64 // the model's when it subscribed
	top   uint64
}

func (m *logModel) ready(t *rapid.T) *client {
	if m.publisher == nil {
		m.publisher = m.s.user("publisher")
	}
	return m.publisher
}

func (m *logModel) publish(t *rapid.T) {
	data := fmt.Sprintf(`"%d %s"`, len(m.messages), strings.Repeat("x", rapid.IntRange(0, 3000).Draw(t, "size")))
	key := rapid.SampledFrom([]string{"", "", "a", "b", "c"}).Draw(t, "key")
	frame := fmt.Sprintf(`{"type":"pub","channel":%q,"data":%s,"key":%q}`, m.channel, data, key)
	if seq := m.keys[key]; key != "" && seq > 0 {
		// The key stands for the first content, whatever has become of it.
		if e := m.ready(t).fails(frame, "conflict"); e["channel"] != m.channel {
			t.Fatalf("got %v", e)
		}
		return
	}
	ok := m.ready(t).do(frame)
	m.messages = append(m.messages, data)
	if ok["seq"] != float64(m.top()) {
		t.Fatalf("message %d is answered by %v", m.top(), ok)
	}
	if key != "" {
		m.keys[key] = m.top()
		if again := m.ready(t).do(frame); again["seq"] != ok["seq"] || again["message"] != ok["message"] || again["duplicate"] != true {
			t.Fatalf("a repeat is answered by %v after %v", again, ok)
		}
	}
}

// burst publishes so much that a reader which does not read falls behind.
func (m *logModel) burst(t *rapid.T) {
	text := strings.Repeat("y", 30_000)
	for range rapid.IntRange(1, 12).Draw(t, "messages") {
		data := fmt.Sprintf(`"%d %s"`, len(m.messages), text)
		m.ready(t).do(fmt.Sprintf(`{"type":"pub","channel":%q,"data":%s}`, m.channel, data))
		m.messages = append(m.messages, data)
	}
}

func (m *logModel) withdraw(t *rapid.T) {
	if m.top() == m.floor() {
		return
	}
	seq := rapid.Uint64Range(m.floor()+1, m.top()).Draw(t, "seq")
	r := m.s.verb("recall", fmt.Sprintf(`{"channel":%q,"seq":%d}`, m.channel, seq))
	if first := m.messages[seq-1] != ""; r["recalled"] != first {
		t.Fatalf("withdrawing %d is answered by %v", seq, r)
	}
	m.messages[seq-1] = ""
}

func (m *logModel) reader(t *rapid.T) *modelReader {
	return &m.readers[rapid.IntRange(0, len(m.readers)-1).Draw(t, "reader")]
}

// come opens a connection, if there is none, and goes on where the reader was.
func (m *logModel) come(t *rapid.T) {
	r := m.reader(t)
	if r.ws != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+m.s.addr+"/ws?user=reader", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	r.ws, r.owed, r.floor, r.top = c, true, m.floor(), m.top()
	frame := fmt.Sprintf(`{"type":"sub","id":1,"channel":%q,"since":{"epoch":%q,"seq":%d}}`, m.channel, r.epoch, r.seq)
	if err := c.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	if rapid.Bool().Draw(t, "wait") {
		m.answer(t, r)
	}
}

func (m *logModel) goAway(t *rapid.T) {
	if r := m.reader(t); r.ws != nil {
		_ = r.ws.CloseNow()
		r.ws = nil
	}
}

func (m *logModel) read(t *rapid.T) {
	r := m.reader(t)
	if r.ws == nil {
		return
	}
	m.answer(t, r)
	to := min(m.top(), r.seq+rapid.Uint64Range(1, 20).Draw(t, "messages"))
	for r.seq < to {
		m.next(t, r)
	}
}

type modelFrame struct {
	Type, Channel, Epoch, Message string
	Seq, From, To                 json.RawMessage
	Recovered                     *bool
	Data                          json.RawMessage
}

func number(t *rapid.T, raw json.RawMessage) (n uint64) {
	if err := json.Unmarshal(raw, &n); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return n
}

func (r *modelReader) frame(t *rapid.T) modelFrame {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, data, err := r.ws.Read(ctx)
	if err != nil {
		t.Fatalf("after %d: %v", r.seq, err)
	}
	var f modelFrame
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// answer reads the answer to the subscription. Others may have published since
// it was asked for, so the truth lies between then and now.
func (m *logModel) answer(t *rapid.T, r *modelReader) {
	if !r.owed {
		return
	}
	r.owed = false
	f := r.frame(t)
	if f.Type == "welcome" {
		f = r.frame(t)
	}
	head := number(t, f.Seq)
	if f.Type != "ok" || f.Recovered == nil || r.epoch != "" && f.Epoch != r.epoch || head < r.top || head > m.top() {
		t.Fatalf("the subscription after %d (of %d to %d) is answered by %+v", r.seq, r.top, m.top(), f)
	}
	r.epoch = f.Epoch
	if *f.Recovered && r.seq < r.floor || !*f.Recovered && r.seq >= m.floor() {
		t.Fatalf("after %d, with %d to %d gone, recovered is %v", r.seq, r.floor, m.floor(), *f.Recovered)
	}
}

// next reads what has the reader's next place, and all that it is told besides.
func (m *logModel) next(t *rapid.T, r *modelReader) {
	f := r.frame(t)
	switch f.Type {
	case "msg":
		seq := number(t, f.Seq)
		if seq != r.seq+1 {
			t.Fatalf("%d came after %d", seq, r.seq)
		}
		// Withdrawn after it was sent, it is another frame that tells.
		if want := m.messages[seq-1]; want != "" && string(f.Data) != want {
			t.Fatalf("message %d is %.20s, want %.20s", seq, f.Data, want)
		}
		r.seq = seq
	case "recall":
		seq := number(t, f.Seq)
		if seq > r.seq+1 || m.messages[seq-1] != "" {
			t.Fatalf("after %d, %d is said to be withdrawn; the model has %.20q", r.seq, seq, m.messages[seq-1])
		}
		r.seq = max(r.seq, seq)
	case "gap":
		from, to := number(t, f.From), number(t, f.To)
		if from != r.seq+1 || to < from || to > m.floor() || f.Epoch != r.epoch {
			t.Fatalf("after %d, with %d gone: %+v from %d to %d", r.seq, m.floor(), f.Type, from, to)
		}
		r.seq = to
	default:
		t.Fatalf("got %+v", f)
	}
}

// finish lets every reader read to the end.
func (m *logModel) finish(t *rapid.T) {
	for i := range m.readers {
		r := &m.readers[i]
		if r.ws == nil {
			continue
		}
		m.answer(t, r)
		for r.seq < m.top() {
			m.next(t, r)
		}
	}
}

func (m *logModel) leave() {
	for i := range m.readers {
		if r := &m.readers[i]; r.ws != nil {
			_ = r.ws.CloseNow()
		}
	}
	if m.publisher != nil {
		_ = m.publisher.ws.CloseNow()
	}
}

// stores are the ways in which a server can keep its state.
var stores = map[string]func(t *testing.T, cfg *skein.Config){
	"sqlite":   func(*testing.T, *skein.Config) {},
	"postgres": func(t *testing.T, cfg *skein.Config) { cfg.Database = pgtest.Start(t).Database(t) },
}
