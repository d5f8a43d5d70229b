package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// methods are the methods of a server by the verbs that they are.
var methods = map[string]string{
	"publish": "Publish", "history": "History", "recall": "Recall",
	"subscribe": "Subscribe", "unsubscribe": "Unsubscribe", "channels": "Channels",
	"bind": "Bind", "unbind": "Unbind", "disconnect": "Disconnect", "online": "Online", "connections": "ListConnections",
	"call": "CallClient", "session.get": "Session", "session.set": "SetSession", "session.merge": "MergeSession", "presence": "Presence",
	"members.add": "AddMembers", "members.remove": "RemoveMembers", "members.list": "Members", "members.count": "CountMembers", "members.groups": "Groups",
	"doc.get": "DocGet", "doc.put": "DocPut", "doc.patch": "DocPatch", "doc.history": "DocHistory", "doc.undo": "DocUndo", "doc.delete": "DocDelete",
	"schedules.put": "PutSchedule", "schedules.get": "Schedule", "schedules.list": "Schedules", "schedules.delete": "DeleteSchedule",
	"schedules.run": "RunSchedule", "schedules.pause": "PauseSchedule", "schedules.resume": "ResumeSchedule",
	"tokens.revoke": "RevokeTokens", "users.block": "BlockUser", "users.unblock": "UnblockUser", "users.blocked": "BlockedUsers",
	"users.put": "PutUsers", "users.get": "User", "users.query": "QueryUsers", "users.delete": "DeleteUsers", "push": "Push",
	"inbox.list": "Inbox", "inbox.mark": "MarkInbox", "records": "Records", "explain": "Explain", "categories.put": "PutCategory",
	"categories.list": "Categories", "categories.delete": "DeleteCategory", "categories.mute": "MuteCategory", "campaigns.create": "CreateCampaign", "campaigns.add": "AddToCampaign",
	"campaigns.estimate": "EstimateCampaign", "campaigns.start": "StartCampaign", "campaigns.pause": "PauseCampaign", "campaigns.resume": "ResumeCampaign", "campaigns.cancel": "CancelCampaign",
	"campaigns.recall": "RecallCampaign", "campaigns.get": "Campaign", "campaigns.list": "Campaigns", "campaigns.delete": "DeleteCampaign",
	"chat.create": "CreateGroup", "chat.get": "Conversation", "conversations": "Conversations", "chat.set": "SetGroup", "chat.invite": "Invite", "chat.join": "JoinGroup",
	"chat.leave": "LeaveGroup", "chat.remove": "RemoveFromGroup", "chat.role": "SetRole", "chat.delete": "DeleteGroup", "chat.members": "Roster", "chat.mark": "Mark",
	"chat.edit": "EditMessage", "chat.alerts": "SetAlerts", "chat.block": "BlockPeer", "chat.blocked": "BlockedPeers",
	"audit": "Audit", "info": "Info", "stats": "Stats", "stats.series": "StatsSeries", "problems": "Problems", "settings": "Settings", "hooks.list": "ListHooks", "console.link": "ConsoleLink",
}

