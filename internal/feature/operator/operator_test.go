package operator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func feature(st operator.Store, off bool) (*operator.Feature, *verb.Registry) {
	verbs := verb.NewRegistry(verb.NewMemo(0, 0), 16)
	f := operator.New(operator.Config{Base: func(context.Context) string { return "https://skein.example" }, Off: func() bool { return off }}, verbs)
	f.Start(st)
	return f, verbs
}

// link makes a link and gives its token.
func link(t *testing.T, verbs *verb.Registry, params string) string {
	t.Helper()
	out, err := verbs.Run(t.Context(), "console.link", []byte(params), "")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(out), `{"url":"https://skein.example/console/#link=`)
	if !ok || len(rest) < 43 {
		t.Fatalf("got %s", out)
	}
	return rest[:43]
}

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

// A link is good once, in a store and in memory.
func TestALinkIsTakenOnce(t *testing.T) {
	kept, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	for what, st := range map[string]operator.Store{"sqlite": kept, "memory": operator.NewMemory()} {
		f, verbs := feature(st, false)
		for _, role := range []auth.Role{auth.Viewer, auth.Operator, auth.Admin} {
			token := link(t, verbs, `{"role":"`+role.String()+`"}`)
			other := link(t, verbs, `{"role":"viewer"}`)
			var wg sync.WaitGroup
			roles := make(chan auth.Role, 6)
			for range cap(roles) {
				wg.Go(func() {
					r, err := f.Take(t.Context(), token)
					if (err == nil) != (r != auth.NoRole) || err != nil && code(err) != fault.Unauthorized {
						t.Errorf("%s: got %v, %v", what, r, err)
					}
					roles <- r
				})
			}
			wg.Wait()
			close(roles)
			got := map[auth.Role]int{}
			for r := range roles {
				got[r]++
			}
			if got[role] != 1 || got[auth.NoRole] != 5 {
				t.Errorf("%s: taken as %v, want %v once", what, got, role)
			}
			if r, err := f.Take(t.Context(), other); r != auth.Viewer || err != nil {
				t.Errorf("%s: another link: %v, %v", what, r, err)
			}
		}
		for _, bad := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 44), strings.Repeat("*", 43), strings.Repeat("A", 10_000)} {
			if r, err := f.Take(t.Context(), bad); r != auth.NoRole || code(err) != fault.Unauthorized {
				t.Errorf("%s: %.50q: got %v, %v", what, bad, r, err)
			}
		}
	}
}

// What is kept does not tell the token, and a role that this server does not know is none.
func TestWhatIsKeptOfALink(t *testing.T) {
	seen := &recorder{Memory: operator.NewMemory()}
	f, verbs := feature(seen, false)
	token := link(t, verbs, `{"role":"admin"}`)
	if len(seen.puts) != 1 || strings.Contains(seen.puts[0].Name, token) || string(seen.puts[0].Value) != "admin" || !strings.HasPrefix(seen.puts[0].Name, "console.link.") {
		t.Errorf("got %+v", seen.puts)
	}
	strange := seen.puts[0]
	strange.Value = []byte("emperor")
	if _, err := seen.Do(t.Context(), strange); err != nil {
		t.Fatal(err)
	}
	if r, err := f.Take(t.Context(), token); r != auth.NoRole || code(err) != fault.Unauthorized {
		t.Errorf("got %v, %v", r, err)
	}
}

// recorder notes what is put into a memory.
type recorder struct {
	*operator.Memory
	puts []store.PutSecret
}

func (r *recorder) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	for _, c := range group {
		if p, ok := c.(store.PutSecret); ok {
			r.puts = append(r.puts, p)
		}
	}
	return r.Memory.Do(ctx, group...)
}

func TestALinkHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, verbs := feature(operator.NewMemory(), false)
		for params, lasts := range map[string]time.Duration{`{"role":"admin"}`: 15 * time.Minute, `{"role":"admin","ttl":"2h"}`: 2 * time.Hour, `{"role":"admin","ttl":"1s"}`: time.Second} {
			early, late := link(t, verbs, params), link(t, verbs, params)
			time.Sleep(lasts - time.Millisecond)
			if _, err := f.Take(t.Context(), early); err != nil {
				t.Errorf("%s: in time: %v", params, err)
			}
			time.Sleep(time.Millisecond)
			if _, err := f.Take(t.Context(), late); code(err) != fault.Unauthorized {
				t.Errorf("%s: too late: %v", params, err)
			}
		}
	})
}

func TestLinksThatAreNotMade(t *testing.T) {
	closed, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	f, broken := feature(closed, false)
	_, verbs := feature(operator.NewMemory(), false)
	_, off := feature(operator.NewMemory(), true)
	for what, tt := range map[string]struct {
		verbs  *verb.Registry
		params string
		want   fault.Code
	}{
		"no role":           {verbs, `{}`, fault.BadRequest},
		"no such role":      {verbs, `{"role":"root"}`, fault.BadRequest},
		"no time":           {verbs, `{"role":"admin","ttl":"never"}`, fault.BadRequest},
		"too long":          {verbs, `{"role":"admin","ttl":"24h1s"}`, fault.BadRequest},
		"too short":         {verbs, `{"role":"admin","ttl":"1ms"}`, fault.BadRequest},
		"something else":    {verbs, `{"role":"admin","user":"ann"}`, fault.BadRequest},
		"no console":        {off, `{"role":"admin"}`, fault.NotFound},
		"no store any more": {broken, `{"role":"admin"}`, fault.Unavailable},
	} {
		if _, err := tt.verbs.Run(t.Context(), "console.link", []byte(tt.params), ""); code(err) != tt.want {
			t.Errorf("%s: got %v, want %s", what, err, tt.want)
		}
	}
	if _, err := f.Take(t.Context(), strings.Repeat("A", 43)); code(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

// The memory is bounded, forgets what has expired, and does nothing else.
func TestMemory(t *testing.T) {
	m := operator.NewMemory()
	put := func(name string, expires, now int64, ifAbsent bool) (store.SecretPut, error) {
		r, err := m.Do(t.Context(), store.PutSecret{Secret: store.Secret{Name: name, Value: []byte(fmt.Sprint(now)), Expires: expires}, IfAbsent: ifAbsent, Now: now})
		if err != nil {
			return store.SecretPut{}, err
		}
		return r[0].(store.SecretPut), nil
	}
	for i, tt := range []struct {
		expires, now int64
		ifAbsent     bool
		created      bool
		value        string
	}{
		{10, 1, true, true, "1"}, {20, 2, true, false, "1"}, {30, 3, false, false, "3"}, {40, 29, true, false, "3"}, {0, 30, true, true, "30"}, {50, 1 << 50, true, false, "30"},
	} {
		got, err := put("a", tt.expires, tt.now, tt.ifAbsent)
		if err != nil || got.Created != tt.created || string(got.Secret.Value) != tt.value {
			t.Errorf("step %d: got %+v, %v", i, got, err)
		}
	}
	if s, err := m.Secret(t.Context(), "a"); err != nil || string(s.Value) != "30" {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := m.Secret(t.Context(), "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Do(t.Context(), store.TrimAudit{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	full := 0
	for i := range 20_000 {
		if _, err := put(fmt.Sprint("s", i), 100, 60, false); errors.Is(err, store.ErrUnavailable) {
			full++
		}
	}
	if full != 10_001 {
		t.Errorf("%d secrets did not fit", full)
	}
	if _, err := put("late", 200, 100, false); err != nil {
		t.Errorf("when the others have expired: %v", err)
	}
	if _, err := m.Do(t.Context(), store.TakeSecret{Name: "late", Now: 200}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("taken after its time: %v", err)
	}
}
