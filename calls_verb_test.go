package skein_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// asking runs the verb call in the background.
func (s *testServer) asking(params string) <-chan map[string]any {
	ch := make(chan map[string]any, 1)
	go func() {
		_, out := s.api("call", params)
		ch <- out
	}()
	return ch
}

// told waits for the result of the verb: a reply by each connection's id.
func told(t testing.TB, ch <-chan map[string]any) map[string]any {
	t.Helper()
	select {
	case out := <-ch:
		list, ok := out["replies"].([]any)
		if !ok {
			t.Fatalf("got %v", out)
		}
		replies := map[string]any{}
		for _, item := range list {
			r := item.(map[string]any)
			id := r["connection"].(string)
			delete(r, "connection")
			replies[id] = r
		}
		if len(replies) != len(list) {
			t.Errorf("a connection has two replies: %v", list)
		}
		return replies
	case <-time.After(patience):
		t.Fatal("the verb does not end")
		return nil
	}
}

// object is a part of an answer.
type object = map[string]any

func TestTheVerbCallAsksAConnection(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		c := s.dial("user=ann&device=phone")
		c.ID = c.expect("welcome")["connection"].(string)
		for _, tt := range []struct {
			reply string
			want  object
		}{
			{`"data":{"n":[1,null,"é"]}`, object{"data": object{"n": []any{1.0, nil, "é"}}}},
			{`"data":null`, object{"data": nil}},
			{`"data":false`, object{"data": false}},
			{`"error":{"code":"denied","message":"not now"}`, object{"error": object{"code": "denied", "message": "not now"}}},
			{`"error":"busy"`, object{"error": object{"code": "internal", "message": "busy"}}},
		} {
			ch := s.asking(fmt.Sprintf(`{"connection":%q,"method":"ask","data":{"q":12345678901234567}}`, c.ID))
			f := c.expect("call")
			same(t, "asked", []any{f["method"], f["data"]}, []any{"ask", object{"q": 12345678901234567.0}})
			c.send(fmt.Sprintf(`{"type":"reply","id":%v,%s}`, f["id"], tt.reply))
			tt.want["device"] = "phone"
			got := told(t, ch)[c.ID].(object)
			if tt.want["data"] == nil && tt.want["error"] == nil {
				delete(tt.want, "data") // null and nothing are the same
				if got["data"] == nil {
					delete(got, "data")
				}
			}
			same(t, tt.reply, got, tt.want)
		}
		// Without data the client gets none, or null.
		ch := s.asking(fmt.Sprintf(`{"connection":%q,"method":"ask"}`, c.ID))
		f := c.expect("call")
		if f["data"] != nil {
			t.Errorf("got %v", f)
		}
		c.send(fmt.Sprintf(`{"type":"reply","id":%v}`, f["id"]))
		told(t, ch)
		c.lives()
	})
}

func TestTheVerbCallAsksEveryDeviceOfAUser(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		device := func(name string) *client {
			c := s.dial("user=ann&device=" + name)
			c.ID = c.expect("welcome")["connection"].(string)
			return c
		}
		phone, desk, bob := device("phone"), device("desk"), s.user("bob")
		ch := s.asking(`{"user":"ann","method":"where"}`)
		one, two := phone.expect("call"), desk.expect("call")
		desk.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":"office"}`, two["id"]))
		phone.send(fmt.Sprintf(`{"type":"reply","id":%v,"error":{"code":"unavailable","message":"no signal"}}`, one["id"]))
		same(t, "both", told(t, ch), object{
			phone.ID: object{"device": "phone", "error": object{"code": "unavailable", "message": "no signal"}},
			desk.ID:  object{"device": "desk", "data": "office"},
		})
		ch = s.asking(`{"user":"ann","device":"desk","method":"where"}`)
		desk.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":1}`, desk.expect("call")["id"]))
		same(t, "one device", told(t, ch), object{desk.ID: object{"device": "desk", "data": 1.0}})
		same(t, "no such device", told(t, s.asking(`{"user":"ann","device":"tv","method":"where"}`)), object{})
		same(t, "nobody", told(t, s.asking(`{"user":"carl","method":"where"}`)), object{})

		// One answers, one does not, and one goes meanwhile.
		tablet := device("tablet")
		ch = s.asking(`{"user":"ann","method":"where","timeout":300}`)
		desk.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":2}`, desk.expect("call")["id"]))
		tablet.expect("call")
		_ = tablet.ws.CloseNow()
		late := phone.expect("call")["id"]
		got := told(t, ch)
		same(t, "the one that answers", got[desk.ID], any(object{"device": "desk", "data": 2.0}))
		for id, code := range map[string]string{phone.ID: "unavailable", tablet.ID: "not_found"} {
			if r := got[id].(object); r["error"] == nil || r["error"].(object)["code"] != code || r["error"].(object)["message"] == "" {
				t.Errorf("got %v, want %s", r, code)
			}
		}
		phone.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":3}`, late))
		if e := phone.expect("error"); e["code"] != "not_found" {
			t.Errorf("a reply that is late: %v", e)
		}
		bob.lives() // was never asked
	})
}

