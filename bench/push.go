package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
)

// pushes measures what is pushed to users: campaigns with all rules, what they do to
// others, records and estimates among many, and many users who come back at once.
//
// The server has both cores: it is the store that is measured, and who asks does
// little.
func pushes(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp(b.disk, "skein-bench-push-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	data := filepath.Join(dir, "data")
	if err := b.pushTo(ctx, "SQLite", filepath.Join(data, "skein.db"), 30_000, "-data", data); err != nil {
		return fmt.Errorf("SQLite: %w", err)
	}
	if b.database == "" {
		return nil
	}
	if err := b.pushTo(ctx, "PostgreSQL", "", 15_000, "-database", b.database); err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	return nil
}

// pushTo measures one store; file is where it is, when it is a file.
func (b *bench) pushTo(ctx context.Context, store, file string, least float64, where ...string) error {
	c, err := b.startOn([]int{serverCore, generatorCore}, "server", append([]string{"-driver", "epoll", "-secret", b.secret, "-key", b.key}, where...)...)
	if err != nil {
		return err
	}
	defer c.stop()
	p := &pushed{bench: b, child: c, store: store, file: file, page: 4 << 10, users: cmp.Or(b.users, pick(b, 300_000, 20_000))}
	if file == "" {
		if p.file, err = recordsFile(ctx, b.database); err != nil {
			return err
		}
		p.page = 8 << 10
	}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"users", p.fill},
		{"campaign", func(ctx context.Context) error { return p.campaigns(ctx, least) }},
		{"estimate", p.estimate},
		{"records", p.records},
		{"chat", p.chat},
		{"return", p.returns},
	} {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// pushed is a server with many users.
type pushed struct {
	*bench
	child    *child
	store    string
	file     string // in which the records are; "": it is not here
	page     int    // bytes of which it is read at once
	users    int
	receipts int
}

// call calls a verb.
func (p *pushed) call(ctx context.Context, verb string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer, err := p.post(ctx, p.child, verb, body)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(answer, result)
}

type object = map[string]any

func userName(i int) string { return "user-" + strconv.Itoa(i) }

// fill makes the users and the categories: caps of two levels, quiet hours, an end.
func (p *pushed) fill(ctx context.Context) error {
	zones := []string{"Europe/Berlin", "Asia/Shanghai", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Sydney"}
	cities := []string{"Beijing", "Shanghai", "Berlin", "Lyon", "Oslo", "Lima", "Accra", "Osaka"}
	const page = 1000
	begun := time.Now()
	for from := 0; from < p.users; from += page {
		list := make([]object, min(page, p.users-from))
		for i := range list {
			n := from + i
			list[i] = object{"id": userName(n), "attributes": object{
				"city": cities[n%len(cities)], "level": n % 100, "tz": zones[n%len(zones)], "tags": []string{"tag-" + strconv.Itoa(n%10)}, "name": "User number " + strconv.Itoa(n),
			}}
		}
		if err := p.call(ctx, "users.put", object{"users": list}, nil); err != nil {
			return err
		}
	}
	seconds := time.Since(begun).Seconds()
	p.report(line{Name: p.store + ": users put, 1,000 a request", Unit: "/s", Measured: float64(p.users) / seconds})
	// Half an hour in which nobody is now, so that the rule is asked and refuses nobody.
	now := time.Now().UTC()
	quiet := object{"from": now.Add(150 * time.Minute).Add(15 * time.Minute).Format("15:04"), "to": now.Add(150 * time.Minute).Add(20 * time.Minute).Format("15:04")}
	for _, category := range []object{
		{"name": "marketing", "caps": []object{{"per": "day", "max": 100}, {"per": "week", "max": 500}}},
		{"name": "promo", "parent": "marketing", "caps": []object{{"per": "day", "max": 50}, {"per": "90m", "max": 50}}, "quiet": quiet, "ttl": "72h"},
		{"name": "alert", "bypass": true},
	} {
		if err := p.call(ctx, "categories.put", category, nil); err != nil {
			return err
		}
	}
	return nil
}

// campaign is what a verb says of one.
type campaign struct {
	ID       string
	State    string
	Audience int64
	Progress int64
	Started  int64
	Ended    int64
	Error    string
}

// begin makes a campaign and starts it.
func (p *pushed) begin(ctx context.Context) (c campaign, err error) {
	err = p.call(ctx, "campaigns.create", object{
		"name": "bench", "to": object{"where": object{"field": "/level", "gte": 0}}, "category": "promo", "event": "offer",
		"data": object{"title": "A message of usual size", "text": "It has some words, and a link.", "link": "https://shop.example/offers/4711"},
	}, &c)
	if err == nil {
		err = p.call(ctx, "campaigns.start", object{"id": c.ID}, &c)
	}
	return c, err
}

// done waits until a campaign is done.
func (p *pushed) done(ctx context.Context, c campaign) (campaign, error) {
	for c.State != "done" {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return c, err
		}
		if err := p.call(ctx, "campaigns.get", object{"id": c.ID}, &c); err != nil {
			return c, err
		}
		if c.State != "running" && c.State != "done" || c.Error != "" {
			return c, fmt.Errorf("the campaign is %s: %s", c.State, c.Error)
		}
	}
	if c.Progress != int64(p.users) {
		return c, fmt.Errorf("the campaign has pushed to %d of %d users", c.Progress, p.users)
	}
	p.receipts += p.users
	return c, nil
}

// campaigns measures how fast they go, and makes as many records as are wanted.
func (p *pushed) campaigns(ctx context.Context, least float64) error {
	var all []float64
	for len(all) < 3 || p.receipts < p.bench.receipts {
		c, err := p.begin(ctx)
		if err != nil {
			return err
		}
		if c, err = p.done(ctx, c); err != nil {
			return err
		}
		all = append(all, float64(p.users)/(float64(c.Ended-c.Started)/1000))
	}
	first := slices.Sorted(slices.Values(all[:3]))
	p.report(line{Name: fmt.Sprintf("%s: campaign to %d users by attributes, all rules", p.store, p.users), Unit: "/s", Measured: first[1], Least: pick(p.bench, least, 0),
		Note: fmt.Sprintf("%.0f to %.0f; the last of %d with %d records: %.0f", first[0], first[2], len(all), p.receipts, all[len(all)-1])})
	return nil
}

// estimate measures a dry run over all users, all of whom have something counted. What the
// system has not kept in memory is read from the disk the first time.
func (p *pushed) estimate(ctx context.Context) error {
	budget := 0.5
	if p.users > 300_000 {
		budget = 0 // it is for so many
	}
	for _, where := range []object{{"field": "/level", "gte": 0}, {"field": "/city", "eq": "Berlin"}} {
		var all []time.Duration
		for range 7 {
			begun := time.Now()
			if err := p.call(ctx, "campaigns.estimate", object{"to": object{"where": where}, "category": "promo"}, nil); err != nil {
				return err
			}
			all = append(all, time.Since(begun))
		}
		first := all[0]
		slices.Sort(all)
		p.report(line{Name: fmt.Sprintf("%s: estimate over %d users, where %v", p.store, p.users, where["field"]), Unit: "s", Measured: all[len(all)/2].Seconds(), Budget: budget,
			Note: fmt.Sprintf("%.2f to %.2f, the first %.2f", all[0].Seconds(), all[len(all)-1].Seconds(), first.Seconds())})
	}
	return nil
}

// quantiles gives the median and the 99th percentile.
func quantiles(all []time.Duration) (median, p99 time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// recordsFile gives the file in which a PostgreSQL on this machine has the records; "": it is
// elsewhere, or does not say.
func recordsFile(ctx context.Context, database string) (string, error) {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var file string
	err = conn.QueryRow(ctx, `SELECT current_setting('data_directory', true) || '/' || pg_relation_filepath('skein.delivery')`).Scan(&file)
	if _, missing := os.Stat(file); err != nil || missing != nil {
		return "", nil
	}
	return file, nil
}

// records measures those of one user, with all that HTTP costs. Records are stored in the
// order in which they came, so that those of a user lie in as many places; the floor is to
// read a page at each of so many places, one after the other.
func (p *pushed) records(ctx context.Context) error {
	var all, floor []time.Duration
	var file *os.File
	if p.file != "" {
		var err error
		if file, err = os.Open(p.file); err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
	}
	places := min(50, p.receipts/p.users)
	for range pick(p.bench, 1000, 200) {
		if file != nil {
			took, err := readPages(file, places, p.page)
			if err != nil {
				return err
			}
			floor = append(floor, took)
		}
		begun := time.Now()
		if err := p.call(ctx, "records", object{"user": userName(rand.IntN(p.users)), "limit": 50}, nil); err != nil {
			return err
		}
		all = append(all, time.Since(begun))
	}
	median, p99 := quantiles(all)
	bare, _ := quantiles(floor)
	p.report(line{Name: fmt.Sprintf("%s: records of one user among %d, over HTTP", p.store, p.receipts), Unit: "ms", Measured: milliseconds(median), Floor: milliseconds(bare), Budget: 1,
		Note: fmt.Sprintf("%d records; 99 %% within %.2f ms", places, milliseconds(p99))})
	return nil
}

// readPages reads pages at places of a file that are far from each other.
func readPages(file *os.File, n, page int) (time.Duration, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	b := make([]byte, page)
	begun := time.Now()
	for range n {
		if _, err := file.ReadAt(b, rand.Int64N(info.Size()/int64(page))*int64(page)); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// socket opens a connection of a user and reads its welcome.
func (b *bench) socket(ctx context.Context, c *child, user string) (*websocket.Conn, error) {
	token, err := b.token(user)
	if err != nil {
		return nil, err
	}
	ws, _, err := websocket.Dial(ctx, c.url+"/ws?token="+token, nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	_, _, err = ws.Read(ctx)
	return ws, err
}

// chat measures messages in log channels, from their publisher and back to it, alone
// and beside a campaign.
func (p *pushed) chat(ctx context.Context) error {
	const talkers, each = 20, 50 // messages a second of each
	var mu sync.Mutex
	var taken []time.Duration
	talking, hush := context.WithCancel(ctx)
	defer hush()
	var work sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range talkers {
		ws, err := p.socket(ctx, p.child, "talker-"+strconv.Itoa(i))
		if err != nil {
			return err
		}
		work.Go(func() {
			defer func() { _ = ws.CloseNow() }()
			if err := talk(talking, ws, "log:chat-"+strconv.Itoa(i), time.Second/each, func(d time.Duration) {
				mu.Lock()
				taken = append(taken, d)
				mu.Unlock()
			}); err != nil && talking.Err() == nil {
				failed.Store(&err)
			}
		})
	}
	collect := func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		all := taken
		taken = nil
		return all
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	collect()
	// About as long as the campaign, so that what the disk and the database do now and then
	// is in both.
	if err := sleep(ctx, pick(p.bench, 45*time.Second, 2*time.Second)); err != nil {
		return err
	}
	_, quiet := quantiles(collect())
	c, err := p.begin(ctx)
	if err == nil {
		c, err = p.done(ctx, c)
	}
	if err != nil {
		return err
	}
	all := collect()
	median, busy := quantiles(all)
	hush()
	work.Wait()
	if e := failed.Load(); e != nil {
		return *e
	}
	rate := float64(p.users) / (float64(c.Ended-c.Started) / 1000)
	p.report(line{Name: fmt.Sprintf("%s: p99 of 1,000 chat messages a second beside a campaign to %d users", p.store, p.users), Unit: "ms", Measured: milliseconds(busy), Floor: milliseconds(quiet), MaxRatio: 2,
		Note: fmt.Sprintf("the floor is without it; %d messages, median %.1f ms; campaign %.0f users/s", len(all), milliseconds(median), rate)})
	return nil
}

// talk publishes messages in a channel, one each pause, and tells how long each took to
// come back.
func talk(ctx context.Context, ws *websocket.Conn, channel string, pause time.Duration, took func(time.Duration)) error {
	if err := ws.Write(ctx, websocket.MessageText, []byte(`{"type":"sub","channel":"`+channel+`"}`)); err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		read <- func() error {
			for {
				_, frame, err := ws.Read(ctx)
				if err != nil {
					return err
				}
				var m struct {
					Type string
					Data int64
				}
				if err := json.Unmarshal(frame, &m); err != nil {
					return err
				}
				switch m.Type {
				case "msg":
					took(time.Duration(time.Now().UnixNano() - m.Data))
				case "error":
					return fmt.Errorf("%s", frame)
				}
			}
		}()
	}()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			frame := fmt.Appendf(nil, `{"type":"pub","channel":%q,"data":%d}`, channel, time.Now().UnixNano())
			if err := ws.Write(ctx, websocket.MessageText, frame); err != nil {
				return errors.Join(err, <-read)
			}
		case err := <-read:
			return err
		}
	}
}
