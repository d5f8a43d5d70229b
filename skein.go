// Package skein is a real-time server: WebSocket connections, channels, users
// and a server API, as a library.
//
// [New] makes a [Server] from a [Config]; [Server.Run] listens and serves until
// its context ends; or mount [Server.Handler] into a server of your own and call
// [Server.Close] when it has stopped. The command skein is a thin wrapper around
// this package.
package skein

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/edge/console"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/edge/socketio"
	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/edge/trace"
	"github.com/skein-realtime/skein/internal/edge/webhook"
	"github.com/skein-realtime/skein/internal/edge/websocket"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/feature/audit"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/feature/channel"
	"github.com/skein-realtime/skein/internal/feature/chat"
	"github.com/skein-realtime/skein/internal/feature/connection"
	documents "github.com/skein-realtime/skein/internal/feature/document"
	"github.com/skein-realtime/skein/internal/feature/group"
	"github.com/skein-realtime/skein/internal/feature/health"
	"github.com/skein-realtime/skein/internal/feature/history"
	"github.com/skein-realtime/skein/internal/feature/node"
	"github.com/skein-realtime/skein/internal/feature/online"
	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/internal/feature/presence"
	pushes "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/feature/schedule"
	"github.com/skein-realtime/skein/internal/feature/users"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// Version is the version of this library.
const Version = "0.1.0"

// Error is the error of every verb: a code, a sentence, and where it helps the
// field that was wrong and how long to wait.
type Error = fault.Error

// Server is one Skein server. Make it with [New].
type Server struct {
	log         *slog.Logger
	links       *link.Server
	hub         *hub.Hub
	feeds       *feed.Feeds
	documents   *document.Documents
	pushes      *push.Pushes
	state       *state
	sessions    *session.Server
	verbs       *verb.Registry
	memo        *verb.Memo
	door        *websocket.Door
	socketio    *socketio.Door
	doors       *doors
	channels    *channel.Feature
	history     *history.Feature
	users       *users.Feature
	pushVerbs   *pushes.Feature
	campaigns   *campaign.Feature
	groups      *group.Feature
	chats       *chat.Feature
	schedules   *schedule.Feature
	access      *access.Feature
	audit       *audit.Feature
	online      *online.Online
	backend     atomic.Pointer[backend]
	hookMetrics *webhook.Metrics
	functions   functions
	ticker      func() // ends the demo's
	board       func() // that of the other one
	api         *httpapi.API
	traces      *trace.Door
	console     *console.Door
	operators   *operator.Feature
	metrics     *metrics.Set
	observer    *observer // of the store
	commits     commits
	node        *node.Feature
	health      *health.Feature
	verifier    *verifierBox
	handler     http.Handler

	treeLimits    atomic.Pointer[tree.Limits]
	subscriptions atomic.Int64
	message       atomic.Int64
	draining      atomic.Bool
	closing       atomic.Bool
	closed        chan struct{} // closed when Close has done everything
	certificates  *certificates
	listening     atomic.Pointer[net.TCPAddr]

	life     context.Context // of functions of the application; ended by Close
	end      context.CancelFunc
	running  sync.WaitGroup // functions of the application that were not called by a client
	starting sync.Mutex     // held while one begins, and while the server ends

	beginning sync.Once // see begun

	mu      sync.Mutex // guards all below
	cfg     Config
	sources Sources // where cfg comes from
}

// verifierBox lets a reload replace the verifier under the sessions.
type verifierBox struct{ v atomic.Pointer[auth.Verifier] }

func (b *verifierBox) Enabled() bool { return b.v.Load().Enabled() }

func (b *verifierBox) Verify(ctx context.Context, token string) (auth.Identity, error) {
	return b.v.Load().Verify(ctx, token)
}

