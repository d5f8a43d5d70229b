//go:build unix

package machine

import (
	"os"
	"runtime"
	"syscall"
)

// MaxDescriptors gives how many files and connections the program may have open at most,
// and how many it may if it asks for more.
func MaxDescriptors() (now, most uint64, known bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, 0, false
	}
	return uint64(r.Cur), uint64(r.Max), true
}

// Descriptors counts the files and connections that the program has open. It may take some
// milliseconds where there are very many.
func Descriptors() (open uint64, known bool) {
	dir := "/dev/fd"
	if runtime.GOOS == "linux" {
		dir = "/proc/self/fd"
		// Linux 6.2 and newer keep the number here; before, it is zero.
		if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
			return uint64(info.Size()), true
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	for {
		names, err := f.Readdirnames(1024)
		open += uint64(len(names))
		if err != nil {
			break // the end, or as far as it goes
		}
	}
	return max(open, 1) - 1, true // without that of the directory
}
