package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/control"
)

// Errors of aliases.
var (
	errNoAlias    = errors.New("no such alias")
	errAliasTaken = errors.New("there is such an alias already")
)

// defaultAlias is meant where a path is given without an alias. It is Tahoe's,
// so that its programs and these find the same under the same names.
const defaultAlias = "tahoe"

// alias is a name for a directory, kept in the node's folder.
type alias struct{ name, capability string }

// aliases reads private/aliases, whose lines are "name: capability", as
// Tahoe-LAFS has them. Later lines count. The text is all that is there.
func (f folder) aliases() (list []alias, text []byte, err error) {
	text, err = os.ReadFile(f.aliasFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the aliases: %w", err)
	}
	places := map[string]int{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, capability, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		a := alias{name, strings.TrimSpace(capability)}
		if i, known := places[name]; known {
			list[i] = a
			continue
		}
		places[name] = len(list)
		list = append(list, a)
	}
	return list, text, nil
}

// addAlias adds a line. Errors: errAliasTaken, errBadName.
func (f folder) addAlias(a alias) error {
	if err := f.aliasFree(a.name); err != nil {
		return err
	}
	_, text, err := f.aliases()
	if err != nil {
		return err
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	text = fmt.Appendf(text, "%s: %s\n", a.name, a.capability)
	if err := writeFile(f.aliasFile(), text, 0o600); err != nil {
		return notWritten(f.aliasFile(), err)
	}
	return nil
}

// aliasFree says why a name can't become an alias; nil if it can.
func (f folder) aliasFree(name string) error {
	if err := checkAlias(name); err != nil {
		return err
	}
	list, _, err := f.aliases()
	if err != nil {
		return err
	}
	for _, known := range list {
		if known.name == name {
			return fmt.Errorf("%w: %s", errAliasTaken, name)
		}
	}
	return nil
}

// checkAlias refuses names that could not be told from something else.
func checkAlias(name string) error {
	if name == "" || strings.ContainsAny(name, ":/#") || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return fmt.Errorf("%w for an alias: %q; colons, slashes, # and spaces can't be in one", errBadName, name)
	}
	return nil
}

// place is something on the grid: what a path leads to from a capability.
type place struct {
	capability string
	path       []string
	folder     bool // it was written with a slash at the end
}

// place reads what people give for something on the grid: CAP, CAP/PATH,
// ALIAS:PATH, or PATH below the default alias.
func (f folder) place(text string) (place, error) {
	text = strings.TrimSpace(text)
	if isCapability(text) {
		capability, path, _ := strings.Cut(text, "/")
		return newPlace(strings.TrimSuffix(capability, ":."), path), nil
	}
	name, path, ok := strings.Cut(text, ":")
	if !ok || strings.Contains(name, "/") {
		name, path = defaultAlias, text
	}
	list, _, err := f.aliases()
	if err != nil {
		return place{}, err
	}
	for _, a := range list {
		if a.name == name {
			if strings.HasPrefix(path, "/") {
				return place{}, usageError{err: fmt.Errorf("%s: a path on the grid does not begin with a slash", text)}
			}
			return newPlace(a.capability, path), nil
		}
	}
	if !ok && text == "" {
		return place{}, fmt.Errorf("%w: say what is meant, a capability or ALIAS:PATH, or make the alias %q", errNoAlias, defaultAlias)
	}
	if !ok {
		return place{}, fmt.Errorf("%w: %q is no capability (it would begin with URI:), and a path is ALIAS:PATH unless there is the alias %q", errNoAlias, text, defaultAlias)
	}
	return place{}, fmt.Errorf("%w: %q; see: tarn list-aliases", errNoAlias, name)
}

// capability is what somebody gives for a single object: its capability, or a place
// that leads to it, for which a node must run.
func (e *env) capability(ctx context.Context, o getOptions) (string, error) {
	text, err := o.readCap(e)
	if err != nil {
		return "", err
	}
	f, err := e.folder()
	if err != nil {
		return "", err
	}
	p, err := f.place(text)
	if err != nil || len(p.path) == 0 {
		return p.capability, err
	}
	n := control.NewClient(f.socket())
	defer n.Close()
	object, _, err := n.Object(ctx, p.capability, p.path...)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", shownName(strings.Join(p.path, "/")), f.explain(err))
	}
	return bestCap(object), nil
}

