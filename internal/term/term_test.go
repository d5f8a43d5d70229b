package term

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if IsTerminal(f) || IsTerminal(&bytes.Buffer{}) {
		t.Error("a file or a buffer passes for a terminal")
	}
	if got := Width(f); got != 80 {
		t.Errorf("its width is %d, want 80", got)
	}
	if s := StyleOf(f, func(string) string { return "" }); s.On {
		t.Error("a file gets colours")
	}
}

func TestStylePaintsOnlyWhenItIsOn(t *testing.T) {
	on, off := Style{On: true}, Style{}
	for name, paint := range map[string]func(Style, string) string{
		"\x1b[1mx\x1b[0m": Style.Bold, "\x1b[2mx\x1b[0m": Style.Faint, "\x1b[31mx\x1b[0m": Style.Red,
		"\x1b[32mx\x1b[0m": Style.Green, "\x1b[33mx\x1b[0m": Style.Yellow,
	} {
		if got := paint(on, "x"); got != name {
			t.Errorf("on: %q, want %q", got, name)
		}
		if got := paint(off, "x"); got != "x" {
			t.Errorf("off: %q, want x", got)
		}
	}
}

func TestOutsideATerminalProgressIsALineNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewProgress(&b, "sent", 100)
		for i := range int64(100) {
			p.Set(i)
			time.Sleep(110 * time.Millisecond)
		}
		p.Clear()
		p.Done(100)
		if got, want := b.String(), "sent 46% 46/100 5s\nsent 92% 92/100 10s\n"; got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	})
}

func TestABarIsDrawnOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewProgress(&b, "sent", 10)
		p.drawn()
		p.Set(5)
		p.Set(6) // too soon
		time.Sleep(time.Second)
		p.Set(20) // no more than all
		p.Done(10)
		want := "\rsent [###############...............] 50% 5/10 0s" +
			"\rsent [##############################] 100% 10/10 1s" +
			"\rsent [##############################] 100% 10/10 1s\n"
		if got := b.String(); got != want {
			t.Errorf("drew %q, want %q", got, want)
		}
	})
}

func TestABarIsWiped(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, "n", 0)
	p.drawn()
	p.Set(7)
	drawn := len(b.String()) - 1
	p.Clear()
	p.Clear()
	if got, want := b.String()[drawn+1:], "\r"+strings.Repeat(" ", drawn)+"\r"; got != want {
		t.Errorf("wiped with %q, want %q", got, want)
	}
}
