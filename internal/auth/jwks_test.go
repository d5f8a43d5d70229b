package auth_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
)

// keyServer serves a key set that can change, and counts how often.
type keyServer struct {
	*httptest.Server
	fetches atomic.Int64
	body    atomic.Pointer[string]
	client  *http.Client
}

func serveKeys(t testing.TB, body string) *keyServer {
	t.Helper()
	s := &keyServer{client: &http.Client{Transport: &http.Transport{}}}
	s.set(body)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fetches.Add(1)
		_, _ = io.WriteString(w, *s.body.Load())
	}))
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.Close()
	})
	return s
}

func (s *keyServer) set(body string) { s.body.Store(&body) }

// endpoint is a key server in memory, for tests that run on fake time: real
// sockets would keep that from passing.
type endpoint struct {
	fetches int
	answer  func() (status int, header http.Header, body string, err error)
}

// RoundTrip implements http.RoundTripper. It is called by one fetch at a time.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.fetches++
	status, header, body, err := e.answer()
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestEveryAlgorithmOfAKeySet(t *testing.T) {
	var keys []map[string]any
	signers := map[string]signer{}
	for _, alg := range algorithms[1:] {
		signers[alg] = newSigner(t, alg)
		keys = append(keys, signers[alg].jwk(t, "k-"+alg))
	}
	s := serveKeys(t, keySet(t, keys...))
	v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.client})
	if !v.Enabled() {
		t.Error("a verifier with a key set says that it believes no token")
	}
	if s.fetches.Load() != 0 {
		t.Error("the set was fetched before it was needed")
	}
	for alg, signer := range signers {
		for _, kid := range []string{"k-" + alg, ""} {
			if id, err := verify(v, signer.token(t, kid, map[string]any{"sub": "u"})); err != nil || id.User != "u" {
				t.Errorf("%s, kid %q: got %+v, %v", alg, kid, id, err)
			}
		}
		_, err := verify(v, newSigner(t, alg).token(t, "k-"+alg, map[string]any{"sub": "u"}))
		wantError(t, err, fault.Unauthorized, "signature")
	}
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("the set was fetched %d times, want once", n)
	}
}

func TestAKeySetNeverChecksAnHMAC(t *testing.T) {
	key := newSigner(t, "RS256")
	s := serveKeys(t, keySet(t, key.jwk(t, "a")))
	v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.client})
	for _, secret := range [][]byte{key.pem(t), key.public.(*rsa.PublicKey).N.Bytes(), {}} {
		_, err := verify(v, signer{newSigner(t, "HS256").method, secret, nil}.token(t, "a", map[string]any{"sub": "root"}))
		wantError(t, err, fault.Unauthorized, "signed with HS256, and no key for that is known")
	}
	if n := s.fetches.Load(); n != 0 {
		t.Errorf("forged tokens caused %d fetches", n)
	}
	_, err := verify(v, noneToken(t))
	wantError(t, err, fault.Unauthorized, "algorithm is not allowed")
}

func TestAKeyServesItsOwnAlgorithmAlone(t *testing.T) {
	ec := newSigner(t, "ES256")
	rsaKey := newSigner(t, "RS256")
	s := serveKeys(t, keySet(t, ec.jwk(t, "same"), rsaKey.jwk(t, "same")))
	v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.client})
	for _, signer := range []signer{ec, rsaKey} {
		if _, err := verify(v, signer.token(t, "same", map[string]any{"sub": "u"})); err != nil {
			t.Error(err)
		}
	}
}

func TestRotationIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := newSigner(t, "EdDSA"), newSigner(t, "EdDSA")
		set := keySet(t, old.jwk(t, "old"))
		e := &endpoint{answer: func() (int, http.Header, string, error) { return 200, nil, set, nil }}
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}})
		claims := map[string]any{"sub": "u"}
		check := func(s signer, kid string, want string, fetches int) {
			t.Helper()
			_, err := v.Verify(t.Context(), s.token(t, kid, claims))
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("got %v, want %q", err, want)
			}
			if e.fetches != fetches {
				t.Errorf("%d fetches, want %d", e.fetches, fetches)
			}
		}
		check(old, "old", "", 1)
		set = keySet(t, fresh.jwk(t, "fresh"))
		check(fresh, "fresh", "key id (kid) is not known", 1) // too soon after the first fetch
		time.Sleep(10*time.Second - time.Nanosecond)
		check(fresh, "fresh", "key id (kid) is not known", 1)
		time.Sleep(time.Nanosecond)
		check(fresh, "fresh", "", 2)
		check(old, "old", "key id (kid) is not known", 2) // the old key has gone with the rotation
		for range 100 {
			check(old, "never heard of", "key id (kid) is not known", 2)
		}
	})
}

