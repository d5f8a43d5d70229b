package client_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/skein-realtime/skein/client"
)

// process is a server in a process of its own, which can be killed and started
// again with its data.
type process struct {
	t    testing.TB
	base string
	args []string
	cmd  *exec.Cmd
	said *bytes.Buffer // to be read when it has ended
}

// pushConfig has a category for each rule of the tests.
const pushConfig = `{"categories": {"promo": {"caps": ["1 per 1s"]}, "news": {}, "orders": {"bypass": true}}}`

// serve starts a server in development mode.
func serve(t testing.TB) *process {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "skein.yaml") // JSON is YAML
	must(t, os.WriteFile(config, []byte(pushConfig), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	p := &process{t: t, base: "http://" + addr, args: []string{"serve", "--dev", "--listen", addr, "--data", filepath.Join(dir, "data"), "--config", config}}
	t.Cleanup(p.kill)
	p.begin()
	return p
}

func (p *process) begin() {
	p.t.Helper()
	p.said = &bytes.Buffer{}
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(os.Environ(), commandLine+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	p.cmd.Stderr = p.said
	must(p.t, p.cmd.Start())
	eventually(p.t, "the server answers", func() bool {
		response, err := http.Get(p.base + "/healthz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// kill ends it without giving it any time.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if p.t.Failed() {
		p.t.Logf("the server said:\n%s", p.said)
	}
}

// again kills it and starts it anew.
func (p *process) again() {
	p.t.Helper()
	p.kill()
	p.begin()
}

// verb calls a server verb; it must succeed.
func (p *process) verb(name string, params map[string]any) map[string]any {
	p.t.Helper()
	body, err := json.Marshal(params)
	must(p.t, err)
	request, err := http.NewRequestWithContext(soon(p.t), http.MethodPost, p.base+"/api/v1/"+name, bytes.NewReader(body))
	must(p.t, err)
	request.Header.Set("Authorization", "Bearer dev")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	must(p.t, err)
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	must(p.t, err)
	if response.StatusCode/100 != 2 {
		p.t.Fatalf("%s %s: %s %s", name, body, response.Status, text)
	}
	var out map[string]any
	must(p.t, json.Unmarshal(text, &out))
	return out
}

// push pushes data to a user, with other members besides. It gives the id.
func (p *process) push(user string, data any, more map[string]any) string {
	p.t.Helper()
	params := map[string]any{"to": map[string]any{"users": []string{user}}, "data": data}
	for name, value := range more {
		params[name] = value
	}
	id, _ := p.verb("push", params)["id"].(string)
	return id
}

// device connects a device of a user.
func (p *process) device(user, name string, transport client.Transport) *client.Client {
	p.t.Helper()
	o := over(transport, user)
	o.Device = name
	return connect(p.t, p.base, o)
}

// inbox collects the data of what an inbox hands over.
func inbox(t testing.TB, c *client.Client) *list[string] {
	got := &list[string]{t: t, more: make(chan struct{}, 1)}
	c.Inbox().OnMessage(func(m client.Message) error { got.add(string(m.Data)); return nil })
	return got
}

// history gives the newest messages of an inbox.
func history(t testing.TB, c *client.Client, query client.InboxQuery) client.InboxPage {
	t.Helper()
	page, err := c.Inbox().History(soon(t), query)
	must(t, err)
	return page
}

// delivered waits until the server knows that all was.
func delivered(t testing.TB, c *client.Client) {
	t.Helper()
	eventually(t, "everything is delivered", func() bool {
		return !slices.ContainsFunc(history(t, c, client.InboxQuery{Limit: 500}).Messages, func(m client.InboxMessage) bool {
			return m.Outcome != "delivered"
		})
	})
}

func TestAPushComesToAllDevicesUntilOneHasAcknowledgedIt(t *testing.T) {
	p := serve(t)
	onEach(t, func(t *testing.T, transport client.Transport) {
		user := "ann-" + string(transport)
		phone, desk := p.device(user, "phone", transport), p.device(user, "desk", transport)
		messages := &list[client.Message]{t: t, more: make(chan struct{}, 1)}
		phone.Inbox().OnMessage(func(m client.Message) error { messages.add(m); return nil })
		refusing := &list[uint64]{t: t, more: make(chan struct{}, 1)}
		desk.Inbox().OnMessage(func(m client.Message) error { refusing.add(m.Seq); return fmt.Errorf("the desk acknowledges nothing") })
		id := p.push(user, map[string]int{"no": 17}, map[string]any{"event": "order", "category": "orders", "expires": "2h", "collapse": "order:17"})
		m := messages.first()
		refusing.first()
		if m.Expires.Sub(m.Time).Hours() < 1 {
			t.Errorf("it was sent at %s and ends at %s", m.Time, m.Expires)
		}
		want := client.Message{
			Channel: "@inbox", ID: id, Seq: 1, Event: "order", Data: []byte(`{"no":17}`), Time: m.Time,
			Category: "orders", Expires: m.Expires, Collapse: "order:17",
		}
		same(t, "message", m, want)
		delivered(t, phone)

		got := inbox(t, p.device(user, "tablet", transport))
		p.push(user, "next", nil)
		got.count(1)
		same(t, "messages", got.now(), []string{`"next"`}) // what comes again comes before what is newer
	})
}

func TestWhatWasPushedWhileTheUserWasAwayComesInOrderAndOnce(t *testing.T) {
	p := serve(t)
	onEach(t, func(t *testing.T, transport client.Transport) {
		user := "ann-" + string(transport)
		for i := 1; i <= 150; i++ { // more than are under way at a time
			p.push(user, i, nil)
		}
		c := p.device(user, "phone", transport)
		got := inbox(t, c)
		got.count(100)
		p.push(user, 151, nil)
		same(t, "messages", got.count(151), numbers(1, 151))
		delivered(t, c)
	})
}

func TestAServerThatIsKilledForgetsNeitherPushesNorAcknowledgements(t *testing.T) {
	p := serve(t)
	onEach(t, func(t *testing.T, transport client.Transport) {
		user := "ann-" + string(transport)
		c := p.device(user, "phone", transport)
		got := inbox(t, c)
		p.push(user, 1, nil)
		got.count(1)
		delivered(t, c)
		must(t, c.Close(soon(t)))
		p.push(user, 2, nil)
		p.push(user, 3, nil)
		p.again()
		c = p.device(user, "phone", transport)
		got = inbox(t, c)
		got.count(2)
		p.again() // perhaps before the acknowledgement, perhaps after it
		p.push(user, 4, nil)
		same(t, "messages", got.count(3), numbers(2, 4))
		delivered(t, c)
		same(t, "messages", got.now(), numbers(2, 4))
	})
}

func TestAMarkIsSeenByTheOtherDevice(t *testing.T) {
	p := serve(t)
	phone, desk := p.device("ann", "phone", client.WebSocket), p.device("ann", "desk", client.WebSocket)
	marks := collect(t, desk.Inbox().OnMark)
	for i := 1; i <= 5; i++ {
		p.push("ann", i, nil)
	}
	for _, step := range []struct {
		seq  uint64
		want client.InboxState
	}{
		{2, client.InboxState{Read: 2, Unread: 3}},
		{1, client.InboxState{Read: 2, Unread: 3}},
		{99, client.InboxState{Read: 5}},
	} {
		got, err := phone.Inbox().Read(soon(t), step.seq)
		must(t, err)
		same(t, "state", got, step.want)
	}
	marks.until("the last mark", func(all []client.InboxState) bool {
		return len(all) > 0 && all[len(all)-1] == client.InboxState{Read: 5}
	})
	delivered(t, desk) // what was read is

	p.push("ann", 6, nil)
	for _, q := range []struct {
		query client.InboxQuery
		want  []uint64
	}{
		{client.InboxQuery{}, []uint64{1, 2, 3, 4, 5, 6}},
		{client.InboxQuery{Before: 6, Limit: 2}, []uint64{4, 5}},
		{client.InboxQuery{After: new(uint64(1)), Limit: 2}, []uint64{2, 3}},
		{client.InboxQuery{Unread: true}, []uint64{6}},
	} {
		page := history(t, desk, q.query)
		same(t, "messages", seqs(page), q.want)
		same(t, "state", page.InboxState, client.InboxState{Read: 5, Unread: 1})
		same(t, "end", page.End.Seq, uint64(6))
	}

	tablet := p.device("ann", "tablet", client.WebSocket)
	got := inbox(t, tablet)
	got.count(1)
	state, err := tablet.Inbox().Latest(soon(t), 3, false)
	must(t, err)
	same(t, "state", state, client.InboxState{Read: 5, Unread: 1})
	same(t, "messages", got.count(3), []string{"6", "4", "5"})
}

func TestWhatIsMutedDoesNotComeByItself(t *testing.T) {
	p := serve(t)
	phone, desk := p.device("ann", "phone", client.WebSocket), p.device("ann", "desk", client.WebSocket)
	got := inbox(t, desk)
	muted, err := phone.Inbox().Mute(soon(t), "news", true)
	must(t, err)
	same(t, "muted", muted, []string{"news"})
	p.push("ann", "muted", map[string]any{"category": "news"})
	p.push("ann", "heard", nil)
	got.count(1)
	muted, err = desk.Inbox().Mute(soon(t), "news", false)
	must(t, err)
	same(t, "muted", len(muted), 0)
	p.push("ann", "heard again", map[string]any{"category": "news"})
	same(t, "messages", got.count(2), []string{`"heard"`, `"heard again"`})
	_, err = phone.Inbox().Mute(soon(t), "orders", true)
	same(t, "a category that may not be muted", code(err), client.Denied)
	_, err = phone.Inbox().Mute(soon(t), "nothing", true)
	same(t, "a category that is not there", code(err), client.NotFound)
}

func TestWhatIsOverACapIsHeldAndTold(t *testing.T) {
	p := serve(t)
	for i := 1; i <= 3; i++ { // each might come when it is pushed, but not all of them when the user does
		eventually(t, "the cap allows one", func() bool {
			return p.verb("explain", map[string]any{"user": "ann", "category": "promo"})["deliver"] == true
		})
		p.push("ann", i, map[string]any{"category": "promo"})
	}
	p.push("ann", 4, nil)
	c := newClient(t, p.base, over(client.WebSocket, "ann"))
	got, held := inbox(t, c), collect(t, c.Inbox().OnHeld)
	must(t, c.Connect(soon(t)))
	same(t, "held", held.first(), client.Held{Count: 2, Categories: map[string]int{"promo": 2}})
	same(t, "messages", got.count(2), []string{"3", "4"})
	same(t, "history", seqs(history(t, c, client.InboxQuery{})), []uint64{1, 2, 3, 4})
}

func TestWhatIsWithdrawnOrReplacedIsNotHandedOver(t *testing.T) {
	p := serve(t)
	c := p.device("ann", "phone", client.WebSocket) // nobody listens to messages yet
	recalls := collect(t, c.Inbox().OnRecall)
	outcome := func(seq uint64) string { // "": it is not in the inbox
		for _, m := range history(t, c, client.InboxQuery{}).Messages {
			if m.Seq == seq {
				return m.Outcome
			}
		}
		return ""
	}
	wrong := p.push("ann", "wrong", nil)
	p.push("ann", "on its way", map[string]any{"collapse": "order:1"})
	eventually(t, "both were sent", func() bool { return outcome(1) == "sent" && outcome(2) == "sent" })
	p.verb("recall", map[string]any{"message": wrong})
	same(t, "recall", recalls.first(), client.Recall{Channel: "@inbox", Seq: 1, ID: wrong})
	p.push("ann", "arrived", map[string]any{"collapse": "order:1"})
	eventually(t, "it is replaced", func() bool { return outcome(2) != "sent" })
	got := inbox(t, c)
	got.count(1)
	delivered(t, c)
	same(t, "messages", got.now(), []string{`"arrived"`})
}
