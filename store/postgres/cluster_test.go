package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
)

// witness is told what a store commits, and complains when two calls for one
// channel overlap or come in the wrong order.
type witness struct {
	t  *testing.T
	mu sync.Mutex

	seqs    map[string][]uint64 // appended, by channel
	recalls map[string][]uint64
	busy    map[string]bool
}

func newWitness(t *testing.T) *witness {
	return &witness{t: t, seqs: make(map[string][]uint64), recalls: make(map[string][]uint64), busy: make(map[string]bool)}
}

func (w *witness) committed(commits []store.Commit) {
	channels := make(map[string]bool)
	for _, c := range commits {
		channels[c.Channel] = true
	}
	w.mu.Lock()
	for c := range channels {
		if w.busy[c] {
			w.t.Errorf("%s: told twice at the same time", c)
		}
		w.busy[c] = true
	}
	for _, c := range commits {
		switch {
		case c.Message != nil && c.Recall == nil:
			seqs := w.seqs[c.Channel]
			if len(seqs) > 0 && c.Message.Seq <= seqs[len(seqs)-1] {
				w.t.Errorf("%s: told %d after %d", c.Channel, c.Message.Seq, seqs[len(seqs)-1])
			}
			w.seqs[c.Channel] = append(seqs, c.Message.Seq)
		case c.Recall != nil && c.Message == nil:
			w.recalls[c.Channel] = append(w.recalls[c.Channel], c.Recall.Seq)
		default:
			w.t.Errorf("%s: told neither or both: %+v", c.Channel, c)
		}
	}
	w.mu.Unlock()
	runtime.Gosched() // others may come in between, but not for these channels
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range channels {
		w.busy[c] = false
	}
}

