package chat

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

func TestADirectChannelIsNamedAfterItsUsers(t *testing.T) {
	for _, tc := range []struct{ a, b, want string }{
		{"ann", "bob", "dm:ann:bob"},
		{"bob", "ann", "dm:ann:bob"},
		{"Ann", "ann", "dm:Ann:ann"},
		{"a", "a%", "dm:a:a%25"},
		{"a:b", "c", "dm:a%3Ab:c"},
		{"a b", "c", "dm:a%20b:c"},
		{"é", "z", "dm:z:é"},
		{"a\u00a0b", "c", "dm:a%C2%A0b:c"},
		{"a\u0085b", "c", "dm:a%C2%85b:c"},
		{"\xff", "c", "dm:c:%FF"},
		{"10", "9", "dm:10:9"},
		{"%3A", ":", "dm:%253A:%3A"}, // by the bytes of the ids, not of how they are written
		{"!", "a:", "dm:!:a%3A"},
	} {
		if got := DirectChannel("dm", tc.a, tc.b); got != tc.want {
			t.Errorf("the channel of %q and %q is %q, want %q", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestWhatIsNoNameOfADirectChannelIsRefused(t *testing.T) {
	for _, tc := range []struct{ name, channel, want string }{
		{"one user", "dm:ann", `"dm:ann" is not a conversation between two users; write dm:a:b`},
		{"three", "dm:a:b:c", `"dm:a:b:c" is not a conversation between two users`},
		{"the other order", "dm:bob:ann", `"dm:bob:ann" is written as "dm:ann:bob"`},
		{"one user twice", "dm:ann:ann", "names one user twice"},
		{"one user twice, written differently", "dm:a:%61", "names one user twice"},
		{"nobody", "dm::ann", "the id of a user is missing"},
		{"somebody and nobody", "dm:ann:", "the id of a user is missing"},
		{"half an escape", "dm:a%2:b", "begins the two hex digits"},
		{"no escape", "dm:a%zz:b", "begins the two hex digits"},
		{"an escape at the end", "dm:a:b%", "begins the two hex digits"},
		{"small letters", "dm:a%3a:b", `is written as "dm:a%3A:b"`},
		{"an escape that is not needed", "dm:%61:b", `is written as "dm:a:b"`},
		{"order of the ids, not of how they are written", "dm:%3A:%253A", `is written as "dm:%253A:%3A"`},
		{"no UTF-8", "dm:%FF:a", "is not valid UTF-8"},
		{"a control character", "dm:%0A:a", "no control characters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := directUsers("channel", tc.channel)
			e := fault.Of(err)
			if e == nil || e.Code != fault.BadRequest || e.Field != "channel" || !strings.Contains(e.Message, tc.want) {
				t.Errorf("the error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestTheNameOfADirectChannelTellsItsUsers(t *testing.T) {
	ids := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c%: é\x{a0}\x{2028}]{1,12}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := ids.Draw(t, "a"), ids.Draw(t, "b")
		channel := DirectChannel("dm", a, b)
		if channel != DirectChannel("dm", b, a) {
			t.Fatal("the order of the users matters")
		}
		usable := a != b && protocol.UserID("a", a) == nil && protocol.UserID("b", b) == nil
		if usable && len(channel) <= protocol.MaxChannel {
			if namespace, err := protocol.Namespace("channel", channel); namespace != "dm" || err != nil {
				t.Fatalf("%q is no name of a channel: %v", channel, err)
			}
		}
		x, y, err := directUsers("channel", channel)
		if (err == nil) != usable {
			t.Fatalf("%q of %q and %q gives the error %v", channel, a, b, err)
		}
		if usable && (x != min(a, b) || y != max(a, b)) {
			t.Fatalf("%q of %q and %q is of %q and %q", channel, a, b, x, y)
		}
	})
}

// Each channel has one name: what is read as its users is how their channel is written.
func TestADirectChannelHasOneName(t *testing.T) {
	rests := rapid.OneOf(rapid.String(), rapid.StringMatching(`([a-c]|%(25|3A|3a|61|20|C2%A0)|:){1,9}`))
	rapid.Check(t, func(t *rapid.T) {
		channel := "dm:" + rests.Draw(t, "rest")
		if _, err := protocol.Namespace("channel", channel); err != nil {
			return // such names come nowhere near
		}
		if a, b, err := directUsers("channel", channel); err == nil && DirectChannel("dm", a, b) != channel {
			t.Fatalf("%q is taken for %q", channel, DirectChannel("dm", a, b))
		}
	})
}

func TestNamesThatAreTooLongAreRefused(t *testing.T) {
	long := strings.Repeat("x", 130)
	if !utf8.ValidString(long) || len(long) > protocol.MaxUser {
		t.Fatal("the id itself must be allowed")
	}
	_, err := protocol.Namespace("channel", DirectChannel("dm", long+"a", long+"b"))
	if e := fault.Of(err); e == nil || e.Code != fault.BadRequest || e.Field != "channel" {
		t.Errorf("the error is %v", err)
	}
}
