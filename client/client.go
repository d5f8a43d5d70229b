package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Phase is what a client is doing about its connection.
type Phase string

// The phases. A client begins as Idle and ends as Closed.
const (
	Idle       Phase = "idle"       // Connect was not called yet
	Connecting Phase = "connecting" // it is opening a connection
	Connected  Phase = "connected"  // it is welcome
	Waiting    Phase = "waiting"    // it has lost the connection, and waits before it tries again
	Closed     Phase = "closed"     // for good
)

// State is how a client stands with its server.
type State struct {
	Phase Phase
	// Err is why there is no connection: what ended the last one, or why the last
	// attempt failed. Nil while connected, and after Close.
	Err error
	// Retry is when it will try again, while Waiting.
	Retry time.Time
	// Attempt counts the attempts since it was connected, from 1.
	Attempt int

	// Of the present connection, or the last one.
	Transport    Transport
	Connection   string // its id
	User, Device string // who the server says the client is; "": nobody
	Expires      time.Time
}

// Client is a program's link to a server. It connects again whenever the
// connection is lost, until it is closed. All methods may be called by many
// goroutines at once.
type Client struct {
	s    *settings
	life life

	calls     calls
	events    *queue // states, errors, and channels that the server has subscribed
	onState   listeners[State]
	onError   listeners[error]
	onChannel listeners[*Channel]
	slots     chan struct{} // one for each request that is unanswered
	lastID    atomic.Uint64
	done      chan struct{} // closed when the client is closed

	mu       sync.Mutex // guards all below; held before the lock of a channel
	state    State
	changed  chan struct{} // closed and replaced when the state changes
	started  bool
	current  *conn // the connection that is welcome; nil: none
	channels map[string]*Channel
	inbox    *Inbox
	chat     *Conversations
	talks    map[string]*Conversation // by channel
	refresh  string                   // the newest token

	retry chan struct{} // asks not to wait any longer
}

// New makes a client for the server at an address such as "https://example.com",
// and does not connect it: functions can be registered first. Its error is an
// [*Error] that names the argument that is wrong.
func New(address string, options Options) (*Client, error) {
	s, err := prepare(address, options)
	if err != nil {
		return nil, err
	}
	c := &Client{
		s: s, state: State{Phase: Idle}, changed: make(chan struct{}), channels: map[string]*Channel{}, talks: map[string]*Conversation{},
		slots: make(chan struct{}, s.Requests), retry: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.life.begin()
	c.events = newQueue(&c.life, s.Queue, c.tell)
	c.events.drop = func(e any) {
		if ch, ok := e.(*Channel); ok {
			ch.queue.release()
		}
	}
	return c, nil
}

// Dial makes a client and connects it: it is [New] and [Client.Connect].
func Dial(ctx context.Context, address string, options Options) (*Client, error) {
	c, err := New(address, options)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// Connect begins to connect and waits until the client is welcome. It fails when
// the server refuses the client for good, or when ctx ends: then the client goes
// on trying until it is closed, and the error says why there is no connection yet.
func (c *Client) Connect(ctx context.Context) error {
	c.mu.Lock()
	if !c.started {
		c.started = true
		c.mu.Unlock()
		if !c.life.start(c.run) {
			return c.over()
		}
	} else {
		c.mu.Unlock()
	}
	_, err := c.connected(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if why := c.State().Err; why != nil {
		return fmt.Errorf("%w; so far: %w", ctx.Err(), why)
	}
	return ctx.Err()
}

// connected waits for a connection.
func (c *Client) connected(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		k, changed, phase := c.current, c.changed, c.state.Phase
		c.mu.Unlock()
		switch {
		case phase == Closed:
			return nil, c.over()
		case k != nil:
			return k, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// over says why the client is closed.
func (c *Client) over() error {
	if err := c.State().Err; err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return ErrClosed
}

// State gives how the client stands with its server.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// OnState calls fn whenever the state has changed. When they change faster than
// fn returns, the oldest are left out. stop ends it.
func (c *Client) OnState(fn func(State)) (stop func()) { return c.onState.add(fn) }

// OnError calls fn with errors that no call returns: what the server has refused
// of frames that ask for no answer, and frames that cannot be read. stop ends it.
func (c *Client) OnError(fn func(error)) (stop func()) { return c.onError.add(fn) }

// OnSubscribed calls fn with each channel that the server has subscribed the client
// to and that the program has not asked for yet. Its events wait until fn has
// returned, so functions that are registered in it miss nothing. Without a
// function what comes in such channels is not kept. stop ends it.
func (c *Client) OnSubscribed(fn func(*Channel)) (stop func()) { return c.onChannel.add(fn) }

// tell hands an event of the client to the functions that want it.
func (c *Client) tell(e any) {
	switch e := e.(type) {
	case State:
		c.onState.call(e)
	case error:
		c.onError.call(e)
	case *Channel:
		c.onChannel.call(e)
		e.queue.release()
	}
}

// fault tells of an error that no call returns.
func (c *Client) fault(err error) {
	c.s.Logger.Warn("the server, or a function of the program, has refused something", "err", err)
	c.events.pushOver(err)
}

// setLocked changes the state and tells of it. A closed client stays closed.
func (c *Client) setLocked(change func(*State)) (open bool) {
	if c.state.Phase == Closed {
		return false
	}
	change(&c.state)
	close(c.changed)
	c.changed = make(chan struct{})
	if c.state.Phase == Closed {
		close(c.done)
	}
	c.events.pushOver(c.state)
	return true
}

func (c *Client) set(change func(*State)) (open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setLocked(change)
}

// Retry lets a client that waits before it connects again do so at once, for
// programs that know when the network is back.
func (c *Client) Retry() {
	select {
	case c.retry <- struct{}{}:
	default:
	}
}

// Close ends the client: the server is told, calls that wait return [ErrClosed],
// events that wait are dropped, and functions that run are waited for. So it must
// not be called by one of them; there, start it in a goroutine. When ctx ends
// first, its error is returned, and what is left ends by itself.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	k := c.current
	c.current = nil
	c.started = true
	c.setLocked(func(s *State) { s.Phase, s.Err, s.Retry = Closed, nil, time.Time{} })
	c.mu.Unlock()
	if k != nil {
		k.leave(ctx)
	}
	err := c.life.finish(ctx)
	if c.s.ownHTTP {
		c.s.HTTPClient.CloseIdleConnections()
	}
	return err
}

// abandon ends a client that nobody has got.
func (c *Client) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	_ = c.Close(ctx)
}

// leaveTime is how long a polite end may take.
const leaveTime = 5 * time.Second

// life is all goroutines of a client.
type life struct {
	ctx    context.Context // ends with the client
	cancel context.CancelFunc

	mu      sync.Mutex // guards all below
	running int
	closed  bool
	gone    chan struct{} // closed when none is left after the end
}

func (l *life) begin() {
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.gone = make(chan struct{})
}

// start runs fn in a goroutine, unless the client has ended.
func (l *life) start(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running++
	go func() {
		defer l.done()
		fn()
	}()
	return true
}

func (l *life) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running--; l.running == 0 && l.closed {
		close(l.gone)
	}
}

// finish ends everything and waits for it.
func (l *life) finish(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		if l.running == 0 {
			close(l.gone)
		}
	}
	l.mu.Unlock()
	l.cancel()
	select {
	case <-l.gone:
		return nil
	case <-ctx.Done():
		select {
		case <-l.gone:
			return nil
		default:
			return errors.Join(errors.New("functions of the program still run"), ctx.Err())
		}
	}
}
