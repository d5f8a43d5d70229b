package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein"
)

// guide is docs/gateway.md. What it tells to type is typed here, so that it stays true.
func guide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	console = regexp.MustCompile("(?s)```console\n(.*?)```")
	curl    = regexp.MustCompile(`^\$ curl -s http://127\.0\.0\.1:8000/api/v1/(\S+) -H 'Authorization: Bearer dev' -H 'Content-Type: application/json' -d '(.*)'$`)
	api     = regexp.MustCompile(`^\$ api (\S+) '(.*)'$`)
	inTable = regexp.MustCompile("`([a-z]+(?:\\.[a-z]+)?) (\\{.*?\\})`[ :]")
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

	// varying is text that is another one each time: ids of connections and of messages,
	// epochs, addresses.
	varying = regexp.MustCompile(`^([\w-]{22}|[0-9A-Z]{26}|[a-z0-9]{12}|127\.0\.0\.1:\d+)$`)
)

// house is a server in development mode with the clients that the guide has: ann with
// two connections, bob, and a guest.
type house struct {
	t   *testing.T
	url string
	bob string
}

func newHouse(t *testing.T) house {
	t.Helper()
	s, err := skein.New(skein.Config{Data: t.TempDir()}.WithDev())
	if err != nil {
		t.Fatal(err)
	}
	h := house{t: t, url: mount(t, s)}
	for _, query := range []string{"?user=ann", "?user=ann", "?user=bob", ""} {
		c := open(t, h.url+"/ws"+query)
		if query == "" {
			c.send(`{"type":"connect"}`)
		}
		id := c.expect("welcome", nil)["connection"].(string)
		c.send(`{"type":"sub","id":1,"channel":"event:hall"}`)
		c.expect("ok", nil)
		if query == "?user=bob" {
			h.bob = id
		}
	}
	return h
}

// post calls a verb and gives the status and what it answers.
func (h house) post(verb, body string) (int, any) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.url+"/api/v1/"+verb, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer dev")
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, steady(h.t, string(text))
}

// steady reads JSON and puts the same in place of all that is another one each time.
func steady(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return steadied("", v)
}

func steadied(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			v[k] = steadied(k, member)
		}
	case []any:
		for i := range v {
			v[i] = steadied(key, v[i])
		}
	case string:
		if varying.MatchString(v) {
			return "…"
		}
	case float64:
		if key == "bytes" || v > 1e12 { // a time
			return "…"
		}
	}
	return v
}

func TestWhatTheGuideTypesAnswersWhatTheGuideShows(t *testing.T) {
	h := newHouse(t)
	ran := 0
	for _, block := range console.FindAllStringSubmatch(guide(t), -1) {
		lines := strings.Split(strings.TrimSpace(block[1]), "\n")
		for i := 0; i < len(lines); i += 2 {
			command := api.FindStringSubmatch(lines[i])
			if command == nil {
				command = curl.FindStringSubmatch(lines[i])
			}
			if command == nil || i+1 == len(lines) {
				t.Fatalf("this is not a command with an answer: %s", lines[i])
			}
			_, got := h.post(command[1], strings.ReplaceAll(command[2], `'$BOB'`, h.bob))
			if d := cmp.Diff(steady(t, lines[i+1]), got); d != "" {
				t.Errorf("%s (-guide +server):\n%s", lines[i], d)
			}
			ran++
		}
	}
	if ran < 25 {
		t.Errorf("%d commands were found; there are more", ran)
	}
}

func TestEveryVerbOfTheTablesWorks(t *testing.T) {
	h := newHouse(t)
	_, tables, _ := strings.Cut(guide(t), "\n## Every verb\n")
	tables, _, _ = strings.Cut(tables, "\n## ")
	ran := map[string]int{}
	for line := range strings.Lines(tables) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		for _, cell := range inTable.FindAllStringSubmatch(line, -1) {
			verb, body := cell[1], strings.ReplaceAll(cell[2], `"…"`, fmt.Sprintf("%q", h.bob))
			if status, got := h.post(verb, body); status != http.StatusOK {
				t.Errorf("%s %s: %v", verb, body, got)
			}
			ran[verb]++
		}
	}
	if len(ran) < 20 || ran["publish"] < 9 {
		t.Errorf("these were found, and there are more: %v", ran)
	}
}

// The guide's Go stands in this file, where it has to work.
func TestTheGoOfTheGuideIsWhatIsTestedHere(t *testing.T) {
	text, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(string(text)), " ")
	blocks := goBlock.FindAllStringSubmatch(guide(t), -1)
	for _, block := range blocks {
		if !strings.Contains(squeezed, strings.Join(strings.Fields(block[1]), " ")) {
			t.Errorf("this is in the guide alone:\n%s", block[1])
		}
	}
	if len(blocks) < 2 {
		t.Errorf("%d blocks of Go were found; there are more", len(blocks))
	}
}

func TestOnlyTheNewestLoginStays(t *testing.T) {
	s, err := skein.New(skein.Config{}.WithDev())
	if err != nil {
		t.Fatal(err)
	}
	s.OnOpen(func(ctx context.Context, c *skein.Conn) {
		for _, other := range s.UserConns(c.User()) {
			if other.Since().Before(c.Since()) {
				other.Close("you are playing somewhere else now")
			}
		}
	})
	url := mount(t, s)
	old := open(t, url+"/ws?user=ann")
	since := old.expect("welcome", nil)["time"].(float64)
	for now := since; now <= since; { // a later one: Since counts milliseconds
		old.send(`{"type":"ping"}`)
		old.expect("pong", nil)
		stranger := open(t, url+"/ws?user=bob")
		now = stranger.expect("welcome", nil)["time"].(float64)
	}
	fresh := open(t, url+"/ws?user=ann")
	fresh.expect("welcome", nil)
	if bye := old.expect("bye", nil); bye["message"] != "you are playing somewhere else now" || bye["reconnect"] != false {
		t.Errorf("got %v", bye)
	}

	ctx := t.Context()
	r, err := s.Publish(ctx, skein.PublishParams{To: skein.Targets{{User: "ann"}}, Data: json.RawMessage(`"hi"`)})
	if err != nil || r.Users != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	same(t, "hi", fresh.msg("message")["data"], any("hi"))
}
