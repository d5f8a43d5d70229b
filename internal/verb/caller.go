package verb

import (
	"context"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
)

// ConsolePrefix begins the names of callers that are users of the console, so that
// none of them is taken for an API key.
const ConsolePrefix = "console:"

// Refusal is the answer to somebody who may not run a verb; nil: he may.
func (c *Caller) Refusal(name string) *fault.Error {
	switch {
	case c.Scopes == nil || c.Scopes.Allows(name):
		return nil
	case c.By == ByConsole:
		return fault.New(fault.Denied, "the role %s may not run %s", c.Role, name)
	}
	return fault.New(fault.Denied, "the key %q has no scope for %s", c.Name, name)
}

// Who is the name of the caller without what tells its kind.
func (c *Caller) Who() string {
	if c.By == ByConsole {
		return strings.TrimPrefix(c.Name, ConsolePrefix)
	}
	return c.Name
}

type baseKey struct{}

// WithBase says in ctx where the caller finds the server, such as https://skein.example.
func WithBase(ctx context.Context, base string) context.Context {
	return context.WithValue(ctx, baseKey{}, base)
}

// BaseOf tells where the caller finds the server; "" when it is not known.
func BaseOf(ctx context.Context) string {
	base, _ := ctx.Value(baseKey{}).(string)
	return base
}
