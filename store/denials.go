package store

import "context"

// Denial is somebody, or a token, that is not let in.
type Denial struct {
	// Seq is another, larger one after each change, so that whoever knows all up to
	// one asks for those after it.
	Seq uint64
	// User, Device and Token say who: what is set must all fit. With Token (the id of
	// a token, its jti claim) alone it is that token, whoever's it is.
	User, Device, Token string
	// Before, when not 0, is the time (Unix milliseconds) up to which tokens must have
	// been issued for it to be about them; 0: it is about every way in.
	Before int64
	Reason string // for people; at most 1 KiB
	Time   int64  // when it was said, Unix milliseconds
	// Expires is when it ends by itself, Unix milliseconds; 0: never.
	Expires int64
	// Lifted says that it was taken back. It is kept until Expires, so that others
	// learn of it.
	Lifted bool
}

// PutDenial makes a denial or replaces the one with the same User, Device, Token
// and with a Before where that has one, or without where that has none. The Seq
// given does not matter. The result is [DenialPut].
type PutDenial struct{ Denial }

// DenialPut is the result of [PutDenial].
type DenialPut struct {
	Seq uint64
	// Was tells whether one was in force before at Time: there, not lifted, not expired.
	Was bool
}

// SawUsers notes when users were last there. An earlier time changes nothing. The
// result is [UsersSeen].
type SawUsers struct{ Seen []Seen }

// Seen is when a user was last there.
type Seen struct {
	User   string
	Device string // with which it was; may be empty
	Time   int64  // Unix milliseconds
}

// UsersSeen is the result of [SawUsers].
type UsersSeen struct{}

// DenialReader reads who is not let in and who was there.
type DenialReader interface {
	// Denials lists them by Seq, after one; at most limit. Those that have expired
	// may be missing.
	Denials(ctx context.Context, after uint64, limit int) ([]Denial, error)
	// LastSeen tells when users were last there, in order; Time is 0 for one who never was.
	LastSeen(ctx context.Context, users ...string) ([]Seen, error)
}

func (PutDenial) command() {}
func (SawUsers) command()  {}
func (DenialPut) result()  {}
func (UsersSeen) result()  {}
