package skein_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// Without a token the address has to be that of the stream.
func TestPostedFramesOfTheAnonymousComeFromTheSameAddress(t *testing.T) {
	s := start(t, open())
	e := s.source("channels=room:1")
	for address, want := range map[string]int{"127.0.0.1": 202, "127.0.0.2": 403} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		c := &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
		res, err := c.Post("http://"+s.addr+"/sse/"+e.ID, "application/json", strings.NewReader(`{"type":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("a request from %s is answered by %d, want %d", address, res.StatusCode, want)
		}
	}
}
