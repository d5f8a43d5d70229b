package client

import (
	"slices"
	"strings"
	"time"
)

// entries is the list of conversations as far as it is known: pages that were asked for, and
// frames that came at any time before, between and after them. It asks nothing itself, and
// whoever has it guards it.
//
// A page is what the server had at one moment between the question and the answer; frames
// that came in that time may be older or newer. So everything that a frame has said since the
// question counts more than the answer: if the answer is the newer one, the frame of what it
// has seen is still to come.
//
// How many there are and how many messages are unread in all is said by the first page, and
// carried on by what frames say of the conversations that it had: of those it is known what
// the page has counted. After anything else they are stale, and whoever asks the questions
// asks for the first page anew; a conversation in which something was said is on it then.
type entries struct {
	count   int
	stale   bool            // count and unread are not sure, or a conversation is missing
	next    string          // where the next page begins; "": there is none
	strange map[string]bool // channels of which something was heard, and that have to be asked for

	known   map[string]Entry
	fresh   map[string]bool // pages of this turn have had them: others may be gone
	counted map[string]bool // the first page had them
	floor   time.Time       // of the last one of all pages; zero: there was none yet
	total   int64
	wanted  map[string]uint64 // read here, and not confirmed

	notes  map[string]note     // what frames said while something was asked
	online map[string]presence // of users
	clock  uint64              // frames
	turn   uint64              // the clock when the present turn began
	asking int
}

// note is what frames have said of a channel.
type note struct {
	at   uint64 // when
	all  uint64 // when all of it was told, or that it is gone
	gone bool
}

type presence struct {
	at     uint64
	online bool
}

func newEntries() *entries {
	return &entries{
		strange: map[string]bool{}, known: map[string]Entry{}, fresh: map[string]bool{}, counted: map[string]bool{},
		wanted: map[string]uint64{}, notes: map[string]note{}, online: map[string]presence{},
	}
}

// reset forgets everything but what is being asked.
func (l *entries) reset() {
	anew := newEntries()
	anew.asking, anew.clock = l.asking, l.clock
	*l = *anew
}

// listPage is a page of the list.
type listPage struct {
	entries []Entry
	count   int
	unread  int64
	next    string
}

func (p *listPage) last() (t time.Time, ok bool) {
	if len(p.entries) == 0 {
		return t, false
	}
	return p.entries[len(p.entries)-1].Time, true
}

// list gives what is shown: down to where pages were asked for, the newest first.
func (l *entries) list() []Entry {
	var all []Entry
	for _, e := range l.known {
		if l.covered(&e) {
			all = append(all, l.shown(e))
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Channel, b.Channel)
	})
	return all
}

// covered tells whether the pages that were read have a conversation.
func (l *entries) covered(e *Entry) bool { return l.next == "" || !e.Time.Before(l.floor) }

// unread is the sum of all conversations.
func (l *entries) unread() uint64 {
	sum := l.total
	for channel := range l.wanted {
		if e, ok := l.known[channel]; ok {
			sum -= int64(e.Unread) - int64(l.shown(e).Unread)
		}
	}
	return uint64(max(0, sum))
}

func (l *entries) get(channel string) (Entry, bool) {
	e, ok := l.known[channel]
	return l.shown(e), ok
}

// shown is an entry with what was read here and is not confirmed.
func (l *entries) shown(e Entry) Entry {
	if want := min(l.wanted[e.Channel], e.End.Seq); want > e.Read {
		e.mark(want, 0)
	}
	return e
}

// ask begins a question; asked ends it.
func (l *entries) ask() (at uint64) {
	l.asking++
	return l.clock
}

func (l *entries) asked() {
	if l.asking--; l.asking == 0 {
		clear(l.notes)
		clear(l.online)
	}
}

// begin is called before all pages are asked for anew. Until settle nothing that is shown is
// taken away.
func (l *entries) begin() {
	clear(l.fresh)
	clear(l.counted)
	clear(l.strange)
	l.turn = l.clock
}

