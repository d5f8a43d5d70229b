// Package config makes a [skein.Config] out of its defaults, a YAML file, the
// environment and the flags, in this order, and says where each value came
// from. It is strict: an unknown key, a wrong type or an impossible value is an
// error with the place, what was meant, and every other error next to it.
//
// There is one list of settings, the fields of skein.Config with their yaml,
// doc and secret tags. The names of keys and environment variables, the
// explanation, the schema and the commented file all come from it.
//
// The package does not watch files, stores nothing and starts no goroutine.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/skein-realtime/skein"
)

// MaxFile bounds the configuration file, in bytes.
const MaxFile = 1 << 20

// Options say what to load from.
type Options struct {
	// File is the name of the configuration file. Empty: none.
	File string
	// Env is the environment as os.Environ gives it. Only SKEIN_… is looked at.
	Env []string
	// Flags win over everything else.
	Flags []Flag
	// Dev applies [skein.Config.WithDev] at the end.
	Dev bool
}

// A Flag is a setting that was given on the command line.
type Flag struct {
	Path  string // "tls.cert"
	Name  string // "--tls-cert", for messages
	Value string
}

// Kind is the layer that a value came from.
type Kind string

// The layers, weakest first.
const (
	FromDefault Kind = "default"
	FromFile    Kind = "file"
	FromEnv     Kind = "env"
	FromFlag    Kind = "flag"
)

// Origin is where a value came from.
type Origin struct {
	Kind  Kind   `json:"kind"`
	Where string `json:"where,omitempty"` // "skein.yaml:3:5", "SKEIN_LISTEN", "--listen"; empty for a default
}

// String implements fmt.Stringer.
func (o Origin) String() string {
	if o.Kind == FromDefault || o.Where == "" {
		return string(o.Kind)
	}
	return o.Where
}

// Loaded is a configuration that passed every check.
type Loaded struct {
	Config skein.Config
	// Origins has an entry for every value in force, under the path that errors
	// use: "auth.timeout", "namespaces.room.kind", "api.keys[0].hash".
	Origins map[string]Origin
	File    string // that was read; empty: none
}

// Load reads all layers. The error is an [*Error] with everything that is
// wrong; the Loaded is then empty.
func Load(opt Options) (Loaded, error) {
	l := &loader{cfg: skein.DefaultConfig(), root: settings(), places: map[string]place{}}
	l.cfg.SocketIO.Namespaces = nil // their default is made of the namespaces that are configured
	l.keys = secretKeys(l.root)
	l.file(opt.File)
	l.environment(opt.Env)
	l.flags(opt.Flags)
	if opt.Dev {
		l.dev()
	}
	l.complete()
	if !l.exhausted {
		l.validate()
	}
	if len(l.problems) > 0 {
		return Loaded{}, l.failure()
	}
	return Loaded{Config: l.cfg, Origins: l.origins(), File: opt.File}, nil
}

// loader is one run of Load.
type loader struct {
	cfg      skein.Config
	root     *setting
	places   map[string]place // of everything that is not a default
	problems []Problem
	secrets  []string // values that must not be shown
	keys     *regexp.Regexp
	// exhausted: a text was given up half way, so that checking the values would
	// only complain about what was not read.
	exhausted bool
}

// source is one text that settings come from.
type source struct {
	kind  Kind
	name  string
	lines []string // of a YAML text; nil for a plain value
}

// place is a spot in a source. line is 0 when the source has no lines.
type place struct {
	src          *source
	line, column int
}

func (p place) where() string {
	if p.line == 0 {
		return p.src.name
	}
	return fmt.Sprintf("%s:%d:%d", p.src.name, p.line, p.column)
}

// claim notes where path was set.
func (l *loader) claim(path string, at place) { l.places[path] = at }

// forget drops the places inside path, which a stronger layer replaces as a whole.
func (l *loader) forget(path string) {
	for p := range l.places {
		if inside(p, path) {
			delete(l.places, p)
		}
	}
}

// inside tells whether path is below parent.
func inside(path, parent string) bool {
	return len(path) > len(parent) && strings.HasPrefix(path, parent) && (path[len(parent)] == '.' || path[len(parent)] == '[')
}

