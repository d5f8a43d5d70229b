package sqlite_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// checks is how many cases the models draw, unless it is said: SQLite is written in Go, and
// many times slower when it is watched for races. Each run draws others.
const checks = "40"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(checks); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
