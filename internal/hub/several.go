package hub

import (
	"github.com/skein-realtime/skein/internal/link"
)

// PublishFrames hands frames, in order and in one write each, to the connections given; the
// caller has removed doubles. What does not fit is dropped, as with [Hub.PublishTo]. by names
// for each frame a connection that does not get it, nil for none; it may be shorter than
// frames. For the connections themselves nothing is allocated, unless they are named there.
func (h *Hub) PublishFrames(conns []*Conn, frames [][]byte, by []*Conn) {
	if len(conns) == 0 || len(frames) == 0 {
		return
	}
	var joined []joinedFrames
	deliveries := 0
	for _, c := range conns {
		j := joinFrames(&joined, c.encoding, frames)
		bufs, n := j.all[:], len(frames)
		if contains(by, c) {
			bufs, n = j.without(c, by)
		}
		if n > 0 {
			c.Outlet().Send(bufs, (*directly)(c))
			deliveries += n
		}
	}
	h.metrics.Published.Add(int64(len(frames)))
	h.metrics.Deliveries.Add(int64(deliveries))
}

// joinedFrames is frames in one encoding, one behind the other.
type joinedFrames struct {
	encoding Encoding
	all      []link.Buf // one
	ends     []int      // of each frame
}

func joinFrames(list *[]joinedFrames, encoding Encoding, frames [][]byte) *joinedFrames {
	for i := range *list {
		if (*list)[i].encoding == encoding {
			return &(*list)[i]
		}
	}
	size := 0
	for _, frame := range frames {
		size += len(frame) + 16
	}
	wire, ends := make([]byte, 0, size), make([]int, len(frames))
	for i, frame := range frames {
		wire = encoding.Append(wire, frame)
		ends[i] = len(wire)
	}
	*list = append(*list, joinedFrames{encoding, []link.Buf{{B: wire, N: uint32(len(frames))}}, ends})
	return &(*list)[len(*list)-1]
}

// without gives the stretches between the frames that c does not get, and how many frames that is.
func (j *joinedFrames) without(c *Conn, by []*Conn) (bufs []link.Buf, total int) {
	wire := j.all[0].B
	start, n := 0, 0
	for i, end := range j.ends {
		if i >= len(by) || by[i] != c {
			n++
			if i < len(j.ends)-1 {
				continue
			}
			bufs = append(bufs, link.Buf{B: wire[start:end:end], N: uint32(n)})
			total += n
			break
		}
		from := 0
		if i > 0 {
			from = j.ends[i-1]
		}
		if n > 0 {
			bufs = append(bufs, link.Buf{B: wire[start:from:from], N: uint32(n)})
			total += n
		}
		start, n = end, 0
	}
	return bufs, total
}
