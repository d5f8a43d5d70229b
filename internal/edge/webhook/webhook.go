// Package webhook speaks to the application's backend over HTTP: it asks it
// (connect, subscribe, message, call, escalate) and it tells it what happened (close,
// online, offline, occupied, vacated). The contract with the backend is
// spec/hooks.md; this package is its client side.
//
// It makes and signs the requests, bounds how many are under way, repeats those
// that may be repeated, keeps away from a backend that fails (the circuit), and
// checks that an answer is a JSON object. It does not know what is in an event
// or in an answer, and it does not decide what a failure means to a client: the
// [Kind] of an [Error] is there so that the caller can.
//
// It stores nothing: told events wait in memory, bounded by number, bytes and
// age, and each one that is dropped is counted with its reason. A question runs
// in its caller's goroutine. Told events go through a few lanes, and a lane has
// a goroutine only while something waits in it; [Client.Close] waits for all.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// The events. The first five are asked, the others told.
const (
	Connect   = "connect"
	Subscribe = "subscribe"
	Message   = "message"
	Call      = "call"
	Escalate  = "escalate"
	Close     = "close"
	Online    = "online"
	Offline   = "offline"
	Occupied  = "occupied"
	Vacated   = "vacated"
)

// Events lists every event, those that are asked first. Their places are those
// of the counters in [Metrics].
var Events = [...]string{Connect, Subscribe, Message, Call, Escalate, Close, Online, Offline, Occupied, Vacated}

// asked is how many of Events are asked.
const asked = 5

// place is the index of an event in Events; -1: there is no such event.
func place(event string) int {
	for i, e := range Events {
		if e == event {
			return i
		}
	}
	return -1
}

// lanes is how many told batches may be under way at once. Each key has one
// lane, so more lanes mean that a slow batch holds up fewer keys.
const lanes = 4

// Client is the way to one backend. It is safe for concurrent use.
type Client struct {
	cfg     Config
	url     *url.URL // without user and password
	name    string   // of the backend, for the log
	travel  *http.Transport
	header  http.Header // of every request
	wanted  [len(Events)]bool
	breaker *breaker
	slots   chan struct{} // one in it for each request under way; senders wait in line (FIFO)
	metrics *Metrics
	seed    maphash.Seed

	ctx     context.Context // ends when Close gives up on what is under way
	cancel  context.CancelFunc
	closing chan struct{}  // closed when Close begins
	work    sync.WaitGroup // lanes and questions under way
	lost    atomic.Int64   // told events that Close gave up on
	pending atomic.Int64   // told events that wait or are being sent

	mu     sync.Mutex // guards what follows
	closed bool
	queue  queue

	health health
	drops  drops
}

// New makes a Client. Its errors are joined [*ConfigError]s, one for each wrong
// value. It starts nothing.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	u, err := cfg.parse()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, url: u, name: u.Scheme + "://" + u.Host + u.Path, travel: cfg.Transport, breaker: newBreaker(cfg.Breaker), metrics: cfg.Metrics, seed: maphash.MakeSeed(),
		slots: make(chan struct{}, cfg.Concurrency), closing: make(chan struct{}),
		header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"Skein"}},
	}
	if u.User != nil {
		password, _ := u.User.Password()
		r := http.Request{Header: c.header}
		r.SetBasicAuth(u.User.Username(), password)
		u.User = nil
	}
	for name, value := range cfg.Header {
		c.header.Set(name, value)
	}
	for _, e := range cfg.Events {
		c.wanted[place(e)] = true
	}
	for i := range c.queue.lanes {
		c.queue.lanes[i].full = make(chan struct{}, 1)
	}
	if c.travel == nil {
		c.travel = connections(cfg.Concurrency)
	}
	c.health.since = time.Now()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// connections is the transport of a Client that was given none.
func connections(concurrency int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost: concurrency,
		// Servers close idle connections, some after only two seconds. A request
		// that meets that close is lost, and a call must not be repeated then; so
		// the client is the first to close.
		IdleConnTimeout:        1500 * time.Millisecond,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // bounds and signatures are of the bytes that come
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Wants tells whether the configuration names the event.
func (c *Client) Wants(event string) bool {
	i := place(event)
	return i >= 0 && c.wanted[i]
}

// Name is the address of the backend without user, password and query.
func (c *Client) Name() string { return c.name }

// Metrics gives the live counters.
func (c *Client) Metrics() *Metrics { return c.metrics }

// Close takes no more events, sends what is queued and waits for what is under
// way. When ctx ends first it gives up on both, and its error says how many
// events were not delivered. Calling it again waits as well.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
	}
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, c.cancel)
	c.work.Wait()
	stop()
	c.cancel()
	c.drops.flush(c.cfg.Logger, true)
	if c.breaker.reset() {
		c.metrics.Open.Add(-1)
	}
	if c.cfg.Transport == nil {
		c.travel.CloseIdleConnections()
	}
	if n := c.lost.Load(); n > 0 {
		return fmt.Errorf("hooks: %d events were not delivered: %w", n, errGivenUp)
	}
	return nil
}

// errGivenUp is the cause of what Close did not wait for.
var errGivenUp = errors.New("the time to stop was over")

// begin notes work that Close has to wait for; false: Close has begun.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}
