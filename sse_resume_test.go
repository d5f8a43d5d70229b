package skein_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// follower is a reader of two log channels that goes away without a word, comes
// back with Last-Event-ID and checks each message.
type follower struct {
	s    *testServer
	user string
	last string
	seq  map[string]uint64
	data map[string][]string
}

func (f *follower) follow(until uint64, most int) error {
	var header []string
	if f.last != "" {
		header = append(header, "Last-Event-ID: "+f.last)
	}
	e, err := f.s.openSource("http://"+f.s.addr, "last=1000000&channels=room:1,room:2&user="+f.user, header...)
	if err != nil {
		return err
	}
	defer e.close()
	for got := 0; (f.seq["room:1"] < until || f.seq["room:2"] < until) && got < most; {
		m, err := e.next()
		if err != nil {
			return err
		}
		switch m["type"] {
		case "welcome", "ping":
		case "ok":
			if f.last != "" && strings.Contains(f.last, m["channel"].(string)) && m["recovered"] != true {
				return fmt.Errorf("after %q the subscription is answered by %v", f.last, m)
			}
		case "msg":
			channel, seq := m["channel"].(string), uint64(m["seq"].(float64))
			if seq != f.seq[channel]+1 {
				return fmt.Errorf("in %s %d came after %d; the ids went from %q to %q", channel, seq, f.seq[channel], f.last, e.last)
			}
			f.seq[channel] = seq
			f.data[channel] = append(f.data[channel], fmt.Sprintf("%q", m["data"]))
			got++
		default:
			return fmt.Errorf("got %v", m)
		}
	}
	f.last = e.last
	return nil
}

func TestLastEventIDBringsEveryMessageOnceAndInOrder(t *testing.T) {
	s := start(t, logging(t)())
	const publishers, messages, readers = 3, 200, 10
	const total = publishers * messages
	var wait sync.WaitGroup
	all := make([]*follower, readers)
	for i := range all {
		f := &follower{s: s, user: fmt.Sprint("reader", i), seq: map[string]uint64{}, data: map[string][]string{}}
		all[i] = f
		rnd := rand.New(rand.NewPCG(2, uint64(i)))
		wait.Go(func() {
			for f.seq["room:1"] < total || f.seq["room:2"] < total {
				if err := f.follow(total, 1+rnd.IntN(100)); err != nil {
					t.Errorf("%s: %v", f.user, err)
					return
				}
			}
		})
	}
	acked := map[string]map[uint64]string{}
	var mu sync.Mutex
	var publishing sync.WaitGroup
	for _, channel := range []string{"room:1", "room:2"} {
		publishing.Go(func() {
			list := publishAll(t, s, channel, publishers, messages)
			mu.Lock()
			defer mu.Unlock()
			acked[channel] = list
		})
	}
	publishing.Wait()
	wait.Wait()
	for _, f := range all {
		for channel, datas := range f.data {
			for i, data := range datas {
				if want := acked[channel][uint64(i+1)]; data != want {
					t.Fatalf("%s has %s at %s %d, the publisher was told of %s", f.user, data, channel, i+1, want)
				}
			}
			if len(datas) != total {
				t.Errorf("%s has %d messages of %s", f.user, len(datas), channel)
			}
		}
	}
}

// What a stream reads is part of the id however it was subscribed to, before the
// first message, too.
func TestTheIDHoldsThePlacesOfAllLogChannels(t *testing.T) {
	cfg := logging(t)()
	s := start(t, cfg)
	p := s.user("publisher")
	pub := func(channel string, data int) {
		p.do(fmt.Sprintf(`{"type":"pub","channel":%q,"data":%d}`, channel, data))
	}
	pub("room:ä", 1)
	e := s.source("user=ann&channels=room:quiet,event:1&last=5")
	e.expect("ok")
	e.expect("ok")
	e.do(`{"type":"sub","channel":"room:ä"}`)
	e.post(`{"type":"sub","channel":"room:silent"}`) // without an answer
	e.post(`{"type":"ping"}`)
	e.expect("pong")
	pub("room:silent", 1)
	e.expect("msg")
	s.verb("subscribe", fmt.Sprintf(`{"connection":%q,"channel":"room:server"}`, e.ID))
	e.expect("subscribed")
	e.do(`{"type":"sub","channel":"room:left"}`)
	e.do(`{"type":"unsub","channel":"room:left"}`)
	pub("room:silent", 2)
	e.expect("msg")
	for _, channel := range []string{"room:quiet=0", "room:%C3%A4=1", "room:silent=2", "room:server=0"} {
		if !strings.Contains(e.last, channel) {
			t.Errorf("the id %q has no %s", e.last, channel)
		}
	}
	if strings.Contains(e.last, "room:left") || strings.Contains(e.last, "event:1") {
		t.Errorf("the id %q has what is not to be read", e.last)
	}
	e.close()
	for _, channel := range []string{"room:quiet", "room:ä", "room:silent", "room:server", "room:left"} {
		pub(channel, 10)
		pub(channel, 11)
	}
	check := func(e *source) {
		t.Helper()
		got := map[string][]any{}
		for range 5 + 8 {
			f, err := e.next()
			if err != nil {
				t.Fatal(err)
			}
			channel, _ := f["channel"].(string)
			switch {
			case f["type"] == "ok" && channel == "event:1":
			case f["type"] == "ok" && f["recovered"] == true:
			case f["type"] == "msg":
				got[channel] = append(got[channel], f["data"])
			default:
				t.Errorf("got %v", f)
			}
		}
		want := []any{10.0, 11.0}
		same(t, "missed", got, map[string][]any{"room:quiet": want, "room:ä": want, "room:silent": want, "room:server": want})
		e.close()
	}
	check(s.source("user=ann&channels=room:quiet,event:1&last=5", "Last-Event-ID: "+e.last))
	check(s.source("user=ann&channels=room:quiet,event:1&last_event_id=" + url.QueryEscape(e.last)))
}

