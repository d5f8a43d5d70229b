package skein_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skein-realtime/skein"
)

// Acknowledgements that cannot be are answered by what is wrong with them; those of what
// is not there, or is somebody else's, change nothing.
func TestAcknowledgementsThatCannotBeAreRefused(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, cfg())
		ann, ben := s.device("ann", ""), s.device("ben", "")
		mine, theirs := s.pushes("ann", "mine", ""), s.pushes("ben", "theirs", "")
		ann.gets(1)
		ben.gets(1)
		for frame, want := range map[string]string{
			`{"type":"ack"}`:                                                     "seq: is missing; or give messages",
			`{"type":"ack","seq":0}`:                                             "seq: 0 is not between 1 and 9007199254740991",
			`{"type":"ack","seq":-1}`:                                            "seq: -1 is not between 1 and 9007199254740991",
			`{"type":"ack","seq":"1"}`:                                           "seq: must be an integer, not a string",
			`{"type":"ack","seq":1.5}`:                                           "seq: must be an integer, not the number 1.5",
			`{"type":"ack","messages":"x"}`:                                      "messages: must be a list of ids, not a string",
			`{"type":"ack","messages":[]}`:                                       "messages: is empty; 1 to 500 ids are needed",
			`{"type":"ack","messages":["x",7]}`:                                  "messages[1]: must be a string, not a number",
			`{"type":"ack","messages":[""]}`:                                     "messages[0]: has 0 bytes; 1 to 64 are allowed",
			`{"type":"ack","messages":["` + mine.ID + `"],"seq":1}`:              "messages: cannot be given together with seq",
			`{"type":"ack","channel":"room:1","seq":1}`:                          "channel: room:1 keeps no marks: it is no conversation",
			`{"type":"ack","messages":[` + strings.Repeat(`"x",`, 500) + `"x"]}`: "messages: has more than 500 ids",
			`{"type":"mark","channel":"@inbox"}`:                                 "read: is missing",
			`{"type":"mark","channel":"@inbox","read":-5}`:                       "read: -5 is not between 0 and 9007199254740991",
		} {
			if f := ann.refused(frame, "bad_request"); f.Message != want {
				t.Errorf("%.80s is answered by %q, want %q", frame, f.Message, want)
			}
		}
		// Those of others, and of nothing.
		ok := ann.must(fmt.Sprintf(`{"type":"ack","messages":[%q,"01J0000000000000000000000X","\u0000",%q]}`, theirs.ID, strings.Repeat("y", 64)))
		same(t, "of others", []int{ok.Acked, len(ok.Unknown)}, []int{0, 4})
		s.became(theirs.ID, "ben", "sent")
		nobody := s.anonymous()
		nobody.fails(`{"type":"ack","seq":1}`, "unauthorized")
		nobody.fails(`{"type":"history","channel":"@inbox"}`, "unauthorized")
		// Far beyond the end is up to the end, and what comes later is not in it.
		same(t, "all there is", ann.must(`{"type":"ack","seq":9007199254740991}`).Acked, 1)
		same(t, "the mark", string(ann.must(`{"type":"mark","channel":"@inbox","read":9007199254740991}`).Read), "1")
		later := s.pushes("ann", "later", "")
		ann.gets(2)
		s.became(later.ID, "ann", "sent")
		s.pushes("stranger", "x", "")
		same(t, "nobody else's", s.outcomes(mine.ID), map[string]string{"ann": "delivered"})
	})
}

