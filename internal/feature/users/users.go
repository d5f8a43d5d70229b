// Package users is what is known of users: attributes by which an application chooses
// them. It offers the verbs users.put, users.get, users.query and users.delete.
//
// Users are in the store; nothing of them is kept in memory. The feature starts no
// goroutine.
package users

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	Users(ctx context.Context, q store.UserQuery) ([]store.User, error)
	LookUsers(ctx context.Context, users ...string) ([]store.User, error)
	CountUsers(ctx context.Context, where *store.Filter) (int64, error)
}

// Config of a [Feature].
type Config struct {
	Hub   *hub.Hub       // who is connected
	Verbs *verb.Registry // where the verbs go
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Feature is the users of one server.
type Feature struct {
	cfg   Config
	store atomic.Pointer[Store]
}

// New registers the feature's verbs. They answer unavailable until [Feature.Start].
func New(cfg Config) *Feature {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Feature{cfg: cfg}
	f.register(cfg.Verbs)
	return f
}

// Start says where users are kept.
func (f *Feature) Start(st Store) { f.store.Store(&st) }

// running gives the store, or the error that says that there is none.
func (f *Feature) running() (Store, error) {
	if st := f.store.Load(); st != nil {
		return *st, nil
	}
	return nil, fault.New(fault.Unavailable, "users need a store: set data or database")
}

func (f *Feature) now() int64 { return f.cfg.Now().UnixMilli() }

// failure is an error of the store as callers see it.
func failure(err error) error {
	switch {
	case errors.Is(err, store.ErrTooLarge):
		return fault.Wrap(fault.TooLarge, err, "attributes: those of a user would have more than %d bytes", maxAttributes)
	case errors.Is(err, store.ErrClosed):
		return fault.Wrap(fault.Unavailable, err, "the server is shutting down")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "users cannot be read or changed now").After(time.Second)
	}
	return fault.Of(err)
}
