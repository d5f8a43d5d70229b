package skein

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/webhook"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// backend is the application behind HTTP; nil: there is none.
type backend struct {
	*webhook.Client
	cfg Hooks
}

func (b *backend) wants(event string) bool { return b != nil && b.Wants(event) }

// covers tells whether the backend is asked about a channel.
func (b *backend) covers(channel string) bool {
	if len(b.cfg.Namespaces) == 0 {
		return true
	}
	namespace, _, _ := strings.Cut(channel, ":")
	return slices.Contains(b.cfg.Namespaces, namespace)
}

// setBackend makes the way to the backend that is configured, in place of the one
// before, which still delivers what it has been told.
func (s *Server) setBackend(cfg Config) error {
	var next *backend
	if cfg.Hooks.URL != "" {
		wc := webhookConfig(cfg.Hooks)
		wc.Logger, wc.Metrics = s.log, s.hookMetrics
		c, err := webhook.New(wc)
		if err != nil {
			return err
		}
		next = &backend{c, cfg.Hooks}
	}
	if old := s.backend.Swap(next); old != nil && s.begin() {
		go func() {
			defer s.running.Done()
			s.closeBackend(old)
		}()
	}
	return nil
}

// closeBackend delivers what the backend is still to be told, within reason.
func (s *Server) closeBackend(b *backend) {
	if b == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		s.log.Error("the application's backend was not told everything", "error", err)
	}
}

// webhookConfig is what the client of the backend takes.
func webhookConfig(h Hooks) webhook.Config {
	secrets := []string{h.Secret}
	if h.OldSecret != "" {
		secrets = append(secrets, h.OldSecret)
	}
	return webhook.Config{
		URL: h.URL, Secrets: secrets, Events: h.Events, Timeout: h.Timeout.Std(), Retries: h.Retries,
		Concurrency: h.Concurrency, VerifyAnswers: h.VerifyAnswers,
		Breaker: webhook.Breaker{Failures: h.Failures, Pause: h.Pause.Std()},
	}
}

// failure is what a client is told, or nil where the policy lets it go on, when
// the backend has not answered.
func (b *backend) failure(err error, may bool) error {
	if may && b.cfg.OnFailure == "allow" {
		return nil
	}
	after := 2 * time.Second
	var e *webhook.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		after = e.RetryAfter
	}
	return fault.Wrap(fault.Unavailable, err, "the application cannot be asked now").After(after)
}

// ask asks the backend and reads its answer into v.
func (b *backend) ask(ctx context.Context, event string, fields []byte, v any) error {
	answer, err := b.Ask(ctx, event, fields)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return &webhook.Error{Kind: webhook.KindGarbage, Event: event, Err: err}
	}
	return nil
}

// refusal is a part of an answer.
type refusal struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Reconnect bool   `json:"reconnect"`
}

// error is what the client gets; def is the code when none is named.
func (r *refusal) error(def fault.Code) error {
	code := def
	for _, known := range fault.Codes {
		if string(known) == r.Code {
			code = known
		}
	}
	if r.Message == "" {
		r.Message = "the application refuses it"
	}
	return &fault.Error{Code: code, Message: r.Message}
}

