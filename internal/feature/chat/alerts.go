package chat

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// alerts has members who are away told of messages, and ends that when they have read.
//
// Of a message of which somebody is to be told there is a row in the store, written with the
// message. It is carried out and then forgotten; what a process leaves behind when it ends, it, or
// where the store is shared another one, finds later. A message is pushed with a key, so that
// carrying it out twice does no harm.
type alerts struct {
	f       *Feature
	pushes  line[stretch]       // by channel
	clears  line[reader]        // by user and channel
	forgets line[[]store.Alert] // under one key

	seed   maphash.Seed
	pushed [1024]atomic.Uint64 // alerts pushed, by user
	clean  pairs               // users who have no alert of a channel

	mu      sync.Mutex
	unknown map[string]bool // categories that were not there
}

// stretch is messages of a channel of which somebody may have to be told.
type stretch struct{ from, to uint64 }

func (s *stretch) add(from, to uint64) {
	if s.from == 0 || from < s.from {
		s.from = from
	}
	s.to = max(s.to, to)
}

// reader is a user who has read all of a channel.
type reader struct{ user, channel string }

const (
	pushers       = 2 // goroutines that push
	clearers      = 2 // goroutines that end alerts
	forgetEvery   = 100 * time.Millisecond
	maxForgets    = 1000 // alerts that are forgotten at once
	alertsPage    = 100
	leftPage      = 1000
	leftEvery     = 10 * time.Second // between two looks for what other processes have left behind
	leftAge       = 10 * time.Second // of what they have: it takes them milliseconds
	clearEvery    = 200 * time.Millisecond
	clearShared   = 5 * time.Second // where nobody knows what other processes have pushed
	pushTime      = time.Minute     // of one alert
	defaultAlerts = 200
	maxPush       = 1000 // users of one push
	alertEvent    = "chat"
	maxCollapse   = 256
)

func (a *alerts) init(f *Feature) {
	a.f, a.seed, a.unknown = f, maphash.MakeSeed(), map[string]bool{}
	a.pushes.init(0, func(newer *stretch, older stretch) { newer.add(older.from, older.to) })
	a.clears.init(clearEvery, nil)
	a.forgets.init(forgetEvery, func(newer *[]store.Alert, older []store.Alert) { *newer = append(older, *newer...) })
	a.clean.init()
}

// run does the work until ctx ends.
func (a *alerts) run(ctx context.Context, work *sync.WaitGroup) {
	if a.f.shared {
		a.clears.gap = clearShared
	}
	for range pushers {
		work.Go(func() { a.pushes.run(ctx, a.push) })
	}
	for range clearers {
		work.Go(func() { a.clears.run(ctx, a.clear) })
	}
	work.Go(func() { a.forgets.run(ctx, a.forget) })
	work.Go(func() { a.leftBehind(ctx) })
}

// alerting tells whether a namespace has members told at all.
func alerting(chat *hub.Chat) bool { return chat.Alerts != "" || chat.Mentions != "" }

// said is told of each message, and must not block.
func (a *alerts) said(channel string, space *hub.Space, m *store.Message) {
	if !alerting(space.Chat) {
		return
	}
	if m.Sender.User != "" { // who writes has read
		a.read(channel, m.Sender.User)
	}
	if space.Chat.Alerts != "" || len(m.Meta.Mentions) > 0 {
		a.pushes.put(channel, 0, func(s *stretch) { s.add(m.Seq, m.Seq) })
	}
}

// push carries out the alerts of a stretch of a channel.
func (a *alerts) push(ctx context.Context, channel string, s stretch) error {
	for after := (store.Alert{Channel: channel, Seq: s.from - 1}); after.Seq < s.to; {
		reading, cancel := context.WithTimeout(ctx, storeTime)
		limit := int(min(s.to-after.Seq, alertsPage))
		rows, err := a.f.store.Alerts(reading, after, limit)
		cancel()
		if err != nil {
			return a.failed(err)
		}
		var done []store.Alert
		for _, row := range rows {
			if row.Channel != channel || row.Seq > s.to {
				break
			}
			if err := a.carryOut(ctx, row); err != nil {
				a.forgetSoon(done)
				return a.failed(err)
			}
			done = append(done, row)
		}
		a.forgetSoon(done)
		if len(done) < limit {
			return nil
		}
		after = done[len(done)-1]
	}
	return nil
}

