package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
)

var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

func TestEveryAlgorithmIsAccepted(t *testing.T) {
	cfg := auth.Config{HMACSecret: secret}
	signers := map[string]signer{}
	for _, alg := range algorithms {
		s := newSigner(t, alg)
		signers[alg] = s
		if s.public != nil {
			cfg.PublicKeys = append(cfg.PublicKeys, s.pem(t))
		}
	}
	v := newVerifier(t, cfg)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	for alg, s := range signers {
		t.Run(alg, func(t *testing.T) {
			got, err := verify(v, s.token(t, "", map[string]any{
				"sub": "ann", "device": "phone", "exp": expires.Unix(), "caps": map[string]any{"room:*": []string{"sub", "pub"}},
			}))
			if err != nil {
				t.Fatal(err)
			}
			if got.User != "ann" || got.Device != "phone" || !got.Expires.Equal(expires) {
				t.Errorf("got %+v", got)
			}
			if diff := cmp.Diff(map[string][]string{"room:*": {"sub", "pub"}}, got.Caps.Map()); diff != "" {
				t.Error(diff)
			}
			_, err = verify(v, newSigner2(t, alg).token(t, "", map[string]any{"sub": "ann"}))
			wantError(t, err, fault.Unauthorized, "the token's signature or algorithm is not valid")
		})
	}
}

// newSigner2 makes a key that nobody was told of.
func newSigner2(t testing.TB, alg string) signer {
	s := newSigner(t, alg)
	if alg == "HS256" {
		s.key = []byte("another secret, as long as the first")
	}
	return s
}

func TestTwoKeysOfOneAlgorithm(t *testing.T) {
	a, b := newSigner(t, "ES256"), newSigner(t, "ES256")
	v := newVerifier(t, auth.Config{PublicKeys: [][]byte{a.pem(t), b.pem(t)}})
	for _, s := range []signer{a, b} {
		if got, err := verify(v, s.token(t, "any", map[string]any{"sub": "u"})); err != nil || got.User != "u" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestACertificateIsAPublicKeyToo(t *testing.T) {
	s := newSigner(t, "ES256")
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.public, s.key)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, auth.Config{PublicKeys: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}})
	if _, err := verify(v, s.token(t, "", map[string]any{"sub": "u"})); err != nil {
		t.Error(err)
	}
}

// hand signs a token whose header and claims are given as text.
func hand(t *testing.T, header, claims string) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	body := enc([]byte(header)) + "." + enc([]byte(claims))
	sig, err := jwt.SigningMethodHS256.Sign(body, secret)
	if err != nil {
		t.Fatal(err)
	}
	return body + "." + enc(sig)
}

func TestRefusals(t *testing.T) {
	const h = `{"alg":"HS256","typ":"JWT"}`
	good := hand(t, h, `{"sub":"u"}`)
	malformed := "the token is not a JWT, or one of its claims has the wrong type"
	signature := "the token's signature or algorithm is not valid"
	tests := []struct{ name, token, want string }{
		{"nothing", "", malformed},
		{"no JWT", "hello", malformed},
		{"two parts", good[:strings.LastIndexByte(good, '.')], malformed},
		{"four parts", good + ".x", malformed},
		{"a signature of another text", good[:len(good)-43] + strings.Repeat("A", 43), signature},
		{"a signature with stray bits at its end", good[:len(good)-1] + string(stray(good[len(good)-1])), malformed},
		{"no signature", good[:strings.LastIndexByte(good, '.')+1], signature},
		{"padding", good + "=", malformed},
		{"too large", strings.Repeat("a", 8<<10+1), "the token has more than 8192 bytes"},
		{"alg none", noneToken(t), signature},
		{"alg None", hand(t, `{"alg":"None"}`, `{"sub":"u"}`), signature},
		{"alg HS512", hand(t, `{"alg":"HS512"}`, `{"sub":"u"}`), signature},
		{"no alg", hand(t, `{"typ":"JWT"}`, `{"sub":"u"}`), signature},
		{"alg of the wrong type", hand(t, `{"alg":5}`, `{"sub":"u"}`), signature},
		{"an algorithm without a key", hand(t, `{"alg":"RS256"}`, `{"sub":"u"}`), "signed with a key or algorithm that is not configured"},
		{"an extension that must be understood", hand(t, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{"sub":"u"}`), "crit"},
		{"no sub", hand(t, h, `{}`), "the token's sub: is missing"},
		{"an empty sub", hand(t, h, `{"sub":""}`), "the token's sub: is missing"},
		{"sub of the wrong type", hand(t, h, `{"sub":42}`), malformed},
		{"sub too long", hand(t, h, `{"sub":"`+strings.Repeat("u", 257)+`"}`), "the token's sub: has 257 bytes; at most 256 are allowed"},
		{"sub with a control character", hand(t, h, `{"sub":"a\u0000"}`), "the token's sub: no control characters are allowed"},
		{"device too long", hand(t, h, `{"sub":"u","device":"`+strings.Repeat("d", 129)+`"}`), "the token's device: has 129 bytes; at most 128 are allowed"},
		{"device of the wrong type", hand(t, h, `{"sub":"u","device":{}}`), malformed},
		{"exp of the wrong type", hand(t, h, `{"sub":"u","exp":"soon"}`), malformed},
		{"claims that are a list", hand(t, h, `[]`), malformed},
		{"claims that are no JSON", hand(t, h, `{`), malformed},
		{"caps that are a list", hand(t, h, `{"sub":"u","caps":["room:*"]}`), malformed},
		{"caps with a word for a list", hand(t, h, `{"sub":"u","caps":{"room:*":"sub"}}`), malformed},
		{"caps with numbers", hand(t, h, `{"sub":"u","caps":{"room:*":[1]}}`), malformed},
		{"caps with an unknown verb", hand(t, h, `{"sub":"u","caps":{"room:*":["write"]}}`), `the token's caps: "room:*": "write" is not a verb`},
		{"caps with a star inside", hand(t, h, `{"sub":"u","caps":{"r*m:1":["sub"]}}`), `the token's caps: "r*m:1": a star may only stand at the end`},
		{"caps with an empty pattern", hand(t, h, `{"sub":"u","caps":{"":["sub"]}}`), "the token's caps: a pattern has 1 to 255 bytes"},
	}
	v := newVerifier(t, auth.Config{HMACSecret: secret})
	if _, err := verify(v, good); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := verify(v, tt.token)
			wantError(t, err, fault.Unauthorized, tt.want)
			if id.User != "" {
				t.Errorf("it gave an identity: %+v", id)
			}
			if err != nil && len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[:20]) {
				t.Errorf("the message repeats the token: %v", err)
			}
		})
	}
}

