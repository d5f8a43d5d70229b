package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// Config of a [Verifier]. Without any key no token is believed.
type Config struct {
	HMACSecret []byte        // HS256
	PublicKeys [][]byte      // PEM: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA); public keys or certificates
	JWKS       string        // URL of a JSON Web Key Set (RFC 7517)
	Issuer     string        // required iss; empty: any
	Audience   string        // required aud; empty: any
	Leeway     time.Duration // clock difference allowed for exp, nbf and iat; zero: 5 s
	HTTP       *http.Client  // for the key set; nil: one with a time-out of 5 s
	Logger     *slog.Logger  // nil: slog.Default()
}

// Verifier checks tokens.
type Verifier struct {
	cfg    Config
	keys   []key // from the configuration
	set    *keySet
	parser *jwt.Parser
}

// key is a key with the one algorithm that it is good for, so that no token can
// choose another: an RSA key never checks an HMAC.
type key struct {
	id  string // kid; "": none
	alg string
	key any
}

const (
	maxTokenBytes = 8 << 10
	minRSABits    = 2048
)

// NewVerifier makes a Verifier. It does not fetch the key set yet.
func NewVerifier(cfg Config) (*Verifier, error) {
	if cfg.Leeway == 0 {
		cfg.Leeway = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 5 * time.Second}
	}
	v := &Verifier{cfg: cfg}
	if len(cfg.HMACSecret) > 0 {
		v.keys = append(v.keys, key{alg: "HS256", key: cfg.HMACSecret})
	}
	for i, text := range cfg.PublicKeys {
		k, err := parsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("auth: public key %d: %w", i+1, err)
		}
		v.keys = append(v.keys, k)
	}
	if cfg.JWKS != "" {
		v.set = newKeySet(cfg)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"HS256", "RS256", "ES256", "EdDSA"}),
		jwt.WithLeeway(cfg.Leeway), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// Enabled tells whether any token can be believed.
func (v *Verifier) Enabled() bool { return len(v.keys) > 0 || v.set != nil }

// Close waits for a fetch of the key set that is under way.
func (v *Verifier) Close() {
	if v.set != nil {
		v.set.close()
	}
}

func parsePublicKey(text []byte) (key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return key{}, errors.New("no PEM block in it")
	}
	var public any
	var err error
	if block.Type == "CERTIFICATE" {
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	} else {
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return key{}, err
	}
	return keyOf(public)
}

// keyOf finds the algorithm of a public key.
func keyOf(public crypto.PublicKey) (key, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return key{}, fmt.Errorf("an RSA key of %d bits is too short; %d are needed", k.N.BitLen(), minRSABits)
		}
		return key{alg: "RS256", key: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return key{}, errors.New("only P-256 is supported among elliptic curves for ES256")
		}
		return key{alg: "ES256", key: k}, nil
	case ed25519.PublicKey:
		return key{alg: "EdDSA", key: k}, nil
	}
	return key{}, fmt.Errorf("a %T is no key for RS256, ES256 or EdDSA", public)
}

// claims are the claims that matter here (RFC 7519 section 4.1, and ours).
type claims struct {
	jwt.RegisteredClaims
	Device string              `json:"device,omitempty"`
	Caps   map[string][]string `json:"caps,omitempty"`
}

// Verify checks a token and says who it is for. Its errors are unauthorized,
// with a message that says why but never repeats the token, or unavailable when
// the key set could not be fetched.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	if !v.Enabled() {
		return Identity{}, refused("tokens are not accepted here: no key is configured")
	}
	if len(token) > maxTokenBytes {
		return Identity{}, refused("the token has more than %d bytes", maxTokenBytes)
	}
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return v.find(ctx, t) })
	if err != nil {
		return Identity{}, v.explain(err, &c)
	}
	if err := protocol.UserID("sub", c.Subject); err != nil {
		return Identity{}, refused("the token's %s", fault.Of(err).Message)
	}
	if err := protocol.DeviceID("device", c.Device); err != nil {
		return Identity{}, refused("the token's %s", fault.Of(err).Message)
	}
	caps, err := ParseCaps(c.Caps)
	if err != nil {
		return Identity{}, refused("the token's %s", err)
	}
	id := Identity{User: c.Subject, Device: c.Device, Caps: caps}
	if c.ExpiresAt != nil {
		id.Expires = c.ExpiresAt.Time
	}
	return id, nil
}

// errUnknownKey says that no key fits the token's algorithm and key id.
var errUnknownKey = errors.New("unknown key")

// find gives the keys that a token may be signed with.
func (v *Verifier) find(ctx context.Context, t *jwt.Token) (any, error) {
	if _, there := t.Header["crit"]; there { // RFC 7515 section 4.1.11; the parser passes over it
		return nil, refused("the token asks for extensions (crit) that are not supported")
	}
	alg := t.Method.Alg()
	kid, _ := t.Header["kid"].(string)
	var fit jwt.VerificationKeySet
	for _, k := range v.keys {
		if k.alg == alg {
			fit.Keys = append(fit.Keys, k.key)
		}
	}
	if v.set != nil && alg != "HS256" {
		found, err := v.set.find(ctx, alg, kid)
		if err != nil && len(fit.Keys) == 0 {
			return nil, err
		}
		for _, k := range found {
			fit.Keys = append(fit.Keys, k.key)
		}
	}
	switch len(fit.Keys) {
	case 0:
		return nil, errUnknownKey
	case 1:
		return fit.Keys[0], nil
	}
	return fit, nil
}

func refused(format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthorized, format, args...)
}

// explain says why a token is refused.
func (v *Verifier) explain(err error, c *claims) error {
	var f *fault.Error
	missing := errors.Is(err, jwt.ErrTokenRequiredClaimMissing) // iss or aud: no other claim is required
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, errUnknownKey):
		return refused("the token is signed with a key or algorithm that is not configured")
	case errors.Is(err, jwt.ErrTokenExpired):
		return refused("the token expired %s ago", time.Since(c.ExpiresAt.Time).Round(time.Second))
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refused("the token is not valid yet")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), missing && v.cfg.Issuer != "" && c.Issuer == "":
		return refused("the token's iss is not %q", v.cfg.Issuer)
	case errors.Is(err, jwt.ErrTokenInvalidAudience), missing && v.cfg.Audience != "":
		return refused("the token's aud does not contain %q", v.cfg.Audience)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return refused("the token's signature or algorithm is not valid")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return refused("the token is not a JWT, or one of its claims has the wrong type")
	}
	return refused("the token is not valid")
}

// Sign makes an HS256 token, for tools and tests.
func Sign(secret []byte, id Identity, issuer, audience string, now time.Time) (string, error) {
	c := claims{Device: id.Device, Caps: id.Caps.Map()}
	c.Subject, c.Issuer = id.User, issuer
	c.IssuedAt = jwt.NewNumericDate(now)
	if audience != "" {
		c.Audience = jwt.ClaimStrings{audience}
	}
	if !id.Expires.IsZero() {
		c.ExpiresAt = jwt.NewNumericDate(id.Expires)
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(secret)
}
