package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/internal/verb"
)

// newLink gives the token of a link.
func newLink(t *testing.T, verbs *verb.Registry, params string) string {
	t.Helper()
	out, err := verbs.Run(context.Background(), "console.link", []byte(params), "")
	if err != nil {
		t.Fatal(err)
	}
	var link struct {
		URL     string
		Expires int64
	}
	if err := json.Unmarshal(out, &link); err != nil {
		t.Fatal(err)
	}
	token, ok := strings.CutPrefix(link.URL, "http://skein.test/console/#link=")
	if !ok || len(token) != 43 || link.Expires <= time.Now().UnixMilli() {
		t.Fatalf("got %s", out)
	}
	return token
}

func TestALinkIsGoodOnce(t *testing.T) {
	w := start(t, nil)
	token := newLink(t, w.verbs, `{"role":"viewer"}`)
	l := w.login(`{"link":"` + token + `"}`)
	if l.User != "link" || l.Role != "viewer" || !cmp.Equal(l.Verbs, []string{"info"}) {
		t.Errorf("got %+v", l.Session)
	}
	if r := w.do("POST", "/api/v1/info", "{}", l.cookie, l.token); r.body != "console:link console viewer 127.0.0.1" {
		t.Errorf("the API sees %q", r.body)
	}
	admin := w.login(`{"link":"` + newLink(t, w.verbs, `{"role":"admin","ttl":"1h"}`) + `"}`)
	if !cmp.Equal(admin.Verbs, []string{"app.reset", "console.link", "info", "push", "trace", "users.delete"}) {
		t.Errorf("an admin may %v", admin.Verbs)
	}
	for what, bad := range map[string]string{
		"used": token, "unknown": strings.Repeat("A", 43), "short": "A", "with a letter in another case": strings.ToLower(newLink(t, w.verbs, `{"role":"admin"}`)),
	} {
		r := w.do("POST", "/console/login", `{"link":"`+bad+`"}`)
		r.wants(t, what, 401, "unauthorized")
		if !strings.Contains(r.body, "the link was used already, is too old or is not known") || len(r.Cookies()) != 0 {
			t.Errorf("%s: got %s", what, r.body)
		}
	}
	last := w.book.read()
	if got := last[len(last)-1]; got != (entry{"link", "", "console.login", `{"by":"link"}`, true}) {
		t.Errorf("the audit log has %+v", got)
	}
}

func TestALinkIsGoodForOne(t *testing.T) {
	w := start(t, nil)
	body := `{"link":"` + newLink(t, w.verbs, `{"role":"admin"}`) + `"}`
	var wg sync.WaitGroup
	codes := make(chan int, 8)
	for range 8 {
		wg.Go(func() { codes <- w.do("POST", "/console/login", body).StatusCode })
	}
	wg.Wait()
	close(codes)
	counts := map[int]int{}
	for c := range codes {
		counts[c]++
	}
	if counts[200] != 1 || counts[401] != 7 {
		t.Errorf("got %v", counts)
	}
}

func TestParamsOfLinks(t *testing.T) {
	w := start(t, nil)
	for params, field := range map[string]string{
		`{}`: "role", `{"role":"root"}`: "role", `{"role":"admin","ttl":"soon"}`: "ttl", `{"role":"admin","ttl":"25h"}`: "ttl", `{"role":"admin","ttl":"-1m"}`: "ttl",
	} {
		_, err := w.verbs.Run(context.Background(), "console.link", []byte(params), "")
		if e := fault.Of(err); e == nil || e.Code != fault.BadRequest || e.Field != field {
			t.Errorf("%s: got %v", params, err)
		}
	}
	w.door.Configure(Settings{Off: true})
	if _, err := w.verbs.Run(context.Background(), "console.link", []byte(`{"role":"admin"}`), ""); fault.Of(err) == nil || fault.Of(err).Code != fault.NotFound {
		t.Errorf("without a console: got %v", err)
	}
}

