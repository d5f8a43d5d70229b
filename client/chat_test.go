package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

// chats is a server with conversations of each kind.
func chats() skein.Config {
	cfg := config()
	cfg.Namespaces["dm"] = skein.Namespace{Kind: client.KindLog, Presence: "members", Chat: skein.Chat{Kind: "direct"}}
	cfg.Namespaces["team"] = skein.Namespace{Kind: client.KindLog, Presence: "members", Chat: skein.Chat{Kind: "group"}}
	cfg.Namespaces["quiet"] = skein.Namespace{Kind: client.KindLog, Chat: skein.Chat{Kind: "group", Follow: new(false), History: "start", Join: "open"}}
	return cfg
}

// person connects a user who follows the list.
func person(t testing.TB, address string, o client.Options) (*client.Client, *client.Conversations) {
	t.Helper()
	c := connect(t, address, o)
	chat := c.Conversations(client.ConversationsOptions{Pause: 20 * time.Millisecond, Silent: true})
	must(t, chat.Follow(soon(t)))
	return c, chat
}

// direct opens the conversation with another user.
func direct(t testing.TB, chat *client.Conversations, user string) *client.Conversation {
	t.Helper()
	v, err := chat.Direct(soon(t), user)
	must(t, err)
	must(t, v.Open(soon(t)))
	return v
}

// send sends a message and wants it to be stored.
func send(t testing.TB, v *client.Conversation, data any, o client.PublishOptions) client.Published {
	t.Helper()
	p, err := v.Send(soon(t), "", data, o)
	must(t, err)
	return p
}

// says gives the messages as text.
func says(v *client.Conversation) []string {
	var out []string
	for _, m := range v.Messages() {
		out = append(out, string(m.Data))
	}
	return out
}

// top gives the first conversation of a list; zero: it is empty.
func top(chat *client.Conversations) client.Entry {
	if list := chat.List(); len(list) > 0 {
		return list[0]
	}
	return client.Entry{}
}

func TestNamesOfDirectConversationsDoNotDependOnWhoAsks(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"ann", "bob", "dm:ann:bob"},
		{"a:b", "c%d", "dm:a%3Ab:c%25d"},
		{"a b", "\x01\x7f", "dm:%01%7F:a%20b"},
		{"é", "z", "dm:z:é"},
		{"\u2003", "\u00a0", "dm:%C2%A0:%E2%80%83"},
		{"\U0001F600", "\uFF5E", "dm:\uFF5E:\U0001F600"},
		{"B", "a", "dm:B:a"},
		{"ab", "a", "dm:a:ab"},
		{"x", "\xff\xfe", "dm:x:%FF%FE"},
	} {
		for _, got := range []string{client.DirectChannel("dm", tt.a, tt.b), client.DirectChannel("dm", tt.b, tt.a)} {
			if got != tt.want || got != skein.DirectChannel("dm", tt.a, tt.b) {
				t.Errorf("%q and %q are %q, want %q", tt.a, tt.b, got, tt.want)
			}
		}
	}
}

func TestWhatTheListShowsHasComeToTheDevice(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, chats())
		_, anns := person(t, s.url(), over(transport, "ann"))
		mine := direct(t, anns, "bob")
		send(t, mine, "while he is away", client.PublishOptions{})
		bobs := connect(t, s.url(), over(transport, "bob")).Conversations(client.ConversationsOptions{})
		must(t, bobs.Follow(soon(t)))
		delivered := func(i int) func() bool {
			return func() bool { return mine.Status(mine.Messages()[i]) == client.MessageDelivered }
		}
		eventually(t, "he has read his list", delivered(0))
		send(t, mine, "while he is there", client.PublishOptions{})
		eventually(t, "he follows it", delivered(1))
		if e := top(bobs); e.Delivered != 2 || e.Unread != 2 {
			t.Fatalf("his entry is %+v", e)
		}
	})
}

