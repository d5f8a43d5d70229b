package sio

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/engineio"
)

// frames gives the messages of wire as they are, with their opcode in front.
func frames(wire []byte) (list []string) {
	err := engineio.Frames(wire, func(binary bool, payload []byte) error {
		list = append(list, fmt.Sprint(binary)+" "+string(payload))
		return nil
	})
	if err != nil {
		list = append(list, err.Error())
	}
	return list
}

func TestAppendWritesTheBytesOfTheProtocol(t *testing.T) {
	binary := `["b",{"$binary":"AQIDBA=="}]`
	for _, tt := range []struct {
		name    string
		dialect Dialect
		packet  Packet
		want    []string
	}{
		{"connect", V5, Packet{Data: []byte(`{"sid":"x"}`)}, []string{`false 40{"sid":"x"}`}},
		{"connect to a namespace", V5, Packet{Namespace: "/custom", Data: []byte(`{"sid":"x"}`)}, []string{`false 40/custom,{"sid":"x"}`}},
		{"connect of old clients", V4, Packet{Namespace: "/"}, []string{`false 40`}},
		{"connect of old clients to a namespace", V4, Packet{Namespace: "/chat"}, []string{`false 40/chat,`}},
		{"disconnect", V5, Packet{Kind: Disconnect, Namespace: "/ns"}, []string{`false 41/ns,`}},
		{"unknown namespace", V5, Packet{Kind: ConnectError, Namespace: "/random", Data: []byte(`{"message":"Invalid namespace"}`)}, []string{`false 44/random,{"message":"Invalid namespace"}`}},
		{"refused, old clients", V4, Packet{Kind: ConnectError, Data: []byte(`"reason"`)}, []string{`false 44"reason"`}},
		{"event", V5, Packet{Kind: Event, Data: []byte(`["message-back",1,"2",{"3":[true]}]`)}, []string{`false 42["message-back",1,"2",{"3":[true]}]`}},
		{"raw bytes", V5, Packet{Kind: Event, Data: []byte(`[ "<&>\u2028" , 12345678901234567890, 1e21 ]`)}, []string{`false 42[ "<&>\u2028" , 12345678901234567890, 1e21 ]`}},
		{"event with id", V5, Packet{Kind: Event, Namespace: "/ns", HasID: true, ID: 12, Data: []byte(`["a"]`)}, []string{`false 42/ns,12["a"]`}},
		{"ack", V5, Packet{Kind: Ack, Namespace: "/ns", HasID: true, Data: []byte(`[]`)}, []string{`false 43/ns,0[]`}},
		{"binary event", V5, Packet{Kind: Event, Data: []byte(binary)}, []string{`false 451-["b",{"_placeholder":true,"num":0}]`, "true \x01\x02\x03\x04"}},
		{"binary event of old clients", V4, Packet{Kind: Event, Namespace: "/ns", Data: []byte(binary)}, []string{`false 451-/ns,["b",{"_placeholder":true,"num":0}]`, "true \x04\x01\x02\x03\x04"}},
		{"binary ack", V5, Packet{Kind: Ack, HasID: true, ID: 789, Data: []byte(`[{"$binary":""},{"$binary":"/w=="}]`)},
			[]string{`false 462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "true ", "true \xff"}},
		{"binary only in events and acks", V5, Packet{Kind: ConnectError, Data: []byte(`{"data":{"$binary":""}}`)}, []string{`false 44{"data":{"$binary":""}}`}},
		{"a placeholder that a client made up", V5, Packet{Kind: Event, Data: []byte(`["b",{"$binary":""},{"_placeholder":true,"num":9}]`)},
			[]string{`false 42["b",{"$binary":""},{"_placeholder":true,"num":9}]`}},
		{"msgpack connect", Msgpack, Packet{Data: []byte(`{"sid":"x"}`)}, []string{"true \x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xa1x"}},
		{"msgpack disconnect", Msgpack, Packet{Kind: Disconnect, Namespace: "/ns"}, []string{"true \x82\xa4type\x01\xa3nsp\xa3/ns"}},
		{"msgpack event", Msgpack, Packet{Kind: Event, Data: []byte(binary)}, []string{"true \x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1b\xc4\x04\x01\x02\x03\x04"}},
		{"msgpack ack", Msgpack, Packet{Kind: Ack, HasID: true, ID: 5, Data: []byte(` [ ] `)}, []string{"true \x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\x05"}},
	} {
		wire := Append([]byte{}, tt.dialect, tt.packet)
		if diff := cmp.Diff(tt.want, frames(wire)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if again := Append([]byte("before"), tt.dialect, tt.packet); string(again) != "before"+string(wire) {
			t.Errorf("%s: what stood before changes it", tt.name)
		}
	}
}

// Clients refuse packets with more attachments than that, by closing.
func TestAppendNeverSendsMoreAttachmentsThanClientsTake(t *testing.T) {
	packet := func(n int) Packet {
		return Packet{Kind: Event, Data: []byte(`["b"` + strings.Repeat(`,{"$binary":"AQ=="}`, n) + `]`)}
	}
	if got := frames(Append(nil, V5, packet(MaxAttachments))); len(got) != 1+MaxAttachments || !strings.HasPrefix(got[0], "false 4510-[") {
		t.Errorf("got %q", got)
	}
	more := packet(MaxAttachments + 1)
	if diff := cmp.Diff([]string{"false 42" + string(more.Data)}, frames(Append(nil, V5, more))); diff != "" {
		t.Error(diff)
	}
	p, err := ReadMsgpack(AppendMsgpack(nil, &more), depth)
	if err != nil || !bytes.Equal(p.Data, more.Data) {
		t.Errorf("in the msgpack form there is no such bound: %s, %v", p.Data, err)
	}
}

func TestAppendIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dialect := rapid.SampledFrom([]Dialect{V5, V4}).Draw(t, "dialect")
		version, engine := 5, 4
		if dialect == V4 {
			version, engine = 4, 3
		}
		in := Packet{Kind: Event, Namespace: "/", Data: drawArray(t)}
		if rapid.Bool().Draw(t, "in a namespace") {
			in.Namespace = "/" + rapid.StringMatching(`[^,?]{0,60}`).Draw(t, "namespace")
		}
		if in.HasID = rapid.Bool().Draw(t, "with id"); in.HasID {
			in.ID = rapid.Uint64Max(maxID).Draw(t, "id")
			in.Kind = rapid.SampledFrom([]Kind{Event, Ack}).Draw(t, "kind")
		}
		var out Packet
		var attachments [][]byte
		err := engineio.Frames(Append(nil, dialect, in), func(binary bool, payload []byte) error {
			if binary {
				p, err := engineio.ReadBinary(engine, payload)
				attachments = append(attachments, p.Data)
				return err
			}
			p, err := engineio.ReadText(payload)
			if err == nil {
				out, err = Read(version, p.Data, 10, 10)
			}
			return err
		})
		if err != nil || out.Attachments != len(attachments) {
			t.Fatalf("%+v became %+v with %d attachments: %v", in, out, len(attachments), err)
		}
		out.Attachments = 0
		if len(attachments) > 0 {
			out.Kind -= BinaryEvent - Event
			if out.Data, err = Inline(out.Data, attachments); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A frame that is made once goes to everybody, but acknowledgements and errors are
// made for one each.
func TestAppendAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 1024)
	for name, packet := range map[string]Packet{
		"event": {Kind: Event, Namespace: "/chat", HasID: true, ID: 7, Data: eventOf(115)},
		"ack":   {Kind: Ack, HasID: true, ID: 7, Data: []byte(`[true]`)},
	} {
		if n := testing.AllocsPerRun(100, func() { dst = Append(dst[:0], V5, packet) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// eventOf is an event of so many bytes.
func eventOf(n int) []byte {
	return append(append([]byte(`["message",{"id":12345,"text":"`), bytes.Repeat([]byte("x"), n-len(`["message",{"id":12345,"text":""}]`))...), `"}]`...)
}

func TestReadErrorsSayWhatIsWrong(t *testing.T) {
	_, err := Read(5, []byte(`2["a",]`), depth, 10)
	if !errors.Is(err, ErrParse) || !strings.Contains(err.Error(), "at byte 5") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	data := eventOf(115)
	withBinary := []byte(`["message",{"$binary":"` + strings.Repeat("AAAA", 20) + `"}]`)
	for name, packet := range map[string]Packet{"115 bytes": {Kind: Event, Namespace: "/chat", Data: data}, "with binary": {Kind: Event, Namespace: "/chat", Data: withBinary}} {
		for dialect, of := range []string{"V5", "V4", "Msgpack"} {
			b.Run(name+"/"+of, func(b *testing.B) {
				dst := make([]byte, 0, 1024)
				b.ReportAllocs()
				for b.Loop() {
					dst = Append(dst[:0], Dialect(dialect), packet)
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	text := append([]byte(`2/chat,17`), eventOf(115)...)
	wire := AppendMsgpack(nil, &Packet{Kind: Event, Namespace: "/chat", HasID: true, ID: 17, Data: eventOf(115)})
	b.Run("text", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Read(5, text, depth, 10); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("msgpack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ReadMsgpack(wire, depth); err != nil {
				b.Fatal(err)
			}
		}
	})
}
