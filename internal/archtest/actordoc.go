package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// actorType is a type with a method Receive(actor.Context).
type actorType struct {
	key     string // package.Type
	file    *file
	spec    *ast.TypeSpec
	owns    string
	failure string
}

// spawn is one call of env.Spawner.Child.
type spawn struct {
	parents  []string // keys
	children []string // keys
	label    string   // the child's name, * for what varies
}

// actorModel is what the source below actors/ says about actors.
type actorModel struct {
	module   *module
	files    []*file
	types    map[string]*actorType
	funcs    map[string][]*function // package.name -> functions and methods of that name
	spawns   []spawn
	problems []string
}

// function is a declaration with the file that it stands in.
type function struct {
	file *file
	decl *ast.FuncDecl
}

// ActorDocs writes docs/actors.md for the module at root: the supervision
// tree and who owns what, from the spawn calls and the comments of the actor
// types. The error lists every place from which that can't be told.
func ActorDocs(root string) (string, error) {
	m, err := load(root)
	if err != nil {
		return "", err
	}
	am := &actorModel{module: m, types: map[string]*actorType{}, funcs: map[string][]*function{}}
	for _, f := range m.files {
		if within(f.dir, "actors") && !within(f.dir, "actors/env") && !f.test {
			am.files = append(am.files, f)
		}
	}
	am.index()
	am.findSpawns()
	if len(am.problems) > 0 {
		slices.Sort(am.problems)
		return "", fmt.Errorf("document the actors:\n%s", strings.Join(am.problems, "\n"))
	}
	return am.markdown(), nil
}

func (am *actorModel) problem(f *file, n ast.Node, format string, args ...any) {
	v := f.violation(n.Pos(), "docs/actors.md is generated from it", format, args...)
	am.problems = append(am.problems, v.String())
}

// index finds functions and actor types.
func (am *actorModel) index() {
	for _, f := range am.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				key := f.key(fn.Name.Name)
				am.funcs[key] = append(am.funcs[key], &function{f, fn})
			}
		}
	}
	receives := map[string]bool{}
	for _, f := range am.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && isReceive(fn) {
				receives[f.key(receiver(fn))] = true
			}
		}
	}
	for _, f := range am.files {
		am.indexTypes(f, receives)
	}
}

func (am *actorModel) indexTypes(f *file, receives map[string]bool) {
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok || !receives[f.key(spec.Name.Name)] {
				continue
			}
			doc := spec.Doc
			if doc == nil {
				doc = g.Doc
			}
			am.addType(f, spec, doc.Text())
		}
	}
}

func (am *actorModel) addType(f *file, spec *ast.TypeSpec, doc string) {
	t := &actorType{key: f.key(spec.Name.Name), file: f, spec: spec,
		owns: paragraph(doc, "Owns:"), failure: paragraph(doc, "On failure:")}
	am.types[t.key] = t
	if t.owns == "" || t.failure == "" {
		am.problem(f, spec, "the comment of actor %s lacks a line that begins with Owns: or On failure:", t.key)
	}
}

// paragraph is the text after label, which begins a line, up to an empty line
// or the other label.
func paragraph(doc, label string) string {
	var words []string
	inside := false
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		rest, starts := strings.CutPrefix(line, label)
		switch {
		case starts:
			inside = true
			words = append(words, strings.Fields(rest)...)
		case line == "", strings.HasPrefix(line, "Owns:"), strings.HasPrefix(line, "On failure:"):
			inside = false
		case inside:
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.Join(words, " ")
}

// key names something in f's package.
func (f *file) key(name string) string { return f.ast.Name.Name + "." + name }

// isReceive recognises Receive(ctx actor.Context).
func isReceive(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || fn.Name.Name != "Receive" || len(fn.Type.Params.List) != 1 {
		return false
	}
	s, ok := fn.Type.Params.List[0].Type.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Context"
}

// receiver is the name of the type of which fn is a method, "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	return typeName(fn.Recv.List[0].Type)
}

// typeName is T of T, *T and T[P].
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	}
	return ""
}
