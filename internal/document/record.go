package document

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// record is what is stored of a version: a JSON object, the data of a message.
type record struct {
	done   []tree.Done
	old    []tree.Old
	kept   bool   // old is known; false: it has been forgotten
	undoes uint64 // the version that it takes back; zero: none
}

// appendRecord appends what is stored of a change: {"ops":[…],"old":[…]}; ops is its
// list of operations.
func appendRecord(dst, ops []byte, change *tree.Change, old bool, undoes uint64) []byte {
	dst = append(append(dst, `{"ops":`...), ops...)
	if old {
		dst = tree.AppendOld(append(dst, `,"old":`...), change.Old())
	}
	if undoes > 0 {
		dst = strconv.AppendUint(append(dst, `,"undoes":`...), undoes, 10)
	}
	return append(dst, '}')
}

func parseRecord(data []byte) (r record, err error) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(data, unlimited.Depth); err != nil {
		return r, err
	}
	raw := o.Raw("ops")
	if raw == nil {
		return r, errors.New("it has no operations")
	}
	if r.done, err = tree.ParseDone(raw); err != nil {
		return r, err
	}
	if raw := o.Raw("old"); raw != nil {
		r.kept = true
		if r.old, err = tree.ParseOld(raw); err != nil {
			return r, err
		}
	}
	undoes, err := o.Int("undoes", 0, 0, protocol.MaxInt)
	r.undoes = uint64(undoes)
	return r, err
}

// History reads versions of a document: a page of the store whose messages' data
// are objects with ops, old and undoes. Its error is a *fault.Error.
func (d *Documents) History(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := d.store.Read(ctx, q)
	if err != nil {
		return page, feed.Fault(err)
	}
	return page, nil
}

// recordOf reads a version, and the places that those after it have changed.
func (d *Documents) recordOf(ctx context.Context, x *doc, version uint64, later bool) (r record, touched []tree.Touch, err error) {
	if version == 0 || version > x.version {
		return r, nil, &fault.Error{Code: fault.NotFound, Field: "version", Message: fmt.Sprintf("version: the document has no version %d", version)}
	}
	first := true
	for after := version - 1; ; {
		limit := 500
		if first && !later {
			limit = 1
		}
		page, err := d.store.Read(ctx, store.Query{Channel: x.name, After: after, Limit: limit, Bytes: 4 << 20})
		if err != nil {
			return r, nil, feed.Fault(err)
		}
		for i := range page.Messages {
			m := &page.Messages[i]
			if first && m.Seq != version {
				break
			}
			parsed, err := parseRecord(m.Data)
			if err != nil {
				return r, nil, d.damaged(x.name, m.Seq, err)
			}
			if after = m.Seq; first {
				r, first = parsed, false
				continue
			}
			touched = append(touched, tree.Touches(parsed.done, parsed.old, author(m))...)
		}
		if first {
			return r, nil, &fault.Error{Code: fault.NotFound, Field: "version", Message: fmt.Sprintf("version: %d is not kept any more", version)}
		}
		if !page.More || !later {
			return r, touched, nil
		}
	}
}

// author is how a message calls a version.
func author(m *store.Message) string {
	if m.Sender.User == "" {
		return fmt.Sprintf("version %d", m.Seq)
	}
	return fmt.Sprintf("version %d (user %q)", m.Seq, m.Sender.User)
}
