package skein

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificates serves the configured certificate and loads it again when its
// files change. A pair that cannot be loaded is reported once, and the one
// before stays in use.
type certificates struct {
	files   TLS
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]
	stop    chan struct{}
	done    sync.WaitGroup
}

// certificateCheck is how often the files are looked at.
const certificateCheck = time.Second

func loadCertificates(files TLS, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, log: log, stop: make(chan struct{})}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	c.current.Store(&pair)
	c.done.Add(1)
	go c.watch(c.stamp())
	return c, nil
}

func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// stamp tells whether the files are still the ones that were loaded.
func (c *certificates) stamp() (s [4]int64) {
	for i, file := range []string{c.files.Cert, c.files.Key} {
		if info, err := os.Stat(file); err == nil {
			s[2*i], s[2*i+1] = info.ModTime().UnixNano(), info.Size()
		}
	}
	return s
}

func (c *certificates) watch(loaded [4]int64) {
	defer c.done.Done()
	ticker := time.NewTicker(certificateCheck)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
		}
		now := c.stamp()
		if now == loaded {
			continue
		}
		loaded = now
		pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
		if err != nil {
			c.log.Error("the changed certificate cannot be loaded; the one before stays in use", "error", err)
			continue
		}
		c.current.Store(&pair)
		c.log.Info("the certificate was loaded again", "file", c.files.Cert)
	}
}

func (c *certificates) close() {
	close(c.stop)
	c.done.Wait()
}
