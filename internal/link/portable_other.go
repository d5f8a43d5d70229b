//go:build !unix

package link

import "syscall"

const nonblocking = false

func (p *portable) readRaw(*Conn) {}

func writeRaw(syscall.RawConn, []byte) (int, error) { return 0, errAgain }
