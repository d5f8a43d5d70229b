//go:build !linux

package main

import (
	"errors"
	"net"
)

func connect(*net.TCPListener, []byte, []byte, []byte) error { return errors.ErrUnsupported }
