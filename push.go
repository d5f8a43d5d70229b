package skein

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/edge/webhook"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/feature/inbox"
	pushes "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/feature/users"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// This file puts together what is pushed to users: the engine, the features on it, the
// configuration, and the application that is told of what nobody acknowledges.

// newPushes makes the features.
func (s *Server) newPushes(cfg Config) (err error) {
	s.users = users.New(users.Config{Hub: s.hub, Verbs: s.verbs})
	s.campaigns = campaign.New(campaign.Config{
		Verbs: s.verbs, Categories: categories{s}, Hub: s.hub, Channel: s.configured, Logger: s.log, Settings: func() campaign.Settings {
			cfg := s.config()
			return campaign.Settings{Zone: cfg.Push.Zone, Keep: cfg.Push.Keep.Count, Records: cfg.Push.Records.Std(), Data: int(cfg.Limits.Message)}
		},
		Recall: func(ctx context.Context, message string) error {
			_, err := s.pushes.Recall(ctx, message)
			return err
		},
		Broadcasted: s.pushes.Broadcasted,
		Commands:    func() int64 { return s.observer.commands.Load() },
	})
	s.pushVerbs, err = pushes.New(pushes.Config{
		Hub: s.hub, Verbs: s.verbs, Engine: s.pushes, Campaigns: s.campaigns, Logger: s.log, Categories: categoriesOf(cfg), Settings: func() pushes.Settings {
			cfg := s.config()
			return pushes.Settings{Zone: cfg.Push.Zone, Keep: cfg.Push.Keep.Count, Data: int(cfg.Limits.Message)}
		},
	})
	if err != nil {
		return err
	}
	inbox.New(inbox.Config{Pushes: s.pushes, Categories: s.pushVerbs, Page: func() int { return int(cfg.Limits.Queue) / 4 }}, s.sessions)
	s.history.AlsoRecall(s.pushVerbs.Recall)
	return nil
}

// categories gives campaigns the rules of categories, which are made after them.
type categories struct{ *Server }

// Policy implements campaign.Categories.
func (c categories) Policy(name string) (fatigue.Policy, time.Duration, time.Duration, error) {
	return c.Server.pushVerbs.Policy(name)
}

// configured checks that a channel can be.
func (s *Server) configured(field, channel string) error {
	namespace, err := protocol.Namespace(field, channel)
	if err == nil && s.hub.Space(namespace) == nil {
		err = fault.New(fault.NotFound, "%s: namespace %q is not configured", field, namespace)
	}
	return err
}

// categoriesOf makes categories of those of the configuration, which Validate has checked.
func categoriesOf(cfg Config) map[string]pushes.Category {
	all := make(map[string]pushes.Category, len(cfg.Categories))
	for name, c := range cfg.Categories {
		c = c.WithDefaults()
		category := pushes.Category{
			Parent: c.Parent, OnCap: c.OnCap, OnQuiet: c.OnQuiet, Priority: c.Priority, Bypass: c.Bypass, Counts: c.Counts, Mutable: c.Mutable,
		}
		for _, text := range c.Caps {
			if limit, err := parseCap(text); err == nil {
				category.Caps = append(category.Caps, limit)
			}
		}
		if q, err := parseQuiet(c.Quiet); err == nil && q != nil {
			category.Quiet = &pushes.Quiet{From: fatigue.FormatClock(q.From), To: fatigue.FormatClock(q.To)}
		}
		if c.TTL > 0 {
			category.TTL = c.TTL.String()
		}
		if c.Escalate > 0 {
			category.Escalate = c.Escalate.String()
		}
		all[name] = category
	}
	return all
}

// pushSettings are what the engine asks for again and again.
func (s *Server) pushSettings() push.Settings {
	p := s.config().Push
	return push.Settings{
		Zone: p.Zone, Keep: p.Keep.Count, Age: p.Keep.Age.Std(), Records: p.Records.Std(), AckTimeout: p.AckTimeout.Std(), AckRetries: p.AckRetries, Window: p.Window,
	}
}

