// Package trace is the door at which somebody can look at what passes, while it
// does: all frames of a user, of a connection or of a channel, one JSON object a
// line, for as long as the request lasts.
//
// Whoever looks does not disturb: what passes is put into a bounded queue, where it
// passes, and made into lines by the goroutine of the request that reads them. A
// reader that is too slow misses lines and is told how many. While nobody looks, a
// connection pays one atomic load for what it sends.
//
// It judges nobody: the scope of the API key is checked before. It stores nothing
// and starts no goroutine that outlives its request; net/http runs the requests.
package trace

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// Config of a [Door].
type Config struct {
	Hub       *hub.Hub
	Logger    *slog.Logger // is told who looks at what
	Refuse    func(w http.ResponseWriter, err error)
	Most      int           // traces at once; zero: 16
	Backlog   int           // lines of one trace that wait for its reader; zero: 4096
	Heartbeat time.Duration // a quiet trace has a line so often; zero: 15 s
	Stall     time.Duration // a reader that takes nothing for so long is given up; zero: 1 min
}

// maxWaiting bounds the bytes of messages that wait for one trace's reader.
const maxWaiting = 8 << 20

// Door is the door of one server.
type Door struct {
	cfg    Config
	traces atomic.Pointer[[]*trace] // replaced, never changed

	mu sync.Mutex // held while traces and who watches the hub change
}

// New makes a Door.
func New(cfg Config) *Door {
	cfg.Most = or(cfg.Most, 16)
	cfg.Backlog = or(cfg.Backlog, 4096)
	cfg.Heartbeat = or(cfg.Heartbeat, 15*time.Second)
	cfg.Stall = or(cfg.Stall, time.Minute)
	d := &Door{cfg: cfg}
	d.traces.Store(new([]*trace))
	return d
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// target is what is traced; one of its fields is set.
type target struct{ user, connection, channel string }

// parse reads what a request wants traced.
func parse(r *http.Request) (t target, err error) {
	q := r.URL.Query()
	given := 0
	for _, f := range []struct {
		name  string
		to    *string
		check func(string) error
	}{
		{"user", &t.user, func(s string) error { return protocol.UserID("user", s) }},
		{"connection", &t.connection, func(s string) error {
			if _, ok := id.ParseConnection(s); !ok {
				return fault.Field("connection", "%.80q is not the id of a connection", s)
			}
			return nil
		}},
		{"channel", &t.channel, func(s string) error {
			_, err := protocol.Namespace("channel", s)
			return err
		}},
	} {
		if !q.Has(f.name) {
			continue
		}
		given++
		*f.to = q.Get(f.name)
		if err := f.check(*f.to); err != nil {
			return t, err
		}
	}
	if given != 1 {
		return t, fault.New(fault.BadRequest, "give one of user, connection and channel")
	}
	return t, nil
}

// name gives the field that is set, and its value.
func (t *target) name() (field, value string) {
	switch {
	case t.user != "":
		return "user", t.user
	case t.connection != "":
		return "connection", t.connection
	}
	return "channel", t.channel
}

// ServeHTTP serves GET /api/v1/trace.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want, err := parse(r)
	if err == nil && r.Method != http.MethodGet {
		err = fault.New(fault.BadRequest, "use GET") // the answer to HEAD would not end either
	}
	var t *trace
	if err == nil {
		t, err = d.begin(want)
	}
	if err != nil {
		d.cfg.Refuse(w, err)
		return
	}
	field, value := want.name()
	log := d.cfg.Logger.With(field, value, "key", verb.CallerOf(r.Context()).Name, "remote", r.RemoteAddr)
	log.Info("a trace begins")
	defer func() {
		d.end(t)
		log.Info("a trace ends", "lines", t.written, "dropped", t.missed)
	}()
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx would keep lines back
	d.write(r.Context(), w, t)
}