func TestAnIDIsCheckedLikeAnyInput(t *testing.T) {
	s := start(t, logging(t)())
	p := s.user("publisher")
	for i := range 8 {
		p.do(fmt.Sprintf(`{"type":"pub","channel":"short:1","data":%d}`, i))
	}
	for _, id := range []string{"x", "e:", "e:room:1", "e:room:1=x", "e:room:1=-1", "e:room:1=99999999999999999999", "e:room:1=1,room:1=2", "e:ROOM=1", "e:room:%zz=1", ":room:1=1", strings.Repeat("e:room:1=1;", 1000)} {
		status, _, text := s.request("GET", "/sse?user=ann&channels=room:1", "", "Last-Event-ID: "+id)
		if status != 400 || !strings.Contains(text, `"field":"Last-Event-ID"`) {
			t.Errorf("%.40q: %d %s", id, status, text)
		}
	}
	ok := p.do(`{"type":"sub","channel":"short:1"}`)
	// What is gone is told, and so is another epoch; the id then goes on from there.
	e := s.source("user=ann", fmt.Sprintf("Last-Event-ID: %s:short:1=1", ok["epoch"]))
	if f := e.expect("ok"); f["recovered"] != false || f["id"] != "resume.0" {
		t.Errorf("got %v", f)
	}
	if f := e.expect("gap"); f["from"] != 2.0 || f["to"] != 3.0 {
		t.Errorf("got %v", f)
	}
	if f := e.expect("msg"); f["seq"] != 4.0 || !strings.HasSuffix(e.last, ":short:1=4") {
		t.Errorf("got %v with id %q", f, e.last)
	}
	e.close()
	e = s.source("user=ann", "Last-Event-ID: other:short:1=1,nowhere:1=3")
	if f := e.expect("ok"); f["recovered"] != false {
		t.Errorf("got %v", f)
	}
	for refused, first := false, false; !refused || !first; {
		f, err := e.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case f["type"] == "error":
			if refused = true; f["code"] != "not_found" || f["id"] != "resume.1" {
				t.Errorf("got %v", f)
			}
		case f["seq"] == 4.0:
			first = true
		}
	}
	if !strings.HasPrefix(e.last, fmt.Sprintf("%s:short:1=", ok["epoch"])) || strings.Contains(e.last, "nowhere") {
		t.Errorf("the id is %q", e.last)
	}
}

// A stream that ends with its server is taken up by the next one on the same data.
func TestAnIDOutlivesTheServer(t *testing.T) {
	cfg := logging(t)()
	var last string
	t.Run("before", func(t *testing.T) {
		s := start(t, cfg)
		e := s.source("user=ann&channels=room:1")
		e.expect("ok")
		p := s.user("publisher")
		p.do(`{"type":"pub","channel":"room:1","data":1}`)
		e.expect("msg")
		last = e.last
		e.close()
		p.do(`{"type":"pub","channel":"room:1","data":2}`)
	})
	s := start(t, cfg)
	e := s.source("user=ann&channels=room:1", "Last-Event-ID: "+last)
	if ok := e.expect("ok"); ok["recovered"] != true {
		t.Errorf("got %v", ok)
	}
	if f := e.expect("msg"); f["data"] != 2.0 {
		t.Errorf("got %v", f)
	}
}
