package chat

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

// who gives to whom alerts were pushed, by category.
func who(lines []string) (list []string) {
	for _, line := range lines {
		to, _, _ := strings.Cut(line, ":")
		list = append(list, to)
	}
	return list
}

func TestAlertsGoToMembersWhoAreAway(t *testing.T) {
	w := chatWorld(t)
	w.group("team:1", "ann", "bob", "eve", "kim")
	users := make([]string, 8)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i)
	}
	w.group("team:9", users...) // has more members than are told of plain messages
	w.User("eve", "")
	w.do(store.BlockPeer{User: "kim", Peer: "dan", Blocked: true, Time: 1})
	w.do(store.Admit{Channel: "team:1", Users: []string{"dan"}, Role: store.RoleMember, Time: 1})
	for _, tt := range []struct {
		name, channel, user string
		mentions            []string
		levels              map[string]store.AlertLevel
		want                []string
	}{
		{"plain", "team:1", "ann", nil, nil, []string{"chat to bob,dan,kim"}},
		{"who is named, and who is there", "team:1", "ann", []string{"bob", "eve"}, nil, []string{"chat to dan,kim", "mention to bob"}},
		{"everybody is named", "team:1", "ann", []string{"*"}, nil, []string{"mention to bob,dan,kim"}},
		{"one is blocked", "team:1", "dan", []string{"kim"}, nil, []string{"chat to ann,bob"}},
		{"the server's word", "team:1", "", nil, nil, []string{"chat to ann,bob,dan,kim"}},
		{"levels", "team:1", "ann", nil, map[string]store.AlertLevel{"bob": store.AlertNone, "kim": store.AlertMentions, "dan": store.AlertAll}, []string{"chat to dan"}},
		{"levels of those who are named", "team:1", "ann", []string{"bob", "kim", "dan"}, map[string]store.AlertLevel{"bob": store.AlertNone, "kim": store.AlertMentions, "dan": store.AlertAll}, []string{"mention to dan,kim"}},
		{"a large group", "team:9", "user-0", nil, nil, nil},
		{"who is named in a large group", "team:9", "user-0", []string{"user-3"}, nil, []string{"mention to user-3"}},
		{"who wants all of a large group", "team:9", "user-0", nil, map[string]store.AlertLevel{"user-5": store.AlertAll}, []string{"chat to user-5"}},
		{"two", "dm:ann:bob", "ann", nil, nil, []string{"chat to bob"}},
		{"two, of whom one is there", "dm:ann:eve", "ann", nil, nil, nil},
		{"two, and one wants none", "dm:ann:kim", "ann", nil, map[string]store.AlertLevel{"kim": store.AlertNone}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.levels) > 0 && strings.HasPrefix(tt.channel, "dm:") {
				w.speak(tt.channel, tt.user) // so that there is a membership
				w.alerted()
			}
			for user, level := range tt.levels {
				w.do(store.SetAlerts{Channel: tt.channel, User: user, Level: level})
			}
			w.speak(tt.channel, tt.user, tt.mentions...)
			if diff := cmp.Diff(tt.want, who(w.alerted())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for user := range tt.levels {
				w.do(store.SetAlerts{Channel: tt.channel, User: user, Level: store.AlertDefault})
			}
			w.nothingLeft()
		})
	}
	if got := w.Feature.Metrics().Alerts.Load(); got == 0 {
		t.Error("alerts are not counted")
	}
}

// nothingLeft checks that no alert is left to be carried out.
func (w *chatting) nothingLeft() {
	w.T.Helper()
	w.settled()
	left, err := w.kept.Alerts(context.Background(), store.Alert{}, 10)
	if err != nil || len(left) > 0 {
		w.T.Errorf("left are %v, %v", left, err)
	}
}

