package stream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// Refuse answers a request with an error, as problem details (RFC 9457).
func Refuse(w http.ResponseWriter, e *fault.Error) { refuse(w, e.Code.HTTPStatus(), e) }

func refuse(w http.ResponseWriter, status int, e *fault.Error) {
	h := w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="skein"`)
	}
	b := protocol.AppendString([]byte(`{"title":`), http.StatusText(status))
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	b = protocol.AppendString(append(b, `,"code":`...), string(e.Code))
	b = protocol.AppendString(append(b, `,"detail":`...), e.Message)
	if e.Field != "" {
		b = protocol.AppendString(append(b, `,"field":`...), e.Field)
	}
	if e.RetryAfter > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after":`...), e.RetryAfterMilli(), 10)
	}
	b = append(b, '}')
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// allowOrigin tells whether the page that a request comes from may make it, and
// says so to its browser (the Fetch standard's CORS protocol). Requests that no
// page makes have no origin.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request, method string) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 || !ws.OriginAllowed(r, s.settings.Load().Origins) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", values[0])
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", method)
		h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "600")
		return true
	}
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	return true
}

// Bearer gives the token of a request: the Authorization header's, or the query's.
func Bearer(r *http.Request, query url.Values) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") { // RFC 9110 section 11.1: in any case
		return strings.TrimSpace(token)
	}
	return query.Get("token")
}

// Opening checks what a client gives with its first request.
func (s *Server) Opening(r *http.Request, kind *Kind, token, user, device string) (session.Opening, *fault.Error) {
	o := session.Opening{Token: token, Device: device, Encoding: kind.Encoding}
	if s.cfg.Sessions.Asks() {
		o.Request = r
	}
	if err := protocol.DeviceID("device", device); err != nil {
		return o, fault.Of(err)
	}
	if len(token) > maxToken {
		return o, fault.Field("token", "has %d bytes; at most %d are allowed", len(token), maxToken)
	}
	if s.settings.Load().Dev {
		o.User, o.Roles = user, r.URL.Query().Get("role")
	}
	return o, nil
}

// maxToken is what a token may have at most (spec/protocol.md section 3).
const maxToken = 8 << 10

// Body reads the body of a request within the limit for messages, and within the
// time for a handshake. After that there is none for reading: an answer may wait.
func (s *Server) Body(w http.ResponseWriter, r *http.Request, kind *Kind) ([]byte, *fault.Error) {
	limit := s.settings.Load().Message
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	size := max(r.ContentLength, 0)
	if size == 0 {
		size = 512
	}
	buf := make([]byte, 0, size+1) // one more, so that the end is seen without growing
	body := http.MaxBytesReader(w, r.Body, limit)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(s.cfg.Handshake))
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == nil {
			continue
		}
		if err == io.EOF {
			_ = rc.SetReadDeadline(time.Time{})
			break
		}
		w.Header().Set("Connection", "close") // what is left of the body is not waited for
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			return nil, tooLarge(limit)
		}
		return nil, fault.Wrap(fault.BadRequest, err, "the body could not be read, or not within %s", s.cfg.Handshake)
	}
	kind.Metrics.BytesIn.Add(int64(len(buf)))
	if !utf8.Valid(buf) {
		return nil, fault.New(fault.BadFrame, "the body is not valid UTF-8")
	}
	return buf, nil
}

func tooLarge(limit int64) *fault.Error {
	return fault.New(fault.TooLarge, "the body has more than %d bytes (limits.message)", limit)
}

// MaxFrames bounds the frames of one request.
const MaxFrames = 100

// outerDepth bounds the nesting of a whole body; each frame is read again with the
// configured bound.
const outerDepth = 1000

// Frames takes the frames out of raw, which is JSON that was checked: one value, or
// an array of them. field names it in errors.
func Frames(field string, raw []byte) ([][]byte, *fault.Error) {
	if len(raw) == 0 || raw[0] != '[' {
		return [][]byte{raw}, nil
	}
	var list [][]byte
	err := protocol.EachElement(raw, func(element []byte) error {
		if len(list) == MaxFrames {
			return fault.New(fault.TooLarge, "%s: at most %d frames are allowed in one request", field, MaxFrames)
		}
		list = append(list, element)
		return nil
	})
	return list, fault.Of(err)
}

// CheckJSON tells what is wrong with a body that must be JSON, and gives it without
// the white space around it.
func CheckJSON(body []byte) ([]byte, *fault.Error) {
	if err := protocol.Valid(body, outerDepth); err != nil {
		if errors.Is(err, protocol.ErrDepth) {
			return nil, fault.New(fault.TooLarge, "the body is nested more than %d levels deep", outerDepth)
		}
		return nil, fault.New(fault.BadFrame, "the body is not JSON: %s", err)
	}
	return bytes.Trim(body, " \t\r\n"), nil
}
