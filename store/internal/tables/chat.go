package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// Bounds of what is kept about conversations.
const (
	maxSettings = 64 << 10
	maxAlerts   = 1000
)

// ourChat gives the name of a command about conversations; "": it is none.
func ourChat(c store.Command) string {
	switch c.(type) {
	case store.Admit:
		return "admit"
	case store.Dismiss:
		return "dismiss"
	case store.SetRole:
		return "set role"
	case store.PutGroup:
		return "put group"
	case store.MarkMember:
		return "mark member"
	case store.SetAlerts:
		return "set alerts"
	case store.BlockPeer:
		return "block peer"
	case store.AlertsDone:
		return "alerts done"
	}
	return ""
}

// AboutHeads tells whether a group reads where channels end.
func AboutHeads(group []store.Command) bool {
	return slices.ContainsFunc(group, func(c store.Command) bool {
		switch c.(type) {
		case store.Admit, store.MarkMember:
			return true
		}
		return false
	})
}

// checkChat tells what is wrong with a command, and about how many bytes it has.
func checkChat(c store.Command) (size int, err error) {
	switch c := c.(type) {
	case store.Admit:
		return checkAdmit(&c)
	case store.Dismiss:
		size, err = checkUsers(c.Users)
		return size, errors.Join(name("Channel", c.Channel, 1, maxChannel), err, checkSome(c.Some, c.Users), name("By", c.By, 0, maxUser))
	case store.SetRole:
		return 0, errors.Join(name("Channel", c.Channel, 1, maxChannel), name("User", c.User, 1, maxUser), checkRole(c.Role, store.RoleReader), name("By", c.By, 0, maxUser))
	case store.PutGroup:
		return len(c.Data), errors.Join(name("Channel", c.Channel, 1, maxChannel), checkSettings("Data", c.Data), checkJoin("Join", c.Join),
			moment("Time", c.Time, 1), name("By", c.By, 0, maxUser))
	case store.MarkMember:
		return 0, errors.Join(name("Channel", c.Channel, 1, maxChannel), name("User", c.User, 1, maxUser))
	case store.SetAlerts:
		if c.Level > store.AlertNone {
			err = fmt.Errorf("%s: %d is not from %d to %d", "Level", c.Level, store.AlertDefault, store.AlertNone)
		}
		return 0, errors.Join(name("Channel", c.Channel, 1, maxChannel), name("User", c.User, 1, maxUser), err)
	case store.BlockPeer:
		if c.User == c.Peer {
			err = fmt.Errorf("%s: is User himself", "Peer")
		}
		return 0, errors.Join(name("User", c.User, 1, maxUser), name("Peer", c.Peer, 1, maxUser), err, moment("Time", c.Time, 1))
	case store.AlertsDone:
		return checkAlerts(c.Alerts)
	}
	return 0, unknown(c)
}

func checkAdmit(c *store.Admit) (size int, err error) {
	size, err = checkUsers(c.Users)
	if c.Most < 0 {
		err = errors.Join(err, fmt.Errorf("%s: %d is less than 0", "Most", c.Most))
	}
	if c.Create != nil {
		size += len(c.Create.Data)
		err = errors.Join(err, checkSettings("Create.Data", c.Create.Data), checkJoin("Create.Join", c.Create.Join))
	}
	return size, errors.Join(name("Channel", c.Channel, 1, maxChannel), err, checkRole(c.Role, 0), moment("Time", c.Time, 1), name("By", c.By, 0, maxUser))
}

func checkSome(some int, users []string) error {
	if some < 0 || some > maxUsers {
		return fmt.Errorf("%s: %d is not from 0 to %d", "Some", some, maxUsers)
	}
	if some > 0 && len(users) > 0 {
		return fmt.Errorf("%s: is for when Users is empty", "Some")
	}
	return nil
}

func checkRole(r, low store.Role) error {
	if r < low || r > store.RoleOwner {
		return fmt.Errorf("%s: %d is not from %d to %d", "Role", r, low, store.RoleOwner)
	}
	return nil
}

func checkJoin(field string, j store.JoinRule) error {
	if j > store.JoinOpen {
		return fmt.Errorf("%s: %d is not from 0 to %d", field, j, store.JoinOpen)
	}
	return nil
}

func checkSettings(field string, data []byte) error {
	if err := name(field, data, 0, maxSettings); err != nil || data == nil {
		return err
	}
	if !json.Valid(data) {
		return fmt.Errorf("%s: is no JSON", field)
	}
	return nil
}

func checkAlerts(list []store.Alert) (size int, err error) {
	if len(list) > maxAlerts {
		return 0, fmt.Errorf("%s: has %d; at most %d are possible", "Alerts", len(list), maxAlerts)
	}
	for i, a := range list {
		if a.Channel == "" || len(a.Channel) > maxChannel || a.Seq > math.MaxInt64 {
			field := fmt.Sprintf("Alerts[%d].", i)
			return 0, errors.Join(name(field+"Channel", a.Channel, 1, maxChannel), number63(field+"Seq", a.Seq))
		}
		size += len(a.Channel) + 16
	}
	return size, nil
}

// applyChat carries out a command that checkChat has found good. When it gives an error
// of the contract it has changed nothing.
func applyChat(ctx context.Context, tx Tx, c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.Admit:
		return admit(ctx, tx, &c)
	case store.Dismiss:
		return dismiss(ctx, tx, &c)
	case store.SetRole:
		return setRole(ctx, tx, &c)
	case store.PutGroup:
		return putGroup(ctx, tx, &c)
	case store.MarkMember:
		return markMember(ctx, tx, &c)
	case store.SetAlerts:
		return setAlerts(ctx, tx, &c)
	case store.BlockPeer:
		return blockPeer(ctx, tx, &c)
	case store.AlertsDone:
		return alertsDone(ctx, tx, &c)
	}
	return nil, unknown(c)
}
