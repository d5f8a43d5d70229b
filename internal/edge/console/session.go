package console

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// session is somebody who is logged in.
type session struct {
	claims
	role    auth.Role
	expires time.Time
	value   string // of the cookie
	keys    *keys
}

// Session is what the page is told of it.
type Session struct {
	User    string   `json:"user"`
	Role    string   `json:"role"`
	CSRF    string   `json:"csrf"`
	Expires int64    `json:"expires"`
	Dev     bool     `json:"dev"`
	Verbs   []string `json:"verbs"`
}

// Names of the cookie. Over TLS the browser itself sees to it that no other host
// can set it.
const (
	cookieName       = "skein_console"
	secureCookieName = "__Host-skein_console"
)

// maxCookies is how many cookies of the name are looked at: one of another path or
// domain, which anybody nearby may have set, is not to hide the real one.
const maxCookies = 4

var errNobody = fault.New(fault.Unauthorized, "nobody is logged in, or not any more")

func (d *Door) cookieName(r *http.Request) string {
	if d.secure(r) {
		return secureCookieName
	}
	return cookieName
}

// cookies are the values that may be a login.
func (d *Door) cookies(r *http.Request) (values []string) {
	for _, c := range r.CookiesNamed(d.cookieName(r)) {
		if c.Value != "" && len(values) < maxCookies {
			values = append(values, c.Value)
		}
	}
	return values
}

// session finds out who is logged in; errNobody when nobody is.
func (d *Door) session(r *http.Request) (*session, error) {
	values := d.cookies(r)
	if len(values) == 0 {
		return nil, errNobody
	}
	k, err := d.keys(r.Context())
	if err != nil {
		return nil, err
	}
	for _, value := range values {
		c, ok := k.verify(value)
		if !ok {
			continue
		}
		s := &session{claims: c, value: value, keys: k}
		if !d.stands(s) {
			continue
		}
		out, err := d.isOut(r.Context(), c.ID, s.expires)
		if err != nil {
			return nil, err
		}
		if !out {
			return s, nil
		}
	}
	return nil, errNobody
}

// stands tells whether a login still holds by its time and by the configuration.
func (d *Door) stands(s *session) bool {
	set := d.settings.Load()
	role, err := auth.ParseRole(s.Role)
	if err != nil {
		return false
	}
	s.role = role
	// A session that was made shorter meanwhile is shorter for all.
	s.expires = time.UnixMilli(min(s.Expires, s.Issued+set.Session.Milliseconds()))
	if !time.Now().Before(s.expires) {
		return false
	}
	if s.Link {
		return s.User == LinkUser
	}
	u := set.users[s.User]
	return u != nil && u.Role == role && subtle.ConstantTimeCompare([]byte(s.Mark), []byte(s.keys.markOf(u.Password))) == 1
}

// Caller finds the user of the console whose request it is. ok is false when it has
// no cookie of the console, and then it is nobody's. The error says why somebody
// is not believed.
func (d *Door) Caller(r *http.Request) (c verb.Caller, ok bool, err error) {
	if d.Off() || len(d.cookies(r)) == 0 {
		return verb.Caller{}, false, nil
	}
	s, err := d.session(r)
	if err == nil {
		err = d.intended(r, s)
	}
	if err != nil {
		return verb.Caller{}, false, err
	}
	return d.callerOf(s.User, s.role, r), true, nil
}

// Holds tells whether who made a request is still logged in.
func (d *Door) Holds(r *http.Request) bool {
	if d.Off() {
		return false
	}
	_, err := d.session(r)
	return !errors.Is(err, errNobody)
}

// csrfHeader carries the token that another site cannot know.
const csrfHeader = "X-CSRF-Token"

// intended tells whether the page itself made a request by cookie, and not another
// site in the browser of somebody who is logged in.
func (d *Door) intended(r *http.Request, s *session) error {
	if err := sameOrigin(r); err != nil {
		d.metrics.Denied.Add(1)
		return err
	}
	token := r.Header.Get(csrfHeader)
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.keys.csrfOf(s.value))) == 1 {
		return nil
	}
	d.metrics.Denied.Add(1)
	if token == "" {
		return denied("is missing; a request by cookie carries the csrf of its session")
	}
	return denied("is not that of the session")
}

func denied(why string) error {
	return &fault.Error{Code: fault.Denied, Field: csrfHeader, Message: csrfHeader + ": " + why}
}

// sameOrigin tells whether a request comes from a page of this server, as far as the
// browser says from where.
func sameOrigin(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		if site != "same-origin" {
			return denied("is not enough: the request comes from another origin")
		}
		return nil // which no page can make up, and which proxies do not change
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return denied("is not enough: the request comes from another origin")
	}
	return nil
}

