package cli

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// peeker reads an input, of which it can tell how it begins and how much was read.
type peeker struct {
	in   *bufio.Reader
	read int64
}

func newPeeker(in io.Reader) *peeker {
	p := &peeker{in: bufio.NewReaderSize(in, 64<<10)}
	// What some programs begin a file with says nothing.
	if mark, err := p.in.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		n, _ := p.in.Discard(3)
		p.read += int64(n)
	}
	return p
}

// first is the first byte that is not a space, 0 when there is none nearby.
func (p *peeker) first() byte {
	head, _ := p.in.Peek(4096) // what there is of it is enough
	if head = bytes.TrimLeft(head, " \t\r\n"); len(head) > 0 {
		return head[0]
	}
	return 0
}

// Read implements io.Reader.
func (p *peeker) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.read += int64(n)
	return n, err
}

// line gives the next line. At the end of the input there may be one and io.EOF.
func (p *peeker) line() ([]byte, error) {
	var line []byte
	for {
		part, err := p.in.ReadSlice('\n')
		p.read += int64(len(part))
		if line = append(line, part...); len(line) > maxLine {
			return line, fmt.Errorf("has more than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// csvUsers reads CSV with a header.
type csvUsers struct {
	in      *peeker
	csv     *csv.Reader
	columns []string
	id      int // its column
	strings bool
}

func newCSVUsers(in *peeker, strings bool) (*csvUsers, error) {
	c := &csvUsers{in: in, csv: csv.NewReader(in), id: -1, strings: strings}
	head, err := c.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the header is missing; name the columns, such as id,city,tags")
	}
	if err != nil {
		return nil, badCSV(err)
	}
	seen := map[string]bool{}
	for i, name := range head {
		switch {
		case name == "":
			return nil, fmt.Errorf("line 1: column %d has no name", i+1)
		case seen[name]:
			return nil, fmt.Errorf("line 1: the column %q stands twice", name)
		case name == "id":
			c.id = i
		}
		seen[name] = true
	}
	if c.id < 0 {
		return nil, errors.New("line 1: there is no column id")
	}
	c.columns = head
	return c, nil
}

// badCSV makes an error about one line of it.
func badCSV(err error) error {
	if e := (*csv.ParseError)(nil); errors.As(err, &e) {
		return &badLine{e.StartLine, e.Err.Error()}
	}
	return err
}

func (c *csvUsers) next() (entry, int64, error) {
	cells, err := c.csv.Read()
	if err != nil {
		return entry{}, c.in.read, badCSV(err)
	}
	line, _ := c.csv.FieldPos(0)
	u := entry{ID: cells[c.id], line: line}
	if u.ID == "" {
		return entry{}, c.in.read, &badLine{line, "id: is missing"}
	}
	attributes := make(map[string]any, len(cells))
	for i, cell := range cells {
		if i != c.id && cell != "" {
			attributes[c.columns[i]] = c.value(c.columns[i], cell)
		}
	}
	u.Attributes, err = json.Marshal(attributes)
	return u, c.in.read, err
}

// value is what a cell stands for.
func (c *csvUsers) value(column, cell string) any {
	if column == "tags" {
		return strings.Split(cell, "|")
	}
	if c.strings {
		return cell
	}
	if cell == "true" || cell == "false" {
		return cell == "true"
	}
	if first := cell[0]; (first == '-' || first >= '0' && first <= '9') && json.Valid([]byte(cell)) {
		return json.Number(cell)
	}
	return cell
}
