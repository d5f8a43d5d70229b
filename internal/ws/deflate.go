package ws

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// The window sizes of RFC 7692, 7.1.2, as powers of two.
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// deflateTail is what a sender strips from each compressed message and a
// receiver puts back (RFC 7692, 7.2.1). The second half is an empty final block,
// so that the decompressor ends with io.EOF.
const deflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// maxFinalBlocks bounds how often a message may end its DEFLATE stream and go on
// with another one (RFC 7692, 7.2.3.4, allows it). Each costs a copy of the
// window, so without a bound a small message could cause much work.
const maxFinalBlocks = 64

// packer is a pooled compressor and the slice that it appends to.
type packer struct {
	w   *flate.Writer
	out []byte
}

// Write implements io.Writer for the compressor.
func (p *packer) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

var packers [maxWindowBits - minWindowBits + 1]sync.Pool

// Deflate appends the compressed form of a message (RFC 7692, 7.2.1), without
// context takeover: the same bytes serve every connection that negotiated at
// least this window. windowBits is 8 to 15; anything else means 15. The frame
// that carries it has RSV1 set: AppendHeader(dst, op, true, true, n).
func Deflate(dst, payload []byte, windowBits int) []byte {
	if windowBits < minWindowBits || windowBits > maxWindowBits {
		windowBits = maxWindowBits
	}
	pool := &packers[windowBits-minWindowBits]
	p, _ := pool.Get().(*packer)
	if p == nil {
		p = newPacker(windowBits)
	}
	p.out = dst
	p.w.Reset(p)
	// The only errors are those of Write, which has none.
	_, _ = p.w.Write(payload)
	_ = p.w.Flush()
	out := p.out
	p.out = nil
	pool.Put(p)
	return out[:len(out)-4]
}

func newPacker(windowBits int) *packer {
	p := &packer{}
	if windowBits == maxWindowBits {
		p.w, _ = flate.NewWriter(p, flate.BestSpeed)
	} else {
		p.w, _ = flate.NewWriterWindow(p, 1<<windowBits)
	}
	return p
}

// unpacker is a pooled decompressor and its source.
type unpacker struct {
	src bytes.Reader
	r   io.ReadCloser // also a flate.Resetter
}

var unpackers sync.Pool

// inflate decompresses a message and stops when more than limit bytes come out,
// whatever the sender hoped for. It takes in over, also when it fails.
func inflate(in *buffer, limit int64) (*buffer, *CloseError) {
	in = in.add([]byte(deflateTail))
	u, _ := unpackers.Get().(*unpacker)
	if u == nil {
		u = &unpacker{}
		u.r = flate.NewReader(&u.src)
	}
	u.src.Reset(in.b)
	out, bad := u.run(int(min(2*int64(len(in.b)), limit+1)), limit)
	u.src.Reset(nil)
	unpackers.Put(u)
	in.release()
	if bad != nil {
		out.release()
		return nil, bad
	}
	return out, nil
}

// run reads all that comes out of the source. The buffer starts with room for
// guess bytes and grows as they come.
func (u *unpacker) run(guess int, limit int64) (*buffer, *CloseError) {
	out := newBuffer(guess)
	for range maxFinalBlocks {
		// A Resetter for a non-nil source never fails.
		_ = u.r.(flate.Resetter).Reset(&u.src, out.b[max(0, len(out.b)-1<<maxWindowBits):])
		for {
			out = out.reserve(1)
			room := out.b[len(out.b):cap(out.b)]
			if spare := limit + 1 - int64(len(out.b)); int64(len(room)) > spare {
				room = room[:spare]
			}
			n, err := u.r.Read(room)
			out.b = out.b[:len(out.b)+n]
			if int64(len(out.b)) > limit {
				return out, tooBig("a message", limit)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return out, invalidPayload("a compressed message is damaged")
			}
		}
		// What is left when the sender ended the stream itself is at least the
		// tail; only more than that is another stream.
		if u.src.Len() == 0 || u.src.Len() == len(deflateTail) {
			return out, nil
		}
	}
	return out, invalidPayload("a compressed message has too many final blocks")
}