// describe is what the page is told of a session.
func (d *Door) describe(s *session) Session {
	verbs := slices.DeleteFunc(d.cfg.Verbs(), func(name string) bool { return !s.role.Allows(name) })
	if s.role.Allows(auth.TraceVerb) {
		verbs = append(verbs, auth.TraceVerb)
	}
	slices.Sort(verbs)
	return Session{
		User: s.User, Role: s.Role, CSRF: s.keys.csrfOf(s.value), Expires: s.expires.UnixMilli(), Dev: d.settings.Load().Dev, Verbs: verbs,
	}
}

func (d *Door) showSession(w http.ResponseWriter, r *http.Request) error {
	s, err := d.session(r)
	if err != nil {
		return err
	}
	return write(w, d.describe(s))
}

func write(w http.ResponseWriter, v any) error {
	b, err := verb.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
	return nil
}

// setCookie sets the cookie of a login, or takes it away when value is "".
func (d *Door) setCookie(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	c := &http.Cookie{
		Name: d.cookieName(r), Value: value, Path: "/", HttpOnly: true, Secure: d.secure(r), SameSite: http.SameSiteStrictMode,
		Expires: expires, MaxAge: max(1, int(time.Until(expires)/time.Second)),
	}
	if value == "" {
		c.Expires, c.MaxAge = time.Time{}, -1
	}
	http.SetCookie(w, c)
}

// outs are the log-outs that were looked up lately, by the id of the login. Only
// logins that this server's key has signed get here.
type outs struct {
	mu sync.Mutex
	m  map[string]*out
}

type out struct {
	out    bool
	asked  time.Time // when the store last answered
	asking bool
}

// How long what the store said of a log-out is good.
const (
	maxOuts = 4096
	// freshOut is how late a log-out at another server is noticed at most.
	freshOut = 3 * time.Second
	// staleOut is how long a server that cannot ask goes by what it knows: whoever looks
	// after it needs the console just then.
	staleOut = 10 * time.Minute
)

// outName is under which name the store has a log-out.
func outName(id string) string { return "console.out." + id }

// isOut tells whether somebody has logged out.
func (d *Door) isOut(ctx context.Context, id string, expires time.Time) (bool, error) {
	now := time.Now()
	d.outs.mu.Lock()
	o := d.outs.m[id]
	if o != nil {
		age := now.Sub(o.asked)
		if o.out || !d.shared || age < freshOut || o.asking && age < staleOut {
			defer d.outs.mu.Unlock()
			return o.out, nil
		}
		o.asking = true
	}
	d.outs.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := d.store.Secret(ctx, outName(id))
	gone := err == nil && (s.Expires == 0 || s.Expires > now.UnixMilli())
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}

	d.outs.mu.Lock()
	defer d.outs.mu.Unlock()
	if o != nil {
		o.asking = false
		if o.out {
			return true, nil // at this server, meanwhile
		}
	}
	if err != nil {
		if o != nil && now.Sub(o.asked) < staleOut {
			return false, nil
		}
		return false, unavailable(err)
	}
	d.noteLocked(id, gone, now)
	return d.outs.m[id].out, nil
}

// noteLocked remembers what the store says of a login. Who has logged out stays out.
func (d *Door) noteLocked(id string, gone bool, now time.Time) {
	o := d.outs.m[id]
	if o == nil {
		for other := range d.outs.m {
			if len(d.outs.m) < maxOuts {
				break
			}
			delete(d.outs.m, other) // the store knows it
		}
		o = &out{}
		d.outs.m[id] = o
	}
	o.out, o.asked = o.out || gone, now
}

func (d *Door) logout(w http.ResponseWriter, r *http.Request) error {
	s, err := d.session(r)
	if err == nil {
		err = d.intended(r, s)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askTimeout)
	defer cancel()
	now := time.Now()
	put := store.PutSecret{Secret: store.Secret{Name: outName(s.ID), Value: []byte(s.User), Expires: s.Expires}, Now: now.UnixMilli()}
	if _, err := d.store.Do(ctx, put); err != nil {
		return unavailable(err)
	}
	d.outs.mu.Lock()
	d.noteLocked(s.ID, true, now)
	d.outs.mu.Unlock()
	if err := d.record(ctx, d.callerOf(s.User, s.role, r), logoutVerb, nil, nil); err != nil {
		d.cfg.Logger.Error("a log-out is not in the audit log", "user", s.User, "error", err)
	}
	d.setCookie(w, r, "", time.Time{})
	w.WriteHeader(http.StatusNoContent)
	return nil
}
