package skein_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skein-realtime/skein/test/pgtest"
)

// While PostgreSQL is away, pushes and acknowledgements are refused at once, nobody loses
// the connection, and when it is back everything goes on by itself: nothing that was
// accepted is missing or there twice, what was acknowledged stays so, and the campaign that
// was under way reaches everybody once.
func TestAKilledDatabaseLosesNoPush(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	const audience = 1200
	cfg := pushConfig("")
	cfg.Database = pg.Database(t)
	log := &logbook{}
	cfg.Logger = log.logger()
	s := start(t, cfg)
	crowd := newCrowd(t, 4)
	list := append([]string{}, crowd.users...)
	for i := len(list); i < audience; i++ {
		list = append(list, fmt.Sprint("user", i))
	}
	made := s.verb("campaigns.create", fmt.Sprintf(`{"name":"winter","to":%s,"data":"campaign","pace":300}`, users(list...)))
	campaign := fmt.Sprintf(`{"id":%q}`, made["id"])
	s.verb("campaigns.start", campaign)
	quiet := s.device("quiet", "") // stays connected all the time
	crowd.begin(s, 3)
	for range 2 {
		crowd.more(10)
		pg.Kill()
		crowd.isRefused()
		if status, out := s.api("push", pushParams("quiet", "refused", "")); status != 503 || out["code"] != "unavailable" || out["retry_after"] == nil {
			t.Errorf("the API answers %d %v", status, out)
		}
		if f := quiet.refused(`{"type":"history","channel":"@inbox"}`, "unavailable"); f.RetryAfter == 0 {
			t.Errorf("got %+v", f)
		}
		quiet.refused(`{"type":"ack","seq":1}`, "unavailable")
		pg.Restart(t)
	}
	crowd.more(10)
	crowd.stop(s)
	state := map[string]any{}
	eventually(t, "the campaign is done", func() bool { state = s.verb("campaigns.get", campaign); return state["state"] == "done" })
	if got := s.outcomes(state["message"].(string)); len(got) != audience || state["progress"] != float64(audience) {
		t.Errorf("%d users have the message of the campaign, which is %v", len(got), state)
	}
	r := s.pushes("quiet", "at last", "")
	msgs := quiet.gets(1)
	if m := msgs[len(msgs)-1]; m.name() != r.ID {
		t.Errorf("got %+v, want %s", m, r.ID)
	}
	if n := strings.Count(log.String(), "the store could not do what inboxes need"); n == 0 || n > 100 {
		t.Errorf("the log says %d times that the database is away", n)
	}
	// Whether a push was stored whose connection broke during the commit nobody knows; its author
	// has repeated it with its key.
	crowd.agree(s, 1)
}
