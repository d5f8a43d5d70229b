package access

import (
	"fmt"

	"github.com/skein-realtime/skein/store"
)

// Filled makes a feature that knows n blocks and as many revocations.
func Filled(n int) *Feature {
	f := &Feature{}
	f.denials.m = map[key]entry{}
	for i := range n {
		f.denials.apply(store.Denial{Seq: 1, User: fmt.Sprint("user ", i)}, 1)
		f.denials.apply(store.Denial{Seq: 1, User: fmt.Sprint("user ", i), Before: 1}, 1)
	}
	return f
}
