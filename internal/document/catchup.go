package document

import (
	"context"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// From says where a subscription wants to begin.
type From struct {
	Since *Position // not nil: after the version that the client has
	Echo  bool      // also what the connection does itself
}

// Position is the last version that a client has.
type Position struct {
	Epoch   string // "": the version alone counts
	Version uint64
}

// Joining is what the reply to a subscription tells.
type Joining struct {
	Epoch     string
	Version   uint64 // the newest
	Asked     bool   // it asked to go on after a version that it has
	Recovered bool   // and gets every one after it
}

// Behind puts a reader in line; see [hub.Config].
func (d *Documents) Behind(s *hub.Sub) { d.line.Add(s) }

// Joined lets a new reader begin. One that lacks nothing is live at once.
func (d *Documents) Joined(s *hub.Sub) {
	if x := d.peek(s.Channel().Name()); x != nil && s.Rejoin(x.head.Load) {
		return
	}
	d.line.Add(s)
}

// Subscribe subscribes a connection to a document: opt.Log is set here, and reply
// gives the frame that tells the client. Its error is a *fault.Error.
func (d *Documents) Subscribe(ctx context.Context, c *hub.Conn, name string, space *hub.Space, from From, opt hub.SubOptions, reply func(Joining) []byte) (fresh bool, err error) {
	x, err := d.lock(ctx, name)
	if err != nil {
		return false, err
	}
	j := Joining{Epoch: x.epoch, Version: x.version, Asked: from.Since != nil}
	start := hub.Start{Echo: from.Echo, View: viewOf(c, space)}
	if from.Since != nil {
		j.Recovered, err = d.canResume(ctx, x, from.Since, start.View)
	}
	x.mu.Unlock()
	if err != nil {
		return false, err
	}
	if j.Recovered {
		start.Next = from.Since.Version + 1
	}
	opt.Log = &start
	opt.Reply = func() []byte { return reply(j) }
	return d.hub.Subscribe(c, name, space, opt)
}

// viewOf is what a connection may see; nil: everything.
func viewOf(c *hub.Conn, space *hub.Space) any {
	if !space.Places.Reads() {
		return nil
	}
	identity := c.Identity()
	return space.Places.View(identity.User, identity.Roles)
}

// Review sees to it that the subscriptions of a connection show what it may see
// now: its user, its roles or the rules may have changed.
func (d *Documents) Review(c *hub.Conn) {
	if d.hub == nil {
		return // there are no documents
	}
	for _, s := range c.Subs() {
		space := d.hub.Space(s.Channel().Space().Name)
		if space == nil || !space.IsDoc() || !s.Channel().Space().IsDoc() {
			continue
		}
		place := s.Place()
		if view := viewOf(c, space); view != place.View {
			s.Review(hub.Start{Echo: place.Echo, View: view})
		}
	}
}

// maxResume bounds the versions that are looked up in the store for one reader.
const maxResume = 256

// canResume tells whether a reader gets every version after the one it has: when
// they are there, and not longer than the value.
func (d *Documents) canResume(ctx context.Context, x *doc, since *Position, view any) (bool, error) {
	if since.Epoch != "" && since.Epoch != x.epoch || since.Version > x.version {
		return false, nil
	}
	if since.Version == x.version {
		return true, nil
	}
	if _, ok := x.pieceLocked(since.Version+1, view); ok {
		return true, nil
	}
	frames, err := d.stored(ctx, x, since.Version+1, view)
	return frames != nil, err
}

// enough is how many bytes of patches may take the place of the value.
func (x *doc) enough() int { return max(4<<10, x.value.Size()) }

// pieceLocked gives the versions from next on that are in memory; false when they
// are not, or when the value is shorter.
func (x *doc) pieceLocked(next uint64, view any) (list []entry, ok bool) {
	if len(x.ring) == 0 || next < x.ring[0].version || next == 0 || next > x.version {
		return nil, false
	}
	list = x.ring[next-x.ring[0].version:]
	size := 0
	for i := range list {
		frame := list[i].of(view)
		if frame == nil {
			return nil, false
		}
		if size += len(frame); size > x.enough() {
			return nil, false
		}
	}
	return list, true
}

// of is the frame of a version for a view; nil: it was not made.
func (e *entry) of(view any) []byte {
	if view == nil {
		return e.frame
	}
	return e.views[view]
}

// stored gives the versions from next on as they are in the store; nil when the
// value is the better answer.
func (d *Documents) stored(ctx context.Context, x *doc, next uint64, view any) ([]entry, error) {
	if view != nil || next == 0 || next > x.version || x.version-next >= maxResume {
		return nil, nil // what a view shows depends on the value that was there then
	}
	page, err := d.store.Read(ctx, store.Query{Channel: x.name, After: next - 1, Limit: maxResume, Bytes: x.enough()})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "what is kept cannot be reached now")
	}
	var list []entry
	size := 0
	for i := range page.Messages {
		m := &page.Messages[i]
		if m.Seq != next+uint64(i) || page.Head.Epoch != x.epoch {
			return nil, nil
		}
		o := protocol.GetObject()
		err := o.Read(m.Data, unlimited.Depth)
		frame := frameOf(x.name, m.Seq, append([]byte(nil), o.Raw("ops")...), m.Sender, m.Time, "")
		protocol.PutObject(o)
		if err != nil {
			return nil, d.damaged(x.name, m.Seq, err)
		}
		if size += len(frame); size > x.enough() {
			return nil, nil
		}
		list = append(list, entry{version: m.Seq, frame: frame, author: m.Sender.Connection})
	}
	if len(list) == 0 || list[len(list)-1].version < x.version {
		return nil, nil
	}
	return list, nil
}

