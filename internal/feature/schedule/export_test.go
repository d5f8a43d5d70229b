package schedule

// Crash ends the goroutines of a feature as the end of its process would: what
// runs is cut off, nothing is written, no claim is given back.
func (f *Feature) Crash() { f.close(false) }

// Bounds that tests know.
const (
	Lease     = lease
	MaxMakeUp = maxMakeUp
	Workers   = workers
)
