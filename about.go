package skein

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/edge/webhook"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/feature/health"
	"github.com/skein-realtime/skein/internal/feature/hooks"
	"github.com/skein-realtime/skein/internal/feature/node"
	"github.com/skein-realtime/skein/internal/latency"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/internal/registry"
)

// This file puts together what the server tells of itself: its figures, what is wrong with
// it, its settings, and how the application's backend does.

// newAbout makes the features.
func (s *Server) newAbout(cfg Config) {
	s.node = node.New(node.Config{
		Version: Version, Hub: s.hub, Link: s.links, Sessions: s.sessions, Draining: s.draining.Load,
		Doors: s.countDoors, Commits: &s.commits.series, HooksFailed: s.hooksFailed, Pushes: s.pushed, Store: s.measured, Settings: s.settingsInForce,
	}, s.verbs)
	s.health = health.New(health.Config{
		StoreFailing: s.commits.failing, Commits: &s.commits.problems, HooksOpen: s.hooksOpen, HooksDropped: s.hooksDropped,
		Dropped: func() int64 { return s.links.Metrics().Dropped.Load() + s.countDoors().Dropped }, Refused: s.hub.Metrics().Refused.Load, Lost: s.lostConnections,
		Connections: s.Connections, MaxConnections: func() int64 { return int64(s.config().Limits.Connections) },
		Data: func() string { return dataOf(s.config()) }, Schedules: s.failingSchedules, Campaigns: s.failingCampaigns,
		Audit: s.audit.Failing, Draining: s.draining.Load, Dev: cfg.Dev,
	}, s.verbs)
	hooks.New(s.backends, s.verbs)
}

// aboutMetrics names what is wrong, for alerts, and what waits.
func (s *Server) aboutMetrics() {
	s.metrics.Gauge("queued_bytes", "Bytes that wait for slow connections.", nil, func() int64 { return s.links.Metrics().Queued.Load() + s.countDoors().Queued })
	for _, code := range health.Codes {
		s.metrics.Gauge("problems", "Problems that there are now, as the verb problems tells them.", metrics.Labels{"code": code}, func() int64 { return s.health.Count(code) })
	}
}

// closeAbout ends what takes figures and looks for problems.
func (s *Server) closeAbout() {
	if s.node != nil { // else the server was never made
		s.node.Close()
		s.health.Close()
	}
}

// countDoors counts what was done at doors without links.
func (s *Server) countDoors() node.Doors {
	io := s.socketio.Metrics()
	d := node.Doors{Dropped: io.Dropped.Load(), Queued: io.Queued.Load()}
	for _, m := range []*stream.Metrics{s.doors.sse.Metrics(), s.doors.poll.Metrics()} {
		d.Dropped += m.Dropped.Load()
		d.Queued += m.Queued.Load()
		d.BytesIn += m.BytesIn.Load()
		d.BytesOut += m.BytesOut.Load()
	}
	return d
}

// lostConnections counts those that were given up because they were silent or took nothing.
func (s *Server) lostConnections() int64 {
	l := s.links.Metrics()
	n := l.Lost.Load() + l.Stalled.Load() + s.socketio.Lost()
	for _, m := range []*stream.Metrics{s.doors.sse.Metrics(), s.doors.poll.Metrics()} {
		n += m.Lost.Load() + m.Stalled.Load()
	}
	return n
}

// pushed counts deliveries of pushes that were taken in.
func (s *Server) pushed() (n int64) {
	m := s.pushes.Metrics()
	for i := range m.Pushed {
		n += m.Pushed[i].Load()
	}
	return n
}

// measured is what the store measured of itself last.
func (s *Server) measured() *node.Store {
	if s.state == nil {
		return nil
	}
	st := s.state.stats.Load()
	if st == nil {
		return nil
	}
	kept := &node.Store{
		Kind: "sqlite", Bytes: st.Bytes, Channels: st.Channels, Messages: st.Messages, Members: st.Members, Documents: st.Documents,
		Schedules: st.Schedules, Users: st.Users, Pushes: st.Pushes, Deliveries: st.Deliveries,
	}
	if s.config().Database != "" {
		kept.Kind = "postgres"
	}
	return kept
}

// dataOf is the directory of the embedded store; "" when there is none.
func dataOf(cfg Config) string {
	if cfg.Database != "" || !cfg.KeepsState() {
		return ""
	}
	return filepath.Clean(cfg.Data)
}

// commits is how long commits of the store take, for those who ask, and since when they fail.
type commits struct {
	series, problems latency.Histogram

	mu     sync.Mutex // guards what follows
	since  time.Time  // zero: the last one did not fail
	reason string
}

// failsAfter is how long commits fail before they are said to: some are repeated at once, and succeed.
const failsAfter = 500 * time.Millisecond

// maxReason bounds the sentence that says why, in bytes.
const maxReason = 300

func (c *commits) took(d time.Duration) {
	c.series.Record(d)
	c.problems.Record(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.reason = time.Time{}, ""
}

func (c *commits) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		c.since = time.Now()
	}
	c.reason = err.Error()
	if len(c.reason) > maxReason {
		c.reason = strings.ToValidUTF8(c.reason[:maxReason], "")
	}
}

func (c *commits) failing() (since time.Time, reason string, failing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, c.reason, !c.since.IsZero() && time.Since(c.since) >= failsAfter
}

