package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/web/tahoe"
)

type lsOptions struct {
	where     string
	authority string
	long      bool
	caps      bool // as they are
	readOnly  bool // those that can only read
	classify  bool
	json      bool
}

func newLs(e *env) *cobra.Command {
	var o lsOptions
	c := &cobra.Command{
		Use:   "ls [PLACE|-]",
		Short: "List what is in a directory",
		Long: `Lists a directory of the grid. A PLACE is a capability, a capability with a path
behind it (CAP/photos), or a path from an alias (ALIAS:photos); without any it is
the alias ` + defaultAlias + `.

` + capSecrecy,
		Example: "  tarn ls\n  tarn ls -l photos:2026\n  tarn ls --json URI:DIR2-LIT:",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.where = args[0]
			}
			return runLs(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVarP(&o.long, "long", "l", false, "with size and time")
	c.Flags().BoolVarP(&o.caps, "uri", "u", false, "with the capability of each entry")
	c.Flags().BoolVar(&o.readOnly, "readonly-uri", false, "with a capability of each entry that can only read it")
	c.Flags().BoolVarP(&o.classify, "classify", "F", false, "with / behind directories, * behind files that can be changed, ? behind what is of unknown kind")
	c.Flags().BoolVar(&o.json, "json", false, "for programs: what the gateway answers to t=json")
	return c
}

func runLs(ctx context.Context, e *env, o lsOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	where, err := e.place(f, o.where)
	if err != nil {
		return err
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	object, text, err := n.Object(ctx, where.capability, where.path...)
	if err != nil {
		return fmt.Errorf("list: %w", f.explain(err))
	}
	if o.json {
		return e.print("%s", text)
	}
	children := object.Children
	if object.Kind != tahoe.Directory {
		name := "-"
		if len(where.path) > 0 {
			name = where.path[len(where.path)-1]
		}
		children = map[string]tahoe.Object{name: object}
	}
	t := newTable(e.stdout)
	for _, name := range slices.Sorted(maps.Keys(children)) {
		t.line(o.cells(name, children[name])...)
	}
	return t.end()
}

// cells are those of the line for an entry.
func (o lsOptions) cells(name string, c tahoe.Object) []string {
	var cells []string
	if o.long {
		cells = append(cells, permissions(c), sizeCell(c), timeCell(c))
	}
	name = shownName(name)
	if o.classify {
		name += mark(c)
	}
	cells = append(cells, name)
	if o.caps {
		cells = append(cells, bestCap(c))
	}
	if o.readOnly {
		cells = append(cells, c.Read)
	}
	return cells
}

// shownName is a name as it is, or quoted if a terminal or a table would not take
// it for text.
func shownName(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(name) != name || name == "" {
		return strconv.Quote(name)
	}
	return name
}

// permissions are written as ls does: what it is, and whether it can be read,
// written and gone into.
func permissions(c tahoe.Object) string {
	letters := []byte("?---")
	switch c.Kind {
	case tahoe.Directory:
		letters[0], letters[3] = 'd', 'x'
	case tahoe.File:
		letters[0] = '-'
	}
	if c.Read != "" {
		letters[1] = 'r'
	}
	if c.Write != "" {
		letters[2] = 'w'
	}
	return string(letters)
}

// sizeCell is exact, as programs read it.
func sizeCell(c tahoe.Object) string {
	switch {
	case c.Kind == tahoe.Directory:
		return "-"
	case c.Size == nil:
		return "?"
	}
	return strconv.FormatInt(*c.Size, 10)
}

// timeCell is when the entry was made, or what a backup says of the file.
func timeCell(c tahoe.Object) string {
	m := directory.Metadata(c.Metadata)
	when, _, ok := m.Linked()
	if !ok {
		when, ok = m.Modified()
	}
	if !ok {
		return "-"
	}
	return when.Local().Format(time.DateTime)
}

func mark(c tahoe.Object) string {
	switch {
	case c.Kind == tahoe.Directory:
		return "/"
	case c.Kind != tahoe.File:
		return "?"
	case c.Write != "":
		return "*"
	}
	return ""
}
