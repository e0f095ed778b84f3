package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

const protoactor = "github.com/asynkron/protoactor-go"

// libraries that only some rooms may import, tests included unless free.
var libraries = []struct {
	prefix    string
	by        []string
	testsFree bool
	reason    string
}{
	{"github.com/cockroachdb/pebble", []string{"lease/store", "integration"}, true, "only lease/store knows Pebble, so that its keys and formats have one owner"},
	{"github.com/libp2p", []string{"transport/p2p", "integration"}, true, "only transport/p2p knows libp2p; everybody else knows transport's interfaces and its fake"},
	{protoactor, []string{"actors", "integration"}, true, "only actors know protoactor; others use env.PID, env.Ask and env.System"},
}

// checkLibraries checks imports of other modules.
func checkLibraries(f *file) []Violation {
	var all []Violation
	for _, im := range f.imports() {
		if within(im.path, protoactor) && im.path != protoactor+"/actor" && !isEventStream(f, im) {
			all = append(all, f.violation(im.pos, "nodes talk over libp2p in wire objects; remote, cluster and the rest bring grpc and wall clocks", "imports %s", im.path))
		}
		if f.dir == "grid" && !f.test && strings.Contains(im.path, ".") {
			all = append(all, f.violation(im.pos, "grid uses the standard library alone: what it imports, everybody imports", "imports %s", im.path))
		}
		for _, l := range libraries {
			if within(im.path, l.prefix) && !withinAny(f.dir, l.by) && !(f.test && l.testsFree) {
				all = append(all, f.violation(im.pos, l.reason, "imports %s", im.path))
			}
		}
	}
	return all
}

// isEventStream allows env what it needs to take over the dead letters.
func isEventStream(f *file, im imported) bool {
	return f.dir == "actors/env" && im.path == protoactor+"/eventstream"
}

// ignorance is what the code of some rooms must not know.
type ignorance struct {
	rooms, except []string
	imports       []string            // exact, or a prefix that ends in /
	uses          map[string][]string // of an import: these names; "!" first: all but these
	methods       []string            // called on anything
	goroutines    bool                // no go statement
	reason        string
}

var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

var ignorances = []ignorance{
	{
		rooms:   []string{"grid", "lease", "file", "transport/wire"},
		except:  []string{"lease/store"},
		imports: []string{"net", "net/http", "net/rpc", "os", "os/", "syscall", "log", "log/", "crypto/rand", "math/rand", "math/rand/v2", "runtime"},
		uses: map[string][]string{
			"time": clock,
			"sync": {"WaitGroup", "Cond", "NewCond"}, // a lock around a cache is fine
		},
		goroutines: true,
		reason:     "grid, lease, file and wire are pure: no clock, goroutine, network, disk or log; time and randomness are arguments",
	},
	{
		rooms:   []string{"actors"},
		except:  []string{"actors/env"},
		imports: []string{"net", "net/http", "net/rpc", "os", "os/", "log", "sync", "crypto/rand", "math/rand", "math/rand/v2", "runtime"},
		uses: map[string][]string{
			"time":     clock,
			"syscall":  {"!", "Errno", "ENOSPC", "EDQUOT", "EROFS", "EIO"}, // what a store's error may be
			"context":  {"WithTimeout", "WithDeadline", "WithTimeoutCause", "WithDeadlineCause", "AfterFunc"},
			"log/slog": {"Debug", "Info", "Warn", "Error", "Default", "SetDefault"},
		},
		methods:    []string{"RequestFuture", "StopFuture", "PoisonFuture", "ReenterAfter", "SetReceiveTimeout", "Spawn", "SpawnNamed", "SpawnPrefix"},
		goroutines: true,
		reason:     "an actor uses nothing but its env (clock, randomness, executor, spawner, log): else the simulation can't repeat it",
	},
}

// checkKnowledge checks what a file knows of the world. Tests may know all.
func checkKnowledge(f *file) []Violation {
	if f.test {
		return nil
	}
	var all []Violation
	for i := range ignorances {
		ig := &ignorances[i]
		if withinAny(f.dir, ig.rooms) && !withinAny(f.dir, ig.except) {
			all = append(all, ig.check(f)...)
		}
	}
	return all
}

