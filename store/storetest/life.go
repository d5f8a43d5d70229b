package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/store"
)

func testTold(s *subject) {
	epoch := s.head("room:1").Epoch
	a, b, c := message("room:1", "1"), keyed("room:2", "1", "key", ""), message("room:1", "2")
	s.do(a, b, c)
	// It has been told when Do has returned.
	s.equal("a group", []store.Commit{
		{Channel: "room:1", Epoch: epoch, Message: new(stored(a, 1))},
		{Channel: "room:2", Epoch: epoch, Message: new(stored(b, 1))},
		{Channel: "room:1", Epoch: epoch, Message: new(stored(c, 2))},
	}, s.told.take())
	d := message("room:2", "2")
	s.do(keyed("room:2", "1", "key", ""), d, store.Recall{Channel: "room:1", Seq: 1}, store.Recall{Channel: "room:1", Seq: 1})
	s.equal("a group with duplicates", []store.Commit{
		{Channel: "room:2", Epoch: epoch, Message: new(stored(d, 2))},
		{Channel: "room:1", Epoch: epoch, Recall: new(stub(a, 1))},
	}, s.told.take())
	s.refuses(store.ErrNotFound, message("room:1", "3"), store.Recall{Channel: "room:1", Seq: 9})
	s.trim(noon, 10, store.Keep{Namespace: "room", Count: 1})
	s.reopen()
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
}

// watcher counts what an observer is told.
type watcher struct {
	mu               sync.Mutex // guards all below
	commits          int
	groups, commands int
	failed           int
	queries          map[string]int
	wrong            []string
}

func (w *watcher) Commit(groups, commands int, took, sync time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failed++
		return
	}
	w.commits++
	w.groups += groups
	w.commands += commands
	if took < sync || sync < 0 {
		w.wrong = append(w.wrong, fmt.Sprintf("of %v it took %v until it was on disk", took, sync))
	}
}

func (w *watcher) Query(what string, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queries[what]++
	if took < 0 || err != nil {
		w.wrong = append(w.wrong, fmt.Sprintf("%s took %v and gave %v", what, took, err))
	}
}

func testObserver(s *subject) {
	w := &watcher{queries: map[string]int{}}
	s.watch = w
	s.reopen()
	s.do(message("room:1", "1"), message("room:1", "2"))
	s.do(message("room:1", "3"))
	s.do(store.Recall{Channel: "room:1", Seq: 1})
	s.heads("room:1", "room:2")
	s.read(store.Query{Channel: "room:1", Limit: 1})
	s.recalls("room:1", 1, 1)
	s.document("room:1")
	s.trim(noon, 1)
	s.stats()
	s.users("room:1", 1)
	s.channels("alice", 1)
	s.scheduleNames("", 1)
	s.due(1)
	s.denials(0, 1)
	s.lastSeen("alice")
	s.lookUsers("alice")
	s.audience(nil, 1)
	s.estimate(store.EstimateQuery{Everyone: true})
	s.campaigns("", "", 1)
	if _, err := s.store.Categories(s.Context()); err != nil {
		s.Error(err)
	}
	s.conversations(store.ConversationQuery{User: "alice"})
	s.roster("room:1")
	s.alerts()
	s.auditPage(store.AuditQuery{Limit: 1})
	if _, err := s.secret("none"); !errors.Is(err, store.ErrNotFound) {
		s.Error(err)
	}
	_, err := s.store.Group(s.Context(), "room:1")
	_, _, more := s.store.Blocking(s.Context(), "alice", "bob")
	s.expect("a read", nil, errors.Join(err, more))
	s.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.commits != 3 || w.groups != 3 || w.commands != 4 || w.failed != 0 {
		s.Errorf("told of %d commits with %d groups of %d commands and %d failures", w.commits, w.groups, w.commands, w.failed)
	}
	for _, what := range []string{"heads", "read", "recalls", "document", "trim", "stats", "check", "members", "memberships", "schedules", "due", "denials", "seen",
		"users", "audience", "estimate", "campaigns", "categories", "conversations", "roster", "group", "blocks", "alerts", "audit", "secrets"} {
		if w.queries[what] == 0 {
			s.Errorf("not told of %s: %v", what, w.queries)
		}
	}
	for _, problem := range w.wrong {
		s.Error(problem)
	}
}