func TestLoginsThatAreRefused(t *testing.T) {
	w := start(t, nil)
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		``:                             {400, "bad_request"},
		`[]`:                           {400, "bad_request"},
		`{`:                            {400, "bad_request"},
		`{}`:                           {400, "bad_request"},
		`{"user":"ann"}`:               {400, "bad_request"},
		`{"user":"ann","password":""}`: {400, "bad_request"},
		`{"user":"ann","password":1}`:  {400, "bad_request"},
		`{"user":"ann","user":"bob","password":"x"}`:                     {400, "bad_request"},
		`{"user":"ann","password":"x","link":"y"}`:                       {400, "bad_request"},
		`{"user":"ann","password":"x","role":"admin"}`:                   {400, "bad_request"},
		`{"user":"ann","password":"` + strings.Repeat("x", 1025) + `"}`:  {400, "bad_request"},
		`{"user":"` + strings.Repeat("a", 65) + `","password":"x"}`:      {400, "bad_request"},
		`{"user":"ann","password":"` + strings.Repeat("x", 9<<10) + `"}`: {413, "too_large"},
		`{"user":"ann","password":"wrong"}`:                              {401, "unauthorized"},
		`{"user":"ANN","password":"` + annsPassword + `"}`:               {401, "unauthorized"},
		`{"user":"nobody","password":"` + annsPassword + `"}`:            {401, "unauthorized"},
		`{"user":"bob","password":"` + annsPassword + `"}`:               {401, "unauthorized"},
		`{"user":"link","password":"` + annsPassword + `"}`:              {401, "unauthorized"},
		`{"user":"a\nb","password":"x"}`:                                 {401, "unauthorized"},
	} {
		header := []string{"Content-Type: application/json"}
		r := w.do("POST", "/console/login", body, header...)
		r.wants(t, fmt.Sprintf("%.60s", body), want.status, want.code)
		if len(r.Cookies()) != 0 || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%.60s: got %v", body, r.Header)
		}
		if want.status == 401 && !strings.Contains(r.body, `"detail":"user or password is wrong"`) {
			t.Errorf("%.60s: got %s", body, r.body)
		}
	}
	w.do("POST", "/console/login", asAnn, "Content-Type: text/plain").wants(t, "text", 400, "bad_request")
	for _, e := range w.book.read() { // a password in the wrong field is not written down
		if e.who != "ann" && e.who != "bob" && e.who != "?" || !e.failed {
			t.Errorf("the audit log has %+v", e)
		}
	}
	m := w.door.Metrics()
	if n := m.Logins[wrongPassword].Load(); n != 6 || m.Logins[byPassword].Load() != 0 {
		t.Errorf("%d logins were counted as wrong", n)
	}
}

// A login that cannot be written down does not happen.
func TestALoginThatCannotBeWrittenDown(t *testing.T) {
	w := start(t, nil)
	w.book.err = fault.New(fault.Unavailable, "the audit log cannot be written")
	r := w.do("POST", "/console/login", asAnn)
	r.wants(t, "a login", 503, "unavailable")
	if len(r.Cookies()) != 0 {
		t.Errorf("got %v", r.Cookies())
	}
	w.do("POST", "/console/login", `{"user":"ann","password":"wrong"}`).wants(t, "a wrong one", 401, "unauthorized")
	w.book.err = errors.New("another error")
	w.do("POST", "/console/login", asAnn).wants(t, "a login", 500, "internal")
}

