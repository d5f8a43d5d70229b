package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

// serveExample runs a server for the examples, with a method "add".
func serveExample() (address string, stop func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	cfg := documents()
	cfg.Namespaces["dm"] = chats().Namespaces["dm"]
	cfg.Listen, cfg.Data, cfg.Logger = "127.0.0.1:0", dir, slog.New(slog.DiscardHandler)
	s, err := skein.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	skein.HandleCall(s, "add", func(_ context.Context, _ *skein.Conn, n []int) (int, error) { return n[0] + n[1], nil })
	l, err := s.Listen()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return "http://" + l.Addr().String(), func() {
		cancel()
		if err := <-done; err != nil {
			log.Print(err)
		}
		_ = os.RemoveAll(dir)
	}
}

func Example() {
	address, stop := serveExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.Dial(ctx, address, client.Options{User: "ann"}) // a server in development mode
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()

	room := c.Channel("room:7", client.ChannelOptions{Since: &client.Position{}}) // from the beginning
	if _, err := room.Publish(ctx, "", "Hello!", client.PublishOptions{}); err != nil {
		log.Fatal(err)
	}
	for m, err := range room.Messages(ctx) {
		var gap *client.Gap
		if errors.As(err, &gap) {
			fmt.Println("some messages are gone:", gap)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %s\n", m.Seq, m.From.User, m.Data)
		break
	}
	// Output: 1 ann: "Hello!"
}

func ExampleNew() {
	// A token from the program's own backend, asked for whenever one is needed.
	token := func(ctx context.Context) (string, error) {
		return os.Getenv("TOKEN"), ctx.Err()
	}
	c, err := client.New("https://example.com", client.Options{Token: token, Device: "kiosk-3"})
	if err != nil {
		log.Fatal(err)
	}
	// What is registered before Connect misses nothing.
	c.OnState(func(s client.State) { log.Println(s.Phase, s.Err) })
	c.Channel(client.Direct, client.ChannelOptions{}).OnMessage(func(m client.Message) { log.Println(m.Event) })
	c.Inbox().OnMessage(func(m client.Message) error {
		log.Printf("%s", m.Data)
		return nil // acknowledged: no other device gets it again
	})
	fmt.Println(c.State().Phase)
	// Output: idle
}

func ExampleDocument_Patch() {
	address, stop := serveExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, address, client.Options{User: "desk"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()

	game := c.Document("game:42")
	if err := game.Subscribe(ctx); err != nil {
		log.Fatal(err)
	}
	points := client.Path("players", "anna", "points")
	version, err := game.Patch(ctx, client.Set("/round", 1), client.Inc(points, 3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", version)

	// A condition that does not hold: all of the patch is refused, and taken back here.
	_, err = game.Patch(ctx, client.Set("/round", 2), client.Inc(points, -5).AtLeast(0))
	var refused *client.Error
	if errors.As(err, &refused) && refused.Code == client.Conflict {
		fmt.Println("refused")
	}
	var n int
	if _, err := game.Get(points, &n); err != nil {
		log.Fatal(err)
	}
	fmt.Println("points", n)
	// Output:
	// version 1
	// refused
	// points 3
}

func ExampleInbox() {
	address, stop := serveExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(address, client.Options{User: "ann", Device: "kiosk-3"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()

	inbox := c.Inbox()
	inbox.OnMessage(func(m client.Message) error {
		log.Printf("%d %s: %s", m.Seq, m.Event, m.Data)
		return nil // acknowledged: no other device gets it again
	})
	inbox.OnMark(func(s client.InboxState) { log.Println("read on another device;", s.Unread, "are left") })
	inbox.OnHeld(func(h client.Held) { log.Println(h.Count, "more to read", h.Categories) })
	if err := c.Connect(ctx); err != nil {
		log.Fatal(err)
	}

	page, err := inbox.History(ctx, client.InboxQuery{Limit: 20})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(page.Messages), "messages,", page.Unread, "not read")
	state, err := inbox.Read(ctx, page.End.Seq) // all of them, on all devices
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(state.Unread, "not read")
	// Output:
	// 0 messages, 0 not read
	// 0 not read
}

func ExampleConversations() {
	address, stop := serveExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, address, client.Options{User: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()

	chat := c.Conversations(client.ConversationsOptions{})
	chat.OnChange(func(client.ListChange) { log.Println(chat.Unread(), "messages are not read") })
	bob, err := chat.Direct(ctx, "bob")
	if err != nil {
		log.Fatal(err)
	}
	bob.OnMessage(func(m client.Message) { log.Printf("%s: %s", m.From.User, m.Data) })
	if err := bob.Open(ctx); err != nil {
		log.Fatal(err)
	}
	p, err := bob.Send(ctx, "", "Hello!", client.PublishOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := bob.Edit(ctx, p.Seq, "", "Hello, Bob!"); err != nil {
		log.Fatal(err)
	}
	bob.MarkRead(0) // everything that is there, on all devices

	page, err := c.Channel(bob.Channel(), client.ChannelOptions{}).History(ctx, client.HistoryOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range page.Messages {
		fmt.Println(m.Seq, string(m.Data), "edited:", m.Edited)
	}
	fmt.Println(p.Users, "others are there; stored:", p.Stored)
	// Output:
	// 1 "Hello, Bob!" edited: true
	// 0 others are there; stored: true
}

func ExampleClient_Call() {
	address, stop := serveExample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, address, client.Options{User: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()

	var sum int
	if err := c.Call(ctx, "add", []int{40, 2}, &sum); err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum)
	// Output: 42
}

func ExampleClient_Handle() {
	c, err := client.New("https://example.com", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	stop := c.Handle("position", func(_ context.Context, data json.RawMessage) (any, error) {
		var q struct{ Unit string }
		if err := json.Unmarshal(data, &q); err != nil {
			return nil, &client.Error{Code: client.BadRequest, Message: "data: " + err.Error()}
		}
		return map[string]float64{"lat": 47.07, "lon": 15.44}, nil
	})
	defer stop()
}
