package hub_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
)

// model is what a hub should be, without shards, locks and passes.
type model struct {
	user    map[*peer]string
	subs    map[string][]*peer // by channel
	reasons map[string]map[*peer]hub.Reason
	got     map[*peer][]string
}

// drop takes p out of a channel.
func (m *model) drop(p *peer, name string) {
	m.subs[name] = slices.DeleteFunc(m.subs[name], func(x *peer) bool { return x == p })
	delete(m.reasons[name], p)
}

// members are the subscribers that are there as such.
func (m *model) members(name string) (list []*peer) {
	for _, p := range m.subs[name] {
		if m.reasons[name][p]&hub.Membership != 0 {
			list = append(list, p)
		}
	}
	return list
}

// listing is what Members should give.
func (m *model) listing(name string) (list []hub.Member) {
	by := map[string]int{}
	anonymous := 0
	for _, p := range m.subs[name] {
		if u := m.user[p]; u != "" {
			by[u]++
		} else {
			anonymous++
		}
	}
	for _, u := range slices.Sorted(maps.Keys(by)) {
		list = append(list, hub.Member{User: u, Connections: by[u]})
	}
	return append(list, slices.Repeat([]hub.Member{{Connections: 1}}, anonymous)...)
}

// told keeps what a hub says of who is there, and that it says nothing twice.
type told struct {
	t     *testing.T
	mu    sync.Mutex
	there map[string]bool
}

func (o *told) changed(name string, there bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.there[name] == there {
		o.t.Errorf("%s: there is %v, told twice", name, there)
	}
	if o.there == nil {
		o.there = map[string]bool{}
	}
	if o.there[name] = there; !there {
		delete(o.there, name)
	}
}

func (o *told) is(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.there[name]
}

func (m *model) users(of []*peer) int {
	seen := map[string]bool{}
	for _, p := range of {
		if u := m.user[p]; u != "" {
			seen[u] = true
		}
	}
	return len(seen)
}

func (m *model) give(to []*peer, except []*hub.Conn, line string) hub.Reach {
	var reached []*peer
	for _, p := range to {
		if !slices.Contains(except, &p.Conn) {
			reached = append(reached, p)
			mark := ""
			if m.encoding(p) == 1 {
				mark = "2:"
			}
			m.got[p] = append(m.got[p], mark+line)
		}
	}
	return hub.Reach{Connections: len(reached), Users: m.users(reached)}
}

// encoding is derived from the id, so that both worlds agree on it.
func (m *model) encoding(p *peer) int { return int(p.Owner().(*peer).ID[0]) & 1 }

func (m *model) everybody() (list []*peer) {
	for p := range m.user {
		list = append(list, p)
	}
	return list
}

// bySource puts what came from the same channel, or directly, together: order holds
// among those alone.
func bySource(lines []string) []string {
	source := func(line string) string { return line[:strings.LastIndexByte(line, ' ')] }
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(source(a), source(b)) })
	return lines
}

