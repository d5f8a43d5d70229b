package channel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/test/sessiontest"
)

// only takes the messages that wait, the last of which is a marker sent to the
// connection itself, and gives the data of those before.
func (w *world) only(c *sessiontest.Client) (got []any) {
	w.T.Helper()
	if _, err := w.Run("publish", `{"to":{"all":"connections"},"data":"marker"}`); err != "" {
		w.T.Fatal(err)
	}
	for {
		data := c.Message()
		if data == "marker" {
			return got
		}
		got = append(got, data)
	}
}

func TestSubscribeAndPublish(t *testing.T) {
	w := start(t)
	a, b, anonymous := w.User("ann", "phone"), w.User("bob", ""), w.User("", "")
	for _, c := range []*sessiontest.Client{a, b, anonymous} {
		want := map[string]any{"type": "ok", "id": 1.0, "channel": "room:1", "kind": "event"}
		if diff := cmp.Diff(want, c.Do(`{"type":"sub","channel":"room:1"}`)); diff != "" {
			t.Error(diff)
		}
	}
	ok := a.Do(`{"type":"pub","channel":"room:1","event":"moved","data":{"x":1}}`)
	id := ok["message"]
	delete(ok, "message")
	if diff := cmp.Diff(map[string]any{"type": "ok", "id": 1.0, "connections": 2.0, "users": 1.0, "stored": false}, ok); diff != "" {
		t.Error(diff)
	}
	from := map[string]any{"user": "ann", "device": "phone", "connection": a.ID.String()}
	for _, c := range []*sessiontest.Client{b, anonymous} {
		got := c.Expect("msg")
		delete(got, "time")
		want := map[string]any{"type": "msg", "channel": "room:1", "id": id, "event": "moved", "data": map[string]any{"x": 1.0}, "from": from}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	a.Send(`{"type":"pub","channel":"room:1","data":null}`)
	if got := b.Expect("msg"); got["event"] != "message" || got["data"] != nil {
		t.Errorf("got %v", got)
	}
	if diff := cmp.Diff(map[string]any{"type": "ok", "id": 1.0}, a.Do(`{"type":"notice","channel":"room:1","event":"typing"}`)); diff != "" {
		t.Error(diff)
	}
	notice := b.Expect("notice")
	delete(notice, "time")
	if diff := cmp.Diff(map[string]any{"type": "notice", "channel": "room:1", "event": "typing", "data": nil, "from": from}, notice); diff != "" {
		t.Error(diff)
	}
	for range 2 { // leaving twice is fine
		if diff := cmp.Diff(map[string]any{"type": "ok", "id": 1.0, "channel": "room:1"}, b.Do(`{"type":"unsub","channel":"room:1"}`)); diff != "" {
			t.Error(diff)
		}
	}
	a.Do(`{"type":"pub","channel":"room:1","data":"for the rest"}`)
	if got := w.only(b); got != nil {
		t.Errorf("one who left got %v", got)
	}
	if got := w.only(a); got != nil {
		t.Errorf("the publisher got %v", got)
	}
}

func TestFramesThatAreRefused(t *testing.T) {
	w := start(t)
	tests := []struct {
		user, frame string
		code        fault.Code
		message     string
		channel     any
	}{
		{"ann", `{"type":"sub"}`, fault.BadRequest, "channel: is missing", nil},
		{"ann", `{"type":"sub","channel":"room"}`, fault.BadRequest, "is not a channel name", "room"},
		{"ann", `{"type":"sub","channel":"attic:1"}`, fault.NotFound, `namespace "attic" is not configured`, "attic:1"},
		{"", `{"type":"sub","channel":"dark:1"}`, fault.Denied, "no right to subscribe to dark:1", "dark:1"},
		{"ann", `{"type":"sub","channel":"hall:1","presence":true}`, fault.Denied, "presence: join and leave are not shown in hall:1", "hall:1"},
		{"ann", `{"type":"sub","channel":"room:1","presence":1}`, fault.BadRequest, "presence: must be true or false, not a number", "room:1"},
		{"ann", `{"type":"sub","channel":"room:1","since":{"seq":1}}`, fault.BadRequest, "since: an event channel keeps nothing", "room:1"},
		{"ann", `{"type":"sub","channel":"room:1","last":5}`, fault.BadRequest, "last: an event channel keeps nothing", "room:1"},
		{"ann", `{"type":"unsub","channel":5}`, fault.BadRequest, "channel: must be a string, not a number", nil},
		{"ann", `{"type":"pub","channel":"hall:1","data":1}`, fault.Denied, "no right to publish to hall:1", "hall:1"},
		{"", `{"type":"pub","channel":"room:1","data":1}`, fault.Denied, "no right to publish to room:1", "room:1"},
		{"ann", `{"type":"pub","channel":"room:1"}`, fault.BadRequest, "data: is missing", "room:1"},
		{"ann", `{"type":"pub","channel":"room:1","data":1,"event":5}`, fault.BadRequest, "event: must be a string, not a number", "room:1"},
		{"ann", `{"type":"pub","channel":"room:1","data":1,"event":"a\u0000"}`, fault.BadRequest, "event: no control characters", "room:1"},
		{"ann", `{"type":"pub","channel":"room:1","data":1,"key":{}}`, fault.BadRequest, "key: must be a string, not an object", "room:1"},
		{"ann", `{"type":"notice","channel":"room:1"}`, fault.BadRequest, "event: is missing", "room:1"},
		{"ann", `{"type":"notice","channel":"hall:1","event":"e"}`, fault.Denied, "no right to publish to hall:1", "hall:1"},
	}
	for _, tt := range tests {
		c := w.User(tt.user, "")
		c.Send(tt.frame)
		if f := c.ExpectError(tt.code, tt.message); f["channel"] != tt.channel {
			t.Errorf("%s: got %v, want channel %v", tt.frame, f, tt.channel)
		}
	}
	c := w.User("ann", "")
	for i := range 6 {
		c.Send(fmt.Sprintf(`{"type":"sub","id":1,"channel":"room:%d"}`, i))
		if i < 5 {
			c.Expect("ok")
		}
	}
	c.ExpectError(fault.TooLarge, "limits.subscriptions")
}

func TestAKeyPublishesOnce(t *testing.T) {
	w := start(t)
	b := w.User("bob", "")
	b.Do(`{"type":"sub","channel":"room:1"}`)
	first := w.User("ann", "")
	const frame = `{"type":"pub","channel":"room:1","data":1,"key":"k"}`
	ok := first.Do(frame)
	again := w.User("ann", "").Do(frame) // the same user, on a new connection
	if again["message"] != ok["message"] || again["duplicate"] != true || ok["duplicate"] != nil {
		t.Errorf("got %v after %v", again, ok)
	}
	if other := w.User("cid", "").Do(frame); other["message"] == ok["message"] || other["duplicate"] != nil {
		t.Errorf("another user got %v", other)
	}
	first.Send(`{"type":"pub","channel":"room:1","data":2,"key":"k"}`)
	first.ExpectError(fault.Conflict, "key: it was used for a request with other content")
	if got := first.Do(`{"type":"pub","channel":"room:2","data":1,"key":"k"}`); got["duplicate"] != nil {
		t.Errorf("in another channel: %v", got)
	}
	if got := w.only(b); len(got) != 2 {
		t.Errorf("%v arrived, want two messages", got)
	}
}

func TestPublishReachesItsTargets(t *testing.T) {
	w := start(t)
	clients := map[string]*sessiontest.Client{"ann1": w.User("ann", "1"), "ann2": w.User("ann", "2"), "bob": w.User("bob", ""), "anon": w.User("", "")}
	for _, name := range []string{"ann1", "bob", "anon"} {
		clients[name].Do(`{"type":"sub","channel":"room:1"}`)
	}
	id := func(name string) string { return clients[name].ID.String() }
	nobody := strings.Repeat("A", 22)
	tests := []struct {
		name    string
		to      string
		exclude string
		want    []string
		users   float64
		channel string
	}{
		{"a channel", `{"channel":"room:1"}`, ``, []string{"ann1", "bob", "anon"}, 2, "room:1"},
		{"a channel but a user", `{"channel":"room:1"}`, `{"users":["ann"]}`, []string{"bob", "anon"}, 1, "room:1"},
		{"a channel but a connection, named twice", `{"channel":"room:1"}`, `{"connections":["` + id("bob") + `","` + id("bob") + `"],"users":["bob"]}`, []string{"ann1", "anon"}, 1, "room:1"},
		{"a channel but one who is not in it", `{"channel":"room:1"}`, `{"connections":["` + id("ann2") + `"]}`, []string{"ann1", "bob", "anon"}, 2, "room:1"},
		{"a channel that nobody is in", `{"channel":"room:9"}`, ``, nil, 0, ""},
		{"a user", `{"user":"ann"}`, ``, []string{"ann1", "ann2"}, 1, "@direct"},
		{"a user but one connection", `{"user":"ann"}`, `{"connections":["` + id("ann1") + `"]}`, []string{"ann2"}, 1, "@direct"},
		{"a user who is not there", `{"user":"zoe"}`, ``, nil, 0, ""},
		{"a connection", `{"connection":"` + id("anon") + `"}`, ``, []string{"anon"}, 0, "@direct"},
		{"a connection that is gone", `{"connection":"` + nobody + `"}`, ``, nil, 0, ""},
		{"everybody", `{"all":"connections"}`, ``, []string{"ann1", "ann2", "bob", "anon"}, 2, "@direct"},
		{"everybody but one", `{"all":"connections"}`, `{"users":["bob"]}`, []string{"ann1", "ann2", "anon"}, 1, "@direct"},
		{"all users", `{"all":"users"}`, ``, []string{"ann1", "ann2", "bob"}, 2, "@direct"},
		{"an empty list", `[]`, ``, nil, 0, ""},
		{"a list of one", `[{"user":"bob"}]`, ``, []string{"bob"}, 1, "@direct"},
		{"a list that overlaps", `[{"user":"ann"},{"user":"ann"},{"connection":"` + id("ann2") + `"},{"user":"bob"}]`, ``, []string{"ann1", "ann2", "bob"}, 2, "@direct"},
		{"a channel and all users", `[{"all":"users"},{"channel":"room:1"}]`, ``, []string{"ann1", "ann2", "bob", "anon"}, 2, ""},
		{"a list but one", `[{"channel":"room:1"},{"all":"connections"}]`, `{"users":["ann"]}`, []string{"bob", "anon"}, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params := `{"event":"e","data":"hello","to":` + tt.to
			if tt.exclude != "" {
				params += `,"exclude":` + tt.exclude
			}
			result, failed := w.Run("publish", params+`}`)
			if failed != "" {
				t.Fatal(failed)
			}
			if result["connections"] != float64(len(tt.want)) || result["users"] != tt.users || result["stored"] != false {
				t.Errorf("got %v, want %d connections and %v users", result, len(tt.want), tt.users)
			}
			for name, c := range clients {
				if slices.Contains(tt.want, name) {
					got := c.Expect("msg")
					if got["id"] != result["id"] || got["event"] != "e" || got["from"] != nil || tt.channel != "" && got["channel"] != tt.channel {
						t.Errorf("%s got %v", name, got)
					}
				}
			}
			if _, failed := w.Run("publish", `{"to":{"all":"connections"},"data":"marker"}`); failed != "" {
				t.Fatal(failed)
			}
			for name, c := range clients {
				if data := c.Message(); data != "marker" {
					t.Errorf("%s got %v too", name, data)
				}
			}
		})
	}
}

