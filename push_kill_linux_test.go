package skein_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/skein-realtime/skein"
)

// pushesOf names, in the environment of a copy of the test binary that runs one test
// alone, where it is to keep what is pushed: a directory or a database.
const pushesOf = "PUSHES_OF_TEST"

func pushStore(place string) skein.Config {
	if strings.Contains(place, "://") {
		cfg := pushConfig("")
		cfg.Database = place
		return cfg
	}
	return pushConfig(place)
}

// servePushes is what the copy does instead of the test; false: this is no copy.
func servePushes(t *testing.T) bool {
	place := os.Getenv(pushesOf)
	if place == "" {
		return false
	}
	s, err := newOnFreePort(pushStore(place))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := s.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	return true
}

// pushServer starts a copy of a test.
func pushServer(t *testing.T, test, place string) (*childProcess, *testServer) {
	t.Helper()
	c := &childProcess{log: &logbook{}}
	c.cmd = exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.count=1")
	c.cmd.Env = append(os.Environ(), pushesOf+"="+place)
	c.cmd.Stderr = c.log
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // when the test has not ended it
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	c.out = bufio.NewReader(out)
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the server gives no address: %v\n%s", err, c.log)
	}
	c.addr = strings.TrimSpace(line)
	return c, &testServer{t: t, addr: c.addr}
}

// died kills a server and waits for its end.
func (c *childProcess) died(t *testing.T) {
	t.Helper()
	c.kill(t)
	_ = c.in.Close()
	_ = c.cmd.Wait() // it was killed
}

// TestAKilledServerForgetsNoPush kills a server at random moments while authors push,
// devices acknowledge, and a campaign is under way. The next one has all that was accepted,
// for everybody once; what was acknowledged stays so, the rest comes; and the campaign
// goes on until it has reached everybody once.
func TestAKilledServerForgetsNoPush(t *testing.T) {
	if servePushes(t) {
		return
	}
	pushCluster.hold(t)
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killed(t, t.TempDir(), 5, true)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		killed(t, pushCluster.server(t).Database(t), 4, false) // a claim on a campaign lasts for longer than this test
	})
}

func killed(t *testing.T, place string, kills int, campaign bool) {
	const audience, pace = 1500, 250
	test, _, _ := strings.Cut(t.Name(), "/")
	rnd := rand.New(rand.NewPCG(5, 5))
	crowd := newCrowd(t, 4)
	others := 0
	id := ""
	for round := range kills {
		c, s := pushServer(t, test, place)
		if round == 0 && campaign {
			list := append([]string{}, crowd.users...)
			for i := len(list); i < audience; i++ {
				list = append(list, fmt.Sprint("user", i))
			}
			made := s.calls("campaigns.create", fmt.Sprintf(`{"name":"winter","to":%s,"data":"campaign","pace":%d}`, users(list...), pace))
			id = fmt.Sprintf(`{"id":%q}`, made["id"])
			s.calls("campaigns.start", id)
			others = 1
		}
		if round == 1 && campaign {
			if state := s.calls("campaigns.get", id); state["state"] != "running" || state["progress"] == 0.0 {
				t.Errorf("after the first kill the campaign is %v", state)
			}
		}
		crowd.begin(s, 3)
		crowd.more(int64(3 + rnd.IntN(20)))
		if campaign { // in its midst
			before := -1.0
			eventually(t, "the campaign goes on", func() bool {
				now := s.calls("campaigns.get", id)
				progress := now["progress"].(float64)
				if before < 0 {
					before = progress
				}
				return progress > before || now["state"] == "done"
			})
		}
		c.died(t)
		crowd.work.Wait()
	}
	c, s := pushServer(t, test, place)
	if campaign {
		state := map[string]any{}
		eventually(t, "the campaign is done", func() bool { state = s.calls("campaigns.get", id); return state["state"] == "done" })
		if state["progress"] != float64(audience) || state["audience"] != float64(audience) {
			t.Errorf("got %v", state)
		}
		if got := s.outcomes(state["message"].(string)); len(got) != audience {
			t.Errorf("%d users have the message of the campaign, want %d", len(got), audience)
		}
	}
	crowd.agree(s, others)
	c.end(t)
}

// TestAFullDiskLosesNoPush takes the room on a server's disk away while authors push and
// devices acknowledge: all are told so, nothing that was accepted is lost, what is there
// can be read, and it all goes on by itself.
func TestAFullDiskLosesNoPush(t *testing.T) {
	if servePushes(t) {
		return
	}
	t.Parallel()
	dir := t.TempDir()
	c, s := pushServer(t, t.Name(), dir)
	disk := limitedDisk(c, dir)
	crowd := newCrowd(t, 3)
	crowd.begin(s, 3)
	patient := s.device("patient", "")
	for round, full := range disk.full {
		crowd.more(10)
		s.calls("push", pushParams("patient", "to be acknowledged", ""))
		waiting := patient.gets(round + 1)[round]
		full(t)
		crowd.isRefused()
		if status, out := s.api("push", pushParams("crowd0", "refused", "")); status != 503 || out["code"] != "unavailable" {
			t.Errorf("the API answers %d %v", status, out)
		}
		d := s.device("crowd0", "")
		if page := d.must(`{"type":"history","channel":"@inbox"}`); len(page.Messages) == 0 {
			t.Error("nothing can be read")
		}
		patient.refused(ackFrame(waiting), "unavailable")
		d.refused(fmt.Sprintf(`{"type":"mark","channel":"@inbox","read":%d}`, 1_000_000), "unavailable")
		d.refused(`{"type":"mute","category":"promo","muted":true}`, "unavailable")
		d.leave()
		disk.room(t)
	}
	crowd.more(10)
	if n := patient.acks(patient.msgs...); n != len(disk.full) {
		t.Errorf("%d of the %d acknowledgements that were refused are made up for", n, len(disk.full))
	}
	patient.leave()
	crowd.stop(s)
	crowd.agree(s, 0)
	c.end(t)
}
