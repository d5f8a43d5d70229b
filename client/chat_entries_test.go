package client

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// listModel is a server with the conversations of one user, and the list of one client that
// asks for what it lacks. A question is answered in two steps: what the answer says, and when it
// comes; what is told between may be older or newer than it.
type listModel struct {
	t      *rapid.T
	page   int
	clock  int64
	talks  map[string]*Entry // RoleReader and above: the user is a member
	online map[string]bool
	dirty  []dirty // what is to be told, by channel or user, in this order

	list     *entries
	live     bool // the connection follows the list
	anew     bool
	pages    bool // of the present reload there were some
	asking   bool // it asks, and what frames say is remembered
	wanted   int  // pages that somebody wants to see
	question string
	asked    uint64 // of the question
	answer   *listPage
	one      *Entry // the answer to one that was strange; nil: it is none
	known    bool   // the answer is made
}

type dirty struct{ what, channel string }

const modelUser = "ann"

func newListModel(t *rapid.T) *listModel {
	m := &listModel{t: t, page: rapid.IntRange(1, 4).Draw(t, "page"), talks: map[string]*Entry{}, online: map[string]bool{}, list: newEntries(), anew: true}
	for _, channel := range []string{"team:1", "team:2", "team:3", "dm:ann:bob"} {
		m.begin(channel)
	}
	return m
}

func (m *listModel) now() time.Time { m.clock++; return time.UnixMilli(m.clock) }

func (m *listModel) begin(channel string) {
	e := m.talks[channel]
	if e == nil {
		e = &Entry{Channel: channel, Kind: KindGroup, End: Position{Epoch: "e"}, Members: 2}
		if user, direct := strings.CutPrefix(channel, "dm:ann:"); direct {
			e.Kind, e.Peer = KindDirect, &Peer{User: user}
		}
		m.talks[channel] = e
	}
	e.Role, e.Since, e.Hidden, e.Read, e.Delivered, e.Last = RoleMember, m.now(), e.End.Seq, e.End.Seq, e.End.Seq, nil
	e.Time = e.Since
	m.news("all", channel)
}

func (m *listModel) news(what, channel string) {
	if !m.live {
		return
	}
	if what == "all" || what == "gone" { // says all that is to be told
		m.dirty = slices.DeleteFunc(m.dirty, func(d dirty) bool { return d.channel == channel })
	}
	if !slices.Contains(m.dirty, dirty{what, channel}) {
		m.dirty = append(m.dirty, dirty{what, channel})
	}
}

func (m *listModel) say(channel, user string) {
	e := m.talks[channel]
	e.End.Seq++
	e.Time = m.now()
	e.Last = &Message{Channel: channel, ID: fmt.Sprint(e.End.Seq), Seq: e.End.Seq, From: Sender{User: user}, Time: e.Time}
	if user == modelUser {
		e.mark(e.End.Seq, e.End.Seq)
		m.news("mark", channel)
	} else if e.peerMark(user, e.End.Seq, e.End.Seq) {
		m.news("peer", channel)
	}
	m.news("last", channel)
}

// revise edits the newest message.
func (m *listModel) revise(channel string) {
	if e := m.talks[channel]; e.Last != nil {
		last := *e.Last
		last.Event += "x"
		e.Last = &last
		m.news("last", channel)
	}
}

// tell tells what waits for longest.
func (m *listModel) tell() {
	if len(m.dirty) == 0 {
		return
	}
	d := m.dirty[0]
	m.dirty = m.dirty[1:]
	if d.what == "online" {
		m.list.present(d.channel, m.online[d.channel])
		return
	}
	e := *m.talks[d.channel]
	e.count()
	switch {
	case e.Role == "":
		m.list.gone(d.channel)
	case d.what == "all":
		m.list.conversation(m.seen(e), true, modelUser)
	case d.what == "last":
		m.list.conversation(Entry{Channel: e.Channel, End: Position{Seq: e.End.Seq}, Time: e.Time, Last: e.Last, Members: e.Members}, false, modelUser)
	case d.what == "mark":
		m.list.mark(Mark{Channel: e.Channel, User: modelUser, Read: e.Read, Delivered: e.Delivered}, modelUser)
	case d.what == "peer":
		m.list.mark(Mark{Channel: e.Channel, User: e.Peer.User, Read: e.Peer.Read, Delivered: e.Peer.Delivered}, modelUser)
	}
}

// seen is an entry as the server gives it.
func (m *listModel) seen(e Entry) Entry {
	if e.Peer != nil {
		p := *e.Peer
		p.Online = m.online[p.User]
		e.Peer = &p
	}
	e.count()
	return e
}

func (m *listModel) all() (list []Entry) {
	for _, e := range m.talks {
		if e.Role != "" {
			list = append(list, m.seen(*e))
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Channel, b.Channel)
	})
	return list
}

// ask lets the client ask for what it lacks; false: nothing, or it waits for an answer.
func (m *listModel) ask() bool {
	l := m.list
	strange := slices.Sorted(maps.Keys(l.strange))
	switch {
	case m.question != "":
		return false
	case m.anew && !m.pages:
		l.begin()
		m.live, m.question = true, "first"
	case m.anew:
		m.question = "page"
	case l.stale:
		m.question = "refresh"
	case len(strange) > 0:
		m.question = strange[0]
	case m.wanted > 0 && l.next != "":
		m.question = "more"
	default:
		m.wanted = 0
		if m.asking {
			m.asking = false
			l.asked()
		}
		return false
	}
	if !m.asking {
		m.asking = true
		l.ask()
	}
	m.asked, m.known = l.ask(), false
	return true
}

