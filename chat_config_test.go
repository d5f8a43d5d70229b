package skein_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein"
)

func TestConversationsHaveTheDefaultsOfTheirKind(t *testing.T) {
	for _, tc := range []struct {
		name       string
		chat, want skein.Chat
	}{
		{"none", skein.Chat{}, skein.Chat{}},
		{"direct", skein.Chat{Kind: "direct"}, skein.Chat{
			Kind: "direct", Follow: new(true), Peers: "any", Edit: new(skein.Duration(15 * time.Minute)), Recall: new(skein.Duration(24 * time.Hour)),
		}},
		{"group", skein.Chat{Kind: "group"}, skein.Chat{
			Kind: "group", Follow: new(true), History: "join", Create: "user", Join: "admins", Members: 5000, Marks: 100,
			Edit: new(skein.Duration(15 * time.Minute)), Recall: new(skein.Duration(24 * time.Hour)), Alerts: skein.ChatAlerts{Most: 200},
		}},
		{"never stays never", skein.Chat{Kind: "direct", Follow: new(false), Edit: new(skein.Duration(0)), Recall: new(skein.Duration(0)), Peers: "known"}, skein.Chat{
			Kind: "direct", Follow: new(false), Peers: "known", Edit: new(skein.Duration(0)), Recall: new(skein.Duration(0)),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns := skein.Namespace{Kind: "log", Chat: tc.chat}.WithDefaults()
			if diff := cmp.Diff(tc.want, ns.Chat); diff != "" {
				t.Error(diff)
			}
			who := "member"
			if tc.chat.Kind == "" {
				who = "server"
			}
			if diff := cmp.Diff([]string{who, who, who, who}, []string{ns.Subscribe, ns.Publish, ns.History, ns.PresenceTo}); diff != "" {
				t.Error("who may:", diff)
			}
		})
	}
}

func TestTheKindOfConversationsChangesWithARestartOnly(t *testing.T) {
	cfg := skein.Config{Data: t.TempDir(), Namespaces: map[string]skein.Namespace{
		"team": {Kind: "log", Chat: skein.Chat{Kind: "group"}}, "room": {Kind: "log", Subscribe: "user"},
	}}
	s := start(t, cfg)
	next := cfg
	next.Listen = "127.0.0.1:0"
	next.Namespaces = map[string]skein.Namespace{
		"team": {Kind: "log", Chat: skein.Chat{Kind: "direct"}}, "room": {Kind: "log", Chat: skein.Chat{Kind: "group"}},
	}
	_, later, err := s.Reload(next)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"namespaces.room", "namespaces.team"}, later); diff != "" {
		t.Error(diff)
	}
}
