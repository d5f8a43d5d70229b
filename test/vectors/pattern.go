package vectors

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// memory is what a case has kept: "connection:a", "value:name".
type memory map[string]any

// match compares a value with a pattern (spec/vectors/README.md, "Patterns") and
// says where they differ, "" when they do not. Both are what encoding/json
// makes of JSON, with json.Number for numbers. What the pattern saves is put
// into the memory.
func (m memory) match(at string, pattern, got any) string {
	switch p := pattern.(type) {
	case string:
		return m.matchString(at, p, got)
	case map[string]any:
		if list, ok := p["$unordered"].([]any); ok {
			return m.matchUnordered(at, list, got)
		}
		if exact, ok := p["$only"].(map[string]any); ok {
			return m.matchObject(at, exact, got, true)
		}
		return m.matchObject(at, p, got, false)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(p) {
			return differ(at, fmt.Sprintf("a list of %d", len(p)), got)
		}
		for i := range p {
			if why := m.match(fmt.Sprintf("%s[%d]", at, i), p[i], list[i]); why != "" {
				return why
			}
		}
		return ""
	case json.Number:
		if n, ok := got.(json.Number); ok && sameNumber(p, n) {
			return ""
		}
	case bool, nil:
		if got == pattern {
			return ""
		}
	}
	return differ(at, text(pattern), got)
}

func (m memory) matchObject(at string, pattern map[string]any, got any, exact bool) string {
	object, ok := got.(map[string]any)
	if !ok {
		return differ(at, "an object", got)
	}
	for _, name := range slices.Sorted(maps.Keys(pattern)) {
		filled := m.fillString(name)
		value, there := object[filled]
		where := at + "." + filled
		switch {
		case pattern[name] == "$absent":
			if there {
				return differ(where, "no such member", value)
			}
		case !there:
			return fmt.Sprintf("%s is absent in %s", where, text(got))
		default:
			if why := m.match(where, pattern[name], value); why != "" {
				return why
			}
		}
	}
	if exact {
		for name := range object {
			if _, named := pattern[name]; !named {
				return differ(at+"."+name, "no such member", object[name])
			}
		}
	}
	return ""
}

// matchUnordered finds an element for each pattern. The lists are short and the
// patterns tell apart, so the first that fits is taken.
func (m memory) matchUnordered(at string, patterns []any, got any) string {
	list, ok := got.([]any)
	if !ok || len(list) != len(patterns) {
		return differ(at, fmt.Sprintf("a list of %d", len(patterns)), got)
	}
	left := slices.Clone(list)
	for _, p := range patterns {
		i := slices.IndexFunc(left, func(v any) bool { return m.match(at, p, v) == "" })
		if i < 0 {
			return differ(at, "an element like "+text(p), got)
		}
		left = slices.Delete(left, i, i+1)
	}
	return ""
}

func (m memory) matchString(at, pattern string, got any) string {
	special, ok := strings.CutPrefix(pattern, "$")
	if !ok {
		if s, ok := got.(string); ok && s == pattern {
			return ""
		}
		return differ(at, text(pattern), got)
	}
	kind, arg, _ := strings.Cut(special, ":")
	var fits bool
	switch kind {
	case "any":
		fits = true
	case "string":
		s, ok := got.(string)
		fits = ok && s != ""
	case "bool":
		_, fits = got.(bool)
	case "object":
		_, fits = got.(map[string]any)
	case "int":
		_, fits = integer(got)
	case "time":
		n, ok := integer(got)
		fits = ok && math.Abs(float64(n-time.Now().UnixMilli())) < 60_000
	case "future":
		n, ok := integer(got)
		fits = ok && n > time.Now().UnixMilli()
	case "contains":
		s, ok := got.(string)
		fits = ok && strings.Contains(s, m.fillString(arg))
	case "save":
		fits = got != nil
		m["value:"+arg] = got
	case "value", "connection":
		want, known := m[special]
		if !known {
			return fmt.Sprintf("%s: nothing is known as %s", at, special)
		}
		return m.match(at, want, got)
	default:
		return fmt.Sprintf("%s: %q is not a pattern", at, pattern)
	}
	if !fits {
		return differ(at, pattern, got)
	}
	return ""
}

func integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
}

func differ(at, want string, got any) string {
	return fmt.Sprintf("%s is %s, want %s", at, text(got), want)
}

// text shows a value in a message, cut where it gets long.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 300 {
		return string(b[:300]) + "…"
	}
	return string(b)
}
