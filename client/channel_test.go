package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

func same(t testing.TB, what string, got, want any, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// code gives the code of an *Error, "" for anything else.
func code(err error) client.Code {
	var e *client.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func TestMessagesOfAVolatileChannel(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		ann, bob := connect(t, s.url(), over(transport, "ann")), connect(t, s.url(), over(transport, "bob"))
		ch := ann.Channel("event:a", client.ChannelOptions{})
		events := collect(t, ch.OnEvent)
		messages := collect(t, ch.OnMessage)
		must(t, ch.Subscribe(soon(t)))
		if ch.Kind() != client.KindEvent || ch.Name() != "event:a" {
			t.Errorf("it is %s of the kind %s", ch.Name(), ch.Kind())
		}
		p, err := bob.Channel("event:a", client.ChannelOptions{}).Publish(soon(t), "move", map[string]any{"x": 12345678901234567890.0, "<": nil}, client.PublishOptions{})
		must(t, err)
		same(t, "what became of it", p, client.Published{Message: p.Message, Connections: 1, Users: 1})
		must(t, bob.Channel("event:a", client.ChannelOptions{}).Notice(soon(t), "typing", nil))
		got := messages.first()
		same(t, "the message", got, client.Message{
			Channel: "event:a", ID: p.Message, Event: "move", Data: []byte(`{"<":null,"x":12345678901234567000}`),
			From: client.Sender{User: "bob", Connection: bob.State().Connection}, Time: got.Time,
		})
		if age := time.Since(got.Time); age < -time.Minute || age > time.Minute {
			t.Errorf("it was published %s ago", age)
		}
		var data struct{ X float64 }
		must(t, got.Decode(&data))
		all := events.count(3)
		same(t, "all events", []string{fmt.Sprintf("%T", all[0]), fmt.Sprintf("%T", all[1]), fmt.Sprintf("%T", all[2])},
			[]string{"client.Subscribed", "client.Message", "client.Notice"})
		if n := all[2].(client.Notice); n.Event != "typing" || n.From.User != "bob" || string(n.Data) != "null" {
			t.Errorf("the notice is %+v", n)
		}
		must(t, ch.Unsubscribe(soon(t)))
		p, err = bob.Channel("event:a", client.ChannelOptions{}).Publish(soon(t), "", 2, client.PublishOptions{Once: true})
		must(t, err)
		same(t, "after unsubscribing", p.Connections, 0)
	})
}

func TestMessagesOfALog(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := connect(t, s.url(), over(transport, "ann"))
		for i := 1; i <= 5; i++ {
			s.publish("room:a", i)
		}
		ch := c.Channel("room:a", client.ChannelOptions{Last: 2})
		messages := collect(t, ch.OnMessage)
		must(t, ch.Subscribe(soon(t)))
		p, err := ch.Publish(soon(t), "", 6, client.PublishOptions{Key: "k"})
		must(t, err)
		same(t, "what became of it", p, client.Published{Message: p.Message, Connections: 1, Users: 1, Seq: 6, Stored: true})
		again, err := ch.Publish(soon(t), "", 6, client.PublishOptions{Key: "k"})
		must(t, err)
		same(t, "of the repeat", again, client.Published{Message: p.Message, Seq: 6, Stored: true, Duplicate: true})
		if _, err = ch.Publish(soon(t), "", 7, client.PublishOptions{Key: "k"}); code(err) != client.Conflict {
			t.Errorf("other content under the key gives %v", err)
		}
		same(t, "messages", data(messages.count(3)), numbers(4, 6))
		eventually(t, "the place", func() bool { return ch.Position().Seq == 6 })

		page, err := ch.History(soon(t), client.HistoryOptions{Before: 4, Limit: 2})
		must(t, err)
		same(t, "the page", data(page.Messages), numbers(2, 3))
		if !page.More || page.End != ch.Position() || page.Messages[0].Channel != "room:a" || page.Messages[0].Seq != 2 {
			t.Errorf("the page is %+v", page)
		}
		first := uint64(0)
		page, err = ch.History(soon(t), client.HistoryOptions{After: &first})
		must(t, err)
		same(t, "all", data(page.Messages), numbers(1, 6))

		recalls := collect(t, ch.OnRecall)
		s.verb("recall", map[string]any{"channel": "room:a", "seq": 5})
		same(t, "the recall", recalls.first(), client.Recall{Channel: "room:a", Seq: 5, ID: page.Messages[4].ID})
		page, err = ch.History(soon(t), client.HistoryOptions{Before: 6, Limit: 1})
		must(t, err)
		if m := page.Messages[0]; !m.Recalled || m.Data != nil {
			t.Errorf("the withdrawn message is %+v", m)
		}
	})
}

