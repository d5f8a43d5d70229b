package demo

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheTickerPublishesOnceInFiveSecondsAndOnlyForSomebody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var listening atomic.Bool
		var published, wrong atomic.Int64
		stop := Ticker(func(n int) {
			published.Add(1)
			if n < 1 || n > 100 {
				wrong.Add(1)
			}
		}, listening.Load)
		after := func(d time.Duration) int64 {
			time.Sleep(d) // time that the test makes itself
			synctest.Wait()
			return published.Load()
		}
		if n := after(21 * time.Second); n != 0 {
			t.Fatalf("%d numbers for nobody", n)
		}
		listening.Store(true)
		for i, want := range []int64{0, 1, 1, 2} { // at 23.5 s, 26 s, 28.5 s, 31 s
			if n := after(2500 * time.Millisecond); n != want {
				t.Fatalf("%d numbers at step %d, want %d", n, i, want)
			}
		}
		listening.Store(false)
		if n := after(time.Minute); n != 2 {
			t.Fatalf("%d numbers after everybody had left, want 2", n)
		}
		if n := wrong.Load(); n != 0 {
			t.Errorf("%d numbers are not from 1 to 100", n)
		}
		listening.Store(true)
		stop()
		if n := after(time.Minute); n != 2 {
			t.Errorf("%d numbers after the end, want 2", n)
		}
		stop() // a second time does nothing
	})
}

func TestStopWaitsForANumberThatIsBeingPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := false
		stop := Ticker(func(int) {
			time.Sleep(time.Second)
			finished = true
		}, func() bool { return true })
		time.Sleep(tickerEvery + time.Millisecond)
		synctest.Wait()
		stop()
		if !finished {
			t.Error("stop did not wait")
		}
	})
}

func TestTheTickerPageIsServedUnderBothNames(t *testing.T) {
	for _, path := range []string{"/demo/ticker", "/demo/ticker.html"} {
		w := get(t, path, nil)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), TickerEvent) {
			t.Errorf("%s: status %d, want 200 and the event in it", path, w.Code)
		}
	}
	body := get(t, "/demo/ticker", nil).Body.String()
	for _, want := range []string{`io.connect(location.origin + "/test_conn", { transports: ["websocket"] })`, `"` + TickerChannel + `"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not hold %s", want)
		}
	}
	if !strings.Contains(get(t, "/demo/", nil).Body.String(), `href="ticker.html"`) {
		t.Error("the index does not name the page")
	}
}
