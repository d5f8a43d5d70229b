package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/skein-realtime/skein/protocol"
)

// The bounds of an answer.
const (
	maxAnswer = 1 << 20 // bytes
	maxDepth  = 64      // levels of nesting
)

// object checks what came with a 2xx status and gives the JSON object in it,
// without the white space around. No body is an empty object.
func object(contentType string, body []byte) ([]byte, error) {
	body = bytes.Trim(body, " \t\r\n")
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	if err := isJSON(contentType); err != nil {
		return nil, fmt.Errorf("%w; it begins with %q", err, excerpt(body))
	}
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	o := protocol.GetObject()
	err := o.Read(body, maxDepth)
	protocol.PutObject(o)
	switch {
	case errors.Is(err, protocol.ErrDepth):
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	case err != nil:
		return nil, fmt.Errorf("it is %w; it begins with %q", err, excerpt(body))
	}
	return body, nil
}

// isJSON checks a Content-Type: application/json, or a type that is built on it
// (RFC 6839 section 3.1).
func isJSON(contentType string) error {
	if contentType == "application/json" {
		return nil
	}
	if contentType == "" {
		return errors.New("it has no Content-Type, but application/json is needed")
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return fmt.Errorf("its Content-Type is %q, but application/json is needed", contentType)
	}
	if media != "application/json" && !(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")) {
		return fmt.Errorf("its Content-Type is %q, but application/json is needed", contentType)
	}
	return nil
}
