package fatigue_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
)

func TestZonesAreKnownByTheirNames(t *testing.T) {
	for name, want := range map[string]bool{
		"Europe/Berlin": true, "UTC": true, "America/Argentina/ComodRivadavia": true,
		"": false, "Local": false, "Europe/Bielefeld": false, "../Europe/Berlin": false, "/etc/localtime": false, "Europe": false,
		"a\x00b": false, strings.Repeat("x", 65): false,
	} {
		for range 2 {
			z, ok := fatigue.Zone(name)
			if ok != want || (z != nil) != want || ok && z.String() != name {
				t.Errorf("%q: got %v, %v", name, z, ok)
			}
		}
	}
}

// Names come from clients, so any number of wrong ones may be asked for.
func TestManyUnknownNamesDoNotPushOutTheKnownOnes(t *testing.T) {
	first := zone(t, "Asia/Tokyo")
	var all sync.WaitGroup
	for g := range 2 {
		all.Go(func() {
			for i := range 3000 {
				if _, ok := fatigue.Zone(fmt.Sprint("no/such", g, "/", i)); ok {
					t.Error("there is a zone of a wrong name")
				}
			}
		})
	}
	all.Wait()
	if zone(t, "Asia/Tokyo") != first {
		t.Error("a known zone was read again")
	}
	if first := zone(t, "Pacific/Fiji"); zone(t, "Pacific/Fiji") != first {
		t.Error("there is no room for a known zone any more")
	}
}

func TestAZoneFromElsewhereIsTakenAsItIs(t *testing.T) {
	zone(t, "Europe/Berlin")
	midnight := moment(t, "2026-05-06 00:00:00 -03:00")
	for _, name := range []string{"Europe/Berlin", "", "no name that is known"} {
		z := time.FixedZone(name, -3*3600)
		p := capped("news", fatigue.Cap{Per: "day", Max: 1})
		var s fatigue.State
		s.Count(p, z, noon)
		if v := s.Judge(p, z, false, noon); !v.Until.Equal(midnight) {
			t.Errorf("%q: %+v", name, v)
		}
	}
}

func TestZonesAreSharedByManyGoroutines(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "day", Max: 1})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			z, _ := fatigue.Zone("Europe/Dublin")
			for i := range 500 {
				at := noon.Add(time.Duration(g*i) * 24 * time.Hour)
				var s fatigue.State
				s.Count(p, z, at)
				if v := s.Judge(p, z, false, at); v.Kind != fatigue.Capped || v.Until.Sub(at) > 25*time.Hour {
					t.Errorf("%s: %+v", at, v)
				}
			}
		})
	}
	all.Wait()
}
