// Package arch holds the rules of the house as tests, so that they are kept by
// a failing build and not by memory. It has no code of its own, nothing imports
// it, and it stores and starts nothing.
//
// The tests read the source tree with go/parser, all build tags at once, and
// check three things:
//
//   - floors: a package imports only from floors below its own, two features
//     never import each other, and every package belongs to a floor. The table
//     is in floors_test.go and the reason for it in docs/adr/001-floors.md.
//   - source: files stay short, functions stay short, there is no init
//     function, and no test sleeps or skips.
//   - dependencies: every module that go.mod requires directly is explained in
//     docs/dependencies.md, and nothing is explained there that is gone.
//
// Each rule has a test that shows it failing on a small tree that breaks it.
package arch
