package client

import (
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// receive takes a frame about the channel. It runs in the goroutine that reads.
func (ch *Channel) receive(k *conn, f *incoming) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	switch f.kind {
	case protocol.TypeSubscribed:
		ch.byServerLocked(k, f)
		return
	case protocol.TypeUnsubscribed:
		ch.wanted = false
		ch.asked++
		ch.settleLocked(ErrUnsubscribed)
		ch.endLocked(Unsubscribed{Channel: ch.name, Reason: f.text("reason")})
		return
	}
	if !ch.wanted && !ch.given && ch.name != Direct {
		return // it was on its way when the subscription ended
	}
	if e := ch.happening(f); e != nil {
		ch.volatileLocked(e)
		return
	}
	if ch.deaf {
		if f.kind == protocol.TypeMsg {
			ch.givenAt.Seq = max(ch.givenAt.Seq, f.number("seq"))
		}
		return
	}
	switch f.kind {
	case protocol.TypeMsg:
		ch.messageLocked(k, f.message())
	case protocol.TypeGap:
		ch.gapLocked(k, f)
	case protocol.TypeRecall:
		ch.recallLocked(k, Recall{Channel: ch.name, Seq: f.number("seq"), ID: f.text("id")})
	case protocol.TypeEdit:
		ch.editLocked(k, f)
	case protocol.TypeSnapshot, protocol.TypePatch:
		if ch.doc != nil && !ch.doc.receive(f) {
			ch.subLocked(k) // what has come does not fit: begin anew
		}
	}
}

// happening reads a frame about something volatile; nil: it is none.
func (ch *Channel) happening(f *incoming) Event {
	switch f.kind {
	case protocol.TypeNotice:
		return Notice{Channel: ch.name, Event: f.text("event"), Data: f.data(), From: f.sender(), Time: f.milli("time")}
	case protocol.TypeJoin:
		return Join{Channel: ch.name, User: f.text("user"), Connection: f.text("connection"), Data: f.data(), Time: f.milli("time")}
	case protocol.TypeLeave:
		return Leave{Channel: ch.name, User: f.text("user"), Connection: f.text("connection"), Time: f.milli("time")}
	case protocol.TypePresence:
		return Counts{
			Channel: ch.name, Connections: int(f.number("connections")), Users: int(f.number("users")),
			Large: f.flag("large"), Time: f.milli("time"),
		}
	case protocol.TypeMark:
		return f.mark()
	case protocol.TypeDropped:
		return Dropped{Channel: ch.name, Count: f.number("count")}
	}
	return nil
}

// volatileLocked adds an event that may be lost, and is when there is no room: in a
// channel that keeps nothing the oldest one goes, in others this one.
func (ch *Channel) volatileLocked(e Event) {
	switch {
	case ch.queue.push(e):
	case ch.kind == KindLog || ch.kind == KindDocument:
		ch.queue.miss()
	default:
		ch.queue.pushOver(e)
	}
}

func (ch *Channel) messageLocked(k *conn, m Message) {
	if m.Seq == 0 {
		ch.volatileLocked(m)
		return
	}
	if ch.placed && m.Seq <= ch.at.Seq {
		return // it has come before
	}
	ch.keepLocked(k, m, Position{ch.at.Epoch, m.Seq})
}

func (ch *Channel) gapLocked(k *conn, f *incoming) {
	g := Gap{Channel: ch.name, From: f.number("from"), To: f.number("to"), Epoch: f.text("epoch")}
	g.Restart = ch.placed && ch.at.Epoch != "" && g.Epoch != ch.at.Epoch
	ch.keepLocked(k, g, Position{g.Epoch, g.To})
}

// recallLocked handles a recall. One that stands in the place of its message, for
// who comes later, moves the reader on like the message.
func (ch *Channel) recallLocked(k *conn, r Recall) {
	at := ch.at
	at.Seq = max(at.Seq, r.Seq)
	ch.keepLocked(k, r, at)
}

// editLocked handles an edit, which is about a message that the reader has. Who has none
// yet gets what is to come as it is now.
func (ch *Channel) editLocked(k *conn, f *incoming) {
	if !ch.placed {
		return
	}
	e := Edit{Message: f.message(), At: f.milli("at")}
	e.Edited = true
	ch.keepLocked(k, e, ch.at)
}

// step is an event that moves the place in a log.
type step struct {
	Event
	at Position
}

// slack is how long a full queue of a log may hold up the whole connection.
const slack = time.Second

// keepLocked adds what must come in order and without a hole. When there is no room
// it waits a moment, and then gives the subscription up until there is.
func (ch *Channel) keepLocked(k *conn, e Event, at Position) {
	item := step{e, at}
	if ch.queue.push(item) {
		ch.at, ch.placed = at, true
		return
	}
	turn := ch.asked
	ch.mu.Unlock()
	room := k.wait(ch.queue.wait())
	ch.mu.Lock()
	switch {
	case turn != ch.asked: // the subscription is another one by now
	case room && ch.queue.push(item):
		ch.at, ch.placed = at, true
	default:
		ch.c.s.Logger.Debug("the functions of a channel are too slow: it is read on once they have done half of what waits", "channel", ch.name)
		ch.deaf = true
		ch.asked++
		ch.unsub(k)
		turn, room := ch.asked, ch.queue.wait()
		k.over.Go(func() { ch.goOn(k, turn, room) })
	}
}

// wait holds the connection up until there is room, for a moment.
func (k *conn) wait(room <-chan struct{}) bool {
	timer := time.NewTimer(slack)
	defer timer.Stop()
	select {
	case <-room:
		return true
	case <-timer.C:
	case <-k.ctx.Done():
	}
	return false
}

// goOn subscribes again when there is room.
func (ch *Channel) goOn(k *conn, turn uint64, room <-chan struct{}) {
	select {
	case <-room:
	case <-k.ctx.Done():
		return // the next connection subscribes
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if turn == ch.asked && ch.wanted {
		ch.subLocked(k)
	}
}

// byServerLocked takes a subscription that the server has made.
func (ch *Channel) byServerLocked(k *conn, f *incoming) {
	s := Subscribed{Channel: ch.name, Reason: f.text("reason"), Version: f.number("version")}
	ch.live, ch.given = true, true
	switch {
	case f.object.Raw("version") != nil:
		ch.kind = KindDocument
		if ch.doc != nil && !ch.wanted {
			ch.doc.subscribed(f)
			ch.deaf = false
		}
	case f.object.Raw("seq") != nil:
		ch.kind = KindLog
		s.At = Position{Epoch: f.text("epoch"), Seq: f.number("seq")}
		ch.givenAt = s.At
		switch {
		case ch.wanted: // the program's own sub goes on from its place
		case ch.placed && ch.at != s.At:
			// Something was missed while there was no connection: go on from there.
			ch.wanted = true
			ch.subLocked(k)
		default:
			ch.at, ch.placed, ch.deaf = s.At, true, false
			ch.handled = s.At
		}
	default:
		ch.kind, ch.deaf = KindEvent, false
	}
	ch.queue.force(s)
}

// handle hands an event to the functions. It runs in the goroutine of the queue.
func (ch *Channel) handle(e any) {
	switch e := e.(type) {
	case lost:
		ch.onEvent.call(Dropped{Channel: ch.name, Count: e.count, Here: true})
	case step:
		ch.onEvent.call(e.Event)
		ch.mu.Lock()
		if ch.placed {
			ch.handled = e.at
		}
		ch.mu.Unlock()
	case docMark:
		ch.doc.tell()
	case Event:
		ch.onEvent.call(e)
	}
}