func TestALogGoesOnWhereItWas(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		p := throughProxy(t, s.addr)
		c := connect(t, p.url(), over(transport, "ann"))
		ch := c.Channel("room:a", client.ChannelOptions{})
		messages, subs := collect(t, ch.OnMessage), collect(t, ch.OnSubscribed)
		must(t, ch.Subscribe(soon(t)))
		n := 0
		more := func() {
			for range 7 {
				n++
				s.publish("room:a", n)
			}
		}
		for range 5 {
			more()
			p.refuse(true)
			p.cut()
			more()
			p.refuse(false)
		}
		more()
		same(t, "messages", data(messages.count(n)), numbers(1, n))
		for _, sub := range subs.now()[1:] {
			if !sub.Recovered {
				t.Errorf("a subscription did not recover: %+v", sub)
			}
		}
	})
}

func TestALogGoesOnAfterARestartOfTheServer(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := connect(t, s.url(), over(transport, "ann"))
		ch := c.Channel("room:a", client.ChannelOptions{})
		messages := collect(t, ch.OnMessage)
		must(t, ch.Subscribe(soon(t)))
		s.publish("room:a", 1)
		messages.count(1)
		for i := 2; i < 4; i++ {
			s.stop()
			s.begin()
			s.publish("room:a", i)
			eventually(t, "it is back", func() bool { c.Retry(); return c.State().Phase == client.Connected })
			messages.count(i)
		}
		same(t, "messages", data(messages.now()), numbers(1, 3))
	})
}

func TestAProgramGoesOnWhereAnotherHasStopped(t *testing.T) {
	s := start(t, config())
	var at client.Position
	for round := range 3 {
		c := connect(t, s.url(), client.Options{User: "ann"})
		ch := c.Channel("room:a", client.ChannelOptions{Since: &at})
		messages := collect(t, ch.OnMessage)
		s.publish("room:a", round+1)
		must(t, ch.Subscribe(soon(t)))
		same(t, "messages", data(messages.count(1)), numbers(round+1, round+1))
		eventually(t, "the place", func() bool { return ch.Position().Seq == uint64(round+1) })
		at = ch.Position()
		must(t, c.Close(soon(t)))
	}
}

func TestAHoleInALogIsTold(t *testing.T) {
	s := start(t, config())
	p := throughProxy(t, s.addr)
	c := connect(t, p.url(), client.Options{User: "ann"})
	ch := c.Channel("short:a", client.ChannelOptions{})
	events := collect(t, ch.OnEvent)
	must(t, ch.Subscribe(soon(t)))
	p.refuse(true)
	p.cut()
	for i := 1; i <= 8; i++ {
		s.publish("short:a", i)
	}
	// Trimming may leave more than is asked for; what the history begins with is the truth.
	first := s.verb("history", map[string]any{"channel": "short:a"})["messages"].([]any)[0].(map[string]any)["seq"].(float64)
	if first < 2 {
		t.Fatalf("nothing was trimmed: the history begins with %v", first)
	}
	p.refuse(false)
	all := events.until("the last message", func(all []client.Event) bool {
		m, ok := all[len(all)-1].(client.Message)
		return ok && m.Seq == 8
	})
	gap, ok := all[2].(client.Gap)
	if !ok || gap.From != 1 || gap.To != uint64(first)-1 || gap.Restart {
		t.Errorf("after the subscription comes %+v", all[2])
	}
	if m, ok := all[3].(client.Message); !ok || m.Seq != gap.To+1 {
		t.Errorf("after the gap comes %+v", all[3])
	}
}

func TestALogThatHasBegunAnewIsTold(t *testing.T) {
	s := start(t, config())
	c := connect(t, s.url(), client.Options{User: "ann"})
	ch := c.Channel("room:a", client.ChannelOptions{})
	gaps, messages := collect(t, ch.OnGap), collect(t, ch.OnMessage)
	must(t, ch.Subscribe(soon(t)))
	for i := range 3 {
		s.publish("room:a", i)
	}
	messages.count(3)
	before := ch.Position().Epoch
	s.stop()
	s.cfg.Data = t.TempDir() // all is lost
	s.begin()
	s.publish("room:a", 3)
	eventually(t, "it is back", func() bool { c.Retry(); return c.State().Phase == client.Connected })
	g := gaps.first()
	if !g.Restart || g.Epoch == before || g.To != 0 {
		t.Errorf("the gap is %+v", g)
	}
	if m := messages.count(4)[3]; m.Seq != 1 || string(m.Data) != "3" {
		t.Errorf("then comes %+v", m)
	}
	eventually(t, "the place", func() bool { return ch.Position() == client.Position{Epoch: g.Epoch, Seq: 1} })
}

func TestASubscriptionThatIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := connect(t, s.url(), over(transport, "ann"))
		for name, want := range map[string]client.Code{
			"closed:a": client.Denied, "nothing:a": client.NotFound, "no namespace": client.BadRequest, "event:": client.BadRequest,
		} {
			if err := c.Channel(name, client.ChannelOptions{}).Subscribe(soon(t)); code(err) != want {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
		for _, err := range c.Channel("closed:a", client.ChannelOptions{}).Messages(soon(t)) {
			if code(err) != client.Denied {
				t.Errorf("the loop gives %v", err)
			}
		}
	})
}

func TestASubscriptionThatIsLost(t *testing.T) {
	cfg := config()
	s := start(t, cfg)
	c := connect(t, s.url(), client.Options{User: "ann"})
	ch := c.Channel("event:a", client.ChannelOptions{})
	lost := collect(t, ch.OnUnsubscribed)
	must(t, ch.Subscribe(soon(t)))
	s.verb("unsubscribe", map[string]any{"channel": "event:a", "user": "ann"})
	same(t, "what is told", lost.first(), client.Unsubscribed{Channel: "event:a", Reason: "server"})

	must(t, ch.Subscribe(soon(t)))
	s.stop()
	ns := s.cfg.Namespaces["event"]
	ns.Subscribe = "server"
	s.cfg.Namespaces["event"] = ns
	s.begin()
	eventually(t, "it is back", func() bool { c.Retry(); return c.State().Phase == client.Connected })
	u := lost.count(2)[1]
	if u.Reason != "denied" || code(u.Err) != client.Denied {
		t.Errorf("after the restart: %+v", u)
	}
}

func TestTheServerSubscribesTheClient(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		p := throughProxy(t, s.addr)
		c := newClient(t, p.url(), over(transport, "ann"))
		messages := &list[client.Message]{t: t, more: make(chan struct{}, 1)}
		channels := collect(t, func(fn func(*client.Channel)) func() {
			return c.OnSubscribed(func(ch *client.Channel) {
				ch.OnMessage(messages.add)
				fn(ch)
			})
		})
		s.verb("members.add", map[string]any{"channel": "room:a", "users": []string{"ann"}})
		must(t, c.Connect(soon(t)))
		s.publish("room:a", 1)
		if got := channels.first().Name(); got != "room:a" {
			t.Errorf("it is subscribed to %s", got)
		}
		messages.count(1)
		// What is said while it is away is read again.
		p.refuse(true)
		p.cut()
		s.publish("room:a", 2)
		p.refuse(false)
		messages.count(2)
		s.publish("room:a", 3)
		same(t, "messages", data(messages.count(3)), numbers(1, 3))
	})
}

func TestDirectMessages(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := newClient(t, s.url(), over(transport, "ann"))
		direct := c.Channel(client.Direct, client.ChannelOptions{})
		messages := collect(t, direct.OnMessage)
		must(t, c.Connect(soon(t)))
		must(t, direct.Subscribe(soon(t)))
		s.verb("publish", map[string]any{"to": map[string]any{"user": "ann"}, "event": "hello", "data": 1})
		if m := messages.first(); m.Channel != "@direct" || m.Event != "hello" || m.Seq != 0 || string(m.Data) != "1" {
			t.Errorf("the message is %+v", m)
		}
	})
}