func (l *loader) file(name string) {
	if name == "" {
		return
	}
	src := &source{kind: FromFile, name: name}
	text, err := readFile(name)
	if err != nil {
		l.wrong(place{src: src}, "", "%v", err)
		return
	}
	l.yaml(src, text, func(d *decoder) { d.document(reflect.ValueOf(&l.cfg).Elem()) })
}

// readFile reads a file that is not larger than MaxFile.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the file: %w", errors.Unwrap(err))
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the file: %w", errors.Unwrap(err))
	case len(text) > MaxFile:
		return nil, errors.New("the file is larger than 1 MiB")
	}
	return text, nil
}

func (l *loader) flags(flags []Flag) {
	for _, f := range flags {
		l.text(&source{kind: FromFlag, name: f.Name}, l.root.find(f.Path), f.Value)
	}
}

// dev applies --dev and notes which values it changed.
func (l *loader) dev() {
	before := l.values()
	l.cfg = l.cfg.WithDev()
	at := place{src: &source{kind: FromFlag, name: "--dev"}}
	for path, value := range l.values() {
		if old, known := before[path]; !known || old != value {
			l.claim(path, at)
		}
	}
}

// complete fills in what a namespace or a category leaves out, so that what is in
// force can be told.
func (l *loader) complete() {
	for name, ns := range l.cfg.Namespaces {
		l.cfg.Namespaces[name] = ns.WithDefaults()
	}
	for name, category := range l.cfg.Categories {
		l.cfg.Categories[name] = category.WithDefaults()
	}
	l.cfg.SocketIO = l.cfg.SocketIO.WithDefaults(l.cfg.Namespaces)
}

// values gives every value in force as text.
func (l *loader) values() map[string]string {
	values := map[string]string{}
	l.root.walk(l.cfg, func(v value) { values[v.path] = v.text() })
	return values
}

// validate adds what skein.Config.Validate says, at the places it is about.
func (l *loader) validate() {
	bad := map[string]bool{}
	for _, p := range l.problems {
		bad[p.Path] = true
	}
	for _, e := range configErrors(l.cfg.Validate()) {
		if !bad[e.Path] {
			l.wrong(l.placeOf(e.Path), e.Path, "%s", withSuggestion(e.Message))
		}
	}
}

// configErrors takes a joined error apart.
func configErrors(err error) (all []*skein.ConfigError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, configErrors(e)...)
		}
		return all
	}
	if e := (*skein.ConfigError)(nil); errors.As(err, &e) {
		all = append(all, e)
	}
	return all
}

// withSuggestion completes "is not one of" when one of them was probably meant.
func withSuggestion(message string) string {
	got, list, found := strings.Cut(message, " is not one of ")
	if !found {
		return message
	}
	if meant := Closest(strings.Trim(got, `"`), strings.Split(list, ", ")); meant != "" {
		return message + "; did you mean `" + meant + "`?"
	}
	return message
}

// placeOf finds where a path was set: there, below it, or above it.
func (l *loader) placeOf(path string) place {
	if at, ok := l.places[path]; ok {
		return at
	}
	if s := l.root.find(path); s != nil && s.shape == section {
		for _, f := range s.fields {
			if at, ok := l.places[f.path]; ok {
				return at
			}
		}
	}
	for {
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return place{}
		}
		path = path[:i]
		if at, ok := l.places[path]; ok {
			return at
		}
	}
}

func (l *loader) origins() map[string]Origin {
	origins := map[string]Origin{}
	l.root.walk(l.cfg, func(v value) {
		origins[v.path] = Origin{Kind: FromDefault}
		if at, ok := l.places[v.path]; ok {
			origins[v.path] = Origin{Kind: at.src.kind, Where: at.where()}
		}
	})
	return origins
}

// failure sorts the problems by layer and place.
func (l *loader) failure() error {
	layer := map[Kind]int{FromDefault: 0, FromFile: 1, FromEnv: 2, FromFlag: 3}
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(layer[a.Kind], layer[b.Kind]), cmp.Compare(a.Source, b.Source),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return &Error{Problems: l.problems}
}
