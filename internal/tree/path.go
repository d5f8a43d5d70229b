package tree

import (
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
)

// Path leads into objects: each name is a member of what the ones before it give.
type Path []string

// ParsePath reads a JSON Pointer (RFC 6901). Its errors name no field.
func ParsePath(pointer string) (Path, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, fault.New(fault.BadRequest, "must be empty or begin with /, as RFC 6901 says")
	}
	path := Path(strings.Split(pointer[1:], "/"))
	for i, name := range path {
		if strings.IndexByte(name, '~') < 0 {
			continue
		}
		for k := 0; k < len(name); k++ {
			if name[k] == '~' && (k+1 == len(name) || name[k+1] != '0' && name[k+1] != '1') {
				return nil, fault.New(fault.BadRequest, "~ must be followed by 0 or 1, as RFC 6901 says")
			}
		}
		path[i] = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
	}
	return path, nil
}

// String gives the path as a JSON Pointer.
func (p Path) String() string {
	var b strings.Builder
	for _, name := range p {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// Covers tells whether other is p or lies below it.
func (p Path) Covers(other Path) bool {
	return len(p) <= len(other) && slices.Equal(p, other[:len(p)])
}

// with is the path of a member of what is at p.
func (p Path) with(name string) Path { return append(p[:len(p):len(p)], name) }

// place is how a message calls what is at p.
func (p Path) place() string {
	if len(p) == 0 {
		return "the whole document"
	}
	return p.String()
}
