package chat

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Bounds of a list.
const (
	defaultList = 50
	maxList     = 200
	maxCursor   = 512     // bytes of a cursor
	maxLast     = 1 << 10 // bytes of the data of a message that a list shows
)

// registerLists registers what is about marks and lists.
func (f *Feature) registerLists() {
	s, r := f.cfg.Sessions, f.cfg.Verbs
	s.Handle(protocol.TypeMark, f.mark)
	s.Handle(protocol.TypeAck, f.ack)
	s.Handle(protocol.TypeConversations, f.listFrame)
	s.Handle(protocol.TypeConversation, f.entryFrame)
	verb.Add(r, "chat.mark", "Moves the marks of a member: what was delivered to him, and what he has read.", f.markVerb)
	verb.Add(r, "chat.alerts", "Sets of which messages a member is told who is away.", f.alertsVerb)
	verb.Add(r, "conversations", "Lists the conversations of a user, the one with the newest message first.", f.listVerb)
}

// listing is a page of the conversations of a user, with what is not in the store.
type listing struct {
	store.ConversationPage
	next    string
	entries []listed
}

// listed is one entry of a list.
type listed struct {
	*store.Conversation
	space   *hub.Space
	peer    string // of a direct one: the other user
	blocked bool   // the user has blocked him
	hides   bool   // what was said is not shown
}

// listFrame answers `conversations`.
func (f *Feature) listFrame(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	user := s.User()
	if user == "" {
		return errNobody
	}
	limit, err := fr.Int("limit", defaultList, 1, maxList)
	if err != nil {
		return err
	}
	after, err := fr.String("after", maxCursor)
	if err != nil {
		return err
	}
	live, err := fr.Bool("live", false)
	if err != nil {
		return err
	}
	place, err := parseCursor(after)
	if err != nil {
		return err
	}
	// Before the list is read: what changes meanwhile is told, or is in it.
	fresh := live && f.followers.follow(s, user)
	page, err := f.page(ctx, user, place, int(limit), &s.Conn)
	if err != nil {
		if fresh {
			f.followers.unfollow(&s.Conn)
		}
		return err
	}
	if !live && fr.Has("live") {
		f.followers.unfollow(&s.Conn)
	}
	s.OK(fr, func(b []byte) []byte { return f.appendList(append(b, ','), page) })
	return nil
}

// entryFrame answers `conversation`.
func (f *Feature) entryFrame(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, err := fr.Required("channel", protocol.MaxChannel)
	if err != nil {
		return err
	}
	space, err := f.conversation(channel)
	switch {
	case err != nil:
		return err
	case s.User() == "":
		return errNobody
	case space.Subscribe == auth.Server:
		return session.Denied(auth.Sub, channel)
	}
	entry, err := f.entryFor(ctx, channel, s.User(), &s.Conn)
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return append(append(b, `,"conversation":`...), entry...) })
	return nil
}

// entry is one conversation of a user's list, as JSON. denied: he is no member.
func (f *Feature) entry(ctx context.Context, channel, user string) ([]byte, error) {
	return f.entryFor(ctx, channel, user, nil)
}

// entryFor is entry for a connection of the user, or, with nil, for a backend.
func (f *Feature) entryFor(ctx context.Context, channel, user string, who *hub.Conn) ([]byte, error) {
	namespace, _, _ := strings.Cut(channel, ":")
	space := f.cfg.Hub.Space(namespace)
	if f.store == nil || space == nil || space.Chat == nil {
		return nil, errNoStore
	}
	c, err := f.store.Conversation(ctx, channel, user)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.Wrap(fault.Denied, err, "channel: %s is no conversation of this user", channel)
	}
	if err != nil {
		return nil, failure(err)
	}
	page := store.ConversationPage{Items: []store.Conversation{c}}
	l, err := f.complete(ctx, user, page, who)
	if err == nil && len(l.entries) == 0 {
		err = fault.New(fault.NotFound, "channel: %s is no conversation any more", channel)
	}
	if err != nil {
		return nil, err
	}
	return f.appendEntry(nil, &l.entries[0]), nil
}

