package auth_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
)

func TestCapsAllow(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"room:7": {"pub", "sub"}, "tick:*": {"sub"}, "game:1*": {"*"}, "none:1": {}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		channel string
		verb    auth.Verb
		want    bool
	}{
		{"room:7", auth.Pub, true},
		{"room:7", auth.Sub, true},
		{"room:7", auth.Presence, false},
		{"room:70", auth.Sub, false},
		{"room:", auth.Sub, false},
		{"tick:", auth.Sub, true},
		{"tick:time", auth.Sub, true},
		{"tick:time", auth.Pub, false},
		{"tick", auth.Sub, false},
		{"game:1", auth.History, true},
		{"game:15", auth.Patch, true},
		{"game:2", auth.Sub, false},
		{"none:1", auth.Sub, false},
		{"", auth.Sub, false},
	}
	for _, tt := range tests {
		if got := caps.Allows(tt.channel, tt.verb); got != tt.want {
			t.Errorf("%q, %d: %v", tt.channel, tt.verb, got)
		}
	}
	all, err := auth.ParseCaps(map[string][]string{"*": {"sub"}})
	if err != nil || !all.Allows("any:thing", auth.Sub) || all.Allows("any:thing", auth.Pub) {
		t.Errorf("the star alone: %v", err)
	}
	if auth.Caps(nil).Allows("room:7", auth.Sub) {
		t.Error("nil gives a right")
	}
}

func TestSeveralVerbsNeedEveryRight(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"room:*": {"sub"}, "room:7": {"pub"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		channel string
		verb    auth.Verb
		want    bool
	}{
		{"room:7", auth.Sub | auth.Pub, true}, // one right from each pattern
		{"room:8", auth.Sub | auth.Pub, false},
		{"room:7", auth.Sub | auth.History, false},
		{"room:7", 0, false}, // nothing asked is nothing granted
		{"room:7", 1 << 7, false},
	}
	for _, tt := range tests {
		if got := caps.Allows(tt.channel, tt.verb); got != tt.want {
			t.Errorf("%s, %q: %v", tt.channel, tt.verb, got)
		}
	}
}

func TestWhatIsUnknownIsDenied(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"*": {"*"}})
	if err != nil {
		t.Fatal(err)
	}
	id := auth.Identity{User: "u", Caps: caps}
	if auth.Allowed(auth.Anyone+1, auth.Sub, "room:7", id) {
		t.Error("a rule that does not exist opens a channel")
	}
	if auth.Allowed(auth.Anyone, 0, "room:7", id) || auth.Allowed(auth.Anyone, 1<<7, "room:7", id) {
		t.Error("a verb that does not exist is allowed")
	}
	if got := (auth.Anyone + 1).String(); got != "Who(5)" {
		t.Errorf("got %s", got)
	}
}

