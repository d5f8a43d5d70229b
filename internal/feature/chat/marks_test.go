package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMarksGrowAndStayWithinTheConversation(t *testing.T) {
	w := chatWorld(t)
	for range 3 {
		w.speak("dm:ann:bob", "ann")
	}
	c := w.User("bob", "phone")
	for _, tt := range []struct{ name, frame, want string }{
		{"delivered alone", `{"type":"ack","channel":"dm:ann:bob","seq":1}`, `{"delivered":1}`},
		{"what was read was delivered", `{"type":"mark","channel":"dm:ann:bob","read":2}`, `{"read":2,"delivered":2,"unread":1}`},
		{"backwards", `{"type":"mark","channel":"dm:ann:bob","read":1}`, `{"read":2,"delivered":2,"unread":1}`},
		{"nothing", `{"type":"mark","channel":"dm:ann:bob","read":0,"delivered":0}`, `{"read":2,"delivered":2,"unread":1}`},
		{"an ack backwards", `{"type":"ack","channel":"dm:ann:bob","seq":0}`, `{"delivered":2}`},
		{"delivered beyond the newest message", `{"type":"mark","channel":"dm:ann:bob","delivered":99}`, `{"read":2,"delivered":3,"unread":1}`},
		{"read beyond the newest message", `{"type":"mark","channel":"dm:ann:bob","read":9007199254740991}`, `{"read":3,"delivered":3,"unread":0}`},
		{"one that has not begun", `{"type":"mark","channel":"dm:bob:eve","read":7}`, `{"read":0,"delivered":0,"unread":0}`},
		{"an ack of one that has not begun", `{"type":"ack","channel":"dm:bob:eve","seq":7}`, `{"delivered":0}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, pick(c.Do(tt.frame), "read", "delivered", "unread"), tt.want)
		})
	}
	ann := w.User("ann", "pad")
	same(t, pick(ann.Do(`{"type":"mark","channel":"dm:ann:bob","read":0}`), "read", "unread"), `{"read":3,"unread":0}`) // who writes has read
	w.quiet(c, ann)
}

func TestWrongMarksNameTheirMember(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	w.group("team:1", "ann", "bob")
	for _, tt := range []struct {
		user, frame string
		code        fault.Code
		message     string
	}{
		{"bob", `{"type":"mark","channel":"room:7","read":1}`, fault.BadRequest, "channel: room:7 keeps no marks"},
		{"bob", `{"type":"ack","channel":"room:7","seq":1}`, fault.BadRequest, "channel: room:7 keeps no marks"},
		{"bob", `{"type":"mark","channel":"nope:7","read":1}`, fault.NotFound, "namespace"},
		{"bob", `{"type":"mark","read":1}`, fault.BadRequest, "channel: is missing"},
		{"bob", `{"type":"ack","seq":1}`, fault.BadRequest, "channel: is missing"},
		{"bob", `{"type":"mark","channel":"dm:ann:bob"}`, fault.BadRequest, "read: is missing"},
		{"bob", `{"type":"mark","channel":"dm:ann:bob","read":-1}`, fault.BadRequest, "read: -1 is not between 0 and"},
		{"bob", `{"type":"mark","channel":"dm:ann:bob","delivered":"2"}`, fault.BadRequest, "delivered: "},
		{"bob", `{"type":"ack","channel":"dm:ann:bob"}`, fault.BadRequest, "seq: is missing"},
		{"bob", `{"type":"ack","channel":"dm:ann:bob","messages":["x"]}`, fault.BadRequest, "messages: "},
		{"bob", `{"type":"mark","channel":"dm:bob:ann","read":1}`, fault.BadRequest, `"dm:ann:bob"`},
		{"eve", `{"type":"mark","channel":"dm:ann:bob","read":1}`, fault.Denied, "members"},
		{"eve", `{"type":"ack","channel":"team:1","seq":1}`, fault.Denied, "members"},
		{"bob", `{"type":"mark","channel":"team:2","read":1}`, fault.Denied, "members"},
		{"bob", `{"type":"mark","channel":"house:1","read":1}`, fault.Denied, "house:1"},
		{"", `{"type":"mark","channel":"dm:ann:bob","read":1}`, fault.Unauthorized, ""},
		{"", `{"type":"ack","channel":"dm:ann:bob","seq":1}`, fault.Unauthorized, ""},
	} {
		t.Run(tt.user+" "+tt.frame, func(t *testing.T) {
			c := w.User(tt.user, "")
			c.T = t
			c.Send(tt.frame)
			c.ExpectError(tt.code, tt.message)
			w.quiet(c)
		})
	}
	w.fail("roster", 0)
}

func TestMarksAreToldToOtherDevicesAndToThePeer(t *testing.T) {
	w := chatWorld(t)
	w.speak("dm:ann:bob", "ann")
	w.speak("dm:ann:bob", "ann")
	phone, pad, idle := w.follow("bob", "phone"), w.follow("bob", "pad"), w.User("bob", "idle")
	ann, eve := w.follow("ann", "pad"), w.follow("eve", "pad")
	phone.Do(`{"type":"mark","channel":"dm:ann:bob","read":1}`)
	for _, c := range []*sessiontest.Client{pad, ann} {
		same(t, c.Expect("mark"), `{"type":"mark","channel":"dm:ann:bob","user":"bob","delivered":1,"read":1}`)
	}
	phone.Do(`{"type":"mark","channel":"dm:ann:bob","read":1}`) // nothing has moved
	w.quiet(phone, pad, idle, ann, eve)

	if got, _ := w.Run("chat.mark", `{"channel":"dm:ann:bob","user":"bob","delivered":2}`); got != nil {
		same(t, got, `{"read":1,"delivered":2,"unread":1}`)
	}
	for _, c := range []*sessiontest.Client{phone, pad, ann} {
		same(t, c.Expect("mark"), `{"type":"mark","channel":"dm:ann:bob","user":"bob","delivered":2,"read":1}`)
	}
	w.quiet(phone, pad, idle, ann, eve)
}

// subscribe subscribes a client to a channel, without what was said before.
func (w *chatting) subscribe(c *sessiontest.Client, channel string) {
	w.T.Helper()
	if _, err := w.Hub.Subscribe(&c.Conn, channel, w.Hub.Space(namespaceOf(channel)), hub.SubOptions{By: hub.Membership}); err != nil {
		w.T.Fatal(err)
	}
}

func TestMarksAreToldToSubscribersOfSmallConversations(t *testing.T) {
	w := chatWorld(t)
	for _, channel := range []string{"team:1", "big:1"} {
		w.group(channel, "ann", "bob")
		w.speak(channel, "ann")
	}
	ann, bob, other := w.User("ann", ""), w.User("bob", ""), w.follow("bob", "other")
	for _, c := range []*sessiontest.Client{ann, bob} {
		w.subscribe(c, "team:1")
		w.subscribe(c, "big:1")
	}
	w.subscribe(other, "team:1")
	bob.Do(`{"type":"mark","channel":"team:1","read":1}`)
	for _, c := range []*sessiontest.Client{ann, other} { // once, also who follows and is subscribed
		same(t, c.Expect("mark"), `{"type":"mark","channel":"team:1","user":"bob","delivered":1,"read":1}`)
	}
	bob.Do(`{"type":"mark","channel":"big:1","read":1}`) // it has more members than are told
	same(t, other.Expect("mark"), `{"type":"mark","channel":"big:1","user":"bob","delivered":1,"read":1}`)
	w.quiet(ann, bob, other)
}

func TestManyMarksAtOnceAreToldTogetherAndEachOnce(t *testing.T) {
	w := chatWorld(t)
	users := make([]string, 60)
	for i := range users {
		users[i] = fmt.Sprintf("user-%02d", i)
	}
	w.group("team:1", users...)
	w.speak("team:1", users[0])
	clients := make([]*sessiontest.Client, len(users))
	for i, user := range users {
		clients[i] = w.User(user, "")
		w.subscribe(clients[i], "team:1")
	}
	for _, c := range clients[1:] {
		c.Send(`{"type":"ack","channel":"team:1","seq":1}`)
		c.Send(`{"type":"mark","channel":"team:1","read":1}`)
	}
	w.settled()
	for i, c := range clients {
		marks := map[any]float64{} // of each user the last one counts
		for c.Out.Waiting() > 0 {
			f := c.Expect("mark")
			marks[f["user"]] = max(marks[f["user"]], f["read"].(float64))
		}
		for k, user := range users[1:] {
			if want := k+1 != i; want && marks[user] != 1 {
				t.Errorf("%s was told %v of %s", users[i], marks[user], user)
			}
		}
		if _, own := marks[users[i]]; own {
			t.Errorf("%s was told of what it has said itself", users[i])
		}
	}
}

func TestMarksOfOneUserAreJoined(t *testing.T) {
	a, b := new(hub.Conn), new(hub.Conn)
	for _, tt := range []struct {
		name string
		list []moved
		want moved
	}{
		{"one connection's", []moved{{user: "x", delivered: 1, by: a}, {user: "x", delivered: 3, read: 2, by: a, whole: true}}, moved{user: "x", delivered: 3, read: 2, by: a, whole: true}},
		{"the older one is noted last", []moved{{user: "x", delivered: 3, read: 3, by: a, whole: true}, {user: "x", delivered: 2, by: a}}, moved{user: "x", delivered: 3, read: 3, by: a, whole: true}},
		{"the older one is another's, and noted last", []moved{{user: "x", delivered: 3, read: 3, by: a, whole: true}, {user: "x", delivered: 2, read: 2, by: b, whole: true}}, moved{user: "x", delivered: 3, read: 3, by: a, whole: true}},
		{"who has said all of it needs not be told", []moved{{user: "x", delivered: 2, by: a}, {user: "x", delivered: 2, read: 2, by: b, whole: true}}, moved{user: "x", delivered: 2, read: 2, by: b, whole: true}},
		{"who was told a part of it does", []moved{{user: "x", delivered: 2, read: 2, by: b, whole: true}, {user: "x", delivered: 3, read: 2, by: a}}, moved{user: "x", delivered: 3, read: 2}},
		{"each has said a part", []moved{{user: "x", delivered: 3, by: a, whole: true}, {user: "x", delivered: 2, read: 2, by: b, whole: true}}, moved{user: "x", delivered: 3, read: 2}},
		{"own ones give way to others", []moved{{user: "x", delivered: 2, read: 2, own: true}, {user: "x", delivered: 3, read: 2, by: a}}, moved{user: "x", delivered: 3, read: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, others := range []int{0, 2 * manyMarks} {
				var ms movedMarks
				for i := range others {
					ms.add(moved{user: fmt.Sprint(i), read: 1})
				}
				for _, m := range tt.list {
					ms.add(m)
				}
				if i := slices.IndexFunc(ms.list, func(m moved) bool { return m.user == "x" }); len(ms.list) != others+1 || ms.list[i] != tt.want {
					t.Errorf("with %d others: got %+v, want %+v", others, ms.list, tt.want)
				}
			}
		})
	}
}

func TestATokenWithoutTheCapabilityMovesNoMarks(t *testing.T) {
	w := chatWorld(t)
	w.group("toy:1", "ann", "bob")
	w.speak("toy:1", "ann")
	caps, err := auth.ParseCaps(map[string][]string{"toy:1": {"sub"}})
	if err != nil {
		t.Fatal(err)
	}
	able, unable := w.token("bob", caps), w.token("bob", nil)
	same(t, pick(able.Do(`{"type":"mark","channel":"toy:1","read":1}`), "read"), `{"read":1}`)
	unable.Send(`{"type":"mark","channel":"toy:1","read":1}`)
	unable.ExpectError(fault.Denied, "toy:1")
}
