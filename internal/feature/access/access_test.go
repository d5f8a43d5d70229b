package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestABlockEndsConnectionsAndKeepsTheUserOut(t *testing.T) {
	st := open(t)
	n := start(t, st, false)
	phone, desk, other := n.User("ann", "phone"), n.signed(auth.Identity{User: "ann", Device: "desk"}, time.Now()), n.User("bob", "")
	guest := n.Open(session.Opening{})
	guest.Send(`{"type":"connect"}`)
	guest.Expect("welcome")
	if diff := cmp.Diff(map[string]any{"connections": 2.0, "was": false}, n.must("users.block", `{"user":"ann","reason":"be nice"}`)); diff != "" {
		t.Error(diff)
	}
	for _, c := range []*sessiontest.Client{phone, desk} {
		expectBye(c, protocol.CloseDisconnected, "be nice")
	}
	lives(other)

	// Neither a token lets her in, nor the query, nor the server, nor a restart.
	for _, again := range []*node{n, start(t, st, false)} {
		for _, o := range []session.Opening{{User: "ann"}, {Token: n.Token(auth.Identity{User: "ann"}, time.Now().Add(time.Second))}} {
			expectBye(again.Open(o), protocol.CloseTokenRefused, "be nice")
		}
		c := again.Open(session.Opening{})
		c.Send(`{"type":"connect","id":1,"token":"` + n.Token(auth.Identity{User: "ann"}, time.Now()) + `"}`)
		if f := c.Expect("error"); f["code"] != "unauthorized" || f["message"] != "be nice" {
			t.Errorf("got %v", f)
		}
		expectBye(c, protocol.CloseTokenRefused, "be nice")
	}
	err := guest.Rebind(t.Context(), auth.Identity{User: "ann"})
	if fault.Of(err) == nil || fault.Of(err).Code != fault.Unauthorized {
		t.Errorf("bind gave %v", err)
	}
	lives(guest)

	if diff := cmp.Diff(map[string]any{"connections": 0.0, "was": true}, n.must("users.block", `{"user":"ann"}`)); diff != "" {
		t.Error(diff)
	}
	expectBye(n.Open(session.Opening{User: "ann"}), protocol.CloseTokenRefused, "blocked")
	for _, was := range []bool{true, false} {
		if diff := cmp.Diff(map[string]any{"was": was}, n.must("users.unblock", `{"user":"ann"}`)); diff != "" {
			t.Error(diff)
		}
		lives(n.User("ann", ""))
	}
	lives(start(t, st, false).User("ann", ""))
	if got := n.Metrics().Cut.Load(); got != 2 {
		t.Errorf("%d were cut by the metric", got)
	}
	if got := n.Metrics().Refused.Load(); got != 5 {
		t.Errorf("%d were refused by the metric", got)
	}
}

func TestARefreshWithARevokedTokenIsRefused(t *testing.T) {
	n := start(t, open(t), false)
	now := time.Now()
	old := n.Token(auth.Identity{User: "ann", Device: "phone"}, now.Add(-time.Hour))
	c := n.User("ann", "desk") // a connection without a token
	n.must("tokens.revoke", `{"user":"ann","device":"phone"}`)
	c.Send(`{"type":"refresh","id":1,"token":"` + old + `"}`)
	if f := c.Expect("error"); f["code"] != "unauthorized" || f["message"] != "the token has been revoked" {
		t.Errorf("got %v", f)
	}
	c.Send(`{"type":"refresh","id":2,"token":"` + n.Token(auth.Identity{User: "ann", Device: "phone"}, now.Add(time.Second)) + `"}`)
	c.Expect("ok")
	lives(c)
}

