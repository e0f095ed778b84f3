package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/control"
)

// checkMutable makes sense of the options about mutable files.
func (o *putOptions) checkMutable() error {
	wrong := func(text string) error { return usageError{errors.New(text), "tarn put"} }
	into := o.into != "" || o.intoFile != ""
	switch o.format {
	case "", "chk", "CHK":
		if o.format != "" && (o.mutable || into) {
			return wrong("a file of the format chk can't be written again")
		}
	default:
		if _, err := tarn.ParseFormat(o.format); err != nil {
			return usageError{fmt.Errorf("--format: %w, or chk", err), "tarn put"}
		}
		o.mutable = true
	}
	switch {
	case o.into != "" && o.intoFile != "":
		return wrong("the capability stands in --into, so it can't be an argument, too")
	case into && (o.format != "" || o.keyFile != ""):
		return wrong("a mutable file that is there has its format and its key")
	case o.keyFile != "" && !o.mutable:
		return wrong("--private-key goes with --mutable")
	case (o.mutable || into) && (o.randomKey || o.helper != ""):
		return wrong("--random-key and --helper are for files that are not mutable")
	}
	o.mutable = o.mutable || into
	return nil
}

// timesIn is how often something stands in a list.
func timesIn(what string, in ...string) (n int) {
	for _, s := range in {
		if s == what {
			n++
		}
	}
	return n
}

// putMutable writes a mutable file that is there, or a new one.
func (o putOptions) putMutable(ctx context.Context, e *env, n *control.Client, f folder, input io.Reader) error {
	result, err := o.writeMutable(ctx, e, n, input)
	if err != nil {
		return fmt.Errorf("write the mutable file: %w", f.explain(err))
	}
	if err := o.name(ctx, n, result.Cap); err != nil {
		return fmt.Errorf("name the file, which is stored: %w", err)
	}
	if o.json {
		return writeJSON(e.stdout, result)
	}
	e.note("%s as version %d, on %d servers", formatSize(result.Size), result.Version, result.Happiness)
	if len(result.Unrenewed) > 0 {
		e.warn("Nobody renews its leases on %s, so they end within a month, unless you add the authority (tarn client add-authority)", counted(int64(len(result.Unrenewed)), "server"))
	}
	return e.print("%s\n", result.Cap)
}

func (o putOptions) writeMutable(ctx context.Context, e *env, n *control.Client, input io.Reader) (control.MutableResult, error) {
	if o.into != "" || o.intoFile != "" {
		capability, err := e.capability(ctx, getOptions{capability: o.into, capFile: o.intoFile})
		if err != nil {
			return control.MutableResult{}, err
		}
		return n.Overwrite(ctx, capability, input)
	}
	how := tarn.MutableOptions{Format: tarn.SDMF, Keep: o.keep}
	if o.format != "" {
		how.Format, _ = tarn.ParseFormat(o.format) // was checked
	}
	if o.keyFile != "" {
		key, err := e.readText(o.keyFile, "a private key", maxKeyText)
		if err != nil {
			return control.MutableResult{}, err
		}
		how.PrivateKey = key
	}
	return n.CreateMutable(ctx, input, how)
}

// maxKeyText bounds a private key, in bytes.
const maxKeyText = 64 << 10

// mutableCap prints the capability of the mutable file that has a key.
func (o capOptions) mutableCap(e *env) error {
	format, err := tarn.ParseFormat(o.format)
	if err != nil {
		return usageError{fmt.Errorf("--format: %w", err), "tarn cap"}
	}
	if o.privateKey == "" || o.file != "" {
		return usageError{errors.New("the capability of a mutable file follows from its private key alone: tarn cap --format sdmf --private-key FILE"), "tarn cap"}
	}
	key, err := e.readText(o.privateKey, "a private key", maxKeyText)
	if err != nil {
		return err
	}
	capability, err := tarn.MutableCap(key, format)
	if err != nil {
		return fmt.Errorf("%s: %w", nameOf(o.privateKey), err)
	}
	if o.storageIndex {
		parsed, err := file.Parse(capability)
		if err != nil {
			return err
		}
		return e.print("%s\n", parsed.(file.Mutable).StorageIndex())
	}
	return e.print("%s\n", capability)
}
