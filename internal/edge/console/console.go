// Package console is the door of the page at /console/: it serves the page's files
// and says who is logged in. What the page does it does with verbs over the HTTP API,
// which asks [Door.Caller] whose request it is; spec/console.md is the contract.
//
// A login is a cookie that the server has signed, so it is stored nowhere. The store
// has the key that signs, and who has logged out. In memory are that key, the
// log-outs that were looked up lately and who failed to log in; all of it is bounded.
// The package starts no goroutine.
package console

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what the door needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	Secret(ctx context.Context, name string) (store.Secret, error)
}

// LinkUser is the name of whoever came by a one-time link.
const LinkUser = "link"

// User is somebody who may log in with a password.
type User struct {
	Name     string
	Role     auth.Role
	Password auth.PasswordHash
}

// Settings are the rules that a reload can change.
type Settings struct {
	Off     bool
	Session time.Duration // how long a login lasts
	Users   []User
	Proxies []netip.Prefix // whose X-Forwarded-Proto is believed
	Dev     bool
}

// Config of a [Door].
type Config struct {
	// Files are those of the page; nil: the ones in the program.
	Files fs.FS
	// Verbs lists the verbs of the server.
	Verbs func() []string
	// Link takes the token of a one-time link, and tells for which role it was.
	Link func(ctx context.Context, token string) (auth.Role, error)
	// Record writes into the audit log. Nil: there is none.
	Record func(ctx context.Context, c verb.Caller, name string, params []byte, err error) error
	// Remote is the address of a request's client.
	Remote func(r *http.Request) netip.AddrPort
	// Fail writes an error as a problem.
	Fail     func(w http.ResponseWriter, err error)
	Logger   *slog.Logger
	Settings Settings
}

// Metrics counts what came to the door.
type Metrics struct {
	Logins [len(Results)]atomic.Int64 // by result
	Denied atomic.Int64               // requests by cookie that the role does not allow, or that came from elsewhere
}

// Results are what may become of an attempt to log in.
var Results = [...]string{"password", "link", "wrong", "link_refused", "limited", "failed"}

const (
	byPassword = iota
	byLink
	wrongPassword
	linkRefused
	limited
	failed
)

// Door is the console's door of one server.
type Door struct {
	cfg      Config
	settings atomic.Pointer[settings]
	metrics  Metrics
	site     func() *site

	store  Store
	shared bool
	ring   ring
	outs   outs

	known, unknown, addresses *throttle
	computing                 chan struct{} // holds a place for each hash that is computed
	waiting                   atomic.Int64
}

// settings are Settings in force.
type settings struct {
	Settings
	users map[string]*User
}

// How logging in is bounded.
const (
	triesOfUser    = 10
	triesOfAddress = 20
	maxThrottled   = 10_000
	atOnce         = 2  // hashes that are computed: each may take 256 MiB
	maxWaiting     = 64 // that wait for it
)

// New makes a Door. It needs [Door.Start].
func New(cfg Config) *Door {
	d := &Door{
		cfg: cfg, computing: make(chan struct{}, atOnce), outs: outs{m: map[string]*out{}},
		known: newThrottle(triesOfUser), unknown: newThrottle(triesOfUser), addresses: newThrottle(triesOfAddress),
	}
	d.site = embedded
	if cfg.Files != nil {
		d.site = sync.OnceValue(func() *site { return read(cfg.Files) })
	}
	d.Configure(cfg.Settings)
	return d
}

// Configure replaces the settings. Users who are not in them any more, or in another
// way, are logged in no longer.
func (d *Door) Configure(s Settings) {
	next := &settings{Settings: s, users: make(map[string]*User, len(s.Users))}
	for i := range s.Users {
		next.users[s.Users[i].Name] = &s.Users[i]
	}
	d.settings.Store(next)
}

// Start gives the door its store. shared tells that other processes log users out,
// too. It is called once, before the first request.
func (d *Door) Start(st Store, shared bool) { d.store, d.shared = st, shared }

// Metrics gives the live counters.
func (d *Door) Metrics() *Metrics { return &d.metrics }

// Off tells that there is no console.
func (d *Door) Off() bool { return d.settings.Load().Off }

// policy allows what the page brings and its own server, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

const prefix = "/console/"

// ServeHTTP answers everything under /console/.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.Off() {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	name := strings.TrimPrefix(r.URL.Path, prefix)
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case name == "session" && reads:
		d.answer(w, r, d.showSession)
	case name == "login" && r.Method == http.MethodPost:
		d.answer(w, r, d.login)
	case name == "logout" && r.Method == http.MethodPost:
		d.answer(w, r, d.logout)
	case !reads:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	default:
		d.site().serve(w, r, name)
	}
}

// answer lets a function answer; its error becomes a problem.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, fn func(http.ResponseWriter, *http.Request) error) {
	w.Header().Set("Cache-Control", "no-store")
	err := fn(w, r)
	if err == nil {
		return
	}
	e := fault.Of(err)
	if e.Code == fault.Internal { // that the store does not answer it says itself, once
		d.cfg.Logger.Error("the console could not answer", "path", r.URL.Path, "error", e)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	d.cfg.Fail(w, e)
}

// Base is where a request's client finds the server, such as https://skein.example.
func (d *Door) Base(r *http.Request) string {
	if d.secure(r) {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// secure tells that a request came over TLS: here, or to a proxy that is believed.
func (d *Door) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	if !strings.EqualFold(strings.TrimSpace(proto), "https") {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, p := range d.settings.Load().Proxies {
		if p.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// callerOf is a user of the console as verbs see it.
func (d *Door) callerOf(user string, role auth.Role, r *http.Request) verb.Caller {
	c := verb.Caller{Name: verb.ConsolePrefix + user, By: verb.ByConsole, Role: role.String(), Scopes: role}
	if addr := d.cfg.Remote(r).Addr(); addr.IsValid() {
		c.Address = addr.String()
	}
	return c
}

// record writes into the audit log.
func (d *Door) record(ctx context.Context, c verb.Caller, name string, params []byte, err error) error {
	if d.cfg.Record == nil {
		return nil
	}
	return d.cfg.Record(ctx, c, name, params, err)
}
