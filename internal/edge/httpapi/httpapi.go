// Package httpapi is the HTTP API: POST /api/v1/{verb} runs a verb of the
// registry, for whoever has an API key with the scope. It also serves the
// OpenAPI description and checks the keys of the operations pages.
//
// It stores nothing and starts no goroutine.
package httpapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// Settings are the rules that a reload can change.
type Settings struct {
	Keys *auth.Keys
	Body int64 // largest request body in bytes
	Dev  bool  // the key "dev" works from loopback
}

// Config of an [API].
type Config struct {
	Registry *verb.Registry
	Version  string
	Logger   *slog.Logger
	Settings Settings
	// Remote is the address of a request's client. Nil: that of the connection.
	Remote func(r *http.Request) netip.AddrPort
	// Cookie finds the user of the console whose request it is, when there is no key
	// with it; ok is false when there is no cookie either. Nil: there is no console.
	Cookie func(r *http.Request) (c verb.Caller, ok bool, err error)
	// Refused is told of what a user of the console may not run. Nil: nobody is.
	Refused func(ctx context.Context, c verb.Caller, name string, params []byte, err error)
	// Base is where the client finds the server. Nil: nobody asks.
	Base func(r *http.Request) string
}

// Metrics counts requests.
type Metrics struct {
	Requests atomic.Int64 // verbs run, those of a batch one by one
	Failed   atomic.Int64 // verbs that failed
	Denied   atomic.Int64 // requests without a key, or without the scope
}

// API is the HTTP API of one server.
type API struct {
	cfg      Config
	settings atomic.Pointer[Settings]
	metrics  Metrics
	openapi  func() []byte
}

// New makes an API.
func New(cfg Config) *API {
	a := &API{cfg: cfg}
	a.Configure(cfg.Settings)
	a.openapi = sync.OnceValue(func() []byte { return describe(cfg.Registry, cfg.Version) })
	return a
}

// Configure replaces the settings.
func (a *API) Configure(s Settings) { a.settings.Store(&s) }

// Metrics gives the live counters.
func (a *API) Metrics() *Metrics { return &a.metrics }

const prefix = "/api/v1/"

// maxBatch bounds the commands of one batch.
const maxBatch = 10_000

// ServeHTTP answers everything under /api/v1/.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, prefix)
	if name == "openapi.json" {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			methodNotAllowed(w, http.MethodGet)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.openapi())
		return
	}
	if r.Method != http.MethodPost {
		methodNotAllowed(w, http.MethodPost)
		return
	}
	caller, err := a.caller(r)
	if err != nil {
		a.fail(w, err)
		return
	}
	body, err := a.read(w, r)
	if err != nil {
		a.fail(w, err)
		return
	}
	defer bodies.Put(body)
	ctx := verb.WithCaller(r.Context(), caller)
	if name == "console.link" && a.cfg.Base != nil {
		ctx = verb.WithBase(ctx, a.cfg.Base(r))
	}
	params := body.Bytes()
	if field := patchTypes[mediaType(r)]; field != "" {
		params, err = wrapped(field, params, name, r.URL.Query())
	}
	var result []byte
	switch {
	case err != nil:
	case name == "batch":
		result, err = a.batch(ctx, &caller, params)
	default:
		result, err = a.run(ctx, &caller, name, params, r.Header.Get("Idempotency-Key"))
	}
	if err != nil {
		a.fail(w, err)
		return
	}
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(result))}
	_, _ = w.Write(result)
}

var jsonType = []string{"application/json"}

// run runs one verb if the caller may.
func (a *API) run(ctx context.Context, caller *verb.Caller, name string, params []byte, idempotency string) ([]byte, error) {
	a.metrics.Requests.Add(1)
	if a.cfg.Registry.Find(name) == nil {
		a.metrics.Failed.Add(1)
		return nil, fault.New(fault.NotFound, "verb %q is not known", name)
	}
	if refusal := caller.Refusal(name); refusal != nil {
		return nil, a.refused(ctx, caller, name, params, refusal)
	}
	result, err := a.cfg.Registry.Run(ctx, name, params, idempotency)
	if err != nil {
		a.metrics.Failed.Add(1)
	}
	return result, err
}