func TestRevokingTokens(t *testing.T) {
	now := time.Now()
	hour := now.Add(-time.Hour)
	ms := func(at time.Time) int64 { return at.UnixMilli() }
	type who struct {
		identity auth.Identity
		issued   time.Time
		cut      bool
	}
	ann := func(device, token string) auth.Identity {
		return auth.Identity{User: "ann", Device: device, Token: token}
	}
	tests := []struct {
		name, params string
		live         []who
	}{
		{"all of a user up to now", `{"user":"ann"}`, []who{
			{ann("", ""), hour, true}, {ann("phone", "t1"), now, true}, {auth.Identity{User: "bob"}, hour, false},
		}},
		{"all of a user up to a time", fmt.Sprintf(`{"user":"ann","before":%d}`, ms(hour)), []who{
			{ann("", "a"), hour, true}, {ann("", "b"), hour.Add(-time.Minute), true}, {ann("", "c"), hour.Add(time.Second), false},
		}},
		{"those of a device", `{"user":"ann","device":"phone"}`, []who{
			{ann("phone", ""), hour, true}, {ann("desk", ""), hour, false}, {ann("", ""), hour, false},
		}},
		{"one token", `{"token":"t1"}`, []who{
			{ann("phone", "t1"), hour, true}, {ann("phone", "t2"), hour, false}, {ann("phone", ""), hour, false}, {auth.Identity{User: "bob", Token: "t1"}, hour, true},
		}},
		{"one token of a user", `{"token":"t1","user":"ann"}`, []who{
			{ann("phone", "t1"), hour, true}, {ann("phone", "t2"), hour, false}, {auth.Identity{User: "bob", Token: "t1"}, hour, false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, open(t), false)
			var clients []*sessiontest.Client
			cut := 0.0
			for _, w := range tt.live {
				clients = append(clients, n.signed(w.identity, w.issued))
				if w.cut {
					cut++
				}
			}
			bound := n.User("ann", "phone") // has no token
			if diff := cmp.Diff(map[string]any{"connections": cut}, n.must("tokens.revoke", tt.params)); diff != "" {
				t.Error(diff)
			}
			for i, w := range tt.live {
				if !w.cut {
					lives(clients[i])
					lives(n.signed(w.identity, w.issued))
					continue
				}
				bye := expectBye(clients[i], protocol.CloseTokenExpired, "the token has been revoked")
				if after, _ := bye["after"].(float64); after < 1000 {
					t.Errorf("it may come back after %v ms, when a new token may have the same second", bye["after"])
				}
				expectBye(n.Open(session.Opening{Token: n.Token(w.identity, w.issued)}), protocol.CloseTokenRefused, "the token has been revoked")
			}
			lives(bound)
			lives(n.signed(ann("phone", "new"), now.Add(2*time.Second)))
		})
	}
}

func TestATokenThatDoesNotSayWhenItWasMadeCountsAsOld(t *testing.T) {
	n := start(t, open(t), false)
	hour := time.Now().Add(-time.Hour).UnixMilli()
	n.must("tokens.revoke", fmt.Sprintf(`{"user":"ann","before":%d}`, hour))
	for _, tt := range []struct {
		issued auth.Time
		denied bool
	}{{0, false}, {auth.LongAgo, true}, {auth.Time(hour), true}, {auth.Time(hour + 1), false}} {
		if err := n.Admit(auth.Identity{User: "ann", Issued: tt.issued}); (err != nil) != tt.denied {
			t.Errorf("issued at %d: %v", tt.issued, err)
		}
	}
}

// Who says an earlier time later takes nothing back.
func TestWhatWasRevokedStaysSo(t *testing.T) {
	n := start(t, open(t), false)
	now := time.Now()
	token := n.Token(auth.Identity{User: "ann"}, now.Add(-time.Minute))
	n.must("tokens.revoke", `{"user":"ann"}`)
	n.must("tokens.revoke", fmt.Sprintf(`{"user":"ann","before":%d,"until":%d}`, now.Add(-time.Hour).UnixMilli(), now.Add(time.Minute).UnixMilli()))
	expectBye(n.Open(session.Opening{Token: token}), protocol.CloseTokenRefused, "the token has been revoked")
}

func TestABlockEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t)
		n := start(t, st, false)
		n.must("users.block", `{"user":"ann","for":"90m"}`)
		n.must("users.block", fmt.Sprintf(`{"user":"bob","until":%d}`, time.Now().Add(2*time.Hour).UnixMilli()))
		n.must("users.block", `{"user":"eve"}`)
		n.must("tokens.revoke", `{"token":"t1"}`)
		list, err := st.Denials(t.Context(), 0, 10)
		if days := list[len(list)-1].Expires - time.Now().UnixMilli(); err != nil || days != 30*24*3600*1000 {
			t.Errorf("it is remembered for %d ms (%v), want 30 days", days, err)
		}
		n.must("tokens.revoke", fmt.Sprintf(`{"token":"t2","until":%d}`, time.Now().Add(2*time.Hour).UnixMilli()))
		out := func(want ...bool) {
			t.Helper()
			for i, id := range []auth.Identity{{User: "ann"}, {User: "bob"}, {User: "eve"}, {User: "joe", Token: "t2", Issued: 1}} {
				if got := n.Admit(id) != nil; got != want[i] {
					t.Errorf("%+v is kept out: %v", id, got)
				}
			}
		}
		out(true, true, true, true)
		time.Sleep(90*time.Minute - time.Millisecond)
		out(true, true, true, true)
		time.Sleep(time.Millisecond)
		out(false, true, true, true)
		lives(n.User("ann", ""))
		time.Sleep(time.Hour)
		out(false, false, true, false)
		if got := n.Denials(); got != 2 {
			t.Errorf("%d denials are in memory, want those of eve and t1", got)
		}
		if n.must("users.block", `{"user":"ann"}`)["was"] != false {
			t.Error("a block that has ended counts still")
		}
		n.must("users.unblock", `{"user":"ann"}`)
		n.must("users.unblock", `{"user":"eve"}`)
		out(false, false, false, false)
		time.Sleep(3 * time.Minute)
		if got := n.Denials(); got != 1 {
			t.Errorf("%d denials are in memory, want 1", got)
		}
	})
}

