package access

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// denials are those that are known, by whom they are about.
type denials struct {
	known atomic.Int64 // len(m), to be asked without the lock
	last  uint64       // the seq up to which the store was read; the feature's goroutine alone uses it

	mu sync.RWMutex // guards all below
	m  map[key]entry
	// shapes counts the keys of each shape. An identity is looked up once for each
	// shape that there is: one or two as a rule, at most fifteen.
	shapes [shapes]int
}

// key is whom a denial is about. What is empty fits everybody.
type key struct {
	user, device, token string
	dated               bool // it is about tokens that were issued up to a time
}

// The shape of a key: which of its fields are set. Those that are not dated come
// first, so that who is blocked is told so.
const (
	withUser = 1 << iota
	withDevice
	withToken
	withDate
	shapes = 1 << iota
)

// entry is what a denial says.
type entry struct {
	seq     uint64
	before  int64
	time    int64
	expires int64 // zero: never
	reason  string
	lifted  bool
	old     bool // lifted, and the last sweep saw it
}

func keyOf(d *store.Denial) key {
	return key{d.User, d.Device, d.Token, d.Before != 0}
}

func (k *key) shape() (s int) {
	if k.user != "" {
		s |= withUser
	}
	if k.device != "" {
		s |= withDevice
	}
	if k.token != "" {
		s |= withToken
	}
	if k.dated {
		s |= withDate
	}
	return s
}

// shaped gives the key of a shape that an identity fits; false: it fits none.
func shaped(shape int, id *auth.Identity) (k key, ok bool) {
	if shape&withUser != 0 {
		k.user = id.User
	}
	if shape&withDevice != 0 {
		k.device = id.Device
	}
	if shape&withToken != 0 {
		k.token = id.Token
	}
	k.dated = shape&withDate != 0
	ok = (shape&withUser == 0 || k.user != "") && (shape&withDevice == 0 || k.device != "") && (shape&withToken == 0 || k.token != "")
	return k, ok && (!k.dated || !id.Issued.IsZero())
}

func (e *entry) inForce(now int64) bool { return !e.lifted && (e.expires == 0 || e.expires > now) }

// found is a denial that an identity fits.
type found struct {
	key
	entry
}

// revoked tells that it is about a token and not about its user: another token
// may be good.
func (d *found) revoked() bool { return d.dated || d.token != "" }

// message is what the one whom it is about is told.
func (d *found) message() string {
	switch {
	case d.revoked():
		return "the token has been revoked"
	case d.reason != "":
		return d.reason
	}
	return "blocked"
}

// find gives a denial that an identity fits.
func (t *denials) find(id auth.Identity) (d found, ok bool) {
	if t.known.Load() == 0 {
		return d, false
	}
	now := time.Now().UnixMilli()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for shape, n := range t.shapes {
		if n == 0 {
			continue
		}
		k, fits := shaped(shape, &id)
		if !fits {
			continue
		}
		if e, there := t.m[k]; there && e.inForce(now) && (!k.dated || int64(id.Issued) <= e.before) {
			return found{k, e}, true
		}
	}
	return d, false
}

// get gives what is known under a key.
func (t *denials) get(k key) (e entry, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok = t.m[k]
	return e, ok
}

// apply takes a denial as it was stored, unless a newer one is known. True: it is
// new and in force.
//
// One that was lifted stays for a while, because what was stored before it may be
// applied after it.
func (t *denials) apply(d store.Denial, now int64) bool {
	k := keyOf(&d)
	e := entry{seq: d.Seq, before: d.Before, time: d.Time, expires: d.Expires, reason: d.Reason, lifted: d.Lifted}
	t.mu.Lock()
	defer t.mu.Unlock()
	old, there := t.m[k]
	if there && old.seq >= d.Seq || !there && d.Expires != 0 && d.Expires <= now {
		return false
	}
	if !there {
		t.shapes[k.shape()]++
	}
	t.m[k] = e
	t.known.Store(int64(len(t.m)))
	return e.inForce(now)
}

// sweep forgets what is no longer in force.
func (t *denials) sweep(now int64) {
	var over []key
	t.mu.RLock()
	for k, e := range t.m {
		if !e.inForce(now) {
			over = append(over, k)
		}
	}
	t.mu.RUnlock()
	if len(over) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range over {
		e, there := t.m[k]
		switch {
		case !there || e.inForce(now):
		case e.lifted && !e.old:
			e.old = true
			t.m[k] = e
		default:
			delete(t.m, k)
			t.shapes[k.shape()]--
		}
	}
	t.known.Store(int64(len(t.m)))
}

// cut ends the live connections that denials are about, and tells how many.
func (f *Feature) cut(list ...store.Denial) (n int) {
	h := f.cfg.Sessions.Hub()
	if slices.ContainsFunc(list, func(d store.Denial) bool { return d.User == "" }) {
		h.EachConn(func(c *hub.Conn) bool { // one look is enough for all of them
			n += f.look(session.Of(c))
			return true
		})
		return n
	}
	for _, d := range list {
		for _, c := range h.UserConns(d.User) {
			n += f.look(session.Of(c))
		}
	}
	return n
}

// Recheck ends a connection that is kept out. It is called when a connection has
// just been welcomed (session.Hooks.Welcomed) or has got another identity
// (session.Hooks.Bound): what was said between Admit and then did not find it among
// those that are live.
func (f *Feature) Recheck(s *session.Session) { f.look(s) }

// The time until a client whose token was revoked comes back. It has to be more
// than a second: most tokens say only in which second they were issued, and one
// of the same second counts as issued before.
const (
	comeBack       = 1100 * time.Millisecond
	comeBackSpread = 2 * time.Second
)

// look ends a connection that is kept out, and tells how many that are: 0 when it
// is about to end already.
func (f *Feature) look(s *session.Session) int {
	d, found := f.denials.find(s.Identity())
	if !found {
		return 0
	}
	first := false
	if d.revoked() {
		// The client does what it does when a token has expired: it gets another one
		// and comes back. If it comes with the same, it is refused with token_refused
		// and stays away, so nothing goes in a circle.
		first = s.ByeAfter(protocol.CloseTokenExpired, d.message(), comeBack+session.Jitter(comeBackSpread))
	} else {
		first = s.ByeAfter(protocol.CloseDisconnected, d.message(), 0)
	}
	if !first {
		return 0
	}
	f.metrics.Cut.Add(1)
	return 1
}