func testReopen(s *subject) {
	s.fill("room:1", 10)
	s.append(keyed("room:1", "11", "key", "content"))
	s.recall(store.Recall{Channel: "room:1", Seq: 4})
	s.trim(noon, 3, store.Keep{Namespace: "room", Count: 9})
	a := message("other:1", "1")
	a.Keep = 1
	s.do(a, a)
	names := []string{"room:1", "other:1", "room:2"}
	heads, pages, list := s.heads(names...), s.all("room:1"), s.recalls("room:1", 11, 9)
	for range 3 {
		s.reopen()
		s.equal("heads", heads, s.heads(names...))
		s.equal("messages", pages, s.all("room:1"))
		s.equal("recalls", list, s.recalls("room:1", 11, 9))
	}
	if got := s.append(keyed("room:1", "11", "key", "content")); !got.Duplicate || got.Seq != 11 || got.Epoch != heads[0].Epoch {
		s.Errorf("the key gave %+v", got)
	}
	if got := s.append(message("room:1", "12")); got.Seq != 12 || got.Epoch != heads[0].Epoch {
		s.Errorf("the next message is %+v", got)
	}
}

func testEpochs(empty func() Opener) func(*subject) {
	return func(s *subject) {
		seen := map[string]bool{s.head("room:1").Epoch: true}
		for range 5 {
			other := &subject{T: s.T, place: empty()}
			other.open()
			seen[other.head("room:1").Epoch] = true
			other.close()
		}
		if len(seen) != 6 {
			s.Errorf("six stores have the epochs %v", seen)
		}
	}
}

func testWithdrawn(s *subject) {
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.store.Do(ended, message("room:1", `"late"`))
	s.expect("when it had ended before", context.Canceled, err)
	s.held("room:1", func() {
		ctx, cancel := context.WithCancel(s.Context())
		outcome := make(chan error)
		const waiting = 20
		for range waiting {
			go func() {
				_, err := s.store.Do(ctx, message("room:1", `"withdrawn"`), message("room:2", `"withdrawn"`))
				outcome <- err
			}()
		}
		cancel()
		for range waiting {
			s.expect("while it waited", context.Canceled, await(s, outcome, "a group is withdrawn"))
		}
	})
	// Others are not concerned.
	s.append(message("room:1", "2"))
	s.headIs("room:1", 2, 0, 0)
	s.headIs("room:2", 0, 0, 0)
	_, err = s.store.Read(ended, store.Query{Channel: "room:1", Limit: 1})
	s.expect("a read", context.Canceled, err)
}

func testFull(s *subject) {
	const size = 4 << 20
	data := `"` + strings.Repeat("x", size-2) + `"`
	const groups = (256 << 20) / size
	outcomes := make(chan error, groups+1)
	s.held("room:1", func() {
		for range groups + 1 {
			go func() {
				_, err := s.store.Do(context.Background(), message("room:1", data))
				outcomes <- err
			}()
		}
		// Those that do not fit are refused while the others wait.
		s.expect("the first that does not fit", store.ErrUnavailable, await(s, outcomes, "a group is refused"))
	})
	taken := uint64(0)
	for range groups {
		if err := await(s, outcomes, "a group is answered"); err == nil {
			taken++
		} else {
			s.expect("one that does not fit", store.ErrUnavailable, err)
		}
	}
	if taken < (16<<20)/size {
		s.Errorf("only %d of %d groups were taken", taken, groups)
	}
	s.headIs("room:1", taken+1, 0, 0)
	// There is room again.
	s.append(message("room:1", data))
}

