package term

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// How often progress is shown: fast enough for an eye, or slow enough for a log.
const (
	drawEvery  = 100 * time.Millisecond
	printEvery = 5 * time.Second
	barWidth   = 30
)

// Progress shows how far a long command has come: a bar that is drawn over on a
// terminal, and a line every few seconds elsewhere. It draws when it is told
// something and has no life of its own. One goroutine may use it at a time.
type Progress struct {
	w     io.Writer
	label string
	total int64
	bar   bool
	every time.Duration
	begun time.Time
	shown time.Time
	width int // of what is drawn now
}

// NewProgress begins to show progress on w. A total of 0 means that nobody
// knows: then only the count is shown.
func NewProgress(w io.Writer, label string, total int64) *Progress {
	now := time.Now()
	p := &Progress{w: w, label: label, total: total, every: printEvery, begun: now, shown: now}
	if IsTerminal(w) {
		p.drawn()
	}
	return p
}

// drawn makes it a bar.
func (p *Progress) drawn() {
	p.bar, p.every = true, drawEvery
	p.shown = time.Time{}
}

// Set says that done of the total is done. It is cheap enough to be called for
// every step.
func (p *Progress) Set(done int64) {
	if now := time.Now(); now.Sub(p.shown) >= p.every {
		p.shown = now
		p.show(done)
	}
}

// Done shows the last state and ends the line of a bar. It prints nothing where
// there is no bar and no line was due.
func (p *Progress) Done(done int64) {
	if p.bar {
		p.show(done)
		_, _ = io.WriteString(p.w, "\n")
	}
}

// Clear takes a bar off the screen, before something else is printed.
func (p *Progress) Clear() {
	if p.bar && p.width > 0 {
		_, _ = io.WriteString(p.w, "\r"+strings.Repeat(" ", p.width)+"\r")
		p.width = 0
	}
}

func (p *Progress) show(done int64) {
	text := p.line(done)
	if !p.bar {
		_, _ = io.WriteString(p.w, text+"\n")
		return
	}
	if columns := Width(p.w) - 1; len(text) > columns {
		text = text[:columns]
	}
	// Blanks wipe what a longer line left behind.
	_, _ = fmt.Fprintf(p.w, "\r%s%s", text, strings.Repeat(" ", max(0, p.width-len(text))))
	p.width = len(text)
}

// line is "label [#####.....] 50% 500/1000 12s", without the part that is unknown.
func (p *Progress) line(done int64) string {
	took := time.Since(p.begun).Round(time.Second)
	if p.total <= 0 {
		return fmt.Sprintf("%s %d %s", p.label, done, took)
	}
	done = min(max(done, 0), p.total)
	percent := done * 100 / p.total
	bar := ""
	if p.bar {
		full := int(done * barWidth / p.total)
		bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] "
	}
	return fmt.Sprintf("%s %s%d%% %d/%d %s", p.label, bar, percent, done, p.total, took)
}