func TestPublishParamsThatAreRefused(t *testing.T) {
	w := start(t)
	many := `[` + strings.Repeat(`{"user":"a"},`, 10_000) + `{"user":"a"}]`
	tests := []struct{ params, want string }{
		{`{"data":1}`, "bad_request: to: is missing"},
		{`{"to":null,"data":1}`, "bad_request: to: is missing"},
		{`{"to":"room:1","data":1}`, "bad_request: to: must be a target or a list of targets, not a string"},
		{`{"to":{},"data":1}`, "bad_request: to: names 0 kinds of target; exactly one is needed"},
		{`{"to":{"user":"a","channel":"room:1"},"data":1}`, "bad_request: to: names 2 kinds of target; exactly one is needed"},
		{`{"to":{"group":"a"},"data":1}`, "bad_request: to.group: is not a kind of target; use channel, connection, user, members or all"},
		{`{"to":{"user":5},"data":1}`, "bad_request: to.user: must be a string, not a number"},
		{`{"to":{"user":""},"data":1}`, "bad_request: to.user: is missing"},
		{`{"to":{"channel":"room"},"data":1}`, `bad_request: to.channel: "room" is not a channel name; write namespace:name`},
		{`{"to":{"channel":"attic:1"},"data":1}`, `not_found: to.channel: namespace "attic" is not configured`},
		{`{"to":{"connection":"x"},"data":1}`, "bad_request: to.connection: is not the id of a connection"},
		{`{"to":{"all":"everyone"},"data":1}`, `bad_request: to.all: must be "connections" or "users"`},
		{`{"to":[{"user":"a"},{"user":5}],"data":1}`, "bad_request: to[1].user: must be a string, not a number"},
		{`{"to":[5],"data":1}`, `bad_request: to[0]: must be an object such as {"channel": "room:7"}`},
		{`{"to":` + many + `,"data":1}`, "bad_request: to: at most 10000 targets are allowed"},
		{`{"to":[{"channel":"room:1"},{"channel":"attic:1"}],"data":1}`, `not_found: to[1].channel: namespace "attic" is not configured`},
		{`{"to":{"user":"a"}}`, "bad_request: data: is missing"},
		{`{"to":{"user":"a"},"data":1,"event":"a\n"}`, "bad_request: event: no control characters in an event name"},
		{`{"to":{"user":"a"},"data":1,"exclude":{"user":["a"]}}`, "bad_request: exclude: must be an object with the lists connections and users, and nothing else"},
		{`{"to":{"user":"a"},"data":1,"exclude":[]}`, "bad_request: exclude: must be an object with the lists connections and users, and nothing else"},
		{`{"to":{"user":"a"},"data":1,"from":"b"}`, "bad_request: from: is not a field of this verb"},
	}
	for _, tt := range tests {
		if _, got := w.Run("publish", tt.params); got != tt.want {
			t.Errorf("%.80s: got %s, want %s", tt.params, got, tt.want)
		}
	}
}

