package connection_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/test/sessiontest"
)

var nobody = strings.Repeat("A", 22)

func (w *world) subscribe(c *sessiontest.Client, channel string, by hub.Reason) {
	w.T.Helper()
	namespace, _, _ := strings.Cut(channel, ":")
	if _, err := w.Hub.Subscribe(&c.Conn, channel, w.Hub.Space(namespace), hub.SubOptions{By: by}); err != nil {
		w.T.Fatal(err)
	}
}

func TestVerbsThatNameAConnection(t *testing.T) {
	w := start(t)
	for _, verb := range []string{"bind", "unbind", "session.get", "session.set", "session.merge", "disconnect"} {
		missing := "bad_request: connection: is missing"
		if verb == "disconnect" {
			missing = "bad_request: connection: name either a connection or a user"
		}
		for params, want := range map[string]string{
			`{}`:                              missing,
			`{"connection":"x"}`:              "bad_request: connection: is not the id of a connection",
			`{"connection":"` + nobody + `"}`: "not_found: connection: there is no such connection",
		} {
			if _, got := w.Run(verb, params); got != want {
				t.Errorf("%s %s: got %s, want %s", verb, params, got, want)
			}
		}
	}
}

func TestBindAndUnbind(t *testing.T) {
	w := start(t)
	c := w.User("", "")
	w.subscribe(c, "room:1", hub.Asked)
	id := `"connection":"` + c.ID.String() + `"`
	if got, failed := w.Run("bind", `{`+id+`,"user":"ann","device":"phone"}`); failed != "" || len(got) != 0 {
		t.Errorf("got %v, %s", got, failed)
	}
	w.subscribe(c, "dark:1", hub.Asked) // for users only
	w.subscribe(c, "dark:2", hub.Ordered)
	if i := c.Identity(); i.User != "ann" || i.Device != "phone" || len(w.Hub.UserConns("ann")) != 1 {
		t.Errorf("it is %+v", i)
	}
	if _, got := w.Run("unbind", `{`+id+`,"user":"bob"}`); got != "conflict: user: the connection is not bound to this user" {
		t.Errorf("got %s", got)
	}
	if _, failed := w.Run("unbind", `{`+id+`,"user":"ann"}`); failed != "" || c.User() != "" || w.Hub.UserConns("ann") != nil {
		t.Errorf("%s: it is %q", failed, c.User())
	}
	if diff := cmp.Diff(map[string]any{"type": "unsubscribed", "channel": "dark:1", "reason": "denied"}, c.Next()); diff != "" {
		t.Error(diff)
	}
	names := c.Channels()
	slices.Sort(names)
	if diff := cmp.Diff([]string{"dark:2", "room:1"}, names); diff != "" {
		t.Error(diff)
	}
	for params, want := range map[string]string{
		`{` + id + `}`:                          "bad_request: user: is missing",
		`{` + id + `,"user":"a\u0000"}`:         "bad_request: user: no control characters are allowed",
		`{` + id + `,"user":"a","device":"\n"}`: "bad_request: device: no control characters are allowed",
		`{` + id + `,"user":5}`:                 "bad_request: user: must be a string, not a number",
	} {
		if _, got := w.Run("bind", params); got != want {
			t.Errorf("%s: got %s, want %s", params, got, want)
		}
	}
}

