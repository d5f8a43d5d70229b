package client

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// Transport is a way to reach the server.
type Transport string

// The transports, from the best to the one that gets through everything.
const (
	WebSocket Transport = "websocket"
	SSE       Transport = "sse"  // server-sent events down, POST up
	Poll      Transport = "poll" // long polling
)

// Options say how a [Client] connects. The zero value is an anonymous client
// with every default.
type Options struct {
	// Token gives the token to connect with; "" connects without one. It is asked
	// anew before each connection, and before the token of a connection expires. An
	// error that is an *Error with the code unauthorized or denied ends the client;
	// after any other the client tries again later. Nil: no token. It is called from
	// one goroutine at a time.
	Token func(ctx context.Context) (string, error)
	// Device is the stable id of the machine, at most 128 bytes; "": none.
	Device string
	// User connects as this user without a token, which servers in development mode
	// alone accept. "": nobody.
	User string
	// Role is the user's role in development mode, for the rules of documents;
	// several with commas between them. Empty: none.
	Role string
	// Data is encoded as JSON and handed to the application that decides who comes in,
	// with WebSocket and long polling. Nil: none.
	Data any
	// Header is sent with every request to the server. Nil: nothing.
	Header http.Header

	// Transports are tried in this order: the next one after two failures in a row to
	// open a connection with the one before. Nil: WebSocket, SSE, Poll.
	Transports []Transport
	// HTTPClient makes all requests. Its Timeout must be zero, since streams stay
	// open. Nil: one of the client's own, with the settings of http.DefaultTransport.
	HTTPClient *http.Client
	// ConnectTimeout bounds an attempt to connect, from the first byte to the
	// welcome, and one call of Token. Zero: 20 s.
	ConnectTimeout time.Duration
	// Backoff says how long to wait before an attempt to come back, from 1 on, where
	// the server has not said it. Nil: [FullJitter].
	Backoff func(attempt int) time.Duration

	// Queue is how many events of a channel may wait for its functions (see "Slow
	// functions" in the package comment). Zero: 1024.
	Queue int
	// Requests is how many requests may be unanswered at once; one more waits for its
	// turn. Zero: 256.
	Requests int
	// MaxFrame is the largest frame that is accepted from the server, in bytes. Zero:
	// 16 MiB.
	MaxFrame int64

	// Logger gets what nobody else is told, at level debug and warn. Nil: nothing is logged.
	Logger *slog.Logger
}

// FullJitter is a random time between 0 and min(30 s, 0.5 s · 2^attempt), so that
// the clients of a server that has restarted do not all come at once.
func FullJitter(attempt int) time.Duration {
	const longest = 30 * time.Second
	bound := longest
	if attempt < 6 {
		bound = min(longest, 500*time.Millisecond<<max(attempt, 0))
	}
	return rand.N(bound)
}

// StaticToken is a [Options.Token] that always gives the same one.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// settings are Options that were checked and filled in.
type settings struct {
	Options
	base    *url.URL        // of the server, http or https, without a slash at the end
	data    json.RawMessage // Options.Data, nil when there is none
	ownHTTP bool            // HTTPClient was made here
}

func prepare(address string, o Options) (*settings, error) {
	s := &settings{Options: o}
	var err error
	if s.base, err = baseURL(address); err != nil {
		return nil, err
	}
	if err := protocol.DeviceID("Device", o.Device); err != nil {
		return nil, local(err)
	}
	if o.Data != nil {
		if s.data, err = encodeData("Data", o.Data); err != nil {
			return nil, err
		}
	}
	if len(o.Transports) == 0 {
		s.Transports = []Transport{WebSocket, SSE, Poll}
	}
	for _, t := range s.Transports {
		if t != WebSocket && t != SSE && t != Poll {
			return nil, wrong("Transports", "there is no transport %q", t)
		}
	}
	if o.HTTPClient == nil {
		transport, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
		}
		s.HTTPClient, s.ownHTTP = &http.Client{Transport: transport.Clone()}, true
	} else if o.HTTPClient.Timeout != 0 {
		return nil, wrong("HTTPClient", "has a Timeout, which would cut every stream")
	}
	if o.Backoff == nil {
		s.Backoff = FullJitter
	}
	if o.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	s.ConnectTimeout = orElse(o.ConnectTimeout, 20*time.Second)
	s.Queue, s.Requests = orElse(o.Queue, 1024), orElse(o.Requests, 256)
	s.MaxFrame = orElse(o.MaxFrame, 16<<20)
	return s, nil
}

func orElse[T int | int64 | time.Duration](value, zero T) T {
	if value <= 0 {
		return zero
	}
	return value
}

// baseURL reads the address of a server. ws and wss are taken for http and https.
func baseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, wrong("address", "%v", err)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, wrong("address", "%q does not begin with http:// or https://", address)
	}
	if u.Host == "" {
		return nil, wrong("address", "%q names no host", address)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, wrong("address", "%q is more than the address of a server", address)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}
