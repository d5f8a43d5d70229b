package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/term"
)

// traceSilence is after how long without a line, three times what a quiet trace
// takes, the server is taken for gone.
const traceSilence = 45 * time.Second

// maxTraceLine bounds one line of a trace, in bytes.
const maxTraceLine = 64 << 20

// traceRun is one run of `skein trace`.
type traceRun struct {
	Shell
	server server
	target url.Values
	asJSON bool
	style  term.Style
}

// traceLine is a line of a trace; see docs/trace.md.
type traceLine struct {
	Time       int64           `json:"time"`
	Event      string          `json:"event"`
	Direction  string          `json:"direction"`
	Connection string          `json:"connection"`
	User       string          `json:"user"`
	Device     string          `json:"device"`
	Transport  string          `json:"transport"`
	Frame      json.RawMessage `json:"frame"`
	Text       *string         `json:"text"`
	Reason     string          `json:"reason"`
	Code       int             `json:"code"`
	Message    string          `json:"message"`
	Dropped    int             `json:"dropped"`

	Connections []string `json:"connections"`
}

func trace(sh Shell) *cobra.Command {
	t := &traceRun{Shell: sh, target: url.Values{}}
	var user, connection, channel string
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Watch the frames of a user, a connection or a channel",
		Example: `  skein trace --user 42                     all that user 42 sends and gets
  skein trace --channel room:7 --json | jq .frame.data
  skein trace --connection "$ID" --key "$KEY"`,
		Long: `Prints each frame on a line of its own, as it passes, until Ctrl-C: when, which
way (→ to the client, ← from it), the first characters of the connection's id, and
the frame. The key needs the scope trace. Tokens are never shown.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, value := range map[string]string{"user": user, "connection": connection, "channel": channel} {
				if cmd.Flags().Changed(name) {
					t.target.Set(name, value)
				}
			}
			if len(t.target) != 1 {
				return usagef("give one of --user, --connection and --channel")
			}
			if err := t.server.complete(cmd, sh); err != nil {
				return err
			}
			t.style = term.StyleOf(sh.Stdout, sh.getenv)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return t.run(ctx)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "`ID` of the user whose connections are watched, also those to come")
	cmd.Flags().StringVar(&connection, "connection", "", "`ID` of the connection")
	cmd.Flags().StringVar(&channel, "channel", "", "`NAME` of the channel")
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "print the lines as the server sends them, JSON")
	t.server.addURL(cmd)
	t.server.addKey(cmd)
	return cmd
}

// run prints the lines of a trace until ctx ends, or there can be no more.
func (t *traceRun) run(ctx context.Context) error {
	request, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(traceSilence, cancel)
	defer silence.Stop()
	req, err := http.NewRequestWithContext(request, http.MethodGet, t.server.base+"/api/v1/trace?"+t.target.Encode(), nil)
	if err != nil {
		return err
	}
	if t.server.key != "" {
		req.Header.Set("Authorization", "Bearer "+t.server.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return t.server.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return t.server.unreachable(err)
		}
		return t.server.problem(resp, body)
	}
	over := false
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxTraceLine)
	for lines.Scan() {
		silence.Reset(traceSilence)
		var l traceLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%s sent a line that is no trace: %w", t.server.base, err)
		}
		over = over || l.Event == "closed" && t.target.Has("connection")
		if err := t.show(&l, lines.Bytes()); err != nil {
			return err
		}
	}
	err = lines.Err()
	switch {
	case ctx.Err() != nil || over && err == nil:
		return nil
	case request.Err() != nil:
		return fmt.Errorf("nothing came from %s for %s", t.server.base, traceSilence)
	case err == nil:
		err = errors.New("the server has ended it")
	}
	return fmt.Errorf("the trace is over: %w", err)
}

// show prints a line.
func (t *traceRun) show(l *traceLine, raw []byte) error {
	if l.Event == "tracing" {
		for name := range t.target { // the only one
			there := ""
			if name == "user" {
				there = ", who has " + plural(len(l.Connections), "connection")
			}
			t.talk("watching %s %s%s", name, t.target.Get(name), there)
		}
	}
	switch {
	case t.asJSON:
		return t.print(raw)
	case l.Event == "tracing" || l.Event == "heartbeat":
		return nil
	}
	at := t.style.Faint(time.UnixMilli(l.Time).Format("15:04:05.000"))
	if l.Dropped > 0 {
		return t.print([]byte(at + " ! " + t.style.Yellow(plural(l.Dropped, "frame")+" not shown: they came faster than they were read")))
	}
	arrow := "·"
	switch l.Direction {
	case "in":
		arrow = "←"
	case "out":
		arrow = "→"
	}
	b := []byte(at + " " + arrow + " ")
	if l.Connection != "" {
		b = append(b, l.Connection[:min(6, len(l.Connection))]...)
		b = append(b, ' ')
	}
	switch {
	case l.Event != "":
		b = append(b, printable(l.story())...)
	case l.Text != nil:
		b = append(b, printable(*l.Text)...)
	default:
		var line bytes.Buffer
		if err := json.Compact(&line, l.Frame); err != nil {
			return err
		}
		b = append(b, printable(line.String())...)
	}
	return t.print(b)
}

// printable gives a text without what would drive a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// story tells what has happened to a connection.
func (l *traceLine) story() string {
	list := []string{l.Event}
	if l.User != "" {
		list = append(list, "user "+l.User)
	}
	if l.Device != "" {
		list = append(list, "device "+l.Device)
	}
	list = append(list, l.Transport)
	if l.Reason != "" {
		list = append(list, fmt.Sprintf("%s (%d)", l.Reason, l.Code))
	}
	if l.Message != "" {
		list = append(list, l.Message)
	}
	return strings.Join(list, ", ")
}
