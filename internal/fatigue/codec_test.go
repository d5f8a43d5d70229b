package fatigue_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
)

func TestAStateIsShort(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, tt := range []struct {
		name     string
		pushes   int
		p        *fatigue.Policy
		from, to int // bytes
	}{
		{"nothing", 0, capped("promo"), 0, 0},
		{"one push", 1, capped("promo"), 30, 36},
		{"ten pushes", 10, capped("promo"), 60, 80},
		{"ten pushes and a parent", 10, &fatigue.Policy{Chain: []fatigue.Level{{Category: "promo"}, {Category: "marketing"}}}, 110, 130},
	} {
		var s fatigue.State
		for i := range tt.pushes {
			s.Count(tt.p, berlin, noon.Add(time.Duration(i)*(5*time.Hour+17*time.Minute+31*time.Second+77*time.Millisecond)))
		}
		if n := len(s.Append(nil)); n < tt.from || n > tt.to {
			t.Errorf("%s: %d bytes, want %d to %d", tt.name, n, tt.from, tt.to)
		}
	}
}

func TestAppendWritesBehindWhatIsThere(t *testing.T) {
	var s fatigue.State
	if got := string(s.Append([]byte("x"))); got != "x" {
		t.Errorf("an empty state wrote %q", got)
	}
	s.Count(capped("news"), nil, time.UnixMilli(5))
	if diff := cmp.Diff("x\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x01\x05", string(s.Append([]byte("x")))); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotUsedIsNotWritten(t *testing.T) {
	var s fatigue.State
	s.Count(capped("news"), zone(t, "Asia/Tokyo"), noon)
	s.Count(capped("news"), zone(t, "Europe/Berlin"), noon.Add(time.Hour))
	s.Count(capped("sport"), zone(t, "Asia/Tokyo"), noon)
	s.Refund(capped("sport"), noon)
	s.Refund(capped("news"), noon)
	var want fatigue.State
	want.Count(capped("news"), zone(t, "Europe/Berlin"), noon.Add(time.Hour))
	if diff := cmp.Diff(string(want.Append(nil)), string(s.Append(nil))); diff != "" {
		t.Error(diff)
	}
	s.Refund(capped("news"), noon.Add(time.Hour))
	if b := s.Append(nil); len(b) != 0 || !s.Empty() {
		t.Errorf("an empty state has %d bytes", len(b))
	}
}

func TestAUserInManyZonesIsReadAgain(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "720h", Max: 1000})
	var s fatigue.State
	for i := range 3 * len(allZones) {
		s.Count(p, zone(t, allZones[i*7%len(allZones)]), noon.Add(time.Duration(i)*time.Minute))
	}
	b := s.Append(nil)
	read, err := fatigue.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, read.Append(nil)) {
		t.Error("it is written differently")
	}
	if use := read.Used(p, nil, noon)[0]; use.Used != 3*len(allZones) {
		t.Errorf("%d entries", use.Used)
	}
}

func TestWhatAppendDidNotWriteIsRefused(t *testing.T) {
	many := "\x01\xd1\x0f\x01\x03UTC\x01\x04news\x01\x00\xd1\x0f" + strings.Repeat("\x00", 2001)
	for _, tt := range []struct{ name, bytes, reason string }{
		{"version", "\x02", "version 2 is not known"},
		{"nothing more", "\x01", "a number is cut off"},
		{"no entries", "\x01\x00\x00\x00", "there is no category"},
		{"too many entries", "\x01\x7f\x00\x00", "127 entries do not fit into 2 bytes"},
		{"absurdly many entries", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", "do not fit into 2 bytes"},
		{"a number beyond all", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00\x00", "too great"},
		{"a long form of a number", "\x01\x81\x00\x01\x03UTC\x01\x04news\x01\x00\x01\x05", "longer than needed"},
		{"too many zones", "\x01\x01\x7f\x03UTC\x01\x04news\x01\x00\x01\x05", "127 zones do not fit"},
		{"too many categories", "\x01\x01\x01\x03UTC\x03\x04news\x01\x00\x01\x05", "3 categories do not fit into 9 bytes"},
		{"a long name of a zone", "\x01\x01\x01\x7fUTC", "127 bytes of a name do not fit"},
		{"a long name of a category", "\x01\x01\x01\x03UTC\x01\x7fnews\x01\x00\x01\x05", "127 bytes of a name do not fit"},
		{"a category without runs", "\x01\x01\x01\x03UTC\x01\x04news\x00\x00\x00\x00", "a category has no entries"},
		{"too many runs", "\x01\x01\x01\x03UTC\x01\x04news\x02\x00\x01\x05", "2 runs do not fit into 3 bytes"},
		{"an empty run", "\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x00\x05", "a run has no entries"},
		{"a long run", "\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x02\x05", "2 entries do not fit into 1 bytes"},
		{"a zone that is not there", "\x01\x01\x01\x03UTC\x01\x04news\x01\x01\x01\x05", "zone 1 is not the next one"},
		{"a zone out of turn", "\x01\x02\x02\x01A\x01B\x01\x04news\x02\x01\x01\x05\x00\x01\x05", "zone 1 is not the next one"},
		{"two runs of a zone", "\x01\x02\x01\x03UTC\x01\x04news\x02\x00\x01\x05\x00\x01\x05", "two runs of one zone"},
		{"a zone twice", "\x01\x02\x02\x01A\x01A\x01\x04news\x02\x00\x01\x05\x01\x01\x05", "a zone stands twice"},
		{"a zone for nothing", "\x01\x01\x02\x01A\x01B\x01\x04news\x01\x00\x01\x05", "1 zones are not used"},
		{"categories out of order", "\x01\x02\x01\x01A\x02\x01y\x01\x00\x01\x05\x01x\x01\x00\x01\x05", "the categories are not in order"},
		{"a category twice", "\x01\x02\x01\x01A\x02\x01x\x01\x00\x01\x05\x01x\x01\x00\x01\x05", "the categories are not in order"},
		{"more than announced", "\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x02\x05\x05", "more entries than announced"},
		{"fewer than announced", "\x01\x03\x01\x03UTC\x01\x04news\x01\x00\x02\x05\x05", "1 of the 3 entries are missing"},
		{"more than are kept", many, "more than 2000 entries"},
		{"a time beyond all", "\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x01\x80\x80\x80\x80\x80\x80\x40", "a time is too late"},
		{"a sum beyond all", "\x01\x02\x01\x03UTC\x01\x04news\x01\x00\x02\xff\xff\xff\xff\xff\xff\x1f\x01", "a time is too late"},
		{"a cut time", "\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x01\x85", "a number is cut off"},
		{"something behind", "\x01\x01\x01\x03UTC\x01\x04news\x01\x00\x01\x05\x00", "1 bytes follow the end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := fatigue.Decode([]byte(tt.bytes))
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want %q", err, tt.reason)
			}
			if !s.Empty() {
				t.Error("a state came with the error")
			}
		})
	}
}

