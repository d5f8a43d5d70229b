package skein_test

import (
	"errors"
	"os"
	"testing"
)

// told gives the problem with a code that a server of another process tells of, nil when it has none.
func (s *testServer) told(code string) map[string]any {
	s.t.Helper()
	list, _ := s.request200(s.t, "problems", `{}`)["problems"].([]any)
	for _, p := range list {
		if p := p.(map[string]any); p["code"] == code {
			return p
		}
	}
	return nil
}

// A disk that is full for real is a problem as long as it is, and so is that nothing can be stored.
func TestAFullDiskIsAProblem(t *testing.T) {
	story := func(t *testing.T, d *disk, codes ...string) {
		s := &testServer{t: t, addr: d.server.addr}
		publish := func() int {
			status, _ := s.api("publish", `{"to":{"channel":"room:1"},"data":"a text"}`)
			return status
		}
		eventually(t, "something is stored", func() bool { return publish() == 200 })
		for _, code := range codes {
			if p := s.told(code); p != nil {
				t.Fatalf("before: %v", p)
			}
		}
		d.full[1](t)
		for _, code := range codes {
			eventually(t, code+" is told", func() bool {
				publish()
				p := s.told(code)
				return p != nil && p["severity"] == "error" && p["text"] != ""
			})
		}
		d.room(t)
		for _, code := range codes {
			eventually(t, code+" is solved", func() bool {
				publish()
				return s.told(code) == nil
			})
		}
		d.server.end(t)
	}
	t.Run("limit of file sizes", func(t *testing.T) {
		dir := t.TempDir()
		story(t, limitedDisk(startChild(t, "program "+dir), dir), "store_failing")
	})
	t.Run("file system", func(t *testing.T) {
		d, err := smallDisk(t.TempDir())
		if errors.Is(err, os.ErrPermission) {
			t.Logf("no file system can be mounted here (mount namespaces are not allowed): %v", err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		story(t, d, "store_failing", "disk_low")
	})
}
