//go:build !unix

package link

import "syscall"

const nonblocking = false

func (p *portable) readRaw(*Conn) {}

type rawWrite struct{}

func (*rawWrite) write(syscall.RawConn, []byte) (int, error) { return 0, errAgain }

type rawRead struct{}