func TestTheHubBehavesLikeItsModel(t *testing.T) {
	users := []string{"", "", "ann", "bob", "cid"}
	channels := []string{"room:1", "room:2", "room:3"}
	rapid.Check(t, func(rt *rapid.T) {
		online, occupied := &told{t: t}, &told{t: t}
		w := start(t, hub.Config{Shards: rapid.IntRange(1, 3).Draw(rt, "shards"), UserChanged: online.changed, ChannelChanged: occupied.changed})
		defer w.Close()
		m := &model{user: map[*peer]string{}, subs: map[string][]*peer{}, reasons: map[string]map[*peer]hub.Reason{}, got: map[*peer][]string{}}
		for _, name := range channels {
			m.reasons[name] = map[*peer]hub.Reason{}
		}
		var alive []*peer
		serial := 0
		pick := func() *peer { return rapid.SampledFrom(alive).Draw(rt, "connection") }
		channel := func() string { return rapid.SampledFrom(channels).Draw(rt, "channel") }
		reasons := func(rt *rapid.T) hub.Reason {
			return hub.Reason(rapid.IntRange(1, int(hub.Asked|hub.Granted|hub.Ordered|hub.Membership)).Draw(rt, "reasons"))
		}
		some := func() (list []*hub.Conn) {
			for _, p := range alive {
				if rapid.IntRange(0, 3).Draw(rt, "except") == 0 {
					list = append(list, &p.Conn)
				}
			}
			return list
		}
		settle := func() {
			w.flush()
			for _, p := range alive {
				if diff := cmp.Diff(bySource(m.got[p]), bySource(p.out.take())); diff != "" {
					rt.Fatalf("what a connection got (-want +got):\n%s", diff)
				}
				delete(m.got, p)
			}
		}
		connect := func(rt *rapid.T) {
			user := rapid.SampledFrom(users).Draw(rt, "user")
			p := newPeer()
			w.Add(&p.Conn, &p.out, w.Encoding(int(p.ID[0])&1), p, auth.Identity{User: user}, 1)
			alive = append(alive, p)
			m.user[p] = user
		}
		connect(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"connect": connect,
			"remove": func(rt *rapid.T) {
				if len(alive) < 2 {
					return
				}
				settle()
				p := pick()
				w.Remove(&p.Conn)
				alive = slices.DeleteFunc(alive, func(x *peer) bool { return x == p })
				delete(m.user, p)
				for name := range m.subs {
					m.drop(p, name)
				}
			},
			"subscribe": func(rt *rapid.T) {
				p, name := pick(), channel()
				by := reasons(rt)
				settle()
				fresh, err := w.Subscribe(&p.Conn, name, space, hub.SubOptions{By: by})
				if known := slices.Contains(m.subs[name], p); err != nil || fresh == known {
					rt.Fatalf("subscribe says fresh: %v, %v, known: %v", fresh, err, known)
				} else if !known {
					m.subs[name] = append(m.subs[name], p)
				}
				m.reasons[name][p] |= by
			},
			"be refused": func(rt *rapid.T) {
				p, name := pick(), channel()
				other := "somebody else"
				if _, err := w.Subscribe(&p.Conn, name, space, hub.SubOptions{User: &other}); err == nil {
					rt.Fatal("a connection was subscribed by another user's right")
				}
			},
			"drop": func(rt *rapid.T) {
				p, name, r := pick(), channel(), reasons(rt)
				settle()
				had, ended := w.Drop(&p.Conn, name, r)
				was := m.reasons[name][p]
				if wantHad, wantEnd := was&r != 0, was&r != 0 && was&^r == 0; had != wantHad || ended != wantEnd {
					rt.Fatalf("drop of %b from %b says %v and %v", r, was, had, ended)
				}
				if m.reasons[name][p] &^= r; ended {
					m.drop(p, name)
				}
			},
			"unsubscribe": func(rt *rapid.T) {
				p, name := pick(), channel()
				settle()
				was := w.Unsubscribe(&p.Conn, name)
				if known := slices.Contains(m.subs[name], p); was != known {
					rt.Fatalf("unsubscribe says %v, known: %v", was, known)
				}
				m.drop(p, name)
			},
			"bind": func(rt *rapid.T) {
				p, user := pick(), rapid.SampledFrom(users).Draw(rt, "user")
				settle()
				p.Bind(auth.Identity{User: user})
				if user != m.user[p] {
					for _, of := range m.reasons {
						if of[p] != 0 {
							of[p] &^= hub.Membership
						}
					}
				}
				m.user[p] = user
			},
			"publish": func(rt *rapid.T) {
				name, except := channel(), some()
				serial++
				line := fmt.Sprint(name, " ", serial)
				got := w.publish(name, line, except...)
				if want := m.give(m.subs[name], except, line); got != want {
					rt.Fatalf("publish to %s says %+v, want %+v", name, got, want)
				}
			},
			"publish to members": func(rt *rapid.T) {
				name, except := channel(), some()
				settle() // a pass asks who is a member when it comes
				serial++
				line := fmt.Sprint(name, " ", serial)
				got, err := w.PublishMembers(context.Background(), name, []byte(line), except)
				if want := m.give(m.members(name), except, line); err != nil || got != want {
					rt.Fatalf("publish to the members of %s says %+v, %v; want %+v", name, got, err, want)
				}
				settle()
			},
			"publish to all": func(rt *rapid.T) {
				boundOnly, except := rapid.Bool().Draw(rt, "users only"), some()
				settle() // parts of different channels are passed in their own order
				serial++
				line := fmt.Sprint("all ", serial)
				for _, s := range w.sentinels {
					except = append(except, &s.Conn)
				}
				got, err := w.PublishAll(context.Background(), boundOnly, []byte(line), except)
				if err != nil {
					rt.Fatal(err)
				}
				to := m.everybody()
				if boundOnly {
					to = slices.DeleteFunc(to, func(p *peer) bool { return m.user[p] == "" })
				}
				if want := m.give(to, except, line); got != want {
					rt.Fatalf("publish to all says %+v, want %+v", got, want)
				}
				settle()
			},
			"publish to some": func(*rapid.T) {
				to := some()
				settle()
				serial++
				line := fmt.Sprint("direct ", serial)
				var peers []*peer
				for _, c := range to {
					peers = append(peers, c.Owner().(*peer))
				}
				got := w.PublishTo(to, []byte(line))
				if want := m.give(peers, nil, line); got != want {
					rt.Fatalf("publish to some says %+v, want %+v", got, want)
				}
			},
			"": func(rt *rapid.T) {
				open := 0
				for _, name := range channels {
					ch := w.Channel(name)
					if (ch != nil) != (len(m.subs[name]) > 0) {
						rt.Fatalf("channel %s is there: %v", name, ch != nil)
					}
					if occupied.is(name) != (ch != nil) {
						rt.Fatalf("channel %s is there: %v, told otherwise", name, ch != nil)
					}
					if ch == nil {
						continue
					}
					open++
					m.compare(rt, w, ch)
					connections, users := ch.Counts()
					if connections != len(m.subs[name]) || users != m.users(m.subs[name]) {
						rt.Fatalf("%s counts %d and %d, want %d and %d", name, connections, users, len(m.subs[name]), m.users(m.subs[name]))
					}
				}
				c, u, n := w.Counts()
				if c != len(alive)+len(w.sentinels) || u != m.users(m.everybody()) || n != open {
					rt.Fatalf("the hub counts %d, %d, %d; want %d, %d, %d", c, u, n, len(alive)+len(w.sentinels), m.users(m.everybody()), open)
				}
				for _, user := range users[2:] {
					var want []*hub.Conn
					for p := range m.user {
						if m.user[p] == user {
							want = append(want, &p.Conn)
						}
					}
					if online.is(user) != (len(want) > 0) {
						rt.Fatalf("user %s has %d connections, told otherwise", user, len(want))
					}
					if got := w.UserConns(user); !sameSet(got, want) {
						rt.Fatalf("user %s has %d connections, want %d", user, len(got), len(want))
					}
				}
			},
		})
		settle()
	})
}

