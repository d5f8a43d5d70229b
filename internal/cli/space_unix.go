//go:build linux || darwin || freebsd || dragonfly

package cli

import "golang.org/x/sys/unix"

// freeSpace gives the bytes that may be written to the file system of a path.
func freeSpace(path string) (bytes uint64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, false
	}
	return uint64(max(0, s.Bavail)) * uint64(s.Bsize), true
}
