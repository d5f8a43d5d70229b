package sqlite_test

import (
	"context"
	"testing"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/store/storetest"
)

// place gives a directory for a store of a benchmark.
func place(b *testing.B) storetest.Opener {
	dir := b.TempDir()
	return func(opt store.Options) (store.Store, error) {
		return sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Options: opt})
	}
}

func BenchmarkUsers(b *testing.B) { storetest.BenchmarkUsers(b, place(b)) }

func BenchmarkPush(b *testing.B) { storetest.BenchmarkPush(b, place(b)) }

func BenchmarkConversations(b *testing.B) { storetest.BenchmarkConversations(b, place(b)) }

func BenchmarkMarkMember(b *testing.B) { storetest.BenchmarkMarkMember(b, place(b)) }

func BenchmarkSpeak(b *testing.B) { storetest.BenchmarkSpeak(b, place(b)) }
