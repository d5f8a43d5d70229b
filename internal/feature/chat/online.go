package chat

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
)

// onlineNews is whether a user is online, since a time.
type onlineNews struct {
	there bool
	at    time.Time
}

// UserChanged is told that a user is online or offline, and since when. Those who follow
// their list, and have a direct conversation with him, hear of it. It does not block.
func (f *Feature) UserChanged(user string, there bool, at time.Time) {
	if !f.followers.none() {
		f.coalesced(f.onlines.put(user, 0, func(n *onlineNews) { *n = onlineNews{there, at} }))
	}
}

// isOnline tells what those who follow their list have been told of a user, or are being told.
func (f *Feature) isOnline(user string) bool {
	return f.cfg.Hub.HasUser(user) || f.cfg.Leaving != nil && f.cfg.Leaving(user)
}

// tellOnline tells those who have a direct conversation with a user.
func (f *Feature) tellOnline(ctx context.Context, user string, n onlineNews) error {
	if f.followers.none() || f.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	told := map[*hub.Conn]bool{}
	var frame []byte
	for _, space := range f.cfg.Hub.Spaces() {
		if space.Chat == nil || !space.Chat.Direct || space.Presence != hub.PresenceMembers || space.Subscribe == auth.Server {
			continue
		}
		err := f.eachPeer(ctx, space, user, func(peers []string) {
			var conns []*hub.Conn
			for _, peer := range peers {
				conns = f.followers.append(conns, peer)
			}
			fresh := conns[:0]
			for _, c := range conns {
				if !told[c] {
					told[c] = true
					fresh = append(fresh, c)
				}
			}
			// What has changed back meanwhile is told in another turn, if somebody is there who was told
			// this: who follows since has read how it is.
			if len(fresh) == 0 || n.there != f.isOnline(user) {
				return
			}
			if frame == nil {
				frame = onlineFrame(user, n)
			}
			f.tellAll(fresh, [][]byte{frame}, nil)
		})
		if err != nil {
			f.failed("tell who is online", err)
			return err
		}
	}
	return nil
}

// peersPage is how many conversations are read at once.
const peersPage = 500

// eachPeer calls fn for the peers of a user's direct conversations in a namespace, some at a
// time.
func (f *Feature) eachPeer(ctx context.Context, space *hub.Space, user string, fn func(peers []string)) error {
	prefix := space.Name + ":"
	peers := make([]string, 0, 16)
	for after := prefix; ; { // no channel has this name, so the first one comes behind it
		list, err := f.store.Memberships(ctx, user, after, peersPage)
		if err != nil {
			return failure(err)
		}
		peers = peers[:0]
		more := len(list) == peersPage
		for _, m := range list {
			if after = m.Channel; !strings.HasPrefix(after, prefix) {
				more = false
				break
			}
			if a, b, err := directUsers("channel", m.Channel); err == nil {
				if a == user {
					a = b
				}
				peers = append(peers, a)
			}
		}
		fn(peers)
		if !more {
			return nil
		}
	}
}

// onlineFrame is the `online` frame.
func onlineFrame(user string, n onlineNews) []byte {
	b := protocol.AppendString([]byte(`{"type":"online","user":`), user)
	b = strconv.AppendBool(append(b, `,"online":`...), n.there)
	return append(strconv.AppendInt(append(b, `,"time":`...), n.at.UnixMilli(), 10), '}')
}