// Two processes append to the same channels, one by one and in groups, and
// withdraw: every channel is dense, nobody waits in a circle for ever, and each
// is told its own deeds only.
func TestTwoStoresShareADatabase(t *testing.T) {
	url := server.Database(t)
	const channels, goroutines, groups = 10, 24, 150
	witnesses := []*witness{newWitness(t), newWitness(t)}
	stores := make([]*postgres.Store, 2)
	for i, w := range witnesses {
		stores[i] = open(t, postgres.Config{URL: url, Options: store.Options{Committed: w.committed}})
	}
	own := make([]map[string][]uint64, 2) // what each store's callers were told
	for i := range own {
		own[i] = make(map[string][]uint64)
	}
	withdrawn := []int{0, 0}
	var mu sync.Mutex
	var callers sync.WaitGroup
	for g := range goroutines {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			which := g % 2
			var last *store.Appended
			var lastChannel string
			for range groups {
				var group []store.Command
				for range 1 + random.IntN(3) {
					group = append(group, newAppend(fmt.Sprintf("room:%d", random.IntN(channels)), "1"))
				}
				if last != nil && random.IntN(8) == 0 {
					group = append(group, store.Recall{Channel: lastChannel, Seq: last.Seq})
					last = nil
				}
				results, err := stores[which].Do(t.Context(), group...)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				mu.Lock()
				for i, r := range results {
					switch r := r.(type) {
					case store.Appended:
						lastChannel = group[i].(store.Append).Channel
						last = &r
						own[which][lastChannel] = append(own[which][lastChannel], r.Seq)
					case store.Recalled:
						withdrawn[which]++
					}
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	for which, w := range witnesses {
		told := 0
		for _, seqs := range w.recalls {
			told += len(seqs)
		}
		if told != withdrawn[which] {
			t.Errorf("store %d withdrew %d messages and told %d", which, withdrawn[which], told)
		}
		for channel, seqs := range own[which] {
			slices.Sort(seqs)
			if !slices.Equal(seqs, w.seqs[channel]) {
				t.Errorf("store %d: %s: %d messages were acknowledged, %d told", which, channel, len(seqs), len(w.seqs[channel]))
			}
		}
	}
	for i := range channels {
		channel := fmt.Sprintf("room:%d", i)
		if n := len(readAll(t, stores[0], channel)); n != len(own[0][channel])+len(own[1][channel]) {
			t.Errorf("%s holds %d messages", channel, n)
		}
	}
	check(t, stores[1])
}

// The same key at both nodes at once gives one message.
func TestAKeyIsUsedOnceByAllNodes(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	for round := range 50 {
		results := make([]store.Appended, 8)
		var callers sync.WaitGroup
		for i := range results {
			callers.Go(func() {
				a := newAppend("room:1", "1")
				a.Key, a.Expires = fmt.Appendf(nil, "key %d", round), a.Time+100_000
				results[i] = do[store.Appended](t, stores[i%2], a)
			})
		}
		callers.Wait()
		fresh := 0
		for _, r := range results {
			if !r.Duplicate {
				fresh++
			}
			if r.Seq != uint64(round+1) || r.ID != results[0].ID {
				t.Errorf("round %d: %+v and %+v", round, r, results[0])
			}
		}
		if fresh != 1 {
			t.Errorf("round %d: %d appends were the first", round, fresh)
		}
	}
}

// Several nodes may trim at once, while others append.
func TestNodesTrimTogether(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	ctx, stop := context.WithCancel(t.Context())
	var trimmers, callers sync.WaitGroup
	deleted := make([]int, 3)
	for i := range deleted {
		trimmers.Go(func() {
			for ctx.Err() == nil {
				rules := []store.Keep{{Namespace: "room", Count: 50}, {Namespace: "log", Age: time.Millisecond}}
				done, err := stores[i%2].Trim(t.Context(), rules, time.Now(), 40)
				if err != nil {
					t.Error(err)
					return
				}
				deleted[i] += done.Messages
			}
		})
	}
	for g := range 8 {
		callers.Go(func() {
			for n := range 300 {
				a := newAppend(fmt.Sprintf("room:%d", n%5), "1")
				if g%2 == 0 {
					a.Keep = 20
				}
				b := newAppend(fmt.Sprintf("log:%d", n%5), "1")
				if _, err := stores[g%2].Do(t.Context(), a, b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	stop()
	trimmers.Wait()
	total := deleted[0] + deleted[1] + deleted[2]
	trimAll(t, stores[0], &total, store.Keep{Namespace: "room", Count: 50}, store.Keep{Namespace: "log", Age: time.Millisecond})
	stats, err := stores[0].Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * 8 * 300; int64(total)+stats.Messages != int64(want) {
		t.Errorf("%d were deleted and %d are left, of %d", total, stats.Messages, want)
	}
	if stats.Messages > 250 {
		t.Errorf("%d messages are left", stats.Messages)
	}
	check(t, stores[0])
}

// trimAll trims until there is nothing to do, a little in the future.
func trimAll(t *testing.T, s store.Store, total *int, rules ...store.Keep) {
	t.Helper()
	for range 10_000 {
		done, err := s.Trim(t.Context(), rules, time.Now().Add(time.Second), 100)
		if err != nil {
			t.Fatal(err)
		}
		*total += done.Messages
		if !done.More {
			return
		}
	}
	t.Fatal("there is always more")
}

func TestNewEpochsReachEverybody(t *testing.T) {
	url := server.Database(t)
	a, b := open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})
	before := do[store.Appended](t, a, newAppend("room:1", "1"))
	if err := a.NewEpochs(t.Context()); err != nil {
		t.Fatal(err)
	}
	heads, err := b.Heads(t.Context(), "room:1", "room:unknown")
	if err != nil {
		t.Fatal(err)
	}
	if heads[0].Epoch == before.Epoch || heads[0].Epoch != heads[1].Epoch || heads[0].Top != 1 {
		t.Errorf("the epoch was %q, and now the heads are %+v", before.Epoch, heads)
	}
	if after := do[store.Appended](t, b, newAppend("room:1", "2")); after.Epoch != heads[0].Epoch || after.Seq != 2 {
		t.Errorf("an append gives %+v", after)
	}
	if n := len(heads[0].Epoch); n < 8 || n > 16 {
		t.Errorf("an epoch has %d characters", n)
	}
}

// A database in another cluster or on another timeline may lack what was
// committed last.
func TestAnotherOriginMakesANewEpoch(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url})
	before := do[store.Appended](t, s, newAppend("room:1", "1"))
	again := open(t, postgres.Config{URL: url})
	if same := do[store.Appended](t, again, newAppend("room:1", "2")); same.Epoch != before.Epoch {
		t.Errorf("the epoch %q became %q without a reason", before.Epoch, same.Epoch)
	}
	server.Exec(t, url, `UPDATE skein.store SET origin = '1/00000001'`)
	restored := open(t, postgres.Config{URL: url})
	if other := do[store.Appended](t, restored, newAppend("room:1", "3")); other.Epoch == before.Epoch {
		t.Errorf("the epoch is still %q", other.Epoch)
	}
}

// What the store believes to be in the database may be gone after a restore
// under its feet.
func TestADatabaseIsRestoredUnderARunningStore(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url})
	for i := range 3 {
		do[store.Appended](t, s, newAppend(fmt.Sprintf("room:%d", i), "1"))
	}
	server.Exec(t, url, `TRUNCATE skein.channel, skein.namespace, skein.message, skein.idem, skein.litter`)
	results, err := s.Do(t.Context(), newAppend("room:1", "1"), newAppend("room:9", "1"), newAppend("room:1", "2"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1, 1, 2} {
		if got := results[i].(store.Appended).Seq; got != want {
			t.Errorf("result %d has seq %d, want %d", i, got, want)
		}
	}
	check(t, s)
}

// Settings of the server must not change what the store promises.
func TestSettingsOfTheDatabaseDoNotMatter(t *testing.T) {
	url := server.Database(t)
	for _, setting := range []string{
		"synchronous_commit = off", "default_transaction_isolation = 'serializable'", "standard_conforming_strings = off",
		"bytea_output = 'escape'", "search_path = 'nowhere'", "timezone = 'Asia/Shanghai'",
	} {
		server.Exec(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET `+strings.ReplaceAll(setting, "'", "''")+`', current_database()); END $$`)
	}
	s := open(t, postgres.Config{URL: url})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 50 {
				do[store.Appended](t, s, newAppend("room:1", "1"))
			}
		})
	}
	callers.Wait()
	if n := len(readAll(t, s, "room:1")); n != 400 {
		t.Errorf("there are %d messages", n)
	}
	check(t, s)
}

func TestASchemaOfItsOwn(t *testing.T) {
	url := server.Database(t)
	one := open(t, postgres.Config{URL: url})
	two := open(t, postgres.Config{URL: url + "&search_path=%22Other+one%22,public"})
	three := open(t, postgres.Config{URL: url, Schema: `third"`})
	for i, s := range []*postgres.Store{one, two, three} {
		for range i + 1 {
			do[store.Appended](t, s, newAppend("room:1", "1"))
		}
	}
	for i, s := range []*postgres.Store{one, two, three} {
		if n := len(readAll(t, s, "room:1")); n != i+1 {
			t.Errorf("store %d holds %d messages", i, n)
		}
	}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  postgres.Config
		want string
	}{
		"url":     {postgres.Config{URL: "postgres://%zz"}, "URL"},
		"secret":  {postgres.Config{URL: "postgres://user:secret@host:port/"}, "URL"},
		"writers": {postgres.Config{URL: server.URL("postgres"), Writers: 33}, "Writers"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := postgres.Open(t.Context(), c.cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}
