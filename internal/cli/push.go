package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// maxPushUsers is how many users one request may name.
const maxPushUsers = 10_000

// targetFlags say whom a push or a campaign is for.
type targetFlags struct {
	users   []string
	file    string
	where   string
	members string
	all     bool
}

func (t *targetFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&t.users, "user", nil, "`ID` of a user; may be given again")
	flags.StringVar(&t.file, "users-file", "", "`FILE` with the id of a user on each line; - is standard input")
	flags.StringVar(&t.where, "where", "", "users whose attributes fulfil this filter, `JSON`")
	flags.StringVar(&t.members, "members", "", "the members of this `CHANNEL`")
	flags.BoolVar(&t.all, "all", false, "everybody that the server has heard of")
}

// given counts the kinds of target that were given.
func (t *targetFlags) given() (n int) {
	for _, is := range []bool{len(t.users) > 0, t.file != "", t.where != "", t.members != "", t.all} {
		if is {
			n++
		}
	}
	return n
}

// check wants exactly one kind.
func (t *targetFlags) check() error {
	if t.given() != 1 {
		return usagef("give one of --user, --users-file, --where, --members and --all")
	}
	if t.where != "" && !json.Valid([]byte(t.where)) {
		return usagef("--where is not JSON; write '{\"tag\":\"vip\"}'")
	}
	return nil
}

// to is the target as a param, where all users fit into one request.
func (t *targetFlags) to(sh Shell) (any, error) {
	switch {
	case t.where != "":
		return map[string]json.RawMessage{"where": json.RawMessage(t.where)}, nil
	case t.members != "":
		return map[string]string{"members": t.members}, nil
	case t.all:
		return map[string]string{"all": "users"}, nil
	case t.file == "":
		return map[string][]string{"users": t.users}, nil
	}
	users := []string{}
	err := t.eachUser(sh, func(user string, _ int, _, _ int64) error {
		if users = append(users, user); len(users) > maxPushUsers {
			return fmt.Errorf("%s names more than %d users; for so many make a campaign: skein campaign create --users-file", t.file, maxPushUsers)
		}
		return nil
	})
	return map[string][]string{"users": users}, err
}

// eachUser reads the file of users. line is where the user stands, read and size are bytes.
func (t *targetFlags) eachUser(sh Shell, fn func(user string, line int, read, size int64) error) (err error) {
	in, size, err := sh.openInput(t.file)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return eachLine(in, func(number int, line []byte, read int64) error { return fn(string(line), number, read, size) })
}

// messageFlags are what a push and a campaign have of their message.
type messageFlags struct {
	category, event, expires, collapse, escalate string
	text                                         bool
}

func (m *messageFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&m.category, "category", "", "`NAME` of the category; without one nothing holds it back")
	flags.StringVar(&m.event, "event", "", "`NAME` of the event (default message)")
	flags.StringVar(&m.expires, "expires", "", "how long it is good, such as 2h, or until when: `TIME` as RFC 3339")
	flags.StringVar(&m.collapse, "collapse", "", "takes the place of an earlier message with the same `TEXT`")
	flags.StringVar(&m.escalate, "escalate", "", "tell the application when nobody has acknowledged it after this `DURATION`; 0s: do not")
	flags.BoolVar(&m.text, "text", false, "DATA is a text, not JSON")
}

// params are the params of the message.
func (m *messageFlags) params(sh Shell, arg string) (map[string]any, error) {
	data, err := (&publishFlags{text: m.text}).data(sh, arg)
	if err != nil {
		return nil, err
	}
	p := map[string]any{"data": data}
	for name, value := range map[string]string{"category": m.category, "event": m.event, "collapse": m.collapse, "escalate": m.escalate} {
		if value != "" {
			p[name] = value
		}
	}
	if m.expires != "" {
		p["expires"] = instant(m.expires)
	}
	return p, nil
}

// instant is a time as a param: a number when it is one, otherwise the text.
func instant(text string) any {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms
	}
	return text
}

// since is a time as a param, where a duration means that long ago.
func since(text string) any {
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-d).UnixMilli()
	}
	return instant(text)
}

func push(sh Shell) *cobra.Command {
	var (
		s       server
		target  targetFlags
		message messageFlags
		once    string
		dryRun  bool
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "push DATA",
		Short: "Push a message to users, through their inboxes",
		Example: `  skein push --user 42 --category orders '{"no":17,"state":"sent"}'
  skein push --where '{"tag":"vip"}' --category promo --expires 2h --text 'Half price today'
  skein push --users-file users.txt --category news --dry-run '{"headline":"…"}'
  skein push --all --idempotency-key maintenance-7 --text 'We are back at 9:00'`,
		Long: `Stores DATA, which is JSON or with --text a text, in the inboxes of users, and
hands it to those who are there; "-" reads it from standard input. The category
says how often and when it may interrupt them. Prints what became of it: how many
users it is for, and how many of them have which outcome.

For more than 1,000 users, or when they must be looked for, it goes on as a
campaign; watch it with skein campaign watch. With --dry-run nothing is pushed.
With an idempotency key a repeat reaches only those who do not have it yet.`,
		Args: arguments("DATA"),
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			if err := target.check(); err != nil {
				return err
			}
			params, err := message.params(sh, args[0])
			if err != nil {
				return err
			}
			if params["to"], err = target.to(sh); err != nil {
				return err
			}
			if once != "" {
				params["key"] = once
			}
			if dryRun {
				params["dry_run"] = true
			}
			var result struct {
				Audience  int64            `json:"audience"`
				Counts    map[string]int64 `json:"counts"`
				Campaign  string           `json:"campaign"`
				Duplicate bool             `json:"duplicate"`
			}
			raw, err := s.call(ctx, "push", params, &result)
			if err != nil {
				return err
			}
			if err := sh.shown(raw, asJSON); err != nil {
				return err
			}
			if result.Duplicate {
				sh.talk("the key was used before; this is that message")
			}
			for _, n := range result.Counts {
				result.Audience -= n
			}
			if result.Campaign != "" && result.Audience > 0 {
				sh.talk("it goes on as a campaign: skein campaign watch %s", result.Campaign)
			}
			return nil
		}),
	}
	target.add(cmd)
	message.add(cmd)
	cmd.Flags().StringVar(&once, "idempotency-key", "", "a repeat with the same `KEY` reaches nobody twice, for 24 hours")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "push nothing, and tell what would become of it")
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}
