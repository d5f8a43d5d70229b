// Command gateway is a chat and game server in the manner of GatewayWorker and
// GMWebSockets, as Go functions on Skein: its clients call the verbs that they know
// from there. What each of them is called elsewhere stands in docs/gateway.md.
//
//	go run ./examples/gateway
//
// Groups are channels group:NAME. Who has logged in joins as a member, on every
// device and until it leaves; anybody else joins with the one connection.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skein-realtime/skein"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "`address` to listen on")
	data := flag.String("data", "gateway-data", "`directory` for groups, their messages and schedules")
	tick := flag.Duration("tick", 5*time.Second, "`time` between two ticks of a connection")
	flag.Parse()
	if flag.NArg() > 0 || *tick <= 0 {
		fmt.Fprintln(os.Stderr, "gateway: it takes no arguments, and -tick is more than 0s")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	g, err := newGateway(ctx, *listen, *data, *tick)
	if err == nil {
		fmt.Printf("ws://%s/ws\n", *listen)
		err = g.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// account is somebody who may log in. A database would keep a slow hash instead of
// the password.
type account struct {
	password string
	admin    bool
}

// gateway is the application.
type gateway struct {
	*skein.Server
	accounts map[string]account
	tokens   sync.Map // to their users
	rounds   sync.Map // by channel: the func() that stops its timer
}

// newGateway makes the server and registers everything that clients may call.
func newGateway(ctx context.Context, listen, data string, tick time.Duration) (*gateway, error) {
	s, err := skein.New(skein.Config{
		Listen: listen, Data: data,
		Auth:  skein.Auth{Anonymous: true}, // until they call auth
		Rates: skein.Rates{Frames: []string{"call 50/s", "pub 20/s burst 40"}},
		Namespaces: map[string]skein.Namespace{
			"group": {Kind: "log", Subscribe: "member", Publish: "member", Presence: "members", Keep: skein.Keep{Count: 1000}},
		},
	})
	if err != nil {
		return nil, err
	}
	g := &gateway{Server: s, accounts: map[string]account{"ann": {"ann's", false}, "bob": {"bob's", false}, "root": {"root's", true}}}
	g.events(tick)
	g.verbs()
	// Kept in the store: it goes on after a restart, and on several servers runs once.
	if _, err = s.PutSchedule(ctx, skein.SchedulePutParams{
		Name: "lobby/news", Every: "1m", WhileOccupied: "group:lobby",
		Verb: "publish", Params: json.RawMessage(`{"to":{"channel":"group:lobby"},"event":"news","data":"another minute has passed"}`),
	}); err != nil {
		_ = s.Close()
	}
	return g, err
}

// events is what the server asks and tells: onConnect, onMessage, onClose.
func (g *gateway) events(tick time.Duration) {
	// A client that comes back gives its token at once: {"type":"connect","data":{"token":"…"}}.
	g.OnConnect(func(_ context.Context, c *skein.Connecting) error {
		var p struct{ Token string }
		if json.Unmarshal(c.Data, &p) != nil || p.Token == "" {
			return nil
		}
		if c.User = g.userOf(p.Token); c.User == "" {
			return skein.NewError("unauthorized", "this token is not known; log in")
		}
		return nil
	})
	g.OnOpen(func(_ context.Context, c *skein.Conn) {
		c.Every(tick, func(ctx context.Context) {
			_, _ = c.Send(ctx, "tick", map[string]int64{"time": time.Now().UnixMilli()})
		})
	})
	// Whoever has joined may speak; members may by the rules of the namespace.
	g.OnMessage("group", func(ctx context.Context, m *skein.Message) error {
		m.Allow = m.Allow || slices.Contains(m.Conn.Channels(), m.Channel)
		var text string
		if m.Decode(&text) != nil || !m.Allow {
			return nil
		}
		if text == "/who" {
			who, err := g.Presence(ctx, skein.PresenceParams{Channel: m.Channel})
			m.Reply(who)
			return err
		}
		if strings.Contains(strings.ToLower(text), "rhubarb") {
			return skein.NewError("denied", "mind your language")
		}
		return nil
	})
	g.OnClose(func(c *skein.Conn, why skein.Closing) {
		slog.Info("closed", "connection", c.ID(), "user", c.User(), "channels", c.Channels(), "reason", why.Reason)
	})
	g.OnUser(func(user string, online bool) {
		event := map[bool]string{true: "online", false: "offline"}[online]
		_, _ = g.send(context.Background(), skein.Target{All: "users"}, event, skein.Exclude{}, map[string]string{"user": user})
	})
	g.OnChannel(func(channel string, occupied bool) {
		if !occupied {
			g.rounds.Delete(channel) // it has stopped by itself
		}
	})
}

// params are what clients give to the verbs; each looks at what it needs.
type params struct {
	Group, Connection, User       string
	Name, Password, Token, Device string
	Data, Last                    json.RawMessage
	Exclude                       skein.Exclude
	ExcludeMe                     bool `json:"exclude_me"`
	Message, After                string
	Every                         int // milliseconds
}

func (p params) channel() string { return "group:" + p.Group }

// verbs registers what clients may call.
func (g *gateway) verbs() {
	for name, fn := range map[string]func(context.Context, *skein.Conn, params) (any, error){
		"auth":                    g.auth,
		"join_group":              g.join,
		"leave_group":             g.leave,
		"start_round":             g.startRound,
		"send_to_all_sockets":     g.sender(func(params) skein.Target { return skein.Target{All: "connections"} }),
		"send_to_all_clients":     g.sender(func(params) skein.Target { return skein.Target{All: "users"} }),
		"send_to_socket":          g.sender(func(p params) skein.Target { return skein.Target{Connection: p.Connection} }),
		"send_to_client":          g.sender(func(p params) skein.Target { return skein.Target{User: p.User} }),
		"send_to_group":           g.sender(func(p params) skein.Target { return skein.Target{Channel: p.channel()} }),
		"get_clientcount_bygroup": g.count,
		"get_clients_bygroup": func(ctx context.Context, _ *skein.Conn, p params) (any, error) {
			return g.Members(ctx, skein.MembersListParams{Channel: p.channel(), After: p.After})
		},
		"is_client_id_online": func(ctx context.Context, _ *skein.Conn, p params) (any, error) {
			return g.Online(ctx, skein.OnlineParams{Users: []string{p.User}})
		},
		// An update merges (RFC 7396) on the server, so two of them at once both count.
		"set_session": func(ctx context.Context, c *skein.Conn, p params) (any, error) {
			return sessionOf(c, c.SetSession(ctx, p.Data))
		},
		"update_session": func(ctx context.Context, c *skein.Conn, p params) (any, error) {
			return sessionOf(c, c.MergeSession(ctx, p.Data))
		},
		"get_session":  func(_ context.Context, c *skein.Conn, _ params) (any, error) { return sessionOf(c, nil) },
		"close_client": g.closeClient,
	} {
		skein.HandleCall(g.Server, name, fn)
	}
}

// auth binds the connection to who its password, or a token of an earlier auth, says.
func (g *gateway) auth(ctx context.Context, c *skein.Conn, p params) (any, error) {
	user := g.userOf(p.Token)
	if a, known := g.accounts[p.Name]; known && subtle.ConstantTimeCompare([]byte(a.password), []byte(p.Password)) == 1 {
		user, p.Token = p.Name, rand.Text()
		g.tokens.Store(p.Token, user)
	}
	if user == "" {
		return nil, skein.NewError("unauthorized", "wrong name, password or token")
	}
	return map[string]string{"user": user, "token": p.Token}, c.Bind(ctx, user, p.Device)
}

func (g *gateway) userOf(token string) string {
	user, _ := g.tokens.Load(token)
	name, _ := user.(string)
	return name
}

// join makes a user a member; a connection without one is only subscribed.
func (g *gateway) join(ctx context.Context, c *skein.Conn, p params) (any, error) {
	if user := c.User(); user != "" {
		return g.AddMembers(ctx, skein.MembersParams{Channel: p.channel(), Users: []string{user}})
	}
	return g.Subscribe(ctx, skein.SubscribeParams{Connection: c.ID(), Channel: p.channel()})
}

// leave ends both, because somebody may have joined before logging in.
func (g *gateway) leave(ctx context.Context, c *skein.Conn, p params) (any, error) {
	var r skein.MembersResult
	if user := c.User(); user != "" {
		var err error
		if r, err = g.RemoveMembers(ctx, skein.MembersRemoveParams{Channel: p.channel(), Users: []string{user}}); err != nil {
			return nil, err
		}
	}
	return r, c.Unsubscribe(ctx, p.channel())
}

// count tells the members, who last, and those of them and others who are there now.
func (g *gateway) count(ctx context.Context, _ *skein.Conn, p params) (any, error) {
	members, err := g.CountMembers(ctx, skein.MembersCountParams{Channel: p.channel()})
	now, presenceErr := g.Presence(ctx, skein.PresenceParams{Channel: p.channel(), Limit: 1})
	return map[string]any{"members": members.Count, "users": now.Users, "connections": now.Connections}, errors.Join(err, presenceErr)
}

// sender is a verb that sends data to one target; it tells how many that reached.
func (g *gateway) sender(to func(params) skein.Target) func(context.Context, *skein.Conn, params) (any, error) {
	return func(ctx context.Context, c *skein.Conn, p params) (any, error) {
		target := to(p)
		if !g.maySend(c, target) {
			return nil, skein.NewError("denied", "you may not send to them")
		}
		if p.ExcludeMe {
			p.Exclude.Connections = append(p.Exclude.Connections, c.ID())
		}
		return g.send(ctx, target, "", p.Exclude, map[string]any{"from": c.User(), "data": p.Data})
	}
}

// maySend: to everybody administrators, to a group whoever is in it, and to one
// client whoever has logged in.
func (g *gateway) maySend(c *skein.Conn, to skein.Target) bool {
	switch {
	case to.All != "":
		return g.accounts[c.User()].admin
	case to.Channel != "":
		return slices.Contains(c.Channels(), to.Channel)
	}
	return c.User() != ""
}

func (g *gateway) send(ctx context.Context, to skein.Target, event string, exclude skein.Exclude, data any) (skein.PublishResult, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return skein.PublishResult{}, err
	}
	return g.Publish(ctx, skein.PublishParams{To: skein.Targets{to}, Event: event, Data: raw, Exclude: &exclude})
}

func sessionOf(c *skein.Conn, err error) (any, error) {
	var all json.RawMessage
	return &all, errors.Join(err, c.Session(&all))
}

// closeClient sends a connection, or all of a user, away; what is in last they get first.
func (g *gateway) closeClient(ctx context.Context, c *skein.Conn, p params) (any, error) {
	if !g.accounts[c.User()].admin {
		return nil, skein.NewError("denied", "only an administrator may do that")
	}
	end := skein.DisconnectParams{Connection: p.Connection, User: p.User, Message: p.Message}
	if p.Last != nil {
		end.Last = &skein.LastMessage{Event: "last", Data: p.Last}
	}
	return g.Disconnect(ctx, end)
}

// startRound counts in a group until everybody has left it, or a new round begins.
func (g *gateway) startRound(_ context.Context, c *skein.Conn, p params) (any, error) {
	if !g.maySend(c, skein.Target{Channel: p.channel()}) || p.Every < 100 {
		return nil, skein.NewError("denied", "join the group first, and give every: 100 milliseconds or more")
	}
	n := 0
	stop := g.Every(p.channel(), time.Duration(p.Every)*time.Millisecond, func(ctx context.Context) {
		n++
		_, _ = g.send(ctx, skein.Target{Channel: p.channel()}, "round", skein.Exclude{}, n)
	})
	if before, any := g.rounds.Swap(p.channel(), stop); any {
		before.(func())()
	}
	return true, nil
}
