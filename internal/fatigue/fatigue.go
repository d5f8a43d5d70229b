// Package fatigue decides whether a push may interrupt a user now: caps, quiet
// hours and mutes. When it may not, it tells which rule says so and from when on
// that rule lets it through.
//
// # Rules, in their order
//
//   - A category that bypasses is always delivered.
//   - A category that users may mute, and this user has muted, is not.
//   - In quiet hours it is not, unless the category ignores them. Quiet hours hold
//     whenever the user's clock shows a time within them.
//   - A cap holds as long as its window has Max entries. The caps of all levels of
//     the chain hold together; of those that refuse, the one that refuses longest
//     gives its name.
//
// # Windows
//
// A day goes from local midnight to the next, a week from Monday's to the next, an
// hour from one full hour on the user's clock to the next. Where daylight saving
// takes the moment away, the window begins when the clock shows a later time for
// the first time; where it repeats the moment, a day or a week begins the first
// time and an hour both times. So days have 23 or 25 hours when the clock is
// changed. Any other window is rolling: an entry counts until that long after it.
//
// An entry remembers the time zone that it was counted in. It counts in a calendar
// window until that window has ended in the zone of then and in the zone of now,
// so that who changes the zone does not open a second day. An entry in the future,
// seen by a clock that was put back, counts: no jump of a clock opens a second
// window.
//
// Times are kept and compared in whole milliseconds.
//
// The package stores nothing: [State] is a value that a store keeps as bytes. It
// asks no clock and starts no goroutine. It reads time zone files, once each, and
// remembers them for the whole process; see [Zone].
package fatigue

import (
	"strconv"
	"time"
)

// What OnCap and OnQuiet may say.
const (
	Inbox  = "inbox"  // not live, but it can be read in the inbox
	Drop   = "drop"   // neither
	Defer  = "defer"  // later
	Ignore = "ignore" // as if there were no quiet hours
)

// Limits of a policy.
const (
	MaxLevels   = 8    // of a chain
	MaxCaps     = 8    // of a level
	MaxMax      = 1000 // what a cap may allow
	MaxPriority = 9
	MaxName     = 64 // bytes of the name of a category
)

// Policy is a category as it is frozen into a message when the message is
// admitted, so that later changes to the category do not reach it. The zero value
// lets everything through and counts nothing: a push without a category has it.
//
// A policy that [Policy.Validate] refuses does no harm: what it cannot mean holds
// nothing back.
type Policy struct {
	Category string  `json:"category"`           // its name; never empty
	Chain    []Level `json:"chain,omitempty"`    // the caps of the category first, then of its parent, and so on; empty: no caps, nothing is counted
	Quiet    *Quiet  `json:"quiet,omitempty"`    // nil: no quiet hours
	OnCap    string  `json:"on_cap,omitempty"`   // inbox, drop or defer; empty: inbox
	OnQuiet  string  `json:"on_quiet,omitempty"` // defer, inbox or ignore; empty: defer
	Priority int     `json:"priority,omitempty"` // 0 to 9, higher first; 0: last
	Bypass   bool    `json:"bypass,omitempty"`   // caps, quiet hours and mutes do not hold; false: they do
	Counts   bool    `json:"counts,omitempty"`   // with Bypass: it counts all the same; false: it does not. Without Bypass it always counts
	Mutable  bool    `json:"mutable,omitempty"`  // users may mute it; false: they may not
}

// Level is a category of a chain, with its own caps.
type Level struct {
	Category string `json:"category"`       // its name; never empty, and once in a chain
	Caps     []Cap  `json:"caps,omitempty"` // all hold together; empty: this level refuses nothing, but it counts
}

// Cap allows Max live deliveries per window. Its zero value is not valid; see [ParseCap].
type Cap struct {
	Per string `json:"per"` // "day", "week", "hour", or a rolling duration ("90m"), 1s to 720h
	Max int    `json:"max"` // 0 to 1000; 0: never live
}

// Quiet is a stretch of the day, in minutes after midnight on the user's clock:
// from From on, before To. It goes over midnight when From is greater than To. Its
// zero value is not valid: From and To differ.
type Quiet struct {
	From int `json:"from"` // 0 to 1439
	To   int `json:"to"`   // 0 to 1439
}

// String writes the stretch as "22:00-08:00".
func (q Quiet) String() string { return FormatClock(q.From) + "-" + FormatClock(q.To) }

// counted tells whether deliveries under the policy count at all.
func (p *Policy) counted() bool { return !p.Bypass || p.Counts }

// Kind is what would happen to a push.
type Kind uint8

// The kinds. The zero value is Deliver.
const (
	Deliver    Kind = iota
	Capped          // a cap is full
	QuietHours      // it is quiet
	Muted           // the user does not want this category
)

var kinds = [...]string{"deliver", "capped", "quiet", "muted"}

// String gives "deliver", "capped", "quiet" or "muted".
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Verdict is the answer about one push to one user. The zero value lets it through.
type Verdict struct {
	Kind  Kind
	Rule  string    // the rule that refuses: "promo: 5 per day", "quiet hours 22:00-08:00", "muted by the user"; empty for Deliver
	Until time.Time // in UTC: when that rule lets it through at the earliest; zero for Deliver, Muted and a cap of 0, which never does
}

// Use is how far a cap is used up.
type Use struct {
	Category string    `json:"category"` // of the level
	Per      string    `json:"per"`
	Used     int       `json:"used"`           // can be more than Max: what bypasses and counts does not ask
	Max      int       `json:"max"`            // as in [Cap]
	Until    time.Time `json:"until,omitzero"` // in UTC. Full: when there is room. Otherwise: when the first entry stops counting. Zero: nothing is used, or Max is 0
}
