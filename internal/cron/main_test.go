package cron_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones, wherever the tests run

	"github.com/skein-realtime/skein/internal/cron"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func parse(t testing.TB, line, zoneName string) *cron.Line {
	t.Helper()
	l, err := cron.Parse(line, zone(t, zoneName))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return l
}

// moment reads a time that is written with its offset.
func moment(t testing.TB, text string) time.Time {
	t.Helper()
	m, err := time.Parse("2006-01-02 15:04:05 -07:00", text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// runs lists the next n runs, each with its offset.
func runs(l *cron.Line, after time.Time, n int) (list []string) {
	for range n {
		after = l.Next(after)
		list = append(list, after.Format("2006-01-02 15:04:05 -07:00"))
	}
	return list
}