func TestCapsAreWrittenAsTheCommandLineTakesThem(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"tick:*": {"sub"}, "room:7": {"pub", "sub"}, "room:": {"*"}, "room:*": {"patch"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := caps.String(), "room:=sub,pub,presence,history,patch room:*=patch room:7=sub,pub tick:*=sub"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheFirstMistakeIsAlwaysTheSame(t *testing.T) {
	for range 50 {
		_, err := auth.ParseCaps(map[string][]string{"b:1": {"x"}, "a:1": {"y"}, "c:1": {"z"}})
		if err == nil || !strings.Contains(err.Error(), `"a:1": "y" is not a verb`) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestCapsAreBounded(t *testing.T) {
	many := map[string][]string{}
	for i := range 256 {
		many[fmt.Sprintf("room:%d", i)] = []string{"sub"}
	}
	if _, err := auth.ParseCaps(many); err != nil {
		t.Errorf("256 patterns: %v", err)
	}
	many["one more"] = nil
	tests := []struct {
		name string
		caps map[string][]string
		want string
	}{
		{"too many patterns", many, "257 patterns; at most 256 are allowed"},
		{"a pattern too long", map[string][]string{strings.Repeat("x", 256): {"sub"}}, "a pattern has 1 to 255 bytes"},
		{"an empty pattern", map[string][]string{"": {"sub"}}, "a pattern has 1 to 255 bytes"},
		{"two stars", map[string][]string{"**": {"sub"}}, "a star may only stand at the end"},
		{"an empty verb", map[string][]string{"a:b": {""}}, `"" is not a verb`},
		{"a verb in capitals", map[string][]string{"a:b": {"SUB"}}, `"SUB" is not a verb`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := auth.ParseCaps(tt.caps); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCapsMapIsWhatWasParsed(t *testing.T) {
	m := map[string][]string{"*": {"sub", "pub", "presence", "history", "patch"}, "room:*": {"pub"}, "room:": {"sub"}, "x:1": {}}
	caps, err := auth.ParseCaps(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, caps.Map()); diff != "" {
		t.Error(diff)
	}
	if none, err := auth.ParseCaps(nil); err != nil || none.Map() != nil {
		t.Errorf("no caps give %v, %v", none.Map(), err)
	}
}

func TestRulesOfANamespace(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"room:*": {"pub"}})
	if err != nil {
		t.Fatal(err)
	}
	anonymous, user, able := auth.Identity{}, auth.Identity{User: "u"}, auth.Identity{User: "u", Caps: caps}
	tests := []struct {
		rule                  auth.Who
		anonymous, user, able bool
	}{
		{auth.Server, false, false, false},
		{auth.Token, false, false, true},
		{auth.User, false, true, true},
		{auth.Anyone, true, true, true},
	}
	for _, tt := range tests {
		got := [3]bool{}
		for i, id := range []auth.Identity{anonymous, user, able} {
			got[i] = auth.Allowed(tt.rule, auth.Pub, "room:1", id)
		}
		if want := [3]bool{tt.anonymous, tt.user, tt.able}; got != want {
			t.Errorf("%s: got %v, want %v", tt.rule, got, want)
		}
		back, err := auth.ParseWho(tt.rule.String())
		if err != nil || back != tt.rule {
			t.Errorf("%s reads back as %s, %v", tt.rule, back, err)
		}
	}
	if _, err := auth.ParseWho("everyone"); err == nil || !strings.Contains(err.Error(), "anyone, user, member, token, server") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseCaps(f *testing.F) {
	for _, s := range []string{`{}`, `{"*":["*"]}`, `{"room:*":["sub","pub"],"room:7":["presence"]}`, `{"a*b":[]}`, `{"":null}`} {
		f.Add(s, "room:7")
	}
	f.Fuzz(func(t *testing.T, text, channel string) {
		var m map[string][]string
		if json.Unmarshal([]byte(text), &m) != nil {
			return
		}
		caps, err := auth.ParseCaps(m)
		if err != nil {
			return
		}
		for _, v := range []auth.Verb{auth.Sub, auth.Pub, auth.Presence, auth.History, auth.Patch} {
			want := false
			for pattern, verbs := range m {
				prefix, star := strings.CutSuffix(pattern, "*")
				if star && strings.HasPrefix(channel, prefix) || pattern == channel && !star {
					for _, name := range verbs {
						want = want || name == "*" || name == map[auth.Verb]string{auth.Sub: "sub", auth.Pub: "pub", auth.Presence: "presence", auth.History: "history", auth.Patch: "patch"}[v]
					}
				}
			}
			if got := caps.Allows(channel, v); got != want {
				t.Errorf("%s: %q, verb %d: %v, want %v", text, channel, v, got, want)
			}
		}
		again, err := auth.ParseCaps(caps.Map())
		if err != nil {
			t.Fatalf("%s: its own map %v: %v", text, caps.Map(), err)
		}
		if diff := cmp.Diff(caps.Map(), again.Map()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	})
}
