package skein_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
)

// certify writes a self-made certificate and its key.
func certify(t *testing.T, files skein.TLS, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return cert
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secure opens a connection over TLS to a server with the given certificate.
func (s *testServer) secure(cert *x509.Certificate) (*client, error) {
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "wss://"+s.addr+"/ws?user=ann", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(64 << 20)
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	c := &client{t: s.t, ws: conn}
	c.ID = c.expect("welcome")["connection"].(string)
	return c, nil
}

// serial is that of the certificate that a new handshake gets.
func (s *testServer) serial() int64 {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// Over TLS everything is as without, whatever the driver is called; certificates
// are taken over while the server runs, and broken ones are not.
func TestTLSServesAndFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	files := skein.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	first := certify(t, files, 1)
	log := &logbook{}
	cfg := open()
	cfg.TLS, cfg.Logger = files, log.logger()
	cfg.Limits.Handshake = skein.Duration(500 * time.Millisecond)
	s := start(t, cfg)

	a, err := s.secure(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.secure(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{a, b} {
		c.do(`{"type":"sub","channel":"room:1"}`)
	}
	big := strings.Repeat("x", 60<<10)
	for i := range 20 {
		a.do(`{"type":"pub","channel":"room:1","data":"` + big + `"}`)
		if m := b.expect("msg"); m["data"] != big {
			t.Fatalf("message %d is damaged", i)
		}
	}
	silent := s.tcp() // says nothing where TLS should begin
	if _, err := io.ReadAll(silent); err != nil {
		t.Errorf("a silent handshake: %v, want the end of the stream", err)
	}

	second := certify(t, files, 2)
	eventually(t, "new handshakes get the new certificate", func() bool { return s.serial() == 2 })
	a.lives()
	c, err := s.secure(second)
	if err != nil {
		t.Fatal(err)
	}
	c.lives()

	write(t, files.Key, []byte("no key"))
	eventually(t, "the broken pair is reported", func() bool { return strings.Contains(log.String(), "cannot be loaded") })
	if got := s.serial(); got != 2 {
		t.Errorf("with a broken pair on disk certificate %d is served, want the one before", got)
	}
	certify(t, files, 3)
	eventually(t, "the pair that was mended is served", func() bool { return s.serial() == 3 })

	_ = b.ws.Close(websocket.StatusNormalClosure, "")
	_ = c.ws.CloseNow()
	eventually(t, "one connection is left", func() bool { return s.stat("open") == 1 })
	s.verb("disconnect", `{"connection":"`+a.ID+`"}`)
	a.goodbye("disconnected", 4004)
	s.empty()
}

// A pair that cannot be loaded at the start is an error, not a server without TLS.
func TestBrokenCertificateStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	files := skein.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	certify(t, files, 1)
	write(t, files.Key, bytes.Repeat([]byte("x"), 100))
	cfg := open()
	cfg.TLS = files
	if s, err := skein.New(cfg); err == nil {
		_ = s.Close()
		t.Error("New took a key that is none")
	} else if !strings.Contains(err.Error(), "tls") {
		t.Errorf("New: %v, want an error that speaks of tls", err)
	}
}
