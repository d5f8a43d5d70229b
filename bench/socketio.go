package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/skein-realtime/skein/internal/load"
)

// A broadcast's event, with the type of Engine.IO in front.
const ioEvent = 115

// ioPeers are the programs that are measured: one with our library, and the
// reference in Node. Each does the same for a POST to /broadcast, and collects
// its garbage when it gets SIGUSR2.
type ioPeers struct {
	bench    *bench
	node     string // its interpreter; empty: it cannot be run
	why      string // it cannot
	script   string
	versions string
}

// socketIO measures sockets of Socket.IO clients, next to the reference.
func socketIO(ctx context.Context, b *bench) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", b.programs+"/", "github.com/skein-realtime/skein/bench/io")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	p := ioPeers{bench: b}
	if err := p.find(ctx); err != nil {
		return err
	}
	if p.node == "" {
		fmt.Println("socketio: nothing to compare with:", p.why)
	}
	sockets, err := p.rounds(ctx, ioLoad{name: "ws", clients: pick(b, 4_000, 1_000)})
	if err != nil {
		return err
	}
	p.report(sockets)
	polls, err := p.rounds(ctx, ioLoad{name: "polling", clients: pick(b, 500, 200), polling: true})
	if err != nil {
		return err
	}
	p.reportPolling(polls)
	p.reportWrong(append(sockets, polls...))
	return nil
}

// find looks for the reference.
func (p *ioPeers) find(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/skein-realtime/skein").Output()
	if err != nil {
		return fmt.Errorf("looking for the module: %w", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "test", "socketio")
	p.script = filepath.Join(dir, "reference", "broadcast.mjs")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "socket.io")); err != nil {
		p.why = "its modules are missing; run npm ci in test/socketio"
		return nil
	}
	node, err := exec.LookPath("node")
	if err != nil {
		p.why = "node is not installed"
		return nil
	}
	ask := exec.CommandContext(ctx, node, "-p", `process.version + ", socket.io " + require("socket.io/package.json").version`)
	ask.Dir = dir
	if out, err = ask.Output(); err != nil {
		p.why = "node does not run: " + err.Error()
		return nil
	}
	p.node, p.versions = node, "Node "+strings.TrimSpace(string(out))
	return nil
}

var ioAddress = regexp.MustCompile(`listening on (http://\S+)`)

// The programs.
type ioProgram int

const (
	ioOurs  ioProgram = iota
	ioNode            // the reference
	ioFloor           // bare writes
)

// start starts one of the programs on the server's core.
func (p *ioPeers) start(which ioProgram) (*child, error) {
	cmd := exec.Command(filepath.Join(p.bench.programs, "io"), fmt.Sprintf("-floor=%t", which == ioFloor))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if p.bench.profiles != "" {
		cmd.Env = append(cmd.Env, "GODEBUG=memprofilerate=16384") // by default few of some thousand sockets are seen
	}
	if which == ioNode {
		// Only what runs in the interpreter can start its collector.
		const collect = `data:text/javascript,process.on("SIGUSR2",()=>{gc();gc()})`
		cmd = exec.Command(p.node, "--expose-gc", "--import", collect, p.script)
		cmd.Env = append(os.Environ(), "NODE_ENV=production")
	}
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, serverCore); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, proc: load.Process{PID: cmd.Process.Pid}}
	r := bufio.NewReader(said)
	for c.url == "" {
		line, err := r.ReadString('\n')
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("%s did not say where it listens: %w", cmd.Path, err)
		}
		if m := ioAddress.FindStringSubmatch(line); m != nil {
			c.url = m[1]
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return c, nil
}

// ioLoad is what both programs have to bear.
type ioLoad struct {
	name    string
	clients int
	polling bool
}

// ioRun is what one program did in one round.
type ioRun struct {
	dialed    time.Duration
	dialCPU   time.Duration
	kept      float64 // KiB of a connection, after collecting
	standing  float64 // KiB of a connection, as it stands
	empty     float64 // MiB of the program before the first one
	one, many *load.SocketIOReport
}

