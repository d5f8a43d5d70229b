package skein_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein"
)

// pushBubble is a server in a bubble with some categories. A bubble begins at midnight UTC;
// a night that passes before there is a server costs nothing.
func pushBubble(t *testing.T, categories map[string]skein.Category, prepare func(*skein.Server)) *bubble {
	t.Helper()
	cfg := hushed()
	cfg.Data = t.TempDir()
	cfg.Heartbeat.Interval = skein.Duration(time.Hour) // whoever waits here does not read
	cfg.Categories = categories
	return inBubble(t, cfg, prepare)
}

// push pushes data of a category to ann, and gives the only outcome.
func (b *bubble) push(category, data string) string {
	b.t.Helper()
	for outcome := range decoded[pushResult](b.t, b.verb("push", pushParams("ann", data, fmt.Sprintf(`,"category":%q`, category)))).Counts {
		return outcome
	}
	return ""
}

// reading is a client that reads all the time, so that its connection goes on for hours.
type reading struct {
	*client
	frames list[map[string]any]
}

// reader opens a connection of ann.
func (b *bubble) reader() *reading {
	r := &reading{client: b.user("ann")}
	go func() {
		for {
			_, raw, err := r.ws.Read(context.Background())
			if err != nil {
				return // the test is over
			}
			var f map[string]any
			if err := json.Unmarshal(raw, &f); err != nil {
				b.t.Error(err)
			}
			r.frames.add(f)
		}
	}()
	return r
}

// came is what has come for the inbox since the last time; nothing is acknowledged by that.
func (r *reading) came() (list []string) {
	synctest.Wait()
	for _, f := range r.frames.take() {
		switch f["type"] {
		case "msg":
			list = append(list, f["data"].(string))
		case "notice":
			list = append(list, fmt.Sprint(f["event"], " ", f["data"]))
		}
	}
	return list
}

// ack acknowledges all that has come, or the seq alone.
func (r *reading) ack(what string) {
	r.send(`{"type":"ack","id":1,` + what + `}`)
	synctest.Wait()
}

// What was put off for the night comes in the morning, within a minute, by the rules that
// there were when it was pushed.
func TestWhatWasPutOffForTheNightComesInTheMorning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		night := skein.Category{Quiet: "22:00-08:00"}
		time.Sleep(7*time.Hour + 58*time.Minute)
		s := pushBubble(t, map[string]skein.Category{"night": night}, nil)
		s.verb("categories.put", `{"name":"kept","quiet":{"from":"22:00","to":"08:00"}}`)
		ann := s.reader()
		same(t, "in the night", []string{s.push("night", "one"), s.push("kept", "two"), s.push("night", "three")}, []string{"queued", "queued", "queued"})
		s.verb("categories.put", `{"name":"kept","caps":[{"per":"day","max":0}],"on_cap":"drop"}`)
		e := s.verb("explain", `{"user":"ann","category":"night"}`)
		same(t, "why", []any{e["deliver"], e["outcome"], e["rule"], e["quiet"], e["until"]}, []any{false, "queued", "quiet hours 22:00-08:00", true, float64(time.Now().Add(2 * time.Minute).UnixMilli())})
		time.Sleep(2*time.Minute - time.Second)
		same(t, "a second before", ann.came(), []string(nil))
		time.Sleep(time.Minute + 2*time.Second)
		got := ann.came() // what came first may have come again
		slices.Sort(got)
		same(t, "in the morning", slices.Compact(got), []string{"one", "three", "two"})
		same(t, "at once now", s.push("night", "four"), "queued")
		same(t, "at once", ann.came(), []string{"four"})
	})
}

// What a cap puts off comes when the next day begins, where the user is; there it counts.
func TestWhatACapPutsOffComesOnTheNextDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daily := skein.Category{Caps: []string{"2 per day"}, OnCap: "defer"}
		time.Sleep(14*time.Hour + 58*time.Minute)
		s := pushBubble(t, map[string]skein.Category{"daily": daily}, nil)
		s.verb("users.put", `{"id":"ann","attributes":{"tz":"Asia/Tokyo"}}`) // where it is 23:58
		ann := s.reader()
		for _, data := range []string{"1", "2", "3"} {
			same(t, data, s.push("daily", data), "queued")
		}
		same(t, "on the first day", ann.came(), []string{"1", "2"})
		ann.ack(`"seq":3`) // not what was put off
		time.Sleep(2*time.Minute - time.Second)
		same(t, "before midnight", ann.came(), []string(nil))
		time.Sleep(time.Minute + 2*time.Second)
		same(t, "after midnight", slices.Compact(ann.came()), []string{"3"}) // it may have come again
		s.push("daily", "4")
		s.push("daily", "5")
		same(t, "on the second day", ann.came(), []string{"4"})
	})
}

