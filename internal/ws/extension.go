package ws

import (
	"strconv"
	"strings"
)

// DeflateParams is what was agreed on for permessage-deflate. Neither side ever
// takes its context over, so a message depends on nothing but itself.
type DeflateParams struct {
	// ServerMaxWindowBits is the window to compress with, 8 to 15.
	ServerMaxWindowBits int
}

// NegotiateDeflate picks the first permessage-deflate offer (RFC 7692, 7.1) that
// the server can keep from the values of a request's Sec-WebSocket-Extensions
// headers. response is the value of the header in the answer. ok is false when
// there is no such offer; then the connection goes on without compression.
//
// An offer with an unknown, invalid or repeated parameter is declined, as the
// RFC demands. What cannot be parsed declines the rest of its header.
func NegotiateDeflate(headers []string) (params DeflateParams, response string, ok bool) {
	for _, h := range headers {
		for h != "" {
			var e extension
			var valid bool
			if e, h, valid = parseExtension(h); !valid {
				break
			}
			if e.name != "permessage-deflate" {
				continue
			}
			if params, response, ok := e.accept(); ok {
				return params, response, true
			}
		}
	}
	return DeflateParams{}, "", false
}

// extension is one element of the header (RFC 6455, 9.1).
type extension struct {
	name   string
	params []extensionParam
}

type extensionParam struct {
	name, value string
	hasValue    bool
}

// maxParams bounds the parameters that are looked at; permessage-deflate has four.
const maxParams = 16

// accept answers an offer of permessage-deflate.
func (e *extension) accept() (params DeflateParams, response string, ok bool) {
	params.ServerMaxWindowBits = maxWindowBits
	response = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for i, p := range e.params {
		for _, earlier := range e.params[:i] {
			if earlier.name == p.name {
				return DeflateParams{}, "", false
			}
		}
		switch p.name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if p.hasValue {
				return DeflateParams{}, "", false
			}
		case "server_max_window_bits":
			bits, valid := windowBits(p.value)
			if !valid {
				return DeflateParams{}, "", false
			}
			params.ServerMaxWindowBits = bits
			response += "; server_max_window_bits=" + p.value
		case "client_max_window_bits":
			// The client may be asked for a smaller window; we take any.
			if _, valid := windowBits(p.value); p.hasValue && !valid {
				return DeflateParams{}, "", false
			}
		default:
			return DeflateParams{}, "", false
		}
	}
	return params, response, true
}

// windowBits reads 8 to 15, without leading zeros (RFC 7692, 7.1.2).
func windowBits(s string) (bits int, ok bool) {
	bits, err := strconv.Atoi(s)
	ok = err == nil && bits >= minWindowBits && bits <= maxWindowBits && s[0] != '0' && s[0] != '+'
	return bits, ok
}

// parseExtension reads one element of the list and returns what comes after its
// comma. Empty elements are skipped, as in every HTTP list.
func parseExtension(s string) (e extension, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	if s == "" {
		return e, "", false
	}
	if e.name, s = token(s); e.name == "" {
		return e, "", false
	}
	for {
		s = trimSpace(s)
		if s == "" {
			return e, "", true
		}
		separator := s[0]
		s = trimSpace(s[1:])
		switch separator {
		case ',':
			return e, s, true
		case ';':
		default:
			return e, "", false
		}
		var p extensionParam
		if p.name, s = token(s); p.name == "" {
			return e, "", false
		}
		if s = trimSpace(s); s != "" && s[0] == '=' {
			p.hasValue = true
			if p.value, s, ok = paramValue(trimSpace(s[1:])); !ok {
				return e, "", false
			}
		}
		if e.params = append(e.params, p); len(e.params) > maxParams {
			return e, "", false
		}
	}
}

// paramValue reads a token, or a quoted string that holds one.
func paramValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		value, rest = token(s)
		return value, rest, value != ""
	}
	inside, rest, closed := strings.Cut(s[1:], `"`)
	// A token needs no escapes, so a backslash is none either.
	value, left := token(inside)
	return value, rest, closed && value != "" && left == ""
}

// token splits the token (RFC 9110, 5.6.2) off the front of s.
func token(s string) (token, rest string) {
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isTokenByte(c byte) bool {
	switch {
	case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func trimSpace(s string) string { return strings.Trim(s, " \t") }
