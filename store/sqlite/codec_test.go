package sqlite

import (
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

func TestIDsArePacked(t *testing.T) {
	now := time.Now()
	for range 1000 {
		text := id.Message(now)
		if timeOf(text) != now.UnixMilli() {
			t.Fatalf("%s has the time %d, want %d", text, timeOf(text), now.UnixMilli())
		}
		b := packID(text, now.UnixMilli())
		if len(b) != 10 || unpackID(b, now.UnixMilli()) != text {
			t.Fatalf("%s became %x and %s", text, b, unpackID(b, now.UnixMilli()))
		}
	}
	for _, text := range []string{"", "short", "01ARZ3NDEKTSV4RRFFQ69G5FAI", "01arz3ndektsv4rrffq69g5fav", id.Message(now.Add(time.Second))} {
		if b := packID(text, now.UnixMilli()); string(b) != text {
			t.Errorf("%q became %x", text, b)
		}
	}
}

func FuzzSender(f *testing.F) {
	f.Add("ann", "phone", id.NewConnection().String())
	f.Add("", "", "")
	f.Add("é", "", "not an id")
	f.Add("a", "b", "00000000000000\r0000000A") // decoders of base 64 pass over line breaks
	f.Add("a\x00b", "\x00", "\x00\x01")
	f.Fuzz(func(t *testing.T, user, device, connection string) {
		s := protocol.Sender{User: user, Device: device, Connection: connection}
		if got := unpackSender(packSender(s)); got != s {
			t.Errorf("%+v became %+v", s, got)
		}
	})
}

func FuzzUnpackSender(f *testing.F) {
	f.Add([]byte{3, 'a', 'n', 'n', 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := unpackSender(b); s != (protocol.Sender{}) && unpackSender(packSender(s)) != s {
			t.Errorf("%x is %+v", b, s)
		}
	})
}