// New makes a server from its configuration. It does not listen yet, but its
// goroutines run: [Server.Close] ends them.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	origins := cfg.origins()
	cfg = cfg.settled()
	s := &Server{log: cfg.Logger, cfg: cfg, sources: origins, verifier: &verifierBox{}, metrics: metrics.New(), closed: make(chan struct{})}
	s.life, s.end = context.WithCancel(context.Background())
	if s.log == nil {
		s.log = slog.Default()
	}
	verifier, err := newVerifier(cfg, s.log)
	if err != nil {
		return nil, err
	}
	s.verifier.v.Store(verifier)
	if cfg.TLS.Cert != "" {
		if s.certificates, err = loadCertificates(cfg.TLS, s.log); err != nil {
			return nil, err
		}
	}
	keys, err := apiKeys(cfg)
	if err != nil {
		return nil, err
	}
	if s.links, err = link.Start(linkConfig(cfg)); err != nil {
		return nil, err
	}
	s.setLimits(cfg)
	s.documents = document.New(document.Config{Memory: int64(cfg.Limits.Documents), Limits: s.limitsOfDocuments, Logger: s.log})
	s.feeds = feed.New(feed.Config{Memory: int64(cfg.Limits.Recent), Logger: s.log})
	s.pushes = push.New(push.Config{Settings: s.pushSettings, Escalate: s.escalate, Logger: s.log})
	s.online = online.New(online.Config{Grace: cfg.Online.Grace.Std(), User: s.userChanged, Channel: s.channelChanged})
	s.hub = hub.New(hub.Config{
		Encodings: encodings(), Behind: s.behind, Joined: s.joined, Drained: s.pushes.Drained,
		UserChanged: s.online.UserChanged, ChannelChanged: s.online.ChannelChanged,
	})
	s.sessions = session.NewServer(session.Config{
		Hub: s.hub, Clock: s.links, Verifier: s.verifier, Logger: s.log, Settings: sessionSettings(cfg),
	})
	s.memo = verb.NewMemo(0, 0)
	s.verbs = verb.NewRegistry(s.memo, cfg.Limits.Depth)
	s.newAudit()
	s.door = websocket.New(s.links, s.sessions, doorSettings(cfg))
	s.socketio = s.newSocketIO(cfg)
	s.doors = s.newDoors(cfg)
	s.api = httpapi.New(httpapi.Config{
		Registry: s.verbs, Version: Version, Logger: s.log,
		Settings: httpapi.Settings{Keys: keys, Body: int64(cfg.Limits.Body), Dev: cfg.Dev},
		Remote:   s.door.Remote, Refused: s.refusedConsole,
		Cookie: func(r *http.Request) (verb.Caller, bool, error) { return s.console.Caller(r) },
		Base:   func(r *http.Request) string { return s.console.Base(r) },
	})
	s.newConsole(cfg)
	s.traces = s.newTraces()
	s.hub.SetSpaces(spaces(cfg, s.hub.Space))
	s.channels = channel.New(channel.Config{
		Hub: s.hub, Feeds: s.feeds, Documents: s.documents, Memo: s.memo,
		Subscriptions: func() int { return int(s.subscriptions.Load()) },
		Message:       func() int { return int(s.message.Load()) },
		Stamp:         func(user string) uint64 { return s.groups.Stamp(user) },
		Steady:        func(channel string) func() { return s.groups.Steady(channel) },
		Conversations: func() channel.Conversations { return s.chats },
	}, s.sessions, s.verbs)
	documents.New(documents.Config{
		Hub: s.hub, Documents: s.documents, Limits: s.limitsOfDocuments, Page: func() int { return int(cfg.Limits.Queue) / 4 },
	}, s.sessions, s.verbs)
	s.history = history.New(s.hub, s.feeds, func() int { return int(cfg.Limits.Queue) / 4 }, s.sessions, s.verbs, s.hiddenFrom)
	presence.New(s.hub, s.sessions, s.verbs)
	s.access = access.New(access.Config{Sessions: s.sessions, Verbs: s.verbs, Exempt: exempt, Logger: s.log})
	connection.New(s.hub, s.lag, s.access.LastSeen, s.verbs)
	s.groups = group.New(s.hub, s.channels.Follow, s.verbs)
	s.newChats(cfg)
	s.schedules = schedule.New(schedule.Config{Verbs: s.verbs, Occupied: func(name string) bool { return s.hub.Channel(name) != nil }, Allow: verb.Allow,
		Late: s.metrics.Histogram("schedule_late_seconds", "How long after its planned time a run began.", nil, metrics.Times()), Logger: s.log,
	})
	if err := s.newPushes(cfg); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.newAbout(cfg)
	if cfg.Hooks.URL != "" {
		s.hookMetrics = webhook.NewMetrics(s.metrics)
	}
	if err := errors.Join(s.setBackend(cfg), s.setRates(cfg.Rates)); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.setHooks()
	s.nameMetrics()
	s.handler = s.routes(cfg)
	if err := s.openState(cfg); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.startTicker(cfg)
	return s, nil
}

// setLimits puts in force what features ask for each time.
func (s *Server) setLimits(cfg Config) {
	s.subscriptions.Store(int64(cfg.Limits.Subscriptions))
	s.message.Store(int64(cfg.Limits.Message))
	s.treeLimits.Store(&tree.Limits{Bytes: int(cfg.Limits.Document), Depth: cfg.Limits.Depth, Ops: cfg.Limits.Ops})
}

// Handler serves everything: /ws, /api/v1/, the operations pages and, where
// they are on, the demos. The server that it is mounted in must allow hijacking
// (HTTP/1.1). With its first call, or that of [Server.Serve], schedules begin to run:
// what they call ([HandleVerb]) is registered before.
func (s *Server) Handler() http.Handler {
	s.begun()
	return s.handler
}

// Addr is where [Server.Run] listens; nil before it does.
func (s *Server) Addr() net.Addr {
	if a := s.listening.Load(); a != nil {
		return a
	}
	return nil
}