// failed tells of an error; the turn is repeated.
func (a *alerts) failed(err error) error {
	a.f.failed("push alerts", err)
	return err
}

// carryOut pushes one alert. Its error says that it is to be tried again.
func (a *alerts) carryOut(ctx context.Context, row store.Alert) error {
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	space := a.f.cfg.Hub.Space(namespaceOf(row.Channel))
	if space == nil || space.Chat == nil || !alerting(space.Chat) {
		return nil // nobody is to be told any more
	}
	page, err := a.f.store.Read(ctx, store.Query{Channel: row.Channel, After: row.Seq - 1, Limit: 1})
	if err != nil {
		return failure(err)
	}
	if len(page.Messages) == 0 || page.Messages[0].Seq != row.Seq || page.Messages[0].Recalled {
		return nil
	}
	m := &page.Messages[0]
	r, err := a.f.roster(ctx, row.Channel, space)
	if err != nil {
		if e := fault.Of(err); e.Code == fault.BadRequest {
			return nil // the name is that of no conversation any more
		}
		return err
	}
	to, err := a.to(ctx, space.Chat, r, m)
	if err != nil {
		return err
	}
	for _, as := range [...]kind{{space.Chat.Alerts, false}, {space.Chat.Alerts, true}, {space.Chat.Mentions, true}} {
		if users := to[as]; len(users) > 0 {
			if err := a.pushOne(ctx, r.channel, m, as, users); err != nil {
				return err
			}
			delete(to, as) // the last two may be one
		}
	}
	return nil
}

// kind is how somebody is told of a message.
type kind struct {
	category string
	mention  bool // it names him
}

// candidates are members who may have to be told of a message: those who are away. Of a group
// that is large only those whom it mentions, and those who want to be told of everything.
func (a *alerts) candidates(chat *hub.Chat, r *roster, m *store.Message) (users []string, large bool) {
	most := chat.AlertMembers
	if most == 0 {
		most = defaultAlerts
	}
	large = r.size() > most
	r.each(func(user string, is member) bool {
		wanted := !large || is.alerts == store.AlertAll || mentions(m, user)
		if wanted && user != m.Sender.User && is.alerts != store.AlertNone && !a.f.cfg.Hub.HasUser(user) {
			users = append(users, user)
		}
		return true
	})
	return users, large
}

// mentions tells whether a message names a user, or everybody.
func mentions(m *store.Message, user string) bool {
	return slices.Contains(m.Meta.Mentions, user) || slices.Contains(m.Meta.Mentions, protocol.Everybody)
}

// to gives who is told of a message, and how.
func (a *alerts) to(ctx context.Context, chat *hub.Chat, r *roster, m *store.Message) (map[kind][]string, error) {
	users, large := a.candidates(chat, r, m)
	to := map[kind][]string{}
	for page := range slices.Chunk(users, entriesPage) {
		members, err := a.f.store.RosterMembers(ctx, r.channel, page...)
		if err != nil {
			return nil, failure(err)
		}
		has := make([]bool, len(page)) // has blocked who speaks
		if m.Sender.User != "" {
			if _, has, err = a.f.store.Blocking(ctx, m.Sender.User, page...); err != nil {
				return nil, failure(err)
			}
		}
		for i, is := range members {
			mentioned := mentions(m, page[i])
			as := kind{chat.Alerts, mentioned}
			if mentioned && chat.Mentions != "" {
				as.category = chat.Mentions
			}
			switch {
			case has[i], as.category == "", is.Role == 0, max(is.Read, is.Delivered, is.Hidden) >= m.Seq:
				continue // he has left, or it has come to him meanwhile
			case is.Alerts == store.AlertNone, is.Alerts == store.AlertMentions && !mentioned, is.Alerts == store.AlertDefault && large && !mentioned:
				continue
			}
			to[as] = append(to[as], page[i])
		}
	}
	return to, nil
}

