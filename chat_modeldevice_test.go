package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein"
)

// chatHost is a server that can be started anew.
type chatHost struct {
	t   *testing.T
	cfg skein.Config
	s   *testServer
	end func()
}

func (h *chatHost) start() {
	s, err := newOnFreePort(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	h.s = &testServer{s, h.t, l.Addr().String()}
	h.end = func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("serve: %v", err)
		}
	}
}

// stop ends all connections at once.
func (h *chatHost) stop() { h.end() }

// chatFrame is a frame about conversations, an answer, or a message in one.
type chatFrame struct {
	Type, Channel, Code, Message, Event, Epoch, Reason, User, Role, Next string
	ID, Data                                                             json.RawMessage
	Seq, To, Reply, Delivered, Unread                                    uint64
	ReadTo                                                               *uint64         `json:"read"`
	Origin                                                               json.RawMessage `json:"from"`
	Time, Members, Count                                                 int64
	Users                                                                int
	Mentions, Channels                                                   []string
	Stored, Duplicate, Edited, Recalled, Gone, Cut, More                 bool
	Recovered                                                            *bool
	Last                                                                 *chatFrame
	Messages                                                             []chatFrame
	Conversations                                                        []chatEntry
	Conversation                                                         *chatEntry

	// Of the above.
	Read   uint64 `json:"-"`
	After  uint64 `json:"-"` // of a gap: the seq before it
	Sender string `json:"-"`
	whole  chatEntry
}

// UnmarshalJSON reads what stands for different things in different frames, too.
func (f *chatFrame) UnmarshalJSON(raw []byte) error {
	type plain chatFrame
	if err := json.Unmarshal(raw, (*plain)(f)); err != nil {
		return err
	}
	if f.ReadTo != nil {
		f.Read = *f.ReadTo
	}
	if f.Type == "conversation" && f.Role != "" {
		if err := json.Unmarshal(raw, &f.whole); err != nil {
			return err
		}
	}
	switch from := f.Origin; {
	case from == nil:
	case from[0] == '{':
		var s struct{ User string }
		if err := json.Unmarshal(from, &s); err != nil {
			return err
		}
		f.Sender = s.User
	default:
		n, err := strconv.ParseUint(string(from), 10, 64)
		if err != nil {
			return err
		}
		f.After = n - 1
	}
	return nil
}

// code is that of an error; "" for everything else.
func (f *chatFrame) code() string {
	if f.Type == "error" {
		return f.Code
	}
	return isOK
}

func (f *chatFrame) marksRead() bool { return f.ReadTo != nil }

// String is what a message has, without its time.
func (f *chatFrame) String() string {
	if f == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%d %s %s %d:%.40s by %q", f.Seq, f.ID, f.Event, len(f.Data), f.Data, f.Sender)
	if f.Reply > 0 || len(f.Mentions) > 0 {
		text += fmt.Sprintf(" answers %d, mentions %q", f.Reply, f.Mentions)
	}
	if f.Cut {
		text += " cut"
	}
	if f.Edited {
		text += " edited"
	}
	if f.Recalled {
		text += " recalled"
	}
	return text
}

// text is an entry as it is compared. blocked tells whether blocks count: nobody is told of them.
func (e *chatEntry) text(blocked bool) string {
	if e == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%s %s, %s, join %q: seq %d, read %d, delivered %d, unread %d, hidden %d, %d members, last %v",
		e.Kind, e.Channel, e.Role, e.Join, e.Seq, e.Read, e.Delivered, e.Unread, e.Hidden, e.Members, e.Last)
	if p := e.Peer; p != nil {
		text += fmt.Sprintf(", peer %s read %d, delivered %d, blocked %t", p.User, p.Read, p.Delivered, p.Blocked && blocked)
	}
	return text
}

// chatReplica is what a device keeps of a conversation. It stays when the device is cut off.
type chatReplica struct {
	epoch string
	place uint64                 // of the last message that it has
	has   map[uint64]chatVersion // by seq

	told   bool   // the server has subscribed the device, which has not gone on from its place
	joined bool   // it has
	out    bool   // it has unsubscribed
	owed   uint64 // where the gap ends that must come next; zero: none must

	marks map[string]chatMarks // by user: as they were read, and what came since
	read  int                  // the step of reading them
	vague bool                 // one may have moved that a device that is slow cannot know of
}

