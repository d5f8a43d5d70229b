package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
)

// greeting is what the server answers to a client that connects, byte for byte,
// for the floor to repeat.
type greeting struct{ hello, welcome, ok []byte }

// greet connects once and keeps the answers.
func greet(ctx context.Context, c *child, token, channel string) (g greeting, err error) {
	host := strings.TrimPrefix(c.url, "http://")
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return g, err
	}
	defer func() { _ = nc.Close() }()
	if err := nc.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return g, err
	}
	r := bufio.NewReader(nc)
	if _, err := fmt.Fprintf(nc, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host); err != nil {
		return g, err
	}
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return g, fmt.Errorf("the answer to the handshake: %w", err)
		}
		g.hello = append(g.hello, line...)
	}
	var parser ws.Parser
	parser.Init(&ws.ParserConfig{Client: true})
	ask := func(frame string) ([]byte, error) {
		if _, err := nc.Write(ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, []byte(frame))); err != nil {
			return nil, err
		}
		var answer collector
		buf := make([]byte, 4<<10)
		for answer == nil {
			n, err := r.Read(buf)
			if err != nil {
				return nil, fmt.Errorf("the answer to %.20s…: %w", frame, err)
			}
			if err := parser.Feed(buf[:n], &answer); err != nil {
				return nil, err
			}
		}
		return ws.AppendFrame(nil, ws.Text, answer), nil
	}
	if g.welcome, err = ask(`{"type":"connect","token":"` + token + `"}`); err != nil {
		return g, err
	}
	g.ok, err = ask(`{"type":"sub","id":1,"channel":"` + channel + `"}`)
	return g, err
}

// collector keeps the latest message.
type collector []byte

// Control implements ws.Sink.
func (c *collector) Control(ws.Opcode, []byte) error { return nil }

// Message implements ws.Sink.
func (c *collector) Message(_ ws.Opcode, payload []byte) error {
	*c = append((*c)[:0], payload...)
	return nil
}

// reply publishes a message or a batch once and gives the body of the answer.
func (b *bench) reply(ctx context.Context, c *child, batch int) ([]byte, error) {
	const params = `{"to":{"channel":"load:0"},"data":"x"}`
	verb, body := "publish", params
	if batch > 1 {
		command := `{"verb":"publish","params":` + params + `}`
		verb, body = "batch", `{"commands":[`+strings.Repeat(command+",", batch-1)+command+`]}`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/api/v1/"+verb, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("publish: %s: %s", res.Status, answer)
	}
	return answer, err
}
