package ws

import "testing"

// farthestMatch reads packed as DEFLATE (RFC 1951) and returns the longest
// distance that any match reaches back. It is the referee for the window sizes,
// which a decompressor with a full window cannot judge.
func farthestMatch(t *testing.T, packed []byte) (farthest int) {
	t.Helper()
	s := &bitSource{b: append(append([]byte(nil), packed...), deflateTail...), t: t}
	for {
		final, kind := s.bits(1) == 1, s.bits(2)
		switch kind {
		case 0:
			s.pos = (s.pos + 7) / 8 * 8
			n := s.bits(16)
			s.bits(16)
			s.pos += 8 * n
		case 1, 2:
			lit, dist := s.tables(kind == 2)
			farthest = max(farthest, s.block(lit, dist))
		default:
			t.Fatal("undefined block type")
		}
		if final {
			return farthest
		}
	}
}

type bitSource struct {
	t   *testing.T
	b   []byte
	pos int
}

func (s *bitSource) bits(n int) (v int) {
	for i := range n {
		if s.pos/8 >= len(s.b) {
			s.t.Fatal("the stream ends too early")
		}
		v |= int(s.b[s.pos/8]>>(s.pos%8)&1) << i
		s.pos++
	}
	return v
}

// code is a canonical Huffman code: from length and value to symbol.
type code map[[2]int]int

func newCode(lengths []int) code {
	c, next := code{}, 0
	for n := 1; n <= 15; n++ {
		for symbol, l := range lengths {
			if l == n {
				c[[2]int{n, next}] = symbol
				next++
			}
		}
		next <<= 1
	}
	return c
}

func (s *bitSource) symbol(c code) int {
	v := 0
	for n := 1; n <= 15; n++ {
		v = v<<1 | s.bits(1)
		if symbol, ok := c[[2]int{n, v}]; ok {
			return symbol
		}
	}
	s.t.Fatal("no such code")
	return 0
}

func (s *bitSource) tables(dynamic bool) (lit, dist code) {
	if !dynamic {
		lengths := make([]int, 288)
		for i := range lengths {
			switch {
			case i < 144 || i >= 280:
				lengths[i] = 8
			case i < 256:
				lengths[i] = 9
			default:
				lengths[i] = 7
			}
		}
		five := make([]int, 30)
		for i := range five {
			five[i] = 5
		}
		return newCode(lengths), newCode(five)
	}
	nlit, ndist, nclen := s.bits(5)+257, s.bits(5)+1, s.bits(4)+4
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	clens := make([]int, 19)
	for _, i := range order[:nclen] {
		clens[i] = s.bits(3)
	}
	meta := newCode(clens)
	lengths := []int{}
	for len(lengths) < nlit+ndist {
		symbol, repeat, value := s.symbol(meta), 1, 0
		switch symbol {
		case 16:
			repeat, value = 3+s.bits(2), lengths[len(lengths)-1]
		case 17:
			repeat = 3 + s.bits(3)
		case 18:
			repeat = 11 + s.bits(7)
		default:
			value = symbol
		}
		for range repeat {
			lengths = append(lengths, value)
		}
	}
	return newCode(lengths[:nlit]), newCode(lengths[nlit:])
}

func (s *bitSource) block(lit, dist code) (farthest int) {
	for {
		symbol := s.symbol(lit)
		if symbol == 256 {
			return farthest
		}
		if symbol < 256 {
			continue
		}
		if symbol >= 265 && symbol < 285 {
			s.bits((symbol - 261) / 4)
		}
		d := s.symbol(dist)
		distance := d + 1
		if d >= 4 {
			extra := d/2 - 1
			distance = 1 + (2+d%2)<<extra + s.bits(extra)
		}
		farthest = max(farthest, distance)
	}
}
