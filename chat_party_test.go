package skein_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// chattingConfig gives conversations with alerts: dm and team, whose members are subscribed,
// and quiet, whose members are not.
func chattingConfig(cfg skein.Config) skein.Config {
	keep := skein.Keep{Count: 10_000}
	alerts := skein.ChatAlerts{Category: "chat", Mentions: "mention"}
	cfg.Limits.FramesPerSecond = -1
	cfg.Online.Grace = skein.Duration(100 * time.Millisecond)
	cfg.Categories["chat"], cfg.Categories["mention"] = skein.Category{}, skein.Category{}
	cfg.Namespaces["dm"] = skein.Namespace{Kind: "log", Keep: keep, Presence: "members", Chat: skein.Chat{Kind: "direct", Alerts: alerts}}
	cfg.Namespaces["team"] = skein.Namespace{Kind: "log", Keep: keep, Chat: skein.Chat{Kind: "group", Alerts: alerts}}
	cfg.Namespaces["quiet"] = skein.Namespace{Kind: "log", Keep: keep, Chat: skein.Chat{Kind: "group", Follow: new(false), Marks: 3}}
	return cfg
}

// onChats tells a story on each kind of store.
func onChats(t *testing.T, story func(t *testing.T, s *testServer)) {
	t.Helper()
	onStores(t, func(t *testing.T, cfg func() skein.Config) { story(t, start(t, chattingConfig(cfg()))) })
}

// party is somebody in conversations, through any door. What comes is kept until it is taken.
type party struct {
	t testing.TB
	wayIn
	user  string
	asked int
	seen  []map[string]any
}

// party opens a connection.
func (s *testServer) party(door, user string) *party {
	s.t.Helper()
	way, err := doors[door](s, "user="+url.QueryEscape(user))
	if err != nil {
		s.t.Fatal(err)
	}
	p := &party{t: s.t, wayIn: way, user: user}
	s.t.Cleanup(p.leave)
	p.ok(`{"type":"ping"}`) // so that it is welcomed
	return p
}

// leave ends the connection; it may be called twice.
func (p *party) leave() {
	if p.wayIn != nil {
		p.wayIn.leave()
		p.wayIn = nil
	}
}

// read takes a frame of the transport.
func (p *party) read() map[string]any {
	p.t.Helper()
	raw, err := p.wayIn.next()
	if err != nil {
		p.t.Fatalf("%s: %v; there was %v", p.user, err, p.seen)
	}
	var f map[string]any
	if err := json.Unmarshal(raw, &f); err != nil {
		p.t.Fatalf("%s got %q: %v", p.user, raw, err)
	}
	return f
}

// ask sends a frame and gives its answer.
func (p *party) ask(frame string) map[string]any {
	p.t.Helper()
	p.asked++
	id := fmt.Sprintf("p%d", p.asked)
	if err := p.send(strings.Replace(frame, "{", `{"id":"`+id+`",`, 1)); err != nil {
		p.t.Fatalf("%s: %s: %v", p.user, frame, err)
	}
	for {
		f := p.read()
		if f["id"] == id && f["type"] != "msg" {
			return f
		}
		p.seen = append(p.seen, f)
	}
}

// ok sends a frame that must succeed.
func (p *party) ok(frame string) map[string]any {
	p.t.Helper()
	f := p.ask(frame)
	if f["type"] != "ok" && f["type"] != "pong" {
		p.t.Fatalf("%s of %s is answered by %v", frame, p.user, f)
	}
	return f
}

// wait takes the first frame of a type that has come, or comes.
func (p *party) wait(frameType string) map[string]any {
	p.t.Helper()
	for {
		if i := slices.IndexFunc(p.seen, func(f map[string]any) bool { return f["type"] == frameType }); i >= 0 {
			f := p.seen[i]
			p.seen = slices.Delete(p.seen, i, i+1)
			return f
		}
		p.seen = append(p.seen, p.read())
	}
}

// until takes frames of a type until one is as it should be, and gives that.
func (p *party) until(frameType string, is func(f map[string]any) bool) map[string]any {
	p.t.Helper()
	for {
		if f := p.wait(frameType); is(f) {
			return f
		}
	}
}

// nothing checks that no frame of some types has come by the time of an answer.
func (p *party) nothing(types ...string) {
	p.t.Helper()
	p.ok(`{"type":"ping"}`)
	for _, f := range p.seen {
		if slices.Contains(types, fmt.Sprint(f["type"])) {
			p.t.Errorf("%s got %v", p.user, f)
		}
	}
}

// say publishes and gives the seq.
func (p *party) say(channel, data string) int {
	p.t.Helper()
	return int(p.ok(`{"type":"pub","channel":"` + channel + `","data":` + data + `}`)["seq"].(float64))
}

// entry is one conversation of the party's list.
func (p *party) entry(channel string) map[string]any {
	p.t.Helper()
	return p.ok(`{"type":"conversation","channel":"` + channel + `"}`)["conversation"].(map[string]any)
}

// members gives some members of an object.
func members(f map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, name := range names {
		if v, there := f[name]; there {
			out[name] = v
		}
	}
	return out
}

// jsonObject reads JSON.
func jsonObject(t testing.TB, text string) map[string]any {
	t.Helper()
	var f map[string]any
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}
