// Package hooks tells how the application's backends do that are asked and told over HTTP. It
// offers the verb hooks.list, stores nothing and starts no goroutine.
package hooks

import (
	"context"

	"github.com/skein-realtime/skein/internal/verb"
)

// Hook is one backend. Counters begin at the start of the server.
type Hook struct {
	URL       string           `json:"url" jsonschema:"without user and query"`
	Events    []string         `json:"events" jsonschema:"those that it wants"`
	State     string           `json:"state" jsonschema:"idle: nothing was sent yet; ok; failing: the last request was not answered as it should be; open: it failed so often that it is left alone for now"`
	Since     int64            `json:"since" jsonschema:"when the state began, Unix milliseconds"`
	Queued    int64            `json:"queued" jsonschema:"told events that wait or are being sent"`
	UnderWay  int64            `json:"under_way" jsonschema:"requests"`
	Asked     int64            `json:"asked" jsonschema:"questions that have ended"`
	Told      int64            `json:"told" jsonschema:"events that it was to be told"`
	Delivered int64            `json:"delivered" jsonschema:"of those, the ones that have arrived"`
	Dropped   map[string]int64 `json:"dropped" jsonschema:"of those, the ones that were dropped, by reason"`
	Retries   int64            `json:"retries" jsonschema:"requests that repeated one"`
	Opened    int64            `json:"opened" jsonschema:"times that it failed so often that it was left alone"`
	Errors    []Failure        `json:"errors" jsonschema:"the last 20, the newest first"`
}

// Failure is a request that was not answered as it should be.
type Failure struct {
	Time   int64  `json:"time" jsonschema:"Unix milliseconds"`
	Event  string `json:"event" jsonschema:"batch for events that are told"`
	Text   string `json:"text"`
	Status int    `json:"status,omitempty" jsonschema:"of the answer; absent: there was none"`
}

// List is the result of hooks.list.
type List struct {
	Hooks []Hook `json:"hooks"`
}

// None is for verbs without params.
type None struct{}

// New registers the verb. list gives the backends as they are now.
func New(list func() []Hook, r *verb.Registry) {
	verb.Add(r, "hooks.list", "Tells how the application's backend does that is asked and told over HTTP.", func(context.Context, None) (List, error) {
		l := List{Hooks: list()}
		if l.Hooks == nil {
			l.Hooks = []Hook{}
		}
		return l, nil
	})
}
