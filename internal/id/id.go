// Package id makes the two kinds of names that the server gives out: ids of
// connections, which nobody can guess, and ids of messages, which sort by time.
// It stores nothing and starts nothing.
package id

import (
	"crypto/rand"
	"encoding/base64"
	fast "math/rand/v2"
	"sync"
	"time"
)

// Connection is the id of a connection: 128 random bits. Its text form is 22
// characters of URL-safe base64. The zero value is nobody's id.
type Connection [16]byte

// NewConnection draws a fresh id from the system's random source.
func NewConnection() Connection {
	var c Connection
	_, _ = rand.Read(c[:]) // never fails: crypto/rand ends the program instead
	return c
}

// String gives the text form.
func (c Connection) String() string { return string(c.Append(nil)) }

// Append appends the text form to dst.
func (c Connection) Append(dst []byte) []byte {
	return base64.RawURLEncoding.AppendEncode(dst, c[:])
}

// ParseConnection reads the text form back.
func ParseConnection(text string) (Connection, bool) {
	var c Connection
	if len(text) != 22 {
		return c, false
	}
	var buf [24]byte
	n, err := base64.RawURLEncoding.Strict().Decode(buf[:], []byte(text))
	if err != nil || n != len(c) {
		return c, false
	}
	copy(c[:], buf[:])
	return c, true
}

// crockford is the alphabet of ULID: base 32 without I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// last is the message id that was made last, so that those of one millisecond
// rise, too.
var last struct {
	sync.Mutex
	ms, hi, lo uint64
}

// Prefix is what the ids of messages of a time (Unix milliseconds) begin with: ten
// characters, which sort before those ids and after all of earlier times.
func Prefix(ms int64) string {
	var b [10]byte
	putTime(b[:], uint64(ms))
	return string(b[:])
}

func putTime(b []byte, ms uint64) {
	for i := 9; i >= 0; i-- {
		b[i] = crockford[ms&31]
		ms >>= 5
	}
}

// Message makes the id of a message: a ULID, 48 bits of Unix milliseconds and
// 80 random bits in 26 characters, so that ids sort by time, and in one process
// by the order in which they were made. It is unique, but no secret: the random
// bits come from a fast generator, and the next in the same millisecond is one more.
func Message(now time.Time) string {
	ms := uint64(now.UnixMilli())
	last.Lock()
	if ms == last.ms {
		if last.lo++; last.lo == 0 {
			last.hi = (last.hi + 1) & (1<<16 - 1)
		}
	} else {
		last.ms, last.hi, last.lo = ms, fast.Uint64()>>48, fast.Uint64()
	}
	hi, lo := last.hi, last.lo
	last.Unlock()
	var b [26]byte
	putTime(b[:10], ms)
	for i := 25; i > 13; i-- {
		b[i] = crockford[lo&31]
		lo >>= 5
	}
	hi = hi<<4 | lo // four bits of lo are left after twelve characters
	for i := 13; i > 9; i-- {
		b[i] = crockford[hi&31]
		hi >>= 5
	}
	return string(b[:])
}
