package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config of a [Client]. The zero value of every field but URL and Secrets is
// its default.
type Config struct {
	URL     string   // where events go: http or https, with a host
	Secrets []string // what requests are signed with, 32 bytes or more each; several while one takes another's place
	Events  []string // those that are wanted, of [Events]; empty: none

	Timeout     time.Duration // of a question with all its attempts and waits, and of each telling; zero: 3 s
	Retries     int           // further attempts at a question, see [Client.Ask]; zero: 1, below zero: none
	Concurrency int           // requests under way; zero: 64

	Queue     int           // told events that may wait; zero: 10,000
	BatchSize int           // events in one telling; zero: 100
	BatchWait time.Duration // how long an event waits for company; zero: not at all, batches come from load
	MaxAge    time.Duration // how long a told event is tried; zero: 10 min

	Breaker       Breaker
	VerifyAnswers bool              // an answer must be signed
	Header        map[string]string // added to every request

	Transport *http.Transport // how requests travel; nil: its own connections
	Logger    *slog.Logger    // nil: slog.Default()
	Metrics   *Metrics        // where it counts; nil: its own, shown nowhere
}

// Breaker says when a backend that fails is left alone.
type Breaker struct {
	Failures int           // so many in a row open the circuit; zero: 5
	Pause    time.Duration // so long nothing is sent, then one request on trial; zero: 5 s
}

// A ConfigError says what is wrong with one value of a [Config]. Field is its
// place in the configuration file, as "hooks.url".
type ConfigError struct {
	Field   string
	Message string
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Field + ": " + e.Message }

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (c Config) withDefaults() Config {
	c.Timeout = or(c.Timeout, 3*time.Second)
	c.Retries = or(c.Retries, 1)
	c.Concurrency = or(c.Concurrency, 64)
	c.Queue = or(c.Queue, 10_000)
	c.BatchSize = or(c.BatchSize, 100)
	c.MaxAge = or(c.MaxAge, 10*time.Minute)
	c.Breaker.Failures = or(c.Breaker.Failures, 5)
	c.Breaker.Pause = or(c.Breaker.Pause, 5*time.Second)
	c.Logger = or(c.Logger, slog.Default())
	if c.Metrics == nil {
		c.Metrics = &Metrics{}
	}
	return c
}

// minSecret is the length of the hash: a shorter key is weaker than the
// signature (RFC 2104 section 3).
const minSecret = 32

// mistakes gathers what is wrong with a Config.
type mistakes struct{ errs []error }

func (m *mistakes) wrong(field, format string, args ...any) {
	m.errs = append(m.errs, &ConfigError{"hooks." + field, fmt.Sprintf(format, args...)})
}

func (m *mistakes) between(field string, got, low, high int) {
	if got < low || got > high {
		m.wrong(field, "%d is not between %d and %d", got, low, high)
	}
}

func (m *mistakes) duration(field string, got, low, high time.Duration) {
	if got < low || got > high {
		m.wrong(field, "%s is not between %s and %s", got, low, high)
	}
}

// Validate says what is wrong with the configuration: nil, or a joined error of
// [*ConfigError]s, one for each wrong value.
func (c Config) Validate() error {
	_, err := c.withDefaults().parse()
	return err
}

func (c Config) parse() (*url.URL, error) {
	m := &mistakes{}
	u := m.url(c.URL)
	if len(c.Secrets) == 0 {
		m.wrong("secret", "is missing; the backend cannot tell who asks without a signature")
	}
	for i, s := range c.Secrets {
		at := "secret"
		if len(c.Secrets) > 1 {
			at = fmt.Sprintf("secret[%d]", i)
		}
		if len(s) < minSecret {
			m.wrong(at, "%d bytes are too short to sign with; at least %d are needed", len(s), minSecret)
		} else if slices.Contains(c.Secrets[:i], s) {
			m.wrong(at, "stands there twice")
		}
	}
	for i, e := range c.Events {
		if place(e) < 0 {
			m.wrong(fmt.Sprintf("events[%d]", i), "%q is not one of %s", e, strings.Join(Events[:], ", "))
		}
	}
	m.duration("timeout", c.Timeout, 10*time.Millisecond, 5*time.Minute)
	m.between("retries", c.Retries, -1, 10)
	m.between("concurrency", c.Concurrency, 1, 10_000)
	m.between("queue", c.Queue, 1, 10_000_000)
	m.between("batch_size", c.BatchSize, 1, 10_000)
	m.duration("batch_wait", c.BatchWait, 0, time.Minute)
	m.duration("max_age", c.MaxAge, time.Second, 7*24*time.Hour)
	m.between("breaker.failures", c.Breaker.Failures, 1, 1_000_000)
	m.duration("breaker.pause", c.Breaker.Pause, 10*time.Millisecond, time.Hour)
	m.header(c.Header)
	return u, errors.Join(m.errs...)
}

func (m *mistakes) url(text string) *url.URL {
	if text == "" {
		m.wrong("url", "is missing")
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The text may hold a password, so it is not repeated.
		m.wrong("url", "is not an http or https URL")
		return nil
	}
	if u.Fragment != "" {
		m.wrong("url", "has a fragment (#%s), which no server gets to see", u.Fragment)
	}
	return u
}

// fixed are headers that this package or net/http sets.
var fixed = []string{"Accept", "Connection", "Content-Length", "Content-Type", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func (m *mistakes) header(header map[string]string) {
	for name, value := range header {
		key := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case name == "" || strings.ContainsFunc(name, notToken):
			m.wrong("header", "%q is not a header's name", name)
		case slices.Contains(fixed, key) || strings.HasPrefix(key, "Skein-"):
			m.wrong("header."+name, "is set by the server itself")
		case strings.ContainsFunc(value, control):
			m.wrong("header."+name, "its value has control characters")
		}
	}
}

// notToken tells what may not stand in a header's name (RFC 9110 section 5.6.2).
func notToken(r rune) bool {
	return r > 0x7e || r <= ' ' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
