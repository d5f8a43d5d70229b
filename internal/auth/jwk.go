package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

const maxSetKeys = 100

// jwk is one key of a set (RFC 7517; RFC 7518 section 6; RFC 8037).
type jwk struct {
	KeyType string   `json:"kty"`
	Use     string   `json:"use"`
	Ops     []string `json:"key_ops"`
	Alg     string   `json:"alg"`
	ID      string   `json:"kid"`
	Curve   string   `json:"crv"`
	N       string   `json:"n"`
	E       string   `json:"e"`
	X       string   `json:"x"`
	Y       string   `json:"y"`
}

// parseKeySet reads a key set. Keys that are for something else or that are no
// good are passed over, as RFC 7517 section 5 asks; a set with no usable key is
// an error, which tells of one of them.
func parseKeySet(body []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("not a key set: %w", err)
	}
	if len(set.Keys) > maxSetKeys {
		return nil, fmt.Errorf("%d keys; at most %d are allowed", len(set.Keys), maxSetKeys)
	}
	var keys []key
	var last error
	for _, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			last = err
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("no key for RS256, ES256 or EdDSA in it"), last)
	}
	return keys, nil
}

func parseKey(raw []byte) (key, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return key{}, err
	}
	if j.Use != "" && j.Use != "sig" || j.Ops != nil && !slices.Contains(j.Ops, "verify") {
		return key{}, errors.New("a key is not for signatures")
	}
	k, err := j.key()
	if err != nil {
		return key{}, err
	}
	if j.Alg != "" && j.Alg != k.method.Alg() {
		return key{}, fmt.Errorf("a key is for the algorithm %.20q", j.Alg)
	}
	k.id = j.ID
	return k, nil
}

func (j *jwk) key() (key, error) {
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
		if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return key{}, errors.New("an RSA key with an unusable exponent")
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
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
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
	return key{}, fmt.Errorf("key type %.20q with curve %.20q is not supported", j.KeyType, j.Curve)
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
