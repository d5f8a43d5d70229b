package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/config"
	"github.com/skein-realtime/skein/internal/machine"
	"github.com/skein-realtime/skein/internal/term"
)

// Bounds below which doctor is not content.
const (
	wantedFiles    = 65_536 // open files, when no limit of connections says how many are needed
	spareFiles     = 256    // open files besides those of connections
	wantedBacklog  = 1024   // connections that wait to be accepted
	wantedLifetime = 14 * 24 * time.Hour
	fetchTimeout   = 5 * time.Second
)

// verdict is the outcome of a check.
type verdict string

const (
	good verdict = "ok"
	warn verdict = "warn"
	bad  verdict = "fail"
)

// finding is one line of doctor, and one element of its JSON.
type finding struct {
	Verdict verdict `json:"verdict"`
	Check   string  `json:"check"`
	Found   string  `json:"found"`
	Do      string  `json:"do,omitempty"` // what helps; empty when all is well
}

func doctor(sh Shell) *cobra.Command {
	var (
		f      stateFlags
		s      server
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out whether a server can run here, or runs well",
		Example: `  skein doctor --config skein.yaml                              before the start
  skein doctor --config skein.yaml --url http://127.0.0.1:8000  while it runs`,
		Long: `Checks the configuration, the port, the limits of the system, the certificate and
the key set, and where the state is kept: the data directory or the database.
With --url also whether the server there answers; port and data directory may
then be in use. When a check fails the exit code is 6.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			running := cmd.Flags().Changed("url")
			if err := s.complete(cmd, sh); err != nil {
				return err
			}
			l, err := f.config.load(sh, given(cmd)...)
			findings := examine(cmd.Context(), l.Config, err, running, s.base)
			if err := sh.report(findings, asJSON); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Verdict == bad {
					return fmt.Errorf("%w: %w", errMissed, errTold)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	f.add(cmd)
	s.addURL(cmd)
	return cmd
}

// report prints the findings: one line each, and what to do below.
func (s Shell) report(findings []finding, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(findings)
		if err != nil {
			return err
		}
		return s.print(b)
	}
	style := term.StyleOf(s.Stdout, s.getenv)
	paint := map[verdict]func(string) string{good: style.Green, warn: style.Yellow, bad: style.Red}
	for _, f := range findings {
		line := fmt.Sprintf("%s  %-14s  %s", paint[f.Verdict](fmt.Sprintf("%-4s", f.Verdict)), f.Check, strings.ReplaceAll(f.Found, "\n", "\n      "))
		if f.Do != "" {
			line += "\n      " + f.Do
		}
		if err := s.print([]byte(line)); err != nil {
			return err
		}
	}
	return nil
}

// examine runs every check that applies. err is why there is no configuration.
func examine(ctx context.Context, cfg skein.Config, err error, running bool, base string) []finding {
	if invalid := (*config.Error)(nil); errors.As(err, &invalid) {
		// Without a configuration there is nothing to compare the machine with.
		return []finding{{bad, "configuration", invalid.Error(), "correct it; skein config check finds the same"}}
	}
	findings := []finding{{good, "configuration", plural(len(cfg.Namespaces), "namespace"), ""}}
	if len(cfg.Namespaces) == 0 {
		findings[0] = finding{warn, "configuration", "no namespace, so no channel exists", "add one under namespaces; skein config init shows how"}
	}
	if running {
		findings = append(findings, checkHealth(ctx, base))
	} else {
		findings = append(findings, checkPort(cfg.Listen))
	}
	findings = append(findings, checkState(ctx, cfg, running)...)
	findings = append(findings, checkOpenFiles(cfg.Limits.Connections)...)
	findings = append(findings, checkBacklog(os.ReadFile)...)
	if cfg.TLS.Cert != "" {
		findings = append(findings, checkCertificate(cfg.TLS, time.Now()))
	}
	if cfg.Auth.JWT.JWKS != "" {
		findings = append(findings, checkKeySet(ctx, cfg.Auth.JWT.JWKS))
	}
	return findings
}

func checkPort(addr string) finding {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		_ = l.Close()
		return finding{good, "port", addr + " is free", ""}
	case errors.Is(err, syscall.EADDRINUSE):
		return finding{bad, "port", addr + " is in use", "stop the program that has it, or choose another address (listen); give --url when it is this server"}
	case errors.Is(err, syscall.EACCES):
		return finding{bad, "port", addr + " is not allowed for this user", "choose a port above 1023 (listen), or give the program the right to bind low ports"}
	}
	return finding{bad, "port", err.Error(), "choose an address of this machine (listen)"}
}

func checkHealth(ctx context.Context, base string) finding {
	body, err := fetch(ctx, base+"/healthz")
	if err != nil {
		return finding{bad, "server", err.Error(), "start it, or correct --url"}
	}
	return finding{good, "server", base + " answers: " + strings.TrimSpace(string(body)), ""}
}

// checkOpenFiles compares what the system lets the program open with what the
// configuration needs. A Go program raises its soft limit to the hard one.
func checkOpenFiles(connections int) []finding {
	_, limit, known := machine.MaxDescriptors()
	if !known {
		return nil
	}
	found := strconv.FormatUint(limit, 10) + " open files"
	switch {
	case connections > 0 && limit < uint64(connections)+spareFiles:
		return []finding{{bad, "open files", fmt.Sprintf("%s; limits.connections is %d", found, connections),
			fmt.Sprintf("allow %d (ulimit -Hn, LimitNOFILE= of systemd), or lower limits.connections", connections+spareFiles)}}
	case connections == 0 && limit < wantedFiles:
		return []finding{{warn, "open files", found + "; each connection takes one", fmt.Sprintf("allow %d or more (ulimit -Hn, LimitNOFILE= of systemd)", wantedFiles)}}
	}
	return []finding{{good, "open files", found, ""}}
}

// checkBacklog looks at how many connections the system lets wait. There is
// nothing to say where it does not tell.
func checkBacklog(read func(string) ([]byte, error)) []finding {
	text, err := read("/proc/sys/net/core/somaxconn")
	if err != nil {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	found := fmt.Sprintf("%d connections may wait to be accepted", n)
	if n < wantedBacklog {
		return []finding{{warn, "backlog", found, "raise it, so that clients that come back together are not turned away: sysctl net.core.somaxconn=4096"}}
	}
	return []finding{{good, "backlog", found, ""}}
}

func checkCertificate(files skein.TLS, now time.Time) finding {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return finding{bad, "certificate", err.Error(), "correct tls.cert and tls.key: PEM files of one chain and its key"}
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return finding{bad, "certificate", err.Error(), "the first certificate of tls.cert must be the server's"}
	}
	found := "good until " + leaf.NotAfter.Format(time.DateOnly)
	switch {
	case now.After(leaf.NotAfter):
		return finding{bad, "certificate", "expired on " + leaf.NotAfter.Format(time.DateOnly), "renew it"}
	case now.Before(leaf.NotBefore):
		return finding{bad, "certificate", "not good before " + leaf.NotBefore.Format(time.DateOnly), "set the clock, or get another one"}
	case leaf.NotAfter.Sub(now) < wantedLifetime:
		return finding{warn, "certificate", found, "renew it soon"}
	}
	return finding{good, "certificate", found, ""}
}

func checkKeySet(ctx context.Context, address string) finding {
	const do = "correct auth.jwt.jwks, or see why this machine cannot reach it; tokens cannot be verified without"
	body, err := fetch(ctx, address)
	if err != nil {
		return finding{bad, "key set", err.Error(), do}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) == 0 {
		return finding{bad, "key set", address + " has no keys", do}
	}
	return finding{good, "key set", plural(len(set.Keys), "key"), ""}
}

// fetch gets a small document.
func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, (&server{base: address}).unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, resp.Status)
	}
	return body, nil
}
