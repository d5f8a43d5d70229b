package hub_test

import (
	"fmt"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
)

// A connection comes to a channel and goes again.
func BenchmarkJoinAndLeave(b *testing.B) {
	for _, tt := range []struct {
		name     string
		watchers int
		rules    hub.Space
	}{
		{"nobody watches", 0, hub.Space{}},
		{"1000 watch", 1000, hub.Space{PresenceMax: 2000}},
		{"1000 watch, large", 1000, hub.Space{PresenceMax: 100}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			w := start(b, hub.Config{})
			defer w.Close()
			tt.rules.Name, tt.rules.Kind, tt.rules.Presence = "room", hub.KindEvent, hub.PresenceMembers
			w.SetSpaces([]*hub.Space{&tt.rules})
			for i := range 1000 {
				p := newPeer()
				w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, auth.Identity{User: fmt.Sprint("u", i)}, 1)
				if i < tt.watchers {
					w.watch(p, "room:1")
				} else {
					w.subscribe(p, "room:1")
				}
			}
			p := newPeer()
			w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, auth.Identity{User: "one"}, 1)
			b.ReportAllocs()
			for b.Loop() {
				w.subscribe(p, "room:1")
				w.Unsubscribe(&p.Conn, "room:1")
			}
		})
	}
}

// A user comes and goes, and with it a channel.
func BenchmarkComeAndGo(b *testing.B) {
	quiet := func(string, bool) {}
	for _, tt := range []struct {
		name string
		cfg  hub.Config
	}{
		{"nobody is told", hub.Config{}},
		{"told", hub.Config{UserChanged: quiet, ChannelChanged: quiet}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			w := start(b, tt.cfg)
			defer w.Close()
			p := newPeer()
			w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, auth.Identity{}, 1)
			b.ReportAllocs()
			for b.Loop() {
				p.Bind(auth.Identity{User: "ann"})
				w.subscribe(p, "room:1")
				w.Unsubscribe(&p.Conn, "room:1")
				p.Bind(auth.Identity{})
			}
		})
	}
}

func BenchmarkAPageOfMembers(b *testing.B) {
	w := start(b, hub.Config{})
	defer w.Close()
	for i := range 100_000 {
		p := newPeer()
		w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, auth.Identity{User: fmt.Sprint("u", i*7919%100_000)}, 1)
		w.subscribe(p, "room:1")
	}
	ch := w.Channel("room:1")
	b.ReportAllocs()
	for b.Loop() {
		if page, _, more := ch.Members(hub.MemberKey{User: "u5"}, 100); len(page) != 100 || !more {
			b.Fatal("not a page")
		}
	}
}

// ringing is a transport that says when it has got something.
type ringing struct {
	blackHole
	got chan struct{}
}

func (r ringing) Send([]link.Buf, link.Subscriber) { r.got <- struct{}{} }

// A message is published and handed to its readers.
func BenchmarkPublish(b *testing.B) {
	for _, readers := range []int{1, 1000} {
		b.Run(fmt.Sprint(readers), func(b *testing.B) {
			w := start(b, hub.Config{Shards: 1})
			defer w.Close()
			for range readers - 1 {
				p := newPeer()
				w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, auth.Identity{}, 1)
				w.subscribe(p, "room:1")
			}
			last, got := newPeer(), make(chan struct{}, 1)
			w.Add(&last.Conn, ringing{got: got}, w.Encoding(0), last, auth.Identity{}, 1)
			w.subscribe(last, "room:1")
			frame := []byte(`{"type":"msg","channel":"room:1","data":"some text that is not very long"}`)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Publish(b.Context(), "room:1", frame, nil); err != nil {
					b.Fatal(err)
				}
				<-got
			}
		})
	}
}
