package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// sseLink is a stream of server-sent events, with frames up by POST.
type sseLink struct {
	o    *opening
	life context.Context // of the stream
	end  context.CancelFunc
	body io.ReadCloser
	r    *bufio.Reader

	mu sync.Mutex // guards up
	up string     // where frames are posted to; "" before the welcome
}

func openSSE(ctx context.Context, o *opening) (link, error) {
	l := &sseLink{o: o}
	l.life, l.end = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, l.end) // until the stream is open
	req, err := http.NewRequestWithContext(l.life, http.MethodGet, o.address("/sse"), nil)
	if err != nil {
		l.end()
		return nil, err
	}
	o.dress(req, o.token)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	res, err := o.HTTPClient.Do(req)
	if err != nil {
		l.end()
		return nil, err
	}
	l.body = res.Body
	if kind := res.Header.Get("Content-Type"); res.StatusCode == http.StatusOK && !strings.HasPrefix(kind, "text/event-stream") {
		err = fmt.Errorf("the stream of events is %q", kind)
	} else if res.StatusCode != http.StatusOK {
		err = newStatusError(res)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.drop()
		return nil, err
	}
	l.r = bufio.NewReaderSize(res.Body, 4<<10)
	return l, nil
}

// read gives the data of the next event that has any.
func (l *sseLink) read() ([]byte, error) {
	var data []byte
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		l.o.hear()
		field, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(line) == 0 && len(data) > 0:
			return data, nil
		case len(line) == 0:
			data = nil
		case string(field) == "data":
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			if int64(len(data)) > l.o.MaxFrame {
				return nil, errTooLong
			}
		}
	}
}

var errTooLong = errors.New("the server sent a frame over MaxFrame")

// line reads a line, which ends with LF here: the server writes no other.
func (l *sseLink) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := l.r.ReadSlice('\n')
		whole = append(whole, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if int64(len(whole)) > l.o.MaxFrame+16 {
				return nil, errTooLong
			}
		case err != nil:
			return nil, fmt.Errorf("the stream of events has ended: %w", err)
		default:
			return bytes.TrimRight(whole, "\r\n"), nil
		}
	}
}

func (l *sseLink) welcomed(connection string) {
	u := *l.o.base
	u.Path += "/sse/" + connection
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = u.String()
}

func (l *sseLink) write(ctx context.Context, frames [][]byte) error {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	if up == "" {
		return errors.New("frames cannot be sent before the welcome")
	}
	return inBatches(frames, func(list []byte) error {
		_, err := l.o.post(ctx, up, l.o.current(), list, maxRefusal)
		return err
	})
}

func (l *sseLink) leave(context.Context) { l.drop() }

func (l *sseLink) drop() {
	l.end()
	_ = l.body.Close()
}
