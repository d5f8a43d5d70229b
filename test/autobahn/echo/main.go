// Command echo is the smallest WebSocket server on internal/ws: it sends every
// message back. The Autobahn suite runs against it to judge the parser and the
// handshake alone, without a Skein server around them.
//
// One goroutine per connection; nothing is stored.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address to listen on, host:port")
	deflate := flag.Bool("deflate", true, "accept permessage-deflate")
	flag.Parse()
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("ws://%s/\n", ln.Addr())
	log.Fatal(newServer(*deflate).Serve(ln))
}

// maxMessage is what the largest Autobahn cases (9.1.6, 9.2.6) send.
const maxMessage = 16 << 20

func newServer(deflate bool) *http.Server {
	return &http.Server{Handler: handler(deflate), ReadHeaderTimeout: 10 * time.Second}
}

func handler(deflate bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up, refusal := ws.CheckUpgrade(r, ws.UpgradeOptions{Deflate: deflate, Subprotocols: []string{"echo"}})
		if refusal != nil {
			refusal.ServeHTTP(w, r)
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		early, _ := rw.Reader.Peek(rw.Reader.Buffered())
		e := &echo{up: up, out: up.Response()}
		e.serve(conn, append([]byte(nil), early...))
	})
}

// echo is one connection; it is the parser's sink.
type echo struct {
	up  *ws.Upgrade
	out []byte // to be written once what was read is handled
}

// errClosed ends the parser after a close frame was answered.
var errClosed = errors.New("closed by the peer")

// serve reads until the peer closes, breaks a rule, or goes away.
func (e *echo) serve(conn net.Conn, early []byte) {
	var p ws.Parser
	p.Init(&ws.ParserConfig{MaxMessage: maxMessage, Deflate: e.up.Deflate})
	defer p.Reset()
	buf := make([]byte, 64<<10)
	for n := copy(buf, early); ; {
		err := p.Feed(buf[:n], e)
		var bad *ws.CloseError
		if errors.As(err, &bad) {
			e.out = ws.AppendClose(e.out, bad.Code, bad.Reason)
		}
		if _, failed := conn.Write(e.out); failed != nil {
			return
		}
		e.out = e.out[:0]
		if err != nil {
			finish(conn)
			return
		}
		if n, err = conn.Read(buf); err != nil {
			return
		}
	}
}

// finish ends the stream and reads what still comes, as unread bytes would turn
// the close into a reset that takes the close frame with it.
func finish(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.Copy(io.Discard, conn)
}

// Message implements ws.Sink.
func (e *echo) Message(op ws.Opcode, payload []byte) error {
	if e.up.Deflate {
		payload = ws.Deflate(nil, payload, e.up.Params.ServerMaxWindowBits)
	}
	e.out = ws.AppendHeader(e.out, op, true, e.up.Deflate, len(payload))
	e.out = append(e.out, payload...)
	return nil
}

// Control implements ws.Sink.
func (e *echo) Control(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.Ping:
		e.out = ws.AppendFrame(e.out, ws.Pong, payload)
	case ws.Close:
		e.out = ws.AppendFrame(e.out, ws.Close, payload)
		return errClosed
	}
	return nil
}
