//go:build !unix

package machine

// MaxDescriptors does not know: such a system has no limit to ask for.
func MaxDescriptors() (now, most uint64, known bool) { return 0, 0, false }

// Descriptors does not know.
func Descriptors() (open uint64, known bool) { return 0, false }