// The verb ends with who asks for it: nothing of it is left.
func TestTheVerbCallThatNobodyWaitsFor(t *testing.T) {
	s := start(t, open())
	c := s.user("ann")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan skein.CallResult, 1)
	go func() {
		r, _ := s.CallClient(ctx, skein.CallParams{Connection: c.ID, Method: "ask", Timeout: 60_000})
		done <- r
	}()
	id := c.expect("call")["id"]
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the verb goes on")
	}
	c.send(fmt.Sprintf(`{"type":"reply","id":%v}`, id))
	if e := c.expect("error"); e["code"] != "not_found" {
		t.Errorf("got %v", e)
	}
	// The server's end is the end of it as well.
	go func() {
		r, _ := s.CallClient(context.Background(), skein.CallParams{User: "ann", Method: "ask", Timeout: 60_000})
		done <- r
	}()
	c.expect("call")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-done:
		if len(r.Replies) != 1 || r.Replies[0].Error == nil || r.Replies[0].Error.Code != "not_found" {
			t.Errorf("got %+v", r)
		}
	case <-time.After(patience):
		t.Fatal("the verb outlives the server")
	}
}

// A client has only so many calls open; one more is told so, and harms none.
func TestTheVerbCallIsBounded(t *testing.T) {
	s := start(t, open())
	c := s.user("ann")
	params := fmt.Sprintf(`{"connection":%q,"method":"ask","timeout":30000}`, c.ID)
	var open []<-chan map[string]any
	for range 64 {
		open = append(open, s.asking(params))
		c.expect("call")
	}
	got := told(t, s.asking(params))[c.ID].(object)
	if got["error"] == nil || got["error"].(object)["code"] != "unavailable" {
		t.Errorf("got %v", got)
	}
	for i := range 64 {
		c.send(fmt.Sprintf(`{"type":"reply","id":%d,"data":%d}`, i+1, i))
	}
	for i, ch := range open {
		same(t, "reply", told(t, ch), object{c.ID: object{"data": float64(i)}})
	}
}

func TestTheVerbCallThroughTheOtherDoors(t *testing.T) {
	s := start(t, ioConfig())
	e := s.source("user=ann")
	ch := s.asking(`{"user":"ann","method":"ask","data":1}`)
	f := e.expect("call")
	e.post(fmt.Sprintf(`{"type":"reply","id":%v,"data":"sse"}`, f["id"]))
	same(t, "sse", told(t, ch), object{e.ID: object{"data": "sse"}})

	p := s.poller(`{"user":"bob"}`)
	ch = s.asking(`{"user":"bob","method":"ask","data":1}`)
	f = p.expect("call")
	p.call(fmt.Sprintf(`{"type":"reply","id":%v,"data":"poll"}`, f["id"]), `{"type":"ping"}`) // with nothing to come down, a call waits
	p.expect("pong")
	for _, r := range told(t, ch) {
		same(t, "poll", r, any(object{"data": "poll"}))
	}

	c := s.io("&user=carl")
	id := c.connect("/", "")
	ch = s.asking(`{"user":"carl","method":"ask","data":1}`)
	packet := c.next() // an event that wants an acknowledgement
	number, ok := strings.CutPrefix(strings.TrimSuffix(packet, `["ask",1]`), "42")
	if !ok || number == "" || number == packet {
		t.Fatalf("got %s", packet)
	}
	c.send("43" + number + `["socket.io"]`)
	got := told(t, ch)
	if r, ok := got[id].(object); ok {
		same(t, "socket.io", r["data"], any("socket.io"))
	} else {
		for _, r := range got {
			same(t, "socket.io", r, any(object{"data": "socket.io"}))
		}
	}
}

func TestMistakesInTheVerbCall(t *testing.T) {
	s := start(t, open())
	c := s.user("ann")
	to := fmt.Sprintf(`"connection":%q`, c.ID)
	for _, tt := range []struct{ params, code, message string }{
		{`{"method":"x"}`, "bad_request", "connection: name either a connection or a user"},
		{`{` + to + `,"user":"ann","method":"x"}`, "bad_request", "connection: name either a connection or a user"},
		{`{"connection":"nonsense","method":"x"}`, "bad_request", "connection: is not the id of a connection"},
		{`{"connection":"AAAAAAAAAAAAAAAAAAAAAA","method":"x"}`, "not_found", "connection: there is no such connection"},
		{`{` + to + `}`, "bad_request", "method: is missing"},
		{`{` + to + `,"method":5}`, "bad_request", "method: must be a string, not a number"},
		{`{` + to + `,"method":"` + strings.Repeat("m", 129) + `"}`, "bad_request", "method: has 129 bytes; at most 128 are allowed"},
		{`{` + to + `,"method":"x","timeout":-1}`, "bad_request", "timeout: -1 is not between 1 and 60000"},
		{`{` + to + `,"method":"x","timeout":60001}`, "bad_request", "timeout: 60001 is not between 1 and 60000"},
		{`{` + to + `,"method":"x","timeout":"5s"}`, "bad_request", "timeout: must be an integer, not a string"},
		{`{"user":5,"method":"x"}`, "bad_request", "user: must be a string, not a number"},
	} {
		_, got := s.api("call", tt.params)
		if got["code"] != tt.code || got["detail"] != tt.message {
			t.Errorf("%s: got %v, want %s: %s", tt.params, got, tt.code, tt.message)
		}
	}
	c.lives() // was not asked
}
