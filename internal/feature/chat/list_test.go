package chat

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

// channels gives the channels of a page, in order.
func channels(page map[string]any) (names []string) {
	for _, e := range page["conversations"].([]any) {
		names = append(names, e.(map[string]any)["channel"].(string))
	}
	return names
}

// shownIn takes the members away that differ from run to run.
func shownIn(page map[string]any) []any {
	list := page["conversations"].([]any)
	for _, e := range list {
		e := e.(map[string]any)
		if epoch, _ := e["epoch"].(string); epoch == "" {
			e["epoch"] = "missing"
		} else {
			delete(e, "epoch")
		}
		if last, there := e["last"].(map[string]any); there {
			delete(last, "id")
		}
		delete(e, "since")
	}
	return list
}

func TestTheListSaysWhatIsKnownOfEachConversation(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "bob")
	w.speak("dm:ann:bob", "bob")
	w.group("team:1", "ann", "bob", "eve")
	w.speak("team:1", "eve", "ann")
	w.speak("dm:ann:eve", "ann")
	w.do(store.BlockPeer{User: "ann", Peer: "eve", Blocked: true, Time: 1})
	w.do(store.BlockPeer{User: "bob", Peer: "ann", Blocked: true, Time: 1}) // that is his
	w.do(store.SetAlerts{Channel: "team:1", User: "ann", Level: store.AlertMentions})
	w.do(store.SetRole{Channel: "team:1", User: "bob", Role: store.RoleAdmin})
	w.do(store.AddMembers{Channel: "big:old", Users: []string{"ann"}, Time: 500})
	w.do(store.AddMembers{Channel: "room:7", Users: []string{"ann"}, Time: 600}) // is no conversation
	c := w.User("ann", "")
	w.User("bob", "")
	c.Do(`{"type":"mark","channel":"dm:ann:bob","read":1,"delivered":2}`)
	got := c.Do(`{"type":"conversations"}`)
	same(t, pick(got, "count", "unread", "next"), `{"count":4,"unread":2}`)
	same(t, shownIn(got), `[
		{"channel":"dm:ann:eve","kind":"direct","seq":1,"read":1,"delivered":1,"unread":0,"time":10004,
		 "last":{"seq":1,"event":"message","data":4,"from":{"user":"ann"},"time":10004},
		 "role":"member","hidden":0,"members":2,"alerts":"default",
		 "peer":{"user":"eve","read":0,"delivered":0,"online":false,"blocked":true}},
		{"channel":"team:1","kind":"group","seq":1,"read":0,"delivered":0,"unread":1,"time":10003,
		 "last":{"seq":1,"event":"message","data":3,"from":{"user":"eve"},"mentions":["ann"],"time":10003},
		 "role":"owner","hidden":0,"members":3,"alerts":"mentions","data":{"title":"T"},"join":"admins"},
		{"channel":"dm:ann:bob","kind":"direct","seq":2,"read":1,"delivered":2,"unread":1,"time":10002,
		 "last":{"seq":2,"event":"message","data":2,"from":{"user":"bob"},"time":10002},
		 "role":"member","hidden":0,"members":2,"alerts":"default",
		 "peer":{"user":"bob","read":2,"delivered":2,"online":true}},
		{"channel":"big:old","kind":"group","seq":0,"read":0,"delivered":0,"unread":0,"time":500,
		 "role":"member","hidden":0,"members":1,"alerts":"default","data":null,"join":"open"}]`)

	one := c.Do(`{"type":"conversation","channel":"team:1"}`)
	same(t, pick(one["conversation"].(map[string]any), "channel", "role", "seq", "unread", "members", "data"),
		`{"channel":"team:1","role":"owner","seq":1,"unread":1,"members":3,"data":{"title":"T"}}`)
	verb, problem := w.Run("conversations", `{"user":"ann","limit":1}`)
	if problem != "" {
		t.Fatal(problem)
	}
	same(t, []any{channels(verb), verb["count"], verb["unread"]}, `[["dm:ann:eve"],4,2]`)
	none := w.User("nobody", "").Do(`{"type":"conversations"}`)
	same(t, pick(none, "conversations", "count", "unread", "next"), `{"conversations":[],"count":0,"unread":0}`)
}