// reloadPushes puts in force what has changed.
func (s *Server) reloadPushes(old, cfg Config, changed func(name string, a, b any, live bool) bool) error {
	changed("push", old.Push, cfg.Push, true)
	if changed("categories", old.Categories, cfg.Categories, true) {
		if err := s.pushVerbs.SetCategories(categoriesOf(cfg)); err != nil {
			return err
		}
	}
	if changed("users", old.Users, cfg.Users, true) {
		s.indexUsers(cfg.Users.Index)
	}
	return nil
}

// startPushes gives what is pushed its store.
func (s *Server) startPushes(ctx context.Context, kept store.Store) error {
	s.users.Start(kept)
	s.campaigns.Start(kept, kept.Shared())
	if err := s.pushVerbs.Start(ctx, kept, kept.Shared()); err != nil {
		return err
	}
	s.indexUsers(s.config().Users.Index)
	return s.pushes.Start(ctx, s.hub, kept)
}

// indexUsers has attributes looked up by index. It takes its time, so nobody waits.
func (s *Server) indexUsers(fields []string) {
	if s.state == nil || !s.begin() {
		return
	}
	go func() {
		defer s.running.Done()
		if err := s.state.store.UserIndexes(s.life, fields); err != nil && s.life.Err() == nil {
			s.log.Error("the attributes of users could not be indexed as users.index says", "error", err)
		}
	}()
}

// Escalation is a message that no device of a user has acknowledged in time.
type Escalation struct {
	User     string
	Online   bool   // the user has a connection to this server now
	Message  string // its id
	Seq      uint64 // in the user's inbox
	Event    string
	Data     json.RawMessage
	Category string    // "": none
	Campaign string    // "": none
	Time     time.Time // when it was pushed
	Expires  time.Time // zero: never
}

// OnEscalate adds a function that is told of each pushed message that was not
// acknowledged in the time that its category or the push says. After an error it is
// told again, first after ten seconds, as long as the message is open. The pair of user
// and message may come twice.
func (s *Server) OnEscalate(fn func(ctx context.Context, e Escalation) error) {
	s.functions.escalate = append(s.functions.escalate, fn)
}

var errNobodyListens = errors.New("nobody listens: hooks.events does not name escalate")

// escalate tells the application of a message.
func (s *Server) escalate(ctx context.Context, e store.Escalation) error {
	m := &e.Item
	told := Escalation{
		User: e.User, Online: s.hub.HasUser(e.User), Message: m.ID, Seq: m.Seq, Event: or(m.Event, protocol.DefaultEvent), Data: m.Data, Category: m.Category, Campaign: m.Campaign,
		Time: time.UnixMilli(m.Time),
	}
	if m.Expires > 0 {
		told.Expires = time.UnixMilli(m.Expires)
	}
	for _, fn := range s.functions.escalate {
		err := error(errPanic)
		s.guard("a function for escalations", func() { err = fn(ctx, told) })
		if err != nil {
			return err
		}
	}
	w := s.backend.Load()
	switch {
	case w.wants(webhook.Escalate):
		_, err := w.Ask(ctx, webhook.Escalate, appendEscalation(nil, &told))
		return err
	case len(s.functions.escalate) == 0:
		return errNobodyListens
	}
	return nil
}

// appendEscalation appends the members of a question.
func appendEscalation(b []byte, e *Escalation) []byte {
	b = protocol.AppendString(append(b, `,"user":`...), e.User)
	b = protocol.AppendString(append(b, `,"message":{"id":`...), e.Message)
	b = strconv.AppendUint(append(b, `,"seq":`...), e.Seq, 10)
	b = protocol.AppendString(append(b, `,"event":`...), e.Event)
	b = protocol.AppendData(append(b, `,"data":`...), e.Data)
	if e.Category != "" {
		b = protocol.AppendString(append(b, `,"category":`...), e.Category)
	}
	if e.Campaign != "" {
		b = protocol.AppendString(append(b, `,"campaign":`...), e.Campaign)
	}
	b = strconv.AppendInt(append(b, `,"time":`...), e.Time.UnixMilli(), 10)
	if !e.Expires.IsZero() {
		b = strconv.AppendInt(append(b, `,"expires":`...), e.Expires.UnixMilli(), 10)
	}
	return strconv.AppendBool(append(b, `},"online":`...), e.Online)
}

