package tables

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Bounds of what is known of a user.
const (
	maxAttributes = 64 << 10
	maxDigits     = 128 // characters of a number
	maxLevels     = 64
)

// attributes is what is known of a user: members as encoding/json gives them, with
// numbers as their texts.
type attributes map[string]any

// parseAttributes reads an object. Its errors say what is wrong with the text.
func parseAttributes(raw []byte) (attributes, error) {
	if len(raw) > maxAttributes {
		return nil, fmt.Errorf("%w: has %d bytes; at most %d are possible", store.ErrTooLarge, len(raw), maxAttributes)
	}
	if err := protocol.Valid(raw, maxLevels); err != nil {
		return nil, err
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("is not valid UTF-8")
	}
	var a attributes
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&a); err != nil || a == nil {
		return nil, errors.New("must be an object")
	}
	return a, fits(map[string]any(a))
}

// fits tells what of a value cannot be kept, or not be compared.
func fits(value any) error {
	switch value := value.(type) {
	case string:
		if strings.IndexByte(value, 0) >= 0 {
			return errors.New("has a text with a NUL character")
		}
	case json.Number:
		if len(value) > maxDigits {
			return fmt.Errorf("has a number of %d characters; at most %d are possible", len(value), maxDigits)
		}
		if !store.NumberFits(value.String()) {
			return fmt.Errorf("%.40s is beyond the range of a 64-bit floating point number", value)
		}
	case []any:
		for _, v := range value {
			if err := fits(v); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, v := range value {
			if err := errors.Join(fits(name), fits(v)); err != nil {
				return err
			}
		}
	}
	return nil
}

// text writes the object, its members in the order of their names.
func (a attributes) text() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any(a)); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// merge applies a merge patch (RFC 7396, section 2) to what is there, which it may
// change; nil: nothing is there.
func merge(there, patch map[string]any) map[string]any {
	if there == nil {
		there = make(map[string]any, len(patch))
	}
	for name, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(there, name)
		case map[string]any:
			inner, _ := there[name].(map[string]any)
			there[name] = merge(inner, v)
		default:
			there[name] = v
		}
	}
	return there
}

// zone is the attribute tz; nil: there is none that could be one.
func (a attributes) zone() any {
	tz, _ := a["tz"].(string)
	if tz == "" || len(tz) > maxZone {
		return nil
	}
	return []byte(tz)
}

// tags are the texts in the attribute tags that can be asked for, each once, in order.
func (a attributes) tags() []string {
	list, _ := a["tags"].([]any)
	var tags []string
	for _, v := range list {
		if tag, is := v.(string); is && tag != "" && len(tag) <= store.MaxTag {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// known is what is known of a user before and after a command.
type known struct {
	n     int64      // 0: there is no row yet
	was   []byte     // as the database gives it; nil: nothing was known
	after attributes // nil: nothing was put
	text  []byte     // of after
}

// put applies one put.
func (k *known) put(p store.UserPut, merged bool) error {
	given, err := parseAttributes(p.Attributes)
	if err != nil {
		return err
	}
	if merged {
		there := k.after
		if there == nil && k.was != nil {
			if there, err = parseStored(k.was); err != nil {
				return err
			}
		}
		given = merge(there, given)
	}
	k.after = given
	if k.text, err = given.text(); err != nil {
		return err
	}
	if len(k.text) > maxAttributes {
		return fmt.Errorf("%w: there would be %d bytes; at most %d are possible", store.ErrTooLarge, len(k.text), maxAttributes)
	}
	return nil
}

// parseStored reads what the database gave, which may write numbers with more digits
// than they were put with.
func parseStored(text []byte) (attributes, error) {
	var a attributes
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&a); err != nil || a == nil {
		return nil, fmt.Errorf("attributes that are kept are no object: %.40q", text)
	}
	return a, nil
}

// changed tells whether there is anything to write.
func (k *known) changed() bool { return k.after != nil && (k.was == nil || !tree.Equal(k.was, k.text)) }

// retag gives the tags that the user has no more, and those that are new.
func (k *known) retag() (gone, come []string, err error) {
	var before []string
	if k.was != nil {
		was, err := parseStored(k.was)
		if err != nil {
			return nil, nil, err
		}
		before = was.tags()
	}
	after := k.after.tags()
	return without(before, after), without(after, before), nil
}

// without gives what is in one sorted list and not in the other.
func without(list, other []string) (rest []string) {
	for _, s := range list {
		if _, is := slices.BinarySearch(other, s); !is {
			rest = append(rest, s)
		}
	}
	return rest
}
