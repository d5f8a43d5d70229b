//go:build !unix

package cli

// openFiles does not know: such a system has no limit to ask for.
func openFiles() (limit uint64, known bool) { return 0, false }

// directoryUser does not know: a server that starts finds out.
func directoryUser(string) (holder string, used bool) { return "", false }
