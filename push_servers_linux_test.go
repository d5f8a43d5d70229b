package skein_test

import (
	"fmt"
	"testing"
	"time"
)

// Two servers on one database are one: what is pushed on one comes to the devices on the
// other, and an acknowledgement, a mark, a mute or a withdrawal on one counts on both.
func TestTwoServersShareInboxes(t *testing.T) {
	pushCluster.hold(t)
	t.Parallel()
	cfg := pushConfig("")
	cfg.Database = pushCluster.server(t).Database(t)
	a, b := start(t, cfg), start(t, cfg)
	phone, desk := a.device("ann", "phone"), b.device("ann", "desk")
	first := a.pushes("ann", "on the first", "")
	second := b.pushes("ann", "on the second", "")
	began := time.Now()
	for _, d := range []*device{phone, desk} {
		msgs := d.gets(2)
		same(t, "what comes", [2]string{msgs[0].name(), msgs[1].name()}, [2]string{first.ID, second.ID})
		same(t, "seqs", seqs(msgs), []uint64{1, 2})
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	same(t, "acknowledged there", desk.must(`{"type":"ack","seq":2}`).Acked, 2)
	same(t, "and here", phone.must(`{"type":"ack","seq":2}`).Acked, 0)
	same(t, "who comes here", a.device("ann", "").has(), []string{})
	r := a.records(`"user":"ann"`)
	same(t, "the records", []string{r[0].ended(), r[1].ended(), r[0].Device}, []string{"delivered", "delivered", "desk"})

	same(t, "marked there", string(desk.must(`{"type":"mark","channel":"@inbox","read":1}`).Read), "1")
	same(t, "and here", string(phone.must(`{"type":"history","channel":"@inbox"}`).Read), "1")
	phone.must(`{"type":"mute","category":"promo","muted":true}`)
	same(t, "muted here and there", b.pushes("ann", "muted", `,"category":"promo"`).Counts, map[string]int64{"muted": 1})
	b.verb("categories.put", `{"name":"fresh","caps":[{"per":"500h","max":1}]}`)
	eventually(t, "a category is known to both", func() bool {
		status, _ := a.api("explain", `{"user":"ann","category":"fresh"}`)
		return status == 200
	})
	same(t, "a cap is one for both", []map[string]int64{a.pushes("ben", "1", `,"category":"fresh"`).Counts, b.pushes("ben", "2", `,"category":"fresh"`).Counts},
		[]map[string]int64{{"queued": 1}, {"capped": 1}})
	gone := a.pushes("carl ann", "gone", "")
	desk.gets(3)
	b.verb("recall", fmt.Sprintf(`{"message":%q}`, gone.ID))
	same(t, "withdrawn there", a.outcomes(gone.ID), map[string]string{"ann": "recalled", "carl": "recalled"})
	same(t, "who comes here", a.device("carl", "").has(), []string{})
	all := b.pushes(`{"all":"users"}`, "for all", "")
	for _, d := range []*device{phone, desk} {
		d.until("what is for all", func() bool { return len(d.msgs) > 0 && d.msgs[len(d.msgs)-1].name() == all.ID })
	}
	// A key is one for both.
	one, again := a.pushes("ben", "once", `,"key":"k"`), b.pushes("ben", "once", `,"key":"k"`)
	if one.ID != again.ID || !again.Duplicate {
		t.Errorf("the repeat on the other server is answered by %+v after %+v", again, one)
	}
}

// A campaign that one server has begun is finished by the other when the first one is
// killed, and everybody has got it once.
func TestACampaignOutlivesItsServer(t *testing.T) {
	if servePushes(t) {
		return
	}
	pushCluster.hold(t)
	t.Parallel()
	const audience, pace = 1200, 300
	url := pushCluster.server(t).Database(t)
	c, s := pushServer(t, t.Name(), url)
	list := make([]string, audience)
	for i := range list {
		list[i] = fmt.Sprint("user", i)
	}
	made := s.calls("campaigns.create", fmt.Sprintf(`{"name":"winter","to":%s,"data":"hello","pace":%d}`, users(list...), pace))
	campaign := fmt.Sprintf(`{"id":%q}`, made["id"])
	s.calls("campaigns.start", campaign)
	eventually(t, "it is under way", func() bool { return s.calls("campaigns.get", campaign)["progress"].(float64) > 0 })
	other := start(t, pushStore(url))
	last := other.device(list[audience-1], "") // who is there gets it from whichever server
	c.died(t)
	state := other.verb("campaigns.get", campaign)
	if progress := state["progress"].(float64); state["state"] != "running" || progress == 0 || progress >= audience {
		t.Fatalf("after the kill it is %v", state)
	}
	// The claim of a server that has died lasts for half a minute.
	claim := time.Now().Add(40 * time.Second)
	eventuallyUntil(t, claim, "it goes on", func() bool { return other.verb("campaigns.get", campaign)["progress"] != state["progress"] })
	eventuallyUntil(t, claim.Add(2*patience), "it is done", func() bool { return other.verb("campaigns.get", campaign)["state"] == "done" })
	same(t, "who was last", datas(last.gets(1)), []string{"hello"})
	got := other.outcomes(last.msgs[0].name())
	if len(got) != audience {
		t.Errorf("%d users have it, want %d", len(got), audience)
	}
	for _, user := range list {
		if got[user] != "queued" && user != last.user {
			t.Fatalf("it is %q for %s", got[user], user)
		}
	}
	same(t, "nothing comes twice", last.has(), []string{"hello"})
}

// eventuallyUntil is eventually for what takes longer than anybody is patient.
func eventuallyUntil(t *testing.T, until time.Time, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(until) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-tick.C
	}
}