// page reads a page of a user's conversations. For a client, who is the connection that asks,
// what its token may not see is left out; nil: a backend asks.
func (f *Feature) page(ctx context.Context, user string, after store.ConversationPlace, limit int, who *hub.Conn) (*listing, error) {
	if f.store == nil {
		return nil, errNoStore
	}
	var namespaces []string
	for _, space := range f.cfg.Hub.Spaces() {
		if space.Chat != nil && (who == nil || space.Subscribe != auth.Server) {
			namespaces = append(namespaces, space.Name)
		}
	}
	if len(namespaces) == 0 {
		return &listing{}, nil
	}
	slices.Sort(namespaces)
	page, err := f.store.Conversations(ctx, store.ConversationQuery{User: user, Namespaces: namespaces, After: after, Limit: limit, Bytes: f.cfg.Page()})
	if err != nil {
		return nil, failure(err)
	}
	return f.complete(ctx, user, page, who)
}

// complete adds what is not in the page itself.
func (f *Feature) complete(ctx context.Context, user string, page store.ConversationPage, who *hub.Conn) (*listing, error) {
	l := &listing{ConversationPage: page, entries: make([]listed, 0, len(page.Items))}
	var peers []string
	for i := range page.Items {
		c := &page.Items[i]
		namespace, _, _ := strings.Cut(c.Channel, ":")
		space := f.cfg.Hub.Space(namespace)
		if space == nil || space.Chat == nil {
			continue // it was taken away this moment
		}
		e := listed{Conversation: c, space: space, hides: who != nil && !sees(space, c.Channel, who)}
		if space.Chat.Direct {
			a, b, err := directUsers("channel", c.Channel)
			if err != nil {
				continue // it became one of a direct namespace by a change of the configuration
			}
			if e.peer = a; a == user {
				e.peer = b
			}
			peers = append(peers, e.peer)
		}
		l.entries = append(l.entries, e)
	}
	if page.More && len(page.Items) > 0 {
		l.next = cursor(page.Items[len(page.Items)-1].Place)
	}
	if len(peers) == 0 {
		return l, nil
	}
	has, _, err := f.store.Blocking(ctx, user, peers...)
	if err != nil {
		return nil, failure(err)
	}
	for i := range l.entries {
		if e := &l.entries[i]; e.peer != "" {
			e.blocked, has = has[0], has[1:]
		}
	}
	return l, nil
}

// cursor is a place as clients carry it.
func cursor(p store.ConversationPlace) string {
	b := strconv.AppendInt(nil, p.Time, 36)
	return base64.RawURLEncoding.EncodeToString(append(append(b, '/'), p.Channel...))
}

// parseCursor reads what cursor gave; "" is the newest place.
func parseCursor(text string) (p store.ConversationPlace, err error) {
	if text == "" {
		return p, nil
	}
	wrong := fault.Field("after", "is not the next of a page of conversations")
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return p, wrong
	}
	at, channel, found := strings.Cut(string(b), "/")
	if p.Time, err = strconv.ParseInt(at, 36, 64); err != nil || !found || p.Time < 0 || p.Time > protocol.MaxInt {
		return store.ConversationPlace{}, wrong
	}
	if _, err := protocol.Namespace("after", channel); err != nil {
		return store.ConversationPlace{}, wrong
	}
	p.Channel = channel
	if cursor(p) != text {
		return store.ConversationPlace{}, wrong
	}
	return p, nil
}

// appendList appends the members of a page, without braces.
func (f *Feature) appendList(b []byte, l *listing) []byte {
	b = append(b, `"conversations":[`...)
	for i := range l.entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.appendEntry(b, &l.entries[i])
	}
	b = strconv.AppendInt(append(b, `],"count":`...), l.Count, 10)
	b = strconv.AppendUint(append(b, `,"unread":`...), l.Unread, 10)
	if l.next != "" {
		b = protocol.AppendString(append(b, `,"next":`...), l.next)
	}
	return b
}