func TestWhatIsLargeIsCutFromTheList(t *testing.T) {
	w := chatWorld(t)
	fits, large := `"`+strings.Repeat("x", maxLast-2)+`"`, `",\"data\":null`+strings.Repeat("x", maxLast)+`"`
	w.speakData("dm:ann:bob", "bob", fits)
	w.speakData("dm:ann:eve", "eve", large)
	recalled := w.speakData("dm:ann:kim", "kim", large)
	w.do(store.Recall{Channel: "dm:ann:kim", Seq: recalled})
	edited := w.speakData("dm:ann:lee", "lee", "1")
	w.do(store.EditMessage{Channel: "dm:ann:lee", Seq: edited, Event: "message", Data: []byte("null"), Time: 1})
	list := shownIn(w.User("ann", "").Do(`{"type":"conversations"}`))
	last := map[string]any{}
	for _, e := range list {
		e := e.(map[string]any)
		last[e["channel"].(string)] = e["last"]
	}
	same(t, last, `{
		"dm:ann:bob":{"seq":1,"event":"message","data":`+fits+`,"from":{"user":"bob"},"time":10000},
		"dm:ann:eve":{"seq":1,"event":"message","cut":true,"from":{"user":"eve"},"time":10000},
		"dm:ann:kim":{"seq":1,"recalled":true,"time":10000},
		"dm:ann:lee":{"seq":1,"event":"message","data":null,"edited":true,"from":{"user":"lee"},"time":10000}}`)
}