func TestTwoUsersTalk(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, chats())
		_, anns := person(t, s.url(), over(transport, "ann"))
		bob, bobs := person(t, s.url(), over(transport, "bob"))
		mine := direct(t, anns, "bob")
		if _, begun := mine.Entry(); begun || len(mine.Messages()) > 0 || mine.Channel() != "dm:ann:bob" {
			t.Fatalf("before it begins %s has %v", mine.Channel(), mine.Messages())
		}
		if p := send(t, mine, "hi", client.PublishOptions{}); p.Seq != 1 || !p.Stored || p.Users != 1 {
			t.Fatalf("published as %+v", p)
		}
		eventually(t, "bob is told", func() bool { return bobs.Unread() == 1 && string(top(bobs).Last.Data) == `"hi"` })
		if p := top(bobs).Peer; p == nil || p.User != "ann" || !p.Online {
			t.Fatalf("the other one is %+v", p)
		}
		status := func(want client.MessageState) func() bool {
			return func() bool { return mine.Status(mine.Messages()[0]) == want }
		}
		if !status(client.MessageSent)() {
			t.Fatal("it is more than sent")
		}
		yours := direct(t, bobs, "ann")
		same(t, "messages", says(yours), []string{`"hi"`})
		eventually(t, "it was delivered", status(client.MessageDelivered))
		yours.Typing(true)
		eventually(t, "ann sees him type", func() bool { return slices.Equal(mine.Typists(), []string{"bob"}) })
		yours.MarkRead(0)
		same(t, "unread", bobs.Unread(), uint64(0)) // at once
		eventually(t, "it was read", status(client.MessageRead))
		send(t, yours, "ho", client.PublishOptions{Reply: 1, Mentions: []string{"ann"}})
		eventually(t, "ann has the answer", func() bool { return len(mine.Messages()) == 2 && anns.Unread() == 1 })
		m := mine.Messages()[1]
		same(t, "the answer", []any{m.Reply, m.Mentions, len(mine.Typists())}, []any{uint64(1), []string{"ann"}, 0})

		_, err := mine.Edit(soon(t), 1, "", "hello")
		must(t, err)
		must(t, yours.Recall(soon(t), 2))
		eventually(t, "both are told", func() bool {
			return mine.Messages()[1].Recalled && yours.Messages()[1].Recalled && yours.Messages()[0].Edited
		})
		same(t, "messages", says(yours), []string{`"hello"`, ""})
		eventually(t, "the list, too", func() bool { return top(anns).Last.Recalled })
		if err := mine.Recall(soon(t), 2); code(err) != client.NotFound && code(err) != client.Denied {
			t.Fatalf("recalled again: %v", err)
		}
		must(t, bob.Close(soon(t)))
		eventually(t, "he has gone", func() bool { return !top(anns).Peer.Online })
	})
}

