package document

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) registerVerbs(r *verb.Registry) {
	verb.Add(r, "doc.get", "Reads a document, or a place in it.", f.get)
	verb.Add(r, "doc.put", "Sets the whole value of a document.", f.put, verb.Keyed)
	verb.Add(r, "doc.patch", "Changes a document.", f.patchVerb, verb.Keyed)
	verb.Add(r, "doc.history", "Lists who changed what in a document, a page at a time.", f.history)
	verb.Add(r, "doc.undo", "Takes a change of a document back.", f.undo, verb.Keyed)
	verb.Add(r, "doc.delete", "Deletes the value of a document, and on request its history.", f.remove, verb.Keyed)
}

// space gives the rules of a document.
func (f *Feature) space(channel string) (*hub.Space, error) {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return nil, err
	}
	space := f.cfg.Hub.Space(namespace)
	if space == nil {
		return nil, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	}
	if !space.IsDoc() {
		return nil, notADocument("channel", space)
	}
	return space, nil
}

// GetParams are the params of doc.get.
type GetParams struct {
	Channel string `json:"channel" jsonschema:"a document"`
	Path    string `json:"path,omitempty" jsonschema:"a JSON Pointer to a place in it; empty: all of it"`
}

// GetResult is a document, or a place in it.
type GetResult struct {
	Version uint64          `json:"version" jsonschema:"0: it was never written"`
	Epoch   string          `json:"epoch"`
	Data    json.RawMessage `json:"data" jsonschema:"any JSON; null when there is nothing"`
}

func (f *Feature) get(ctx context.Context, p GetParams) (r GetResult, err error) {
	if _, err := f.space(p.Channel); err != nil {
		return r, err
	}
	path, err := tree.ParsePath(p.Path)
	if err != nil {
		return r, fault.Field("path", "%s", fault.Of(err).Message)
	}
	v, err := f.cfg.Documents.Get(ctx, p.Channel, path)
	return GetResult{Version: v.Version, Epoch: v.Epoch, Data: v.Data}, err
}

// Change is what all verbs that change a document take.
type Change struct {
	Channel   string `json:"channel" jsonschema:"a document"`
	IfVersion *int64 `json:"if_version,omitempty" jsonschema:"refuse unless the document has this version; 0: unless it was never written"`
	By        string `json:"by,omitempty" jsonschema:"the user in whose name it is done"`
}

// PutParams are the params of doc.put.
type PutParams struct {
	Change
	Data json.RawMessage `json:"data" jsonschema:"the value; any JSON"`
}

// PatchParams are the params of doc.patch.
type PatchParams struct {
	Change
	Ops        json.RawMessage `json:"ops,omitempty" jsonschema:"operations as in a patch frame; or json_patch or merge_patch"`
	JSONPatch  json.RawMessage `json:"json_patch,omitempty" jsonschema:"a patch of RFC 6902"`
	MergePatch json.RawMessage `json:"merge_patch,omitempty" jsonschema:"a patch of RFC 7396"`
}

// DeleteParams are the params of doc.delete.
type DeleteParams struct {
	Change
	Forget bool `json:"forget,omitempty" jsonschema:"delete the history as well"`
}

// UndoParams are the params of doc.undo.
type UndoParams struct {
	Change
	Version int64 `json:"version" jsonschema:"the version to take back"`
	Force   bool  `json:"force,omitempty" jsonschema:"also what was changed again since"`
}

// Result tells which version a change has made.
type Result struct {
	Version   uint64 `json:"version"`
	Duplicate bool   `json:"duplicate,omitempty" jsonschema:"the key was used before: nothing was done"`
}