func TestWhoIsBlockedCanBeAsked(t *testing.T) {
	n := start(t, open(t), false)
	now := time.Now().UnixMilli()
	until := now + time.Hour.Milliseconds()
	for i := range 5 {
		n.must("users.block", fmt.Sprintf(`{"user":"u%d","reason":"r%d","until":%d}`, i, i, until))
	}
	n.must("users.block", `{"user":"u9"}`)
	n.must("users.unblock", `{"user":"u3"}`)
	n.must("tokens.revoke", `{"user":"u4","device":"d"}`)
	n.must("tokens.revoke", `{"user":"x"}`)
	item := func(m map[string]any, more map[string]any) map[string]any {
		t.Helper()
		if since, _ := m["since"].(float64); int64(since) < now || int64(since) > now+60_000 {
			t.Errorf("since is %v", m["since"])
		}
		delete(m, "since")
		return more
	}
	var users []string
	after := ""
	for _, size := range []int{2, 2, 1} {
		page := n.must("users.blocked", fmt.Sprintf(`{"limit":2,"after":%q}`, after))
		items := page["items"].([]any)
		if len(items) != size {
			t.Fatalf("got %v", page)
		}
		for _, i := range items {
			m := i.(map[string]any)
			users = append(users, m["user"].(string))
			want := item(m, map[string]any{"user": m["user"], "reason": "r" + m["user"].(string)[1:], "until": float64(until)})
			if m["user"] == "u9" {
				want = map[string]any{"user": "u9"}
			}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Error(diff)
			}
		}
		after, _ = page["next"].(string)
	}
	if diff := cmp.Diff([]string{"u0", "u1", "u2", "u4", "u9"}, users); diff != "" || after != "" {
		t.Error(diff, after)
	}
	got := n.must("users.blocked", `{"users":["u0","u3","x",""]}`)
	item(got["users"].(map[string]any)["u0"].(map[string]any), nil)
	no := map[string]any{"blocked": false}
	want := map[string]any{"users": map[string]any{"u0": map[string]any{"blocked": true, "reason": "r0", "until": float64(until)}, "u3": no, "x": no, "": no}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"items": []any{}}, n.must("users.blocked", `{"after":"u9"}`)); diff != "" {
		t.Error(diff)
	}
	// Among very many the first are found.
	for i := range 3000 {
		n.must("users.block", fmt.Sprintf(`{"user":"m%04d"}`, (i*7)%3000))
	}
	page := n.must("users.blocked", `{"limit":3}`)
	if page["next"] != "m0002" {
		t.Errorf("got %v", page)
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	n := start(t, open(t), false)
	past := time.Now().Add(-time.Second).UnixMilli()
	tests := []struct{ name, params, want string }{
		{"users.block", `{}`, "bad_request: user: is missing"},
		{"users.block", `{"user":"a\u0000"}`, "bad_request: user: no control characters are allowed"},
		{"users.block", `{"user":"a","reason":"` + strings.Repeat("x", 1025) + `"}`, "bad_request: reason: has 1025 bytes; at most 1024 are allowed"},
		{"users.block", `{"user":"a","until":1700000000}`, "bad_request: until: 1700000000 is not a time in milliseconds since 1970"},
		{"users.block", `{"user":"a","until":-1}`, "bad_request: until: -1 is not a time"},
		{"users.block", `{"user":"a","until":1700000000000000}`, "bad_request: until: 1700000000000000 is not a time"},
		{"users.block", fmt.Sprintf(`{"user":"a","until":%d}`, past), fmt.Sprintf("bad_request: until: %d has passed", past)},
		{"users.block", `{"user":"a","for":"1 day"}`, `bad_request: for: "1 day" is not a length of time`},
		{"users.block", `{"user":"a","for":"-1h"}`, "bad_request: for:"},
		{"users.block", `{"user":"a","for":"1h","until":4102444800000}`, "bad_request: for: give either until or for"},
		{"users.block", `{"user":"a","untill":1}`, "bad_request: untill: is not a field of this verb"},
		{"users.unblock", `{}`, "bad_request: user: is missing"},
		{"users.blocked", `{"limit":1001}`, "bad_request: limit: 1001 is not between 1 and 1000"},
		{"users.blocked", `{"limit":-1}`, "bad_request: limit: -1 is not between 1 and 1000"},
		{"users.blocked", `{"users":["a"],"after":"b"}`, "bad_request: after: is not for users that are named"},
		{"users.blocked", `{"users":["` + strings.Repeat(`","`, 10_000) + `"]}`, "bad_request: users: at most 10000"},
		{"tokens.revoke", `{}`, "bad_request: user: is missing; name a user or a token"},
		{"tokens.revoke", `{"device":"d","token":"t"}`, "bad_request: device: needs a user"},
		{"tokens.revoke", `{"user":"` + strings.Repeat("u", 257) + `"}`, "bad_request: user: has 257 bytes"},
		{"tokens.revoke", `{"user":"u","device":"` + strings.Repeat("d", 129) + `"}`, "bad_request: device: has 129 bytes"},
		{"tokens.revoke", `{"token":"` + strings.Repeat("t", 129) + `"}`, "bad_request: token: has 129 bytes; at most 128 are allowed (it is the token's id"},
		{"tokens.revoke", `{"token":"t","before":1700000000000}`, "bad_request: before: is not for a token"},
		{"tokens.revoke", `{"user":"u","before":1700000000}`, "bad_request: before: 1700000000 is not a time in milliseconds"},
		{"tokens.revoke", `{"user":"u","before":4102444800000}`, "bad_request: before: 4102444800000 is in the future"},
		{"tokens.revoke", `{"user":"u","until":1700000000}`, "bad_request: until: 1700000000 is not a time in milliseconds"},
		{"tokens.revoke", fmt.Sprintf(`{"user":"u","until":%d}`, past), "bad_request: until:"},
	}
	for _, tt := range tests {
		if _, got := n.Run(tt.name, tt.params); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s %.80s gave %q, want %q", tt.name, tt.params, got, tt.want)
		}
	}
	if got := n.Denials(); got != 0 {
		t.Errorf("%d denials came of it", got)
	}
}

