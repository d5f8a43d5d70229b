package connection

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// CallParams are the params of call.
type CallParams struct {
	Connection string          `json:"connection,omitempty" jsonschema:"a connection; or name a user"`
	User       string          `json:"user,omitempty" jsonschema:"every connection of a user"`
	Device     string          `json:"device,omitempty" jsonschema:"with user: only the connections of this device"`
	Method     string          `json:"method"`
	Data       json.RawMessage `json:"data,omitempty" jsonschema:"any JSON"`
	Timeout    int             `json:"timeout,omitempty" jsonschema:"milliseconds; 10000 when absent, at most 60000"`
}

// CallResult has a reply for each connection that was called.
type CallResult struct {
	Replies []Reply `json:"replies" jsonschema:"none when the user has no connection"`
}

// Reply is what one client has answered.
type Reply struct {
	Connection string          `json:"connection"`
	Device     string          `json:"device,omitempty"`
	Data       json.RawMessage `json:"data,omitempty" jsonschema:"what it answered"`
	Error      *ReplyError     `json:"error,omitempty" jsonschema:"what it answered instead, or why it did not"`
}

// ReplyError is an error that a client has answered, or that it did not answer.
type ReplyError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Bounds of a call.
const (
	defaultTimeout = 10_000
	maxTimeout     = 60_000
)

func (f *Feature) call(ctx context.Context, p CallParams) (CallResult, error) {
	r := CallResult{Replies: []Reply{}}
	conns, err := f.called(p)
	if err != nil {
		return r, err
	}
	if p.Method == "" {
		return r, fault.Field("method", "is missing")
	}
	if err := protocol.MethodName("method", p.Method); err != nil {
		return r, err
	}
	if p.Timeout == 0 {
		p.Timeout = defaultTimeout
	}
	if p.Timeout < 1 || p.Timeout > maxTimeout {
		return r, fault.Field("timeout", "%d is not between 1 and %d", p.Timeout, maxTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.Timeout)*time.Millisecond)
	defer cancel()
	r.Replies = make([]Reply, len(conns))
	var wait sync.WaitGroup
	for i, c := range conns {
		wait.Go(func() {
			reply := &r.Replies[i]
			reply.Connection, reply.Device = c.ID.String(), c.Identity().Device
			data, err := session.Of(c).Call(ctx, p.Method, p.Data)
			if err != nil {
				e := fault.Of(err)
				reply.Error = &ReplyError{string(e.Code), e.Message}
				return
			}
			reply.Data = data
		})
	}
	wait.Wait()
	return r, nil
}

// called finds the connections that are called.
func (f *Feature) called(p CallParams) ([]*hub.Conn, error) {
	if (p.Connection == "") == (p.User == "") {
		return nil, fault.Field("connection", "name either a connection or a user")
	}
	if p.Connection != "" && p.Device != "" {
		return nil, fault.Field("device", "goes with user; a connection has one already")
	}
	if p.Connection != "" {
		c, err := f.find(p.Connection)
		return []*hub.Conn{c}, err
	}
	var conns []*hub.Conn
	for _, c := range f.hub.UserConns(p.User) {
		if p.Device == "" || c.Identity().Device == p.Device {
			conns = append(conns, c)
		}
	}
	return conns, nil
}
