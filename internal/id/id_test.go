package id_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/id"
)

func TestMessageIDsSortByTimeAndAreUnique(t *testing.T) {
	const n = 1_000_000
	const perMilli = 1000
	start := time.UnixMilli(1_790_000_000_000)
	seen := make(map[string]struct{}, n)
	last, before := "", ""
	for i := range n {
		m := id.Message(start.Add(time.Duration(i/perMilli) * time.Millisecond))
		if len(m) != 26 {
			t.Fatalf("%q has %d characters", m, len(m))
		}
		seen[m] = struct{}{}
		if i%perMilli == 0 {
			before, last = last, m[:10]
			if last <= before {
				t.Fatalf("the time part %q does not follow %q", last, before)
			}
		} else if m[:10] != last {
			t.Fatalf("%q: the time part differs within a millisecond", m)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d ids are distinct", len(seen), n)
	}
}

// The text of time 1469918176385 is the example of the ULID specification.
func TestTheTimePartOfAMessageIDIsThatOfULID(t *testing.T) {
	tests := []struct {
		milli int64
		want  string
	}{
		{1469918176385, "01ARYZ6S41"},
		{0, "0000000000"},
		{1<<48 - 1, "7ZZZZZZZZZ"},
	}
	for _, tt := range tests {
		if got := id.Message(time.UnixMilli(tt.milli))[:10]; got != tt.want {
			t.Errorf("time %d gives %q, want %q", tt.milli, got, tt.want)
		}
	}
}

func TestEveryRandomCharacterOfAMessageIDVaries(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_000)
	var kinds [26]map[byte]bool
	for i := range kinds {
		kinds[i] = map[byte]bool{}
	}
	for n := range 5000 {
		m := id.Message(now.Add(time.Duration(n) * time.Millisecond))
		for i := range m {
			kinds[i][m[i]] = true
		}
	}
	for i := 10; i < 26; i++ {
		if len(kinds[i]) != 32 {
			t.Errorf("character %d takes %d of 32 values", i, len(kinds[i]))
		}
	}
}

func TestAConnectionIDReadsBack(t *testing.T) {
	var seen []id.Connection
	for range 1000 {
		c := id.NewConnection()
		text := c.String()
		if len(text) != 22 {
			t.Fatalf("%q has %d characters", text, len(text))
		}
		if got := string(c.Append([]byte("x:"))); got != "x:"+text {
			t.Fatalf("Append gives %q", got)
		}
		back, ok := id.ParseConnection(text)
		if !ok || back != c {
			t.Fatalf("%q reads back as %v, %v", text, back, ok)
		}
		if slices.Contains(seen, c) {
			t.Fatalf("%q was drawn twice", text)
		}
		seen = append(seen, c)
	}
}

func TestParseConnectionRefuses(t *testing.T) {
	good := strings.Repeat("A", 22)
	if _, ok := id.ParseConnection(good); !ok {
		t.Fatalf("%q is refused", good)
	}
	tests := []struct{ name, text string }{
		{"nothing", ""},
		{"too short", good[:21]},
		{"too long", good + "A"},
		{"padding", good[:20] + "=="},
		{"bits after the end that are not zero", good[:21] + "B"},
		{"the alphabet of plain base64", good[:20] + "+/"},
		{"a line end, which the decoder would pass over", good[:21] + "\n"},
		{"a space", " " + good[:21]},
		{"not ASCII", good[:20] + "é"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c, ok := id.ParseConnection(tt.text); ok {
				t.Errorf("%q is taken for %v", tt.text, c)
			}
		})
	}
}

func FuzzParseConnection(f *testing.F) {
	f.Add(strings.Repeat("A", 22))
	f.Add("AAAAAAAAAAAAAAAAAAAAAB")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if c, ok := id.ParseConnection(text); ok && c.String() != text {
			t.Errorf("%q is taken, but its text is %q", text, c.String())
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		_ = id.Message(now)
	}
}