// attempt logs in without a network, from an address.
func attempt(d *Door, address, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/console/login", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = address
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func wrong(user string) string { return `{"user":"` + user + `","password":"wrong password"}` }

// limitedFor wants 429 with that many seconds.
func limitedFor(t *testing.T, what string, w *httptest.ResponseRecorder, seconds int) {
	t.Helper()
	if got := w.Header().Get("Retry-After"); w.Code != 429 || got != strconv.Itoa(seconds) || !strings.Contains(w.Body.String(), `"rate_limited"`) {
		t.Errorf("%s: got %d %s, Retry-After %q; want 429 and %d", what, w.Code, w.Body, got, seconds)
	}
}

func TestAUserWhoFailsIsSlowedDown(t *testing.T) {
	for _, user := range []string{"ann", "nobody"} { // who has a login is not told apart
		synctest.Test(t, func(t *testing.T) {
			d, _, _ := newDoor(t, operator.NewMemory(), false, nil)
			n := 0
			from := func() string { n++; return fmt.Sprintf("10.0.%d.1:99", n) } // each from elsewhere
			for i := range triesOfUser {
				if w := attempt(d, from(), wrong(user)); w.Code != 401 {
					t.Fatalf("try %d: got %d %s", i, w.Code, w.Body)
				}
				time.Sleep(time.Second)
			}
			limitedFor(t, "the eleventh", attempt(d, from(), wrong(user)), 50)
			limitedFor(t, "with the right password", attempt(d, from(), asAnn[:9]+user+asAnn[12:]), 50)
			if w := attempt(d, from(), asBob); w.Code != 200 {
				t.Errorf("somebody else: got %d %s", w.Code, w.Body)
			}
			time.Sleep(50 * time.Second)
			for range 3 {
				if w := attempt(d, from(), wrong(user)); w.Code != 401 {
					t.Errorf("after the minute: got %d %s", w.Code, w.Body)
				}
				limitedFor(t, "at once after it", attempt(d, from(), wrong(user)), 6)
				time.Sleep(6 * time.Second)
			}
			if user != "ann" {
				return
			}
			if w := attempt(d, from(), asAnn); w.Code != 200 {
				t.Fatalf("the right password, in time: got %d %s", w.Code, w.Body)
			}
			for i := range triesOfUser {
				if w := attempt(d, from(), wrong(user)); w.Code != 401 {
					t.Errorf("the row has ended, but try %d gets %d", i, w.Code)
				}
			}
			limitedFor(t, "a new row", attempt(d, from(), wrong(user)), 60)
			time.Sleep(forgotten)
			for i := range triesOfUser {
				if w := attempt(d, from(), wrong(user)); w.Code != 401 {
					t.Errorf("it is long ago, but try %d gets %d", i, w.Code)
				}
			}
		})
	}
}

func TestAnAddressThatFailsIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, verbs, _ := newDoor(t, operator.NewMemory(), false, nil)
		const from = "[2001:db8:1:2:3::4]:5"
		for i := range triesOfAddress {
			body := wrong(fmt.Sprintf("user-%d", i))
			if i%2 == 1 {
				body = `{"link":"nonsense"}`
			}
			if w := attempt(d, from, body); w.Code != 401 {
				t.Fatalf("try %d: got %d %s", i, w.Code, w.Body)
			}
			if w := attempt(d, "10.0.0.1:1", asAnn); w.Code != 200 { // does not count
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
		}
		limitedFor(t, "a password", attempt(d, from, asAnn), 60)
		limitedFor(t, "a link", attempt(d, from, `{"link":"`+newLink(t, verbs, `{"role":"admin"}`)+`"}`), 60)
		limitedFor(t, "a neighbour in the same network", attempt(d, "[2001:db8:1:2:ffff::]:5", asAnn), 60)
		if w := attempt(d, "[2001:db8:1:3::4]:5", asAnn); w.Code != 200 {
			t.Errorf("another network: got %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		if w := attempt(d, from, asAnn); w.Code != 200 {
			t.Errorf("after the minute: got %d %s", w.Code, w.Body)
		}
		if w := attempt(d, from, wrong("ann")); w.Code != 401 { // a good one neither cost a try nor ended the row
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		limitedFor(t, "the row goes on", attempt(d, from, asAnn), 6)
	})
}

// Who tries at once has not more tries than who tries one after the other, and no
// more than two hashes are computed at a time.
func TestManyTriesAtOnce(t *testing.T) {
	d, _, _ := newDoor(t, operator.NewMemory(), false, nil)
	var wg sync.WaitGroup
	codes := make(chan int, 40)
	for i := range cap(codes) {
		wg.Go(func() { codes <- attempt(d, fmt.Sprintf("10.1.%d.1:1", i), wrong("ann")).Code })
	}
	wg.Wait()
	close(codes)
	counts := map[int]int{}
	for c := range codes {
		counts[c]++
	}
	if counts[401] != triesOfUser || counts[429] != 30 {
		t.Errorf("got %v", counts)
	}
	if cap(d.computing) != 2 || len(d.computing) != 0 || d.waiting.Load() != 0 {
		t.Errorf("%d of %d are computed, %d wait", len(d.computing), cap(d.computing), d.waiting.Load())
	}
}

// While hashes are computed others wait, a bounded number of them, and who goes away
// has not tried.
func TestWaitingForAHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _ := newDoor(t, operator.NewMemory(), false, nil)
		d.computing <- struct{}{}
		d.computing <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		codes := make(chan int, maxWaiting)
		for i := range maxWaiting {
			go func() {
				r := httptest.NewRequestWithContext(ctx, "POST", "/console/login", strings.NewReader(wrong(fmt.Sprintf("user-%d", i))))
				r.Header.Set("Content-Type", "application/json")
				r.RemoteAddr = fmt.Sprintf("10.2.%d.1:1", i)
				w := httptest.NewRecorder()
				d.ServeHTTP(w, r)
				codes <- w.Code
			}()
		}
		synctest.Wait()
		if w := attempt(d, "10.3.0.1:1", asAnn); w.Code != 503 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("one too many: got %d %s", w.Code, w.Body)
		}
		cancel()
		for range maxWaiting {
			if c := <-codes; c != http.StatusServiceUnavailable {
				t.Errorf("got %d", c)
			}
		}
		<-d.computing
		if w := attempt(d, "10.3.0.1:1", asAnn); w.Code != 200 {
			t.Errorf("when there is a place: got %d %s", w.Code, w.Body)
		}
		if n := len(d.unknown.m) + len(d.known.m) + len(d.addresses.m); n != 0 {
			t.Errorf("%d rows are left of tries that were none", n)
		}
	})
}

