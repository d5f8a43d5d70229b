package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/store"
)

// counted is a memory that counts questions, and can be made to fail.
type counted struct {
	*operator.Memory
	asked int
	err   error
}

func (c *counted) Secret(ctx context.Context, name string) (store.Secret, error) {
	c.asked++
	if c.err != nil {
		return store.Secret{}, c.err
	}
	return c.Memory.Secret(ctx, name)
}

// issue logs somebody in, without a network, and gives the cookie.
func issue(t *testing.T, d *Door) string {
	t.Helper()
	w := attempt(d, "10.0.0.1:1", asAnn)
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return w.Result().Cookies()[0].Value
}

// status is how a request for the session is answered.
func status(d *Door, cookie string) int {
	r := httptest.NewRequest("GET", "/console/session", nil)
	r.Header.Set("Cookie", "skein_console="+cookie)
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Code
}

// logOut logs out.
func logOut(t *testing.T, d *Door, cookie string) {
	t.Helper()
	k, err := d.keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/console/logout", nil)
	r.Header.Set("Cookie", "skein_console="+cookie)
	r.Header.Set(csrfHeader, k.csrfOf(cookie))
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if w.Code != 204 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
}

// Servers that share a store ask it now and then who has logged out, and no oftener.
func TestLogOutsAtOtherServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &counted{Memory: operator.NewMemory()}
		here, _, _ := newDoor(t, st, true, nil)
		there, _, _ := newDoor(t, st, true, nil)
		ann := issue(t, there)
		for range 100 {
			if got := status(here, ann); got != 200 {
				t.Fatalf("got %d", got)
			}
		}
		if st.asked != 1 {
			t.Errorf("the store was asked %d times", st.asked)
		}
		logOut(t, there, ann)
		if got := status(there, ann); got != 401 {
			t.Errorf("where she logged out: %d", got)
		}
		time.Sleep(freshOut - time.Millisecond)
		if got := status(here, ann); got != 200 {
			t.Errorf("before it is asked again: %d", got)
		}
		time.Sleep(time.Millisecond)
		asked := st.asked
		for range 10 {
			if got := status(here, ann); got != 401 {
				t.Errorf("after it: %d", got)
			}
		}
		if st.asked != asked+1 {
			t.Errorf("the store was asked %d times", st.asked-asked)
		}
	})
}

// A server that is alone with its store asks once for each login.
func TestAServerThatIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &counted{Memory: operator.NewMemory()}
		d, _, _ := newDoor(t, st, false, nil)
		ann := issue(t, d)
		for range 50 {
			if got := status(d, ann); got != 200 {
				t.Fatalf("got %d", got)
			}
			time.Sleep(time.Minute)
		}
		if st.asked != 1 {
			t.Errorf("the store was asked %d times", st.asked)
		}
		logOut(t, d, ann)
		if got := status(d, ann); got != 401 || st.asked != 1 {
			t.Errorf("got %d, and %d questions", got, st.asked)
		}
	})
}

// While the store does not answer, whom a server has seen before stays in for a while.
func TestTheStoreIsAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &counted{Memory: operator.NewMemory()}
		d, _, _ := newDoor(t, st, true, nil)
		ann, late := issue(t, d), issue(t, d)
		if got := status(d, ann); got != 200 {
			t.Fatalf("got %d", got)
		}
		st.err = store.ErrUnavailable
		time.Sleep(staleOut - time.Second)
		if got := status(d, ann); got != 200 {
			t.Errorf("for a while: %d", got)
		}
		if got := status(d, late); got != 503 {
			t.Errorf("whom it has not seen: %d", got)
		}
		time.Sleep(time.Second)
		if got := status(d, ann); got != 503 {
			t.Errorf("after it: %d", got)
		}
		if !d.Holds(withCookie(ann)) {
			t.Error("what she follows ends because the store is away")
		}
		st.err = nil
		if got := status(d, ann); got != 200 {
			t.Errorf("when it answers again: %d", got)
		}
	})
}

// The key is asked for again, but not by everybody, when the store did not give it.
func TestTheKeyIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := operator.NewMemory()
		issuer, _, _ := newDoor(t, good, true, nil)
		ann := issue(t, issuer)
		st := &broken{Memory: good, err: store.ErrUnavailable}
		d, _, _ := newDoor(t, st, true, nil)
		for range 20 {
			if got := status(d, ann); got != 503 {
				t.Errorf("got %d", got)
			}
		}
		if st.asked != 1 {
			t.Errorf("the store was asked %d times", st.asked)
		}
		st.err = nil
		time.Sleep(failPause)
		if got := status(d, ann); got != 200 {
			t.Errorf("when it answers: %d", got)
		}
	})
	short := operator.NewMemory()
	if _, err := short.Do(t.Context(), store.PutSecret{Secret: store.Secret{Name: keyName, Value: []byte("short")}}); err != nil {
		t.Fatal(err)
	}
	d, _, _ := newDoor(t, short, true, nil)
	if _, err := d.keys(t.Context()); fault.Of(err) == nil || fault.Of(err).Code != fault.Internal {
		t.Errorf("a key that is too short: %v", err)
	}
}

// broken is a memory whose commands can be made to fail.
type broken struct {
	*operator.Memory
	asked int
	err   error
}

func (b *broken) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	b.asked++
	if b.err != nil {
		return nil, b.err
	}
	return b.Memory.Do(ctx, group...)
}

// What is remembered of logins is bounded.
func TestRememberedLoginsAreBounded(t *testing.T) {
	d, _, _ := newDoor(t, operator.NewMemory(), true, nil)
	for i := range 2 * maxOuts {
		if out, err := d.isOut(t.Context(), strconv.Itoa(i), time.Now().Add(time.Hour)); out || err != nil {
			t.Fatalf("got %v, %v", out, err)
		}
	}
	if n := len(d.outs.m); n != maxOuts {
		t.Errorf("%d logins are remembered", n)
	}
}

func withCookie(cookie string) *http.Request {
	r := httptest.NewRequest("GET", "/api/v1/trace", nil)
	r.Header.Set("Cookie", "skein_console="+cookie)
	return r
}
