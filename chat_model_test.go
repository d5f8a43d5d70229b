package skein_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/fault"
)

// TestConversationsAgreeWithTheirModel does random things to conversations through the devices
// of some users, behind every door, and compares with a few maps in memory what they are
// answered, what they keep, and what the server says: what was said, edited and recalled,
// with keys that are repeated on another device, answers and mentions; marks forwards and
// backwards; groups whose members come, go and get other roles; users who block each other;
// devices that are cut off in the middle of anything, do not read for long, and come back;
// lists that are read, and lists that are kept by what comes; a server that starts anew.
func TestConversationsAgreeWithTheirModel(t *testing.T) {
	pushCluster.hold(t)
	t.Parallel()
	fewerChecks(t, 8) // only now: the flag is one for all tests
	// PostgreSQL has half of the checks, because each of them takes longer there.
	for _, driver := range drivers {
		t.Run("sqlite, "+driver, func(t *testing.T) {
			t.Parallel()
			cfg := chatModelConfig(t.TempDir())
			cfg.WebSocket.Driver = driver
			inConversation(t, cfg)
		})
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		cfg := chatModelConfig("")
		cfg.Database = pushCluster.server(t).Database(t)
		inConversation(t, cfg)
	})
}

// chatModelConfig gives conversations of all kinds, with little room for those who do not
// read. Where authors have a nanosecond, they are always too late.
func chatModelConfig(dir string) skein.Config {
	cfg := logConfig(dir)
	cfg.Limits.Queue = 64 << 10
	never := new(skein.Duration(1))
	cfg.Namespaces = map[string]skein.Namespace{
		"dm":   {Kind: "log", Presence: "members", Chat: skein.Chat{Kind: "direct"}},
		"wire": {Kind: "log", Chat: skein.Chat{Kind: "direct", Follow: new(false), Edit: never}},
		"team": {Kind: "log", Chat: skein.Chat{Kind: "group"}},
		"hall": {Kind: "log", Chat: skein.Chat{Kind: "group", Follow: new(false), History: "start", Join: "open", Recall: never}},
	}
	return cfg
}

func inConversation(t *testing.T, cfg skein.Config) {
	h := &chatHost{t: t, cfg: cfg}
	h.start()
	t.Cleanup(h.stop)
	cases := 0
	rapid.Check(t, func(rt *rapid.T) {
		cases++
		m := newChatModel(rt, h, cases)
		defer m.leave()
		m.begin(rt)
		for range 3 { // each of these has thirty steps or so
			rt.Repeat(map[string]func(*rapid.T){"does": m.does, "": m.isRight})
		}
		m.finish(rt)
	})
}

// does does one of the things that can be done, the more often the greater its number is.
func (m *chatModel) does(t *rapid.T) {
	all := []func(*rapid.T){}
	for _, a := range []struct {
		often int
		do    func(*rapid.T)
	}{
		{12, m.pub}, {3, m.repeat}, {2, m.serverPub}, {1, m.burst}, {6, m.edit}, {5, m.recall}, {3, m.typing}, {1, m.flood}, {5, m.mark}, {3, m.ack},
		{2, m.create}, {4, m.invite}, {2, m.join}, {2, m.quit}, {2, m.remove}, {2, m.role}, {1, m.rule}, {1, m.delete}, {2, m.block},
		{2, m.list}, {1, m.entry}, {2, m.sub}, {1, m.unsub}, {3, m.come}, {2, m.cut}, {4, m.settle}, {1, m.restart},
	} {
		for range a.often {
			all = append(all, a.do)
		}
	}
	all[roll(t, "what", len(all))](t)
}

// roll draws a number below n. All are as likely, unlike those that rapid draws itself.
func roll(t *rapid.T, label string, n int) (drawn int) {
	for _, bit := range rapid.SliceOfN(rapid.Bool(), 10, 10).Draw(t, label) {
		drawn *= 2
		if bit {
			drawn++
		}
	}
	return drawn % n
}

// pick draws something out of a list.
func pick[T any](t *rapid.T, label string, list []T) T { return list[roll(t, label, len(list))] }

// chatModel is the conversations of some users as they should be.
type chatModel struct {
	*chatHost
	users []*chatUser
	talks []*chatTalk
	step  int // what is done is counted
	typed []chatTyped
	open  bool               // what was done last may not have been done yet
	same  map[*chatTalk]bool // they were compared since something was done to them
}

// chatUser is a user with some places for devices.
type chatUser struct {
	name    string
	blocked map[*chatUser]bool
	devices [3]*chatDevice
}

