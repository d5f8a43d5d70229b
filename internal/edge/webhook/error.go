package webhook

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Kind is why there is no answer, for the caller's policy.
type Kind uint8

// The kinds, each with what it says about the backend.
const (
	KindAnswered    Kind = iota // there is an answer; no [Error] has this kind
	KindOpen                    // the circuit is open: it failed too often lately, so nothing was sent
	KindBusy                    // no request slot was free in time, so nothing was sent
	KindTimeout                 // it did not answer in time
	KindUnreachable             // no connection, or it broke
	KindFailed                  // status 408, 425 or 5xx
	KindThrottled               // status 429; RetryAfter may say for how long
	KindRefused                 // any other status but 2xx: asking again would not help
	KindGarbage                 // a 2xx answer that is not a JSON object within bounds
	KindForged                  // a 2xx answer without a valid signature, though one is required
	KindCanceled                // the caller's context ended
	KindClosed                  // the Client was closed
)

// Kinds names the kinds, for metrics and logs.
var Kinds = [...]string{"answered", "open", "busy", "timeout", "unreachable", "failed", "throttled", "refused", "garbage", "forged", "canceled", "closed"}

// String gives the name of the kind.
func (k Kind) String() string {
	if int(k) < len(Kinds) {
		return Kinds[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// An Error is every error of [Client.Ask].
type Error struct {
	Kind       Kind
	Event      string
	Delivery   string        // as in Skein-Delivery, to find the request in the backend's log
	Status     int           // of the answer; zero: there was none
	Body       string        // the first 200 bytes of an answer that was not 2xx
	RetryAfter time.Duration // what the backend asked for; zero: nothing
	Acted      bool          // the backend may have acted on it
	Err        error         // the cause; may be nil
}

// said is what each kind means, in a sentence that goes on with the cause.
var said = [...]string{
	KindOpen:        "not sent, the circuit is open because the backend failed",
	KindBusy:        "not sent, too many requests are under way",
	KindTimeout:     "the backend did not answer in time",
	KindUnreachable: "the backend could not be reached",
	KindFailed:      "the backend failed",
	KindThrottled:   "the backend wants fewer requests",
	KindRefused:     "the backend does not take the request",
	KindGarbage:     "the answer cannot be used",
	KindForged:      "somebody else's signature",
	KindCanceled:    "nobody waits for the answer any more",
	KindClosed:      "the server is stopping",
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "hook %s %s: %s", e.Event, e.Delivery, said[e.Kind])
	if e.Status != 0 {
		fmt.Fprintf(&b, ": status %d", e.Status)
	}
	if e.Body != "" {
		fmt.Fprintf(&b, " %q", e.Body)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// plain is the error for those who may see how the server does, but not what it says: no
// text of the backend's, and of the transport's only what names an address at most.
func (e *Error) plain() string {
	text := said[e.Kind]
	if e.Status != 0 {
		text += ": status " + strconv.Itoa(e.Status)
	}
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(e.Err, &network):
		text += ": " + network.Error()
	case errors.As(e.Err, &certificate):
		text += ": " + certificate.Error()
	case errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF):
		text += ": the connection was closed"
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// counts tells whether it brings the circuit nearer to opening.
func (k Kind) counts() bool {
	return k == KindTimeout || k == KindUnreachable || k == KindFailed || k == KindForged
}

// passing tells whether another attempt may end differently.
func (k Kind) passing() bool { return k.counts() || k == KindThrottled }

// excerpt is the beginning of a text that a stranger wrote, for people.
func excerpt(body []byte) string {
	return strings.ToValidUTF8(string(body[:min(len(body), 200)]), "\uFFFD")
}
