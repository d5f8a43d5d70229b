package skein_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/test/pgtest"
)

// A message that one server withdraws is gone from the memory of the others that
// share its database, and their subscribers are told, each once, also of messages
// that were withdrawn while nobody published.
func TestAMessageWithdrawnOnAnotherServerIsGoneHereToo(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	a, b := start(t, onDatabase(url)), start(t, onDatabase(url))
	c := a.user("ann")
	c.do(`{"type":"sub","channel":"room:1"}`)
	p := a.user("publisher")
	for i := range 5 {
		p.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":"secret %d"}`, i))
		c.expect("msg")
	}
	for _, seq := range []int{2, 4} {
		b.verb("recall", fmt.Sprintf(`{"channel":"room:1","seq":%d}`, seq))
		if f := c.expect("recall"); f["seq"] != float64(seq) {
			t.Errorf("got %v, want the recall of %d", f, seq)
		}
	}
	a.verb("recall", `{"channel":"room:1","seq":5}`) // and one of its own
	if f := c.expect("recall"); f["seq"] != 5.0 {
		t.Errorf("got %v, want the recall of 5", f)
	}
	newcomer := a.user("new")
	newcomer.do(`{"type":"sub","channel":"room:1","since":{"seq":0}}`)
	var got []string
	for range 5 {
		f, err := newcomer.read()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(f["type"], f["seq"]))
	}
	if diff := cmp.Diff([]string{"msg1", "recall2", "msg3", "recall4", "recall5"}, got); diff != "" {
		t.Error(diff)
	}
	// Nothing is told twice: the next thing that comes is the next message.
	p.do(`{"type":"pub","channel":"room:1","data":"last"}`)
	if f := c.expect("msg"); f["seq"] != 6.0 {
		t.Errorf("got %v", f)
	}
}