// prepare makes a patch of what all changes take; content is what its key stands for.
func (f *Feature) prepare(ctx context.Context, c Change, content any) (*document.Patch, error) {
	space, err := f.space(c.Channel)
	if err != nil {
		return nil, err
	}
	p := &document.Patch{Channel: c.Channel, Space: space, KeyTTL: verb.DefaultKeyTTL}
	if c.By != "" {
		if err := protocol.UserID("by", c.By); err != nil {
			return nil, err
		}
		p.From.User = c.By
	} else if who := verb.CallerOf(ctx); who.By == verb.ByConsole {
		p.From.User = who.Name // an operator is somebody, not just the server
	}
	if c.IfVersion != nil {
		if *c.IfVersion < 0 || *c.IfVersion > protocol.MaxInt {
			return nil, fault.Field("if_version", "must be between 0 and %d", int64(protocol.MaxInt))
		}
		v := uint64(*c.IfVersion)
		p.If = &v
	}
	if scope := verb.KeyOf(ctx); scope != "" {
		raw, err := json.Marshal(content)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "internal error")
		}
		f.key(p, scope, raw)
	}
	return p, nil
}

func (f *Feature) do(ctx context.Context, p *document.Patch) (Result, error) {
	done, err := f.cfg.Documents.Do(ctx, p)
	return Result{Version: done.Version, Duplicate: done.Duplicate}, err
}

func (f *Feature) put(ctx context.Context, in PutParams) (Result, error) {
	if in.Data == nil {
		return Result{}, fault.Field("data", "is missing")
	}
	p, err := f.prepare(ctx, in.Change, in)
	if err != nil {
		return Result{}, err
	}
	p.Ops = []tree.Op{{Kind: tree.Set, Value: in.Data}}
	r, err := f.do(ctx, p)
	return r, renamed(err, "ops[0].value", "data")
}

// renamed makes an error name the field that its operation was made of.
func renamed(err error, from, to string) error {
	e := fault.Of(err)
	if e == nil || from == to {
		return err
	}
	c := *e
	if rest, ok := strings.CutPrefix(c.Message, from); ok {
		c.Message = to + rest
	}
	if rest, ok := strings.CutPrefix(c.Field, from); ok {
		c.Field = to + rest
	}
	return &c
}

func (f *Feature) patchVerb(ctx context.Context, in PatchParams) (Result, error) {
	given := 0
	for _, raw := range []json.RawMessage{in.Ops, in.JSONPatch, in.MergePatch} {
		if raw != nil {
			given++
		}
	}
	if given != 1 {
		return Result{}, fault.Field("ops", "give exactly one of ops, json_patch and merge_patch")
	}
	p, err := f.prepare(ctx, in.Change, in)
	if err != nil {
		return Result{}, err
	}
	field := "ops"
	switch {
	case in.Ops != nil:
		p.Ops, err = tree.ParseOps(in.Ops, f.cfg.Limits())
	case in.JSONPatch != nil:
		field = "json_patch"
		p.Ops, err = tree.ParseJSONPatch(in.JSONPatch, f.cfg.Limits())
	default:
		p.Ops = tree.MergePatch(in.MergePatch)
	}
	if err != nil {
		return Result{}, err
	}
	r, err := f.do(ctx, p)
	if in.MergePatch != nil {
		return r, renamed(err, "ops[0].value", "merge_patch")
	}
	return r, renamed(err, "ops[", field+"[")
}

func (f *Feature) remove(ctx context.Context, in DeleteParams) (Result, error) {
	p, err := f.prepare(ctx, in.Change, in)
	if err != nil {
		return Result{}, err
	}
	p.Ops, p.Forget = []tree.Op{{Kind: tree.Remove}}, in.Forget
	r, err := f.do(ctx, p)
	return r, renamed(err, "ops[0].path", "channel")
}

func (f *Feature) undo(ctx context.Context, in UndoParams) (Result, error) {
	if in.Version < 1 || in.Version > protocol.MaxInt {
		return Result{}, fault.Field("version", "must be between 1 and %d", int64(protocol.MaxInt))
	}
	p, err := f.prepare(ctx, in.Change, in)
	if err != nil {
		return Result{}, err
	}
	p.Undo, p.Force = uint64(in.Version), in.Force
	return f.do(ctx, p)
}