// covers tells whether the pages of this turn reach as far down as those before.
func (l *entries) covers(p *listPage) bool {
	last, any := p.last()
	return p.next == "" || !any || l.floor.IsZero() || last.Before(l.floor)
}

// settle is called when the pages of this turn are there, last is the last of them. What none
// of them had is no conversation of the user any more, unless a frame has told of it
// meanwhile, or somebody wants to keep it: then it is to be asked for.
func (l *entries) settle(last *listPage, keep func(channel string) bool) {
	l.down(last)
	for channel := range l.known {
		switch {
		case l.fresh[channel]:
		case l.notes[channel].at > l.turn || keep(channel):
			l.strange[channel] = true
		default:
			l.forget(channel)
		}
	}
}

// first takes the first page.
func (l *entries) first(p *listPage, asked uint64) {
	l.count, l.total, l.stale = p.count, p.unread, false
	clear(l.counted)
	for _, given := range p.entries {
		merged, there := l.merge(given, asked)
		switch {
		case !there: // it is gone since
			l.count--
			l.total -= int64(given.Unread)
		default:
			if !l.strange[given.Channel] {
				l.counted[given.Channel] = true
			}
			l.total += int64(merged.Unread) - int64(given.Unread) // a frame was faster
		}
	}
	// What else has come meanwhile may be in the numbers, or not.
	for channel, n := range l.notes {
		if n.at > asked && !l.counted[channel] {
			l.stale = true
		}
	}
}

// page takes a page that is not the first one.
func (l *entries) page(p *listPage, asked uint64) {
	for _, e := range p.entries {
		l.merge(e, asked)
	}
}

// down moves the end of what is shown to that of a page.
func (l *entries) down(p *listPage) {
	l.next = p.next
	if last, any := p.last(); any {
		l.floor = last
	}
}

// none takes the answer that a channel is no conversation of the user.
func (l *entries) none(channel string, asked uint64) {
	delete(l.strange, channel)
	if l.notes[channel].at <= asked {
		l.forget(channel)
	}
}

func (l *entries) forget(channel string) {
	delete(l.known, channel)
	delete(l.fresh, channel)
	delete(l.counted, channel)
	delete(l.wanted, channel)
}

// merge joins an answer with what frames have said since it was asked for; false: it is gone.
func (l *entries) merge(given Entry, asked uint64) (merged Entry, there bool) {
	channel := given.Channel
	n := l.notes[channel]
	told := n.at > asked
	if told && n.gone {
		return given, false
	}
	known, isKnown := l.known[channel]
	// What a frame said of one that was not known is lost: it has to be asked for once more.
	if told && !isKnown {
		l.strange[channel] = true
	} else {
		delete(l.strange, channel)
	}
	l.fresh[channel] = true
	e := given
	if isKnown && known.End.Epoch == given.End.Epoch {
		if told && n.all > asked {
			e = known
			e.End, e.Time, e.Last = given.End, given.Time, given.Last
			if e.Peer != nil && given.Peer != nil {
				p := *given.Peer
				p.Blocked = known.Peer.Blocked
				e.Peer = &p
			}
		}
		if known.End.Seq > given.End.Seq || told && known.End.Seq == given.End.Seq {
			e.End, e.Time, e.Last = known.End, known.Time, known.Last
		}
		e.mark(max(known.Read, given.Read), max(known.Delivered, given.Delivered))
		if known.Peer != nil {
			e.peerMark(known.Peer.User, known.Peer.Read, known.Peer.Delivered)
		}
	}
	if e.Peer != nil {
		if o := l.online[e.Peer.User]; o.at > asked {
			p := *e.Peer
			p.Online = o.online
			e.Peer = &p
		}
	}
	l.put(&e)
	return e, true
}

func (l *entries) put(e *Entry) {
	e.count()
	if l.wanted[e.Channel] <= e.Read {
		delete(l.wanted, e.Channel)
	}
	l.known[e.Channel] = *e
}

