package fatigue

import (
	"maps"
	"strings"
	"sync"
	"time"
)

const (
	// maxZones bounds what is remembered. There are about 600 names of zones; the
	// rest is room for names that are none, so that asking for one again and again
	// does not read files again and again.
	maxZones = 2048
	// maxZoneName is longer than any name of a zone.
	maxZoneName = 64
)

// zones remembers what was asked for.
type zones struct {
	mu    sync.RWMutex
	known map[string]clock // one without a zone: there is none of this name
}

// loaded is the one variable of the package that changes. A time zone is the same for all who
// ask, and the names are only known here, where a state is judged.
var loaded zones

// Zone gives the time zone of an IANA name such as "Europe/Berlin". It is false for
// a name that does not exist, for the empty one, and for "Local", which means
// another zone on every machine. It reads each zone once and may be used by many
// goroutines.
func Zone(name string) (*time.Location, bool) {
	c := loaded.clock(name)
	return c.zone, c.zone != nil
}

// clockOf gives the clock of a zone: with a memory when it comes from [Zone].
func clockOf(zone *time.Location) clock {
	loaded.mu.RLock()
	c := loaded.known[zone.String()]
	loaded.mu.RUnlock()
	if c.zone != zone {
		return clock{zone: zone}
	}
	return c
}

func (z *zones) clock(name string) clock {
	if name == "" || name == "Local" || len(name) > maxZoneName {
		return clock{}
	}
	z.mu.RLock()
	c, known := z.known[name]
	z.mu.RUnlock()
	if !known {
		c = z.load(name)
	}
	return c
}

func (z *zones) load(name string) clock {
	name = strings.Clone(name) // it may be a part of a much longer string
	var c clock
	if zone, err := time.LoadLocation(name); err == nil {
		c = clock{zone: zone, memory: new(memory)}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if first, known := z.known[name]; known {
		return first // the same pointer for all
	}
	if z.known == nil {
		z.known = make(map[string]clock)
	}
	if len(z.known) >= maxZones {
		maps.DeleteFunc(z.known, func(_ string, c clock) bool { return c.zone == nil })
	}
	if len(z.known) < maxZones {
		z.known[name] = c
	}
	return c
}