func TestAGroupHasMembersWithRoles(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, chats())
		_, anns := person(t, s.url(), over(transport, "ann"))
		bob, bobs := person(t, s.url(), over(transport, "bob"))
		cleo, cleos := person(t, s.url(), over(transport, "cleo"))
		ctx := soon(t)
		team, err := anns.Create(ctx, "team:1", client.NewGroup{Users: []string{"bob"}, Data: map[string]string{"title": "Rockets"}})
		must(t, err)
		must(t, team.Open(ctx))
		eventually(t, "bob is told", func() bool {
			return top(bobs).Role == client.RoleMember && strings.Contains(string(top(bobs).Data), "Rockets")
		})
		send(t, team, "before cleo", client.PublishOptions{})
		invited, err := team.Invite(ctx, client.RoleReader, "cleo")
		must(t, err)
		same(t, "invited", invited, client.Invited{Added: []string{"cleo"}, Refused: []string{}, Members: 3})
		eventually(t, "cleo is told", func() bool { return top(cleos).Role == client.RoleReader })
		hers := cleo.Conversation("team:1")
		must(t, hers.Open(ctx))
		if len(hers.Messages()) > 0 || hers.HasOlder() {
			t.Fatalf("she sees %v", says(hers))
		}
		gone := collect(t, hers.OnGone)
		if _, err := hers.Send(ctx, "", "may I?", client.PublishOptions{}); code(err) != client.Denied {
			t.Fatalf("a reader writes: %v", err)
		}
		failed := hers.Messages()[0]
		if failed.State != client.MessageFailed || code(failed.Err) != client.Denied {
			t.Fatalf("it is shown as %+v", failed)
		}
		was, err := team.SetRole(ctx, "cleo", client.RoleMember)
		must(t, err)
		same(t, "role", was, client.RoleReader)
		_, err = hers.Retry(ctx, failed.Key)
		must(t, err)
		eventually(t, "now she may", func() bool { return slices.Contains(says(team), `"may I?"`) })
		_, err = team.Set(ctx, client.GroupChange{Data: "Moon"})
		must(t, err)
		eventually(t, "all see the title", func() bool { return string(top(bobs).Data) == `"Moon"` })
		page, err := hers.Members(ctx, client.PageQuery{Limit: 2})
		must(t, err)
		if page.Count != 3 || len(page.List) != 2 || page.Next == "" || page.List[0].User != "ann" || page.List[0].Role != client.RoleOwner {
			t.Fatalf("the members are %+v", page)
		}
		level, err := hers.SetAlerts(ctx, client.AlertNone)
		must(t, err)
		same(t, "alerts", level, client.AlertDefault)
		eventually(t, "it is in her list", func() bool { return top(cleos).Alerts == client.AlertNone })

		removed, err := team.Remove(ctx, "cleo")
		must(t, err)
		same(t, "removed", removed, client.Removed{Removed: 1, Members: 2})
		gone.first()
		eventually(t, "her list is empty", func() bool { return len(cleos.List()) == 0 && cleos.Count() == 0 })
		left, err := team.Leave(ctx)
		must(t, err)
		same(t, "left", left, client.Removed{Removed: 1, Members: 1, Owner: "bob"})
		eventually(t, "bob owns it", func() bool { return top(bobs).Role == client.RoleOwner })
		n, err := bob.Conversation("team:1").Delete(ctx)
		must(t, err)
		same(t, "members", n, 1)
		eventually(t, "it is gone", func() bool { return len(bobs.List()) == 0 })
	})
}

func TestCountsAreRightOnEachDevice(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, chats())
		_, bobs := person(t, s.url(), over(transport, "bob"))
		_, phone := person(t, s.url(), over(transport, "ann"))
		_, desk := person(t, s.url(), over(transport, "ann"))
		dm := direct(t, bobs, "ann")
		for i := range 3 {
			send(t, dm, i, client.PublishOptions{})
		}
		s.publish(dm.Channel(), "of the server")
		both := func(what string, ok func(*client.Conversations) bool) {
			t.Helper()
			for _, chat := range []*client.Conversations{phone, desk} {
				eventually(t, what, func() bool { return ok(chat) })
			}
		}
		both("four are unread", func(chat *client.Conversations) bool { return chat.Unread() == 4 })
		v := direct(t, phone, "bob")
		v.MarkRead(3)
		both("one is left", func(chat *client.Conversations) bool { return chat.Unread() == 1 && top(chat).Read == 3 })
		send(t, direct(t, desk, "bob"), "me too", client.PublishOptions{})
		both("who writes has read", func(chat *client.Conversations) bool { return chat.Unread() == 0 })
		eventually(t, "bob is told", func() bool { return len(dm.Messages()) == 5 && dm.Status(dm.Messages()[2]) == client.MessageRead })
	})
}

