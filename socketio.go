package skein

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/edge/demo"
	"github.com/skein-realtime/skein/internal/edge/socketio"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// What an application needs to answer Socket.IO clients; see [Server.SocketIO].
type (
	// IONamespace is a namespace, or a pattern of them, with the functions that answer it.
	IONamespace = socketio.Namespace
	// IOSocket is a client in a namespace.
	IOSocket = socketio.Socket
	// IOHandshake is what a client gave to connect to a namespace.
	IOHandshake = socketio.Handshake
	// IORefusal is an error that says more to a client that is refused than its text.
	IORefusal = socketio.Refusal
	// IOArgs are the arguments of an event or an acknowledgement.
	IOArgs = socketio.Args
	// IOAck answers an event.
	IOAck = socketio.Ack
	// IOBroadcast is a message for many sockets.
	IOBroadcast = socketio.Broadcast
	// Binary is bytes inside of JSON, {"$binary":"<base64>"}: what Socket.IO clients
	// get and send as an ArrayBuffer or a Buffer.
	Binary = socketio.Binary
)

// SocketIO gives a Socket.IO namespace ("/", "/chat") or a pattern with one * in
// it ("/game-*"), to which functions can be added before the server serves. A
// namespace that is named here exists and is open to everybody whom its Use
// functions let in. What it is mapped to is configuration.
func (s *Server) SocketIO(namespace string) *IONamespace { return s.socketio.Namespace(namespace) }

// SocketIOIn begins a message for everybody in a Socket.IO namespace; nil when
// there is no such namespace.
func (s *Server) SocketIOIn(namespace string) *IOBroadcast { return s.socketio.In(namespace) }

// SocketIOHandler serves Socket.IO, in a server of your own at a path of your own.
func (s *Server) SocketIOHandler() http.Handler { return s.socketio.Handler(nil) }

// EngineIOHandler serves plain Engine.IO: open is called for each session and
// gives what takes its messages, one at a time. Data is good until it returns.
func (s *Server) EngineIOHandler(open func(send func(binary bool, data []byte)) (message func(binary bool, data []byte))) http.Handler {
	return s.socketio.Handler(func(r *socketio.Raw) socketio.RawPeer { return open(r.Send) })
}

const socketIOOff = "off"

// WithDefaults fills in what is left out. Without namespaces of its own, those of
// the configuration stand for themselves.
func (c SocketIO) WithDefaults(spaces map[string]Namespace) SocketIO {
	c.Path = or(c.Path, "/socket.io/")
	c.OldClients = or(c.OldClients, "allow")
	c.PingInterval = or(c.PingInterval, Duration(25*time.Second))
	c.PingTimeout = or(c.PingTimeout, Duration(20*time.Second))
	c.ConnectTimeout = or(c.ConnectTimeout, Duration(45*time.Second))
	c.UpgradeTimeout = or(c.UpgradeTimeout, Duration(10*time.Second))
	c.MaxPayload = or(c.MaxPayload, 1_000_000)
	if c.Namespaces == nil {
		c.Namespaces = map[string]SocketIONamespace{"/*": {Channel: "*:all", Rooms: "*"}}
		for _, main := range []string{"main", "event"} {
			if _, ok := spaces[main]; ok {
				c.Namespaces["/"] = SocketIONamespace{Channel: main + ":all", Rooms: main}
				break
			}
		}
	}
	return c
}

