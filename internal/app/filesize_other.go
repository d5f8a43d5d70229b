//go:build !unix

package app

// surviveFileSizeLimit has nothing to do: no signal comes of such a limit here.
func surviveFileSizeLimit() {}
