package tree

import (
	"bytes"
	"math"
	"math/big"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
)

// isInteger tells whether a number is written as an integer.
func isInteger(text []byte) bool { return !bytes.ContainsAny(text, ".eE") }

// appendSum appends the sum of two numbers: exact when both are written as integers,
// of doubles otherwise.
func appendSum(dst, a, b []byte) ([]byte, error) {
	if isInteger(a) && isInteger(b) {
		x, errX := strconv.ParseInt(string(a), 10, 64)
		y, errY := strconv.ParseInt(string(b), 10, 64)
		if s := x + y; errX == nil && errY == nil && (s > x) == (y > 0) {
			return strconv.AppendInt(dst, s, 10), nil
		}
		return appendBig(dst, a, b)
	}
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	s := x + y
	if errX != nil || errY != nil || math.IsInf(s, 0) {
		return nil, fault.New(fault.Conflict, "the result is too large for a number that is not written as an integer")
	}
	return appendFloat(dst, s), nil
}

func appendBig(dst, a, b []byte) ([]byte, error) {
	x, okX := new(big.Int).SetString(string(a), 10)
	y, okY := new(big.Int).SetString(string(b), 10)
	if !okX || !okY {
		return nil, fault.New(fault.Internal, "not an integer")
	}
	text := x.Add(x, y).Append(nil, 10)
	if n := len(bytes.TrimPrefix(text, []byte("-"))); n > maxNumber {
		return nil, fault.New(fault.Conflict, "the result has %d digits; at most %d are allowed", n, maxNumber)
	}
	return append(dst, text...), nil
}

// appendFloat writes a double as JavaScript does, so that every client comes to
// the same text (ECMA-262, Number::toString).
func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	if f == 0 {
		f = 0 // no negative zero
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if format == 'e' {
		// e-09 is written e-9.
		if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
	}
	return dst
}

// decimal is a number as digits and a power of ten, in the one way that has no
// zeros at either end.
type decimal struct {
	negative bool
	digits   []byte // empty: zero
	exponent int    // the value is 0.digits * 10^exponent
}

func decimalOf(text []byte) (d decimal) {
	if len(text) > 0 && text[0] == '-' {
		d.negative, text = true, text[1:]
	}
	power := 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		power, _ = strconv.Atoi(string(bytes.TrimPrefix(text[i+1:], []byte("+"))))
		text = text[:i]
	}
	point := bytes.IndexByte(text, '.')
	digits := text
	if point < 0 {
		point = len(text)
	} else {
		digits = append(append([]byte(nil), text[:point]...), text[point+1:]...)
	}
	leading := len(digits) - len(bytes.TrimLeft(digits, "0"))
	d.digits = bytes.TrimRight(digits[leading:], "0")
	d.exponent = point - leading + power
	if len(d.digits) == 0 {
		return decimal{}
	}
	return d
}

// compare orders two numbers by value, exactly.
func compare(a, b []byte) int {
	x, y := decimalOf(a), decimalOf(b)
	switch {
	case x.sign() != y.sign():
		return x.sign() - y.sign()
	case x.negative:
		return y.magnitude(x)
	}
	return x.magnitude(y)
}

func (d decimal) sign() int {
	switch {
	case len(d.digits) == 0:
		return 0
	case d.negative:
		return -1
	}
	return 1
}

func (d decimal) magnitude(other decimal) int {
	if d.exponent != other.exponent && len(d.digits) > 0 && len(other.digits) > 0 {
		if d.exponent < other.exponent {
			return -1
		}
		return 1
	}
	return bytes.Compare(d.digits, other.digits)
}
