package cli

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/config"
)

// helpTemplate begins with examples, since these are what most people look for.
const helpTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasAvailableSubCommands}}Usage:
{{if .HasAvailableSubCommands}}  {{.CommandPath}} COMMAND{{else}}  {{.UseLine}}{{end}}
{{end}}{{if .HasAvailableSubCommands}}
Commands:
{{range .Commands}}{{if .IsAvailableCommand}}  {{rpad .Name .NamePadding}}  {{.Short}}
{{end}}{{end}}{{end}}{{if and .HasAvailableLocalFlags (or .Runnable .HasAvailableSubCommands)}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasHelpSubCommands}}
Topics:
{{range .Commands}}{{if .IsAdditionalHelpTopicCommand}}  {{$.CommandPath}} help {{.Name}}  {{.Short}}
{{end}}{{end}}{{end}}`

// polish gives every command below root the same manners: help that begins with
// examples, and usage errors with the exit code and a suggestion.
func polish(root *cobra.Command) {
	root.SetHelpTemplate("{{.UsageString}}")
	root.SetUsageTemplate(helpTemplate)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err) })
	examples := map[string]string{
		"skein help":                  "  skein help config check\n  skein help exit-codes",
		"skein completion":            "  source <(skein completion bash)",
		"skein completion bash":       "  skein completion bash > /etc/bash_completion.d/skein",
		"skein completion zsh":        "  skein completion zsh > \"${fpath[1]}/_skein\"",
		"skein completion fish":       "  skein completion fish > ~/.config/fish/completions/skein.fish",
		"skein completion powershell": "  skein completion powershell | Out-String | Invoke-Expression",
	}
	each(root, func(cmd *cobra.Command) {
		if example, ok := examples[cmd.CommandPath()]; ok {
			cmd.Example = example
		}
		if cmd.HasSubCommands() && !cmd.Runnable() {
			group(cmd)
		}
		if cmd.CommandPath() == "skein help" {
			cmd.RunE = help
		}
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error { return asUsage(check(cmd, args)) }
		}
	})
}

func each(cmd *cobra.Command, fn func(*cobra.Command)) {
	fn(cmd)
	for _, sub := range cmd.Commands() {
		each(sub, fn)
	}
}

// group makes a command that only has commands say so: alone it shows its help,
// and with a word that is none of them it suggests the one that was meant.
func group(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		return usagef("unknown command %q%s", args[0], didYouMean(config.Closest(args[0], names)))
	}
}

// help shows the help of the command that the arguments name.
func help(cmd *cobra.Command, args []string) error {
	target, rest, err := cmd.Root().Find(args)
	switch {
	case err != nil:
		return asUsage(err)
	case len(rest) > 0 && target.HasSubCommands():
		return target.Args(target, rest)
	case len(rest) > 0:
		return usagef("%s has no command %q", target.CommandPath(), rest[0])
	}
	target.InitDefaultHelpFlag()
	return target.Help()
}

func didYouMean(meant string) string {
	if meant == "" {
		return ""
	}
	return "; did you mean `" + meant + "`?"
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usagef("%v", err)
}

func flagError(cmd *cobra.Command, err error) error {
	message := err.Error()
	name, unknown := strings.CutPrefix(message, "unknown flag: --")
	if !unknown {
		return usagef("%s", message)
	}
	flags := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z-]+)`)
	var names []string
	for _, m := range flags.FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		names = append(names, m[1])
	}
	return usagef("unknown flag --%s%s", name, didYouMean(config.Closest("--"+name, names)))
}

// arguments wants each of the named arguments, and tells which one is missing.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return usagef("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}
