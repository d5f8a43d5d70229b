package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/registry"
)

// A Problem is one thing that is wrong.
type Problem struct {
	Kind    Kind   // the layer it is in; FromDefault when it is in none
	Source  string // the file, the variable or the flag; empty for a default
	Line    int    // from 1; 0 when the source has no lines
	Column  int    // from 1, in characters
	Path    string // the setting; may be empty
	Message string
	Excerpt string // the line, secrets masked; empty when there is none
}

// String gives the place, the message and, when there is one, the line with a
// caret under the spot.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.Source, p.Line, p.Column)
	case p.Source != "":
		b.WriteString(p.Source + ": ")
	}
	if p.Path != "" && (p.Line > 0 || p.Source == "") {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Excerpt != "" {
		number := strconv.Itoa(p.Line)
		margin := strings.Repeat(" ", len(number))
		line, caret := window(p.Excerpt, p.Column-1)
		fmt.Fprintf(&b, "\n  %s | %s\n  %s | %s^", number, line, margin, strings.Repeat(" ", caret))
	}
	return b.String()
}

// window cuts a long line to what is around the column.
func window(line string, column int) (string, int) {
	const width, before = 100, 60
	runes := []rune(line)
	column = min(max(column, 0), len(runes))
	from := 0
	if len(runes) > width && column > before {
		from = column - before
	}
	shown := runes[from:min(len(runes), from+width)]
	for i, r := range shown {
		if !unicode.IsPrint(r) {
			shown[i] = ' '
		}
	}
	return strings.TrimRight(string(shown), " "), column - from
}

// An Error prints so many problems and keeps so many.
const maxShown, maxKept = 50, 1000

// Error is everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error implements error: one problem after the other.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(e.Problems)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// wrong adds a problem.
func (l *loader) wrong(at place, path, format string, args ...any) {
	if len(l.problems) == maxKept {
		return
	}
	p := Problem{Kind: FromDefault, Path: path, Message: fmt.Sprintf(format, args...)}
	if at.src != nil {
		p.Kind, p.Source, p.Line, p.Column = at.src.kind, at.src.name, at.line, at.column
		if p.Line > 0 && p.Line <= len(at.src.lines) {
			p.Excerpt = l.masked(at.src.lines[p.Line-1])
			p.Column = min(max(p.Column, 1), utf8.RuneCountInString(p.Excerpt)+1)
		}
	}
	l.problems = append(l.problems, p)
}

// mask is shown instead of a secret.
const mask = registry.Mask

// secretKeys matches a key that names a secret, and what follows it.
func secretKeys(root *setting) *regexp.Regexp {
	var names []string
	root.each(func(s *setting) {
		if s.secret {
			names = append(names, regexp.QuoteMeta(s.name))
		}
	})
	// A hash of a password has commas, quoted or not.
	const value = `"(?:[^"\\]|\\.)*"?|'[^']*'?|\$argon2[^\s}]*|[^\s#,}][^,}]*`
	return regexp.MustCompile(`(?i)(["']?\b(?:` + strings.Join(names, "|") + `)\b["']?\s*:\s*)(` + value + `)`)
}

// masked hides the secrets of a line: values that are known to be secret, and
// whatever follows a key that names one, since a line can be shown before
// anything on it was understood. Characters stay in their columns.
func (l *loader) masked(line string) string {
	for _, secret := range l.secrets {
		line = strings.ReplaceAll(line, secret, stars(secret))
	}
	return l.keys.ReplaceAllStringFunc(line, func(found string) string {
		m := l.keys.FindStringSubmatch(found)
		return m[1] + stars(m[2])
	})
}

func stars(s string) string { return strings.Repeat("*", utf8.RuneCountInString(s)) }
