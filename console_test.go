package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/test/pgtest"
)

const annsPassword, bobsPassword, evesPassword = "correct horse battery", "staple of the barn", "a password of the boss"

// consoleUser is an entry of console.users whose hash does not take long.
func consoleUser(name, role, password string) skein.ConsoleUser {
	return skein.ConsoleUser{Name: name, Role: role, Password: auth.HashPassword(password, auth.PasswordCost{Memory: 1 << 10, Passes: 1, Lanes: 1}).String()}
}

// consoleConfig has a user of each role.
func consoleConfig(data string) skein.Config {
	cfg := strict()
	cfg.Data = data
	cfg.Console.Users = []skein.ConsoleUser{consoleUser("ann", "operator", annsPassword), consoleUser("bob", "viewer", bobsPassword), consoleUser("eve", "admin", evesPassword)}
	cfg.Categories = map[string]skein.Category{"news": {}}
	scopes := []string{"*"}
	cfg.API.Keys = []skein.APIKey{{Name: "ann", Hash: auth.FormatHash(auth.HashKey(consoleKey)), Scopes: scopes}}
	return cfg
}

// consoleKey is an API key that may everything, and is named as a user of the console.
const consoleKey = "sk_of_the_backend"

// browser is somebody at the console of a server.
type browser struct {
	t      testing.TB
	http   *http.Client
	base   string
	cookie string
	csrf   string
	verbs  []string
	role   string
}

func (s *testServer) browser() *browser {
	return &browser{t: s.t, http: http.DefaultClient, base: "http://" + s.addr}
}

