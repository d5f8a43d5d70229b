package demo

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wall is a board with somebody before it, or nobody.
type wall struct {
	mu     sync.Mutex
	looked map[string]bool     // channels that somebody listens to
	said   map[string][]string // by channel
	pause  time.Duration       // that each publish takes
	begun  int                 // publishes
}

func (w *wall) publish(channel string, data []byte) {
	w.mu.Lock()
	w.begun++
	w.mu.Unlock()
	<-time.After(w.pause) // in a bubble of synctest, as all of this
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[channel] = append(w.said[channel], string(data))
}

func (w *wall) listening(channel string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looked[channel]
}

// look sets who listens, lets time pass, and gives what was said meanwhile.
func (w *wall) look(d time.Duration, channels ...string) map[string][]string {
	w.mu.Lock()
	w.looked, w.said = map[string]bool{}, map[string][]string{}
	for _, c := range channels {
		w.looked[c] = true
	}
	w.mu.Unlock()
	<-time.After(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said
}

func TestTheBoardSaysEachValueAtItsOwnPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{}
		begun := time.Now().UnixMilli()
		stop := Board(w.publish, w.listening)
		defer stop()
		said := w.look(40*time.Second+time.Millisecond, BoardTime, BoardPlace, BoardScore)
		for channel, want := range map[string]int{BoardTime: 40, BoardPlace: 10, BoardScore: 400} {
			// The first step comes in a second and a stretch that are new to it.
			if n := len(said[channel]); n != want && n != want+1 {
				t.Errorf("%s: %d messages in 40 s, want %d", channel, n, want)
			}
		}
		last := int64(0)
		for _, text := range said[BoardScore] {
			var score int64
			if err := json.Unmarshal([]byte(text), &score); err != nil || score <= last || score > last+9 {
				t.Fatalf("after the score %d comes %s (%v)", last, text, err)
			}
			last = score
		}
		last = begun
		for i, text := range said[BoardTime] {
			var now int64
			if err := json.Unmarshal([]byte(text), &now); err != nil || now <= last || i > 0 && now/1000 != last/1000+1 {
				t.Fatalf("after the time %d comes %s (%v)", last, text, err)
			}
			last = now
		}
		seen := map[string]bool{}
		for i, text := range said[BoardPlace] {
			var place string
			if err := json.Unmarshal([]byte(text), &place); err != nil || !slices.Contains(places[:], place) {
				t.Fatalf("the place %s (%v)", text, err)
			}
			if i > 0 && said[BoardPlace][i-1] == text {
				t.Errorf("the place %s comes twice in a row", text)
			}
			seen[place] = true
		}
		if len(seen) != len(places) {
			t.Errorf("%d places in one round, want %d", len(seen), len(places))
		}
	})
}

func TestTheBoardSaysOnlyWhatSomebodyListensTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{}
		stop := Board(w.publish, w.listening)
		if said := w.look(20 * time.Second); len(said) != 0 {
			t.Errorf("it says %v to nobody", said)
		}
		for _, channel := range []string{BoardTime, BoardPlace, BoardScore} {
			if said := w.look(10*time.Second, channel); len(said) != 1 || len(said[channel]) == 0 {
				t.Errorf("with somebody in %s alone it says %v", channel, said)
			}
		}
		if said := w.look(20 * time.Second); len(said) != 0 {
			t.Errorf("it says %v after everybody has left", said)
		}
		stop()
		if said := w.look(20*time.Second, BoardTime, BoardPlace, BoardScore); len(said) != 0 {
			t.Errorf("it says %v after the end", said)
		}
		stop() // a second time does nothing
	})
}

func TestTheBoardWaitsForAValueThatIsBeingPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{pause: time.Second}
		stop := Board(w.publish, w.listening)
		w.look(boardEvery+time.Millisecond, BoardScore)
		stop()
		if n := len(w.said[BoardScore]); n == 0 || n != w.begun {
			t.Errorf("%d of %d scores were published when it had stopped", n, w.begun)
		}
	})
}

func TestTheBoardListensToWhatTheServerSays(t *testing.T) {
	for _, path := range []string{"/demo/board", "/demo/board.html"} {
		w := get(t, path, nil)
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d, want 200", path, w.Code)
		}
		for _, channel := range []string{BoardTime, BoardPlace, BoardScore} {
			if !strings.Contains(w.Body.String(), `"`+channel+`"`) {
				t.Errorf("%s does not listen to %s", path, channel)
			}
		}
	}
	if n := strings.Count(get(t, "/demo/board", nil).Body.String(), "new WebSocket("); n != 1 {
		t.Errorf("the board opens a WebSocket in %d places, want 1", n)
	}
}
