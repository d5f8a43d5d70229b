// Package cli is the command skein: one file per command, one table of exit
// codes, and what they share. Commands print data on standard output and
// everything that is meant for people on standard error.
//
// It stores nothing. The goroutines of a command end before the command does.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/config"
	"github.com/skein-realtime/skein/internal/term"
)

// Commands is the command line, with what it cannot do by itself.
type Commands struct {
	// Serve runs a server until it is told to stop. load reads the configuration,
	// and may be called again. Nil: there is no serve command.
	Serve func(ctx context.Context, load func() (skein.Config, error)) error
	// Version is what `skein version` prints. Empty: the library's.
	Version string
}

// Shell is what a run of a command sees of the world. The zero value is that of
// the process.
type Shell struct {
	Args   []string // without the program's name; nil: os.Args[1:]
	Env    []string // nil: os.Environ()
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

func (s Shell) withDefaults() Shell {
	if s.Args == nil {
		s.Args = os.Args[1:]
	}
	if s.Env == nil {
		s.Env = os.Environ()
	}
	if s.Stdin == nil {
		s.Stdin = os.Stdin
	}
	if s.Stdout == nil {
		s.Stdout = os.Stdout
	}
	if s.Stderr == nil {
		s.Stderr = os.Stderr
	}
	return s
}

// getenv gives a variable, "" when it is not set. Of several the last one wins.
func (s Shell) getenv(name string) (value string) {
	for _, entry := range s.Env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// talk tells people something.
func (s Shell) talk(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Stderr, format+"\n", args...)
}

// print writes a line of data.
func (s Shell) print(line []byte) error {
	_, err := s.Stdout.Write(append(line[:len(line):len(line)], '\n'))
	return err
}

// Run runs the command that the arguments name and gives its exit code.
func (c Commands) Run(ctx context.Context, shell Shell) int {
	sh := shell.withDefaults()
	root := c.root(sh)
	root.SetArgs(sh.Args)
	root.SetIn(sh.Stdin)
	root.SetOut(sh.Stdout)
	root.SetErr(sh.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	sh.explain(cmd, err)
	return exitCode(err)
}

// explain tells why a command failed.
func (s Shell) explain(cmd *cobra.Command, err error) {
	if err == nil || errors.Is(err, errTold) {
		return
	}
	name := term.StyleOf(s.Stderr, s.getenv).Red("skein:")
	if invalid := (*config.Error)(nil); errors.As(err, &invalid) {
		s.talk("%v", invalid)
		s.talk("%s the configuration has %s", name, plural(len(invalid.Problems), "mistake"))
		return
	}
	s.talk("%s %s", name, sentence(err))
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		s.talk("Try '%s --help'.", cmd.CommandPath())
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (c Commands) root(sh Shell) *cobra.Command {
	root := &cobra.Command{
		Use:   "skein",
		Short: "Real-time server: connections, channels, users",
		Example: `  skein serve --dev                       try it out on this machine
  skein config init skein.yaml            write a configuration to begin with
  skein serve --config skein.yaml
  skein sub room:7                        listen to a channel
  skein pub room:7 '{"text":"hello"}'     and speak in it`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	if c.Serve != nil {
		root.AddCommand(c.serve(sh))
	}
	root.AddCommand(configure(sh), token(sh), key(sh), publish(sh), subscribe(sh), trace(sh), call(sh), users(sh), push(sh), campaign(sh), records(sh), explain(sh), category(sh), consoleCommand(sh), bench(sh), backup(sh), restore(sh), storeCommand(sh), doctor(sh), c.version(sh), exitCodes())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	polish(root)
	return root
}

// configFlags are what every command that reads the configuration takes.
type configFlags struct {
	file string
	dev  bool
}

func (f *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration `FILE` (environment: SKEIN_CONFIG)")
	cmd.Flags().BoolVar(&f.dev, "dev", false, "development mode: who can reach the server may be anyone")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that is not there
}

// load loads the configuration as the flags say.
func (f *configFlags) load(sh Shell, flags ...config.Flag) (config.Loaded, error) {
	file := f.file
	if file == "" {
		file = sh.getenv("SKEIN_CONFIG")
	}
	return config.Load(config.Options{File: file, Env: sh.Env, Flags: flags, Dev: f.dev})
}
