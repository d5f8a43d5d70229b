package store

import "context"

// User is what is known of a user.
type User struct {
	// N is a number that stands for the user in this store; it is never 0, and stays
	// the same as long as the user is there.
	N    uint64
	User string
	// Attributes is a JSON object, with its members in any order. nil: nobody has said
	// anything about the user, who is known only because something was pushed to him, or
	// because he was here.
	Attributes []byte
	Zone       string   // the attribute tz, when it is a string of at most 64 bytes; else ""
	Created    int64    // Unix milliseconds: when the user was first heard of
	Changed    int64    // Unix milliseconds: when the attributes became what they are; 0: never
	Muted      []string // categories, in the order of their names
}

// PutUsers says what is known of users. Who has the same attributes already is left as
// he is. The result is [UsersPut].
type PutUsers struct {
	Users []UserPut // at most 1,000; a user who comes twice gets one after the other
	Time  int64     // Unix milliseconds
	// Merge takes the attributes as an RFC 7396 merge patch of what is there, in place of
	// a replacement.
	Merge bool
}

// UserPut is one user of [PutUsers].
type UserPut struct {
	User string // 1 to 1,024 bytes
	// Attributes is a JSON object in UTF-8; with those that are there it has at most
	// 64 KiB, else [ErrTooLarge]. It is at most 64 levels deep, its numbers are within the
	// range of a 64-bit floating point number, and its texts have no NUL characters. Of
	// members with the same name the last one counts.
	Attributes []byte
}

// UsersPut is the result of [PutUsers]. It counts users, not puts.
type UsersPut struct {
	Created int // who had no attributes before
	Changed int // who had others
}

// DeleteUsers forgets users, and all that was pushed to them: their inboxes and their
// records. What is open is counted as failed in the totals of its message. The
// result is [UsersDeleted].
type DeleteUsers struct {
	Users []string // at most 1,000
	Time  int64    // Unix milliseconds
}

// UsersDeleted is the result of [DeleteUsers].
type UsersDeleted struct{ Count int }

// MuteCategory has a user hear nothing more of a category, or hear of it again. The
// result is [CategoryMuted].
type MuteCategory struct {
	User     string
	Category string // 1 to 64 bytes of UTF-8
	Muted    bool
	Time     int64 // Unix milliseconds
}

// CategoryMuted is the result of [MuteCategory]: all that the user has muted now, in
// the order of the names; at most 1,000, else [ErrTooLarge].
type CategoryMuted struct{ Muted []string }

// PutCategory keeps a category; what it says is the owner's. The result is
// [CategoryPut].
type PutCategory struct {
	Name string // 1 to 64 bytes
	Body []byte // at most 64 KiB
	Time int64  // Unix milliseconds
}

// CategoryPut is the result of [PutCategory].
type CategoryPut struct{ Created bool }

// DeleteCategory forgets a category, which is [ErrNotFound] when it is not there. The
// result is [CategoryDeleted].
type DeleteCategory struct{ Name string }

// CategoryDeleted is the result of [DeleteCategory].
type CategoryDeleted struct{}

// Category is a category as it was put.
type Category struct {
	Name    string
	Body    []byte
	Changed int64 // Unix milliseconds
}

// UserQuery asks for users.
type UserQuery struct {
	Where *Filter // nil: all who have attributes
	After string  // by the bytes of the id; "": from the first
	Limit int     // at least 1
}

// AudienceQuery asks for users by number, for who goes through all of them.
type AudienceQuery struct {
	Where *Filter // nil: all that were ever heard of, with attributes or without
	After uint64  // by number
	Limit int     // at least 1
}

// Recipient is a user as [Push] takes him.
type Recipient struct {
	N    uint64 // 0: to be looked up
	User string
}

// UserReader reads users and categories.
type UserReader interface {
	// Users gives those who have attributes and are chosen, by the bytes of their ids.
	Users(ctx context.Context, q UserQuery) ([]User, error)
	// LookUsers gives users by their ids, in order; who is not there is zero.
	LookUsers(ctx context.Context, users ...string) ([]User, error)
	// CountUsers counts who is chosen.
	CountUsers(ctx context.Context, where *Filter) (int64, error)
	// Audience gives users by their numbers.
	Audience(ctx context.Context, q AudienceQuery) ([]Recipient, error)
	// Categories gives all of them by name.
	Categories(ctx context.Context) ([]Category, error)
	// UserIndexes has the places of attributes that are given (JSON Pointers; "#tags" for
	// the tags, which always are) looked up by index from now on, and no others. An index
	// serves texts and numbers. It may take long; where several processes share a store,
	// the last call holds. At most 64 are possible.
	UserIndexes(ctx context.Context, fields []string) error
}

func (PutUsers) command()       {}
func (DeleteUsers) command()    {}
func (MuteCategory) command()   {}
func (PutCategory) command()    {}
func (DeleteCategory) command() {}
func (UsersPut) result()        {}
func (UsersDeleted) result()    {}
func (CategoryMuted) result()   {}
func (CategoryPut) result()     {}
func (CategoryDeleted) result() {}
