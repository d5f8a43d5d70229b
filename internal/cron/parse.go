package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxLine is how many bytes a line may have.
const MaxLine = 256

// field is what one of the fields may hold.
type field struct {
	name      string
	low, high int
	names     []string // of the values from low on
	what      string   // what those values are, for errors
}

var fields = [6]field{
	{name: "second", high: 59},
	{name: "minute", high: 59},
	{name: "hour", high: 23},
	{name: "day", low: 1, high: 31},
	{name: "month", low: 1, high: 12, what: "a month", names: months},
	{name: "weekday", high: 7, what: "a day", names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
}

var months = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}

// The places of the fields that are treated on their own.
const (
	placeDay     = 3
	placeMonth   = 4
	placeWeekday = 5
)

var macros = []struct{ name, line string }{
	{"@hourly", "0 * * * *"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * SUN"},
	{"@monthly", "0 0 1 * *"},
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
}

// Parse reads a cron line. A nil zone is UTC. Errors name the field that is wrong:
// "minute: 61 is not between 0 and 59".
func Parse(line string, zone *time.Location) (*Line, error) {
	if len(line) > MaxLine {
		return nil, fmt.Errorf("has %d bytes; at most %d are allowed", len(line), MaxLine)
	}
	if zone == nil {
		zone = time.UTC
	}
	words := strings.Fields(line)
	if len(words) == 1 && strings.HasPrefix(words[0], "@") {
		expanded, err := expand(words[0])
		if err != nil {
			return nil, err
		}
		words = strings.Fields(expanded)
	}
	switch len(words) {
	case 5:
		words = slices.Insert(words, 0, "0")
	case 6:
	default:
		return nil, fmt.Errorf("needs 5 or 6 fields, has %d", len(words))
	}
	l := &Line{zone: zone}
	sets := [6]*uint64{&l.second, &l.minute, &l.hour, &l.day, &l.month, &l.weekday}
	for i, word := range words {
		for part := range strings.SplitSeq(word, ",") {
			if i == placeDay && strings.EqualFold(part, "L") {
				l.last = true
				continue
			}
			set, err := fields[i].part(part)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", fields[i].name, err)
			}
			*sets[i] |= set
		}
	}
	l.weekday = l.weekday&^(1<<7) | l.weekday>>7&1
	l.anyDay, l.anyWeekday = isAny(words[placeDay]), isAny(words[placeWeekday])
	if err := l.possible(); err != nil {
		return nil, err
	}
	return l, nil
}

func expand(word string) (string, error) {
	var known []string
	for _, m := range macros {
		if strings.EqualFold(word, m.name) {
			return m.line, nil
		}
		known = append(known, m.name)
	}
	return "", fmt.Errorf("%q is not one of %s", word, strings.Join(known, ", "))
}

// isAny tells that a day field restricts nothing.
func isAny(word string) bool {
	for part := range strings.SplitSeq(word, ",") {
		if part == "*" || part == "?" || part == "*/1" || part == "?/1" {
			return true
		}
	}
	return false
}

// part reads one part of a list: a value, a range, either with a step.
func (f *field) part(text string) (set uint64, err error) {
	if text == "" {
		return 0, errors.New("a value is missing")
	}
	values, stepText, stepped := strings.Cut(text, "/")
	low, high := f.low, 0
	if values == "*" || values == "?" && (f.name == "day" || f.name == "weekday") {
		high = f.last()
	} else if low, high, err = f.span(values, stepped); err != nil {
		return 0, err
	}
	step := 1
	if stepped {
		if step, err = f.step(stepText); err != nil {
			return 0, err
		}
	}
	if low <= high {
		for v := low; v <= high; v += step {
			set |= 1 << v
		}
		return set, nil
	}
	// The range goes on at the beginning.
	size := f.last() - f.low + 1
	for v := low; v <= high+size; v += step {
		set |= 1 << (f.low + (v-f.low)%size)
	}
	return set, nil
}

// span reads a value or a range. A value with a step goes up to the last one.
func (f *field) span(text string, stepped bool) (low, high int, err error) {
	first, second, isRange := strings.Cut(text, "-")
	if low, err = f.value(first); err != nil {
		return 0, 0, err
	}
	switch {
	case isRange:
		if high, err = f.value(second); err != nil {
			return 0, 0, err
		}
		if f.name == "weekday" && low == 7 { // 7-2 begins with a Sunday
			low, high = 0, high%7
		}
		return low, high, nil
	case stepped:
		return low % (f.last() + 1), f.last(), nil
	}
	return low, low, nil
}

// last is the greatest value that is not another name of one before.
func (f *field) last() int {
	if f.name == "weekday" {
		return 6
	}
	return f.high
}

func (f *field) step(text string) (int, error) {
	n, ok := number(text)
	switch size := f.last() - f.low; {
	case !ok:
		return 0, fmt.Errorf("the step %q is not a number", text)
	case n < 1:
		return 0, errors.New("the step must be at least 1")
	case n > size:
		return 0, fmt.Errorf("the step %s is more than %d", text, size)
	}
	return n, nil
}

// value reads a number or a name.
func (f *field) value(text string) (int, error) {
	if text == "" {
		return 0, errors.New("a value is missing")
	}
	if i := slices.Index(f.names, strings.ToUpper(text)); i >= 0 {
		return f.low + i, nil
	}
	n, ok := number(text)
	switch {
	case !ok && f.what != "":
		return 0, fmt.Errorf("%q is not %s", text, f.what)
	case !ok:
		return 0, fmt.Errorf("%q is not a number", text)
	case n < f.low || n > f.high:
		return 0, fmt.Errorf("%s is not between %d and %d", text, f.low, f.high)
	}
	return n, nil
}

// number reads digits; a number too great to matter is a great one.
func number(text string) (int, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		n = 1 << 30
	}
	return n, true
}

// possible tells whether any date fits.
func (l *Line) possible() error {
	if l.last || l.anyDay || !l.anyWeekday {
		return nil
	}
	first := bits.TrailingZeros64(l.day)
	var none []string
	for m := 1; m <= 12; m++ {
		if l.month>>m&1 == 0 {
			continue
		}
		if longest := time.Date(2000, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day(); first <= longest { // a leap year
			return nil
		}
		none = append(none, months[m-1])
	}
	return fmt.Errorf("never: %d %s does not exist", first, strings.Join(none, " or "))
}
