package history_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecallWithdrawsWhatWasPushedToo(t *testing.T) {
	ctx := t.Context()
	w, feeds, f := begin(t, nil)
	said := strings.Repeat("A", 26)
	if _, err := feeds.Publish(ctx, store.Append{Channel: "room:1", ID: said, Time: 1, Data: []byte(`1`)}, nil); err != nil {
		t.Fatal(err)
	}
	pushed, unknown := strings.Repeat("B", 26), strings.Repeat("C", 26)
	run := func(params, want string) {
		t.Helper()
		m, text := w.Run("recall", params)
		if m != nil {
			text = fmt.Sprint(m)
		}
		if text != want {
			t.Errorf("%s: got %s, want %s", params, text, want)
		}
	}
	run(`{"message":"`+pushed+`"}`, "not_found: there is no such message, or no longer")
	open := 2
	f.AlsoRecall(func(_ context.Context, message string) (bool, int, error) {
		if message != pushed {
			return false, 0, fault.New(fault.NotFound, "there is no such message, or no longer")
		}
		was := open
		open = 0
		return was > 0, was, nil
	})
	run(`{"message":"`+pushed+`"}`, "map[count:2 message:"+pushed+" recalled:true]")
	run(`{"message":"`+pushed+`"}`, "map[count:0 message:"+pushed+" recalled:false]")
	run(`{"message":"`+unknown+`"}`, "not_found: there is no such message, or no longer")
	run(`{"message":"`+pushed+`","channel":"room:1"}`, "not_found: there is no such message, or no longer")
	run(`{"message":"`+said+`"}`, "map[channel:room:1 message:"+said+" recalled:true seq:1]")
	run(`{"message":"`+said+`"}`, "map[channel:room:1 message:"+said+" recalled:false seq:1]")
}
