package fatigue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
)

// typical is a user with 5 categories of 5 entries each, and a policy of one of them
// that lets through.
func typical(tb testing.TB, zoneName string, now time.Time) ([]byte, *fatigue.Policy, *time.Location) {
	tb.Helper()
	z := zone(tb, zoneName)
	var s fatigue.State
	for c := range 4 {
		for i := range 5 {
			s.Count(capped(fmt.Sprint("category", c)), z, now.Add(-time.Duration(c*7+i*5)*time.Hour))
		}
	}
	for i := range 5 {
		s.Count(capped("marketing"), z, now.Add(-time.Duration(i*40)*time.Hour))
	}
	p := &fatigue.Policy{
		Category: "category3",
		Chain: []fatigue.Level{
			{Category: "category3", Caps: []fatigue.Cap{{Per: "day", Max: 4}, {Per: "90m", Max: 2}}},
			{Category: "marketing", Caps: []fatigue.Cap{{Per: "week", Max: 5}}},
		},
		Quiet: &fatigue.Quiet{From: 22 * 60, To: 8 * 60},
	}
	if v := s.Judge(p, z, false, now); v.Kind != fatigue.Deliver {
		tb.Fatalf("got %+v", v)
	}
	return s.Append(nil), p, z
}

var (
	summer = time.Date(2026, 7, 15, 11, 0, 0, 0, time.UTC)
	autumn = time.Date(2026, 11, 18, 11, 0, 0, 0, time.UTC)
	change = time.Date(2026, 3, 30, 11, 0, 0, 0, time.UTC) // the day after the clock was put forward
)

// BenchmarkPush is what a store does for each user: read, judge, count, write.
func BenchmarkPush(b *testing.B) {
	for _, bb := range []struct {
		name string
		now  time.Time
	}{{"summer", summer}, {"autumn", autumn}, {"after a change", change}} {
		b.Run(bb.name, func(b *testing.B) {
			state, p, z := typical(b, "Europe/Berlin", bb.now)
			buffer := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				s, err := fatigue.Decode(state)
				if err != nil {
					b.Fatal(err)
				}
				if v := s.Judge(p, z, false, bb.now); v.Kind != fatigue.Deliver {
					b.Fatal(v)
				}
				s.Count(p, z, bb.now)
				buffer = s.Append(buffer[:0])
			}
		})
	}
	b.Run("first", func(b *testing.B) {
		_, p, z := typical(b, "Europe/Berlin", summer)
		buffer := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			s, err := fatigue.Decode(nil)
			if err != nil {
				b.Fatal(err)
			}
			if v := s.Judge(p, z, false, summer); v.Kind != fatigue.Deliver {
				b.Fatal(v)
			}
			s.Count(p, z, summer)
			buffer = s.Append(buffer[:0])
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	state, _, _ := typical(b, "Europe/Berlin", summer)
	b.ReportAllocs()
	b.ReportMetric(float64(len(state)), "bytes")
	for b.Loop() {
		if _, err := fatigue.Decode(state); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	state, p, z := typical(b, "Europe/Berlin", summer)
	s, err := fatigue.Decode(state)
	if err != nil {
		b.Fatal(err)
	}
	full := *p
	full.Chain = []fatigue.Level{{Category: "marketing", Caps: []fatigue.Cap{{Per: "day", Max: 1}}}}
	for _, bb := range []struct {
		name string
		p    *fatigue.Policy
		now  time.Time
		want fatigue.Kind
	}{
		{"deliver", p, summer, fatigue.Deliver},
		{"capped", &full, summer, fatigue.Capped},
		{"quiet", p, summer.Add(12 * time.Hour), fatigue.QuietHours},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Judge(bb.p, z, false, bb.now); v.Kind != bb.want {
					b.Fatal(v)
				}
			}
		})
	}
	b.Run("capped, after a journey", func(b *testing.B) {
		shanghai := zone(b, "Asia/Shanghai")
		b.ReportAllocs()
		for b.Loop() {
			if v := s.Judge(&full, shanghai, false, summer); v.Kind != fatigue.Capped {
				b.Fatal(v)
			}
		}
	})
}

func BenchmarkCount(b *testing.B) {
	state, p, z := typical(b, "Europe/Berlin", summer)
	s, err := fatigue.Decode(state)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Count(p, z, summer)
		if !s.Refund(p, summer) {
			b.Fatal("nothing to refund")
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	state, _, _ := typical(b, "Europe/Berlin", summer)
	s, err := fatigue.Decode(state)
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buffer = s.Append(buffer[:0])
	}
}
