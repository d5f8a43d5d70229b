package skein_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// escalations is a backend that is asked to escalate. It does not take the first question of
// each message.
type escalations struct {
	*application
	mu    sync.Mutex // guards all below
	asked map[string][]map[string]any
}

func newEscalations(t *testing.T) *escalations {
	e := &escalations{asked: map[string][]map[string]any{}}
	e.application = backend(t, func(event string, m map[string]any) (int, string) {
		if event != "escalate" {
			t.Errorf("asked is %s", event)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		data := m["message"].(map[string]any)["data"].(string) + " " + m["user"].(string)
		if e.asked[data] = append(e.asked[data], m); len(e.asked[data]) == 1 {
			return 500, "not now"
		}
		return 200, `{}`
	})
	return e
}

// of is how often something was asked, and the last question.
func (e *escalations) of(data string) (int, map[string]any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.asked[data]
	if len(list) == 0 {
		return 0, nil
	}
	return len(list), list[len(list)-1]
}

func (e *escalations) is(data string, n int) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("%s is asked %d times", data, n), func() bool { got, _ := e.of(data); return got >= n })
}

// The backend is asked, with a signature, about what nobody has acknowledged in time, again
// when it fails, and once; what any device has acknowledged is not asked, and what was
// not asked before the server ended is asked by the next one.
func TestTheBackendIsAskedToEscalate(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		e := newEscalations(t)
		c := cfg()
		c.Hooks = skein.Hooks{URL: e.URL, Secret: hookSecret, Events: []string{"escalate"}}
		c.Categories["urgent"] = skein.Category{Escalate: skein.Duration(time.Second)}
		c.Categories["capped"] = skein.Category{Escalate: skein.Duration(time.Second), Caps: []string{"0 per day"}}
		var pushed pushResult
		t.Run("before", func(t *testing.T) {
			s := start(t, c)
			ann, desk := s.device("ann", "phone"), s.device("carl", "desk")
			pushed = s.pushes("ann bob carl", "help", `,"category":"urgent","event":"alarm"`)
			s.pushes("ann", "not to be told", `,"category":"capped"`)
			s.pushes("ann", "never", "")
			desk.acks(desk.gets(1)[0])
			e.is("help ann", 2)
			e.is("help bob", 2)
			_, q := e.of("help ann")
			m := q["message"].(map[string]any)
			if at, ok := m["time"].(float64); !ok || time.Since(time.UnixMilli(int64(at))) > time.Minute {
				t.Errorf("the time is %v", m["time"])
			}
			delete(m, "time")
			same(t, "the question", []any{q["event"], q["user"], q["online"], m}, []any{
				"escalate", "ann", true, map[string]any{"id": pushed.ID, "seq": 1.0, "event": "alarm", "data": "help", "category": "urgent"},
			})
			_, q = e.of("help bob")
			same(t, "of who is away", q["online"], any(false))
			eventually(t, "it is noted", func() bool { return s.metric("skein_push_escalated_total") == 2 })
			same(t, "failures", s.metric("skein_push_escalate_failures_total"), 0.0) // the hook itself has asked again
			// It is still open, and can be delivered.
			same(t, "acknowledged", ann.acks(ann.gets(1)[0]), 1)
			s.pushes("ann bob", "after the end", `,"escalate":"2s"`)
			got := s.pushes("ann bob", "recalled", `,"escalate":"1s"`)
			s.verb("recall", fmt.Sprintf(`{"message":%q}`, got.ID))
		})
		s := start(t, c)
		ann := s.device("ann", "")
		ann.until("what was not acknowledged", func() bool { return slices.Contains(datas(ann.msgs), "after the end") })
		ann.must(`{"type":"ack","seq":1000}`)
		e.is("after the end bob", 2)
		e.mu.Lock()
		defer e.mu.Unlock()
		for data, list := range e.asked {
			if len(list) != 2 || !slices.Contains([]string{"help ann", "help bob", "after the end bob"}, data) {
				t.Errorf("%s was asked %d times", data, len(list))
			}
		}
		if got := s.outcomes(pushed.ID); got["bob"] != "queued" || got["carl"] != "delivered" {
			t.Errorf("got %v", got)
		}
	})
}

// Without somebody who listens it is said in the log, and the message stays as it is.
func TestAnEscalationThatNobodyHearsIsLogged(t *testing.T) {
	log := &logbook{}
	cfg := pushConfig(t.TempDir())
	cfg.Logger = log.logger()
	s := start(t, cfg)
	r := s.pushes("ann", "help", `,"escalate":"1s"`)
	eventually(t, "the line", func() bool {
		return strings.Contains(log.String(), "hooks.events does not name escalate") && strings.Contains(log.String(), r.ID)
	})
	same(t, "failures", s.metric("skein_push_escalate_failures_total"), 1.0)
	same(t, "it waits", s.outcomes(r.ID), map[string]string{"ann": "queued"})
}
