// Package auth says who somebody is and what that allows: tokens of clients
// (JWT), the rights that they carry, the rules of namespaces, API keys.
//
// It keeps the keys that tokens are verified with, and for a JSON Web Key Set a
// copy of it; it stores nothing on disk. A [Verifier] starts a goroutine only
// while it fetches a key set; [Verifier.Close] waits for it.
package auth

import (
	"fmt"
	"slices"
	"time"
)

// Identity is who a connection is. The zero value is an anonymous one. Every
// connection keeps one, so it is small.
type Identity struct {
	User    string
	Device  string
	Token   string // the token's id (jti), at most [MaxTokenID] bytes; "": it has none
	Issued  Time   // when the token was made ([LongAgo] when it does not say); zero: there is no token
	Expires Time   // zero: never
	Caps    Caps   // what the token allows beyond the namespace's rules
	Roles   Roles
}

// MaxTokenID is how many bytes the id of a token may have.
const MaxTokenID = 128

// Time is a moment in Unix milliseconds. Zero is not 1970 but no moment at all, as
// with time.Time, which is three times as large.
type Time int64

// LongAgo is before everything that happens, and not zero.
const LongAgo Time = 1

// At gives the moment of t; zero for the zero time.
func At(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return max(LongAgo, Time(t.UnixMilli()))
}

// IsZero tells that it is no moment.
func (t Time) IsZero() bool { return t == 0 }

// Time gives the moment as a time.Time, the zero time for zero.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(t))
}

// Who is a rule of a namespace: who may do something without a capability.
type Who uint8

// The rules; the zero value lets nobody but the server.
const (
	Server Who = iota // API and hooks only
	Token             // only who has the capability
	Member            // members of the channel, and who has the capability
	User              // any bound user
	Anyone            // also anonymous connections
)

var whoNames = [...]string{"server", "token", "member", "user", "anyone"}

// ParseWho reads a rule.
func ParseWho(text string) (Who, error) {
	if i := slices.Index(whoNames[:], text); i >= 0 {
		return Who(i), nil
	}
	return Server, fmt.Errorf("%.40q is not one of anyone, user, member, token, server", text)
}

// String gives the rule's name.
func (w Who) String() string {
	if int(w) < len(whoNames) {
		return whoNames[w]
	}
	return fmt.Sprintf("Who(%d)", uint8(w))
}

// Allowed tells whether an identity may do v in a channel: by the namespace's
// rule, or by a capability of its token. What is for the server alone no token
// can open, and neither a rule nor a verb that is unknown opens anything.
func Allowed(rule Who, v Verb, channel string, id Identity) bool {
	if v == 0 || v&^everything != 0 {
		return false
	}
	switch rule {
	case Anyone:
		return true
	case User:
		return id.User != "" || id.Caps.Allows(channel, v)
	case Token, Member: // whoever asks knows who is a member
		return id.Caps.Allows(channel, v)
	}
	return false
}
