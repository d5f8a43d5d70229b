package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/load"
)

// gateway measures what an application's back end asks of the server: messages to
// the members of a group, who is online, and being asked about messages.
func gateway(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp(b.disk, "skein-bench-gateway-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := b.members(ctx, dir); err != nil {
		return fmt.Errorf("members: %w", err)
	}
	if err := b.webhook(ctx); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

// post calls a verb over HTTP and gives the answer.
func (b *bench) post(ctx context.Context, c *child, verb string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/api/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", verb, res.Status, answer)
	}
	return answer, err
}

const group = "load:group"

// members measures a group whose members are all online.
func (b *bench) members(ctx context.Context, dir string) error {
	c, err := b.server("epoll", "-data", filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer c.stop()
	n := pick(b, 10_000, 3_000)
	token, err := b.tokens(n)
	if err != nil {
		return err
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "user-" + strconv.Itoa(i)
	}
	if err := b.connectMembers(ctx, c, token, ids); err != nil {
		return err
	}
	crowd, err := newCrowd(ctx, c.url, n, token)
	if err != nil {
		return err
	}
	defer crowd.close()
	for _, window := range []int{1, 10} {
		if err := b.toMembers(ctx, c, crowd, n, window); err != nil {
			return err
		}
	}
	return b.online(ctx, c, ids)
}

// connectMembers makes everybody a member, and measures that and what it adds to
// connecting.
func (b *bench) connectMembers(ctx context.Context, c *child, token func(int) string, ids []string) error {
	// connect opens a connection for each and gives the server's time for one in µs.
	connect := func() (float64, error) {
		s, err := load.New(load.Config{URL: c.url, Key: b.key})
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Close() }()
		before, err := c.proc.CPU()
		if err != nil {
			return 0, err
		}
		err = s.Dial(ctx, len(ids), func(i int) load.Opening { return load.Opening{Token: token(i)} }, nil)
		after, err2 := c.proc.CPU()
		return float64((after - before).Microseconds()) / float64(len(ids)), errors.Join(err, err2)
	}
	// rounds waits between them until the connections of the one before are gone.
	rounds := func() (float64, error) {
		return middle(pick(b, 3, 1), func() (float64, error) {
			us, err := connect()
			if err == nil {
				err = sleep(ctx, 2*time.Second)
			}
			return us, err
		}, func(us float64) float64 { return us })
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	bare, err := rounds()
	if err != nil {
		return err
	}
	for groups := range 10 {
		body := fmt.Appendf(nil, `{"channel":"%s%s","users":%s}`, group, strings.Repeat("-more", groups), list)
		before, err := c.proc.CPU()
		if err != nil {
			return err
		}
		begun := time.Now()
		if _, err := b.post(ctx, c, "members.add", body); err != nil {
			return err
		}
		took := time.Since(begun)
		after, err := c.proc.CPU()
		if err != nil {
			return err
		}
		if groups == 0 {
			b.report(line{Name: fmt.Sprintf("members.add of %d users", len(ids)), Unit: "ms", Measured: float64(took.Microseconds()) / 1000,
				Note: fmt.Sprintf("one request; CPU %d ms", (after - before).Milliseconds())})
		}
		if groups != 0 && groups != 9 {
			continue
		}
		us, err := rounds()
		if err != nil {
			return err
		}
		b.report(line{Name: fmt.Sprintf("connect with HS256 token, member of %d", groups+1), Unit: "µs", Measured: us, Floor: bare,
			Note: fmt.Sprintf("CPU of a connection, %d connections; the floor is a member of none", len(ids))})
	}
	// One group is enough from here on.
	for groups := 1; groups < 10; groups++ {
		body := fmt.Appendf(nil, `{"channel":"%s%s","all":true}`, group, strings.Repeat("-more", groups))
		if _, err := b.post(ctx, c, "members.remove", body); err != nil {
			return err
		}
	}
	return nil
}

// sent is one round: CPU of a delivery in µs, by both ways.
type sent struct {
	members, channel         float64
	membersRate, channelRate float64 // deliveries per second
}

// toMembers compares a message to the members of a group with one to the channel
// that all of them are subscribed to: the same connections, the same data.
func (b *bench) toMembers(ctx context.Context, c *child, crowd *crowd, n, window int) error {
	data := strings.Repeat("x", 128)
	way := func(to string) (us, rate float64, err error) {
		body := fmt.Appendf(nil, `{"to":{%q:%q},"data":%q}`, to, group, data)
		post := func(ctx context.Context) error {
			_, err := b.post(ctx, c, "publish", body)
			return err
		}
		var times []time.Duration
		at := func() error {
			cpu, err := c.proc.CPU()
			times = append(times, cpu)
			return err
		}
		stop := b.recordWhile(ctx, c, fmt.Sprintf("gateway-%s-%d", to, window))
		delivered, took, err := crowd.broadcast(ctx, window, pick(b, time.Second, 300*time.Millisecond), pick(b, 4*time.Second, 1500*time.Millisecond), post, at)
		if err = errors.Join(err, stop()); err != nil {
			return 0, 0, fmt.Errorf("to the %s: %w", to, err)
		}
		return float64((times[1] - times[0]).Microseconds()) / float64(max(1, delivered)), float64(delivered) / took.Seconds(), nil
	}
	r, err := middle(pick(b, 5, 1), func() (r sent, err error) {
		if r.channel, r.channelRate, err = way("channel"); err == nil {
			r.members, r.membersRate, err = way("members")
		}
		return r, err
	}, func(r sent) float64 { return r.members / r.channel })
	if err != nil {
		return err
	}
	b.report(line{Name: fmt.Sprintf("delivery to %d members, %d in flight", n, window), Unit: "µs", Measured: r.members, Floor: r.channel, MaxRatio: 1.3,
		Note: fmt.Sprintf("%.0f/s, to the channel %.0f/s; the floor is a message to the channel; %d connections ended", r.membersRate, r.channelRate, crowd.lost.Load())})
	return nil
}

// online measures asking for many users at once.
func (b *bench) online(ctx context.Context, c *child, ids []string) error {
	body, err := json.Marshal(map[string][]string{"users": ids})
	if err != nil {
		return err
	}
	var took []float64
	var size int
	ask := func() error {
		begun := time.Now()
		answer, err := b.post(ctx, c, "online", body)
		took, size = append(took, float64(time.Since(begun).Microseconds())/1000), len(answer)
		return err
	}
	for range 5 {
		if err := ask(); err != nil {
			return err
		}
	}
	took = nil
	stop := b.recordWhile(ctx, c, "gateway-online")
	before, err := c.proc.CPU()
	if err != nil {
		return err
	}
	for range pick(b, 100, 30) {
		if err := ask(); err != nil {
			return err
		}
	}
	after, err := c.proc.CPU()
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	slices.Sort(took)
	each := float64((after - before).Microseconds()) / 1000 / float64(len(took))
	note := fmt.Sprintf("all of them online; an answer of %d KiB; p99 %.1f ms", size>>10, took[len(took)*99/100])
	b.report(line{Name: fmt.Sprintf("verb online with %d ids over HTTP, p50", len(ids)), Unit: "ms", Measured: took[len(took)/2], Budget: 20, Note: note})
	b.report(line{Name: fmt.Sprintf("verb online with %d ids over HTTP, CPU", len(ids)), Unit: "ms", Measured: each, Budget: 20})
	return nil
}

// asked is a back end that lets everything pass, and the last thing it was asked.
type asked struct {
	url  string
	body atomic.Pointer[[]byte]
	stop func()
}

func newAsked() (*asked, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &asked{url: "http://" + l.Addr().String()}
	s := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	a.stop = func() { _ = s.Close(); <-done }
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.body.Store(&body)
	w.Header()["Content-Type"] = []string{"application/json"}
	_, _ = io.WriteString(w, `{}`)
}

// perQuestion is one round: the CPU of a message in µs, and how many of them the
// question takes beyond the round trip that any client would make.
type perQuestion struct{ with, without, bare float64 }

func (q perQuestion) own() float64 { return q.with - q.without - q.bare }

// webhook measures what asking the application about a message costs. Everything
// is in this process, so what both sides of a connection take is in each figure,
// and their difference is the server's own.
func (b *bench) webhook(ctx context.Context) error {
	back, err := newAsked()
	if err != nil {
		return err
	}
	defer back.stop()
	with, err := b.publisher(ctx, skein.Hooks{URL: back.url, Secret: b.secret, Events: []string{"message"}})
	if err != nil {
		return err
	}
	defer with.stop()
	without, err := b.publisher(ctx, skein.Hooks{})
	if err != nil {
		return err
	}
	defer without.stop()
	if err := with.publish(ctx); err != nil { // so that there is a body to repeat
		return err
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	bare := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, back.url, bytes.NewReader(*back.body.Load()))
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return errors.Join(err, res.Body.Close())
	}
	r, err := middle(pick(b, 5, 3), func() (q perQuestion, err error) {
		for _, step := range []struct {
			us *float64
			do func(context.Context) error
		}{{&q.without, without.publish}, {&q.with, with.publish}, {&q.bare, bare}} {
			if *step.us, err = b.each(ctx, step.do); err != nil {
				return q, err
			}
		}
		return q, nil
	}, perQuestion.own)
	if err != nil {
		return err
	}
	b.report(line{Name: "asking a webhook about a message: our own CPU", Unit: "ms", Measured: r.own() / 1000, Budget: 0.3,
		Note: fmt.Sprintf("a message costs %.0f µs with the question and %.0f without, both sides of it; a bare round trip of net/http %.0f µs; a request of %d bytes", r.with, r.without, r.bare, len(*back.body.Load()))})
	return nil
}

