package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/term"
)

// importFlags are the flags of `skein users import`.
type importFlags struct {
	server  server
	format  string
	batch   int
	merge   bool
	strings bool
	skip    bool
	asJSON  bool
}

func usersImport(sh Shell) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put the attributes of many users, from JSON lines or CSV",
		Example: `  skein users import people.csv
  skein users import people.jsonl --merge
  skein users query --all --json --url "$OLD" | skein users import -`,
		Long: `Reads users from a file, "-" for standard input, and puts their attributes in
place of those that are there, or with --merge beside them.

JSON lines: {"id":"42","attributes":{"city":"Rome","tags":["vip"]}} on each line;
other members are passed over, so that what skein users query --json prints can
be read. CSV: the first line names the columns; id is the user, each other column an
attribute. tags is split at |; numbers, true and false become such, unless
--strings says that all are texts; an empty cell is no attribute.

A line that is wrong ends the import, with its number; those before it are kept.
With --skip-bad such lines are told and left out, and the exit code is 1.`,
		Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.format != "" && f.format != "csv" && f.format != "jsonl":
				return usagef("--format %q is not csv or jsonl", f.format)
			case f.batch < 1 || f.batch > maxBatch:
				return usagef("--batch must be between 1 and %d", maxBatch)
			}
			return f.server.ready(sh, func(ctx context.Context, args []string) error { return f.run(ctx, sh, args[0]) })(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "", "`csv` or jsonl (default: by the name of the file, or by how it begins)")
	flags.IntVar(&f.batch, "batch", 500, "`NUMBER` of users in one request, at most 1000")
	flags.BoolVar(&f.merge, "merge", false, "change only the attributes that are in the file")
	flags.BoolVar(&f.strings, "strings", false, "all cells of a CSV file are texts")
	flags.BoolVar(&f.skip, "skip-bad", false, "leave out lines that are wrong, and go on")
	flags.BoolVar(&f.asJSON, "json", false, "print the counts as JSON")
	f.server.addURL(cmd)
	f.server.addKey(cmd)
	return cmd
}

// maxBatch is how many users one request may have.
const maxBatch = 1000

// entry is a user of a file.
type entry struct {
	ID         string          `json:"id"`
	Attributes json.RawMessage `json:"attributes"`
	line       int
}

// importing is one run of `skein users import`.
type importing struct {
	*importFlags
	sh       Shell
	progress *term.Progress
	read     int64
	batch    []entry
	counts   struct {
		Users   int64 `json:"users"`
		Created int64 `json:"created"`
		Changed int64 `json:"changed"`
		Bad     int64 `json:"bad"`
	}
}

