// Package archtest holds the module to its architecture: which room may
// import which, who alone may touch a library, what the pure rooms and the
// actors must not know, and that every package says what it is for.
//
// Check reads the module's source and returns a Violation, with the reason of
// the rule, for each place that breaks one. It uses the parser alone, so it
// sees files of every build tag and needs no dependency.
package archtest

import (
	"errors"
	"fmt"
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
)

// file is one parsed source file.
type file struct {
	dir  string // of the package below the module's root, with slashes; "." is the root
	name string // slash-separated, below the module's root
	test bool   // _test.go
	fset *token.FileSet
	ast  *ast.File
}

// imports lists the paths that f imports, under the names that it uses.
func (f *file) imports() []imported {
	var all []imported
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		name := path.Base(p)
		if isVersion(name) {
			name = path.Base(path.Dir(p))
		}
		if s.Name != nil {
			name = s.Name.Name
		}
		all = append(all, imported{path: p, name: name, pos: s.Pos()})
	}
	return all
}

type imported struct {
	path, name string
	pos        token.Pos
}

// isVersion recognises the last element of "math/rand/v2".
func isVersion(s string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	return strings.HasPrefix(s, "v") && err == nil && n > 1
}

// module is the source below one go.mod.
type module struct {
	path  string
	files []*file
}

// load parses all Go files of the module at root. Nested modules, testdata
// and folders that the go command ignores are left out.
func load(root string) (*module, error) {
	m := &module{}
	var err error
	if m.path, err = modulePath(filepath.Join(root, "go.mod")); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name)
		}
		if strings.HasSuffix(name, ".go") {
			return m.parse(root, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	return m, nil
}

// enter returns fs.SkipDir for a folder that isn't part of the module.
func enter(root, dir string) error {
	if dir == root {
		return nil
	}
	base := filepath.Base(dir)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		return fs.SkipDir
	}
	return err
}

func (m *module) parse(root, name string) error {
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	m.files = append(m.files, &file{dir: path.Dir(rel), name: rel, test: strings.HasSuffix(rel, "_test.go"), fset: fset, ast: tree})
	return nil
}

func modulePath(gomod string) (string, error) {
	text, err := os.ReadFile(gomod)
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(p), nil
		}
	}
	return "", fmt.Errorf("find the module: %s names none", gomod)
}

// inside returns the folder that an import of this module's names.
func (m *module) inside(importPath string) (dir string, ok bool) {
	if importPath == m.path {
		return ".", true
	}
	return strings.CutPrefix(importPath, m.path+"/")
}

// Violation is one place that breaks a rule.
type Violation struct {
	Place  string // file:line, below the module's root
	What   string
	Reason string
}

func (v Violation) String() string { return v.Place + ": " + v.What + ": " + v.Reason }

func (f *file) violation(pos token.Pos, reason, format string, args ...any) Violation {
	line := f.fset.Position(pos).Line
	return Violation{Place: f.name + ":" + strconv.Itoa(line), What: fmt.Sprintf(format, args...), Reason: reason}
}

// Check holds the module at root to every rule.
func Check(root string) ([]Violation, error) {
	m, err := load(root)
	if err != nil {
		return nil, err
	}
	var all []Violation
	for _, f := range m.files {
		all = append(all, m.checkRoom(f)...)
		all = append(all, checkLibraries(f)...)
		all = append(all, checkKnowledge(f)...)
		all = append(all, checkTests(f)...)
	}
	all = append(all, m.checkPackages()...)
	slices.SortFunc(all, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

// within reports whether dir (or an import path) is room or lies below it.
// The root package has nothing below it.
func within(dir, room string) bool {
	return dir == room || strings.HasPrefix(dir, room+"/")
}

func withinAny(dir string, rooms []string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool { return within(dir, r) })
}