func TestTheServerSubscribes(t *testing.T) {
	w := start(t)
	a, b := w.User("ann", ""), w.User("ann", "")
	if got, _ := w.Run("subscribe", `{"user":"ann","channel":"dark:1"}`); got["connections"] != 2.0 {
		t.Errorf("got %v", got)
	}
	for _, c := range []*sessiontest.Client{a, b} {
		if diff := cmp.Diff(map[string]any{"type": "subscribed", "channel": "dark:1", "reason": "server"}, c.Next()); diff != "" {
			t.Error(diff)
		}
	}
	one := `{"connection":"` + a.ID.String() + `","channel":"dark:1"}`
	if got, _ := w.Run("subscribe", one); got["connections"] != 0.0 {
		t.Errorf("a second time: %v", got)
	}
	if got, _ := w.Run("unsubscribe", one); got["connections"] != 1.0 {
		t.Errorf("got %v", got)
	}
	if diff := cmp.Diff(map[string]any{"type": "unsubscribed", "channel": "dark:1", "reason": "server"}, a.Next()); diff != "" {
		t.Error(diff)
	}
	if got, _ := w.Run("unsubscribe", `{"user":"ann","channel":"dark:1"}`); got["connections"] != 1.0 {
		t.Errorf("got %v", got)
	}
	nobody := strings.Repeat("A", 22)
	for _, verb := range []string{"subscribe", "unsubscribe"} {
		for params, want := range map[string]string{
			`{"channel":"room:1"}`: "bad_request: connection: name either a connection or a user",
			`{"channel":"room:1","user":"a","connection":"` + nobody + `"}`: "bad_request: connection: name either a connection or a user",
			`{"channel":"room:1","connection":"x"}`:                         "bad_request: connection: is not the id of a connection",
			`{"channel":"room:1","connection":"` + nobody + `"}`:            "not_found: connection: there is no such connection",
			`{"user":"a"}`: "bad_request: channel: is missing",
		} {
			if _, got := w.Run(verb, params); got != want {
				t.Errorf("%s %s: got %s, want %s", verb, params, got, want)
			}
		}
	}
	if _, got := w.Run("subscribe", `{"user":"a","channel":"attic:1"}`); got != `not_found: channel: namespace "attic" is not configured` {
		t.Errorf("got %s", got)
	}
}