func TestACutStateIsRefusedWhereverItIsCut(t *testing.T) {
	b, _, _ := typical(t, "Europe/Berlin", summer)
	for n := 1; n < len(b); n++ {
		if _, err := fatigue.Decode(b[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(b))
		}
	}
}

// A state that is read in place of another has nothing of it, whatever was done to that one.
func TestAStateIsReadInPlaceOfAnother(t *testing.T) {
	tokyo, berlin := zone(t, "Asia/Tokyo"), zone(t, "Europe/Berlin")
	long, p, _ := typical(t, "Europe/Berlin", summer)
	var one, mixed, s fatigue.State
	one.Count(capped("news"), tokyo, noon)
	for i, z := range []*time.Location{tokyo, berlin, tokyo} {
		mixed.Count(capped("alerts"), z, noon.Add(time.Duration(i)*time.Hour))
	}
	for i, b := range [][]byte{long, one.Append(nil), mixed.Append(nil), nil, long, mixed.Append(nil), long[:len(long)-1], long} {
		err := s.Read(b)
		if cut := i == 6; (err != nil) != cut {
			t.Fatalf("state %d: %v", i, err)
		} else if cut {
			b = nil
		}
		if got := s.Append(nil); !bytes.Equal(got, b) || s.Empty() != (len(b) == 0) {
			t.Errorf("state %d: read %x, written %x", i, b, got)
		}
		s.Count(p, tokyo, summer)
		s.Count(capped("more"), berlin, summer)
		s.Refund(p, summer)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Read(long); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("reading what was there takes %v allocations", n)
	}
}

// A claim of many entries costs no more than the bytes that make it.
func TestGarbageTakesLittleMemory(t *testing.T) {
	const size = 1 << 20
	for _, head := range []string{
		"\x01\xf0\xff\x3f\x00", // as many entries as bytes
		"\x01\x00\xf0\xff\x3f", // zones
		"\x01\x00\x00\xa0\x99\x0c",
		"\x01\x80\x80\x08\x80\x80\x08", // both
	} {
		b := append([]byte(head), make([]byte, size)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := fatigue.Decode(b)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%q was taken", head)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64*size {
			t.Errorf("%q: %d bytes for an input of %d: %v", head, took, len(b), err)
		}
	}
}

// What can be read is written again byte by byte, and can be used.
func FuzzDecode(f *testing.F) {
	var s fatigue.State
	f.Add(s.Append(nil))
	p := &fatigue.Policy{Chain: []fatigue.Level{
		{Category: "news", Caps: []fatigue.Cap{{Per: "day", Max: 2}, {Per: "hour", Max: 1}}},
		{Category: "all", Caps: []fatigue.Cap{{Per: "week", Max: 2}, {Per: "90m", Max: 1}}},
	}}
	tokyo, berlin := zone(f, "Asia/Tokyo"), zone(f, "Europe/Berlin")
	for i, z := range []*time.Location{tokyo, berlin, tokyo, time.UTC} {
		s.Count(p, z, noon.Add(time.Duration(i)*time.Hour))
		f.Add(s.Append(nil))
	}
	f.Add([]byte("\x01\x02\x02\x01A\x01B\x01\x04news\x02\x01\x01\x05\x00\x01\x05"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := fatigue.Decode(b)
		if err != nil {
			return
		}
		if s.Empty() != (len(b) == 0) {
			t.Errorf("%d bytes, empty is %v", len(b), s.Empty())
		}
		if got := s.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("read %x, written %x", b, got)
		}
		var other fatigue.State
		other.Count(p, berlin, noon)
		if err := other.Read(b); err != nil || !bytes.Equal(other.Append(nil), b) {
			t.Errorf("in place of another: %x, %v", other.Append(nil), err)
		}
		now := noon.Add(time.Hour)
		for _, z := range []*time.Location{berlin, tokyo} {
			if v := s.Judge(p, z, false, now); v.Kind == fatigue.Capped && !v.Until.After(now) {
				t.Errorf("capped until %s", v.Until)
			}
		}
		s.Used(p, berlin, now)
		s.Count(p, berlin, now)
		if !s.Refund(p, now) {
			t.Error("what was counted is not there")
		}
		s.Prune(now)
		again, err := fatigue.Decode(s.Append(nil))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(fmt.Sprintf("%x", s.Append(nil)), fmt.Sprintf("%x", again.Append(nil))); diff != "" {
			t.Error(diff)
		}
	})
}