func (f *importFlags) run(ctx context.Context, sh Shell, name string) (err error) {
	in, size, err := sh.openInput(name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	w := &importing{importFlags: f, sh: sh, progress: term.NewProgress(sh.Stderr, "import: bytes", size)}
	file, err := f.reader(in, name)
	if err == nil {
		err = w.all(ctx, file)
	}
	w.progress.Clear()
	if told := w.tell(); err == nil {
		err = told
	}
	if err == nil && w.counts.Bad > 0 {
		err = fmt.Errorf("%s left out", plural(int(w.counts.Bad), "bad line")+map[bool]string{true: " is", false: " are"}[w.counts.Bad == 1])
	}
	return err
}

// reader reads users in the format of the file.
func (f *importFlags) reader(in io.Reader, name string) (userReader, error) {
	b := newPeeker(in)
	format := f.format
	if format == "" {
		switch lower := strings.ToLower(name); {
		case strings.HasSuffix(lower, ".csv"):
			format = "csv"
		case strings.HasSuffix(lower, ".jsonl"), strings.HasSuffix(lower, ".ndjson"), strings.HasSuffix(lower, ".json"):
			format = "jsonl"
		default:
			if format = "csv"; b.first() == '{' {
				format = "jsonl"
			}
		}
	}
	if format == "csv" {
		return newCSVUsers(b, f.strings)
	}
	return newLineUsers(b), nil
}

// all puts every user of a file.
func (w *importing) all(ctx context.Context, file userReader) error {
	for {
		u, read, err := file.next()
		w.read = read
		if errors.Is(err, io.EOF) {
			return w.flush(ctx)
		}
		if bad := (*badLine)(nil); errors.As(err, &bad) {
			if err := w.reject(ctx, bad); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if w.batch = append(w.batch, u); len(w.batch) == w.importFlags.batch {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// badLine is a line that is no user.
type badLine struct {
	line   int
	reason string
}

// Error implements error.
func (b *badLine) Error() string { return fmt.Sprintf("line %d: %s", b.line, b.reason) }

// reject leaves a line out, or ends the import: then what was read before it is put.
func (w *importing) reject(ctx context.Context, bad *badLine) error {
	if !w.skip {
		return errors.Join(w.flush(ctx), bad)
	}
	w.counts.Bad++
	w.progress.Clear()
	w.sh.talk("%s", printable(bad.Error()))
	return nil
}

// wrongUser is how the server names a user of a batch that it refuses.
var wrongUser = regexp.MustCompile(`^users\[(\d+)\](?:\.(.*)|: (.*))$`)

// flush puts what was read so far.
func (w *importing) flush(ctx context.Context) error {
	for len(w.batch) > 0 {
		var r struct {
			Created int64 `json:"created"`
			Changed int64 `json:"changed"`
		}
		params := map[string]any{"users": w.batch}
		if w.merge {
			params["merge"] = true
		}
		err := w.put(ctx, params, &r)
		if err == nil {
			w.counts.Users += int64(len(w.batch))
			w.counts.Created += r.Created
			w.counts.Changed += r.Changed
			w.batch = w.batch[:0]
			w.progress.Set(w.read)
			return nil
		}
		e := (*fault.Error)(nil)
		if !errors.As(err, &e) {
			return err
		}
		m := wrongUser.FindStringSubmatch(e.Message)
		if m == nil {
			return err
		}
		i, _ := strconv.Atoi(m[1])
		if i >= len(w.batch) {
			return err
		}
		bad := &badLine{w.batch[i].line, m[2] + m[3]}
		rest := append([]entry(nil), w.batch[i+1:]...)
		if w.batch = w.batch[:i]; !w.skip {
			return errors.Join(w.flush(ctx), bad)
		}
		if err := w.reject(ctx, bad); err != nil {
			return err
		}
		w.batch = append(w.batch, rest...)
	}
	return nil
}

// maxTries is how often a request is repeated that the server could not take.
const maxTries = 10

// put calls users.put, and again when the server says that it may work later: it
// can be repeated.
func (w *importing) put(ctx context.Context, params, result any) error {
	for try := 1; ; try++ {
		_, err := w.server.call(ctx, "users.put", params, result)
		e := (*fault.Error)(nil)
		if err == nil || !errors.As(err, &e) || e.Code != fault.Unavailable && e.Code != fault.RateLimited || try == maxTries {
			return err
		}
		timer := time.NewTimer(max(e.RetryAfter, 500*time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// tell prints the counts.
func (w *importing) tell() error {
	raw, err := json.Marshal(w.counts)
	if err != nil {
		return err
	}
	return w.sh.shown(raw, w.asJSON)
}

// userReader gives the users of a file, and how many bytes were read so far. At the end
// the error is io.EOF; a *badLine is about one line only.
type userReader interface {
	next() (entry, int64, error)
}

// lineUsers reads JSON lines.
type lineUsers struct {
	in   *peeker
	line int
}

func newLineUsers(in *peeker) *lineUsers { return &lineUsers{in: in} }

func (l *lineUsers) next() (entry, int64, error) {
	for {
		line, err := l.in.line()
		if len(line) == 0 && err != nil {
			return entry{}, l.in.read, err
		}
		l.line++
		if err != nil && !errors.Is(err, io.EOF) {
			return entry{}, l.in.read, fmt.Errorf("line %d: %w", l.line, err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		u := entry{line: l.line}
		wrong := func(reason string) (entry, int64, error) { return entry{}, l.in.read, &badLine{l.line, reason} }
		if err := json.Unmarshal(line, &u); err != nil {
			kind := (*json.UnmarshalTypeError)(nil)
			switch {
			case errors.As(err, &kind) && kind.Field != "":
				return wrong(fmt.Sprintf("%s: must be a %s, not a JSON %s", kind.Field, kind.Type, kind.Value))
			case kind != nil:
				return wrong("is not a JSON object")
			}
			return wrong("is not a JSON object: " + strings.TrimPrefix(err.Error(), "json: "))
		}
		switch {
		case u.ID == "":
			return wrong("id: is missing")
		case len(u.Attributes) == 0 || u.Attributes[0] != '{':
			return wrong("attributes: must be a JSON object")
		}
		return u, l.in.read, nil
	}
}