// chatDevice is a device of a user.
type chatDevice struct {
	wayIn // nil: it is not there
	m     *chatModel
	user  *chatUser
	door  string

	asked    int
	answers  map[string]*chatFrame
	asks     map[string]string // the channels of frames that are not answered
	welcomed bool
	named    map[string]bool // channels of the welcome that it is still to be told of
	replicas map[*chatTalk]*chatReplica
	live     bool // it follows its list
	list     map[string]*chatEntry
	own      map[string]chatMarks // of its user, by channel: an answer may come before the entry, which is then older
	stale    bool                 // it has missed something and has to read again
}

// GoString is how a device is called where draws are printed; so are the others.
func (d *chatDevice) GoString() string { return d.String() }
func (u *chatUser) GoString() string   { return u.name }
func (k *chatTalk) GoString() string   { return k.channel }

// String implements fmt.Stringer.
func (d *chatDevice) String() string {
	return fmt.Sprintf("%s/%d (%s)", d.user.name, slices.Index(d.user.devices[:], d), d.door)
}

func (u *chatUser) here() (list []*chatDevice) {
	for _, d := range u.devices {
		if d != nil && d.wayIn != nil {
			list = append(list, d)
		}
	}
	return list
}

func (d *chatDevice) replica(k *chatTalk) *chatReplica {
	r := d.replicas[k]
	if r == nil {
		r = &chatReplica{has: map[uint64]chatVersion{}}
		d.replicas[k] = r
	}
	return r
}

// present gives a device of a user that is there.
func (m *chatModel) present(t *rapid.T, u *chatUser) *chatDevice {
	if list := u.here(); len(list) > 0 {
		return pick(t, "device", list)
	}
	return m.opens(t, u, roll(t, "place", len(u.devices)))
}

// opens lets a device come in, if it is not there.
func (m *chatModel) opens(t *rapid.T, u *chatUser, place int) *chatDevice {
	d := u.devices[place]
	switch {
	case d == nil:
		d = &chatDevice{m: m, user: u, replicas: map[*chatTalk]*chatReplica{}}
		u.devices[place] = d
	case d.wayIn != nil:
		return d
	}
	d.door = pick(t, "door", []string{"websocket", "sse", "poll"})
	way, err := doors[d.door](m.s, "user="+url.QueryEscape(u.name))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v comes in", d)
	d.wayIn, d.answers, d.asks = way, map[string]*chatFrame{}, map[string]string{}
	d.live, d.list, d.stale = false, nil, false
	for _, r := range d.replicas {
		r.told, r.joined, r.out, r.owed = false, false, false, 0
	}
	for d.welcomed = d.door == "sse"; !d.welcomed; { // that door has read it
		d.pump(t, "the welcome")
	}
	if !m.open && roll(t, "follows", 3) > 0 {
		m.lists(t, d, 50, `,"live":true`)
	}
	return d
}

// cutOff breaks a connection.
func (m *chatModel) cutOff(t *rapid.T, d *chatDevice) {
	t.Helper()
	t.Logf("%v is cut off", d)
	d.wayIn.leave()
	d.wayIn = nil
	over := time.NewTimer(patience)
	defer over.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var page struct{ Items []json.RawMessage }
		m.verb(t, "connections", map[string]any{"user": d.user.name}, &page)
		if len(page.Items) == len(d.user.here()) {
			return
		}
		select {
		case <-over.C:
			t.Fatalf("%s has %d connections; the model has %d", d.user.name, len(page.Items), len(d.user.here()))
		case <-tick.C:
		}
	}
}

// leave lets all devices go. Who polls has nothing to close once the server has ended.
func (m *chatModel) leave() {
	for _, u := range m.users {
		for _, d := range u.here() {
			d.wayIn.leave()
			d.wayIn = nil
		}
	}
}

// ask sends a frame with an id.
func (d *chatDevice) ask(frame string) (id string, err error) {
	d.asked++
	id = fmt.Sprintf(`"q%d"`, d.asked)
	var f chatFrame
	if err := json.Unmarshal([]byte(frame), &f); err != nil {
		return "", fmt.Errorf("%s: %w", frame, err)
	}
	d.asks[id] = f.Channel
	return id, d.send(strings.Replace(frame, "{", `{"id":`+id+`,`, 1))
}

// asks sends a frame and waits for the answer.
func (m *chatModel) asks(t *rapid.T, d *chatDevice, frame string) chatFrame {
	t.Helper()
	id, err := d.ask(frame)
	if err != nil {
		t.Fatalf("%v sends %.300s: %v", d, frame, err)
	}
	for d.answers[id] == nil {
		d.pump(t, "the answer to "+frame)
	}
	f := *d.answers[id]
	delete(d.answers, id)
	t.Logf("%v: %.200s: %s %s", d, frame, f.Type, f.Code)
	return f
}

