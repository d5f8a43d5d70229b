package chat

import (
	"context"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

// maxBlocks bounds the pairs of users of whom it is remembered whether one has blocked the other.
const maxBlocks = 20_000

// blocks remembers of pairs of users, in the order of a direct channel, whether one has
// blocked the other: that is asked with every notice. What the store has is the truth.
type blocks struct {
	mu      sync.Mutex
	m       map[[2]string]blockSeen
	changes int // by this process: what was read before one is not kept
}

type blockSeen struct {
	blocked bool
	looked  time.Time
}

func (b *blocks) init() { b.m = map[[2]string]blockSeen{} }

func (b *blocks) find(pair [2]string) (seen blockSeen, found bool, changes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen, found = b.m[pair]
	return seen, found, b.changes
}

func (b *blocks) keep(pair [2]string, seen blockSeen, changes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changes != changes {
		return
	}
	if len(b.m) >= maxBlocks {
		for other := range b.m { // any: it is read again when it is needed
			delete(b.m, other)
			break
		}
	}
	b.m[pair] = seen
}

func (b *blocks) forget(pair [2]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	delete(b.m, pair)
}

// pairOf gives two users in the order of their direct channel.
func pairOf(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

// blocked tells whether one of two users has blocked the other. Where the store is shared it
// may be old by rosterAge.
func (f *Feature) blocked(ctx context.Context, user, peer string) (bool, error) {
	pair := pairOf(user, peer)
	seen, found, changes := f.blocks.find(pair)
	if found && f.fresh(seen.looked) {
		return seen.blocked, nil
	}
	if f.store == nil {
		return false, errNoStore
	}
	now := f.cfg.Now()
	has, is, err := f.store.Blocking(ctx, pair[0], pair[1])
	if err != nil {
		return false, failure(err)
	}
	blocked := has[0] || is[0]
	f.blocks.keep(pair, blockSeen{blocked, now}, changes)
	return blocked, nil
}

// BlockParams are the params of chat.block.
type BlockParams struct {
	User    string `json:"user,omitempty" jsonschema:"who blocks; of a client's call its user"`
	Peer    string `json:"peer" jsonschema:"whom"`
	Blocked *bool  `json:"blocked" jsonschema:"false: not any more"`
}

// BlockResult tells what chat.block did.
type BlockResult struct {
	Changed bool `json:"changed" jsonschema:"false: it was so already"`
}

func (f *Feature) block(ctx context.Context, p BlockParams) (r BlockResult, err error) {
	user, err := acting(ctx, "user", p.User)
	if err != nil {
		return r, err
	}
	switch err := userID("peer", p.Peer); {
	case err != nil:
		return r, err
	case p.Peer == user:
		return r, fault.Field("peer", "is the user, who cannot block himself")
	case p.Blocked == nil:
		return r, fault.Field("blocked", "is missing")
	}
	results, err := f.do(ctx, store.BlockPeer{User: user, Peer: p.Peer, Blocked: *p.Blocked, Time: f.cfg.Now().UnixMilli()})
	f.blocks.forget(pairOf(user, p.Peer)) // also when nobody knows what became of it
	if err != nil {
		return r, failure(err)
	}
	return BlockResult{Changed: results[0].(store.PeerBlocked).Changed}, nil
}

// BlockedParams are the params of chat.blocked.
type BlockedParams struct {
	User  string `json:"user,omitempty" jsonschema:"whose; of a client's call its user"`
	After string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// BlockedItem is somebody whom a user has blocked.
type BlockedItem struct {
	User  string `json:"user"`
	Since int64  `json:"since" jsonschema:"Unix milliseconds"`
}

// BlockedPage is a page of them, by the bytes of their ids.
type BlockedPage struct {
	Items []BlockedItem `json:"items"`
	Next  string        `json:"next,omitempty"`
}

func (f *Feature) blockedBy(ctx context.Context, p BlockedParams) (BlockedPage, error) {
	page := BlockedPage{Items: []BlockedItem{}}
	user, err := acting(ctx, "user", p.User)
	if err != nil {
		return page, err
	}
	limit, err := pageLimit(p.Limit)
	if err == nil && f.store == nil {
		err = errNoStore
	}
	if err != nil {
		return page, err
	}
	list, err := f.store.Blocks(ctx, user, p.After, limit+1)
	if err != nil {
		return page, failure(err)
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = list[limit-1].User
	}
	for _, b := range list {
		page.Items = append(page.Items, BlockedItem{b.User, b.Since})
	}
	return page, nil
}
