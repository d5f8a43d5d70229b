package skein_test

import (
	"flag"
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
	if err := checkLess(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
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

// checkLess lets rapid draw fewer cases for the models of whole servers than it does for
// others, unless somebody says how many: each takes about a second, and every run draws
// different ones.
func checkLess() error {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if asked {
		return nil
	}
	return flag.Set("rapid.checks", "15")
}
