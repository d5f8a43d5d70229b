package presence_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func (w *world) subscribe(c *sessiontest.Client, channel string, watch bool) {
	w.T.Helper()
	namespace, _, _ := strings.Cut(channel, ":")
	if _, err := w.Hub.Subscribe(&c.Conn, channel, w.Hub.Space(namespace), hub.SubOptions{Presence: watch}); err != nil {
		w.T.Fatal(err)
	}
}

func TestTheFrameShowsWhatTheNamespaceAllows(t *testing.T) {
	w := start(t)
	a, a2, anonymous := w.User("ann", ""), w.User("ann", ""), w.User("", "")
	for _, c := range []*sessiontest.Client{a, a2, anonymous} {
		w.subscribe(c, "room:1", false)
		w.subscribe(c, "hall:1", false)
	}
	a.Send(`{"type":"presence","id":1,"channel":"room:1","data":{"mood":"good"}}`)
	members := []any{map[string]any{"user": "ann", "connections": 2.0, "data": map[string]any{"mood": "good"}}, map[string]any{"connections": 1.0}}
	want := map[string]any{"type": "ok", "id": 1.0, "channel": "room:1", "members": members, "connections": 3.0, "users": 1.0}
	if diff := cmp.Diff(want, a.Next()); diff != "" {
		t.Error(diff)
	}
	a.Send(`{"type":"presence","id":2,"channel":"room:1","data":null}`)
	delete(members[0].(map[string]any), "data")
	want["id"] = 2.0
	if diff := cmp.Diff(want, a.Next()); diff != "" {
		t.Errorf("null takes it away: %s", diff)
	}
	anonymous.Send(`{"type":"presence","id":"h","channel":"hall:1"}`)
	if diff := cmp.Diff(map[string]any{"type": "ok", "id": "h", "channel": "hall:1", "connections": 3.0, "users": 1.0}, anonymous.Next()); diff != "" {
		t.Error(diff)
	}
	anonymous.Send(`{"type":"presence","id":3,"channel":"room:9"}`)
	if diff := cmp.Diff(map[string]any{"type": "ok", "id": 3.0, "channel": "room:9", "members": []any{}, "connections": 0.0, "users": 0.0}, anonymous.Next()); diff != "" {
		t.Errorf("a channel that nobody is in: %s", diff)
	}
}

func TestFramesThatAreRefused(t *testing.T) {
	w := start(t)
	c := w.User("ann", "")
	tests := []struct {
		frame   string
		code    fault.Code
		message string
	}{
		{`{"type":"presence"}`, fault.BadRequest, "channel: is missing"},
		{`{"type":"presence","channel":"attic:1"}`, fault.NotFound, `namespace "attic" is not configured`},
		{`{"type":"presence","channel":"dark:1"}`, fault.Denied, "presence is not shown in dark:1"},
		{`{"type":"presence","channel":"room:1","data":1}`, fault.BadRequest, "data: subscribe to the channel first"},
		{`{"type":"presence","channel":"room:1","data":"` + strings.Repeat("x", 4<<10) + `"}`, fault.TooLarge, "data: has 4098 bytes; at most 4096 are allowed"},
	}
	for _, tt := range tests {
		c.Send(tt.frame)
		c.ExpectError(tt.code, tt.message)
	}
	w.subscribe(w.User("bob", ""), "room:1", false)
	c.Send(`{"type":"presence","channel":"room:1","data":1}`)
	c.ExpectError(fault.BadRequest, "data: subscribe to the channel first")
}

func TestWatchersSeeNewData(t *testing.T) {
	w := start(t)
	watcher, c := w.User("w", ""), w.User("ann", "")
	w.subscribe(watcher, "room:1", true)
	w.subscribe(c, "room:1", false)
	if f := watcher.Expect("join"); f["user"] != "ann" || f["data"] != nil {
		t.Errorf("got %v", f)
	}
	c.Send(`{"type":"presence","channel":"room:1","data":[1]}`)
	if f := watcher.Expect("join"); f["user"] != "ann" || cmp.Diff([]any{1.0}, f["data"]) != "" {
		t.Errorf("got %v", f)
	}
	c.Closed(protocol.CloseNormal, "")
	if f := watcher.Expect("leave"); f["user"] != "ann" || f["connection"] != c.ID.String() {
		t.Errorf("got %v", f)
	}
}