// do makes a request; header lines are "Name: value".
func (b *browser) do(method, path, body string, header ...string) (int, http.Header, map[string]any) {
	b.t.Helper()
	req, err := http.NewRequest(method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if b.cookie != "" {
		req.Header.Set("Cookie", b.cookie)
	}
	if b.csrf != "" {
		req.Header.Set("X-CSRF-Token", b.csrf)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var out map[string]any
	_ = json.Unmarshal(text, &out) // pages are no JSON
	return res.StatusCode, res.Header, out
}

// login logs somebody in.
func (b *browser) login(body string) *browser {
	b.t.Helper()
	status, h, out := b.do("POST", "/console/login", body)
	if status != 200 {
		b.t.Fatalf("%s: got %d %v", body, status, out)
	}
	in := *b
	in.cookie, _, _ = strings.Cut(h.Get("Set-Cookie"), ";")
	in.csrf, in.role = out["csrf"].(string), out["role"].(string)
	for _, v := range out["verbs"].([]any) {
		in.verbs = append(in.verbs, v.(string))
	}
	return &in
}

func (b *browser) as(user, password string) *browser {
	b.t.Helper()
	return b.login(fmt.Sprintf(`{"user":%q,"password":%q}`, user, password))
}

// verb runs a verb, and wants a status.
func (b *browser) verb(name, params string, status int) map[string]any {
	b.t.Helper()
	got, _, out := b.do("POST", "/api/v1/"+name, params)
	if got != status {
		b.t.Errorf("%s %s: got %d %v, want %d", name, params, got, out, status)
	}
	return out
}

// in tells whether the server knows who it is.
func (b *browser) in() bool {
	b.t.Helper()
	status, _, out := b.do("GET", "/console/session", "")
	if status != 200 && status != 401 {
		b.t.Fatalf("got %d %v", status, out)
	}
	return status == 200
}

// audited gives the lines of the audit log about a verb, the newest first, as "who role outcome".
func audited(t testing.TB, s *testServer, verb string) (list []string) {
	t.Helper()
	page, err := s.Audit(context.Background(), skein.AuditParams{Verb: verb})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range page.Lines {
		list = append(list, fmt.Sprint(l.Who, " ", l.By, " ", l.Role, " ", l.Outcome))
	}
	return list
}

// link gives the token of a one-time link.
func (s *testServer) link(role, ttl string) string {
	s.t.Helper()
	l, err := s.ConsoleLink(context.Background(), skein.ConsoleLinkParams{Role: role, TTL: ttl})
	if err != nil {
		s.t.Fatal(err)
	}
	base, token, ok := strings.Cut(l.URL, "/console/#link=")
	if !ok || !strings.HasPrefix(base, "http://") || l.Expires <= time.Now().UnixMilli() {
		s.t.Fatalf("the link is %+v", l)
	}
	return token
}

// The table of roles is that of the registry: nothing is missing, nothing is left over.
func TestEveryVerbHasARole(t *testing.T) {
	s := start(t, grouped(t))
	admin := s.browser().login(`{"link":"` + s.link("admin", "") + `"}`)
	same(t, "verbs of the server, and the table", admin.verbs, auth.TableOfVerbs())
}

func TestRolesAtTheConsole(t *testing.T) {
	s := start(t, consoleConfig(t.TempDir()))
	ann, bob, eve := s.browser().as("ann", annsPassword), s.browser().as("bob", bobsPassword), s.browser().as("eve", evesPassword)
	const push = `{"to":{"users":["u"]},"category":"news","data":{"text":"hello"}}`

	bob.verb("info", `{}`, 200)
	e := bob.verb("push", push, 403)
	if e["code"] != "denied" || e["detail"] != "the role viewer may not run push" {
		t.Errorf("got %v", e)
	}
	for _, verb := range []string{"publish", "users.put", "users.delete", "schedules.put", "disconnect", "audit", "settings", "console.link", "categories.put"} {
		bob.verb(verb, `{}`, 403)
	}
	batch := bob.verb("batch", `{"commands":[{"verb":"info"},{"verb":"push","params":`+push+`},{"verb":"no.verb"}]}`, 200)
	var codes []any
	for _, r := range batch["results"].([]any) {
		e, _ := r.(map[string]any)["error"].(map[string]any)
		codes = append(codes, e["code"])
	}
	same(t, "the batch of a viewer", codes, []any{nil, "denied", "not_found"})
	if status, _, out := bob.do("GET", "/api/v1/trace?user=u", ""); status != 403 || out["detail"] != "the role viewer may not run trace" {
		t.Errorf("a viewer who traces: got %d %v", status, out)
	}
	same(t, "what a viewer tried", audited(t, s, "push"), []string{"bob console viewer denied", "bob console viewer denied"})
	same(t, "what a viewer followed", audited(t, s, "trace"), []string{"bob console viewer denied"})

	ann.verb("push", push, 200)
	ann.verb("settings", `{}`, 200)
	ann.verb("audit", `{}`, 403)
	ann.verb("users.delete", `{"users":["u"]}`, 403)
	// Who may not run a verb may not have it run by a schedule.
	e = ann.verb("schedules.put", `{"name":"clean","every":"1h","verb":"users.delete","params":{"users":["u"]}}`, 403)
	if e["detail"] != "the role operator may not run users.delete" {
		t.Errorf("got %v", e)
	}
	eve.verb("users.delete", `{"users":["u"]}`, 200)
	lines := eve.verb("audit", `{"verb":"users.delete"}`, 200)["lines"].([]any)
	if first := lines[0].(map[string]any); first["who"] != "eve" || first["role"] != "admin" || first["by"] != "console" || first["outcome"] != "ok" || first["address"] != "127.0.0.1" {
		t.Errorf("got %v", first)
	}
	same(t, "who deleted users", audited(t, s, "users.delete"), []string{"eve console admin ok", "ann console operator denied", "bob console viewer denied"})
	same(t, "who pushed", audited(t, s, "push")[0], "ann console operator ok")
	same(t, "who came", audited(t, s, "console.login"), []string{"eve console admin ok", "bob console viewer ok", "ann console operator ok"})

	_, _, metrics := s.request("GET", "/metrics", "", "Authorization: Bearer "+consoleKey)
	for _, line := range []string{`skein_console_logins_total{result="password"} 3`, `skein_console_logins_total{result="wrong"} 0`, `skein_console_denied_total 14`} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// A link lets one person in, for a while, in the role that it was made for.
func TestLinksToTheConsole(t *testing.T) {
	s := start(t, consoleConfig(t.TempDir()))
	token := s.link("operator", "")
	b := s.browser().login(`{"link":"` + token + `"}`)
	same(t, "role", b.role, "operator")
	b.verb("audit", `{}`, 403)
	if status, _, out := s.browser().do("POST", "/console/login", `{"link":"`+token+`"}`); status != 401 || out["code"] != "unauthorized" {
		t.Errorf("a link that was used: got %d %v", status, out)
	}
	same(t, "the audit log", audited(t, s, "console.login"), []string{"link console  unauthorized", "link console operator ok"})

	// By whom it is asked for it leads where he found the server.
	_, _, out := s.post(consoleKey, "console.link", `{"role":"viewer"}`)
	if url, _ := out["url"].(string); !strings.HasPrefix(url, "http://"+s.addr+"/console/#link=") {
		t.Errorf("got %v", out)
	}
	same(t, "who made links", audited(t, s, "console.link"), []string{"ann key  ok"})
	lines, err := s.Audit(context.Background(), skein.AuditParams{})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := json.Marshal(lines); strings.Contains(string(text), token) {
		t.Errorf("the audit log has the token: %s", text)
	}
}

func TestPasswordsAtTheConsole(t *testing.T) {
	s := start(t, consoleConfig(t.TempDir()))
	b := s.browser()
	for range 10 {
		if status, _, out := b.do("POST", "/console/login", `{"user":"ann","password":"guess"}`); status != 401 || out["detail"] != "user or password is wrong" {
			t.Fatalf("got %d %v", status, out)
		}
	}
	status, h, out := b.do("POST", "/console/login", `{"user":"ann","password":"`+annsPassword+`"}`)
	var wait int
	if _, err := fmt.Sscan(h.Get("Retry-After"), &wait); err != nil || status != 429 || out["code"] != "rate_limited" || wait < 1 || wait > 60 {
		t.Errorf("got %d %v, Retry-After %q", status, out, h.Get("Retry-After"))
	}
	b.as("bob", bobsPassword)
	same(t, "lines of attempts", len(audited(t, s, "console.login")), 11)
}

// What comes by cookie carries a token that other sites do not know.
func TestOtherSitesAtTheConsole(t *testing.T) {
	s := start(t, consoleConfig(t.TempDir()))
	ann, bob := s.browser().as("ann", annsPassword), s.browser().as("bob", bobsPassword)
	for what, change := range map[string]func(*browser) []string{
		"no token":        func(b *browser) []string { b.csrf = ""; return nil },
		"a token of bob":  func(b *browser) []string { b.csrf = bob.csrf; return nil },
		"another origin":  func(*browser) []string { return []string{"Origin: https://evil.example"} },
		"another site":    func(*browser) []string { return []string{"Sec-Fetch-Site: cross-site"} },
		"a hidden origin": func(*browser) []string { return []string{"Origin: null"} },
	} {
		b := *ann
		header := change(&b)
		for _, path := range []string{"/api/v1/info", "/api/v1/batch", "/console/logout"} {
			if status, _, out := b.do("POST", path, `{}`, header...); status != 403 || out["code"] != "denied" || out["field"] != "X-CSRF-Token" {
				t.Errorf("%s, %s: got %d %v", path, what, status, out)
			}
		}
		if status, _, out := b.do("GET", "/api/v1/trace?user=u", "", header...); status != 403 || out["field"] != "X-CSRF-Token" {
			t.Errorf("trace, %s: got %d %v", what, status, out)
		}
	}
	ann.verb("info", `{}`, 200)
	// With a key the cookie is nobody's business.
	if status, _, _ := ann.do("POST", "/api/v1/info", `{}`, "Authorization: Bearer "+consoleKey, "Origin: https://evil.example"); status != 200 {
		t.Errorf("with a key: got %d", status)
	}
	if status, _, _ := ann.do("POST", "/api/v1/info", `{}`, "Authorization: Bearer wrong"); status != 401 {
		t.Errorf("with a wrong key: got %d", status)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		if status, _, _ := s.browser().as("eve", evesPassword).do("GET", path, ""); status != 401 {
			t.Errorf("%s by cookie: got %d", path, status)
		}
	}
}

func TestCookiesThatThisServerDidNotMake(t *testing.T) {
	s, other := start(t, consoleConfig(t.TempDir())), start(t, consoleConfig(t.TempDir()))
	theirs, ours := other.browser().as("eve", evesPassword), s.browser().as("eve", evesPassword)
	name, value, _ := strings.Cut(ours.cookie, "=")
	for _, bad := range []string{"", "x", ".", value[1:], value[:len(value)-2] + "AA", "e30." + strings.Repeat("A", 43), strings.Repeat("A", 4000), "%00", `"` + value[:10] + `"`} {
		b := *ours
		b.cookie = name + "=" + bad
		b.verb("info", `{}`, 401)
		if b.in() {
			t.Errorf("%q is somebody", bad)
		}
	}
	theirs.base = ours.base
	theirs.verb("info", `{}`, 401)
	ours.verb("info", `{}`, 200)
}

// Sessions are nowhere but in the browser, so a restart does not end them; log-outs are
// in the store, so it does not undo them either.
func TestConsoleSessionsOutliveARestart(t *testing.T) {
	cfg := consoleConfig(t.TempDir())
	var ann, bob *browser
	func() {
		s, err := newOnFreePort(cfg)
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Listen()
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		first := &testServer{s, t, l.Addr().String()}
		ann, bob = first.browser().as("ann", annsPassword), first.browser().as("bob", bobsPassword)
		if status, _, out := bob.do("POST", "/console/logout", ""); status != 204 {
			t.Errorf("got %d %v", status, out)
		}
		if bob.in() || !ann.in() {
			t.Error("who logged out is in, or who did not is out")
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}()
	second := start(t, cfg)
	ann.base, bob.base = "http://"+second.addr, "http://"+second.addr
	ann.verb("info", `{}`, 200)
	bob.verb("info", `{}`, 401)
	same(t, "the audit log", audited(t, second, "console.*"), []string{"bob console viewer ok", "bob console viewer ok", "ann console operator ok"})
}

// Servers that share a database share links, sessions and log-outs.
func TestTheConsoleOfSeveralServers(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	cfg := consoleConfig("")
	cfg.Database = url
	first, second := start(t, cfg), start(t, cfg)
	token := first.link("admin", "")
	b := second.browser().login(`{"link":"` + token + `"}`)
	at := *b
	at.base = "http://" + first.addr
	at.verb("info", `{}`, 200)
	if status, _, _ := first.browser().do("POST", "/console/login", `{"link":"`+token+`"}`); status != 401 {
		t.Errorf("a link that was used at the other server: got %d", status)
	}
	if status, _, out := b.do("POST", "/console/logout", ""); status != 204 {
		t.Errorf("got %d %v", status, out)
	}
	if b.in() {
		t.Error("who logged out is in")
	}
	eventually(t, "the log-out at the other server", func() bool { return !at.in() })
}

// A reload is in force at once: who may no longer, or otherwise, is out.
func TestConsoleUsersAreReloaded(t *testing.T) {
	cfg := consoleConfig(t.TempDir())
	s := start(t, cfg)
	cfg.Listen = "127.0.0.1:0"
	ann, bob, eve := s.browser().as("ann", annsPassword), s.browser().as("bob", bobsPassword), s.browser().as("eve", evesPassword)
	reload := func(c skein.Console) {
		t.Helper()
		cfg.Console = c
		applied, restart, err := s.Reload(cfg)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "applied", applied, []string{"console"})
		same(t, "needs a restart", len(restart), 0)
	}
	annNow := cfg.Console.Users[0]
	annNow.Role = "viewer"
	users := []skein.ConsoleUser{annNow, cfg.Console.Users[2]}
	reload(skein.Console{Users: users})
	same(t, "who is in", []bool{ann.in(), bob.in(), eve.in()}, []bool{false, false, true})
	ann.verb("info", `{}`, 401)
	same(t, "her role now", s.browser().as("ann", annsPassword).role, "viewer")
	reload(skein.Console{Users: []skein.ConsoleUser{annNow, consoleUser("eve", "admin", evesPassword)}})
	same(t, "who has another hash", eve.in(), false)
	reload(skein.Console{Off: true, Users: users})
	for _, path := range []string{"/console/", "/console/session", "/"} {
		if status, _, _ := eve.do("GET", path, ""); status != 404 {
			t.Errorf("without a console %s: got %d", path, status)
		}
	}
	eve.verb("info", `{}`, 401)
	if _, err := s.ConsoleLink(context.Background(), skein.ConsoleLinkParams{Role: "admin"}); !hasCode(err, "not_found") {
		t.Errorf("a link to no console: %v", err)
	}
}

// Links and sessions have their time.
func TestTimeAtTheConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := consoleConfig(t.TempDir())
		cfg.Console.Session = skein.Duration(30 * time.Minute)
		s := inBubble(t, cfg, nil)
		somebody := &browser{t: t, http: &http.Client{Transport: &http.Transport{DialContext: s.pipes.dial, DisableKeepAlives: true}}, base: "http://" + s.addr}
		late, inTime := s.link("admin", ""), s.link("admin", "20m")
		time.Sleep(15 * time.Minute)
		if status, _, out := somebody.do("POST", "/console/login", `{"link":"`+late+`"}`); status != 401 || out["detail"] != "the link was used already, is too old or is not known" {
			t.Errorf("a link that is too old: got %d %v", status, out)
		}
		admin, ann := somebody.login(`{"link":"`+inTime+`"}`), somebody.as("ann", annsPassword)

		// What somebody follows ends with the login.
		traces := func(b *browser) <-chan string {
			req, err := http.NewRequest("GET", b.base+"/api/v1/trace?user=u", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cookie", b.cookie)
			req.Header.Set("X-CSRF-Token", b.csrf)
			res, err := b.http.Do(req)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("%v, %v", res, err)
			}
			all := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				all <- string(text)
			}()
			return all
		}
		hers, theirs := traces(ann), traces(admin)
		if status, _, _ := ann.do("POST", "/console/logout", ""); status != 204 {
			t.Errorf("got %d", status)
		}
		begun := time.Now()
		if text := <-hers; !strings.Contains(text, "tracing") || time.Since(begun) > 10*time.Second {
			t.Errorf("after %v the trace had %q", time.Since(begun), text)
		}
		same(t, "who follows", audited(t, s.testServer, "trace"), []string{"link console admin ok", "ann console operator ok"})

		time.Sleep(29 * time.Minute)
		admin.verb("info", `{}`, 200)
		time.Sleep(time.Minute)
		admin.verb("info", `{}`, 401)
		same(t, "in after its time", admin.in(), false)
		if text := <-theirs; !strings.Contains(text, "tracing") {
			t.Errorf("the trace had %q", text)
		}
	})
}

