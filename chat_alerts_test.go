package skein_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/skein-realtime/skein"
)

// alerts lists what stands in the inbox of a user, the oldest first: category, place and
// outcome. It waits until there are so many.
func (s *testServer) alerts(user string, count int) (list []string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d alerts of %s", count, user), func() bool {
		list = []string{}
		for _, item := range s.verb("inbox.list", `{"user":"`+user+`"}`)["items"].([]any) {
			m := item.(map[string]any)
			data := m["data"].(map[string]any)
			list = append(list, fmt.Sprintf("%s %s/%v %s", m["category"], data["channel"], data["seq"], m["outcome"]))
		}
		return len(list) >= count
	})
	return list
}

// settle waits until all that has been said so far has been looked at: the alert of a later
// message in the same conversation is there.
func (s *testServer) settle(channel, user string) {
	s.t.Helper()
	r := s.verb("publish", `{"to":{"channel":"`+channel+`"},"data":"the end"}`)
	want := fmt.Sprintf("chat %s/%v ", channel, r["seq"])
	eventually(s.t, "the last alert of "+user, func() bool {
		return slices.ContainsFunc(s.alerts(user, 0), func(line string) bool { return strings.HasPrefix(line, want) })
	})
}

func TestWhoIsAwayIsAlerted(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann, eve := s.party("websocket", "ann"), s.party("websocket", "eve")
		ann.ok(`{"type":"pub","channel":"dm:ann:bob","data":{"text":"hi"}}`)
		s.alerts("bob", 1)
		bob := s.party("websocket", "bob")
		alert := bob.until("msg", func(f map[string]any) bool { return f["channel"] == "@inbox" })
		data := alert["data"].(map[string]any)
		same(t, "the alert", []any{alert["event"], alert["category"], alert["collapse"]}, []any{"chat", "chat", "chat:dm:ann:bob"})
		same(t, "its data", members(data, "channel", "seq", "from", "event", "data", "mention"), jsonObject(t, `{"channel":"dm:ann:bob","seq":1,"from":"ann","event":"message","data":{"text":"hi"}}`))
		if id, _ := data["id"].(string); len(id) != 26 {
			t.Errorf("the message has the id %q", id)
		}
		ann.say("dm:ann:bob", `"while he is there"`)
		bob.until("msg", func(f map[string]any) bool { return f["channel"] == "dm:ann:bob" && f["seq"] == 2.0 })
		bob.leave()
		eventually(t, "bob to be gone", func() bool { return s.stat("users") == 2 })

		// A group: who is named, who wants to be told of what, and who has blocked whom.
		s.verb("chat.create", `{"channel":"team:1","by":"ann","users":["eve","away","named","loud","still","blocks"]}`)
		for user, level := range map[string]string{"loud": "all", "still": "none", "named": "mentions"} {
			s.verb("chat.alerts", `{"channel":"team:1","user":"`+user+`","level":"`+level+`"}`)
		}
		s.verb("chat.block", `{"user":"blocks","peer":"ann","blocked":true}`)
		ann.ok(`{"type":"pub","channel":"team:1","data":"plain"}`)
		ann.ok(`{"type":"pub","channel":"team:1","data":"named","mentions":["named","still"]}`)
		for user, want := range map[string][]string{
			"away": {"chat team:1/2 queued"}, "loud": {"chat team:1/2 queued"}, "named": {"mention team:1/2 queued"},
		} {
			eventually(t, "the alerts of "+user, func() bool { return slices.Equal(s.alerts(user, 0), want) })
		}
		s.settle("team:1", "away") // by the server, whom nobody has blocked
		for _, user := range []string{"still", "blocks"} {
			want := map[string][]string{"still": {}, "blocks": {"chat team:1/3 queued"}}[user]
			same(t, "the alerts of "+user, s.alerts(user, len(want)), want)
		}
		same(t, "the alerts of one who is there", len(s.alerts("eve", 0)), 0)
		eve.nothing("error")
	})
}

