package auth

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/tree"
)

// Roles are the roles of an identity: names in order, with commas between them, so
// that an identity stays small and comparable.
type Roles string

var roleName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// maxRoles bounds the roles of one identity.
const maxRoles = 32

// ParseRoles makes roles of a list. Its error begins with "roles: ".
func ParseRoles(list []string) (Roles, error) {
	if len(list) > maxRoles {
		return "", fmt.Errorf("roles: there are %d; at most %d are allowed", len(list), maxRoles)
	}
	for _, name := range list {
		if !roleName.MatchString(name) {
			return "", fmt.Errorf("roles: %.70q is not a role; use 1 to 64 letters, digits, '_', '.', '-'", name)
		}
	}
	list = slices.Sorted(slices.Values(list))
	return Roles(strings.Join(slices.Compact(list), ",")), nil
}

// List gives the roles one by one; nil when there are none.
func (r Roles) List() []string {
	if r == "" {
		return nil
	}
	return strings.Split(string(r), ",")
}

// Has tells whether a role is among them.
func (r Roles) Has(name string) bool {
	for rest := string(r); rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, ",")
		if one == name {
			return true
		}
	}
	return false
}

// Grantee is to whom a place is open: a [Who], or a role.
type Grantee struct {
	who  Who
	role string
}

// ParseGrantee reads anyone, user, server or role:NAME.
func ParseGrantee(text string) (Grantee, error) {
	if role, ok := strings.CutPrefix(text, "role:"); ok {
		if !roleName.MatchString(role) {
			return Grantee{}, fmt.Errorf("%.70q is not a role; use 1 to 64 letters, digits, '_', '.', '-'", role)
		}
		return Grantee{role: role}, nil
	}
	switch text {
	case "anyone":
		return Grantee{who: Anyone}, nil
	case "user":
		return Grantee{who: User}, nil
	case "server":
		return Grantee{who: Server}, nil
	}
	return Grantee{}, fmt.Errorf("%.40q is not one of anyone, user, server, role:NAME", text)
}

func (g Grantee) includes(user string, roles Roles) bool {
	if g.role != "" {
		return roles.Has(g.role)
	}
	return g.who == Anyone || g.who == User && user != ""
}

// Place is a rule about a place of a document and everything below it.
type Place struct {
	path        []string // "*": any member; "{user}": the one named like the user
	read, write []Grantee
	reads       bool // it says who may read
}

// ParsePlace reads a rule: a path, then read and write, each with who may, such as
// "/players/{user}/** read anyone write user,role:desk". The path is a JSON Pointer
// whose parts may be * and {user}, and whose last may be **. A rule without read
// says nothing about reading.
func ParsePlace(text string) (Place, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 && len(fields) != 5 {
		return Place{}, fmt.Errorf("%.100q is not a path with read or write and who may, such as \"/players/{user}/** write user\"", text)
	}
	p, err := parsePath(fields[0])
	if err != nil {
		return p, err
	}
	for i := 1; i < len(fields); i += 2 {
		var list []Grantee
		for _, name := range strings.Split(fields[i+1], ",") {
			g, err := ParseGrantee(name)
			if err != nil {
				return p, err
			}
			list = append(list, g)
		}
		switch {
		case fields[i] == "read" && p.read == nil:
			p.read, p.reads = list, true
		case fields[i] == "write" && p.write == nil:
			p.write = list
		default:
			return p, fmt.Errorf("%.100q: after the path stand read and write, each at most once", text)
		}
	}
	return p, nil
}

func parsePath(path string) (Place, error) {
	if path == "**" {
		path = "/**"
	}
	p, err := tree.ParsePath(path)
	if err != nil {
		return Place{}, fmt.Errorf("%.100q is not a path such as /players/{user}/**", path)
	}
	if n := len(p); n > 0 && p[n-1] == "**" {
		p = p[:n-1]
	}
	for _, name := range p {
		if name == "**" || name != "{user}" && strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
			return Place{}, fmt.Errorf("%.100q: a part is a member's name, * or {user}; ** may only be the last", path)
		}
	}
	return Place{path: p}, nil
}

// MaxPlaces is how many rules a namespace may have.
const MaxPlaces = 64

