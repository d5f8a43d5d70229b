package auth_test

import (
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
)

// cheap is a cost for tests.
var cheap = auth.PasswordCost{Memory: 1 << 10, Passes: 1, Lanes: 1}

func TestPasswords(t *testing.T) {
	h := auth.HashPassword("correct horse", cheap)
	read, err := auth.ParsePassword(h.String())
	if err != nil || read.String() != h.String() || !strings.HasPrefix(h.String(), "$argon2id$v=19$m=1024,t=1,p=1$") {
		t.Fatalf("%s is read as %s, %v", h, read, err)
	}
	for password, want := range map[string]bool{
		"correct horse": true, "correct horse ": false, "Correct horse": false, "": false, strings.Repeat("x", auth.MaxPassword+1): false,
	} {
		if read.Matches(password) != want {
			t.Errorf("%.20q matches: %v", password, !want)
		}
	}
	if again := auth.HashPassword("correct horse", cheap); again.String() == h.String() {
		t.Error("two hashes of a password are the same")
	}
	if (auth.PasswordHash{}).Matches("") {
		t.Error("nothing matches an empty password")
	}
	long := strings.Repeat("x", auth.MaxPassword)
	if !auth.HashPassword(long, cheap).Matches(long) {
		t.Error("the longest password does not match its hash")
	}
}

// The reference implementation made these (argon2 -id -v 13).
func TestHashesOfOthersAreRead(t *testing.T) {
	h, err := auth.ParsePassword("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil || !h.Matches("password") || h.Matches("passwor") {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestHashesOutOfBoundsAreRefused(t *testing.T) {
	const salt, digest = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for text, want := range map[string]string{
		"":                                       "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt: "not a hash",
		"$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + digest:                         "not a hash",
		"$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + digest:                        "not a hash",
		"$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + digest:                        "not a hash",
		"$argon2id$v=19$m=065536,t=2,p=1$" + salt + "$" + digest:                       "not a hash",
		"$argon2id$v=19$m=+65536,t=2,p=1$" + salt + "$" + digest:                       "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1,x=1$" + salt + "$" + digest:                    "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "=$" + digest:                       "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "\n$" + digest:                      "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1$c29t$" + digest:                                "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$CTFh":                             "not a hash",
		"$argon2id$v=19$m=65536,t=2,p=1$" + strings.Repeat("c29t", 300) + "$" + digest: "not a hash",
		"$argon2id$v=19$m=262145,t=2,p=1$" + salt + "$" + digest:                       "m=262145 KiB is not between",
		"$argon2id$v=19$m=8,t=2,p=1$" + salt + "$" + digest:                            "m=8 KiB is not between",
		"$argon2id$v=19$m=65536,t=17,p=1$" + salt + "$" + digest:                       "t=17 is not between",
		"$argon2id$v=19$m=65536,t=0,p=1$" + salt + "$" + digest:                        "t=0 is not between",
		"$argon2id$v=19$m=65536,t=2,p=17$" + salt + "$" + digest:                       "p=17 is not between",
		"$argon2id$v=19$m=99999999999,t=2,p=1$" + salt + "$" + digest:                  "not a hash",
		"hunter2 is what I wrote here":                                                 "not a hash",
	} {
		_, err := auth.ParsePassword(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParsePassword(f *testing.F) {
	for _, text := range []string{
		"", "$", "$$$$$", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=0,t=0,p=0$$", "$argon2id$v=19$m=4294967296,t=2,p=256$c29tZXNhbHQ$c29tZXNhbHQ",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := auth.ParsePassword(text)
		if err != nil {
			return
		}
		if h.String() != text {
			t.Errorf("%q is written as %q", text, h)
		}
		if h.Memory > 256<<10 || h.Passes > 16 || h.Passes < 1 || h.Lanes < 1 || h.Lanes > 16 {
			t.Errorf("%q costs %+v", text, h.PasswordCost)
		}
	})
}
