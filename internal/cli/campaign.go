package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/term"
)

func campaign(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "campaign",
		Short: "Push to many users, as a job of the server",
		Example: `  skein campaign create --name spring --where '{"tag":"vip"}' --category promo --text 'Half price today'
  skein campaign estimate "$ID"
  skein campaign start "$ID"
  skein campaign watch "$ID"
  skein campaign list --state running`,
	}
	cmd.AddCommand(
		campaignCreate(sh), campaignEstimate(sh), campaignWatch(sh), campaignList(sh),
		campaignVerb(sh, "get", "Show a campaign and how far it has come", ""),
		campaignVerb(sh, "start", "Start a campaign, at once or at its time", ""),
		campaignVerb(sh, "pause", "Stop a campaign until it is resumed", "It stops within a step, of a few hundred users."),
		campaignVerb(sh, "resume", "Go on with a campaign that was paused", ""),
		campaignVerb(sh, "cancel", "End a campaign; what was pushed stays", ""),
		campaignVerb(sh, "recall", "End a campaign and withdraw its message", "The message is withdrawn from everybody who has not acknowledged it; who has\nkeeps it."),
		campaignVerb(sh, "delete", "Forget a campaign that does not run", "The records of what was pushed stay."),
	)
	return cmd
}

// shownCampaign is a campaign as the verbs give it.
type shownCampaign struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	State    string           `json:"state"`
	Created  int64            `json:"created"`
	Audience *int64           `json:"audience"`
	Progress int64            `json:"progress"`
	Counts   map[string]int64 `json:"counts"`
	Error    string           `json:"error"`
}

// outcomes are the members of counts, in the order in which they are shown.
var outcomes = []string{"queued", "sent", "delivered", "read", "capped", "muted", "expired", "recalled", "failed"}

// countsText is the counts that are not zero.
func (c *shownCampaign) countsText() string {
	var parts []string
	for _, name := range outcomes {
		if n := c.Counts[name]; n > 0 {
			parts = append(parts, name+" "+strconv.FormatInt(n, 10))
		}
	}
	return strings.Join(parts, ", ")
}