func testClosed(s *subject) {
	s.fill("room:1", 3)
	closed := s.store
	s.close()
	ctx := s.Context()
	_, err := closed.Do(ctx, message("room:1", "1"))
	s.expect("do", store.ErrClosed, err)
	_, err = closed.Heads(ctx, "room:1")
	s.expect("heads", store.ErrClosed, err)
	_, err = closed.Read(ctx, store.Query{Channel: "room:1", Limit: 1})
	s.expect("read", store.ErrClosed, err)
	_, err = closed.Recalls(ctx, "room:1", 1, 1)
	s.expect("recalls", store.ErrClosed, err)
	_, err = closed.Document(ctx, "room:1")
	s.expect("document", store.ErrClosed, err)
	_, err = closed.Do(ctx, store.SawUsers{})
	s.expect("do of another kind", store.ErrClosed, err)
	_, err = closed.Members(ctx, "room:1", "", 1)
	s.expect("members", store.ErrClosed, err)
	_, err = closed.Schedule(ctx, "a")
	s.expect("schedule", store.ErrClosed, err)
	_, err = closed.LastSeen(ctx, "alice")
	s.expect("last seen", store.ErrClosed, err)
	_, err = closed.Trim(ctx, nil, time.UnixMilli(noon), 1)
	s.expect("trim", store.ErrClosed, err)
	_, err = closed.Stats(ctx)
	s.expect("stats", store.ErrClosed, err)
	s.expect("check", store.ErrClosed, closed.Check(ctx, func(string) {}))
	s.open()
	s.headIs("room:1", 3, 0, 0)
}

func testCloseRefuses(s *subject) {
	closed := make(chan error, 1)
	s.held("room:1", func() {
		const waiting = 20
		outcome := make(chan error)
		for range waiting {
			go func() {
				_, err := s.store.Do(context.Background(), message("room:1", `"waiting"`))
				outcome <- err
			}()
		}
		go func() { closed <- s.store.Close() }()
		for range waiting {
			s.expect("one that waits", store.ErrClosed, await(s, outcome, "one that waits is refused"))
		}
	})
	if err := await(s, closed, "the store is closed"); err != nil {
		s.Errorf("closing: %v", err)
	}
	s.open()
	s.headIs("room:1", 1, 0, 0)
}

func testStats(s *subject) {
	if st := s.stats(); st.Channels != 0 || st.Messages != 0 {
		s.Errorf("an empty store has %+v", st)
	}
	s.fill("room:1", 10)
	s.fill("room:2", 5)
	s.recall(store.Recall{Channel: "room:2", Seq: 1})
	for range 2 {
		if st := s.stats(); st.Channels != 2 || st.Bytes <= 0 {
			s.Errorf("it has %+v", st)
		}
		s.reopen()
	}
}

// Many append to few channels: seqs are dense, what is answered is what is there
// and what was told.
func testCrowd(s *subject) {
	const callers, each, channels = 64, 30, 10
	channel := func(i int) string { return fmt.Sprintf("room:%d", i%channels) }
	var mu sync.Mutex
	answered := make(map[string]map[uint64]string)
	for i := range channels {
		answered[channel(i)] = make(map[uint64]string)
	}
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for n := range each {
				a := message(channel(i+n), fmt.Sprintf(`"%d %d"`, i, n))
				b := keyed(channel(i*7+n), fmt.Sprintf(`"%d %d again"`, i, n), fmt.Sprintf("%d %d", i, n), "content")
				group := []store.Command{a}
				if n%3 == 0 {
					group = append(group, b)
				}
				failing := n%5 == 4
				if failing {
					group = append(group, store.Recall{Channel: channel(i), Seq: 1 << 40})
				}
				results, err := s.store.Do(context.Background(), group...)
				if failing != errors.Is(err, store.ErrNotFound) || !failing && err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				for j, r := range results {
					answered[group[j].(store.Append).Channel][r.(store.Appended).Seq] = string(group[j].(store.Append).Data)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	told := make(map[string][]store.Message)
	for _, c := range s.told.take() {
		told[c.Channel] = append(told[c.Channel], *c.Message)
	}
	total := 0
	for i := range channels {
		all := s.all(channel(i))
		s.equal("told of "+channel(i), all, told[channel(i)])
		s.equal("seqs of "+channel(i), between(1, uint64(len(all))), seqs(all))
		got := make(map[uint64]string)
		for _, m := range all {
			got[m.Seq] = string(m.Data)
		}
		s.equal("answers of "+channel(i), answered[channel(i)], got)
		total += len(all)
	}
	if total == 0 {
		s.Error("nothing was stored")
	}
}
