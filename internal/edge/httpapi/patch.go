package httpapi

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// patchTypes are the bodies that are a patch themselves (RFC 6902 section 6, RFC
// 7396 section 4), and the field of doc.patch that they become.
var patchTypes = map[string]string{
	"application/json-patch+json":  "json_patch",
	"application/merge-patch+json": "merge_patch",
}

// wrapped makes params of a body that is a patch: the others stand in the query.
func wrapped(field string, patch []byte, verb string, query url.Values) ([]byte, error) {
	if verb != "doc.patch" {
		return nil, fault.Field("Content-Type", "must be application/json; a patch is for doc.patch")
	}
	if err := protocol.Valid(patch, maxPatchDepth); err != nil {
		return nil, fault.Field(field, "%s", err)
	}
	b := append(append(append([]byte(`{"`), field...), `":`...), patch...)
	for name, values := range query {
		if !slices.Contains([]string{"channel", "if_version", "by", "key"}, name) || len(values) != 1 {
			return nil, fault.Field(name, "in the query stand channel, if_version, by and key, each once")
		}
		b = append(protocol.AppendString(append(b, ','), name), ':')
		if name == "if_version" {
			n, err := strconv.ParseUint(values[0], 10, 53)
			if err != nil {
				return nil, fault.Field(name, "must be a version, not %.30q", values[0])
			}
			b = strconv.AppendUint(b, n, 10)
			continue
		}
		b = protocol.AppendString(b, values[0])
	}
	return append(b, '}'), nil
}

// maxPatchDepth is more than the verb allows, which says so in its own words.
const maxPatchDepth = 1 << 10
