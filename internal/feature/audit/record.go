package audit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

const (
	storeTime = 10 * time.Second // for one write
	closeTime = 5 * time.Second  // for the last ones
	retryTime = time.Second      // until what failed is tried again

	// maxOpen bounds the runs under way and the outcomes that wait; batch is how many of
	// these are written at once.
	maxOpen = 10_000
	batch   = 500
)

// Bounds of a line, in bytes, as the store has them.
const (
	maxWho     = 256
	maxRole    = 32
	maxAddress = 64
	maxVerb    = 64
	maxTarget  = 1 << 10
	maxError   = 1 << 10
)

// outcomes are those that wait to be written.
type outcomes struct {
	wake    chan struct{} // gets a value when one waits
	open    int           // runs under way, and outcomes that wait or are being written
	waiting []store.Command
	queued  uint64 // how many ever waited
	written uint64 // how many of them are done with
	settled chan struct{}
}

// Begin is told of a run before it begins. When it is to be in the log, its line is there
// when Begin returns, and done has to be told how it ended. done is nil when it is not. An
// error, which is unavailable, says that the verb must not run.
func (f *Feature) Begin(ctx context.Context, c verb.Caller, name string, raw []byte) (done func(error), err error) {
	if !recorded(c, name) {
		return nil, nil
	}
	st, err := f.running()
	if st == nil || err != nil {
		return nil, err
	}
	if !f.enter() {
		return nil, fault.New(fault.Unavailable, "too much waits for its outcome in the audit log").After(outage.RetryAfter)
	}
	line := f.line(c, name, raw)
	if err := f.add(ctx, st, line); err != nil {
		// Nobody may know whether it is there.
		f.ended(line.ID, fault.New(fault.Unavailable, "this line could not be stored; the verb did not run"))
		return nil, err
	}
	var once sync.Once
	return func(err error) { once.Do(func() { f.ended(line.ID, err) }) }, nil
}

// recorded tells whether a run is to be in the log.
func recorded(c verb.Caller, name string) bool {
	switch auth.ClassOf(name) {
	case auth.Read:
		return false
	case auth.Traffic:
		return c.By == verb.ByConsole
	}
	return c.By != ""
}

// Record writes what was not run, whatever it is: that somebody logged in, or was refused.
// err is how it ended. The error is unavailable.
func (f *Feature) Record(ctx context.Context, c verb.Caller, name string, raw []byte, err error) error {
	st, failure := f.running()
	if st == nil || failure != nil {
		return failure
	}
	line := f.line(c, name, raw)
	line.Outcome, line.Error = outcome(err)
	return f.add(ctx, st, line)
}

// add stores a line.
func (f *Feature) add(ctx context.Context, st Store, line store.AuditLine) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	_, err := st.Do(ctx, store.AddAudit{AuditLine: line})
	f.note(err)
	if err != nil {
		e := outage.Fault(err)
		if e.Code != fault.Unavailable {
			e = fault.Wrap(fault.Unavailable, err, "the audit log cannot be written").After(outage.RetryAfter)
		}
		return e
	}
	f.metrics.Lines.Add(1)
	return nil
}

// line makes the line of a run.
func (f *Feature) line(c verb.Caller, name string, raw []byte) store.AuditLine {
	now := f.cfg.Now()
	l := store.AuditLine{
		ID: id.Message(now), Time: now.UnixMilli(), Who: clip(c.Who(), maxWho), By: c.By,
		Role: clip(c.Role, maxRole), Address: clip(c.Address, maxAddress), Verb: clip(name, maxVerb), Target: clip(targetOf(raw), maxTarget),
	}
	if l.Who == "" {
		l.Who = "?"
	}
	l.Params, l.Truncated = Mask(raw)
	return l
}

// outcome is how a run ended, in words.
func outcome(err error) (code, text string) {
	if err == nil {
		return store.AuditOK, ""
	}
	e := fault.Of(err)
	text = e.Message
	if isSecret(e.Field) { // the sentence may say what was given
		text = e.Field + ": is wrong"
	}
	return string(e.Code), clip(text, maxError)
}

// clip cuts a text that is too long, between two characters, and what is no text out of it.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// enter makes room for the outcome of a run; false: there is none.
func (f *Feature) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outcomes.open >= maxOpen {
		return false
	}
	f.outcomes.open++
	return true
}

// ended has the outcome of a run written.
func (f *Feature) ended(line string, err error) {
	code, text := outcome(err)
	o := &f.outcomes
	f.mu.Lock()
	o.waiting = append(o.waiting, store.SetAuditOutcome{ID: line, Outcome: code, Error: text})
	o.queued++
	f.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// writeOutcomes writes what waits, until life ends and for a little while after that.
func (f *Feature) writeOutcomes(life context.Context, st Store) {
	retry := time.NewTimer(retryTime)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-f.outcomes.wake:
		case <-retry.C:
		case <-life.Done():
			ctx, cancel := context.WithTimeout(context.Background(), closeTime)
			defer cancel()
			f.flush(ctx, st)
			return
		}
		if !f.flush(life, st) {
			retry.Reset(retryTime)
		}
	}
}

// flush writes all that waits; false: some still does, because the store takes nothing.
func (f *Feature) flush(ctx context.Context, st Store) bool {
	o := &f.outcomes
	for {
		f.mu.Lock()
		group := o.waiting[:min(len(o.waiting), batch):min(len(o.waiting), batch)]
		f.mu.Unlock()
		if len(group) == 0 {
			return true
		}
		step, cancel := context.WithTimeout(ctx, storeTime)
		_, err := st.Do(step, group...)
		cancel()
		f.note(err)
		passes := errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if passes {
			return false
		}
		f.mu.Lock()
		if o.waiting = o.waiting[len(group):]; len(o.waiting) == 0 {
			o.waiting = nil // a slice gives no memory back by itself
		}
		o.open -= len(group)
		o.written += uint64(len(group))
		close(o.settled)
		o.settled = make(chan struct{})
		f.mu.Unlock()
		if err != nil {
			f.cfg.Logger.Error("outcomes were not written into the audit log", "lines", len(group), "error", err)
		}
	}
}

// settle waits until what has ended is written, so that whoever ran a verb and asks for
// its line finds the outcome; not for long.
func (f *Feature) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, retryTime)
	defer cancel()
	o := &f.outcomes
	f.mu.Lock()
	upTo := o.queued
	for o.written < upTo && ctx.Err() == nil {
		settled := o.settled
		f.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
		}
		f.mu.Lock()
	}
	f.mu.Unlock()
}
