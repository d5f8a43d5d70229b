package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// steady is how long a connection must have lived for the waiting times to begin
// anew, so that a server that welcomes and ends at once is not hammered.
const steady = 10 * time.Second

// better is how long a transport that did not work is left alone while another one works.
const better = 5 * time.Minute

// ladder chooses the transport of the next attempt.
type ladder struct {
	list     []Transport
	at       int       // index of the present one
	failures int       // in a row to open a connection with it
	fell     time.Time // when a better one was given up
}

// next gives the transport to try now.
func (l *ladder) next(now time.Time) Transport {
	if l.at > 0 && now.Sub(l.fell) > better {
		l.at, l.failures = 0, 0
	}
	return l.list[l.at]
}

// failed notes that no connection could be opened. That nobody answers, or that a
// proxy finds nobody, is not the fault of the transport; and there is no point in
// asking twice a server that answers, but not what was asked.
func (l *ladder) failed(now time.Time, err error) {
	var network *net.OpError
	var e *statusError
	answered := errors.As(err, &e)
	if errors.As(err, &network) && network.Op == "dial" || answered && e.status >= http.StatusInternalServerError {
		return
	}
	l.failures++
	if l.failures < 2 && !answered {
		return
	}
	l.failures = 0
	l.at = (l.at + 1) % len(l.list)
	l.fell = now
}

func (l *ladder) opened() { l.failures = 0 }

// run keeps the client connected until it is closed.
func (c *Client) run() {
	steps := &ladder{list: c.s.Transports}
	attempt := 0
	for {
		transport := steps.next(time.Now())
		if !c.set(func(s *State) {
			s.Phase, s.Transport, s.Attempt, s.Retry = Connecting, transport, attempt+1, time.Time{}
		}) {
			return
		}
		k, welcome, err := c.attempt(transport)
		if err == nil {
			steps.opened()
			since := time.Now()
			err = c.serve(k, welcome)
			if time.Since(since) > steady {
				attempt = 0
			}
		} else if reached := (*EndError)(nil); !errors.As(err, &reached) {
			steps.failed(time.Now(), err)
		}
		attempt++
		if !c.pause(attempt, err) {
			return
		}
	}
}

// final tells whether the client must not come back.
func final(err error) bool {
	var end *EndError
	if errors.As(err, &end) {
		return !end.Reconnect
	}
	var e *Error
	return hasStatus(err, http.StatusUnauthorized) || errors.As(err, &e) && (e.Code == Unauthorized || e.Code == Denied)
}

// pause waits before the next attempt; false: there is none.
func (c *Client) pause(attempt int, why error) bool {
	if final(why) {
		c.s.Logger.Warn("the client does not connect again", "err", why)
		c.set(func(s *State) { s.Phase, s.Err, s.Retry = Closed, why, time.Time{} })
		return false
	}
	wait := c.s.Backoff(attempt)
	var end *EndError
	var status *statusError
	switch {
	case errors.As(why, &end) && end.After >= 0:
		wait = end.After
	case errors.As(why, &status):
		wait += status.retryAfter
	}
	c.s.Logger.Debug("the client waits before it connects again", "wait", wait, "err", why)
	select {
	case <-c.retry: // asked for while there was a connection
	default:
	}
	if !c.set(func(s *State) { s.Phase, s.Err, s.Retry = Waiting, why, time.Now().Add(wait) }) {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.retry:
	case <-c.life.ctx.Done():
		return false
	}
	return true
}

// attempt opens a connection and waits for its welcome.
func (c *Client) attempt(transport Transport) (*conn, *incoming, error) {
	ctx, cancel := context.WithTimeout(c.life.ctx, c.s.ConnectTimeout)
	defer cancel()
	token, err := c.token(ctx)
	if err != nil {
		return nil, nil, err
	}
	heard := &atomic.Int64{}
	o := &opening{settings: c.s, token: token, current: c.newest, heard: heard}
	o.hear()
	l, err := open(ctx, transport, o)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting by %s: %w", transport, err)
	}
	stop := context.AfterFunc(ctx, l.drop)
	welcome, err := awaitWelcome(l)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.drop()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, fmt.Errorf("connecting by %s: %w", transport, err)
	}
	l.welcomed(welcome.text("connection"))
	return newConn(c, l, welcome, heard), welcome, nil
}

