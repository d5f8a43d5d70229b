package skein_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

func TestAnAuthorEditsAndRecallsWhatHeHasSaid(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("ann"), s.talks("bob")
		ann.says("dm:ann:bob", "hi")
		bob.hears("dm:ann:bob", 1, "hi")
		ann.hears("dm:ann:bob", 1, "hi")
		ann.ok(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"hello"}`)
		for _, c := range []*talker{ann, bob} {
			e := c.next("edit")
			same(t, "the edit", []any{e["seq"], e["event"], e["data"], e["edited"], e["from"].(map[string]any)["user"]}, []any{1.0, "message", "hello", true, "ann"})
			if e["at"].(float64) < e["time"].(float64) {
				t.Errorf("edited at %v, said at %v", e["at"], e["time"])
			}
		}
		ann.ok(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"hello"}`) // nothing changes, so nobody is told
		ann.ok(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"hello","event":"greeting"}`)
		same(t, "another event", bob.next("edit")["event"], "greeting")
		kept := bob.ok(`{"type":"history","channel":"dm:ann:bob"}`)["messages"].([]any)[0].(map[string]any)
		same(t, "the history", []any{kept["data"], kept["event"], kept["edited"]}, []any{"hello", "greeting", true})
		same(t, "the call", ann.call("chat.edit", `{"channel":"dm:ann:bob","seq":1,"data":"hey"}`)["id"], kept["id"])
		same(t, "its event stays", bob.next("edit")["event"], "greeting")

		for _, c := range []*talker{bob} {
			c.refused(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"no"}`, "denied", "not the user's")
			c.refused(`{"type":"recall","channel":"dm:ann:bob","seq":1}`, "denied", "not the user's")
			c.refused(callFrame("chat.edit", `{"channel":"dm:ann:bob","seq":1,"data":"no","by":"ann"}`), "denied", "not the user's")
		}
		for _, tc := range []struct{ frame, code, word string }{
			{`{"type":"edit","channel":"dm:ann:bob","seq":2,"data":1}`, "not_found", "seq"},
			{`{"type":"recall","channel":"dm:ann:bob","seq":2}`, "not_found", "seq"},
			{`{"type":"edit","channel":"dm:ann:bob","data":1}`, "bad_request", "seq"},
			{`{"type":"edit","channel":"dm:ann:bob","seq":0,"data":1}`, "bad_request", "seq"},
			{`{"type":"edit","channel":"dm:ann:bob","seq":1}`, "bad_request", "data"},
			{`{"type":"edit","channel":"plain:1","seq":1,"data":1}`, "bad_request", "no conversation"},
			{`{"type":"recall","channel":"plain:1","seq":1}`, "bad_request", "no conversation"},
			{`{"type":"edit","channel":"nowhere:1","seq":1,"data":1}`, "not_found", "not configured"},
		} {
			ann.refused(tc.frame, tc.code, tc.word)
		}
		ann.ok(`{"type":"recall","channel":"dm:ann:bob","seq":1}`)
		same(t, "the recall", bob.next("recall")["seq"], 1.0)
		ann.refused(`{"type":"recall","channel":"dm:ann:bob","seq":1}`, "not_found", "seq")
		ann.refused(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":1}`, "not_found", "seq")
		bob.rest()

		// Where it says never, it is never.
		carl := s.talks("carl")
		carl.says("shy:ann:carl", 1)
		carl.refused(`{"type":"edit","channel":"shy:ann:carl","seq":1,"data":2}`, "denied", "no right to edit")
		carl.refused(`{"type":"recall","channel":"shy:ann:carl","seq":1}`, "denied", "no right to recall")
		same(t, "the server may", s.verb("chat.edit", `{"channel":"shy:ann:carl","seq":1,"data":2}`)["id"] != nil, true)
	})
}