// pump takes one frame.
func (d *chatDevice) pump(t *rapid.T, what string) {
	t.Helper()
	raw, err := d.next()
	var f chatFrame
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil {
		t.Fatalf("%v waits for %.2000s: %v", d, what, err)
	}
	if wrong := d.takes(&f); wrong != "" {
		t.Fatalf("%v got %.1000s: %s", d, raw, wrong)
	}
}

// takes notes what came; what it gives is what is wrong with it.
func (d *chatDevice) takes(f *chatFrame) string {
	switch f.Type {
	case "ping", "online":
		return ""
	case "welcome":
		return d.welcome(f.Channels)
	case "ok", "error", "pong":
		d.answers[string(f.ID)] = f
		if k := d.m.talk(d.asks[string(f.ID)]); k != nil && f.Type == "ok" {
			d.marked(k, d.user.name, chatMarks{f.Read, f.Delivered})
		}
		delete(d.asks, string(f.ID))
		return ""
	case "dropped":
		d.stale = true
		return ""
	}
	k := d.m.talk(f.Channel)
	if k == nil {
		return "the channel is none of the model's"
	}
	if len(k.past[d.user]) == 0 && !k.mayRead(d.user) {
		return "he never was a member"
	}
	switch f.Type {
	case "subscribed", "unsubscribed":
		return d.subscribed(k, f)
	case "msg", "edit", "recall", "gap":
		return d.hears(k, f)
	case "notice":
		return d.noticed(k, f)
	case "mark":
		return d.hearsMark(k, f)
	case "conversation":
		return d.listed(k, f)
	}
	return "nobody knows why"
}

