// Package verb is the registry of server verbs: each is one typed function with
// a name, and every door (HTTP, the Go face, the command line) calls the same
// one. The registry also remembers the answers to requests that carried an
// idempotency key, and describes itself as OpenAPI.
//
// It keeps remembered answers in memory, bounded in number, and starts no
// goroutine.
package verb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// SchedulePrefix begins the names of callers that are schedules.
const SchedulePrefix = "schedule:"

// Who is written into the audit log, by [Caller].By.
const (
	ByKey     = "key"     // an API key
	ByConsole = "console" // a user of the console
)

// Caller is who called a verb.
type Caller struct {
	Name string // the API key's name, or the door's
	// By is the kind of door, [ByKey] or [ByConsole], for whom the audit log is kept; ""
	// for all others.
	By      string
	Role    string // of a user of the console
	Address string // from where, as far as it is known
	// Scopes tells which verbs it may run; nil: all.
	Scopes interface{ Allows(verb string) bool }
}

// Allow tells whether who is calling may run a verb through another one; its error
// is the answer.
func Allow(ctx context.Context, name string) error {
	c := CallerOf(ctx)
	if c.By == ByConsole {
		if refusal := c.Refusal(name); refusal != nil {
			return refusal
		}
		return nil
	}
	if c.Scopes != nil && !c.Scopes.Allows(name) {
		return fault.New(fault.Denied, "verb: the API key has no scope for %s", name)
	}
	return nil
}

type callerKey struct{}

// WithCaller says in ctx who is calling.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf tells who is calling.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

type keyKey struct{}

// KeyOf gives the idempotency key of the request that runs, with whose it is; ""
// when it has none. A verb that stores things keeps it with them, so that a
// repeat is known even when the process has started anew.
func KeyOf(ctx context.Context) string {
	key, _ := ctx.Value(keyKey{}).(string)
	return key
}

// Reader is a params type that decodes itself, for verbs on a hot path. The
// object's raw values are good only during the call.
type Reader interface {
	ReadParams(o *protocol.Object) error
}

// Appender is a result type that encodes itself, for verbs on a hot path.
type Appender interface {
	AppendJSON(dst []byte) []byte
}

// Verb is one entry of the registry.
type Verb struct {
	Name    string
	Summary string // a sentence for the reference
	// Keyed verbs take an idempotency key: a repeat gets the first answer.
	Keyed  bool
	Params reflect.Type
	Result reflect.Type

	run func(ctx context.Context, raw []byte, depth int) ([]byte, error)
}

// Registry holds the verbs.
type Registry struct {
	verbs map[string]*Verb
	memo  *Memo
	brief *Memo // of schedules, whose many keys would push out those of others
	depth atomic.Int64

	limits      atomic.Pointer[limits] // nil: none
	limitCounts LimitMetrics

	audit atomic.Pointer[Audit] // nil: nothing is written down
}

// Audit is told of a run by somebody with a [Caller].By before it begins, and by done
// (nil: it does not want to know) how it ended. When it fails, the verb does not run.
type Audit func(ctx context.Context, verb string, raw []byte) (done func(error), err error)

// SetAudit says who is told of runs.
func (r *Registry) SetAudit(a Audit) { r.audit.Store(&a) }

// NewRegistry makes an empty registry. depth bounds the nesting of params.
func NewRegistry(memo *Memo, depth int) *Registry {
	r := &Registry{verbs: map[string]*Verb{}, memo: memo, brief: NewMemo(10*time.Minute, DefaultKeys)}
	r.SetDepth(depth)
	return r
}

// SetDepth replaces the bound on nesting.
func (r *Registry) SetDepth(depth int) { r.depth.Store(int64(depth)) }

func (r *Registry) maxDepth() int { return int(r.depth.Load()) }

// Option changes how a verb is registered.
type Option func(*Verb)

// Keyed makes a verb take an idempotency key.
func Keyed(v *Verb) { v.Keyed = true }

// Add registers a verb. A name may be used once.
func Add[P, R any](r *Registry, name, summary string, fn func(context.Context, P) (R, error), options ...Option) {
	if r.verbs[name] != nil {
		panic("verb: " + name + " is registered twice")
	}
	v := &Verb{Name: name, Summary: summary, Params: reflect.TypeFor[P](), Result: reflect.TypeFor[R]()}
	for _, o := range options {
		o(v)
	}
	fields := fieldsOf(v.Params)
	v.run = func(ctx context.Context, raw []byte, depth int) ([]byte, error) {
		var p P
		if err := decode(raw, depth, &p, fields, v.Keyed); err != nil {
			return nil, err
		}
		result, err := fn(ctx, p)
		if err != nil {
			return nil, err
		}
		if a, ok := any(result).(Appender); ok {
			return a.AppendJSON(make([]byte, 0, 128)), nil
		}
		return Marshal(result)
	}
	r.verbs[name] = v
}