// Connections is how many connections are open, welcomed or not.
func (s *Server) Connections() int64 {
	return s.links.Metrics().Open.Load() + s.doors.streams.Open()
}

// Listen opens the configured address, so that its failure can be told from
// others and its port be known before [Server.Serve].
func (s *Server) Listen() (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // heartbeats find dead peers; keep-alive would cost three system calls a connection
	l, err := lc.Listen(context.Background(), "tcp", s.config().Listen)
	if err != nil {
		return nil, err
	}
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		s.listening.Store(addr)
	}
	return l, nil
}

// Run listens and serves until ctx ends, then drains and closes. Its error is
// nil after an orderly end.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// Serve is [Server.Run] on a listener that is open already.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.begun()
	cfg := s.config()
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: cfg.Limits.Handshake.Std(),
		ReadTimeout:       time.Minute, // of a whole request; a WebSocket is out of net/http's hands by then
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ConnContext:       stream.WithConn,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2: it cannot be hijacked
	}
	if s.certificates != nil {
		l = tls.NewListener(l, s.certificates.config())
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(&patientListener{l, s.log}) }()
	select {
	case err := <-failed:
		_ = s.Close()
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), cfg.Drain.Timeout.Std())
	defer cancel()
	err := s.Drain(drain)
	_ = server.Close()
	<-failed
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// Drain sends every client away: new connections are refused, each open one is
// told when to come back, over the configured span. It waits until all are gone
// or ctx ends, which is no error.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	spread := s.config().Drain.Spread.Std()
	s.door.Drain(spread)
	s.socketio.Drain()
	s.doors.streams.Drain(spread)
	s.links.Each(func(l *link.Conn) {
		if conn := websocket.SessionOf(l); conn != nil {
			conn.Bye(protocol.CloseGoingAway, websocket.ShuttingDown, spread)
		} else {
			l.Close(protocol.CloseGoingAway, websocket.ShuttingDown, nil)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.Connections() > 0 {
		select {
		case <-ctx.Done():
			s.log.Warn("clients were still connected when the time to drain was over", "connections", s.Connections())
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// Close ends every connection at once and waits for the server's goroutines.
func (s *Server) Close() error {
	if s.closing.Swap(true) {
		<-s.closed
		return nil
	}
	defer close(s.closed)
	s.draining.Store(true)
	s.door.Drain(0)
	if s.ticker != nil {
		s.ticker()
		s.board()
	}
	s.closeAbout()
	s.schedules.Close()
	s.campaigns.Close()
	s.online.Close() // who is sent away now has not left
	s.starting.Lock()
	s.end()
	s.starting.Unlock()
	s.sessions.Cancel() // what is asked in a connection's turn would hold up its end
	s.socketio.Close()
	s.doors.streams.Close()
	s.links.Close()
	s.sessions.Close()
	s.running.Wait()
	s.closeBackend(s.backend.Swap(nil))
	s.access.Close()
	s.audit.Close()
	s.closeState()
	s.hub.Close()
	s.verifier.v.Load().Close()
	if s.certificates != nil {
		s.certificates.close()
	}
	return nil
}

// Call runs a server verb: params and result are what the HTTP API takes and
// gives, as Go values that encode to the same JSON. result may be nil. Errors
// are *[Error].
func (s *Server) Call(ctx context.Context, name string, params, result any) error {
	raw, err := verb.Marshal(params)
	if err != nil {
		return fault.Wrap(fault.BadRequest, err, "params cannot be encoded")
	}
	out, err := s.verbs.Run(verb.WithCaller(ctx, verb.Caller{Name: "library"}), name, raw, "")
	if err != nil {
		return fault.Of(err)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(out, result)
}

// CallConnection calls a method of one client and waits for its reply until ctx
// ends: raw JSON in and out. See also [Conn.Call].
func (s *Server) CallConnection(ctx context.Context, connection, method string, data []byte) ([]byte, error) {
	c, err := s.conn(connection)
	if err != nil {
		return nil, err
	}
	if err := protocol.Valid(data, 1<<10); len(data) > 0 && err != nil {
		return nil, fault.Wrap(fault.BadRequest, err, "data: %s", err)
	}
	return session.Of(c).Call(ctx, method, data)
}

func (s *Server) config() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// patientListener keeps accepting when descriptors run out: it says so, and
// those who are connected live on.
type patientListener struct {
	net.Listener
	log *slog.Logger
}

// Accept implements net.Listener.
func (l *patientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	var ne net.Error
	if err != nil && errors.As(err, &ne) && isOutOfDescriptors(err) {
		l.log.Error("no descriptors are left for new connections; raise the limit (ulimit -n) or set limits.connections", "error", err)
	}
	return c, err
}

// prefixes parses what Validate has checked.
func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}
