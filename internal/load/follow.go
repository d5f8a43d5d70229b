package load

import (
	"bytes"
	"errors"
	"strconv"
)

// place is the last message of a log channel that a client has.
type place struct {
	epoch string
	seq   uint64
}

// follow is the place of one subscriber in a log channel. Whoever holds the
// lane's lock owns it.
type follow struct {
	place
	until   uint64 // the message that makes up for the time away; 0: it was not away
	asked   int64  // when it asked for what it missed
	missing uint64 // seqs that were left out
	doubled uint64 // messages that it had already
}

// take counts a message. It tells whether the client has now made up for the
// time that it was away.
func (f *follow) take(seq uint64) (caught bool) {
	switch {
	case seq <= f.seq:
		f.doubled++
		return false
	case seq > f.seq+1:
		f.missing += seq - f.seq - 1
	}
	f.seq = seq
	if f.until == 0 || seq < f.until {
		return false
	}
	f.until = 0
	return true
}

var (
	logKind  = []byte(`"kind":"log"`)
	missed   = []byte(`"recovered":false`)
	seqLead  = `"seq":`
	epochTag = []byte(`"epoch":"`)
)

// followed takes the answer to a sub frame.
func (c *conn) followed(frame []byte) {
	if !bytes.Contains(frame, logKind) {
		return
	}
	if bytes.Contains(frame, missed) {
		c.lane.errors.Add(1)
		c.trouble(string(frame))
	}
	_, rest, _ := bytes.Cut(frame, epochTag)
	epoch, _, _ := bytes.Cut(rest, []byte(`"`))
	switch at := c.follow; {
	case at == nil:
		c.follow = &follow{place: place{string(epoch), uint64(numberOf(frame, seqLead))}}
	case at.epoch != string(epoch):
		at.epoch = string(epoch)
	}
	if c.follow.until != 0 && c.follow.seq >= c.follow.until {
		c.follow.until = 0
		c.caughtUp()
	}
}

// caughtUp counts a client that has all that it missed.
func (c *conn) caughtUp() {
	record(c.lane.recovery, c.lane.now-c.follow.asked)
	c.lane.caught.Add(1)
}

// comeBack asks for what the client missed, up to a message.
func (c *conn) comeBack(until uint64) error {
	c.lane.mu.Lock()
	f := c.follow
	if f == nil {
		c.lane.mu.Unlock()
		return errors.New("a connection follows no log channel")
	}
	f.until, f.asked = until, c.swarm.now()
	o := Opening{Channel: c.opening.Channel, since: &place{f.epoch, f.seq}}
	c.lane.mu.Unlock()
	c.send([]byte(o.sub()))
	return nil
}

// leave ends the subscription.
func (c *conn) leave() {
	c.send([]byte(`{"type":"unsub","id":1,"channel":"` + c.opening.Channel + `"}`))
}

// appendSince appends the member that says where to go on.
func (p *place) appendSince(b []byte) []byte {
	b = append(append(b, `,"since":{"epoch":"`...), p.epoch...)
	b = strconv.AppendUint(append(b, `","seq":`...), p.seq, 10)
	return append(b, '}')
}