// appendEntry appends a conversation as its member sees it.
func (f *Feature) appendEntry(b []byte, e *listed) []byte {
	c, chat := e.Conversation, e.space.Chat
	b = protocol.AppendString(append(b, `{"channel":`...), c.Channel)
	b = append(append(b, `,"kind":"`...), kindOf(chat)...)
	b = strconv.AppendUint(append(b, `","seq":`...), c.Head.Top, 10)
	b = protocol.AppendString(append(b, `,"epoch":`...), c.Head.Epoch)
	b = appendMarks(b, c.Delivered, c.Read)
	b = strconv.AppendUint(append(b, `,"unread":`...), unread(c.Head.Top, c.Read), 10)
	b = strconv.AppendInt(append(b, `,"time":`...), c.Place.Time, 10)
	if c.Last != nil && !e.hides {
		b = appendLast(append(b, `,"last":`...), c.Last)
	}
	b = append(append(b, `,"role":"`...), roleName(c.Role)...)
	b = strconv.AppendInt(append(b, `","since":`...), c.Since, 10)
	b = strconv.AppendUint(append(b, `,"hidden":`...), c.Hidden, 10)
	b = strconv.AppendInt(append(b, `,"members":`...), c.Members, 10)
	b = append(append(append(b, `,"alerts":"`...), levelName(c.Alerts)...), '"')
	if !chat.Direct {
		return append(appendSettings(b, chat, c.Group), '}')
	}
	b = protocol.AppendString(append(b, `,"peer":{"user":`...), e.peer)
	b = appendMarks(b, c.Peer.Delivered, c.Peer.Read)
	if e.space.Presence == hub.PresenceMembers {
		b = strconv.AppendBool(append(b, `,"online":`...), f.isOnline(e.peer))
	}
	if e.blocked {
		b = append(b, `,"blocked":true`...)
	}
	return append(b, '}', '}')
}

// kindOf is the word for the kind of a namespace's conversations.
func kindOf(chat *hub.Chat) string {
	if chat.Direct {
		return "direct"
	}
	return "group"
}

// appendSettings appends what is kept about a group, with a comma in front.
func appendSettings(b []byte, chat *hub.Chat, g *store.GroupSettings) []byte {
	data, join := []byte(nil), chat.Join
	if g != nil {
		data = g.Data
		if word := joinName(g.Join); word != "" {
			join = word
		}
	}
	b = protocol.AppendData(append(b, `,"data":`...), data)
	return append(append(append(b, `,"join":"`...), join...), '"')
}

// appendMarks appends the marks of a member, with a comma in front.
func appendMarks(b []byte, delivered, read uint64) []byte {
	b = strconv.AppendUint(append(b, `,"read":`...), read, 10)
	return strconv.AppendUint(append(b, `,"delivered":`...), delivered, 10)
}

// unread is how many messages are after what was read.
func unread(top, read uint64) uint64 { return top - min(top, read) }

// appendLast appends a message as a list shows it: as a history does, but without data that
// is large.
func appendLast(b []byte, m *store.Message) []byte {
	out := protocol.Msg{
		ID: m.ID, Seq: m.Seq, Event: m.Event, Data: m.Data, From: m.Sender, Time: m.Time,
		Reply: m.Meta.Reply, Mentions: m.Meta.Mentions, Edited: m.Edited,
	}
	switch {
	case m.Recalled:
		return protocol.AppendStub(b, &out)
	case len(m.Data) <= maxLast:
		return protocol.AppendKept(b, &out)
	}
	out.Data = nil
	start := len(b)
	b = protocol.AppendKept(b, &out)
	const none = `,"data":null` // which would say that there is none; in a text its quotes are escaped
	if at := bytes.Index(b[start:], []byte(none)); at >= 0 {
		b = append(b[:start+at], b[start+at+len(none):]...)
	}
	return append(b[:len(b)-1], `,"cut":true}`...)
}

// levelNames are the words for of which messages an absent member wants to be told.
var levelNames = [...]string{store.AlertDefault: "default", store.AlertAll: "all", store.AlertMentions: "mentions", store.AlertNone: "none"}

// levelName is the word for a level.
func levelName(l store.AlertLevel) string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return ""
}

// parseLevel reads a level.
func parseLevel(field, text string) (store.AlertLevel, error) {
	for l, name := range levelNames {
		if name == text {
			return store.AlertLevel(l), nil
		}
	}
	return 0, fault.Field(field, "%q is not one of default, all, mentions, none", text)
}

// ListParams are the params of the verb conversations.
type ListParams struct {
	User  string `json:"user"`
	After string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit int    `json:"limit,omitempty" jsonschema:"conversations of a page; 50 when absent, at most 200"`
}

