package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// ioClient speaks Engine.IO 4 and Socket.IO 5 over a WebSocket.
type ioClient struct {
	t  testing.TB
	ws *websocket.Conn
}

// io opens a session. query is what follows the parameters of Engine.IO.
func (s *testServer) io(query string) *ioClient {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/socket.io/?EIO=4&transport=websocket"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	c := &ioClient{s.t, ws}
	if open := c.next(); !strings.HasPrefix(open, `0{"sid":"`) || !strings.Contains(open, `"upgrades":[]`) {
		s.t.Fatalf("the first packet is %s", open)
	}
	return c
}

func (c *ioClient) send(packet string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(packet)); err != nil {
		c.t.Fatal(err)
	}
}

// next gives the next packet; binary ones begin with "binary:".
func (c *ioClient) next() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, raw, err := c.ws.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if kind == websocket.MessageBinary {
		return "binary:" + string(raw)
	}
	return string(raw)
}

func (c *ioClient) expect(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("got %s, want %s", got, want)
	}
}

// connect gives the socket's id.
func (c *ioClient) connect(namespace, auth string) string {
	c.t.Helper()
	if namespace != "/" {
		namespace += ","
	} else {
		namespace = ""
	}
	c.send("40" + namespace + auth)
	var reply struct{ SID string }
	text := c.next()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "40"+namespace)), &reply); err != nil || reply.SID == "" {
		c.t.Fatalf("got %s", text)
	}
	return reply.SID
}

// ioConfig has the main namespace in the channel room:all and its rooms in room:….
func ioConfig() skein.Config {
	cfg := open()
	cfg.Namespaces["tick"] = skein.Namespace{Subscribe: "user", Publish: "server"}
	cfg.SocketIO.Namespaces = map[string]skein.SocketIONamespace{
		"/":     {Channel: "room:all", Rooms: "room"},
		"/tick": {Channel: "tick:all"},
		"/g-*":  {Channel: "room:g-*"},
	}
	return cfg
}

