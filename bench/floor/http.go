package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/skein-realtime/skein/internal/load"
	"github.com/skein-realtime/skein/internal/ws"
)

// heapPercent lets the small heap grow as far between collections as the
// server's may, so that the floor does not collect more often.
const heapPercent = 600

// web is the least that a program on net/http does for a publish.
type web struct {
	floor
	answer []byte
	length []string // of answer, as a header
	bodies sync.Pool
	wire   []byte // one delivered frame with its header; floor.mu guards it
}

// api returns only when it cannot go on.
func api(l net.Listener, answer, frame []byte) error {
	debug.SetGCPercent(heapPercent)
	w := &web{answer: answer, length: []string{strconv.Itoa(len(answer))}, wire: ws.AppendFrame(nil, ws.Text, frame)}
	w.floor = floor{frame: frame, join: 1}
	w.bodies.New = func() any { return new(bytes.Buffer) }
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", w.subscriber)
	mux.HandleFunc("POST /api/v1/{verb}", w.publish)
	return (&http.Server{Handler: mux}).Serve(l)
}

// subscriber shakes hands and keeps the socket of whoever subscribes.
func (w *web) subscriber(rw http.ResponseWriter, r *http.Request) {
	up, refusal := ws.CheckUpgrade(r, ws.UpgradeOptions{})
	if refusal != nil {
		refusal.ServeHTTP(rw, r)
		return
	}
	nc, _, err := http.NewResponseController(rw).Hijack()
	if err == nil {
		_, err = nc.Write(up.Response())
	}
	if err == nil {
		err = (&client{floor: &w.floor, conn: nc}).converse(nc)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
	}
}

var (
	channelLead = []byte(`"channel":"`)
	jsonType    = []string{"application/json"}
)

// publish reads a request, writes a frame to the one subscriber of each channel
// in it, if there is any, and answers.
func (w *web) publish(rw http.ResponseWriter, r *http.Request) {
	body := w.bodies.Get().(*bytes.Buffer)
	defer w.bodies.Put(body)
	body.Reset()
	if _, err := body.ReadFrom(r.Body); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if len(w.frame) > 0 {
		if err := w.deliver(body.Bytes()); err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	h := rw.Header()
	h["Content-Type"], h["Content-Length"] = jsonType, w.length
	_, _ = rw.Write(w.answer) // a client that has gone needs no answer
}

// deliver writes the frame with the mark of each message to who is subscribed.
func (w *web) deliver(body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		_, rest, found := bytes.Cut(body, channelLead)
		if !found {
			return nil
		}
		name, message, _ := bytes.Cut(rest, []byte(`"`))
		fd, subscribed := w.channels[string(name)]
		if !subscribed || !load.Restamp(w.wire, message) {
			return fmt.Errorf("%q has no subscriber, or its message no mark", name)
		}
		if err := writeAll(fd, w.wire); err != nil {
			return err
		}
		body = message
	}
}
