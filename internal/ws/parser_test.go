package ws

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// The tests below follow the case families of the Autobahn test suite, by number.

var wide = &ParserConfig{MaxMessage: 16 << 20}

func TestFramesOfEverySizeArriveWhole(t *testing.T) { // 1.1, 1.2
	for _, n := range []int{0, 1, 124, 125, 126, 127, 128, 65535, 65536, 70000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			text, binary := strings.Repeat("*", n), strings.Repeat("\xfe", n)
			check(t, wide, frame(Text, text), event(Text, []byte(text)))
			check(t, wide, frame(Binary, binary), event(Binary, []byte(binary)))
		})
	}
}

func TestPings(t *testing.T) { // 2.1 to 2.11
	many, wantMany := []byte(nil), []string(nil)
	for i := range 10 {
		many = append(many, frame(Ping, fmt.Sprint("payload-", i))...)
		wantMany = append(wantMany, fmt.Sprintf("ping %q", fmt.Sprint("payload-", i)))
	}
	full := strings.Repeat("\xfe", 125)
	for _, c := range []struct {
		name string
		in   []byte
		want []string
	}{
		{"empty", frame(Ping, ""), []string{`ping ""`}},
		{"text", frame(Ping, "Hello, world!"), []string{`ping "Hello, world!"`}},
		{"binary", frame(Ping, "\x00\xff\xfe"), []string{`ping "\x00\xff\xfe"`}},
		{"125 bytes", frame(Ping, full), []string{event(Ping, []byte(full))}},
		{"126 bytes", frame(Ping, full+"*"), []string{"fail 1002"}},
		{"unasked pong", frame(Pong, ""), []string{`pong ""`}},
		{"unasked pong with payload, then ping", stream(frame(Pong, "odd"), frame(Ping, "even")), []string{`pong "odd"`, `ping "even"`}},
		{"ten at once", many, wantMany},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, wide, c.in, c.want...) })
	}
}

func TestReservedBitsAreRefused(t *testing.T) { // 3.1 to 3.7
	for bits := byte(1); bits < 8; bits++ {
		for _, op := range []Opcode{Text, Binary, Ping, Pong, Close} {
			in := stream(frame(Text, "before"), first(frame(op, ""), bits<<4), frame(Ping, ""))
			check(t, wide, in, `text "before"`, "fail 1002")
		}
	}
}

func TestReservedBitsOtherThanCompressionAreRefusedWithDeflate(t *testing.T) {
	cfg := &ParserConfig{Deflate: true}
	for bits := byte(1); bits < 8; bits++ {
		if bits != 4 {
			check(t, cfg, first(frame(Text, ""), bits<<4), "fail 1002")
		}
		check(t, cfg, first(frame(Ping, ""), bits<<4), "fail 1002")
		check(t, cfg, stream(fragment(Text, false, "a"), first(frame(Continuation, "b"), bits<<4)), "fail 1002")
	}
}

func TestUndefinedOpcodesAreRefused(t *testing.T) { // 4.1, 4.2
	for _, op := range []Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		check(t, wide, frame(op, ""), "fail 1002")
		check(t, wide, stream(frame(Text, "before"), frame(op, "reserved"), frame(Ping, "")), `text "before"`, "fail 1002")
	}
}

func TestFragmentation(t *testing.T) { // 5.1 to 5.20
	for _, c := range []struct {
		name string
		in   []byte
		want []string
	}{
		{"ping in two fragments", stream(fragment(Ping, false, "a"), fragment(Continuation, true, "b")), []string{"fail 1002"}},
		{"pong in two fragments", stream(fragment(Pong, false, "a"), fragment(Continuation, true, "b")), []string{"fail 1002"}},
		{"close in two fragments", stream(fragment(Close, false, ""), fragment(Continuation, true, "")), []string{"fail 1002"}},
		{"text in two", stream(fragment(Text, false, "frag"), fragment(Continuation, true, "ment")), []string{`text "fragment"`}},
		{"binary in three", stream(fragment(Binary, false, "\xff"), fragment(Continuation, false, "\xfe"), fragment(Continuation, true, "\xfd")), []string{`binary "\xff\xfe\xfd"`}},
		{"ping between", stream(fragment(Text, false, "frag"), frame(Ping, "me"), fragment(Continuation, true, "ment")), []string{`ping "me"`, `text "fragment"`}},
		{"continuation of nothing", stream(fragment(Continuation, true, "x"), frame(Text, "y")), []string{"fail 1002"}},
		{"open continuation of nothing", fragment(Continuation, false, "x"), []string{"fail 1002"}},
		{"continuation after the last fragment", stream(fragment(Text, false, "a"), fragment(Continuation, true, "b"), fragment(Continuation, false, "c")), []string{`text "ab"`, "fail 1002"}},
		{"continuation after a whole message", stream(frame(Text, "a"), fragment(Continuation, true, "c")), []string{`text "a"`, "fail 1002"}},
		{"message inside a message", stream(fragment(Text, false, "a"), frame(Text, "b")), []string{"fail 1002"}},
		{"fragment of a message inside a message", stream(fragment(Text, false, "a"), fragment(Binary, false, "b")), []string{"fail 1002"}},
		{
			"five fragments and two pings",
			stream(fragment(Text, false, "1"), fragment(Continuation, false, "2"), frame(Ping, "pongme 1!"), fragment(Continuation, false, "3"),
				fragment(Continuation, false, "4"), frame(Ping, "pongme 2!"), fragment(Continuation, true, "5")),
			[]string{`ping "pongme 1!"`, `ping "pongme 2!"`, `text "12345"`},
		},
		{"only empty fragments", stream(fragment(Text, false, ""), fragment(Continuation, false, ""), fragment(Continuation, true, "")), []string{`text ""`}},
		{"empty fragments around one", stream(fragment(Text, false, ""), fragment(Continuation, false, "x"), fragment(Continuation, true, "")), []string{`text "x"`}},
		{"the next message after a fragmented one", stream(fragment(Text, false, "a"), fragment(Continuation, true, "b"), frame(Binary, "\xff"), frame(Text, "c")), []string{`text "ab"`, `binary "\xff"`, `text "c"`}},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, wide, c.in, c.want...) })
	}
}

