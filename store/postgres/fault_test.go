package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/test/pgtest"
)

// impatient is a configuration whose deadlines a test can wait for.
func impatient(url string) postgres.Config {
	return postgres.Config{URL: url, ConnectTimeout: time.Second, Timeout: time.Second}
}

// soon is more than an impatient store may take: what was being tried, what was
// tried after it, and a loaded machine.
const soon = 5 * time.Second

func TestOpenSaysThatNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	s, err := postgres.Open(t.Context(), impatient("postgres://postgres@"+address+"/none"))
	if err == nil {
		_ = s.Close()
		t.Fatal("opened a store without a server")
	}
	if !strings.Contains(err.Error(), "cannot connect") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestOpenGivesUpOnAServerThatSaysNothing(t *testing.T) {
	p, url := newProxy(t, server.Database(t))
	p.set(stalling)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	begin := time.Now()
	if _, err := postgres.Open(ctx, impatient(url)); err == nil {
		t.Fatal("opened a store that says nothing")
	}
	if took := time.Since(begin); took > soon {
		t.Errorf("took %v", took)
	}
}

func TestOpenDoesNotRepeatWhatIsHopeless(t *testing.T) {
	begin := time.Now()
	_, err := postgres.Open(t.Context(), impatient(server.URL("no_such_database")))
	if err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v", took)
	}
}

// acknowledged is what a writer was told to be stored.
type acknowledged struct {
	mu    sync.Mutex
	texts map[string][]string // by channel, in order
}

// appender appends to one channel for ever, each message with a key until it is
// acknowledged, and notes what was.
func appender(ctx context.Context, s store.Store, channel string, told *acknowledged, failures *atomic.Int64) error {
	for n := 0; ctx.Err() == nil; n++ {
		a := newAppend(channel, fmt.Sprintf("%d", n))
		a.Key, a.Expires = fmt.Appendf(nil, "key %d", n), a.Time+int64(time.Hour/time.Millisecond)
		for {
			_, err := s.Do(ctx, a)
			if err == nil {
				told.mu.Lock()
				told.texts[channel] = append(told.texts[channel], string(a.Data))
				told.mu.Unlock()
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if !errors.Is(err, store.ErrUnavailable) {
				return err
			}
			failures.Add(1)
		}
	}
	return nil
}

// What was acknowledged is there after the server was killed, once, in order,
// and the store goes on by itself.
func TestAStoreOutlivesItsServer(t *testing.T) {
	own := pgtest.Start(t)
	url := own.URL("postgres")
	s := open(t, impatient(url))
	before, err := s.Heads(t.Context(), "room:0")
	if err != nil {
		t.Fatal(err)
	}
	told := &acknowledged{texts: make(map[string][]string)}
	var failures atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var appenders sync.WaitGroup
	for i := range 8 {
		appenders.Go(func() {
			if err := appender(ctx, s, fmt.Sprintf("room:%d", i), told, &failures); err != nil {
				t.Error(err)
			}
		})
	}
	for round, end := range []func(){own.Kill, own.Stop, own.Kill} {
		progress(t, told)
		end()
		for _, what := range []func() error{
			func() error { _, err := s.Do(t.Context(), newAppend("other:1", "1")); return err },
			func() error { _, err := s.Heads(t.Context(), "room:1"); return err },
			func() error { _, err := s.Read(t.Context(), store.Query{Channel: "room:1", Limit: 1}); return err },
		} {
			begin := time.Now()
			if err := what(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("round %d: without a server: %v", round, err)
			}
			if took := time.Since(begin); took > soon {
				t.Errorf("round %d: without a server a call took %v", round, took)
			}
		}
		own.Restart(t)
	}
	progress(t, told)
	cancel()
	appenders.Wait()
	if failures.Load() == 0 {
		t.Error("no append met the absence of the server")
	}
	for channel, texts := range told.texts {
		// One more may have been committed whose answer was lost.
		if got := readAll(t, s, channel); len(got) < len(texts) || strings.Join(got[:len(texts)], " ") != strings.Join(texts, " ") {
			t.Errorf("%s: %d messages were acknowledged, %d are there, or others", channel, len(texts), len(got))
		}
	}
	if after, err := s.Heads(t.Context(), "room:0"); err != nil || after[0].Epoch != before[0].Epoch {
		t.Errorf("epoch %q became %q though nothing was lost (%v)", before[0].Epoch, after[0].Epoch, err)
	}
	check(t, s)
}

// progress waits until more is acknowledged than before.
func progress(t *testing.T, told *acknowledged) {
	t.Helper()
	count := func() (n int) {
		told.mu.Lock()
		defer told.mu.Unlock()
		for _, texts := range told.texts {
			n += len(texts)
		}
		return n
	}
	until(t, "more is acknowledged", func(first int) bool { return count() > first+200 }, count())
}

// until looks until a condition holds, for as long as a server may need.
func until[T any](t *testing.T, what string, holds func(T) bool, with T) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !holds(with) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// readAll gives the data of all messages of a channel and sees that the seqs
// are dense.
func readAll(t *testing.T, s store.Store, channel string) (texts []string) {
	t.Helper()
	after := uint64(0)
	for {
		page, err := s.Read(t.Context(), store.Query{Channel: channel, After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Messages {
			if m.Seq != after+1 {
				t.Fatalf("%s: seq %d comes after %d", channel, m.Seq, after)
			}
			after = m.Seq
			texts = append(texts, string(m.Data))
		}
		if !page.More {
			return texts
		}
	}
}

func check(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
}

func TestVanishingPacketsAreNotWaitedForLong(t *testing.T) {
	p, url := newProxy(t, server.Database(t))
	s := open(t, impatient(url))
	do[store.Appended](t, s, newAppend("room:1", "1"))
	for _, m := range []mode{stalling, deaf} {
		p.set(m)
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				begin := time.Now()
				var err error
				switch i % 4 {
				case 0:
					_, err = s.Heads(t.Context(), "room:1")
				case 1:
					_, err = s.Read(t.Context(), store.Query{Channel: "room:1", Limit: 1})
				default:
					_, err = s.Do(t.Context(), newAppend(fmt.Sprintf("room:%d", i), "1"))
				}
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("while packets vanish: %v", err)
				}
				if took := time.Since(begin); took > soon {
					t.Errorf("while packets vanish a call took %v", took)
				}
			})
		}
		calls.Wait()
		p.set(passing)
		recovered(t, s)
	}
	check(t, s)
}

