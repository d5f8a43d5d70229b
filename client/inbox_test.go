package client_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/skein-realtime/skein/client"
)

func TestTheInboxHandsEachMessageOverOnce(t *testing.T) {
	b := newPostbox(t)
	for range 250 {
		b.push()
	}
	c := connect(t, b.web.URL, client.Options{Transports: []client.Transport{client.WebSocket}})
	got := &list[client.Message]{t: t, more: make(chan struct{}, 1)}
	stop := c.Inbox().OnMessage(func(m client.Message) error { got.add(m); return nil })
	got.count(250) // what came before there was a function has waited
	b.left(0)
	b.push()
	b.again()
	b.again()
	b.left(0)
	b.cut()
	b.push()
	b.left(0)
	var seqs []uint64
	for _, m := range got.now() {
		if m.Category != "news" {
			t.Fatalf("the message is %+v", m)
		}
		seqs = append(seqs, m.Seq)
	}
	var want []uint64
	for i := range 252 {
		want = append(want, uint64(i+1))
	}
	same(t, "messages", seqs, want)
	b.mu.Lock()
	if len(b.acks) > 60 {
		t.Errorf("%d frames for 252 acknowledgements", len(b.acks))
	}
	b.mu.Unlock()
	stop()
	b.push()
	b.left(1)
}

func TestTheInboxKeepsWhatFails(t *testing.T) {
	b := newPostbox(t)
	c := newClient(t, b.web.URL, client.Options{Transports: []client.Transport{client.WebSocket}})
	got := &list[string]{t: t, more: make(chan struct{}, 1)}
	var failed sync.Once
	c.Inbox().OnMessage(func(m client.Message) (err error) {
		got.add(m.ID)
		if m.Seq == 2 {
			failed.Do(func() { err = errors.New("no space") })
		}
		return err
	})
	for range 3 {
		b.push()
	}
	must(t, c.Connect(soon(t)))
	got.count(3)
	b.left(1)
	b.again()
	b.left(0)
	same(t, "messages", got.now(), []string{name(1), name(2), name(3), name(2)})
}

func TestALoopOverTheInbox(t *testing.T) {
	b := newPostbox(t)
	for range 5 {
		b.push()
	}
	c := connect(t, b.web.URL, client.Options{Transports: []client.Transport{client.WebSocket}})
	var last client.Message
	n := 0
	for m, err := range c.Inbox().Messages(soon(t)) {
		must(t, err)
		last = m
		if n++; n == 3 {
			break
		}
	}
	b.left(3) // the last one was not finished
	must(t, c.Inbox().Ack(soon(t), last.ID))
	b.left(2)
	must(t, c.Inbox().Ack(soon(t)))
	must(t, c.Inbox().AckTo(soon(t), 5))
	b.left(0)
}

// device connects a client to the postbox.
func (b *postbox) device() *client.Client {
	b.t.Helper()
	return connect(b.t, b.web.URL, client.Options{Transports: []client.Transport{client.WebSocket}})
}

// heard collects what is handed over, by seq.
func heard(t testing.TB, in *client.Inbox) *list[uint64] {
	got := &list[uint64]{t: t, more: make(chan struct{}, 1)}
	in.OnMessage(func(m client.Message) error { got.add(m.Seq); return nil })
	return got
}

// settled waits until all that was sent to a client so far has come: its own
// requests are answered after it.
func settled(t testing.TB, c *client.Client) {
	t.Helper()
	_, err := c.Inbox().Muted(soon(t))
	must(t, err)
}

func TestWhatWaitsForItsFunctionIsReplacedOrWithdrawn(t *testing.T) {
	b := newPostbox(t)
	c := b.device()
	recalls := collect(t, c.Inbox().OnRecall)
	b.pushAs("orders", "x") // 1
	b.pushAs("news", "")
	b.pushAs("orders", "y")
	b.again() // the same one again is no replacement
	b.push()  // 4
	b.recall(4)
	b.pushAs("orders", "x")
	b.pushAs("news", "x")                                                                      // of another category
	b.left(4)                                                                                  // what was replaced is acknowledged: it must not come after the new one
	same(t, "recalls", recalls.first(), client.Recall{Channel: "@inbox", Seq: 4, ID: name(4)}) // nobody listens to messages yet
	settled(t, c)
	got := heard(t, c.Inbox())
	b.left(0)
	b.again()
	settled(t, c)
	same(t, "messages", got.now(), []uint64{2, 3, 5, 6})
}

func TestWhatWaitsForAFunctionWhenTheConnectionIsLostIsWhatTheNextOneBrings(t *testing.T) {
	b := newPostbox(t)
	c := b.device()
	b.push()
	b.push()
	settled(t, c)
	b.cut()
	b.recall(1) // nobody is there to be told
	b.devices(1)
	settled(t, c)
	got := heard(t, c.Inbox())
	b.left(0)
	same(t, "messages", got.now(), []uint64{2})
}

func TestAFunctionThatIsSlowHearsOfNothingThatWasWithdrawnMeanwhile(t *testing.T) {
	b := newPostbox(t)
	c := b.device()
	begun, goOn := make(chan struct{}), make(chan struct{})
	got := &list[uint64]{t: t, more: make(chan struct{}, 1)}
	c.Inbox().OnMessage(func(m client.Message) error {
		if m.Seq == 1 {
			close(begun)
			<-goOn
		}
		got.add(m.Seq)
		return nil
	})
	b.push()
	<-begun
	b.push()
	b.pushAs("news", "x")
	b.pushAs("news", "x")
	b.recall(2)
	settled(t, c)
	close(goOn)
	b.left(0)
	same(t, "messages", got.now(), []uint64{1, 4})
}