func isCapability(text string) bool {
	for _, prefix := range []string{"URI:", "ro.URI:", "imm.URI:"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// newPlace cuts a path into names; what is between two slashes in a row is none.
func newPlace(capability, path string) place {
	p := place{capability: capability, folder: strings.HasSuffix(path, "/")}
	for _, name := range strings.Split(path, "/") {
		if name != "" {
			p.path = append(p.path, name)
		}
	}
	return p
}

// is the place as the node is asked about it.
func (p place) is() control.Place { return control.Place{Cap: p.capability, Path: p.path} }

// parent is the directory that the place is in, name what it is called there;
// both want a path.
func (p place) parent() control.Place {
	return control.Place{Cap: p.capability, Path: p.path[:len(p.path)-1]}
}

func (p place) name() string { return p.path[len(p.path)-1] }

type addAliasOptions struct{ name, capability string }

func newAddAlias(e *env) *cobra.Command {
	var o addAliasOptions
	return &cobra.Command{
		Use:   "add-alias ALIAS [PLACE|-]",
		Short: "Give a directory a name",
		Long: `Gives a directory a name, with which paths can begin: ALIAS:photos/one.jpg. PLACE is
its capability, or a path to it; it is read from standard input if it is not given. Names are kept in private/aliases in the node's folder, as Tahoe-LAFS
keeps them. A path without an alias begins at the alias ` + defaultAlias + `.

` + capSecrecy,
		Example: "  tarn add-alias photos < photos.cap\n  tarn add-alias tahoe URI:DIR2-LIT:",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.capability = strings.TrimSuffix(args[0], ":"), argument(args, 1)
			return runAddAlias(ctx, e, o)
		}),
	}
}

func runAddAlias(ctx context.Context, e *env, o addAliasOptions) error {
	f, err := e.nodeFolder()
	if err != nil {
		return err
	}
	if err := checkAlias(o.name); err != nil {
		return err
	}
	capability, err := e.capability(ctx, getOptions{capability: o.capability})
	if err != nil {
		return err
	}
	c, err := file.Parse(capability)
	if err != nil {
		return err
	}
	if _, ok := c.(file.Directory); !ok {
		return usageError{err: fmt.Errorf("an alias is a name for a directory, and this is a capability of the kind %s", c.Kind())}
	}
	if err := f.addAlias(alias{o.name, c.String()}); err != nil {
		return err
	}
	e.note("%s: is that directory now", o.name)
	return nil
}

type listAliasesOptions struct {
	readOnly bool
	json     bool
}

func newListAliases(e *env) *cobra.Command {
	var o listAliasesOptions
	c := &cobra.Command{
		Use:     "list-aliases",
		Short:   "List the names of directories, with their capabilities",
		Example: "  tarn list-aliases",
		Args:    between(0, 0),
		RunE:    action(func(context.Context, []string) error { return runListAliases(e, o) }),
	}
	c.Flags().BoolVar(&o.readOnly, "readonly-uri", false, "capabilities that can only read")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

// aliasCaps are the capabilities of an alias, in JSON as Tahoe names them.
type aliasCaps struct {
	ReadWrite string `json:"readwrite,omitempty"`
	ReadOnly  string `json:"readonly,omitempty"`
}

func runListAliases(e *env, o listAliasesOptions) error {
	f, err := e.nodeFolder()
	if err != nil {
		return err
	}
	list, _, err := f.aliases()
	if err != nil {
		return err
	}
	all := map[string]aliasCaps{}
	t := newTable(e.stdout)
	for _, a := range list {
		caps := capsOf(a.capability)
		all[a.name] = caps
		shown := a.capability
		if o.readOnly {
			shown = caps.ReadOnly
		}
		t.row(a.name+":", shown)
	}
	if o.json {
		return writeJSON(e.stdout, all)
	}
	return t.end()
}

// capsOf tells what can be read of a capability from what can be written with
// it.
func capsOf(capability string) aliasCaps {
	c, err := file.Parse(capability)
	if err != nil {
		return aliasCaps{}
	}
	var caps aliasCaps
	if c.Writable() {
		caps.ReadWrite = c.String()
	}
	if lesser, err := file.ReadOnly(c); err == nil {
		caps.ReadOnly = lesser.String()
	}
	return caps
}