// campaignVerb is a command that calls a verb with the id of a campaign and shows it.
func campaignVerb(sh Shell, name, short, more string) *cobra.Command {
	var (
		s      server
		asJSON bool
	)
	long := short + "."
	if more != "" {
		long += "\n" + more
	}
	cmd := &cobra.Command{
		Use:     name + " ID",
		Short:   short,
		Example: "  skein campaign " + name + " 01JD5ZQ3W7V9N8K4M2R6T0XABC\n  skein campaign " + name + " \"$ID\" --json | jq .state",
		Long:    long,
		Args:    arguments("ID"),
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			raw, err := s.call(ctx, "campaigns."+name, map[string]string{"id": args[0]}, nil)
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

// createFlags are the flags of `skein campaign create`.
type createFlags struct {
	server  server
	target  targetFlags
	message messageFlags
	name    string
	at      string
	pace    int
	start   bool
	asJSON  bool
}

func campaignCreate(sh Shell) *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:   "create DATA",
		Short: "Make a campaign, and with --start begin it",
		Example: `  skein campaign create --name spring --where '{"tag":"vip"}' --category promo --text 'Half price today'
  skein campaign create --name notice --users-file users.txt --start '{"text":"…"}'
  skein campaign create --name morning --all --at 2030-01-31T09:00:00Z --pace 500 --start - < data.json`,
		Long: `Makes a campaign that pushes DATA, which is JSON or with --text a text; "-" reads it
from standard input. The file of users may be of any size. Without --start it is a
draft, which skein campaign start begins. Prints the campaign.`,
		Args: arguments("DATA"),
		RunE: f.server.ready(sh, func(ctx context.Context, args []string) error { return f.run(ctx, sh, args[0]) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "`NAME`, for people")
	f.target.add(cmd)
	f.message.add(cmd)
	flags.StringVar(&f.at, "at", "", "`TIME` (RFC 3339) at which it begins once it is started")
	flags.IntVar(&f.pace, "pace", 0, "`NUMBER` of users a second at most; 0: as fast as it goes")
	flags.BoolVar(&f.start, "start", false, "begin it")
	addJSON(cmd, &f.asJSON)
	f.server.addURL(cmd)
	f.server.addKey(cmd)
	return cmd
}

func (f *createFlags) run(ctx context.Context, sh Shell, data string) error {
	if f.name == "" {
		return usagef("--name is missing")
	}
	if err := f.target.check(); err != nil {
		return err
	}
	if data == "-" && f.target.file == "-" {
		return usagef("DATA and --users-file cannot both be read from standard input")
	}
	params, err := f.message.params(sh, data)
	if err != nil {
		return err
	}
	params["name"] = f.name
	if f.at != "" {
		params["at"] = f.at
	}
	if f.pace != 0 {
		params["pace"] = f.pace
	}
	if f.target.file != "" {
		if f.target.file != "-" {
			if err := isFile(f.target.file); err != nil {
				return err
			}
		}
		params["to"] = map[string]bool{"list": true}
	} else if params["to"], err = f.target.to(sh); err != nil {
		return err
	}
	var made shownCampaign
	raw, err := f.server.call(ctx, "campaigns.create", params, &made)
	if err != nil {
		return err
	}
	if f.target.file != "" {
		if err := f.fill(ctx, sh, made.ID); err != nil {
			sh.talk("the campaign %s is a draft whose list is not complete; add to it, or delete it: skein campaign delete %s", made.ID, made.ID)
			return err
		}
	}
	switch {
	case f.start:
		raw, err = f.server.call(ctx, "campaigns.start", map[string]string{"id": made.ID}, nil)
	case f.target.file != "":
		raw, err = f.server.call(ctx, "campaigns.get", map[string]string{"id": made.ID}, nil)
	}
	if err != nil {
		return err
	}
	return sh.shown(raw, f.asJSON)
}

// fillBatch is how many users are added to a list at once.
const fillBatch = 5000

// wrongListed is how the server names a user that it refuses.
var wrongListed = regexp.MustCompile(`^users\[(\d+)\]: (.*)$`)

// fill adds the users of the file to the list of a campaign.
func (f *createFlags) fill(ctx context.Context, sh Shell, id string) error {
	var (
		progress *term.Progress
		batch    []string
		lines    []int // where they stand
	)
	add := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := f.server.call(ctx, "campaigns.add", map[string]any{"id": id, "users": batch}, nil)
		if e := (*fault.Error)(nil); errors.As(err, &e) {
			if m := wrongListed.FindStringSubmatch(e.Message); m != nil {
				if i, _ := strconv.Atoi(m[1]); i < len(lines) {
					err = &badLine{lines[i], m[2]}
				}
			}
		}
		batch, lines = batch[:0], lines[:0]
		return err
	}
	err := f.target.eachUser(sh, func(user string, line int, read, size int64) error {
		if progress == nil {
			progress = term.NewProgress(sh.Stderr, "users: bytes", size)
		}
		batch, lines = append(batch, user), append(lines, line)
		if len(batch) < fillBatch {
			return nil
		}
		progress.Set(read)
		return add()
	})
	if err == nil {
		err = add()
	}
	if progress != nil {
		progress.Clear()
	}
	return err
}

func campaignList(sh Shell) *cobra.Command {
	var (
		s      server
		state  string
		limit  int
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List campaigns, the newest first",
		Example: "  skein campaign list\n  skein campaign list --state running\n  skein campaign list --limit 1000 --json | jq .name",
		Long:    "Lists campaigns with what has become of them. With --json each one is a line of\nJSON.",
		Args:    arguments(),
		RunE: s.ready(sh, func(ctx context.Context, _ []string) error {
			if limit < 1 {
				return usagef("--limit must be at least 1")
			}
			params := map[string]any{"limit": min(limit, 1000)}
			if state != "" {
				params["state"] = state
			}
			return sh.listCampaigns(ctx, &s, params, limit, asJSON)
		}),
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in this `STATE`: draft, scheduled, running, paused, done or cancelled")
	cmd.Flags().IntVar(&limit, "limit", 50, "`NUMBER` of campaigns at most")
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

func (s Shell) listCampaigns(ctx context.Context, from *server, params map[string]any, limit int, asJSON bool) error {
	var t *table
	if !asJSON {
		t = s.newTable("ID", "NAME", "STATE", "DONE", "CREATED", "OUTCOMES")
	}
	err := from.pages(ctx, "campaigns.list", params, func(items []json.RawMessage) (bool, error) {
		items = items[:min(limit, len(items))]
		limit -= len(items)
		for _, item := range items {
			if asJSON {
				if err := s.print(item); err != nil {
					return false, err
				}
				continue
			}
			var c shownCampaign
			if err := json.Unmarshal(item, &c); err != nil {
				return false, err
			}
			doneOf := strconv.FormatInt(c.Progress, 10)
			if c.Audience != nil {
				doneOf += fmt.Sprintf("/%d", *c.Audience)
			}
			t.row(c.ID, c.Name, c.State, doneOf, moment(c.Created), c.countsText())
		}
		return limit > 0, nil
	})
	if t != nil {
		err = errors.Join(err, t.flush())
	}
	return err
}

func campaignEstimate(sh Shell) *cobra.Command {
	var (
		s        server
		target   targetFlags
		category string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "estimate [ID]",
		Short: "Tell what would become of a campaign, or of a push, now",
		Example: `  skein campaign estimate 01JD5ZQ3W7V9N8K4M2R6T0XABC
  skein campaign estimate --where '{"tag":"vip"}' --category promo`,
		Long: `Tells how many users it is for, how many of them are online, how many it would
interrupt, and how many not: because they have muted the category, have quiet
hours, or are over a cap. Nothing is pushed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%q is one argument too many", args[1])
			}
			return nil
		},
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			params := map[string]any{}
			switch {
			case len(args) == 1 && (target.given() > 0 || category != ""):
				return usagef("give the ID of a campaign, or whom a push is for, not both")
			case len(args) == 1:
				params["id"] = args[0]
			default:
				if err := target.check(); err != nil {
					return err
				}
				var err error
				if params["to"], err = target.to(sh); err != nil {
					return err
				}
				if category != "" {
					params["category"] = category
				}
			}
			raw, err := s.call(ctx, "campaigns.estimate", params, nil)
			if err != nil {
				return err
			}
			return sh.shown(raw, asJSON)
		}),
	}
	target.add(cmd)
	cmd.Flags().StringVar(&category, "category", "", "`NAME` of the category; without one nothing holds it back")
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}
