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

// Handler serves the metrics in the formats of Prometheus.
func (s *Set) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
}
