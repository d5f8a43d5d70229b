package skein_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/skein-realtime/skein"
)

// doorClient is a client behind any door, as far as frames from the server go.
type doorClient struct {
	user string
	id   string
	next func() map[string]any // the next frame, pings aside
}

// frame reads a packet of Socket.IO as the frame that it stands for: what the
// protocol has no packet for is the event skein, and a message is its event.
func (c *ioClient) frame() map[string]any {
	c.t.Helper()
	packet := c.next()
	var args []any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(packet, "42")), &args); err != nil || len(args) != 2 {
		c.t.Fatalf("got %s", packet)
	}
	if f, ok := args[1].(map[string]any); ok && args[0] == "skein" {
		return f
	}
	return map[string]any{"type": "msg", "event": args[0], "data": args[1]}
}

// everyDoor opens a connection of the user sse through SSE, of poll by long poll,
// of socket.io through Socket.IO. What comes with the welcome is still to be read.
func (s *testServer) everyDoor() []*doorClient {
	s.t.Helper()
	e := s.source("user=sse")
	p := s.poller(`{"user":"poll"}`)
	c := s.io("&user=socket.io")
	id := c.connect("/", "")
	polled := s.verb("connections", `{"user":"poll"}`)["items"].([]any)[0].(map[string]any)["id"].(string) // it polls with another one
	return []*doorClient{
		{"sse", e.ID, func() map[string]any {
			for {
				if f, err := e.next(); err != nil {
					s.t.Fatal(err)
				} else if f["type"] != "ping" {
					return f
				}
			}
		}},
		{"poll", polled, func() map[string]any {
			for len(p.got) == 0 {
				p.call()
			}
			f := p.got[0]
			p.got = p.got[1:]
			return f
		}},
		{"socket.io", id, c.frame},
	}
}

// expect takes the next frame, which must have these members.
func (d *doorClient) expect(t testing.TB, want map[string]any) {
	t.Helper()
	f := d.next()
	for name, value := range want {
		if f[name] != value && (name != "channel" || f[name] != nil || d.user != "socket.io") { // an event has no channel
			t.Fatalf("%s got %v, want %v", d.user, f, want)
		}
	}
}

// membersBehindDoors is a server with groups whose Socket.IO clients are in room:all.
func membersBehindDoors(t testing.TB) skein.Config {
	cfg := grouped(t)
	cfg.SocketIO.Namespaces = map[string]skein.SocketIONamespace{"/": {Channel: "room:all"}}
	return cfg
}

const theThree = `["sse","poll","socket.io"]`

func message(channel string, data any) map[string]any {
	return map[string]any{"type": "msg", "channel": channel, "event": "message", "data": data}
}

func TestMembersAreSubscribedAtOnceThroughEveryDoor(t *testing.T) {
	s := start(t, membersBehindDoors(t))
	list := s.everyDoor()
	outsider := s.user("eve")
	same(t, "before", reach(s.verb("publish", `{"to":[{"members":"team:1"},{"channel":"team:1"}],"data":0}`)), [3]any{0.0, 0.0, false})
	for range 2 { // all of it twice
		same(t, "added", s.verb("members.add", `{"channel":"team:1","users":`+theThree+`}`), map[string]any{"count": 3.0, "connections": 3.0, "members": 3.0})
		for _, d := range list {
			d.expect(t, map[string]any{"type": "subscribed", "channel": "team:1", "reason": "server"})
		}
		same(t, "to the members", reach(s.verb("publish", `{"to":{"members":"team:1"},"data":"direct"}`)), [3]any{3.0, 3.0, false})
		same(t, "to the channel", reach(s.verb("publish", `{"to":{"channel":"team:1"},"data":"said"}`)), [3]any{3.0, 3.0, false})
		same(t, "to both", reach(s.verb("publish", `{"to":[{"channel":"team:1"},{"members":"team:1"}],"data":"both"}`)), [3]any{3.0, 3.0, false})
		for _, d := range list {
			got := map[any]bool{}
			for range 3 { // between a channel and what is addressed there is no order
				f := d.next()
				if f["type"] != "msg" || got[f["data"]] {
					t.Fatalf("%s got %v after %v", d.user, f, got)
				}
				got[f["data"]] = true
				if want := map[any]string{"direct": "@direct", "said": "team:1", "both": "team:1"}[f["data"]]; f["channel"] != want && d.user != "socket.io" {
					t.Errorf("%s got %v, want the channel %s", d.user, f, want)
				}
			}
			same(t, "what came", got, map[any]bool{"direct": true, "said": true, "both": true})
		}
		// One goes: from it nothing is to be had, for the others all is as before.
		same(t, "one removed", s.verb("members.remove", `{"channel":"team:1","users":["poll"]}`), map[string]any{"count": 1.0, "connections": 1.0, "members": 2.0})
		list[1].expect(t, map[string]any{"type": "unsubscribed", "channel": "team:1", "reason": "server"})
		same(t, "to the rest", reach(s.verb("publish", `{"to":{"members":"team:1"},"data":"rest"}`)), [3]any{2.0, 2.0, false})
		for _, i := range []int{0, 2} {
			list[i].expect(t, message("@direct", "rest"))
		}
		same(t, "all removed", s.verb("members.remove", `{"channel":"team:1","all":true}`), map[string]any{"count": 2.0, "connections": 2.0, "members": 0.0})
		for _, i := range []int{0, 2} {
			list[i].expect(t, map[string]any{"type": "unsubscribed", "channel": "team:1", "reason": "server"})
		}
		same(t, "to nobody", reach(s.verb("publish", `{"to":[{"members":"team:1"},{"channel":"team:1"}],"data":"nobody"}`)), [3]any{0.0, 0.0, false})
	}
	for _, d := range list { // the next thing that each one gets: nothing came after the removal
		s.verb("publish", fmt.Sprintf(`{"to":{"connection":%q},"data":"last"}`, d.id))
		d.expect(t, message("@direct", "last"))
	}
	outsider.lives()
}

