package auth_test

import (
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
)

func TestKeysAreLongAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		k := auth.NewKey()
		if !strings.HasPrefix(k, "sk_") || len(k) != 46 || seen[k] {
			t.Fatalf("got %q", k)
		}
		seen[k] = true
	}
}

func TestAHashReadsBack(t *testing.T) {
	h := auth.HashKey("sk_test")
	text := auth.FormatHash(h)
	if len(text) != 71 || !strings.HasPrefix(text, "sha256:") {
		t.Errorf("got %q", text)
	}
	if back, err := auth.ParseHash(text); err != nil || back != h {
		t.Errorf("got %x, %v", back, err)
	}
	for _, bad := range []string{"", "sha256:", text[7:], "sha512:" + text[7:], text + "00", text[:70], text[:70] + "g", " " + text} {
		if _, err := auth.ParseHash(bad); err == nil || !strings.Contains(err.Error(), "sha256:") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestFindKnowsEveryKeyAndNoOther(t *testing.T) {
	var list []auth.APIKey
	var texts []string
	for _, name := range []string{"first", "middle", "last"} {
		text := auth.NewKey()
		texts = append(texts, text)
		list = append(list, auth.APIKey{Name: name, Hash: auth.HashKey(text)})
	}
	keys := auth.NewKeys(list)
	list[0].Name = "changed from outside"
	for i, want := range []string{"first", "middle", "last"} {
		if k, ok := keys.Find(texts[i]); !ok || k.Name != want {
			t.Errorf("got %v, %v, want %s", k, ok, want)
		}
	}
	for _, text := range []string{"", "sk_", texts[0] + "x", texts[0][:45], strings.ToUpper(texts[0]), auth.FormatHash(auth.HashKey(texts[0]))} {
		if k, ok := keys.Find(text); ok {
			t.Errorf("%q is taken for %s", text, k.Name)
		}
	}
	if _, ok := auth.NewKeys(nil).Find(""); ok {
		t.Error("an empty set has a key")
	}
}

func TestScopes(t *testing.T) {
	tests := []struct {
		scopes []string
		verb   string
		want   bool
	}{
		{nil, "publish", false},
		{[]string{"*"}, "session.get", true},
		{[]string{"publish"}, "publish", true},
		{[]string{"publish"}, "publisher", false},
		{[]string{"session.*"}, "session.get", true},
		{[]string{"session.*"}, "session", false},
		{[]string{"session.*"}, "sessions.get", false},
		{[]string{"a.b.*"}, "a.b.c", true},
		{[]string{"a.b.*"}, "a.c", false},
		{[]string{"*"}, "admin", true},
		{[]string{"publish"}, "admin", false},
		{[]string{"info", "session.get"}, "session.get", true},
		{[]string{"info", "session.get"}, "session.set", false},
	}
	for _, tt := range tests {
		s, err := auth.ParseScopes(tt.scopes)
		if err != nil {
			t.Errorf("%v: %v", tt.scopes, err)
			continue
		}
		if got := s.Allows(tt.verb); got != tt.want {
			t.Errorf("%v, %s: %v", tt.scopes, tt.verb, got)
		}
	}
	for _, bad := range []string{"", "session*", "*.get", "**", "a*b", "a.*.b", ".*", "a..*", "a.", ".a", "Publish", "publish ", "a,b"} {
		if _, err := auth.ParseScopes([]string{"info", bad}); err == nil || !strings.Contains(err.Error(), "is not a scope") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
