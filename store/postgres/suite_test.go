package postgres_test

import (
	"fmt"
	"testing"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/storetest"
)

func TestSuite(t *testing.T) {
	url, places := server.Database(t), 0
	storetest.Run(t, func() storetest.Opener {
		places++
		cfg := postgres.Config{URL: url, Schema: fmt.Sprintf("place%d", places), Writers: 3, Readers: 2}
		return func(opt store.Options) (store.Store, error) {
			cfg.Options = opt
			return postgres.Open(t.Context(), cfg)
		}
	})
}
