package skein_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/test/pgtest"
)

// pushConfig gives categories of several kinds. Their caps are over times so long that
// no test sees the end of one, unless the test is about that.
func pushConfig(dir string) skein.Config {
	cfg := logConfig(dir)
	cfg.Namespaces["team"] = skein.Namespace{Kind: "event", Subscribe: "member", Publish: "member"}
	cfg.Categories = map[string]skein.Category{
		"orders": {},
		"alarm":  {Bypass: true},
		"legal":  {Mutable: new(false)},
		"promo":  {Caps: []string{"3 per 500h"}},
		"sale":   {Caps: []string{"2 per 500h"}, Parent: "promo", OnCap: "drop"},
		"later":  {Caps: []string{"1 per 500h"}, OnCap: "defer"},
	}
	return cfg
}

// onStores tells a story on each kind of store. cfg gives a configuration whose store is
// empty; each call is another one.
func onStores(t *testing.T, story func(t *testing.T, cfg func() skein.Config)) {
	t.Helper()
	pushCluster.hold(t) // before the pause, so that one of them lasts for all
	t.Parallel()        // some tests of pushes wait for long
	onEachStore(t, story)
}

// onEachStore is onStores for a test that holds the cluster and is parallel already.
func onEachStore(t *testing.T, story func(t *testing.T, cfg func() skein.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		story(t, func() skein.Config { return pushConfig(t.TempDir()) })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		story(t, func() skein.Config {
			cfg := pushConfig("")
			cfg.Database = pushCluster.server(t).Database(t)
			return cfg
		})
	})
}

// cluster is a PostgreSQL for several tests, which runs from when the first one needs it
// until the last one that holds it has ended.
type cluster struct {
	mu      sync.Mutex // guards all below
	holders int
	pg      *pgtest.Server // nil: nobody has needed it
}

var pushCluster cluster

func (c *cluster) hold(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holders++
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.holders--; c.holders == 0 && c.pg != nil {
			c.pg.Close()
			c.pg = nil
		}
	})
}

func (c *cluster) server(t *testing.T) *pgtest.Server {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pg == nil {
		pg, err := pgtest.Open()
		if err != nil {
			t.Fatal(err)
		}
		c.pg = pg
	}
	return c.pg
}

// boxFrame is a frame about an inbox, or an answer.
type boxFrame struct {
	Type, Channel, Event, Code, Message, Category, Collapse, Epoch, Outcome, User string
	ID, Data                                                                      json.RawMessage
	Seq, Unread                                                                   uint64
	Read                                                                          json.RawMessage // a mark, or of an item whether it was read
	Acked                                                                         int
	Unknown, Muted                                                                []string
	RetryAfter                                                                    int64 `json:"retry_after"`
	Messages                                                                      []boxFrame
	More                                                                          bool

	at time.Time // when it came
}

// name is the id of a message.
func (f *boxFrame) name() string { return strings.Trim(string(f.ID), `"`) }

// device is a connection of a user. It notes what comes for the inbox, and has no other
// channels.
type device struct {
	t testing.TB
	wayIn
	user string

	welcomed bool
	asked    int
	answers  map[string]boxFrame
	msgs     []boxFrame // in the order in which they came
	recalls  []uint64   // seqs
	notices  []boxFrame
	marks    []boxFrame
}

// open opens a connection of a user through a door, and waits for its welcome.
func (s *testServer) open(door, user, more string) (*device, error) {
	way, err := doors[door](s, "user="+url.QueryEscape(user)+more)
	if err != nil {
		return nil, err
	}
	d := &device{t: s.t, wayIn: way, user: user, answers: map[string]boxFrame{}, welcomed: door == "sse"}
	for err == nil && !d.welcomed {
		err = d.pump()
	}
	return d, err
}

// device opens one through a WebSocket; name is that of the device, or nothing.
func (s *testServer) device(user, name string) *device {
	s.t.Helper()
	return s.deviceAt("websocket", user, name)
}

