//go:build !linux && !darwin && !freebsd && !dragonfly

package cli

// freeSpace does not know.
func freeSpace(string) (bytes uint64, known bool) { return 0, false }
