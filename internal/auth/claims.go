package auth

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// maxDepth bounds the nesting of JSON in a token.
const maxDepth = 64

// refused makes the one answer to a token that is not believed.
func refused(format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthorized, format, args...)
}

// header is what matters of a JOSE header (RFC 7515 section 4).
type header struct{ alg, kid string }

func readHeader(raw []byte) (h header, err error) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, maxDepth); err != nil {
		return h, refused("the token is not a JWT: its header: %v", err)
	}
	// RFC 7515 section 4.1.11: who does not know an extension in crit must refuse
	// the token, and none is known here.
	if o.Has("crit") {
		return h, refused("the token's header has crit, and no extension of it is supported")
	}
	if h.alg, err = o.String("alg", maxTokenBytes); err != nil {
		return h, refused("the token's header: %s", reason(err))
	}
	if h.kid, err = o.String("kid", maxTokenBytes); err != nil {
		return h, refused("the token's header: %s", reason(err))
	}
	return h, nil
}

// claims are the claims that matter here (RFC 7519 section 4.1, and ours). They
// are read strictly: upper and lower case differ, a name that stands twice
// refuses the token (RFC 7519 section 4), and a time that is no number never
// means that there is no limit.
type claims struct {
	user, device, issuer, id     string
	audience                     []string
	expires, notBefore, issuedAt time.Time // zero: absent
	caps                         Caps
	roles                        Roles
}

func readClaims(raw []byte) (claims, error) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, maxDepth); err != nil {
		return claims{}, refused("the token's claims: %v", err)
	}
	c, err := claimsOf(o)
	if err != nil {
		return claims{}, refused("the token's %s", reason(err))
	}
	return c, nil
}

// reason is the sentence of an error without its code.
func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}

func claimsOf(o *protocol.Object) (c claims, err error) {
	for _, text := range []struct {
		name  string
		to    *string
		limit int
	}{{"sub", &c.user, maxTokenBytes}, {"device", &c.device, maxTokenBytes}, {"iss", &c.issuer, maxTokenBytes}, {"jti", &c.id, MaxTokenID}} {
		if *text.to, err = o.String(text.name, text.limit); err != nil {
			return c, err
		}
	}
	for _, date := range []struct {
		name string
		to   *time.Time
	}{{"exp", &c.expires}, {"nbf", &c.notBefore}, {"iat", &c.issuedAt}} {
		if *date.to, err = readTime(o, date.name); err != nil {
			return c, err
		}
	}
	if err := protocol.UserID("sub", c.user); err != nil {
		return c, err
	}
	if err := protocol.DeviceID("device", c.device); err != nil {
		return c, err
	}
	if c.audience, err = readAudience(o.Raw("aud")); err != nil {
		return c, err
	}
	if c.roles, err = readRoles(o.Raw("roles")); err != nil {
		return c, err
	}
	if caps := o.Raw("caps"); caps != nil {
		c.caps, err = readCaps(caps)
	}
	return c, err
}

// readRoles reads roles: a list of names.
func readRoles(raw []byte) (Roles, error) {
	if raw == nil {
		return "", nil
	}
	if raw[0] != '[' {
		return "", fault.Field("roles", "must be a list of strings, not %s", protocol.KindOf(raw))
	}
	var list []string
	err := protocol.EachElement(raw, func(element []byte) error {
		name, ok := protocol.Unquote(element)
		if !ok {
			return fault.Field("roles", "must be a list of strings, not of %s", protocol.KindOf(element))
		}
		list = append(list, name)
		return nil
	})
	if err != nil {
		return "", err
	}
	return ParseRoles(list)
}

// lastSecond is the end of the year 9999. A larger number is most likely
// milliseconds, and would be a token for ever.
const lastSecond = 253402300799

// readTime reads a NumericDate (RFC 7519 section 2): seconds since 1970, perhaps
// with a fraction.
func readTime(o *protocol.Object, name string) (time.Time, error) {
	if !o.Has(name) {
		return time.Time{}, nil
	}
	raw := o.Raw(name)
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || raw[0] == '"' {
		kind := "null"
		if raw != nil {
			kind = protocol.KindOf(raw)
		}
		return time.Time{}, fault.Field(name, "must be a number of seconds since 1970, not %s", kind)
	}
	if !(seconds >= 0 && seconds <= lastSecond) {
		return time.Time{}, fault.Field(name, "%.20s is no time in seconds since 1970, up to the year 9999", raw)
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), nil
}

// readAudience reads aud: a string, or a list of them (RFC 7519 section 4.1.3).
func readAudience(raw []byte) (list []string, err error) {
	if raw == nil {
		return nil, nil
	}
	if text, ok := protocol.Unquote(raw); ok {
		return []string{text}, nil
	}
	if raw[0] != '[' {
		return nil, fault.Field("aud", "must be a string or a list of strings, not %s", protocol.KindOf(raw))
	}
	err = protocol.EachElement(raw, func(element []byte) error {
		text, ok := protocol.Unquote(element)
		if !ok {
			return fault.Field("aud", "must be a list of strings; there is %s in it", protocol.KindOf(element))
		}
		list = append(list, text)
		return nil
	})
	return list, err
}

// identity is who the token is for. One that does not say when it was made counts
// as made long ago: it is among those of before any time.
func (c *claims) identity() Identity {
	return Identity{
		User: c.user, Device: c.device, Token: c.id, Caps: c.caps, Roles: c.roles,
		Issued: max(LongAgo, At(c.issuedAt)), Expires: At(c.expires),
	}
}

// check holds the claims against the clock and the configuration. Leeway is for
// clocks that differ: it lets a token in early, it never keeps one longer.
func (c *claims) check(cfg *Config, now time.Time) error {
	if !c.expires.IsZero() && !now.Before(c.expires) {
		return refused("the token expired %s ago", now.Sub(c.expires).Round(time.Second))
	}
	for _, start := range []struct {
		name string
		at   time.Time
	}{{"nbf", c.notBefore}, {"iat", c.issuedAt}} {
		if ahead := start.at.Sub(now); ahead > cfg.Leeway {
			return refused("the token is not valid yet: its %s is %s ahead", start.name, ahead.Round(time.Second))
		}
	}
	if cfg.Issuer != "" && c.issuer != cfg.Issuer {
		return refused("the token's iss is not %q", cfg.Issuer)
	}
	if cfg.Audience != "" && !slices.Contains(c.audience, cfg.Audience) {
		return refused("the token's aud does not contain %q", cfg.Audience)
	}
	return nil
}

// Sign makes an HS256 token, for tools and tests. It is issued now, whatever the
// identity's Issued, and its Expires is cut to whole seconds. issuer and audience may be empty; the secret may not.
func Sign(secret []byte, id Identity, issuer, audience string, now time.Time) (string, error) {
	if len(secret) == 0 {
		return "", errNoSecret
	}
	var c struct {
		jwt.RegisteredClaims
		Device string              `json:"device,omitempty"`
		Caps   map[string][]string `json:"caps,omitempty"`
		Roles  []string            `json:"roles,omitempty"`
	}
	c.Subject, c.Device, c.Caps, c.Issuer = id.User, id.Device, id.Caps.Map(), issuer
	c.Roles = id.Roles.List()
	c.ID, c.IssuedAt = id.Token, jwt.NewNumericDate(now)
	if audience != "" {
		c.Audience = jwt.ClaimStrings{audience}
	}
	if !id.Expires.IsZero() {
		c.ExpiresAt = jwt.NewNumericDate(id.Expires.Time())
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(secret)
}
