package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// inFormat reads --format of a directory; the default is small.
func inFormat(text string) (tarn.Format, error) {
	if text == "" {
		return tarn.SDMF, nil
	}
	format, err := tarn.ParseFormat(text)
	if err != nil {
		return "", usageError{err: fmt.Errorf("--format: %w", err)}
	}
	return format, nil
}

type createAliasOptions struct {
	name      string
	format    string
	authority string
}

func newCreateAlias(e *env) *cobra.Command {
	var o createAliasOptions
	c := &cobra.Command{
		Use:   "create-alias ALIAS",
		Short: "Make a directory and give it a name",
		Long: `Makes an empty directory and keeps its capability under a name, with which paths
can begin: ALIAS:photos/one.jpg. See add-alias.`,
		Example: "  tarn create-alias work",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = strings.TrimSuffix(args[0], ":")
			return runCreateAlias(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().StringVar(&o.format, "format", "", "sdmf, or mdmf for very large directories (default sdmf)")
	return c
}

func runCreateAlias(ctx context.Context, e *env, o createAliasOptions) error {
	format, err := inFormat(o.format)
	if err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := f.aliasFree(o.name); err != nil {
		return err
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	capability, err := n.NewDirectory(ctx, format)
	if err != nil {
		return fmt.Errorf("make the directory: %w", f.explain(err))
	}
	if err := f.addAlias(alias{o.name, capability}); err != nil {
		return err
	}
	return e.print("alias %s created\n", o.name)
}

type mkdirOptions struct {
	where     string
	format    string
	authority string
}

func newMkdir(e *env) *cobra.Command {
	var o mkdirOptions
	c := &cobra.Command{
		Use:   "mkdir [PLACE]",
		Short: "Make a directory",
		Long: `Makes a directory, and what is missing above it, and prints its capability. Without
a PLACE it is in no other directory, and whoever has the capability can find it again.
One that is there stays as it is.`,
		Example: "  tarn mkdir work:letters/2026\n  tarn mkdir > new.cap",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.where = args[0]
			}
			return runMkdir(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().StringVar(&o.format, "format", "", "sdmf, or mdmf for very large directories (default sdmf)")
	return c
}

func runMkdir(ctx context.Context, e *env, o mkdirOptions) error {
	format, err := inFormat(o.format)
	if err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	var where place
	if o.where != "" {
		if where, err = e.place(f, o.where); err != nil {
			return err
		}
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	capability, err := n.EnsureDirectory(ctx, where.is(), format)
	if err != nil {
		return fmt.Errorf("make the directory: %w", f.explain(err))
	}
	return e.print("%s\n", capability)
}

func newUnlink(e *env) *cobra.Command {
	var authority string
	c := &cobra.Command{
		Use:     "unlink PLACE",
		Aliases: []string{"rm"},
		Short:   "Take a name out of a directory",
		Long: `Takes a name out of its directory. What it led to is not deleted: other names may
lead to it, and whoever has its capability can read it as long as leases are renewed.
To give up a file, see cancel.`,
		Example: "  tarn unlink work:letters/one.txt",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			return runUnlink(ctx, e, args[0], authority)
		}),
	}
	registerAuthority(c, &authority)
	return c
}

func runUnlink(ctx context.Context, e *env, text, authority string) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	where, err := e.place(f, text)
	if err != nil {
		return err
	}
	if n, err = e.under(n, authority); err != nil {
		return err
	}
	if _, err := n.Unlink(ctx, where.is()); err != nil {
		return fmt.Errorf("unlink: %w", f.explain(err))
	}
	return nil
}

type mvOptions struct {
	from, to  string
	authority string
	copies    bool // the old name stays
}

func newMv(e *env) *cobra.Command {
	var o mvOptions
	c := &cobra.Command{
		Use:   "mv FROM TO",
		Short: "Move or rename something on the grid",
		Long: `Gives a file or directory another name, in the same directory or another one. Where
TO ends with a slash it keeps its name. A file that is there is replaced, a directory
is not.`,
		Example: "  tarn mv work:draft.txt work:letters/one.txt\n  tarn mv work:draft.txt work:letters/",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.from, o.to = args[0], args[1]
			return runMv(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	return c
}

func newLn(e *env) *cobra.Command {
	o := mvOptions{copies: true}
	c := &cobra.Command{
		Use:   "ln FROM TO",
		Short: "Give something on the grid one more name",
		Long: `Gives a file or directory one more name. FROM can be a capability, or - for
one on standard input. Where TO ends with
a slash it keeps its name. A file that is there is replaced, a directory is not.`,
		Example: "  tarn ln work:letters/one.txt photos:letter.txt",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.from, o.to = args[0], args[1]
			return runMv(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	return c
}

func runMv(ctx context.Context, e *env, o mvOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if timesIn("-", o.from, o.to, o.authority) > 1 {
		return usageError{err: errors.New("standard input can be only one of what is read")}
	}
	from, err := e.place(f, o.from)
	if err != nil {
		return err
	}
	to, err := e.place(f, o.to)
	if err != nil {
		return err
	}
	if to.folder || len(to.path) == 0 {
		if len(from.path) == 0 {
			return usageError{err: errors.New("a capability has no name; say how it is to be called")}
		}
		to.path = append(to.path, from.name())
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	if o.copies {
		err = linkAgain(ctx, n, from, to)
	} else {
		err = n.Rename(ctx, from.is(), to.is(), tarn.ReplaceFiles)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", map[bool]string{true: "link", false: "move"}[o.copies], f.explain(err))
	}
	return nil
}

func linkAgain(ctx context.Context, n *control.Client, from, to place) error {
	object, _, err := n.Object(ctx, from.capability, from.path...)
	if err != nil {
		return err
	}
	return n.Link(ctx, to.parent(), tarn.ReplaceFiles, control.Child{Name: to.name(), Cap: bestCap(object)})
}

// bestCap is the capability that can do more.
func bestCap(o tahoe.Object) string { return cmp.Or(o.Write, o.Read) }

type webopenOptions struct {
	where string
	info  bool
	print bool
}

func newWebopen(e *env) *cobra.Command {
	var o webopenOptions
	c := &cobra.Command{
		Use:     "webopen [PLACE]",
		Short:   "Open the gateway's page of something in a browser",
		Long:    "Opens a file or directory of the grid in a browser, through this node's gateway; without a PLACE the gateway's own page.",
		Example: "  tarn webopen work:letters",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.where = args[0]
			}
			return runWebopen(ctx, e, o)
		}),
	}
	c.Flags().BoolVarP(&o.info, "info", "i", false, "the page about it, with its capabilities")
	c.Flags().BoolVar(&o.print, "print", false, "print the address instead")
	return c
}

func runWebopen(ctx context.Context, e *env, o webopenOptions) error {
	f, err := e.nodeFolder()
	if err != nil {
		return err
	}
	base, err := os.ReadFile(f.url())
	if err != nil {
		return notRunningError(f)
	}
	address := strings.TrimSpace(string(base))
	if o.where != "" {
		p, err := e.place(f, o.where)
		if err != nil {
			return err
		}
		address += "uri/" + url.PathEscape(p.capability)
		for _, name := range p.path {
			address += "/" + url.PathEscape(name)
		}
		if p.folder {
			address += "/"
		}
	}
	if o.info {
		address += "?t=info"
	}
	if o.print {
		return e.print("%s\n", address)
	}
	return openBrowser(ctx, address)
}

// openBrowser starts $BROWSER, or what this system has.
func openBrowser(ctx context.Context, address string) error {
	command := os.Getenv("BROWSER")
	if command == "" {
		command = map[string]string{"darwin": "open", "windows": "explorer"}[runtime.GOOS]
	}
	if command == "" {
		command = "xdg-open"
	}
	command = strings.TrimSuffix(command, " %s")
	if err := exec.CommandContext(ctx, command, address).Run(); err != nil {
		return fmt.Errorf("open a browser: %w; the address is shown by: tarn webopen --print", err)
	}
	return nil
}