// refused counts what a caller may not, and tells of it where a user of the console
// wanted it.
func (a *API) refused(ctx context.Context, caller *verb.Caller, name string, params []byte, refusal error) error {
	a.metrics.Denied.Add(1)
	if caller.By == verb.ByConsole && a.cfg.Refused != nil {
		a.cfg.Refused(ctx, *caller, name, params, refusal)
	}
	return refusal
}

// batch runs commands one after the other; each has its own result.
func (a *API) batch(ctx context.Context, caller *verb.Caller, body []byte) ([]byte, error) {
	var outer protocol.Object
	if err := outer.Read(body, maxBatchDepth); err != nil {
		return nil, fault.New(fault.BadRequest, "body: %s", err)
	}
	raw := outer.Raw("commands")
	if raw == nil {
		return nil, fault.Field("commands", "is missing")
	}
	if raw[0] != '[' {
		return nil, fault.Field("commands", "must be an array, not %s", protocol.KindOf(raw))
	}
	out := append(make([]byte, 0, 4<<10), `{"results":[`...)
	n := 0
	err := protocol.EachElement(raw, func(command []byte) error {
		if n++; n > maxBatch {
			return fault.Field("commands", "at most %d are allowed", maxBatch)
		}
		if n > 1 {
			out = append(out, ',')
		}
		result, err := a.command(ctx, caller, command)
		if err != nil {
			out = append(AppendProblem(append(out, `{"error":`...), fault.Of(err)), '}')
			a.log(fault.Of(err))
			return nil
		}
		out = append(append(append(out, `{"ok":`...), result...), '}')
		return nil
	})
	if err != nil {
		return nil, err
	}
	return append(out, `]}`...), nil
}

// maxBatchDepth is only the first look at a batch: each command's params are
// read again with the configured bound.
const maxBatchDepth = 1000

func (a *API) command(ctx context.Context, caller *verb.Caller, raw []byte) ([]byte, error) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, maxBatchDepth); err != nil {
		return nil, fault.New(fault.BadRequest, "command: %s", err)
	}
	name, err := o.Required("verb", 64)
	if err != nil {
		return nil, err
	}
	return a.run(ctx, caller, name, o.Raw("params"), "")
}

// caller finds out whose request it is: that of an API key, or, when there is none
// with it but a cookie, of a user of the console.
func (a *API) caller(r *http.Request) (verb.Caller, error) {
	if c, ok, err := a.console(r); ok || err != nil {
		return c, err
	}
	key, err := a.authenticate(r)
	if err != nil {
		return verb.Caller{}, err
	}
	return a.callerOf(key, r), nil
}

// console finds the user of the console whose request it is; ok is false when it
// cannot be one's.
func (a *API) console(r *http.Request) (c verb.Caller, ok bool, err error) {
	if a.cfg.Cookie == nil || r.Header.Get("Authorization") != "" {
		return verb.Caller{}, false, nil
	}
	if c, ok, err = a.cfg.Cookie(r); err != nil {
		a.metrics.Denied.Add(1)
	}
	return c, ok, err
}

func (a *API) callerOf(key *auth.APIKey, r *http.Request) verb.Caller {
	c := verb.Caller{Name: key.Name, By: verb.ByKey, Scopes: key.Scopes}
	if a.cfg.Remote != nil {
		c.Address = a.cfg.Remote(r).Addr().String()
	} else if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c.Address = host
	}
	return c
}

// authenticate finds the API key of a request.
func (a *API) authenticate(r *http.Request) (*auth.APIKey, error) {
	settings := a.settings.Load()
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") { // RFC 9110 section 11.1: in any case
		a.metrics.Denied.Add(1)
		return nil, fault.New(fault.Unauthorized, "an API key is missing; send it as Authorization: Bearer KEY")
	}
	text = strings.TrimSpace(text)
	if key, ok := settings.Keys.Find(text); ok {
		return key, nil
	}
	if settings.Dev && text == "dev" && fromLoopback(r) {
		return devKey, nil
	}
	a.metrics.Denied.Add(1)
	return nil, fault.New(fault.Unauthorized, "the API key is not known")
}

var devKey = func() *auth.APIKey {
	scopes, err := auth.ParseScopes([]string{"*"})
	if err != nil {
		panic(err)
	}
	return &auth.APIKey{Name: "dev", Scopes: scopes}
}()

func fromLoopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback() && r.Header.Get("X-Forwarded-For") == ""
}

