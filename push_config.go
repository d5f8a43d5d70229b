package skein

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
)

// This file checks and translates what the configuration says of pushes.

func (p Push) withDefaults() Push {
	p.Zone = or(p.Zone, "UTC")
	p.Keep.Count = or(p.Keep.Count, 1000)
	p.Keep.Age = or(p.Keep.Age, Duration(30*24*time.Hour))
	p.Records = or(p.Records, Duration(90*24*time.Hour))
	p.AckTimeout = or(p.AckTimeout, Duration(30*time.Second))
	p.AckRetries = or(p.AckRetries, 3)
	p.Window = or(p.Window, 100)
	return p
}

// WithDefaults fills in what is left out.
func (c Category) WithDefaults() Category {
	c.OnCap = or(c.OnCap, fatigue.Inbox)
	c.OnQuiet = or(c.OnQuiet, fatigue.Defer)
	if c.Priority == nil {
		c.Priority = new(5)
	}
	if c.Mutable == nil {
		c.Mutable = new(!c.Bypass)
	}
	return c
}

// capText is a cap as the configuration has it.
var capText = regexp.MustCompile(`^(\d{1,9}) per (\S+)$`)

// parseCap reads a cap, such as "5 per day".
func parseCap(text string) (fatigue.Cap, error) {
	parts := capText.FindStringSubmatch(text)
	if parts == nil {
		return fatigue.Cap{}, fmt.Errorf("%q is not a cap; write a number, per, and day, week, hour or a duration: 5 per day, 2 per 90m", text)
	}
	most, _ := strconv.Atoi(parts[1]) // it has digits alone, and few
	limit, err := fatigue.ParseCap(parts[2], most)
	if err != nil {
		return fatigue.Cap{}, fmt.Errorf("%q: %s", text, said(err))
	}
	return limit, nil
}

// parseQuiet reads quiet hours, such as "22:00-08:00".
func parseQuiet(text string) (*fatigue.Quiet, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) != len("22:00-08:00") || text[5] != '-' {
		return nil, fmt.Errorf("%q is not a stretch of the day; write it as 22:00-08:00", text)
	}
	from, err := fatigue.ParseClock(text[:5])
	if err != nil {
		return nil, errors.New(said(err))
	}
	to, err := fatigue.ParseClock(text[6:])
	if err != nil {
		return nil, errors.New(said(err))
	}
	q := &fatigue.Quiet{From: from, To: to}
	if err := q.Validate(); err != nil {
		return nil, fmt.Errorf("%q: begins when it ends", text)
	}
	return q, nil
}

// said is what an error says.
func said(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}

// maxTTL bounds how long a message may be good.
const maxTTL = 366 * 24 * time.Hour

func (v *validation) push(c Config) {
	p := c.Push
	if _, ok := fatigue.Zone(p.Zone); !ok {
		v.wrong("push.zone", "%q is not a time zone; write one such as Europe/Berlin", p.Zone)
	}
	v.between("push.keep.count", int64(p.Keep.Count), 1, 10_000)
	v.duration("push.keep.age", p.Keep.Age, time.Minute, 10*maxTTL)
	v.duration("push.records", p.Records, time.Minute, 10*maxTTL)
	if p.Records < p.Keep.Age {
		v.wrong("push.records", "%s is less than push.keep.age, %s; what is in an inbox has its record", p.Records, p.Keep.Age)
	}
	v.duration("push.ack_timeout", p.AckTimeout, 100*time.Millisecond, time.Hour)
	v.between("push.ack_retries", int64(p.AckRetries), -1, 1000)
	v.between("push.window", int64(p.Window), 1, 10_000)
	for i, field := range c.Users.Index {
		if field != "#tags" && !pointer.MatchString(field) {
			v.wrong(fmt.Sprintf("users.index[%d]", i), "%q is not a JSON Pointer such as /city; the tags are #tags", field)
		}
	}
	for name, category := range c.Categories {
		v.category("categories."+name, name, category, c.Categories)
	}
}

// pointer is a JSON Pointer (RFC 6901) that is not empty.
var pointer = regexp.MustCompile(`^(/([^~]|~[01])*)+$`)

func (v *validation) category(at, name string, c Category, all map[string]Category) {
	if !namespaceName.MatchString(name) {
		v.wrong(at, "%q is not a name; use lower-case letters, digits, '_', '.', '-', at most 64", name)
	}
	if len(c.Caps) > fatigue.MaxCaps {
		v.wrong(at+".caps", "has %d caps; at most %d are allowed", len(c.Caps), fatigue.MaxCaps)
	}
	for i, text := range c.Caps {
		if _, err := parseCap(text); err != nil {
			v.wrong(fmt.Sprintf("%s.caps[%d]", at, i), "%v", err)
		}
	}
	if _, err := parseQuiet(c.Quiet); err != nil {
		v.wrong(at+".quiet", "%v", err)
	}
	v.oneOf(at+".on_cap", c.OnCap, fatigue.Inbox, fatigue.Drop, fatigue.Defer)
	v.oneOf(at+".on_quiet", c.OnQuiet, fatigue.Defer, fatigue.Inbox, fatigue.Ignore)
	v.between(at+".priority", int64(*c.Priority), 0, fatigue.MaxPriority)
	if c.TTL != 0 {
		v.duration(at+".ttl", c.TTL, time.Second, maxTTL)
	}
	if c.Escalate != 0 {
		v.duration(at+".escalate", c.Escalate, time.Second, maxTTL)
	}
	if c.Counts && !c.Bypass {
		v.wrong(at+".counts", "belongs to bypass; without it everything counts")
	}
	if c.Bypass && c.Quiet != "" {
		v.wrong(at+".quiet", "does not hold with bypass")
	}
	above := map[string]bool{name: true}
	for up := c.Parent; up != ""; up = all[up].Parent {
		switch _, known := all[up]; {
		case !known:
			if up == c.Parent { // of the others it is told where they stand
				v.wrong(at+".parent", "%q is not configured under categories", up)
			}
			return
		case above[up]:
			v.wrong(at+".parent", "%q has this one above it", c.Parent)
			return
		}
		above[up] = true
	}
	if len(above) > fatigue.MaxLevels {
		v.wrong(at+".parent", "has %d categories above it; at most %d are allowed", len(above)-1, fatigue.MaxLevels-1)
	}
}
