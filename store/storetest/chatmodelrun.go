package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// chatRun is a round in which a store and the model do the same, with users and channels
// of its own.
type chatRun struct {
	*chatModel
	store    store.Store
	now      int64
	epoch    string
	users    []string
	channels []string
	pairs    map[string][]string // of direct channels
	versions map[string]chatVersion
}

// chatVersion is what the version of a channel was, in the store and in the model.
type chatVersion struct {
	store uint64
	model int
}

// Whatever is done with conversations, the store gives what the model gives.
func testChatModel(s *subject) {
	round := 0
	rapid.Check(s.T, func(t *rapid.T) {
		round++
		r := &chatRun{chatModel: newChatModel(), store: s.store, now: noon, pairs: map[string][]string{}, versions: map[string]chatVersion{}}
		for _, u := range []string{"a", "a\x00", "b", "\xff"} {
			r.users = append(r.users, fmt.Sprintf("%05d %s", round, u))
		}
		for _, c := range []string{"team:%05d 1", "team:%05d 1\x00", "room:%05d 1"} {
			r.channels = append(r.channels, fmt.Sprintf(c, round))
		}
		for _, pair := range [][2]int{{0, 1}, {0, 2}, {2, 3}} {
			name := "dm:" + r.users[pair[0]] + ":" + r.users[pair[1]]
			r.channels, r.pairs[name] = append(r.channels, name), []string{r.users[pair[0]], r.users[pair[1]]}
		}
		heads, err := s.store.Heads(t.Context(), r.channels[0])
		if err != nil {
			t.Fatal(err)
		}
		r.epoch = heads[0].Epoch
		for _, c := range r.channels {
			r.channel(c).head.Epoch = r.epoch
		}
		t.Repeat(map[string]func(*rapid.T){
			"write":   func(t *rapid.T) { r.group(t, r.drawMessage) },
			"more":    func(t *rapid.T) { r.group(t, r.drawMessage) },
			"members": func(t *rapid.T) { r.group(t, r.drawMembers) },
			"others":  func(t *rapid.T) { r.group(t, r.drawOther) },
			"wait":    func(t *rapid.T) { r.now += rapid.Int64Range(1, 20).Draw(t, "ms") },
			"":        r.check,
		})
	})
	if err := s.store.Check(s.Context(), func(problem string) { s.Error(problem) }); err != nil {
		s.Error(err)
	}
}

// group carries out a few commands together.
func (r *chatRun) group(t *rapid.T, draw func(*rapid.T) store.Command) {
	var group []store.Command
	for range rapid.SampledFrom([]int{1, 1, 1, 2, 4}).Draw(t, "commands") {
		group = append(group, draw(t))
	}
	after := r.clone()
	var want []store.Result
	var failure error
	for _, c := range group {
		one, err := after.do(c)
		if err != nil {
			failure, want = err, nil
			break
		}
		want = append(want, one)
	}
	got, err := r.store.Do(t.Context(), group...)
	if !errors.Is(err, failure) {
		t.Fatalf("%+v gave %v, want %v", group, err, failure)
	}
	alike(t, fmt.Sprintf("%+v", group), want, got)
	if failure == nil {
		r.chatModel = after
	}
}

func (r *chatRun) user(t *rapid.T, what string) string {
	return rapid.SampledFrom(r.users).Draw(t, what)
}

// by is whose decision something is: the server's quite often.
func (r *chatRun) by(t *rapid.T) string {
	return rapid.SampledFrom(append([]string{"", ""}, r.users...)).Draw(t, "by")
}