func TestWithoutAStoreNobodyIsKeptOut(t *testing.T) {
	n := idle(t)
	check := func(why string) {
		t.Helper()
		for name, params := range map[string]string{"users.block": `{"user":"u"}`, "users.unblock": `{"user":"u"}`, "users.blocked": `{}`, "tokens.revoke": `{"user":"u"}`} {
			if _, got := n.Run(name, params); got != "unavailable: "+strings.ReplaceAll(why, "VERB", name) {
				t.Errorf("%s gave %q", name, got)
			}
		}
	}
	check("VERB needs a store: set data or database")
	n.Saw("ann", "", time.Now())
	if seen, err := n.LastSeen(t.Context(), []string{"ann"}); err != nil || len(seen) != 1 || seen[0] != (store.Seen{User: "ann"}) {
		t.Errorf("got %v, %v", seen, err)
	}
	lives(n.User("ann", ""))
	n.Close()
	check("the server is shutting down")
	if err := n.Start(t.Context(), open(t), false); err != nil {
		t.Error(err)
	}
	check("the server is shutting down")
}

func TestAStoreThatCannotBeReadStopsTheStart(t *testing.T) {
	st := open(t)
	n := idle(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Start(ctx, st, false); err == nil {
		t.Error("it starts without having read anything")
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context(), st, false); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestVerbsSayThatTheStoreIsAway(t *testing.T) {
	st := open(t)
	n := start(t, st, false)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for name, params := range map[string]string{"users.block": `{"user":"u"}`, "users.unblock": `{"user":"u"}`, "tokens.revoke": `{"user":"u"}`} {
		if _, got := n.Run(name, params); !strings.HasPrefix(got, "unavailable:") {
			t.Errorf("%s gave %q", name, got)
		}
	}
	if _, err := n.LastSeen(t.Context(), []string{"u"}); fault.Of(err) == nil || fault.Of(err).Code != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	lives(n.User("u", "")) // what was not stored does not count
}