func (v *validation) socketIO(c SocketIO, spaces map[string]Namespace) {
	if c.Path != socketIOOff && (!strings.HasPrefix(c.Path, "/") || !strings.HasSuffix(c.Path, "/") || c.Path == "/" || strings.ContainsAny(c.Path, "{}?# ")) {
		v.wrong("socketio.path", "%q is not a path; write /socket.io/, or off", c.Path)
	}
	v.oneOf("socketio.old_clients", c.OldClients, "allow", "refuse")
	v.duration("socketio.ping_interval", c.PingInterval, 10*time.Millisecond, time.Hour)
	v.duration("socketio.ping_timeout", c.PingTimeout, 10*time.Millisecond, time.Hour)
	v.duration("socketio.connect_timeout", c.ConnectTimeout, 10*time.Millisecond, time.Hour)
	v.duration("socketio.upgrade_timeout", c.UpgradeTimeout, 10*time.Millisecond, time.Hour)
	v.duration("socketio.recovery", c.Recovery, 0, 24*time.Hour)
	v.between("socketio.max_payload", int64(c.MaxPayload), 128, 64<<20)
	if c.Client != "" {
		if _, err := os.Stat(c.Client); err != nil {
			v.wrong("socketio.client", "cannot read %s", c.Client)
		}
	}
	for name, ns := range c.Namespaces {
		at := "socketio.namespaces." + name
		if !strings.HasPrefix(name, "/") || strings.Count(name, "*") > 1 || len(name) > 256 {
			v.wrong(at, "%q is not a namespace; write / or /name, with at most one *", name)
			continue
		}
		star := strings.Contains(name, "*")
		if ns.Channel != "" && !(star && strings.Contains(ns.Channel, "*")) {
			if space, err := protocol.Namespace("channel", ns.Channel); err != nil {
				v.wrong(at+".channel", "%q is not the name of a channel", ns.Channel)
			} else if _, ok := spaces[space]; !ok {
				v.wrong(at+".channel", "the namespace %q is not configured", space)
			}
		}
		if ns.Rooms != "" && !(star && strings.Contains(ns.Rooms, "*")) {
			if _, ok := spaces[ns.Rooms]; !ok {
				v.wrong(at+".rooms", "the namespace %q is not configured", ns.Rooms)
			}
		}
	}
}

// newSocketIO makes the door for Socket.IO clients.
func (s *Server) newSocketIO(cfg Config) *socketio.Door {
	c := cfg.SocketIO
	d := socketio.New(socketio.Config{
		Links: s.links, Sessions: s.sessions, Logger: s.log,
		PingInterval: c.PingInterval.Std(), PingTimeout: c.PingTimeout.Std(),
		ConnectTimeout: c.ConnectTimeout.Std(), UpgradeTimeout: c.UpgradeTimeout.Std(),
		Recovery: c.Recovery.Std(), MaxPayload: int64(c.MaxPayload), Queue: int(cfg.Limits.Queue), Depth: cfg.Limits.Depth,
		OldClients: c.OldClients == "allow",
		Admit:      s.door.Admit, Opening: s.door.Opening, Origins: s.door.Origins,
		Join: s.joinKept, Missed: s.missedBy, Publish: s.publishFor,
	})
	for name, ns := range c.Namespaces {
		d.Map(name, socketio.Mapping{Channel: ns.Channel, Rooms: ns.Rooms})
	}
	// The namespace of the page /demo/ticker.
	space, rest, _ := strings.Cut(demo.TickerChannel, ":")
	if _, ok := cfg.Namespaces[space]; ok && cfg.Demos && c.Namespaces["/"+rest] == (SocketIONamespace{}) {
		d.Map("/"+rest, socketio.Mapping{Channel: demo.TickerChannel})
	}
	return d
}

// storeTimeout bounds what a Socket.IO client causes in the store.
const storeTimeout = 10 * time.Second

