package socketio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// Socket is a client in a namespace. Its methods may be called at any time and
// from anywhere; on one that has ended they do nothing.
type Socket struct{ s *socket }

// ID is the id that the client knows as its own.
func (p *Socket) ID() string { return p.s.id }

// Connection is the id of the connection, as server verbs take it.
func (p *Socket) Connection() string { return p.s.ID.String() }

// User is who the client is; "" when it is anonymous.
func (p *Socket) User() string { return p.s.User() }

// Namespace is the name of the namespace it is in.
func (p *Socket) Namespace() string { return p.s.place.name }

// Handshake is what it gave when it connected.
func (p *Socket) Handshake() *Handshake {
	var own brought
	if p.s.brought != nil {
		own = *p.s.brought
	}
	h := own.handshake(p.s.client.e, p.s.place.name)
	identity := p.s.Identity()
	h.User, h.Device = identity.User, identity.Device
	return h
}

// Recovered tells whether it goes on with the state of an earlier connection.
func (p *Socket) Recovered() bool { return p.s.recovered }

// Emit sends an event to the client.
func (p *Socket) Emit(event string, args ...any) {
	switch data := arrayOf(encode(event), args); {
	case !p.s.Live():
	case p.s.trail != nil:
		p.s.trail.emit(p.s, data)
	default:
		p.s.send(sio.Packet{Kind: sio.Event, Data: data})
	}
}

// Volatile sends an event that may be lost when the client is not ready for it.
func (p *Socket) Volatile(event string, args ...any) {
	packet := sio.Packet{Kind: sio.Event, Namespace: p.s.place.name, Data: arrayOf(encode(event), args)}
	wire := sio.Append(nil, p.s.client.dialect, packet)
	p.s.Sent(wire)
	p.s.client.e.volatile(wire, p.s)
}

// Ask sends an event and waits for the client's acknowledgement until ctx ends.
func (p *Socket) Ask(ctx context.Context, event string, args ...any) (Args, error) {
	list := make([][]byte, len(args))
	for i, a := range args {
		list[i] = valueOf(a)
	}
	data, err := p.s.Call(ctx, event, dataOf(list))
	if err != nil {
		return nil, err
	}
	return argsOf(data), nil
}

// argsOf is the reverse of dataOf.
func argsOf(data []byte) Args {
	if array, ok := several(data); ok {
		list, err := sio.Args(array)
		if err == nil {
			args := make(Args, len(list))
			for i := range list {
				args[i] = list[i]
			}
			return args
		}
	}
	return Args{data}
}

// Join puts it into rooms.
func (p *Socket) Join(rooms ...string) {
	for _, room := range rooms {
		if room != p.s.id {
			p.s.subscribe(p.s.place.room(room), nil)
		}
	}
}

// Leave takes it out of a room.
func (p *Socket) Leave(room string) {
	p.s.client.e.door.cfg.Sessions.Hub().Unsubscribe(&p.s.Conn, p.s.place.room(room))
}

// Rooms lists the rooms it is in, among them its own, which has its id for a name.
// After its end they are those that it was in.
func (p *Socket) Rooms() []string {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.rooms != nil {
		return slices.Clone(p.s.rooms)
	}
	return p.s.live()
}

// Disconnect ends it; the client does not come back by itself. With all, its
// sockets in other namespaces end, too, and the transport is closed.
func (p *Socket) Disconnect(all bool) {
	if !all {
		p.s.leave()
		return
	}
	for _, s := range p.s.client.all() {
		s.leave()
	}
	p.s.client.e.close(reasonForced)
}

// Drop closes the transport, so that the client comes back by itself.
func (p *Socket) Drop() { p.s.client.e.close(reasonForced) }

// To begins a message for rooms, without this socket.
func (p *Socket) To(rooms ...string) *Broadcast {
	return (&Broadcast{place: p.s.place}).To(rooms...).ExceptSocket(p)
}

// Others begins a message for everybody in the namespace but this socket.
func (p *Socket) Others() *Broadcast {
	return (&Broadcast{place: p.s.place}).ExceptSocket(p)
}

// Args are the arguments of an event or an acknowledgement, each as raw JSON, in
// which binary stands as [Binary].
type Args []json.RawMessage

// Decode reads an argument into v; a missing one leaves it as it is.
func (a Args) Decode(i int, v any) error {
	if i >= len(a) {
		return nil
	}
	if err := json.Unmarshal(a[i], v); err != nil {
		return fmt.Errorf("argument %d: %w", i+1, err)
	}
	return nil
}

// String gives an argument that is a string, "" when it is none.
func (a Args) String(i int) string {
	if i < len(a) {
		if s, ok := protocol.Unquote(a[i]); ok {
			return s
		}
	}
	return ""
}

// Any gives them as what Emit takes.
func (a Args) Any() []any {
	list := make([]any, len(a))
	for i := range a {
		list[i] = a[i]
	}
	return list
}

// Ack answers an event. Only its first call counts.
type Ack func(args ...any)

// Binary is bytes inside of JSON: {"$binary":"<base64>"}. Clients of Socket.IO get
// and send it as an ArrayBuffer or a Buffer.
type Binary []byte

type binaryForm struct {
	Bytes []byte `json:"$binary"`
}

// MarshalJSON implements json.Marshaler.
func (b Binary) MarshalJSON() ([]byte, error) { return json.Marshal(binaryForm{b}) }

// UnmarshalJSON implements json.Unmarshaler.
func (b *Binary) UnmarshalJSON(text []byte) error {
	var f binaryForm
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	*b = f.Bytes
	return nil
}

// encode gives a value as JSON that is not escaped for HTML.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// arrayOf gives arguments as a JSON array, with what is in first before them.
func arrayOf(first []byte, args []any) []byte {
	list := make([][]byte, 0, len(args)+1)
	if first != nil {
		list = append(list, first)
	}
	for _, a := range args {
		list = append(list, valueOf(a))
	}
	return appendArgs(nil, list)
}

func valueOf(a any) []byte {
	switch a := a.(type) {
	case json.RawMessage:
		if len(a) == 0 {
			return []byte("null")
		}
		return a
	case []byte:
		return encode(Binary(a))
	}
	return encode(a)
}
