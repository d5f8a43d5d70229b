package verb

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
)

// Memo remembers what was answered to requests with an idempotency key, so
// that a repeat gets the first answer and has no effect of its own. It is
// bounded in number; when it is full the oldest answers go first and are
// counted.
type Memo struct {
	ttl time.Duration
	max int

	evicted atomic.Int64

	mu    sync.Mutex // guards all below
	byKey map[string]*memory
	order []*memory // oldest first; all have the same ttl
}

type memory struct {
	key     string
	hash    [sha256.Size]byte
	expires time.Time
	done    chan struct{} // closed when the first request has its answer
	result  []byte
	err     error
}

// The defaults of a Memo.
const (
	DefaultKeyTTL  = 24 * time.Hour
	DefaultKeys    = 100_000
	maxRemembered  = 4 << 10 // bytes of an answer; a longer one is not remembered, which no verb with a key has
	resultTooLarge = "the first answer was too large to be repeated"
)

// NewMemo makes a Memo. Zero values mean the defaults: 24 h, 100,000 keys.
func NewMemo(ttl time.Duration, keys int) *Memo {
	if ttl == 0 {
		ttl = DefaultKeyTTL
	}
	if keys == 0 {
		keys = DefaultKeys
	}
	return &Memo{ttl: ttl, max: keys, byKey: map[string]*memory{}}
}

// Evicted counts the keys that were forgotten before their time.
func (m *Memo) Evicted() int64 { return m.evicted.Load() }

// Len is how many keys are remembered.
func (m *Memo) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byKey)
}

// Do runs fn once for each key. A repeat with the same content gets the first
// answer, waiting for it if need be; with other content it is a conflict. An
// answer that is an error is not remembered, so the request can be tried again.
func (m *Memo) Do(ctx context.Context, key string, content []byte, fn func() ([]byte, error)) (result []byte, repeated bool, err error) {
	hash := sha256.Sum256(content)
	now := time.Now()
	m.mu.Lock()
	m.expireLocked(now)
	if e := m.byKey[key]; e != nil {
		m.mu.Unlock()
		if e.hash != hash {
			return nil, false, fault.New(fault.Conflict, "key: it was used for a request with other content")
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, false, fault.Wrap(fault.Unavailable, ctx.Err(), "the first request with this key is still running")
		}
		return e.result, e.err == nil, e.err
	}
	m.makeRoomLocked()
	e := &memory{key: key, hash: hash, expires: now.Add(m.ttl), done: make(chan struct{})}
	m.byKey[key] = e
	m.order = append(m.order, e)
	m.mu.Unlock()

	e.err = fault.New(fault.Internal, "the first request with this key failed")
	defer func() {
		if e.err != nil {
			m.mu.Lock()
			m.failedLocked(e)
			m.mu.Unlock()
		}
		close(e.done)
	}()
	result, err = fn()
	e.result, e.err = result, err
	if err == nil && len(result) > maxRemembered {
		e.result, e.err = nil, fault.New(fault.Conflict, resultTooLarge)
	}
	return result, false, err
}

// expireLocked forgets what is past its time.
func (m *Memo) expireLocked(now time.Time) {
	for len(m.order) > 0 && (m.byKey[m.order[0].key] != m.order[0] || !now.Before(m.order[0].expires)) {
		m.forgetOldestLocked()
	}
}

// makeRoomLocked forgets the oldest until there is room for one more. A request
// that still runs is not forgotten: a repeat would run beside it.
func (m *Memo) makeRoomLocked() {
	for tries := len(m.order); len(m.byKey) >= m.max && tries > 0; tries-- {
		e := m.order[0]
		if m.byKey[e.key] == e && e.running() {
			m.order = append(m.order[1:], e)
			continue
		}
		if m.byKey[e.key] == e {
			m.evicted.Add(1)
		}
		m.forgetOldestLocked()
	}
}

func (e *memory) running() bool {
	select {
	case <-e.done:
		return false
	default:
		return true
	}
}

func (m *Memo) forgetOldestLocked() {
	e := m.order[0]
	if m.byKey[e.key] == e {
		delete(m.byKey, e.key)
	}
	m.order[0] = nil
	m.order = m.order[1:]
}

// failedLocked forgets a request that may be tried again. Its place in the
// order is cleared now and then, so that failures do not pile up there.
func (m *Memo) failedLocked(e *memory) {
	if m.byKey[e.key] == e {
		delete(m.byKey, e.key)
	}
	if len(m.order) > 2*len(m.byKey)+64 {
		m.order = slices.DeleteFunc(m.order, func(e *memory) bool { return m.byKey[e.key] != e })
	}
}
