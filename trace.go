package skein

import (
	"context"
	"net/http"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/edge/trace"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
)

// newTraces makes the door at which traffic can be looked at (docs/trace.md).
func (s *Server) newTraces() *trace.Door {
	return trace.New(trace.Config{Hub: s.hub, Logger: s.log, Refuse: httpapi.Fail})
}

// tracing serves GET /api/v1/trace. Close ends the traces, and waits for them.
func (s *Server) tracing() http.Handler {
	return s.api.GuardVerb(auth.TraceVerb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.begin() {
			httpapi.Fail(w, fault.New(fault.Unavailable, "the server is shutting down"))
			return
		}
		defer s.running.Done()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		if c := verb.CallerOf(ctx); c.By == verb.ByConsole {
			if err := s.recordConsole(ctx, c, auth.TraceVerb, traceParams(r), nil); err != nil {
				httpapi.Fail(w, err)
				return
			}
			watched := make(chan struct{})
			go func() { defer close(watched); s.watchConsole(ctx, r, cancel) }()
			defer func() { cancel(); <-watched }()
		}
		s.traces.ServeHTTP(w, r.WithContext(ctx))
	}))
}

// traceParams are what a request wants traced, as params of the line in the audit log.
func traceParams(r *http.Request) []byte {
	params := map[string]string{}
	for _, name := range []string{"user", "connection", "channel"} {
		if value := r.URL.Query().Get(name); value != "" {
			params[name] = value
		}
	}
	b, err := verb.Marshal(params)
	if err != nil {
		return nil
	}
	return b
}
