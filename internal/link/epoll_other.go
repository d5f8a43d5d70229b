//go:build !linux

package link

import (
	"errors"
	"net"
)

const epollAvailable = false

type pollers struct{}

func startPollers(*Server, int) (*pollers, error) {
	return nil, errors.New("epoll is a facility of Linux")
}

func (*pollers) close() {}

func (*pollers) adopt(*Conn, *net.TCPConn) (func(), error) {
	return nil, errors.New("epoll is a facility of Linux")
}