// Rates are for each caller by itself, and a user of the console is no API key, even
// with the same name.
func TestRatesAtTheConsole(t *testing.T) {
	cfg := consoleConfig(t.TempDir())
	cfg.Rates.Verbs = []string{"info 1/m"}
	s := start(t, cfg)
	ann, eve := s.browser().as("ann", annsPassword), s.browser().as("eve", evesPassword)
	if status, _, _ := s.post(consoleKey, "info", `{}`); status != 200 {
		t.Errorf("the key: got %d", status)
	}
	for _, b := range []*browser{ann, eve} {
		b.verb("info", `{}`, 200)
		b.verb("info", `{}`, 429)
	}
	cfg.Listen, cfg.API.Keys[0].Name = "127.0.0.1:0", "console:ann"
	if _, _, err := s.Reload(cfg); err == nil || !strings.Contains(err.Error(), "api.keys[0].name") {
		t.Errorf("a key that is named as a user of the console: %v", err)
	}
}

// Without a store there is a console all the same: what it keeps ends with the process.
func TestTheConsoleWithoutAStore(t *testing.T) {
	cfg := consoleConfig("off")
	cfg.Categories = nil
	s := start(t, cfg)
	admin := s.browser().login(`{"link":"` + s.link("admin", "") + `"}`)
	admin.verb("info", `{}`, 200)
	if status, _, _ := admin.do("POST", "/console/logout", ""); status != 204 {
		t.Errorf("got %d", status)
	}
	same(t, "in after logging out", admin.in(), false)
}