// chatTalk is a conversation.
type chatTalk struct {
	channel                string
	direct, follow         bool
	fromStart              bool
	neverEdit, neverRecall bool
	pair                   []*chatUser // of a direct one
	rule, first            string      // who brings users in, now and at first
	said                   []*chatSaid // by seq-1
	members                map[*chatUser]*chatMember
	past                   map[*chatUser][]chatPeriod // the last one lasts while he is a member
	highest                map[*chatUser]chatMarks    // that there ever were
	keys                   map[chatKey]chatKept
	epoch                  string
	settings               bool // of a group: it was made
}

// chatMember is a member.
type chatMember struct {
	role   chatRole
	since  int64 // zero: nobody has said it yet
	hidden uint64
	chatMarks
}

type chatMarks struct{ read, delivered uint64 }

func (c chatMarks) or(o chatMarks) chatMarks {
	return chatMarks{max(c.read, o.read), max(c.delivered, o.delivered)}
}

// chatPeriod is a membership, in steps.
type chatPeriod struct {
	from, to int
	hidden   uint64
}

// chatSaid is a message.
type chatSaid struct {
	id       string // "": it is just being said
	from     *chatUser
	time     int64 // zero: nobody has said it yet
	reply    uint64
	mentions []string
	versions []chatVersion
}

// chatVersion is what a message was from a step on.
type chatVersion struct {
	data             string // JSON
	edited, recalled bool
	step             int
}

func (s *chatSaid) now() chatVersion { return s.versions[len(s.versions)-1] }

// agrees compares what never changes with a frame; what it gives is what is wrong.
func (s *chatSaid) agrees(f *chatFrame) string {
	if f.Recalled || f.Type == "recall" {
		return ""
	}
	by := ""
	if s.from != nil {
		by = s.from.name
	}
	s.time = cmp.Or(s.time, f.Time)
	if f.Sender != by || f.Reply != s.reply || !slices.Equal(f.Mentions, s.mentions) || f.Time != s.time {
		return fmt.Sprintf("it was said by %q at %d, answers %d, and mentions %q", by, s.time, s.reply, s.mentions)
	}
	return ""
}

type chatKey struct {
	user *chatUser
	key  string
}

// chatKept is what was said with a key.
type chatKept struct {
	frame, content string
	seq            uint64
}

// chatTyped tells who has typed where.
type chatTyped struct {
	talk *chatTalk
	by   *chatUser
	step int
}

type chatRole int

var chatRoles = []string{"", "reader", "member", "admin", "owner"}

const (
	roleReader chatRole = 1 + iota
	roleMember
	roleAdmin
	roleOwner
)

// The codes of errors.
const (
	isOK      = ""
	isDenied  = string(fault.Denied)
	isUnknown = string(fault.NotFound)
	isWrong   = string(fault.BadRequest)
	isTaken   = string(fault.Conflict)
)

const forever = int(^uint(0) >> 1)

func newChatModel(t *rapid.T, h *chatHost, n int) *chatModel {
	m := &chatModel{chatHost: h, same: map[*chatTalk]bool{}}
	for _, name := range []string{"ann", "b:ob", "c%é", "dan", "eve"}[:4+roll(t, "users", 2)] {
		m.users = append(m.users, &chatUser{name: fmt.Sprint(name, n), blocked: map[*chatUser]bool{}})
	}
	talk := func(k chatTalk) {
		k.members, k.past, k.highest = map[*chatUser]*chatMember{}, map[*chatUser][]chatPeriod{}, map[*chatUser]chatMarks{}
		k.keys = map[chatKey]chatKept{}
		if k.direct = len(k.pair) > 0; k.direct {
			k.channel = skein.DirectChannel(k.channel, k.pair[0].name, k.pair[1].name)
		}
		k.rule = k.first
		m.talks = append(m.talks, &k)
	}
	u := m.users
	talk(chatTalk{channel: "dm", pair: []*chatUser{u[0], u[1]}, follow: true})
	talk(chatTalk{channel: "dm", pair: []*chatUser{u[3], u[1]}, follow: true})
	talk(chatTalk{channel: "wire", pair: []*chatUser{u[2], u[0]}, neverEdit: true})
	talk(chatTalk{channel: fmt.Sprint("team:", n), follow: true, first: "admins"})
	talk(chatTalk{channel: fmt.Sprint("hall:", n), fromStart: true, neverRecall: true, first: "open"})
	return m
}

func (k *chatTalk) head() uint64 { return uint64(len(k.said)) }

// mayRead tells whether a user may see what is said.
func (k *chatTalk) mayRead(u *chatUser) bool {
	return k.members[u] != nil || slices.Contains(k.pair, u)
}

