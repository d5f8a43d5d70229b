package sse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// text is the id of places.
func (p *places) text() string { return string(p.appendText(nil, func(string) {})) }

func TestPlacesFollowWhatIsWritten(t *testing.T) {
	var p places
	frames := func(list ...string) (ids []string) {
		for _, frame := range list {
			r, rest := next(Encoding().Append(nil, []byte(frame)))
			if len(rest) > 0 || string(r.frame()) != frame {
				t.Fatalf("%s became %q", frame, r.text)
			}
			if p.apply(&r, func(channel string) (string, bool) { return "e1", channel != "room:unknown" }) {
				ids = append(ids, p.text())
			} else {
				ids = append(ids, "")
			}
		}
		return ids
	}
	msg := func(channel string, seq uint64) string {
		return string(protocol.AppendMsg(nil, &protocol.Msg{Channel: channel, ID: "m", Seq: seq, Event: "message", Data: []byte("1")}))
	}
	got := frames(
		`{"type":"ok","id":1,"channel":"room:1","kind":"log","epoch":"e1","seq":7,"recovered":true}`,
		msg("room:1", 8),
		msg("event:1", 0),
		msg("@direct", 3),
		string(protocol.AppendRecall(nil, "room:1", 5, "m")),
		string(protocol.AppendRecall(nil, "room:1", 9, "m")),
		msg("room:2", 4), // nobody was told of its subscription
		msg("room:unknown", 4),
		`{"type":"subscribed","channel":"room:3","reason":"server","epoch":"e2","seq":2}`,
		msg("room:3", 3),
		string(protocol.AppendGap(nil, "room:1", 1, 0, "e3")),
		msg("room:1", 1),
		`{"type":"ok","id":2,"channel":"room:2","kind":"log","epoch":"e4","seq":7}`, // begun anew
	)
	want := []string{"", "e1:room:1=8", "", "", "", "e1:room:1=9", "e1:room:1=9,room:2=4", "", "",
		"e1:room:1=9,room:2=4;e2:room:3=3", "e3:room:1=0;e1:room:2=4;e2:room:3=3", "e3:room:1=1;e1:room:2=4;e2:room:3=3", "e3:room:1=1;e2:room:3=3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if !p.unsettled() || !p.settle(func(channel string) (uint64, bool) { return 8, channel == "room:2" }) || p.unsettled() {
		t.Error("the place of a subscription that nothing has come of is not settled")
	}
	if got, want := p.text(), "e3:room:1=1;e4:room:2=7;e2:room:3=3"; got != want {
		t.Errorf("the id is %q, want %q", got, want)
	}
	if !p.drop([]byte("room:2")) || p.drop([]byte("room:2")) {
		t.Error("a channel is not dropped once")
	}
}

func TestFramesSayWhatTheyMean(t *testing.T) {
	for _, tt := range []struct {
		frame   string
		effect  effect
		seq     uint64
		channel string
	}{
		{`{"type":"ok","id":1,"channel":"room:1"}`, effectCheck, 0, "room:1"},
		{`{"type":"ok","id":1,"channel":"event:1","kind":"event"}`, effectCheck, 0, "event:1"},
		{`{"type":"ok","id":1,"message":"m","seq":3}`, effectNone, 0, ""},
		{`{"type":"ok","id":1,"messages":[],"more":false,"epoch":"e","seq":3}`, effectNone, 0, ""},
		{`{"type":"unsubscribed","channel":"room:1","reason":"denied"}`, effectCheck, 0, "room:1"},
		{`{"type":"bye","code":"going_away","message":"","reconnect":true,"after":120}`, effectBye, 120, ""},
		{`{"type":"bye","code":"going_away","message":"","reconnect":true,"after":0}`, effectBye, 1, ""},
		{`{"type":"bye","code":"disconnected","message":"","reconnect":false,"after":0}`, effectBye, 0, ""},
		{`{"type":"notice","channel":"room:1","event":"typing","data":null,"time":1}`, effectNone, 0, ""},
		{`{"type":"msg","channel":"room:1","id":"m","seq":9,"event":"e","data":{"seq":1}}`, effectMessage, 9, "room:1"},
		{`{"type":"pong"}`, effectNone, 0, ""},
		{string(protocol.AppendError(nil, nil, "room:1", fault.New(fault.Denied, "no"))), effectCheck, 0, "room:1"},
		{string(protocol.AppendError(nil, nil, "room:1", fault.New(fault.Unavailable, "later"))), effectNone, 0, ""},
		{string(protocol.AppendGap(nil, "room:1", 3, 9, "e")), effectGap, 9, "room:1"},
	} {
		r, _ := next(Encoding().Append(nil, []byte(tt.frame)))
		if r.effect != tt.effect || r.seq != tt.seq || string(r.channel) != tt.channel {
			t.Errorf("%s means %d %d %q", tt.frame, r.effect, r.seq, r.channel)
		}
	}
}