func TestAConversationLosesNothingWhenTheConnectionBreaks(t *testing.T) {
	s := start(t, chats())
	p := throughProxy(t, s.addr)
	_, anns := person(t, p.url(), client.Options{User: "ann"})
	_, bobs := person(t, s.url(), client.Options{User: "bob"})
	mine, yours := direct(t, anns, "bob"), direct(t, bobs, "ann")
	heard := collect(t, mine.OnMessage)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() { send(t, mine, fmt.Sprintf("a%d", i), client.PublishOptions{}) })
		send(t, yours, fmt.Sprintf("b%d", i), client.PublishOptions{})
		if i%7 == 3 {
			p.cut()
		}
	}
	wg.Wait()
	eventually(t, "both have all", func() bool { return len(mine.Messages()) == 80 && len(yours.Messages()) == 80 })
	same(t, "messages", says(mine), says(yours))
	for i, m := range mine.Messages() {
		if m.Seq != uint64(i+1) || m.State != client.MessageSent {
			t.Fatalf("at %d there is %+v", i, m)
		}
	}
	var seqs []uint64
	for _, m := range heard.count(80) {
		seqs = append(seqs, m.Seq)
	}
	if len(seqs) != 80 || !slices.IsSorted(seqs) {
		t.Fatalf("heard %v", seqs)
	}
	mine.MarkRead(0)
	yours.MarkRead(0)
	eventually(t, "all is read", func() bool {
		marks := append(mine.Marks(), yours.Marks()...)
		return anns.Unread() == 0 && len(marks) == 2 && marks[0].Read == 80 && marks[1].Read == 80
	})
}

// What is still read from a connection that is about to end is taken as ever: what one has
// written oneself is no mark of another.
func TestOnesOwnMessagesMakeNoMarksWhenTheConnectionBreaks(t *testing.T) {
	s := start(t, chats())
	_, phone := person(t, s.url(), client.Options{User: "ann"})
	_, desk := person(t, s.url(), client.Options{User: "ann"})
	seen, written := direct(t, phone, "bob"), direct(t, desk, "bob")
	phone.LoseConnection()
	send(t, written, "from the desk", client.PublishOptions{})
	eventually(t, "the phone has it", func() bool { return len(seen.Messages()) == 1 })
	if slices.ContainsFunc(seen.Marks(), func(m client.Mark) bool { return m.User == "ann" }) {
		t.Errorf("marks of others: %+v", seen.Marks())
	}
}

func TestAListIsRightAgainAfterARestart(t *testing.T) {
	s := start(t, chats())
	_, anns := person(t, s.url(), client.Options{User: "ann"})
	_, bobs := person(t, s.url(), client.Options{User: "bob"})
	mine := direct(t, anns, "bob")
	send(t, mine, "before", client.PublishOptions{})
	eventually(t, "bob is told", func() bool { return bobs.Unread() == 1 })
	s.stop()
	sent := make(chan error, 1)
	go func() {
		_, err := mine.Send(context.Background(), "", "meanwhile", client.PublishOptions{})
		sent <- err
	}()
	eventually(t, "it is shown", func() bool { m := mine.Messages(); return len(m) == 2 && m[1].State == client.MessagePending })
	if len(bobs.List()) != 1 {
		t.Fatal("what was shown is gone")
	}
	s.begin()
	must(t, <-sent)
	eventually(t, "bob's list is right", func() bool { return bobs.Unread() == 2 && string(top(bobs).Last.Data) == `"meanwhile"` })
	same(t, "messages", says(mine), []string{`"before"`, `"meanwhile"`})
}

func TestTheListHasPages(t *testing.T) {
	s := start(t, chats())
	for i := range 9 {
		s.verb("chat.create", map[string]any{"channel": fmt.Sprintf("team:%d", i), "users": []string{"ann"}, "by": "boss"})
		// Of two that are as old as each other, any may come first.
		for made := time.Now().UnixMilli(); time.Now().UnixMilli() == made; {
			runtime.Gosched()
		}
	}
	c := connect(t, s.url(), client.Options{User: "ann"})
	chat := c.Conversations(client.ConversationsOptions{Page: 4, Pause: 20 * time.Millisecond})
	changes := collect(t, chat.OnChange)
	must(t, chat.Follow(soon(t)))
	names := func() (list []string) {
		for _, e := range chat.List() {
			list = append(list, strings.TrimPrefix(e.Channel, "team:"))
		}
		return list
	}
	changes.first()
	same(t, "list", names(), []string{"8", "7", "6", "5"})
	if chat.Count() != 9 || !chat.HasMore() {
		t.Fatalf("%d in all, more: %t", chat.Count(), chat.HasMore())
	}
	must(t, chat.More(soon(t)))
	s.publish("team:0", "hello")
	eventually(t, "the oldest is the newest", func() bool { return top(chat).Channel == "team:0" && chat.Unread() == 1 })
	must(t, chat.More(soon(t)))
	same(t, "list", names(), []string{"0", "8", "7", "6", "5", "4", "3", "2", "1"})
	if chat.HasMore() {
		t.Fatal("there are more than all")
	}
	must(t, chat.Unfollow(soon(t)))
	if len(chat.List()) > 0 {
		t.Fatal("a list that is not followed has something")
	}
}