func TestTimeToEditAndRecallRunsOut(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := chats(cfg())
		ns := c.Namespaces["dm"]
		ns.Chat.Edit, ns.Chat.Recall = new(skein.Duration(time.Millisecond)), new(skein.Duration(time.Millisecond))
		c.Namespaces["dm"] = ns
		s := start(t, c)
		ann := s.talks("ann")
		ann.says("dm:ann:bob", 1)
		late := func(frame string) func() bool {
			return func() bool { return ann.ask(frame)["code"] == "denied" }
		}
		eventually(t, "it to be too late for an edit", late(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":`+fmt.Sprint(time.Now().UnixNano())+`}`))
		ann.refused(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"late"}`, "denied", "too late")
		ann.refused(`{"type":"recall","channel":"dm:ann:bob","seq":1}`, "denied", "too late")
	})
}

func TestAdminsRecallWhatThoseBelowThemHaveSaid(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob, carl, dora := s.talks("ann"), s.talks("bob"), s.talks("carl"), s.talks("dora")
		ann.call("chat.create", `{"channel":"group:1","users":["carl"]}`)
		ann.call("chat.invite", `{"channel":"group:1","users":["bob","dora"],"role":"admin"}`)
		ann.says("group:1", "the owner")                                      // 1
		bob.says("group:1", "an admin")                                       // 2
		carl.says("group:1", "a member")                                      // 3
		dora.says("group:1", "an admin")                                      // 4
		carl.says("group:1", "once more")                                     // 5
		carl.says("group:1", "and again")                                     // 6
		s.verb("publish", `{"to":{"channel":"group:1"},"data":"the server"}`) // 7
		carl.refused(`{"type":"recall","channel":"group:1","seq":2}`, "denied", "not the user's")
		bob.refused(`{"type":"recall","channel":"group:1","seq":1}`, "denied", "smaller")
		bob.refused(`{"type":"recall","channel":"group:1","seq":4}`, "denied", "smaller")
		bob.refused(`{"type":"recall","channel":"group:1","seq":7}`, "denied", "")
		bob.ok(`{"type":"recall","channel":"group:1","seq":3}`)
		same(t, "the recall", carl.next("recall")["seq"], 3.0)
		ann.ok(`{"type":"recall","channel":"group:1","seq":2}`)
		carl.call("chat.leave", `{"channel":"group:1"}`)
		carl.refused(`{"type":"recall","channel":"group:1","seq":5}`, "denied", "")
		dora.ok(`{"type":"recall","channel":"group:1","seq":5}`) // of one who is no member any more
		s.verb("chat.invite", `{"channel":"group:1","users":["carl"],"role":"reader"}`)
		carl.refused(`{"type":"recall","channel":"group:1","seq":6}`, "denied", "")
		carl.refused(`{"type":"edit","channel":"group:1","seq":6,"data":1}`, "denied", "reader")
		bob.refused(`{"type":"edit","channel":"group:1","seq":6,"data":1}`, "denied", "not the user's")
		same(t, "for its author", s.verb("chat.edit", `{"channel":"group:1","seq":4,"data":"better","by":"dora"}`)["id"] != nil, true)
	})
}

func TestTheApplicationJudgesEditsAsItJudgesMessages(t *testing.T) {
	cfg := chats(open())
	cfg.Data = t.TempDir()
	asked := make(chan string, 10)
	s := startWith(t, cfg, func(s *skein.Server) {
		s.OnMessage("dm", func(_ context.Context, m *skein.Message) error {
			asked <- fmt.Sprint(m.Edit, " ", m.Event, " ", string(m.Data))
			switch text := string(m.Data); {
			case strings.Contains(text, "damn"):
				return skein.NewError("denied", "not like that")
			case strings.Contains(text, "darn"):
				m.Data = []byte(`"…"`)
			case strings.Contains(text, "help"):
				m.Reply("call us")
			}
			m.Allow = true // which opens nothing in a conversation
			return nil
		})
	})
	ann, bob, eve := s.talks("ann"), s.talks("bob"), s.talks("eve")
	ann.says("dm:ann:bob", "one")
	same(t, "asked about a message", <-asked, `0 message "one"`)
	ann.refused(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"damn"}`, "denied", "not like that")
	same(t, "asked about an edit", <-asked, `1 message "damn"`)
	ann.refused(callFrame("chat.edit", `{"channel":"dm:ann:bob","seq":1,"data":"damn"}`), "denied", "not like that")
	<-asked
	same(t, "answered", ann.ok(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"help"}`)["reply"], "call us")
	<-asked
	same(t, "answered a call", ann.call("chat.edit", `{"channel":"dm:ann:bob","seq":1,"data":"help"}`)["reply"], "call us")
	<-asked
	ann.ok(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"darn","event":"oath"}`)
	same(t, "with its event", <-asked, `1 oath "darn"`)
	bob.next("msg")
	e := bob.next("edit")
	same(t, "changed", []any{e["event"], e["data"]}, []any{"oath", "…"})
	eve.refused(`{"type":"pub","channel":"dm:ann:bob","data":"let me"}`, "denied", "")
	eve.refused(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":"let me"}`, "denied", "")
	if len(asked) > 0 {
		t.Errorf("the application was asked about what the rules refuse: %s", <-asked)
	}
}

func TestMethodsOfTheApplicationLeaveThoseOfTheServerAlone(t *testing.T) {
	cfg := chats(open())
	cfg.Data = t.TempDir()
	s := startWith(t, cfg, func(s *skein.Server) {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "chat.create") {
				t.Errorf("it panics with %v", p)
			}
		}()
		s.OnCall("chat.create", func(context.Context, *skein.Conn, []byte) ([]byte, error) { return nil, nil })
	})
	same(t, "the server answers", s.talks("ann").call("chat.create", `{"channel":"group:1"}`)["role"], "owner")

	without := startWith(t, open(), func(s *skein.Server) {
		s.OnCall("chat.create", func(context.Context, *skein.Conn, []byte) ([]byte, error) { return []byte(`{"mine":true}`), nil })
	})
	same(t, "without conversations the application does", without.talks("ann").call("chat.create", `{}`)["mine"], true)
}

