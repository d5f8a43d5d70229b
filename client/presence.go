package client

import (
	"context"
	"encoding/json"

	"github.com/skein-realtime/skein/protocol"
)

// Presence is who is in a channel. It works on the client's [Channel] of the same
// name: they share one subscription.
type Presence struct{ ch *Channel }

// Presence gives the presence of a channel.
func (c *Client) Presence(name string) *Presence {
	return &Presence{c.Channel(name, ChannelOptions{})}
}

// Member is a user in a channel, or a connection that is anonymous.
type Member struct {
	User        string // "": anonymous
	Connections int
	Data        json.RawMessage // what it shows of itself; nil: nothing
}

// Members are who is in a channel.
type Members struct {
	List               []Member // nil: the channel shows its numbers alone
	Connections, Users int      // of all
	Large              bool     // there are too many to be listed
}

// Members asks who is in the channel now.
func (p *Presence) Members(ctx context.Context) (Members, error) {
	f, err := p.ch.c.ask(ctx, outgoing{Type: protocol.TypePresence, Channel: p.ch.name}, always)
	if err != nil {
		return Members{}, err
	}
	m := Members{Connections: int(f.number("connections")), Users: int(f.number("users")), Large: f.flag("large")}
	list := f.raw("members")
	if list == nil {
		return m, nil
	}
	m.List = []Member{}
	err = protocol.EachElement(list, func(element []byte) error {
		e, err := readFrame(element)
		if err != nil {
			return err
		}
		m.List = append(m.List, Member{User: e.text("user"), Connections: int(e.number("connections")), Data: e.raw("data")})
		return nil
	})
	return m, err
}

// Watch subscribes to the channel, if that is not done yet, so that OnJoin, OnLeave
// and OnCounts are told. Who then asks for the Members and follows the events knows
// who is there.
func (p *Presence) Watch(ctx context.Context) error {
	p.ch.mu.Lock()
	p.ch.options.Presence = true
	p.ch.mu.Unlock()
	return p.ch.Subscribe(ctx)
}

// OnJoin calls fn when a connection has come, or shows other data. stop ends it.
func (p *Presence) OnJoin(fn func(Join)) (stop func()) { return on(p.ch, fn) }

// OnLeave calls fn when a connection has gone. stop ends it.
func (p *Presence) OnLeave(fn func(Leave)) (stop func()) { return on(p.ch, fn) }

// OnCounts calls fn with the numbers of a large channel. stop ends it.
func (p *Presence) OnCounts(fn func(Counts)) (stop func()) { return on(p.ch, fn) }

// Set shows data, which is encoded as JSON in at most 4 KiB, to the others in the
// channel; nil shows nothing. The channel must be subscribed. The data is shown
// again after each reconnect.
func (p *Presence) Set(ctx context.Context, data any) error {
	raw, err := encodeData("data", data)
	if err != nil {
		return err
	}
	if _, err := p.ch.c.ask(ctx, outgoing{Type: protocol.TypePresence, Channel: p.ch.name, Data: raw}, always); err != nil {
		return err
	}
	p.ch.mu.Lock()
	defer p.ch.mu.Unlock()
	p.ch.shown = raw
	if string(raw) == "null" {
		p.ch.shown = nil
	}
	return nil
}

// showLocked shows the data of before on a new connection.
func (ch *Channel) showLocked(k *conn) {
	o := outgoing{Type: protocol.TypePresence, Channel: ch.name, Data: ch.shown}
	if _, err := k.ask(o, func(_ *incoming, err error) { ch.showedAgain(k, err) }); err != nil {
		ch.c.fault(err)
	}
}

// showedAgain tells when the data cannot be shown any more, and tries again later
// when that helps.
func (ch *Channel) showedAgain(k *conn, err error) {
	e, ok := err.(*Error)
	switch {
	case !ok: // it is shown, or the next connection shows it
	case e.temporary():
		k.after(k.delay(e), func() {
			ch.mu.Lock()
			defer ch.mu.Unlock()
			if ch.live && ch.shown != nil {
				ch.showLocked(k)
			}
		})
	default:
		ch.c.fault(err)
	}
}