func TestMasks(t *testing.T) {
	unmasked := AppendFrame(nil, Text, []byte("Hello"))
	check(t, wide, unmasked, "fail 1002")
	check(t, wide, AppendFrame(nil, Ping, nil), "fail 1002")
	client := &ParserConfig{Client: true}
	check(t, client, unmasked, `text "Hello"`)
	check(t, client, frame(Text, "Hello"), "fail 1002")
	check(t, client, AppendClose(nil, 1001, "bye"), `close "\x03\xe9bye"`)
	check(t, client, stream(AppendHeader(nil, Text, false, false, 1), []byte("a"), AppendFrame(nil, Ping, []byte("p")), AppendFrame(nil, Continuation, []byte("b"))), `ping "p"`, `text "ab"`)
}

func TestLengthsMustBeShortestAndPositive(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want []string
	}{
		{"0 in 16 bits", zeroMasked(0x82, 0, 16), []string{"fail 1002"}},
		{"125 in 16 bits", zeroMasked(0x82, 125, 16), []string{"fail 1002"}},
		{"126 in 16 bits", append(zeroMasked(0x82, 126, 16), make([]byte, 126)...), []string{event(Binary, make([]byte, 126))}},
		{"5 in 64 bits", zeroMasked(0x82, 5, 64), []string{"fail 1002"}},
		{"65535 in 64 bits", zeroMasked(0x82, 65535, 64), []string{"fail 1002"}},
		{"65536 in 64 bits", append(zeroMasked(0x82, 65536, 64), make([]byte, 65536)...), []string{event(Binary, make([]byte, 65536))}},
		{"top bit set", zeroMasked(0x82, 1<<63, 64), []string{"fail 1002"}},
		{"all bits set", zeroMasked(0x82, 1<<64-1, 64), []string{"fail 1002"}},
		{"the largest positive", zeroMasked(0x82, 1<<63-1, 64), []string{"fail 1009"}},
		{"a ping of 126 bytes", zeroMasked(0x89, 126, 16), []string{"fail 1002"}},
		{"a ping of 65536 bytes", zeroMasked(0x89, 65536, 64), []string{"fail 1002"}},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, wide, c.in, c.want...) })
	}
}

func TestWrongHeadersAreRefusedAtTheByteThatShowsIt(t *testing.T) {
	failsAfter(t, wide, frame(3, "opcode"), 2, 1002)
	failsAfter(t, wide, first(frame(Text, "reserved"), 0x20), 2, 1002)
	failsAfter(t, wide, AppendFrame(nil, Text, []byte("unmasked")), 2, 1002)
	failsAfter(t, wide, zeroMasked(0x89, 126, 16), 2, 1002)
	failsAfter(t, wide, zeroMasked(0x82, 1<<63, 64), 14, 1002)
	failsAfter(t, wide, zeroMasked(0x82, 100<<20, 64), 14, 1009)
}

