package auth

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/protocol"
)

// Verb is what a client does with a channel; verbs combine as bits.
type Verb uint8

// The verbs, and their names in a token's caps. There "*" stands for all.
const (
	Sub      Verb = 1 << iota // "sub"
	Pub                       // "pub"
	Presence                  // "presence"
	History                   // "history"
	Patch                     // "patch"

	everything Verb = 1<<iota - 1
)

// verbNames has the name of each bit at its place.
var verbNames = [...]string{"sub", "pub", "presence", "history", "patch"}

func parseVerb(name string) (Verb, bool) {
	if name == "*" {
		return everything, true
	}
	i := slices.Index(verbNames[:], name)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// names lists the verbs that are set; never nil, so that JSON has a list.
func (v Verb) names() []string {
	list := []string{}
	for i, name := range verbNames {
		if v&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// String gives the names with commas between them: "sub,pub".
func (v Verb) String() string { return strings.Join(v.names(), ",") }

// Bounds of the caps of one token.
const (
	maxPatterns = 256
	maxPattern  = protocol.MaxChannel
)

// Caps are rights by channel pattern: an exact name ("room:7"), a prefix that
// ends in a star ("tick:*"), or "*". They do not change; nil gives no right.
type Caps []grant

type grant struct {
	pattern string // without the star
	prefix  bool
	verbs   Verb
}

func newGrant(pattern string) (grant, error) {
	if pattern == "" || len(pattern) > maxPattern {
		return grant{}, fmt.Errorf("caps: a pattern has 1 to %d bytes", maxPattern)
	}
	text, prefix := strings.CutSuffix(pattern, "*")
	if strings.Contains(text, "*") {
		return grant{}, fmt.Errorf("caps: %q: a star may only stand at the end", pattern)
	}
	return grant{pattern: text, prefix: prefix}, nil
}

// add gives the right to one more verb.
func (g *grant) add(name string) error {
	v, ok := parseVerb(name)
	if !ok {
		return fmt.Errorf("caps: %q: %.20q is not a verb; use sub, pub, presence, history, patch or *", g, name)
	}
	g.verbs |= v
	return nil
}

// String gives the pattern as it was written.
func (g *grant) String() string {
	if g.prefix {
		return g.pattern + "*"
	}
	return g.pattern
}

// sorted makes two Caps with the same rights equal.
func (c Caps) sorted() Caps {
	if len(c) == 0 {
		return nil
	}
	slices.SortFunc(c, func(a, b grant) int {
		if a.prefix != b.prefix && a.pattern == b.pattern {
			return cmp.Compare(a.String(), b.String())
		}
		return cmp.Compare(a.pattern, b.pattern)
	})
	return c
}

// ParseCaps reads caps as they stand in a token: pattern -> list of verbs. Its
// errors begin with "caps: " and name the pattern.
func ParseCaps(m map[string][]string) (Caps, error) {
	if len(m) > maxPatterns {
		return nil, fmt.Errorf("caps: %d patterns; at most %d are allowed", len(m), maxPatterns)
	}
	caps := make(Caps, 0, len(m))
	for _, pattern := range slices.Sorted(maps.Keys(m)) { // sorted, so that the first mistake is always the same one
		g, err := newGrant(pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range m[pattern] {
			if err := g.add(name); err != nil {
				return nil, err
			}
		}
		caps = append(caps, g)
	}
	return caps.sorted(), nil
}

// readCaps is [ParseCaps] for JSON that has been checked already.
func readCaps(raw []byte) (Caps, error) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, maxDepth); err != nil {
		if err == protocol.ErrNotObject {
			return nil, fmt.Errorf("caps: must be an object of pattern and list of verbs, not %s", protocol.KindOf(raw))
		}
		return nil, fmt.Errorf("caps: %w", err)
	}
	var caps Caps
	var err error
	o.Each(func(pattern string, verbs []byte) bool {
		var g grant
		if g, err = newGrant(pattern); err == nil {
			err = g.read(verbs)
		}
		caps = append(caps, g)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return caps.sorted(), nil
}

// read adds the verbs of a JSON list.
func (g *grant) read(raw []byte) error {
	if raw[0] != '[' {
		return fmt.Errorf("caps: %q: must be a list of verbs, not %s", g, protocol.KindOf(raw))
	}
	return protocol.EachElement(raw, func(element []byte) error {
		name, ok := protocol.Unquote(element)
		if !ok {
			return fmt.Errorf("caps: %q: a verb is a string, not %s", g, protocol.KindOf(element))
		}
		return g.add(name)
	})
}

// Allows tells whether the caps give every right of v in a channel, be it in
// one pattern or in several together. No verb at all is no right.
func (c Caps) Allows(channel string, v Verb) bool {
	var have Verb
	for i := range c {
		g := &c[i]
		if g.pattern == channel && !g.prefix || g.prefix && strings.HasPrefix(channel, g.pattern) {
			if have |= g.verbs; have&v == v {
				return v != 0
			}
		}
	}
	return false
}

// Map gives the caps in the form of a token; nil when there are none.
func (c Caps) Map() map[string][]string {
	if len(c) == 0 {
		return nil
	}
	m := make(map[string][]string, len(c))
	for i := range c {
		m[c[i].String()] = c[i].verbs.names()
	}
	return m
}

// String gives the caps as the command line takes them: "room:7=sub,pub tick:*=sub".
func (c Caps) String() string {
	var b strings.Builder
	for i := range c {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(c[i].String() + "=" + c[i].verbs.String())
	}
	return b.String()
}