func TestDisconnect(t *testing.T) {
	w := start(t)
	t.Run("with everything", func(t *testing.T) {
		c := w.User("ann", "")
		got, failed := w.Run("disconnect", `{"connection":"`+c.ID.String()+`","code":4321,"message":"enough","reconnect":true,"last":{"event":"end","data":{"score":3}}}`)
		if failed != "" || got["connections"] != 1.0 {
			t.Errorf("got %v, %s", got, failed)
		}
		if m := c.Expect("msg"); m["channel"] != "@direct" || m["event"] != "end" || cmp.Diff(map[string]any{"score": 3.0}, m["data"]) != "" {
			t.Errorf("got %v", m)
		}
		want := protocol.Close{Word: "disconnected", Code: 4321, Reconnect: true}
		if f := c.ExpectBye(want); f["message"] != "enough" || f["after"].(float64) > 1000 {
			t.Errorf("got %v", f)
		}
	})
	t.Run("a device of a user", func(t *testing.T) {
		phone, tablet := w.User("bob", "phone"), w.User("bob", "tablet")
		if got, failed := w.Run("disconnect", `{"user":"bob","device":"phone"}`); failed != "" || got["connections"] != 1.0 {
			t.Errorf("got %v, %s", got, failed)
		}
		phone.ExpectBye(protocol.CloseDisconnected)
		if got, failed := w.Run("disconnect", `{"user":"bob","device":"tablet","last":{"data":null}}`); failed != "" || got["connections"] != 1.0 {
			t.Errorf("got %v, %s", got, failed)
		}
		if m := tablet.Expect("msg"); m["event"] != "message" || m["data"] != nil {
			t.Errorf("got %v", m)
		}
		tablet.ExpectBye(protocol.CloseDisconnected)
	})
	t.Run("nobody", func(t *testing.T) {
		if got, failed := w.Run("disconnect", `{"user":"zoe"}`); failed != "" || got["connections"] != 0.0 {
			t.Errorf("got %v, %s", got, failed)
		}
	})
	for params, want := range map[string]string{
		`{"user":"a","connection":"` + nobody + `"}`:                 "bad_request: connection: name either a connection or a user",
		`{"user":"a","code":1000}`:                                   "bad_request: code: 1000 is not between 4000 and 4999",
		`{"user":"a","code":5000}`:                                   "bad_request: code: 5000 is not between 4000 and 4999",
		`{"user":"a","code":4000.5}`:                                 "bad_request: code: must be an integer, not the number 4000.5",
		`{"user":"a","message":"` + strings.Repeat("m", 1025) + `"}`: "bad_request: message: has 1025 bytes; at most 1024 are allowed",
		`{"user":"a","last":{"event":"\u0000","data":1}}`:            "bad_request: last.event: no control characters in an event name",
		`{"user":"a","last":{"event":5}}`:                            "bad_request: last.event: must be a string, not a number",
	} {
		if _, got := w.Run("disconnect", params); got != want {
			t.Errorf("%.60s: got %s, want %s", params, got, want)
		}
	}
}

func TestOnline(t *testing.T) {
	w := start(t)
	c := w.User("ann", "phone")
	w.User("ann", "tablet")
	w.User("ann", "phone")
	w.User("ann", "")
	yes := map[string]any{"online": true, "connections": 4.0, "devices": []any{"phone", "tablet"}}
	no := map[string]any{"online": false, "connections": 0.0, "devices": []any{}}
	one := map[string]any{"online": true, "connections": 1.0, "devices": []any{"phone"}}
	tests := []struct {
		params string
		want   map[string]any
	}{
		{`{"users":["ann","zoe","ann"]}`, map[string]any{"ann": yes, "zoe": no}},
		{`{"connections":["` + c.ID.String() + `","` + nobody + `","x"]}`, map[string]any{c.ID.String(): one, nobody: no, "x": no}},
		{`{"users":[]}`, map[string]any{}},
	}
	for _, tt := range tests {
		got, failed := w.Run("online", tt.params)
		if diff := cmp.Diff(tt.want, got); diff != "" || failed != "" {
			t.Errorf("%s: %s%s", tt.params, diff, failed)
		}
	}
	many := `["` + strings.Repeat(`a","`, 10_000) + `a"]`
	for params, want := range map[string]string{
		`{}`:                            "bad_request: users: name either users or connections",
		`{"users":[],"connections":[]}`: "bad_request: users: name either users or connections",
		`{"users":` + many + `}`:        "bad_request: users: at most 10000 can be asked for at once",
		`{"users":"ann"}`:               "bad_request: users: must be an array, not a string",
	} {
		if _, got := w.Run("online", params); got != want {
			t.Errorf("%.40s: got %s, want %s", params, got, want)
		}
	}
}