func TestCloseFrames(t *testing.T) { // 7.1, 7.3, 7.5
	reason := strings.Repeat("*", 123)
	for _, c := range []struct {
		name string
		in   []byte
		want []string
	}{
		{"after a message", stream(frame(Text, "Hello World!"), closeFrame(1000, "")), []string{`text "Hello World!"`, `close "\x03\xe8"`}},
		{"two, the second is ignored", stream(closeFrame(1000, ""), frame(Close, "")), []string{`close "\x03\xe8"`}},
		{"a ping after it is ignored", stream(closeFrame(1000, ""), frame(Ping, "")), []string{`close "\x03\xe8"`}},
		{"a message after it is ignored", stream(closeFrame(1000, ""), frame(Text, "late")), []string{`close "\x03\xe8"`}},
		{"between fragments", stream(fragment(Text, false, "fragment1"), closeFrame(1000, ""), fragment(Continuation, true, "fragment2")), []string{`close "\x03\xe8"`}},
		{"garbage after it is ignored", stream(closeFrame(1000, ""), []byte("\xff\xff\xff\xff")), []string{`close "\x03\xe8"`}},
		{"without payload", frame(Close, ""), []string{`close ""`}},
		{"one byte", frame(Close, "a"), []string{"fail 1002"}},
		{"code and reason", closeFrame(1000, "Hello World!"), []string{`close "\x03\xe8Hello World!"`}},
		{"reason of 123 bytes", closeFrame(1000, reason), []string{event(Close, []byte("\x03\xe8"+reason))}},
		{"reason of 124 bytes", closeFrame(1000, reason+"*"), []string{"fail 1002"}},
		{"reason that is not UTF-8", closeFrame(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), []string{"fail 1007"}},
		{"reason that is cut inside a rune", closeFrame(1000, "\xce"), []string{"fail 1007"}},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, wide, c.in, c.want...) })
	}
}

func TestCloseCodes(t *testing.T) { // 7.7, 7.9, 7.13, and all the others
	valid := func(code int) bool {
		return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
	}
	for code := range 1 << 16 {
		payload := []byte{byte(code >> 8), byte(code), 'r'}
		want := []string{event(Close, payload)}
		if !valid(code) {
			want = []string{"fail 1002"}
		}
		if got := feed(wide, frame(Close, string(payload)), nil); !slices.Equal(got, want) {
			t.Fatalf("code %d: got %v, want %v", code, got, want)
		}
		got, reason, err := ParseClose(payload)
		if valid(code) != (err == nil) || err == nil && (int(got) != code || reason != "r") {
			t.Fatalf("ParseClose of %d: %d, %q, %v", code, got, reason, err)
		}
	}
	if code, reason, err := ParseClose(nil); code != 0 || reason != "" || err != nil {
		t.Errorf("ParseClose of nothing: %d, %q, %v", code, reason, err)
	}
}

func TestLargeMessages(t *testing.T) { // 9.1 to 9.6, 10.1
	rng := rand.New(rand.NewPCG(9, 9))
	for _, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20} {
		payload := strings.Repeat("BAsd7&jh23", n/10+1)[:n]
		for _, op := range []Opcode{Text, Binary} {
			want := []string{event(op, []byte(payload))}
			whole := frame(op, payload)
			for _, chop := range []int{1300, 65536, n + 100} {
				if got := feed(wide, whole, every(chop, len(whole))); !slices.Equal(got, want) {
					t.Errorf("%v of %d bytes in chops of %d: %v", op, n, chop, got)
				}
				split := inFragments(op, payload, chop)
				if got := feed(wide, split, randomCuts(rng, len(split))); !slices.Equal(got, want) {
					t.Errorf("%v of %d bytes in fragments of %d: %v", op, n, chop, got)
				}
			}
		}
	}
	check(t, wide, inFragments(Text, strings.Repeat("*", 65536), 1300), event(Text, []byte(strings.Repeat("*", 65536))))
}

func every(step, n int) (cuts []int) {
	for i := step; i < n; i += step {
		cuts = append(cuts, i)
	}
	return cuts
}

func inFragments(op Opcode, payload string, size int) (b []byte) {
	for {
		n := min(size, len(payload))
		b = append(b, fragment(op, n == len(payload), payload[:n])...)
		if payload, op = payload[n:], Continuation; payload == "" {
			return b
		}
	}
}

func TestLimits(t *testing.T) {
	k := func(n int) string { return strings.Repeat("x", n) }
	small := &ParserConfig{MaxFrame: 10, MaxMessage: 25}
	for _, c := range []struct {
		name string
		cfg  *ParserConfig
		in   []byte
		want []string
	}{
		{"frame at the limit", small, frame(Text, k(10)), []string{event(Text, []byte(k(10)))}},
		{"frame over the limit", small, frame(Text, k(11)), []string{"fail 1009"}},
		{"message at the limit", small, stream(fragment(Text, false, k(10)), fragment(Continuation, false, k(10)), fragment(Continuation, true, k(5))), []string{event(Text, []byte(k(25)))}},
		{"message over the limit", small, stream(fragment(Text, false, k(10)), fragment(Continuation, false, k(10)), fragment(Continuation, true, k(6))), []string{"fail 1009"}},
		{"control frames do not count", small, stream(fragment(Text, false, k(10)), frame(Ping, k(125)), fragment(Continuation, true, k(10))), []string{event(Ping, []byte(k(125))), event(Text, []byte(k(20)))}},
		{"default at the limit", &ParserConfig{}, frame(Binary, k(64<<10)), []string{event(Binary, []byte(k(64<<10)))}},
		{"default over the limit", &ParserConfig{}, frame(Binary, k(64<<10+1)), []string{"fail 1009"}},
		{"a frame limit above the message limit", &ParserConfig{MaxFrame: 100, MaxMessage: 10}, frame(Text, k(11)), []string{"fail 1009"}},
		{"limits past the largest number", &ParserConfig{MaxFrame: 1<<63 - 1, MaxMessage: 1<<63 - 1, Deflate: true}, stream(frame(Text, k(3)), compressed(Text, "abc")), []string{`text "xxx"`, `text "abc"`}},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.cfg, c.in, c.want...) })
	}
}

