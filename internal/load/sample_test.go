package load

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMarkIsFoundInAFrame(t *testing.T) {
	want := mark{publisher: 513, number: 1<<40 - 2, sent: 1 << 50}
	for _, size := range []int{0, MinSize, 128, 4096} {
		data := appendData(nil, want, size)
		var text string
		if err := json.Unmarshal(data, &text); err != nil || len(data) != max(size, MinSize) {
			t.Fatalf("data of size %d has %d bytes, as JSON: %v", size, len(data), err)
		}
		frame := []byte(`{"type":"msg","channel":"room:1","id":"x","event":"message","data":` + string(data) + `,"time":1}`)
		for _, hint := range []int{-1, 0, 20, strings.Index(string(frame), markLead), len(frame)} {
			got, at := findMark(frame, hint)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(mark{})); diff != "" || at != strings.Index(string(frame), markLead) {
				t.Errorf("size %d, hint %d: at %d, %s", size, hint, at, diff)
			}
		}
	}
}

func TestFrameWithoutAWholeMarkHasNone(t *testing.T) {
	for _, frame := range []string{"", `{"data":1}`, `{"data":"~mark:00"}`, `"~mark:` + strings.Repeat("g", markDigits)} {
		if _, at := findMark([]byte(frame), 0); at != -1 {
			t.Errorf("%q: found at %d", frame, at)
		}
	}
}

func TestRestampMakesAFrameAnotherMessage(t *testing.T) {
	want := mark{publisher: 7, number: 8, sent: 9}
	frame := append([]byte(`{"type":"msg","data":`), appendData(nil, mark{}, 64)...)
	if !Restamp(frame, appendData(nil, want, MinSize)) {
		t.Fatal("no mark was found")
	}
	if got, _ := findMark(frame, -1); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if Restamp(frame, []byte(`{}`)) || Restamp([]byte(`{}`), frame) {
		t.Error("a frame without a mark was restamped")
	}
}
