package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein/client"
)

// postbox is a model of a server's inbox for one user: it sends what is not
// acknowledged to every connection that comes, and again when it is told to.
type postbox struct {
	t   testing.TB
	web *httptest.Server

	mu    sync.Mutex // guards all below
	seq   int
	open  []string // ids of what is not acknowledged, the oldest first
	conns map[*websocket.Conn]bool
	acks  [][]string
}

func newPostbox(t testing.TB) *postbox {
	b := &postbox{t: t, conns: map[*websocket.Conn]bool{}}
	b.web = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(func() { b.cut(); b.web.Close() })
	return b
}

func (b *postbox) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"skein.v1.json"}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	b.mu.Lock()
	b.conns[conn] = true
	b.write(conn, `{"type":"welcome","connection":"c","user":"ann","heartbeat":15}`)
	for _, id := range b.open {
		b.give(conn, id)
	}
	b.mu.Unlock()
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			break
		}
		b.take(conn, text)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, conn)
}

func (b *postbox) take(conn *websocket.Conn, text []byte) {
	var f struct {
		Type, Channel string
		ID            json.RawMessage
		Seq           int
		Messages      []string
	}
	err := json.Unmarshal(text, &f)
	if f.Type == "connect" || f.Type == "ping" {
		return
	}
	if err != nil || f.Type != "ack" || f.Channel != "@inbox" {
		b.t.Errorf("a strange frame: %s", text)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks = append(b.acks, f.Messages)
	b.open = slices.DeleteFunc(b.open, func(id string) bool {
		return slices.Contains(f.Messages, id) || f.Seq > 0 && id <= name(f.Seq)
	})
	if f.ID != nil {
		b.write(conn, fmt.Sprintf(`{"type":"ok","id":%s}`, f.ID))
	}
}

func (b *postbox) write(conn *websocket.Conn, frame string) {
	_ = conn.Write(context.Background(), websocket.MessageText, []byte(frame)) // one that is gone reads no more
}

func name(seq int) string { return fmt.Sprintf("m%04d", seq) }

func (b *postbox) give(conn *websocket.Conn, id string) {
	b.write(conn, fmt.Sprintf(`{"type":"msg","channel":"@inbox","id":%q,"seq":%s,"event":"message","data":%[1]q,"category":"news"}`, id, strings.TrimLeft(id, "m0")))
}

// push gives the user a message.
func (b *postbox) push() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	b.open = append(b.open, name(b.seq))
	for conn := range b.conns {
		b.give(conn, name(b.seq))
	}
}

// again sends what is not acknowledged once more.
func (b *postbox) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		for _, id := range b.open {
			b.give(conn, id)
		}
	}
}

func (b *postbox) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		_ = conn.CloseNow()
	}
}

// left waits until so many messages are not acknowledged.
func (b *postbox) left(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprint(n, " are left"), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.open) == n
	})
}

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