// A length alone must cost nothing: memory is taken as bytes arrive.
func TestAnAnnouncedLengthTakesNoMemory(t *testing.T) {
	cfg := &ParserConfig{MaxMessage: 1 << 30}
	var p Parser
	p.Init(cfg)
	in := append(zeroMasked(0x82, 100<<20, 64), "only this"...)
	if err := p.Feed(in, &recorder{}); err != nil {
		t.Fatal(err)
	}
	if n := cap(p.message.b); n > 512 {
		t.Errorf("9 bytes of 100 MiB take a buffer of %d bytes", n)
	}
}

func TestAParserIsSmallAndHoldsNothingBetweenMessages(t *testing.T) {
	if n := unsafe.Sizeof(Parser{}); n > 96 {
		t.Errorf("a Parser is %d bytes, want at most 96", n)
	}
	var p Parser
	p.Init(wide)
	in := stream(fragment(Text, false, "a"), frame(Ping, "b"), fragment(Continuation, true, "c"), frame(Binary, "d"))
	for i := range in {
		if err := p.Feed(in[i:i+1], &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	if p.message != nil || p.control != nil {
		t.Errorf("buffers are held after whole messages: %v, %v", p.message, p.control)
	}
}

func TestTheErrorOfTheSinkComesBackAsItIsAndEndsTheParser(t *testing.T) {
	mine := errors.New("mine")
	for name, in := range map[string][]byte{
		"message":            frame(Text, "a"),
		"fragmented message": stream(fragment(Text, false, "a"), fragment(Continuation, true, "b")),
		"ping":               frame(Ping, ""),
		"close":              frame(Close, ""),
	} {
		t.Run(name, func(t *testing.T) {
			var p Parser
			p.Init(wide)
			r := &recorder{fail: mine}
			if err := p.Feed(append(in, frame(Text, "late")...), r); err != mine {
				t.Errorf("Feed gave %v", err)
			}
			if err := p.Feed(frame(Text, "later"), r); err != nil || len(r.events) != 1 {
				t.Errorf("after the error: %v, events %q", err, r.events)
			}
		})
	}
}

func TestResetMakesTheParserNew(t *testing.T) {
	var p Parser
	p.Init(wide)
	r := &recorder{}
	if err := p.Feed(stream(fragment(Text, false, "half"), frame(Ping, "x")[:3]), r); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if p != (Parser{cfg: wide}) {
		t.Errorf("after Reset: %+v", p)
	}
	if err := p.Feed(frame(Text, "new"), r); err != nil || !slices.Equal(r.events, []string{`text "new"`}) {
		t.Errorf("after Reset: %v, events %q", err, r.events)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	for want, in := range map[string][]byte{
		"websocket: a frame from the client is not masked (close code 1002)":        AppendFrame(nil, Text, nil),
		"websocket: opcode 3 is not defined (close code 1002)":                      frame(3, ""),
		"websocket: a ping frame is longer than 125 bytes (close code 1002)":        frame(Ping, strings.Repeat("x", 126)),
		"websocket: a frame is larger than 16777216 bytes (close code 1009)":        zeroMasked(0x81, 1<<30, 64),
		"websocket: a text message is not valid UTF-8 (close code 1007)":            frame(Text, "\xff"),
		"websocket: a new message begins inside another one (close code 1002)":      stream(fragment(Text, false, ""), frame(Text, "")),
		"websocket: a close frame has one byte of payload (close code 1002)":        frame(Close, "x"),
		"websocket: a length is not in its shortest form (close code 1002)":         zeroMasked(0x81, 1, 16),
		"websocket: a continuation frame comes without a message (close code 1002)": frame(Continuation, ""),
	} {
		var p Parser
		p.Init(wide)
		err := p.Feed(in, &recorder{})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		var e *CloseError
		if errors.As(err, &e) && len(e.Reason) > 123 {
			t.Errorf("%q does not fit a close frame", e.Reason)
		}
	}
}