// failingSchedules tells which schedules failed in their last run.
func (s *Server) failingSchedules(ctx context.Context, after string, limit int) (list []health.Failing, last string, err error) {
	failing, last, err := s.schedules.Failing(ctx, after, limit)
	for _, f := range failing {
		list = append(list, health.Failing(f))
	}
	return list, last, err
}

// failingCampaigns tells which campaigns do not get on.
func (s *Server) failingCampaigns(ctx context.Context, limit int) (list []health.Failing, err error) {
	failing, err := s.campaigns.Failing(ctx, limit)
	for _, f := range failing {
		list = append(list, failingCampaign(f))
	}
	return list, err
}

func failingCampaign(f campaign.Failing) health.Failing {
	return health.Failing{Name: f.ID, Since: f.Since, Error: f.Error}
}

// hooksFailed counts requests to the backend that were not answered as they should be.
func (s *Server) hooksFailed() int64 {
	if b := s.backend.Load(); b != nil {
		return b.Metrics().Failed.Load()
	}
	return 0
}

// hooksDropped counts events that the backend was not told.
func (s *Server) hooksDropped() (n int64) {
	if b := s.backend.Load(); b != nil {
		m := b.Metrics()
		for i := range m.Dropped {
			n += m.Dropped[i].Load()
		}
	}
	return n
}

// hooksOpen tells since when the backend is left alone.
func (s *Server) hooksOpen() (since time.Time, reason string, open bool) {
	b := s.backend.Load()
	if b == nil {
		return since, "", false
	}
	h := b.Health()
	if len(h.Failures) > 0 {
		reason = h.Failures[0].Text
	}
	return h.Since, reason, h.State == webhook.StateOpen
}

// backends are those of the application: none, or one.
func (s *Server) backends() []hooks.Hook {
	b := s.backend.Load()
	if b == nil {
		return nil
	}
	m, h := b.Metrics(), b.Health()
	hook := hooks.Hook{
		URL: b.Name(), Events: b.cfg.Events, State: h.State, Since: h.Since.UnixMilli(), Queued: int64(h.Queue), UnderWay: int64(h.UnderWay),
		Delivered: m.Delivered.Load(), Retries: m.Retries.Load(), Opened: m.Opened.Load(), Dropped: map[string]int64{}, Errors: []hooks.Failure{},
	}
	if hook.Events == nil {
		hook.Events = []string{}
	}
	for i := range m.Asked {
		for k := range m.Asked[i] {
			hook.Asked += m.Asked[i][k].Load()
		}
	}
	for i := range m.Told {
		hook.Told += m.Told[i].Load()
	}
	for i, reason := range webhook.Reasons {
		hook.Dropped[reason] = m.Dropped[i].Load()
	}
	for _, f := range h.Failures {
		hook.Errors = append(hook.Errors, hooks.Failure{Time: f.Time.UnixMilli(), Event: f.Event, Text: f.Text, Status: f.Status})
	}
	return []hooks.Hook{hook}
}

// Sources tell where the values of a [Config] come from.
type Sources struct {
	// File is the configuration file; "": there is none.
	File string
	// Origins are by key, as in "auth.timeout" and "namespaces.room.kind". What is not
	// here is a default.
	Origins map[string]Origin
}

// Origin is where a value comes from.
type Origin struct {
	Source string // default, file, environment, flag or program
	Place  string // file:line, or the flag; may be empty
}

// listed is the list of settings.
var listed = sync.OnceValue(func() *registry.Setting { return registry.Of(reflect.TypeFor[Config]()) })

// origins tells where the values of a configuration come from, as it was given. What a
// program has set to something other than the default is from there.
func (c Config) origins() Sources {
	if c.Sources != nil {
		return *c.Sources
	}
	defaults := valuesOf(DefaultConfig())
	e := Sources{Origins: map[string]Origin{}}
	listed().Walk(c, func(v registry.Value) {
		if !v.V.IsZero() && registry.Write(v.V) != defaults[v.Path] {
			e.Origins[v.Path] = Origin{Source: node.SourceProgram}
		}
	})
	return e
}

// valuesOf gives every value as text, by key.
func valuesOf(c Config) map[string]string {
	values := map[string]string{}
	listed().Walk(c, func(v registry.Value) { values[v.Path] = registry.Write(v.V) })
	return values
}

// explain notes where the values come from that are in force after a reload. given is the
// new configuration as it was given: where it is not in force, because that needs a restart, the
// old value has its old origin. It is called with s.mu held.
func (s *Server) explain(given Config, inForce Config) {
	next, wanted := given.origins(), valuesOf(given.settled())
	e := Sources{File: next.File, Origins: map[string]Origin{}}
	listed().Walk(inForce, func(v registry.Value) {
		from := next.Origins
		if text, there := wanted[v.Path]; !there || text != registry.Write(v.V) {
			from = s.sources.Origins
		}
		if o, known := from[v.Path]; known {
			e.Origins[v.Path] = o
		}
	})
	s.sources = e
}

// settingsInForce lists every value with where it comes from. Secrets are masked.
func (s *Server) settingsInForce() (list []node.Setting, file string) {
	s.mu.Lock()
	cfg, e := s.cfg, s.sources
	s.mu.Unlock()
	listed().Walk(cfg, func(v registry.Value) {
		from, known := e.Origins[v.Path]
		if !known {
			from.Source = node.SourceDefault
		}
		list = append(list, node.Setting{Key: v.Path, Value: v.Show(), Source: from.Source, Place: from.Place, Env: v.Env, Doc: v.Doc})
	})
	return list, e.File
}
