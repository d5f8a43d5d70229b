// Package term tells a terminal from a file, colours text for the one and not
// for the other, and shows how far a long command has come.
//
// It stores nothing and starts no goroutine.
package term

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal tells whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width is the number of columns of the terminal w, 80 when that is unknown.
func Width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// Style paints text, or leaves it as it is. The zero value leaves it.
type Style struct{ On bool }

// StyleOf gives the style for w: on when it is a terminal that can show colours
// and nobody asked for none (https://no-color.org, TERM=dumb). getenv is
// usually os.Getenv.
func StyleOf(w io.Writer, getenv func(string) string) Style {
	return Style{On: IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

func (s Style) paint(code, text string) string {
	if !s.On {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for what should be read first.
func (s Style) Bold(text string) string { return s.paint("1", text) }

// Faint is for what may be read last.
func (s Style) Faint(text string) string { return s.paint("2", text) }

// Red is for failures.
func (s Style) Red(text string) string { return s.paint("31", text) }

// Green is for what is well.
func (s Style) Green(text string) string { return s.paint("32", text) }

// Yellow is for warnings.
func (s Style) Yellow(text string) string { return s.paint("33", text) }