func TestALoopOverMessages(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := connect(t, s.url(), over(transport, "ann"))
		for i := 1; i <= 50; i++ {
			s.publish("room:a", i)
		}
		ch := c.Channel("room:a", client.ChannelOptions{Last: 50})
		var got []client.Message
		for m, err := range ch.Messages(soon(t)) {
			must(t, err)
			if got = append(got, m); len(got) == 50 {
				break
			}
		}
		same(t, "messages", data(got), numbers(1, 50))
		eventually(t, "what the loop has subscribed it has left", func() bool { return s.verb("stats", nil)["channels"] == 0.0 })

		ctx, cancel := context.WithCancel(soon(t))
		defer cancel()
		var err error
		for _, err = range c.Channel("room:b", client.ChannelOptions{}).Events(ctx) {
			cancel() // at the first event, which is Subscribed
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ends with %v", err)
		}
		ch = c.Channel("room:c", client.ChannelOptions{})
		must(t, ch.Subscribe(soon(t)))
		end := make(chan error, 1)
		go func() {
			var err error
			for _, err = range ch.Messages(soon(t)) {
				continue
			}
			end <- err
		}()
		eventually(t, "the end of the loop", func() bool {
			_ = ch.Unsubscribe(soon(t)) // until it has come after the beginning of the loop
			select {
			case err := <-end:
				return errors.Is(err, client.ErrUnsubscribed)
			default:
				return false
			}
		})
	})
}

func TestALoopIsToldOfAGap(t *testing.T) {
	s := start(t, config())
	for i := 1; i <= 8; i++ {
		s.publish("short:a", i)
	}
	c := connect(t, s.url(), client.Options{User: "ann"})
	var gap *client.Gap
	for m, err := range c.Channel("short:a", client.ChannelOptions{Since: &client.Position{}}).Messages(soon(t)) {
		if errors.As(err, &gap) {
			continue
		}
		must(t, err)
		if gap == nil || m.Seq != gap.To+1 || !strings.Contains(gap.Error(), "short:a") {
			t.Fatalf("the first message is %+v after the gap %v", m, gap)
		}
		return
	}
	t.Error("the loop ended")
}

// Functions that are too slow for a log lose nothing, and do not hold up the rest.
func TestSlowFunctionsOfALogLoseNothing(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		cfg := config()
		cfg.Heartbeat = skein.Heartbeat{Interval: skein.Duration(3 * time.Second), Misses: 3}
		s := start(t, cfg)
		o := over(transport, "ann")
		o.Queue = 8
		c := connect(t, s.url(), o)
		connection := c.State().Connection
		ch := c.Channel("room:slow", client.ChannelOptions{})
		var got list[client.Message]
		got.t, got.more = t, make(chan struct{}, 1)
		hold := make(chan struct{})
		ch.OnMessage(func(m client.Message) { <-hold; got.add(m) })
		must(t, ch.Subscribe(soon(t)))
		quick := c.Channel("event:quick", client.ChannelOptions{})
		messages := collect(t, quick.OnMessage)
		must(t, quick.Subscribe(soon(t)))
		for i := 1; i <= 300; i++ {
			s.publish("room:slow", i)
		}
		for i := 1; i <= 3; i++ {
			s.publish("event:quick", i)
		}
		same(t, "the other channel", data(messages.count(3)), numbers(1, 3))
		close(hold)
		same(t, "messages", data(got.count(300)), numbers(1, 300))
		if c.State().Connection != connection {
			t.Error("the connection was lost")
		}
	})
}

func TestSlowFunctionsOfAVolatileChannelLoseTheOldest(t *testing.T) {
	s := start(t, config())
	c := connect(t, s.url(), client.Options{User: "ann", Queue: 8})
	ch := c.Channel("event:slow", client.ChannelOptions{})
	hold, inside := make(chan struct{}), make(chan struct{}, 1)
	ch.OnMessage(func(client.Message) {
		select {
		case inside <- struct{}{}:
		default:
		}
		<-hold
	})
	events := collect(t, ch.OnEvent)
	must(t, ch.Subscribe(soon(t)))
	s.publish("event:slow", 0)
	<-inside
	for i := 1; i <= 100; i++ {
		s.publish("event:slow", i)
	}
	must(t, c.Presence("event:slow").Set(soon(t), 1)) // its answer comes after all messages
	close(hold)
	all := events.until("the last", func(all []client.Event) bool {
		m, ok := all[len(all)-1].(client.Message)
		return ok && string(m.Data) == "100"
	})
	var seen []string
	dropped := uint64(0)
	for _, e := range all {
		switch e := e.(type) {
		case client.Message:
			seen = append(seen, string(e.Data))
		case client.Dropped:
			if !e.Here {
				t.Errorf("%+v", e)
			}
			dropped += e.Count
		}
	}
	same(t, "messages", seen, append([]string{"0"}, numbers(93, 100)...))
	same(t, "dropped", dropped, uint64(92))
}
