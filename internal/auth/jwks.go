package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
)

// How a key set is kept fresh.
const (
	maxSetBytes  = 1 << 20
	maxSetKeys   = 100
	retryAfter   = 10 * time.Second // an unknown key makes us fetch again no more often than this
	defaultFresh = 10 * time.Minute // without Cache-Control
	minFresh     = time.Minute
	maxFresh     = 24 * time.Hour
)

// keySet is a JSON Web Key Set, fetched when it is needed and kept. A stale copy
// goes on being used while a fresh one is fetched.
type keySet struct {
	url  string
	http *http.Client
	log  *slog.Logger

	ctx    context.Context // ends the fetch that is under way
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu      sync.Mutex // guards all below
	keys    []key
	known   bool // keys have been fetched at least once
	expires time.Time
	tried   time.Time
	under   chan struct{} // closed when the fetch that is under way ends; nil: none
	failing bool
	closed  bool
}

func newKeySet(cfg Config) *keySet {
	s := &keySet{url: cfg.JWKS, http: cfg.HTTP, log: cfg.Logger}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *keySet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wait.Wait()
}

// find gives the keys that fit; none: the set has no such key.
func (s *keySet) find(ctx context.Context, alg, kid string) ([]key, error) {
	s.mu.Lock()
	found := s.matchLocked(alg, kid)
	now := time.Now()
	stale := now.After(s.expires)
	if len(found) > 0 {
		if stale {
			s.fetchLocked(now)
		}
		s.mu.Unlock()
		return found, nil
	}
	under := s.fetchLocked(now)
	known := s.known
	s.mu.Unlock()
	if under == nil {
		if !known {
			return nil, fault.New(fault.Unavailable, "the keys that tokens are checked with cannot be fetched now").After(retryAfter)
		}
		return nil, nil
	}
	select {
	case <-under:
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the keys that tokens are checked with are still being fetched").After(time.Second)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known {
		return nil, fault.New(fault.Unavailable, "the keys that tokens are checked with cannot be fetched now").After(retryAfter)
	}
	return s.matchLocked(alg, kid), nil
}

func (s *keySet) matchLocked(alg, kid string) (found []key) {
	for _, k := range s.keys {
		if k.alg == alg && (kid == "" || k.id == kid) {
			found = append(found, k)
		}
	}
	return found
}

// fetchLocked starts a fetch unless one is under way or was tried just now. It
// gives what to wait for, nil when there is nothing.
func (s *keySet) fetchLocked(now time.Time) chan struct{} {
	if s.under != nil {
		return s.under
	}
	if s.closed || !s.tried.IsZero() && now.Sub(s.tried) < retryAfter {
		return nil
	}
	s.tried = now
	under := make(chan struct{})
	s.under = under
	s.wait.Add(1)
	go func() {
		defer s.wait.Done()
		keys, fresh, err := s.fetch()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.under = nil
		close(under)
		if err != nil {
			if !s.failing && s.ctx.Err() == nil {
				s.log.Warn("the JSON Web Key Set cannot be fetched; keys that are known stay in use", "url", s.url, "error", err)
			}
			s.failing = true
			return
		}
		s.keys, s.known, s.failing = keys, true, false
		s.expires = time.Now().Add(fresh)
	}()
	return under
}

func (s *keySet) fetch() ([]key, time.Duration, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the answer is %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return nil, 0, err
	}
	if len(body) > maxSetBytes {
		return nil, 0, fmt.Errorf("the answer has more than %d bytes", maxSetBytes)
	}
	keys, err := parseKeySet(body)
	return keys, freshness(res.Header.Get("Cache-Control")), err
}

// freshness reads max-age, within bounds.
func freshness(cacheControl string) time.Duration {
	for _, part := range strings.Split(cacheControl, ",") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(part)), "max-age="); ok {
			if n, err := strconv.Atoi(text); err == nil {
				n = min(max(n, int(minFresh/time.Second)), int(maxFresh/time.Second))
				return time.Duration(n) * time.Second
			}
		}
	}
	return defaultFresh
}

// jwk is one key of a set (RFC 7517; RFC 7518 section 6; RFC 8037).
type jwk struct {
	KeyType string `json:"kty"`
	Use     string `json:"use"`
	Alg     string `json:"alg"`
	ID      string `json:"kid"`
	Curve   string `json:"crv"`
	N       string `json:"n"`
	E       string `json:"e"`
	X       string `json:"x"`
	Y       string `json:"y"`
}

// parseKeySet reads a key set. Keys that are for something else are passed over,
// as RFC 7517 section 5 asks; a set with no usable key is an error.
func parseKeySet(body []byte) ([]key, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("not a key set: %w", err)
	}
	if len(set.Keys) > maxSetKeys {
		return nil, fmt.Errorf("%d keys; at most %d are allowed", len(set.Keys), maxSetKeys)
	}
	var keys []key
	var last error
	for _, j := range set.Keys {
		if j.Use != "" && j.Use != "sig" {
			continue
		}
		k, err := j.key()
		if err != nil {
			last = err
			continue
		}
		if j.Alg != "" && j.Alg != k.alg {
			continue
		}
		k.id = j.ID
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("no key for RS256, ES256 or EdDSA in it"), last)
	}
	return keys, nil
}

func (j jwk) key() (key, error) {
	switch {
	case j.KeyType == "RSA":
		n, err := number(j.N)
		if err != nil {
			return key{}, err
		}
		e, err := number(j.E)
		if err != nil {
			return key{}, err
		}
		if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || n.BitLen() > 16384 {
			return key{}, errors.New("an RSA key with an unusable size")
		}
		return keyOf(&rsa.PublicKey{N: n, E: int(e.Int64())})
	case j.KeyType == "EC" && j.Curve == "P-256":
		x, err := octets(j.X, 32)
		if err != nil {
			return key{}, err
		}
		y, err := octets(j.Y, 32)
		if err != nil {
			return key{}, err
		}
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return key{}, err
		}
		return keyOf(k)
	case j.KeyType == "OKP" && j.Curve == "Ed25519":
		x, err := octets(j.X, ed25519.PublicKeySize)
		if err != nil {
			return key{}, err
		}
		return keyOf(ed25519.PublicKey(x))
	}
	return key{}, fmt.Errorf("key type %.20q is not supported", j.KeyType)
}

func number(text string) (*big.Int, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, errors.New("a number of an RSA key is not base64url")
	}
	return new(big.Int).SetBytes(b), nil
}

func octets(text string, n int) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != n {
		return nil, fmt.Errorf("a coordinate is not %d bytes in base64url", n)
	}
	return b, nil
}
