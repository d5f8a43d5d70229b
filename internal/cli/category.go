package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func category(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "category",
		Short: "How often and when messages may interrupt users",
		Example: `  skein category list
  skein category put promo --cap 5/day --quiet 22:00-08:00 --on-cap drop
  skein category delete promo`,
	}
	cmd.AddCommand(categoryList(sh), categoryPut(sh), categoryDelete(sh))
	return cmd
}

// shownCategory is a category as the verbs give it.
type shownCategory struct {
	Name string `json:"name"`
	Caps []struct {
		Per string `json:"per"`
		Max int    `json:"max"`
	} `json:"caps"`
	Parent string `json:"parent"`
	Quiet  *struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"quiet"`
	OnCap    string `json:"on_cap"`
	Priority *int   `json:"priority"`
	TTL      string `json:"ttl"`
	Bypass   bool   `json:"bypass"`
	Source   string `json:"source"`
}

func categoryList(sh Shell) *cobra.Command {
	var (
		s      server
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the categories",
		Example: "  skein category list\n  skein category list --json | jq '.items[].name'",
		Long:    "Lists the categories of the configuration and those that were put.",
		Args:    arguments(),
		RunE: s.ready(sh, func(ctx context.Context, _ []string) error {
			var list struct {
				Items []shownCategory `json:"items"`
			}
			raw, err := s.call(ctx, "categories.list", struct{}{}, &list)
			if err != nil {
				return err
			}
			if asJSON {
				return sh.print(raw)
			}
			t := sh.newTable("NAME", "CAPS", "PARENT", "QUIET", "ON CAP", "PRIORITY", "TTL", "SOURCE")
			for _, c := range list.Items {
				t.row(c.row()...)
			}
			return t.flush()
		}),
	}
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

func (c *shownCategory) row() []string {
	var caps []string
	for _, limit := range c.Caps {
		caps = append(caps, fmt.Sprintf("%d/%s", limit.Max, limit.Per))
	}
	if c.Bypass {
		caps = append(caps, "bypass")
	}
	quiet, priority := "", ""
	if c.Quiet != nil {
		quiet = c.Quiet.From + "-" + c.Quiet.To
	}
	if c.Priority != nil {
		priority = strconv.Itoa(*c.Priority)
	}
	return []string{c.Name, strings.Join(caps, " "), c.Parent, quiet, c.OnCap, priority, c.TTL, c.Source}
}

// categoryFlags are what a category is made of.
type categoryFlags struct {
	caps                                         []string
	parent, quiet, onCap, onQuiet, ttl, escalate string
	priority                                     int
	bypass, counts, mutable                      bool
}

func categoryPut(sh Shell) *cobra.Command {
	var (
		s      server
		f      categoryFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "put NAME",
		Short: "Make a category, or replace it",
		Example: `  skein category put promo --cap 5/day --cap 1/90m --quiet 22:00-08:00 --on-cap drop --ttl 24h
  skein category put flash --parent promo --priority 7
  skein category put codes --bypass`,
		Long: `Makes a category, or replaces all of it. What was pushed before keeps the rules
that it was pushed with. A cap is a number per day, week, hour or rolling time.`,
		Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := f.params(cmd, args[0])
			if err != nil {
				return err
			}
			return s.ready(sh, func(ctx context.Context, _ []string) error {
				raw, err := s.call(ctx, "categories.put", params, nil)
				if err != nil {
					return err
				}
				return sh.shown(raw, asJSON)
			})(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.caps, "cap", nil, "at most so many in a time, `NUMBER/TIME` such as 5/day or 1/90m; may be given again: all hold")
	flags.StringVar(&f.parent, "parent", "", "`NAME` of a category whose caps hold, too")
	flags.StringVar(&f.quiet, "quiet", "", "hours of the night on the user's clock, `FROM-TO` such as 22:00-08:00")
	flags.StringVar(&f.onCap, "on-cap", "", "what becomes of a message over a cap: `inbox`, drop or defer")
	flags.StringVar(&f.onQuiet, "on-quiet", "", "what becomes of one in quiet hours: `defer`, inbox or ignore")
	flags.StringVar(&f.ttl, "ttl", "", "how long its messages are good, a `DURATION` such as 72h")
	flags.StringVar(&f.escalate, "escalate", "", "tell the application of what nobody has acknowledged after this `DURATION`")
	flags.IntVar(&f.priority, "priority", 5, "`NUMBER` from 0 to 9: what comes first when not all may")
	flags.BoolVar(&f.bypass, "bypass", false, "caps, quiet hours and mutes do not hold")
	flags.BoolVar(&f.counts, "counts", false, "with --bypass: caps count its messages all the same")
	flags.BoolVar(&f.mutable, "mutable", true, "users may mute it")
	addJSON(cmd, &asJSON)
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}

// params are the members that were given.
func (f *categoryFlags) params(cmd *cobra.Command, name string) (map[string]any, error) {
	p := map[string]any{"name": name}
	type limit struct {
		Per string `json:"per"`
		Max int    `json:"max"`
	}
	var caps []limit
	for _, text := range f.caps {
		number, per, found := strings.Cut(text, "/")
		n, err := strconv.Atoi(number)
		if !found || err != nil {
			return nil, usagef("--cap %q is not a number and a time such as 5/day", text)
		}
		caps = append(caps, limit{per, n})
	}
	if caps != nil {
		p["caps"] = caps
	}
	if f.quiet != "" {
		from, to, found := strings.Cut(f.quiet, "-")
		if !found {
			return nil, usagef("--quiet %q is not FROM-TO such as 22:00-08:00", f.quiet)
		}
		p["quiet"] = map[string]string{"from": from, "to": to}
	}
	for flag, value := range map[string]any{
		"parent": f.parent, "on-cap": f.onCap, "on-quiet": f.onQuiet, "ttl": f.ttl, "escalate": f.escalate,
		"priority": f.priority, "bypass": f.bypass, "counts": f.counts, "mutable": f.mutable,
	} {
		if cmd.Flags().Changed(flag) {
			p[strings.ReplaceAll(flag, "-", "_")] = value
		}
	}
	return p, nil
}

func categoryDelete(sh Shell) *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:     "delete NAME",
		Short:   "Delete a category that was put",
		Example: "  skein category delete promo",
		Long:    "Deletes a category. What was pushed before keeps its rules. One that is in the\nconfiguration, or the parent of another one, cannot be deleted.",
		Args:    arguments("NAME"),
		RunE: s.ready(sh, func(ctx context.Context, args []string) error {
			_, err := s.call(ctx, "categories.delete", map[string]string{"name": args[0]}, nil)
			if err == nil {
				sh.talk("deleted %s", args[0])
			}
			return err
		}),
	}
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}
