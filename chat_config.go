package skein

import (
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/chat"
	"github.com/skein-realtime/skein/internal/hub"
)

// This file checks and translates what the configuration says of conversations.

// The kinds of conversations.
const (
	chatDirect = "direct"
	chatGroup  = "group"
)

// withDefaults fills in what is left out of a chat that has a kind.
func (c Chat) withDefaults() Chat {
	if c.Follow == nil {
		c.Follow = new(true)
	}
	if c.Edit == nil {
		c.Edit = new(Duration(15 * time.Minute))
	}
	if c.Recall == nil {
		c.Recall = new(Duration(24 * time.Hour))
	}
	if c.Kind == chatDirect {
		c.Peers = or(c.Peers, chat.PeersAny)
		return c
	}
	c.History = or(c.History, "join")
	c.Create = or(c.Create, "user")
	c.Join = or(c.Join, "admins")
	c.Members = or(c.Members, 5000)
	c.Marks = or(c.Marks, 100)
	c.Alerts.Most = or(c.Alerts.Most, 200)
	return c
}

// chatRules makes the rules of conversations, nil when there are none.
func chatRules(c Chat) *hub.Chat {
	if c.Kind == "" {
		return nil
	}
	rules := &hub.Chat{
		Direct: c.Kind == chatDirect, Follow: *c.Follow, FromStart: c.History == "start", Join: c.Join, Members: c.Members, Marks: c.Marks,
		Edit: c.Edit.Std(), Recall: c.Recall.Std(), Peers: c.Peers, Alerts: c.Alerts.Category, Mentions: c.Alerts.Mentions, AlertMembers: c.Alerts.Most,
	}
	if who, err := auth.ParseWho(c.Create); err == nil {
		rules.Create = who
	}
	return rules
}

// chat checks what is about conversations.
func (v *validation) chat(at string, ns Namespace, spaces map[string]Namespace) {
	c := ns.Chat
	path := at + ".chat"
	if c == (Chat{}) {
		return
	}
	if c.Kind == "" {
		v.wrong(path+".kind", "is missing; it is direct or group")
	} else {
		v.oneOf(path+".kind", c.Kind, chatDirect, chatGroup)
		v.chatNamespace(at, ns)
	}
	for _, s := range []struct {
		name, got string
		allowed   []string
	}{
		{"history", c.History, []string{"join", "start"}}, {"create", c.Create, []string{"user", "token", "server"}},
		{"join", c.Join, []string{"admins", "members", "open"}},
	} {
		if s.got != "" {
			v.oneOf(path+"."+s.name, s.got, s.allowed...)
		}
	}
	for _, n := range []struct {
		name      string
		got       int
		low, high int64
	}{{"members", c.Members, 2, 1_000_000}, {"marks", c.Marks, 1, 100_000}, {"alerts.most", c.Alerts.Most, 1, 100_000}} {
		if n.got != 0 {
			v.between(path+"."+n.name, int64(n.got), n.low, n.high)
		}
	}
	for name, d := range map[string]*Duration{"edit": c.Edit, "recall": c.Recall} {
		if d != nil {
			v.duration(path+"."+name, *d, 0, 10*maxTTL)
		}
	}
	for name, category := range map[string]string{"alerts.category": c.Alerts.Category, "alerts.mentions": c.Alerts.Mentions} {
		if category != "" && !namespaceName.MatchString(category) {
			v.wrong(path+"."+name, "%q is not the name of a category; use lower-case letters, digits, '_', '.', '-', at most 64", category)
		}
	}
	switch peers, known := spaces[c.Peers]; {
	case c.Peers == "" || c.Peers == chat.PeersAny || c.Peers == chat.PeersKnown:
	case !known:
		v.wrong(path+".peers", "%q is not any, not known, and not configured under namespaces", c.Peers)
	case peers.Chat.Kind == chatDirect:
		v.wrong(path+".peers", "the channels of %q are between two users; nobody is together in them", c.Peers)
	}
	v.chatKind(path, c)
}

// chatNamespace checks what a namespace of conversations says elsewhere.
func (v *validation) chatNamespace(at string, ns Namespace) {
	if ns.Kind != hub.KindLog {
		v.wrong(at+".chat", "conversations are kept; they belong to kind: log")
		return
	}
	for name, got := range map[string]string{"subscribe": ns.Subscribe, "publish": ns.Publish, "history": ns.History, "presence_to": ns.PresenceTo} {
		if name == "presence_to" && got == ns.Subscribe { // left out it is the same, and so would be its mistake
			continue
		}
		if got == "anyone" || got == "user" {
			v.wrong(at+"."+name, "%q is nobody's right in a conversation; it is for its members: write member, token or server", got)
		}
	}
}

// chatKind checks that nothing is said that the other kind alone has.
func (v *validation) chatKind(path string, c Chat) {
	if c.Kind == chatGroup && c.Peers != "" {
		v.wrong(path+".peers", "is about who may write to whom; it belongs to kind: direct")
	}
	if c.Kind != chatDirect {
		return
	}
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"history", c.History != ""}, {"create", c.Create != ""}, {"join", c.Join != ""}, {"members", c.Members != 0}, {"marks", c.Marks != 0},
		{"alerts.most", c.Alerts.Most != 0},
	} {
		if s.set {
			v.wrong(path+"."+s.name, "is about groups; it belongs to kind: group")
		}
	}
}

// DirectChannel is the name of the conversation between two users, whose order does not
// matter: namespace:a:b, the smaller id first (by its bytes), with what must not stand
// in a part of the name as %25, %3A and so on. A name that is longer than a channel's may be
// (255 bytes) is refused where it is used.
func DirectChannel(namespace, a, b string) string { return chat.DirectChannel(namespace, a, b) }
