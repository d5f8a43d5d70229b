package auth_test

import (
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
)

func TestRoles(t *testing.T) {
	for verb, want := range map[string]string{ // who may run it
		"info": "viewer operator admin", "history": "viewer operator admin", "stats.series": "viewer operator admin", "problems": "viewer operator admin", "hooks.list": "viewer operator admin",
		"push": "operator admin", "publish": "operator admin", "disconnect": "operator admin", "users.put": "operator admin", "users.block": "operator admin",
		"schedules.put": "operator admin", "campaigns.start": "operator admin", "settings": "operator admin", "trace": "operator admin", "chat.mark": "operator admin",
		"users.delete": "admin", "categories.put": "admin", "categories.delete": "admin", "audit": "admin", "console.link": "admin", "app.reset": "admin", "": "admin",
	} {
		var may []string
		for _, name := range auth.RoleNames() {
			r, err := auth.ParseRole(name)
			if err != nil || r.String() != name {
				t.Fatalf("%s is read as %s, %v", name, r, err)
			}
			if r.Allows(verb) {
				may = append(may, name)
			}
		}
		if got := strings.Join(may, " "); got != want {
			t.Errorf("%s is for %s, want %s", verb, got, want)
		}
	}
	for _, r := range []auth.Role{auth.NoRole, auth.Admin + 1, 255} {
		for _, verb := range append(auth.TableOfVerbs(), "app.reset") {
			if r.Allows(verb) {
				t.Errorf("%v may run %s", r, verb)
			}
		}
	}
	for _, text := range []string{"", "Admin", "root", " viewer"} {
		if r, err := auth.ParseRole(text); err == nil || r != auth.NoRole {
			t.Errorf("%q is the role %v", text, r)
		}
	}
}

// Nobody who may only look can change something, and what applications add is
// neither traffic nor harmless.
func TestClasses(t *testing.T) {
	for _, verb := range auth.TableOfVerbs() {
		if auth.Viewer.Allows(verb) && auth.ClassOf(verb) != auth.Read {
			t.Errorf("a viewer may run %s, which is a %v", verb, auth.ClassOf(verb))
		}
		if !auth.Admin.Allows(verb) {
			t.Errorf("an admin may not run %s", verb)
		}
	}
	for verb, want := range map[string]auth.Class{
		"history": auth.Read, "audit": auth.Read, "trace": auth.Read,
		"publish": auth.Traffic, "push": auth.Traffic, "recall": auth.Traffic, "doc.patch": auth.Traffic, "session.set": auth.Traffic, "subscribe": auth.Traffic,
		"bind": auth.Traffic, "inbox.mark": auth.Traffic, "chat.mark": auth.Traffic, "members.add": auth.Traffic, "users.put": auth.Traffic,
		"users.delete": auth.Write, "disconnect": auth.Write, "schedules.run": auth.Write, "campaigns.start": auth.Write, "console.link": auth.Write, "app.reset": auth.Write,
	} {
		if got := auth.ClassOf(verb); got != want {
			t.Errorf("%s is %v, want %v", verb, got, want)
		}
	}
}