// step puts an entry after a frame: the sum goes with it where it is known to have counted it.
func (l *entries) step(known, e Entry) {
	l.put(&e)
	if l.counted[e.Channel] {
		l.total += int64(e.Unread) - int64(known.Unread)
	} else {
		l.stale = true
	}
}

func (l *entries) note(channel string, all, gone bool) {
	l.clock++
	if l.asking == 0 {
		return
	}
	n := l.notes[channel]
	n.at, n.gone = l.clock, gone
	if all {
		n.all = l.clock
	}
	l.notes[channel] = n
}

// gone takes the frame that says that a conversation is no more.
func (l *entries) gone(channel string) {
	l.note(channel, true, true)
	delete(l.strange, channel)
	if known, ok := l.known[channel]; ok && l.counted[channel] {
		l.total -= int64(known.Unread)
		l.count--
	} else {
		l.stale = true
	}
	l.forget(channel)
}

// conversation takes a frame about a conversation, all of it or its newest message alone. me
// is the user. It tells whether something has changed.
func (l *entries) conversation(e Entry, all bool, me string) bool {
	channel := e.Channel
	known, ok := l.known[channel]
	l.note(channel, all, false)
	if !ok {
		l.stale = true
		if all {
			l.put(&e)
		} else {
			l.strange[channel] = true
		}
		return all
	}
	// A channel that has begun anew counts from the beginning.
	same := e.End.Epoch == "" || e.End.Epoch == known.End.Epoch
	if same && e.End.Seq < known.End.Seq {
		if !all {
			return false
		}
		e.End, e.Time, e.Last = known.End, known.Time, known.Last
	}
	next := known
	switch {
	case all:
		next = e
	case !same || e.End.Seq > known.Hidden:
		next.Members, next.End.Seq, next.Time, next.Last = e.Members, e.End.Seq, e.Time, e.Last
		if !same {
			next.End.Epoch = e.End.Epoch
		}
	default:
		next.Members = e.Members
	}
	if same {
		next.mark(known.Read, known.Delivered)
		if known.Peer != nil {
			next.peerMark(known.Peer.User, known.Peer.Read, known.Peer.Delivered)
		}
	}
	// Who writes has read what is before.
	if last := next.Last; last != nil && last.From.User != "" {
		if last.From.User == me {
			next.mark(last.Seq, last.Seq)
		} else {
			next.peerMark(last.From.User, last.Seq, last.Seq)
		}
	}
	l.step(known, next)
	return true
}

// mark takes a mark of anybody. It tells whether something has changed.
func (l *entries) mark(m Mark, me string) bool {
	known, ok := l.known[m.Channel]
	if m.User == me || !ok {
		l.note(m.Channel, false, false)
	}
	switch {
	case m.User == me && ok:
		next := known
		next.mark(m.Read, m.Delivered)
		l.step(known, next)
		return true
	case m.User == me:
		l.stale = true
		return false
	}
	if !ok || !known.peerMark(m.User, m.Read, m.Delivered) {
		return false
	}
	l.put(&known)
	return true
}

// ofPeer gives the direct conversations with a user.
func (l *entries) ofPeer(user string) (channels []string) {
	for channel, e := range l.known {
		if e.Peer != nil && e.Peer.User == user {
			channels = append(channels, channel)
		}
	}
	slices.Sort(channels)
	return channels
}

// present takes whether a user is there. It gives the channels that have changed.
func (l *entries) present(user string, online bool) []string {
	l.clock++
	if l.asking > 0 {
		l.online[user] = presence{l.clock, online}
	}
	return l.peers(user, func(p *Peer) { p.Online = online })
}

// peers changes the other one of direct conversations.
func (l *entries) peers(user string, change func(*Peer)) []string {
	channels := l.ofPeer(user)
	for _, channel := range channels {
		e := l.known[channel]
		p := *e.Peer
		change(&p)
		e.Peer = &p
		l.put(&e)
	}
	return channels
}

// want says that the user has read up to a seq; it is shown at once.
func (l *entries) want(channel string, read uint64) {
	l.wanted[channel] = max(l.wanted[channel], read)
}
