//go:build unix

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// directoryUser tells whether a server has the lock of a data directory, and
// which one. The lock is let go at once where there is none.
func directoryUser(dir string) (holder string, used bool) {
	f, err := os.Open(filepath.Join(dir, "skein.lock"))
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return "", false
	}
	text := make([]byte, 32)
	n, _ := f.Read(text) // a server that has just come has not written yet
	if pid := strings.TrimSpace(string(text[:n])); pid != "" {
		return "a server (process " + pid + ")", true
	}
	return "a server", true
}
