package console

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// Bounds of what somebody sends who is not known yet.
const (
	maxBody  = 8 << 10
	maxUser  = 64
	maxToken = 64
)

// What stands in the audit log for coming and going.
const (
	loginVerb  = "console.login"
	logoutVerb = "console.logout"
)

// UserName is how a user of the console may be named.
var UserName = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

var errPassword = fault.New(fault.Unauthorized, "user or password is wrong")

// credentials are what somebody logs in with: a link, or a name and a password.
type credentials struct {
	user, password string
	link           string
	byLink         bool
}

// readCredentials reads the body of a login.
func readCredentials(body []byte) (c credentials, err error) {
	var o protocol.Object
	if err := o.Read(body, 4); err != nil {
		return c, fault.New(fault.BadRequest, "body: %s", err)
	}
	o.Each(func(name string, _ []byte) bool {
		if !slices.Contains([]string{"user", "password", "link"}, name) {
			err = fault.Field(name, "is not known; a login has user and password, or link")
		}
		return err == nil
	})
	if err != nil {
		return c, err
	}
	if c.byLink = o.Has("link"); c.byLink {
		if o.Has("user") || o.Has("password") {
			return c, fault.Field("link", "does not go together with user and password")
		}
		c.link, err = o.Required("link", maxToken)
		return c, err
	}
	if c.user, err = o.Required("user", maxUser); err != nil {
		return c, err
	}
	c.password, err = o.Required("password", auth.MaxPassword)
	return c, err
}

// readBody reads the body of a login.
func readBody(w http.ResponseWriter, r *http.Request) (credentials, error) {
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return credentials{}, fault.Field("Content-Type", "must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return credentials{}, fault.New(fault.TooLarge, "the body has more than %d bytes", maxBody)
	case err != nil:
		return credentials{}, fault.Wrap(fault.BadRequest, err, "the body could not be read")
	}
	return readCredentials(body)
}

func (d *Door) login(w http.ResponseWriter, r *http.Request) error {
	if err := sameOrigin(r); err != nil {
		d.metrics.Denied.Add(1)
		return err
	}
	c, err := readBody(w, r)
	if err != nil {
		return err
	}
	result := byPassword
	if c.byLink {
		result = byLink
	}
	u, err := d.identify(r, c)
	if err == nil {
		err = d.welcome(w, r, u, c.byLink)
	}
	if err != nil {
		result = failed
		switch fault.Of(err).Code {
		case fault.RateLimited:
			result = limited
		case fault.Unauthorized:
			result = wrongPassword
			if c.byLink {
				result = linkRefused
			}
			d.tellFailure(r, c, err)
		}
	}
	d.metrics.Logins[result].Add(1)
	return err
}

// identify finds out who somebody is who logs in.
func (d *Door) identify(r *http.Request, c credentials) (*User, error) {
	address := addressKey(d.cfg.Remote(r).Addr())
	now := time.Now()
	if wait, ok := d.addresses.begin(address, now); !ok {
		return nil, tooOften(wait)
	}
	u, err := d.check(r.Context(), c, now)
	if err == nil || fault.Of(err).Code != fault.Unauthorized {
		// A good one does not end the row of its address, or somebody with a login could
		// go on trying those of others.
		d.addresses.withdraw(address)
	}
	return u, err
}

func tooOften(wait time.Duration) error {
	return fault.New(fault.RateLimited, "there were too many attempts to log in that failed").After(wait)
}

func (d *Door) check(ctx context.Context, c credentials, now time.Time) (*User, error) {
	if c.byLink {
		role, err := d.cfg.Link(ctx, c.link)
		if err != nil {
			return nil, err
		}
		return &User{Name: LinkUser, Role: role}, nil
	}
	set := d.settings.Load()
	u := set.users[c.user]
	// Whoever has a login is counted apart, so that made-up names push nobody out.
	rows := d.unknown
	if u != nil {
		rows = d.known
	}
	if wait, ok := rows.begin(c.user, now); !ok {
		return nil, tooOften(wait)
	}
	ok, err := d.compute(ctx, set, u, c)
	switch {
	case err != nil:
		rows.withdraw(c.user)
		return nil, err
	case !ok:
		return nil, errPassword
	}
	rows.succeeded(c.user)
	return u, nil
}

// compute computes the hash of a password, when it is its turn. It does so for a name
// that nobody has, too, so that the time tells nothing.
func (d *Door) compute(ctx context.Context, set *settings, u *User, c credentials) (bool, error) {
	if d.waiting.Add(1) > maxWaiting {
		d.waiting.Add(-1)
		return false, fault.New(fault.Unavailable, "too many log in at once").After(time.Second)
	}
	defer d.waiting.Add(-1)
	select {
	case d.computing <- struct{}{}:
	case <-ctx.Done():
		return false, fault.Wrap(fault.Unavailable, ctx.Err(), "the client did not wait")
	}
	defer func() { <-d.computing }()
	if u == nil {
		auth.HashPassword(c.password, set.costOf(c.user))
		return false, nil
	}
	return u.Password.Matches(c.password), nil
}

// costOf is what the password of a name costs that nobody has: as much as that of
// somebody, the same each time.
func (s *settings) costOf(name string) auth.PasswordCost {
	if len(s.Users) == 0 {
		return auth.DefaultCost
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return s.Users[h.Sum32()%uint32(len(s.Users))].Password.PasswordCost
}

// welcome logs somebody in.
func (d *Door) welcome(w http.ResponseWriter, r *http.Request, u *User, link bool) error {
	k, err := d.keys(r.Context())
	if err != nil {
		return err
	}
	c, value, err := k.issue(u, link, d.settings.Load().Session)
	if err != nil {
		return err
	}
	if err := d.record(r.Context(), d.callerOf(u.Name, u.Role, r), loginVerb, how(link), nil); err != nil {
		return err
	}
	s := &session{claims: c, role: u.Role, expires: time.UnixMilli(c.Expires), value: value, keys: k}
	d.setCookie(w, r, value, s.expires)
	return write(w, d.describe(s))
}

// how somebody logged in, as params of the line in the audit log.
func how(link bool) []byte {
	if link {
		return []byte(`{"by":"link"}`)
	}
	return []byte(`{"by":"password"}`)
}

// tellFailure writes down that somebody failed to log in. A name that nobody has is not
// written: it may be a password in the wrong field.
func (d *Door) tellFailure(r *http.Request, c credentials, why error) {
	name, role := "?", auth.NoRole
	if c.byLink {
		name = LinkUser
	} else if u := d.settings.Load().users[c.user]; u != nil {
		name, role = u.Name, u.Role
	}
	caller := d.callerOf(name, role, r)
	d.cfg.Logger.Warn("a login failed", "user", name, "remote", caller.Address, "by", map[bool]string{true: "link", false: "password"}[c.byLink])
	if err := d.record(context.WithoutCancel(r.Context()), caller, loginVerb, how(c.byLink), why); err != nil {
		d.cfg.Logger.Error("a login that failed is not in the audit log", "user", name, "error", err)
	}
}
