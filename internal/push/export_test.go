package push

import "time"

// InForce is what settings mean.
func (s Settings) InForce() Settings { return s.withDefaults() }

// EscalateAfter is how long to wait after a failure, so long after the first time.
func EscalateAfter(since time.Duration) time.Duration { return escalateAfter(since.Milliseconds()) }