// joinKept subscribes a session to a channel that is kept, for its transport.
func (s *Server) joinKept(c *session.Session, channel string, space *hub.Space, since *socketio.Since) (epoch string, err error) {
	var from feed.From // without what it says itself, as Socket.IO has it
	if since != nil {
		from.Since = &feed.Position{Epoch: since.Epoch, Seq: since.Seq}
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	_, err = s.feeds.Subscribe(ctx, &c.Conn, channel, space, from, hub.SubOptions{By: hub.Ordered}, func(j feed.Joining) []byte {
		epoch = j.Epoch
		return nil
	})
	return epoch, err
}

// missedBy reads what a session has missed of a channel that is kept.
func (s *Server) missedBy(c *session.Session, channel string, since socketio.Since) (list []socketio.Missed, upTo uint64, ok bool) {
	const most = 1000
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	page, err := s.feeds.History(ctx, store.Query{Channel: channel, After: since.Seq, Limit: most})
	if err != nil || page.More || page.Head.Epoch != since.Epoch || page.Head.Floor > since.Seq || since.Seq > page.Head.Top {
		return nil, 0, false
	}
	own := c.ID.String()
	for i := range page.Messages {
		m := &page.Messages[i]
		if m.Sender.Connection != own || m.Recalled {
			list = append(list, socketio.Missed{ID: m.ID, Seq: m.Seq, Frame: feed.FrameOf(channel, m)})
		}
	}
	return list, page.Head.Top, true
}

// publishFor publishes in a channel, for an application that answers Socket.IO
// clients.
func (s *Server) publishFor(from *hub.Conn, channel, event string, data []byte, except []*hub.Conn) error {
	var sender protocol.Sender
	if from != nil {
		sender = from.Sender()
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.channels.Publish(ctx, sender, channel, event, data, except)
}

// startTicker lets the server say something every now and then, for the demo pages.
func (s *Server) startTicker(cfg Config) {
	namespace, _, _ := strings.Cut(demo.TickerChannel, ":")
	if _, ok := cfg.Namespaces[namespace]; !ok || !cfg.Demos {
		return
	}
	s.ticker = demo.Ticker(func(n int) {
		data := []byte(`{"data":` + strconv.Itoa(n) + `}`)
		if err := s.channels.Publish(context.Background(), protocol.Sender{}, demo.TickerChannel, demo.TickerEvent, data, nil); err != nil {
			s.log.Warn("the ticker of the demo could not publish", "error", err)
		}
	}, func() bool { return s.hub.Channel(demo.TickerChannel) != nil })
	s.board = demo.Board(func(channel string, data []byte) {
		if err := s.channels.Publish(context.Background(), protocol.Sender{}, channel, "", data, nil); err != nil {
			s.log.Warn("the board of the demo could not publish", "channel", channel, "error", err)
		}
	}, func(channel string) bool { return s.hub.Channel(channel) != nil })
}

// socketIORoutes adds the door to the table of all doors.
func (s *Server) socketIORoutes(mux *http.ServeMux, c SocketIO) {
	if c.Path == socketIOOff {
		return
	}
	mux.Handle(c.Path, s.socketio.Handler(nil))
	mux.HandleFunc("GET "+c.Path+"socket.io.js", func(w http.ResponseWriter, r *http.Request) {
		if c.Client == "" {
			http.Error(w, "This server has no JavaScript client to give (socketio.client).", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		http.ServeFile(w, r, c.Client)
	})
}

// socketIOMetrics names what is counted at the door for Socket.IO clients.
func (s *Server) socketIOMetrics(set *metrics.Set) {
	m := s.socketio.Metrics()
	set.Gauge("socketio_sessions", "Open Engine.IO sessions.", nil, m.Open.Load)
	set.Counter("socketio_sessions_total", "Engine.IO sessions that were opened.", nil, m.Opened.Load)
	set.Counter("socketio_upgrades_total", "Sessions that moved from polling to WebSocket.", nil, m.Upgraded.Load)
	set.Counter("socketio_events_ignored_total", "Events of clients that nothing takes.", nil, m.Ignored.Load)
	set.Counter("socketio_restored_total", "Sockets whose state was recovered.", nil, m.Restored.Load)
	for i, code := range socketio.Codes {
		set.Counter("socketio_refused_total", "Requests that were refused.", metrics.Labels{"reason": code}, m.Refused[i].Load)
	}
	for i, reason := range socketio.Reasons() {
		set.Counter("socketio_closed_total", "Sessions that ended.", metrics.Labels{"reason": strings.ReplaceAll(reason, " ", "_")}, m.Closed[i].Load)
	}
}
