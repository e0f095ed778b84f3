package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/control"
)

type getOptions struct {
	capability string // a place, - is standard input
	capFile    string // instead of that
	to         string // - is standard output
	authority  string // file, - or empty for the node's own
}

func newGet(e *env) *cobra.Command {
	var o getOptions
	c := &cobra.Command{
		Use:   "get PLACE [FILE|-]",
		Short: "Read a file by its capability, or a path to it",
		Long: `Reads a file and writes it to FILE, which appears only when it is whole, or to
standard output, where what comes before a failure is a true beginning of the
file and the exit code is not 0. A PLACE is a capability, the capability of a
directory with a path behind it (CAP/photos/one.jpg), or a path from an alias
(ALIAS:photos/one.jpg).

` + capSecrecy,
		Example: "  tarn get URI:LIT:krugkidfnzsc4 letter.txt\n  tarn get - letter.txt < letter.cap\n  tarn get --cap-file letter.cap letter.txt\n  tarn get photos:2026/one.jpg one.jpg",
		Args:    between(0, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			if err := o.arguments(args); err != nil {
				return err
			}
			return runGet(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().StringVar(&o.capFile, "cap-file", "", "file with the capability in it")
	return c
}

func (o *getOptions) arguments(args []string) error {
	if o.capFile == "" {
		if len(args) == 0 {
			return usageError{errors.New("which file? Give its capability, or a path from an alias"), "tarn get"}
		}
		o.capability, args = args[0], args[1:]
	}
	if len(args) > 1 {
		return usageError{errors.New("the capability is in --cap-file, so there can be one argument more, the file to write"), "tarn get"}
	}
	o.to = argument(args, 0)
	return nil
}

func runGet(ctx context.Context, e *env, o getOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if o.authority == "-" && (o.capability == "-" || o.capFile == "-") {
		return usageError{errors.New("standard input can be only one of capability and authority"), "tarn get"}
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	text, err := o.readCap(e)
	if err != nil {
		return err
	}
	from, err := f.place(text)
	if err != nil {
		return err
	}
	get, err := n.Get(ctx, from.capability, 0, -1, from.path...)
	if err != nil {
		return fmt.Errorf("read the file: %w", f.explain(err))
	}
	defer get.Close()
	progress := e.progress("reading", get.Size)
	defer progress.end()
	if o.to == "-" {
		return copyGet(get, e.stdout, "standard output", progress)
	}
	return getTo(get, o.to, progress)
}

// readCap finds the capability where the options say it is.
func (o getOptions) readCap(e *env) (string, error) {
	if o.capFile == "" && o.capability != "-" {
		return o.capability, nil
	}
	name := o.capFile
	if name == "" {
		name = "-"
	}
	text, err := e.readText(name, "capability", file.MaxText)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = usageError{err: fmt.Errorf("there is no capability in %s", nameOf(name))}
	}
	return string(text), err
}

// copyGet writes to w, which errors call name.
func copyGet(get *control.Get, w io.Writer, name string, progress *progress) error {
	_, err := get.WriteTo(io.MultiWriter(w, progress))
	if errors.Is(err, control.ErrOutput) {
		return notWritten(name, err)
	}
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	return nil
}

// getTo writes a file of that name once all of it is there.
func getTo(get *control.Get, name string, progress *progress) error {
	if info, err := os.Stat(name); err == nil && info.Mode().IsDir() {
		return usageError{err: fmt.Errorf("%s is a folder; give the name of a file", name)}
	} else if err == nil && !info.Mode().IsRegular() {
		return getToDevice(get, name, progress)
	}
	t, err := newTemporary(name, 0o600)
	if err != nil {
		return notWritten(name, err)
	}
	defer t.discard()
	if err := copyGet(get, t, name, progress); err != nil {
		return err
	}
	if err := t.keep(); err != nil {
		return notWritten(name, err)
	}
	return nil
}

// getToDevice writes to what no file may take the place of, such as a pipe.
func getToDevice(get *control.Get, name string, progress *progress) error {
	out, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return notWritten(name, err)
	}
	return errors.Join(copyGet(get, out, name, progress), out.Close())
}
