package tables

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// Bounds of what is kept, in bytes. Those of names follow from the indexes of
// PostgreSQL, whose entries have at most about 2,700.
const (
	maxChannel  = 1024
	maxUser     = 1024
	maxDevice   = 512
	maxToken    = 1024
	maxReason   = 1024
	maxSchedule = 256
	maxOwner    = 1024
	maxPlan     = 1 << 20
	maxState    = 64 << 10

	maxUsers = 10_000
	maxTime  = 1<<48 - 1
)

// beyond comes after every name that can be kept.
var beyond = bytes.Repeat([]byte{0xFF}, maxChannel+1)

// ours gives the name of a command that this package carries out; "": it is
// another's.
func ours(c store.Command) string {
	switch c.(type) {
	case store.AddMembers:
		return "add members"
	case store.RemoveMembers:
		return "remove members"
	case store.PutSchedule:
		return "put schedule"
	case store.DeleteSchedule:
		return "delete schedule"
	case store.ClaimSchedule:
		return "claim schedule"
	case store.FinishSchedule:
		return "finish schedule"
	case store.PutDenial:
		return "put denial"
	case store.SawUsers:
		return "saw users"
	}
	if name := cmp.Or(ourUsers(c), ourCampaign(c), ourChat(c), ourAudit(c)); name != "" {
		return name
	}
	name, _ := ourPush(c)
	return name
}

func unknown(c store.Command) error { return fmt.Errorf("%T is not known", c) }

// Check tells whether a group is one for [Do], and about how many bytes it has.
// The error names the command, the field and the reason.
func Check(group []store.Command) (mine bool, size int, err error) {
	first := -1
	for i, c := range group {
		if ours(c) != "" {
			first = i
			break
		}
	}
	if first < 0 {
		return false, 0, nil
	}
	for i, c := range group {
		what := ours(c)
		if what == "" {
			return true, 0, fmt.Errorf("command %d: %s: cannot be mixed with messages", first, ours(group[first]))
		}
		n, err := check(c)
		if err != nil {
			return true, 0, fmt.Errorf("command %d: %s: %w", i, what, err)
		}
		size += n + 256
	}
	return true, size, nil
}

// manyUsers is how many users one command may put or delete without being [Bulk].
const manyUsers = 100

// Bulk tells whether a group is one of those that may take long and can wait: work
// that goes through many users, a step at a time.
func Bulk(group []store.Command) bool {
	return slices.ContainsFunc(group, func(c store.Command) bool {
		switch c := c.(type) {
		case store.Push:
			return c.Step != nil
		case store.PutUsers:
			return len(c.Users) > manyUsers
		case store.DeleteUsers:
			return len(c.Users) > manyUsers
		case store.Prune, store.AddToCampaign, store.DeleteCampaign, store.Wake, store.Expire, store.TrimAudit:
			return true
		}
		return false
	})
}

// checkLimit tells what is wrong with the limit of a read.
func checkLimit(limit int) error {
	if limit < 1 {
		return fmt.Errorf("limit: %d is less than 1", limit)
	}
	return nil
}

func check(c store.Command) (size int, err error) {
	switch c := c.(type) {
	case store.AddMembers:
		size, err = checkUsers(c.Users)
		return size, errors.Join(name("Channel", c.Channel, 1, maxChannel), err, moment("Time", c.Time, 1))
	case store.RemoveMembers:
		size, err = checkUsers(c.Users)
		return size, errors.Join(name("Channel", c.Channel, 1, maxChannel), err, checkSome(c.Some, c.Users))
	case store.PutSchedule:
		return len(c.Plan) + len(c.State), errors.Join(name("Name", c.Name, 1, maxSchedule), name("Plan", c.Plan, 0, maxPlan),
			name("State", c.State, 0, maxState), moment("Next", c.Next, 0))
	case store.DeleteSchedule:
		return 0, name("Name", c.Name, 1, maxSchedule)
	case store.ClaimSchedule:
		if c.Until <= c.Now {
			err = fmt.Errorf("%s: %d is not after Now, %d", "Until", c.Until, c.Now)
		}
		return 0, errors.Join(name("Name", c.Name, 1, maxSchedule), name("Owner", c.Owner, 1, maxOwner), moment("Now", c.Now, 1),
			err, moment("Until", c.Until, 1))
	case store.FinishSchedule:
		return len(c.State), errors.Join(name("Name", c.Name, 1, maxSchedule), name("State", c.State, 0, maxState),
			moment("Next", c.Next, 0), moment("Until", c.Until, 0))
	case store.PutDenial:
		if c.User == "" && c.Device == "" && c.Token == "" {
			err = fmt.Errorf("%s: is empty, as are Device and Token: it would be about everybody", "User")
		}
		return len(c.Reason), errors.Join(err, name("User", c.User, 0, maxUser), name("Device", c.Device, 0, maxDevice),
			name("Token", c.Token, 0, maxToken), moment("Before", c.Before, 0), name("Reason", c.Reason, 0, maxReason),
			moment("Time", c.Time, 1), moment("Expires", c.Expires, 0))
	case store.SawUsers:
		if len(c.Seen) > maxUsers {
			return 0, fmt.Errorf("%s: has %d; at most %d are possible", "Seen", len(c.Seen), maxUsers)
		}
		for i, s := range c.Seen {
			field := fmt.Sprintf("Seen[%d].", i)
			if err := errors.Join(name(field+"User", s.User, 1, maxUser), name(field+"Device", s.Device, 0, maxDevice), moment(field+"Time", s.Time, 1)); err != nil {
				return 0, err
			}
			size += len(s.User) + len(s.Device) + 16
		}
		return size, nil
	}
	if ourUsers(c) != "" {
		return checkUser(c)
	}
	if ourCampaign(c) != "" {
		return checkCampaign(c)
	}
	if ourChat(c) != "" {
		return checkChat(c)
	}
	if ourAudit(c) != "" {
		return checkAudit(c)
	}
	if _, is := ourPush(c); is {
		return checkPush(c)
	}
	return 0, unknown(c)
}

func checkUsers(users []string) (size int, err error) {
	if len(users) > maxUsers {
		return 0, fmt.Errorf("%s: has %d; at most %d are possible", "Users", len(users), maxUsers)
	}
	for i, u := range users {
		if u == "" || len(u) > maxUser {
			return 0, fmt.Errorf("%s[%d]: has %d bytes; 1 to %d are possible", "Users", i, len(u), maxUser)
		}
		size += len(u) + 16
	}
	return size, nil
}

// name checks how long something is.
func name[B string | []byte](field string, b B, low, high int) error {
	if len(b) < low || len(b) > high {
		return fmt.Errorf("%s: has %d bytes; %d to %d are possible", field, len(b), low, high)
	}
	return nil
}

// moment checks a time.
func moment(field string, ms, low int64) error {
	if ms < low || ms > maxTime {
		return fmt.Errorf("%s: %d is not from %d to %d", field, ms, low, int64(maxTime))
	}
	return nil
}
