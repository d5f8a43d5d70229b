package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// chats measures conversations: the list of a user who has many, what members say and mark,
// and what reaches the members of a large group. Each is compared with what a plain log
// channel costs.
func chats(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp(b.disk, "skein-bench-chat-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := b.chatsIn(ctx, "SQLite", "-data", filepath.Join(dir, "data")); err != nil {
		return fmt.Errorf("SQLite: %w", err)
	}
	if b.database == "" {
		return nil
	}
	if err := b.chatsIn(ctx, "PostgreSQL", "-database", b.database); err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	return nil
}

// chatsIn measures one store. The server has both cores, but for deliveries.
func (b *bench) chatsIn(ctx context.Context, store string, where ...string) error {
	c, err := b.startOn([]int{serverCore, generatorCore}, "server", append([]string{"-driver", "epoll", "-secret", b.secret, "-key", b.key}, where...)...)
	if err != nil {
		return err
	}
	for _, run := range []func(context.Context, *child, string) error{b.conversationList, b.saidAndMarked} {
		if err = run(ctx, c, store); err != nil {
			break
		}
	}
	c.stop()
	if err != nil {
		return err
	}
	if c, err = b.server("epoll", where...); err != nil {
		return err
	}
	defer c.stop()
	return b.largeGroup(ctx, c, store)
}

// asks sends a frame and reads until its answer, which is given; its id is 1.
func asks(ctx context.Context, ws *websocket.Conn, frame string) ([]byte, error) {
	if err := ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		return nil, err
	}
	for {
		_, got, err := ws.Read(ctx)
		switch {
		case err != nil:
			return nil, err
		case bytes.HasPrefix(got, []byte(`{"type":"ok","id":1`)):
			return got, nil
		case bytes.HasPrefix(got, []byte(`{"type":"error"`)):
			return nil, fmt.Errorf("%.300s is answered by %s", frame, got)
		}
	}
}

// conversationList reads the first page of a list over WebSocket. The floor is a page of as many
// messages of one channel, on the same connection.
func (b *bench) conversationList(ctx context.Context, c *child, store string) error {
	all, page := pick(b, 1000, 200), 50
	text := strings.Repeat("x", 100)
	for i := range all {
		to := "dm:peer-" + fmt.Sprintf("%04d", i) + ":reader"
		if i%5 == 4 {
			to = "team:" + strconv.Itoa(i)
			if _, err := b.post(ctx, c, "members.add", fmt.Appendf(nil, `{"channel":%q,"users":["reader","ann","bob","eve","kim"]}`, to)); err != nil {
				return err
			}
		}
		if _, err := b.post(ctx, c, "publish", fmt.Appendf(nil, `{"to":{"channel":%q},"data":{"text":%q}}`, to, text)); err != nil {
			return err
		}
	}
	for range page {
		if _, err := b.post(ctx, c, "publish", fmt.Appendf(nil, `{"to":{"channel":"log:plain"},"data":{"text":%q}}`, text)); err != nil {
			return err
		}
	}
	ws, err := b.socket(ctx, c, "reader")
	if err != nil {
		return err
	}
	defer func() { _ = ws.CloseNow() }()
	type round struct {
		list, plain, p99, cpu time.Duration
		bytes                 int
	}
	one := func(frame string) (median, p99, cpu time.Duration, size int, err error) {
		var times []time.Duration
		n := pick(b, 300, 50)
		before, err := c.proc.CPU()
		for range n {
			begun := time.Now()
			answer, err := asks(ctx, ws, frame)
			if err != nil {
				return 0, 0, 0, 0, err
			}
			times, size = append(times, time.Since(begun)), len(answer)
		}
		after, err2 := c.proc.CPU()
		median, p99 = quantiles(times)
		return median, p99, (after - before) / time.Duration(n), size, errors.Join(err, err2)
	}
	r, err := middle(pick(b, 3, 1), func() (r round, err error) {
		if r.list, r.p99, r.cpu, r.bytes, err = one(fmt.Sprintf(`{"type":"conversations","id":1,"limit":%d}`, page)); err == nil {
			r.plain, _, _, _, err = one(fmt.Sprintf(`{"type":"history","id":1,"channel":"log:plain","limit":%d}`, page))
		}
		return r, err
	}, func(r round) float64 { return float64(r.list) / float64(r.plain) })
	if err != nil {
		return err
	}
	b.report(line{Name: fmt.Sprintf("%s: the newest %d of %d conversations", store, page, all), Unit: "ms", Measured: milliseconds(r.list), Floor: milliseconds(r.plain),
		Note: fmt.Sprintf("99 %% within %.1f ms, CPU %.1f ms, an answer of %d KiB; the floor is a page of %d messages of one channel", milliseconds(r.p99), milliseconds(r.cpu), r.bytes>>10, page)})
	return nil
}

