package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skein-realtime/skein/client"
)

// Programs publish while the network breaks again and again; every message is
// stored once, and those of one program in its order.
func TestPublishingSurvivesABrokenNetwork(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		p := throughProxy(t, s.addr)
		const authors = 4
		var wg sync.WaitGroup
		done := make(chan struct{})
		sent := make([]int, authors)
		for a := range authors {
			c := connect(t, p.url(), over(transport, fmt.Sprint("user-", a)))
			wg.Go(func() {
				ch := c.Channel("room:a", client.ChannelOptions{})
				for i := 0; going(done) && i < 100; i++ {
					if _, err := ch.Publish(soon(t), "", fmt.Sprintf("%d-%02d", a, i), client.PublishOptions{}); err != nil {
						t.Errorf("publishing: %v", err)
					}
					sent[a]++
				}
			})
		}
		p.cutOften(20)
		close(done)
		wg.Wait()
		reader := connect(t, s.url(), client.Options{User: "reader"})
		zero := uint64(0)
		page, err := reader.Channel("room:a", client.ChannelOptions{}).History(soon(t), client.HistoryOptions{After: &zero, Limit: 500})
		must(t, err)
		var all []string
		by := map[string][]string{}
		for _, m := range page.Messages {
			all = append(all, string(m.Data))
			by[m.From.User] = append(by[m.From.User], string(m.Data))
		}
		for author, list := range by {
			if !slices.IsSorted(list) {
				t.Errorf("the messages of %s are out of order: %v", author, list)
			}
		}
		slices.Sort(all)
		var want []string
		for a := range authors {
			for i := range sent[a] {
				want = append(want, fmt.Sprintf("%q", fmt.Sprintf("%d-%02d", a, i)))
			}
		}
		same(t, "all messages", all, want)
	})
}

func TestAnAnonymousClientDoesNotRepeat(t *testing.T) {
	s := start(t, config())
	p := throughProxy(t, s.addr)
	c := connect(t, p.url(), client.Options{})
	p.swallow(true) // the message arrives, its answer does not
	answer := make(chan error, 1)
	go func() {
		_, err := c.Channel("room:a", client.ChannelOptions{}).Publish(soon(t), "", 1, client.PublishOptions{})
		answer <- err
	}()
	reader := connect(t, s.url(), client.Options{})
	ch := reader.Channel("room:a", client.ChannelOptions{Since: &client.Position{}})
	messages := collect(t, ch.OnMessage)
	must(t, ch.Subscribe(soon(t)))
	messages.count(1)
	p.cut()
	p.swallow(false)
	if err := <-answer; !errors.Is(err, client.ErrLost) {
		t.Errorf("publishing gives %v", err)
	}
}

func TestAFrameOverTheLimitFailsAlone(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := connect(t, s.url(), over(transport, "ann"))
		ch := c.Channel("room:a", client.ChannelOptions{})
		if _, err := ch.Publish(soon(t), "", strings.Repeat("x", 200<<10), client.PublishOptions{}); code(err) != client.TooLarge {
			t.Errorf("a message of 200 KiB gives %v", err)
		}
		_, err := ch.Publish(soon(t), "", "small", client.PublishOptions{})
		must(t, err)
	})
}

func TestTooManyFramesAreSentLater(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		cfg := config()
		cfg.Limits.FramesPerSecond = 20
		s := start(t, cfg)
		c := connect(t, s.url(), over(transport, "ann"))
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				ch := c.Channel(fmt.Sprint("room:", i), client.ChannelOptions{})
				if err := ch.Subscribe(soon(t)); err != nil {
					t.Errorf("subscribing: %v", err)
				}
			})
		}
		wg.Wait()
		same(t, "channels", s.verb("stats", nil)["channels"], 50.0)
	})
}

func TestWishesAreTakenBack(t *testing.T) {
	s := start(t, config())
	s.stop()
	c := newClient(t, s.url(), client.Options{User: "ann"})
	ch := c.Channel("room:a", client.ChannelOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- ch.Subscribe(ctx) }()
	go func() { _, err := ch.Publish(ctx, "", 1, client.PublishOptions{}); end <- err }()
	cancel()
	for range 2 {
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Errorf("it gives %v", err)
		}
	}
	if err := ch.Notice(soon(t), "typing", nil); code(err) != client.Unavailable {
		t.Errorf("a notice without a connection gives %v", err)
	}
	s.begin()
	must(t, c.Connect(soon(t)))
	_, err := c.Presence("room:b").Members(soon(t)) // comes after whatever was sent
	must(t, err)
	same(t, "channels", s.verb("stats", nil)["channels"], 0.0)
}

