package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

// chatting is sessions with conversations, on a store in a file. Nobody is subscribed to
// anything by a membership: what the others are told comes by their lists.
type chatting struct {
	*sessiontest.World
	*Feature
	kept  store.Store
	feeds *feed.Feeds
	said  int // messages

	mu      sync.Mutex // guards all below
	pushed  []Push
	once    map[string]bool // keys with their users
	cleared []string        // user, category and collapse key
	failing map[string]int
	judge   func(p Push) error // what becomes of a push; nil: it is stored
}

// unreliable is a store of which some reads and writes fail before they work.
type unreliable struct {
	store.Store
	w *chatting
}

func (u *unreliable) fails(what string) error {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	if u.w.failing[what] == 0 {
		return nil
	}
	u.w.failing[what]--
	return fmt.Errorf("%s: %w", what, store.ErrUnavailable)
}

func (u *unreliable) Roster(ctx context.Context, channel, after string, limit int) ([]store.RosterMember, error) {
	return orElse(u.fails("roster"), func() ([]store.RosterMember, error) { return u.Store.Roster(ctx, channel, after, limit) })
}

func (u *unreliable) Memberships(ctx context.Context, user, after string, limit int) ([]store.Membership, error) {
	return orElse(u.fails("memberships"), func() ([]store.Membership, error) { return u.Store.Memberships(ctx, user, after, limit) })
}

func (u *unreliable) Alerts(ctx context.Context, after store.Alert, limit int) ([]store.Alert, error) {
	return orElse(u.fails("alerts"), func() ([]store.Alert, error) { return u.Store.Alerts(ctx, after, limit) })
}

func (u *unreliable) Conversations(ctx context.Context, q store.ConversationQuery) (store.ConversationPage, error) {
	return orElse(u.fails("conversations"), func() (store.ConversationPage, error) { return u.Store.Conversations(ctx, q) })
}

func orElse[T any](err error, do func() (T, error)) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return do()
}

// unsubscribed is memberships because of which nobody is subscribed.
type unsubscribed struct{}

func (unsubscribed) Change(_ context.Context, _ string, change func() (began, ended []string, after *feed.Position, err error)) (int, error) {
	_, _, _, err := change()
	return 0, err
}

// spacesOf are the namespaces of the tests: dm, team, and big, whose members' marks are not told.
func spacesOf() []*hub.Space {
	return []*hub.Space{
		{Name: "dm", Kind: hub.KindLog, Subscribe: auth.Member, Publish: auth.Member, History: auth.Member, Presence: hub.PresenceMembers,
			Chat: &hub.Chat{Direct: true, Alerts: "chat", Mentions: "mention"}},
		{Name: "team", Kind: hub.KindLog, Subscribe: auth.Member, Publish: auth.Member, History: auth.Member,
			Chat: &hub.Chat{Join: "admins", Alerts: "chat", Mentions: "mention", AlertMembers: 5}},
		{Name: "big", Kind: hub.KindLog, Subscribe: auth.Member, Publish: auth.Member, History: auth.Member, Chat: &hub.Chat{Join: "open", Marks: 1}},
		{Name: "toy", Kind: hub.KindLog, Subscribe: auth.Token, Publish: auth.Token, History: auth.Token, Chat: &hub.Chat{Join: "admins"}},
		{Name: "house", Kind: hub.KindLog, Subscribe: auth.Server, Publish: auth.Server, History: auth.Server, Chat: &hub.Chat{Join: "admins"}},
		{Name: "room", Kind: hub.KindLog, Subscribe: auth.Anyone, Publish: auth.Anyone},
	}
}

// chatWorld starts one.
func chatWorld(t testing.TB) *chatting { return chatWorldOf(t, chatOptions{}) }

// chatOptions are what is different in a world.
type chatOptions struct {
	dir    string       // "": a new one
	logger *slog.Logger // nil: what is logged is not kept
	shared bool
	now    func() time.Time // nil: the time
}

