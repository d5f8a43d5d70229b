// Package document is what clients and the server do with documents, channels of
// the kind doc (spec/documents.md). It answers the frame patch, and offers the verbs
// doc.get, doc.put, doc.patch, doc.history, doc.undo and doc.delete. Subscribing is
// answered where all channels' is.
//
// It checks, translates and asks; the documents themselves are the business of
// internal/document. It stores nothing and starts no goroutine.
package document

import (
	"context"
	"crypto/sha256"
	"strconv"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// Config of a [Feature].
type Config struct {
	Hub       *hub.Hub
	Documents *document.Documents
	Limits    func() tree.Limits
	Page      func() int // bytes of a page of the history
}

// Feature is the documents of one server.
type Feature struct {
	cfg Config
}

// New registers the feature's frames and verbs.
func New(cfg Config, sessions *session.Server, verbs *verb.Registry) *Feature {
	f := &Feature{cfg: cfg}
	sessions.Handle(protocol.TypePatch, f.patch)
	f.registerVerbs(verbs)
	return f
}

// patch answers `patch`.
func (f *Feature) patch(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, space, allowed, err := s.Find(ctx, fr, auth.Patch)
	if err != nil {
		return err
	}
	ask := s.Server().Hooks().Message
	if !allowed && ask == nil {
		return session.Denied(auth.Patch, channel)
	}
	if !space.IsDoc() {
		return notADocument("channel", space)
	}
	p := &document.Patch{Channel: channel, Space: space, From: s.Sender(), Author: &s.Conn, KeyTTL: verb.DefaultKeyTTL}
	if p.If, err = version(&fr.Object, "if_version"); err != nil {
		return err
	}
	if p.Name, err = fr.String("key", protocol.MaxKey); err != nil {
		return err
	}
	raw := fr.Raw("ops")
	if p.Ops, err = tree.ParseOps(raw, f.cfg.Limits()); err != nil {
		return err
	}
	f.key(p, s.KeyScope(p.Name), raw)
	if ask != nil {
		m := session.Message{Channel: channel, Space: space, Key: p.Name, Patch: true, Allowed: allowed, Event: protocol.TypePatch, Data: raw}
		switch err := ask(ctx, s, &m); {
		case err != nil:
			return err
		case m.Reply != nil:
			s.OK(fr, func(b []byte) []byte { return protocol.AppendData(append(b, `,"reply":`...), m.Reply) })
			return nil
		case !m.Allowed:
			return session.Denied(auth.Patch, channel)
		}
		if string(m.Data) != string(raw) {
			if p.Ops, err = tree.ParseOps(m.Data, f.cfg.Limits()); err != nil {
				return fault.Wrap(fault.Internal, err, "the application made a patch that cannot be")
			}
		}
	}
	if space.Places != nil {
		identity := s.Identity()
		p.Guard = space.Places.Guard(identity.User, identity.Roles)
	}
	done, err := f.cfg.Documents.Do(ctx, p)
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return appendPatched(b, done) })
	return nil
}

func appendPatched(b []byte, done document.Patched) []byte {
	b = strconv.AppendUint(append(b, `,"version":`...), done.Version, 10)
	if done.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	return b
}

// key makes a repeat of a patch harmless; scope is the key with whose it is, ""
// for none.
func (f *Feature) key(p *document.Patch, scope string, content []byte) {
	if scope == "" {
		return
	}
	key := sha256.Sum256([]byte(scope))
	if p.If != nil {
		content = append(strconv.AppendUint(nil, *p.If, 10), content...)
	}
	sum := sha256.Sum256(content)
	p.Key, p.Content = key[:16], sum[:16]
}

// version reads a version; nil when there is none.
func version(o *protocol.Object, field string) (*uint64, error) {
	if o.Raw(field) == nil {
		return nil, nil
	}
	n, err := o.Int(field, 0, 0, protocol.MaxInt)
	if err != nil {
		return nil, err
	}
	v := uint64(n)
	return &v, nil
}

func notADocument(field string, space *hub.Space) error {
	return fault.Field(field, "%s channels are no documents (kind: %s)", space.Name, space.Kind)
}
