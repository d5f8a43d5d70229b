package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
)

// floor does the bare work of a broadcast: one Write to each socket. It answers
// what a client says to connect, without looking at it, and never pings.
type floor struct {
	frame []byte

	mu      sync.Mutex // guards all below
	sockets []net.Conn
}

// handler serves the floor; text is the argument of the event.
func (f *floor) handler(text string) http.Handler {
	f.frame = ws.AppendFrame(nil, ws.Text, []byte(`42["news","`+text+`"]`))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /socket.io/", func(w http.ResponseWriter, r *http.Request) {
		up, refusal := ws.CheckUpgrade(r, ws.UpgradeOptions{})
		if refusal != nil {
			refusal.ServeHTTP(w, r)
			return
		}
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if err := f.open(nc, up.Response()); err != nil {
			_ = nc.Close()
		}
	})
	mux.HandleFunc("POST /broadcast", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, nc := range f.sockets {
			_, _ = nc.Write(f.frame) // who has gone is missed by the other side
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// open lets one client in.
func (f *floor) open(nc net.Conn, hello []byte) error {
	_ = nc.SetDeadline(time.Time{})
	const id = "aaaaaaaaaaaaaaaaaaaa"
	first := fmt.Sprintf(`0{"sid":"%s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, id)
	if _, err := nc.Write(ws.AppendFrame(hello, ws.Text, []byte(first))); err != nil {
		return err
	}
	asked := ws.AppendMasked(nil, ws.Text, [4]byte{}, []byte("40"))
	if _, err := io.ReadFull(nc, asked); err != nil {
		return err
	}
	_, err := nc.Write(ws.AppendFrame(nil, ws.Text, []byte(`40{"sid":"`+id+`"}`)))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sockets = append(f.sockets, nc)
	return err
}
