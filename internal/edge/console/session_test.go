package console

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
)

func TestLoggingInAndOut(t *testing.T) {
	w := start(t, nil)
	w.do("GET", "/console/session", "").wants(t, "nobody", 401, "unauthorized")
	if r := w.do("POST", "/api/v1/info", "{}"); r.StatusCode != 418 {
		t.Errorf("without a cookie it is not the console's: got %d", r.StatusCode)
	}
	before := time.Now()
	ann := w.login(asAnn)
	if ann.User != "ann" || ann.Role != "operator" || ann.Dev {
		t.Errorf("got %+v", ann.Session)
	}
	if diff := cmp.Diff([]string{"info", "push", "trace"}, ann.Verbs); diff != "" {
		t.Error(diff)
	}
	if at := time.UnixMilli(ann.Expires); at.Before(before.Add(time.Hour-time.Second)) || at.After(time.Now().Add(time.Hour)) {
		t.Errorf("it expires at %v", at)
	}
	c := ann.set
	if c.Name != "skein_console" || !c.HttpOnly || c.Secure || c.Path != "/" || c.Domain != "" || !strings.Contains(c.Raw, "SameSite=Strict") || c.MaxAge < 3590 || c.MaxAge > 3600 {
		t.Errorf("the cookie is %s", c.Raw)
	}
	r := w.do("GET", "/console/session", "", ann.cookie)
	var again Session
	if err := json.Unmarshal([]byte(r.body), &again); err != nil || !cmp.Equal(again, ann.Session) || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %s, want %+v; %v", r.body, ann.Session, err)
	}
	if r := w.do("POST", "/api/v1/info", "{}", ann.cookie, ann.token); r.body != "console:ann console operator 127.0.0.1" {
		t.Errorf("the API sees %q", r.body)
	}
	bob := w.login(asBob)
	if diff := cmp.Diff([]string{"info"}, bob.Verbs); diff != "" {
		t.Error(diff)
	}

	w.do("POST", "/console/logout", "", ann.cookie).wants(t, "without the token", 403, "denied")
	out := w.do("POST", "/console/logout", "", ann.cookie, ann.token)
	if out.StatusCode != 204 || len(out.Cookies()) != 1 || out.Cookies()[0].MaxAge >= 0 || out.Cookies()[0].Value != "" {
		t.Errorf("got %d %s, %v", out.StatusCode, out.body, out.Cookies())
	}
	w.do("GET", "/console/session", "", ann.cookie).wants(t, "after logging out", 401, "unauthorized")
	w.do("POST", "/api/v1/info", "{}", ann.cookie, ann.token).wants(t, "after logging out", 401, "unauthorized")
	w.do("POST", "/console/logout", "", ann.cookie, ann.token).wants(t, "logging out twice", 401, "unauthorized")
	if r := w.do("GET", "/console/session", "", bob.cookie); r.StatusCode != 200 {
		t.Errorf("bob was logged out, too: %s", r.body)
	}
	if diff := cmp.Diff([]entry{
		{"ann", "operator", "console.login", `{"by":"password"}`, false}, {"bob", "viewer", "console.login", `{"by":"password"}`, false}, {"ann", "operator", "console.logout", "", false},
	}, w.book.read(), cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
}