func TestAnUnknownKeyIsLookedForOnce(t *testing.T) {
	key, stranger := newSigner(t, "ES256"), newSigner(t, "ES256")
	s := serveKeys(t, keySet(t, key.jwk(t, "a")))
	v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.client})
	token := stranger.token(t, "unknown", map[string]any{"sub": "u"})
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			_, err := verify(v, token)
			wantError(t, err, fault.Unauthorized, "key id (kid) is not known")
		})
	}
	wait.Wait()
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestAnUnreachableKeySetIsNotTheTokensFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newSigner(t, "ES256")
		down := true
		e := &endpoint{answer: func() (int, http.Header, string, error) {
			if down {
				return 0, nil, "", &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
			}
			return 200, nil, keySet(t, key.jwk(t, "a")), nil
		}}
		var log bytes.Buffer
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		token := key.token(t, "a", map[string]any{"sub": "u"})
		for range 5 {
			_, err := v.Verify(t.Context(), token)
			wantError(t, err, fault.Unavailable, "cannot be fetched now")
			if e := fault.Of(err); e.RetryAfter <= 0 || e.RetryAfter > 10*time.Second {
				t.Errorf("retry after %v, want at most 10 s", e.RetryAfter)
			}
		}
		if e.fetches != 1 {
			t.Errorf("%d fetches within 10 s, want 1", e.fetches)
		}
		time.Sleep(10 * time.Second)
		_, err := v.Verify(t.Context(), token)
		wantError(t, err, fault.Unavailable, "cannot be fetched now")
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings for one outage:\n%s", n, log.String())
		}
		down = false
		time.Sleep(10 * time.Second)
		if id, err := v.Verify(t.Context(), token); err != nil || id.User != "u" {
			t.Errorf("after the outage: got %+v, %v", id, err)
		}
		if e.fetches != 3 {
			t.Errorf("%d fetches, want 3", e.fetches)
		}
	})
}

func TestAKnownSetOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newSigner(t, "ES256")
		status := 200
		e := &endpoint{}
		e.answer = func() (int, http.Header, string, error) { return status, nil, keySet(t, key.jwk(t, "a")), nil }
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}, Logger: slog.New(slog.DiscardHandler)})
		token := key.token(t, "a", map[string]any{"sub": "u"})
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		status = 503
		time.Sleep(time.Hour)
		for range 10 {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if e.fetches != 2 {
			t.Errorf("%d fetches, want 2", e.fetches)
		}
	})
}

func TestInAnOutageAnUnknownKeyIsNotTheTokensFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := newSigner(t, "ES256"), newSigner(t, "ES256")
		status, set := 200, keySet(t, old.jwk(t, "old"))
		e := &endpoint{answer: func() (int, http.Header, string, error) { return status, nil, set, nil }}
		var log bytes.Buffer
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		claims := map[string]any{"sub": "u"}
		if _, err := v.Verify(t.Context(), old.token(t, "old", claims)); err != nil {
			t.Fatal(err)
		}
		status, set = 503, keySet(t, fresh.jwk(t, "fresh"))
		time.Sleep(time.Minute)
		for range 3 { // the first of them causes a fetch, the others know how it went
			_, err := v.Verify(t.Context(), fresh.token(t, "fresh", claims))
			wantError(t, err, fault.Unavailable, "cannot be fetched now")
			if got := fault.Of(err).RetryAfter; got != 10*time.Second {
				t.Errorf("retry after %v, want 10 s", got)
			}
			if _, err := v.Verify(t.Context(), old.token(t, "old", claims)); err != nil {
				t.Error(err)
			}
		}
		status = 200
		time.Sleep(10 * time.Second)
		if _, err := v.Verify(t.Context(), fresh.token(t, "fresh", claims)); err != nil {
			t.Error(err)
		}
		if e.fetches != 3 {
			t.Errorf("%d fetches, want 3", e.fetches)
		}
		if !strings.Contains(log.String(), "can be fetched again") {
			t.Errorf("the end of the outage is not told:\n%s", log.String())
		}
	})
}

func TestKeysWithoutNamesRotateToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := newSigner(t, "ES256"), newSigner(t, "ES256")
		unnamed := func(s signer) string {
			m := s.jwk(t, "")
			delete(m, "kid")
			return keySet(t, m)
		}
		set := unnamed(old)
		e := &endpoint{answer: func() (int, http.Header, string, error) {
			return 200, http.Header{"Cache-Control": {"max-age=86400"}}, set, nil
		}}
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}})
		claims := map[string]any{"sub": "u"}
		for _, kid := range []string{"", "any"} {
			if _, err := v.Verify(t.Context(), old.token(t, kid, claims)); err != nil {
				t.Errorf("kid %q: %v", kid, err)
			}
		}
		set = unnamed(fresh)
		time.Sleep(10 * time.Second)
		if _, err := v.Verify(t.Context(), fresh.token(t, "any", claims)); err != nil {
			t.Error(err)
		}
		for range 10 {
			_, err := v.Verify(t.Context(), old.token(t, "", claims))
			wantError(t, err, fault.Unauthorized, "the token's signature is not valid")
		}
		if e.fetches != 2 {
			t.Errorf("%d fetches, want 2", e.fetches)
		}
	})
}

func TestAFetchEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: hanging{}}, Logger: slog.New(slog.DiscardHandler)})
		start := time.Now()
		_, err := v.Verify(t.Context(), newSigner(t, "ES256").token(t, "a", map[string]any{"sub": "u"}))
		wantError(t, err, fault.Unavailable, "cannot be fetched now")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %v, want 5 s", took)
		}
		if got := fault.Of(err).RetryAfter; got != 5*time.Second {
			t.Errorf("retry after %v, want the 5 s that are left of 10", got)
		}
	})
}

// hanging is a server that takes requests and never answers.
type hanging struct{}

// RoundTrip implements http.RoundTripper.
func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestAFetchLeavesNoConnectionBehind(t *testing.T) {
	key := newSigner(t, "ES256")
	closed := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, keySet(t, key.jwk(t, "a")))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	s.Start()
	defer s.Close()
	v := newVerifier(t, auth.Config{JWKS: s.URL}) // with the client that it has of its own
	if _, err := verify(v, key.token(t, "a", map[string]any{"sub": "u"})); err != nil {
		t.Fatal(err)
	}
	<-closed
}

func TestRedirectsStayEncrypted(t *testing.T) {
	key := newSigner(t, "ES256")
	plain := serveKeys(t, keySet(t, key.jwk(t, "a")))
	var to atomic.Pointer[string]
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_, _ = io.WriteString(w, keySet(t, key.jwk(t, "a")))
			return
		}
		http.Redirect(w, r, *to.Load(), http.StatusFound)
	}))
	defer s.Close()
	tests := []struct {
		name, to string
		code     fault.Code
	}{
		{"to https", s.URL + "/keys", ""},
		{"to http", plain.URL, fault.Unavailable},
		{"in a circle", s.URL, fault.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to.Store(&tt.to)
			v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: s.Client(), Logger: slog.New(slog.DiscardHandler)})
			_, err := verify(v, key.token(t, "a", map[string]any{"sub": "u"}))
			if tt.code != "" {
				wantError(t, err, tt.code, "cannot be fetched now")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	if n := plain.fetches.Load(); n != 0 {
		t.Errorf("the plain server was asked %d times", n)
	}
}

func TestAddressesOfKeySetsThatAreNoGood(t *testing.T) {
	for _, bad := range []string{"keys.json", "ftp://host/keys", "http://", "https:///keys", "http://[::1"} {
		if _, err := auth.NewVerifier(auth.Config{JWKS: bad}); err == nil || !strings.Contains(err.Error(), "is not an http or https URL") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestThePasswordOfAnAddressIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	e := &endpoint{answer: func() (int, http.Header, string, error) { return 500, nil, "", nil }}
	v := newVerifier(t, auth.Config{JWKS: "http://user:hunter2@keys", HTTP: &http.Client{Transport: e}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	_, err := verify(v, newSigner(t, "ES256").token(t, "a", map[string]any{"sub": "u"}))
	wantError(t, err, fault.Unavailable, "cannot be fetched now")
	if text := log.String(); !strings.Contains(text, "http://user:xxxxx@keys") || strings.Contains(text, "hunter2") {
		t.Errorf("the log says %s", text)
	}
}

func TestTokensAreCheckedWhileKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newSigner(t, "EdDSA")
		e := &endpoint{answer: func() (int, http.Header, string, error) { return 200, nil, keySet(t, key.jwk(t, "a")), nil }}
		v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}})
		token := key.token(t, "a", map[string]any{"sub": "u"})
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				for range 20 {
					if _, err := v.Verify(t.Context(), token); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Minute)
				}
			})
		}
		wait.Wait()
		// 20 minutes at 10 minutes a copy: the second is asked for at minute 11.
		if e.fetches != 2 {
			t.Errorf("%d fetches, want 2", e.fetches)
		}
	})
}

