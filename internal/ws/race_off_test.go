//go:build !race

package ws

// raceEnabled tells that the race detector is on, under which sync.Pool drops
// things on purpose.
const raceEnabled = false
