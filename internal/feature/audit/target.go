package audit

import (
	"errors"

	"github.com/skein-realtime/skein/protocol"
)

// deepest is how deeply params may be nested for their target to be looked for.
const deepest = 1000

// targetOf is the channel, user, connection, campaign, schedule or name that params name
// first; "": none.
func targetOf(raw []byte) (target string) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if o.Read(raw, deepest) != nil {
		return ""
	}
	o.Each(func(name string, value []byte) bool {
		switch name {
		case "channel", "user", "connection", "campaign", "schedule", "name", "id":
			target, _ = protocol.Unquote(value)
		case "users", "channels", "connections", "to":
			target = firstOf(value)
		}
		return target == ""
	})
	return target
}

var errFound = errors.New("found")

// firstOf is what a list, a single value or an address ({"user":"ann"}) names first.
func firstOf(value []byte) (target string) {
	if len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		target, _ = protocol.Unquote(value)
	case '{':
		target = targetOf(value)
	case '[':
		_ = protocol.EachElement(value, func(element []byte) error {
			if len(element) > 0 && element[0] != '[' {
				target = firstOf(element)
			}
			return errFound
		})
	}
	return target
}