// stray gives a base64 character that differs from c in the lowest bit alone,
// which no byte of a 32-byte signature holds.
func stray(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

func noneToken(t *testing.T) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "u"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAPublicKeyIsNoSecret(t *testing.T) {
	s := newSigner(t, "RS256")
	public := s.pem(t)
	der, err := x509.MarshalPKIXPublicKey(s.public)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, auth.Config{PublicKeys: [][]byte{public}})
	for name, key := range map[string][]byte{"PEM": public, "PEM without its last line end": public[:len(public)-1], "DER": der} {
		forged := signer{method: jwt.SigningMethodHS256, key: key}.token(t, "", map[string]any{"sub": "root"})
		_, err := verify(v, forged)
		t.Run(name, func(t *testing.T) {
			wantError(t, err, fault.Unauthorized, "signed with a key or algorithm that is not configured")
		})
	}
	both := newVerifier(t, auth.Config{PublicKeys: [][]byte{public}, HMACSecret: secret})
	_, err = verify(both, signer{method: jwt.SigningMethodHS256, key: public}.token(t, "", map[string]any{"sub": "root"}))
	wantError(t, err, fault.Unauthorized, "signature or algorithm is not valid")
}

func TestWithoutAKeyNoTokenIsBelieved(t *testing.T) {
	v := newVerifier(t, auth.Config{})
	if v.Enabled() {
		t.Error("it says that it could believe one")
	}
	_, err := verify(v, newSigner(t, "HS256").token(t, "", map[string]any{"sub": "u"}))
	wantError(t, err, fault.Unauthorized, "tokens are not accepted here: no key is configured")
}

func TestTimesHaveLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		s := newSigner(t, "HS256")
		tests := []struct {
			name   string
			leeway time.Duration
			claims map[string]any
			want   string
		}{
			{"no times at all", 0, map[string]any{}, ""},
			{"expires later", 0, map[string]any{"exp": now + 1}, ""},
			{"expired within the default leeway", 0, map[string]any{"exp": now - 4}, ""},
			{"expired", 0, map[string]any{"exp": now - 65}, "the token expired 1m5s ago"},
			{"expired at the epoch", 0, map[string]any{"exp": 0}, "the token expired"},
			{"expired, at the edge", 0, map[string]any{"exp": now - 5}, "the token expired 5s ago"},
			{"a longer leeway", time.Minute, map[string]any{"exp": now - 59}, ""},
			{"a fraction of a second", 0, map[string]any{"exp": float64(now) - 5.5}, "the token expired"},
			{"valid since now", 0, map[string]any{"nbf": now, "iat": now}, ""},
			{"not before, within the leeway", 0, map[string]any{"nbf": now + 5}, ""},
			{"not before", 0, map[string]any{"nbf": now + 6}, "the token is not valid yet"},
			{"issued ahead, within the leeway", 0, map[string]any{"iat": now + 5}, ""},
			{"issued in the future", 0, map[string]any{"iat": now + 6}, "the token is not valid yet"},
		}
		for _, tt := range tests {
			v := newVerifier(t, auth.Config{HMACSecret: secret, Leeway: tt.leeway})
			tt.claims["sub"] = "u"
			id, err := v.Verify(context.Background(), s.token(t, "", tt.claims))
			if tt.want == "" {
				if err != nil || id.User != "u" {
					t.Errorf("%s: got %+v, %v", tt.name, id, err)
				}
				continue
			}
			if e := fault.Of(err); e == nil || e.Code != fault.Unauthorized || !strings.Contains(e.Message, tt.want) {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
			}
		}
	})
}