func (k *chatTalk) roleOf(u *chatUser) chatRole {
	if c := k.members[u]; c != nil {
		return c.role
	}
	if slices.Contains(k.pair, u) {
		return roleMember
	}
	return 0
}

// peer is the other one of a direct conversation.
func (k *chatTalk) peer(u *chatUser) *chatUser {
	if !k.direct {
		return nil
	}
	return k.pair[1-slices.Index(k.pair, u)]
}

func (k *chatTalk) mayWrite(u *chatUser) bool {
	if k.direct && k.mayRead(u) && (u.blocked[k.peer(u)] || k.peer(u).blocked[u]) {
		return false
	}
	return k.roleOf(u) >= roleMember
}

// sees gives a message as a member sees it; nil: he does not, or it is recalled.
func (k *chatTalk) sees(u *chatUser, seq uint64) *chatSaid {
	if seq == 0 || seq > k.head() || k.members[u] == nil || seq <= k.members[u].hidden || k.said[seq-1].now().recalled {
		return nil
	}
	return k.said[seq-1]
}

// saw tells whether a user may ever have been told what a message was from a step on.
func (k *chatTalk) saw(u *chatUser, seq uint64, step int) bool {
	return slices.ContainsFunc(k.past[u], func(p chatPeriod) bool { return p.hidden < seq && step < p.to })
}

// was tells whether a user was a member when something was done.
func (k *chatTalk) was(u *chatUser, step int) bool {
	return slices.ContainsFunc(k.past[u], func(p chatPeriod) bool { return p.from <= step && step < p.to })
}

// chatEntry is an entry of a list, without what the model does not know.
type chatEntry struct {
	Channel, Kind, Role, Join            string
	Seq, Read, Delivered, Unread, Hidden uint64
	Members                              int64
	Time, Since                          int64
	Last                                 *chatFrame
	Peer                                 *chatPeer
}

type chatPeer struct {
	User            string
	Read, Delivered uint64
	Blocked         bool
}

// entry is a conversation as a member should see it.
func (k *chatTalk) entry(u *chatUser) chatEntry {
	c := k.members[u]
	e := chatEntry{
		Channel: k.channel, Kind: "group", Role: chatRoles[c.role], Join: k.rule, Seq: k.head(), Read: c.read, Delivered: c.delivered,
		Unread: k.head() - c.read, Hidden: c.hidden, Members: int64(len(k.members)),
	}
	if k.head() > c.hidden {
		e.Last = k.shown(k.head())
		if len(e.Last.Data) > 1<<10 {
			e.Last.Data, e.Last.Cut = nil, true
		}
	}
	if k.direct {
		p := k.peer(u)
		marks := k.members[p].chatMarks
		e.Kind, e.Peer = "direct", &chatPeer{p.name, marks.read, marks.delivered, u.blocked[p]}
	}
	return e
}

// shown is a message as a history has it, without its time.
func (k *chatTalk) shown(seq uint64) *chatFrame {
	s := k.said[seq-1]
	v := s.now()
	f := &chatFrame{ID: json.RawMessage(jsonOf(s.id)), Seq: seq, Recalled: v.recalled}
	if v.recalled {
		return f
	}
	f.Event, f.Data, f.Edited, f.Reply, f.Mentions = "message", json.RawMessage(v.data), v.edited, s.reply, s.mentions
	if s.from != nil {
		f.Sender = s.from.name
	}
	return f
}

// unread is the sum over all conversations of a user, and how many those are.
func (m *chatModel) unread(u *chatUser) (unread uint64, count int64) {
	for _, k := range m.talks {
		if c := k.members[u]; c != nil {
			unread += k.head() - c.read
			count++
		}
	}
	return unread, count
}

func (m *chatModel) talk(channel string) *chatTalk {
	for _, k := range m.talks {
		if k.channel == channel {
			return k
		}
	}
	return nil
}

// verb runs a verb of the server, which must do it.
func (m *chatModel) verb(t *rapid.T, name string, params map[string]any, out any) {
	t.Helper()
	if err := m.s.Call(m.t.Context(), name, params, out); err != nil {
		t.Fatalf("%s %v: %v", name, params, err)
	}
}

// codeOf runs a verb of the server and gives the code of its error.
func (m *chatModel) codeOf(t *rapid.T, name string, params map[string]any) string {
	t.Helper()
	err := m.s.Call(m.t.Context(), name, params, nil)
	var e *fault.Error
	switch {
	case err == nil:
		return isOK
	case !errors.As(err, &e):
		t.Fatalf("%s %v: %v", name, params, err)
	}
	return string(e.Code)
}

// jsonOf is a value as JSON.
func jsonOf(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // texts and lists of them can be written
	}
	return strings.TrimSpace(b.String())
}