func TestAConversationHasOneAlertInACategory(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann := s.party("websocket", "ann")
		for range 5 {
			ann.say("dm:ann:bob", `"are you there?"`)
		}
		eventually(t, "the newest alert", func() bool { return slices.Equal(s.alerts("bob", 0), []string{"chat dm:ann:bob/5 queued"}) })
		reasons := map[any]int{}
		for _, r := range s.verb("records", `{"user":"bob"}`)["items"].([]any) {
			reasons[r.(map[string]any)["reason"]]++
		}
		same(t, "records", reasons, map[any]int{nil: 1, "replaced": 4})
	})
}

func TestReadingEndsAlerts(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann := s.party("websocket", "ann")
		ann.say("dm:ann:bob", `1`)
		ann.ok(`{"type":"pub","channel":"dm:ann:bob","data":2,"mentions":["bob"]}`)
		same(t, "alerts", s.alerts("bob", 2), []string{"chat dm:ann:bob/1 queued", "mention dm:ann:bob/2 queued"})
		phone, pad := s.party("websocket", "bob"), s.party("sse", "bob")
		inbox := func(f map[string]any) bool { return f["channel"] == "@inbox" }
		for _, p := range []*party{phone, pad} {
			for seq := 1.0; seq <= 2; seq++ {
				same(t, "what comes", p.until("msg", inbox)["seq"], seq)
			}
		}
		phone.ok(`{"type":"ack","seq":1}`) // of the inbox: one was delivered, the other was not
		pad.ok(`{"type":"mark","channel":"dm:ann:bob","read":1}`)
		pad.ok(`{"type":"mark","channel":"dm:ann:bob","read":2}`)
		for _, p := range []*party{phone, pad} {
			same(t, "what is taken back", members(p.until("recall", inbox), "channel", "seq"), jsonObject(t, `{"channel":"@inbox","seq":2}`))
			p.until("mark", func(f map[string]any) bool { return inbox(f) && f["unread"] == 0.0 })
		}
		same(t, "the inbox", s.alerts("bob", 0), []string{"chat dm:ann:bob/1 delivered"})
		same(t, "unread", s.verb("inbox.list", `{"user":"bob"}`)["unread"], 0.0)

		// Read elsewhere before anything was delivered: nothing comes.
		ann.say("dm:ann:eve", `1`)
		s.alerts("eve", 1)
		s.verb("chat.mark", `{"channel":"dm:ann:eve","user":"eve","read":1}`)
		eventually(t, "the alert to end", func() bool { return len(s.alerts("eve", 0)) == 0 })
		record := s.verb("records", `{"user":"eve"}`)["items"].([]any)[0].(map[string]any)
		same(t, "the record", members(record, "outcome", "reason"), jsonObject(t, `{"outcome":"recalled","reason":"read"}`))
		eve := s.party("websocket", "eve")
		eve.nothing("msg", "recall")
		eve.leave()
		eventually(t, "eve to be gone", func() bool { return s.stat("users") == 2 })

		// Who writes has read.
		ann.say("dm:ann:eve", `2`)
		s.alerts("eve", 1)
		away := s.party("poll", "eve")
		away.say("dm:ann:eve", `3`)
		eventually(t, "the alert to end", func() bool { return len(s.alerts("eve", 0)) == 0 })
	})
}

func TestAlertsOfACategoryThatComesLater(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		var log logbook
		c := chattingConfig(cfg())
		delete(c.Categories, "chat")
		c.Logger = log.logger()
		s := start(t, c)
		ann := s.party("websocket", "ann")
		for range 3 {
			ann.say("dm:ann:bob", `"early"`)
		}
		eventually(t, "the warning", func() bool { return strings.Contains(log.String(), "there is no such category") })
		s.verb("categories.put", `{"name":"chat"}`)
		s.settle("dm:ann:bob", "bob")
		same(t, "warnings", strings.Count(log.String(), "there is no such category"), 1)
		same(t, "alerts", s.alerts("bob", 1), []string{"chat dm:ann:bob/4 queued"})
	})
}
