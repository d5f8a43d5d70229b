package push

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

// Clear ends what a user has in the inbox of a category with a collapse key, because he has read
// elsewhere what it tells of: what was not acknowledged is withdrawn, and whoever may have
// it is told; what stays in the inbox has been read, and the user's connections are told
// when fewer messages are unread by that. Its error is a *fault.Error.
func (p *Pushes) Clear(ctx context.Context, user, category, collapse string) error {
	if err := p.ready(); err != nil {
		return err
	}
	inboxes, err := p.store.Inboxes(ctx, user)
	if err != nil {
		return failure(err)
	}
	if in := &inboxes[0]; in.Top <= max(in.Read, in.Floor) {
		return nil // nothing is unread, so nobody has to write
	}
	if len(p.settler.of(user)) > 0 { // what was sent this moment has interrupted the user
		p.settler.flush(ctx)
	}
	here := p.hub.HasUser(user)
	var before Mark
	if here {
		if before, err = p.mark(ctx, user); err != nil {
			return err
		}
	}
	r, err := one[store.Cleared](ctx, p, store.ClearPushed{User: user, Category: category, Collapse: collapse, Now: p.nowMilli()})
	if err != nil {
		return err
	}
	p.metrics.Recalled.Add(int64(len(r.Rows)))
	seqs := make([]uint64, len(r.Rows))
	for i := range r.Rows {
		seqs[i] = r.Rows[i].Seq
	}
	p.settler.forget(user, seqs)
	if !here {
		return nil
	}
	if len(r.Rows) > 0 {
		p.note(user, true, func(in *inbound) { in.recalled = append(in.recalled, r.Rows...) })
	}
	after, err := p.mark(ctx, user)
	if err != nil || after == before {
		return err
	}
	frame := appendMark(nil, user, after)
	for _, c := range p.hub.UserConns(user) {
		if c.Native() {
			c.SendFrame(frame, nil)
		}
	}
	return nil
}

// mark tells how far an inbox was read.
func (p *Pushes) mark(ctx context.Context, user string) (Mark, error) {
	page, err := p.List(ctx, store.InboxQuery{User: user, Backward: true, Limit: 1})
	return Mark{Read: page.Inbox.Read, Unread: page.Unread}, err
}
