package channel

import (
	"context"
	"strconv"

	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// subDoc subscribes to a document, from the version that the client has.
func (f *Feature) subDoc(ctx context.Context, s *session.Session, fr *protocol.Frame, channel string, space *hub.Space, opt hub.SubOptions) error {
	if fr.Raw("last") != nil {
		return fault.Field("last", "a document begins with its value; there is nothing to choose")
	}
	echo, err := fr.Bool("echo", true)
	if err != nil {
		return err
	}
	since, err := versionOf(&fr.Object)
	if err != nil {
		return err
	}
	_, err = f.documents.Subscribe(ctx, &s.Conn, channel, space, document.From{Since: since, Echo: echo}, opt, func(j document.Joining) []byte {
		return session.OKFrame(fr.ID, func(b []byte) []byte {
			b = appendVersion(appendChannel(b, channel, space), j)
			if j.Asked {
				b = strconv.AppendBool(append(b, `,"recovered":`...), j.Recovered)
			}
			return b
		})
	})
	return err
}

func appendVersion(b []byte, j document.Joining) []byte {
	b = protocol.AppendString(append(b, `,"epoch":`...), j.Epoch)
	return strconv.AppendUint(append(b, `,"version":`...), j.Version, 10)
}

// versionOf reads since; nil when there is none.
func versionOf(o *protocol.Object) (*document.Position, error) {
	raw := o.Raw("since")
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, fault.Field("since", "must be an object such as {\"version\": 7}, not %s", protocol.KindOf(raw))
	}
	since := protocol.GetObject()
	defer protocol.PutObject(since)
	if err := since.Read(raw, 4); err != nil {
		return nil, fault.Field("since", "%s", err)
	}
	version, err := since.Int("version", -1, 0, protocol.MaxInt)
	if err == nil && version < 0 {
		err = fault.Field("version", "is missing")
	}
	var epoch string
	if err == nil {
		epoch, err = since.String("epoch", protocol.MaxKey)
	}
	if e := fault.Of(err); e != nil {
		return nil, fault.Wrap(e.Code, nil, "since.%s", e.Message)
	}
	return &document.Position{Epoch: epoch, Version: uint64(version)}, nil
}

// takes refuses what is published to a document.
func (f *Feature) takes(field string, space *hub.Space) error {
	if space.IsDoc() {
		return fault.Field(field, "%s channels are documents: nothing is published there; use patch", space.Name)
	}
	return nil
}
