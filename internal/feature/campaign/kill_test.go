package campaign_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/pgtest"
)

// openStore opens a PostgreSQL by its URL, or a SQLite by its folder.
func openStore(ctx context.Context, where string) (store.Store, error) {
	if strings.HasPrefix(where, "postgres") {
		return postgres.Open(ctx, postgres.Config{URL: where, Writers: 2, Readers: 2})
	}
	return sqlite.Open(ctx, sqlite.Config{Dir: where})
}

// runChild carries out what there is to do in a store until it is killed, or its standard
// input ends. It says on standard output how many users it has pushed to, again and again.
func runChild(where string) int {
	st, err := openStore(context.Background(), where)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f := campaign.New(campaign.Config{
		Verbs: verb.NewRegistry(verb.NewMemo(0, 0), 64), Categories: &categories{}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	f.Start(st, st.Shared())
	f.Run()
	over := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for running, told := true, int64(-1); running; {
		if users := f.Metrics().Users.Load(); users != told {
			told = users
			fmt.Println(users)
		}
		select {
		case <-tick.C:
		case <-over:
			running = false
		}
	}
	f.Close()
	if err := st.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is a copy of the test binary.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t *testing.T, where string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+where)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, in, bufio.NewReader(out)}
	c.await(t, 0)
	return c
}

// await waits until the child has pushed to so many users.
func (c *child) await(t *testing.T, users int64) {
	t.Helper()
	for {
		line, err := c.out.ReadString('\n')
		n, wrong := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil || wrong != nil {
			t.Fatalf("the child said %q, %v", line, err)
		}
		if n >= users {
			return
		}
	}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.in.Close()
	_ = c.cmd.Wait() // it was killed
}

// A process that carries out a campaign for 20,000 users is killed again and again.
func TestKilledProcessesLeaveNobodyOutAndDoubleNobody(t *testing.T) {
	const users = 20_000
	dir := t.TempDir()
	st := openSQLite(t, dir)
	n := startOn(t, st, nil)
	n.people(0, users)
	n.Close() // what is started from now on is for the children
	idle := startIdle(t, st)
	c := idle.must("create", `{"name":"x","data":{"text":"hello"},"to":{"where":{}},"pace":20000}`)
	idle.must("start", of{c.ID})
	idle.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	rnd := rand.New(rand.NewPCG(3, 3))
	kills, inside := 0, 0
	for progress := int64(0); progress < users*3/4; kills++ {
		p := startChild(t, dir)
		p.await(t, 1+rnd.Int64N(3000))
		p.kill(t)
		st = openSQLite(t, dir)
		found, err := st.Campaign(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := st.PushedMessages(t.Context(), messageOf(t, found))
		if err != nil {
			t.Fatal(err)
		}
		progress = progressOf(t, found)
		if sum := pushed[0].Totals.Queued; sum != progress {
			t.Fatalf("after kill %d the cursor says %d, and %d have the message", kills, progress, sum)
		}
		if progress > 0 && progress < users {
			inside++
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if inside < 3 {
		t.Errorf("only %d of %d kills were in the middle", inside, kills)
	}
	st = openSQLite(t, dir)
	last := startOn(t, st, nil)
	done := last.awaitState(c.ID, "done")
	last.each(c.ID, names(0, users))
	if done.Progress != users || done.Counts.Queued != users {
		t.Errorf("got %+v, counts %+v", done, done.Counts)
	}
	if err := st.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
	last.Close()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// Two processes share a database: one works, is killed, and the other goes on.
func TestAnotherProcessTakesOver(t *testing.T) {
	const users = 5000
	url := pgtest.Start(t).Database(t)
	st, err := openStore(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	idle := startIdle(t, st)
	c := idle.must("create", `{"name":"x","data":1,"to":{"list":true},"pace":4000}`)
	idle.must("add", campaign.AddParams{ID: c.ID, Users: names(0, users)})
	idle.must("start", of{c.ID})

	p := startChild(t, url)
	running := idle.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 500 })
	claimed, err := st.Campaign(t.Context(), c.ID)
	if err != nil || claimed.Owner == "" {
		t.Fatalf("nobody has it: %+v, %v", claimed, err)
	}
	p.kill(t)
	if running.State != "running" {
		t.Fatalf("the first one was too quick: %+v", running)
	}

	// The claim has to run out; this node's clock goes ahead in place of the time.
	heir := startIdle(t, st)
	heir.off.Store(int64(31 * time.Second))
	heir.Run()
	done := heir.awaitState(c.ID, "done")
	heir.each(c.ID, names(0, users))
	if done.Progress != users || done.Counts.Queued != users {
		t.Errorf("got %+v, counts %+v", done, done.Counts)
	}
}

// Nodes that share a database never work on one campaign at the same time.
func TestNodesShareTheWork(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	open := func() *node {
		st, err := openStore(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		n := startOn(t, st, nil)
		t.Cleanup(func() {
			n.Close()
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	here, there := open(), open()
	here.people(0, 600)
	var ids []string
	for i := range 8 {
		n := []*node{here, there}[i%2]
		c := n.must("create", `{"name":"x","data":1,"to":{"where":{}}}`)
		ids = append(ids, c.ID)
		n.must("start", of{c.ID})
	}
	for i, id := range ids {
		n := []*node{there, here}[i%2] // the other one
		n.awaitState(id, "done")
		n.each(id, names(0, 600))
	}
	if lost := here.Metrics().Lost.Load() + there.Metrics().Lost.Load(); lost != 0 {
		t.Errorf("%d times a campaign was taken away", lost)
	}

	// What one changes, the other notices at its next step.
	c := here.slow(100_000 / 20)
	here.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 20 })
	c = there.must("pause", of{c.ID})
	after := there.get(c.ID)
	if after.State != "paused" || total(&after) != after.Progress {
		t.Errorf("got %+v, counts %+v", after, after.Counts)
	}
	again := there.must("resume", of{c.ID})
	there.await(again.ID, "more progress", func(c *campaign.Campaign) bool { return c.Progress > after.Progress+20 })
	c = here.must("recall", of{again.ID})
	if c.Counts.Queued != 0 || c.Counts.Recalled != c.Progress {
		t.Errorf("got %+v, counts %+v", c, c.Counts)
	}
}

// messageOf is the id of what a campaign pushes.
func messageOf(t *testing.T, c store.Campaign) string {
	t.Helper()
	var plan struct{ Frozen struct{ ID string } }
	if err := json.Unmarshal(c.Plan, &plan); err != nil {
		t.Fatal(err)
	}
	return plan.Frozen.ID
}

// progressOf is how many users its cursor counts.
func progressOf(t *testing.T, c store.Campaign) int64 {
	t.Helper()
	text, _, _ := strings.Cut(c.Cursor, ":")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