func TestAClosedChannelIsForgotten(t *testing.T) {
	s := start(t, config())
	c := connect(t, s.url(), client.Options{User: "ann"})
	old := c.Channel("room:a", client.ChannelOptions{})
	must(t, old.Subscribe(soon(t)))
	if c.Channel("room:a", client.ChannelOptions{}) != old {
		t.Error("there are two of one name")
	}
	must(t, old.Close(soon(t)))
	same(t, "channels", s.verb("stats", nil)["channels"], 0.0)
	if c.Channel("room:a", client.ChannelOptions{}) == old {
		t.Error("it is still there")
	}
	if err := old.Subscribe(soon(t)); code(err) != client.BadRequest {
		t.Errorf("subscribing to the old one gives %v", err)
	}
}

func TestWhatIsNotWantedBackIsNotSent(t *testing.T) {
	s := start(t, config())
	p := throughProxy(t, s.addr)
	c := connect(t, p.url(), client.Options{User: "ann"})
	ch := c.Channel("room:a", client.ChannelOptions{NoEcho: true})
	messages := collect(t, ch.OnMessage)
	must(t, ch.Subscribe(soon(t)))
	for i := range 3 {
		_, err := ch.Publish(soon(t), "", i, client.PublishOptions{})
		must(t, err)
	}
	p.cut() // nor after coming back
	s.publish("room:a", "other")
	same(t, "messages", data(messages.count(1)), []string{`"other"`})
}

func TestPresence(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		ann, bob := connect(t, s.url(), over(transport, "ann")), connect(t, s.url(), over(transport, "bob"))
		here := ann.Presence("room:a")
		joins, leaves := collect(t, here.OnJoin), collect(t, here.OnLeave)
		must(t, here.Watch(soon(t)))
		there := bob.Presence("room:a")
		if err := there.Set(soon(t), "early"); code(err) != client.BadRequest {
			t.Errorf("showing data without being there gives %v", err)
		}
		must(t, bob.Channel("room:a", client.ChannelOptions{}).Subscribe(soon(t)))
		must(t, there.Set(soon(t), map[string]string{"mood": "good"}))
		all := joins.count(2)
		same(t, "the second join", all[1], client.Join{Channel: "room:a", User: "bob", Connection: bob.State().Connection, Data: []byte(`{"mood":"good"}`)},
			cmpopts.IgnoreFields(client.Join{}, "Time"))
		got, err := here.Members(soon(t))
		must(t, err)
		same(t, "members", got, client.Members{Connections: 2, Users: 2, List: []client.Member{
			{User: "ann", Connections: 1}, {User: "bob", Connections: 1, Data: []byte(`{"mood":"good"}`)},
		}})
		s.verb("disconnect", map[string]any{"user": "bob", "reconnect": true})
		leaves.count(1)
		// What it shows of itself is shown again.
		joins.until("the data of before", func(all []client.Join) bool {
			last := all[len(all)-1]
			return len(all) >= 4 && string(last.Data) == `{"mood":"good"}`
		})
		must(t, there.Set(soon(t), nil))
	})
}

func TestALargeChannelShowsItsNumbers(t *testing.T) {
	cfg := config()
	ns := cfg.Namespaces["event"]
	ns.PresenceMax = 1
	cfg.Namespaces["event"] = ns
	s := start(t, cfg)
	c := connect(t, s.url(), client.Options{User: "ann"})
	p := c.Presence("event:a")
	counts := collect(t, p.OnCounts)
	must(t, p.Watch(soon(t)))
	other := connect(t, s.url(), client.Options{User: "bob"})
	must(t, other.Channel("event:a", client.ChannelOptions{}).Subscribe(soon(t)))
	same(t, "the numbers", counts.first(), client.Counts{Channel: "event:a", Connections: 2, Users: 2, Large: true},
		cmpopts.IgnoreFields(client.Counts{}, "Time"))
	got, err := p.Members(soon(t))
	must(t, err)
	same(t, "members", got, client.Members{Connections: 2, Users: 2, Large: true})
}