func TestMembersAreSubscribedWhenTheyConnectThroughEveryDoor(t *testing.T) {
	s := start(t, membersBehindDoors(t))
	s.verb("members.add", `{"channel":"team:1","users":`+theThree+`}`)
	s.verb("members.add", `{"channel":"club:1","users":`+theThree+`}`)
	s.verb("publish", `{"to":{"channel":"club:1"},"data":"before"}`)
	list := s.everyDoor()
	for _, d := range list {
		channels := map[any]any{}
		for range 2 {
			f := d.next()
			if f["type"] != "subscribed" || f["reason"] != "server" {
				t.Fatalf("%s got %v", d.user, f)
			}
			channels[f["channel"]] = f["seq"]
		}
		same(t, d.user+": subscribed, and where a log is", channels, map[any]any{"team:1": nil, "club:1": 1.0})
	}
	// What they may as members they may through each door.
	same(t, "to the log", reach(s.verb("publish", `{"to":{"channel":"club:1"},"data":"kept"}`)), [3]any{3.0, 3.0, true})
	for _, d := range list {
		d.expect(t, message("club:1", "kept"))
	}
	same(t, "members of both", reach(s.verb("publish", `{"to":[{"members":"club:1"},{"members":"team:1"}],"data":"once"}`)), [3]any{3.0, 3.0, false})
	for _, d := range list {
		d.expect(t, message("@direct", "once"))
	}
	// Whoever takes another user takes his groups with him.
	s.verb("members.add", `{"channel":"team:2","users":["dora"]}`)
	for _, d := range list {
		s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"dora"}`, d.id))
		left := map[any]bool{}
		for range 3 {
			f := d.next()
			if f["type"] == "subscribed" {
				same(t, d.user+": joined", f["channel"], any("team:2"))
				continue
			}
			left[f["channel"]] = f["type"] == "unsubscribed"
		}
		same(t, d.user+": left", left, map[any]bool{"team:1": true, "club:1": true})
	}
	same(t, "as another", reach(s.verb("publish", `{"to":{"members":"team:2"},"data":"dora"}`)), [3]any{3.0, 1.0, false})
	for _, d := range list {
		d.expect(t, message("@direct", "dora"))
	}
}

// What a client has subscribed to as a member it loses with the membership.
func TestAMembershipThatEndsIsFeltThroughEveryDoor(t *testing.T) {
	s := start(t, membersBehindDoors(t))
	e := s.source("user=sse")
	p := s.poller(`{"user":"poll"}`)
	c := s.io("&user=socket.io")
	c.connect("/", "")
	frame := func(kind string) string { return `{"type":"` + kind + `","channel":"team:1","data":1}` }
	denied := func() {
		t.Helper()
		for _, kind := range []string{"sub", "pub"} {
			e.post(frame(kind))
			same(t, "sse: "+kind, e.expect("error")["code"], any("denied"))
			p.call(frame(kind))
			same(t, "poll: "+kind, p.expect("error")["code"], any("denied"))
			c.send(`427["skein",` + frame(kind) + `]`)
			if got := c.next(); !strings.HasPrefix(got, `437[{"type":"error"`) || !strings.Contains(got, `"code":"denied"`) {
				t.Errorf("socket.io: %s is answered by %s", kind, got)
			}
		}
	}
	denied()
	s.verb("members.add", `{"channel":"team:1","users":`+theThree+`}`)
	e.expect("subscribed")
	p.expect("subscribed")
	c.frame()
	for _, kind := range []string{"unsub", "sub"} { // now by itself
		e.do(frame(kind))
		p.do(frame(kind))
		c.send(`427["skein",` + frame(kind) + `]`)
		if got := c.next(); !strings.HasPrefix(got, `437[{"type":"ok"`) {
			t.Errorf("socket.io: %s is answered by %s", kind, got)
		}
	}
	same(t, "removed", s.verb("members.remove", `{"channel":"team:1","users":`+theThree+`}`)["count"], any(3.0))
	for user, f := range map[string]map[string]any{"sse": e.expect("unsubscribed"), "poll": p.expect("unsubscribed"), "socket.io": c.frame()} {
		same(t, user, []any{f["type"], f["channel"], f["reason"]}, []any{"unsubscribed", "team:1", "denied"})
	}
	same(t, "reach", reach(s.verb("publish", `{"to":{"channel":"team:1"},"data":1}`)), [3]any{0.0, 0.0, false})
	denied()
}
