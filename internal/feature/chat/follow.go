package chat

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
)

// followers are the connections that follow the list of their user. One is here until it
// says so, ends, or becomes another user's.
type followers struct {
	count *atomic.Int64

	mu    sync.RWMutex // guards all below
	users map[string][]*hub.Conn
	conns map[*hub.Conn]*follower
}

// follower is one of them.
type follower struct {
	conn   *hub.Conn
	user   string
	detach func() // from the end of its session; nil: it is just being attached
}

func (fs *followers) init(count *atomic.Int64) {
	fs.count = count
	fs.users, fs.conns = map[string][]*hub.Conn{}, map[*hub.Conn]*follower{}
}

// follow begins; false: the connection follows already.
func (fs *followers) follow(s *session.Session, user string) (fresh bool) {
	c := &s.Conn
	fs.mu.Lock()
	if old := fs.conns[c]; old != nil {
		if old.user == user {
			fs.mu.Unlock()
			return false
		}
		fs.removeLocked(c, old)
	}
	one := &follower{conn: c, user: user}
	fs.conns[c] = one
	fs.users[user] = append(fs.users[user], c)
	fs.count.Add(1)
	fs.mu.Unlock()
	detach := s.Attach(func() { fs.unfollow(c) }) // at once, when it has ended
	fs.mu.Lock()
	one.detach = detach
	fs.mu.Unlock()
	return true
}

// unfollow ends; it may have ended before.
func (fs *followers) unfollow(c *hub.Conn) {
	fs.mu.Lock()
	one := fs.conns[c]
	if one != nil {
		fs.removeLocked(c, one)
	}
	fs.mu.Unlock()
}

// bound ends what a connection follows that is another user's now.
func (fs *followers) bound(c *hub.Conn) {
	user := c.User()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if one := fs.conns[c]; one != nil && one.user != user {
		fs.removeLocked(c, one)
	}
}

func (fs *followers) removeLocked(c *hub.Conn, one *follower) {
	delete(fs.conns, c)
	list := fs.users[one.user]
	if i := slices.Index(list, c); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(fs.users, one.user)
	} else {
		fs.users[one.user] = list
	}
	fs.count.Add(-1)
	if one.detach != nil {
		one.detach()
	}
}

// none tells that nobody follows.
func (fs *followers) none() bool { return fs.count.Load() == 0 }

// Bound is told of a connection that is another user's now: it follows nothing any more.
func (f *Feature) Bound(s *session.Session) { f.followers.bound(&s.Conn) }

// has tells whether a connection of a user follows.
func (fs *followers) has(user string) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return len(fs.users[user]) > 0
}

// append appends the connections of a user.
func (fs *followers) append(dst []*hub.Conn, user string) []*hub.Conn {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.appendLocked(dst, user)
}

// appendLocked leaves out those that have become another user's a moment ago.
func (fs *followers) appendLocked(dst []*hub.Conn, user string) []*hub.Conn {
	for _, c := range fs.users[user] {
		if c.User() == user {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendFollowers appends what stands for the connections of a user as they follow now.
func (fs *followers) appendFollowers(dst []*follower, user string) []*follower {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for _, c := range fs.users[user] {
		if one := fs.conns[c]; !slices.Contains(dst, one) {
			dst = append(dst, one)
		}
	}
	return dst
}

// still appends the connections of those that have followed ever since.
func (fs *followers) still(dst []*hub.Conn, list []*follower) []*hub.Conn {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for _, one := range list {
		if fs.conns[one.conn] == one && one.conn.User() == one.user {
			dst = append(dst, one.conn)
		}
	}
	return dst
}

// each calls fn for those members of a roster who have connections here. It goes through the
// smaller of the two. fn must not block.
func (fs *followers) each(r *roster, fn func(user string, m member)) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	if r.size() <= len(fs.users) {
		r.each(func(user string, m member) bool {
			if len(fs.users[user]) > 0 {
				fn(user, m)
			}
			return true
		})
		return
	}
	for user := range fs.users {
		if m, is := r.member(user); is {
			fn(user, m)
		}
	}
}

// seeing leaves those connections of members that may see what is said in a channel.
func seeing(space *hub.Space, channel string, conns []*hub.Conn) []*hub.Conn {
	if space.Subscribe != auth.Token && space.Subscribe != auth.Server {
		return conns
	}
	return slices.DeleteFunc(conns, func(c *hub.Conn) bool { return !sees(space, channel, c) })
}

// sees tells whether a connection of a member may see what is said in a channel: where the
// namespace asks for a capability of the token besides, it must have that.
func sees(space *hub.Space, channel string, c *hub.Conn) bool {
	return session.Capable(space, auth.Sub, channel, c.Identity())
}
