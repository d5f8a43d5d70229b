package health_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/skein-realtime/skein/internal/feature/health"
	"github.com/skein-realtime/skein/internal/machine"
)

// The process really opens nearly as many files as it may.
func TestDescriptorsLow(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	open, _ := machine.Descriptors()
	limited := before
	limited.Cur = max(100, 2*open)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limited); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}()
	inBubble(t, func(w *world) { w.cfg.Descriptors = nil }, func(w *world) { w.well() })
	for open < limited.Cur-limited.Cur/10 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		open, _ = machine.Descriptors()
	}
	inBubble(t, func(w *world) { w.cfg.Descriptors = nil }, func(w *world) {
		p := w.one(health.DescriptorsLow, now(), "files and connections are open")
		p.value(t, "limit", limited.Cur)
		if p.Severity != "error" || p.Values["open"].(float64) < float64(limited.Cur)*0.9-1 {
			t.Errorf("got %+v", p)
		}
	})
}
