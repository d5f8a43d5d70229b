package client

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestTheLadderGoesDownWhenATransportFails(t *testing.T) {
	var (
		dial   = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		reset  = &net.OpError{Op: "read", Err: errors.New("connection reset")}
		absent = &statusError{status: 404}
		down   = &statusError{status: 502}
	)
	for _, tc := range []struct {
		name     string
		failures []error
		want     Transport
	}{
		{"none", nil, WebSocket},
		{"nobody is there", []error{dial, dial, dial, dial}, WebSocket},
		{"a proxy finds nobody", []error{down, down, down}, WebSocket},
		{"once", []error{reset}, WebSocket},
		{"twice", []error{reset, reset}, SSE},
		{"no such door", []error{absent}, SSE},
		{"no such doors", []error{absent, absent}, Poll},
		{"all, and from the beginning", []error{absent, absent, absent}, WebSocket},
	} {
		now := time.Now()
		l := &ladder{list: []Transport{WebSocket, SSE, Poll}}
		for _, err := range tc.failures {
			l.failed(now, err)
		}
		if got := l.next(now); got != tc.want {
			t.Errorf("%s: next is %s, want %s", tc.name, got, tc.want)
		}
		if got := l.next(now.Add(better + time.Second)); got != WebSocket {
			t.Errorf("%s: later next is %s", tc.name, got)
		}
	}
	l := &ladder{list: []Transport{WebSocket, SSE}}
	now := time.Now()
	l.failed(now, reset)
	l.opened()
	l.failed(now, reset)
	if got := l.next(now); got != WebSocket {
		t.Errorf("failures that are not in a row lead to %s", got)
	}
}