func TestTheVerbShowsEverything(t *testing.T) {
	w := start(t)
	for _, user := range []string{"ann", "ann", ""} {
		w.subscribe(w.User(user, ""), "dark:1", false)
	}
	want := map[string]any{
		"members":     []any{map[string]any{"user": "ann", "connections": 2.0}, map[string]any{"connections": 1.0}},
		"connections": 3.0, "users": 1.0,
	}
	got, failed := w.Run("presence", `{"channel":"dark:1"}`)
	if diff := cmp.Diff(want, got); diff != "" || failed != "" {
		t.Error(diff, failed)
	}
	got, failed = w.Run("presence", `{"channel":"room:1"}`)
	if diff := cmp.Diff(map[string]any{"members": []any{}, "connections": 0.0, "users": 0.0}, got); diff != "" || failed != "" {
		t.Error(diff, failed)
	}
	for params, want := range map[string]string{
		`{}`:                    "bad_request: channel: is missing",
		`{"channel":"room"}`:    `bad_request: channel: "room" is not a channel name; write namespace:name`,
		`{"channel":"attic:1"}`: `not_found: channel: namespace "attic" is not configured`,
	} {
		if _, got := w.Run("presence", params); got != want {
			t.Errorf("%s: got %s, want %s", params, got, want)
		}
	}
}

func TestTheFrameShowsTheCountsOfALargeChannel(t *testing.T) {
	w := start(t)
	a, b := w.User("ann", ""), w.User("bob", "")
	w.subscribe(a, "crowd:1", true)
	w.subscribe(b, "crowd:1", false)
	a.Expect("join")
	a.Send(`{"type":"presence","id":1,"channel":"crowd:1"}`)
	members := []any{map[string]any{"user": "ann", "connections": 1.0}, map[string]any{"user": "bob", "connections": 1.0}}
	want := map[string]any{"type": "ok", "id": 1.0, "channel": "crowd:1", "members": members, "connections": 2.0, "users": 2.0}
	if diff := cmp.Diff(want, a.Next()); diff != "" {
		t.Error(diff)
	}
	w.Hub.Unsubscribe(&b.Conn, "crowd:1")
	a.Send(`{"type":"presence","id":1,"channel":"crowd:1"}`)
	if diff := cmp.Diff(want, a.Next()); diff != "" {
		t.Errorf("one whose leave is held back: %s", diff)
	}
	w.subscribe(b, "crowd:1", false)
	w.subscribe(w.User("cid", ""), "crowd:1", false)
	got := a.Expect("presence")
	delete(got, "time")
	if diff := cmp.Diff(map[string]any{"type": "presence", "channel": "crowd:1", "connections": 3.0, "users": 3.0, "large": true}, got); diff != "" {
		t.Error(diff)
	}
	a.Send(`{"type":"presence","id":2,"channel":"crowd:1"}`)
	want = map[string]any{"type": "ok", "id": 2.0, "channel": "crowd:1", "connections": 3.0, "users": 3.0, "large": true}
	if diff := cmp.Diff(want, a.Next()); diff != "" {
		t.Error(diff)
	}
}

func TestTheVerbGivesPages(t *testing.T) {
	w := start(t)
	names := []string{"ann", "bob", "bob", "connection:x", "user:y", "", ""}
	for _, user := range names {
		w.subscribe(w.User(user, ""), "crowd:1", false)
	}
	var users []string
	after, pages := "", 0
	for more := true; more; pages++ {
		got, failed := w.Run("presence", fmt.Sprintf(`{"channel":"crowd:1","limit":2,"after":%q}`, after))
		if failed != "" || got["connections"] != 7.0 || got["users"] != 4.0 {
			t.Fatalf("got %v, %s", got, failed)
		}
		for _, m := range got["members"].([]any) {
			member := m.(map[string]any)
			user, _ := member["user"].(string)
			users = append(users, fmt.Sprint(user, " ", member["connections"]))
		}
		after, more = got["next"].(string)
	}
	if diff := cmp.Diff([]string{"ann 1", "bob 2", "connection:x 1", "user:y 1", " 1", " 1"}, users); diff != "" || pages != 3 {
		t.Errorf("%d pages; %s", pages, diff)
	}
	for params, want := range map[string]string{
		`{"channel":"crowd:1","limit":1001}`:           "bad_request: limit: 1001 is not between 1 and 1000",
		`{"channel":"crowd:1","limit":-1}`:             "bad_request: limit: -1 is not between 1 and 1000",
		`{"channel":"crowd:1","after":"ann"}`:          "bad_request: after: is not what next gave",
		`{"channel":"crowd:1","after":"user:"}`:        "bad_request: after: is not what next gave",
		`{"channel":"crowd:1","after":"connection:1"}`: "bad_request: after: is not what next gave",
	} {
		if _, got := w.Run("presence", params); got != want {
			t.Errorf("%s: got %s, want %s", params, got, want)
		}
	}
}