// The page is there, or says why it is not; / leads to it unless there are demos.
func TestThePageOfTheConsole(t *testing.T) {
	s := start(t, consoleConfig(t.TempDir()))
	status, h, text := s.request("GET", "/", "")
	for _, header := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"} {
		if h.Get(header) == "" {
			t.Errorf("the page has no %s", header)
		}
	}
	if h.Get("X-Console") == "missing" {
		text = strings.ReplaceAll(text, "make build", "/console/assets/")
	}
	if status != 200 || h.Get("Cache-Control") != "no-store" || !strings.Contains(text, "/console/assets/") {
		t.Errorf("/ leads to %d %v %.300s", status, h, text)
	}
	if status, _, _ := s.request("GET", "/console/assets/none-Ab3defgh.js", ""); status != 404 {
		t.Errorf("no file: got %d", status)
	}
	demos := start(t, open())
	if _, _, text := demos.request("GET", "/", ""); !strings.Contains(text, `href="/console/"`) || !strings.Contains(text, "points.html") {
		t.Errorf("the index of the demos does not lead to the console: %.300s", text)
	}
}

// The store is away: nobody comes in, and the answer says why.
func TestTheConsoleWithoutItsDatabase(t *testing.T) {
	pg := pgtest.Start(t)
	cfg := consoleConfig("")
	cfg.Database = pg.Database(t)
	s := start(t, cfg)
	ann := s.browser().as("ann", annsPassword)
	ann.verb("info", `{}`, 200)
	pg.Kill()
	status, _, out := s.browser().do("POST", "/console/login", `{"user":"bob","password":"`+bobsPassword+`"}`)
	if status != 503 || out["code"] != "unavailable" {
		t.Errorf("a login: got %d %v", status, out)
	}
	ann.verb("info", `{}`, 200) // whom it knows it goes on to know
	ann.verb("publish", `{"to":{"channel":"room:1"},"data":1}`, 503)
	pg.Restart(t)
	eventually(t, "a login", func() bool {
		status, _, _ := s.browser().do("POST", "/console/login", `{"user":"bob","password":"`+bobsPassword+`"}`)
		return status == 200
	})
	ann.verb("publish", `{"to":{"channel":"room:1"},"data":1}`, 200)
}
