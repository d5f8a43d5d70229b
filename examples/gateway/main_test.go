package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein"
)

const patience = 10 * time.Second

// start runs the program's server until the test ends.
func start(t *testing.T, tick time.Duration) (g *gateway, url string) {
	t.Helper()
	g, err := newGateway(t.Context(), "127.0.0.1:0", t.TempDir(), tick)
	if err != nil {
		t.Fatal(err)
	}
	return g, mount(t, g.Server)
}

// mount serves a server until the test ends.
func mount(t *testing.T, s *skein.Server) (url string) {
	t.Helper()
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return web.URL
}

// client is a WebSocket client.
type client struct {
	t       *testing.T
	ws      *websocket.Conn
	id      string
	calls   int
	pending []map[string]any // came while something else was waited for
}

// dial connects, with data in the connect frame if there is some.
func dial(t *testing.T, url, data string) *client {
	t.Helper()
	c := open(t, url+"/ws")
	if data != "" {
		data = `,"data":` + data
	}
	c.send(`{"type":"connect"` + data + `}`)
	c.id = c.expect("welcome", nil)["connection"].(string)
	return c
}

func open(t *testing.T, url string) *client {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t: t, ws: ws}
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

// expect waits for a frame of a type that the test wants, nil for any. What comes
// before it is kept for later.
func (c *client) expect(frameType string, wanted func(map[string]any) bool) map[string]any {
	c.t.Helper()
	fits := func(f map[string]any) bool { return f["type"] == frameType && (wanted == nil || wanted(f)) }
	for i, f := range c.pending {
		if fits(f) {
			c.pending = append(c.pending[:i:i], c.pending[i+1:]...)
			return f
		}
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, b, err := c.ws.Read(ctx)
		if err != nil {
			c.t.Fatalf("waiting for %s: %v; there is %v", frameType, err, c.pending)
		}
		var f map[string]any
		if err := json.Unmarshal(b, &f); err != nil {
			c.t.Fatalf("%s: %v", b, err)
		}
		if fits(f) {
			return f
		}
		c.pending = append(c.pending, f)
	}
}

// msg waits for a message with an event name.
func (c *client) msg(event string) map[string]any {
	c.t.Helper()
	return c.expect("msg", func(f map[string]any) bool { return f["event"] == event })
}

// call calls a method and gives what it answers: the data, or the code of an error.
func (c *client) call(method, data string) any {
	c.t.Helper()
	c.calls++
	id := fmt.Sprint(c.calls)
	c.send(fmt.Sprintf(`{"type":"call","id":%q,"method":%q,"data":%s}`, id, method, data))
	return c.answer(id)
}