// Another site in the browser of somebody who is logged in can send the cookie, but
// neither knows the token nor hides that it is another.
func TestRequestsOfOtherSites(t *testing.T) {
	w := start(t, nil)
	ann, bob := w.login(asAnn), w.login(asBob)
	host := strings.TrimPrefix(w.URL, "http://")
	for what, tt := range map[string]struct {
		header []string
		ok     bool
	}{
		"the page":                              {[]string{ann.token}, true},
		"the page, in a new browser":            {[]string{ann.token, "Sec-Fetch-Site: same-origin", "Origin: " + w.URL}, true},
		"the page, in an old browser":           {[]string{ann.token, "Origin: " + w.URL}, true},
		"behind a proxy that changes the host":  {[]string{ann.token, "Sec-Fetch-Site: same-origin", "Origin: https://console.example"}, true},
		"behind a proxy that ends TLS":          {[]string{ann.token, "Origin: https://" + host}, true},
		"no token":                              {nil, false},
		"the token of somebody else":            {[]string{bob.token}, false},
		"half of a token":                       {[]string{ann.token[:len(ann.token)-3]}, false},
		"another site":                          {[]string{ann.token, "Sec-Fetch-Site: cross-site"}, false},
		"another host of the same site":         {[]string{ann.token, "Sec-Fetch-Site: same-site"}, false},
		"somebody who types the address":        {[]string{ann.token, "Sec-Fetch-Site: none"}, false},
		"another origin":                        {[]string{ann.token, "Origin: https://evil.example"}, false},
		"another port":                          {[]string{ann.token, "Origin: http://127.0.0.1:1"}, false},
		"an origin that is hidden":              {[]string{ann.token, "Origin: null"}, false},
		"an origin that is no origin":           {[]string{ann.token, "Origin: %zz"}, false},
		"an origin that has ours in its name":   {[]string{ann.token, "Origin: http://" + host + ".evil.example"}, false},
		"an origin with ours as the user of it": {[]string{ann.token, "Origin: http://" + host + "@evil.example"}, false},
	} {
		r := w.do("POST", "/api/v1/info", "{}", append(tt.header, ann.cookie)...)
		if !tt.ok {
			r.wants(t, what, 403, "denied")
			if !strings.Contains(r.body, `"field":"X-CSRF-Token"`) {
				t.Errorf("%s: got %s", what, r.body)
			}
		} else if r.StatusCode != 200 {
			t.Errorf("%s: got %d %s", what, r.StatusCode, r.body)
		}
	}
	w.do("POST", "/console/login", asAnn, "Sec-Fetch-Site: cross-site").wants(t, "a login by another site", 403, "denied")
	w.do("POST", "/console/login", asAnn, "Origin: https://evil.example").wants(t, "a login by another site", 403, "denied")
	if n := w.door.Metrics().Denied.Load(); n != 14 {
		t.Errorf("%d requests were counted as denied", n)
	}
}