// each gives the CPU of this process for one call of do, in µs, one call after
// the other.
func (b *bench) each(ctx context.Context, do func(context.Context) error) (float64, error) {
	own := load.Process{PID: os.Getpid()}
	for range 100 {
		if err := do(ctx); err != nil {
			return 0, err
		}
	}
	before, err := own.CPU()
	if err != nil {
		return 0, err
	}
	n := pick(b, 5000, 2000)
	for range n {
		if err := do(ctx); err != nil {
			return 0, err
		}
	}
	after, err := own.CPU()
	return float64((after - before).Microseconds()) / float64(n), err
}

// publisher is a server in this process with one client that publishes.
type publisher struct {
	ws   *websocket.Conn
	stop func()
}

func (b *bench) publisher(ctx context.Context, hooks skein.Hooks) (*publisher, error) {
	s, err := skein.New(skein.Config{
		Listen: "127.0.0.1:0", Auth: skein.Auth{Anonymous: true}, Limits: skein.Limits{FramesPerSecond: -1}, Hooks: hooks,
		Namespaces: map[string]skein.Namespace{"load": {Kind: "event", Subscribe: "anyone", Publish: "anyone"}},
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	l, err := s.Listen()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	serving, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(serving, l) }()
	p := &publisher{stop: func() { _ = s.Close(); end(); <-done }}
	p.ws, _, err = websocket.Dial(ctx, "ws://"+l.Addr().String()+"/ws", nil)
	if err == nil {
		err = p.exchange(ctx, `{"type":"connect"}`, "welcome")
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// publish publishes a message and waits for its ok.
func (p *publisher) publish(ctx context.Context) error {
	return p.exchange(ctx, `{"type":"pub","id":1,"channel":"load:1","event":"said","data":{"text":"hello, room"}}`, "ok")
}

func (p *publisher) exchange(ctx context.Context, frame, want string) error {
	if err := p.ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		return err
	}
	_, answer, err := p.ws.Read(ctx)
	if err == nil && !bytes.HasPrefix(answer, []byte(`{"type":"`+want+`"`)) {
		err = fmt.Errorf("%s is answered by %s", frame, answer)
	}
	return err
}
