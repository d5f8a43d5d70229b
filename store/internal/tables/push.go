package tables

import (
	"context"
	"errors"
	"fmt"

	"github.com/skein-realtime/skein/store"
)

// Bounds of what is pushed, in bytes.
const (
	maxMessage  = 26 // of an id, which is not less either
	maxEvent    = 256
	maxContent  = 16 << 20
	maxCategory = 64
	maxCollapse = 256
	maxRun      = 64 // of the id of a campaign
	maxCursor   = 1100
	maxKey      = 64
	maxDigest   = 32
	maxZone     = 64
)

// Bounds of what one command does.
const (
	maxRecipients  = 1000
	maxSettlements = 1000
	maxDue         = 1000
	maxPruned      = 10_000
	maxBroadcasts  = 1000 // that one visit makes deliveries of
)

// maxPushTime is the last time that leaves 20 bits for the number in a place.
const maxPushTime = 1<<43 - 1

// ourPush gives the name of a command about pushes.
func ourPush(c store.Command) (name string, ok bool) {
	switch c.(type) {
	case store.Push:
		return "push", true
	case store.Broadcast:
		return "broadcast", true
	case store.Collect:
		return "collect", true
	case store.Settle:
		return "settle", true
	case store.MarkRead:
		return "mark read", true
	case store.ClearPushed:
		return "clear pushed", true
	case store.Wake:
		return "wake", true
	case store.Expire:
		return "expire", true
	case store.RecallPush:
		return "recall push", true
	case store.Escalated:
		return "escalated", true
	case store.Prune:
		return "prune", true
	}
	return "", false
}

// checkPush tells what is wrong with a command, and about how many bytes it has.
func checkPush(c store.Command) (size int, err error) {
	switch c := c.(type) {
	case store.Push:
		size, err = checkRecipients(c.To)
		return size + len(c.Data), errors.Join(checkContent(&c.Content), err, pushed("Now", c.Now, 1), name("Zone", c.Zone, 0, maxZone),
			atLeast("Keep", c.Keep, 0), checkKey(c.Key, c.Digest, c.KeyExpires), checkStep(c.Step))
	case store.Broadcast:
		return len(c.Data), errors.Join(checkContent(&c.Content), pushed("Now", c.Now, 1), checkKey(c.Key, c.Digest, c.KeyExpires), checkStep(c.Step))
	case store.Collect:
		return 0, errors.Join(name("User", c.User, 1, maxUser), pushed("Now", c.Now, 1), name("Zone", c.Zone, 0, maxZone), atLeast("Keep", c.Keep, 0),
			number63("After", c.After), atLeast("Limit", c.Limit, 1))
	case store.Settle:
		size, err = checkSettlements(c.Settlements)
		return size, errors.Join(err, pushed("Now", c.Now, 1))
	case store.MarkRead:
		return 0, errors.Join(name("User", c.User, 1, maxUser), name("Device", c.Device, 0, maxDevice), pushed("Now", c.Now, 1))
	case store.ClearPushed:
		return 0, errors.Join(name("User", c.User, 1, maxUser), name("Category", c.Category, 0, maxCategory), name("Collapse", c.Collapse, 1, maxCollapse), pushed("Now", c.Now, 1))
	case store.Wake:
		return 0, errors.Join(pushed("Now", c.Now, 1), name("Zone", c.Zone, 0, maxZone), between("Limit", c.Limit, maxDue))
	case store.Expire:
		return 0, errors.Join(pushed("Now", c.Now, 1), between("Limit", c.Limit, maxDue))
	case store.RecallPush:
		return 0, errors.Join(name("ID", c.ID, maxMessage, maxMessage), pushed("Now", c.Now, 1), between("Limit", c.Limit, maxDue))
	case store.Escalated:
		return 0, errors.Join(number63("N", c.N), number63("Seq", c.Seq), pushed("Next", c.Next, 0))
	case store.Prune:
		return 0, errors.Join(pushed("Records", c.Records, 0), pushed("Now", c.Now, 1), between("Limit", c.Limit, maxPruned))
	}
	return 0, unknown(c)
}

func checkContent(c *store.Content) error {
	return errors.Join(name("ID", c.ID, maxMessage, maxMessage), pushed("Time", c.Time, 0), name("Event", c.Event, 0, maxEvent),
		name("Data", c.Data, 0, maxContent), name("Category", c.Category, 0, maxCategory), pushed("Expires", c.Expires, 0),
		name("Collapse", c.Collapse, 0, maxCollapse), pushed("Escalate", c.Escalate, 0), name("Campaign", c.Campaign, 0, maxRun))
}