// Places are the rules of a namespace about places. They do not change; nil: there
// are none.
type Places struct {
	list  []Place
	reads bool // some rule says who may read
	users bool // and {user} stands in such a rule
}

// NewPlaces makes rules of a list of at most [MaxPlaces]; nil of none.
func NewPlaces(list []Place) *Places {
	if len(list) == 0 {
		return nil
	}
	p := &Places{list: list}
	for i := range list {
		p.reads = p.reads || list[i].reads
		p.users = p.users || list[i].reads && slices.Contains(list[i].path, "{user}")
	}
	return p
}

// Reads tells whether not everybody may read everything.
func (p *Places) Reads() bool { return p != nil && p.reads }

// View is what an identity may see of documents. Two that see the same are equal.
type View struct {
	places *Places
	open   uint64 // the rules whose read includes it
	user   string // "" where it makes no difference
}

// View gives what an identity may see; only where [Places.Reads].
func (p *Places) View(user string, roles Roles) View {
	v := View{places: p}
	if p.users {
		v.user = user
	}
	for i := range p.list {
		if slices.ContainsFunc(p.list[i].read, func(g Grantee) bool { return g.includes(user, roles) }) {
			v.open |= 1 << i
		}
	}
	return v
}

// match tells whether the first parts of a rule's path, as many as path has, are
// path. With {user} it names nothing for nobody.
func (p *Place) match(path tree.Path, user string) bool {
	if user == "" && slices.Contains(p.path, "{user}") {
		return false
	}
	for i := range min(len(path), len(p.path)) {
		switch part := p.path[i]; part {
		case "*":
		case "{user}":
			if path[i] != user {
				return false
			}
		default:
			if part != path[i] {
				return false
			}
		}
	}
	return true
}

// Sees implements [tree.View]: of the rules about reading that cover a place the
// longest count, and longer ones may change what lies below.
func (v View) Sees(path tree.Path) tree.Sight {
	longest, open := -1, false
	opens, closes := false, false // some rule does, below
	for i := range v.places.list {
		p := &v.places.list[i]
		if !p.reads || !p.match(path, v.user) {
			continue
		}
		allowed := v.open&(1<<i) != 0
		switch n := len(p.path); {
		case n > len(path):
			opens = opens || allowed
			closes = closes || !allowed && !v.overruled(p, path)
		case n > longest:
			longest, open = n, allowed
		case n == longest:
			open = open || allowed
		}
	}
	switch {
	case open && closes:
		return tree.Most
	case open:
		return tree.Everything
	case opens:
		return tree.Part
	}
	return tree.Nothing
}

// overruled tells whether each place below path that a closing rule names is opened by
// another one that is as long.
func (v View) overruled(closing *Place, path tree.Path) bool {
	for i := range v.places.list {
		p := &v.places.list[i]
		if v.open&(1<<i) != 0 && p.reads && len(p.path) == len(closing.path) && p.match(path, v.user) && p.includes(closing, len(path), v.user) {
			return true
		}
	}
	return false
}

// includes tells whether a rule's path names everything that another one, which is as
// long, names from a part on.
func (p *Place) includes(other *Place, from int, user string) bool {
	for i := from; i < len(p.path); i++ {
		mine, its := p.path[i], other.path[i]
		same := mine == its || its == "{user}" && mine == user || mine == "{user}" && its == user && its != "*"
		if mine != "*" && !same {
			return false
		}
	}
	return true
}

// Guard is what an identity may do to documents.
type Guard struct {
	places *Places
	user   string
	roles  Roles
}

// Guard gives what an identity may do.
func (p *Places) Guard(user string, roles Roles) Guard { return Guard{p, user, roles} }

// MayWrite implements [tree.Guard].
func (g Guard) MayWrite(path tree.Path) bool {
	for i := range g.places.list {
		p := &g.places.list[i]
		if len(p.path) <= len(path) && p.match(path, g.user) && slices.ContainsFunc(p.write, func(to Grantee) bool { return to.includes(g.user, g.roles) }) {
			return true
		}
	}
	return false
}

// MayRead implements [tree.Guard].
func (g Guard) MayRead(path tree.Path) bool {
	return !g.places.reads || g.places.View(g.user, g.roles).Sees(path) == tree.Everything
}
