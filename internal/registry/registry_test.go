package registry_test

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/registry"
)

// Size writes itself, as that of a configuration does.
type Size int64

func (s Size) String() string { return strconv.FormatInt(int64(s), 10) + "B" }

type part struct {
	Token string `yaml:"token" secret:"true"`
	Most  Size   `yaml:"most"`
}

var typ = reflect.TypeFor[config]()

type config struct {
	Name    string          `yaml:"name" doc:"what it is called"`
	At      string          `yaml:"at" secret:"address"`
	URL     string          `yaml:"url"`
	On      bool            `yaml:"on"`
	Level   *int            `yaml:"level"`
	Words   []string        `yaml:"words"`
	One     part            `yaml:"one"`
	Parts   []part          `yaml:"parts"`
	Named   map[string]part `yaml:"named"`
	Extra   part            `yaml:"extra" optional:"true"`
	Ignored func()          `yaml:"-"`
}

func show(c config) map[string]string {
	shown := map[string]string{}
	registry.Of(typ).Walk(c, func(v registry.Value) { shown[v.Path] = v.Show() })
	return shown
}

func TestValuesAreShown(t *testing.T) {
	want := map[string]string{
		"name": `""`, "at": `""`, "url": `""`, "on": "false", "level": "null", "words": "[]", "one.token": `""`, "one.most": "0B", "parts": "[]", "named": "{}", "extra": "{}",
	}
	if diff := cmp.Diff(want, show(config{})); diff != "" {
		t.Error(diff)
	}
	got := show(config{
		Name: "a b", On: true, Level: new(3), Words: []string{"x", "*"}, One: part{"secret", 4}, Parts: []part{{"other", 1}, {}}, Named: map[string]part{"n": {Token: "third"}}, Extra: part{Most: 2},
	})
	want = map[string]string{
		"name": `"a b"`, "at": `""`, "url": `""`, "on": "true", "level": "3", "words": `[x, "*"]`, "one.token": registry.Mask, "one.most": "4B",
		"parts[0].token": registry.Mask, "parts[0].most": "1B", "parts[1].token": `""`, "parts[1].most": "0B",
		"named.n.token": registry.Mask, "named.n.most": "0B", "extra.token": `""`, "extra.most": "2B",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Of an address nobody sees the password, or what might be one.
func TestAddressesAreShownWithoutPasswords(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://ann:hidden@db.example/skein":                 `"postgres://ann@db.example/skein"`,
		"postgres://ann:hidden@db.example/skein?password=hidden": `"postgres://ann@db.example/skein?********"`,
		"postgres://db.example/skein":                            "postgres://db.example/skein",
		"postgres://ann:hid/den@db.example/skein":                registry.Mask,
		"postgres://ann:1/hidden@db.example/skein":               registry.Mask,
		"postgres://ann%3Ahidden@db.example/skein":               registry.Mask,
		"host=db.example password=hidden":                        registry.Mask,
		"postgres:///skein?host=/run&password=hidden":            registry.Mask,
		"hidden": registry.Mask,
	} {
		if got := show(config{At: in})["at"]; got != want {
			t.Errorf("%s is shown as %s", in, got)
		}
	}
	for in, want := range map[string]string{
		"https://ann:hidden@app.example/hooks?token=hidden#hidden": `"https://ann@app.example/hooks?********"`,
		"https://app.example/hooks":                                "https://app.example/hooks",
		"no address":                                               `"no address"`,
	} {
		if got := show(config{URL: in})["url"]; got != want {
			t.Errorf("%s is shown as %s", in, got)
		}
	}
}

func TestNames(t *testing.T) {
	var paths, variables []string
	var each func(s *registry.Setting)
	each = func(s *registry.Setting) {
		paths, variables = append(paths, s.Path), append(variables, s.Env)
		for _, f := range s.Fields {
			each(f)
		}
		if s.Elem != nil {
			each(s.Elem)
		}
	}
	each(registry.Of(typ))
	if diff := cmp.Diff([]string{
		"", "name", "at", "url", "on", "level", "words", "one", "one.token", "one.most", "parts", "parts[*]", "parts[*].token", "parts[*].most",
		"named", "named.*", "named.*.token", "named.*.most", "extra", "extra.token", "extra.most",
	}, paths); diff != "" {
		t.Error(diff)
	}
	if variables[1] != "SKEIN_NAME" || variables[8] != "SKEIN_ONE_TOKEN" || variables[7] != "" || variables[12] != "" {
		t.Errorf("got %v", variables)
	}
}
