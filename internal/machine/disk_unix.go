//go:build linux || darwin || freebsd || dragonfly

package machine

import "golang.org/x/sys/unix"

// Disk gives the bytes that may be written to the file system of a path, and how many it has
// in all.
func Disk(path string) (free, total uint64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, false
	}
	return uint64(max(0, s.Bavail)) * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), true
}
