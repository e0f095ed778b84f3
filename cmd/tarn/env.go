package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tarn-grid/tarn/web/control"
)

// env is what commands know of the world besides their options.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// terminal says that a person sees standard error.
	terminal bool
	// columns is how wide that is; nil if it is not known.
	columns func() int
	// typed says that a person types standard input.
	typed bool
	// dirFlag is what -d says, empty for the default.
	dirFlag string
}

// folder is the node's folder: the argument, else -d, else ~/.tarn.
func (e *env) folder(args ...string) (folder, error) {
	name := e.dirFlag
	if len(args) > 0 {
		if name != "" {
			return folder{}, usageError{err: fmt.Errorf("the folder is given twice: %s and -d %s", args[0], name)}
		}
		name = args[0]
	}
	if name == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return folder{}, usageError{err: fmt.Errorf("find the home folder: %w; say with -d where the node is", err)}
		}
		name = filepath.Join(home, ".tarn")
	}
	absolute, err := filepath.Abs(name)
	if err != nil {
		return folder{}, fmt.Errorf("find the node's folder: %w", err)
	}
	return folder{absolute}, nil
}

// node is a client of the running node.
func (e *env) node() (*control.Client, folder, error) {
	f, err := e.nodeFolder()
	if err != nil {
		return nil, f, err
	}
	return control.NewClient(f.socket()), f, nil
}

// withNode does something with the running node; what says, where that fails.
func (e *env) withNode(what string, do func(*control.Client) error) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := do(n); err != nil {
		return fmt.Errorf("%s: %w", what, f.explain(err))
	}
	return nil
}

// nodeFolder is the folder of a node, which need not run.
func (e *env) nodeFolder() (folder, error) {
	f, err := e.folder()
	if err != nil {
		return f, err
	}
	return f, f.check()
}

// place is what people give for something on the grid; - is what standard input has
// of that.
func (e *env) place(f folder, text string) (place, error) {
	text, err := getOptions{capability: text}.readCap(e)
	if err != nil {
		return place{}, err
	}
	return f.place(text)
}

// print writes a command's result. A result that could not be written is a
// failure: a capability that nobody saw is a file that is lost.
func (e *env) print(format string, args ...any) error {
	if _, err := fmt.Fprintf(e.stdout, format, args...); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// note tells a person, and nobody else, something besides the result.
func (e *env) note(format string, args ...any) {
	if e.terminal {
		_, _ = fmt.Fprintf(e.stderr, format+"\n", args...) // nobody reads it if this fails
	}
}

// warn says what nobody should miss, whether a person looks at it or not.
func (e *env) warn(format string, args ...any) {
	_, _ = fmt.Fprintf(e.stderr, "tarn: "+format+"\n", args...) // nobody reads it if this fails
}