func (ig *ignorance) check(f *file) []Violation {
	var all []Violation
	names := map[string]string{} // as the file calls it -> import path
	for _, im := range f.imports() {
		names[im.name] = im.path
		if ig.bansImport(im.path) {
			all = append(all, f.violation(im.pos, ig.reason, "imports %s", im.path))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if ig.goroutines {
				all = append(all, f.violation(n.Pos(), ig.reason, "starts a goroutine"))
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains(ig.methods, s.Sel.Name) {
				all = append(all, f.violation(n.Pos(), ig.reason, "calls %s", s.Sel.Name))
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && ig.bansUse(names[x.Name], n.Sel.Name) {
				all = append(all, f.violation(n.Pos(), ig.reason, "uses %s.%s", x.Name, n.Sel.Name))
			}
		}
		return true
	})
	return all
}

func (ig *ignorance) bansImport(p string) bool {
	return slices.ContainsFunc(ig.imports, func(b string) bool {
		return p == b || strings.HasSuffix(b, "/") && strings.HasPrefix(p, b) && ig.uses[p] == nil
	})
}

func (ig *ignorance) bansUse(importPath, name string) bool {
	list := ig.uses[importPath]
	if len(list) > 0 && list[0] == "!" {
		return !slices.Contains(list[1:], name)
	}
	return slices.Contains(list, name)
}

// checkTests finds tests that may not run, and such as wait for real.
func checkTests(f *file) []Violation {
	if !f.test {
		return nil
	}
	all := checkFuzzTargets(f)
	virtual := slices.ContainsFunc(f.imports(), func(im imported) bool { return im.path == "testing/synctest" })
	ast.Inspect(f.ast, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := s.X.(*ast.Ident)
		switch {
		case !ok:
		case len(x.Name) == 1 && slices.Contains([]string{"Skip", "SkipNow", "Skipf"}, s.Sel.Name):
			all = append(all, f.violation(n.Pos(), "go test ./... skips nothing: what needs more than Go has the tag integration", "uses %s.%s", x.Name, s.Sel.Name))
		case x.Name == "time" && s.Sel.Name == "Sleep" && !virtual:
			all = append(all, f.violation(n.Pos(), "a test waits for what it waits for; only in a synctest bubble is sleeping virtual", "uses time.Sleep"))
		}
		return true
	})
	return all
}

// checkFuzzTargets finds targets that start from nothing: such a target adds
// no seed, and gives its *testing.F to nobody who could.
func checkFuzzTargets(f *file) []Violation {
	var all []Violation
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") || len(fn.Type.Params.List) != 1 || fn.Body == nil {
			continue
		}
		seeded := false
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				s, isMethod := call.Fun.(*ast.SelectorExpr)
				seeded = seeded || isMethod && s.Sel.Name == "Add" || passes(call, fn.Type.Params.List[0].Names)
			}
			return true
		})
		if !seeded {
			all = append(all, f.violation(fn.Pos(), "fuzzing from nothing finds the first bytes of a format and no more", "%s has no seeds", fn.Name.Name))
		}
	}
	return all
}

// passes reports whether the call is given one of the names.
func passes(call *ast.CallExpr, names []*ast.Ident) bool {
	return slices.ContainsFunc(call.Args, func(a ast.Expr) bool {
		id, ok := a.(*ast.Ident)
		return ok && slices.ContainsFunc(names, func(n *ast.Ident) bool { return n.Name == id.Name })
	})
}

// emptyNames say nothing; a helper, in the singular, is a role of a node.
var emptyNames = []string{"util", "utils", "common", "helpers", "types", "misc", "base", "shared"}

// checkPackages checks names and comments of packages.
func (m *module) checkPackages() []Violation {
	var all []Violation
	first := map[string]*file{}
	documented := map[string]bool{}
	for _, f := range m.files {
		if slices.Contains(emptyNames, f.ast.Name.Name) || slices.Contains(emptyNames, path.Base(f.dir)) {
			all = append(all, f.violation(f.ast.Package, "a name says what is inside, not that something is", "package %s", f.ast.Name.Name))
		}
		if f.test {
			continue
		}
		if first[f.dir] == nil {
			first[f.dir] = f
		}
		if isPackageComment(f.ast) {
			documented[f.dir] = true
		}
	}
	for dir, f := range first {
		if !documented[dir] {
			all = append(all, f.violation(f.ast.Package, "every package says its purpose, main types and promises", "package %s has no comment that begins with its name", f.ast.Name.Name))
		}
	}
	return all
}

// isPackageComment: "Package name ...", or for a command "Command name ..." or
// its name.
func isPackageComment(f *ast.File) bool {
	if f.Doc == nil {
		return false
	}
	text := f.Doc.Text()
	if f.Name.Name == "main" {
		return len(strings.Fields(text)) > 3
	}
	return strings.HasPrefix(text, "Package "+f.Name.Name+" ")
}
