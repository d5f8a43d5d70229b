package skein_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestUnreadIsRightAfterComingBack goes through every door: whoever comes back finds the
// marks where they were, whatever was said meanwhile.
func TestUnreadIsRightAfterComingBack(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann := s.party("websocket", "ann")
		for door := range doors {
			bob := "bob-" + door
			channel := "dm:ann:" + bob
			p := s.party(door, bob)
			for range 3 {
				ann.say(channel, `"hi"`)
			}
			same(t, "the marks over "+door, members(p.ok(`{"type":"mark","channel":"`+channel+`","read":2}`), "read", "delivered", "unread"), jsonObject(t, `{"read":2,"delivered":2,"unread":1}`))
			p.leave()
			last := ann.say(channel, `"where are you?"`)
			p = s.party(door, bob)
			same(t, "the list over "+door, members(p.ok(`{"type":"conversations"}`), "count", "unread"), jsonObject(t, `{"count":1,"unread":2}`))
			entry := p.entry(channel)
			same(t, "the entry over "+door, members(entry, "seq", "read", "delivered", "unread"), jsonObject(t, `{"seq":4,"read":2,"delivered":2,"unread":2}`))
			// Resumed behind what was read: what is unread comes, and no more.
			p.ok(fmt.Sprintf(`{"type":"sub","channel":%q,"since":{"epoch":%q,"seq":%v}}`, channel, entry["epoch"], entry["read"]))
			for seq := 3; seq <= last; seq++ {
				same(t, "what comes over "+door, p.until("msg", func(f map[string]any) bool { return f["channel"] == channel && f["seq"].(float64) >= 3 })["seq"], float64(seq))
			}
			same(t, "an ack over "+door, members(p.ok(fmt.Sprintf(`{"type":"ack","channel":%q,"seq":%d}`, channel, last)), "delivered"), jsonObject(t, `{"delivered":4}`))
			same(t, "beyond the end over "+door, members(p.ok(`{"type":"mark","channel":"`+channel+`","read":99}`), "read", "delivered", "unread"), jsonObject(t, `{"read":4,"delivered":4,"unread":0}`))
			same(t, "backwards over "+door, members(p.ok(`{"type":"mark","channel":"`+channel+`","read":1}`), "read", "delivered", "unread"), jsonObject(t, `{"read":4,"delivered":4,"unread":0}`))
			p.leave()
			s.verb("chat.mark", `{"channel":"`+channel+`","user":"ann","read":4}`)
			p = s.party(door, bob)
			same(t, "the end over "+door, members(p.ok(`{"type":"conversations"}`), "count", "unread"), jsonObject(t, `{"count":1,"unread":0}`))
			p.leave()
		}
	})
}

func TestReadingOnOneDeviceClearsTheOthers(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		ann, phone := s.party("websocket", "ann"), s.party("websocket", "bob")
		others := []*party{s.party("websocket", "bob"), s.party("sse", "bob"), s.party("poll", "bob")}
		ann.say("dm:ann:bob", `1`)
		s.verb("chat.create", `{"channel":"quiet:1","by":"ann","users":["bob"]}`)
		ann.say("quiet:1", `1`)
		for _, p := range append(others, phone) {
			same(t, "unread at first", p.ok(`{"type":"conversations","live":true}`)["unread"], 2.0)
		}
		for _, channel := range []string{"dm:ann:bob", "quiet:1"} {
			phone.ok(`{"type":"mark","channel":"` + channel + `","read":1}`)
			want := map[string]any{"type": "mark", "channel": channel, "user": "bob", "delivered": 1.0, "read": 1.0}
			for _, p := range others {
				same(t, "what the others are told", p.wait("mark"), want)
			}
			if channel == "dm:ann:bob" { // she is subscribed, because it is a conversation of hers
				same(t, "what ann is told", ann.wait("mark"), want)
			}
		}
		phone.nothing("mark")
		ann.nothing("mark")
		for _, p := range others {
			same(t, "unread at the end", p.ok(`{"type":"conversations"}`)["unread"], 0.0)
		}
	})
}

// TestTwoDevicesMarkAtOnce moves marks up and down from several devices: they only grow, for
// everybody who looks, and end at the greatest.
func TestTwoDevicesMarkAtOnce(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		const messages, moves = 40, 60
		ann, watch := s.party("websocket", "ann"), s.party("websocket", "bob")
		for range messages {
			ann.say("dm:ann:bob", `1`)
		}
		watch.ok(`{"type":"conversations","live":true}`)
		var work sync.WaitGroup
		for device := range 3 {
			p := s.party("websocket", "bob")
			rnd := rand.New(rand.NewPCG(7, uint64(device)))
			work.Go(func() {
				reached := 0.0
				for range moves {
					at := rnd.IntN(messages)
					f := p.ok(fmt.Sprintf(`{"type":"mark","channel":"dm:ann:bob","read":%d}`, at))
					if read := f["read"].(float64); read < max(reached, float64(at)) || read+f["unread"].(float64) != messages {
						t.Errorf("after %d and %v the answer is %v", at, reached, f)
					} else {
						reached = read
					}
				}
			})
		}
		work.Wait()
		most := s.verb("chat.mark", `{"channel":"dm:ann:bob","user":"bob","read":0}`)["read"].(float64)
		for _, p := range []*party{watch, ann} {
			last := 0.0
			p.until("mark", func(f map[string]any) bool {
				read := f["read"].(float64)
				if read < last {
					t.Errorf("%s is told of %v after %v", p.user, read, last)
				}
				last = read
				return read == most
			})
			p.nothing("mark")
		}
	})
}

// TestAcknowledgementsOfManyAreTold has all members of a group acknowledge a message
// at once.
func TestAcknowledgementsOfManyAreTold(t *testing.T) {
	onChats(t, func(t *testing.T, s *testServer) {
		const size = 40
		users := make([]*party, size)
		list := make([]string, size)
		for i := range users {
			list[i] = fmt.Sprintf("m%02d", i)
			users[i] = s.party("websocket", list[i])
		}
		s.verb("chat.create", fmt.Sprintf(`{"channel":"team:1","by":%q,"users":["%s"]}`, list[0], strings.Join(list[1:], `","`)))
		users[0].say("team:1", `"hello"`)
		var work sync.WaitGroup
		for _, p := range users[1:] {
			work.Go(func() {
				p.until("msg", func(f map[string]any) bool { return f["channel"] == "team:1" })
				p.ok(`{"type":"ack","channel":"team:1","seq":1}`)
			})
		}
		work.Wait()
		told := map[any]bool{}
		users[0].until("mark", func(f map[string]any) bool {
			if told[f["user"]] {
				t.Errorf("%v is told twice", f)
			}
			told[f["user"]] = true
			return len(told) == size-1
		})
		users[0].nothing("mark")
	})
}
