package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
)

// How a key set is kept fresh.
const (
	maxSetBytes  = 1 << 20
	fetchTimeout = 5 * time.Second
	fetchPause   = 10 * time.Second // no two fetches begin within this
	defaultFresh = 10 * time.Minute // without Cache-Control
	minFresh     = time.Minute
	maxFresh     = 24 * time.Hour
)

// keySet is a JSON Web Key Set, fetched when it is needed and kept. A stale copy
// goes on being used while a fresh one is fetched, and as long as none can be.
type keySet struct {
	url  string
	name string // url without a password, for the log
	http http.Client
	log  *slog.Logger

	ctx    context.Context // ends the fetch that is under way
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu      sync.Mutex // guards all below
	keys    []key      // replaced whole, never changed
	known   bool       // keys have been fetched at least once
	expires time.Time
	tried   time.Time     // when the last fetch began
	under   chan struct{} // closed when the fetch that is under way ends; nil: none
	failing bool          // the last fetch failed
	closed  bool
}

func newKeySet(cfg Config) (*keySet, error) {
	u, err := url.Parse(cfg.JWKS)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("auth: the address of the key set is not an http or https URL")
	}
	s := &keySet{url: cfg.JWKS, name: u.Redacted(), log: cfg.Logger}
	if cfg.HTTP != nil {
		s.http = *cfg.HTTP
	}
	if s.http.CheckRedirect == nil {
		s.http.CheckRedirect = stayEncrypted
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// stayEncrypted follows redirects, but not to where anybody on the way could put
// keys of their own into the set.
func stayEncrypted(next *http.Request, via []*http.Request) error {
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("a redirect from https to http is not followed")
	}
	if len(via) >= 3 {
		return errors.New("too many redirects")
	}
	return nil
}

func (s *keySet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wait.Wait()
}

// verify looks for a key of the set that made the signature. some tells whether
// there was any that could have; an error that none could be asked for.
func (s *keySet) verify(ctx context.Context, h header, text string, signature []byte) (ok, some bool, err error) {
	keys, named := s.find(h)
	if anyChecks(keys, text, signature) {
		return true, true, nil
	}
	// Without a key of the token's kid the set may be out of date: a new key looks
	// like an unknown one, or, where keys have no names, like a bad signature.
	if named {
		return false, true, nil
	}
	if err := s.renew(ctx); err != nil {
		return false, false, err
	}
	keys, _ = s.find(h)
	return anyChecks(keys, text, signature), len(keys) > 0, nil
}

func anyChecks(keys []key, text string, signature []byte) bool {
	for i := range keys {
		if keys[i].checks(text, signature) {
			return true
		}
	}
	return false
}

// find gives the keys that fit: those with the token's kid, which is what named
// says, or else those that have no kid of their own, or all when the token names
// none. A stale set is refreshed meanwhile.
func (s *keySet) find(h header) (keys []key, named bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.known && now.After(s.expires) {
		s.fetchLocked(now)
	}
	var loose []key
	for _, k := range s.keys {
		switch {
		case k.method.Alg() != h.alg:
		case h.kid != "" && k.id == h.kid:
			keys = append(keys, k)
		case h.kid == "" || k.id == "":
			loose = append(loose, k)
		}
	}
	if len(keys) > 0 {
		return keys, true
	}
	return loose, false
}

// renew waits for a copy of the set that is newer, unless the one that is here
// is so new that asking again would be too often. It is an error when the set
// cannot be fetched: then nobody can tell what it holds by now.
func (s *keySet) renew(ctx context.Context) error {
	s.mu.Lock()
	under := s.fetchLocked(time.Now())
	s.mu.Unlock()
	if under != nil {
		select {
		case <-under:
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err(), "the keys that tokens are checked with are still being fetched").After(time.Second)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && !s.failing {
		return nil
	}
	again := max(time.Second, time.Until(s.tried.Add(fetchPause)))
	return fault.New(fault.Unavailable, "the keys that tokens are checked with cannot be fetched now").After(again)
}

// fetchLocked starts a fetch unless one is under way or began just now. It gives
// what to wait for, nil when there is nothing.
func (s *keySet) fetchLocked(now time.Time) chan struct{} {
	if s.under != nil {
		return s.under
	}
	if s.closed || !s.tried.IsZero() && now.Sub(s.tried) < fetchPause {
		return nil
	}
	s.tried = now
	under := make(chan struct{})
	s.under = under
	s.wait.Go(func() {
		keys, fresh, err := s.fetch()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.under = nil
		close(under)
		if err != nil {
			if !s.failing && !s.closed {
				s.log.Warn("the JSON Web Key Set cannot be fetched; keys that are known stay in use", "url", s.name, "error", err)
			}
			s.failing = true
			return
		}
		if s.failing {
			s.log.Info("the JSON Web Key Set can be fetched again", "url", s.name)
		}
		s.keys, s.known, s.failing = keys, true, false
		s.expires = time.Now().Add(fresh)
	})
	return under
}

func (s *keySet) fetch() ([]key, time.Duration, error) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Close = true // the next fetch is far away; until then nothing should run
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

// freshness reads max-age (RFC 9111 section 5.2.2.1), within bounds.
func freshness(cacheControl string) time.Duration {
	for part := range strings.SplitSeq(cacheControl, ",") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(part)), "max-age="); ok {
			if n, err := strconv.Atoi(text); err == nil {
				n = min(max(n, int(minFresh/time.Second)), int(maxFresh/time.Second))
				return time.Duration(n) * time.Second
			}
		}
	}
	return defaultFresh
}