func TestAnIDThatWouldBeTooLongLeavesChannelsOutAndSaysSo(t *testing.T) {
	var p places
	for i := range 30 {
		p.list = append(p.list, place{channel: fmt.Sprintf("room:%0200d", i), epoch: "e", seq: 1, known: true})
	}
	told := 0
	id := p.appendText(nil, func(string) { told++ })
	if len(id) > maxID || told == 0 || told > 15 || strings.Count(string(id), "=")+told != 30 {
		t.Errorf("an id of %d bytes, and %d of 30 channels left out", len(id), told)
	}
	if p.appendText(nil, func(string) { t.Error("it is told again") }); t.Failed() {
		t.Log(string(id))
	}
}

func TestAnIDIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p places
		for i := range rapid.IntRange(0, 8).Draw(t, "channels") {
			rest := rapid.StringMatching(`[a-zA-Z0-9%,;=:\-_~äöü語.]{1,20}`).Draw(t, "name")
			p.list = append(p.list, place{
				channel: fmt.Sprintf("room%d:%s", i, rest), epoch: rapid.SampledFrom([]string{"e1", "e2", "e;,"}).Draw(t, "epoch"),
				seq: uint64(rapid.Int64Range(0, protocol.MaxInt).Draw(t, "seq")), known: true,
			})
		}
		got, err := parsePlaces(p.text())
		if err != nil {
			t.Fatalf("%q: %v", p.text(), err)
		}
		if diff := cmp.Diff(p.list, got.list, cmp.AllowUnexported(place{})); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", p.text(), diff)
		}
	})
}

// Whatever a client sends as an id, it is refused or it is one.
func FuzzParsePlaces(f *testing.F) {
	for _, seed := range []string{"", "e:room:1=8", "e:room:1=8,room:%C3%A4=1;f:a:b=0", "e:", ";", "e:room:1=18446744073709551615"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		p, err := parsePlaces(id)
		if err != nil {
			return
		}
		again, err := parsePlaces(p.text())
		if err != nil {
			t.Fatalf("%q became %q: %v", id, p.text(), err)
		}
		if len(p.text()) <= maxID && p.text() != again.text() {
			t.Fatalf("%q became %q and then %q", id, p.text(), again.text())
		}
	})
}

// Any frame is one event, whose data is the frame but for line breaks.
func FuzzEncoding(f *testing.F) {
	f.Add([]byte(`{"type":"msg","channel":"room:1","seq":3,"data":[1,` + "\r\n\n" + `2]}`))
	f.Add([]byte("\r"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		b := Encoding().Append(Encoding().Append([]byte("x"), frame), []byte(`{"type":"ping"}`))
		r, rest := next(b[1:])
		if want := strings.NewReplacer("\r", " ", "\n", " ").Replace(string(frame)); string(r.frame()) != want || string(r.text) != "data: "+want+"\n\n" {
			t.Fatalf("%q became %q", frame, r.text)
		}
		if r, rest = next(rest); len(rest) > 0 || r.effect != effectNone || string(r.text) != "data: {\"type\":\"ping\"}\n\n" {
			t.Fatalf("%q follows", r.text)
		}
	})
}
