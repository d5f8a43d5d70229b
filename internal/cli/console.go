package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/console"
)

func consoleCommand(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Let people into the console of a server",
		Example: `  skein console user ann --role operator >> users.yaml
  skein console link --url https://skein.example --key "$SKEIN_KEY"`,
	}
	cmd.AddCommand(consoleUser(sh), consoleLink(sh))
	return cmd
}

func consoleUser(sh Shell) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "user NAME",
		Short: "Make the entry of a user of the console",
		Example: `  skein console user ann --role operator             asks for the password, twice
  pass show skein/ann | skein console user ann --role admin`,
		Long: `Asks for a password and prints the entry of console.users for the configuration. The
password itself is not in it, only a hash that takes long to compute (argon2id). When
standard input is no terminal, its first line is the password.`,
		Args: arguments("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			if !console.UserName.MatchString(name) {
				return usagef("%q is not a name; use lower-case letters, digits, '.', '_', '-', at most 64", name)
			}
			if name == console.LinkUser {
				return usagef("%q is whoever comes by a one-time link; choose another name", name)
			}
			if role == "" {
				return usagef("--role is missing; it is %s", strings.Join(auth.RoleNames(), ", "))
			}
			if _, err := auth.ParseRole(role); err != nil {
				return usagef("--role: %v", err)
			}
			password, err := sh.newPassword(name)
			if err != nil {
				return err
			}
			sh.talk("# The server needs this in its configuration, under console.users:")
			return sh.print([]byte(fmt.Sprintf("    - {name: %s, role: %s, password: %q}", name, role, auth.HashPassword(password, auth.DefaultCost))))
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "`ROLE` of the user: viewer, operator or admin")
	return cmd
}

// newPassword asks for a password: twice where somebody types it and cannot see it,
// else it is the first line.
func (s Shell) newPassword(name string) (string, error) {
	var password string
	if f, ok := s.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		var typed [2]string
		for i, prompt := range []string{"Password of " + name + ": ", "Once more: "} {
			_, _ = fmt.Fprint(s.Stderr, prompt)
			b, err := term.ReadPassword(int(f.Fd()))
			_, _ = fmt.Fprintln(s.Stderr)
			if err != nil {
				return "", fmt.Errorf("the password could not be read: %w", err)
			}
			typed[i] = string(b)
		}
		if typed[0] != typed[1] {
			return "", errors.New("the two passwords are not the same")
		}
		password = typed[0]
	} else {
		line, err := bufio.NewReader(io.LimitReader(s.Stdin, auth.MaxPassword+3)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("the password could not be read: %w", err)
		}
		password = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	}
	switch {
	case password == "":
		return "", errors.New("there is no password; give it as the first line of standard input, or type it in a terminal")
	case len(password) < auth.MinPassword:
		return "", fmt.Errorf("the password has %d bytes; at least %d are needed", len(password), auth.MinPassword)
	case len(password) > auth.MaxPassword:
		return "", fmt.Errorf("the password has more than %d bytes", auth.MaxPassword)
	case !utf8.ValidString(password):
		return "", errors.New("the password is not valid UTF-8")
	}
	return password, nil
}

func consoleLink(sh Shell) *cobra.Command {
	var (
		srv    server
		params struct {
			Role string `json:"role"`
			TTL  string `json:"ttl,omitempty"`
		}
	)
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Make a link that logs somebody into the console, once",
		Example: `  skein console link --key "$SKEIN_KEY"                    for an admin, good for 15 minutes
  skein console link --role viewer --ttl 2h --url https://skein.example`,
		Long: `Asks a running server for a link and prints it on standard output. Whoever opens it
first is logged in as the user "link" with the role.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := srv.complete(cmd, sh); err != nil {
				return err
			}
			if _, err := auth.ParseRole(params.Role); err != nil {
				return usagef("--role: %v", err)
			}
			body, err := json.Marshal(params)
			if err != nil {
				return err
			}
			answer, err := srv.post(cmd.Context(), "console.link", body)
			if err != nil {
				return err
			}
			var link struct {
				URL     string `json:"url"`
				Expires int64  `json:"expires"`
			}
			if err := json.Unmarshal(answer, &link); err != nil {
				return fmt.Errorf("the answer of %s is no link: %w", srv.base, err)
			}
			sh.talk("good once, until %s; whoever opens it may do what the role %s may", time.UnixMilli(link.Expires).Format(time.RFC3339), params.Role)
			// The server may be told another name than the one by which it was asked.
			if _, token, ok := strings.Cut(link.URL, "/console/#"); ok {
				link.URL = srv.base + "/console/#" + token
			}
			return sh.print([]byte(link.URL))
		},
	}
	srv.addURL(cmd)
	srv.addKey(cmd)
	cmd.Flags().StringVar(&params.Role, "role", "admin", "what whoever opens it may do: viewer, operator or admin")
	cmd.Flags().StringVar(&params.TTL, "ttl", "", "how `LONG` it is good, such as 2h (default 15m)")
	return cmd
}
