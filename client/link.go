package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// link is one connection of one transport. read has one caller at a time, and so
// has write; the others may be called by anyone. After a link has failed, or was
// dropped, read and write return errors for good.
type link interface {
	// read gives the next frame. Its text is the caller's.
	read() ([]byte, error)
	// write sends frames, in order.
	write(ctx context.Context, frames [][]byte) error
	// welcomed tells the id of the connection.
	welcomed(connection string)
	// leave ends the connection as a client should, while read may be under way.
	leave(ctx context.Context)
	// drop ends the connection at once.
	drop()
}

// opening is what a transport needs to connect.
type opening struct {
	*settings
	token   string        // "": none
	current func() string // the token that is valid now
	heard   *atomic.Int64 // Unix nanoseconds: when the server was last heard
}

func (o *opening) hear() { o.heard.Store(time.Now().UnixNano()) }

// open opens a link. ctx bounds the opening alone.
func open(ctx context.Context, t Transport, o *opening) (link, error) {
	switch t {
	case SSE:
		return openSSE(ctx, o)
	case Poll:
		return openPoll(ctx, o)
	default:
		return openWebSocket(ctx, o)
	}
}

// address gives the URL of a door, with what has to stand in the query.
func (o *opening) address(door string) string {
	u := *o.base
	u.Path += door
	q := url.Values{}
	if o.User != "" {
		q.Set("user", o.User)
		if o.Role != "" {
			q.Set("role", o.Role)
		}
	}
	// Where a connect frame is sent the device stands there.
	if o.Device != "" && (door == "/sse" || o.User != "") {
		q.Set("device", o.Device)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// connect gives the frame that says who the client is; nil when the query has
// said it.
func (o *opening) connect() ([]byte, error) {
	if o.User != "" {
		return nil, nil
	}
	return encode(&outgoing{Type: "connect", Token: o.token, Device: o.Device, Data: o.data})
}

// statusError is an answer to an HTTP request that is not what was hoped for.
type statusError struct {
	status     int
	message    string
	retryAfter time.Duration
}

// Error implements error.
func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s: %s", e.status, http.StatusText(e.status), e.message)
}

func hasStatus(err error, status int) bool {
	var e *statusError
	return errors.As(err, &e) && e.status == status
}

// maxRefusal bounds what is read of an answer that is only shown.
const maxRefusal = 2 << 10

func newStatusError(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	e := &statusError{status: res.StatusCode, message: strings.TrimSpace(string(body))}
	var problem struct{ Detail, Message string }
	if json.Unmarshal(body, &problem) == nil {
		e.message = problem.Detail + problem.Message
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.retryAfter = time.Duration(s) * time.Second
	}
	return e
}

// post makes a request with a JSON body and gives the answer's body, which may have
// limit bytes.
func (o *opening) post(ctx context.Context, address, token string, body []byte, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	o.dress(req, token)
	req.Header.Set("Content-Type", "application/json")
	res, err := o.HTTPClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusAccepted {
		return nil, newStatusError(res)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(answer)) > limit {
		return nil, fmt.Errorf("an answer of the server has more than %d bytes", limit)
	}
	o.hear()
	return answer, nil
}

// dress adds the headers of the application and the token.
func (o *opening) dress(req *http.Request, token string) {
	for name, values := range o.Header {
		req.Header[name] = values
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
}

// What is put into one request: the server takes 100 frames, and by default 64 KiB.
const (
	maxBatch      = 100
	maxBatchBytes = 60 << 10
)

// inBatches calls send with lists of frames that are small enough for one request,
// and with smaller ones where the server says that they were not.
func inBatches(frames [][]byte, send func(list []byte) error) error {
	for len(frames) > 0 {
		n, size := 0, 0
		for n < len(frames) && n < maxBatch && (n == 0 || size+len(frames[n]) <= maxBatchBytes) {
			size += len(frames[n]) + 1
			n++
		}
		if err := sendSplit(frames[:n], send); err != nil {
			return err
		}
		frames = frames[n:]
	}
	return nil
}

func sendSplit(frames [][]byte, send func(list []byte) error) error {
	err := send(list(frames))
	if !hasStatus(err, http.StatusRequestEntityTooLarge) {
		return err
	}
	if half := len(frames) / 2; half > 0 {
		if err := sendSplit(frames[:half], send); err != nil {
			return err
		}
		return sendSplit(frames[half:], send)
	}
	return &EndError{Status: statusTooBig, Message: err.Error(), Reconnect: true, After: 0}
}

// statusTooBig is the close code after a frame over the server's limit.
const statusTooBig = 1009

// list makes a JSON array of frames.
func list(frames [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(frames, []byte{','})...), ']')
}