func (c *client) answer(id string) any {
	c.t.Helper()
	for {
		var f map[string]any
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		_, b, err := c.ws.Read(ctx)
		cancel()
		if err == nil {
			err = json.Unmarshal(b, &f)
		}
		switch {
		case err != nil:
			c.t.Fatalf("waiting for an answer: %v", err)
		case f["id"] != id:
			c.pending = append(c.pending, f)
		case f["type"] == "error":
			return f["code"]
		default:
			return f["data"]
		}
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// object reads JSON that a test wants.
func object(text string) (v any) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	return v
}

// reach is what a send says without the message's id.
func reach(answer any) any {
	if m, ok := answer.(map[string]any); ok {
		return [3]any{m["connections"], m["users"], m["stored"]}
	}
	return answer
}

func login(c *client, name string) (token string) {
	c.t.Helper()
	got, _ := c.call("auth", fmt.Sprintf(`{"name":%q,"password":"%s's"}`, name, name)).(map[string]any)
	if got["user"] != name {
		c.t.Fatalf("auth answers %v", got)
	}
	return got["token"].(string)
}

func TestLoggingIn(t *testing.T) {
	_, url := start(t, time.Hour)
	ann := dial(t, url, "")
	same(t, "a wrong password", ann.call("auth", `{"name":"ann","password":"bob's"}`), any("unauthorized"))
	same(t, "a wrong name", ann.call("auth", `{"name":"carl","password":""}`), any("unauthorized"))
	same(t, "nothing", ann.call("auth", `{}`), any("unauthorized"))
	same(t, "not yet", ann.call("send_to_client", `{"user":"ann","data":1}`), any("denied"))
	token := login(ann, "ann")

	// The token logs in another connection, by auth or as it connects.
	phone := dial(t, url, "")
	same(t, "the token", phone.call("auth", fmt.Sprintf(`{"token":%q,"device":"phone"}`, token)), object(fmt.Sprintf(`{"user":"ann","token":%q}`, token)))
	tab := dial(t, url, fmt.Sprintf(`{"token":%q}`, token))
	same(t, "online", tab.call("is_client_id_online", `{"user":"ann"}`), object(`{"ann":{"online":true,"connections":3,"devices":["phone"]}}`))
	same(t, "nobody", tab.call("is_client_id_online", `{"user":"carl"}`), object(`{"carl":{"online":false,"connections":0,"devices":[]}}`))
	stranger := open(t, url+"/ws")
	stranger.send(`{"type":"connect","data":{"token":"made up"}}`)
	same(t, "an unknown token", stranger.expect("error", nil)["code"], any("unauthorized"))
	same(t, "everybody hears of it", ann.msg("online")["data"], object(`{"user":"ann"}`))
}

func TestGroups(t *testing.T) {
	_, url := start(t, time.Hour)
	ann, bob, guest := dial(t, url, ""), dial(t, url, ""), dial(t, url, "")
	token := login(ann, "ann")
	login(bob, "bob")
	counts := func(want string) {
		t.Helper()
		same(t, "counts", ann.call("get_clientcount_bygroup", `{"group":"lobby"}`), object(want))
	}
	counts(`{"members":0,"users":0,"connections":0}`)
	same(t, "not in it", ann.call("send_to_group", `{"group":"lobby","data":1}`), any("denied"))
	same(t, "join", ann.call("join_group", `{"group":"lobby"}`), object(`{"count":1,"connections":1,"members":1}`))
	same(t, "again", ann.call("join_group", `{"group":"lobby"}`), object(`{"count":0,"connections":0,"members":1}`))
	bob.call("join_group", `{"group":"lobby"}`)
	same(t, "a guest", guest.call("join_group", `{"group":"lobby"}`), object(`{"connections":1}`))
	counts(`{"members":2,"users":2,"connections":3}`)
	page := ann.call("get_clients_bygroup", `{"group":"lobby"}`).(map[string]any)
	same(t, "members", len(page["items"].([]any)), 2)

	same(t, "to all of it", reach(ann.call("send_to_group", `{"group":"lobby","data":"hi"}`)), any([3]any{3.0, 2.0, true}))
	for _, c := range []*client{ann, bob, guest} {
		same(t, "hi", c.msg("message")["data"], object(`{"from":"ann","data":"hi"}`))
	}
	same(t, "without me and bob", reach(ann.call("send_to_group", `{"group":"lobby","data":"ho","exclude_me":true,"exclude":{"users":["bob"]}}`)), any([3]any{1.0, 0.0, true}))
	ann.call("send_to_group", `{"group":"lobby","data":"end"}`) // a channel is in order: what was before it has come
	same(t, "the guest", guest.msg("message")["data"], object(`{"from":"ann","data":"ho"}`))
	for _, c := range []*client{ann, bob, guest} {
		same(t, "the next", c.msg("message")["data"], object(`{"from":"ann","data":"end"}`))
	}

	// What clients publish themselves is looked at.
	guest.send(`{"type":"pub","id":"p","channel":"group:lobby","data":"hello"}`)
	same(t, "a guest speaks", ann.msg("message")["data"], any("hello"))
	guest.send(`{"type":"pub","id":"p","channel":"group:lobby","data":"Rhubarb!"}`)
	same(t, "a word", guest.expect("error", nil)["message"], any("mind your language"))
	guest.send(`{"type":"pub","id":"p","channel":"group:other","data":"hello"}`)
	same(t, "another group", guest.expect("error", nil)["code"], any("denied"))
	guest.expect("ok", nil)
	guest.send(`{"type":"pub","id":"w","channel":"group:lobby","data":"/who"}`)
	same(t, "who", guest.expect("ok", nil)["reply"], object(`{"members":[{"user":"ann","connections":1},{"user":"bob","connections":1},{"connections":1}],"connections":3,"users":2}`))

	// A member is one on every device, and comes back as one; a guest does not.
	_ = guest.ws.CloseNow()
	phone := dial(t, url, fmt.Sprintf(`{"token":%q}`, token))
	phone.expect("subscribed", nil)
	same(t, "leave", ann.call("leave_group", `{"group":"lobby"}`), object(`{"count":1,"connections":2,"members":1}`))
	phone.expect("unsubscribed", nil)
	same(t, "left", phone.call("send_to_group", `{"group":"lobby","data":1}`), any("denied"))
	same(t, "no name", ann.call("join_group", `{}`), any("bad_request"))
}

func TestSending(t *testing.T) {
	_, url := start(t, time.Hour)
	ann, phone, bob, guest, root := dial(t, url, ""), dial(t, url, ""), dial(t, url, ""), dial(t, url, ""), dial(t, url, "")
	for c, name := range map[*client]string{ann: "ann", phone: "ann", bob: "bob", root: "root"} {
		login(c, name)
	}
	same(t, "to a user", reach(bob.call("send_to_client", `{"user":"ann","data":1}`)), any([3]any{2.0, 1.0, false}))
	same(t, "to a user who is away", reach(bob.call("send_to_client", `{"user":"carl","data":1}`)), any([3]any{0.0, 0.0, false}))
	same(t, "to a connection", reach(bob.call("send_to_socket", fmt.Sprintf(`{"connection":%q,"data":2}`, guest.id))), any([3]any{1.0, 0.0, false}))
	same(t, "to all by anybody", bob.call("send_to_all_sockets", `{"data":3}`), any("denied"))
	same(t, "to all", reach(root.call("send_to_all_sockets", `{"data":3}`)), any([3]any{5.0, 3.0, false}))
	same(t, "to all users", reach(root.call("send_to_all_clients", `{"data":4,"exclude_me":true}`)), any([3]any{3.0, 2.0, false}))
	root.call("send_to_all_sockets", `{"data":"end"}`) // in order with what else was for all
	for c, want := range map[*client][]any{ann: {1.0, 3.0, 4.0}, phone: {1.0, 3.0, 4.0}, bob: {3.0, 4.0}, guest: {2.0, 3.0}, root: {3.0}} {
		var got []any
		for range append(want, nil) {
			got = append(got, c.msg("message")["data"].(map[string]any)["data"])
		}
		same(t, "what "+c.id+" got", got, append(want, "end"))
	}
	same(t, "no such connection", bob.call("send_to_socket", `{"connection":"x","data":2}`), any("bad_request"))
}

func TestSessions(t *testing.T) {
	_, url := start(t, time.Hour)
	c := dial(t, url, "")
	same(t, "at first", c.call("get_session", `{}`), object(`{}`))
	same(t, "set", c.call("set_session", `{"data":{"name":"Ann","at":{"x":1,"y":2}}}`), object(`{"name":"Ann","at":{"x":1,"y":2}}`))
	same(t, "update", c.call("update_session", `{"data":{"at":{"x":5,"y":null},"level":3}}`), object(`{"name":"Ann","at":{"x":5},"level":3}`))
	same(t, "get", c.call("get_session", `{}`), object(`{"name":"Ann","at":{"x":5},"level":3}`))
	same(t, "no object", c.call("set_session", `{"data":[1]}`), any("bad_request"))
}

func TestClosing(t *testing.T) {
	_, url := start(t, time.Hour)
	root, bob := dial(t, url, ""), dial(t, url, "")
	login(root, "root")
	login(bob, "bob")
	same(t, "by anybody", bob.call("close_client", `{"user":"root"}`), any("denied"))
	same(t, "by root", root.call("close_client", `{"user":"bob","message":"enough","last":{"score":7}}`), object(`{"connections":1}`))
	same(t, "the last message", bob.msg("last")["data"], object(`{"score":7}`))
	bye := bob.expect("bye", nil)
	same(t, "bye", [3]any{bye["code"], bye["message"], bye["reconnect"]}, [3]any{"disconnected", "enough", false})
	if _, _, err := bob.ws.Read(t.Context()); websocket.CloseStatus(err) != 4004 {
		t.Errorf("closed with %v, want 4004", err)
	}
	root.msg("offline") // after the time of grace
}

func TestTimers(t *testing.T) {
	g, url := start(t, 10*time.Millisecond)
	ann, bob := dial(t, url, ""), dial(t, url, "")
	for range 2 {
		ann.msg("tick")
		bob.msg("tick")
	}
	same(t, "not in it", ann.call("start_round", `{"group":"game","every":100}`), any("denied"))
	ann.call("join_group", `{"group":"game"}`)
	same(t, "too often", ann.call("start_round", `{"group":"game","every":1}`), any("denied"))
	ann.call("start_round", `{"group":"game","every":100}`)
	same(t, "rounds", []any{ann.msg("round")["data"], ann.msg("round")["data"]}, []any{1.0, 2.0})
	ann.call("start_round", `{"group":"game","every":100}`)
	same(t, "a new game", ann.expect("msg", func(f map[string]any) bool { return f["event"] == "round" && f["data"] == 1.0 })["data"], any(1.0))

	s, err := g.Schedule(t.Context(), skein.ScheduleNameParams{Name: "lobby/news"})
	if err != nil || s.State != "active" {
		t.Fatalf("the schedule is %+v, %v", s, err)
	}
	bob.call("join_group", `{"group":"lobby"}`)
	if _, err := g.RunSchedule(t.Context(), skein.ScheduleNameParams{Name: "lobby/news"}); err != nil {
		t.Fatal(err)
	}
	same(t, "news", bob.msg("news")["data"], any("another minute has passed"))
}

// Members, and what was said to them, are there after a restart.
func TestARestart(t *testing.T) {
	dir := t.TempDir()
	g, err := newGateway(t.Context(), "127.0.0.1:0", dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.AddMembers(t.Context(), skein.MembersParams{Channel: "group:lobby", Users: []string{"ann"}}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if g, err = newGateway(t.Context(), "127.0.0.1:0", dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	ann := dial(t, mount(t, g.Server), "")
	login(ann, "ann")
	same(t, "channel", ann.expect("subscribed", nil)["channel"], any("group:lobby"))
}
