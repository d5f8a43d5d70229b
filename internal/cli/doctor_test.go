package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// certificate writes a certificate of its own and its key.
func certificate(t *testing.T, from, until time.Time) skein.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := skein.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestDoctorReadsTheCertificate(t *testing.T) {
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	end := begin.AddDate(0, 3, 0)
	files, other := certificate(t, begin, end), certificate(t, begin, end)
	for _, tc := range []struct {
		name  string
		files skein.TLS
		now   time.Time
		want  verdict
		found string
	}{
		{"fresh", files, begin.AddDate(0, 1, 0), good, "good until 2030-04-01"},
		{"old", files, end.AddDate(0, 0, -3), warn, "good until 2030-04-01"},
		{"expired", files, end.AddDate(0, 0, 1), bad, "expired on 2030-04-01"},
		{"from the future", files, begin.AddDate(0, 0, -1), bad, "not good before 2030-01-01"},
		{"the key of another", skein.TLS{Cert: files.Cert, Key: other.Key}, begin, bad, "private key does not match"},
		{"no file", skein.TLS{Cert: "nope", Key: "nope"}, begin, bad, "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, checkCertificate(tc.files, tc.now), tc.want, tc.found)
		})
	}
}

// expect wants a verdict, words in it, and help where all is not well.
func expect(t *testing.T, f finding, want verdict, found string) {
	t.Helper()
	if f.Verdict != want || !strings.Contains(f.Found, found) || (f.Do == "") != (want == good) {
		t.Errorf("%+v, want %s with %q", f, want, found)
	}
}

func TestDoctorReadsTheBacklog(t *testing.T) {
	for text, want := range map[string]verdict{"128\n": warn, "4096\n": good} {
		findings := checkBacklog(func(string) ([]byte, error) { return []byte(text), nil })
		if len(findings) != 1 {
			t.Fatalf("%q gives %+v", text, findings)
		}
		expect(t, findings[0], want, strings.TrimSpace(text))
	}
	for _, read := range []func(string) ([]byte, error){
		func(string) ([]byte, error) { return nil, errors.New("no such file") },
		func(string) ([]byte, error) { return []byte("many"), nil },
	} {
		if findings := checkBacklog(read); len(findings) != 0 {
			t.Errorf("a system that does not tell gives %+v", findings)
		}
	}
}

func TestDoctorFetchesTheKeySet(t *testing.T) {
	answers := map[string]string{"/good": `{"keys":[{"kty":"EC"},{"kty":"RSA"}]}`, "/empty": `{"keys":[]}`, "/html": "<p>"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	ctx := context.Background()
	expect(t, checkKeySet(ctx, s.URL+"/good"), good, "2 keys")
	expect(t, checkKeySet(ctx, s.URL+"/empty"), bad, "has no keys")
	expect(t, checkKeySet(ctx, s.URL+"/html"), bad, "has no keys")
	expect(t, checkKeySet(ctx, s.URL+"/none"), bad, "404")
	s.Close()
	expect(t, checkKeySet(ctx, s.URL+"/good"), bad, "cannot reach")
}
