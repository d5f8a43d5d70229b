package skein_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein"
)

// announcing is a server that tells in news:who who comes and goes.
func announcing(kind string, grace time.Duration) skein.Config {
	cfg := hushed()
	cfg.Namespaces["news"] = skein.Namespace{Kind: kind, Subscribe: "anyone"}
	cfg.Online = skein.Online{Grace: skein.Duration(grace), Channel: "news:who"}
	return cfg
}

// watching opens a connection without a user, about which nothing is told, that
// is subscribed to a channel.
func (s *testServer) watching(channel string) *client {
	s.t.Helper()
	c := s.anonymous()
	c.do(`{"type":"sub","channel":"` + channel + `"}`)
	return c
}

// hears takes the next message about a user, which must tell this.
func (c *client) hears(channel, event, user string) map[string]any {
	c.t.Helper()
	m := c.expect("msg")
	for m["event"] == "occupied" || m["event"] == "vacated" {
		m = c.expect("msg")
	}
	same(c.t, "what is told", []any{m["channel"], m["event"], m["data"], m["from"]}, []any{channel, event, map[string]any{"user": user}, nil})
	return m
}

func TestWhoIsOnlineIsToldInAChannel(t *testing.T) {
	each(t, func() skein.Config { return announcing("event", 20*time.Millisecond) }, func(t *testing.T, s *testServer) {
		watcher, elsewhere := s.watching("news:who"), s.watching("news:other")
		devices := func(n int) {
			t.Helper()
			eventually(t, "so many devices", func() bool { return len(s.UserConns("ann")) == n })
		}
		for range 3 { // each time the same
			phone := s.user("ann")
			watcher.hears("news:who", "online", "ann")
			desk := s.user("ann")
			_ = phone.ws.CloseNow()
			devices(1)
			tablet := s.user("ann")
			_ = desk.ws.CloseNow()
			devices(1)
			watcher.lives() // one of two devices comes and goes, of which nobody is told
			_ = tablet.ws.CloseNow()
			watcher.hears("news:who", "offline", "ann")
		}
		watcher.lives()
		elsewhere.lives() // heard nothing
	})
}

// Who is back within the grace time was never away, with whatever device.
func TestTheChannelOfWhoIsOnlineKeepsTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inBubble(t, announcing("event", 3*time.Second), nil)
		watcher := s.user("")
		watcher.do(`{"type":"sub","channel":"news:who"}`)
		phone, desk := s.user("ann"), s.user("ann")
		watcher.hears("news:who", "online", "ann")
		_ = phone.ws.CloseNow()
		time.Sleep(10 * time.Second)
		for range 3 {
			_ = desk.ws.CloseNow()
			time.Sleep(2900 * time.Millisecond)
			watcher.lives()
			desk = s.user("ann")
			time.Sleep(10 * time.Second)
		}
		watcher.lives()
		gone := time.Now()
		_ = desk.ws.CloseNow()
		watcher.hears("news:who", "offline", "ann")
		if took := time.Since(gone); took < 3*time.Second || took > 3100*time.Millisecond {
			t.Errorf("it was told after %v", took)
		}
		s.user("ann")
		watcher.hears("news:who", "online", "ann")

		// A connection that gets another user has left as the one, and is there as the other.
		guest := s.user("")
		for _, user := range []string{"bob", "carl"} {
			s.verb("bind", `{"connection":"`+guest.ID+`","user":"`+user+`"}`)
			watcher.hears("news:who", "online", user)
		}
		watcher.hears("news:who", "offline", "bob")
		s.verb("unbind", `{"connection":"`+guest.ID+`"}`)
		watcher.hears("news:who", "offline", "carl")
		watcher.lives()
	})
}

// In a log channel what was told is kept, for those who were not there.
func TestWhoWasOnlineIsKeptInALogChannel(t *testing.T) {
	cfg := announcing("log", time.Millisecond)
	cfg.Data = t.TempDir()
	s := start(t, cfg)
	head := func(seq float64) {
		t.Helper()
		eventually(t, "the message is stored", func() bool { return s.verb("history", `{"channel":"news:who"}`)["seq"] == seq })
	}
	for i := range 2 {
		phone, desk := s.user("ann"), s.user("ann")
		head(float64(2*i + 1))
		_, _ = phone.ws.CloseNow(), desk.ws.CloseNow()
		head(float64(2*i + 2))
	}
	late := s.anonymous()
	late.do(`{"type":"sub","channel":"news:who","since":{"seq":0}}`)
	for i := range 4 {
		if m := late.hears("news:who", []string{"online", "offline"}[i%2], "ann"); m["seq"] != float64(i+1) {
			t.Errorf("got %v", m)
		}
	}
	s.user("bob")
	late.hears("news:who", "online", "bob")
	late.lives()
}

// Another channel, or none, is in force at once; one that cannot be is refused.
func TestAReloadMovesTheChannelOfWhoIsOnline(t *testing.T) {
	seen := &list[string]{}
	s := startWith(t, announcing("event", time.Millisecond), func(s *skein.Server) {
		s.OnUser(func(user string, online bool) { seen.add(fmt.Sprint(user, " ", online)) })
	})
	old, next := s.watching("news:who"), s.watching("news:next")
	to := func(channel string) error {
		c := announcing("event", time.Millisecond)
		c.Listen = "127.0.0.1:0"
		c.Online.Channel = channel
		_, restart, err := s.Reload(c)
		same(t, "what needs a restart", restart, []string(nil))
		return err
	}
	s.user("ann")
	old.hears("news:who", "online", "ann")
	if err := to("news:next"); err != nil {
		t.Fatal(err)
	}
	s.user("bob")
	next.hears("news:next", "online", "bob")
	for channel, message := range map[string]string{
		"none:1": `online.channel: namespace "none" is not configured`,
		"news":   `online.channel: "news" is not the name of a channel`,
	} {
		if err := to(channel); err == nil || err.Error() != message {
			t.Errorf("%s: got %v, want %s", channel, err, message)
		}
	}
	s.user("carl")
	next.hears("news:next", "online", "carl")
	if err := to(""); err != nil {
		t.Fatal(err)
	}
	dora := s.user("dora")
	_ = dora.ws.CloseNow()
	// Functions are told after the channel, so nothing of it is on its way then.
	same(t, "functions", seen.wait(t, 5), []string{"ann true", "bob true", "carl true", "dora true", "dora false"})
	old.lives()
	next.lives()
}

// The four events are told in the channel that is configured (online.channel), as
// they are told to functions and hooks; of the channel itself it may be silent.
func TestOccupiedAndVacatedAreToldInAChannel(t *testing.T) {
	seen := &list[string]{}
	s := startWith(t, announcing("event", time.Millisecond), func(s *skein.Server) {
		s.OnChannel(func(channel string, occupied bool) {
			if !strings.HasPrefix(channel, "news:") {
				seen.add(channel)
			}
		})
	})
	watcher := s.watching("news:who")
	ann := s.anonymous()
	ann.do(`{"type":"sub","channel":"room:1"}`)
	seen.wait(t, 1)
	ann.do(`{"type":"unsub","channel":"room:1"}`)
	seen.wait(t, 1) // functions are told of both, so the channel should have been
	watcher.send(`{"type":"ping"}`)
	var events []any
	for {
		f, err := watcher.read()
		if err != nil {
			t.Fatal(err)
		}
		if f["type"] == "pong" {
			break
		}
		if data, _ := f["data"].(map[string]any); data["channel"] == "room:1" {
			events = append(events, f["event"])
		}
	}
	same(t, "what is told of room:1", events, []any{"occupied", "vacated"})
}