func (r *chatRun) drawMessage(t *rapid.T) store.Command {
	channel := rapid.SampledFrom(r.channels).Draw(t, "channel")
	top := r.channel(channel).head.Top
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		return store.Recall{Channel: channel, Seq: rapid.Uint64Range(1, top+1).Draw(t, "seq")}
	case 1, 2:
		return store.EditMessage{Channel: channel, Seq: rapid.Uint64Range(1, top+1).Draw(t, "seq"), Event: "message", Data: []byte(`"edited"`), Time: r.now}
	}
	a := store.Append{
		Channel: channel, ID: id.Message(time.UnixMilli(r.now)), Time: r.now, Event: "message", Data: []byte("1"), Sender: protocol.Sender{User: "someone"},
		Meta: store.Meta{Reply: rapid.Uint64Range(0, 2).Draw(t, "reply"), Mentions: rapid.SampledFrom([][]string{nil, {"*"}, {"a", "b"}}).Draw(t, "mentions")},
	}
	if rapid.IntRange(0, 5).Draw(t, "authored") > 0 {
		a.Author = &store.Author{User: rapid.SampledFrom(append([]string{""}, r.users...)).Draw(t, "author"), Direct: r.pairs[channel], Alert: rapid.Bool().Draw(t, "alert")}
		if rapid.IntRange(0, 5).Draw(t, "as a member") == 0 {
			a.Author.Direct = nil
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		a.Key, a.Expires = []byte(rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")), r.now+day
	}
	return a
}

func (r *chatRun) drawMembers(t *rapid.T) store.Command {
	channel := rapid.SampledFrom(r.channels).Draw(t, "channel")
	users := rapid.SliceOfN(rapid.SampledFrom(r.users), 0, 4).Draw(t, "users")
	switch rapid.IntRange(0, 6).Draw(t, "what") {
	case 0:
		return store.Dismiss{Channel: channel, Users: users, By: r.by(t)}
	case 1:
		user := r.user(t, "user")
		return store.Dismiss{Channel: channel, Users: []string{user}, By: user}
	case 2:
		if rapid.Bool().Draw(t, "some") {
			return store.Dismiss{Channel: channel, Some: rapid.IntRange(1, 3).Draw(t, "how many"), By: r.by(t)}
		}
		user := r.user(t, "user")
		return store.Admit{Channel: channel, Users: []string{user}, By: user, Time: r.now}
	case 3:
		return store.SetRole{Channel: channel, User: r.user(t, "user"), Role: store.Role(rapid.IntRange(1, 4).Draw(t, "role")), By: r.by(t)}
	}
	c := store.Admit{
		Channel: channel, Users: users, Role: store.Role(rapid.IntRange(0, 4).Draw(t, "role")), Time: r.now, FromStart: rapid.Bool().Draw(t, "from start"),
		Most: rapid.SampledFrom([]int64{0, 0, 2, 3}).Draw(t, "most"), By: r.by(t),
	}
	if rapid.IntRange(0, 3).Draw(t, "create") == 0 {
		c.Create = &store.GroupSettings{Data: []byte("1"), Join: store.JoinRule(rapid.IntRange(0, 3).Draw(t, "join"))}
	}
	return c
}

func (r *chatRun) drawOther(t *rapid.T) store.Command {
	channel, user := rapid.SampledFrom(r.channels).Draw(t, "channel"), r.user(t, "user")
	switch rapid.IntRange(0, 7).Draw(t, "what") {
	case 0:
		if peer := r.user(t, "peer"); peer != user {
			return store.BlockPeer{User: user, Peer: peer, Blocked: rapid.Bool().Draw(t, "blocked"), Time: r.now}
		}
	case 1:
		return store.SetAlerts{Channel: channel, User: user, Level: store.AlertLevel(rapid.IntRange(0, 3).Draw(t, "level"))}
	case 2, 3:
		return store.PutGroup{
			Channel: channel, Data: rapid.SampledFrom([][]byte{nil, []byte("1"), []byte("2")}).Draw(t, "data"), Join: store.JoinRule(rapid.IntRange(0, 3).Draw(t, "join")), Time: r.now, By: r.by(t),
		}
	case 4:
		return store.AlertsDone{Alerts: []store.Alert{{Channel: channel, Seq: rapid.Uint64Range(1, 4).Draw(t, "seq")}}}
	}
	return store.MarkMember{Channel: channel, User: user, Delivered: rapid.Uint64Range(0, 9).Draw(t, "delivered"), Read: rapid.Uint64Range(0, 9).Draw(t, "read")}
}

// check compares what can be read of one channel and one user.
func (r *chatRun) check(t *rapid.T) {
	same := compare(t)
	name := rapid.SampledFrom(r.channels).Draw(t, "look at")
	x := r.channel(name)
	var want []store.RosterMember
	for _, u := range slices.Sorted(maps.Keys(x.roster)) {
		want = append(want, x.roster[u])
	}
	roster, err := r.store.Roster(t.Context(), name, "", 100)
	same("roster", want, roster, err)
	group, err := r.store.Group(t.Context(), name)
	same("settings", x.group, group, err)
	page, err := r.store.Read(t.Context(), store.Query{Channel: name, Limit: 1000})
	same("messages", store.Page{Head: x.head, Messages: x.messages}, page, err)
	r.checkVersions(t)

	user := r.user(t, "at whom")
	q := store.ConversationQuery{User: user, Namespaces: rapid.SampledFrom([][]string{{"team", "dm"}, {"dm"}, {"room", "team", "dm"}, nil}).Draw(t, "namespaces"), Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
	for more := true; more; {
		p, err := r.store.Conversations(t.Context(), q)
		same(fmt.Sprintf("%+v", q), r.conversations(q), p, err)
		if more = p.More; more {
			q.After = p.Items[len(p.Items)-1].Place
		}
	}
	if _, is := x.roster[user]; is {
		one, err := r.store.Conversation(t.Context(), name, user)
		same("conversation", r.conversation(name, user), one, err)
	} else if _, err := r.store.Conversation(t.Context(), name, user); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("of no member: %v", err)
	}
	r.checkOthers(t, user)
}

// checkVersions looks whether versions are others when something has changed, and the same
// when nothing has.
func (r *chatRun) checkVersions(t *rapid.T) {
	list, err := r.store.RosterVersions(t.Context(), r.channels...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range r.channels {
		x, was := r.channel(name), r.versions[name]
		is := chatVersion{list[i], x.version}
		none := x.group == nil && len(x.roster) == 0
		if none != (is.store == 0) || !none && was.store != 0 && (was.store == is.store) != (was.model == is.model) {
			t.Fatalf("%q: the version was %+v and is %+v", name, was, is)
		}
		r.versions[name] = is
	}
}

func (r *chatRun) checkOthers(t *rapid.T, user string) {
	same := compare(t)
	var blocks []store.Member
	has, is := make([]bool, len(r.users)), make([]bool, len(r.users))
	for i, peer := range r.users {
		if since, blocked := r.blocks[[2]string{user, peer}]; blocked {
			blocks, has[i] = append(blocks, store.Member{User: peer, Since: since}), true
		}
		_, is[i] = r.blocks[[2]string{peer, user}]
	}
	list, err := r.store.Blocks(t.Context(), user, "", 100)
	same("blocks", blocks, list, err)
	gotHas, gotIs, err := r.store.Blocking(t.Context(), user, r.users...)
	same("has blocked", has, gotHas, err)
	same("is blocked", is, gotIs, err)
	var alerts []store.Alert
	for _, name := range slices.Sorted(slices.Values(r.channels)) {
		all, err := r.store.Alerts(t.Context(), store.Alert{Channel: name}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.Channel == name {
				alerts = append(alerts, a)
			}
		}
	}
	want := slices.SortedFunc(maps.Keys(r.alerts), func(a, b store.Alert) int {
		if a.Channel != b.Channel {
			return strings.Compare(a.Channel, b.Channel)
		}
		return int(a.Seq) - int(b.Seq)
	})
	same("alerts", want, alerts, nil)
}