// compare looks at who is in a channel, why, and as a member.
func (m *model) compare(rt *rapid.T, w *world, ch *hub.Channel) {
	name := ch.Name()
	var members []*hub.Conn
	for _, p := range m.subs[name] {
		want := m.reasons[name][p]
		if want&hub.Membership != 0 {
			members = append(members, &p.Conn)
		}
		i := slices.IndexFunc(p.Subs(), func(s *hub.Sub) bool { return s.Channel() == ch })
		if i < 0 || p.Subs()[i].Reasons() != want || w.IsMember(&p.Conn, name) != (want&hub.Membership != 0) {
			rt.Fatalf("a subscription to %s is not there for %b", name, want)
		}
	}
	if got := ch.MemberConns(); !sameSet(got, members) {
		rt.Fatalf("%s has %d members' connections, want %d", name, len(got), len(members))
	}
	var listed []hub.Member
	for after, more := (hub.MemberKey{}), true; more; {
		var page []hub.Member
		page, after, more = ch.Members(after, 2)
		listed = append(listed, page...)
	}
	if diff := cmp.Diff(m.listing(name), listed); diff != "" {
		rt.Fatalf("who is in %s (-want +got):\n%s", name, diff)
	}
}

func sameSet(a, b []*hub.Conn) bool {
	if len(a) != len(b) {
		return false
	}
	for _, c := range a {
		if !slices.Contains(b, c) {
			return false
		}
	}
	return true
}
