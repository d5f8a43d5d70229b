// Package app runs a server as a program: logging, signals, reload, the lines
// that tell where it listens. It is what `skein serve` does.
//
// It stores nothing. Its goroutines end before [Serve] returns.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/skein-realtime/skein"
)

// Options of [Serve].
type Options struct {
	// Load reads the configuration; it is called again for each SIGHUP.
	Load func() (skein.Config, error)
	// Version is told in the first line; empty: the library's.
	Version string
	// Stderr takes the log and the lines for people; nil: os.Stderr.
	Stderr io.Writer
}

// ErrStart is wrapped by errors that kept the server from starting: its port,
// its files.
var ErrStart = errors.New("cannot start")

// ErrForced is returned when a second signal ended the server before its
// clients were sent away.
var ErrForced = errors.New("forced to quit by a second signal")

// Serve runs a server until ctx ends or a signal tells it to stop. SIGTERM and
// SIGINT drain it, a second one ends it at once, SIGHUP loads the configuration
// again.
func Serve(ctx context.Context, opt Options) error {
	if opt.Stderr == nil {
		opt.Stderr = os.Stderr
	}
	cfg, err := opt.Load()
	if err != nil {
		return err
	}
	log := newLogger(opt.Stderr, cfg.Log)
	cfg.Logger = log
	surviveFileSizeLimit()
	s, err := skein.New(cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStart, err)
	}
	l, err := s.Listen()
	if err != nil {
		_ = s.Close()
		return fmt.Errorf("%w: %w", ErrStart, explainListen(cfg.Listen, err))
	}
	greet(opt.Stderr, cfg, l.Addr(), or(opt.Version, skein.Version), consoleLines(ctx, s, cfg, l.Addr()))
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving, l) }()
	kept := make(chan struct{})
	go func() { defer close(kept); keepMemory(serving, s) }()
	defer func() { stop(); <-kept }()
	stopping := false
	for {
		select {
		case err := <-served:
			if err == nil {
				log.Info("stopped")
			}
			return err
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				reload(s, opt.Load, log)
			case stopping:
				log.Warn("second signal: quitting at once")
				return ErrForced
			default:
				stopping = true
				log.Info("stopping: clients are told to come back; a second signal quits at once", "signal", sig.String(), "deadline", cfg.Drain.Timeout.String())
				stop()
			}
		}
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// newLogger follows the log section of the configuration.
func newLogger(w io.Writer, cfg skein.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(or(cfg.Level, "info"))); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	text := cfg.Format == "text"
	if cfg.Format == "" || cfg.Format == "auto" {
		f, ok := w.(*os.File)
		text = ok && term.IsTerminal(int(f.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// greet says where everything is.
func greet(w io.Writer, cfg skein.Config, addr net.Addr, version, console string) {
	scheme, wsScheme := schemes(cfg)
	base := reachable(addr)
	var b strings.Builder
	fmt.Fprintf(&b, "skein %s\n", version)
	fmt.Fprintf(&b, "  WebSocket  %s://%s/ws\n", wsScheme, base)
	fmt.Fprintf(&b, "  API        %s://%s/api/v1/openapi.json\n", scheme, base)
	if cfg.Demos {
		fmt.Fprintf(&b, "  Demos      %s://%s/demo/\n", scheme, base)
	}
	b.WriteString(console)
	switch {
	case !cfg.KeepsState():
	case cfg.Database != "":
		b.WriteString("  State      PostgreSQL\n")
	default:
		fmt.Fprintf(&b, "  State      %s (SQLite)\n", cfg.Data)
	}
	if cfg.Dev {
		b.WriteString("  DEVELOPMENT MODE: anyone who can reach this address may connect as anyone; the API key is \"dev\"\n")
	}
	if len(cfg.Namespaces) == 0 {
		b.WriteString("  No namespace is configured, so no channel exists; see `skein config init`\n")
	}
	_, _ = io.WriteString(w, b.String())
}

func schemes(cfg skein.Config) (http, ws string) {
	if cfg.TLS.Cert != "" {
		return "https", "wss"
	}
	return "http", "ws"
}

// consoleLines say where the console is, and, when nobody has a password for it, how
// to get in the first time.
func consoleLines(ctx context.Context, s *skein.Server, cfg skein.Config, addr net.Addr) string {
	if cfg.Console.Off {
		return ""
	}
	scheme, _ := schemes(cfg)
	base := scheme + "://" + reachable(addr)
	lines := "  Console    " + base + "/console/\n"
	if len(cfg.Console.Users) > 0 {
		return lines
	}
	link, err := s.ConsoleLink(ctx, skein.ConsoleLinkParams{Role: "admin"})
	if err != nil {
		return lines + "             there is no link to log in with: " + err.Error() + "\n"
	}
	return lines + "             " + link.URL + "\n" +
		"             logs an admin in, once, until " + time.UnixMilli(link.Expires).Format(time.TimeOnly) + "; see `skein console`\n"
}

// reachable gives an address that can be opened on this machine.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func explainListen(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen: %s is in use by another program; stop it or choose another address with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen: no permission for %s; ports below 1024 need a privilege", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen: %s is not an address of this machine", addr)
	}
	return fmt.Errorf("listen: %w", err)
}

func reload(s *skein.Server, load func() (skein.Config, error), log *slog.Logger) {
	start := time.Now()
	cfg, err := load()
	if err != nil {
		log.Error("the configuration was not reloaded: it is not valid", "error", err)
		return
	}
	applied, restart, err := s.Reload(cfg)
	if err != nil {
		log.Error("the configuration was not reloaded", "error", err)
		return
	}
	log.Info("configuration reloaded", "applied", applied, "took", time.Since(start).Round(time.Microsecond).String())
	if len(restart) > 0 {
		log.Warn("these changes need a restart", "sections", restart)
	}
}
