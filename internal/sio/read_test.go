package sio

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/protocol"
)

const depth = 8

func TestReadTakesWhatTheProtocolKnows(t *testing.T) {
	long := "/" + strings.Repeat("n", 255)
	for _, tt := range []struct {
		version int
		text    string
		want    Packet
	}{
		{5, `0`, Packet{Kind: Connect, Namespace: "/"}},
		{5, `0{"token":"x"}`, Packet{Kind: Connect, Namespace: "/", Data: []byte(`{"token":"x"}`)}},
		{5, `0/custom,`, Packet{Kind: Connect, Namespace: "/custom"}},
		{5, `0/custom`, Packet{Kind: Connect, Namespace: "/custom"}},
		{5, `0/custom,{"token":"x"}`, Packet{Kind: Connect, Namespace: "/custom", Data: []byte(`{"token":"x"}`)}},
		{5, `0/,`, Packet{Kind: Connect, Namespace: "/"}},
		{5, `0/a?b=c,`, Packet{Kind: Connect, Namespace: "/a?b=c"}},
		{5, `0` + long, Packet{Kind: Connect, Namespace: long}},
		{5, `1`, Packet{Kind: Disconnect, Namespace: "/"}},
		{5, `1/ns,`, Packet{Kind: Disconnect, Namespace: "/ns"}},
		{5, `1/custom`, Packet{Kind: Disconnect, Namespace: "/custom"}},
		{5, `2["name"]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["name"]`)}},
		{5, `2["message-back",1,"2",{"3":[true]}]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["message-back",1,"2",{"3":[true]}]`)}},
		{5, `2["n",12345678901234567890,1e21,"<>&"]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["n",12345678901234567890,1e21,"<>&"]`)}},
		{5, `2[7,"first is a number"]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`[7,"first is a number"]`)}},
		{5, `2 [ "spaces" ] `, Packet{Kind: Event, Namespace: "/", Data: []byte(`[ "spaces" ]`)}},
		{5, `2["Connect"]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["Connect"]`)}},
		{5, `2["name","connect"]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["name","connect"]`)}},
		{5, `212["name"]`, Packet{Kind: Event, Namespace: "/", HasID: true, ID: 12, Data: []byte(`["name"]`)}},
		{5, `20["name"]`, Packet{Kind: Event, Namespace: "/", HasID: true, Data: []byte(`["name"]`)}},
		{5, `29007199254740992["name"]`, Packet{Kind: Event, Namespace: "/", HasID: true, ID: 1 << 53, Data: []byte(`["name"]`)}},
		{5, `2/ns,12["name"]`, Packet{Kind: Event, Namespace: "/ns", HasID: true, ID: 12, Data: []byte(`["name"]`)}},
		{5, `3456[]`, Packet{Kind: Ack, Namespace: "/", HasID: true, ID: 456, Data: []byte(`[]`)}},
		{5, `3/ns,1["connect"]`, Packet{Kind: Ack, Namespace: "/ns", HasID: true, ID: 1, Data: []byte(`["connect"]`)}},
		{5, `4{"message":"no"}`, Packet{Kind: ConnectError, Namespace: "/", Data: []byte(`{"message":"no"}`)}},
		{5, `4/ns,"no"`, Packet{Kind: ConnectError, Namespace: "/ns", Data: []byte(`"no"`)}},
		{5, `51-["b",{"_placeholder":true,"num":0}]`, Packet{Kind: BinaryEvent, Namespace: "/", Attachments: 1, Data: []byte(`["b",{"_placeholder":true,"num":0}]`)}},
		{5, `52-/ns,7["b"]`, Packet{Kind: BinaryEvent, Namespace: "/ns", HasID: true, ID: 7, Attachments: 2, Data: []byte(`["b"]`)}},
		{5, `50-["none"]`, Packet{Kind: BinaryEvent, Namespace: "/", Data: []byte(`["none"]`)}},
		{5, `510-["ten"]`, Packet{Kind: BinaryEvent, Namespace: "/", Attachments: 10, Data: []byte(`["ten"]`)}},
		{5, `61-789[{"_placeholder":true,"num":0}]`, Packet{Kind: BinaryAck, Namespace: "/", HasID: true, ID: 789, Attachments: 1, Data: []byte(`[{"_placeholder":true,"num":0}]`)}},
		{5, `2["deep",[[[[[[[]]]]]]]]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["deep",[[[[[[[]]]]]]]]`)}},
		{4, `0/secret?token=good`, Packet{Kind: Connect, Namespace: "/secret", Query: "token=good"}},
		{4, `0/secret?token=good,`, Packet{Kind: Connect, Namespace: "/secret", Query: "token=good"}},
		{4, `0/secret?token=a?b,`, Packet{Kind: Connect, Namespace: "/secret", Query: "token=a?b"}},
		{4, `0/?a=b,`, Packet{Kind: Connect, Namespace: "/", Query: "a=b"}},
		{4, `4[1]`, Packet{Kind: ConnectError, Namespace: "/", Data: []byte(`[1]`)}},
		{4, `2["name"]`, Packet{Kind: Event, Namespace: "/", Data: []byte(`["name"]`)}},
	} {
		got, err := Read(tt.version, []byte(tt.text), depth, 10)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("version %d, %s: %v (-want +got):\n%s", tt.version, tt.text, err, diff)
		}
	}
}

func TestReadRefusesWhatTheProtocolForbids(t *testing.T) {
	reserved := []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
	tests := []string{
		``, `abc`, `7`, `9["x"]`, `/`,
		`0[]`, `0"x"`, `01`, `0null`, `0{`, `0{"a":1}x`, `0` + "/" + strings.Repeat("n", 256), `0/ns,x`, `0/ns,12`,
		`1{}`, `1[]`, `1/ns,{}`, `11`, `1null`,
		`2`, `2{}`, `2[]`, `2[null]`, `2[{}]`, `2[true]`, `2[["a"]]`, `2"a"`, `2null`, `2["a"`, `2["a"]]`, `2["a",]`, `2['a']`,
		`2abc["name"]`, `2-1["name"]`, `21.5["name"]`, `29007199254740993["name"]`, `2` + strings.Repeat("9", 30) + `["name"]`, `212`, `2/ns`,
		`2["con\u006eect"]`, `2[["too deep",[[[[[[[]]]]]]]]]`,
		`3[]`, `3`, `31`, `31{}`, `31null`, `3/ns,[]`,
		`4`, `4[]`, `41`, `4null`,
		`5["b"]`, `5-["b"]`, `5x-["b"]`, `5+1-["b"]`, `5-1-["b"]`, `51.0-["b"]`, `51e0-["b"]`, `5 1-["b"]`, `51`, `51-`, `511-["eleven"]`, `599999999999999999999-["b"]`, `500001-["b"]`,
		`6["b"]`, `61-[]`, `61-7{}`,
	}
	for _, name := range reserved {
		tests = append(tests, `2["`+name+`"]`, `21["`+name+`",1]`, `51-["`+name+`"]`, `2/ns,["`+name+`"]`)
	}
	for _, text := range tests {
		if p, err := Read(5, []byte(text), depth, 10); !errors.Is(err, ErrParse) {
			t.Errorf("%.40s: got %+v, %v", text, p, err)
		}
	}
	for _, text := range []string{`0{"a":1}`, `0/a?` + strings.Repeat("q", 1025), `0/` + strings.Repeat("n", 256) + `?a`, `2["connect"]`} {
		if p, err := Read(4, []byte(text), depth, 10); !errors.Is(err, ErrParse) {
			t.Errorf("version 4, %.40s: got %+v, %v", text, p, err)
		}
	}
}

func TestReadLeavesTheDataWhereItIs(t *testing.T) {
	text := []byte(`2/ns,1["name","value"]`)
	p, err := Read(5, text, depth, 10)
	if err != nil || &p.Data[len(p.Data)-1] != &text[len(text)-1] {
		t.Errorf("the data was copied: %v", err)
	}
}

func TestArgsAreGivenAsTheyAreWritten(t *testing.T) {
	for data, want := range map[string][]string{
		`[]`:      nil,
		`[ ]`:     nil,
		`["a"]`:   {`"a"`},
		`[1,"2"]`: {`1`, `"2"`},
		`[ 12345678901234567890 , {"b" : 1, "a":2}, 1.0e+2,null ]`: {`12345678901234567890`, `{"b" : 1, "a":2}`, `1.0e+2`, `null`},
		`["],[",[[",]"]]]`: {`"],["`, `[[",]"]]`},
	} {
		args, err := Args([]byte(data))
		var got []string
		for _, a := range args {
			got = append(got, string(a))
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", data, err, diff)
		}
	}
	for _, data := range []string{``, `{}`, `"a"`, `1`} {
		if args, err := Args([]byte(data)); !errors.Is(err, ErrParse) {
			t.Errorf("%s: got %q, %v", data, args, err)
		}
	}
}

// drawJSON draws a value with objects and numbers as odd as clients may send.
func drawJSON(t *rapid.T, levels int) string {
	kinds := 7
	if levels == 0 {
		kinds = 5
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind of value") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1", "12345678901234567890", "1e21", "-0.5"}).Draw(t, "word")
	case 1:
		return string(protocol.AppendString(nil, rapid.String().Draw(t, "string")))
	case 2:
		return string(appendBinaryObject(nil, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "binary")))
	case 3:
		return `{"$binary":` + string(protocol.AppendString(nil, rapid.String().Draw(t, "no base64"))) + `}`
	case 4:
		return rapid.SampledFrom([]string{`"$binary"`, `"_placeholder"`, `"{\"$binary\":\"\"}"`, `{"$binary":"AA==","a":1}`, `{"$binary":1}`}).Draw(t, "trap")
	}
	open, end, key := "[", "]", func(string) string { return "" }
	if rapid.Bool().Draw(t, "object") {
		open, end, key = "{", "}", func(s string) string { return string(protocol.AppendString(nil, s)) + ":" }
	}
	var members []string
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		members = append(members, key(string(rune('a'+i))+rapid.String().Draw(t, "key"))+drawJSON(t, levels-1))
	}
	return open + strings.Join(members, rapid.SampledFrom([]string{",", " , "}).Draw(t, "comma")) + end
}

// drawArray draws the data of an event.
func drawArray(t *rapid.T) []byte {
	b := protocol.AppendString([]byte("["), "e"+rapid.String().Draw(t, "event"))
	for range rapid.IntRange(0, 3).Draw(t, "arguments") {
		b = append(append(b, ','), drawJSON(t, 3)...)
	}
	return append(b, ']')
}