// write writes the lines of a trace until its reader or ctx has ended, or nothing
// can come any more.
func (d *Door) write(ctx context.Context, w http.ResponseWriter, t *trace) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // that of the request, which is not to end this
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = rc.SetWriteDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
		_ = rc.SetWriteDeadline(time.Time{})
	}()
	quiet := time.NewTimer(d.cfg.Heartbeat)
	defer quiet.Stop()
	send := func(b []byte) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(d.cfg.Stall))
		if ctx.Err() != nil {
			return false
		}
		_, err := w.Write(b)
		return err == nil && rc.Flush() == nil
	}
	b := t.appendHello(nil)
	for ok := send(b); ok; {
		list, dropped, over := t.take()
		if len(list) == 0 && dropped == 0 {
			if over {
				return
			}
			select {
			case <-t.wake:
				continue
			case <-ctx.Done():
				return
			case <-quiet.C:
				ok = send(appendHeartbeat(b[:0]))
			}
		}
		b = b[:0]
		for i := range list {
			b = t.appendLines(b, &list[i])
			list[i] = record{}
			if len(b) >= 64<<10 {
				if ok = ok && send(b); !ok {
					return
				}
				b = b[:0]
			}
		}
		if dropped > 0 {
			b = appendDropped(b, dropped)
		}
		if len(b) > 0 {
			ok = send(b)
		}
		quiet.Reset(d.cfg.Heartbeat)
	}
}

// begin starts a trace.
func (d *Door) begin(want target) (*trace, error) {
	t := newTrace(want, d.cfg.Backlog)
	c, _ := id.ParseConnection(want.connection)
	if want.connection != "" && d.cfg.Hub.Conn(c) == nil {
		return nil, fault.New(fault.NotFound, "connection: there is no connection %s", want.connection)
	}
	if err := d.enter(t); err != nil {
		return nil, err
	}
	// Who comes from now on is told of by the hub, so nobody is missed.
	switch {
	case want.user != "":
		for _, c := range d.cfg.Hub.UserConns(want.user) {
			t.join(c, "")
		}
	case want.connection != "":
		c := d.cfg.Hub.Conn(c)
		if c == nil {
			d.end(t)
			return nil, fault.New(fault.NotFound, "connection: there is no connection %s", want.connection)
		}
		t.join(c, "")
	}
	return t, nil
}

func (d *Door) enter(t *trace) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := *d.traces.Load()
	if len(list) >= d.cfg.Most {
		return fault.New(fault.RateLimited, "%d traces run already, and that is how many may", len(list)).After(10 * time.Second)
	}
	d.setLocked(append(slices.Clip(list), t))
	return nil
}

func (d *Door) end(t *trace) {
	d.mu.Lock()
	d.setLocked(slices.DeleteFunc(slices.Clone(*d.traces.Load()), func(x *trace) bool { return x == t }))
	d.mu.Unlock()
	t.close()
}

func (d *Door) setLocked(list []*trace) {
	d.traces.Store(&list)
	if len(list) == 0 {
		d.cfg.Hub.SetWatch(nil)
		return
	}
	d.cfg.Hub.SetWatch(&hub.Watch{Published: d.published, Bound: d.bound, Removed: func(c *hub.Conn) { d.Closed(c, protocol.Close{}, "") }})
}

func (d *Door) published(channel string, frame []byte) {
	for _, t := range *d.traces.Load() {
		if t.want.channel == channel {
			t.put(record{kind: published, body: frame, n: 1})
		}
	}
}

func (d *Door) bound(c *hub.Conn, user string, fresh bool) {
	for _, t := range *d.traces.Load() {
		switch {
		case t.want.user != "" && t.want.user == user && fresh:
			t.join(c, "connected")
		case t.want.user != "" && t.want.user == user:
			t.join(c, "bound")
		case t.want.user != "":
			t.leave(c, &record{event: "unbound"})
		case t.want.connection != "":
			t.rename(c)
		}
	}
}

// Closed is told of each connection that has ended, and why.
func (d *Door) Closed(c *hub.Conn, why protocol.Close, message string) {
	for _, t := range *d.traces.Load() {
		if t.want.channel == "" {
			t.leave(c, &record{event: "closed", why: why, body: []byte(strings.ToValidUTF8(message, "\uFFFD"))})
		}
	}
}