// awaitWelcome reads what comes before the welcome: an error, and a bye.
func awaitWelcome(l link) (*incoming, error) {
	var told *Error
	var bye *EndError
	for {
		text, err := l.read()
		if err != nil {
			if bye != nil {
				err = bye.with(err)
			}
			if told != nil {
				err = fmt.Errorf("%w (%w)", err, told)
			}
			return nil, err
		}
		f, err := readFrame(text)
		if err != nil {
			return nil, err
		}
		switch f.kind {
		case protocol.TypeWelcome:
			return f, nil
		case protocol.TypeError:
			told = f.err()
		case protocol.TypeBye:
			bye = f.end() // the close code follows
		}
	}
}

// token asks the application for a token.
func (c *Client) token(ctx context.Context) (string, error) {
	if c.s.Token == nil {
		return "", nil
	}
	token, err := c.s.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("getting a token: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh = token
	return token, nil
}

// newest gives the token that was got last.
func (c *Client) newest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refresh
}

// serve makes a connection the present one and reads it until it ends.
func (c *Client) serve(k *conn, welcome *incoming) error {
	k.over.Go(k.write)
	c.mu.Lock()
	in := c.inbox
	c.mu.Unlock()
	if in != nil {
		in.welcome()
	}
	if !c.attach(k, welcome) {
		k.leave(context.Background())
		k.close(ErrClosed)
		return ErrClosed
	}
	if c.s.Token != nil {
		if left := k.lifetime(welcome); left > 0 {
			k.over.Go(func() { k.refresh(left) })
		}
	}
	why := k.read()
	c.mu.Lock()
	if c.current == k {
		c.current = nil
	}
	c.mu.Unlock()
	k.close(why)
	return why
}

// attach tells everybody that there is a connection. What they had going on the
// last one is sent before anything new can be.
func (c *Client) attach(k *conn, welcome *incoming) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Phase == Closed {
		return false
	}
	for _, ch := range c.channels {
		ch.attach(k)
	}
	c.current = k
	if c.chat != nil {
		c.chat.attach(k, welcome.text("connection"))
	}
	return c.setLocked(func(s *State) {
		s.Phase, s.Err, s.Retry, s.Attempt = Connected, nil, time.Time{}, 0
		s.Connection, s.User, s.Device = welcome.text("connection"), k.user, welcome.text("device")
		s.Expires = welcome.milli("expires")
	})
}

// lifetime gives how long the token of a connection is still good, by the
// server's clock; 0: for ever.
func (k *conn) lifetime(f *incoming) time.Duration {
	expires := f.milli("expires")
	if expires.IsZero() {
		return 0
	}
	return max(time.Until(expires)-k.ahead, time.Millisecond)
}

// refresh gets a new token when most of the time of the old one has passed, again
// and again. When that fails it tries once more in what is left; in the end the
// server closes the connection, and the client comes back with a new token.
func (k *conn) refresh(left time.Duration) {
	for left > 0 {
		timer := time.NewTimer(left * 4 / 5)
		select {
		case <-timer.C:
		case <-k.ctx.Done():
			timer.Stop()
			return
		}
		began := time.Now()
		rest := left / 5
		answer, err := k.renew()
		if err != nil {
			if k.ctx.Err() == nil {
				k.c.fault(fmt.Errorf("refreshing the token: %w", err))
			}
			left = max(rest-time.Since(began), 0)
			if left < 50*time.Millisecond {
				return
			}
			continue
		}
		k.c.set(func(s *State) { s.Expires = answer.milli("expires") })
		left = k.lifetime(answer)
	}
}

// renew asks the application for a token and gives it to the server.
func (k *conn) renew() (*incoming, error) {
	ctx, cancel := context.WithTimeout(k.ctx, k.c.s.ConnectTimeout)
	defer cancel()
	token, err := k.c.token(ctx)
	if err != nil {
		return nil, err
	}
	return k.roundTrip(ctx, outgoing{Type: protocol.TypeRefresh, Token: token})
}