// follows tells whether an entry comes after a place.
func follows(e Entry, next string) bool {
	var at int64
	var channel string
	_, err := fmt.Sscanf(next, "%d %s", &at, &channel)
	return err == nil && (e.Time.UnixMilli() < at || e.Time.UnixMilli() == at && e.Channel > channel)
}

// think makes the answer, of what there is now.
func (m *listModel) think() {
	if m.question == "" || m.known {
		return
	}
	m.known = true
	if strings.Contains(m.question, ":") {
		m.one = nil
		if e := m.talks[m.question]; e != nil && e.Role != "" {
			seen := m.seen(*e)
			m.one = &seen
		}
		return
	}
	all := m.all()
	p := &listPage{count: len(all)}
	for _, e := range all {
		p.unread += int64(e.Unread)
		if (m.question == "page" || m.question == "more") && !follows(e, m.next()) {
			continue
		}
		if len(p.entries) < m.page {
			p.entries = append(p.entries, e)
		} else if last := p.entries[m.page-1]; p.next == "" {
			p.next = fmt.Sprintf("%d %s", last.Time.UnixMilli(), last.Channel)
		}
	}
	m.answer = p
}

// next is where the page begins that is asked for.
func (m *listModel) next() string {
	if m.question == "more" {
		return m.list.next
	}
	return m.answer.next
}

// take brings the answer.
func (m *listModel) take() {
	if !m.known || m.question == "" {
		return
	}
	l, question := m.list, m.question
	m.question, m.known = "", false
	defer l.asked()
	switch question {
	case "first", "page":
		if question == "first" {
			l.first(m.answer, m.asked)
		} else {
			l.page(m.answer, m.asked)
		}
		m.pages = true
		if l.covers(m.answer) {
			l.settle(m.answer, func(string) bool { return false })
			m.anew, m.pages = false, false
		}
	case "refresh":
		l.first(m.answer, m.asked)
	case "more":
		l.page(m.answer, m.asked)
		l.down(m.answer)
		m.wanted--
	default:
		if m.one != nil {
			l.merge(*m.one, m.asked)
		} else {
			l.none(question, m.asked)
		}
	}
}

// cut loses everything that is on its way.
func (m *listModel) cut() {
	if m.question != "" {
		m.list.asked()
	}
	m.dirty, m.live, m.anew, m.pages, m.question, m.known = nil, false, true, false, "", false
}

func (m *listModel) member(channel string) bool {
	return m.talks[channel] != nil && m.talks[channel].Role != ""
}

func (m *listModel) change(what, channel string) {
	e := m.talks[channel]
	switch {
	case what == "begin" && !m.member(channel):
		m.begin(channel)
	case !m.member(channel):
	case what == "say" && e.Peer != nil:
		m.say(channel, e.Peer.User)
	case what == "say":
		m.say(channel, "bob")
	case what == "own":
		m.say(channel, modelUser)
	case what == "revise":
		m.revise(channel)
	case what == "read":
		e.mark((e.End.Seq+e.Read+1)/2, 0)
		m.news("mark", channel)
	case what == "peer" && e.Peer != nil:
		e.peerMark(e.Peer.User, e.End.Seq, e.End.Seq)
		m.news("peer", channel)
	case what == "role":
		e.Role += "x"
		m.news("all", channel)
	case what == "end":
		e.Role = ""
		m.news("gone", channel)
	}
}

func TestAListIsInTheEndWhatAFreshOneIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newListModel(t)
		channels := rapid.SampledFrom([]string{"team:1", "team:2", "team:3", "team:4", "team:5", "dm:ann:bob", "dm:ann:eve"})
		changes := rapid.SampledFrom([]string{"say", "say", "own", "revise", "read", "peer", "role", "begin", "end"})
		steps := rapid.SampledFrom([]string{"change", "change", "change", "ask", "think", "take", "tell", "tell", "online", "more", "rest", "cut", "drop", "touch"})
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			switch steps.Draw(t, "do") {
			case "change":
				m.change(changes.Draw(t, "change"), channels.Draw(t, "channel"))
			case "ask":
				m.ask()
			case "think":
				m.think()
			case "take":
				m.take()
			case "tell":
				m.tell()
			case "online":
				m.online["bob"] = !m.online["bob"]
				m.news("online", "bob")
			case "more":
				m.wanted++
			case "rest":
				m.rest()
			case "cut":
				m.cut()
			case "drop": // frames are lost, and the client reads all of it again
				live, question := m.live, m.question
				m.cut()
				m.live = live && question == ""
			case "touch":
				m.list.mark(Mark{Channel: "team:0", User: modelUser, Read: 1}, modelUser)
			}
		}
		m.rest()
		all, got := m.all(), m.list.list()
		if diff := cmp.Diff(all[:min(len(got), len(all))], got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("the list (-want +got):\n%s", diff)
		}
		var sum uint64
		for _, e := range all {
			sum += e.Unread
		}
		if m.list.count != len(all) || m.list.unread() != sum || len(got) < len(all) && m.list.next == "" {
			t.Fatalf("%d conversations, %d shown, %d unread; want %d and %d", m.list.count, len(got), m.list.unread(), len(all), sum)
		}
	})
}

// rest carries everything out that is to be done.
func (m *listModel) rest() {
	for m.question != "" || len(m.dirty) > 0 || m.ask() {
		m.tell()
		m.think()
		m.take()
	}
}
