package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

func TestReadFrame(t *testing.T) {
	long := strings.Repeat("i", protocol.MaxID)
	tests := []struct {
		name string
		text string
		kind string
		id   string
		code fault.Code
		err  string
	}{
		{"a known type", `{"type":"pub","id":1}`, "pub", "1", "", ""},
		{"an unknown type is not the reader's business", `{"type":"dance"}`, "dance", "", "", ""},
		{"an escaped type", `{"type":"\u0070ub"}`, "pub", "", "", ""},
		{"an id that is a string", `{"type":"sub","id":"x-1"}`, "sub", `"x-1"`, "", ""},
		{"the longest id", `{"type":"sub","id":"` + long + `"}`, "sub", `"` + long + `"`, "", ""},
		{"an id in another form", `{"type":"sub","id":5.0}`, "sub", "5.0", "", ""},
		{"a null id is none", `{"type":"sub","id":null}`, "sub", "", "", ""},
		{"an id too long", `{"type":"sub","id":"` + long + `i"}`, "", "", fault.BadRequest, "id: has 65 bytes"},
		{"an empty id", `{"type":"sub","id":""}`, "", "", fault.BadRequest, "id: has 0 bytes"},
		{"an id too large", `{"type":"sub","id":9007199254740992}`, "", "", fault.BadRequest, "id: must be a string or an integer below 2^53, not the number 9007199254740992"},
		{"an id that is an object", `{"type":"sub","id":{}}`, "", "", fault.BadRequest, "id: must be a string or an integer below 2^53, not an object"},
		{"a type that is missing keeps the id", `{"id":7}`, "", "7", fault.BadRequest, "type: is missing"},
		{"a type that is a number keeps the id", `{"id":7,"type":5}`, "", "7", fault.BadRequest, "type: must be a string, not a number"},
		{"no JSON", `hello`, "", "", fault.BadFrame, "not valid JSON at byte 0"},
		{"no object", `[1]`, "", "", fault.BadFrame, "not a JSON object"},
		{"a member twice", `{"type":"pub","type":"sub"}`, "", "", fault.BadFrame, "stands twice"},
		{"too deep", `{"type":"pub","data":[[[[[]]]]]}`, "", "", fault.TooLarge, "nested more than 4 levels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := protocol.Frame{Type: "old", ID: []byte("old")}
			err := f.Read([]byte(tt.text), 4)
			if f.Type != tt.kind || string(f.ID) != tt.id {
				t.Errorf("got type %q and id %q", f.Type, f.ID)
			}
			if tt.code == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if e := fault.Of(err); e == nil || e.Code != tt.code || !strings.Contains(e.Message, tt.err) {
				t.Errorf("got %v, want %s: %s", err, tt.code, tt.err)
			}
		})
	}
}

func TestEveryClientTypeIsRead(t *testing.T) {
	for _, kind := range []string{
		protocol.TypeConnect, protocol.TypeRefresh, protocol.TypeSub, protocol.TypeUnsub, protocol.TypePub,
		protocol.TypeNotice, protocol.TypePresence, protocol.TypeCall, protocol.TypeReply, protocol.TypePing,
		protocol.TypeHistory, protocol.TypePatch, protocol.TypeAck, protocol.TypeMark, protocol.TypeMute,
		protocol.TypeEdit, protocol.TypeRecall, protocol.TypeConversations, protocol.TypeConversation,
	} {
		var f protocol.Frame
		if err := f.Read([]byte(`{"type":"`+kind+`"}`), 2); err != nil || f.Type != kind {
			t.Errorf("%s: got %q, %v", kind, f.Type, err)
		}
	}
}

func TestFrameChannel(t *testing.T) {
	tests := []struct{ text, channel, namespace, err string }{
		{`{"type":"sub","channel":"room:7"}`, "room:7", "room", ""},
		{`{"type":"sub"}`, "", "", "channel: is missing"},
		{`{"type":"sub","channel":""}`, "", "", "channel: is empty"},
		{`{"type":"sub","channel":7}`, "", "", "channel: must be a string, not a number"},
		{`{"type":"sub","channel":"room"}`, "room", "", "is not a channel name"},
	}
	for _, tt := range tests {
		var f protocol.Frame
		if err := f.Read([]byte(tt.text), 4); err != nil {
			t.Fatal(err)
		}
		channel, namespace, err := f.Channel()
		check(t, "channel", tt.text, err, tt.err)
		if channel != tt.channel || namespace != tt.namespace {
			t.Errorf("%s: got %q and %q", tt.text, channel, namespace)
		}
	}
}

