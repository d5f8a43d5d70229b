package auth_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
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
			if got.User != "ann" || got.Device != "phone" || got.Expires != auth.At(expires) {
				t.Errorf("got %+v", got)
			}
			if diff := cmp.Diff(map[string][]string{"room:*": {"sub", "pub"}}, got.Caps.Map()); diff != "" {
				t.Error(diff)
			}
			_, err = verify(v, newSigner2(t, alg).token(t, "", map[string]any{"sub": "ann"}))
			wantError(t, err, fault.Unauthorized, "the token's signature is not valid")
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
	const (
		partless  = "the token is not a JWT: it does not have three parts"
		notBase64 = "the token is not a JWT: its parts are not base64url"
		badHeader = "the token is not a JWT: its header: "
		algorithm = "the token's algorithm is not allowed; use HS256, RS256, ES256 or EdDSA"
		signature = "the token's signature is not valid"
	)
	tests := []struct{ name, token, want string }{
		{"nothing", "", partless},
		{"no JWT", "hello", partless},
		{"two parts", good[:strings.LastIndexByte(good, '.')], partless},
		{"four parts", good + ".x", partless},
		{"a signature of another text", good[:len(good)-43] + strings.Repeat("A", 43), signature},
		{"a signature with stray bits at its end", good[:len(good)-1] + string(stray(good[len(good)-1])), notBase64},
		{"no signature", good[:strings.LastIndexByte(good, '.')+1], signature},
		{"padding", good + "=", notBase64},
		{"a line end after it", good + "\n", notBase64},
		{"a line end inside", good[:5] + "\r\n" + good[5:], notBase64},
		{"spaces around it", " " + good + " ", notBase64},
		{"a header that is no JSON", hand(t, "alg", `{"sub":"u"}`), badHeader},
		{"a header that is a list", hand(t, `["HS256"]`, `{"sub":"u"}`), badHeader},
		{"a header that says two things", hand(t, `{"alg":"HS256","alg":"none"}`, `{"sub":"u"}`), badHeader},
		{"a header nested deeply", hand(t, `{"alg":"HS256","x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, `{"sub":"u"}`), badHeader},
		{"kid of the wrong type", hand(t, `{"alg":"HS256","kid":7}`, `{"sub":"u"}`), "the token's header: kid: must be a string, not a number"},
		{"too large", strings.Repeat("a", 8<<10+1), "the token has more than 8192 bytes"},
		{"alg none", noneToken(t), algorithm},
		{"alg None", hand(t, `{"alg":"None"}`, `{"sub":"u"}`), algorithm},
		{"alg HS512", hand(t, `{"alg":"HS512"}`, `{"sub":"u"}`), algorithm},
		{"no alg", hand(t, `{"typ":"JWT"}`, `{"sub":"u"}`), algorithm},
		{"alg in lower case", hand(t, `{"alg":"hs256"}`, `{"sub":"u"}`), algorithm},
		{"ALG for alg", hand(t, `{"ALG":"HS256"}`, `{"sub":"u"}`), algorithm},
		{"alg of the wrong type", hand(t, `{"alg":5}`, `{"sub":"u"}`), "the token's header: alg: must be a string, not a number"},
		{"an algorithm without a key", hand(t, `{"alg":"RS256"}`, `{"sub":"u"}`), "the token is signed with RS256, and no key for that is known"},
		{"an extension that must be understood", hand(t, `{"alg":"HS256","crit":["b64"],"b64":false}`, `{"sub":"u"}`), "crit"},
		{"no sub", hand(t, h, `{}`), "the token's sub: is missing"},
		{"an empty sub", hand(t, h, `{"sub":""}`), "the token's sub: is missing"},
		{"sub of the wrong type", hand(t, h, `{"sub":42}`), "the token's sub: must be a string, not a number"},
		{"sub too long", hand(t, h, `{"sub":"`+strings.Repeat("u", 257)+`"}`), "the token's sub: has 257 bytes; at most 256 are allowed"},
		{"sub with a control character", hand(t, h, `{"sub":"a\u0000"}`), "the token's sub: no control characters are allowed"},
		{"device too long", hand(t, h, `{"sub":"u","device":"`+strings.Repeat("d", 129)+`"}`), "the token's device: has 129 bytes; at most 128 are allowed"},
		{"device of the wrong type", hand(t, h, `{"sub":"u","device":{}}`), "the token's device: must be a string, not an object"},
		{"sub that is not UTF-8", hand(t, h, "{\"sub\":\"\xff\"}"), "the token's sub: is not valid UTF-8"},
		{"an id that is too long", hand(t, h, `{"sub":"u","jti":"`+strings.Repeat("i", 129)+`"}`), "the token's jti: "},
		{"an id that is a number", hand(t, h, `{"sub":"u","jti":7}`), "the token's jti: must be a string, not a number"},
		{"SUB for sub", hand(t, h, `{"SUB":"root"}`), "the token's sub: is missing"},
		{"sub twice", hand(t, h, `{"sub":"u","sub":"root"}`), `member "sub" stands twice`},
		{"sub twice, once in disguise", hand(t, h, `{"sub":"u","\u0073ub":"root"}`), `member "sub" stands twice`},
		{"exp that is a word", hand(t, h, `{"sub":"u","exp":"soon"}`), "the token's exp: must be a number of seconds since 1970, not a string"},
		{"exp that is a number in a string", hand(t, h, `{"sub":"u","exp":"4102444800"}`), "the token's exp: must be a number of seconds since 1970, not a string"},
		{"exp that is null", hand(t, h, `{"sub":"u","exp":null}`), "the token's exp: must be a number of seconds since 1970, not null"},
		{"exp in milliseconds", hand(t, h, `{"sub":"u","exp":4102444800000}`), "the token's exp: 4102444800000 is no time in seconds since 1970"},
		{"exp beyond all numbers", hand(t, h, `{"sub":"u","exp":1e999}`), "the token's exp: must be a number of seconds"},
		{"exp before 1970", hand(t, h, `{"sub":"u","exp":-1}`), "the token's exp: -1 is no time"},
		{"nbf that is null", hand(t, h, `{"sub":"u","nbf":null}`), "the token's nbf: must be a number"},
		{"iat that is a list", hand(t, h, `{"sub":"u","iat":[1]}`), "the token's iat: must be a number of seconds since 1970, not an array"},
		{"iss of the wrong type", hand(t, h, `{"sub":"u","iss":["me"]}`), "the token's iss: must be a string, not an array"},
		{"aud of the wrong type", hand(t, h, `{"sub":"u","aud":1}`), "the token's aud: must be a string or a list of strings, not a number"},
		{"aud with a number", hand(t, h, `{"sub":"u","aud":["a",1]}`), "the token's aud: must be a list of strings; there is a number in it"},
		{"claims that are a list", hand(t, h, `[]`), "the token's claims: not a JSON object"},
		{"claims that are no JSON", hand(t, h, `{`), "the token's claims: not valid JSON at byte 1"},
		{"claims followed by more", hand(t, h, `{"sub":"u"} {}`), "the token's claims: not valid JSON"},
		{"claims that are nothing", hand(t, h, ``), "the token's claims: not valid JSON"},
		{"claims that are null", hand(t, h, `null`), "the token's claims: not a JSON object"},
		{"caps that are a list", hand(t, h, `{"sub":"u","caps":["room:*"]}`), "the token's caps: must be an object of pattern and list of verbs, not an array"},
		{"caps with a word for a list", hand(t, h, `{"sub":"u","caps":{"room:*":"sub"}}`), `the token's caps: "room:*": must be a list of verbs, not a string`},
		{"caps with null for a list", hand(t, h, `{"sub":"u","caps":{"room:*":null}}`), `the token's caps: "room:*": must be a list of verbs, not null`},
		{"caps with a pattern twice", hand(t, h, `{"sub":"u","caps":{"a:b":["sub"],"a:b":["pub"]}}`), `member "a:b" stands twice`},
		{"caps with numbers", hand(t, h, `{"sub":"u","caps":{"room:*":[1]}}`), `the token's caps: "room:*": a verb is a string, not a number`},
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
			wantError(t, err, fault.Unauthorized, "signed with HS256, and no key for that is known")
		})
	}
	both := newVerifier(t, auth.Config{PublicKeys: [][]byte{public}, HMACSecret: secret})
	_, err = verify(both, signer{method: jwt.SigningMethodHS256, key: public}.token(t, "", map[string]any{"sub": "root"}))
	wantError(t, err, fault.Unauthorized, "the token's signature is not valid")
}

