package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// The lengths that the house keeps. Long functions are where bugs of other
// people's code bases were found; the limits are where such code bases bend.
const (
	maxFileLines     = 600 // a file, tests not counted
	wantFunctionLine = 100 // a function: told
	maxFunctionLines = 120 // a function: refused
)

// A tree is a source tree, read.
type tree struct {
	packages []string // paths below the module, "." for the root
	edges    []edge
	wrong    []string // broken source rules
	long     []string // functions longer than they should be, but not refused
}

// read parses every Go file of the module at the root of fsys: all build tags,
// without testdata, hidden folders and folders that are modules of their own.
func read(fsys fs.FS) (*tree, error) {
	t := &tree{}
	seen := map[string]bool{}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(fsys, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		if dir := path.Dir(name); !seen[dir] {
			seen[dir] = true
			t.packages = append(t.packages, dir)
		}
		t.add(fset, name, file)
		return nil
	})
	return t, err
}

func skipDir(fsys fs.FS, name string) error {
	base := path.Base(name)
	if name == "." {
		return nil
	}
	if base[0] == '.' || base[0] == '_' || base == "testdata" || base == "node_modules" || base == "vendor" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *tree) add(fset *token.FileSet, name string, file *ast.File) {
	test := strings.HasSuffix(name, "_test.go")
	for _, spec := range file.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err == nil && !test {
			t.edges = append(t.edges, edge{from: path.Dir(name), to: to, at: fset.Position(spec.Pos())})
		}
	}
	if lines := fset.File(file.Pos()).LineCount(); !test && lines > maxFileLines && !ast.IsGenerated(file) {
		t.refuse(fset.Position(file.Pos()), "the file has %d lines; at most %d", lines, maxFileLines)
	}
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			t.function(fset, fn, test)
		}
	}
	if test {
		t.sleepsAndSkips(fset, file)
	}
}

func (t *tree) function(fset *token.FileSet, fn *ast.FuncDecl, test bool) {
	at := fset.Position(fn.Pos())
	if fn.Name.Name == "init" && fn.Recv == nil {
		t.refuse(at, "an init function runs whether it is wanted or not; do it where it is used, or in New")
	}
	if lines := fset.Position(fn.End()).Line - at.Line + 1; !test && lines > maxFunctionLines {
		t.refuse(at, "%s has %d lines; at most %d", fn.Name.Name, lines, maxFunctionLines)
	} else if !test && lines > wantFunctionLine {
		t.long = append(t.long, fmt.Sprintf("%s: %s has %d lines", at, fn.Name.Name, lines))
	}
}

// sleepsAndSkips refuses waiting by the clock and leaving out in silence. In a
// synctest bubble the clock is a fake one and sleeping is how it is moved, so a
// function that is handed to synctest.Test may sleep.
func (t *tree) sleepsAndSkips(fset *token.FileSet, file *ast.File) {
	var visit func(ast.Node) bool
	bubble := false
	visit = func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		receiver, method := selector(call)
		switch {
		case receiver == "synctest" && !bubble:
			bubble = true
			for _, arg := range call.Args {
				ast.Inspect(arg, visit)
			}
			bubble = false
			return false
		case receiver == "time" && method == "Sleep" && !bubble:
			t.refuse(fset.Position(call.Pos()), "a test that sleeps is slow on a fast machine and fails on a slow one; wait for the event, or use testing/synctest")
		case (method == "Skip" || method == "Skipf" || method == "SkipNow") && len(receiver) <= 2:
			t.refuse(fset.Position(call.Pos()), "no test skips: what is missing fails, with the line that installs it")
		}
		return true
	}
	ast.Inspect(file, visit)
}

// selector gives x and y of a call x.y(...), "" for any other call.
func selector(call *ast.CallExpr) (receiver, method string) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return x.Name, sel.Sel.Name
}

func (t *tree) refuse(at token.Position, format string, args ...any) {
	t.wrong = append(t.wrong, at.String()+": "+fmt.Sprintf(format, args...))
}