// ioRound is all programs in turn; node is nil where it cannot be run, and floor
// where there is none.
type ioRound struct {
	clients           int
	ours, node, floor *ioRun
}

func (p *ioPeers) rounds(ctx context.Context, l ioLoad) ([]ioRound, error) {
	list := make([]ioRound, pick(p.bench, 3, 1))
	for i := range list {
		r := &list[i]
		r.clients = l.clients
		var err error
		if r.ours, err = p.run(ctx, l, ioOurs); err != nil {
			return nil, err
		}
		if !l.polling {
			if r.floor, err = p.run(ctx, l, ioFloor); err != nil {
				return nil, fmt.Errorf("floor: %w", err)
			}
		}
		if p.node == "" {
			continue
		}
		if r.node, err = p.run(ctx, l, ioNode); err != nil {
			return nil, fmt.Errorf("node: %w", err)
		}
	}
	return list, nil
}

// ioTrial is one program while it is measured.
type ioTrial struct {
	*ioPeers
	ioLoad
	which ioProgram
	c     *child
	all   *load.SocketIO
	r     ioRun
	fresh int64 // bytes before the first connection
}

// run starts a program and measures it: opening, memory, broadcasts. The floor
// has broadcasts alone.
func (p *ioPeers) run(ctx context.Context, l ioLoad, which ioProgram) (*ioRun, error) {
	c, err := p.start(which)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	t := &ioTrial{ioPeers: p, ioLoad: l, which: which, c: c}
	if t.all, err = load.NewSocketIO(load.SocketIOConfig{URL: c.url, Polling: l.polling, Size: ioEvent}); err != nil {
		return nil, err
	}
	defer t.all.Close()
	steps := []func(context.Context) error{t.open, t.weigh, t.broadcast}
	if which == ioFloor {
		steps = []func(context.Context) error{t.open, t.broadcast}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return &t.r, nil
}

// open opens the connections.
func (t *ioTrial) open(ctx context.Context) (err error) {
	if err := t.warm(ctx); err != nil {
		return err
	}
	if t.fresh, err = t.c.proc.RSS(); err != nil {
		return err
	}
	t.r.empty = float64(t.fresh) / (1 << 20)
	spent, err := t.c.proc.CPU()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := t.all.Dial(ctx, t.clients); err != nil {
		return err
	}
	t.r.dialed = time.Since(begun)
	now, err := t.c.proc.CPU()
	t.r.dialCPU = now - spent
	return err
}

// warm has a few clients come and go, so that what a program needs for its first
// connection is not taken for a share of each.
func (t *ioTrial) warm(ctx context.Context) error {
	first, err := load.NewSocketIO(load.SocketIOConfig{URL: t.c.url, Polling: t.polling, Size: ioEvent})
	if err != nil {
		return err
	}
	err = errors.Join(sleep(ctx, time.Second), first.Dial(ctx, 50))
	first.Close()
	if err != nil || t.which == ioFloor {
		return err
	}
	return errors.Join(sleep(ctx, settled), t.c.cmd.Process.Signal(syscall.SIGUSR2), sleep(ctx, 3*time.Second))
}

// settled is how long Node gives no pages back after it has started, whatever it
// collects.
const settled = 10 * time.Second

// weigh reads the memory, as it stands and after a collection.
func (t *ioTrial) weigh(ctx context.Context) error {
	each := func(after time.Duration) (float64, error) {
		if err := sleep(ctx, after); err != nil {
			return 0, err
		}
		rss, err := t.c.proc.RSS()
		return float64(rss-t.fresh) / float64(t.clients) / 1024, err
	}
	var err error
	if t.r.standing, err = each(settled); err != nil {
		return err
	}
	if err := t.c.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	if t.r.kept, err = each(3 * time.Second); err != nil {
		return err
	}
	if t.bench.profiles == "" || t.which != ioOurs {
		return nil
	}
	return t.bench.recordHeap(ctx, t.c, "socketio-"+t.name+"-heap")
}

// How many broadcasts there are, and how many of them are under way when there is
// a line for that.
const (
	ioWarmup = 10 // Node compiles what runs often while it runs
	ioCount  = 60
	ioWindow = 10
)

func (t *ioTrial) broadcast(ctx context.Context) (err error) {
	if _, err := t.all.Broadcast(ctx, "/broadcast", ioWarmup, 1, t.c.proc); err != nil {
		return err
	}
	if t.r.one, err = t.profiled(ctx, ioCount, 1); err != nil || t.which == ioFloor {
		return err
	}
	t.r.many, err = t.profiled(ctx, 2*ioCount, ioWindow)
	return err
}

// profiled makes broadcasts, and a CPU profile of our program meanwhile, when
// profiles are wanted.
func (t *ioTrial) profiled(ctx context.Context, count, window int) (*load.SocketIOReport, error) {
	recorded := make(chan error, 1)
	if t.bench.profiles == "" || t.which != ioOurs {
		recorded <- nil
	} else {
		go func() {
			recorded <- t.bench.record(ctx, t.c, fmt.Sprintf("socketio-%s-%d", t.name, window), time.Second)
		}()
	}
	r, err := t.all.Broadcast(ctx, "/broadcast", count, window, t.c.proc)
	return r, errors.Join(err, <-recorded)
}

// recordHeap keeps a profile of what is on a program's heap.
func (b *bench) recordHeap(ctx context.Context, c *child, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/debug/pprof/heap?gc=1", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("heap: %s", res.Status)
	}
	return os.WriteFile(filepath.Join(b.profiles, name+".pprof"), text, 0o644)
}

