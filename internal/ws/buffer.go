package ws

import (
	"math/bits"
	"sync"
)

// buffer is a byte slice that goes back to a pool. The pointer is kept next to
// the bytes so that giving it back allocates nothing.
type buffer struct{ b []byte }

// The pools hold buffers of 512 B, 1 KiB, and so on up to 1 MiB; larger ones are
// left to the garbage collector. Pools are the one thing here that is shared by
// the whole process: they hold no state that anybody could observe.
const (
	smallestBits = 9
	largestBits  = 20
)

var pools [largestBits - smallestBits + 1]sync.Pool

// class is the index of the smallest pool whose buffers hold n bytes. It may be
// past the last pool.
func class(n int) int {
	if n <= 1<<smallestBits {
		return 0
	}
	return bits.Len(uint(n-1)) - smallestBits
}

// newBuffer gives an empty buffer for at least n bytes.
func newBuffer(n int) *buffer {
	c := class(n)
	if c >= len(pools) {
		return &buffer{b: make([]byte, 0, n)}
	}
	if v := pools[c].Get(); v != nil {
		return v.(*buffer)
	}
	return &buffer{b: make([]byte, 0, 1<<(c+smallestBits))}
}

// release gives the buffer back; nobody may use its bytes any more. A nil
// buffer is fine.
func (p *buffer) release() {
	if p == nil {
		return
	}
	c := class(cap(p.b))
	if c >= len(pools) || cap(p.b) != 1<<(c+smallestBits) {
		return
	}
	p.b = p.b[:0]
	pools[c].Put(p)
}

// bytes is the content; a nil buffer is empty.
func (p *buffer) bytes() []byte {
	if p == nil {
		return nil
	}
	return p.b
}

// reserve makes room for n more bytes and returns the buffer to go on with,
// which may be another one. It grows by doubling, so the memory stays within
// twice what has arrived (or the smallest buffer).
func (p *buffer) reserve(n int) *buffer {
	if p == nil {
		return newBuffer(n)
	}
	need := len(p.b) + n
	if need <= cap(p.b) {
		return p
	}
	if need < 2*cap(p.b) {
		need = 2 * cap(p.b)
	}
	q := newBuffer(need)
	q.b = append(q.b, p.b...)
	p.release()
	return q
}

// add appends data and returns the buffer to go on with.
func (p *buffer) add(data []byte) *buffer {
	p = p.reserve(len(data))
	p.b = append(p.b, data...)
	return p
}
