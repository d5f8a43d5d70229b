package demo

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// What the page board.html listens to, besides the presence of a channel of its
// own. The data of their messages are the server's time in milliseconds since
// 1970, the name of a place, and a number that only rises.
const (
	BoardTime  = "tick:board/time"
	BoardPlace = "tick:board/place"
	BoardScore = "tick:board/score"
)

// The score changes with each step; the time with each second, and the place
// with each few seconds of the clock.
const (
	boardEvery = 100 * time.Millisecond
	placeEvery = 4 // seconds
)

// places are those that the board comes by, one after the other.
var places = [...]string{"Lisbon", "Tromsø", "Nairobi", "成都", "Kyoto", "Quito", "Galway", "Tbilisi", "Montréal", "Hobart"}

// Board publishes what the page board.html shows: each value once for all who
// listen to it, and only while listening says of its channel that somebody
// does. Data is JSON and valid until publish returns. It runs on a goroutine of its
// own until stop, which waits for it, and which may be called more than once.
func Board(publish func(channel string, data []byte), listening func(channel string) bool) (stop func()) {
	var score, second, stretch int64
	var data []byte
	return every(boardEvery, func(now time.Time) {
		if listening(BoardScore) {
			score += 1 + rand.Int64N(9)
			data = strconv.AppendInt(data[:0], score, 10)
			publish(BoardScore, data)
		}
		if s := now.Unix(); s != second {
			second = s
			if listening(BoardTime) {
				data = strconv.AppendInt(data[:0], now.UnixMilli(), 10)
				publish(BoardTime, data)
			}
		}
		if s := second / placeEvery; s != stretch {
			stretch = s
			if listening(BoardPlace) {
				data = strconv.AppendQuote(data[:0], places[int(s%int64(len(places)))])
				publish(BoardPlace, data)
			}
		}
	})
}
