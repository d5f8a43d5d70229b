package store

import "context"

// A document is a channel whose messages are the patches of one JSON value: the
// seq of a message is the version that it made ([Append.Version]). From time to
// time the whole value is stored as well, so that whoever needs it reads the newest
// snapshot and the few messages after it. The store does not look into either.
//
// The floor of a document is never above the version of its newest snapshot (0
// when there is none), whatever retention asks for: what makes up the value is
// always there.

// PutSnapshot stores the whole value of a document at a version, in place of the
// snapshot before. One that is not newer changes nothing. A version above the
// channel's top, and a channel of plain messages, are [ErrMoved]. Nothing is told
// to [Options.Committed]. The result is [SnapshotPut].
type PutSnapshot struct {
	Channel string
	Version uint64 // of the value: the seq of the last message that is in it
	Time    int64  // Unix milliseconds
	Data    []byte // raw JSON, at most 64 MiB
	// Floor, when not zero, forgets the history: messages up to it, and at most up to
	// Version, can no longer be read at once, and are deleted later. Keys stay.
	Floor uint64
}

// SnapshotPut is the result of [PutSnapshot].
type SnapshotPut struct {
	Kept bool // false: there is one of this version, or a newer one
}

// Snapshot is the whole value of a document at a version.
type Snapshot struct {
	Version uint64 // zero: there is none
	Time    int64  // Unix milliseconds
	Data    []byte // raw JSON; nil when there is none
}

// DocumentPage is all that makes up a document at one moment.
type DocumentPage struct {
	Head     Head
	Snapshot Snapshot
	Messages []Message // all after the snapshot, by seq, without a hole
}

// DocumentReader reads documents.
type DocumentReader interface {
	// Document gives a document as it is at one moment. Of a channel that does not
	// exist, or is no document, it gives the head alone.
	Document(ctx context.Context, channel string) (DocumentPage, error)
}

func (PutSnapshot) command() {}
func (SnapshotPut) result()  {}
