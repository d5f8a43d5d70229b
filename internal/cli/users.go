package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func users(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "What is known of users, to choose them by",
		Example: `  skein users import people.csv              one line for each user, with a header
  skein users query --where '{"tag":"vip"}'
  skein users get 42`,
	}
	cmd.AddCommand(usersImport(sh), usersQuery(sh), usersGet(sh), usersDelete(sh))
	return cmd
}

// shownUser is a user as the verbs give him.
type shownUser struct {
	ID          string          `json:"id"`
	Attributes  json.RawMessage `json:"attributes"`
	Changed     int64           `json:"changed"`
	Connections int64           `json:"connections"`
}

// queryPage is how many users are asked for at once.
const queryPage = 500

func usersQuery(sh Shell) *cobra.Command {
	var (
		s      server
		where  string
		limit  int
		all    bool
		count  bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "query",
		Short: "List users by their attributes",
		Example: `  skein users query --where '{"field":"/city","in":["Rome","Oslo"]}'
  skein users query --where '{"all":[{"tag":"vip"},{"field":"/level","gte":10}]}' --count
  skein users query --all --json > users.jsonl`,
		Long: `Lists users who have attributes and fulfil the filter; without one, all of them.
With --json each user is a line of JSON that skein users import reads again.`,
		Args: arguments(),
		RunE: s.ready(sh, func(ctx context.Context, _ []string) error {
			params := map[string]any{}
			if where != "" {
				if !json.Valid([]byte(where)) {
					return usagef("--where is not JSON; write '{\"tag\":\"vip\"}'")
				}
				params["where"] = json.RawMessage(where)
			}
			if limit < 1 {
				return usagef("--limit must be at least 1")
			}
			if count {
				params["count"], params["limit"] = true, 1
				var r struct {
					Count int64 `json:"count"`
				}
				raw, err := s.call(ctx, "users.query", params, &r)
				if err != nil {
					return err
				}
				if asJSON {
					return sh.print(raw)
				}
				return sh.print(strconv.AppendInt(nil, r.Count, 10))
			}
			return sh.listUsers(ctx, &s, params, limit, all, asJSON)
		}),
	}
	cmd.Flags().StringVar(&where, "where", "", "the filter, `JSON`")
	cmd.Flags().IntVar(&limit, "limit", 50, "`NUMBER` of users at most")
	cmd.Flags().BoolVar(&all, "all", false, "all of them, however many")
	cmd.Flags().BoolVar(&count, "count", false, "only tell how many there are")
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

func (s Shell) listUsers(ctx context.Context, from *server, params map[string]any, limit int, all, asJSON bool) error {
	params["limit"] = queryPage
	if !all {
		params["limit"] = min(limit, queryPage)
	}
	var t *table
	if !asJSON {
		t = s.newTable("ID", "CHANGED", "CONNECTIONS", "ATTRIBUTES")
	}
	err := from.pages(ctx, "users.query", params, func(items []json.RawMessage) (bool, error) {
		if !all {
			items = items[:min(limit, len(items))]
			limit -= len(items)
		}
		for _, item := range items {
			if asJSON {
				if err := s.print(item); err != nil {
					return false, err
				}
				continue
			}
			var u shownUser
			if err := json.Unmarshal(item, &u); err != nil {
				return false, err
			}
			t.row(u.ID, moment(u.Changed), strconv.FormatInt(u.Connections, 10), compact(u.Attributes))
		}
		return all || limit > 0, nil
	})
	if t != nil {
		err = errors.Join(err, t.flush())
	}
	return err
}

// compact writes JSON on one line.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func usersGet(sh Shell) *cobra.Command {
	var (
		s      server
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "get USER",
		Short:   "Show what is known of a user",
		Example: "  skein users get 42\n  skein users get 42 --json | jq .attributes",
		Long:    "Shows the attributes of a user, since when he is known, the categories that he has\nmuted, and how many connections he has.",
		Args:    arguments("USER"),
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			raw, err := s.call(ctx, "users.get", map[string]string{"id": args[0]}, nil)
			if err != nil {
				return err
			}
			return sh.shown(raw, asJSON)
		}),
	}
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

func usersDelete(sh Shell) *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:     "delete USER…",
		Short:   "Forget users, their inboxes and their records",
		Example: "  skein users delete 42\n  skein users delete 42 43 44",
		Long:    "Forgets users: their attributes, their inboxes, and the records of what was pushed\nto them. It cannot be taken back. Prints how many there were.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("USER is missing")
			}
			return nil
		},
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			total := int64(0)
			for len(args) > 0 {
				n := min(len(args), 1000)
				var r struct {
					Count int64 `json:"count"`
				}
				if _, err := s.call(ctx, "users.delete", map[string][]string{"users": args[:n]}, &r); err != nil {
					return err
				}
				total += r.Count
				args = args[n:]
			}
			_, err := fmt.Fprintln(sh.Stdout, total)
			return err
		}),
	}
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}