func chatWorldOf(t testing.TB, o chatOptions) *chatting {
	t.Helper()
	dir, logger := o.dir, o.logger
	if dir == "" {
		dir = t.TempDir()
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	w := &chatting{World: sessiontest.Start(t, sessiontest.Options{Spaces: spacesOf()}), failing: map[string]int{}, once: map[string]bool{}}
	w.feeds = feed.New(feed.Config{Logger: logger})
	w.Feature = New(Config{
		Hub: w.Hub, Feeds: w.feeds, Sessions: w.Server, Verbs: w.Verbs, Members: unsubscribed{},
		Push: w.push, Clear: w.clear, Page: func() int { return 1 << 20 }, Message: func() int { return 1 << 20 }, Now: o.now, Logger: logger,
	})
	kept, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Relaxed: true, Options: store.Options{Committed: func(commits []store.Commit) {
		w.feeds.Committed(commits)
		w.Committed(commits)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	w.kept = kept
	w.feeds.Start(w.Hub, kept)
	w.SetHooks(session.Hooks{Bound: w.Bound})
	if err := w.Feature.Start(t.Context(), &unreliable{kept, w}, o.shared); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	return w
}

// end ends what the world has started beside the sessions. It may be called twice.
func (w *chatting) end() {
	w.Feature.Close()
	if w.kept == nil {
		return
	}
	if err := w.kept.Close(); err != nil {
		w.T.Error(err)
	}
	w.feeds.Close()
	w.kept = nil
}

// push is what an engine does: what has a key goes to each user once.
func (w *chatting) push(_ context.Context, p Push) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.judge != nil {
		if err := w.judge(p); err != nil {
			return err
		}
	}
	var users []string
	for _, user := range p.Users {
		if key := pairKey(user, p.Key); !w.once[key] {
			w.once[key] = true
			users = append(users, user)
		}
	}
	if slices.Sort(users); len(users) > 0 {
		p.Users = users
		w.pushed = append(w.pushed, p)
	}
	return nil
}

func (w *chatting) clear(_ context.Context, user, category, collapse string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleared = append(w.cleared, user+" "+category+" "+collapse)
	return nil
}

// fail has what the store is asked for fail so many times.
func (w *chatting) fail(what string, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing[what] = times
}

// do carries out a command.
func (w *chatting) do(c store.Command) store.Result {
	w.T.Helper()
	results, err := w.kept.Do(context.Background(), c)
	if err != nil {
		w.T.Fatal(err)
	}
	w.rosters.forgetAll()
	return results[0]
}

// forgetAll forgets what a test has changed behind the feature's back.
func (rs *rosters) forgetAll() {
	rs.mu.Lock()
	names := make([]string, 0, len(rs.m))
	for name := range rs.m {
		names = append(names, name)
	}
	rs.mu.Unlock()
	for _, name := range names {
		rs.forget(name)
	}
}

// group makes a group; the first user is its owner.
func (w *chatting) group(channel string, users ...string) {
	w.T.Helper()
	w.do(store.Admit{Channel: channel, Users: users[1:], Role: store.RoleMember, Time: 1000, By: users[0], Create: &store.GroupSettings{Data: []byte(`{"title":"T"}`), Join: store.JoinAdmins}})
}

// speak says something; data is a number that rises. It gives the seq.
func (w *chatting) speak(channel, user string, mentions ...string) uint64 {
	w.T.Helper()
	w.said++
	return w.speakData(channel, user, fmt.Sprint(w.said), mentions...)
}

func (w *chatting) speakData(channel, user, data string, mentions ...string) uint64 {
	w.T.Helper()
	space := w.Hub.Space(namespaceOf(channel))
	meta := store.Meta{Mentions: mentions}
	author, err := w.Author(context.Background(), space, channel, user, meta)
	if err != nil {
		w.T.Fatal(err)
	}
	at := time.UnixMilli(int64(10_000 + w.said))
	a, err := w.feeds.Publish(context.Background(), store.Append{
		Channel: channel, ID: id.Message(at), Time: at.UnixMilli(), Event: "message", Data: []byte(data), Sender: protocol.Sender{User: user}, Meta: meta, Author: author,
	}, nil)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Appended(context.Background(), space, channel, a)
	return a.Seq
}

// follow opens a connection that follows its list.
func (w *chatting) follow(user, device string) *sessiontest.Client {
	w.T.Helper()
	c := w.User(user, device)
	c.Do(`{"type":"conversations","live":true}`)
	return c
}

// token opens a connection of a user whose token has capabilities.
func (w *chatting) token(user string, caps auth.Caps) *sessiontest.Client {
	w.T.Helper()
	c := w.Open(session.Opening{Token: w.Token(auth.Identity{User: user, Caps: caps}, time.Now())})
	c.Expect("welcome")
	return c
}

// settled waits until nothing waits to be told, pushed or ended, and what was taken is done.
func (w *chatting) settled() {
	w.T.Helper()
	w.wait("everything to be told", func() bool {
		return w.teller.idle() && w.onlines.idle() && w.alerts.pushes.idle() && w.alerts.clears.idle() && w.alerts.forgets.idle()
	})
}

// idle tells whether nothing waits and nobody works.
func (l *line[T]) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.turns {
		if t.filled || t.busy {
			return false
		}
	}
	return true
}

func (w *chatting) wait(what string, ok func() bool) {
	w.T.Helper()
	over := time.NewTimer(20 * time.Second)
	defer over.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-over.C:
			w.T.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// quiet checks that everything has been told, and that nothing of it waits for these clients.
func (w *chatting) quiet(clients ...*sessiontest.Client) {
	w.T.Helper()
	w.settled()
	for _, c := range clients {
		c.Nothing()
	}
}

// texts gives pushes as a line each, in order.
func (w *chatting) alerted() (lines []string) {
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pushed {
		lines = append(lines, fmt.Sprintf("%s to %s: %s", p.Category, strings.Join(p.Users, ","), p.Data))
	}
	w.pushed = nil
	return lines
}

// ended gives what alerts were ended, and forgets it.
func (w *chatting) endedAlerts() []string {
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.cleared
	w.cleared = nil
	slices.Sort(list)
	return list
}

// same compares JSON with what a frame has.
func same(t testing.TB, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var g any
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// decode reads JSON.
func decode(t testing.TB, data []byte, into *map[string]any) map[string]any {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return *into
}

// pick gives some members of a frame.
func pick(f map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, name := range names {
		if v, there := f[name]; there {
			out[name] = v
		}
	}
	return out
}

// notNow is what a push says when it has to be tried again.
var notNow = fault.Wrap(fault.Unavailable, errors.New("the disk is full"), "not now")
