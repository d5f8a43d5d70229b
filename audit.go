package skein

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/feature/audit"
)

// The params and results of the audit log.
type (
	AuditParams = audit.Params
	AuditPage   = audit.Page
	AuditLine   = audit.Line
)

// newAudit makes the audit log, which begins when there is a store.
func (s *Server) newAudit() {
	s.audit = audit.New(audit.Config{
		Verbs:  s.verbs,
		Keep:   func() time.Duration { return s.config().Audit.Keep.Std() },
		Logger: s.log,
	})
	m := s.audit.Metrics()
	s.metrics.Counter("audit_lines_total", "Lines that were written into the audit log.", nil, m.Lines.Load)
	s.metrics.Counter("audit_failures_total", "Writes into the audit log that failed; the verbs that they were about did not run.", nil, m.Failures.Load)
	s.metrics.Counter("audit_trimmed_total", "Lines of the audit log that were deleted because they were too old.", nil, m.Trimmed.Load)
}

// Audit is the verb audit: it lists who ran which verb, the newest first.
func (s *Server) Audit(ctx context.Context, p AuditParams) (AuditPage, error) {
	return run[AuditPage](ctx, s, "audit", p)
}
