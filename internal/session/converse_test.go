package session_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

func TestInAConversationNothingTakesThePlaceOfAMembership(t *testing.T) {
	w := start(t, defaults())
	all, err := auth.ParseCaps(map[string][]string{"*": {"*"}})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	w.SetHooks(session.Hooks{
		IsMember: func(context.Context, string, string) (bool, error) { return true, nil },
		Converse: func(_ context.Context, _ *hub.Space, verb auth.Verb, channel, user string) error {
			if asked++; user != "ann" {
				return fault.New(fault.NotFound, "nobody knows %s", user)
			}
			return nil
		},
	})
	ann, capable, eve := auth.Identity{User: "ann"}, auth.Identity{User: "ann", Caps: all}, auth.Identity{User: "eve", Caps: all}
	for _, tc := range []struct {
		name string
		rule auth.Who
		who  auth.Identity
		code fault.Code // "": allowed
		asks int
	}{
		{"a member", auth.Member, ann, "", 1},
		{"no member, with every capability", auth.Member, eve, fault.NotFound, 1},
		{"nobody", auth.Member, auth.Identity{}, fault.Unauthorized, 0},
		{"nobody where anyone may", auth.Anyone, auth.Identity{}, fault.Unauthorized, 0},
		{"no member where anyone may", auth.Anyone, eve, fault.NotFound, 1},
		{"a member without the capability", auth.Token, ann, fault.Denied, 0},
		{"a member with the capability", auth.Token, capable, "", 1},
		{"a member where the server alone may", auth.Server, capable, fault.Denied, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			space := &hub.Space{Name: "dm", Kind: hub.KindLog, Subscribe: tc.rule, Publish: tc.rule, History: tc.rule, PresenceTo: tc.rule, Chat: &hub.Chat{Direct: true}}
			for _, verb := range []auth.Verb{auth.Sub, auth.Pub, auth.History, auth.Presence} {
				asked = 0
				may, err := w.Right(t.Context(), space, verb, "dm:ann:bob", tc.who)
				var code fault.Code
				if e := fault.Of(err); e != nil {
					code = e.Code
				}
				if may != (tc.code == "") || code != tc.code || asked != tc.asks {
					t.Errorf("%s: %v, %v; asked %d times", verb, may, err, asked)
				}
				if session.Allowed(space, verb, "dm:ann:bob", tc.who) {
					t.Errorf("%s is allowed without a look at the members", verb)
				}
			}
		})
	}
}

func TestWhoLosesTheCapabilityLeavesAConversation(t *testing.T) {
	w := start(t, defaults())
	space := &hub.Space{Name: "team", Kind: "event", Subscribe: auth.Token, Chat: &hub.Chat{}}
	open := &hub.Space{Name: "open", Kind: "event", Subscribe: auth.Member, Chat: &hub.Chat{}}
	w.Hub.SetSpaces([]*hub.Space{space, open})
	caps, err := auth.ParseCaps(map[string][]string{"team:*": {"sub"}})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Open(session.Opening{Token: w.token(auth.Identity{User: "ann", Caps: caps})})
	c.Expect("welcome")
	for _, s := range []*hub.Space{space, open} {
		for channel, by := range map[string]hub.Reason{s.Name + ":member": hub.Membership, s.Name + ":asked": hub.Asked | hub.Membership, s.Name + ":server": hub.Ordered} {
			if _, err := w.Hub.Subscribe(&c.Conn, channel, s, hub.SubOptions{By: by}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Recheck()
	if got := len(c.Channels()); got != 6 {
		t.Fatalf("with the capability it is in %d channels", got)
	}
	c.Do(`{"type":"refresh","token":"` + w.token(auth.Identity{User: "ann"}) + `"}`)
	left := map[any]any{}
	for range 2 {
		f := c.Expect(protocol.TypeUnsubscribed)
		left[f["channel"]] = f["reason"]
	}
	if diff := cmp.Diff(map[any]any{"team:member": "denied", "team:asked": "denied"}, left); diff != "" {
		t.Error(diff)
	}
}

func TestTheServersOwnMethodsComeFirst(t *testing.T) {
	w := start(t, defaults())
	there := true
	w.HandleCall("chat.get", func(context.Context, *session.Session, []byte) ([]byte, error) {
		return []byte(`"the application"`), nil
	})
	w.HandleOwnCalls("chat.", func() bool { return there }, func(_ context.Context, s *session.Session, method string, data []byte) ([]byte, error) {
		if method != "chat.get" {
			return nil, fault.New(fault.NotFound, "method: %q is not known", method)
		}
		return data, nil
	})
	c := w.user("ann")
	if f := c.Do(`{"type":"call","method":"chat.get","data":7}`); f["data"] != 7.0 || !w.OwnCall("chat.get") || w.OwnCall("chatter") {
		t.Errorf("it is answered by %v", f)
	}
	c.Send(`{"type":"call","id":2,"method":"chat.other"}`)
	if f := c.Expect("error"); f["code"] != "not_found" {
		t.Errorf("it is answered by %v", f)
	}
	there = false
	if f := c.Do(`{"type":"call","method":"chat.get","data":7}`); f["data"] != "the application" {
		t.Errorf("without conversations it is answered by %v", f)
	}
}
