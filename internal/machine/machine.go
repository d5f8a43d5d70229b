// Package machine tells what the process has left of what the machine gives it: disk and
// descriptors. Where a system cannot be asked, it says so. It keeps nothing and starts no
// goroutine.
package machine
