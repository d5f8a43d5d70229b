package protocol_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// users makes the text of a list of n users.
func users(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"u%d"`, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func TestReadMeta(t *testing.T) {
	tests := []struct {
		name, text string
		reply      uint64
		mentions   []string
		field, err string
	}{
		{name: "neither", text: `{"data":1}`},
		{name: "null counts as absent", text: `{"reply":null,"mentions":null}`},
		{name: "both", text: `{"reply":7,"mentions":["bob","\u0061nn"]}`, reply: 7, mentions: []string{"bob", "ann"}},
		{name: "everybody", text: `{"mentions":["*"]}`, mentions: []string{"*"}},
		{name: "nobody", text: `{"mentions":[ ]}`},
		{name: "the greatest seq", text: `{"reply":9007199254740991}`, reply: 1<<53 - 1},
		{name: "a user of the longest name", text: `{"mentions":["` + strings.Repeat("u", 256) + `"]}`, mentions: []string{strings.Repeat("u", 256)}},

		{name: "no seq", text: `{"reply":0}`, field: "reply", err: "reply: 0 is not between 1 and 9007199254740991"},
		{name: "a text for a seq", text: `{"reply":"7"}`, field: "reply", err: "reply: must be an integer, not a string"},
		{name: "one user without a list", text: `{"mentions":"bob"}`, field: "mentions", err: "mentions: must be an array, not a string"},
		{name: "a number for a user", text: `{"mentions":["a","b","c",4]}`, field: "mentions[3]", err: "mentions[3]: must be a string, not a number"},
		{name: "null for a user", text: `{"mentions":[null]}`, field: "mentions[0]", err: "mentions[0]: must be a string, not null"},
		{name: "a user without a name", text: `{"mentions":["a",""]}`, field: "mentions[1]", err: "mentions[1]: is missing"},
		{name: "a name too long", text: `{"mentions":["` + strings.Repeat("u", 257) + `"]}`, field: "mentions[0]", err: "mentions[0]: has 257 bytes; at most 256 are allowed"},
		{name: "a control character", text: `{"mentions":["a\n"]}`, field: "mentions[0]", err: "mentions[0]: no control characters are allowed"},
		{name: "not UTF-8", text: "{\"mentions\":[\"\xff\"]}", field: "mentions[0]", err: "mentions[0]: is not valid UTF-8"},
		{name: "a user twice", text: `{"mentions":["a","b","a"]}`, field: "mentions[2]", err: "mentions[2]: stands twice"},
		{name: "a user twice, once escaped", text: `{"mentions":["a","\u0061"]}`, field: "mentions[1]", err: "mentions[1]: stands twice"},
		{name: "everybody and somebody", text: `{"mentions":["bob","*"]}`, field: "mentions[1]", err: `mentions[1]: "*" is everybody; it stands alone`},
		{name: "too many", text: `{"mentions":` + users(101) + `}`, field: "mentions", err: "mentions: names more than 100 users"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply, mentions, err := protocol.ReadMeta(read(t, tt.text))
			if tt.err != "" {
				if e := fault.Of(err); e == nil || e.Code != fault.BadRequest || e.Field != tt.field || e.Message != tt.err {
					t.Errorf("got %#v, want a bad_request about %s: %s", err, tt.field, tt.err)
				}
				return
			}
			if err != nil || reply != tt.reply {
				t.Errorf("got reply %d, %v, want %d", reply, err, tt.reply)
			}
			if diff := cmp.Diff(tt.mentions, mentions); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, mentions, err := protocol.ReadMeta(read(t, `{"mentions":`+users(100)+`}`)); err != nil || len(mentions) != protocol.MaxMentions {
		t.Errorf("as many as are allowed: got %d, %v", len(mentions), err)
	}
}

func FuzzReadMeta(f *testing.F) {
	f.Add([]byte(`{"reply":7,"mentions":["bob","\u0061nn"]}`))
	f.Add([]byte(`{"mentions":["*"],"reply":1.0}`))
	f.Add([]byte(`{"mentions":["a", [["b"]] ,null]}`))
	f.Add([]byte(`{"mentions":["\ud83d\ude00"],"reply":-0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var o protocol.Object
		if !utf8.Valid(data) || o.Read(data, 16) != nil {
			return
		}
		reply, mentions, err := protocol.ReadMeta(&o)
		if err != nil {
			if e := fault.Of(err); e.Code != fault.BadRequest || e.Field == "" {
				t.Fatalf("%q: %#v", data, err)
			}
			return
		}
		if len(mentions) > protocol.MaxMentions || slices.Contains(mentions, "") {
			t.Fatalf("%q: got %q", data, mentions)
		}
		// What is told of it reads as the same again.
		again := read(t, string(protocol.AppendMsg(nil, &protocol.Msg{Channel: "a:b", ID: "x", Reply: reply, Mentions: mentions})))
		reply2, mentions2, err := protocol.ReadMeta(again)
		if err != nil || reply2 != reply || cmp.Diff(mentions, mentions2) != "" {
			t.Errorf("%q: got %d %q, and again %d %q, %v", data, reply, mentions, reply2, mentions2, err)
		}
	})
}
