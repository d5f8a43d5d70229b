package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Bounds of passwords and their hashes.
const (
	MaxPassword = 1024 // bytes of a password
	MinPassword = 8    // of one that is chosen anew

	maxHashText   = 512
	minHashMemory = 1 << 10   // KiB
	maxHashMemory = 256 << 10 // KiB: what a login may cost
	maxHashPasses = 16
	maxHashLanes  = 16
	minSalt       = 8
	maxSalt       = 64
	minDigest     = 16
	maxDigest     = 64
)

// PasswordCost is what computing a hash costs.
type PasswordCost struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

// DefaultCost is what OWASP asks of argon2id: some 20 ms of a processor.
var DefaultCost = PasswordCost{Memory: 19 << 10, Passes: 2, Lanes: 1}

// PasswordHash is what is known of a password: its argon2id.
type PasswordHash struct {
	PasswordCost
	salt, digest []byte
}

// errPasswordHash says how a hash is made. What was given is not repeated: it may be
// a password.
var errPasswordHash = errors.New("not a hash of a password; it is $argon2id$v=19$m=…,t=…,p=…$…$…, as skein console user prints it")

// ParsePassword reads a hash in PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$digest.
func ParsePassword(text string) (h PasswordHash, err error) {
	if len(text) > maxHashText {
		return h, errPasswordHash
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, errPasswordHash
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return h, errPasswordHash
	}
	memory, ok := costOf(costs[0], "m=")
	passes, ok2 := costOf(costs[1], "t=")
	lanes, ok3 := costOf(costs[2], "p=")
	if !ok || !ok2 || !ok3 {
		return h, errPasswordHash
	}
	switch {
	case memory > maxHashMemory || memory < minHashMemory:
		return h, fmt.Errorf("m=%d KiB is not between %d and %d", memory, minHashMemory, maxHashMemory)
	case passes < 1 || passes > maxHashPasses:
		return h, fmt.Errorf("t=%d is not between 1 and %d", passes, maxHashPasses)
	case lanes < 1 || lanes > maxHashLanes:
		return h, fmt.Errorf("p=%d is not between 1 and %d", lanes, maxHashLanes)
	}
	h.PasswordCost = PasswordCost{Memory: memory, Passes: passes, Lanes: uint8(lanes)}
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil || len(h.salt) < minSalt || len(h.salt) > maxSalt || strings.ContainsAny(parts[4], "\r\n") {
		return PasswordHash{}, errPasswordHash
	}
	if h.digest, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(h.digest) < minDigest || len(h.digest) > maxDigest || strings.ContainsAny(parts[5], "\r\n") {
		return PasswordHash{}, errPasswordHash
	}
	return h, nil
}

// costOf reads a number as it is written: no sign, no zero in front.
func costOf(text, name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == digits
}

// HashPassword makes a fresh hash of a password.
func HashPassword(password string, cost PasswordCost) PasswordHash {
	h := PasswordHash{PasswordCost: cost, salt: make([]byte, 16)}
	_, _ = rand.Read(h.salt) // never fails: crypto/rand ends the program instead
	h.digest = h.compute(password, 32)
	return h
}

// String gives the PHC form.
func (h PasswordHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.Memory, h.Passes, h.Lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.digest))
}

// Matches tells whether it is the hash of a password. It takes the memory and the
// time of the cost, whatever the answer.
func (h PasswordHash) Matches(password string) bool {
	if len(password) > MaxPassword || len(h.digest) == 0 {
		return false
	}
	return subtle.ConstantTimeCompare(h.compute(password, uint32(len(h.digest))), h.digest) == 1
}

func (h PasswordHash) compute(password string, size uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.Passes, h.Memory, h.Lanes, size)
}
