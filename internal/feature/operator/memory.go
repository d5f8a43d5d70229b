package operator

import (
	"context"
	"sync"

	"github.com/skein-realtime/skein/store"
)

// maxSecrets bounds what a [Memory] keeps.
const maxSecrets = 10_000

// Memory keeps secrets in memory, for a server without a store: what is in it ends
// with the process. It is bounded; when it is full, what has expired goes first.
type Memory struct {
	mu      sync.Mutex // guards secrets
	secrets map[string]store.Secret
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{secrets: map[string]store.Secret{}} }

// Do implements [Store] for the commands about secrets.
func (m *Memory) Do(_ context.Context, group ...store.Command) (results []store.Result, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range group {
		switch c := c.(type) {
		case store.PutSecret:
			r, err := m.putLocked(c)
			if err != nil {
				return nil, err
			}
			results = append(results, r)
		case store.TakeSecret:
			s, found := m.secrets[c.Name]
			if !found || expired(s, c.Now) {
				return nil, store.ErrNotFound
			}
			delete(m.secrets, c.Name)
			results = append(results, store.SecretTaken{Secret: s})
		default:
			return nil, store.ErrUnavailable
		}
	}
	return results, nil
}

func (m *Memory) putLocked(c store.PutSecret) (store.SecretPut, error) {
	old, found := m.secrets[c.Name]
	live := found && !expired(old, c.Now)
	if live && c.IfAbsent {
		return store.SecretPut{Secret: old}, nil
	}
	if !found && len(m.secrets) >= maxSecrets {
		for name, s := range m.secrets {
			if expired(s, c.Now) {
				delete(m.secrets, name)
			}
		}
		if len(m.secrets) >= maxSecrets {
			return store.SecretPut{}, store.ErrUnavailable
		}
	}
	c.Value = append([]byte(nil), c.Value...)
	m.secrets[c.Name] = c.Secret
	return store.SecretPut{Secret: c.Secret, Created: !live}, nil
}

// Secret implements [Store].
func (m *Memory) Secret(_ context.Context, name string) (store.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, found := m.secrets[name]
	if !found {
		return store.Secret{}, store.ErrNotFound
	}
	return s, nil
}

func expired(s store.Secret, now int64) bool { return s.Expires != 0 && s.Expires <= now }