func checkRecipients(to []store.Recipient) (size int, err error) {
	if len(to) > maxRecipients {
		return 0, fmt.Errorf("%s: has %d; at most %d are possible", "To", len(to), maxRecipients)
	}
	for i := range to {
		r := &to[i]
		if len(r.User) > maxUser || r.User == "" && r.N == 0 {
			return 0, fmt.Errorf("%s[%d].User: has %d bytes; 1 to %d are possible", "To", i, len(r.User), maxUser)
		}
		if r.N > 1<<63-1 {
			return 0, fmt.Errorf("%s[%d].N: %d is no number of a user", "To", i, r.N)
		}
		size += len(r.User) + 64
	}
	return size, nil
}

func checkSettlements(list []store.Settlement) (size int, err error) {
	if len(list) > maxSettlements {
		return 0, fmt.Errorf("%s: has %d; at most %d are possible", "Settlements", len(list), maxSettlements)
	}
	for i := range list {
		s := &list[i]
		field := func(name string) string { return fmt.Sprintf("Settlements[%d].%s", i, name) }
		switch {
		case s.State != store.Sent && s.State != store.Delivered:
			err = fmt.Errorf("%s: %d is neither sent nor delivered", field("State"), s.State)
		case s.User == "" && s.N == 0:
			err = name(field("User"), s.User, 1, maxUser)
		case (s.Seq == 0) == (s.ID == ""):
			err = fmt.Errorf("%s: either it or ID says which delivery it is", field("Seq"))
		case s.UpTo && s.ID != "":
			err = fmt.Errorf("%s: goes with Seq, not with ID", field("UpTo"))
		case len(s.User) > maxUser || len(s.Device) > maxDevice || s.Time < 1 || s.Time > maxPushTime || s.N > 1<<63-1 || len(s.ID) > maxMessage:
			err = errors.Join(name(field("User"), s.User, 0, maxUser), number63(field("N"), s.N), name(field("ID"), s.ID, 0, maxMessage),
				name(field("Device"), s.Device, 0, maxDevice), pushed(field("Time"), s.Time, 1))
		}
		if err != nil {
			return 0, err
		}
		size += len(s.User) + len(s.Device) + 64
	}
	return size, nil
}

func checkKey(key, digest []byte, expires int64) error {
	err := errors.Join(name("Key", key, 0, maxKey), name("Digest", digest, 0, maxDigest))
	if len(key) > 0 {
		err = errors.Join(err, pushed("KeyExpires", expires, 1))
	}
	return err
}

func checkStep(s *store.Step) error {
	if s == nil {
		return nil
	}
	return errors.Join(name("Step.Campaign", s.Campaign, 1, maxRun), number63("Step.Version", s.Version),
		name("Step.From", s.From, 0, maxCursor), name("Step.To", s.To, 0, maxCursor))
}

// pushed checks a time of a push.
func pushed(field string, ms, low int64) error {
	if ms < low || ms > maxPushTime {
		return fmt.Errorf("%s: %d is not from %d to %d", field, ms, low, int64(maxPushTime))
	}
	return nil
}

func atLeast(field string, n, low int) error {
	if n < low {
		return fmt.Errorf("%s: %d is less than %d", field, n, low)
	}
	return nil
}

func between(field string, n, high int) error {
	if n < 1 || n > high {
		return fmt.Errorf("%s: %d is not from 1 to %d", field, n, high)
	}
	return nil
}

// number63 checks a number that a column of 64 bits with a sign must hold.
func number63(field string, n uint64) error {
	if n > 1<<63-1 {
		return fmt.Errorf("%s: %d is more than %d", field, n, int64(1<<63-1))
	}
	return nil
}

// applyPush carries out a command that checkPush has found good. When it gives an
// error of the contract it has changed nothing.
func applyPush(ctx context.Context, tx Tx, c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.Push:
		return newWork(ctx, tx, c.Now, c.Zone).push(&c)
	case store.Broadcast:
		return newWork(ctx, tx, c.Now, "").broadcast(&c)
	case store.Collect:
		return newWork(ctx, tx, c.Now, c.Zone).collect(&c)
	case store.Settle:
		return newWork(ctx, tx, c.Now, "").settle(&c)
	case store.MarkRead:
		return newWork(ctx, tx, c.Now, "").markRead(&c)
	case store.ClearPushed:
		return newWork(ctx, tx, c.Now, "").clear(&c)
	case store.Wake:
		return newWork(ctx, tx, c.Now, c.Zone).wake(&c)
	case store.Expire:
		return newWork(ctx, tx, c.Now, "").expire(&c)
	case store.RecallPush:
		return newWork(ctx, tx, c.Now, "").recall(&c)
	case store.Escalated:
		return newWork(ctx, tx, 0, "").escalated(&c)
	case store.Prune:
		return newWork(ctx, tx, c.Now, "").prune(&c)
	}
	return nil, unknown(c)
}