// Guard lets only requests with the scope through, and in development mode
// those from loopback.
func (a *API) Guard(scope string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.guard(w, r, scope, next) })
}

// GuardVerb is Guard for what users of the console may do, too, by their role.
func (a *API) GuardVerb(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok, err := a.console(r)
		if err == nil && !ok {
			a.guard(w, r, name, next)
			return
		}
		if err == nil {
			if refusal := caller.Refusal(name); refusal != nil {
				err = a.refused(r.Context(), &caller, name, nil, refusal)
			}
		}
		if err != nil {
			a.fail(w, err)
			return
		}
		next.ServeHTTP(w, called(r, caller))
	})
}

func (a *API) guard(w http.ResponseWriter, r *http.Request, scope string, next http.Handler) {
	if a.settings.Load().Dev && fromLoopback(r) {
		next.ServeHTTP(w, called(r, a.callerOf(devKey, r)))
		return
	}
	key, err := a.authenticate(r)
	if err == nil && !key.Scopes.Allows(scope) {
		a.metrics.Denied.Add(1)
		err = fault.New(fault.Denied, "the key %q has no scope %s", key.Name, scope)
	}
	if err != nil {
		a.fail(w, err)
		return
	}
	next.ServeHTTP(w, called(r, a.callerOf(key, r)))
}

// called gives the request with who made it.
func called(r *http.Request, c verb.Caller) *http.Request {
	return r.WithContext(verb.WithCaller(r.Context(), c))
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// mediaType is the type of a request's body; "" when it is none.
func mediaType(r *http.Request) string {
	ct := r.Header.Get("Content-Type")
	if ct == "application/json" {
		return ct
	}
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return ""
	}
	return mt
}

// read reads the body into a pooled buffer, within the limit.
func (a *API) read(w http.ResponseWriter, r *http.Request) (*bytes.Buffer, error) {
	if mt := mediaType(r); mt != "application/json" && patchTypes[mt] == "" {
		return nil, fault.Field("Content-Type", "must be application/json")
	}
	limit := a.settings.Load().Body
	if r.ContentLength > limit {
		return nil, fault.New(fault.TooLarge, "the body has %d bytes; at most %d are allowed (limits.body)", r.ContentLength, limit)
	}
	body := bodies.Get().(*bytes.Buffer)
	body.Reset()
	if body.Cap() > 1<<20 {
		body = new(bytes.Buffer)
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.New(fault.TooLarge, "the body has more than %d bytes (limits.body)", limit)
	case err != nil:
		return nil, fault.Wrap(fault.BadRequest, err, "the body could not be read")
	case !utf8.Valid(body.Bytes()):
		return nil, fault.New(fault.BadRequest, "the body is not valid UTF-8")
	}
	return body, nil
}

func methodNotAllowed(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	writeProblem(w, http.StatusMethodNotAllowed, []byte(`{"title":"Method Not Allowed","status":405,"code":"bad_request","detail":"use `+allowed+`"}`))
}

func (a *API) log(e *fault.Error) {
	if e.Code == fault.Internal && a.cfg.Logger != nil {
		a.cfg.Logger.Error("a request failed", "error", e)
	}
}

func (a *API) fail(w http.ResponseWriter, err error) {
	e := fault.Of(err)
	a.log(e)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Code == fault.Unauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="skein"`)
	}
	writeProblem(w, e.Code.HTTPStatus(), AppendProblem(nil, e))
}

func writeProblem(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Fail writes err as a problem, for the pages beside the API.
func Fail(w http.ResponseWriter, err error) {
	e := fault.Of(err)
	writeProblem(w, e.Code.HTTPStatus(), AppendProblem(nil, e))
}

// AppendProblem appends e as problem details (RFC 9457).
func AppendProblem(b []byte, e *fault.Error) []byte {
	status := e.Code.HTTPStatus()
	b = protocol.AppendString(append(b, `{"title":`...), http.StatusText(status))
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	b = append(append(append(b, `,"code":"`...), e.Code...), '"')
	b = protocol.AppendString(append(b, `,"detail":`...), e.Message)
	if e.Field != "" {
		b = protocol.AppendString(append(b, `,"field":`...), e.Field)
	}
	if e.RetryAfter > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after":`...), e.RetryAfterMilli(), 10)
	}
	return append(b, '}')
}
