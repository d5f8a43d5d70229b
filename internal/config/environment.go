package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// notSettings are variables of the command line's other commands. They carry
// the prefix but are no business of a server.
func notSettings() []string { return []string{"SKEIN_CONFIG", "SKEIN_KEY", "SKEIN_TOKEN", "SKEIN_URL"} }

// serviceLink matches what Kubernetes puts into every container when a service
// is called skein. Nobody wrote these, so they are no mistake.
var serviceLink = regexp.MustCompile(`^SKEIN_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment reads the SKEIN_ variables. An empty one counts as not set, since
// that is what a deployment's template leaves of a value nobody gave.
func (l *loader) environment(env []string) {
	byName := map[string]*setting{}
	var names []string
	l.root.each(func(s *setting) {
		if s.env != "" {
			byName[s.env] = s
			names = append(names, s.env)
		}
	})
	env = slices.Clone(env)
	slices.Sort(env)
	for _, entry := range env {
		name, raw, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "SKEIN_") || slices.Contains(notSettings(), name) || serviceLink.MatchString(name) {
			continue
		}
		s := byName[name]
		if s == nil {
			l.unknownVariable(name, names)
			continue
		}
		if raw != "" {
			l.text(&source{kind: FromEnv, name: name}, s, raw)
		}
	}
}

func (l *loader) unknownVariable(name string, names []string) {
	at := place{src: &source{kind: FromEnv, name: name}}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(name, "SKEIN_")), "_")
	if why := planned(first); why != "" {
		l.wrong(at, "", "%s", notHere(why, first))
		return
	}
	if meant := Closest(name, names); meant != "" {
		l.wrong(at, "", "there is no such setting; did you mean %s?", meant)
		return
	}
	l.wrong(at, "", "there is no such setting; `skein config explain --json` lists the variables")
}

// text sets what a variable or a flag says. Lists are separated by commas, or
// YAML in brackets; tables and lists of sections are YAML.
func (l *loader) text(src *source, s *setting, raw string) {
	v := reflect.ValueOf(&l.cfg).Elem().FieldByIndex(s.index)
	at := place{src: src}
	switch {
	case s.shape == table, s.shape == list, s.shape == words && strings.HasPrefix(strings.TrimSpace(raw), "["):
		if len(raw) > MaxFile {
			l.wrong(at, s.path, "the text is larger than 1 MiB")
			return
		}
		l.yaml(src, []byte(raw), func(d *decoder) { d.decode(s, s.path, v, d.body) })
	case s.shape == words:
		l.forget(s.path)
		l.claim(s.path, at)
		parts := strings.Split(raw, ",")
		for i, p := range parts {
			parts[i] = strings.TrimSpace(p)
		}
		v.Set(reflect.ValueOf(parts))
	default:
		if s.secret {
			l.keepSecret(raw)
		}
		l.claim(s.path, at)
		l.set(at, s, s.path, v, raw)
	}
}