// pushOne pushes an alert of one kind.
func (a *alerts) pushOne(ctx context.Context, channel string, m *store.Message, as kind, users []string) error {
	touch := func() {
		for _, user := range users {
			a.clean.remove(user, channel)
			a.stamp(user).Add(1)
		}
	}
	touch()
	var err error
	p := Push{
		Category: as.category, Event: alertEvent, Data: alertData(channel, m, as.mention), Collapse: collapseOf(channel),
		Key: "chat:" + channel + ":" + strconv.FormatUint(m.Seq, 10) + ":" + as.category,
	}
	if as.mention { // those whom it names not may be told under the same category
		p.Key += ":mention"
	}
	for p.Users = range slices.Chunk(users, maxPush) {
		if err = a.f.cfg.Push(ctx, p); err != nil {
			break
		}
	}
	touch() // who was looked at meanwhile may have none yet
	e := fault.Of(err)
	switch {
	case e == nil:
		a.f.metrics.Alerts.Add(int64(len(users)))
	case e.Code == fault.NotFound:
		a.f.metrics.AlertFailures.Add(1)
		a.missing(as.category)
		return nil
	case e.Code == fault.Conflict:
		return nil // it was pushed, and the message has been edited since
	case e.Code == fault.BadRequest, e.Code == fault.TooLarge, e.Code == fault.Denied:
		a.f.metrics.AlertFailures.Add(1)
		a.f.cfg.Logger.Error("an alert cannot be pushed", "channel", channel, "seq", m.Seq, "category", as.category, "error", err)
		return nil
	default:
		a.f.metrics.AlertFailures.Add(1)
		return err
	}
	for page := range slices.Chunk(users, entriesPage) { // who has read it in this moment
		members, err := a.f.store.RosterMembers(ctx, channel, page...)
		if err != nil {
			return failure(err)
		}
		for i, is := range members {
			if is.Read >= m.Seq {
				a.read(channel, page[i])
			}
		}
	}
	return nil
}

// missing says once that a category is not there.
func (a *alerts) missing(category string) {
	a.mu.Lock()
	known := a.unknown[category]
	a.unknown[category] = true
	a.mu.Unlock()
	if !known {
		a.f.cfg.Logger.Warn("members who are away are not told of messages: there is no such category", "category", category)
	}
}

// alertData is the data of an alert.
func alertData(channel string, m *store.Message, mention bool) []byte {
	b := protocol.AppendString(make([]byte, 0, min(len(m.Data), maxLast)+256), channel)
	b = append([]byte(`{"channel":`), b...)
	b = strconv.AppendUint(append(b, `,"seq":`...), m.Seq, 10)
	b = protocol.AppendString(append(b, `,"id":`...), m.ID)
	if m.Sender.User != "" {
		b = protocol.AppendString(append(b, `,"from":`...), m.Sender.User)
	}
	b = protocol.AppendString(append(b, `,"event":`...), m.Event)
	if len(m.Data) > maxLast {
		b = append(b, `,"cut":true`...)
	} else {
		b = protocol.AppendData(append(b, `,"data":`...), m.Data)
	}
	if mention {
		b = append(b, `,"mention":true`...)
	}
	return append(b, '}')
}

// collapseOf is the collapse key of a channel's alerts. A few bytes are too many for the
// longest names: then a hash stands for them.
func collapseOf(channel string) string {
	const prefix = "chat:"
	if len(prefix)+len(channel) <= maxCollapse {
		return prefix + channel
	}
	sum := sha256.Sum256([]byte(channel))
	return prefix + namespaceOf(channel) + ":#" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// forgetSoon has rows forgotten that were carried out.
func (a *alerts) forgetSoon(rows []store.Alert) {
	if len(rows) > 0 {
		a.forgets.put("", 0, func(list *[]store.Alert) { *list = append(*list, rows...) })
	}
}

// forget forgets rows.
func (a *alerts) forget(ctx context.Context, _ string, rows []store.Alert) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for page := range slices.Chunk(rows, maxForgets) {
		if _, err := a.f.store.Do(ctx, store.AlertsDone{Alerts: page}); err != nil {
			a.f.failed("forget alerts that were pushed", err)
			return err
		}
	}
	return nil
}