// pushMetrics names what is counted of pushes.
func (s *Server) pushMetrics() {
	m, p, c := s.metrics, s.pushes.Metrics(), s.campaigns.Metrics()
	for state := store.Queued; state <= store.Failed; state++ {
		m.Counter("push_admitted_total", "Messages that were put into inboxes here, by what became of them at once.", metrics.Labels{"outcome": state.String()}, p.Pushed[state].Load)
	}
	m.Counter("push_sent_total", "Messages of inboxes that were handed to a connection for the first time.", nil, p.Sent.Load)
	m.Counter("push_resent_total", "Messages of inboxes that were sent again.", nil, p.Resent.Load)
	m.Counter("push_given_up_total", "Messages that were not acknowledged after the last time; they wait for the next connect.", nil, p.GaveUp.Load)
	m.Counter("push_delivered_total", "Messages that were acknowledged.", nil, p.Delivered.Load)
	m.Counter("push_recalled_total", "Messages that were taken back from a user.", nil, p.Recalled.Load)
	m.Counter("push_held_total", "Messages that were held back when their users came.", nil, p.Held.Load)
	m.Counter("push_expired_total", "Messages whose time was over before they were acknowledged.", nil, p.Expired.Load)
	m.Counter("push_woken_total", "Messages that had been put off and whose time had come.", nil, p.Woken.Load)
	m.Gauge("push_wake_lag_milliseconds", "How late the last of them were.", nil, p.WakeLag.Load)
	m.Counter("push_collected_total", "Times that what waits for a user was judged.", nil, p.Collected.Load)
	m.Counter("push_pages_total", "Times that a user who lacked messages was given some from the store.", nil, p.Pages.Load)
	m.Counter("push_fell_behind_total", "Times that a connection left the live path of its inbox.", nil, p.FellBehind.Load)
	m.Gauge("push_in_flight", "Messages that are under way to users.", nil, p.InFlight.Load)
	m.Gauge("push_behind", "Connections that lack messages of their inbox.", nil, p.Behind.Load)
	m.Gauge("push_waiting", "Users who stand in line for messages that they lack.", nil, func() int64 { return int64(s.pushes.Waiting()) })
	m.Gauge("push_users", "Users of whose inbox something is remembered.", nil, p.Users.Load)
	m.Counter("push_records_pruned_total", "Records that were deleted because they were too old.", nil, p.Pruned.Load)
	m.Counter("push_escalated_total", "Messages that nobody had acknowledged and of which the application was told.", nil, p.Escalated.Load)
	m.Counter("push_escalate_failures_total", "Times that it could not be told; it is tried again.", nil, p.EscalateFailures.Load)
	m.Counter("push_failures_total", "Reads and writes of inboxes that failed; they are tried again.", nil, p.Failures.Load)

	m.Gauge("campaigns_held", "Campaigns that this node works on.", nil, c.Held.Load)
	m.Counter("campaign_users_total", "Users that campaigns have pushed to.", nil, c.Users.Load)
	m.Counter("campaign_steps_total", "Transactions in which they did.", nil, c.Steps.Load)
	m.Counter("campaigns_finished_total", "Campaigns that came to their end here.", nil, c.Finished.Load)
	m.Counter("campaigns_paused_total", "Campaigns that rest because of a fault that does not go away.", nil, c.Paused.Load)
	m.Counter("campaign_claims_lost_total", "Campaigns that were changed, or taken over, while this node worked on them.", nil, c.Lost.Load)
	m.Counter("campaign_failures_total", "Reads and writes of campaigns that failed; they are tried again.", nil, c.Failures.Load)
}
