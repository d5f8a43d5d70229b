// Command floor is what no server can beat: a program that makes the bare system
// calls of a conversation, with the same bytes as the server, and nothing else.
// The load generator cannot tell it from a server.
//
// It has three modes. In "fanout" what a publisher sends goes to all who
// subscribed, by write(2) in a loop. In "connect" one goroutine and one epoll
// descriptor accept connections and answer each step with recorded bytes. In
// "http" a net/http server reads each request and answers recorded bytes, and
// writes a frame to each subscriber that the request names.
package main

import (
	"encoding/base64"
	"flag"
	"fmt"
	"net"
	"os"
)

// recorded is what the server answered, as a flag in base64.
type recorded []byte

// String implements flag.Value.
func (r *recorded) String() string { return base64.StdEncoding.EncodeToString(*r) }

// Set implements flag.Value.
func (r *recorded) Set(text string) (err error) {
	*r, err = base64.StdEncoding.DecodeString(text)
	return err
}

func main() {
	mode := flag.String("mode", "fanout", "fanout, connect or http")
	var frame, hello, welcome, ok, answer recorded
	flag.Var(&frame, "frame", "fanout, http: a msg frame as the server delivered it, without its header")
	join := flag.Int("join", 1, "fanout: messages that are collected and written at once")
	flag.Var(&hello, "hello", "connect: a 101 response")
	flag.Var(&welcome, "welcome", "connect: a welcome frame, with its header")
	flag.Var(&ok, "ok", "connect: the answer to a sub frame, with its header")
	flag.Var(&answer, "answer", "http: the body of a response")
	flag.Parse()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Fprintf(os.Stderr, "ws://%s/ws\n", l.Addr())
		switch *mode {
		case "fanout":
			err = fanout(l, frame, *join)
		case "connect":
			err = connect(l.(*net.TCPListener), hello, welcome, ok)
		case "http":
			err = api(l, answer, frame)
		default:
			err = fmt.Errorf("there is no mode %q", *mode)
		}
	}
	fmt.Fprintln(os.Stderr, "floor:", err)
	os.Exit(1)
}
