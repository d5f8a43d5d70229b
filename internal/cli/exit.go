package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/app"
	"github.com/skein-realtime/skein/internal/config"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitConfig      = 3
	exitCannotStart = 4
	exitForced      = 5
	exitMissed      = 6
)

// exits is the table of all exit codes, in order.
func exits() []struct {
	code    int
	meaning string
} {
	return []struct {
		code    int
		meaning string
	}{
		{exitOK, "it worked"},
		{exitFailure, "it failed; the reason is on standard error"},
		{exitUsage, "the command line is wrong"},
		{exitConfig, "the configuration is not valid"},
		{exitCannotStart, "the server cannot start: its port, its data or its database is not to be had"},
		{exitForced, "forced to quit by a second signal, before all clients were sent away"},
		{exitMissed, "a check failed, or a benchmark missed its threshold"},
	}
}

// usageError is a mistake on the command line.
type usageError struct{ message string }

// Error implements error.
func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errMissed is wrapped when a check failed or a threshold was missed.
var errMissed = errors.New("missed")

// errTold is wrapped when a failure has been told already.
var errTold = errors.New("told")

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var (
		usage   *usageError
		invalid *config.Error
		wrong   *skein.ConfigError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &invalid), errors.As(err, &wrong):
		return exitConfig
	case errors.Is(err, app.ErrStart):
		return exitCannotStart
	case errors.Is(err, app.ErrForced):
		return exitForced
	case errors.Is(err, errMissed):
		return exitMissed
	}
	return exitFailure
}

// exitCodes is the help topic that shows the table.
func exitCodes() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, e := range exits() {
		fmt.Fprintf(&b, "  %d  %s\n", e.code, e.meaning)
	}
	return &cobra.Command{
		Use:     "exit-codes",
		Short:   "What the exit codes mean",
		Example: "  skein config check skein.yaml || echo \"exit code $?\"",
		Long:    b.String(),
	}
}