func TestTheThrottleIsBounded(t *testing.T) {
	th := newThrottle(2)
	now := time.Now()
	for i := range 3 * maxThrottled {
		if _, ok := th.begin(strconv.Itoa(i), now.Add(time.Duration(i)*time.Millisecond)); !ok {
			t.Fatalf("%d is slowed down", i)
		}
	}
	if len(th.m) != maxThrottled {
		t.Errorf("%d rows are kept", len(th.m))
	}
	th.begin("late", now.Add(time.Hour))
	if len(th.m) != 1 {
		t.Errorf("%d rows are kept of those that have ended", len(th.m))
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := addressKey(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s counts as %s, want %s", text, got, want)
		}
	}
	if addressKey(netip.Addr{}) == "" {
		t.Error("an address that is not known counts as nothing")
	}
}

func FuzzLoginBody(f *testing.F) {
	for _, body := range []string{``, `{}`, asAnn, `{"link":"x"}`, `{"link":"x","user":"y"}`, `{"user":null,"password":[]}`, "{\"\\u0075ser\":\"a\",\"password\":\"\xff\"}"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := readCredentials(body)
		if err != nil {
			if fault.Of(err).Code != fault.BadRequest && fault.Of(err).Code != fault.TooLarge {
				t.Errorf("%q: got %v", body, err)
			}
			return
		}
		if c.byLink != (c.link != "") || c.byLink == (c.user != "" && c.password != "") || len(c.user) > maxUser || len(c.password) > auth.MaxPassword || len(c.link) > maxToken {
			t.Errorf("%q is read as %+v", body, c)
		}
	})
}