func TestAppendedFrames(t *testing.T) {
	msg := &protocol.Msg{Channel: "room:7", ID: "01X", Event: "moved", Data: []byte(`{"x":1}`), From: protocol.Sender{User: "a\"b", Device: "d", Connection: "c"}, Time: 12}
	bare := &protocol.Msg{Channel: "room:7", ID: "01X", Event: "message", Time: 12}
	said := &protocol.Msg{
		Channel: "dm:ann:bob", ID: "01X", Seq: 8, Event: "message", Data: []byte(`"hi"`), From: protocol.Sender{User: "ann"}, Time: 12,
		Reply: 7, Mentions: []string{"bob", "c\"d"},
	}
	edited := &protocol.Msg{Channel: "dm:ann:bob", ID: "01X", Seq: 8, Event: "message", Data: []byte(`"hello"`), From: protocol.Sender{User: "ann"}, Time: 12, Edited: true}
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"msg", protocol.AppendMsg(nil, msg), `{"type":"msg","channel":"room:7","id":"01X","event":"moved","data":{"x":1},"from":{"user":"a\"b","device":"d","connection":"c"},"time":12}`},
		{"msg of an inbox", protocol.AppendMsg(nil, &protocol.Msg{Channel: protocol.Inbox, ID: "01X", Seq: 8, Event: "order", Category: "orders", Expires: 99, Collapse: "o:1", Time: 12}), `{"type":"msg","channel":"@inbox","id":"01X","seq":8,"event":"order","data":null,"category":"orders","expires":99,"collapse":"o:1","time":12}`},
		{"msg of the server, without data", protocol.AppendMsg(nil, bare), `{"type":"msg","channel":"room:7","id":"01X","event":"message","data":null,"time":12}`},
		{"msg of a conversation", protocol.AppendMsg(nil, said), `{"type":"msg","channel":"dm:ann:bob","id":"01X","seq":8,"event":"message","data":"hi","from":{"user":"ann"},"reply":7,"mentions":["bob","c\"d"],"time":12}`},
		{"msg that was edited", protocol.AppendMsg(nil, edited), `{"type":"msg","channel":"dm:ann:bob","id":"01X","seq":8,"event":"message","data":"hello","from":{"user":"ann"},"time":12,"edited":true}`},
		{"msg to everybody", protocol.AppendMsg(nil, &protocol.Msg{Channel: "team:7", ID: "01X", Seq: 1, Event: "message", Mentions: []string{protocol.Everybody}}), `{"type":"msg","channel":"team:7","id":"01X","seq":1,"event":"message","data":null,"mentions":["*"],"time":0}`},
		{"kept", protocol.AppendKept(nil, &protocol.Msg{Channel: "room:7", ID: "01X", Seq: 8, Event: "moved", Data: []byte(`1`), Time: 12}), `{"id":"01X","seq":8,"event":"moved","data":1,"time":12}`},
		{"kept with everything", protocol.AppendKept(nil, said), `{"id":"01X","seq":8,"event":"message","data":"hi","from":{"user":"ann"},"reply":7,"mentions":["bob","c\"d"],"time":12}`},
		{"kept that was edited", protocol.AppendKept(nil, edited), `{"id":"01X","seq":8,"event":"message","data":"hello","from":{"user":"ann"},"time":12,"edited":true}`},
		{"stub", protocol.AppendStub(nil, said), `{"id":"01X","seq":8,"recalled":true,"time":12}`},
		{"edit", protocol.AppendEdit(nil, edited, 34), `{"type":"edit","channel":"dm:ann:bob","seq":8,"id":"01X","event":"message","data":"hello","from":{"user":"ann"},"time":12,"edited":true,"at":34}`},
		{"edit of which nobody knows when", protocol.AppendEdit(nil, said, 0), `{"type":"edit","channel":"dm:ann:bob","seq":8,"id":"01X","event":"message","data":"hi","from":{"user":"ann"},"reply":7,"mentions":["bob","c\"d"],"time":12,"edited":true}`},
		{"recall", protocol.AppendRecall(nil, "room:7", 8, "01X"), `{"type":"recall","channel":"room:7","seq":8,"id":"01X"}`},
		{"notice", protocol.AppendNotice([]byte("x"), msg), `x{"type":"notice","channel":"room:7","event":"moved","data":{"x":1},"from":{"user":"a\"b","device":"d","connection":"c"},"time":12}`},
		{"sender without user", protocol.AppendSender(nil, protocol.Sender{Connection: "c"}), `{"connection":"c"}`},
		{"no sender", protocol.AppendSender(nil, protocol.Sender{}), `{}`},
		{"error", protocol.AppendError(nil, nil, "", fault.New(fault.Denied, "no")), `{"type":"error","code":"denied","message":"no"}`},
		{
			"error with everything", protocol.AppendError(nil, []byte(`"q"`), "room:7", fault.New(fault.RateLimited, "too\noften").After(1500*time.Millisecond)),
			`{"type":"error","id":"q","code":"rate_limited","message":"too\noften","channel":"room:7","retry_after":1500}`,
		},
		{"a short wait is not none", protocol.AppendError(nil, nil, "", fault.New(fault.Unavailable, "").After(time.Microsecond)), `{"type":"error","code":"unavailable","message":"","retry_after":1}`},
		{"bye", protocol.AppendBye(nil, protocol.CloseGoingAway, "later", 250*time.Millisecond), `{"type":"bye","code":"going_away","message":"later","reconnect":true,"after":250}`},
		{"bye for good", protocol.AppendBye(nil, protocol.CloseTokenRefused, "", 0), `{"type":"bye","code":"token_refused","message":"","reconnect":false,"after":0}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(tt.got)); diff != "" {
				t.Error(diff)
			}
			if !json.Valid(tt.got[strings.IndexByte(tt.want, '{'):]) {
				t.Error("it is not JSON")
			}
		})
	}
}

func TestCloseReasonsAreDistinct(t *testing.T) {
	words, codes := map[string]bool{}, map[uint16]bool{}
	never := map[string]bool{}
	for _, c := range []protocol.Close{
		protocol.CloseNormal, protocol.CloseGoingAway, protocol.CloseProtocol, protocol.CloseUnsupported, protocol.CloseBadUTF8, protocol.ClosePolicy,
		protocol.CloseTooBig, protocol.CloseInternal, protocol.CloseAuthTimeout, protocol.CloseTokenRefused, protocol.CloseTokenExpired,
		protocol.CloseDisconnected, protocol.CloseHeartbeat, protocol.CloseReplaced, protocol.CloseTooSlow, protocol.CloseRateLimited,
	} {
		if words[c.Word] || codes[c.Code] {
			t.Errorf("%+v stands twice", c)
		}
		words[c.Word], codes[c.Code] = true, true
		if !c.Reconnect {
			never[c.Word] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"token_refused": true, "disconnected": true}, never); diff != "" {
		t.Error(diff)
	}
}

func FuzzFrame(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"type":"pub","id":"a","channel":"room:1","event":"e","data":{"x":[1,2]},"key":"k"}`))
	f.Add([]byte(`{"id":7,"type":"s\u0075b","channel":"room:\ud83d\ude00","presence":true,"since":{"seq":5}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) {
			return // a transport has refused it before
		}
		var first protocol.Frame
		err := first.Read(data, 16)
		_, _, _ = first.Channel()
		_, _ = first.String("event", protocol.MaxEvent)
		_, _ = first.Int("n", 0, 0, 10)
		_, _ = first.Bool("presence", false)
		if err != nil {
			if e := fault.Of(err); e.Code == fault.Internal {
				t.Errorf("%q: an error without a code: %v", data, err)
			}
			return
		}
		again := encode(&first)
		if !json.Valid(again) {
			t.Fatalf("%q: encoded again it is no JSON: %q", data, again)
		}
		var second protocol.Frame
		if err := second.Read(again, 16); err != nil {
			t.Fatalf("%q: encoded again as %q: %v", data, again, err)
		}
		if second.Type != first.Type || string(second.ID) != string(first.ID) || string(encode(&second)) != string(again) {
			t.Errorf("%q: encoded again it reads as %q", data, encode(&second))
		}
	})
}

// encode writes a frame that was read from its members.
func encode(f *protocol.Frame) []byte {
	b := []byte{'{'}
	f.Each(func(name string, raw []byte) bool {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(protocol.AppendString(b, name), ':'), raw...)
		return true
	})
	return append(b, '}')
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c/", "\x00\x1f\x7f", "é😀\u2028", "\xff", "a\xc3", "\ufffd", "\n\r\t\b\f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := protocol.AppendString([]byte("x"), s)[1:]
		want := s
		if !utf8.ValidString(s) {
			want = string([]rune(s)) // each wrong byte becomes U+FFFD
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != want {
			t.Errorf("%q is written %q, which reads as %q, %v", s, got, back, err)
		}
		if own, ok := protocol.Unquote(got); !ok || own != want {
			t.Errorf("%q is written %q, which Unquote reads as %q", s, got, own)
		}
		if protocol.Valid(got, 0) != nil {
			t.Errorf("%q is written %q, which Valid refuses", s, got)
		}
	})
}

const typicalPub = `{"type":"pub","id":17,"channel":"room:7","event":"moved","data":{"x":10,"y":20,"name":"ann","tags":["a","b"]}}`

func TestReadingATypicalFrameAllocatesNothing(t *testing.T) {
	data := []byte(typicalPub)
	var f protocol.Frame
	if n := testing.AllocsPerRun(1000, func() {
		if err := f.Read(data, 32); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("reading it allocates %v times", n)
	}
}

func TestAppendingAMessageAllocatesNothing(t *testing.T) {
	m := &protocol.Msg{Channel: "room:7", ID: "01ARYZ6S410000000000000000", Event: "moved", Data: []byte(`{"x":1}`), From: protocol.Sender{User: "ann", Connection: "c"}, Time: 1_790_000_000_000}
	said := *m
	said.Seq, said.Reply, said.Mentions, said.Edited = 8, 7, []string{"bob", "carl"}, true
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(1000, func() {
		buf = protocol.AppendMsg(buf[:0], m)
		buf = protocol.AppendMsg(buf[:0], &said)
		buf = protocol.AppendEdit(buf[:0], &said, 5)
	}); n != 0 {
		t.Errorf("appending it allocates %v times", n)
	}
}

func BenchmarkReadPub(b *testing.B) {
	data := []byte(typicalPub)
	var f protocol.Frame
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := f.Read(data, 32); err != nil {
			b.Fatal(err)
		}
	}
}
