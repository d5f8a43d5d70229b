//go:build unix

package app

import (
	"os/signal"
	"syscall"
)

// surviveFileSizeLimit makes a write over the limit of file sizes (ulimit -f)
// fail like one on a full disk. The Go runtime would end the program otherwise.
func surviveFileSizeLimit() { signal.Ignore(syscall.SIGXFSZ) }