// recovered waits until a store takes appends and gives heads again.
func recovered(t *testing.T, s store.Store) {
	t.Helper()
	until(t, "the store works again", func(string) bool {
		_, err := s.Do(t.Context(), newAppend("recovered:1", "1"))
		if err == nil {
			_, err = s.Heads(t.Context(), "recovered:1")
		}
		return err == nil
	}, "")
}

func TestACutConnectionIsReplaced(t *testing.T) {
	p, url := newProxy(t, server.Database(t))
	s := open(t, impatient(url))
	for range 5 {
		do[store.Appended](t, s, newAppend("room:1", "1"))
		p.cut()
		// A read does not even notice.
		if _, err := s.Heads(t.Context(), "room:1"); err != nil {
			t.Errorf("a read after a cut: %v", err)
		}
		recovered(t, s)
	}
	check(t, s)
}

func TestACommitWhoseAnswerIsLostIsFoundByItsKey(t *testing.T) {
	direct := server.Database(t)
	p, url := newProxy(t, direct)
	s, other := open(t, impatient(url)), open(t, impatient(direct))
	do[store.Appended](t, s, newAppend("room:1", "1")) // so that the statements are prepared

	p.set(deaf)
	a := newAppend("room:1", "2")
	a.Key, a.Content, a.Expires = []byte("key"), []byte("content"), a.Time+100_000
	lost := make(chan error, 1)
	go func() {
		_, err := s.Do(t.Context(), a)
		lost <- err
	}()
	until(t, "the message is committed", func(string) bool {
		heads, err := other.Heads(t.Context(), "room:1")
		if err != nil {
			t.Fatal(err)
		}
		return heads[0].Top == 2
	}, "")
	p.cut()
	if err := <-lost; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an append whose answer was lost: %v", err)
	}
	p.set(passing)
	recovered(t, s)
	first, again := a.ID, newAppend("room:1", "2")
	again.Key, again.Content, again.Expires = a.Key, a.Content, a.Expires
	got := do[store.Appended](t, s, again)
	if !got.Duplicate || got.Seq != 2 || got.ID != first {
		t.Errorf("the repeat gave %+v, not the first result", got)
	}
	check(t, s)
}