// leftBehind looks for alerts that a process has not carried out: its own at the start, and
// where the store is shared those of others now and then.
func (a *alerts) leftBehind(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := leftEvery
		switch err := a.lookForLeft(ctx); {
		case err != nil:
			a.f.failed("look for alerts that were left behind", err)
			wait = mostPause
		case !a.f.shared:
			return
		}
		timer.Reset(wait)
	}
}

func (a *alerts) lookForLeft(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	for after := (store.Alert{}); ; {
		rows, err := a.f.store.Alerts(ctx, after, leftPage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if a.f.shared {
				page, err := a.f.store.Read(ctx, store.Query{Channel: row.Channel, After: row.Seq - 1, Limit: 1})
				if err != nil {
					return err
				}
				if len(page.Messages) > 0 && a.f.cfg.Now().Sub(time.UnixMilli(page.Messages[0].Time)) < leftAge {
					continue // whoever stored it will do it
				}
			}
			a.pushes.put(row.Channel, 0, func(s *stretch) { s.add(row.Seq, row.Seq) })
		}
		if len(rows) < leftPage {
			return nil
		}
		after = rows[len(rows)-1]
	}
}

// marked is told of marks that have moved. When all was read, there is nothing left to be
// alerted of.
func (a *alerts) marked(channel string, space *hub.Space, user string, now store.MemberMarked) {
	if alerting(space.Chat) && now.Read >= now.Head {
		a.read(channel, user)
	}
}

// read has the alerts ended that a user has of a channel.
func (a *alerts) read(channel, user string) {
	if a.clean.has(user, channel) {
		return
	}
	a.clears.put(pairKey(user, channel), 0, func(r *reader) { *r = reader{user, channel} })
}

// clear ends the alerts that a user has of a channel.
func (a *alerts) clear(ctx context.Context, _ string, r reader) error {
	space := a.f.cfg.Hub.Space(namespaceOf(r.channel))
	if space == nil || space.Chat == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	before := a.stamp(r.user).Load()
	categories := []string{space.Chat.Alerts, space.Chat.Mentions}
	if categories[0] == categories[1] {
		categories = categories[:1]
	}
	for _, category := range categories {
		if category == "" {
			continue
		}
		err := a.f.cfg.Clear(ctx, r.user, category, collapseOf(r.channel))
		if e := fault.Of(err); e != nil && e.Code != fault.NotFound {
			a.f.failed("end alerts that were read", err)
			return err
		}
	}
	a.f.metrics.Cleared.Add(1)
	if !a.f.shared && a.stamp(r.user).Load() == before {
		a.clean.add(r.user, r.channel)
		if a.stamp(r.user).Load() != before { // one is being pushed in this moment
			a.clean.remove(r.user, r.channel)
		}
	}
	return nil
}

func (a *alerts) stamp(user string) *atomic.Uint64 {
	return &a.pushed[maphash.String(a.seed, user)%uint64(len(a.pushed))]
}

// pairKey is one text for a user and a channel.
func pairKey(user, channel string) string {
	return strconv.Itoa(len(user)) + ":" + user + channel
}

// maxPairs bounds what pairs remember, roughly.
const maxPairs = 50_000

// pairs remembers users with a channel that were put in lately.
type pairs struct {
	mu         sync.Mutex
	young, old map[string]struct{}
}

func (p *pairs) init() { p.young, p.old = map[string]struct{}{}, map[string]struct{}{} }

func (p *pairs) add(user, channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.young) >= maxPairs {
		p.young, p.old = map[string]struct{}{}, p.young
	}
	p.young[pairKey(user, channel)] = struct{}{}
}

func (p *pairs) remove(user, channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pairKey(user, channel)
	delete(p.young, key)
	delete(p.old, key)
}

func (p *pairs) has(user, channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pairKey(user, channel)
	_, young := p.young[key]
	_, old := p.old[key]
	return young || old
}