// HistoryParams are the params of doc.history.
type HistoryParams struct {
	Channel string `json:"channel" jsonschema:"a document"`
	Before  *int64 `json:"before,omitempty" jsonschema:"the newest patches with a smaller version; without before and after, the newest of all"`
	After   *int64 `json:"after,omitempty" jsonschema:"the oldest patches with a greater version"`
	Limit   *int64 `json:"limit,omitempty" jsonschema:"patches of a page; 50 when absent, at most 500"`
}

// HistoryResult is a page of patches, the oldest first.
type HistoryResult struct {
	Patches []Patch `json:"patches"`
	More    bool    `json:"more" jsonschema:"there are more in the direction asked"`
	Epoch   string  `json:"epoch"`
	Version uint64  `json:"version" jsonschema:"that of the document"`

	page store.Page
}

// Patch is one version of a history.
type Patch struct {
	Version uint64          `json:"version"`
	Time    int64           `json:"time" jsonschema:"milliseconds since 1970 UTC"`
	From    *From           `json:"from,omitempty" jsonschema:"absent when the server did it"`
	Ops     json.RawMessage `json:"ops" jsonschema:"what was carried out: a list of operations"`
	Old     json.RawMessage `json:"old,omitempty" jsonschema:"what was there before: a list of op (the place in ops), path, value"`
	Undoes  uint64          `json:"undoes,omitempty" jsonschema:"the version that it takes back"`
}

// From is who changed it.
type From struct {
	User       string `json:"user,omitempty"`
	Device     string `json:"device,omitempty"`
	Connection string `json:"connection,omitempty"`
}

const (
	defaultLimit = 50
	maxLimit     = 500
)

func (f *Feature) history(ctx context.Context, p HistoryParams) (r HistoryResult, err error) {
	if _, err := f.space(p.Channel); err != nil {
		return r, err
	}
	for _, n := range []struct {
		field     string
		value     *int64
		low, high int64
	}{{"before", p.Before, 1, protocol.MaxInt}, {"after", p.After, 0, protocol.MaxInt}, {"limit", p.Limit, 1, maxLimit}} {
		if n.value != nil && (*n.value < n.low || *n.value > n.high) {
			return r, fault.Field(n.field, "must be between %d and %d", n.low, n.high)
		}
	}
	if p.Before != nil && p.After != nil {
		return r, fault.Field("after", "cannot be given together with before")
	}
	q := store.Query{Channel: p.Channel, Limit: defaultLimit, Bytes: f.cfg.Page(), Backward: p.After == nil}
	if p.Before != nil {
		q.Before = uint64(*p.Before)
	}
	if p.After != nil {
		q.After = uint64(*p.After)
	}
	if p.Limit != nil {
		q.Limit = int(*p.Limit)
	}
	r.page, err = f.cfg.Documents.History(ctx, q)
	return r, err
}

// AppendJSON implements verb.Appender. What is stored of a version is an object
// with ops, old and undoes, which becomes the end of its element.
func (r HistoryResult) AppendJSON(b []byte) []byte {
	b = append(b, `{"patches":[`...)
	for i := range r.page.Messages {
		m := &r.page.Messages[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(append(b, `{"version":`...), m.Seq, 10)
		b = strconv.AppendInt(append(b, `,"time":`...), m.Time, 10)
		if m.Sender != (protocol.Sender{}) {
			b = protocol.AppendSender(append(b, `,"from":`...), m.Sender)
		}
		b = append(append(b, ','), m.Data[1:]...)
	}
	b = strconv.AppendBool(append(b, `],"more":`...), r.page.More)
	b = protocol.AppendString(append(b, `,"epoch":`...), r.page.Head.Epoch)
	b = strconv.AppendUint(append(b, `,"version":`...), r.page.Head.Top, 10)
	return append(b, '}')
}