// hold locks the head of a channel until the function that it gives is called.
func hold(t *testing.T, url, channel string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = conn.Close(context.Background()) })
	t.Cleanup(release)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM skein.channel WHERE name = $1 FOR UPDATE`, []byte(channel)); err != nil {
		t.Fatal(err)
	}
	return release
}

func TestAGroupThatWaitsIsWithdrawn(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url, Writers: 1, Timeout: 20 * time.Second})
	do[store.Appended](t, s, newAppend("room:1", "1"))
	release := hold(t, url, "room:1")
	taken := make(chan error, 1)
	go func() {
		_, err := s.Do(t.Context(), newAppend("room:1", "2"))
		taken <- err
	}()
	blocked(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Do(ctx, newAppend("room:1", "3")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a group that waits behind another: %v", err)
	}
	release()
	if err := <-taken; err != nil {
		t.Errorf("the group that was being committed: %v", err)
	}
	if got := strings.Join(readAll(t, s, "room:1"), " "); got != "1 2" {
		t.Errorf("the channel holds %s", got)
	}
}

// blocked waits until a session waits for a lock.
func blocked(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	until(t, "a writer waits for a lock", func(string) bool {
		var n int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}, "")
}

func TestAHeadThatStaysLockedIsUnavailable(t *testing.T) {
	url := server.Database(t)
	s := open(t, impatient(url))
	do[store.Appended](t, s, newAppend("room:1", "1"))
	release := hold(t, url, "room:1")
	if _, err := s.Do(t.Context(), newAppend("room:1", "2")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	release()
	if got := do[store.Appended](t, s, newAppend("room:1", "3")); got.Seq != 2 {
		t.Errorf("got %+v: what was refused has left a trace", got)
	}
}

func TestCloseRefusesWhatWaits(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url, Writers: 1, Timeout: 20 * time.Second})
	do[store.Appended](t, s, newAppend("room:1", "1"))
	release := hold(t, url, "room:1")
	answers := make(chan error, 10)
	go func() {
		_, err := s.Do(t.Context(), newAppend("room:1", "2"))
		answers <- err
	}()
	blocked(t, url)
	waiting := make(chan struct{}, 9)
	for range 9 {
		go func() {
			waiting <- struct{}{}
			_, err := s.Do(t.Context(), newAppend("room:1", "3"))
			answers <- err
		}()
	}
	for range 9 {
		<-waiting
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for range 9 {
		if err := <-answers; !errors.Is(err, store.ErrClosed) {
			t.Errorf("a group that waits: %v", err)
		}
	}
	release()
	if err := <-answers; err != nil {
		t.Errorf("the group that was being committed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := s.Do(t.Context(), newAppend("room:1", "4")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Heads(t.Context(), "room:1"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseDoesNotWaitForPacketsThatVanish(t *testing.T) {
	p, url := newProxy(t, server.Database(t))
	s := open(t, impatient(url))
	do[store.Appended](t, s, newAppend("room:1", "1"))
	p.set(stalling)
	answers := make(chan error, 4)
	for i := range cap(answers) {
		go func() {
			var err error
			if i%2 == 0 {
				_, err = s.Heads(t.Context(), "room:1")
			} else {
				_, err = s.Do(t.Context(), newAppend("room:1", "2"))
			}
			answers <- err
		}()
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > soon {
		t.Errorf("Close took %v", took)
	}
	for range cap(answers) {
		if err := <-answers; !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a call meanwhile: %v", err)
		}
	}
}

// After a recovery from an archive the timeline is another one, and what was
// committed last may be lost: a store that runs meanwhile finds out.
func TestARecoveryMakesANewEpoch(t *testing.T) {
	own := pgtest.Start(t)
	url := own.URL("postgres")
	s := open(t, impatient(url))
	before := do[store.Appended](t, s, newAppend("room:1", "1"))
	own.Exec(t, url, `ALTER SYSTEM SET restore_command = 'false'`)
	own.Stop()
	signal := filepath.Join(own.Folder(), "data", "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(signal, 0o666); err != nil { // whatever the umask is: the server removes it
		t.Fatal(err)
	}
	own.Restart(t)
	recovered(t, s)
	heads, err := s.Heads(t.Context(), "room:1")
	if err != nil {
		t.Fatal(err)
	}
	if heads[0].Epoch == before.Epoch || heads[0].Top != 1 {
		t.Errorf("the epoch was %q, the head is %+v", before.Epoch, heads[0])
	}
}
