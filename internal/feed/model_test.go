package feed_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/feed"
)

// modelReader is what a client knows: what messages are, as far as it was told.
type modelReader struct {
	*reader // nil: it is away
	seq     uint64
	floor   uint64
	known   map[uint64]string
	owed    bool // the answer to its subscription
}

// take reads a frame as a client does.
func (r *modelReader) take(t *rapid.T, text string, top uint64) {
	var f struct {
		Type, Data string
		Seq, To    uint64
		From       json.RawMessage
		Recovered  bool
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if r.owed != (f.Type == "ok") {
		t.Fatalf("got %s, with an answer owed: %v", text, r.owed)
	}
	switch f.Type {
	case "ok":
		if r.owed = false; f.Recovered != (r.seq >= r.floor) || f.Seq > top {
			t.Fatalf("after %d with floor %d got %s", r.seq, r.floor, text)
		}
	case "gap":
		if string(f.From) != fmt.Sprint(r.seq+1) || f.To != r.floor {
			t.Fatalf("after %d with floor %d got %s", r.seq, r.floor, text)
		}
		r.seq = f.To
	case "msg", "recall", "edit":
		if f.Seq <= r.floor && f.Type != "recall" || f.Seq > r.seq+1 || f.Seq <= r.seq && f.Type == "msg" || f.Seq > r.seq && f.Type == "edit" {
			t.Fatalf("after %d with floor %d got %s", r.seq, r.floor, text)
		}
		r.seq = max(r.seq, f.Seq)
		r.known[f.Seq] = f.Data
	}
}

// Readers come, go, and are slow, while messages are published, edited and withdrawn. In
// the end each knows of every message that it has ever had what the message is now.
func TestReadersKnowWhatEveryMessageIsNow(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		w.name = fmt.Sprint("room:check", checks)
		now := []string{""} // by seq; "": withdrawn
		top := func() uint64 { return uint64(len(now)) - 1 }
		readers := make([]modelReader, 3)
		for i := range readers {
			readers[i] = modelReader{known: map[uint64]string{}}
		}
		defer func() {
			for _, r := range readers {
				if r.reader != nil {
					w.hub.Remove(&r.Conn)
				}
			}
		}()
		// What tells all of two revisions of a message must not be under way at the same time,
		// or a reader that has been told of the second may go when it is told of the first.
		flush, underWay := w.flusher(), map[uint64]bool{}
		revise := func(seq uint64) {
			if underWay[seq] {
				flush()
				clear(underWay)
			}
			underWay[seq] = true
		}
		n := 0
		text := func() string { n++; return fmt.Sprint("v", n) }
		pick := func(t *rapid.T) *modelReader { return &readers[rapid.IntRange(0, 2).Draw(t, "reader")] }
		old := func(t *rapid.T) uint64 { return rapid.Uint64Range(1, top()).Draw(t, "seq") }
		drain := func(t *rapid.T, r *modelReader) {
			for text, ok := r.out.take(); ok; text, ok = r.out.take() {
				r.take(t, text, top())
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"say": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "messages") {
					now = append(now, text())
					w.say(now[len(now)-1])
				}
			},
			"edit": func(t *rapid.T) {
				if top() == 0 {
					return
				}
				if seq := old(t); now[seq] != "" {
					now[seq] = text()
					revise(seq)
					w.edit(seq, now[seq])
				}
			},
			"withdraw": func(t *rapid.T) {
				if top() == 0 || rapid.IntRange(0, 2).Draw(t, "really") > 0 {
					return
				}
				seq := old(t)
				now[seq] = ""
				revise(seq)
				w.recall(seq)
			},
			"come": func(t *rapid.T) {
				r := pick(t)
				if r.reader != nil {
					return
				}
				r.reader, r.owed = w.connect(), true
				if r.floor == 0 && rapid.IntRange(0, 3).Draw(t, "hides") == 0 {
					r.floor = rapid.Uint64Range(0, top()).Draw(t, "floor")
				}
				if r.floor > 0 {
					flush() // what was edited before it came is told to all who were there then
				}
				r.sub(feed.From{Since: w.since(r.seq), Floor: r.floor})
			},
			"go": func(t *rapid.T) {
				if r := pick(t); r.reader != nil {
					drain(t, r)
					w.hub.Remove(&r.Conn)
					drain(t, r)
					r.reader, r.owed = nil, false
				}
			},
			"slow": func(t *rapid.T) {
				if r := pick(t); r.reader != nil {
					r.out.fill(true)
				}
			},
			"quick": func(t *rapid.T) {
				if r := pick(t); r.reader != nil {
					r.out.fill(false)
					r.Drained()
				}
			},
			"forget": func(t *rapid.T) {
				for i := range readers {
					if readers[i].reader != nil {
						return
					}
				}
				if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
					return
				}
				w.again()
				flush = w.flusher()
			},
		})
		// All come back and read to the end.
		for i := range readers {
			r := &readers[i]
			if r.reader == nil {
				flush()
				r.reader, r.owed = w.connect(), true
				r.sub(feed.From{Since: w.since(r.seq), Floor: r.floor})
			}
			r.out.fill(false)
			r.Drained()
		}
		now = append(now, "end")
		w.say("end")
		for i := range readers {
			r := &readers[i]
			for r.owed || r.seq < top() {
				r.take(rt, r.wait(), top())
			}
			for seq, has := range r.known {
				if seq > r.floor && has != now[seq] {
					rt.Fatalf("reader %d has %q for message %d, which is %q", i, has, seq, now[seq])
				}
			}
		}
	})
}
