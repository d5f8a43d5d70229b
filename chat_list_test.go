package skein_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// gone tells whether a conversation frame says that a membership has ended.
func gone(f map[string]any) bool { return f["gone"] == true }

// TestTheListIsFollowed goes through what somebody hears of conversations that he is not
// subscribed to.
func TestTheListIsFollowed(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann, idle := s.party("websocket", "ann"), s.party("websocket", "bob")
		for door := range doors {
			bob := s.party(door, "bob")
			bob.ok(`{"type":"conversations","live":true}`)
			channel := "quiet:" + door
			s.verb("chat.create", `{"channel":"`+channel+`","by":"ann","users":["bob"],"data":{"title":"One"}}`)
			f := bob.until("conversation", func(f map[string]any) bool { return f["role"] != nil })
			same(t, "a new group over "+door, members(f, "channel", "kind", "role", "seq", "members", "data"), jsonObject(t, `{"channel":"`+channel+`","kind":"group","role":"member","seq":0,"members":2,"data":{"title":"One"}}`))
			seq := ann.say(channel, `"hi"`)
			f = bob.until("conversation", func(f map[string]any) bool { return f["seq"] == float64(seq) })
			same(t, "a message over "+door, []any{f["last"].(map[string]any)["data"], f["last"].(map[string]any)["from"].(map[string]any)["user"], f["members"]}, []any{"hi", "ann", 2.0})
			ann.ok(fmt.Sprintf(`{"type":"edit","channel":%q,"seq":%d,"data":"hello"}`, channel, seq))
			f = bob.until("conversation", func(f map[string]any) bool { return f["last"].(map[string]any)["edited"] == true })
			same(t, "an edit over "+door, f["last"].(map[string]any)["data"], "hello")
			ann.ok(fmt.Sprintf(`{"type":"recall","channel":%q,"seq":%d}`, channel, seq))
			bob.until("conversation", func(f map[string]any) bool { return f["last"].(map[string]any)["recalled"] == true })
			s.verb("chat.role", `{"channel":"`+channel+`","user":"bob","role":"admin"}`)
			bob.until("conversation", func(f map[string]any) bool { return f["role"] == "admin" })
			s.verb("chat.set", `{"channel":"`+channel+`","data":{"title":"Two"}}`)
			bob.until("conversation", func(f map[string]any) bool { return fmt.Sprint(f["data"]) == "map[title:Two]" })
			s.verb("chat.remove", `{"channel":"`+channel+`","users":["bob"]}`)
			same(t, "the end over "+door, bob.until("conversation", gone), jsonObject(t, `{"type":"conversation","channel":"`+channel+`","gone":true,"reason":"removed"}`))
			ann.say(channel, `"not for him"`)
			bob.ok(`{"type":"conversations","live":false}`)
			s.verb("chat.invite", `{"channel":"`+channel+`","users":["bob"]}`)
			ann.say(channel, `"unheard"`)
			bob.nothing("conversation", "msg")
			bob.leave()
		}
		idle.nothing("conversation", "msg")
	})
}

func TestPeersComeAndGoInTheList(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann := s.party("websocket", "ann")
		ann.say("dm:ann:bob", `1`)
		ann.say("dm:ann:eve", `1`)
		s.verb("chat.create", `{"channel":"quiet:1","by":"ann","users":["kim"]}`)
		list := ann.ok(`{"type":"conversations","live":true}`)["conversations"].([]any)
		for _, e := range list {
			if peer, is := e.(map[string]any)["peer"].(map[string]any); is {
				same(t, "at first", peer["online"], false)
			}
		}
		s.party("websocket", "kim") // with whom she has no direct conversation
		bob, again := s.party("websocket", "bob"), s.party("sse", "bob")
		same(t, "bob comes", members(ann.wait("online"), "user", "online"), jsonObject(t, `{"user":"bob","online":true}`))
		bob.leave()
		again.leave()
		same(t, "in the grace time", ann.entry("dm:ann:bob")["peer"].(map[string]any)["online"], true)
		same(t, "bob goes", members(ann.wait("online"), "user", "online"), jsonObject(t, `{"user":"bob","online":false}`))
		same(t, "afterwards", ann.entry("dm:ann:bob")["peer"].(map[string]any)["online"], false)
		ann.nothing("online")
	})
}

// TestALongListComesInPages has somebody with a thousand conversations.
func TestALongListComesInPages(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		const count, writers = 1000, 8
		var work sync.WaitGroup
		for w := range writers {
			work.Go(func() {
				for i := w; i < count; i += writers {
					s.verb("publish", fmt.Sprintf(`{"to":{"channel":"dm:peer-%04d:zoe"},"data":{"n":%d}}`, i, i))
				}
			})
		}
		work.Wait()
		zoe := s.party("websocket", "zoe")
		first := zoe.ok(`{"type":"conversations"}`)
		same(t, "all", []any{first["count"], first["unread"], len(first["conversations"].([]any))}, []any{float64(count), float64(count), 50})
		seen, before := map[any]bool{}, first["conversations"].([]any)[0].(map[string]any)["time"].(float64)
		for after, pages := "", 0; ; pages++ {
			page := zoe.ok(fmt.Sprintf(`{"type":"conversations","limit":200,"after":%q}`, after))
			for _, e := range page["conversations"].([]any) {
				e := e.(map[string]any)
				if at := e["time"].(float64); seen[e["channel"]] || at > before {
					t.Fatalf("%v comes after %v, or twice", e, before)
				} else {
					before = at
				}
				seen[e["channel"]] = true
			}
			next, more := page["next"].(string)
			if !more {
				same(t, "pages", pages+1, count/200)
				break
			}
			after = next
		}
		same(t, "conversations on the pages", len(seen), count)
	})
}

// TestTheListCutsWhatIsLarge bounds a page however much was said.
func TestTheListCutsWhatIsLarge(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		large := `"` + strings.Repeat("x", 30<<10) + `"`
		for i := range 30 {
			s.verb("publish", fmt.Sprintf(`{"to":{"channel":"dm:peer-%02d:zoe"},"data":%s}`, i, large))
		}
		zoe := s.party("websocket", "zoe")
		total := 0
		for after := ""; ; {
			page := zoe.ok(fmt.Sprintf(`{"type":"conversations","after":%q}`, after))
			for _, e := range page["conversations"].([]any) {
				last := e.(map[string]any)["last"].(map[string]any)
				if _, there := last["data"]; there || last["cut"] != true {
					t.Errorf("the last message is %.200v", last)
				}
				total++
			}
			next, more := page["next"].(string)
			if !more {
				break
			}
			after = next
		}
		same(t, "conversations on the pages", total, 30)
	})
}
