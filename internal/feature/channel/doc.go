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
	epoch, version, given, err := sinceOf(&fr.Object, "version")
	if err != nil {
		return err
	}
	from := document.From{Echo: echo}
	if given {
		from.Since = &document.Position{Epoch: epoch, Version: version}
	}
	_, err = f.documents.Subscribe(ctx, &s.Conn, channel, space, from, opt, func(j document.Joining) []byte {
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

// takes refuses what is published to a document.
func (f *Feature) takes(field string, space *hub.Space) error {
	if space.IsDoc() {
		return fault.Field(field, "%s channels are documents: nothing is published there; use patch", space.Name)
	}
	return nil
}
