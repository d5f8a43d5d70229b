package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// bomb is a text whose merges stand for 3^30 pairs.
func bomb() string {
	var b strings.Builder
	b.WriteString("namespaces:\n  n0: &n0 {kind: event}\n")
	for i := range 30 {
		fmt.Fprintf(&b, "  n%d: &n%d {<<: [*n%d, *n%d, *n%d]}\n", i+1, i+1, i, i, i)
	}
	return b.String()
}

func TestHostileTextsAreRefusedQuickly(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"merges that double", bomb(), "more than 100000 values, aliases counted"},
		{"one list many times", "api:\n  keys:\n    - &k {name: a, hash: b, scopes: [" + strings.Repeat("x,", 1000) + "]}\n" + strings.Repeat("    - *k\n", 1000), "more than 100000 values"},
		{"open brackets", strings.Repeat("[", MaxFile), "nested more than 32 levels deep"},
		{"open braces", "a: " + strings.Repeat("{a: ", MaxFile/8), "nested more than 32 levels deep"},
		{"dashes", strings.Repeat("- ", MaxFile/4), "nested more than 32 levels deep"},
		{"questions", strings.Repeat("? ", MaxFile/4), "nested more than 32 levels deep"},
		{"anchors", strings.Repeat("&a ", MaxFile/4), ""},
		{"an alias inside its own anchor", "namespaces: &a {room: {<<: *a}}\n", ""},
		{"blocks", blocks(1000), "nested more than 32 levels deep"},
		{"one key for ever", strings.Repeat("a: 1\n", MaxFile/8), "more than 100000 keys"},
		{"many wrong keys", strings.Repeat("a: 1\n", 5_000), "and 950 more"},
		{"too large", strings.Repeat("#", MaxFile+1), "larger than 1 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			_, wrong := load(t, tc.text, Options{})
			if wrong == "" || !strings.Contains(wrong, tc.want) {
				t.Errorf("error %.300q, want %q in it", wrong, tc.want)
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// blocks nests maps by indentation.
func blocks(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestALargeFileOfCommentsIsFine(t *testing.T) {
	mustLoad(t, "demos: true\n"+strings.Repeat("# a comment of some length\n", 30_000), Options{})
}

func TestErrorsAreOfOneType(t *testing.T) {
	_, err := Load(Options{Env: []string{"SKEIN_LISTEN=x"}})
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != "listen" || e.Problems[0].Kind != FromEnv {
		t.Errorf("error %#v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(string(Init()), "15s", false)
	f.Add(bomb(), "{room: {kind: event}}", true)
	for _, text := range []string{
		"", "a", "- a", "a: b", "a:\n  - b: [c, {d: e}]\n", "namespaces: {a: &a {kind: event}, b: *a, c: {<<: *a}}", "listen: |\n  x\n", "<<: {listen: x}", "? listen\n: y",
		"namespaces: &a {room: {<<: *a}}", "a: &a *a", "listen: !!str 5", "---\na: 1\n---\n", "\t", "'", "\"\\", "%YAML 1.2\n---\n", "auth: {jwt: {hmac_secret: s3cr3t", "api: {keys: [{scopes: *x}]}",
	} {
		f.Add(text, text, true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file, variable string, dev bool) {
		name := filepath.Join(dir, fmt.Sprintf("%d.yaml", os.Getpid()))
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		opt := Options{File: name, Dev: dev}
		for _, s := range settings().fields {
			if s.env != "" {
				opt.Env = append(opt.Env, s.env+"="+variable)
			}
		}
		if l, err := Load(opt); err == nil {
			check(t, l)
		} else if err.Error() == "" {
			t.Error("an error without words")
		}
		opt.Env = nil
		if l, err := Load(opt); err == nil {
			check(t, l)
		}
	})
}

// check holds what is true of every configuration that loads.
func check(t *testing.T, l Loaded) {
	t.Helper()
	if err := l.Config.Validate(); err != nil {
		t.Errorf("loaded, but: %v", err)
	}
	for _, s := range Explain(l) {
		if _, known := l.Origins[s.Path]; !known {
			t.Errorf("%s has no origin", s.Path)
		}
	}
	var _ skein.Config = l.Config
}
