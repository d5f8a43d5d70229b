package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
)

// model is what a hub should be, without shards, locks and passes.
type model struct {
	user map[*peer]string
	subs map[string][]*peer // by channel
	got  map[*peer][]string
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
		w := start(t, hub.Config{Shards: rapid.IntRange(1, 3).Draw(rt, "shards")})
		defer w.Close()
		m := &model{user: map[*peer]string{}, subs: map[string][]*peer{}, got: map[*peer][]string{}}
		var alive []*peer
		serial := 0
		pick := func() *peer { return rapid.SampledFrom(alive).Draw(rt, "connection") }
		channel := func() string { return rapid.SampledFrom(channels).Draw(rt, "channel") }
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
				for name, list := range m.subs {
					m.subs[name] = slices.DeleteFunc(list, func(x *peer) bool { return x == p })
				}
			},
			"subscribe": func(rt *rapid.T) {
				p, name := pick(), channel()
				settle()
				fresh := w.subscribe(p, name)
				if known := slices.Contains(m.subs[name], p); fresh == known {
					rt.Fatalf("subscribe says fresh: %v, known: %v", fresh, known)
				} else if !known {
					m.subs[name] = append(m.subs[name], p)
				}
			},
			"unsubscribe": func(rt *rapid.T) {
				p, name := pick(), channel()
				settle()
				was := w.Unsubscribe(&p.Conn, name)
				if known := slices.Contains(m.subs[name], p); was != known {
					rt.Fatalf("unsubscribe says %v, known: %v", was, known)
				}
				m.subs[name] = slices.DeleteFunc(m.subs[name], func(x *peer) bool { return x == p })
			},
			"bind": func(rt *rapid.T) {
				p, user := pick(), rapid.SampledFrom(users).Draw(rt, "user")
				settle()
				p.Bind(auth.Identity{User: user})
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
					if ch == nil {
						continue
					}
					open++
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
					if got := w.UserConns(user); !sameSet(got, want) {
						rt.Fatalf("user %s has %d connections, want %d", user, len(got), len(want))
					}
				}
			},
		})
		settle()
	})
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