// ListResult is a page of conversations, the one with the newest message first.
type ListResult struct {
	Conversations []Conversation `json:"conversations"`
	Count         int64          `json:"count" jsonschema:"of all of them, also those of other pages"`
	Unread        uint64         `json:"unread" jsonschema:"messages that were not read, of all of them"`
	Next          string         `json:"next,omitempty"`

	f    *Feature
	list *listing
}

// Conversation is one of them, as the user sees it.
type Conversation struct {
	Channel   string `json:"channel"`
	Kind      string `json:"kind" jsonschema:"direct or group"`
	Seq       uint64 `json:"seq" jsonschema:"that of the newest message"`
	Epoch     string `json:"epoch"`
	Read      uint64 `json:"read"`
	Delivered uint64 `json:"delivered"`
	Unread    uint64 `json:"unread"`
	Time      int64  `json:"time" jsonschema:"of the newest message, or of coming in; milliseconds since 1970 UTC"`
	Last      any    `json:"last,omitempty" jsonschema:"the newest message, as in a history; data of more than 1 KiB is left out, with cut"`
	Role      string `json:"role" jsonschema:"reader, member, admin or owner"`
	Since     int64  `json:"since"`
	Hidden    uint64 `json:"hidden" jsonschema:"history up to this seq is not shown to the user"`
	Members   int64  `json:"members"`
	Alerts    string `json:"alerts" jsonschema:"default, all, mentions or none"`
	Data      any    `json:"data,omitempty" jsonschema:"of a group: what its admins say of it"`
	Join      string `json:"join,omitempty" jsonschema:"of a group: admins, members or open"`
	Peer      *Peer  `json:"peer,omitempty" jsonschema:"of a direct conversation: the other user"`
}

// Peer is the other user of a direct conversation.
type Peer struct {
	User      string `json:"user"`
	Read      uint64 `json:"read"`
	Delivered uint64 `json:"delivered"`
	Online    *bool  `json:"online,omitempty" jsonschema:"where the presence of the namespace is members"`
	Blocked   bool   `json:"blocked,omitempty" jsonschema:"the user has blocked him"`
}

// AppendJSON implements verb.Appender.
func (r ListResult) AppendJSON(b []byte) []byte {
	return append(r.f.appendList(append(b, '{'), r.list), '}')
}

func (f *Feature) listVerb(ctx context.Context, p ListParams) (r ListResult, err error) {
	if err := userID("user", p.User); err != nil {
		return r, err
	}
	if p.Limit == 0 {
		p.Limit = defaultList
	}
	if p.Limit < 1 || p.Limit > maxList {
		return r, fault.Field("limit", "%d is not between 1 and %d", p.Limit, maxList)
	}
	place, err := parseCursor(p.After)
	if err != nil {
		return r, err
	}
	page, err := f.page(ctx, p.User, place, p.Limit, nil)
	return ListResult{f: f, list: page}, err
}

// AlertsParams are the params of chat.alerts.
type AlertsParams struct {
	Channel string `json:"channel"`
	User    string `json:"user,omitempty" jsonschema:"a member; of a client's call its user"`
	Level   string `json:"level" jsonschema:"default, all, mentions or none"`
}

// AlertsResult tells what the level was.
type AlertsResult struct {
	Was string `json:"was"`
}

func (f *Feature) alertsVerb(ctx context.Context, p AlertsParams) (r AlertsResult, err error) {
	if _, err := f.conversation(p.Channel); err != nil {
		return r, err
	}
	user, err := acting(ctx, "user", p.User)
	if err != nil {
		return r, err
	}
	level, err := parseLevel("level", p.Level)
	if err != nil {
		return r, err
	}
	// Among the changes of the members, so that what is told last is what is stored.
	_, err = f.cfg.Members.Change(ctx, p.Channel, func() (began, ended []string, after *feed.Position, err error) {
		results, err := f.do(ctx, store.SetAlerts{Channel: p.Channel, User: user, Level: level})
		f.rosters.forget(p.Channel) // also when nobody knows what became of it
		if err != nil {
			return nil, nil, nil, err
		}
		r.Was = levelName(results[0].(store.AlertsSet).Was)
		f.begun(p.Channel, []string{user}) // his other devices show it
		return nil, nil, nil, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return r, fault.Wrap(fault.Denied, err, "channel: only members of %s are told of what is said there", p.Channel)
	}
	return r, failure(err)
}
