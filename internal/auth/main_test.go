package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("a secret that is long enough for HS256")

// signer is a private key with its algorithm.
type signer struct {
	method jwt.SigningMethod
	key    any
	public any
}

func newSigner(t testing.TB, alg string) signer {
	t.Helper()
	var s signer
	var err error
	switch alg {
	case "HS256":
		return signer{jwt.SigningMethodHS256, secret, nil}
	case "RS256":
		var k *rsa.PrivateKey
		k, err = rsa.GenerateKey(rand.Reader, 2048)
		s = signer{jwt.SigningMethodRS256, k, k.Public()}
	case "ES256":
		var k *ecdsa.PrivateKey
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		s = signer{jwt.SigningMethodES256, k, k.Public()}
	case "EdDSA":
		var public ed25519.PublicKey
		var k ed25519.PrivateKey
		public, k, err = ed25519.GenerateKey(rand.Reader)
		s = signer{jwt.SigningMethodEdDSA, k, public}
	default:
		t.Fatalf("no such algorithm: %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// token signs claims; kid "" means none.
func (s signer) token(t testing.TB, kid string, claims map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(s.method, jwt.MapClaims(claims))
	if kid != "" {
		tok.Header["kid"] = kid
	}
	text, err := tok.SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// pem gives the public key as a configuration has it.
func (s signer) pem(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// jwk gives the public key as a member of a key set.
func (s signer) jwk(t testing.TB, kid string) map[string]any {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString
	m := map[string]any{"kid": kid, "use": "sig"}
	switch k := s.public.(type) {
	case *rsa.PublicKey:
		m["kty"], m["alg"] = "RSA", "RS256"
		m["n"], m["e"] = text(k.N.Bytes()), text(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		m["kty"], m["crv"] = "EC", "P-256"
		m["x"], m["y"] = text(point[1:33]), text(point[33:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", text(k)
	}
	return m
}

// keySet gives the JSON of a key set.
func keySet(t testing.TB, keys ...map[string]any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newVerifier(t testing.TB, cfg auth.Config) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// verify checks a token within a patience that no test should use up.
func verify(v *auth.Verifier, token string) (auth.Identity, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return v.Verify(ctx, token)
}

// wantError checks the code of an error and a part of its message.
func wantError(t testing.TB, err error, code fault.Code, message string) {
	t.Helper()
	if e := fault.Of(err); e == nil || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("got %v, want %s: %s", err, code, message)
	}
}
