package skein

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/store"
)

// limitsOfDocuments are those in force.
func (s *Server) limitsOfDocuments() tree.Limits { return *s.treeLimits.Load() }

// behind puts a reader in the line of those who serve its kind of channel.
func (s *Server) behind(sub *hub.Sub) {
	if sub.Channel().Space().IsDoc() {
		s.documents.Behind(sub)
		return
	}
	s.feeds.Behind(sub)
}

// lag tells how much a reader lacks.
func (s *Server) lag(sub *hub.Sub) uint64 {
	if sub.Channel().Space().IsDoc() {
		return s.documents.Lag(sub)
	}
	return s.feeds.Lag(sub)
}

// joined lets a new reader begin.
func (s *Server) joined(sub *hub.Sub) {
	if sub.Channel().Space().IsDoc() {
		s.documents.Joined(sub)
		return
	}
	s.feeds.Joined(sub)
}

// places reads the rules of a namespace; Validate has let only right ones through.
func places(rules []string) *auth.Places {
	var list []auth.Place
	for _, text := range rules {
		if p, err := auth.ParsePlace(text); err == nil {
			list = append(list, p)
		}
	}
	return auth.NewPlaces(list)
}

// maxSchema bounds the file of a schema.
const maxSchema = 1 << 20

// readSchema reads the schema of documents; nil when there is none.
func readSchema(file string) (*jsonschema.Resolved, error) {
	if file == "" {
		return nil, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSchema {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are allowed", file, info.Size(), maxSchema)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return resolved, nil
}

// checkOf makes the check of a schema; nil when there is none. Numbers are checked
// as doubles.
func checkOf(file string) func(raw []byte) error {
	schema, err := readSchema(file)
	if err != nil {
		// The file was there a moment ago. Better nothing is accepted than anything.
		return func([]byte) error { return fmt.Errorf("the schema cannot be read: %w", err) }
	}
	if schema == nil {
		return nil
	}
	return func(raw []byte) error {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return err
		}
		return schema.Validate(value)
	}
}

// documentMetrics names what is counted of documents.
func (s *Server) documentMetrics(stat func(func(*store.Stats) int64) func() int64) {
	m, d := s.metrics, s.documents.Metrics()
	m.Counter("document_patches_total", "Versions of documents made.", nil, d.Patches.Load)
	m.Counter("document_refused_total", "Patches of documents that were refused.", nil, d.Refused.Load)
	m.Counter("document_commits_total", "Groups of patches of a document that were stored together.", nil, d.Commits.Load)
	m.Counter("document_repeated_total", "Such groups that were carried out again, because another process was first, or a patch was there before.", nil, d.Repeated.Load)
	m.Counter("document_catchup_total", "What readers got who lacked patches.", metrics.Labels{"what": "value"}, d.Snapshots.Load)
	m.Counter("document_catchup_total", "What readers got who lacked patches.", metrics.Labels{"what": "patch"}, d.CaughtUp.Load)
	m.Counter("document_loads_total", "Documents loaded from the store.", nil, d.Loads.Load)
	m.Counter("document_compactions_total", "Times that the value of a document was stored.", nil, d.Compacted.Load)
	m.Counter("document_failures_total", "Reads and background commits of documents that failed; they are tried again.", nil, d.Failures.Load)
	m.Gauge("documents", "Documents in memory.", nil, d.Documents.Load)
	m.Gauge("document_bytes", "Memory that documents take, about.", nil, d.Bytes.Load)
	m.Gauge("store_documents", "Documents that are kept.", nil, stat(func(st *store.Stats) int64 { return st.Documents }))
}
