// Command suite is the server that the test suites of Engine.IO and Socket.IO are
// run against: an echo at /engine.io/, and a few events at the path of Socket.IO.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/examples/socketio-suite/internal/program"
)

func main() {
	o := program.Parse()
	s, err := skein.New(o.Config(nil, map[string]skein.SocketIONamespace{}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, name := range []string{"/", "/custom"} {
		s.SocketIO(name).
			OnConnect(func(c *skein.IOSocket) { c.Emit("auth", c.Handshake().Auth) }).
			On("message", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) { c.Emit("message-back", args.Any()...) }).
			On("message-with-ack", func(_ *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) { ack(args.Any()...) })
	}
	echo := s.EngineIOHandler(func(send func(binary bool, data []byte)) func(binary bool, data []byte) { return send })
	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.Handle("/engine.io/", echo)
	program.Run(s, mux)
}