// saidAndMarked lets members talk two by two, and then mark what was said, each with one
// unanswered frame. The floor is the same number of users who publish in log channels.
func (b *bench) saidAndMarked(ctx context.Context, c *child, store string) error {
	const talkers = 64
	each := pick(b, 300, 50)
	conns := make([]*websocket.Conn, talkers)
	for i := range conns {
		ws, err := b.socket(ctx, c, fmt.Sprintf("talker-%02d", i))
		if err != nil {
			return err
		}
		defer func() { _ = ws.CloseNow() }()
		conns[i] = ws
	}
	direct := func(i int) string { return fmt.Sprintf("dm:talker-%02d:zed", i) }
	text := strings.Repeat("x", 100)
	rate := func(frame func(i, n int) string) (float64, error) {
		failed := make([]error, talkers)
		begun := time.Now()
		var work sync.WaitGroup
		for i, ws := range conns {
			work.Go(func() {
				for n := 1; n <= each && failed[i] == nil; n++ {
					_, failed[i] = asks(ctx, ws, frame(i, n))
				}
			})
		}
		work.Wait()
		return float64(talkers*each) / time.Since(begun).Seconds(), errors.Join(failed...)
	}
	pub := func(channel string) string {
		return fmt.Sprintf(`{"type":"pub","id":1,"channel":%q,"data":{"text":%q}}`, channel, text)
	}
	type round struct{ plain, said float64 }
	r, err := middle(pick(b, 3, 1), func() (r round, err error) {
		if r.plain, err = rate(func(i, _ int) string { return pub("log:talk-" + strconv.Itoa(i)) }); err == nil {
			r.said, err = rate(func(i, _ int) string { return pub(direct(i)) })
		}
		return r, err
	}, func(r round) float64 { return r.said / r.plain })
	if err != nil {
		return err
	}
	b.report(line{Name: store + ": messages to direct conversations", Unit: "/s", Measured: r.said, Floor: r.plain,
		Note: fmt.Sprintf("%d users with one unanswered each; the floor is to log channels", talkers)})
	// What is marked must be another's, and not read by writing: the server says it.
	for i := range talkers {
		for done := 0; done < each; {
			n := min(100, each-done)
			list := make([]object, n)
			for k := range list {
				list[k] = object{"verb": "publish", "params": object{"to": object{"channel": direct(i)}, "data": object{"text": text}}}
			}
			body, err := json.Marshal(object{"commands": list})
			if err != nil {
				return err
			}
			if _, err := b.post(ctx, c, "batch", body); err != nil {
				return err
			}
			done += n
		}
	}
	before := pick(b, 3, 1) * each
	marked, err := rate(func(i, n int) string {
		return fmt.Sprintf(`{"type":"mark","id":1,"channel":%q,"read":%d}`, direct(i), before+n)
	})
	if err != nil {
		return err
	}
	b.report(line{Name: store + ": read marks that move", Unit: "/s", Measured: marked, Note: fmt.Sprintf("%d users with one unanswered each", talkers)})
	return nil
}

// largeGroup compares what is said in a group of 5,000 with a message of a log channel that has
// the same subscribers.
func (b *bench) largeGroup(ctx context.Context, c *child, store string) error {
	n := pick(b, 1000, 300)
	ids := make([]string, 5000)
	for i := range ids {
		ids[i] = userName(i)
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	for _, channel := range []string{"log:large", "team:large"} {
		if _, err := b.post(ctx, c, "members.add", fmt.Appendf(nil, `{"channel":%q,"users":%s}`, channel, list)); err != nil {
			return err
		}
	}
	token, err := b.tokens(n)
	if err != nil {
		return err
	}
	crowd, err := newCrowd(ctx, c.url, n, token)
	if err != nil {
		return err
	}
	defer crowd.close()
	type round struct{ team, log float64 }
	text := strings.Repeat("x", 100)
	way := func(channel string) (float64, error) {
		return b.delivery(ctx, c, crowd, "chat-"+channel, "publish", fmt.Appendf(nil, `{"to":{"channel":%q},"data":%q}`, channel, text))
	}
	r, err := middle(pick(b, 5, 1), func() (r round, err error) {
		if r.log, err = way("log:large"); err == nil {
			r.team, err = way("team:large")
		}
		return r, err
	}, func(r round) float64 { return r.team / r.log })
	if err != nil {
		return err
	}
	b.report(line{Name: fmt.Sprintf("%s: delivery to %d of %d members of a group", store, n, len(ids)), Unit: "µs", Measured: r.team, Floor: r.log, MaxRatio: 1.2,
		Note: fmt.Sprintf("the floor is a message of a log channel of the same size; %d connections ended", crowd.lost.Load())})
	return nil
}
