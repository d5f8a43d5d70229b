package ratelimit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is how fast one may go. The zero value is no limit.
//
// As text it is a number per second, minute or hour, and how many may come at
// once: "20/s", "600/m", "20/s burst 40". Without a burst that is the number
// itself: "600/m" may come all at once and then at ten a second. No limit is
// "none".
type Rate struct {
	PerSecond float64 // zero: no limit
	Burst     int     // how many may come at once; zero: those of one second, at least 1
}

// Bounds of a rate. With them a bucket cannot overflow.
const (
	minPerSecond = 1.0 / 3600
	maxPerSecond = 1e6
	maxBurst     = 1_000_000
)

// none is the text of no limit.
const none = "none"

var units = map[string]float64{"s": 1, "m": 60, "h": 3600}

// ParseRate reads the text of a rate; an empty one is no limit, too.
func ParseRate(text string) (Rate, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == none {
		return Rate{}, nil
	}
	words := strings.Fields(text)
	number, unit, found := strings.Cut(words[0], "/")
	if !found || len(words) != 1 && len(words) != 3 || len(words) == 3 && words[1] != "burst" {
		return Rate{}, fmt.Errorf(`%.60q is not a rate such as "20/s", "600/m" or "20/s burst 40"`, text)
	}
	count, err := strconv.ParseFloat(number, 64)
	if err != nil || !(count > 0) || math.IsInf(count, 0) {
		return Rate{}, fmt.Errorf(`%.60q: %.20q is not a number above zero; for no limit write "none"`, text, number)
	}
	seconds := units[unit]
	if seconds == 0 {
		return Rate{}, fmt.Errorf("%.60q: %.20q is not one of s, m, h (second, minute, hour)", text, unit)
	}
	r := Rate{PerSecond: count / seconds, Burst: int(math.Ceil(min(count, 2*maxBurst)))}
	if len(words) == 3 {
		if r.Burst, err = strconv.Atoi(words[2]); err != nil || r.Burst < 1 {
			return Rate{}, fmt.Errorf("%.60q: the burst %.20q is not a whole number above zero", text, words[2])
		}
	}
	if err := r.Validate(); err != nil {
		return Rate{}, fmt.Errorf("%.60q: %w", text, err)
	}
	return r, nil
}

// Validate tells what is wrong with a rate.
func (r Rate) Validate() error {
	switch {
	case r == Rate{}:
		return nil
	case !(r.PerSecond >= minPerSecond && r.PerSecond <= maxPerSecond):
		return fmt.Errorf("%v a second is not between one an hour and %d a second", r.PerSecond, int(maxPerSecond))
	case r.Burst < 0 || r.Burst > maxBurst:
		return fmt.Errorf(`a burst of %d is not between 1 and %d (name one, such as "20/s burst 40")`, r.Burst, maxBurst)
	}
	return nil
}

// IsZero tells that there is no limit.
func (r Rate) IsZero() bool { return r.PerSecond == 0 }

// String gives the text.
func (r Rate) String() string {
	if r.IsZero() {
		return none
	}
	count, unit := r.PerSecond, "s"
	for _, u := range []string{"s", "m", "h"} {
		if n := r.PerSecond * units[u]; math.Abs(n-math.Round(n)) < 1e-9*n && math.Round(n) >= 1 {
			count, unit = math.Round(n), u
			break
		}
	}
	text := strconv.FormatFloat(count, 'f', -1, 64) + "/" + unit
	if b := r.burst(); b != int(math.Ceil(count)) {
		text += " burst " + strconv.Itoa(b)
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	got, err := ParseRate(string(text))
	if err == nil {
		*r = got
	}
	return err
}

func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(1, int(math.Ceil(r.PerSecond)))
}

// cost is after how many nanoseconds a token comes back.
func (r Rate) cost() int64 { return max(1, int64(float64(time.Second)/r.PerSecond)) }