// Hundreds of connections send fifty acknowledgements each at the same moment, ten of each
// message: all are answered, and each message is delivered once.
func TestAStormOfAcknowledgements(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		const each, times = 5, 10
		c := cfg()
		connections := 500
		if c.Database == "" {
			connections = 200 // SQLite is written in Go, and many times slower when it is watched for races
		}
		s := start(t, c)
		names := make([]string, connections)
		devices := make([]*device, connections)
		var work sync.WaitGroup
		for i := range names {
			names[i] = fmt.Sprint("user", i)
		}
		for part := range 10 {
			work.Go(func() {
				for i := part; i < connections; i += 10 {
					d, err := s.open("websocket", names[i], "")
					if err != nil {
						t.Error(err)
						return
					}
					devices[i] = d
				}
			})
		}
		work.Wait()
		if t.Failed() {
			return
		}
		defer func() {
			for _, d := range devices {
				d.leave()
			}
		}()
		to := users(names...)
		for i := range each {
			if r := s.pushes(to, fmt.Sprint(i), ""); r.Counts["queued"] != int64(connections) {
				t.Fatalf("got %+v", r)
			}
		}
		for _, d := range devices {
			d.gets(each)
		}
		var answers, acked atomic.Int64
		for _, d := range devices {
			work.Go(func() {
				for n := range each * times { // all at once
					if err := d.send(fmt.Sprintf(`{"type":"ack","id":%d,"messages":[%s]}`, n, d.msgs[n%each].ID)); err != nil {
						t.Error(err)
						return
					}
				}
				for len(d.answers) < each*times {
					if err := d.pump(); err != nil {
						t.Error(err)
						return
					}
				}
				for _, f := range d.answers {
					if f.Type != "ok" || len(f.Unknown) > 0 {
						t.Errorf("%s is answered by %+v", d.user, f)
					}
					acked.Add(int64(f.Acked))
				}
				answers.Add(int64(len(d.answers)))
			})
		}
		work.Wait()
		same(t, "answers", answers.Load(), int64(connections*each*times))
		same(t, "acknowledged", acked.Load(), int64(connections*each))
		same(t, "delivered", s.metric("skein_push_delivered_total"), float64(connections*each))
		same(t, "open", len(s.verb("records", `{"outcome":["queued","sent"]}`)["items"].([]any)), 0)
		eventually(t, "nothing is under way", func() bool { return s.metric("skein_push_in_flight") == 0 && s.metric("skein_push_users") == 0 })
	})
}

// Whoever takes nothing while much is pushed costs no more than the window and the queue;
// when it reads, it gets all, in order, as it acknowledges.
func TestASlowReaderOfItsInboxLosesNothing(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		const total, size = 1200, 4000
		c := cfg()
		c.Push.Keep.Count = 2 * total
		c.Push.Window = 1000 // so that it is the queue that is full
		c.Push.AckTimeout = skein.Duration(3_600_000_000_000)
		c.Limits.Queue = 128 << 10
		s := start(t, c)
		slow, quick := s.device("slow", ""), s.device("quick", "")
		text := strings.Repeat("x", size)
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() {
				for i := range total / 8 {
					to := "slow"
					if i%10 == 0 {
						to += " quick"
					}
					if err := s.Call(t.Context(), "push", json.RawMessage(pushParams(to, fmt.Sprint(i, " ", text), "")), nil); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for n := range total / 10 {
			if m := quick.gets(n + 1)[n]; m.Seq != uint64(n+1) {
				t.Fatalf("the quick reader got %d, want %d", m.Seq, n+1)
			}
		}
		quick.must(fmt.Sprintf(`{"type":"ack","seq":%d}`, total/10))
		work.Wait()
		item := s.verb("connections", `{"user":"slow"}`)["items"].([]any)[0].(map[string]any)
		if queued := item["queued"].(float64); queued > 128<<10 {
			t.Errorf("%v bytes wait for the slow reader", queued)
		}
		if behind := s.metric("skein_push_behind"); behind != 1 {
			t.Errorf("%v connections are behind", behind)
		}
		if flight := s.metric("skein_push_in_flight"); flight < 1 || flight > 1000 {
			t.Errorf("%v messages are under way", flight)
		}
		for n := range total {
			m := slow.gets(n + 1)[n]
			if m.Seq != uint64(n+1) || len(m.Data) < size {
				t.Fatalf("the slow reader got %d with %d bytes, want %d", m.Seq, len(m.Data), n+1)
			}
			if n%200 == 199 {
				slow.must(fmt.Sprintf(`{"type":"ack","seq":%d}`, n+1))
			}
		}
		r := s.pushes("slow quick", "live again", "")
		for d, n := range map[*device]int{slow: total, quick: total / 10} {
			if m := d.gets(n + 1)[n]; m.name() != r.ID || d.acks(m) != 1 {
				t.Errorf("%s got %+v", d.user, m)
			}
		}
		eventually(t, "nobody is behind", func() bool { return s.metric("skein_push_behind") == 0 && s.metric("skein_push_in_flight") == 0 })
		same(t, "open", len(s.verb("records", `{"outcome":["queued","sent"]}`)["items"].([]any)), 0)
	})
}
