//go:build !linux

package load

import (
	"errors"
	"net"
	"syscall"
)

// multiplexer is not there: every connection has its goroutine.
type multiplexer struct{}

func (m *multiplexer) available() bool { return false }

func (m *multiplexer) take(*conn, *net.TCPConn) error { return errors.ErrUnsupported }

func (l *lane) open() error { return nil }

func (l *lane) stop() {}

func (c *conn) writeNow([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (c *conn) arm(bool) {}

func (c *conn) forget() {}

func portLater(string, string, syscall.RawConn) error { return nil }