func TestOlderMessagesAreReadOnDemandAndOldOnesForgotten(t *testing.T) {
	s := start(t, chats())
	for i := range 12 {
		s.publish("dm:ann:bob", i)
	}
	c := connect(t, s.url(), client.Options{User: "ann"})
	chat := c.Conversations(client.ConversationsOptions{Messages: 4, Keep: 6})
	v := direct(t, chat, "bob")
	same(t, "messages", says(v), numbers(8, 11))
	more, err := v.Older(soon(t), 0)
	must(t, err)
	same(t, "messages", says(v), numbers(4, 11))
	if !more || !v.HasOlder() {
		t.Fatal("there are no more")
	}
	for i := 12; i < 16; i++ {
		send(t, v, i, client.PublishOptions{})
	}
	eventually(t, "the oldest are forgotten", func() bool { return slices.Equal(says(v), numbers(6, 15)) })
	more, err = v.Older(soon(t), 100)
	must(t, err)
	if more {
		t.Fatal("there are more than all")
	}
	same(t, "messages", says(v), numbers(0, 15))
	must(t, v.Close(soon(t)))
	if len(v.Messages()) > 0 {
		t.Fatal("it is closed, and has messages")
	}
	must(t, v.Open(soon(t)))
	same(t, "messages", says(v), numbers(12, 15))
}

func TestWhereConversationsAreNotFollowedTheirListIsLive(t *testing.T) {
	s := start(t, chats())
	_, anns := person(t, s.url(), client.Options{User: "ann"})
	bob, bobs := person(t, s.url(), client.Options{User: "bob"})
	mine, err := anns.Create(soon(t), "quiet:1", client.NewGroup{})
	must(t, err)
	send(t, mine, "for all to see", client.PublishOptions{})
	yours := bob.Conversation("quiet:1")
	if err := yours.Open(soon(t)); code(err) != client.Denied {
		t.Fatalf("opened by a stranger: %v", err)
	}
	joined, err := yours.Join(soon(t))
	must(t, err)
	same(t, "joined", joined.Added, []string{"bob"})
	must(t, yours.Open(soon(t)))
	same(t, "messages", says(yours), []string{`"for all to see"`})
	must(t, yours.Close(soon(t)))
	send(t, mine, "and more", client.PublishOptions{})
	eventually(t, "the list tells", func() bool { return bobs.Unread() == 1 && string(top(bobs).Last.Data) == `"and more"` })
}

func TestWhoIsBlockedCannotWrite(t *testing.T) {
	s := start(t, chats())
	_, anns := person(t, s.url(), client.Options{User: "ann"})
	_, bobs := person(t, s.url(), client.Options{User: "bob"})
	mine, yours := direct(t, anns, "bob"), direct(t, bobs, "ann")
	send(t, mine, "hi", client.PublishOptions{})
	eventually(t, "it is in the list", func() bool { return len(anns.List()) == 1 })
	for _, want := range []bool{true, false} {
		changed, err := anns.Block(soon(t), "bob", true)
		must(t, err)
		same(t, "changed", changed, want)
	}
	page, err := anns.Blocked(soon(t), client.PageQuery{})
	must(t, err)
	if len(page.List) != 1 || page.List[0].User != "bob" || !top(anns).Peer.Blocked {
		t.Fatalf("blocked are %+v, and the other one is %+v", page, top(anns).Peer)
	}
	_, err = yours.Send(soon(t), "", "why?", client.PublishOptions{})
	if code(err) != client.Denied {
		t.Fatalf("sent all the same: %v", err)
	}
	_, err = anns.Block(soon(t), "bob", false)
	must(t, err)
	all := yours.Messages()
	yours.Discard(all[len(all)-1].Key)
	send(t, yours, "thanks", client.PublishOptions{})
	eventually(t, "he is heard", func() bool { return slices.Equal(says(mine), []string{`"hi"`, `"thanks"`}) })
}

