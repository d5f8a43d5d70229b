package poll

import (
	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// request is the body of a call.
type request struct {
	connection string // "": opens one
	after      number
	frames     [][]byte
	connects   bool // the first frame says who the client is
	close      bool // the connection ends with this call

	token, user, device string // of the first call
}

// number is the number of an answer that has arrived.
type number struct {
	given bool
	n     uint64
}

// maxName is more than the name of a connection has.
const maxName = 64

// parse reads the body of a call; an empty one opens a connection.
func parse(body []byte) (q request, err *fault.Error) {
	if len(body) == 0 {
		return q, nil
	}
	if body, err = stream.CheckJSON(body); err != nil {
		return q, err
	}
	var o protocol.Object
	if e := o.Read(body, 1<<10); e != nil {
		return q, fault.New(fault.BadFrame, "the body is not a JSON object: %s", e)
	}
	for _, f := range [...]struct {
		name string
		to   *string
		max  int
	}{
		{"connection", &q.connection, maxName},
		{"token", &q.token, 8 << 10},
		{"user", &q.user, protocol.MaxUser},
		{"device", &q.device, protocol.MaxDevice},
	} {
		text, e := o.String(f.name, f.max)
		if e != nil {
			return q, fault.Of(e)
		}
		*f.to = text
	}
	n, e := o.Int("after", 0, 0, protocol.MaxInt)
	if e != nil {
		return q, fault.Of(e)
	}
	q.after = number{o.Raw("after") != nil, uint64(n)}
	if q.close, e = o.Bool("close", false); e != nil {
		return q, fault.Of(e)
	}
	raw := o.Raw("frames")
	if raw == nil {
		return q, nil
	}
	if raw[0] != '[' {
		return q, fault.Field("frames", "must be an array, not %s", protocol.KindOf(raw))
	}
	if q.frames, err = stream.Frames("frames", raw); err != nil || len(q.frames) == 0 {
		return q, err
	}
	var first protocol.Frame
	if first.Read(q.frames[0], 1<<10) == nil {
		q.connects = first.Type == protocol.TypeConnect
	}
	return q, nil
}
