package skein_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childRole names, in the environment of a copy of the test binary, what that
// copy is: a server under limits that would hurt the tests themselves.
const childRole = "CHILD_OF_TEST"

// TestMain runs the tests and then asks whether any goroutine outlived them.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role))
	}
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
