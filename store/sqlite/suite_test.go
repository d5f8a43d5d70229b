package sqlite_test

import (
	"context"
	"testing"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/store/storetest"
)

func TestSuite(t *testing.T) {
	for name, relaxed := range map[string]bool{"full": false, "relaxed": true} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func() storetest.Opener {
				dir := t.TempDir()
				return func(opt store.Options) (store.Store, error) {
					return sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Relaxed: relaxed, Options: opt})
				}
			})
		})
	}
}