func (s *testServer) deviceAt(door, user, name string) *device {
	s.t.Helper()
	d, err := s.open(door, user, "&device="+name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(d.leave)
	return d
}

// leave is safe after the end, because cleanups come after it.
func (d *device) leave() {
	if d.wayIn != nil {
		d.wayIn.leave()
		d.wayIn = nil
	}
}

// pump takes one frame.
func (d *device) pump() error {
	raw, err := d.next()
	if err != nil {
		return err
	}
	f := boxFrame{at: time.Now()}
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("%q: %w", raw, err)
	}
	switch f.Type {
	case "ping", "subscribed":
	case "welcome":
		d.welcomed = true
	case "ok", "error", "pong":
		d.answers[string(f.ID)] = f
	case "msg":
		switch {
		case f.Channel == "@direct": // somebody has nudged it
			return nil
		case f.Channel != "@inbox" || f.Seq == 0:
			return fmt.Errorf("%s got %s", d.user, raw)
		}
		d.msgs = append(d.msgs, f)
	case "recall":
		d.recalls = append(d.recalls, f.Seq)
	case "notice":
		d.notices = append(d.notices, f)
	case "mark":
		d.marks = append(d.marks, f)
	default:
		return fmt.Errorf("%s got %s", d.user, raw)
	}
	return nil
}

// request sends a frame, whose first member is left to it, and waits for the answer.
func (d *device) request(frame string) (boxFrame, error) {
	d.asked++
	id := fmt.Sprintf(`"q%d"`, d.asked)
	if err := d.send(strings.Replace(frame, "{", `{"id":`+id+`,`, 1)); err != nil {
		return boxFrame{}, err
	}
	for {
		if f, ok := d.answers[id]; ok {
			delete(d.answers, id)
			return f, nil
		}
		if err := d.pump(); err != nil {
			return boxFrame{}, err
		}
	}
}

func (d *device) must(frame string) boxFrame {
	d.t.Helper()
	f, err := d.request(frame)
	if err != nil || f.Type == "error" {
		d.t.Fatalf("%s: %.200s is answered by %+v, %v", d.user, frame, f, err)
	}
	return f
}

func (d *device) refused(frame, code string) boxFrame {
	d.t.Helper()
	f, err := d.request(frame)
	if err != nil || f.Type != "error" || f.Code != code {
		d.t.Fatalf("%s: %.200s is answered by %+v, %v; want %s", d.user, frame, f, err, code)
	}
	return f
}

// gets waits until so many messages have come in all, and gives them.
func (d *device) gets(n int) []boxFrame {
	d.t.Helper()
	for len(d.msgs) < n {
		if err := d.pump(); err != nil {
			d.t.Fatalf("%s, after %d of %d messages: %v", d.user, len(d.msgs), n, err)
		}
	}
	return d.msgs
}

// until pumps until something holds.
func (d *device) until(what string, ok func() bool) {
	d.t.Helper()
	for !ok() {
		if err := d.pump(); err != nil {
			d.t.Fatalf("%s waits for %s: %v", d.user, what, err)
		}
	}
}

// has is the data of what has come, after the answer to a question that is asked now. So what
// was on its way before is in it.
func (d *device) has() []string {
	d.t.Helper()
	d.must(`{"type":"ping"}`)
	return datas(d.msgs)
}

func datas(list []boxFrame) []string {
	all := []string{}
	for _, f := range list {
		all = append(all, strings.Trim(string(f.Data), `"`))
	}
	return all
}

func seqs(list []boxFrame) []uint64 {
	all := []uint64{}
	for _, f := range list {
		all = append(all, f.Seq)
	}
	return all
}

// acks acknowledges messages by their ids and gives how many became delivered.
func (d *device) acks(list ...boxFrame) int {
	d.t.Helper()
	return d.must(ackFrame(list...)).Acked
}

func ackFrame(list ...boxFrame) string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = string(list[i].ID)
	}
	return `{"type":"ack","messages":[` + strings.Join(names, ",") + `]}`
}