func TestFreshness(t *testing.T) {
	tests := []struct {
		cacheControl string
		want         time.Duration
	}{
		{"", 10 * time.Minute},
		{"no-store", 10 * time.Minute},
		{"max-age=nonsense", 10 * time.Minute},
		{"public, Max-Age=600, must-revalidate", 10 * time.Minute},
		{"max-age=3600", time.Hour},
		{"max-age=0", time.Minute},
		{"max-age=-5", time.Minute},
		{"max-age=99999999", 24 * time.Hour},
		{"max-age=9223372036854775807", 24 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.cacheControl, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := newSigner(t, "EdDSA")
				e := &endpoint{}
				e.answer = func() (int, http.Header, string, error) {
					return 200, http.Header{"Cache-Control": {tt.cacheControl}}, keySet(t, key.jwk(t, "a")), nil
				}
				v := newVerifier(t, auth.Config{JWKS: "http://keys", HTTP: &http.Client{Transport: e}})
				token := key.token(t, "a", map[string]any{"sub": "u"})
				fetches := func() int {
					if _, err := v.Verify(t.Context(), token); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					return e.fetches
				}
				if n := fetches(); n != 1 {
					t.Fatalf("%d fetches at first", n)
				}
				time.Sleep(tt.want)
				if n := fetches(); n != 1 {
					t.Errorf("%d fetches while it is fresh", n)
				}
				time.Sleep(time.Nanosecond)
				if n := fetches(); n != 2 {
					t.Errorf("%d fetches once it is stale, want 2", n)
				}
			})
		})
	}
}

func TestAConfiguredKeyDoesNotNeedTheSet(t *testing.T) {
	key := newSigner(t, "ES256")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	if err := l.Close(); err != nil { // from here on nobody answers there
		t.Fatal(err)
	}
	v := newVerifier(t, auth.Config{HMACSecret: secret, PublicKeys: [][]byte{key.pem(t)}, JWKS: url, Logger: slog.New(slog.DiscardHandler)})
	for _, s := range []signer{key, newSigner(t, "HS256")} {
		if _, err := verify(v, s.token(t, "x", map[string]any{"sub": "u"})); err != nil {
			t.Error(err)
		}
	}
	_, err = verify(v, newSigner(t, "EdDSA").token(t, "x", map[string]any{"sub": "u"}))
	wantError(t, err, fault.Unavailable, "")
}

func TestAnImpatientCallerLeavesTheFetchRunning(t *testing.T) {
	key := newSigner(t, "ES256")
	release, asked := make(chan struct{}), make(chan struct{})
	set := keySet(t, key.jwk(t, "a"))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = io.WriteString(w, set)
	}))
	defer s.Close()
	client := s.Client()
	v := newVerifier(t, auth.Config{JWKS: s.URL, HTTP: client})
	token := key.token(t, "a", map[string]any{"sub": "u"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := v.Verify(ctx, token)
	wantError(t, err, fault.Unavailable, "still being fetched")
	close(release)
	if _, err := verify(v, token); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsAFetch(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(gone)
	}))
	defer s.Close()
	v, err := auth.NewVerifier(auth.Config{JWKS: s.URL, HTTP: s.Client(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	token := newSigner(t, "ES256").token(t, "a", map[string]any{"sub": "u"})
	go func() {
		_, err := verify(v, token)
		answer <- err
	}()
	<-asked
	v.Close()
	<-gone
	wantError(t, <-answer, fault.Unavailable, "")
	_, err = verify(v, token)
	wantError(t, err, fault.Unavailable, "")
}
