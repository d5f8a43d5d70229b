package poll

import (
	"bytes"
	"testing"

	"github.com/skein-realtime/skein/internal/edge/stream"
)

func TestTheBodyOfACall(t *testing.T) {
	q, err := parse([]byte(" {\"connection\":\"c\",\"after\":3,\"close\":true,\"frames\":[{\"type\":\"connect\"}, 7 ,[]]}\n"))
	if err != nil || q.connection != "c" || q.after != (number{true, 3}) || !q.close || !q.connects || len(q.frames) != 3 || string(q.frames[1]) != "7" {
		t.Errorf("got %+v, %v", q, err)
	}
	if q, err := parse(nil); err != nil || q.connection != "" || q.after.given || q.frames != nil {
		t.Errorf("nothing: %+v, %v", q, err)
	}
	if q, err := parse([]byte(`{"frames":[],"after":null,"token":null}`)); err != nil || q.after.given || len(q.frames) != 0 {
		t.Errorf("empty members: %+v, %v", q, err)
	}
}

// Whatever a client sends, it is refused or its frames are as it wrote them.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"connection":"x","after":1,"frames":[{"type":"ping"},[[1]]],"token":"t","close":false}`))
	f.Add([]byte(`{"frames":[1,]}`))
	f.Add([]byte(` `))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parse(body)
		if err != nil {
			if err.Code.HTTPStatus() >= 500 {
				t.Fatalf("%q is the server's fault: %v", body, err)
			}
			return
		}
		if len(q.frames) > stream.MaxFrames {
			t.Fatalf("%d frames", len(q.frames))
		}
		rest := body
		for _, frame := range q.frames {
			i := bytes.Index(rest, frame)
			if i < 0 || len(frame) == 0 {
				t.Fatalf("%q is not in %q", frame, body)
			}
			rest = rest[i+len(frame):]
		}
	})
}
