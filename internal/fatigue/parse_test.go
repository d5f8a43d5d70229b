package fatigue_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
)

// complaint checks that an error is the caller's fault and names the field.
func complaint(t *testing.T, err error, field, message string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("got %v, which is no fault", err)
	}
	if want := (fault.Error{Code: fault.BadRequest, Field: field, Message: message}); *f != want {
		t.Errorf("got %+v\nwant %+v", *f, want)
	}
}

func TestCapsAreRead(t *testing.T) {
	const noWindow = " is not day, week, hour or a duration from 1s to 720h such as 90m"
	for _, tt := range []struct {
		per            string
		max            int
		field, message string // of the error; empty: it is fine
	}{
		{"day", 5, "", ""},
		{"week", 0, "", ""},
		{"hour", 1000, "", ""},
		{"90m", 2, "", ""},
		{"1s", 1, "", ""},
		{"720h", 1, "", ""},
		{"1h30m0.5s", 1, "", ""},
		{"", 1, "per", `per: ""` + noWindow},
		{"month", 1, "per", `per: "month"` + noWindow},
		{"Day", 1, "per", `per: "Day"` + noWindow},
		{"30", 1, "per", `per: "30"` + noWindow},
		{"-90m", 1, "per", `per: "-90m"` + noWindow},
		{"999ms", 1, "per", `per: "999ms"` + noWindow},
		{"720h1ms", 1, "per", `per: "720h1ms"` + noWindow},
		{"1s1us", 1, "per", `per: "1s1us"` + noWindow},
		{strings.Repeat("9", 100) + "h", 1, "per", `per: "` + strings.Repeat("9", 32) + `"...` + noWindow},
		{"day", -1, "max", "max: -1 is not between 0 and 1000"},
		{"day", 1001, "max", "max: 1001 is not between 0 and 1000"},
	} {
		got, err := fatigue.ParseCap(tt.per, tt.max)
		if tt.field != "" {
			complaint(t, err, tt.field, tt.message)
			continue
		}
		if want := (fatigue.Cap{Per: tt.per, Max: tt.max}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", tt.per, got, err)
		}
	}
}

func TestTimesOfDayAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]int{"00:00": 0, "00:01": 1, "08:30": 510, "22:00": 1320, "23:59": 1439} {
		got, err := fatigue.ParseClock(text)
		if err != nil || got != want || fatigue.FormatClock(got) != text {
			t.Errorf("%s: got %d, %v, written %s", text, got, err, fatigue.FormatClock(got))
		}
	}
	for _, text := range []string{"", "8:00", "24:00", "12:60", "12-00", "12:0", "12:000", " 2:00", "+2:00", "1a:00", "/0:00", "12:0:", "٣:00"} {
		_, err := fatigue.ParseClock(text)
		complaint(t, err, "", `"`+text+`" is not a time of day from 00:00 to 23:59`)
	}
}

func TestWithinNamesTheFieldAround(t *testing.T) {
	_, per := fatigue.ParseCap("x", 1)
	complaint(t, fatigue.Within("caps[1]", per), "caps[1].per", `caps[1].per: "x" is not day, week, hour or a duration from 1s to 720h such as 90m`)
	_, clock := fatigue.ParseClock("x")
	complaint(t, fatigue.Within("quiet.from", clock), "quiet.from", `quiet.from: "x" is not a time of day from 00:00 to 23:59`)
	if err := fatigue.Within("caps", nil); err != nil {
		t.Errorf("nil became %v", err)
	}
}

// whole is a policy that uses every field.
func whole() fatigue.Policy {
	return fatigue.Policy{
		Category: "promo",
		Chain: []fatigue.Level{
			{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 5}, {Per: "90m", Max: 0}}},
			{Category: "marketing"},
		},
		Quiet:    &fatigue.Quiet{From: 22 * 60, To: 0},
		OnCap:    fatigue.Drop,
		OnQuiet:  fatigue.Inbox,
		Priority: 9,
		Bypass:   true,
		Counts:   true,
		Mutable:  true,
	}
}

func TestAPolicyIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name           string
		change         func(*fatigue.Policy)
		field, message string
	}{
		{"all is fine", func(*fatigue.Policy) {}, "", ""},
		{"a name is enough", func(p *fatigue.Policy) { *p = fatigue.Policy{Category: "x"} }, "", ""},
		{"no name", func(p *fatigue.Policy) { p.Category = "" }, "category", "category: is missing"},
		{"a long name", func(p *fatigue.Policy) { p.Category = strings.Repeat("x", 65) }, "category", "category: has 65 bytes; at most 64 are allowed"},
		{"a long chain", func(p *fatigue.Policy) { p.Chain = make([]fatigue.Level, 9) }, "chain", "chain: has 9 levels; at most 8 are allowed"},
		{"a level without a name", func(p *fatigue.Policy) { p.Chain[1].Category = "" }, "chain[1].category", "chain[1].category: is missing"},
		{"a circle", func(p *fatigue.Policy) { p.Chain[1].Category = "promo" }, "chain[1].category", `chain[1].category: "promo" stands twice in the chain`},
		{"many caps", func(p *fatigue.Policy) { p.Chain[1].Caps = make([]fatigue.Cap, 9) }, "chain[1].caps", "chain[1].caps: has 9 caps; at most 8 are allowed"},
		{"a wrong window", func(p *fatigue.Policy) { p.Chain[0].Caps[1].Per = "year" }, "chain[0].caps[1].per", `chain[0].caps[1].per: "year" is not day, week, hour or a duration from 1s to 720h such as 90m`},
		{"a wrong maximum", func(p *fatigue.Policy) { p.Chain[0].Caps[0].Max = -5 }, "chain[0].caps[0].max", "chain[0].caps[0].max: -5 is not between 0 and 1000"},
		{"no time of day", func(p *fatigue.Policy) { p.Quiet.From = 1440 }, "quiet.from", "quiet.from: 1440 is not a minute of the day, 0 to 1439"},
		{"nor this", func(p *fatigue.Policy) { p.Quiet.To = -1 }, "quiet.to", "quiet.to: -1 is not a minute of the day, 0 to 1439"},
		{"quiet hours without length", func(p *fatigue.Policy) { p.Quiet.To = p.Quiet.From }, "quiet.to", "quiet.to: is the same as from: 22:00"},
		{"on cap", func(p *fatigue.Policy) { p.OnCap = "ignore" }, "on_cap", `on_cap: "ignore" is not inbox, drop or defer`},
		{"on quiet", func(p *fatigue.Policy) { p.OnQuiet = "drop" }, "on_quiet", `on_quiet: "drop" is not defer, inbox or ignore`},
		{"a priority below", func(p *fatigue.Policy) { p.Priority = -1 }, "priority", "priority: -1 is not between 0 and 9"},
		{"a priority above", func(p *fatigue.Policy) { p.Priority = 10 }, "priority", "priority: 10 is not between 0 and 9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := whole()
			tt.change(&p)
			err := p.Validate()
			if tt.field != "" {
				complaint(t, err, tt.field, tt.message)
			} else if err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Policies are frozen into messages that are stored, so their form stays.
func TestThePolicyKeepsItsJSON(t *testing.T) {
	for want, p := range map[string]fatigue.Policy{
		`{"category":"x"}`: {Category: "x"},
		`{"category":"promo","chain":[{"category":"promo","caps":[{"per":"day","max":5},{"per":"90m","max":0}]},{"category":"marketing"}],` +
			`"quiet":{"from":1320,"to":0},"on_cap":"drop","on_quiet":"inbox","priority":9,"bypass":true,"counts":true,"mutable":true}`: whole(),
	} {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Error(diff)
		}
		var read fatigue.Policy
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, read); diff != "" {
			t.Error(diff)
		}
	}
}
