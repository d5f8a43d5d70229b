package campaign_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein/internal/feature/campaign"
)

func TestAPaceIsSteady(t *testing.T) {
	for _, tt := range []struct {
		pace, users int
		want        time.Duration // what comes at once is a tenth of a second's worth
	}{
		{1, 4, 3 * time.Second},
		{7, 8, time.Second},
		{10, 11, time.Second},
		{25, 52, 2 * time.Second},
		{1000, 2100, 2 * time.Second},
		{100_000, 30_000, 200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := campaign.NewPacer(tt.pace)
			begun := time.Now()
			for left := tt.users; left > 0; {
				n := min(left, p.Most())
				if n > max(1, tt.pace/10) {
					t.Errorf("%d a second: a step of %d", tt.pace, n)
				}
				if !p.Take(t.Context(), n, nil) {
					t.Fatal("it was cut short")
				}
				left -= n
				// The step itself takes its time, which is none of the pace's business.
				time.Sleep(time.Duration(n) * time.Microsecond)
			}
			took := time.Since(begun)
			if off := took - tt.want; off < -tt.want/100 || off > tt.want/50+time.Millisecond {
				t.Errorf("%d users at %d a second took %s, want %s", tt.users, tt.pace, took, tt.want)
			}
		})
	}
}

func TestAWaitForThePaceIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := campaign.NewPacer(1)
		poked := make(chan struct{}, 1)
		poked <- struct{}{}
		if !p.Take(t.Context(), 1, poked) {
			t.Error("the first one has to wait")
		}
		if p.Take(t.Context(), 1, poked) {
			t.Error("it is not cut short by a poke")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if p.Take(ctx, 1, nil) {
			t.Error("it is not cut short by the end of its context")
		}
	})
}

func TestWithoutAPaceNobodyWaits(t *testing.T) {
	p := campaign.NewPacer(0)
	if !p.Take(t.Context(), 1000, nil) || p.Most() != 1000 {
		t.Errorf("the most is %d", p.Most())
	}
}

// A step takes what 60,000 users a second take, with so much besides.
func TestStepsFindTheirSize(t *testing.T) {
	for _, tt := range []struct {
		name    string
		shared  bool
		busy    bool
		perUser time.Duration
		besides time.Duration
		low     int
		high    int
	}{
		{"alone and idle", false, false, 16 * time.Microsecond, time.Millisecond, 250, 250},
		{"alone, with others", false, true, 16 * time.Microsecond, 300 * time.Microsecond, 30, 45},
		{"alone, with others, on a slow disk", false, true, 16 * time.Microsecond, 10 * time.Millisecond, 25, 25},
		{"alone and idle on a slow disk", false, false, 16 * time.Microsecond, 30 * time.Millisecond, 100, 100},
		{"a database", true, false, 10 * time.Microsecond, 3 * time.Millisecond, 1000, 1000},
		{"a database with others", true, true, 10 * time.Microsecond, 2 * time.Millisecond, 70, 105},
		{"a database that is far away", true, true, 10 * time.Microsecond, 30 * time.Millisecond, 50, 50},
	} {
		s := campaign.NewSizer(tt.shared)
		for i := range 60 {
			if n := s.Size(); i > 40 && (n < tt.low || n > tt.high) {
				t.Errorf("%s: step %d has %d users, want %d to %d", tt.name, i, n, tt.low, tt.high)
			}
			s.Note(s.Size(), tt.besides+time.Duration(s.Size())*tt.perUser, tt.busy)
		}
		s.Note(1, time.Millisecond, false)
		if s.Size() < 25 {
			t.Errorf("%s: after the last step it is %d", tt.name, s.Size())
		}
	}
}

func TestMostOfTheTimeIsForOthers(t *testing.T) {
	for _, tt := range []struct {
		shared     bool
		took, want time.Duration
	}{
		{false, time.Millisecond, 5 * time.Millisecond},
		{false, time.Second, 50 * time.Millisecond},
		{true, 3 * time.Millisecond, 6 * time.Millisecond},
		{true, time.Second, 20 * time.Millisecond},
	} {
		if got := campaign.NewSizer(tt.shared).Rest(tt.took); got != tt.want {
			t.Errorf("after %v, shared %t: %v, want %v", tt.took, tt.shared, got, tt.want)
		}
	}
}
