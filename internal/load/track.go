package load

// window is how many of the latest numbers a track remembers one by one.
const window = 64

// track follows the messages of one publisher at one subscriber. The zero value
// expects number 0 first.
type track struct {
	next       uint64 // one past the highest number that came
	seen       uint64 // bit i: number next-1-i came
	received   uint64 // different numbers that came
	duplicates uint32
	disorders  uint32 // came after a higher number
}

// take counts a message. A number that is too old to be remembered counts as
// out of order and as received: it cannot be told from a duplicate any more,
// and more than was sent shows up in the sum.
func (t *track) take(number uint64) {
	if number >= t.next {
		if shift := number + 1 - t.next; shift < window {
			t.seen = t.seen<<shift | 1
		} else {
			t.seen = 1
		}
		t.next = number + 1
		t.received++
		return
	}
	back := t.next - 1 - number
	if back < window {
		if t.seen>>back&1 == 1 {
			t.duplicates++
			return
		}
		t.seen |= 1 << back
	}
	t.received++
	t.disorders++
}

// missing is how many of the first sent messages did not come.
func (t *track) missing(sent uint64) int64 { return int64(sent) - int64(t.received) }