// described gives the verbs of the API's description, with the names of their params.
func described(t *testing.T, s *testServer) map[string][]string {
	t.Helper()
	status, _, text := s.request("GET", "/api/v1/openapi.json", "", "Authorization: Bearer dev")
	var doc struct {
		Paths map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct {
						Schema struct{ Properties map[string]any }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || status != 200 || len(doc.Paths) < 10 {
		t.Fatalf("%d %.300s, %v", status, text, err)
	}
	verbs := map[string][]string{}
	for path, item := range doc.Paths {
		name := strings.TrimPrefix(path, "/api/v1/")
		if name == "batch" {
			continue
		}
		names := []string{}
		for field := range item.Post.RequestBody.Content["application/json"].Schema.Properties {
			names = append(names, field)
		}
		slices.Sort(names)
		verbs[name] = names
	}
	return verbs
}

// fields gives the names of a struct's fields in JSON.
func fields(t reflect.Type) []string {
	names := []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && !f.Anonymous && name != "-" && name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Each verb is a method with the params and results that the API describes, and
// no method is left over.
func TestEveryVerbIsAMethod(t *testing.T) {
	s := start(t, grouped(t))
	server := reflect.TypeFor[*skein.Server]()
	verbs := described(t, s)
	for verb := range methods {
		if verbs[verb] == nil {
			t.Errorf("there is no verb %s any more", verb)
		}
	}
	for verb, params := range verbs {
		m, ok := server.MethodByName(methods[verb])
		if !ok {
			t.Errorf("the verb %s has no method", verb)
			continue
		}
		f := m.Type
		if f.NumIn() < 2 || f.NumIn() > 3 || f.In(1) != reflect.TypeFor[context.Context]() || f.NumOut() < 1 || f.Out(f.NumOut()-1) != reflect.TypeFor[error]() {
			t.Errorf("%s is %v", m.Name, f)
			continue
		}
		takes := []string{}
		if f.NumIn() == 3 {
			takes = fields(f.In(2))
		}
		same(t, verb+": params", takes, params)
	}
}

func TestVerbsAsMethods(t *testing.T) {
	cfg := grouped(t)
	s := start(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	ann := s.user("ann")
	added, err := s.AddMembers(ctx, skein.MembersParams{Channel: "club:1", Users: []string{"ann", "bob"}})
	must("members.add", err)
	same(t, "added", []int{added.Count, int(added.Members)}, []int{2, 2})
	ann.expect("subscribed")
	r, err := s.Publish(ctx, skein.PublishParams{To: skein.Targets{{Channel: "club:1"}}, Event: "e", Data: json.RawMessage(`{"n":1}`)})
	must("publish", err)
	if m := ann.expect("msg"); m["id"] != r.ID || r.Seq != 1 || !r.Stored || r.Connections != 1 {
		t.Errorf("got %v for %+v", m, r)
	}
	page, err := s.History(ctx, skein.HistoryParams{Channel: "club:1"})
	must("history", err)
	if len(page.Messages) != 1 || page.Seq != 1 {
		t.Errorf("got %+v", page)
	}
	recalled, err := s.Recall(ctx, skein.RecallParams{Channel: "club:1", Seq: 1})
	must("recall", err)
	if !recalled.Recalled {
		t.Errorf("got %+v", recalled)
	}
	ann.expect("recall")
	online, err := s.Online(ctx, skein.OnlineParams{Users: []string{"ann", "bob"}})
	must("online", err)
	same(t, "online", []bool{online["ann"].Online, online["bob"].Online}, []bool{true, false})
	state, err := s.MergeSession(ctx, skein.SessionDataParams{Connection: ann.ID, Data: json.RawMessage(`{"a":1}`)})
	must("session.merge", err)
	same(t, "session", string(state.Data), `{"a":1}`)
	must("bind", s.Bind(ctx, skein.BindParams{Connection: ann.ID, User: "dora", Device: "tv"}))
	ann.expect("unsubscribed")
	conns, err := s.ListConnections(ctx, skein.ConnectionsParams{User: "dora"})
	must("connections", err)
	same(t, "connections", len(conns.Items), 1)
	must("unbind", s.Unbind(ctx, skein.UnbindParams{Connection: ann.ID}))
	schedule, err := s.PutSchedule(ctx, skein.SchedulePutParams{Name: "tick", Every: "1h", Verb: "publish", Params: json.RawMessage(`{"to":{"channel":"room:1"},"data":1}`)})
	must("schedules.put", err)
	same(t, "schedule", schedule.Name, "tick")
	must("schedules.delete", s.DeleteSchedule(ctx, skein.ScheduleNameParams{Name: "tick"}))
	info, err := s.Info(ctx)
	must("info", err)
	same(t, "version", info.Version, skein.Version)
	stats, err := s.Stats(ctx)
	must("stats", err)
	same(t, "stats", fmt.Sprint(stats.Connections), "1")
	gone, err := s.Disconnect(ctx, skein.DisconnectParams{Connection: ann.ID, Message: "go"})
	must("disconnect", err)
	same(t, "disconnected", gone.Connections, 1)
	ann.goodbye("disconnected", 4004)

	// What goes wrong has a code, and names the field.
	_, err = s.Publish(ctx, skein.PublishParams{To: skein.Targets{{Channel: "nonsense"}}, Data: json.RawMessage(`1`)})
	if !hasCode(err, "bad_request") || !strings.Contains(err.Error(), ".channel: ") {
		t.Errorf("got %v", err)
	}
	if _, err = s.Schedule(ctx, skein.ScheduleNameParams{Name: "none"}); !hasCode(err, "not_found") {
		t.Errorf("got %v", err)
	}
	if _, err = s.Presence(ctx, skein.PresenceParams{Channel: "none:1"}); !hasCode(err, "not_found") {
		t.Errorf("got %v", err)
	}
	late, stop := context.WithTimeout(context.Background(), -time.Second)
	defer stop()
	if err := s.Call(late, "no.verb", struct{}{}, nil); !hasCode(err, "not_found") {
		t.Errorf("got %v", err)
	}
}
