package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// APIKey is one key of the HTTP API, known only by its hash. Without scopes it
// may call nothing.
type APIKey struct {
	Name   string
	Hash   [sha256.Size]byte
	Scopes Scopes
}

// NewKey makes the text of a fresh key: "sk_" and 256 random bits.
func NewKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "sk_" + base64.RawURLEncoding.EncodeToString(b[:])
}

// HashKey is the SHA-256 of a key's text. A key is random and long, so a slow
// hash would only slow the server down.
func HashKey(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// FormatHash writes a hash as the configuration has it.
func FormatHash(h [sha256.Size]byte) string { return "sha256:" + hex.EncodeToString(h[:]) }

// ParseHash reads it back.
func ParseHash(text string) (h [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(text, "sha256:")
	if !ok {
		return h, errors.New("not a hash: sha256: is missing in front")
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("not a hash: sha256: is followed by %d hex digits", 2*len(h))
	}
	return [sha256.Size]byte(b), nil
}

// Scopes says which verbs a key may call.
type Scopes struct{ words []string }

// ParseScopes reads scopes: the name of a verb, a family ("session.*") or "*"
// for everything.
func ParseScopes(list []string) (Scopes, error) {
	for _, word := range list {
		if !isScope(word) {
			return Scopes{}, fmt.Errorf("%.80q is not a scope; write a verb, family.* or *", word)
		}
	}
	return Scopes{slices.Clone(list)}, nil
}

// isScope tells whether a word is "*" or lower-case names with dots between
// them, of which the last may be a star.
func isScope(word string) bool {
	if word == "*" {
		return true
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(word, ".*"), ".") {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return true
}

// Allows tells whether a verb may be called.
func (s Scopes) Allows(verb string) bool {
	for _, word := range s.words {
		if word == "*" || word == verb {
			return true
		}
		if family, ok := strings.CutSuffix(word, "*"); ok && strings.HasPrefix(verb, family) {
			return true
		}
	}
	return false
}

// Keys is a set of API keys.
type Keys struct{ list []APIKey }

// NewKeys makes a set. It copies the list.
func NewKeys(list []APIKey) *Keys { return &Keys{slices.Clone(list)} }

// Find finds the key with the given text. It compares with every key, in a time
// that does not depend on which one it is.
func (k *Keys) Find(text string) (*APIKey, bool) {
	hash := HashKey(text)
	found := -1
	for i := range k.list {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(k.list[i].Hash[:], hash[:]), i, found)
	}
	if found < 0 {
		return nil, false
	}
	return &k.list[found], true
}
