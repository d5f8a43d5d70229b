package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// call calls a verb with params and reads its result; raw is the result as it came.
func (s *server) call(ctx context.Context, verb string, params, result any) (raw []byte, err error) {
	b, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	if raw, err = s.post(ctx, verb, b); err != nil || result == nil {
		return raw, err
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return nil, fmt.Errorf("%s gave an answer to %s that cannot be read: %w", s.base, verb, err)
	}
	return raw, nil
}

// ready fills in what the environment says of the server that a command talks to.
func (s *server) ready(sh Shell, run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := s.complete(cmd, sh); err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		return run(ctx, args)
	}
}

// addJSON adds the flag of commands that print tables for people.
func addJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON, as the server gives it")
}

// table prints rows in columns, as wide as those that are printed together need.
type table struct {
	out  io.Writer
	rows bytes.Buffer
}

// newTable begins one, with a head.
func (s Shell) newTable(head ...string) *table {
	t := &table{out: s.Stdout}
	t.row(head...)
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	t.rows.WriteString(strings.Join(cells, "\t") + "\n")
}

// flush prints the rows so far, without blanks at the ends of lines.
func (t *table) flush() error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = t.rows.WriteTo(w) // to memory
	_ = w.Flush()
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(t.out, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// moment writes Unix milliseconds for people; 0 is nothing.
func moment(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05")
}

// moments are the members of results that are times, when they are so large: created may be
// a number of users, too.
var moments = map[string]bool{"created": true, "changed": true, "started": true, "ended": true, "until": true, "expires": true}

const largeMoment = 1e11 // milliseconds, in 1973

// describe prints the members of a JSON object, one on a line.
func (s Shell) describe(raw []byte) error {
	members, err := membersOf(raw)
	if err != nil {
		return err
	}
	t := table{out: s.Stdout}
	for _, m := range members {
		t.row(m.name, m.text())
	}
	return t.flush()
}

// member is one of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// membersOf gives the members of an object in their order.
func membersOf(raw []byte) (list []member, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(err, errors.New("the answer is not a JSON object"))
	}
	for d.More() {
		var m member
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m.name, _ = t.(string)
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// text is a value for people: texts without quotes, times as such, and the numbers of a
// flat object one after the other.
func (m *member) text() string {
	var text string
	if json.Unmarshal(m.value, &text) == nil {
		return text
	}
	if moments[m.name] {
		if ms, err := strconv.ParseInt(string(m.value), 10, 64); err == nil && ms > largeMoment {
			return moment(ms)
		}
	}
	var numbers map[string]json.Number
	if m.name != "data" && json.Unmarshal(m.value, &numbers) == nil && string(m.value) != "null" {
		inside, err := membersOf(m.value)
		if err == nil {
			var parts []string
			for _, n := range inside {
				if string(n.value) != "0" {
					parts = append(parts, n.name+" "+string(n.value))
				}
			}
			return strings.Join(parts, ", ")
		}
	}
	var texts []string
	if m.name != "data" && json.Unmarshal(m.value, &texts) == nil {
		return strings.Join(texts, ", ")
	}
	return string(m.value)
}

// shown prints a result: as it came, or its members.
func (s Shell) shown(raw []byte, asJSON bool) error {
	if asJSON {
		return s.print(raw)
	}
	return s.describe(raw)
}

// pages calls a verb that gives pages again and again, until there are no more or each is
// false.
func (s *server) pages(ctx context.Context, verb string, params map[string]any, each func(items []json.RawMessage) (more bool, err error)) error {
	for {
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next"`
		}
		if _, err := s.call(ctx, verb, params, &page); err != nil {
			return err
		}
		more, err := each(page.Items)
		if err != nil || !more || page.Next == "" {
			return err
		}
		params["after"] = page.Next
	}
}

// openInput opens a file, or standard input for "-". size is 0 when it is not known.
func (s Shell) openInput(name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(s.Stdin), 0, nil
	}
	if err := isFile(name); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %s", name, reason(err))
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// maxLine bounds a line of a file that is imported, in bytes.
const maxLine = 1 << 20

// eachLine calls fn for each line that is not empty, with its number, and tells how many
// bytes were read with it.
func eachLine(in io.Reader, fn func(number int, line []byte, read int64) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	read := int64(0)
	number := 0
	for lines.Scan() {
		number++
		line := lines.Bytes()
		read += int64(len(line)) + 1
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			continue
		}
		if err := fn(number, line, read); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d has more than %d bytes", number+1, maxLine)
	}
	return lines.Err()
}
