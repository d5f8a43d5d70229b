package socketio

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/ws"
)

// code is an error of Engine.IO.
type code int

const (
	codeTransport code = iota
	codeSession
	codeMethod
	codeBadRequest
	codeForbidden
	codeVersion
)

var codeTexts = [...]string{"Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden", "Unsupported protocol version"}

// Codes names the errors for metrics.
var Codes = [...]string{"transport", "session", "method", "bad_request", "forbidden", "version"}

func (d *Door) refuse(w http.ResponseWriter, c code) {
	d.metrics.Refused[c].Add(1)
	status := http.StatusBadRequest
	if c == codeForbidden {
		status = http.StatusForbidden
	}
	d.refuseWith(w, c, status)
}

func (d *Door) refuseWith(w http.ResponseWriter, c code, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Code    code   `json:"code"`
		Message string `json:"message"`
	}{c, codeTexts[c]})
}

// Handler answers requests of one path; raw gives what is on top of Engine.IO
// instead of Socket.IO, nil: Socket.IO.
func (d *Door) Handler(raw func(*Raw) RawPeer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.serve(w, r, raw) })
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, raw func(*Raw) RawPeer) {
	if !d.cors(w, r) {
		d.refuse(w, codeForbidden)
		return
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	q := r.URL.Query()
	version := 0
	switch {
	case q.Get("EIO") == "4":
		version = 4
	case q.Get("EIO") == "3" && d.cfg.OldClients:
		version = 3
	}
	transport := q.Get("transport")
	switch {
	case transport != "polling" && transport != "websocket":
		d.refuse(w, codeTransport)
	case q.Has("j"): // JSON-P, for browsers from before 2013
		d.refuse(w, codeBadRequest)
	case q.Get("sid") != "":
		e := d.find(q.Get("sid"))
		switch {
		case e == nil || e.raw != (raw != nil): // another path has its own
			d.refuse(w, codeSession)
		case q.Has("EIO") && version != e.version:
			d.refuse(w, codeBadRequest)
		case transport == "websocket":
			d.upgrade(w, r, e)
		case r.Method == http.MethodGet:
			e.poll(w, r)
		case r.Method == http.MethodPost:
			e.post(w, r)
		default:
			d.refuse(w, codeBadRequest)
		}
	case r.Method != http.MethodGet:
		d.refuse(w, codeMethod)
	case version == 0:
		d.refuse(w, codeVersion)
	default:
		d.open(w, r, q, version, transport == "websocket", raw)
	}
}

// cors answers for browsers; false when the page may not connect.
func (d *Door) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	if !ws.OriginAllowed(r, d.cfg.Origins()) {
		return false
	}
	// Clients of version 1 always send credentials, for which "*" does not count.
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) <= 1<<10 {
			h.Set("Access-Control-Allow-Headers", asked)
		}
		h.Set("Access-Control-Max-Age", "600")
	}
	return true
}

// open begins a session.
func (d *Door) open(w http.ResponseWriter, r *http.Request, q url.Values, version int, websocket bool, raw func(*Raw) RawPeer) {
	if d.draining.Load() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "The server is shutting down; connect again.", http.StatusServiceUnavailable)
		return
	}
	var up *ws.Upgrade
	if websocket {
		var refusal *ws.Refusal
		if up, refusal = ws.CheckUpgrade(r, ws.UpgradeOptions{Origins: d.cfg.Origins()}); refusal != nil {
			d.refuse(w, codeBadRequest)
			return
		}
	}
	remote, release, ok := d.cfg.Admit(w, r)
	if !ok {
		return
	}
	all, first := newEngine(d, version, websocket)
	e := &all.engine
	e.remote, e.release = remote, release
	e.b64 = q.Has("b64")
	e.octets = version == 3 && !e.b64 && isTimestamp(q.Get("t"))
	if o := d.cfg.Opening(r); o != (session.Opening{}) {
		e.opening = &o
	}
	e.query, e.raw = strings.Clone(r.URL.RawQuery), raw != nil
	if d.spaces.answered() {
		e.headers = packHeaders(r.Header)
	}
	if raw != nil {
		rp := &rawPeer{e: e}
		e.peer = rp
		rp.RawPeer = raw(&Raw{e})
	} else {
		e.peer = &all.client
	}
	if !d.add(e) {
		release()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if websocket {
		e.adoptFirst(w, first, up)
		return
	}
	e.begin(nil)
	e.poll(w, r) // the answer is the first packet alone; it leaves when this returns
	e.peer.open()
}

// isTimestamp tells the t of clients up to 1.3.5, which in a browser understand
// no answer but a binary one: milliseconds in decimal, a dash and a number.
func isTimestamp(t string) bool {
	ms, n, ok := strings.Cut(t, "-")
	if !ok || len(ms) != 13 || n == "" {
		return false
	}
	for _, c := range ms + n {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// answer writes the body of a poll.
func (e *engine) answer(w http.ResponseWriter, wire [][]byte) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	kind, body := "text/plain; charset=UTF-8", []byte(nil)
	if e.version == 4 {
		body = engineio.AppendPayload4(nil, wire)
	} else {
		var binary bool
		if body, binary = engineio.AppendPayload3(nil, wire, e.b64, e.octets); binary {
			kind = "application/octet-stream"
		}
	}
	h.Set("Content-Type", kind)
	_, err := w.Write(body)
	return err
}

// post takes packets from the client.
func (e *engine) post(w http.ResponseWriter, r *http.Request) {
	d := e.door
	if !e.beginPost() {
		d.refuse(w, codeBadRequest)
		return
	}
	defer e.endPost()
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // an odd one is text
	octets := kind == "application/octet-stream"
	if octets && e.version == 4 {
		e.close(reasonTransportError)
		d.refuse(w, codeBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, d.cfg.MaxPayload))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		d.refuseWith(w, codeBadRequest, http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		e.close(reasonTransportError)
		return
	}
	if e.version == 4 {
		err = engineio.ReadPayload4(body, e.packet)
	} else {
		err = engineio.ReadPayload3(body, octets, func(p engineio.Packet) error {
			if e.octets && !octets && !p.Binary {
				p.Data = engineio.UndoUTF8(p.Data)
			}
			return e.packet(p)
		})
	}
	if errors.Is(err, engineio.ErrParse) {
		e.close(reasonParseError)
	}
	if err != nil && !errors.Is(err, errClosedByPeer) {
		d.refuse(w, codeBadRequest)
		return
	}
	// Old Internet Explorers offer anything else as a download.
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "ok")
}
