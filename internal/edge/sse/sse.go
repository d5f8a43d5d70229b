// Package sse is the door for server-sent events: GET /sse gives a stream of events,
// one for each frame, and POST /sse/{connection} takes frames. A client that comes
// back with Last-Event-ID gets everything that it missed in log channels.
//
// The id of an event holds the places of all log channels that the connection
// reads, so it needs nothing that the server remembers: it works after a restart,
// and on another node.
//
// It stores nothing. A connection costs the goroutine of its request, which net/http
// runs; whoever closes the [stream.Server] waits for it.
package sse

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// Config of a [Door].
type Config struct {
	Streams  *stream.Server
	Sessions *session.Server
	Verifier session.Verifier
	Remote   func(*http.Request) netip.AddrPort // the address of a request's client; nil: it is not compared
	Encoding int                                // the place of [Encoding] among the hub's

	// Epoch gives the epoch of a log channel whose subscription nothing told of.
	Epoch func(ctx context.Context, channel string) (string, error)
}

// Door is the door of one server.
type Door struct {
	cfg  Config
	kind stream.Kind
}

// New makes a Door.
func New(cfg Config) *Door {
	return &Door{cfg: cfg, kind: stream.Kind{Name: "sse", Encoding: cfg.Encoding}}
}

// Metrics gives the live counters.
func (d *Door) Metrics() *stream.Metrics { return &d.kind.Metrics }

// Stream serves GET /sse.
func (d *Door) Stream(w http.ResponseWriter, r *http.Request) {
	d.cfg.Streams.Serve(w, r, &d.kind, http.MethodGet, d.open)
}

// Frames serves POST /sse/{connection}.
func (d *Door) Frames(w http.ResponseWriter, r *http.Request) {
	d.cfg.Streams.Serve(w, r, &d.kind, http.MethodPost, d.post)
}

// open begins a connection and writes its events until it ends.
func (d *Door) open(w http.ResponseWriter, r *http.Request) {
	o, err := d.opening(r)
	if err != nil {
		d.kind.Metrics.Refused[stream.RefusedRequest].Add(1)
		stream.Refuse(w, err)
		return
	}
	c, ok := d.cfg.Streams.Enter(w, r, &d.kind)
	if !ok {
		return
	}
	defer c.Release()
	if end := c.Begin(o.Opening, false); end != nil && (end.Reason.Code == protocol.CloseTokenRefused.Code || end.Reason.Code == protocol.CloseInternal.Code) {
		// An EventSource comes back to a stream that ends, but not to an error: so who is
		// refused for good is told by status.
		stream.Refuse(w, refusal(c, end, o.Token != ""))
		return
	}
	stream.Tune(r)
	s := &writer{door: d, conn: c, subs: d.subscriptions(&o), places: o.places, w: w, rc: http.NewResponseController(w)}
	s.run(r.Context())
}

// refusal says why nobody was welcomed, as the bye would have.
func refusal(c *stream.Conn, end *stream.End, token bool) *fault.Error {
	e := fault.New(fault.Unauthorized, "the token is not accepted")
	if !token {
		e.Message = "a token is missing, and anonymous connections are not allowed"
	}
	if end.Reason.Code == protocol.CloseInternal.Code {
		e = fault.New(fault.Unavailable, "the token cannot be checked now").After(retryMin)
	}
	bufs, _ := c.Box.Take(1 << 20)
	for _, b := range bufs {
		for r := (record{}); len(b) > 0; {
			if r, b = next(b); r.effect != effectBye {
				continue
			}
			o := protocol.GetObject()
			if o.Read(r.frame(), frameDepth) == nil {
				if m, err := o.String("message", 1<<10); err == nil && m != "" {
					e.Message = m
				}
			}
			protocol.PutObject(o)
		}
	}
	return e
}

// post hands the frames of a request to the connection's session. Its answer says
// only that they were taken; theirs come down the stream.
func (d *Door) post(w http.ResponseWriter, r *http.Request) {
	c := d.cfg.Streams.Find(r.PathValue("connection"), &d.kind)
	if c == nil {
		stream.Refuse(w, errUnknown)
		return
	}
	if err := d.authorize(r, c); err != nil {
		stream.Refuse(w, err)
		return
	}
	body, err := d.cfg.Streams.Body(w, r, &d.kind)
	if err == nil {
		body, err = stream.CheckJSON(body)
	}
	var frames [][]byte
	if err == nil {
		frames, err = stream.Frames("body", body)
	}
	if err != nil {
		stream.Refuse(w, err)
		return
	}
	d.kind.Metrics.Requests.Add(1)
	if c.End() != nil || !c.Push(r.Context(), frames) {
		stream.Refuse(w, errUnknown)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

var errUnknown = fault.New(fault.NotFound, "connection: there is no such connection, or no longer")

// authorize asks for the token again where there was one, and else for the address:
// the id of a connection is shown to others, as the source of what it publishes.
func (d *Door) authorize(r *http.Request, c *stream.Conn) *fault.Error {
	user, ok := c.ByToken()
	if !ok {
		// Nobody has proved who they are, but at least the address must be the same.
		if d.cfg.Remote != nil && d.cfg.Remote(r).Addr() != c.Remote().Addr() {
			return fault.New(fault.Denied, "the connection is another client's")
		}
		return nil
	}
	token := stream.Bearer(r, r.URL.Query())
	if token == "" {
		return fault.New(fault.Unauthorized, "the connection was opened with a token; send one of the same user as Authorization: Bearer TOKEN, or in the query")
	}
	identity, err := d.cfg.Verifier.Verify(r.Context(), token)
	if err != nil {
		return fault.Of(err)
	}
	if identity.User != user {
		return fault.New(fault.Denied, "the connection is another user's")
	}
	return nil
}
