package cron_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/cron"
)

func TestMistakesAreNamed(t *testing.T) {
	tests := []struct{ line, want string }{
		{"", "needs 5 or 6 fields, has 0"},
		{"* * * *", "needs 5 or 6 fields, has 4"},
		{"* * * * * * *", "needs 5 or 6 fields, has 7"},
		{"61 * * * *", "minute: 61 is not between 0 and 59"},
		{"99999999999999999999 * * * *", "minute: 99999999999999999999 is not between 0 and 59"},
		{"60 * * * * *", "second: 60 is not between 0 and 59"},
		{"0 24 * * *", "hour: 24 is not between 0 and 23"},
		{"0 0 0 * *", "day: 0 is not between 1 and 31"},
		{"0 0 32 * *", "day: 32 is not between 1 and 31"},
		{"0 0 * 13 *", "month: 13 is not between 1 and 12"},
		{"0 0 * JANUARY *", `month: "JANUARY" is not a month`},
		{"0 0 * * 8", "weekday: 8 is not between 0 and 7"},
		{"0 0 * * MOO", `weekday: "MOO" is not a day`},
		{"0 0 * * L", `weekday: "L" is not a day`},
		{"0 0 L-3 * *", `day: "L" is not a number`},
		{"x * * * *", `minute: "x" is not a number`},
		{"-5 * * * *", "minute: a value is missing"},
		{"5- * * * *", "minute: a value is missing"},
		{"1,,2 * * * *", "minute: a value is missing"},
		{"1, * * * *", "minute: a value is missing"},
		{"1-2-3 * * * *", `minute: "2-3" is not a number`},
		{"? * * * *", `minute: "?" is not a number`},
		{"*/0 * * * *", "minute: the step must be at least 1"},
		{"*/ * * * *", `minute: the step "" is not a number`},
		{"*/x * * * *", `minute: the step "x" is not a number`},
		{"*/-1 * * * *", `minute: the step "-1" is not a number`},
		{"*/60 * * * *", "minute: the step 60 is more than 59"},
		{"* */24 * * *", "hour: the step 24 is more than 23"},
		{"* * * * */7", "weekday: the step 7 is more than 6"},
		{"*/5/5 * * * *", `minute: the step "5/5" is not a number`},
		{"0 0 30 2 *", "never: 30 FEB does not exist"},
		{"0 0 31 2,4,NOV *", "never: 31 FEB or APR or NOV does not exist"},
		{"0 0 30,31 2 ?", "never: 30 FEB does not exist"},
		{"@reboot", `"@reboot" is not one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually`},
		{"@daily 5", "needs 5 or 6 fields, has 2"},
		{strings.Repeat("1,", 124) + "1 * * * *", "has 257 bytes; at most 256 are allowed"},
	}
	for _, tt := range tests {
		if _, err := cron.Parse(tt.line, nil); err == nil || err.Error() != tt.want {
			t.Errorf("%q: got %v, want %s", tt.line, err, tt.want)
		}
	}
}