// A Socket.IO client and a plain WebSocket client in one channel see each other's
// messages, whatever their arguments are.
func TestSocketIOAndWebSocketClientsShareChannels(t *testing.T) {
	s := start(t, ioConfig())
	plain := s.user("ann")
	plain.do(`{"type":"sub","channel":"room:all"}`)
	c := s.io("&user=bob")
	id := c.connect("/", "")
	other := s.io("")
	other.connect("/", "")

	plain.send(`{"type":"pub","channel":"room:all","event":"hello","data":{"n":12345678901234567890,"html":"<b>"}}`)
	for _, x := range []*ioClient{c, other} {
		x.expect(`42["hello",{"n":12345678901234567890,"html":"<b>"}]`)
	}
	// Several arguments, and none, are told apart from one.
	for args, data := range map[string]string{
		`1,"2",{"3":[true]}`:     `{"args":[1,"2",{"3":[true]}]}`,
		``:                       `{"args":[]}`,
		`null`:                   `null`,
		`[1,2]`:                  `[1,2]`,
		`{"args":[1]}`:           `{"args":[{"args":[1]}]}`,
		`{"args":[1],"x":2}`:     `{"args":[1],"x":2}`,
		`{"$binary":"AQID"}`:     `{"$binary":"AQID"}`,
		`"a","` + "\u2028" + `"`: `{"args":["a","` + "\u2028" + `"]}`,
	} {
		packet := `["many",` + args + `]`
		if args == "" {
			packet = `["many"]`
		}
		c.send(`427` + packet)
		msg := plain.expect("msg")
		var want any
		if err := json.Unmarshal([]byte(data), &want); err != nil {
			t.Fatal(err)
		}
		if got, wanted := fmt.Sprint(msg["data"]), fmt.Sprint(want); got != wanted || msg["event"] != "many" {
			t.Errorf("%s arrives as %v, want %s", args, msg, data)
		}
		if from := msg["from"].(map[string]any); from["user"] != "bob" || from["connection"] != id {
			t.Errorf("it comes from %v", from)
		}
		if ack := c.next(); !strings.HasPrefix(ack, `437[{"type":"ok","id":7,`) || !strings.Contains(ack, `"connections":2`) {
			t.Errorf("the acknowledgement is %s", ack)
		}
		if args == `{"$binary":"AQID"}` {
			other.expect(`451-["many",{"_placeholder":true,"num":0}]`)
			other.expect("binary:\x01\x02\x03")
		} else {
			other.expect(`42` + packet)
		}
	}
	// Binary from a client is base64 for those who have none.
	other.send(`451-["file",{"at":{"_placeholder":true,"num":0}}]`)
	if err := other.ws.Write(context.Background(), websocket.MessageBinary, []byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if msg := plain.expect("msg"); fmt.Sprint(msg["data"]) != "map[at:map[$binary:Ynl0ZXM=]]" {
		t.Errorf("got %v", msg)
	}
	c.expect(`451-["file",{"at":{"_placeholder":true,"num":0}}]`)
	c.expect("binary:bytes")
}

// Server verbs treat a Socket.IO client as any other connection.
func TestServerVerbsReachSocketIOClients(t *testing.T) {
	s := start(t, ioConfig())
	c := s.io("&user=bob&device=phone")
	id := c.connect("/", "")
	list := s.verb("connections", `{"user":"bob"}`)["items"].([]any)
	one := list[0].(map[string]any)
	if len(list) != 1 || one["id"] != id || one["transport"] != "socket.io/websocket" || one["device"] != "phone" {
		t.Errorf("connections: %v", list)
	}
	if online := s.verb("online", `{"users":["bob","eve"]}`); !strings.Contains(fmt.Sprint(online), "bob:") {
		t.Errorf("online: %v", online)
	}
	if p := s.verb("presence", `{"channel":"room:all"}`); p["connections"] != 1.0 || p["users"] != 1.0 {
		t.Errorf("presence: %v", p)
	}
	if r := s.verb("publish", `{"to":{"user":"bob"},"event":"direct","data":1}`); r["connections"] != 1.0 {
		t.Errorf("publish: %v", r)
	}
	c.expect(`42["direct",1]`)
	if r := s.verb("publish", fmt.Sprintf(`{"to":{"channel":"room:all"},"data":2,"exclude":{"connections":[%q]}}`, id)); r["connections"] != 0.0 {
		t.Errorf("publish: %v", r)
	}
	s.verb("subscribe", fmt.Sprintf(`{"connection":%q,"channel":"room:7"}`, id))
	if got := c.next(); !strings.HasPrefix(got, `42["skein",{"type":"subscribed","channel":"room:7"`) {
		t.Errorf("got %s", got)
	}
	s.verb("publish", `{"to":{"channel":"room:7"},"data":3}`)
	c.expect(`42["message",3]`)
	// Frames of the client protocol, both ways.
	c.send(`4211["skein",{"type":"sub","channel":"room:8"}]`)
	if got := c.next(); !strings.HasPrefix(got, `4311[{"type":"ok","id":11,"channel":"room:8"`) {
		t.Errorf("got %s", got)
	}
	c.send(`42["skein",{"type":"sub","channel":"tick:all"}]`)
	s.verb("disconnect", fmt.Sprintf(`{"connection":%q,"message":"go"}`, id))
	for {
		got := c.next()
		if got == "41" {
			break
		}
		if !strings.HasPrefix(got, `42["skein",{`) {
			t.Fatalf("got %s", got)
		}
	}
	if n := s.verb("presence", `{"channel":"room:all"}`)["connections"]; n != 0.0 {
		t.Errorf("%v are left", n)
	}
	c.connect("/", "") // the transport is still there for other sockets
	_ = c.ws.CloseNow()
	s.empty()
}

// Who may not subscribe to a namespace's channel may not connect to it; the
// reason is told, and the connection stays for another try.
func TestSocketIONamespacesFollowTheRulesOfTheirChannels(t *testing.T) {
	cfg := ioConfig()
	secret := strings.Repeat("s", 32)
	cfg.Auth = skein.Auth{Anonymous: true, JWT: skein.JWT{HMACSecret: secret}}
	s := start(t, cfg)
	c := s.io("")
	c.send("40/tick,")
	c.expect(`44/tick,{"message":"not authorized","data":{"code":"denied"}}`)
	c.send("40/nowhere,")
	c.expect(`44/nowhere,{"message":"Invalid namespace"}`)
	c.send(`40/tick,{"token":"nonsense"}`)
	if got := c.next(); !strings.HasPrefix(got, `44/tick,{"message":"`) || !strings.Contains(got, `"code":"unauthorized"`) {
		t.Errorf("got %s", got)
	}
	text, err := auth.Sign([]byte(secret), auth.Identity{User: "ann"}, "", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.connect("/tick", fmt.Sprintf(`{"token":%q}`, text))
	c.connect("/g-5", "")
	s.verb("publish", `{"to":{"channel":"tick:all"},"event":"t","data":1}`)
	c.expect(`42/tick,["t",1]`)
	s.verb("publish", `{"to":{"channel":"room:g-5"},"event":"g","data":2}`)
	c.expect(`42/g-5,["g",2]`)
	// What it may not do is told under the event for such things.
	c.send(`42/tick,["hello",1]`)
	if got := c.next(); !strings.HasPrefix(got, `42/tick,["skein",{"type":"error","code":"denied"`) {
		t.Errorf("got %s", got)
	}
	c.send(`42/tick,5["hello",1]`)
	if got := c.next(); !strings.HasPrefix(got, `43/tick,5[{"type":"error","id":5,"code":"denied"`) {
		t.Errorf("got %s", got)
	}
	c.send("41/tick,")
	c.send(`42/g-5,["x",1]`)
	if n := s.verb("presence", `{"channel":"room:g-5"}`)["connections"]; n != 1.0 {
		t.Errorf("%v are left", n)
	}
}

// A server that drains sends nobody a disconnect packet, after which clients
// would not come back.
func TestSocketIOClientsComeBackAfterADrain(t *testing.T) {
	s := start(t, ioConfig())
	c := s.io("")
	c.connect("/", "")
	res, err := http.Get("http://" + s.addr + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || !strings.HasPrefix(string(body), "0{") {
		t.Fatalf("got %s, %v", body, err)
	}
	go func() { _ = s.Drain(context.Background()) }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, raw, err := c.ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %s, %v", raw, err)
	}
	s.empty()
}

// Without a mapping of its own each namespace stands for itself, and / for main, or
// else event. A function of the application that panics costs its client alone the
// connection.
func TestSocketIONamespacesByDefaultAndFunctionsThatPanic(t *testing.T) {
	cfg := open()
	cfg.Namespaces["event"] = skein.Namespace{Subscribe: "anyone", Publish: "anyone"}
	s := startWith(t, cfg, func(s *skein.Server) {
		s.SocketIO("/app").On("boom", func(*skein.IOSocket, skein.IOArgs, skein.IOAck) { panic("on purpose") })
	})
	c, other := s.io(""), s.io("")
	for _, namespace := range []string{"/", "/room", "/event", "/app"} {
		c.connect(namespace, "")
	}
	other.connect("/", "")
	s.verb("publish", `{"to":{"channel":"event:all"},"event":"e","data":1}`)
	c.expect(`42["e",1]`)
	c.expect(`42/event,["e",1]`)
	s.verb("publish", `{"to":{"channel":"room:all"},"event":"r","data":2}`)
	c.expect(`42/room,["r",2]`)
	other.expect(`42["e",1]`)
	c.send(`42/app,["boom"]`)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, raw, err := c.ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("got %s, %v", raw, err)
	}
	s.verb("publish", `{"to":{"channel":"event:all"},"event":"e","data":3}`)
	other.expect(`42["e",3]`)
}