func TestAlertsSayWhatWasSaid(t *testing.T) {
	w := chatWorld(t)
	large := `"` + strings.Repeat("x", maxLast) + `"`
	w.group("team:1", "ann", "bob")
	w.speakData("dm:ann:bob", "ann", `{"text":"hi"}`)
	w.speakData("team:1", "ann", large, "bob")
	w.speakData("team:1", "", `1`)
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.pushed, func(a, b Push) int { return strings.Compare(a.Key, b.Key) })
	var got []Push
	for _, p := range w.pushed {
		p.Data = nil
		got = append(got, p)
	}
	want := []Push{
		{Users: []string{"bob"}, Category: "chat", Event: "chat", Collapse: "chat:dm:ann:bob", Key: "chat:dm:ann:bob:1:chat"},
		{Users: []string{"bob"}, Category: "mention", Event: "chat", Collapse: "chat:team:1", Key: "chat:team:1:1:mention:mention"},
		{Users: []string{"ann", "bob"}, Category: "chat", Event: "chat", Collapse: "chat:team:1", Key: "chat:team:1:2:chat"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for i, data := range []string{
		`{"channel":"dm:ann:bob","seq":1,"from":"ann","event":"message","data":{"text":"hi"}}`,
		`{"channel":"team:1","seq":1,"from":"ann","event":"message","cut":true,"mention":true}`,
		`{"channel":"team:1","seq":2,"event":"message","data":1}`,
	} {
		var f map[string]any
		same(t, decode(t, w.pushed[i].Data, &f)["id"] != "", "true")
		delete(f, "id")
		same(t, f, data)
	}
}

func TestWithoutMentionsWhoIsNamedIsToldAsOthersAre(t *testing.T) {
	w := chatWorld(t)
	spaces := spacesOf()
	spaces[1].Chat.Mentions = ""
	w.Hub.SetSpaces(spaces)
	users := []string{"ann", "bob", "eve", "kim", "dan", "lee", "joe"}
	w.group("team:1", users...)
	w.speak("team:1", "ann", "bob") // the group is large
	if diff := cmp.Diff([]string{"chat to bob"}, who(w.alerted())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	spaces = spacesOf()
	spaces[1].Chat.Alerts = ""
	w.Hub.SetSpaces(spaces)
	w.speak("team:1", "ann", "bob")
	w.speak("team:1", "ann")
	if diff := cmp.Diff([]string{"mention to bob"}, who(w.alerted())); diff != "" {
		t.Errorf("without others (-want +got):\n%s", diff)
	}
	w.nothingLeft()

	// Both under one category: who is named is told so, the others are not.
	spaces = spacesOf()
	spaces[1].Chat.Mentions, spaces[1].Chat.AlertMembers = "chat", 0
	w.Hub.SetSpaces(spaces)
	w.speak("team:1", "ann", "bob")
	got := map[string]bool{}
	for _, line := range w.alerted() {
		to, data, _ := strings.Cut(line, ": ")
		got[to] = strings.Contains(data, `"mention":true`)
	}
	if diff := cmp.Diff(map[string]bool{"chat to bob": true, "chat to dan,eve,joe,kim,lee": false}, got); diff != "" {
		t.Errorf("under one category (-want +got):\n%s", diff)
	}
}

func TestWhatIsReadIsNotAlerted(t *testing.T) {
	w := chatWorld(t)
	both := []string{"bob chat chat:dm:ann:bob", "bob mention chat:dm:ann:bob"}
	mark := func(read uint64) {
		t.Helper()
		if _, problem := w.Run("chat.mark", fmt.Sprintf(`{"channel":"dm:ann:bob","user":"bob","read":%d}`, read)); problem != "" {
			t.Fatal(problem)
		}
	}
	own := []string{"ann chat chat:dm:ann:bob", "ann mention chat:dm:ann:bob"}
	w.speak("dm:ann:bob", "ann")
	w.speak("dm:ann:bob", "ann")
	if diff := cmp.Diff(own, w.endedAlerts()); diff != "" { // who writes has read; the second time that is known
		t.Errorf("of who has written (-want +got):\n%s", diff)
	}
	mark(1)
	if got := w.endedAlerts(); len(got) > 0 {
		t.Errorf("%v were ended before all was read", got)
	}
	mark(2)
	if diff := cmp.Diff(both, w.endedAlerts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mark(2)
	if got := w.endedAlerts(); len(got) > 0 {
		t.Errorf("%v were ended though nothing moved", got)
	}
	w.alerted()

	// While he reads everything at once, nothing is there to be ended.
	bob := w.User("bob", "")
	for range 3 {
		seq := w.speak("dm:ann:bob", "ann")
		bob.Do(fmt.Sprintf(`{"type":"mark","channel":"dm:ann:bob","read":%d}`, seq))
	}
	if got := append(w.endedAlerts(), w.alerted()...); len(got) > 0 {
		t.Errorf("got %v for one who is there", got)
	}
	bob.Closed(protocol.CloseNormal, "")
	seq := w.speak("dm:ann:bob", "ann")
	if diff := cmp.Diff([]string{"chat to bob"}, who(w.alerted())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mark(seq)
	if diff := cmp.Diff(both, w.endedAlerts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Where there are no alerts, there is nothing to be ended.
	w.group("big:1", "ann", "bob")
	w.speak("big:1", "ann")
	if _, problem := w.Run("chat.mark", `{"channel":"big:1","user":"bob","read":1}`); problem != "" {
		t.Fatal(problem)
	}
	if got := w.endedAlerts(); len(got) > 0 {
		t.Errorf("%v were ended where there are none", got)
	}
}

func TestWhatIsReadWhileItIsPushedIsEnded(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	w.alerted()
	if _, problem := w.Run("chat.mark", `{"channel":"dm:ann:bob","user":"bob","read":1}`); problem != "" {
		t.Fatal(problem)
	}
	w.endedAlerts() // it is known that he has none
	w.judge = func(p Push) error {
		w.judge = nil
		_, err := w.kept.Do(context.Background(), store.MarkMember{Channel: "dm:ann:bob", User: "bob", Read: 2})
		return err
	}
	w.speak("dm:ann:bob", "ann")
	w.alerted()
	if diff := cmp.Diff([]string{"bob chat chat:dm:ann:bob", "bob mention chat:dm:ann:bob"}, w.endedAlerts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// What has come to him before it is his turn is not pushed at all.
	w.fail("alerts", 1)
	w.speak("dm:ann:bob", "ann")
	w.do(store.MarkMember{Channel: "dm:ann:bob", User: "bob", Delivered: 3})
	if got := w.alerted(); len(got) > 0 {
		t.Errorf("got %v, which has come to him", got)
	}
	w.nothingLeft()
}

func TestAnAlertThatCannotBePushedIsTriedAgain(t *testing.T) {
	w := chatWorld(t)
	tries := 0
	w.judge = func(p Push) error {
		if tries++; tries < 4 {
			return notNow
		}
		return nil
	}
	w.speak("dm:ann:bob", "ann")
	w.speak("dm:ann:bob", "ann")
	if diff := cmp.Diff([]string{"chat to bob", "chat to bob"}, who(w.alerted())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := w.Feature.Metrics().AlertFailures.Load(); n != 3 {
		t.Errorf("%d failures are counted, want 3", n)
	}
	w.nothingLeft()
}

func TestAnAlertThatCannotBeIsDone(t *testing.T) {
	var log syncBuffer
	w := chatWorldOf(t, chatOptions{logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, code := range []fault.Code{fault.NotFound, fault.NotFound, fault.Conflict, fault.TooLarge} {
		w.judge = func(Push) error { return fault.New(code, "no") }
		w.speak("dm:ann:bob", "ann")
		w.nothingLeft()
	}
	w.mu.Lock()
	w.judge = nil
	w.mu.Unlock()
	recalled := w.hold(func() uint64 { return w.speak("dm:ann:bob", "ann") }, func(seq uint64) {
		w.do(store.Recall{Channel: "dm:ann:bob", Seq: seq})
	})
	gone := w.hold(func() uint64 { return w.speak("team:7", "") }, func(uint64) {}) // nobody is a member
	if got := w.alerted(); len(got) > 0 {
		t.Errorf("got %v; %d was recalled and of %d nobody is to be told", got, recalled, gone)
	}
	w.nothingLeft()
	if n := strings.Count(log.String(), "there is no such category"); n != 1 {
		t.Errorf("the category that is missing was told of %d times in\n%s", n, log.String())
	}
	if n := w.Feature.Metrics().AlertFailures.Load(); n != 3 {
		t.Errorf("%d failures are counted, want 3", n)
	}
}

// hold says something whose alert has to wait until then has been done.
func (w *chatting) hold(say func() uint64, then func(seq uint64)) uint64 {
	w.T.Helper()
	w.settled()
	w.fail("alerts", 1)
	seq := say()
	then(seq)
	return seq
}

func TestAlertsThatWereLeftBehindAreCarriedOut(t *testing.T) {
	dir := t.TempDir()
	kept, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	const conversations = leftPage/2 + 7
	for i := range conversations {
		a, b := "ann", fmt.Sprintf("user-%04d", i)
		for k := range 2 {
			at := time.UnixMilli(int64(10 + k))
			if _, err := kept.Do(t.Context(), store.Append{
				Channel: DirectChannel("dm", a, b), ID: id.Message(at), Time: at.UnixMilli(), Event: "message", Data: []byte("1"), Sender: protocol.Sender{User: a},
				Author: &store.Author{User: a, Direct: []string{a, b}, Alert: true},
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	w := chatWorldOf(t, chatOptions{dir: dir})
	w.wait("all that was left", func() bool { return w.Feature.Metrics().Alerts.Load() == 2*conversations })
	w.nothingLeft()
	keys := map[string]int{}
	for _, p := range w.pushed {
		keys[p.Key]++
	}
	if len(keys) != 2*conversations || keys["chat:dm:ann:user-0003:2:chat"] != 1 {
		t.Errorf("%d keys for %d messages", len(keys), 2*conversations)
	}
}

func TestWhereTheStoreIsSharedWhatIsOldIsLookedFor(t *testing.T) {
	w := chatWorldOf(t, chatOptions{shared: true})
	now := time.Now()
	for i, age := range []time.Duration{leftAge / 2, 2 * leftAge} {
		at := now.Add(-age)
		w.Hub.SetSpaces(nil) // so that nobody is told now
		w.do(store.Append{
			Channel: fmt.Sprintf("dm:ann:bob-%d", i), ID: id.Message(at), Time: at.UnixMilli(), Event: "message", Data: []byte("1"), Sender: protocol.Sender{User: "ann"},
			Author: &store.Author{User: "ann", Direct: []string{"ann", fmt.Sprintf("bob-%d", i)}, Alert: true},
		})
	}
	w.Hub.SetSpaces(spacesOf())
	if err := w.alerts.lookForLeft(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"chat to bob-1"}, who(w.alerted())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCollapseKeysFit(t *testing.T) {
	long := "dm:" + strings.Repeat("a", 126) + ":" + strings.Repeat("b", 125)
	other := "dm:" + strings.Repeat("a", 126) + ":" + strings.Repeat("c", 125)
	if got := collapseOf("dm:ann:bob"); got != "chat:dm:ann:bob" {
		t.Errorf("got %q", got)
	}
	if a, b := collapseOf(long), collapseOf(other); len(a) > maxCollapse || a == b || !strings.HasPrefix(a, "chat:dm:") {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestPairsAreBounded(t *testing.T) {
	var p pairs
	p.init()
	for i := range 3 * maxPairs {
		p.add("ann", fmt.Sprint(i))
	}
	if n := len(p.young) + len(p.old); n > 2*maxPairs || !p.has("ann", fmt.Sprint(3*maxPairs-1)) || p.has("ann", "0") {
		t.Errorf("%d are remembered", n)
	}
	p.remove("ann", fmt.Sprint(3*maxPairs-1))
	if p.has("ann", fmt.Sprint(3*maxPairs-1)) || p.has("an", "n"+fmt.Sprint(3*maxPairs-2)) {
		t.Error("a pair is taken for another one")
	}
}

// syncBuffer is a buffer for a logger.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
