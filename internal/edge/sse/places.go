package sse

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/protocol"
)

// places is how far a connection is in each log channel that it reads. It follows
// from what is written to the client, so the id of an event says what the client
// has when it has that event, and nothing more.
//
// As text, the id of an event, it is
//
//	epoch:channel=seq,channel=seq;epoch:channel=seq
//
// where bytes other than letters, digits and - . _ ~ : / @ are written %XX.
type places struct{ list []place }

// place is how far a connection is in one channel.
type place struct {
	channel string
	epoch   string
	seq     uint64
	known   bool // false: the channel is read, but nobody knows yet from where on
	fresh   bool // a subscription has begun, and nothing of the channel has come since
	told    bool // the client knows that there is no room for it in an id
}

// maxID bounds the id of an event: a browser sends it back in a header.
const maxID = 4 << 10

// apply notes what a record means. changed tells whether the id is another one now.
// A message of a channel that is not known, since no answer told of it, makes a new
// place, whose epoch lookup gives.
func (p *places) apply(r *record, lookup func(channel string) (epoch string, ok bool)) (changed bool) {
	i := p.find(r.channel)
	switch r.effect {
	case effectBegin:
		if i < 0 {
			p.list = append(p.list, place{channel: string(r.channel), epoch: string(r.epoch), fresh: true})
			return false
		}
		at := &p.list[i]
		at.fresh = true
		if at.epoch != string(r.epoch) { // a gap follows, and says where it is
			at.epoch, at.known = string(r.epoch), false
			return true
		}
		return false
	case effectMessage, effectRecall, effectGap:
		if i < 0 {
			epoch, ok := string(r.epoch), r.effect == effectGap
			if !ok {
				if epoch, ok = lookup(string(r.channel)); !ok {
					return false
				}
			}
			p.list = append(p.list, place{channel: string(r.channel), epoch: epoch})
			i = len(p.list) - 1
		}
		at := &p.list[i]
		if r.effect == effectRecall && (at.known && r.seq <= at.seq || !at.known) {
			return false // it tells of a message that came before
		}
		if r.effect == effectGap {
			at.epoch = string(r.epoch)
		}
		at.seq, at.known, at.fresh = r.seq, true, false
		return true
	}
	return false
}

func (p *places) find(channel []byte) int {
	for i := range p.list {
		if p.list[i].channel == string(channel) {
			return i
		}
	}
	return -1
}

// settle gives each place that is not known the one that its subscription has, when
// everything that was handed to the connection has been written. next tells the seq
// that a subscription needs next.
func (p *places) settle(next func(channel string) (seq uint64, ok bool)) (changed bool) {
	for i := range p.list {
		at := &p.list[i]
		if !at.fresh && at.known {
			continue
		}
		if seq, ok := next(at.channel); ok {
			changed = changed || !at.known || at.seq != seq-1
			at.seq, at.known, at.fresh = seq-1, true, false
		}
	}
	return changed
}

// unsettled tells whether settle has something to do.
func (p *places) unsettled() bool {
	for i := range p.list {
		if p.list[i].fresh || !p.list[i].known {
			return true
		}
	}
	return false
}

// drop forgets a channel; false: it was not known.
func (p *places) drop(channel []byte) bool {
	i := p.find(channel)
	if i < 0 {
		return false
	}
	p.list = append(p.list[:i], p.list[i+1:]...)
	return true
}

// appendText appends the id. tooMuch is called once for each channel that has no
// room in it.
func (p *places) appendText(dst []byte, tooMuch func(channel string)) []byte {
	start := len(dst)
	var epoch string
	for i := range p.list {
		at := &p.list[i]
		if !at.known {
			continue
		}
		mark := len(dst)
		switch {
		case mark == start || at.epoch != epoch:
			if mark > start {
				dst = append(dst, ';')
			}
			dst = append(escape(dst, at.epoch), ':')
		default:
			dst = append(dst, ',')
		}
		dst = append(escape(dst, at.channel), '=')
		dst = strconv.AppendUint(dst, at.seq, 10)
		if len(dst)-start > maxID {
			dst = dst[:mark]
			if !at.told {
				at.told = true
				tooMuch(at.channel)
			}
			continue
		}
		epoch = at.epoch
	}
	return dst
}

const hexDigits = "0123456789ABCDEF"

// escape appends s so that it needs no quoting, in the id or in a header.
func escape(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~:/@", c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}

// parsePlaces reads an id back. Clients may send anything, so it is checked like
// any other input; whether its client may read the channels is checked when it
// subscribes.
func parsePlaces(text string) (places, error) {
	var p places
	if len(text) > 2*maxID {
		return p, fmt.Errorf("has %d bytes; at most %d are allowed", len(text), 2*maxID)
	}
	if text == "" {
		return p, nil
	}
	for group := range strings.SplitSeq(text, ";") {
		head, rest, ok := strings.Cut(group, ":")
		epoch, err := url.PathUnescape(head)
		if !ok || err != nil || epoch == "" || len(epoch) > protocol.MaxKey {
			return places{}, fmt.Errorf("is not an id that this server gave: the epoch is missing")
		}
		for entry := range strings.SplitSeq(rest, ",") {
			name, number, ok := strings.Cut(entry, "=")
			channel, err := url.PathUnescape(name)
			if !ok || err != nil {
				return places{}, fmt.Errorf("is not an id that this server gave")
			}
			if _, err := protocol.Namespace("channel", channel); err != nil {
				return places{}, fmt.Errorf("is not an id that this server gave: %w", err)
			}
			seq, err := strconv.ParseUint(number, 10, 64)
			if err != nil || seq > protocol.MaxInt {
				return places{}, fmt.Errorf("is not an id that this server gave: %q is not a seq", number[:min(len(number), 32)])
			}
			if p.find([]byte(channel)) >= 0 {
				return places{}, fmt.Errorf("names a channel twice")
			}
			p.list = append(p.list, place{channel: channel, epoch: epoch, seq: seq, known: true})
		}
	}
	return p, nil
}
