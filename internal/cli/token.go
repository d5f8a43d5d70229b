package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/protocol"
)

// minSecret is the length that HS256 asks of a secret (RFC 7518 section 3.2).
const minSecret = 32

// tokenFlags are the flags of `skein token`.
type tokenFlags struct {
	config     configFlags
	user       string
	device     string
	ttl        time.Duration
	caps       []string
	roles      []string
	secretFile string
}

func token(sh Shell) *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a client (JWT, HS256)",
		Example: `  skein token --user 42 --config skein.yaml
  skein token --user 42 --device ipad --ttl 24h --cap 'room:7=sub,pub' --cap 'tick:*=sub'
  skein sub tick:time --token "$(skein token --user 42 --secret-file secret)"`,
		Long: `Prints a token on standard output. The secret comes from --secret-file, or is
auth.jwt.hmac_secret of the configuration (environment: SKEIN_AUTH_JWT_HMAC_SECRET);
issuer and audience are those of the configuration.`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error { return f.run(sh) },
	}
	cmd.Flags().StringVar(&f.user, "user", "", "`ID` of the user; a token needs one")
	cmd.Flags().StringVar(&f.device, "device", "", "`ID` of the user's device")
	cmd.Flags().DurationVar(&f.ttl, "ttl", time.Hour, "how long it is good; 0 for ever")
	cmd.Flags().StringSliceVar(&f.roles, "role", nil, "`ROLE` for the rules of documents (may be repeated)")
	cmd.Flags().StringArrayVar(&f.caps, "cap", nil, "right on a channel or prefix, `CHANNEL=VERB,…` with sub, pub, presence or * (may be repeated)")
	cmd.Flags().StringVar(&f.secretFile, "secret-file", "", "`FILE` that holds the secret; one line end at its end is not part of it")
	f.config.add(cmd)
	return cmd
}

func (f *tokenFlags) run(sh Shell) error {
	id, err := f.identity(time.Now())
	if err != nil {
		return err
	}
	l, err := f.config.load(sh)
	if err != nil {
		return err
	}
	jwt := l.Config.Auth.JWT
	secret := []byte(jwt.HMACSecret)
	if f.secretFile != "" {
		if secret, err = os.ReadFile(f.secretFile); err != nil {
			return err
		}
		secret = bytes.TrimSuffix(bytes.TrimSuffix(secret, []byte("\n")), []byte("\r"))
	}
	switch {
	case len(secret) == 0:
		return usagef("there is no secret; give --secret-file, --config or SKEIN_AUTH_JWT_HMAC_SECRET")
	case len(secret) < minSecret:
		return fmt.Errorf("the secret has %d bytes; HS256 needs at least %d", len(secret), minSecret)
	}
	text, err := auth.Sign(secret, id, jwt.Issuer, jwt.Audience, time.Now())
	if err != nil {
		return err
	}
	sh.talk("%s", describe(id))
	return sh.print([]byte(text))
}

// identity is what the token is going to say.
func (f *tokenFlags) identity(now time.Time) (auth.Identity, error) {
	id := auth.Identity{User: f.user, Device: f.device}
	if f.ttl < 0 {
		return id, usagef("--ttl must not be negative")
	}
	if f.ttl > 0 {
		id.Expires = auth.At(now.Add(f.ttl))
	}
	if err := protocol.UserID("--user", f.user); err != nil {
		return id, usagef("%s", message(err))
	}
	if err := protocol.DeviceID("--device", f.device); err != nil {
		return id, usagef("%s", message(err))
	}
	caps := map[string][]string{}
	for _, c := range f.caps {
		channel, verbs, ok := strings.Cut(c, "=")
		if !ok || verbs == "" {
			return id, usagef("--cap %q is not CHANNEL=VERB,…, such as 'room:7=sub,pub'", c)
		}
		caps[channel] = append(caps[channel], strings.Split(verbs, ",")...)
	}
	var err error
	if id.Caps, err = auth.ParseCaps(caps); err != nil {
		return id, usagef("--cap: %s", strings.TrimPrefix(err.Error(), "caps: "))
	}
	if id.Roles, err = auth.ParseRoles(f.roles); err != nil {
		return id, usagef("--role: %s", strings.TrimPrefix(err.Error(), "roles: "))
	}
	return id, nil
}

func describe(id auth.Identity) string {
	who, until := "nobody in particular", "good for ever"
	if id.User != "" {
		who = "user " + id.User
	}
	if id.Device != "" {
		who += ", device " + id.Device
	}
	if !id.Expires.IsZero() {
		until = "good until " + id.Expires.Time().Format(time.RFC3339)
	}
	return "token for " + who + ", " + until
}