// fieldsOf gives the names that JSON has for the fields of a struct.
func fieldsOf(params reflect.Type) (names []string) {
	if params.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(params) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// Marshal is json.Marshal without HTML escapes.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Find gives a verb by name, nil when there is none.
func (r *Registry) Find(name string) *Verb { return r.verbs[name] }

// Names lists the verbs in alphabetical order.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.verbs))
	for name := range r.verbs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Run runs a verb. raw is its params, a JSON object; empty means {}. key is an
// idempotency key from outside the params, "" for none. Errors are *fault.Error;
// rate_limited when the caller is faster than [Registry.SetLimits] allows.
func (r *Registry) Run(ctx context.Context, name string, raw []byte, key string) ([]byte, error) {
	v := r.verbs[name]
	if v == nil {
		return nil, fault.New(fault.NotFound, "verb %q is not known", name)
	}
	if l := r.limits.Load(); l != nil {
		if err := l.allow(CallerOf(ctx).Name, name, &r.limitCounts); err != nil {
			return nil, err
		}
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	if audit := r.audit.Load(); audit != nil && CallerOf(ctx).By != "" {
		return r.audited(ctx, *audit, v, raw, key)
	}
	return r.perform(ctx, v, raw, key)
}

// audited is perform with a line in the audit log.
func (r *Registry) audited(ctx context.Context, audit Audit, v *Verb, raw []byte, key string) (result []byte, err error) {
	done, err := audit(ctx, v.Name, raw)
	if err != nil {
		return nil, err
	}
	if done != nil {
		err = fault.New(fault.Internal, "internal error") // that of a verb that panics
		defer func() { done(err) }()
	}
	return r.perform(ctx, v, raw, key)
}

// perform runs a verb, or gives the answer of the first run with its key.
func (r *Registry) perform(ctx context.Context, v *Verb, raw []byte, key string) ([]byte, error) {
	// A name may be written with escapes, so a backslash is reason enough to look.
	if v.Keyed && (key != "" || bytes.Contains(raw, []byte(`"key"`)) || bytes.IndexByte(raw, '\\') >= 0) {
		return r.once(ctx, v, raw, key)
	}
	return v.run(ctx, raw, r.maxDepth())
}

// Answer runs a verb for a client, as the function that is registered sees fit: neither
// rates of the API nor an idempotency key are looked at. Else it is [Registry.Run].
func (r *Registry) Answer(ctx context.Context, name string, raw []byte) ([]byte, error) {
	v := r.verbs[name]
	if v == nil {
		return nil, fault.New(fault.NotFound, "verb %q is not known", name)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	return v.run(ctx, raw, r.maxDepth())
}

func (r *Registry) once(ctx context.Context, v *Verb, raw []byte, key string) ([]byte, error) {
	var o protocol.Object
	if err := readObject(&o, raw, r.maxDepth()); err != nil {
		return nil, err
	}
	inner, err := o.String("key", protocol.MaxKey)
	if err != nil {
		return nil, err
	}
	if key == "" {
		key = inner
	}
	if len(key) > protocol.MaxKey {
		return nil, fault.Field("key", "has %d bytes; at most %d are allowed", len(key), protocol.MaxKey)
	}
	if key == "" {
		return v.run(ctx, raw, r.maxDepth())
	}
	scope := CallerOf(ctx).Name + "\x00" + v.Name + "\x00" + key
	ctx = context.WithValue(ctx, keyKey{}, scope)
	memo := r.memo
	if strings.HasPrefix(CallerOf(ctx).Name, SchedulePrefix) {
		memo = r.brief
	}
	result, repeated, err := memo.Do(ctx, scope, raw, func() ([]byte, error) { return v.run(ctx, raw, r.maxDepth()) })
	if err == nil && repeated {
		result = markDuplicate(result)
	}
	return result, err
}

// markDuplicate adds "duplicate": true to a JSON object.
func markDuplicate(result []byte) []byte {
	if len(result) < 2 || result[0] != '{' {
		return result
	}
	b := append(make([]byte, 0, len(result)+20), result[:len(result)-1]...)
	if len(result) > 2 {
		b = append(b, ',')
	}
	return append(b, `"duplicate":true}`...)
}

func readObject(o *protocol.Object, raw []byte, depth int) error {
	err := o.Read(raw, depth)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, protocol.ErrDepth):
		return fault.New(fault.TooLarge, "the params are nested more than %d levels deep", depth)
	default:
		return fault.New(fault.BadRequest, "params: %s", err)
	}
}

// decode reads params strictly: an unknown field is an error, because a
// mistyped "exclude" must not become a message to everybody.
func decode(raw []byte, depth int, p any, fields []string, keyed bool) error {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := readObject(o, raw, depth); err != nil {
		return err
	}
	if r, ok := p.(Reader); ok {
		return r.ReadParams(o)
	}
	if keyed && o.Has("key") {
		raw = withoutKey(o)
	}
	// encoding/json takes a name in any case; two spellings would be one field.
	var stranger string
	o.Each(func(name string, _ []byte) bool {
		if !slices.Contains(fields, name) && !(keyed && name == "key") {
			stranger = name
		}
		return stranger == ""
	})
	if stranger != "" {
		return fault.Field(stranger, "is not a field of this verb")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return decodeError(err)
	}
	return nil
}

func withoutKey(o *protocol.Object) []byte {
	b := []byte{'{'}
	o.Each(func(name string, value []byte) bool {
		if name != "key" {
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = append(append(protocol.AppendString(b, name), ':'), value...)
		}
		return true
	})
	return append(b, '}')
}

func decodeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fault.Field(wrong.Field, "must be %s, not %s", kindName(wrong.Type), article(wrong.Value))
	}
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f
	}
	if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		name = strings.Trim(name, `"`)
		return fault.Field(name, "is not a field of this verb")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.BadRequest, "params: the JSON ends too early")
	}
	return fault.New(fault.BadRequest, "params: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint, reflect.Uint64, reflect.Uint32:
		return "an integer"
	}
	return fmt.Sprintf("a %s", t.Kind())
}

func article(value string) string {
	switch value {
	case "object", "array":
		return "an " + value
	case "bool":
		return "a boolean"
	}
	if strings.HasPrefix(value, "number ") {
		return "the " + value
	}
	return "a " + value
}
