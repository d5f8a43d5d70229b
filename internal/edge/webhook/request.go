package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"
)

// A delivery is one event, or a batch of them, on its way. All its attempts
// carry the same id and the same bytes.
type delivery struct {
	event string // the value of Skein-Hook
	id    string
	body  []byte
	asked bool // an object is wanted in the answer
}

// batched is the Skein-Hook of told events.
const batched = "batch"

// errTimeout is the cause of a context that ended by the Client's own clock, and
// not by the caller's.
var errTimeout = errors.New("the time is over")

// attempt sends a delivery for the nth time, under the permit of a turn of the
// circuit, and draws the conclusions from how that ended.
func (c *Client) attempt(ctx context.Context, d *delivery, n int, turn uint64) ([]byte, *Error) {
	c.metrics.UnderWay.Add(1)
	if n > 1 {
		c.metrics.Retries.Add(1)
	}
	start := time.Now()
	answer, e := c.roundTrip(ctx, d, n, start)
	end := time.Now()
	c.metrics.UnderWay.Add(-1)

	v := good
	if e != nil {
		e.Event, e.Delivery = d.event, d.id
		switch {
		case e.Kind.counts():
			v = bad
		case e.Kind == KindThrottled:
			v = alive
		case e.Kind == KindCanceled || e.Kind == KindClosed:
			v = none
		}
	}
	if v != none {
		c.metrics.observe(end.Sub(start))
		c.health.note(e, start, end)
		if e != nil {
			c.metrics.Failed.Add(1)
		}
	}
	switch opened, closed := c.breaker.leave(turn, v, end); {
	case opened:
		c.metrics.Opened.Add(1)
		c.metrics.Open.Add(1)
		c.cfg.Logger.Warn("hooks pause, because the backend fails", "url", c.name, "in_a_row", c.cfg.Breaker.Failures, "pause", c.cfg.Breaker.Pause, "error", e)
	case closed:
		c.metrics.Open.Add(-1)
		c.cfg.Logger.Info("hooks go on, the backend answers again", "url", c.name)
	}
	return answer, e
}

func (c *Client) roundTrip(ctx context.Context, d *delivery, n int, now time.Time) ([]byte, *Error) {
	var connected atomic.Bool // until then the backend cannot have got anything
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	timestamp := strconv.FormatInt(now.Unix(), 10)
	header := make(http.Header, len(c.header)+5)
	maps.Copy(header, c.header)
	values := [...]string{d.event, d.id, strconv.Itoa(n), timestamp, signature(c.cfg.Secrets, timestamp, d.body)}
	for i, name := range [...]string{"Skein-Hook", "Skein-Delivery", "Skein-Attempt", "Skein-Timestamp", "Skein-Signature"} {
		header[name] = values[i : i+1 : i+1]
	}
	// A type that net/http knows is sent in one piece with the head.
	fresh := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(d.body)), nil }
	first, _ := fresh()
	req := (&http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Header: header,
		Body: first, GetBody: fresh, ContentLength: int64(len(d.body)),
	}).WithContext(ctx)
	// Not through an http.Client, which follows redirects: they would carry signed
	// events to an address that nobody configured.
	res, err := c.travel.RoundTrip(req)
	if err != nil {
		return nil, &Error{Kind: c.broke(ctx, err), Acted: connected.Load(), Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	answer, e := c.read(ctx, d, res)
	if e != nil {
		e.Acted = acted(e.Status)
	}
	return answer, e
}

// acted tells whether a backend that answered with a status may have acted on the
// request. Three of them say that it has not: the request did not come whole (408,
// RFC 9110 section 15.5.9), came too early (425, RFC 8470 section 5.2), or was one
// too many (429, RFC 6585 section 4).
func acted(status int) bool {
	return status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests
}

// broke classifies an error of the transport.
func (c *Client) broke(ctx context.Context, err error) Kind {
	if ctx.Err() != nil {
		return c.ended(ctx)
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return KindTimeout
	}
	return KindUnreachable
}

// ended tells why a context of a request has ended.
func (c *Client) ended(ctx context.Context) Kind {
	switch {
	case c.ctx.Err() != nil:
		return KindClosed
	case errors.Is(context.Cause(ctx), errTimeout):
		return KindTimeout
	}
	return KindCanceled
}

// read takes the answer apart. What is told needs none, unless it has to be signed.
func (c *Client) read(ctx context.Context, d *delivery, res *http.Response) ([]byte, *Error) {
	// So much is read of what is not used: it is cheaper than a new connection.
	const unused = 4 << 10
	if res.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, unused)) // the status says enough
		return nil, refusal(res, text)
	}
	if !d.asked && !c.cfg.VerifyAnswers {
		_, _ = io.CopyN(io.Discard, res.Body, unused)
		return nil, nil
	}
	text, err := readAll(res)
	if err != nil {
		if errors.Is(err, errTooLarge) {
			return nil, &Error{Kind: KindGarbage, Status: res.StatusCode, Err: err}
		}
		return nil, &Error{Kind: c.broke(ctx, err), Status: res.StatusCode, Err: err}
	}
	if c.cfg.VerifyAnswers && !signed(res.Header["Skein-Signature"], c.cfg.Secrets, d.id, text) {
		return nil, &Error{Kind: KindForged, Status: res.StatusCode, Err: unsigned(res.Header)}
	}
	if !d.asked {
		return nil, nil
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, &Error{Kind: KindGarbage, Status: res.StatusCode, Err: fmt.Errorf("its Content-Encoding is %q, which was not asked for", coding)}
	}
	answer, err := object(res.Header.Get("Content-Type"), text)
	if err != nil {
		return nil, &Error{Kind: KindGarbage, Status: res.StatusCode, Err: err}
	}
	return answer, nil
}

func unsigned(header http.Header) error {
	if len(header["Skein-Signature"]) == 0 {
		return errors.New("the answer has no Skein-Signature")
	}
	return errors.New("the answer's Skein-Signature is of another secret, delivery or body")
}

// refusal is the error for a status that is not 2xx.
func refusal(res *http.Response, text []byte) *Error {
	e := &Error{Kind: KindRefused, Status: res.StatusCode, Body: excerpt(text)}
	switch s := res.StatusCode; {
	case s == http.StatusTooManyRequests:
		e.Kind = KindThrottled
	case s == http.StatusRequestTimeout || s == http.StatusTooEarly || s/100 == 5:
		e.Kind = KindFailed
	case s/100 == 3:
		e.Err = fmt.Errorf("redirects are not followed; hooks.url has to be the address itself (this one leads to %q)", excerpt([]byte(res.Header.Get("Location"))))
	}
	if e.Kind != KindRefused {
		e.RetryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return e
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110 section
// 10.2.3). What is neither is zero.
func retryAfter(value string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(s)*time.Second, most)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}

var errTooLarge = fmt.Errorf("it is larger than %d bytes", maxAnswer)

// readAll reads the body of an answer, as far as it is within its bound.
func readAll(res *http.Response) ([]byte, error) {
	if res.ContentLength > maxAnswer {
		return nil, errTooLarge
	}
	size := res.ContentLength
	if size < 0 {
		size = 512
	}
	text := make([]byte, 0, size+1) // one more, so that the end is seen without growing
	for {
		n, err := res.Body.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case len(text) > maxAnswer:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return text, nil
		case err != nil:
			return nil, err
		}
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
	}
}
