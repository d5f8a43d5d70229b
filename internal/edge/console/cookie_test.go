package console

import (
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
)

func testKeys() *keys { return newKeys([]byte(strings.Repeat("a secret of tests", 2))[:keyBytes]) }

func TestCookiesAreSignedForOnePurpose(t *testing.T) {
	k := testKeys()
	u := &User{Name: "ann", Role: auth.Operator, Password: annsHash}
	c, value, err := k.issue(u, false, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := k.verify(value)
	if !ok || got != c || c.Expires-c.Issued != time.Hour.Milliseconds() || c.ID == "" || c.Link {
		t.Errorf("got %+v, %v; want %+v", got, ok, c)
	}
	if len(value) > maxCookie/2 {
		t.Errorf("a cookie has %d bytes", len(value))
	}
	if strings.Contains(value, text.EncodeToString([]byte("argon2"))) || c.Mark == "" || c.Mark != k.markOf(annsHash) || c.Mark == k.markOf(bobsHash) {
		t.Errorf("the cookie has the mark %q", c.Mark)
	}
	again, other, err := k.issue(u, false, time.Hour)
	if err != nil || other == value || again.ID == c.ID || k.csrfOf(other) == k.csrfOf(value) {
		t.Errorf("two logins are the same: %v", err)
	}
	if strings.HasSuffix(value, k.csrfOf(value)) || strings.Contains(value, k.csrfOf(value)) {
		t.Error("the cookie tells the token")
	}
	link, value, err := k.issue(&User{Name: LinkUser, Role: auth.Admin}, true, time.Hour)
	if got, ok := k.verify(value); err != nil || !ok || got != link || !got.Link || got.Mark != "" {
		t.Errorf("got %+v, %v, %v", got, ok, err)
	}
	if len(value) > maxCookie/2 {
		t.Errorf("a cookie has %d bytes", len(value))
	}
	long, value, err := k.issue(&User{Name: strings.Repeat("x", 64), Role: auth.Operator, Password: annsHash}, false, 720*time.Hour)
	if got, ok := k.verify(value); err != nil || !ok || got != long {
		t.Errorf("the longest name: got %+v, %v, %v", got, ok, err)
	}
}

// Whatever somebody makes of a cookie, only what the server signed is one.
func FuzzCookie(f *testing.F) {
	k := testKeys()
	c := claims{User: "ann", Role: "operator", Issued: 1, Expires: 2, ID: "id", Mark: "mark"} // the same in each process
	real, err := k.sign(c)
	if err != nil {
		f.Fatal(err)
	}
	payload, signature, _ := strings.Cut(real, ".")
	for _, value := range []string{"", ".", real, payload, "." + signature, payload + ".", payload + "." + signature + "=", payload + "\n." + signature, real[1:], strings.ToUpper(real), "e30." + signature} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, ok := k.verify(value)
		if ok != (value == real) || ok && got != c || !ok && got != (claims{}) {
			t.Errorf("%q is %+v, %v", value, got, ok)
		}
	})
}
