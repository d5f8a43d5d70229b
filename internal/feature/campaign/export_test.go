package campaign

import (
	"context"
	"time"
)

// Pacer is the pacer of runs.
type Pacer struct{ p *pacer }

func NewPacer(perSecond int) Pacer { return Pacer{newPacer(perSecond)} }

func (p Pacer) Most() int { return p.p.most() }

func (p Pacer) Take(ctx context.Context, n int, poked <-chan struct{}) bool {
	return p.p.take(ctx, n, nil, poked)
}

// Sizer is the sizer of runs.
type Sizer struct{ s *sizer }

func NewSizer(shared bool) Sizer { return Sizer{newSizer(shared)} }

func (s Sizer) Size() int { return s.s.size }

func (s Sizer) Note(n int, took time.Duration, busy bool) { s.s.note(n, took, busy) }

func (s Sizer) Rest(took time.Duration) time.Duration { return s.s.rest(took) }

// Bound makes estimates look at less.
func (f *Feature) Bound(judged, paged, looked int) {
	f.bounds = bounds{judged: judged, paged: paged, looked: looked}
}
