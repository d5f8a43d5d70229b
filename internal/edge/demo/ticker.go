package demo

import (
	"math/rand/v2"
	"sync"
	"time"
)

// What the page ticker.html listens to. Its server publishes a message
// {"data": n} with this event in this channel, which is mapped to the Socket.IO
// namespace of the same name: /test_conn.
const (
	TickerChannel = "tick:test_conn"
	TickerEvent   = "server_response"
)

const tickerEvery = 5 * time.Second

// Ticker calls publish with a number from 1 to 100 every five seconds, once for
// all who listen and only while listening says that somebody does. It runs on a
// goroutine of its own until stop, which waits for it, and which may be called
// more than once.
func Ticker(publish func(n int), listening func() bool) (stop func()) {
	return every(tickerEvery, func(time.Time) {
		if listening() {
			publish(1 + rand.IntN(100))
		}
	})
}

// every calls do at times, on a goroutine of its own. Stop ends it, waits for
// it, and may be called more than once.
func every(interval time.Duration, do func(now time.Time)) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				do(now)
			}
		}
	})
	var once sync.Once
	return func() {
		once.Do(func() { close(done) })
		running.Wait()
	}
}
