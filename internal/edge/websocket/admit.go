package websocket

import (
	"net/http"
	"net/netip"

	"github.com/skein-realtime/skein/internal/session"
)

// Admit counts a client of another door in, by the same limits and together with
// the clients of this one. When ok is false the request has been answered;
// otherwise release is to be called once, when the client is gone.
func (d *Door) Admit(w http.ResponseWriter, r *http.Request) (remote netip.AddrPort, release func(), ok bool) {
	rules := d.settings.Load()
	remote = RemoteOf(r, rules.Proxies)
	counted, reason, ok := d.enter(remote.Addr(), rules)
	if !ok {
		d.busy(w, reason, crowded(reason))
		return remote, nil, false
	}
	return remote, func() { d.leave(counted) }, true
}

// Remote is the address of a request's client, as the limits count it.
func (d *Door) Remote(r *http.Request) netip.AddrPort {
	return RemoteOf(r, d.settings.Load().Proxies)
}

// Opening reads what a client gave with a request to say who it is.
func (d *Door) Opening(r *http.Request) session.Opening { return openingOf(r, d.settings.Load().Dev) }

// Origins are the browser origins that may connect, besides the page's own.
func (d *Door) Origins() []string { return d.settings.Load().Origins }

func crowded(reason Reason) string {
	if reason == RefusedAddress {
		return "There are too many connections from this address."
	}
	return "The server has as many connections as it may have; try again later."
}
