package skein

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/skein-realtime/skein/internal/edge/demo"
	"github.com/skein-realtime/skein/internal/edge/sdk"
	"github.com/skein-realtime/skein/internal/edge/websocket"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/metrics"
)

// routes is the table of all doors.
func (s *Server) routes(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", s.door)
	s.doors.route(mux)
	mux.Handle("/api/v1/", s.api)
	mux.Handle("GET /api/v1/trace", s.tracing())
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.api.Guard("metrics", s.metrics.Handler()))
	mux.Handle("/debug/pprof/", s.api.Guard("admin", http.HandlerFunc(pprof.Index)))
	mux.Handle("/debug/pprof/profile", s.api.Guard("admin", http.HandlerFunc(pprof.Profile)))
	mux.Handle("/debug/pprof/trace", s.api.Guard("admin", http.HandlerFunc(pprof.Trace)))
	mux.Handle("/debug/pprof/symbol", s.api.Guard("admin", http.HandlerFunc(pprof.Symbol)))
	mux.Handle("/sdk/", sdk.Handler())
	mux.Handle("/console/", s.console)
	s.socketIORoutes(mux, cfg.SocketIO)
	if cfg.Dev {
		mux.Handle("/debug/echo", s.door.Echo())
	}
	if cfg.Demos {
		mux.Handle("/demo/", demo.Handler())
		mux.Handle("GET /{$}", http.RedirectHandler("/demo/", http.StatusFound))
	} else {
		mux.HandleFunc("GET /{$}", s.atRoot)
	}
	return mux
}

// healthz says that the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// readyz says whether new clients are welcome.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if s.draining.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, "draining")
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}

// nameMetrics names everything that is counted.
func (s *Server) nameMetrics() {
	m := s.metrics
	l, h, ss, d, a := s.links.Metrics(), s.hub.Metrics(), s.sessions.Metrics(), s.door.Metrics(), s.api.Metrics()
	count := func(read func(*hub.Hub) int) func() int64 {
		return func() int64 { return int64(read(s.hub)) }
	}
	m.Gauge("connections", "Connections that are welcomed.", nil, count(func(h *hub.Hub) int { n, _, _ := h.Counts(); return n }))
	m.Gauge("users", "Users with a connection.", nil, count(func(h *hub.Hub) int { _, n, _ := h.Counts(); return n }))
	m.Gauge("channels", "Channels with subscribers.", nil, count(func(h *hub.Hub) int { _, _, n := h.Counts(); return n }))
	m.Gauge("sockets", "Open sockets, welcomed or not.", metrics.Labels{"transport": "websocket"}, l.Open.Load)
	m.Counter("bytes_received_total", "Bytes from clients.", metrics.Labels{"transport": "websocket"}, l.BytesIn.Load)
	m.Counter("bytes_sent_total", "Bytes to clients.", metrics.Labels{"transport": "websocket"}, l.BytesOut.Load)
	m.Counter("messages_received_total", "Data messages from clients.", metrics.Labels{"transport": "websocket"}, l.MessagesIn.Load)
	m.Counter("messages_dropped_total", "Messages that were not delivered.", metrics.Labels{"reason": "slow_reader"}, l.Dropped.Load)
	m.Counter("pings_total", "Pings sent to silent peers.", nil, l.Pings.Load)
	m.Counter("connections_lost_total", "Connections that the server gave up.", metrics.Labels{"reason": "heartbeat_lost"}, l.Lost.Load)
	m.Counter("connections_lost_total", "Connections that the server gave up.", metrics.Labels{"reason": "too_slow"}, l.Stalled.Load)
	m.Counter("connections_lost_total", "Connections that the server gave up.", metrics.Labels{"reason": "auth_timeout"}, ss.AuthTimeout.Load)
	m.Counter("connections_lost_total", "Connections that the server gave up.", metrics.Labels{"reason": "token_expired"}, ss.Expired.Load)
	m.Counter("connections_lost_total", "Connections that the server gave up.", metrics.Labels{"reason": "token_refused"}, ss.Refused.Load)
	m.Counter("handshakes_total", "WebSocket handshakes.", metrics.Labels{"result": "accepted"}, d.Accepted.Load)
	for i, reason := range websocket.Reasons {
		m.Counter("handshakes_total", "WebSocket handshakes.", metrics.Labels{"result": reason}, d.Refused[i].Load)
	}
	m.Counter("welcomes_total", "Connections that were welcomed.", nil, ss.Welcomed.Load)
	m.Counter("frames_total", "Frames handled.", nil, ss.Frames.Load)
	m.Counter("frame_errors_total", "Error frames sent.", nil, ss.Errors.Load)
	m.Counter("frames_rate_limited_total", "Frames refused because they came too fast.", nil, ss.RateLimited.Load)
	m.Counter("published_total", "Messages accepted for fan-out.", nil, h.Published.Load)
	m.Counter("deliveries_total", "Messages handed to connections.", nil, h.Deliveries.Load)
	m.Counter("fanout_passes_total", "Fan-out passes; deliveries per pass show how much is joined.", nil, h.Passes.Load)
	m.Counter("publishers_paced_total", "Publishers that had to wait.", nil, h.Paced.Load)
	m.Counter("publishers_refused_total", "Publishers that waited in vain.", nil, h.Refused.Load)
	m.Counter("api_requests_total", "Verbs run over HTTP.", nil, a.Requests.Load)
	m.Counter("api_errors_total", "Verbs over HTTP that failed.", nil, a.Failed.Load)
	m.Counter("api_denied_total", "API requests without a valid key or scope.", nil, a.Denied.Load)
	s.socketIOMetrics(m)
	s.doors.count(m)
	m.Gauge("idempotency_keys", "Idempotency keys that are remembered.", nil, func() int64 { return int64(s.memo.Len()) })
	m.Counter("idempotency_keys_evicted_total", "Keys forgotten before their time because there were too many.", nil, s.memo.Evicted)
	s.gatewayMetrics()
	s.chatMetrics()
	s.aboutMetrics()
	s.consoleMetrics()
}
