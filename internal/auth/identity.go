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
	"strings"
	"time"
)

// Identity is who a connection is. The zero value is an anonymous one.
type Identity struct {
	User    string
	Device  string
	Expires time.Time // zero: never
	Caps    Caps      // what the token allows beyond the namespace's rules
}

// Verb is what a client does with a channel; verbs combine as bits.
type Verb uint8

// The verbs, and their names in a token's caps.
const (
	Sub      Verb = 1 << iota // "sub"
	Pub                       // "pub"
	Presence                  // "presence"
	History                   // "history"
	Patch                     // "patch"
)

var verbNames = map[string]Verb{"sub": Sub, "pub": Pub, "presence": Presence, "history": History, "patch": Patch, "*": Sub | Pub | Presence | History | Patch}

// Bounds of the caps of one token.
const (
	maxPatterns = 256
	maxPattern  = 255
)

// Caps are rights by channel pattern: an exact name ("room:7"), a prefix that
// ends in a star ("tick:*"), or "*". They do not change; nil gives no right.
type Caps []cap

type cap struct {
	pattern string // without the star
	prefix  bool
	verbs   Verb
}

// ParseCaps reads caps as they stand in a token: pattern -> list of verbs.
func ParseCaps(m map[string][]string) (Caps, error) {
	if len(m) > maxPatterns {
		return nil, fmt.Errorf("caps: %d patterns; at most %d are allowed", len(m), maxPatterns)
	}
	caps := make(Caps, 0, len(m))
	for pattern, verbs := range m {
		if pattern == "" || len(pattern) > maxPattern {
			return nil, fmt.Errorf("caps: a pattern has 1 to %d bytes", maxPattern)
		}
		text, prefix := strings.CutSuffix(pattern, "*")
		if strings.Contains(text, "*") {
			return nil, fmt.Errorf("caps: %q: a star may only stand at the end", pattern)
		}
		c := cap{pattern: text, prefix: prefix}
		for _, name := range verbs {
			v, ok := verbNames[name]
			if !ok {
				return nil, fmt.Errorf("caps: %q: %q is not a verb; use sub, pub, presence, history, patch or *", pattern, name)
			}
			c.verbs |= v
		}
		caps = append(caps, c)
	}
	slices.SortFunc(caps, func(a, b cap) int { return strings.Compare(a.pattern, b.pattern) })
	if len(caps) == 0 {
		return nil, nil
	}
	return caps, nil
}

// Allows tells whether the caps give the right to do v in a channel.
func (c Caps) Allows(channel string, v Verb) bool {
	for _, e := range c {
		if e.verbs&v == v && (e.pattern == channel && !e.prefix || e.prefix && strings.HasPrefix(channel, e.pattern)) {
			return true
		}
	}
	return false
}

// Map gives the caps in the form of a token.
func (c Caps) Map() map[string][]string {
	if len(c) == 0 {
		return nil
	}
	m := make(map[string][]string, len(c))
	for _, e := range c {
		pattern := e.pattern
		if e.prefix {
			pattern += "*"
		}
		verbs := []string{}
		for _, name := range []string{"sub", "pub", "presence", "history", "patch"} {
			if e.verbs&verbNames[name] != 0 {
				verbs = append(verbs, name)
			}
		}
		m[pattern] = verbs
	}
	return m
}

// Who is a rule of a namespace: who may do something without a capability.
type Who uint8

// The rules; the zero value lets nobody but the server.
const (
	Server Who = iota // API and hooks only
	Token             // only who has the capability
	User              // any bound user
	Anyone            // also anonymous connections
)

var whoNames = [...]string{"server", "token", "user", "anyone"}

// ParseWho reads a rule.
func ParseWho(text string) (Who, error) {
	if i := slices.Index(whoNames[:], text); i >= 0 {
		return Who(i), nil
	}
	return Server, fmt.Errorf("%q is not one of anyone, user, token, server", text)
}

// String gives the rule's name.
func (w Who) String() string { return whoNames[w] }

// Allowed tells whether an identity may do v in a channel: by the namespace's
// rule, or by a capability of its token. What is for the server alone no token
// can open.
func Allowed(rule Who, v Verb, channel string, id Identity) bool {
	switch {
	case rule == Server:
		return false
	case rule == Anyone || rule == User && id.User != "":
		return true
	}
	return id.Caps.Allows(channel, v)
}
