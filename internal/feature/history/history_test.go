package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/history"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

// begin starts a world with the feature and a store.
func begin(t *testing.T, hidden history.Hidden) (*sessiontest.World, *feed.Feeds, *history.Feature) {
	t.Helper()
	feeds := feed.New(feed.Config{})
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Relaxed: true, Options: store.Options{Committed: feeds.Committed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		feeds.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	w := sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{{Name: "room", Kind: hub.KindLog, History: auth.Anyone}}})
	feeds.Start(w.Hub, st)
	return w, feeds, history.New(w.Hub, feeds, func() int { return 1 << 20 }, w.Server, w.Verbs, hidden)
}

func say(t *testing.T, feeds *feed.Feeds, n int) {
	t.Helper()
	for i := range n {
		a := store.Append{Channel: "room:1", ID: fmt.Sprintf("%026d", i+1), Time: 1, Event: "message", Data: []byte(`1`)}
		if _, err := feeds.Publish(t.Context(), a, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// seqs gives what a page has, as in "4 5 6 more of 6".
func seqs(page map[string]any) string {
	var list []string
	for _, m := range page["messages"].([]any) {
		list = append(list, fmt.Sprint(m.(map[string]any)["seq"]))
	}
	if page["more"] == true {
		list = append(list, "more")
	}
	return strings.Join(append(list, "of", fmt.Sprint(page["seq"])), " ")
}

func TestAPageShowsNothingThatIsHidden(t *testing.T) {
	floors := map[string]uint64{"new": 3, "all": 9, "old": 0}
	w, feeds, _ := begin(t, func(_ context.Context, s *session.Session, space *hub.Space, channel string) (uint64, error) {
		if space.Name != "room" || channel != "room:1" {
			return 0, errors.New("asked about " + channel)
		}
		floor, ok := floors[s.User()]
		if !ok {
			return 0, fault.New(fault.Denied, "no member")
		}
		return floor, nil
	})
	say(t, feeds, 6)
	tests := []struct{ user, params, want string }{
		{"old", ``, "1 2 3 4 5 6 of 6"},
		{"old", `,"before":5,"limit":2`, "3 4 more of 6"},
		{"new", ``, "4 5 6 of 6"},
		{"new", `,"limit":2`, "5 6 more of 6"},
		{"new", `,"limit":3`, "4 5 6 of 6"},
		{"new", `,"limit":4`, "4 5 6 of 6"},
		{"new", `,"before":6`, "4 5 of 6"},
		{"new", `,"before":6,"limit":1`, "5 more of 6"},
		{"new", `,"before":5,"limit":1`, "4 of 6"},
		{"new", `,"before":4`, "of 6"},
		{"new", `,"before":2,"limit":1`, "of 6"},
		{"new", `,"after":0,"limit":2`, "4 5 more of 6"},
		{"new", `,"after":4`, "5 6 of 6"},
		{"new", `,"after":6`, "of 6"},
		{"all", ``, "of 6"},
		{"all", `,"after":0`, "of 6"},
	}
	clients := map[string]*sessiontest.Client{}
	for _, tt := range tests {
		if clients[tt.user] == nil {
			clients[tt.user] = w.User(tt.user, "")
		}
		page := clients[tt.user].Do(`{"type":"history","channel":"room:1"` + tt.params + `}`)
		if got := seqs(page); got != tt.want {
			t.Errorf("%s%s: got %s, want %s", tt.user, tt.params, got, tt.want)
		}
	}
	stranger := w.User("stranger", "")
	stranger.Send(`{"type":"history","id":1,"channel":"room:1"}`)
	stranger.ExpectError(fault.Denied, "no member")
	// The server sees everything.
	page, text := w.Run("history", `{"channel":"room:1"}`)
	if text != "" || seqs(page) != "1 2 3 4 5 6 of 6" {
		t.Errorf("got %v, %s", page, text)
	}
}

func TestAPageSaysWhatMessagesSayBesideTheirData(t *testing.T) {
	w, feeds, _ := begin(t, nil)
	say(t, feeds, 1)
	a := store.Append{
		Channel: "room:1", ID: strings.Repeat("B", 26), Time: 2, Event: "message", Data: []byte(`"hi"`), Sender: protocol.Sender{User: "ann"},
		Meta: store.Meta{Reply: 1, Mentions: []string{"bob", "carl"}},
	}
	if _, err := feeds.Publish(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	said := map[string]any{
		"id": a.ID, "seq": 2.0, "event": "message", "data": "hi", "from": map[string]any{"user": "ann"}, "time": 2.0,
		"reply": 1.0, "mentions": []any{"bob", "carl"},
	}
	c := w.User("ann", "")
	newest := func() (list []any) {
		frame := c.Do(`{"type":"history","channel":"room:1","limit":1}`)["messages"].([]any)
		page, text := w.Run("history", `{"channel":"room:1","limit":1}`)
		if text != "" || len(frame) != 1 || cmp.Diff(frame, page["messages"]) != "" {
			t.Fatalf("the frame has %v, the verb %v, %s", frame, page, text)
		}
		return frame
	}
	if diff := cmp.Diff([]any{said}, newest()); diff != "" {
		t.Error(diff)
	}
	if _, err := feeds.Edit(t.Context(), store.EditMessage{Channel: "room:1", Seq: 2, Event: "note", Data: []byte(`"hello"`), Time: 9}); err != nil {
		t.Fatal(err)
	}
	said["event"], said["data"], said["edited"] = "note", "hello", true
	if diff := cmp.Diff([]any{said}, newest()); diff != "" {
		t.Error(diff)
	}
	if _, err := feeds.Recall(t.Context(), store.Recall{Channel: "room:1", Seq: 2}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{map[string]any{"id": a.ID, "seq": 2.0, "recalled": true, "time": 2.0}}, newest()); diff != "" {
		t.Error(diff)
	}
}

// What a Go program gets from the verb has a place for all that a page says.
func TestAMessageHasAPlaceForAllThatAPageSays(t *testing.T) {
	text := `{"id":"x","seq":2,"event":"note","data":"hello","from":{"user":"ann","device":"d","connection":"c"},"reply":1,"mentions":["bob"],"edited":true,"time":2}`
	var m history.Message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(again)); diff != "" {
		t.Error(diff)
	}
}
