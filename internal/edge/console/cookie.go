package console

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

// claims are what a cookie says.
type claims struct {
	User    string `json:"u"`
	Role    string `json:"r"`
	Link    bool   `json:"l,omitempty"` // came by a one-time link, not by a password
	Issued  int64  `json:"i"`           // Unix milliseconds
	Expires int64  `json:"e"`
	ID      string `json:"n"`           // random; names the login
	Mark    string `json:"m,omitempty"` // stands for the password's hash, which it was checked against
}

// maxCookie bounds a cookie's value.
const maxCookie = 1 << 10

// keyBytes is how long keys are.
const keyBytes = 32

// keys are what cookies are signed with. Each purpose has one of its own, so that
// nothing that is made for one is good for another.
type keys struct{ cookie, csrf, mark []byte }

func newKeys(secret []byte) *keys {
	derive := func(purpose string) []byte { return sum(secret, "skein console "+purpose) }
	return &keys{cookie: derive("cookie"), csrf: derive("csrf"), mark: derive("password")}
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum(nil)
}

var text = base64.RawURLEncoding.Strict()

// sign makes the value of a cookie.
func (k *keys) sign(c claims) (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	payload := text.EncodeToString(b)
	return payload + "." + text.EncodeToString(sum(k.cookie, payload)), nil
}

// verify reads the value of a cookie; false: this server's keys did not sign it.
func (k *keys) verify(value string) (c claims, ok bool) {
	if len(value) > maxCookie {
		return claims{}, false
	}
	payload, signature, found := strings.Cut(value, ".")
	if !found {
		return claims{}, false
	}
	got, err := text.DecodeString(signature)
	if err != nil || subtle.ConstantTimeCompare(got, sum(k.cookie, payload)) != 1 || strings.ContainsAny(value, "\r\n") {
		return claims{}, false
	}
	b, err := text.DecodeString(payload)
	if err != nil || json.Unmarshal(b, &c) != nil {
		return claims{}, false
	}
	return c, true
}

// csrfOf is the token that requests by a cookie carry.
func (k *keys) csrfOf(value string) string { return text.EncodeToString(sum(k.csrf, value)) }

// markOf stands for a password in a cookie, and tells nothing of it.
func (k *keys) markOf(h auth.PasswordHash) string {
	return text.EncodeToString(sum(k.mark, h.String())[:16])
}

// ring holds the keys once they were read.
type ring struct {
	keys atomic.Pointer[keys]

	mu     sync.Mutex // held while they are read; guards those below
	failed time.Time
	err    error
}

// keyName is under which name the store has what keys are made of.
const keyName = "console.key"

// askTimeout bounds a question to the store, failPause how often one is asked again
// that does not answer.
const (
	askTimeout = 5 * time.Second
	failPause  = time.Second
)

// keys gives the keys; the first of all servers that asks makes them.
func (d *Door) keys(ctx context.Context) (*keys, error) {
	if k := d.ring.keys.Load(); k != nil {
		return k, nil
	}
	d.ring.mu.Lock()
	defer d.ring.mu.Unlock()
	if k := d.ring.keys.Load(); k != nil {
		return k, nil
	}
	if d.ring.err != nil && time.Since(d.ring.failed) < failPause {
		return nil, d.ring.err
	}
	// Whoever asks may go; those who wait behind it may not, and want the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	fresh := make([]byte, keyBytes)
	_, _ = rand.Read(fresh) // never fails: crypto/rand ends the program instead
	results, err := d.store.Do(ctx, store.PutSecret{Secret: store.Secret{Name: keyName, Value: fresh}, IfAbsent: true, Now: time.Now().UnixMilli()})
	if err != nil {
		d.ring.failed, d.ring.err = time.Now(), unavailable(err)
		return nil, d.ring.err
	}
	put, ok := results[0].(store.SecretPut)
	if !ok || len(put.Secret.Value) < keyBytes {
		return nil, fault.New(fault.Internal, "the key of the console in the store is damaged")
	}
	k := newKeys(put.Secret.Value)
	d.ring.keys.Store(k)
	return k, nil
}

// unavailable says of an error of the store what it means here.
func unavailable(err error) error {
	e := outage.Fault(err)
	if e.Code == fault.Unavailable {
		return fault.Wrap(fault.Unavailable, err, "nobody can log in or be recognised, because the store does not answer").After(outage.RetryAfter)
	}
	return e
}

// issue makes the cookie of a login.
func (k *keys) issue(u *User, link bool, lasts time.Duration) (claims, string, error) {
	now := time.Now()
	c := claims{User: u.Name, Role: u.Role.String(), Link: link, Issued: now.UnixMilli(), Expires: now.Add(lasts).UnixMilli(), ID: id.NewConnection().String()}
	if !link {
		c.Mark = k.markOf(u.Password)
	}
	value, err := k.sign(c)
	return c, value, err
}
