package skein

import (
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/store"
)

// gatewayMetrics names what is counted of presence, schedules and access.
func (s *Server) gatewayMetrics() {
	m, h, o, a, sc := s.metrics, s.hub.Metrics(), s.online.Metrics(), s.access.Metrics(), s.schedules.Metrics()
	m.Gauge("presence_leaves_held", "Leaves that are held back because the user may be back at once.", nil, h.Held.Load)
	m.Counter("presence_returns_total", "Leaves that nobody was told of, because the user came back.", nil, h.Returned.Load)
	m.Counter("presence_counts_total", "Presence frames with counts, of large channels.", nil, h.Counted.Load)
	m.Gauge("online_leaving", "Users and channels that are in their grace time.", nil, o.Leaving.Load)
	m.Gauge("online_events_waiting", "Events about users and channels that wait to be handed over.", nil, o.Waiting.Load)
	m.Counter("online_events_total", "Events about users and channels.", nil, o.Told.Load)
	m.Counter("online_returns_total", "Times that one came back within the grace time.", nil, o.Returned.Load)
	m.Counter("online_events_coalesced_total", "Pairs of such events that were not told, because the second came while the first waited.", nil, o.Coalesced.Load)

	m.Counter("access_refused_total", "Identities that were not let in: blocked, or their token revoked.", nil, a.Refused.Load)
	m.Counter("access_cut_total", "Live connections that were ended by users.block and tokens.revoke.", nil, a.Cut.Load)
	m.Counter("access_failures_total", "Reads and writes of the store about access that failed.", nil, a.Failures.Load)
	m.Counter("last_seen_total", "Users whose time was written.", nil, a.Seen.Load)
	m.Counter("last_seen_lost_total", "Times of users that were not written, because the store failed for long.", nil, a.SeenLost.Load)
	m.Gauge("denials", "Users that are blocked and revocations of tokens that are in force.", nil, s.access.Denials)
	ss, vl := s.sessions.Metrics(), s.verbs.LimitMetrics()
	for of, counts := range map[string][2]*atomic.Int64{
		"user": {&ss.UserLimited, &ss.UserWouldLimited}, "frame": {&ss.FrameLimited, &ss.FrameWouldLimited}, "verb": {&vl.Limited, &vl.WouldLimit},
	} {
		m.Counter("rates_exceeded_total", "Frames and verbs that came faster than rates allow.", metrics.Labels{"rate": of, "refused": "true"}, counts[0].Load)
		m.Counter("rates_exceeded_total", "Frames and verbs that came faster than rates allow.", metrics.Labels{"rate": of, "refused": "false"}, counts[1].Load)
	}

	m.Counter("schedule_runs_total", "Runs of schedules.", metrics.Labels{"kind": "planned"}, sc.Fired.Load)
	m.Counter("schedule_runs_total", "Runs of schedules.", metrics.Labels{"kind": "manual"}, sc.Manual.Load)
	m.Counter("schedule_runs_failed_total", "Runs that ended with an error.", nil, sc.Failed.Load)
	m.Counter("schedule_retries_total", "Repeats of a run after the answer unavailable.", nil, sc.Retried.Load)
	m.Gauge("schedule_runs_active", "Runs at this moment.", nil, sc.Running.Load)
	m.Gauge("schedules_held", "Schedules that this node looks after at this moment.", nil, sc.Held.Load)
	for reason, n := range map[string]*atomic.Int64{"missed": &sc.Missed, "overlap": &sc.Overlapped, "vacant": &sc.Vacant} {
		m.Counter("schedule_runs_skipped_total", "Planned times without a run.", metrics.Labels{"reason": reason}, n.Load)
	}
	m.Counter("schedule_claims_total", "Schedules that this node has claimed.", nil, sc.Claims.Load)
	m.Counter("schedule_claims_lost_total", "Claims that had ended when their state was to be written.", nil, sc.Lost.Load)
	m.Counter("schedule_store_failures_total", "Reads and writes of schedules that failed.", nil, sc.Failures.Load)
}

// chatMetrics names what is counted of conversations.
func (s *Server) chatMetrics() {
	m, c := s.metrics, s.chats.Metrics()
	m.Counter("chat_told_total", "Frames about marks, and for those who follow their list, that were handed to connections.", nil, c.Told.Load)
	m.Counter("chat_coalesced_total", "Messages, marks and changes of conversations that were told together with a later one.", nil, c.Coalesced.Load)
	m.Gauge("chat_followers", "Connections that follow the list of their user.", nil, c.Followers.Load)
	m.Counter("chat_failures_total", "Reads and writes of conversations that failed; they are tried again.", nil, c.Failures.Load)
	m.Counter("chat_alerts_total", "Members who were away and to whom an alert was pushed.", nil, c.Alerts.Load)
	m.Counter("chat_alert_failures_total", "Alerts that could not be pushed; they are tried again, unless their category is not there.", nil, c.AlertFailures.Load)
	m.Counter("chat_alerts_cleared_total", "Times that alerts were ended because their conversation was read.", nil, c.Cleared.Load)
	m.Gauge("chat_telling_waits", "Conversations and users of which something is still to be told.", nil, func() int64 { told, _ := s.chats.TellingWaits(); return int64(told) })
	m.Gauge("chat_alerts_waiting", "Conversations of which alerts are to be pushed, or ended.", nil, func() int64 { _, alerts := s.chats.TellingWaits(); return int64(alerts) })
}

// keptMetrics names measures of the store about what is no message.
func (s *Server) keptMetrics(stat func(read func(*store.Stats) int64) func() int64) {
	s.metrics.Gauge("store_members", "Memberships that are kept.", nil, stat(func(st *store.Stats) int64 { return st.Members }))
	s.metrics.Gauge("store_schedules", "Schedules that are kept.", nil, stat(func(st *store.Stats) int64 { return st.Schedules }))
	s.metrics.Gauge("store_audit_lines", "Lines of the audit log that are kept, up to a million.", nil, stat(func(st *store.Stats) int64 { return st.AuditLines }))
}
