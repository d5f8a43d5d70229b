package stream

import (
	"context"
	"net"
	"net/http"
)

type connKey struct{}

// WithConn lets [Tune] find the TCP connection of a request; it is for
// http.Server.ConnContext.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Tune bounds what the kernel holds for the client of a request whose answer goes
// on for long, and how long it waits for one that is gone. In a server without
// [WithConn] it does nothing.
func Tune(r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	if under, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = under.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tune(tcp)
	}
}