// S3.3: an app and a toy talk directly, with capabilities in their tokens; another family's
// cannot be reached.
func TestAnAppAndAToyTalkDirectly(t *testing.T) {
	conversingWith := func(t *testing.T, cfg skein.Config) {
		cfg = chats(cfg)
		cfg.Dev, cfg.Auth = false, skein.Auth{JWT: skein.JWT{HMACSecret: secret, Issuer: "shop", Audience: "live"}}
		s := start(t, cfg)
		enter := func(user, rights string) *talker {
			c := s.dial("token=" + token(t, auth.Identity{User: user, Caps: caps(t, map[string]string{"wire:*": rights})}))
			c.expect("welcome")
			return &talker{client: c, user: user}
		}
		s.verb("members.add", `{"channel":"family:12","users":["app","toy"]}`)
		s.verb("members.add", `{"channel":"family:13","users":["bear","eve"]}`)
		app, toy := enter("app", "sub pub history"), enter("toy", "sub history")
		mute, deaf := enter("app", "history"), enter("toy", "pub")
		for _, c := range []*talker{app, toy, mute, deaf} {
			c.rest() // of the family's channel
		}
		ok := app.ok(`{"type":"pub","channel":"wire:app:toy","data":{"ring":true}}`)
		same(t, "who is there", []any{ok["users"], ok["stored"]}, []any{1.0, true})
		toy.next("subscribed")
		same(t, "the toy hears", toy.next("msg")["data"], map[string]any{"ring": true})
		app.next("msg")
		toy.refused(`{"type":"pub","channel":"wire:app:toy","data":1}`, "denied", "publish")
		toy.refused(`{"type":"recall","channel":"wire:app:toy","seq":1}`, "denied", "publish")
		mute.refused(`{"type":"pub","channel":"wire:app:toy","data":1}`, "denied", "publish")
		mute.refused(`{"type":"sub","channel":"wire:app:toy"}`, "denied", "subscribe")
		mute.ok(`{"type":"history","channel":"wire:app:toy"}`)
		deaf.refused(`{"type":"sub","channel":"wire:app:toy"}`, "denied", "subscribe")
		deaf.ok(`{"type":"pub","channel":"wire:app:toy","data":2}`)
		app.next("msg")
		for _, c := range []*talker{mute, deaf} {
			c.quiet() // they are members, and their tokens do not let them hear
		}

		eve, bear := enter("eve", "*"), enter("bear", "*")
		for _, frame := range []string{
			`{"type":"pub","channel":"wire:eve:toy","data":1}`, `{"type":"sub","channel":"wire:eve:toy"}`, `{"type":"notice","channel":"wire:eve:toy","event":"ring"}`,
		} {
			eve.refused(frame, "denied", "family")
		}
		for _, frame := range []string{`{"type":"pub","channel":"wire:app:toy","data":1}`, `{"type":"sub","channel":"wire:app:toy"}`, `{"type":"history","channel":"wire:app:toy"}`} {
			eve.refused(frame, "denied", "no right")
		}
		eve.rest()
		same(t, "her own family", eve.says("wire:bear:eve", 1), 1)
		bear.next("msg")

		// Who has left the family cannot be written to any more, and reads what there was.
		s.verb("members.remove", `{"channel":"family:12","users":["toy"]}`)
		app.refused(`{"type":"pub","channel":"wire:app:toy","data":3}`, "denied", "family")
		toy.ok(`{"type":"history","channel":"wire:app:toy"}`)
		toy.ok(`{"type":"sub","channel":"wire:app:toy","last":1}`)
	}
	onStores(t, func(t *testing.T, cfg func() skein.Config) { conversingWith(t, cfg()) })
}