func (b *backend) connect(ctx context.Context, c *session.Connecting) error {
	f := append([]byte(nil), `,"connection":{"id":"`...)
	f = append(c.ID.Append(f), '"')
	f = appendWho(f, c.Identity)
	f = protocol.AppendString(append(f, `,"transport":`...), c.Transport)
	f = append(protocol.AppendString(append(f, `,"address":`...), c.Remote.Addr().Unmap().String()), '}')
	if len(c.Data) > 0 {
		f = append(append(f, `,"data":`...), c.Data...)
	}
	if c.Token != "" {
		f = protocol.AppendString(append(f, `,"token":`...), c.Token)
	}
	if query, err := url.ParseQuery(c.Query); err == nil {
		query.Del("token")
		if len(query) > 0 {
			f = protocol.AppendString(append(f, `,"query":`...), query.Encode())
		}
	}
	headers := map[string]string{}
	for _, name := range b.cfg.Headers {
		if values := c.Header.Values(name); len(values) > 0 {
			headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	f = append(f, `,"headers":{`...)
	for i, name := range slices.Sorted(maps.Keys(headers)) {
		if i > 0 {
			f = append(f, ',')
		}
		f = append(protocol.AppendString(f, name), ':')
		f = protocol.AppendString(f, headers[name])
	}
	f = append(f, '}')
	var a welcome
	if err := b.ask(ctx, webhook.Connect, f, &a); err != nil {
		return b.failure(err, true)
	}
	if a.Refuse != nil {
		err := a.Refuse.error(fault.Unauthorized)
		if a.Refuse.Reconnect { // clients come back after what is not there now, and after nothing else
			err = fault.New(fault.Unavailable, "%s", a.Refuse.Message)
		}
		return err
	}
	identity, err := a.identity(c.Identity)
	if err != nil {
		return b.failure(err, false)
	}
	c.Identity = identity
	c.Channels = append(c.Channels, a.Channels...)
	return setState(c, a.Session)
}

// welcome is the backend's answer to connect.
type welcome struct {
	User     *string             `json:"user"`
	Device   *string             `json:"device"`
	Expires  int64               `json:"expires"`
	Caps     map[string][]string `json:"caps"`
	Roles    []string            `json:"roles"`
	Session  json.RawMessage     `json:"session"`
	Channels []string            `json:"channels"`
	Refuse   *refusal            `json:"refuse"`
}

// identity is who the connection is: by its token, and by what the answer adds.
func (w *welcome) identity(by auth.Identity) (auth.Identity, error) {
	next := by
	if w.User != nil && *w.User != by.User { // what a token gave ends with the identity that it gave it to
		next = auth.Identity{User: *w.User, Device: by.Device}
	}
	if w.Device != nil {
		next.Device = *w.Device
	}
	if w.Expires > 0 {
		next.Expires = auth.Time(w.Expires)
	}
	if w.Caps != nil {
		caps, err := auth.ParseCaps(w.Caps)
		if err != nil {
			return by, err
		}
		next.Caps = caps
	}
	if w.Roles != nil {
		roles, err := auth.ParseRoles(w.Roles)
		if err != nil {
			return by, err
		}
		next.Roles = roles
	}
	return next, protocol.DeviceID("device", next.Device)
}

func (b *backend) subscribe(ctx context.Context, c *session.Session, channel string, allowed bool) (bool, error) {
	f := protocol.AppendString(append(appendConnection(nil, c), `,"channel":`...), channel)
	var a struct {
		Allow  bool     `json:"allow"`
		Refuse *refusal `json:"refuse"`
	}
	if err := b.ask(ctx, webhook.Subscribe, f, &a); err != nil {
		return allowed, b.failure(err, true)
	}
	if a.Refuse != nil {
		return false, a.Refuse.error(fault.Denied)
	}
	return allowed || a.Allow, nil
}

func (b *backend) message(ctx context.Context, c *session.Session, m *session.Message) error {
	f := protocol.AppendString(append(appendConnection(nil, c), `,"channel":`...), m.Channel)
	f = protocol.AppendString(append(f, `,"message":{"event":`...), m.Event)
	f = protocol.AppendData(append(f, `,"data":`...), m.Data)
	if m.Notice {
		f = append(f, `,"notice":true`...)
	}
	if m.Patch {
		f = append(f, `,"patch":true`...)
	}
	if m.Edit != 0 {
		f = strconv.AppendUint(append(f, `,"edit":`...), m.Edit, 10)
	}
	if m.Key != "" {
		f = protocol.AppendString(append(f, `,"key":`...), m.Key)
	}
	var a struct {
		Event  *string         `json:"event"`
		Data   json.RawMessage `json:"data"`
		Reply  json.RawMessage `json:"reply"`
		Refuse *refusal        `json:"refuse"`
	}
	if err := b.ask(ctx, webhook.Message, append(f, '}'), &a); err != nil {
		return b.failure(err, true)
	}
	switch {
	case a.Refuse != nil:
		return a.Refuse.error(fault.Denied)
	case a.Reply != nil:
		m.Reply = a.Reply
		return nil
	}
	event, data := m.Event, m.Data
	if a.Event != nil {
		event = *a.Event
	}
	if a.Data != nil {
		data = a.Data
	}
	return change(m, event, data)
}

func (b *backend) call(ctx context.Context, c *session.Session, method string, data []byte) ([]byte, error) {
	f := protocol.AppendString(append(appendConnection(nil, c), `,"method":`...), method)
	if len(data) > 0 {
		f = append(append(f, `,"data":`...), data...)
	}
	var a struct {
		Data  json.RawMessage `json:"data"`
		Error *refusal        `json:"error"`
	}
	if err := b.ask(ctx, webhook.Call, f, &a); err != nil {
		return nil, b.failure(err, false)
	}
	if a.Error != nil {
		return nil, a.Error.error(fault.Internal)
	}
	return a.Data, nil
}

// appendWho appends the members that say who a connection is.
func appendWho(f []byte, identity auth.Identity) []byte {
	if identity.User != "" {
		f = protocol.AppendString(append(f, `,"user":`...), identity.User)
	}
	if identity.Device != "" {
		f = protocol.AppendString(append(f, `,"device":`...), identity.Device)
	}
	return f
}

// appendConnection appends the member that every event about a connection has.
func appendConnection(f []byte, c *session.Session) []byte {
	f = append(c.ID.Append(append(f, `,"connection":{"id":"`...)), '"')
	f = appendWho(f, c.Identity())
	f = protocol.AppendString(append(f, `,"transport":`...), c.Out().Transport())
	f = protocol.AppendString(append(f, `,"address":`...), c.Out().Remote().Addr().Unmap().String())
	if state := c.Session(); len(state) > len("{}") {
		f = append(append(f, `,"session":`...), state...)
	}
	return append(f, '}')
}
