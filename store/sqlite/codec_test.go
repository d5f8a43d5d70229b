package sqlite

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
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
		if got, m := unpackSender(packSender(s, &store.Meta{})); got != s || tables.HasMeta(&m) {
			t.Errorf("%+v became %+v, %+v", s, got, m)
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Add("ann", "phone", id.NewConnection().String(), uint64(7), "bob", "*")
	f.Add("", "", "", uint64(0), "", "a\x00")
	f.Add("", "", "text", uint64(1<<63), "", "")
	f.Fuzz(func(t *testing.T, user, device, connection string, reply uint64, one, two string) {
		s, m := protocol.Sender{User: user, Device: device, Connection: connection}, store.Meta{Reply: reply}
		for _, u := range []string{one, two} {
			if u != "" {
				m.Mentions = append(m.Mentions, u)
			}
		}
		packed := packSender(s, &m)
		if again, meta := unpackSender(packed); again != s || !cmp.Equal(m, meta) {
			t.Errorf("%+v with %+v became %+v with %+v", s, m, again, meta)
		}
		plain := packSender(s, &store.Meta{})
		if !tables.HasMeta(&m) && !bytes.Equal(plain, packed) {
			t.Errorf("%+v alone takes %x and %x", s, plain, packed)
		}
	})
}

func FuzzUnpackSender(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0, 7, 1, 3, 'b', 'o', 'b'})
	f.Add([]byte{0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0})
	f.Add([]byte{3, 'a', 'n', 'n', 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, m := unpackSender(b)
		if again, meta := unpackSender(packSender(s, &m)); again != s || !cmp.Equal(m, meta) {
			t.Errorf("%x is %+v with %+v, and again %+v with %+v", b, s, m, again, meta)
		}
	})
}
