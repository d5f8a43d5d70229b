package store

import "context"

// AddMembers makes users members of a channel. Who is one already stays as he is.
// The result is [MembersChanged].
type AddMembers struct {
	Channel string   // namespace:rest, at most 1,024 bytes
	Users   []string // at most 10,000 of 1 to 1,024 bytes; doubles count once
	Time    int64    // Unix milliseconds, for those that are new
}

// RemoveMembers ends memberships. The result is [MembersChanged].
type RemoveMembers struct {
	Channel string
	Users   []string // at most 10,000
	// Some ends the memberships of so many users, the first by id, whoever they are;
	// Users is empty then. A channel is emptied by repeating it.
	Some int
}

// MembersChanged is the result of [AddMembers] and [RemoveMembers].
type MembersChanged struct {
	Users []string // whose membership began or ended, in the order given
	Count int64    // members of the channel now
}

// Member is one member of a channel.
type Member struct {
	User  string
	Since int64 // Unix milliseconds
}

// Membership is one channel that a user is a member of.
type Membership struct {
	Channel string
	Since   int64 // Unix milliseconds
}

// Group is a channel that has members.
type Group struct {
	Channel string
	Members int64
}

// MemberReader reads memberships. Lists are by the bytes of what they list: after
// is the last of the page before, "" for the first. limit is at least 1. None of
// it looks at more than it gives.
type MemberReader interface {
	// Members lists the members of a channel.
	Members(ctx context.Context, channel, after string, limit int) ([]Member, error)
	// Memberships lists the channels that a user is a member of.
	Memberships(ctx context.Context, user, after string, limit int) ([]Membership, error)
	// IsMember tells of each user whether he is a member of the channel.
	IsMember(ctx context.Context, channel string, users ...string) ([]bool, error)
	// MemberCounts tells how many members channels have, in order; one that has none
	// has 0. It does not count them one by one.
	MemberCounts(ctx context.Context, channels ...string) ([]int64, error)
	// Groups lists the channels with members whose name begins with prefix.
	Groups(ctx context.Context, prefix, after string, limit int) ([]Group, error)
}

func (AddMembers) command()    {}
func (RemoveMembers) command() {}
func (MembersChanged) result() {}
