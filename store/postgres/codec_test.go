package postgres

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

func TestIDsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(rapid.Int64Range(0, maxTime).Draw(t, "now"))
		text := id.Message(now)
		if rapid.Bool().Draw(t, "strange") {
			text = rapid.StringN(-1, -1, idText).Draw(t, "text")
		}
		time := rapid.SampledFrom([]int64{now.UnixMilli(), 0, maxTime}).Draw(t, "time")
		if got := unpackID(packID(text, time), time); len(text) == idText && got != text {
			t.Errorf("%q at %d became %q", text, time, got)
		}
		if got := unpackWholeID(packWholeID(text)); len(text) == idText && got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
	if kept := packID(id.Message(time.UnixMilli(5)), 5); len(kept) != idRandom {
		t.Errorf("an id with the time of its message takes %d bytes", len(kept))
	}
	for _, strange := range []string{strings.Repeat("Z", idText), strings.Repeat("a", idText), strings.Repeat("0", idText-1) + "U"} {
		if got := unpackID(packID(strange, 0), 0); got != strange {
			t.Errorf("%q became %q", strange, got)
		}
	}
}

func TestSendersComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := protocol.Sender{
			User: rapid.String().Draw(t, "user"), Device: rapid.String().Draw(t, "device"), Connection: rapid.String().Draw(t, "connection"),
		}
		if rapid.Bool().Draw(t, "usual") {
			want.Connection = id.NewConnection().String()
		}
		meta := store.Meta{Reply: rapid.SampledFrom([]uint64{0, 0, 1, 1 << 63}).Draw(t, "reply"), Mentions: rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "mentions")}
		if len(meta.Mentions) == 0 {
			meta.Mentions = nil
		}
		packed := packSender(want, &meta)
		got, m, ok := unpackSender(packed)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(meta, m); diff != "" {
			t.Errorf("what is beside (-want +got):\n%s", diff)
		}
		if plain := packSender(want, &store.Meta{}); !tables.HasMeta(&meta) && !bytes.Equal(plain, packed) {
			t.Errorf("%+v alone takes %x and %x", want, plain, packed)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		// Whatever is in the database, reading it does not panic.
		if s, m, ok := unpackSender(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")); !ok && (len(s.Connection) > 0 || tables.HasMeta(&m)) {
			t.Errorf("a sender that is not readable has a connection")
		}
	})
}

// What waits is bounded, by number and by size, and what is withdrawn makes room.
func TestTheQueueIsBounded(t *testing.T) {
	q := newQueue(2)
	big := &group{bytes: 2 * maxWaitingBytes, done: make(chan struct{})}
	if err := q.put(big); err != nil {
		t.Errorf("a group that is larger than the bound, alone: %v", err)
	}
	if err := q.put(&group{bytes: 1, lane: 1, done: make(chan struct{})}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("over the bound of bytes: %v", err)
	}
	q.refuse(0, context.Canceled)
	if <-big.done; !errors.Is(big.err, context.Canceled) {
		t.Errorf("refused: %v", big.err)
	}
	ctx, withdraw := context.WithCancel(t.Context())
	withdraw()
	if err := q.do(ctx, &group{bytes: 2 * maxWaitingBytes, done: make(chan struct{})}); !errors.Is(err, context.Canceled) {
		t.Errorf("withdrawn: %v", err)
	}
	for range maxWaiting {
		if err := q.put(&group{lane: 1, done: make(chan struct{})}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.put(&group{done: make(chan struct{})}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("over the bound of groups: %v", err)
	}
	taken := q.take(1, nil, func(*group) bool { return true })
	if len(taken) != maxWaiting {
		t.Errorf("took %d groups", len(taken))
	}
	last := &group{done: make(chan struct{})}
	if err := q.put(last); err != nil {
		t.Errorf("after everything was taken: %v", err)
	}
	q.close()
	if <-last.done; !errors.Is(last.err, store.ErrClosed) {
		t.Errorf("what waited at the end got %v", last.err)
	}
	if err := q.put(&group{done: make(chan struct{})}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if left := q.take(1, nil, func(*group) bool { return true }); len(left) != 0 {
		t.Errorf("a writer gets %d groups after the end", len(left))
	}
}

// One statement cannot see what it inserts, so a key comes once in a batch; a
// group that needs a transaction of its own is alone.
func TestWhatFitsIntoABatch(t *testing.T) {
	keyed := func(channel, key string) *group {
		return &group{bytes: 1, commands: []store.Command{store.Append{Channel: channel, Key: []byte(key)}}}
	}
	large := func(bytes int) *group { return &group{bytes: bytes, commands: []store.Command{store.Append{}}} }
	spoken := &group{authors: true, commands: []store.Command{store.Append{Channel: "s", Author: &store.Author{}}}}
	patch := &group{versions: true, commands: []store.Command{store.Append{Channel: "d", Version: 1}}}
	alone := &group{alone: true, commands: []store.Command{store.Recall{}}}
	twice := &group{commands: []store.Command{store.Append{Key: []byte("k")}, store.Append{Key: []byte("k")}}}
	for name, c := range map[string]struct {
		groups []*group
		want   int
	}{
		"without keys":        {[]*group{large(1), large(1), large(1)}, 3},
		"other keys":          {[]*group{keyed("a", "1"), keyed("a", "2"), keyed("b", "1")}, 3},
		"the same key":        {[]*group{keyed("a", "1"), keyed("a", "2"), keyed("a", "1")}, 2},
		"members":             {[]*group{large(1), spoken, spoken, large(1)}, 4},
		"members, a document": {[]*group{spoken, large(1), patch}, 2},
		"a document, members": {[]*group{patch, large(1), spoken}, 2},
		"a recall comes":      {[]*group{large(1), alone}, 1},
		"a recall is first":   {[]*group{alone, large(1)}, 1},
		"twice in one comes":  {[]*group{large(1), twice}, 1},
		"twice in one first":  {[]*group{twice, large(1)}, 1},
		"too large":           {[]*group{large(maxBatchBytes), large(1)}, 1},
		"far too large alone": {[]*group{large(10 * maxBatchBytes)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := &writer{keys: make(map[usedKey]struct{})}
			w.begin()
			n := 0
			for n < len(c.groups) && w.fit(c.groups[n]) {
				n++
			}
			if n != c.want {
				t.Errorf("%d groups fit, want %d", n, c.want)
			}
		})
	}
}
