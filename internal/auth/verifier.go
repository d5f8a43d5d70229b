package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Config of a [Verifier]. Without any key no token is believed.
type Config struct {
	HMACSecret []byte        // HS256; at least 32 bytes (RFC 7518 section 3.2)
	PublicKeys [][]byte      // PEM, one key each: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA); public keys or certificates, whose dates are not looked at
	JWKS       string        // URL of a JSON Web Key Set (RFC 7517)
	Issuer     string        // required iss; empty: any
	Audience   string        // required aud; empty: any
	Leeway     time.Duration // how far nbf and iat may lie ahead, for clocks that differ; zero: 5 s, negative: none. exp has none
	HTTP       *http.Client  // for the key set; nil: a plain one. Without a CheckRedirect of its own it never goes from https to http
	Logger     *slog.Logger  // nil: slog.Default()
}

// Verifier checks tokens. It may be used by many goroutines.
type Verifier struct {
	cfg  Config
	keys []key   // from the configuration
	set  *keySet // nil: none
}

// key is a key with the one algorithm that it is good for, so that no token can
// choose another: an RSA key never checks an HMAC.
type key struct {
	id     string // kid; "": none
	method jwt.SigningMethod
	key    any
}

// checks tells whether the key made the signature of text.
func (k *key) checks(text string, signature []byte) bool {
	return k.method.Verify(text, signature, k.key) == nil
}

const (
	maxTokenBytes  = 8 << 10
	minRSABits     = 2048
	maxRSABits     = 16384
	minSecretBytes = 32
)

// The algorithms that tokens may name (RFC 7518 section 3.1, RFC 8037).
const (
	hs256 = "HS256"
	rs256 = "RS256"
	es256 = "ES256"
	eddsa = "EdDSA"
)

var errNoSecret = errors.New("auth: the secret is empty")

// NewVerifier makes a Verifier. It does not fetch the key set yet.
func NewVerifier(cfg Config) (*Verifier, error) {
	if cfg.Leeway == 0 {
		cfg.Leeway = 5 * time.Second
	}
	cfg.Leeway = max(0, cfg.Leeway)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	v := &Verifier{}
	if n := len(cfg.HMACSecret); n > 0 {
		if n < minSecretBytes {
			return nil, fmt.Errorf("auth: a secret of %d bytes is too short for HS256; %d are needed", n, minSecretBytes)
		}
		v.keys = append(v.keys, key{method: jwt.SigningMethodHS256, key: cfg.HMACSecret})
	}
	for i, text := range cfg.PublicKeys {
		k, err := parsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("auth: public key %d: %w", i+1, err)
		}
		v.keys = append(v.keys, k)
	}
	if cfg.JWKS != "" {
		set, err := newKeySet(cfg)
		if err != nil {
			return nil, err
		}
		v.set = set
	}
	v.cfg = cfg
	return v, nil
}

// Enabled tells whether any token can be believed.
func (v *Verifier) Enabled() bool { return len(v.keys) > 0 || v.set != nil }

// Close ends a fetch of the key set that is under way and waits for it. Keys
// that are known stay in use.
func (v *Verifier) Close() {
	if v.set != nil {
		v.set.close()
	}
}

func parsePublicKey(text []byte) (key, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return key{}, errors.New("no PEM block in it")
	}
	// A second block may be the next key, which would be missed, or the authority
	// that signed the certificate, which must not sign tokens.
	if more, _ := pem.Decode(rest); more != nil {
		return key{}, errors.New("more than one PEM block in it; give each key an entry of its own")
	}
	var public any
	var err error
	switch {
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return key{}, errors.New("it is a private key; only the public one belongs here")
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
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
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return key{}, fmt.Errorf("an RSA key of %d bits cannot be used; it must have %d to %d", n, minRSABits, maxRSABits)
		}
		return key{method: jwt.SigningMethodRS256, key: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return key{}, errors.New("only P-256 is supported among elliptic curves for ES256")
		}
		return key{method: jwt.SigningMethodES256, key: k}, nil
	case ed25519.PublicKey:
		return key{method: jwt.SigningMethodEdDSA, key: k}, nil
	}
	return key{}, fmt.Errorf("a %T is no key for RS256, ES256 or EdDSA", public)
}

// Verify checks a token and says who it is for. Its errors are unauthorized,
// with a message that says why but never repeats the token, or unavailable when
// the key set that might hold its key could not be fetched. It waits for that
// until ctx ends, 5 s at most.
//
// The cryptography is the library's; the parts are taken apart here, because the
// library reads claims before it has checked the signature, ignores crit, and
// takes "SUB" for "sub".
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	if !v.Enabled() {
		return Identity{}, refused("tokens are not accepted here: no key is configured")
	}
	if len(token) > maxTokenBytes {
		return Identity{}, refused("the token has more than %d bytes", maxTokenBytes)
	}
	p, err := split(token)
	if err != nil {
		return Identity{}, err
	}
	h, err := readHeader(p.header)
	if err != nil {
		return Identity{}, err
	}
	if err := v.verify(ctx, h, p.signed, p.signature); err != nil {
		return Identity{}, err
	}
	c, err := readClaims(p.claims)
	if err != nil {
		return Identity{}, err
	}
	if err := c.check(&v.cfg, time.Now()); err != nil {
		return Identity{}, err
	}
	return c.identity(), nil
}

// parts of a token in the compact form (RFC 7515 section 7.1).
type parts struct {
	signed                    string // what the signature covers
	header, claims, signature []byte
}

func split(token string) (p parts, err error) {
	first := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	if first == last || strings.IndexByte(token[first+1:last], '.') >= 0 {
		return p, refused("the token is not a JWT: it does not have three parts")
	}
	p.signed = token[:last]
	room := make([]byte, 0, len(token))
	for _, part := range []struct {
		to   *[]byte
		text string
	}{{&p.header, token[:first]}, {&p.claims, token[first+1 : last]}, {&p.signature, token[last+1:]}} {
		start := len(room)
		if strings.ContainsAny(part.text, "\r\n") { // the decoder would pass over them
			return p, refused("the token is not a JWT: its parts are not base64url")
		}
		if room, err = base64.RawURLEncoding.Strict().AppendDecode(room, []byte(part.text)); err != nil {
			return p, refused("the token is not a JWT: its parts are not base64url")
		}
		*part.to = room[start:len(room):len(room)]
	}
	return p, nil
}

// verify looks for a key that made the signature.
func (v *Verifier) verify(ctx context.Context, h header, text string, signature []byte) error {
	switch h.alg {
	case hs256, rs256, es256, eddsa:
	default:
		return refused("the token's algorithm is not allowed; use HS256, RS256, ES256 or EdDSA")
	}
	tried := false
	for i := range v.keys {
		if k := &v.keys[i]; k.method.Alg() == h.alg {
			if k.checks(text, signature) {
				return nil
			}
			tried = true
		}
	}
	if v.set != nil && h.alg != hs256 {
		ok, some, err := v.set.verify(ctx, h, text, signature)
		if ok || err != nil {
			return err
		}
		if !some && h.kid != "" {
			return refused("the token's key id (kid) is not known")
		}
		tried = tried || some
	}
	if !tried {
		return refused("the token is signed with %s, and no key for that is known", h.alg)
	}
	return refused("the token's signature is not valid")
}