// list reads all pages of connections and gives the ids.
func (w *world) list(params string, limit int) (ids []string, pages int) {
	w.T.Helper()
	after := ""
	for {
		page, failed := w.Run("connections", fmt.Sprintf(`{%s"limit":%d,"after":%q}`, params, limit, after))
		if failed != "" {
			w.T.Fatal(failed)
		}
		for _, item := range page["items"].([]any) {
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		pages++
		if page["next"] == nil {
			return ids, pages
		}
		after = page["next"].(string)
	}
}

func TestConnectionsAreListedInPages(t *testing.T) {
	w := start(t)
	var all, anns, inRoom []string
	for i := range 25 {
		c := w.User([]string{"ann", "bob", ""}[i%3], "")
		all = append(all, c.ID.String())
		if i%3 == 0 {
			anns = append(anns, c.ID.String())
		}
		if i%2 == 0 {
			w.subscribe(c, "room:1", hub.Asked)
			inRoom = append(inRoom, c.ID.String())
		}
	}
	tests := []struct {
		params string
		limit  int
		want   []string
		pages  int
	}{
		{``, 10, all, 3}, {``, 25, all, 1}, {``, 1, all, 25}, {`"user":"ann",`, 4, anns, 3}, {`"channel":"room:1",`, 100, inRoom, 1}, {`"channel":"room:9",`, 5, nil, 1}, {`"user":"zoe",`, 5, nil, 1},
	}
	for _, tt := range tests {
		got, pages := w.list(tt.params, tt.limit)
		slices.Sort(got)
		want := slices.Sorted(slices.Values(tt.want))
		if diff := cmp.Diff(want, got); diff != "" || pages != tt.pages {
			t.Errorf("%s limit %d: %d pages, want %d; %s", tt.params, tt.limit, pages, tt.pages, diff)
		}
	}
	for params, want := range map[string]string{
		`{"limit":-1}`:   "bad_request: limit: -1 is not between 1 and 1000",
		`{"limit":1001}`: "bad_request: limit: 1001 is not between 1 and 1000",
		`{"after":"x"}`:  "bad_request: after: is not what next gave",
	} {
		if _, got := w.Run("connections", params); got != want {
			t.Errorf("%s: got %s, want %s", params, got, want)
		}
	}
}

func TestAListedConnectionHasItsFacts(t *testing.T) {
	w := start(t)
	c := w.User("ann", "phone")
	w.subscribe(c, "room:1", hub.Asked)
	page, failed := w.Run("connections", `{}`)
	if failed != "" {
		t.Fatal(failed)
	}
	item := page["items"].([]any)[0].(map[string]any)
	if since := time.UnixMilli(int64(item["since"].(float64))); time.Since(since) > time.Minute {
		t.Errorf("it is there since %v", since)
	}
	delete(item, "since")
	want := map[string]any{
		"id": c.ID.String(), "user": "ann", "device": "phone", "transport": "test", "address": "192.0.2.1:99",
		"channels": []any{"room:1"}, "bytes": 0.0, "queued": 0.0,
	}
	if diff := cmp.Diff(want, item); diff != "" {
		t.Error(diff)
	}
}

// The examples are those of RFC 7396, appendix A, as far as they are objects.
func TestTheSessionMerges(t *testing.T) {
	w := start(t)
	id := `"connection":"` + w.User("ann", "").ID.String() + `"`
	tests := []struct{ old, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":12345678901234567890.10}`, `{"m":1e5}`, `{"m":1e5,"n":12345678901234567890.10}`},
		{`{"s":"<&>"}`, `{}`, `{"s":"<&>"}`},
	}
	for _, tt := range tests {
		if _, failed := w.Run("session.set", `{`+id+`,"data":`+tt.old+`}`); failed != "" {
			t.Fatal(failed)
		}
		for _, step := range []struct{ verb, params string }{{"session.merge", `{` + id + `,"data":` + tt.patch + `}`}, {"session.get", `{` + id + `}`}} {
			got, err := w.Verbs.Run(t.Context(), step.verb, []byte(step.params), "")
			if err != nil || string(got) != `{"data":`+tt.want+`}` {
				t.Errorf("%s and %s: %s gives %s, %v, want %s", tt.old, tt.patch, step.verb, got, err, tt.want)
			}
		}
	}
}

func TestTheSessionIsABoundedObject(t *testing.T) {
	w := start(t)
	id := `"connection":"` + w.User("ann", "").ID.String() + `"`
	half := strings.Repeat("x", 9<<10)
	if _, failed := w.Run("session.set", `{`+id+`,"data":{"a":"`+half+`"}}`); failed != "" {
		t.Fatal(failed)
	}
	for params, want := range map[string]string{
		`{` + id + `}`:             "bad_request: data: is missing",
		`{` + id + `,"data":null}`: "bad_request: data: must be an object, not null",
		`{` + id + `,"data":[]}`:   "bad_request: data: must be an object, not an array",
		`{` + id + `,"data":{"b":"` + half + `","c":"` + half + `"}}`: "too_large: data: the session would have 18447 bytes; at most 16384 are allowed",
	} {
		if _, got := w.Run("session.set", params); got != want {
			t.Errorf("%.60s: got %s, want %s", params, got, want)
		}
	}
	if _, got := w.Run("session.merge", `{`+id+`,"data":{"b":"`+half+`"}}`); !strings.HasPrefix(got, "too_large: data: the session would have 184") {
		t.Errorf("a merge over the bound: %s", got)
	}
	if got, failed := w.Run("session.get", `{`+id+`}`); failed != "" || cmp.Diff(map[string]any{"data": map[string]any{"a": half}}, got) != "" {
		t.Errorf("after the refusals it has changed: %s", failed)
	}
}
