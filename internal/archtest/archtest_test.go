// Package archtest holds the house to its plan: who may import whom, and what
// each floor keeps its hands off. It reads the source, of every platform.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of this module.
const module = "stray"

// floors are the packages of the program, each with those of the module that it
// may import: always lower ones.
var floors = map[string][]string{
	".":                 {"cmd", "internal/tracee"},
	"cmd":               {"report", "inspect/rules", "inspect", "internal/act", "internal/follow", "internal/tracee", "fdscan"},
	"report":            {"inspect", "internal/act", "fdscan"},
	"inspect/rules":     {"inspect", "fdscan"},
	"inspect":           {"fdscan"},
	"inspect/fdtest":    {},
	"internal/act":      {"fdscan", "internal/tracee", "internal/sockdiag"},
	"internal/follow":   {"fdscan", "internal/patience", "internal/tracee", "internal/unwind"},
	"fdscan":            {"internal/bpfiter", "internal/sockdiag", "internal/osthread"},
	"internal/bpfiter":  {},
	"internal/sockdiag": {"internal/osthread"},
	"internal/osthread": {},
	"internal/patience": {},
	"internal/tracee":   {"internal/osthread"},
	"internal/unwind":   {"internal/patience"},
}

// workshops are packages for tests, measurements and demonstrations: no floor
// imports them, but its tests may.
var workshops = []string{"internal/archtest", "internal/bench", "internal/demo", "internal/proctest", "internal/stories", "internal/testenv", "internal/wiretest"}

// reserved are packages from outside with the only floors that import them. A
// name that ends with a slash stands for everything below it.
var reserved = map[string][]string{
	"github.com/spf13/":                      {"cmd"},
	"golang.org/x/term":                      {"cmd"},
	"github.com/olekukonko/":                 {"report"},
	"github.com/fatih/color":                 {"report"},
	"github.com/mattn/":                      {"report"},
	"github.com/prometheus/":                 {"fdscan"},
	"github.com/goccy/":                      {"inspect"},
	"github.com/ianlancetaylor/demangle":     {"internal/unwind"},
	"golang.org/x/sys/":                      {"cmd", "fdscan", "internal/act", "internal/bpfiter", "internal/follow", "internal/sockdiag", "internal/osthread", "internal/tracee", "internal/unwind"},
	"encoding/json":                          {"report", "internal/tracee"},
	"C":                                      {},
	"log":                                    {},
	"log/":                                   {},
	"github.com/rogpeppe/":                   {},
	"github.com/google/go-cmp/":              {},
	"github.com/santhosh-tekuri/jsonschema/": {},
	"testing":                                {"inspect/fdtest"},
}

// pure floors touch no machine: what they say is a function of what they are
// given.
var pure = map[string]bool{"inspect": true, "inspect/rules": true, "report": true}

// impure are what a pure floor does without.
var impure = []string{"os", "os/", "net", "net/http", "syscall", "golang.org/x/sys/", "math/rand", "math/rand/v2", "crypto/rand", "path/filepath", "runtime", "runtime/"}

// file is a source file of the module.
type file struct {
	name string // relative to the module's root
	dir  string
	test bool
	fset *token.FileSet
	ast  *ast.File
}

// imports returns the paths that the file imports; those of the module as
// directories, behind "./".
func (f file) imports() (paths []string) {
	for _, i := range f.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		if rest, ok := strings.CutPrefix(p, module+"/"); ok {
			p = "./" + rest
		}
		paths = append(paths, p)
	}
	return paths
}

func (f file) at(p token.Pos) string {
	return f.name + ":" + strconv.Itoa(f.fset.Position(p).Line)
}

// source parses every Go file of the module; tools and test data are modules
// and files of their own.
func source(t *testing.T) (files []file) {
	t.Helper()
	root := "."
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		root = filepath.Join("..", root)
	}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if relative != "." && (relative == "tools" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f := file{name: filepath.ToSlash(relative), dir: path.Dir(filepath.ToSlash(relative)), test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
		f.ast, err = parser.ParseFile(f.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("%d files: this is not the module", len(files))
	}
	return files
}

// matches reports whether an import path is pattern, or below it when that ends
// with a slash.
func matches(pattern, path string) bool {
	return path == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern)
}

func TestImportsRunOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range source(t) {
		allowed, floor := floors[f.dir]
		workshop := slices.Contains(workshops, f.dir)
		seen[f.dir] = true
		if !floor && !workshop {
			t.Errorf("%s: package %s has no place: give it a floor here", f.name, f.dir)
		}
		for _, p := range f.imports() {
			dir, ours := strings.CutPrefix(p, "./")
			switch {
			case !ours || slices.Contains(allowed, dir):
			case workshop && (slices.Contains(workshops, dir) || floors[dir] != nil):
			case f.test && (dir == f.dir || dir == "inspect/fdtest" || slices.Contains(workshops, dir)):
			case f.test && dir == "inspect/rules" && (f.dir == "inspect" || slices.Contains(allowed, "inspect")):
				// A test of verdicts or reports wants findings in them.
			default:
				t.Errorf("%s imports %s, which is not below it", f.name, dir)
			}
		}
	}
	for dir := range floors {
		if !seen[dir] {
			t.Errorf("there is no package %s", dir)
		}
	}
}

func TestReservedImports(t *testing.T) {
	for _, f := range source(t) {
		if _, floor := floors[f.dir]; f.test || !floor {
			continue
		}
		for _, p := range f.imports() {
			for pattern, users := range reserved {
				if matches(pattern, p) && !slices.Contains(users, f.dir) {
					t.Errorf("%s imports %s, which is for %v only", f.name, p, users)
				}
			}
		}
	}
}

