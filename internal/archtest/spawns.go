package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// findSpawns reads every call of Child(ctx, name, producer).
func (am *actorModel) findSpawns() {
	for _, f := range am.files {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && isSpawn(call) {
					am.addSpawn(&function{f, fn}, call)
				}
				return true
			})
		}
	}
}

func isSpawn(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Child" && len(call.Args) == 3
}

func (am *actorModel) addSpawn(in *function, call *ast.CallExpr) {
	parents := am.actorsThatCall(in, map[*ast.FuncDecl]bool{})
	if len(parents) == 0 {
		am.problem(in.file, call, "no actor of this package calls %s, which spawns", in.decl.Name.Name)
	}
	children := am.annotated(in.file, call)
	if children == nil {
		children = unique(am.made(in, call.Args[2], 0))
	}
	if len(children) == 0 {
		am.problem(in.file, call, "can't tell which actor is spawned; write a comment line above:  // Child: package.Type")
	}
	for _, c := range children {
		if am.types[c] == nil {
			am.problem(in.file, call, "%s is no actor type", c)
		}
	}
	am.spawns = append(am.spawns, spawn{parents, children, label(call.Args[1])})
}

// annotated reads the comment "Child: a, b" on the line above the call.
func (am *actorModel) annotated(f *file, call *ast.CallExpr) []string {
	above := f.fset.Position(call.Pos()).Line - 1
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			list, ok := strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(c.Text, "//")), "Child:")
			if !ok || f.fset.Position(c.Pos()).Line != above {
				continue
			}
			var all []string
			for _, s := range strings.Split(list, ",") {
				all = append(all, strings.TrimSpace(s))
			}
			return all
		}
	}
	return nil
}

// actorsThatCall are the actor types of whose methods fn is one, or that call
// it from their methods, however indirectly.
func (am *actorModel) actorsThatCall(fn *function, seen map[*ast.FuncDecl]bool) []string {
	if seen[fn.decl] {
		return nil
	}
	seen[fn.decl] = true
	if key := fn.file.key(receiver(fn.decl)); am.types[key] != nil {
		return []string{key}
	}
	var all []string
	for _, other := range am.files {
		if other.dir != fn.file.dir {
			continue
		}
		for _, d := range other.ast.Decls {
			if caller, ok := d.(*ast.FuncDecl); ok && mentions(caller, fn.decl.Name.Name) {
				all = append(all, am.actorsThatCall(&function{other, caller}, seen)...)
			}
		}
	}
	return unique(all)
}

func mentions(fn *ast.FuncDecl, name string) bool {
	found := false
	if fn.Body != nil {
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			found = found || ok && id.Name == name
			return !found
		})
	}
	return found
}

// maxDepth is how many functions may lie between a spawn and the composite
// literal of the actor.
const maxDepth = 8

// made is which actor types the expression makes, or its calls return.
func (am *actorModel) made(in *function, e ast.Expr, depth int) []string {
	if depth > maxDepth {
		return nil
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return am.made(in, e.X, depth)
	case *ast.UnaryExpr:
		return am.made(in, e.X, depth)
	case *ast.CompositeLit:
		return am.actorNamed(in.file, e.Type)
	case *ast.FuncLit:
		return am.returned(&function{in.file, &ast.FuncDecl{Name: in.decl.Name, Type: e.Type, Body: e.Body}}, in, depth)
	case *ast.CallExpr:
		return am.made(in, e.Fun, depth+1)
	case *ast.Ident:
		if all := am.assigned(in, e.Name, depth); all != nil {
			return all
		}
		return am.ofFunctions(am.funcs[in.file.key(e.Name)], depth)
	case *ast.SelectorExpr:
		return am.ofSelector(in, e, depth)
	}
	return nil
}

// actorNamed is the key of the actor type that e names, if it is one.
func (am *actorModel) actorNamed(f *file, e ast.Expr) []string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	key := f.key(typeName(e))
	if s, ok := e.(*ast.SelectorExpr); ok {
		key = typeName(s.X) + "." + s.Sel.Name
	}
	if am.types[key] == nil {
		return nil
	}
	return []string{key}
}

// ofSelector is what pkg.Func or value.Method makes.
func (am *actorModel) ofSelector(in *function, e *ast.SelectorExpr, depth int) []string {
	x := typeName(e.X)
	for _, im := range in.file.imports() {
		if _, ours := am.module.inside(im.path); ours && im.name == x {
			return am.ofFunctions(am.funcs[x+"."+e.Sel.Name], depth)
		}
	}
	return am.ofFunctions(am.funcs[in.file.key(e.Sel.Name)], depth)
}

func (am *actorModel) ofFunctions(fns []*function, depth int) []string {
	var all []string
	for _, fn := range fns {
		if r := fn.decl.Type.Results; r != nil && len(r.List) > 0 {
			if named := am.actorNamed(fn.file, r.List[0].Type); named != nil {
				all = append(all, named...)
				continue
			}
		}
		all = append(all, am.returned(fn, nil, depth)...)
	}
	return all
}

// returned is what the return statements of fn make; outer is the function
// around a literal, whose variables fn sees.
func (am *actorModel) returned(fn, outer *function, depth int) []string {
	var all []string
	if fn.decl.Body == nil {
		return nil
	}
	ast.Inspect(fn.decl.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			if len(n.Results) == 0 {
				return true
			}
			found := am.made(fn, n.Results[0], depth+1)
			if found == nil && outer != nil {
				found = am.made(outer, n.Results[0], depth+1)
			}
			all = append(all, found...)
		}
		return true
	})
	return all
}

// assigned is what is assigned to a variable anywhere in the function.
func (am *actorModel) assigned(in *function, name string, depth int) []string {
	var all []string
	ast.Inspect(in.decl.Body, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != len(a.Rhs) {
			return true
		}
		for i, l := range a.Lhs {
			if typeName(l) == name {
				all = append(all, am.made(in, a.Rhs[i], depth+1)...)
			}
		}
		return true
	})
	return all
}

// label shows the name that a child is given: constant, or with * for what
// varies.
func label(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err == nil && e.Kind == token.STRING && s != "" {
			return s
		}
	case *ast.BinaryExpr:
		return strings.ReplaceAll(label(e.X)+label(e.Y), "**", "*")
	case *ast.CallExpr:
		if len(e.Args) == 0 {
			break
		}
		if s, ok := e.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Sprintf" {
			return verbs(label(e.Args[0]))
		}
		// A function that makes a name, of what it is given first.
		return strings.ReplaceAll(label(e.Args[0])+"*", "**", "*")
	}
	return "*"
}

// verbs puts * for each verb of a format.
func verbs(format string) string {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		for i++; i < len(format) && strings.IndexByte("+-# 0123456789.[]", format[i]) >= 0; i++ {
		}
		out.WriteByte('*')
	}
	return out.String()
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
