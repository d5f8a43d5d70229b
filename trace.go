package skein

import (
	"context"
	"net/http"

	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/edge/trace"
	"github.com/skein-realtime/skein/internal/fault"
)

// newTraces makes the door at which traffic can be looked at (docs/trace.md).
func (s *Server) newTraces() *trace.Door {
	return trace.New(trace.Config{Hub: s.hub, Logger: s.log, Refuse: httpapi.Fail})
}

// tracing serves GET /api/v1/trace. Close ends the traces, and waits for them.
func (s *Server) tracing() http.Handler {
	return s.api.Guard("trace", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.begin() {
			httpapi.Fail(w, fault.New(fault.Unavailable, "the server is shutting down"))
			return
		}
		defer s.running.Done()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		s.traces.ServeHTTP(w, r.WithContext(ctx))
	}))
}
