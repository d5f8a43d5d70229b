package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/term"
)

// How often a campaign is asked for, and how often something is printed where there is no
// terminal.
const (
	watchEvery = 500 * time.Millisecond
	printEvery = 5 * time.Second
)

func campaignWatch(sh Shell) *cobra.Command {
	var (
		s      server
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "watch ID",
		Short:   "Watch a campaign until it is done",
		Example: "  skein campaign watch 01JD5ZQ3W7V9N8K4M2R6T0XABC\n  skein campaign watch \"$ID\" --json | jq -c .counts",
		Long: `Shows how far a campaign has come, with a bar on a terminal, until it is done, and
then prints it. One that rests because something is wrong, or was cancelled, ends
with exit code 1; Ctrl-C ends the watching and nothing else. With --json each change
is a line.`,
		Args: arguments("ID"),
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			w := &watching{sh: sh, live: liveLine{w: sh.Stderr, bar: term.IsTerminal(sh.Stderr)}, asJSON: asJSON}
			err := w.run(ctx, &s, args[0])
			if ctx.Err() != nil {
				return nil
			}
			return err
		}),
	}
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

// watching is one run of `skein campaign watch`.
type watching struct {
	sh     Shell
	live   liveLine
	asJSON bool
	before []byte // what was printed last
}

func (w *watching) run(ctx context.Context, s *server, id string) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	defer w.live.clear()
	for {
		var c shownCampaign
		raw, err := s.call(ctx, "campaigns.get", map[string]string{"id": id}, &c)
		if err != nil {
			return err
		}
		if w.asJSON && !bytes.Equal(raw, w.before) {
			if err := w.sh.print(raw); err != nil {
				return err
			}
			w.before = bytes.Clone(raw)
		}
		over := c.State == "done" || c.State == "cancelled" || c.State == "paused" && c.Error != ""
		if !w.asJSON && !over {
			w.live.show(&c)
		}
		if over {
			return w.end(&c, raw)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end prints what a campaign has come to.
func (w *watching) end(c *shownCampaign, raw []byte) error {
	w.live.clear()
	if !w.asJSON {
		if err := w.sh.describe(raw); err != nil {
			return err
		}
	}
	switch c.State {
	case "cancelled":
		return errors.New("the campaign was cancelled")
	case "paused":
		return fmt.Errorf("the campaign rests: %s", c.Error)
	}
	return nil
}

// liveLine is a line that is drawn over on a terminal, and printed now and then elsewhere.
type liveLine struct {
	w     io.Writer
	bar   bool
	width int // of what is drawn now
	shown time.Time
}

func (l *liveLine) show(c *shownCampaign) {
	text := l.text(c)
	if !l.bar {
		if now := time.Now(); now.Sub(l.shown) >= printEvery {
			l.shown = now
			_, _ = io.WriteString(l.w, text+"\n")
		}
		return
	}
	if columns := term.Width(l.w) - 1; len(text) > columns {
		text = text[:columns]
	}
	_, _ = fmt.Fprintf(l.w, "\r%s%s", text, strings.Repeat(" ", max(0, l.width-len(text))))
	l.width = len(text)
}

func (l *liveLine) clear() {
	if l.bar && l.width > 0 {
		_, _ = io.WriteString(l.w, "\r"+strings.Repeat(" ", l.width)+"\r")
		l.width = 0
	}
}

const watchBar = 24

// text is "running [####....] 50% 500/1000  queued 400, delivered 100", without what is not
// known.
func (l *liveLine) text(c *shownCampaign) string {
	text := c.State
	if c.Audience != nil && *c.Audience > 0 {
		done := min(c.Progress, *c.Audience)
		if l.bar {
			full := int(done * watchBar / *c.Audience)
			text += " [" + strings.Repeat("#", full) + strings.Repeat(".", watchBar-full) + "]"
		}
		text += fmt.Sprintf(" %d%% %d/%d", done*100 / *c.Audience, done, *c.Audience)
	}
	if counts := c.countsText(); counts != "" {
		text += "  " + counts
	}
	if c.Error != "" {
		text += "  " + printable(c.Error)
	}
	return text
}