// A slot is of the day on which its message is first sent: who comes back on another day gets
// what that day lets through.
func TestASlotIsOfTheDayOnWhichItsMessageIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daily := skein.Category{Caps: []string{"3 per day"}}
		urgent := skein.Category{Parent: "daily", Priority: new(8)}
		time.Sleep(23*time.Hour + 58*time.Minute)
		s := pushBubble(t, map[string]skein.Category{"daily": daily, "urgent": urgent}, nil)
		same(t, "on the first day", []string{s.push("daily", "1"), s.push("urgent", "2"), s.push("daily", "3"), s.push("daily", "4")}, []string{"queued", "queued", "queued", "capped"})
		time.Sleep(3 * time.Minute)
		same(t, "on the second day", []string{s.push("daily", "5"), s.push("daily", "6"), s.push("daily", "7"), s.push("daily", "8")}, []string{"queued", "queued", "queued", "capped"})
		ann := s.reader()
		synctest.Wait()
		// 4 and 8 could not come when they were pushed, 1, 3 and 5 cannot now.
		same(t, "who comes back", ann.came(), []string{"2", "6", "7", `held map[categories:map[daily:5] count:5]`})
		same(t, "a day has three", s.push("urgent", "9"), "capped")
	})
}

// What nobody acknowledges is told to the application when it is time; after an error it
// is told again, later each time; what one device acknowledges is not told any more.
func TestWhatNobodyAcknowledgesIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := newClock()
		told := &list[skein.Escalation]{}
		failures := 2
		s := pushBubble(t, map[string]skein.Category{"urgent": {Escalate: skein.Duration(time.Minute)}}, func(s *skein.Server) {
			s.OnEscalate(func(_ context.Context, e skein.Escalation) error {
				times.tick()
				told.add(e)
				if failures--; failures >= 0 {
					return errors.New("nobody is in the office")
				}
				return nil
			})
		})
		ann, desk := s.reader(), s.reader()
		first := decoded[pushResult](t, s.verb("push", pushParams("ann", "help", `,"category":"urgent","event":"alarm","expires":"2h"`)))
		began := time.Now()
		seen := decoded[pushResult](t, s.verb("push", pushParams("ann", "seen", `,"category":"urgent"`)))
		s.verb("push", pushParams("ann", "quietly", `,"category":"urgent","escalate":"0s"`))
		s.verb("push", pushParams("bob", "later", `,"category":"urgent","escalate":"3m"`))
		synctest.Wait()
		for _, r := range []*reading{ann, desk} {
			same(t, "what comes", r.came(), []string{"help", "seen", "quietly"})
		}
		desk.ack(fmt.Sprintf(`"messages":[%q]`, seen.ID))
		time.Sleep(5 * time.Minute)
		all := told.take()
		same(t, "how often", len(all), 4)
		want := skein.Escalation{
			User: "ann", Online: true, Message: first.ID, Seq: 1, Event: "alarm", Data: []byte(`"help"`), Category: "urgent",
			Time: began, Expires: began.Add(2 * time.Hour),
		}
		for i, e := range all[:3] {
			if !e.Time.Equal(want.Time) || !e.Expires.Equal(want.Expires) {
				t.Errorf("%d: the times are %v and %v", i, e.Time, e.Expires)
			}
			e.Time, e.Expires = want.Time, want.Expires
			same(t, fmt.Sprint("told ", i), e, want)
		}
		same(t, "then", []any{all[3].User, all[3].Online, string(all[3].Data)}, []any{"bob", false, `"later"`})
		at := times.take()
		for i, want := range seconds(60, 70, 90, 180) {
			if got := at[i]; got < want || got > want+3*time.Second {
				t.Errorf("it was told after %v, want %v", got, want)
			}
		}
		// It is open all the same, and was sent three times more.
		same(t, "again", ann.came(), []string{"help", "quietly", "help", "quietly", "help", "quietly"})
		ann.ack(`"seq":1`)
		same(t, "what became of it", s.verb("records", fmt.Sprintf(`{"message":%q}`, first.ID))["items"].([]any)[0].(map[string]any)["outcome"], any("delivered"))
	})
}
