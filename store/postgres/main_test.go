package postgres_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/test/pgtest"
)

// server is the cluster of those tests that leave it in peace; each has a
// database of its own in it.
var server *pgtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if server, err = pgtest.Open(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	code := m.Run()
	server.Stop()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// open opens a store for the life of the test.
func open(tb testing.TB, cfg postgres.Config) *postgres.Store {
	tb.Helper()
	s, err := postgres.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// newAppend is a message like those of the server.
func newAppend(channel, data string) store.Append {
	now := time.Now()
	return store.Append{
		Channel: channel, ID: id.Message(now), Time: now.UnixMilli(), Event: "message", Data: []byte(data),
		Sender: protocol.Sender{User: "alice", Device: "phone-1", Connection: id.NewConnection().String()},
	}
}

// do carries out one command that must succeed.
func do[R store.Result](tb testing.TB, s store.Store, c store.Command) R {
	tb.Helper()
	results, err := s.Do(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return results[0].(R)
}
