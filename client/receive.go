package client

import (
	"github.com/skein-realtime/skein/protocol"
)

// receive hands a frame to whom it is about. It runs in the goroutine that reads.
func (c *Client) receive(k *conn, f *incoming) {
	switch f.kind {
	case protocol.TypeOK, protocol.TypeError, protocol.TypePong, protocol.TypeWelcome:
		c.answer(k, f)
	case protocol.TypePing: // it wants no answer: that it was read is enough
	case protocol.TypeBye:
		k.mu.Lock()
		k.bye = f.end()
		k.mu.Unlock()
	case protocol.TypeCall:
		c.calls.start(k, f)
	default:
		c.deliver(k, f)
	}
}

// answer ends a request.
func (c *Client) answer(k *conn, f *incoming) {
	id, ok := f.id()
	if !ok {
		if f.kind == protocol.TypeError {
			c.fault(f.err())
		}
		return
	}
	r := k.answered(id)
	switch {
	case r == nil: // nobody waits for it
	case f.kind == protocol.TypeError:
		r.done(nil, f.err())
	default:
		r.done(f, nil)
	}
}

// deliver hands a frame to its channel.
func (c *Client) deliver(k *conn, f *incoming) {
	name := f.text("channel")
	if name == protocol.Inbox {
		c.Inbox().receive(k, f)
		return
	}
	c.mu.Lock()
	chat := c.chat
	c.mu.Unlock()
	if chat != nil && chat.receive(f) {
		return
	}
	c.mu.Lock()
	ch := c.channels[name]
	fresh := ch == nil && f.kind == protocol.TypeSubscribed && name != "" && !c.onChannel.empty()
	if fresh {
		ch = newChannel(c, name)
		ch.queue.hold()
		if f.object.Raw("version") != nil {
			ch.doc = newDocument(ch) // its snapshot comes before anybody can ask for it
		}
		c.channels[name] = ch
	}
	c.mu.Unlock()
	if ch == nil {
		return
	}
	ch.receive(k, f)
	if fresh {
		c.events.pushOver(ch)
	}
}
