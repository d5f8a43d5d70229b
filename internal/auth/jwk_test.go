package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
)

func TestKeySetsThatAreNoGood(t *testing.T) {
	key := newSigner(t, "RS256")
	good := key.jwk(t, "a")
	with := func(change map[string]any) string {
		m := map[string]any{}
		for k, v := range good {
			m[k] = v
		}
		for k, v := range change {
			m[k] = v
		}
		return keySet(t, m)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]map[string]any, 101)
	for i := range many {
		many[i] = good
	}
	ec := newSigner(t, "ES256").jwk(t, "a")
	ec["x"] = good["e"]
	off := newSigner(t, "ES256").jwk(t, "a")
	off["y"] = newSigner(t, "ES256").jwk(t, "a")["y"]
	tests := []struct{ name, body, want string }{
		{"nothing", "", "not a key set"},
		{"garbage", "<html>", "not a key set"},
		{"a huge body", `{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`, "more than 1048576 bytes"},
		{"no keys", `{}`, "no key for RS256, ES256 or EdDSA"},
		{"too many keys", keySet(t, many...), "101 keys; at most 100"},
		{"for encryption", with(map[string]any{"use": "enc"}), "no key for"},
		{"for another algorithm", with(map[string]any{"alg": "PS256"}), "no key for"},
		{"for signing alone", with(map[string]any{"key_ops": []string{"sign"}}), "is not for signatures"},
		{"a key that is a word", `{"keys":["a"]}`, "no key for"},
		{"a kid that is a number", with(map[string]any{"kid": 7}), "no key for"},
		{"symmetric", `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, "is not supported"},
		{"another curve", `{"keys":[{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}]}`, "is not supported"},
		{"weak RSA", keySet(t, signer{public: weak.Public()}.jwk(t, "a")), "1024 bits cannot be used"},
		{"an exponent of one", with(map[string]any{"e": "AQ"}), "unusable exponent"},
		{"an exponent too large", with(map[string]any{"e": "AQAAAAAAAAAA"}), "unusable exponent"},
		{"no modulus", with(map[string]any{"n": ""}), "not base64url"},
		{"a modulus in plain base64", with(map[string]any{"n": "+/=="}), "not base64url"},
		{"a coordinate too short", keySet(t, ec), "a coordinate is not 32 bytes"},
		{"a point off the curve", keySet(t, off), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serveKeys(t, tt.body)
			var log bytes.Buffer
			v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.client, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			_, err := verify(v, key.token(t, "a", map[string]any{"sub": "u"}))
			wantError(t, err, fault.Unavailable, "cannot be fetched now")
			if !strings.Contains(log.String(), tt.want) {
				t.Errorf("the log says %s, want %q", log.String(), tt.want)
			}
		})
	}
}

func TestOtherKeysInASetArePassedOver(t *testing.T) {
	key := newSigner(t, "EdDSA")
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	enc := signer{public: curve.Public()}.jwk(t, "b")
	enc["use"] = "enc"
	bare := key.jwk(t, "a")
	delete(bare, "use")
	bare["key_ops"] = []string{"verify"}
	s := serveKeys(t, keySet(t, enc, map[string]any{"kty": "oct", "k": "AA"}, map[string]any{"kty": "RSA", "kid": 7}, map[string]any{"kty": "RSA", "n": "AQ", "e": "AQAB"}, bare))
	v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.client})
	if _, err := verify(v, key.token(t, "a", map[string]any{"sub": "u"})); err != nil {
		t.Error(err)
	}
	_, err = verify(v, signer{newSigner(t, "ES256").method, curve, nil}.token(t, "b", map[string]any{"sub": "u"}))
	wantError(t, err, fault.Unauthorized, "key id (kid) is not known")
}

func FuzzKeySet(f *testing.F) {
	for _, alg := range algorithms[1:] {
		f.Add(keySet(f, newSigner(f, alg).jwk(f, "a")))
	}
	f.Add(`{"keys":[{"kty":"RSA","n":"AA","e":"AA"},{"kty":"EC","crv":"P-256"},{"kty":"OKP","crv":"Ed25519","x":""}]}`)
	f.Add(`{"keys":null}`)
	token := newSigner(f, "ES256").token(f, "", map[string]any{"sub": "u", "n": new(big.Int).String()})
	f.Fuzz(func(t *testing.T, body string) {
		e := &endpoint{answer: func() (int, http.Header, string, error) { return 200, nil, body, nil }}
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}, Logger: slog.New(slog.DiscardHandler)})
		if id, err := verify(v, token); err == nil {
			t.Errorf("a key set that nobody made believes the token of %+v", id)
		}
	})
}
