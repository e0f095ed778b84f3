package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/tahoe"
)

type putOptions struct {
	file      string // - is standard input
	into      string // capability of a mutable file that is written, a place, or empty
	at        *place // where the file is to be, if it is to have a name
	intoFile  string // file with that, or -
	mutable   bool
	format    string // sdmf, mdmf, or chk
	keyFile   string // private key of the mutable file, or -
	authority string // file, - or empty for the node's own
	keep      bool
	randomKey bool
	helper    string // reference, ownHelper, or empty for none
	directly  bool   // where the helper fails
	json      bool
}

func newPut(e *env) *cobra.Command {
	var o putOptions
	c := &cobra.Command{
		Use:   "put [FILE|-] [PLACE]",
		Short: "Store a file and print its capability",
		Long: `Stores FILE, or standard input, and prints the capability with which it can be
read again. Whoever has the capability can read the file, so keep it as you
would keep the file; without it nobody can.

As PLACE it gets a name: ALIAS:notes/letter.txt, or the capability of a directory with
a path behind it. What is missing of the path is made. A mutable file that is there is
written anew, anything else is replaced.

With --mutable the file can be written again by who has its capability: give that as
PLACE, or in a file with --into. Of a file of the format mdmf, which is for large ones,
parts can be read and written alone; sdmf is the default.

With --authority the file is stored in the name of that authority, which the node
forgets afterwards; so the leases end after a month unless somebody renews them.
With --keep the node keeps of it the right to renew, and nothing more.`,
		Example: "  tarn put letter.txt\n  tar c photos | tarn put -\n  tarn put --helper --or-directly film.mkv\n  tarn put --mutable notes.txt > notes.cap\n  tarn put --into notes.cap notes.txt\n  tarn put letter.txt work:letters/one.txt",
		Args:    between(0, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.file = argument(args, 0)
			if len(args) > 1 {
				o.into = args[1]
			}
			return runPut(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVar(&o.keep, "keep", false, "with --authority: have this node renew the leases of what is stored under it")
	c.Flags().BoolVar(&o.json, "json", false, "for programs: the capability, where the shares are, and which servers were left out")
	c.Flags().StringVar(&o.helper, "helper", "", "send the file once, to the node's helper (client.helper) or to --helper=REF, which makes the shares and places them")
	c.Flags().BoolVar(&o.directly, "or-directly", false, "where the helper fails, say so and send the shares from here")
	c.Flags().Lookup("helper").NoOptDefVal = ownHelper
	c.Flags().BoolVar(&o.mutable, "mutable", false, "make a file that can be written again")
	c.Flags().StringVar(&o.format, "format", "", "sdmf or mdmf, for a mutable file; chk for one that is not")
	c.Flags().StringVar(&o.intoFile, "into", "", "file with the capability of the mutable file that is to be written, or -")
	c.Flags().StringVar(&o.keyFile, "private-key", "", "file with the private key of the new mutable file, RSA with 2048 bits in PEM, or -")
	c.Flags().BoolVar(&o.randomKey, "random-key", false, "a key of its own for this file, so that nobody can tell it is equal to another")
	return c
}

// argument is args[i], "-" if there are not so many.
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return "-"
}

func runPut(ctx context.Context, e *env, o putOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if timesIn("-", o.file, o.into, o.intoFile, o.keyFile, o.authority) > 1 {
		return usageError{errors.New("standard input can be only one of what is read"), "tarn put"}
	}
	if o.at, err = o.findPlace(ctx, e, n, f); err != nil {
		return fmt.Errorf("store the file: %w", f.explain(err))
	}
	if o.keep && o.authority == "" {
		return usageError{errors.New("--keep goes with --authority; what is stored with the node's own authority is renewed anyway"), "tarn put"}
	}
	if err := o.checkMutable(); err != nil {
		return err
	}
	helper, err := o.helperRef()
	if err != nil {
		return err
	}
	if o.directly && o.helper == "" {
		return usageError{errors.New("--or-directly is for what goes through a helper"), "tarn put"}
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	input, size, err := e.open(o.file)
	if errors.Is(err, errFolder) {
		return usageError{err: fmt.Errorf("%s %w; to store one, pack it first: tar c %s | tarn put -", o.file, errFolder, o.file)}
	}
	if err != nil {
		return err
	}
	defer input.Close()
	if o.mutable {
		return o.putMutable(ctx, e, n, f, input)
	}
	progress := e.progress("storing", size)
	how := tarn.PutOptions{
		RandomKey: o.randomKey, Keep: o.keep, Size: size, Progress: progress.at,
		Helped: o.helper != "", Helper: helper, OrDirectly: o.directly,
	}
	result, err := n.Put(ctx, input, how)
	progress.end()
	if err != nil {
		return fmt.Errorf("store the file: %w", f.explain(err))
	}
	if err := o.name(ctx, n, result.Cap); err != nil {
		return fmt.Errorf("name the file, which is stored: %w", err)
	}
	if result.NotHelped != "" {
		e.warn("the shares were sent from here: %s", result.NotHelped)
	}
	if o.json {
		return writeJSON(e.stdout, result)
	}
	e.noteStored(result)
	return e.print("%s\n", result.Cap)
}

// findPlace makes of the second argument the mutable file that is to be written,
// or the place at which the file is to be; nil if it is to have no name.
func (o *putOptions) findPlace(ctx context.Context, e *env, n *control.Client, f folder) (*place, error) {
	if o.into == "" {
		return nil, nil
	}
	p, err := e.place(f, o.into)
	if err != nil {
		return nil, err
	}
	if len(p.path) == 0 {
		o.into = p.capability
		return nil, nil
	}
	if p.folder {
		if o.file == "-" {
			return nil, usageError{errors.New("standard input has no name; say how the file is to be called"), "tarn put"}
		}
		p.path = append(p.path, filepath.Base(o.file))
	}
	o.into = ""
	there, _, err := n.Object(ctx, p.capability, p.path...)
	switch {
	case errors.Is(err, tarn.ErrNoEntry):
	case err != nil:
		return nil, err
	case there.Kind == tahoe.Directory:
		return nil, usageError{err: errors.New("there is a directory by that name; end it with a slash to store the file in it")}
	case there.Write != "" && o.format == "" && !o.mutable:
		o.into = there.Write
		return nil, nil
	}
	return &p, nil
}

// name puts what was stored where it is to be.
func (o putOptions) name(ctx context.Context, n *control.Client, capability string) error {
	if o.at == nil {
		return nil
	}
	return n.Link(ctx, o.at.parent(), tarn.ReplaceFiles, control.Child{Name: o.at.name(), Cap: capability})
}

// ownHelper is the flag --helper without a reference.
const ownHelper = "client.helper"

// helperRef is the helper that was named, nil if none was.
func (o putOptions) helperRef() (*tarn.HelperRef, error) {
	if o.helper == "" || o.helper == ownHelper {
		return nil, nil
	}
	ref, err := tarn.ParseHelperRef(o.helper)
	if err != nil {
		return nil, usageError{fmt.Errorf("--helper: %w", err), "tarn put"}
	}
	return &ref, nil
}

func (e *env) noteStored(r control.PutResult) {
	if r.Pushed+r.Found == 0 {
		e.note("%s, so few that the capability holds them and no server does", formatSize(r.Size))
		return
	}
	e.note("%s in %d new and %d old shares, on %d servers", formatSize(r.Size), r.Pushed, r.Found, r.Happiness)
	if n := len(r.Unrenewed); n > 0 {
		e.warn("Nobody renews its leases on %s, so they end within a month, unless you add the authority (tarn client add-authority) or store the file again with --keep", counted(int64(n), "server"))
	}
	for i, s := range r.LeftOut {
		if i == maxLeftOut {
			e.note("and %d servers more were left out; see: tarn status", len(r.LeftOut)-i)
			return
		}
		e.note("left out: %s %s: %s", short(s.Server), s.Nickname, s.Error)
	}
}

// maxLeftOut is how many servers are named that got nothing of a file.
const maxLeftOut = 10

// registerAuthority is for commands that use servers.
func registerAuthority(c *cobra.Command, into *string) {
	c.Flags().StringVar(into, "authority", "", "file with an authority to use for this once, or - (default what the node has)")
}

// under has what n does use the authority in a file.
func (e *env) under(n *control.Client, name string) (*control.Client, error) {
	if name == "" {
		return n, nil
	}
	input, _, err := e.open(name)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	text, err := io.ReadAll(io.LimitReader(input, lease.MaxAuthoritySize+1))
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	if _, err := lease.ReadPasted(bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", nameOf(name), err)
	}
	return n.Under(text), nil
}

// open opens a file to read, "-" being standard input. The size is -1 where it
// is not known beforehand.
func (e *env) open(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		if e.typed {
			e.note("Reading standard input; end it with Ctrl-D.")
		}
		return io.NopCloser(e.stdin), -1, nil
	}
	input, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("can't %w", err)
	}
	info, err := input.Stat()
	if err != nil {
		_ = input.Close() // the error that matters is the other
		return nil, 0, fmt.Errorf("open the file: %w", err)
	}
	switch {
	case info.IsDir():
		_ = input.Close()
		return nil, 0, usageError{err: fmt.Errorf("%s %w; give the name of a file", name, errFolder)}
	case info.Mode().IsRegular():
		return input, info.Size(), nil
	}
	return input, -1, nil
}

// explain names the folder where no node runs.
func (f folder) explain(err error) error {
	if errors.Is(err, control.ErrNotRunning) {
		return notRunningError(f)
	}
	return err
}

// readText reads a short text from a file, or from standard input where the
// name is -; what says in an error what it should be.
func (e *env) readText(name, what string, most int64) ([]byte, error) {
	input, _, err := e.open(name)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	text, err := io.ReadAll(io.LimitReader(input, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the %s: %w", what, err)
	case int64(len(text)) > most:
		return nil, usageError{err: fmt.Errorf("the %s is longer than %s, so it is none", what, formatSize(most))}
	}
	return text, nil
}
