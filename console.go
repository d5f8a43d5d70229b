package skein

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/console"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/internal/verb"
)

// Console is the page at /console/ for those who look after the server, as
// spec/console.md says.
type Console struct {
	Off     bool          `yaml:"off" doc:"true: there is no console"`
	Session Duration      `yaml:"session" doc:"how long a login lasts; at most 720h"` // zero: 12 h
	Users   []ConsoleUser `yaml:"users" doc:"who may log in with a password; skein console user makes an entry"`
}

// ConsoleUser is somebody who may log in to the console.
type ConsoleUser struct {
	Name     string `yaml:"name" doc:"who it is; shown in the audit log"`
	Role     string `yaml:"role" doc:"viewer (looks) | operator (does the day's work) | admin (everything)"`
	Password string `yaml:"password" secret:"true" doc:"argon2id hash of the password, as skein console user prints it"`
}

// maxConsoleSession bounds console.session.
const maxConsoleSession = 720 * time.Hour

// console checks who may log in.
func (v *validation) console(c Console) {
	v.duration("console.session", c.Session, time.Minute, maxConsoleSession)
	seen := map[string]bool{}
	for i, u := range c.Users {
		at := fmt.Sprintf("console.users[%d]", i)
		switch {
		case !console.UserName.MatchString(u.Name):
			v.wrong(at+".name", "%q is not a name; use lower-case letters, digits, '.', '_', '-', at most 64", u.Name)
		case u.Name == console.LinkUser:
			v.wrong(at+".name", "%q is whoever comes by a one-time link; choose another name", u.Name)
		case seen[u.Name]:
			v.wrong(at+".name", "%q is used twice", u.Name)
		}
		seen[u.Name] = true
		v.oneOf(at+".role", u.Role, auth.RoleNames()...)
		if _, err := auth.ParsePassword(u.Password); err != nil {
			v.wrong(at+".password", "%v", err)
		}
	}
}

// consoleSettings turns what Validate has checked into what the door takes.
func consoleSettings(cfg Config) console.Settings {
	set := console.Settings{Off: cfg.Console.Off, Session: cfg.Console.Session.Std(), Proxies: prefixes(cfg.TrustedProxies), Dev: cfg.Dev}
	for _, u := range cfg.Console.Users {
		role, err := auth.ParseRole(u.Role)
		hash, err2 := auth.ParsePassword(u.Password)
		if errors.Join(err, err2) == nil {
			set.Users = append(set.Users, console.User{Name: u.Name, Role: role, Password: hash})
		}
	}
	return set
}

// newConsole makes the console's door, and the verb that makes links to it.
func (s *Server) newConsole(cfg Config) {
	s.operators = operator.New(operator.Config{Base: s.base, Off: func() bool { return s.console.Off() }}, s.verbs)
	s.console = console.New(console.Config{
		Verbs: s.verbs.Names, Link: s.operators.Take, Record: s.recordConsole, Remote: s.door.Remote, Fail: httpapi.Fail,
		Logger: s.log, Settings: consoleSettings(cfg),
	})
}

// startConsole gives the console where it keeps its key, links and log-outs.
func (s *Server) startConsole(st console.Store, shared bool) {
	s.operators.Start(st)
	s.console.Start(st, shared)
}

// recordConsole writes into the audit log what a user of the console did that is no verb.
func (s *Server) recordConsole(ctx context.Context, c verb.Caller, name string, params []byte, err error) error {
	return s.audit.Record(ctx, c, name, params, err)
}

// refusedConsole writes down what a user of the console tried and may not.
func (s *Server) refusedConsole(ctx context.Context, c verb.Caller, name string, params []byte, refusal error) {
	s.console.Metrics().Denied.Add(1)
	if err := s.recordConsole(ctx, c, name, params, refusal); err != nil {
		s.log.Error("what a role does not allow is not in the audit log", "user", c.Who(), "verb", name, "error", err)
	}
}

// base is where a caller finds the server: as it came itself, or else where the server
// listens.
func (s *Server) base(ctx context.Context) string {
	if base := verb.BaseOf(ctx); base != "" {
		return base
	}
	cfg := s.config()
	scheme, addr := "http", cfg.Listen
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	if a := s.listening.Load(); a != nil {
		addr = a.String()
	}
	if host, port, err := net.SplitHostPort(addr); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			addr = net.JoinHostPort("localhost", port)
		}
	}
	return scheme + "://" + addr
}

// ConsoleLinkParams and ConsoleLink are what console.link takes and gives.
type (
	ConsoleLinkParams = operator.LinkParams
	ConsoleLink       = operator.Link
)

// ConsoleLink is the verb console.link: it makes a link that logs somebody into the console, once.
func (s *Server) ConsoleLink(ctx context.Context, p ConsoleLinkParams) (ConsoleLink, error) {
	return run[ConsoleLink](ctx, s, "console.link", p)
}

// atRoot leads to the console whoever opens the server in a browser.
func (s *Server) atRoot(w http.ResponseWriter, r *http.Request) {
	if s.console.Off() {
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, "/console/", http.StatusFound)
}

// watchEvery is how late it is noticed at most that somebody who traces has logged out.
const watchEvery = 5 * time.Second

// watchConsole ends what a user of the console follows when the login ends.
func (s *Server) watchConsole(ctx context.Context, r *http.Request, end func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !s.console.Holds(r) {
				end()
				return
			}
		}
	}
}

// consoleMetrics names what is counted of the console.
func (s *Server) consoleMetrics() {
	m, c := s.metrics, s.console.Metrics()
	for i, result := range console.Results {
		m.Counter("console_logins_total", "Attempts to log in to the console.", metrics.Labels{"result": result}, c.Logins[i].Load)
	}
	m.Counter("console_denied_total", "Requests by cookie of the console that were refused: by role, or because another site made them.", nil, c.Denied.Load)
}

// errConsoleName says why an API key cannot be named so.
const errConsoleName = "begins as users of the console do in the audit log and for rates; choose another name"

// isConsoleName tells names of callers that are users of the console.
func isConsoleName(name string) bool { return strings.HasPrefix(name, verb.ConsolePrefix) }
