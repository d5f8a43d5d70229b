package sqlite_test

import (
	"context"
	"testing"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/store/storetest"
)

func TestSuite(t *testing.T) {
	places := func(t *testing.T, relaxed bool) func() storetest.Opener {
		return func() storetest.Opener {
			dir := t.TempDir()
			return func(opt store.Options) (store.Store, error) {
				return sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Relaxed: relaxed, Options: opt})
			}
		}
	}
	t.Run("full", func(t *testing.T) { storetest.Run(t, places(t, false)) })
	t.Run("relaxed", func(t *testing.T) { storetest.RunStories(t, places(t, true)) })
}