// turn gives a reader what it lacks. True: it wants another turn.
func (d *Documents) turn(s *hub.Sub) (again bool, err error) {
	place := s.Place()
	if place.Ended || place.Live {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(d.ctx, readTimeout)
	defer cancel()
	x, err := d.lock(ctx, s.Channel().Name())
	if err != nil {
		d.metrics.Failures.Add(1)
		return false, err
	}
	if s.Rejoin(x.head.Load) {
		x.mu.Unlock()
		return false, nil
	}
	piece, err := d.next(ctx, x, s, place)
	x.mu.Unlock()
	if err != nil {
		d.metrics.Failures.Add(1)
		return false, err
	}
	switch s.Feed(place, []hub.Piece{piece}) {
	case hub.ProgressWaiting, hub.ProgressEnded:
		return false, nil
	case hub.ProgressMoved:
		return true, nil
	}
	return !s.Rejoin(x.head.Load), nil
}

// next is what a reader gets in its turn: the versions that it lacks, or the value.
func (d *Documents) next(ctx context.Context, x *doc, s *hub.Sub, place hub.Place) (hub.Piece, error) {
	list, ok := x.pieceLocked(place.Next, place.View)
	if !ok {
		var err error
		if list, err = d.stored(ctx, x, place.Next, place.View); err != nil {
			return hub.Piece{}, err
		}
	}
	if list == nil {
		d.metrics.Snapshots.Add(1)
		wire := x.wireLocked(s.Conn().Encoding(), place.View)
		d.chargeLocked(x)
		return hub.Piece{Bytes: wire, Messages: 1, Next: x.version + 1}, nil
	}
	piece := hub.Piece{Next: x.version + 1}
	own := s.Conn().ID.String()
	for i := range list {
		if !place.Echo && list[i].author == own {
			continue
		}
		piece.Bytes = s.Conn().AppendEncoded(piece.Bytes, list[i].of(place.View))
		piece.Messages++
	}
	d.metrics.CaughtUp.Add(int64(piece.Messages))
	return piece, nil
}

// wireLocked is the value for one sight, made once for all who have it.
func (x *doc) wireLocked(encoding hub.Encoding, view any) []byte {
	at := sight{encoding, view}
	if s, ok := x.sent[at]; ok && s.version == x.version {
		return s.wire
	}
	frame := protocol.AppendSnapshot(make([]byte, 0, x.value.Size()+200), x.name, x.version, x.epoch)
	if v, limited := view.(tree.View); limited {
		frame = x.value.AppendView(frame, v)
	} else {
		frame = x.value.Append(frame)
	}
	wire := hub.Encode(encoding, append(frame, '}'))
	x.forgetSentLocked()
	if len(x.sent) >= maxSent || x.sentSize+len(wire) > treeFactor*max(len(wire), x.value.Size()) {
		x.sent, x.sentSize = nil, 0
	}
	if x.sent == nil {
		x.sent = map[sight]sent{}
	}
	x.sent[at] = sent{x.version, wire}
	x.sentSize += len(wire)
	return wire
}

// forgetSentLocked forgets what was sent of older versions.
func (x *doc) forgetSentLocked() {
	for at, s := range x.sent {
		if s.version != x.version {
			delete(x.sent, at)
			x.sentSize -= len(s.wire)
		}
	}
}
