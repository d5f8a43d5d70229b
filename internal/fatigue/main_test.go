package fatigue_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones, wherever the tests run

	"github.com/skein-realtime/skein/internal/fatigue"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, ok := fatigue.Zone(name)
	if !ok {
		t.Fatalf("there is no zone %s", name)
	}
	return z
}

// clock writes a moment with its offset; moment reads it.
const clock = "2006-01-02 15:04:05.999 -07:00"

func moment(t testing.TB, text string) time.Time {
	t.Helper()
	m, err := time.Parse(clock, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// capped is a policy of one category with caps.
func capped(category string, caps ...fatigue.Cap) *fatigue.Policy {
	return &fatigue.Policy{Category: category, Chain: []fatigue.Level{{Category: category, Caps: caps}}}
}
