package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// postbox is a model of a server's inbox for one user: it sends what is not
// acknowledged to every connection that comes, and again when it is told to.
type postbox struct {
	t   testing.TB
	web *httptest.Server

	mu      sync.Mutex // guards all below
	letters []*letter  // by seq
	conns   map[*websocket.Conn]bool
	acks    [][]string
	read    int
	muted   map[string]bool
	frames  []string // requests about the inbox but for acks, without their ids
}

// letter is a message of a postbox.
type letter struct {
	Seq                int
	Category, Collapse string
	Sent               bool
	Acked, Recalled    bool
}

func (l *letter) id() string { return name(l.Seq) }

func name(seq int) string { return fmt.Sprintf("m%04d", seq) }

func (l *letter) members() string {
	return fmt.Sprintf(`"id":%q,"seq":%d,"event":"message","data":%[1]q,"category":%[3]q,"expires":1770086400000,"collapse":%[4]q`, l.id(), l.Seq, l.Category, l.Collapse)
}

func newPostbox(t testing.TB) *postbox {
	b := &postbox{t: t, conns: map[*websocket.Conn]bool{}, muted: map[string]bool{}}
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
	b.giveOpenLocked(conn)
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

// request is a frame about the inbox.
type request struct {
	Type     string          `json:"type"`
	Channel  string          `json:"channel"`
	ID       json.RawMessage `json:"id,omitempty"`
	Seq      int             `json:"seq,omitempty"`
	Messages []string        `json:"messages,omitempty"`
	Read     *int            `json:"read,omitempty"`
	Before   int             `json:"before,omitempty"`
	After    *int            `json:"after,omitempty"`
	Limit    int             `json:"limit,omitempty"`
	Last     int             `json:"last,omitempty"`
	Unread   bool            `json:"unread,omitempty"`
	Category string          `json:"category,omitempty"`
	Muted    *bool           `json:"muted,omitempty"`
}

func (b *postbox) take(conn *websocket.Conn, text []byte) {
	var f request
	err := json.Unmarshal(text, &f)
	if f.Type == "connect" || f.Type == "ping" {
		return
	}
	if err != nil || f.Channel != "@inbox" {
		b.t.Errorf("a strange frame: %s", text)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	answer, then := b.answerLocked(conn, f)
	if f.ID != nil {
		b.write(conn, fmt.Sprintf(`{"id":%s,%s}`, f.ID, answer))
	}
	for _, l := range then {
		b.give(conn, l)
	}
	if f.Type != "ack" {
		f.ID = nil
		seen, _ := json.Marshal(f)
		b.frames = append(b.frames, string(seen))
	}
}

// answerLocked gives the members of the answer, and what is to follow it.
func (b *postbox) answerLocked(conn *websocket.Conn, f request) (answer string, then []*letter) {
	switch f.Type {
	case "ack":
		b.acks = append(b.acks, f.Messages)
		b.ackLocked(func(l *letter) bool { return slices.Contains(f.Messages, l.id()) || l.Seq <= f.Seq })
	case "mark":
		if to := min(*f.Read, len(b.letters)); to > b.read {
			b.read = to
			b.ackLocked(func(l *letter) bool { return l.Seq <= to })
			for other := range b.conns {
				if other != conn {
					b.write(other, `{"type":"mark","channel":"@inbox","user":"ann",`+b.stateLocked()+`}`)
				}
			}
		}
	case "history":
		page, more := b.pageLocked(f)
		list := ""
		for i, l := range page {
			if i > 0 {
				list += ","
			}
			outcome := "sent"
			if l.Acked {
				outcome = "delivered"
			}
			list += fmt.Sprintf(`{%s,"outcome":%q,"read":%t}`, l.members(), outcome, l.Seq <= b.read)
		}
		answer = fmt.Sprintf(`"messages":[%s],"more":%t,`, list, more)
	case "sub":
		then, _ = b.pageLocked(request{Limit: f.Last, Unread: f.Unread})
	case "mute":
		if f.Category == "none" {
			return `"type":"error","code":"not_found","message":"category: there is none of this name"`, nil
		}
		if f.Category != "" {
			b.muted[f.Category] = *f.Muted
		}
		list, _ := json.Marshal(b.mutedLocked())
		answer = fmt.Sprintf(`"muted":%s,`, list)
	default:
		b.t.Errorf("a strange frame: %+v", f)
	}
	return fmt.Sprintf(`"type":"ok",%s"epoch":"e","seq":%d,%s`, answer, len(b.letters), b.stateLocked()), then
}

func (b *postbox) ackLocked(fits func(*letter) bool) {
	for _, l := range b.letters {
		l.Acked = l.Acked || !l.Recalled && fits(l)
	}
}

// pageLocked gives what a query asks for; a limit of zero is 50.
func (b *postbox) pageLocked(f request) (page []*letter, more bool) {
	for _, l := range b.letters {
		if !l.Recalled && (f.Before == 0 || l.Seq < f.Before) && (f.After == nil || l.Seq > *f.After) && (!f.Unread || l.Seq > b.read) {
			page = append(page, l)
		}
	}
	limit := f.Limit
	if limit == 0 {
		limit = 50
	}
	switch {
	case len(page) <= limit:
		return page, false
	case f.After != nil:
		return page[:limit], true
	}
	return page[len(page)-limit:], true
}

func (b *postbox) mutedLocked() []string {
	muted := []string{}
	for category, yes := range b.muted {
		if yes {
			muted = append(muted, category)
		}
	}
	slices.Sort(muted)
	return muted
}

// stateLocked gives the members that tell how far the user has read.
func (b *postbox) stateLocked() string {
	unread := 0
	for _, l := range b.letters {
		if !l.Recalled && l.Seq > b.read {
			unread++
		}
	}
	return fmt.Sprintf(`"read":%d,"unread":%d`, b.read, unread)
}

func (b *postbox) write(conn *websocket.Conn, frame string) {
	_ = conn.Write(context.Background(), websocket.MessageText, []byte(frame)) // one that is gone reads no more
}

func (b *postbox) give(conn *websocket.Conn, l *letter) {
	l.Sent = true
	b.write(conn, `{"type":"msg","channel":"@inbox",`+l.members()+`}`)
}

func (b *postbox) giveOpenLocked(conn *websocket.Conn) {
	for _, l := range b.letters {
		if !l.Acked && !l.Recalled && !b.muted[l.Category] {
			b.give(conn, l)
		}
	}
}

// push gives the user a message of the category "news".
func (b *postbox) push() { b.pushAs("news", "") }

func (b *postbox) pushAs(category, collapse string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, old := range b.letters {
		if collapse != "" && old.Collapse == collapse && old.Category == category && !old.Sent {
			old.Recalled = true // what was sent before is left to the devices
		}
	}
	l := &letter{Seq: len(b.letters) + 1, Category: category, Collapse: collapse}
	b.letters = append(b.letters, l)
	if !b.muted[category] {
		for conn := range b.conns {
			b.give(conn, l)
		}
	}
}

// recall withdraws a message that nobody has acknowledged.
func (b *postbox) recall(seq int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letters[seq-1]
	if l.Acked || l.Recalled {
		return
	}
	l.Recalled = true
	b.writeAllLocked(fmt.Sprintf(`{"type":"recall","channel":"@inbox","seq":%d,"id":%q}`, seq, l.id()))
}

func (b *postbox) writeAllLocked(frame string) {
	for conn := range b.conns {
		b.write(conn, frame)
	}
}

// tell sends a frame to everybody who is there.
func (b *postbox) tell(frame string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writeAllLocked(frame)
}

// again sends what is not acknowledged once more.
func (b *postbox) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		b.giveOpenLocked(conn)
	}
}

func (b *postbox) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		_ = conn.CloseNow()
		delete(b.conns, conn)
	}
}

// devices waits until so many are there.
func (b *postbox) devices(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprint(n, " are there"), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) == n
	})
}

// left waits until so many messages are not acknowledged.
func (b *postbox) left(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprint(n, " are left"), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		open := 0
		for _, l := range b.letters {
			if !l.Acked && !l.Recalled {
				open++
			}
		}
		return open == n
	})
}

// asked gives the requests about the inbox, but for acknowledgements.
func (b *postbox) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.frames)
}
