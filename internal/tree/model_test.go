package tree_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// The model is what encoding/json makes of a text: maps, lists, and numbers as they
// are written. Each operation gives a new value and shares nothing that it changes.

func decode(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

var errConflict = errors.New("conflict")

// at gives what is at a path; false: nothing. An error: it leads through what is no
// object.
func at(v any, path tree.Path) (any, bool, error) {
	for i, name := range path {
		o, ok := v.(map[string]any)
		if !ok {
			if v == nil && i == 0 {
				return nil, false, nil // there is no document
			}
			return nil, false, errConflict
		}
		if v, ok = o[name]; !ok {
			return nil, false, nil
		}
	}
	return v, v != nil || len(path) > 0, nil
}

// with gives v with something else at a path that leads through objects, or nothing.
func with(v any, path tree.Path, what any) any {
	if len(path) == 0 {
		return what
	}
	o := map[string]any{}
	if v != nil {
		o = maps.Clone(v.(map[string]any))
	}
	o[path[0]] = with(o[path[0]], path[1:], what)
	return o
}

func without(v any, path tree.Path) any {
	if len(path) == 0 {
		return nil
	}
	o := maps.Clone(v.(map[string]any))
	if len(path) == 1 {
		delete(o, path[0])
	} else {
		o[path[0]] = without(o[path[0]], path[1:])
	}
	return o
}

// rat is the value of a number; those of the tests are small.
func rat(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic(n)
	}
	return r
}

func alike(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		other, ok := b.(json.Number)
		return ok && rat(a).Cmp(rat(other)) == 0
	case []any:
		other, ok := b.([]any)
		return ok && slices.EqualFunc(a, other, alike)
	case map[string]any:
		other, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, other, alike)
	}
	switch b.(type) {
	case json.Number, []any, map[string]any:
		return false
	}
	return a == b
}

func plus(a, b json.Number) (json.Number, error) {
	if x, ok := new(big.Int).SetString(string(a), 10); ok {
		if y, ok := new(big.Int).SetString(string(b), 10); ok {
			return json.Number(x.Add(x, y).String()), nil
		}
	}
	x, _ := a.Float64()
	y, _ := b.Float64()
	if math.IsInf(x+y, 0) {
		return "", errConflict
	}
	return json.Number(encode(x + y + 0)), nil // as JavaScript writes it; -0 is 0
}

// merged is RFC 7396, section 2, as it stands there.
func merged(target, patch any) any {
	o, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		result = maps.Clone(t)
	}
	for name, value := range o {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = merged(result[name], value)
		}
	}
	return result
}

// do carries out one operation on a model.
func do(v any, op *tree.Op) (any, error) {
	now, there, err := at(v, op.Path)
	if err != nil && op.Kind != tree.Add && op.Kind != tree.Move && op.Kind != tree.Copy {
		return v, err
	}
	switch op.Kind {
	case tree.Set:
		return with(v, op.Path, decode(op.Value)), nil
	case tree.Remove:
		if !there {
			return v, errConflict
		}
		return without(v, op.Path), nil
	case tree.Inc:
		return increased(v, op, now)
	case tree.Append:
		list, ok := now.([]any)
		if !ok && now != nil {
			return v, errConflict
		}
		return with(v, op.Path, append(slices.Clone(list), decode(op.Value))), nil
	case tree.Merge:
		patch := decode(op.Value)
		switch {
		case patch == nil && !there:
			return v, nil
		case patch == nil:
			return without(v, op.Path), nil
		}
		return with(v, op.Path, merged(now, patch)), nil
	case tree.Test:
		if !alike(now, decode(op.Value)) {
			return v, errConflict
		}
		return v, nil
	}
	return standard(v, op, there)
}

func increased(v any, op *tree.Op, now any) (any, error) {
	n, ok := now.(json.Number)
	if now == nil {
		n, ok = "0", true
	}
	if !ok {
		return v, errConflict
	}
	sum, err := plus(n, json.Number(op.By))
	if err != nil ||
		op.Min != nil && rat(sum).Cmp(rat(json.Number(op.Min))) < 0 ||
		op.Max != nil && rat(sum).Cmp(rat(json.Number(op.Max))) > 0 {
		return v, errConflict
	}
	return with(v, op.Path, sum), nil
}

var errBad = errors.New("bad request")

func standard(v any, op *tree.Op, there bool) (any, error) {
	switch op.Kind {
	case tree.Replace:
		if !there {
			return v, errConflict
		}
		return with(v, op.Path, decode(op.Value)), nil
	case tree.Add:
		return added(v, op.Path, decode(op.Value))
	}
	if op.Kind == tree.Move && strings.HasPrefix(op.Path.String(), op.From.String()+"/") {
		return v, errBad
	}
	what, there, err := at(v, op.From)
	if err != nil || !there {
		return v, errConflict
	}
	if op.Kind == tree.Move {
		v = without(v, op.From)
	}
	return added(v, op.Path, what)
}

func added(v any, path tree.Path, what any) (any, error) {
	if len(path) == 0 {
		return what, nil
	}
	last := len(path) - 1
	parent, there, err := at(v, path[:last])
	if err != nil || !there {
		return v, errConflict
	}
	switch parent := parent.(type) {
	case map[string]any:
		return with(v, path, what), nil
	case []any:
		if path[last] == "-" {
			return with(v, path[:last], append(slices.Clone(parent), what)), nil
		}
	}
	return v, errConflict
}

// doAll carries out a patch on a model: all of it or nothing.
func doAll(v any, list []tree.Op) (any, error) {
	after := v
	for i := range list {
		var err error
		if after, err = do(after, &list[i]); err != nil {
			return v, err
		}
	}
	return after, nil
}

// class is the error of the model that goes with one of the tree.
func class(err error) error {
	switch {
	case err == nil:
		return nil
	case fault.Of(err).Code == fault.Conflict:
		return errConflict
	case fault.Of(err).Code == fault.BadRequest:
		return errBad
	}
	return err
}

// shown is what a view shows of a model; false: nothing.
func shown(v any, view tree.View, path tree.Path) (any, bool) {
	sight := view.Sees(path)
	o, object := v.(map[string]any)
	switch {
	case sight == tree.Nothing, sight == tree.Part && !object:
		return nil, false
	case sight == tree.Everything, !object:
		return v, true
	}
	out := map[string]any{}
	for name, member := range o {
		if what, ok := shown(member, view, append(slices.Clone(path), name)); ok {
			out[name] = what
		}
	}
	return out, true
}
