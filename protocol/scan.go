package protocol

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/skein-realtime/skein/internal/fault"
)

// Errors of the scanner. A [*SyntaxError] says where; ErrDepth and ErrNotObject
// are facts about the whole text.
var (
	ErrDepth     = errors.New("JSON is nested too deeply")
	ErrNotObject = errors.New("not a JSON object")
)

// A SyntaxError is the first place where a text is not JSON (RFC 8259).
type SyntaxError struct {
	Offset int    // bytes before the error
	What   string // what is wrong there
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not valid JSON at byte %d: %s", e.Offset, e.What)
}

func syntax(offset int, what string) error { return &SyntaxError{Offset: offset, What: what} }

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// plain marks the bytes of a string that need no second look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// scanString expects b[i] to be the opening quote and returns the index after
// the closing one.
func scanString(b []byte, i int) (int, error) {
	for i++; i < len(b); i++ {
		c := b[i]
		if plain[c] {
			continue
		}
		switch c {
		case '"':
			return i + 1, nil
		case '\\':
			i++
			if i >= len(b) {
				return i, syntax(i, "the text ends inside a string")
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) {
					return i, syntax(len(b), "the text ends inside a string")
				}
				for k := 1; k <= 4; k++ {
					if !isHex(b[i+k]) {
						return i, syntax(i+k, "\\u wants four hex digits")
					}
				}
				i += 4
			default:
				return i, syntax(i, "unknown escape")
			}
		default:
			return i, syntax(i, "control character in a string")
		}
	}
	return i, syntax(i, "the text ends inside a string")
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func scanDigits(b []byte, i int) (int, error) {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == start {
		return i, syntax(i, "a digit is missing")
	}
	return i, nil
}

func scanNumber(b []byte, i int) (int, error) {
	var err error
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, err = scanDigits(b, i); err != nil {
		return i, err
	}
	if i < len(b) && b[i] == '.' {
		if i, err = scanDigits(b, i+1); err != nil {
			return i, err
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i, err = scanDigits(b, i); err != nil {
			return i, err
		}
	}
	return i, nil
}

func scanWord(b []byte, i int, word string) (int, error) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, syntax(i, "unknown word")
	}
	return i + len(word), nil
}

// scanValue checks the value that begins at b[i] (space skipped already) and
// returns the index after it. depth is how many more levels may open.
func scanValue(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, syntax(i, "a value is missing")
	}
	switch c := b[i]; {
	case c == '"':
		return scanString(b, i)
	case c == '{':
		return scanObject(b, i, depth)
	case c == '[':
		return scanArray(b, i, depth)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	case c == '-' || isDigit(c):
		return scanNumber(b, i)
	default:
		return i, syntax(i, "a value is missing")
	}
}

func scanArray(b []byte, i, depth int) (int, error) {
	if depth <= 0 {
		return i, ErrDepth
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		var err error
		if i, err = scanValue(b, i, depth-1); err != nil {
			return i, err
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return i, syntax(i, "the text ends inside an array")
		}
		if b[i] == ']' {
			return i + 1, nil
		}
		if b[i] != ',' {
			return i, syntax(i, "a comma is missing in an array")
		}
		i = skipSpace(b, i+1)
	}
}

func scanObject(b []byte, i, depth int) (int, error) {
	w := walker{b: b, depth: depth}
	if err := w.open(i); err != nil {
		return i, err
	}
	for w.next() {
	}
	return w.i, w.err
}

// walker steps through the members of one object.
type walker struct {
	b          []byte
	i          int // after the last thing read
	depth      int
	first      bool
	err        error
	key, value []byte // raw: the key with its quotes, the value as written
}

func (w *walker) open(i int) error {
	if w.depth <= 0 {
		return ErrDepth
	}
	w.i, w.first = i+1, true
	return nil
}

// next reads one member; false at the end of the object or on an error.
func (w *walker) next() bool {
	b := w.b
	i := skipSpace(b, w.i)
	if i < len(b) && b[i] == '}' {
		w.i = i + 1
		return false
	}
	if !w.first {
		if i >= len(b) || b[i] != ',' {
			return w.fail(i, "a comma is missing in an object")
		}
		i = skipSpace(b, i+1)
	}
	w.first = false
	if i >= len(b) || b[i] != '"' {
		return w.fail(i, "a member name is missing")
	}
	end, err := scanString(b, i)
	if err != nil {
		w.err = err
		return false
	}
	w.key = b[i:end]
	i = skipSpace(b, end)
	if i >= len(b) || b[i] != ':' {
		return w.fail(i, "a colon is missing")
	}
	i = skipSpace(b, i+1)
	end, err = scanValue(b, i, w.depth-1)
	if err != nil {
		w.err = err
		return false
	}
	w.value, w.i = b[i:end], end
	return true
}

func (w *walker) fail(i int, what string) bool {
	if i >= len(w.b) {
		what = "the text ends inside an object"
	}
	w.err = syntax(i, what)
	return false
}

// Valid checks that data is one JSON value nested at most depth levels.
func Valid(data []byte, depth int) error {
	i, err := scanValue(data, skipSpace(data, 0), depth)
	if err != nil {
		return err
	}
	if i = skipSpace(data, i); i != len(data) {
		return syntax(i, "something follows the value")
	}
	return nil
}

// Unquote decodes a JSON string that [Valid] has accepted. A lone surrogate
// becomes U+FFFD, as in encoding/json.
func Unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	s := raw[1 : len(raw)-1]
	esc := -1
	for i, c := range s {
		if c == '\\' {
			esc = i
			break
		}
	}
	if esc < 0 {
		return string(s), true
	}
	out := append(make([]byte, 0, len(s)), s[:esc]...)
	for i := esc; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low = hex4(s[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, s[i])
		}
	}
	return string(out), true
}

func hex4(b []byte) rune {
	n, err := strconv.ParseUint(unsafe.String(unsafe.SliceData(b), 4), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}

// EachElement calls fn with the raw text of each element of an array that has
// been checked already. It stops at the first error, which it returns; a value
// that is not an array is one.
func EachElement(raw []byte, fn func(element []byte) error) error {
	if len(raw) == 0 || raw[0] != '[' {
		return fault.New(fault.BadRequest, "must be an array, not %s", kindOf(raw))
	}
	i := skipSpace(raw, 1)
	for i < len(raw) && raw[i] != ']' {
		end, err := scanValue(raw, i, maxNesting)
		if err != nil {
			return err
		}
		if err := fn(raw[i:end]); err != nil {
			return err
		}
		i = skipSpace(raw, end)
		if i < len(raw) && raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return nil
}

// maxNesting bounds the recursion where a caller's bound was checked before.
const maxNesting = 10_000
