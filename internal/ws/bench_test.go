package ws

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// counter is a Sink that keeps nothing.
type counter struct{ messages, controls, bytes int }

func (c *counter) Message(_ Opcode, payload []byte) error {
	c.messages++
	c.bytes += len(payload)
	return nil
}

func (c *counter) Control(_ Opcode, payload []byte) error {
	c.controls++
	c.bytes += len(payload)
	return nil
}

func TestHotPathsAllocateNothing(t *testing.T) {
	small := strings.Repeat("Hello, 世界! ", 8)
	whole := frame(Text, small)
	cut := len(whole) / 2
	many := bytes.Repeat(frame(Ping, "x"), 8)
	fragments := stream(fragment(Text, false, small), frame(Ping, ""), fragment(Continuation, true, small))
	packed := compressed(Text, small)
	in := make([]byte, 4096)
	out := make([]byte, 0, 4096)
	cfg := &ParserConfig{Deflate: true}
	var p Parser
	p.Init(cfg)
	sink := &counter{}
	feed := func(b []byte) {
		if err := p.Feed(b, sink); err != nil {
			t.Fatal(err)
		}
	}
	for name, run := range map[string]func(){
		"whole text frame": func() { feed(in[:copy(in, whole)]) },
		"frame in two pieces": func() {
			n := copy(in, whole)
			feed(in[:cut])
			feed(in[cut:n])
		},
		"pings":              func() { feed(in[:copy(in, many)]) },
		"fragments":          func() { feed(in[:copy(in, fragments)]) },
		"compressed message": func() { feed(in[:copy(in, packed)]) },
		"frame out":          func() { out = AppendFrame(out[:0], Text, whole) },
		"close out":          func() { out = AppendClose(out[:0], 1000, "bye") },
		"deflate":            func() { out = Deflate(out[:0], whole, 15) },
	} {
		// Pools may be emptied by a collection in between, so a rare refill is
		// no failure; the fast path uses none and must be at exactly zero.
		if n := testing.AllocsPerRun(1000, run); n != 0 && !(raceEnabled && name != "whole text frame") {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if sink.messages == 0 || sink.controls == 0 {
		t.Errorf("nothing was parsed: %+v", sink)
	}
}

func BenchmarkFeed(b *testing.B) {
	for _, n := range []int{16, 128, 1024, 16 << 10, 64 << 10} {
		for _, op := range []Opcode{Text, Binary} {
			b.Run(fmt.Sprintf("%v/%dB", op, n), func(b *testing.B) {
				frame := frame(op, strings.Repeat("x", n))
				in := make([]byte, len(frame))
				var p Parser
				p.Init(&ParserConfig{MaxMessage: 1 << 20})
				sink := &counter{}
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					copy(in, frame) // as Feed unmasks in place
					if err := p.Feed(in, sink); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkFeedInTwoPieces(b *testing.B) {
	frame := frame(Text, strings.Repeat("x", 128))
	in := make([]byte, len(frame))
	var p Parser
	p.Init(&ParserConfig{})
	sink := &counter{}
	b.ReportAllocs()
	for b.Loop() {
		copy(in, frame)
		if p.Feed(in[:70], sink) != nil || p.Feed(in[70:], sink) != nil {
			b.Fatal("refused")
		}
	}
}

func BenchmarkFeedCompressed(b *testing.B) {
	frame := compressed(Text, samples()["json"][:1000])
	in := make([]byte, len(frame))
	var p Parser
	p.Init(&ParserConfig{Deflate: true})
	sink := &counter{}
	b.SetBytes(1000)
	b.ReportAllocs()
	for b.Loop() {
		copy(in, frame)
		if err := p.Feed(in, sink); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeflate(b *testing.B) {
	payload := []byte(samples()["json"][:1000])
	for _, bits := range []int{9, 15} {
		b.Run(fmt.Sprintf("%d bits", bits), func(b *testing.B) {
			var out []byte
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				out = Deflate(out[:0], payload, bits)
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 128)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = AppendFrame(out[:0], Text, payload)
	}
}

func BenchmarkHandshake(b *testing.B) {
	r := &http.Request{Method: "GET", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "example.com", Header: http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"},
		"Origin": {"http://example.com"}, "Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		up, refusal := CheckUpgrade(r, UpgradeOptions{Deflate: true})
		if refusal != nil || len(up.Response()) == 0 {
			b.Fatal(refusal)
		}
	}
}