func TestWithoutAKeyNoTokenIsBelieved(t *testing.T) {
	v := newVerifier(t, auth.Config{})
	if v.Enabled() {
		t.Error("it says that it could believe one")
	}
	_, err := verify(v, newSigner(t, "HS256").token(t, "", map[string]any{"sub": "u"}))
	wantError(t, err, fault.Unauthorized, "tokens are not accepted here: no key is configured")
}

func TestTimesOfAToken(t *testing.T) {
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
			{"expires in a moment", 0, map[string]any{"exp": float64(now) + 0.25}, ""},
			{"expires now: leeway keeps no token longer", 0, map[string]any{"exp": now}, "the token expired 0s ago"},
			{"expired", 0, map[string]any{"exp": now - 65}, "the token expired 1m5s ago"},
			{"expired at the epoch", 0, map[string]any{"exp": 0}, "the token expired"},
			{"expired a fraction of a second ago", 0, map[string]any{"exp": float64(now) - 0.25}, "the token expired"},
			{"expired, with a long leeway", time.Minute, map[string]any{"exp": now - 1}, "the token expired 1s ago"},
			{"a longer leeway", time.Minute, map[string]any{"nbf": now + 60}, ""},
			{"beyond a longer leeway", time.Minute, map[string]any{"nbf": now + 61}, "the token is not valid yet"},
			{"without leeway", -1, map[string]any{"nbf": now}, ""},
			{"ahead, without leeway", -1, map[string]any{"nbf": now + 1}, "the token is not valid yet"},
			{"valid since now", 0, map[string]any{"nbf": now, "iat": now}, ""},
			{"not before, within the leeway", 0, map[string]any{"nbf": now + 5}, ""},
			{"not before", 0, map[string]any{"nbf": now + 6}, "the token is not valid yet: its nbf is 6s ahead"},
			{"issued ahead, within the leeway", 0, map[string]any{"iat": now + 5}, ""},
			{"issued in the future", 0, map[string]any{"iat": now + 6}, "the token is not valid yet: its iat is 6s ahead"},
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
		{"no issuer", map[string]any{"aud": "skein"}, `the token's iss is not "https://id"`},
		{"another audience", map[string]any{"iss": "https://id", "aud": "other"}, `the token's aud does not contain "skein"`},
		{"no audience", map[string]any{"iss": "https://id"}, `the token's aud does not contain "skein"`},
		{"an empty list", map[string]any{"iss": "https://id", "aud": []string{}}, `the token's aud does not contain "skein"`},
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
		{"two keys in one", bytes.Repeat(newSigner(t, "EdDSA").pem(t), 2), "more than one PEM block in it"},
		{"a private key", []byte("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n"), "it is a private key"},
		{"a key for something else", x25519(t), "is no key for RS256, ES256 or EdDSA"},
		{"a certificate of nonsense", []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"), "public key 1: "},
		{"weak RSA", signer{public: weak.Public()}.pem(t), "an RSA key of 1024 bits cannot be used; it must have 2048 to 16384"},
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

// x25519 gives a public key that cannot sign.
func x25519(t *testing.T) []byte {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{public: k.PublicKey()}.pem(t)
}

func TestAShortSecretIsRefused(t *testing.T) {
	if _, err := auth.NewVerifier(auth.Config{HMACSecret: secret[:31]}); err == nil || !strings.Contains(err.Error(), "31 bytes is too short for HS256; 32 are needed") {
		t.Errorf("got %v", err)
	}
	if _, err := auth.NewVerifier(auth.Config{HMACSecret: secret[:32]}); err != nil {
		t.Error(err)
	}
	if token, err := auth.Sign(nil, auth.Identity{User: "u"}, "", "", time.Now()); err == nil {
		t.Errorf("a token was signed with nothing: %s", token)
	}
}

func TestClaimsOfOthersAreNoConcern(t *testing.T) {
	v := newVerifier(t, auth.Config{HMACSecret: secret})
	id, err := verify(v, hand(t, `{"typ":"at+jwt","alg":"HS256","x5c":["a",{"b":[1]}]}`,
		`{"CAPS":{"*":["*"]},"Sub":"root","EXP":1,"sub":"u","nested":{"sub":"root","caps":{"*":["*"]}},"device":null,"caps":null,"aud":["a","b"],"iss":"anybody","scope":"all"}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(auth.Identity{User: "u", Issued: auth.LongAgo}, id); diff != "" {
		t.Error(diff)
	}
}

func TestAFractionOfASecondIsKept(t *testing.T) {
	v := newVerifier(t, auth.Config{HMACSecret: secret})
	id, err := verify(v, hand(t, `{"alg":"HS256"}`, `{"sub":"u","exp":4102444800.5}`))
	if want := time.UnixMilli(4102444800500); err != nil || id.Expires != auth.At(want) {
		t.Errorf("got %v, %v, want %v", id.Expires, err, want)
	}
}

func TestTheIdentityKeepsWhatTokensAreRevokedBy(t *testing.T) {
	v := newVerifier(t, auth.Config{HMACSecret: secret})
	long := strings.Repeat("i", auth.MaxTokenID)
	for claims, want := range map[string]auth.Identity{
		`{"sub":"u"}`:                                  {User: "u", Issued: auth.LongAgo},
		`{"sub":"u","iat":0,"jti":""}`:                 {User: "u", Issued: auth.LongAgo},
		`{"sub":"u","iat":1700000000.25,"jti":"a b"}`:  {User: "u", Issued: 1700000000250, Token: "a b"},
		`{"sub":"u","jti":"` + long + `","iat":1e9}`:   {User: "u", Issued: 1e12, Token: long},
		`{"sub":"u","JTI":"no","IAT":5,"jti":null}`:    {User: "u", Issued: auth.LongAgo},
		`{"sub":"u","exp":4102444800,"iat":946684800}`: {User: "u", Issued: 946684800000, Expires: 4102444800000},
	} {
		got, err := verify(v, hand(t, `{"alg":"HS256"}`, claims))
		if err != nil {
			t.Errorf("%.60s: %v", claims, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.60s: %s", claims, diff)
		}
	}
}

func TestTimesAreMillisecondsAndZeroIsNone(t *testing.T) {
	if got := auth.At(time.Time{}); !got.IsZero() || !got.Time().IsZero() {
		t.Errorf("no time is %v", got)
	}
	at := time.UnixMilli(1700000000123)
	if got := auth.At(at.Add(999 * time.Microsecond)); got != 1700000000123 || !got.Time().Equal(at) {
		t.Errorf("%v is %v", at, got)
	}
	if got := auth.At(time.Unix(-5, 0)); got != auth.LongAgo {
		t.Errorf("before 1970 is %v", got)
	}
}

func TestSignMakesTokensThatVerify(t *testing.T) {
	caps, err := auth.ParseCaps(map[string][]string{"room:7": {"pub"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := auth.Identity{User: "ann", Device: "phone", Token: "t-1", Expires: auth.At(now.Add(time.Minute).Truncate(time.Second)), Caps: caps}
	text, err := auth.Sign(secret, want, "me", "you", now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verify(newVerifier(t, auth.Config{HMACSecret: secret, Issuer: "me", Audience: "you"}), text)
	if err != nil {
		t.Fatal(err)
	}
	if got.User != want.User || got.Device != want.Device || got.Expires != want.Expires || got.Token != want.Token || got.Issued != auth.At(now.Truncate(time.Second)) || !got.Caps.Allows("room:7", auth.Pub) {
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

func BenchmarkVerify(b *testing.B) {
	caps := map[string][]string{"room:7": {"sub", "pub"}, "tick:*": {"sub"}}
	exp := time.Now().Add(time.Hour).Unix()
	for _, alg := range algorithms {
		s := newSigner(b, alg)
		cfg := auth.Config{HMACSecret: secret}
		if s.public != nil {
			cfg = auth.Config{PublicKeys: [][]byte{s.pem(b)}}
		}
		v := newVerifier(b, cfg)
		for name, claims := range map[string]map[string]any{
			alg:           {"sub": "ann", "exp": exp},
			alg + " caps": {"sub": "ann", "exp": exp, "iat": exp - 7200, "device": "phone", "caps": caps},
		} {
			text := s.token(b, "", claims)
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(context.Background(), text); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