// calls calls a verb over HTTP with the development key; it must succeed.
func (s *testServer) calls(verb, params string) map[string]any {
	s.t.Helper()
	status, out := s.api(verb, params)
	if status != http.StatusOK {
		s.t.Fatalf("%s %.200s is answered by %d %v", verb, params, status, out)
	}
	return out
}

// pushResult is the answer to the verb push.
type pushResult struct {
	ID, Campaign string
	Audience     int64
	Counts       map[string]int64
	Duplicate    bool
	Estimate     map[string]any
}

// pushes pushes data to users, or to whom to says, over HTTP; more are other members, such
// as `,"category":"promo"`.
func (s *testServer) pushes(to, data, more string) pushResult {
	s.t.Helper()
	return decoded[pushResult](s.t, s.calls("push", pushParams(to, data, more)))
}

func pushParams(to, data, more string) string {
	if !strings.HasPrefix(to, "{") {
		to = users(strings.Fields(to)...)
	}
	return fmt.Sprintf(`{"to":%s,"data":%q%s}`, to, data, more)
}

// users is a target.
func users(list ...string) string {
	text, err := json.Marshal(map[string]any{"users": append([]string{}, list...)})
	if err != nil {
		panic(err) // texts can be written
	}
	return string(text)
}

// decoded reads a result into something that has a type.
func decoded[T any](t testing.TB, from any) (to T) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(raw, &to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// pushRecord is one of the verb records.
type pushRecord struct {
	Message, User, Category, Campaign, Outcome, Reason, Rule, Device string
	Seq                                                              uint64
	Queued, Sent, Delivered, Read, Ended, Until                      int64
}

// ended is the outcome with its reason.
func (r *pushRecord) ended() string {
	if r.Reason == "" {
		return r.Outcome
	}
	return r.Outcome + "/" + r.Reason
}

// records reads all of them that a question finds, such as `"user":"ann"`. There is one for
// each message and user.
func (s *testServer) records(of string) []pushRecord {
	s.t.Helper()
	all, after := []pushRecord{}, ""
	seen := map[[2]string]bool{}
	for {
		page := decoded[struct {
			Items []pushRecord
			Next  string
		}](s.t, s.calls("records", fmt.Sprintf(`{%s,"limit":1000%s}`, of, after)))
		for _, r := range page.Items {
			if pair := [2]string{r.Message, r.User}; seen[pair] {
				s.t.Fatalf("there are two records of %v", pair)
			} else {
				seen[pair] = true
			}
		}
		if all = append(all, page.Items...); page.Next == "" {
			return all
		}
		after = fmt.Sprintf(`,"after":%q`, page.Next)
	}
}

// outcomes are what became of a message, by user.
func (s *testServer) outcomes(message string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, r := range s.records(fmt.Sprintf(`"message":%q`, message)) {
		all[r.User] = r.ended()
	}
	return all
}

// became waits until a message has become something for a user.
func (s *testServer) became(message, user, outcome string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the message is %s for %s", outcome, user), func() bool { return s.outcomes(message)[user] == outcome })
}

// isGone waits until a user has no connection.
func (s *testServer) isGone(user string) {
	s.t.Helper()
	eventually(s.t, user+" is gone", func() bool {
		return len(s.calls("connections", fmt.Sprintf(`{"user":%q}`, user))["items"].([]any)) == 0
	})
}

// metric is the value of one of the server's metrics.
func (s *testServer) metric(name string) float64 {
	s.t.Helper()
	_, _, page := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
	return metric(s.t, page, name)
}

// zoneAt is a time zone in which it is that hour now.
func zoneAt(hour int) string {
	offset := (hour - time.Now().UTC().Hour() + 36) % 24 // 12 more than it is
	return fmt.Sprintf("Etc/GMT%+d", 12-offset)          // the signs of these names are the other way round
}

// rising tells that seqs rise.
func rising(list []uint64) bool {
	return slices.IsSortedFunc(list, func(a, b uint64) int {
		if a < b {
			return -1
		}
		return 1
	})
}
