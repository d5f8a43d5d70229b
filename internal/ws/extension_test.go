package ws

import (
	"fmt"
	"testing"
)

const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

func TestNegotiateDeflate(t *testing.T) {
	for _, c := range []struct {
		headers  []string
		response string // empty: none
		bits     int
	}{
		{nil, "", 0},
		{[]string{""}, "", 0},
		{[]string{"permessage-deflate"}, agreed, 15},
		{[]string{"permessage-deflate; client_max_window_bits"}, agreed, 15}, // Chrome
		{[]string{"permessage-deflate; client_max_window_bits=9"}, agreed, 15},
		{[]string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, agreed, 15},
		{[]string{"permessage-deflate;server_max_window_bits=10"}, agreed + "; server_max_window_bits=10", 10},
		{[]string{"permessage-deflate;server_max_window_bits=8"}, agreed + "; server_max_window_bits=8", 8},
		{[]string{"permessage-deflate;server_max_window_bits=15"}, agreed + "; server_max_window_bits=15", 15},
		{[]string{`permessage-deflate; server_max_window_bits="12"`}, agreed + "; server_max_window_bits=12", 12},
		{[]string{"\tpermessage-deflate ;\t server_max_window_bits = 12 ; client_max_window_bits "}, agreed + "; server_max_window_bits=12", 12},
		{[]string{"x-webkit-deflate-frame, permessage-deflate"}, agreed, 15},
		{[]string{"x-webkit-deflate-frame", "permessage-deflate"}, agreed, 15},
		{[]string{", ,permessage-deflate,"}, agreed, 15},

		// The first offer cannot be kept, the next one can.
		{[]string{"permessage-deflate; server_max_window_bits=7, permessage-deflate"}, agreed, 15},
		{[]string{"permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=9"}, agreed + "; server_max_window_bits=9", 9},
		{[]string{"broken;;", "permessage-deflate"}, agreed, 15},

		// Invalid, unknown or repeated parameters (RFC 7692, 7.1).
		{[]string{"permessage-deflate; unknown"}, "", 0},
		{[]string{"permessage-deflate; unknown=1"}, "", 0},
		{[]string{"permessage-deflate; server_no_context_takeover=1"}, "", 0},
		{[]string{"permessage-deflate; client_no_context_takeover=true"}, "", 0},
		{[]string{"permessage-deflate; server_no_context_takeover; server_no_context_takeover"}, "", 0},
		{[]string{"permessage-deflate; client_max_window_bits; client_max_window_bits=10"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=7"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=16"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=010"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=08"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=+9"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=-9"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=9.0"}, "", 0},
		{[]string{"permessage-deflate; server_max_window_bits=99999999999999999999"}, "", 0},
		{[]string{"permessage-deflate; client_max_window_bits=16"}, "", 0},
		{[]string{"permessage-deflate; client_max_window_bits=0"}, "", 0},
		{[]string{"Permessage-Deflate"}, "", 0},

		// What is not the grammar of RFC 6455, 9.1.
		{[]string{"permessage-deflate; server_max_window_bits="}, "", 0},
		{[]string{`permessage-deflate; server_max_window_bits="10`}, "", 0},
		{[]string{`permessage-deflate; server_max_window_bits="1 0"`}, "", 0},
		{[]string{`permessage-deflate; server_max_window_bits=""`}, "", 0},
		{[]string{"permessage-deflate;"}, "", 0},
		{[]string{"permessage-deflate;;"}, "", 0},
		{[]string{"permessage-deflate client_max_window_bits"}, "", 0},
		{[]string{"=permessage-deflate"}, "", 0},
		{[]string{"permessage-deflate\r\nX: y"}, "", 0},
		{[]string{"other; a; b; c; d; e; f; g; h; i; j; k; l; m; n; o; p; q, permessage-deflate"}, "", 0},
	} {
		t.Run(fmt.Sprint(c.headers), func(t *testing.T) {
			params, response, ok := NegotiateDeflate(c.headers)
			if response != c.response || params.ServerMaxWindowBits != c.bits || ok != (c.response != "") {
				t.Errorf("got %+v, %q, %v; want %d bits, %q", params, response, ok, c.bits, c.response)
			}
		})
	}
}