func TestPagesOfTheListMeet(t *testing.T) {
	w := chatWorld(t)
	var want []string
	for i := range 25 {
		channel := fmt.Sprintf("dm:ann:user-%02d", i)
		if i%4 != 0 { // some are of the same time
			w.speak(channel, "ann")
		} else {
			w.speakData(channel, "ann", "0")
		}
		want = append(want, channel)
	}
	all := channels(w.User("ann", "").Do(`{"type":"conversations","limit":200}`))
	if diff := cmp.Diff(len(want), len(all)); diff != "" {
		t.Fatal(diff)
	}
	for _, limit := range []int{1, 7, 24, 25} {
		var got []string
		c := w.User("ann", "")
		for after := ""; ; {
			page := c.Do(fmt.Sprintf(`{"type":"conversations","limit":%d,"after":%q}`, limit, after))
			got = append(got, channels(page)...)
			same(t, page["count"], "25")
			next, more := page["next"].(string)
			if !more {
				break
			}
			after = next
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

func TestWrongListsNameTheirMember(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	encoded := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	wrong := "after: is not the next of a page of conversations"
	for _, tt := range []struct {
		user, frame string
		code        fault.Code
		message     string
	}{
		{"ann", `{"type":"conversations","limit":0}`, fault.BadRequest, "limit: 0 is not between 1 and 200"},
		{"ann", `{"type":"conversations","limit":201}`, fault.BadRequest, "limit: 201 is not between 1 and 200"},
		{"ann", `{"type":"conversations","live":"yes"}`, fault.BadRequest, "live: "},
		{"ann", `{"type":"conversations","after":7}`, fault.BadRequest, "after: "},
		{"ann", `{"type":"conversations","after":"!"}`, fault.BadRequest, wrong},
		{"ann", `{"type":"conversations","after":"` + encoded("7ps") + `"}`, fault.BadRequest, wrong},
		{"ann", `{"type":"conversations","after":"` + encoded("7ps/x") + `"}`, fault.BadRequest, wrong},
		{"ann", `{"type":"conversations","after":"` + encoded("-7ps/dm:ann:bob") + `"}`, fault.BadRequest, wrong},
		{"ann", `{"type":"conversations","after":"` + encoded("07ps/dm:ann:bob") + `"}`, fault.BadRequest, wrong},
		{"ann", `{"type":"conversations","after":"` + encoded("7PS/dm:ann:bob") + `"}`, fault.BadRequest, wrong},
		{"ann", `{"type":"conversations","after":"` + strings.Repeat("A", maxCursor+1) + `"}`, fault.BadRequest, "after: "},
		{"", `{"type":"conversations","live":true}`, fault.Unauthorized, ""},
		{"", `{"type":"conversation","channel":"dm:ann:bob"}`, fault.Unauthorized, ""},
		{"ann", `{"type":"conversation"}`, fault.BadRequest, "channel: is missing"},
		{"ann", `{"type":"conversation","channel":"room:7"}`, fault.BadRequest, "channel: "},
		{"ann", `{"type":"conversation","channel":"nope:7"}`, fault.NotFound, "channel: "},
		{"ann", `{"type":"conversation","channel":"dm:bob:ann"}`, fault.BadRequest, `"dm:ann:bob"`},
		{"ann", `{"type":"conversation","channel":"dm:bob:eve"}`, fault.Denied, "channel: "},
		{"ann", `{"type":"conversation","channel":"dm:ann:eve"}`, fault.Denied, "channel: "}, // it has not begun
		{"ann", `{"type":"conversation","channel":"team:1"}`, fault.Denied, "channel: "},
		{"ann", `{"type":"conversation","channel":"house:1"}`, fault.Denied, "house:1"},
	} {
		t.Run(tt.user+" "+tt.frame[:min(len(tt.frame), 80)], func(t *testing.T) {
			c := w.User(tt.user, "")
			c.T = t
			c.Send(tt.frame)
			c.ExpectError(tt.code, tt.message)
			w.quiet(c)
		})
	}
	if n := w.Feature.Metrics().Followers.Load(); n != 0 {
		t.Errorf("%d connections follow after errors", n)
	}
	for params, want := range map[string]string{
		`{}`:                         "user: is missing",
		`{"user":"ann","limit":-1}`:  "limit: -1 is not between 1 and 200",
		`{"user":"ann","after":"!"}`: wrong,
		`{"user":"ann","live":true}`: "live: is not a field of this verb",
	} {
		if _, got := w.Run("conversations", params); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", params, got, want)
		}
	}
}

func TestCursorsCarryAnyPlace(t *testing.T) {
	for _, p := range []store.ConversationPlace{
		{Time: 0, Channel: "a:b"}, {Time: 1, Channel: "dm:a/b:c"}, {Time: 1 << 52, Channel: "team:" + strings.Repeat("x", 250)}, {Time: 1770000000000, Channel: "dm:ä%3A:ß"},
	} {
		text := cursor(p)
		got, err := parseCursor(text)
		if err != nil || got != p || len(text) > maxCursor {
			t.Errorf("%+v became %q and then %+v, %v", p, text, got, err)
		}
	}
}

func TestATokenSeesOfTheListWhatItMay(t *testing.T) {
	w := chatWorld(t)
	w.group("toy:1", "ann", "bob")
	w.speak("toy:1", "bob")
	w.group("house:1", "ann", "bob")
	caps, err := auth.ParseCaps(map[string][]string{"toy:*": {"sub"}})
	if err != nil {
		t.Fatal(err)
	}
	able, unable := w.token("ann", caps), w.token("ann", nil)
	for _, c := range []struct {
		what  string
		page  map[string]any
		shown bool
	}{{"the capability", able.Do(`{"type":"conversations","live":true}`), true}, {"none", unable.Do(`{"type":"conversations","live":true}`), false}} {
		if diff := cmp.Diff([]string{"toy:1"}, channels(c.page)); diff != "" {
			t.Errorf("with %s: %s", c.what, diff)
		}
		if _, shown := shownIn(c.page)[0].(map[string]any)["last"]; shown != c.shown {
			t.Errorf("with %s the last message is shown: %t", c.what, shown)
		}
	}
	all, _ := w.Run("conversations", `{"user":"ann"}`)
	if len(channels(all)) != 2 {
		t.Errorf("a backend is told of %v, want both", channels(all))
	}
	w.speak("toy:1", "bob")
	w.speak("house:1", "")
	same(t, pick(able.Expect("conversation"), "channel", "seq"), `{"channel":"toy:1","seq":2}`)
	w.quiet(able, unable)
}

// BenchmarkList is the first page of the list of somebody with a thousand conversations.
func BenchmarkList(b *testing.B) {
	w := chatWorld(b)
	for i := range 1000 {
		peer := fmt.Sprintf("user-%04d", i)
		w.said++
		w.speakData(DirectChannel("dm", "me", peer), peer, `{"text":"`+strings.Repeat("x", 100)+`"}`)
	}
	for _, limit := range []int{20, 50, 200} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			b.ReportAllocs()
			bytes := 0
			for b.Loop() {
				page, err := w.page(b.Context(), "me", store.ConversationPlace{}, limit, nil)
				if err != nil {
					b.Fatal(err)
				}
				bytes = len(w.appendList(nil, page))
			}
			b.ReportMetric(float64(bytes), "bytes/page")
		})
	}
}

func TestLevelsOfAlertsAreKept(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob")
	c := w.follow("bob", "")
	was := "default"
	for _, level := range []string{"all", "mentions", "none", "default"} {
		got, problem := w.Run("chat.alerts", `{"channel":"team:1","user":"bob","level":"`+level+`"}`)
		if problem != "" || got["was"] != was {
			t.Errorf("%s: got %v %s, want it to have been %s", level, got, problem, was)
		}
		was = level
		same(t, pick(c.Expect("conversation"), "channel", "alerts", "role"), `{"channel":"team:1","alerts":"`+level+`","role":"member"}`)
	}
	for params, want := range map[string]string{
		`{"channel":"team:1","user":"bob","level":"loud"}`:    "level: ",
		`{"channel":"team:1","level":"all"}`:                  "user: is missing",
		`{"channel":"team:1","user":"eve","level":"all"}`:     "denied: channel: ",
		`{"channel":"room:1","user":"bob","level":"all"}`:     "channel: ",
		`{"channel":"dm:ann:bob","user":"bob","level":"all"}`: "denied: channel: ", // it has not begun
	} {
		if _, got := w.Run("chat.alerts", params); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", params, got, want)
		}
	}
}