func TestCookiesThatNobodySigned(t *testing.T) {
	w := start(t, nil)
	ann := w.login(asAnn)
	value := ann.set.Value
	payload, signature, _ := strings.Cut(value, ".")
	other := newKeys([]byte(strings.Repeat("k", keyBytes)))
	_, forged, err := other.issue(&User{Name: "ann", Role: auth.Admin, Password: annsHash}, false, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	admin := text.EncodeToString([]byte(`{"u":"ann","r":"admin","i":1,"e":99999999999999,"n":"x"}`))
	for _, bad := range []string{
		"x", ".", "..", payload, payload + ".", "." + signature, value + "A", value + ".A", value[:len(value)-1], payload + "A." + signature,
		forged, admin + "." + signature, admin + ".", payload + "." + text.EncodeToString(nil), strings.Repeat("A", 1<<14), strings.ToUpper(value), payload + "=." + signature,
	} {
		if len(bad) > 8<<10 {
			bad = bad[:8<<10]
		}
		w.do("GET", "/console/session", "", "Cookie: skein_console="+bad).wants(t, fmt.Sprintf("%.60q", bad), 401, "unauthorized")
		w.do("POST", "/api/v1/info", "{}", ann.token, "Cookie: skein_console="+bad).wants(t, fmt.Sprintf("%.60q", bad), 401, "unauthorized")
	}
	// One that somebody nearby has set in front does not push the real one away, unless
	// there are too many of them.
	if r := w.do("GET", "/console/session", "", "Cookie: skein_console="+forged+"; skein_console="+value); r.StatusCode != 200 {
		t.Errorf("behind another: %d %s", r.StatusCode, r.body)
	}
	w.do("GET", "/console/session", "", "Cookie: "+strings.Repeat("skein_console=x; ", maxCookies)+"skein_console="+value).wants(t, "behind many", 401, "unauthorized")
	if r := w.do("POST", "/api/v1/info", "{}", "Cookie: skein_console="); r.StatusCode != 418 {
		t.Errorf("an empty cookie is none: got %d", r.StatusCode)
	}
	w.do("GET", "/console/session", "", "Cookie: __Host-skein_console="+value).wants(t, "the name over TLS, without TLS", 401, "unauthorized")
}

// Where TLS ends at a proxy that is believed, the cookie is one that only TLS carries.
func TestTheCookieOverTLS(t *testing.T) {
	w := start(t, func(c *Config) { c.Settings.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	over := "X-Forwarded-Proto: https"
	ann := w.login(asAnn, over)
	if c := ann.set; c.Name != "__Host-skein_console" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %s", c.Raw)
	}
	if r := w.do("GET", "/console/session", "", ann.cookie, over); r.StatusCode != 200 {
		t.Errorf("got %d %s", r.StatusCode, r.body)
	}
	w.do("GET", "/console/session", "", "Cookie: skein_console="+ann.set.Value, over).wants(t, "the name without TLS, over TLS", 401, "unauthorized")
	if c := w.login(asAnn, "X-Forwarded-Proto: http").set; c.Secure {
		t.Errorf("the cookie is %s", c.Raw)
	}
	w.door.Configure(settingsOf(nil))
	if c := w.login(asAnn, over).set; c.Secure || c.Name != "skein_console" {
		t.Errorf("a proxy is believed that is not trusted: %s", c.Raw)
	}
}

// What the configuration says of a user now decides, not what it said at the login.
func TestSessionsEndWithWhatTheyStandOn(t *testing.T) {
	for what, tt := range map[string]struct {
		change func(*Settings)
		stands bool
	}{
		"nothing":         {func(*Settings) {}, true},
		"another user":    {func(s *Settings) { s.Users = append(s.Users, User{Name: "eve", Role: auth.Admin, Password: bobsHash}) }, true},
		"longer sessions": {func(s *Settings) { s.Session = 700 * time.Hour }, true},
		"the user":        {func(s *Settings) { s.Users = s.Users[1:] }, false},
		"the role":        {func(s *Settings) { s.Users[0].Role = auth.Admin }, false},
		"the password":    {func(s *Settings) { s.Users[0].Password = hash(annsPassword) }, false},
		"the door":        {func(s *Settings) { s.Off = true }, false},
	} {
		w := start(t, nil)
		ann := w.login(asAnn)
		w.door.Configure(settingsOf(tt.change))
		r := w.do("POST", "/api/v1/info", "{}", ann.cookie, ann.token)
		if stands := r.StatusCode == 200; stands != tt.stands {
			t.Errorf("%s: got %d %s", what, r.StatusCode, r.body)
		}
	}
}

// Sessions outlive a restart, as long as there is the store.
func TestSessionsOutliveARestart(t *testing.T) {
	st := open(t)
	first, second := startOn(t, st, false, nil), startOn(t, st, false, nil)
	ann, bob := first.login(asAnn), first.login(asBob)
	if r := first.do("POST", "/console/logout", "", bob.cookie, bob.token); r.StatusCode != 204 {
		t.Fatalf("got %d %s", r.StatusCode, r.body)
	}
	if r := second.do("POST", "/api/v1/info", "{}", ann.cookie, ann.token); r.StatusCode != 200 {
		t.Errorf("got %d %s", r.StatusCode, r.body)
	}
	second.do("POST", "/api/v1/info", "{}", bob.cookie, bob.token).wants(t, "who had logged out before", 401, "unauthorized")
	startOn(t, open(t), false, nil).do("GET", "/console/session", "", ann.cookie).wants(t, "another store", 401, "unauthorized")
}

// Without the store nobody comes in; who is in stays in.
func TestTheStoreDoesNotAnswer(t *testing.T) {
	st := open(t)
	w := startOn(t, st, true, nil)
	ann := w.login(asAnn)
	if r := w.do("GET", "/console/session", "", ann.cookie); r.StatusCode != 200 {
		t.Fatalf("got %d %s", r.StatusCode, r.body)
	}
	link := newLink(t, w.verbs, `{"role":"admin"}`)
	later := w.login(asBob)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if r := w.do("POST", "/api/v1/info", "{}", ann.cookie, ann.token); r.StatusCode != 200 {
		t.Errorf("whom the server knows: got %d %s", r.StatusCode, r.body)
	}
	w.do("GET", "/console/session", "", later.cookie).wants(t, "whom it has not looked up", 503, "unavailable")
	w.do("POST", "/console/logout", "", ann.cookie, ann.token).wants(t, "logging out", 503, "unavailable")
	w.do("POST", "/console/login", `{"link":"`+link+`"}`).wants(t, "a link", 503, "unavailable")
	fresh := startOn(t, st, true, nil)
	for range 2 {
		r := fresh.do("POST", "/console/login", asAnn)
		r.wants(t, "a server that has no key", 503, "unavailable")
		if !strings.Contains(r.body, "the store does not answer") {
			t.Errorf("got %s", r.body)
		}
	}
	fresh.do("GET", "/console/session", "", ann.cookie).wants(t, "a server that has no key", 503, "unavailable")
}
