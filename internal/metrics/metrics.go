// Package metrics exposes counters that live elsewhere to Prometheus. The hot
// paths count in atomics of their own; a scrape reads them. It keeps nothing
// and starts nothing.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Set is the metrics of one server.
type Set struct{ registry *prometheus.Registry }

// New makes a set that has the metrics of the process and of Go.
func New() *Set {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Set{r}
}

// Labels are constant labels of one metric.
type Labels map[string]string

// Counter exposes a number that only grows.
func (s *Set) Counter(name, help string, labels Labels, read func() int64) {
	s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "skein", Name: name, Help: help, ConstLabels: prometheus.Labels(labels),
	}, func() float64 { return float64(read()) }))
}

// Gauge exposes a number that goes up and down.
func (s *Set) Gauge(name, help string, labels Labels, read func() int64) {
	s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "skein", Name: name, Help: help, ConstLabels: prometheus.Labels(labels),
	}, func() float64 { return float64(read()) }))
}

// Histogram makes a distribution and gives what adds to it.
func (s *Set) Histogram(name, help string, labels Labels, buckets []float64) func(float64) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "skein", Name: name, Help: help, ConstLabels: prometheus.Labels(labels), Buckets: buckets,
	})
	s.registry.MustRegister(h)
	return h.Observe
}

// Times are buckets for what takes between 50 µs and ten seconds, in seconds.
func Times() []float64 {
	return []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10}
}

// Sizes are buckets for numbers of things, by powers of two up to 1,024.
func Sizes() []float64 { return prometheus.ExponentialBuckets(1, 2, 11) }

// Handler serves the metrics in the formats of Prometheus.
func (s *Set) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
}
