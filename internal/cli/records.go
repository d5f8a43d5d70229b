package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// recordsFlags are the flags of `skein records`.
type recordsFlags struct {
	server                  server
	user, message, campaign string
	outcomes                []string
	from, to                string
	read, all, asJSON       bool
	limit                   int
}

// shownRecord is a record as the verb gives it.
type shownRecord struct {
	Message   string `json:"message"`
	User      string `json:"user"`
	Category  string `json:"category"`
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason"`
	Rule      string `json:"rule"`
	Queued    int64  `json:"queued"`
	Sent      int64  `json:"sent"`
	Delivered int64  `json:"delivered"`
	Read      int64  `json:"read"`
	Ended     int64  `json:"ended"`
	Until     int64  `json:"until"`
	Device    string `json:"device"`
}

// recordsPage is how many records are asked for at once.
const recordsPage = 1000

func records(sh Shell) *cobra.Command {
	var f recordsFlags
	cmd := &cobra.Command{
		Use:   "records",
		Short: "What became of messages that were pushed",
		Example: `  skein records --user 42
  skein records --message 01JD5ZQ3W7V9N8K4M2R6T0XABC --outcome capped --outcome muted
  skein records --campaign 01JD5ZQ3W7V9N8K4M2R6T0XABC --json > records.jsonl
  skein records --from 24h --outcome expired --all`,
		Long: `Lists the records, the newest first: for each message and user, what became of
it and why. With --json each record is a line of JSON, all of them unless --limit
bounds their number: that is the way to export them.`,
		Args: arguments(),
		RunE: f.server.ready(sh, func(ctx context.Context, _ []string) error { return f.run(ctx, sh) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "`ID` of the user")
	flags.StringVar(&f.message, "message", "", "`ID` of the message")
	flags.StringVar(&f.campaign, "campaign", "", "`ID` of the campaign")
	flags.StringArrayVar(&f.outcomes, "outcome", nil, "only those with this `OUTCOME`: queued, sent, delivered, capped, muted, expired, recalled or failed; may be given again")
	flags.StringVar(&f.from, "from", "", "queued at this `TIME` (RFC 3339) or later; or so long ago, such as 24h")
	flags.StringVar(&f.to, "to", "", "queued before this `TIME`, or so long ago")
	flags.BoolVar(&f.read, "read", false, "only those that were read")
	flags.IntVar(&f.limit, "limit", 0, "`NUMBER` of records at most (default 50; with --json or --all: all)")
	flags.BoolVar(&f.all, "all", false, "all of them, however many")
	flags.BoolVar(&f.asJSON, "json", false, "print each record as a line of JSON")
	f.server.addURL(cmd)
	f.server.addKey(cmd)
	return cmd
}

func (f *recordsFlags) params() map[string]any {
	params := map[string]any{}
	for name, value := range map[string]string{"user": f.user, "message": f.message, "campaign": f.campaign} {
		if value != "" {
			params[name] = value
		}
	}
	if len(f.outcomes) > 0 {
		params["outcome"] = f.outcomes
	}
	if f.read {
		params["read"] = true
	}
	if f.from != "" {
		params["from"] = since(f.from)
	}
	if f.to != "" {
		params["to"] = since(f.to)
	}
	return params
}

func (f *recordsFlags) run(ctx context.Context, sh Shell) error {
	if f.limit < 0 {
		return usagef("--limit must be at least 1")
	}
	left, bounded := f.limit, f.limit > 0
	if !bounded && !f.all && !f.asJSON {
		left, bounded = 50, true
	}
	params := f.params()
	params["limit"] = recordsPage
	if bounded {
		params["limit"] = min(left, recordsPage)
	}
	var t *table
	if !f.asJSON {
		t = sh.newTable("QUEUED", "MESSAGE", "USER", "CATEGORY", "OUTCOME", "WHY", "ENDED", "READ", "DEVICE")
	}
	err := f.server.pages(ctx, "records", params, func(items []json.RawMessage) (bool, error) {
		if bounded {
			items = items[:min(left, len(items))]
			left -= len(items)
		}
		for _, item := range items {
			if err := f.show(sh, t, item); err != nil {
				return false, err
			}
		}
		if t != nil {
			if err := t.flush(); err != nil {
				return false, err
			}
		}
		return !bounded || left > 0, nil
	})
	if t != nil {
		err = errors.Join(err, t.flush())
	}
	return err
}

func (f *recordsFlags) show(sh Shell, t *table, item json.RawMessage) error {
	if f.asJSON {
		return sh.print(item)
	}
	var r shownRecord
	if err := json.Unmarshal(item, &r); err != nil {
		return err
	}
	ended := r.Ended
	if r.Delivered > 0 {
		ended = r.Delivered
	}
	outcome := r.Outcome
	if r.Until > 0 {
		outcome += " until " + moment(r.Until)
	}
	why := r.Rule
	if why == "" {
		why = r.Reason
	}
	t.row(moment(r.Queued), r.Message, r.User, r.Category, outcome, why, moment(ended), moment(r.Read), r.Device)
	return nil
}

// explained is the answer of explain.
type explained struct {
	Deliver bool            `json:"deliver"`
	Outcome string          `json:"outcome"`
	Rule    string          `json:"rule"`
	Until   int64           `json:"until"`
	Online  json.RawMessage `json:"online"`
	Zone    string          `json:"zone"`
	Muted   bool            `json:"muted"`
	Quiet   json.RawMessage `json:"quiet"`
	Caps    []struct {
		Category string `json:"category"`
		Per      string `json:"per"`
		Max      int    `json:"max"`
		Used     int    `json:"used"`
		Until    int64  `json:"until"`
	} `json:"caps"`
}

func explain(sh Shell) *cobra.Command {
	var (
		s      server
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "explain USER CATEGORY",
		Short:   "Would a push reach this user now, and if not, why",
		Example: "  skein explain 42 promo\n  skein explain 42 promo --json | jq .rule",
		Long:    "Tells whether a message of the category would interrupt the user now, which rule\nholds it back and until when, and how far each cap is used up.",
		Args:    arguments("USER", "CATEGORY"),
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			var e explained
			raw, err := s.call(ctx, "explain", map[string]string{"user": args[0], "category": args[1]}, &e)
			if err != nil {
				return err
			}
			if asJSON {
				return sh.print(raw)
			}
			return e.print(sh)
		}),
	}
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

func (e *explained) print(sh Shell) error {
	answer := "it comes now"
	if !e.Deliver {
		answer = "held back: " + e.Outcome
		if e.Rule != "" {
			answer += ", " + e.Rule
		}
		if e.Until > 0 {
			answer += ", until " + moment(e.Until)
		}
	}
	t := sh.newTable("ANSWER", answer)
	t.row("ONLINE", string(e.Online))
	if e.Zone != "" {
		t.row("ZONE", e.Zone)
	}
	t.row("MUTED", strconv.FormatBool(e.Muted))
	if quiet := compact(e.Quiet); len(e.Quiet) > 0 && quiet != "null" {
		t.row("QUIET", strings.Trim(quiet, `"`))
	}
	for _, c := range e.Caps {
		use := fmt.Sprintf("%s: %d of %d per %s used", c.Category, c.Used, c.Max, c.Per)
		if c.Until > 0 {
			use += ", until " + moment(c.Until)
		}
		t.row("CAP", use)
	}
	return t.flush()
}