// between sets a line's numbers from the round whose ratio is in the middle, and
// gives that round. Its note tells how far apart the ratios are.
func (p *ioPeers) between(l *line, rounds []ioRound, of func(*ioRun) float64) ioRound {
	value := func(r ioRound) float64 {
		if r.node == nil {
			return of(r.ours)
		}
		return of(r.ours) / of(r.node)
	}
	sorted := slices.SortedStableFunc(slices.Values(rounds), func(a, b ioRound) int { return cmp.Compare(value(a), value(b)) })
	r := sorted[len(sorted)/2]
	l.Measured = of(r.ours)
	if r.node == nil {
		l.MaxRatio = 0 // what it could not be compared with is a line of its own
		return r
	}
	l.Floor = of(r.node)
	if len(sorted) > 1 {
		l.Note = fmt.Sprintf("; rounds %.2fx to %.2fx", value(sorted[0]), value(sorted[len(sorted)-1]))
	}
	return r
}

// perDelivery is the processor time of one delivery, in µs.
func (r *ioRun) perDelivery() float64     { return r.one.PerDelivery() }
func (r *ioRun) perDeliveryMany() float64 { return r.many.PerDelivery() }
func (r *ioRun) memory() float64          { return r.kept }
func (r *ioRun) opening() float64         { return float64(r.dialed.Microseconds()) / 1000 }

// report prints the lines of websockets; the floor is the reference.
func (p *ioPeers) report(rounds []ioRound) {
	n := rounds[0].clients
	l := line{Name: fmt.Sprintf("socket.io: connect %d sockets", n), Unit: "ms", MaxRatio: 1}
	r := p.between(&l, rounds, (*ioRun).opening)
	l.Note = r.both(func(r *ioRun) string {
		return fmt.Sprintf("%.0f/s, CPU of one %.0f µs, server %.0f%% busy", float64(n)/r.dialed.Seconds(), r.dialCPU.Seconds()*1e6/float64(n), 100*r.dialCPU.Seconds()/r.dialed.Seconds())
	}) + l.Note
	if p.versions != "" {
		l.Note += " (" + p.versions + ")"
	}
	p.bench.report(l)

	l = line{Name: "socket.io: RSS of an idle socket", Unit: "KiB", MaxRatio: 0.25}
	r = p.between(&l, rounds, (*ioRun).memory)
	l.Note = r.both(memoryNote) + l.Note
	p.bench.report(l)

	l = line{Name: fmt.Sprintf("socket.io: delivery to %d sockets, 1 in flight", n), Unit: "µs"}
	r = p.between(&l, rounds, (*ioRun).perDelivery)
	l.Note = r.both(oneNote) + l.Note
	p.bench.report(l)

	// Each delivery is a write(2) of its own then, which costs half of all that the
	// reference does. So this is held against that.
	p.bench.report(line{
		Name: fmt.Sprintf("socket.io: delivery to %d sockets, 1 in flight, over bare writes", n), Unit: "µs", MaxRatio: 1.25,
		Measured: r.ours.perDelivery(), Floor: r.floor.perDelivery(),
		Note: fmt.Sprintf("bare writes: server %.0f%% busy", 100*r.floor.one.CPU.Seconds()/r.floor.one.Took.Seconds()),
	})

	l = line{Name: fmt.Sprintf("socket.io: delivery to %d sockets, %d in flight", n, ioWindow), Unit: "µs", MaxRatio: 0.5}
	r = p.between(&l, rounds, (*ioRun).perDeliveryMany)
	l.Note = r.both(manyNote) + l.Note
	p.bench.report(l)
	if p.node == "" {
		p.bench.report(line{Name: "socket.io: budgets that need the reference", Measured: 3, none: true, Note: p.why})
	}
}