func TestIssuerAndAudience(t *testing.T) {
	s := newSigner(t, "HS256")
	v := newVerifier(t, auth.Config{HMACSecret: secret, Issuer: "https://id", Audience: "skein"})
	tests := []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"both", map[string]any{"iss": "https://id", "aud": "skein"}, ""},
		{"one of several audiences", map[string]any{"iss": "https://id", "aud": []string{"other", "skein"}}, ""},
		{"another issuer", map[string]any{"iss": "https://id/", "aud": "skein"}, `the token's iss is not "https://id"`},
		{"no issuer", map[string]any{"aud": "skein"}, "the token"},
		{"another audience", map[string]any{"iss": "https://id", "aud": "other"}, `the token's aud does not contain "skein"`},
		{"no audience", map[string]any{"iss": "https://id"}, "the token"},
		{"an empty list", map[string]any{"iss": "https://id", "aud": []string{}}, "the token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.claims["sub"] = "u"
			_, err := verify(v, s.token(t, "", tt.claims))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, fault.Unauthorized, tt.want)
		})
	}
}

func TestMissingClaimsAreNamed(t *testing.T) {
	s := newSigner(t, "HS256")
	v := newVerifier(t, auth.Config{HMACSecret: secret, Issuer: "https://id", Audience: "skein"})
	_, err := verify(v, s.token(t, "", map[string]any{"sub": "u", "aud": "skein"}))
	wantError(t, err, fault.Unauthorized, `the token's iss is not "https://id"`)
	_, err = verify(v, s.token(t, "", map[string]any{"sub": "u", "iss": "https://id"}))
	wantError(t, err, fault.Unauthorized, `the token's aud does not contain "skein"`)
}

func TestPublicKeysThatAreNoGood(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		text []byte
		want string
	}{
		{"no PEM", []byte("hello"), "public key 1: no PEM block in it"},
		{"PEM of nonsense", []byte("-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n"), "public key 1: "},
		{"a certificate of nonsense", []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"), "public key 1: "},
		{"weak RSA", signer{public: weak.Public()}.pem(t), "an RSA key of 1024 bits is too short; 2048 are needed"},
		{"another curve", signer{public: curve.Public()}.pem(t), "only P-256 is supported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := auth.NewVerifier(auth.Config{PublicKeys: [][]byte{tt.text}}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSignMakesTokensThatVerify(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"room:7": {"pub"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := auth.Identity{User: "ann", Device: "phone", Expires: now.Add(time.Minute).Truncate(time.Second), Caps: caps}
	text, err := auth.Sign(secret, want, "me", "you", now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verify(newVerifier(t, auth.Config{HMACSecret: secret, Issuer: "me", Audience: "you"}), text)
	if err != nil {
		t.Fatal(err)
	}
	if got.User != want.User || got.Device != want.Device || !got.Expires.Equal(want.Expires) || !got.Caps.Allows("room:7", auth.Pub) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	text, err = auth.Sign(secret, auth.Identity{User: "bob"}, "", "", now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = verify(newVerifier(t, auth.Config{HMACSecret: secret}), text); err != nil || got.User != "bob" || !got.Expires.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzVerify(f *testing.F) {
	v, err := auth.NewVerifier(auth.Config{HMACSecret: secret})
	if err != nil {
		f.Fatal(err)
	}
	good, err := auth.Sign(secret, auth.Identity{User: "u"}, "", "", time.Unix(1_700_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{good, "", "..", "a.b.c", good[:len(good)-1], "." + good, "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(context.Background(), token)
		if token == good {
			return
		}
		if err == nil {
			t.Errorf("%q is believed: %+v", token, id)
		} else if fault.Of(err).Code != fault.Unauthorized {
			t.Errorf("%q: got %v, want unauthorized", token, err)
		}
	})
}

// FuzzClaims signs whatever it is given: what an issuer may write must not
// break the server either.
func FuzzClaims(f *testing.F) {
	v, err := auth.NewVerifier(auth.Config{HMACSecret: secret})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{`{"sub":"u"}`, `{"sub":"u","exp":1e300,"nbf":-1e300}`, `{"sub":"u","exp":null,"caps":null}`, `{"sub":"u","caps":{"*":["*"]}}`, `{"aud":5}`, `null`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		id, err := v.Verify(context.Background(), hand(t, `{"alg":"HS256"}`, claims))
		if (err == nil) == (id.User == "") {
			t.Errorf("%q: got %+v, %v", claims, id, err)
		}
		if err != nil && fault.Of(err).Code != fault.Unauthorized {
			t.Errorf("%q: got %v, want unauthorized", claims, err)
		}
	})
}

func BenchmarkVerifyHS256(b *testing.B) {
	v, err := auth.NewVerifier(auth.Config{HMACSecret: secret})
	if err != nil {
		b.Fatal(err)
	}
	text, err := auth.Sign(secret, auth.Identity{User: "ann", Expires: time.Now().Add(time.Hour)}, "", "", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(context.Background(), text); err != nil {
			b.Fatal(err)
		}
	}
}