func TestAPlainChannelTellsOfEditsAndMarks(t *testing.T) {
	s := start(t, chats())
	ann, bob := connect(t, s.url(), client.Options{User: "ann"}), connect(t, s.url(), client.Options{User: "bob"})
	_, err := ann.Channel("dm:ann:bob", client.ChannelOptions{}).Publish(soon(t), "", "one", client.PublishOptions{Mentions: []string{"bob"}})
	must(t, err)
	channel := bob.Channel("dm:ann:bob", client.ChannelOptions{Since: &client.Position{}})
	messages, edits, marks := collect(t, channel.OnMessage), collect(t, channel.OnEdit), collect(t, channel.OnMark)
	must(t, channel.Subscribe(soon(t)))
	same(t, "mentions", messages.first().Mentions, []string{"bob"})
	_, err = ann.Conversation("dm:ann:bob").Edit(soon(t), 1, "", "uno")
	must(t, err)
	e := edits.first()
	if string(e.Data) != `"uno"` || !e.Edited || e.Seq != 1 || e.From.User != "ann" || e.At.Before(e.Time) {
		t.Fatalf("edited as %+v", e)
	}
	s.verb("chat.mark", map[string]any{"channel": "dm:ann:bob", "user": "bob", "read": 1})
	same(t, "mark", marks.first(), client.Mark{Channel: "dm:ann:bob", User: "bob", Delivered: 1, Read: 1})
	page, err := channel.History(soon(t), client.HistoryOptions{})
	must(t, err)
	if m := page.Messages[0]; !m.Edited || string(m.Data) != `"uno"` {
		t.Fatalf("the history has %+v", m)
	}
}

func TestNobodyHasNoConversations(t *testing.T) {
	s := start(t, chats())
	c := connect(t, s.url(), client.Options{})
	err := c.Conversations(client.ConversationsOptions{}).Follow(soon(t))
	if code(err) != client.Unauthorized {
		t.Fatalf("the error is %v", err)
	}
}

func TestALoopOverTheChangesOfTheList(t *testing.T) {
	s := start(t, chats())
	_, chat := person(t, s.url(), client.Options{User: "ann"})
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond) // what comes before the loop begins is not told
		defer tick.Stop()
		for range 1000 {
			s.publish("dm:ann:bob", 1)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	var last error
	for change, err := range chat.Changes(ctx) {
		if last = err; err != nil {
			break
		}
		if slices.Equal(change.Channels, []string{"dm:ann:bob"}) && chat.Unread() > 0 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the loop ends with %v", last)
	}
	wg.Wait()
}

func TestEntriesAreReadAsTheServerHasThem(t *testing.T) {
	s := start(t, chats())
	_, chat := person(t, s.url(), client.Options{User: "ann"})
	s.publish("dm:ann:bob", strings.Repeat("x", 2000))
	eventually(t, "it is told", func() bool { return len(chat.List()) == 1 })
	e := top(chat)
	var raw struct{ Conversations []struct{ Epoch string } }
	b, err := json.Marshal(s.verb("conversations", map[string]any{"user": "ann"}))
	must(t, err)
	must(t, json.Unmarshal(b, &raw))
	if !e.Last.Cut || e.Last.Data != nil || e.Last.Channel != e.Channel {
		t.Errorf("the message is %+v", e.Last)
	}
	e.Time, e.Since, e.Last = time.Time{}, time.Time{}, nil
	same(t, "entry", e, client.Entry{
		Channel: "dm:ann:bob", Kind: client.KindDirect, End: client.Position{Epoch: raw.Conversations[0].Epoch, Seq: 1}, Unread: 1,
		Role: client.RoleMember, Members: 2, Alerts: client.AlertDefault, Peer: &client.Peer{User: "bob"},
	})
}