// Whoever imports fdtest into tests gets nothing else with it.
func TestFDTestNeedsTheStandardLibraryOnly(t *testing.T) {
	for _, f := range source(t) {
		if f.dir != "inspect/fdtest" {
			continue
		}
		for _, p := range f.imports() {
			first, _, _ := strings.Cut(p, "/")
			if strings.Contains(first, ".") && p != "./inspect/fdtest" || p == "C" || p == "unsafe" && !f.test {
				t.Errorf("%s imports %s, which is not of the standard library, or not plain Go", f.name, p)
			}
		}
	}
}

func TestPureFloors(t *testing.T) {
	for _, f := range source(t) {
		if f.test || !pure[f.dir] {
			continue
		}
		for _, p := range f.imports() {
			if slices.ContainsFunc(impure, func(pattern string) bool { return matches(pattern, p) }) {
				t.Errorf("%s imports %s: %s touches no machine", f.name, p, f.dir)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "Tick"}, s.Sel.Name) {
					t.Errorf("%s: time.%s: the time is that of the snapshot", f.at(s.Pos()), s.Sel.Name)
				}
			}
			return true
		})
	}
}

// The root of proc(5) is a field (fdscan.Scanner), so that another one can be
// looked at. A process's own descriptors are always those of the real one, and
// ptrace(2) acts on no other.
func TestProcIsNoLiteral(t *testing.T) {
	roots := []string{"fdscan/scanner.go", "internal/tracee/proc.go"}
	for _, f := range source(t) {
		if _, floor := floors[f.dir]; f.test || !floor {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(literal.Value)
			own := strings.HasPrefix(text, "/proc/self/") || strings.HasPrefix(text, "/proc/thread-self/")
			if strings.HasPrefix(text, "/proc") && !own && !slices.Contains(roots, f.name) {
				t.Errorf("%s: %q: ask the Scanner for its root", f.at(literal.Pos()), text)
			}
			return true
		})
	}
}

// Nothing happens before main but the filling of registries.
func TestNoInitFunctions(t *testing.T) {
	for _, f := range source(t) {
		if _, floor := floors[f.dir]; f.test || !floor {
			continue
		}
		for _, d := range f.ast.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				t.Errorf("%s: an init function does work at every start", f.at(d.Pos()))
			}
		}
	}
}

// What is not done is not in the source.
func TestNoReminders(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}
	for _, f := range source(t) {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				for _, w := range words {
					if strings.Contains(c.Text, w) {
						t.Errorf("%s: %s", f.at(c.Pos()), w)
					}
				}
			}
		}
	}
}

// A test that cannot run says so by testenv, which fails it where nothing may be
// left out; only -short skips by itself, and benchmarks have worlds to choose.
func TestSkipsGoThroughTestenv(t *testing.T) {
	for _, f := range source(t) {
		handsOn := f.name == "cmd/script_test.go" // what testenv says, to the script
		if !f.test || handsOn || f.dir == "internal/testenv" || f.dir == "internal/bench" {
			continue
		}
		short := map[ast.Stmt]bool{}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.IfStmt:
				if isCall(n.Cond, "testing", "Short") {
					for _, s := range n.Body.List {
						short[s] = true
					}
				}
			case *ast.ExprStmt:
				call, ok := n.X.(*ast.CallExpr)
				if !ok || short[n] {
					return true
				}
				if skip, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, skip.Sel.Name) {
					t.Errorf("%s: a silent skip: ask testenv", f.at(n.Pos()))
				}
			}
			return true
		})
	}
}

// isCall reports that e calls the function of the package.
func isCall(e ast.Expr, pkg, name string) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && x.Name == pkg && f.Sel.Name == name
}

// CI installs each package of the distribution that a test names as its need.
func TestCIInstallsWhatTestsNeed(t *testing.T) {
	ci, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(ci), "for package in ")
	list, _, ok := strings.Cut(list, ";")
	if !ok {
		t.Fatal(".ci/run has no list of packages")
	}
	essential := []string{"bash", "coreutils", "dash", "util-linux"} // of every Debian
	installed := append(strings.Fields(list), essential...)
	for _, f := range source(t) {
		if !f.test || f.dir == "internal/testenv" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isCall(call, "testenv", "NeedTool") {
				return true
			}
			literal, ok := call.Args[2].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the package is not a literal", f.at(call.Pos()))
				return true
			}
			if pkg, _ := strconv.Unquote(literal.Value); !slices.Contains(installed, pkg) {
				t.Errorf("%s: .ci/run does not install %s", f.at(call.Pos()), pkg)
			}
			return true
		})
	}
}

// Exported names of a floor say what they are, in a sentence about the name.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range source(t) {
		if _, floor := floors[f.dir]; f.test || !floor || f.dir == "." {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || receiverExported(d.Recv)) && !documents(d.Doc, d.Name.Name) && d.Name.Name != "String" && d.Name.Name != "Error" {
					t.Errorf("%s: %s lacks a comment that tells what it is", f.at(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				if d.Tok != token.TYPE {
					continue
				}
				for _, s := range d.Specs {
					s := s.(*ast.TypeSpec)
					doc := s.Doc
					if doc == nil {
						doc = d.Doc
					}
					if s.Name.IsExported() && !documents(doc, s.Name.Name) {
						t.Errorf("%s: %s lacks a comment that tells what it is", f.at(s.Pos()), s.Name.Name)
					}
				}
			}
		}
	}
}

func receiverExported(fields *ast.FieldList) bool {
	kind := fields.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	name, ok := kind.(*ast.Ident)
	return ok && name.IsExported()
}

func documents(doc *ast.CommentGroup, name string) bool {
	if doc == nil {
		return false
	}
	text := doc.Text()
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	return strings.HasPrefix(text, name+" ")
}
