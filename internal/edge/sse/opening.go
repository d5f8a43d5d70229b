package sse

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// opening is what a client asks for when it opens a stream.
type opening struct {
	session.Opening
	channels []string // in the order of the URL
	last     int64    // of log channels without a place: the newest so many messages
	places   places
}

// maxChannels bounds the channels that a URL names; others are subscribed to by POST.
const maxChannels = stream.MaxFrames

// opening reads the request.
func (d *Door) opening(r *http.Request) (o opening, err *fault.Error) {
	q, qerr := url.ParseQuery(r.URL.RawQuery)
	if qerr != nil {
		return o, fault.New(fault.BadRequest, "the query cannot be read: %s", qerr)
	}
	if o.Opening, err = d.cfg.Streams.Opening(r, &d.kind, stream.Bearer(r, q), q.Get("user"), q.Get("device")); err != nil {
		return o, err
	}
	for _, list := range q["channels"] {
		for channel := range strings.SplitSeq(list, ",") {
			if channel == "" || contains(o.channels, channel) {
				continue
			}
			if _, err := protocol.Namespace("channels", channel); err != nil {
				return o, fault.Of(err)
			}
			o.channels = append(o.channels, channel)
		}
	}
	if text := q.Get("last"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > protocol.MaxInt {
			return o, fault.Field("last", "must be a number of messages, 0 or more")
		}
		o.last = n
	}
	field, id := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if id == "" {
		field, id = "last_event_id", q.Get("last_event_id")
	}
	var perr error
	if o.places, perr = parsePlaces(id); perr != nil {
		return o, fault.Field(field, "%s", perr)
	}
	if n := len(o.channels); n > maxChannels {
		return o, fault.New(fault.TooLarge, "channels: %d are named; at most %d can be, subscribe to the others by POST", n, maxChannels)
	}
	return o, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// subscriptions makes the frames that subscribe to the channels of the URL, and to
// those that the connection before it was reading.
func (d *Door) subscriptions(o *opening) [][]byte {
	var frames [][]byte
	for i, channel := range o.channels {
		at := o.places.find([]byte(channel))
		var place *place
		if at >= 0 {
			place = &o.places.list[at]
		}
		frames = append(frames, d.subscription("channels", i, channel, place, o.last))
	}
	for i := range o.places.list {
		if at := &o.places.list[i]; !contains(o.channels, at.channel) {
			frames = append(frames, d.subscription("resume", i, at.channel, at, 0))
		}
	}
	return frames
}

// subscription is a sub frame whose answer can be told from those to the client's
// own frames.
func (d *Door) subscription(word string, i int, channel string, at *place, last int64) []byte {
	b := append(append([]byte(`{"type":"sub","id":"`), word...), '.')
	b = append(strconv.AppendInt(b, int64(i), 10), '"')
	b = protocol.AppendString(append(b, `,"channel":`...), channel)
	switch {
	case at != nil:
		place := `,"seq":`
		if space := d.space(channel); space != nil && space.IsDoc() {
			place = `,"version":`
		}
		b = protocol.AppendString(append(b, `,"since":{"epoch":`...), at.epoch)
		b = append(strconv.AppendUint(append(b, place...), at.seq, 10), '}')
	case last > 0 && d.isLog(channel):
		b = strconv.AppendInt(append(b, `,"last":`...), last, 10)
	}
	return append(b, '}')
}

// isLog tells whether a channel keeps what is said; other channels know no last.
func (d *Door) isLog(channel string) bool {
	space := d.space(channel)
	return space != nil && space.IsLog()
}

// space gives the rules of a channel; nil when there are none.
func (d *Door) space(channel string) *hub.Space {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return nil
	}
	return d.cfg.Sessions.Hub().Space(namespace)
}
