// Package operator lets people in who look after the server: it offers the verb
// console.link, which makes a link that logs somebody into the console, once.
//
// Links are in the store, as the SHA-256 of their token alone, so that every server
// that shares the store takes them. [Memory] stands in for the store of a server that
// keeps nothing. The feature starts no goroutine.
package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	Secret(ctx context.Context, name string) (store.Secret, error)
}

// Config of a [Feature].
type Config struct {
	// Base is where the caller finds the server, such as https://skein.example.
	Base func(ctx context.Context) string
	// Off tells that there is no console.
	Off func() bool
}

// Feature makes and takes the links of one server.
type Feature struct {
	cfg   Config
	store Store
}

// Bounds of how long a link is good.
const (
	defaultTTL = 15 * time.Minute
	minTTL     = time.Second
	maxTTL     = 24 * time.Hour
)

// tokenBytes is how many random bytes a link has.
const tokenBytes = 32

// New registers the feature's verbs. They need [Feature.Start].
func New(cfg Config, verbs *verb.Registry) *Feature {
	f := &Feature{cfg: cfg}
	verb.Add(verbs, "console.link", "Makes a link that logs somebody into the console, once.", f.link)
	return f
}

// Start gives the feature its store. It is called once, before the first link.
func (f *Feature) Start(st Store) { f.store = st }

// LinkParams are the params of console.link.
type LinkParams struct {
	Role string `json:"role" jsonschema:"what whoever opens it may do: viewer, operator or admin"`
	TTL  string `json:"ttl,omitempty" jsonschema:"how long it is good, such as 15m, which is the default; at most 24h"`
}

// Link is the result of console.link.
type Link struct {
	URL     string `json:"url" jsonschema:"good once; whoever has it is let in"`
	Expires int64  `json:"expires" jsonschema:"Unix milliseconds"`
}

func (f *Feature) link(ctx context.Context, p LinkParams) (Link, error) {
	role, err := auth.ParseRole(p.Role)
	if err != nil {
		return Link{}, fault.Field("role", "%s", err)
	}
	ttl := defaultTTL
	if p.TTL != "" {
		if ttl, err = time.ParseDuration(p.TTL); err != nil {
			return Link{}, fault.Field("ttl", "%.40q is not a duration; write a number and a unit: 15m, 2h", p.TTL)
		}
		if ttl < minTTL || ttl > maxTTL {
			return Link{}, fault.Field("ttl", "%s is not between %s and 24h", ttl, minTTL)
		}
	}
	if f.cfg.Off() {
		return Link{}, fault.New(fault.NotFound, "there is no console (console.off)")
	}
	var secret [tokenBytes]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	token := base64.RawURLEncoding.EncodeToString(secret[:])
	now := time.Now()
	expires := now.Add(ttl).UnixMilli()
	put := store.PutSecret{Secret: store.Secret{Name: nameOf(token), Value: []byte(role.String()), Expires: expires}, Now: now.UnixMilli()}
	if _, err := f.store.Do(ctx, put); err != nil {
		return Link{}, outage.Fault(err)
	}
	return Link{URL: f.cfg.Base(ctx) + "/console/#link=" + token, Expires: expires}, nil
}

// nameOf is under which name a link is kept.
func nameOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "console.link." + hex.EncodeToString(sum[:])
}

// errLink is the one answer to a link that is not good, whatever the reason.
var errLink = fault.New(fault.Unauthorized, "the link was used already, is too old or is not known")

// Take takes the token of a link, and tells for which role it is. It is good once.
func (f *Feature) Take(ctx context.Context, token string) (auth.Role, error) {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(token); err != nil || len(b) != tokenBytes {
		return auth.NoRole, errLink
	}
	results, err := f.store.Do(ctx, store.TakeSecret{Name: nameOf(token), Now: time.Now().UnixMilli()})
	if errors.Is(err, store.ErrNotFound) {
		return auth.NoRole, errLink
	}
	if err != nil {
		return auth.NoRole, outage.Fault(err)
	}
	taken, ok := results[0].(store.SecretTaken)
	if !ok {
		return auth.NoRole, errLink
	}
	role, err := auth.ParseRole(string(taken.Secret.Value))
	if err != nil { // a newer server's, which this one does not know
		return auth.NoRole, errLink
	}
	return role, nil
}