// welcome compares the channels in which the device finds itself.
func (d *chatDevice) welcome(got []string) string {
	var want []string
	d.welcomed, d.named = true, map[string]bool{}
	for _, channel := range got {
		d.named[channel] = true
	}
	for _, k := range d.m.talks {
		if k.follow && k.members[d.user] != nil {
			want = append(want, k.channel)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !d.m.open && !slices.Equal(got, want) {
		return fmt.Sprintf("the model has %q", want)
	}
	return ""
}

func (d *chatDevice) subscribed(k *chatTalk, f *chatFrame) string {
	r := d.replica(k)
	switch {
	case f.Type == "unsubscribed" && k.direct:
		return "the conversation does not end"
	case f.Type == "unsubscribed":
		r.told, r.joined = false, false
		return ""
	case !k.follow:
		return "the server subscribes nobody here"
	case r.joined:
		return "he is subscribed"
	}
	r.told, r.out = true, false
	if d.named[k.channel] || d.door == "sse" { // where the welcome is not kept
		delete(d.named, k.channel)
		return ""
	}
	if !slices.ContainsFunc(k.past[d.user], func(p chatPeriod) bool { return p.hidden == f.Seq }) {
		return fmt.Sprintf("it begins elsewhere; he was a member for %+v", k.past[d.user])
	}
	return ""
}

// version finds what a message was, as the frame has it and the user may have seen it.
func (d *chatDevice) version(k *chatTalk, f *chatFrame) (v chatVersion, wrong string) {
	if f.Seq == 0 || f.Seq > k.head() {
		return v, "there is no such message"
	}
	s := k.said[f.Seq-1]
	if s.id != "" && string(f.ID) != jsonOf(s.id) {
		return v, "its id is " + s.id
	}
	i := slices.IndexFunc(s.versions, func(v chatVersion) bool {
		switch {
		case f.Type == "recall": // says nothing of what is hidden, and somebody may have kept that
			return v.recalled && (k.was(d.user, v.step) || k.saw(d.user, f.Seq, v.step))
		case v.recalled != f.Recalled || !k.saw(d.user, f.Seq, v.step):
			return false
		}
		return v.recalled || f.Cut || v.data == string(f.Data) && v.edited == f.Edited
	})
	if i >= 0 {
		return s.versions[i], s.agrees(f)
	}
	return v, fmt.Sprintf("the model has %+v; he was a member for %+v", s.versions, k.past[d.user])
}

// hears takes what is said, or what becomes of it. Until the device has gone on from its place it
// keeps nothing, but gets nothing either that it must not see.
func (d *chatDevice) hears(k *chatTalk, f *chatFrame) string {
	r := d.replica(k)
	if f.Type == "gap" {
		if f.After != r.place || f.To != r.owed || f.Epoch != r.epoch {
			return fmt.Sprintf("it has %d, and %d is hidden", r.place, r.owed)
		}
		r.place, r.owed = f.To, 0
		for seq := range r.has {
			if seq <= f.To {
				delete(r.has, seq)
			}
		}
		return ""
	}
	v, wrong := d.version(k, f)
	if wrong != "" || !r.joined {
		return wrong
	}
	switch {
	case f.Type == "edit" && f.Seq > r.place:
		return "" // for the subscription before this one; the message comes, as it is then
	case r.owed > 0:
		return fmt.Sprintf("what is hidden up to %d was not told first", r.owed)
	case f.Seq > r.place+1, f.Type == "msg" && f.Seq <= r.place:
		return fmt.Sprintf("it has %d", r.place)
	}
	if f.Seq > r.place && v.recalled {
		r.vague = true // nobody says any more who has read so far
	}
	r.place = max(r.place, f.Seq)
	r.has[f.Seq] = v
	if f.Type == "msg" && f.Sender != "" {
		d.marked(k, f.Sender, chatMarks{f.Seq, f.Seq})
	}
	return ""
}

func (d *chatDevice) noticed(k *chatTalk, f *chatFrame) string {
	text, _, _ := strings.Cut(strings.Trim(string(f.Data), `"`), " ")
	i, err := strconv.Atoi(text)
	if err != nil || i >= len(d.m.typed) || d.m.typed[i].talk != k || d.m.typed[i].by.name != f.Sender {
		return fmt.Sprintf("the model has %+v, %v", d.m.typed, err)
	}
	step := d.m.typed[i].step
	if !k.direct && !k.was(d.user, step) {
		return fmt.Sprintf("it was in step %d; he was a member for %+v", step, k.past[d.user])
	}
	return ""
}

func (d *chatDevice) hearsMark(k *chatTalk, f *chatFrame) string {
	i := slices.IndexFunc(d.m.users, func(u *chatUser) bool { return u.name == f.User })
	if i < 0 {
		return "nobody has this name"
	}
	now := chatMarks{f.Read, f.Delivered}
	if most := k.highest[d.m.users[i]]; most.or(now) != most || now.read > now.delivered {
		return fmt.Sprintf("the model has %+v", most)
	}
	d.marked(k, f.User, now)
	return ""
}

// marked notes marks where the device keeps some.
func (d *chatDevice) marked(k *chatTalk, user string, now chatMarks) {
	if r := d.replica(k); r.marks != nil {
		r.marks[user] = r.marks[user].or(now)
	}
	if d.live && user == d.user.name {
		d.own[k.channel] = d.own[k.channel].or(now)
	}
	e := d.list[k.channel]
	if e == nil {
		return
	}
	if user == d.user.name {
		e.Read, e.Delivered = max(e.Read, now.read), max(e.Delivered, now.delivered)
	} else if p := e.Peer; p != nil && p.User == user {
		p.Read, p.Delivered = max(p.Read, now.read), max(p.Delivered, now.delivered)
	}
}

// listed takes a change of the list.
func (d *chatDevice) listed(k *chatTalk, f *chatFrame) string {
	if f.Last != nil {
		if _, wrong := d.version(k, f.Last); wrong != "" {
			return wrong
		}
	}
	if d.list == nil {
		return "" // before the list, or after its end
	}
	old := d.list[k.channel]
	switch {
	case f.Gone:
		delete(d.list, k.channel)
		delete(d.own, k.channel)
		if f.Reason != "left" && f.Reason != "removed" && f.Reason != "deleted" {
			return "the reason is none"
		}
	case f.Role != "":
		e := f.whole
		if old != nil {
			if old.Seq > e.Seq {
				e.Seq, e.Last = old.Seq, old.Last
			}
			e.Read, e.Delivered = max(e.Read, old.Read), max(e.Delivered, old.Delivered)
			if e.Peer != nil && old.Peer != nil {
				e.Peer.Read, e.Peer.Delivered = max(e.Peer.Read, old.Peer.Read), max(e.Peer.Delivered, old.Peer.Delivered)
			}
		}
		e.Read, e.Delivered = max(e.Read, d.own[k.channel].read), max(e.Delivered, d.own[k.channel].delivered)
		d.list[k.channel] = &e
	case old != nil:
		old.Members = f.Members
		if f.Seq >= old.Seq {
			old.Seq, old.Last = f.Seq, f.Last
		}
	}
	if f.Last != nil && f.Last.Sender != "" && !f.Last.Recalled {
		d.marked(k, f.Last.Sender, chatMarks{f.Last.Seq, f.Last.Seq})
	}
	return ""
}