func TestChannelsAreListedInPages(t *testing.T) {
	w := start(t)
	for i := range 5 {
		c := w.User([]string{"ann", ""}[i%2], "")
		c.Do(fmt.Sprintf(`{"type":"sub","channel":"room:%d"}`, i))
		c.Do(`{"type":"sub","channel":"hall:1"}`)
	}
	if got, _ := w.Run("channels", `{"prefix":"hall:"}`); cmp.Diff(map[string]any{"items": []any{map[string]any{"channel": "hall:1", "kind": "event", "subscribers": 5.0, "users": 1.0}}}, got) != "" {
		t.Errorf("got %v", got)
	}
	var names []string
	after, pages := "", 0
	for {
		page, failed := w.Run("channels", `{"prefix":"room:","limit":2,"after":"`+after+`"}`)
		if failed != "" {
			t.Fatal(failed)
		}
		for _, item := range page["items"].([]any) {
			names = append(names, item.(map[string]any)["channel"].(string))
		}
		pages++
		if page["next"] == nil {
			break
		}
		after = page["next"].(string)
	}
	if diff := cmp.Diff([]string{"room:0", "room:1", "room:2", "room:3", "room:4"}, names); diff != "" || pages != 3 {
		t.Errorf("%d pages: %s", pages, diff)
	}
	for _, limit := range []string{"-1", "1001"} {
		if _, got := w.Run("channels", `{"limit":`+limit+`}`); got != "bad_request: limit: "+limit+" is not between 1 and 1000" {
			t.Errorf("got %s", got)
		}
	}
}