// both says something about ours and, where it ran, about Node.
func (r ioRound) both(say func(*ioRun) string) string {
	if r.node == nil {
		return say(r.ours)
	}
	return say(r.ours) + "; Node: " + say(r.node)
}

func oneNote(r *ioRun) string { return deliveryNote(r.one) }

func manyNote(r *ioRun) string { return deliveryNote(r.many) }

func memoryNote(r *ioRun) string {
	return fmt.Sprintf("%.1f KiB before collecting, the program alone %.0f MiB", r.standing, r.empty)
}

func deliveryNote(r *load.SocketIOReport) string {
	return fmt.Sprintf("%.0f/s, %.1f joined, a broadcast takes p50 %.1f ms, p99 %.1f ms, server %.0f%% busy",
		r.PerSecond(), r.Joined, r.Latency.P50, r.Latency.P99, 100*r.CPU.Seconds()/max(r.Took.Seconds(), 1e-9))
}

// reportPolling prints the lines of long polling, which have no budget.
func (p *ioPeers) reportPolling(rounds []ioRound) {
	n := rounds[0].clients
	l := line{Name: fmt.Sprintf("socket.io: RSS of a polling session, %d of them", n), Unit: "KiB"}
	r := p.between(&l, rounds, (*ioRun).memory)
	l.Note = r.both(memoryNote) + l.Note
	p.bench.report(l)
	l = line{Name: fmt.Sprintf("socket.io: delivery to %d polling sessions, 1 in flight", n), Unit: "µs"}
	r = p.between(&l, rounds, (*ioRun).perDelivery)
	l.Note = r.both(oneNote) + l.Note
	p.bench.report(l)
	l = line{Name: fmt.Sprintf("socket.io: delivery to %d polling sessions, %d in flight", n, ioWindow), Unit: "µs"}
	r = p.between(&l, rounds, (*ioRun).perDeliveryMany)
	l.Note = r.both(manyNote) + l.Note
	p.bench.report(l)
}

// reportWrong counts what our server did wrong; what Node did is told.
func (p *ioPeers) reportWrong(rounds []ioRound) {
	var ours, node, expected int64
	var trouble []error
	count := func(r *ioRun, wrong *int64) {
		for _, b := range []*load.SocketIOReport{r.one, r.many} {
			*wrong += b.Lost + b.Doubled + b.Strange + b.Disconnected
			trouble = append(trouble, b.Trouble)
		}
	}
	for _, r := range rounds {
		count(r.ours, &ours)
		expected += r.ours.one.Expected + r.ours.many.Expected
		if r.node != nil {
			count(r.node, &node)
		}
	}
	l := line{Name: "socket.io: lost, doubled, of another size, or disconnected", Measured: float64(ours), none: true,
		Note: fmt.Sprintf("of %d deliveries, over all rounds", expected)}
	if p.node != "" {
		l.Note += fmt.Sprintf("; Node: %d", node)
	}
	if err := errors.Join(trouble...); err != nil {
		l.Note += "; " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	p.bench.report(l)
}
