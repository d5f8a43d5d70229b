package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/skein-realtime/skein"
)

// Setting is one value in force, explained.
type Setting struct {
	Path   string `json:"path"`
	Value  string `json:"value"` // as YAML; a secret is masked
	Origin Origin `json:"origin"`
	Env    string `json:"env,omitempty"` // the variable that sets it; empty inside tables and lists
	Doc    string `json:"doc"`
}

// Explain gives every value in force and where it came from. With paths, only
// those at or below one of them.
func Explain(l Loaded, paths ...string) []Setting {
	var all []Setting
	settings().walk(l.Config, func(v value) {
		if !wanted(v.path, paths) {
			return
		}
		all = append(all, Setting{Path: v.path, Value: v.shown(), Origin: l.Origins[v.path], Env: v.env, Doc: v.describe()})
	})
	return all
}

func wanted(path string, paths []string) bool {
	for _, p := range paths {
		if path == p || inside(path, p) {
			return true
		}
	}
	return len(paths) == 0
}

// WriteTable writes settings for people, a line each.
func WriteTable(w io.Writer, all []Setting) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		// Lines of a PEM text would tear the table apart; --json has them whole.
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", s.Path, strings.ReplaceAll(shorten(s.Value), "\n", " "), s.Origin)
	}
	return t.Flush()
}

// WriteJSON writes settings as a JSON array.
func WriteJSON(w io.Writer, all []Setting) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// Sources tells the server where its values come from, for its verb settings.
func (l Loaded) Sources() *skein.Sources {
	s := &skein.Sources{File: l.File, Origins: map[string]skein.Origin{}}
	for path, o := range l.Origins {
		switch o.Kind {
		case FromFile:
			place := o.Where
			if i := strings.LastIndexByte(place, ':'); i > 0 { // of file:line:column the line is enough
				place = place[:i]
			}
			s.Origins[path] = skein.Origin{Source: "file", Place: place}
		case FromEnv:
			s.Origins[path] = skein.Origin{Source: "environment"}
		case FromFlag:
			s.Origins[path] = skein.Origin{Source: "flag", Place: o.Where}
		}
	}
	return s
}
