// Package vectors plays the protocol vectors of spec/vectors against the server:
// each case with a server of its own, through a listener. It is for tests. It has
// no WebSocket client: whoever runs the vectors brings the one that they are to be
// played with. It stores nothing. A goroutine for each WebSocket reads it; all of
// them have ended when a case is over.
package vectors

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Client opens the WebSockets of the stories.
type Client struct {
	// Dial opens a WebSocket. The status is that of a handshake which the server
	// has refused, beside the error; 0 when there was no answer.
	Dial func(context.Context, Handshake) (conn Conn, status int, err error)

	// Offers is the subprotocol that Dial offers where a story asks for none. Empty:
	// it offers none then.
	Offers string
}

// A Handshake is what a WebSocket is opened with.
type Handshake struct {
	HTTP        *http.Client
	URL         string // with http for its scheme
	Header      http.Header
	Subprotocol string // which the story asks for; "" for none
}

// A Conn is an open WebSocket. One goroutine reads it while another one does
// everything else.
type Conn interface {
	// Subprotocol is what the server has chosen, "" for none.
	Subprotocol() string

	// Send sends a text message and SendBinary a binary one.
	Send(ctx context.Context, message []byte) error
	SendBinary(ctx context.Context, message []byte) error

	// Read waits for the next text message and gives the JSON in it, at least up to
	// 16 MiB. A binary message is an error. The error is a [*CloseError] when the
	// server has closed with a code.
	Read() ([]byte, error)

	// Close closes with a code and waits until the closing handshake is done.
	Close(code int) error

	// Drop ends it at once, and with it a Read that waits.
	Drop()
}

// A CloseError tells that the server has closed a [Conn].
type CloseError struct {
	Code int   // of the close frame
	Err  error // what the WebSocket client says
}

// Error implements error.
func (e *CloseError) Error() string { return e.Err.Error() }

// Unwrap gives what the WebSocket client says.
func (e *CloseError) Unwrap() error { return e.Err }

// A file is one of spec/vectors/*.json.
type file struct {
	Name   string          `json:"name"`
	About  string          `json:"about"`
	Dev    bool            `json:"dev"`
	Config json.RawMessage `json:"config"`
	Cases  []struct {
		Name  string            `json:"name"`
		Steps []json.RawMessage `json:"steps"`
	} `json:"cases"`
}

// Files gives the paths of the files in the folder that have stories to play.
func Files(t testing.TB, folder string) (paths []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		switch filepath.Base(path) {
		case "hooks.json", "document-ops.json":
			continue // signatures, and operations without a server: those who carry them out check them
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		t.Fatalf("no vectors found in %s", folder)
	}
	return paths
}

// Run plays every story in the folder, each as a parallel subtest.
func Run(t *testing.T, folder string, client Client) {
	t.Helper()
	for _, path := range Files(t, folder) {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var f file
		if err := strict(src, &f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if want := strings.TrimSuffix(filepath.Base(path), ".json"); f.Name != want || len(f.Cases) == 0 {
			t.Errorf("%s: name is %q with %d cases, want %q and some", path, f.Name, len(f.Cases), want)
		}
		for _, c := range f.Cases {
			t.Run(f.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				play(t, &f, c.Steps, client)
			})
		}
	}
}

// strict decodes JSON and knows every member.
func strict(src []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