func TestLinesMeanWhatTheySay(t *testing.T) {
	const newYear = "2025-12-31 23:59:59 +00:00" // a Wednesday; 2026 begins with a Thursday
	tests := []struct {
		line string
		want string // the next runs, without what they share with the start of the year 2026
	}{
		{"* * * * *", "01-01 00:00:00, 01-01 00:01:00"},
		{"* * * * * *", "01-01 00:00:00, 01-01 00:00:01"},
		{"*/20 5 3 * * *", "01-01 03:05:00, 01-01 03:05:20, 01-01 03:05:40, 01-02 03:05:00"},
		{"*/25 * * * *", "01-01 00:00:00, 01-01 00:25:00, 01-01 00:50:00, 01-01 01:00:00"},
		{"10-40/15 4 * * *", "01-01 04:10:00, 01-01 04:25:00, 01-01 04:40:00, 01-02 04:10:00"},
		{"50/5 4 * * *", "01-01 04:50:00, 01-01 04:55:00, 01-02 04:50:00"},
		{"7,5,6 4 * * *", "01-01 04:05:00, 01-01 04:06:00, 01-01 04:07:00, 01-02 04:05:00"},
		{"0 22-1 * * *", "01-01 00:00:00, 01-01 01:00:00, 01-01 22:00:00, 01-01 23:00:00, 01-02 00:00:00"},
		{"0 22-3/2 * * *", "01-01 00:00:00, 01-01 02:00:00, 01-01 22:00:00, 01-02 00:00:00"},
		{"0 0 * nov-FEB ?", "01-01 00:00:00, 01-02 00:00:00"},
		{"0 0 1 NOV-FEB *", "01-01 00:00:00, 02-01 00:00:00, 11-01 00:00:00, 12-01 00:00:00"},
		{"0 0 30-2 6 *", "06-01 00:00:00, 06-02 00:00:00, 06-30 00:00:00"},
		{"0 0 * * FRI-MON", "01-02 00:00:00, 01-03 00:00:00, 01-04 00:00:00, 01-05 00:00:00, 01-09 00:00:00"},
		{"0 0 * * 0", "01-04 00:00:00, 01-11 00:00:00"},
		{"0 0 * * 7", "01-04 00:00:00, 01-11 00:00:00"},
		{"0 0 * * 7-1", "01-04 00:00:00, 01-05 00:00:00, 01-11 00:00:00"},
		{"0 0 * * 7-7", "01-04 00:00:00, 01-11 00:00:00"},
		{"0 0 * * 6-7", "01-03 00:00:00, 01-04 00:00:00, 01-10 00:00:00"},
		{"0 0 * * 5/1", "01-02 00:00:00, 01-03 00:00:00, 01-09 00:00:00"},
		{"0 0 ? * */3", "01-03 00:00:00, 01-04 00:00:00, 01-07 00:00:00"},
		{"0 0 */10 * *", "01-01 00:00:00, 01-11 00:00:00, 01-21 00:00:00, 01-31 00:00:00, 02-01 00:00:00"},
		{"0 0 L * *", "01-31 00:00:00, 02-28 00:00:00, 03-31 00:00:00, 04-30 00:00:00"},
		{"0 0 15,l 2 *", "02-15 00:00:00, 02-28 00:00:00"},
		{"0 0 31 * *", "01-31 00:00:00, 03-31 00:00:00, 05-31 00:00:00, 07-31 00:00:00"},
		{"0 0 13 * FRI", "01-02 00:00:00, 01-09 00:00:00, 01-13 00:00:00, 01-16 00:00:00"},
		{"0 0 */16 * MON", "01-01 00:00:00, 01-05 00:00:00, 01-12 00:00:00, 01-17 00:00:00"},
		{"0 0 */1 * MON", "01-05 00:00:00, 01-12 00:00:00"},
		{"0 0 30 2 MON", "02-02 00:00:00, 02-09 00:00:00"},
		{"@hourly", "01-01 00:00:00, 01-01 01:00:00"},
		{"@Daily", "01-01 00:00:00, 01-02 00:00:00"},
		{"@midnight", "01-01 00:00:00, 01-02 00:00:00"},
		{"@weekly", "01-04 00:00:00, 01-11 00:00:00"},
		{"@monthly", "01-01 00:00:00, 02-01 00:00:00"},
		{" 30\t9  * *  1-5 ", "01-01 09:30:00, 01-02 09:30:00, 01-05 09:30:00"},
	}
	for _, tt := range tests {
		var want []string
		for text := range strings.SplitSeq(tt.want, ", ") {
			want = append(want, "2026-"+text+" +00:00")
		}
		if diff := cmp.Diff(want, runs(parse(t, tt.line, "UTC"), moment(t, newYear), len(want))); diff != "" {
			t.Errorf("%s: %s", tt.line, diff)
		}
	}
	for _, line := range []string{"@yearly", "@annually"} {
		if got := runs(parse(t, line, "UTC"), moment(t, newYear), 2); got[1] != "2027-01-01 00:00:00 +00:00" {
			t.Errorf("%s: got %v", line, got)
		}
	}
}

func TestANilZoneIsUTC(t *testing.T) {
	l, err := cron.Parse("0 12 * * *", nil)
	if err != nil {
		t.Fatal(err)
	}
	berlin := time.Date(2026, 7, 1, 13, 59, 0, 0, zone(t, "Europe/Berlin"))
	if got := l.Next(berlin); !got.Equal(berlin.Add(time.Minute)) || got.Location() != time.UTC {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{"* * * * *", "0 */5 10-40/5 L JAN,MON FRI-MON", "@daily", "0 0 30 2 *", "0 0 29 2 ?", "7-7 0 1,,2", "60-5/3 * * * 7/2"} {
		f.Add(line, int64(1_767_225_599))
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, line string, unix int64) {
		l, err := cron.Parse(line, berlin)
		if err != nil {
			if l != nil {
				t.Errorf("%q: both a line and %v", line, err)
			}
			return
		}
		after := time.Unix(unix%(1<<33), 0)
		next := l.Next(after)
		if !next.After(after) || next.Sub(after) > 9*366*24*time.Hour {
			t.Errorf("%q after %s is %s", line, after.UTC(), next)
		}
		if again := l.Next(next.Add(-time.Nanosecond)); !again.Equal(next) {
			t.Errorf("%q: just before %s the next is %s", line, next, again)
		}
	})
}
