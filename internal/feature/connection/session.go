package connection

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// maxSession bounds the session of one connection.
const maxSession = 16 << 10

// SessionParams are the params of session.get.
type SessionParams struct {
	Connection string `json:"connection"`
}

// SessionDataParams are the params of session.set and session.merge.
type SessionDataParams struct {
	Connection string          `json:"connection"`
	Data       json.RawMessage `json:"data" jsonschema:"a JSON object"`
}

// SessionResult is the session as it is now.
type SessionResult struct {
	Data json.RawMessage `json:"data"`
}

func (f *Feature) sessionGet(_ context.Context, p SessionParams) (SessionResult, error) {
	c, err := f.find(p.Connection)
	if err != nil {
		return SessionResult{}, err
	}
	return SessionResult{c.Session()}, nil
}

func (f *Feature) sessionSet(_ context.Context, p SessionDataParams) (SessionResult, error) {
	return f.updateSession(p, func([]byte) ([]byte, error) {
		return append([]byte(nil), p.Data...), nil
	})
}

func (f *Feature) sessionMerge(_ context.Context, p SessionDataParams) (SessionResult, error) {
	return f.updateSession(p, func(old []byte) ([]byte, error) { return merge(old, p.Data) })
}

func (f *Feature) updateSession(p SessionDataParams, fn func(old []byte) ([]byte, error)) (SessionResult, error) {
	c, err := f.find(p.Connection)
	if err != nil {
		return SessionResult{}, err
	}
	data := bytes.TrimSpace(p.Data)
	if len(data) == 0 {
		return SessionResult{}, fault.Field("data", "is missing")
	}
	if data[0] != '{' {
		return SessionResult{}, fault.Field("data", "must be an object, not %s", protocol.KindOf(data))
	}
	next, err := c.UpdateSession(func(old []byte) ([]byte, error) {
		next, err := fn(old)
		if err == nil && len(next) > maxSession {
			err = fault.New(fault.TooLarge, "data: the session would have %d bytes; at most %d are allowed", len(next), maxSession)
		}
		return next, err
	})
	return SessionResult{next}, err
}

// merge applies an RFC 7396 merge patch. Numbers keep the text they were
// written with.
func merge(old, patch []byte) ([]byte, error) {
	var target, change any
	for _, step := range []struct {
		raw []byte
		v   *any
	}{{old, &target}, {patch, &change}} {
		d := json.NewDecoder(bytes.NewReader(step.raw))
		d.UseNumber()
		if err := d.Decode(step.v); err != nil {
			return nil, fault.Field("data", "%s", err)
		}
	}
	return verb.Marshal(mergeValue(target, change))
}

func mergeValue(target, change any) any {
	patch, ok := change.(map[string]any)
	if !ok {
		return change
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, value := range patch {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = mergeValue(object[name], value)
		}
	}
	return object
}
