package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

type capOptions struct {
	file          string
	convergence   string // base32; empty means the node's
	needed, total int    // 0 means the node's
	segmentSize   string // empty means the node's
	storageIndex  bool   // print that instead
	format        string // of a mutable file
	privateKey    string // of that: a file, or -
}

func newCap(e *env) *cobra.Command {
	var o capOptions
	c := &cobra.Command{
		Use:   "cap [FILE]",
		Short: "Print the capability that a file would get, without storing it",
		Long: `Prints the capability under which FILE would be stored by this node, without
storing anything. No node need run. Without a node in the folder, give the
convergence secret; the parameters then are 3 of 10 and 1 MiB.

With --format sdmf or mdmf it is that of the mutable file that has the private key.`,
		Example: "  tarn cap letter.txt\n  tarn cap --convergence aaaaaaaaaaaaaaaaaaaaaaaaaa --needed 3 --total 10 --segment-size 128KiB letter.txt\n  openssl genrsa 2048 | tarn cap --format sdmf --private-key -",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.file = args[0]
			}
			if o.format != "" || o.privateKey != "" {
				return o.mutableCap(e)
			}
			if o.file == "" {
				return usageError{errors.New("of which file? Give its name"), "tarn cap"}
			}
			return runCap(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.convergence, "convergence", "", "convergence secret in base32 (default the node's)")
	c.Flags().IntVar(&o.needed, "needed", 0, "shares that give the file back (default the node's, or 3)")
	c.Flags().IntVar(&o.total, "total", 0, "shares in all (default the node's, or 10)")
	c.Flags().StringVar(&o.format, "format", "", "sdmf or mdmf: of the mutable file that has the private key")
	c.Flags().StringVar(&o.privateKey, "private-key", "", "file with that key, RSA with 2048 bits in PEM, or -")
	c.Flags().BoolVar(&o.storageIndex, "storage-index", false, "print the name that servers know the file by, which is no secret, instead")
	c.Flags().StringVar(&o.segmentSize, "segment-size", "", "bytes encoded at a time (default the node's, or 1MiB)")
	return c
}

func runCap(ctx context.Context, e *env, o capOptions) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	input, err := os.Open(o.file)
	if err != nil {
		return fmt.Errorf("can't %w", err)
	}
	defer input.Close()
	info, err := input.Stat()
	if err != nil {
		return fmt.Errorf("open the file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return usageError{err: fmt.Errorf("%s is no ordinary file, which is needed because it is read more than once", o.file)}
	}
	params, convergence, err := o.encoding(f, info.Size())
	if err != nil {
		return err
	}
	capability, err := tarn.Cap(ctx, input, params, convergence)
	if err != nil {
		return fmt.Errorf("compute the capability: %w", err)
	}
	if o.storageIndex {
		return e.printStorageIndex(capability)
	}
	return e.print("%s\n", capability)
}

func (e *env) printStorageIndex(capability string) error {
	parsed, err := file.Parse(capability)
	if err != nil {
		return err
	}
	chk, ok := parsed.(file.CHK)
	if !ok {
		return usageError{err: errors.New("so small a file is in its capability, and has no shares")}
	}
	return e.print("%s\n", chk.StorageIndex())
}

// encoding is what the node would use, with what the flags replace.
func (o capOptions) encoding(f folder, size int64) (file.Params, []byte, error) {
	params, convergence := file.DefaultParams(), []byte(nil)
	if hasFile(f.settings()) {
		s, _, err := f.readSettings()
		if err != nil {
			return params, nil, err
		}
		if s.Client != nil {
			if params, convergence, err = o.ofNode(f, s.Client); err != nil {
				return params, nil, err
			}
		}
	}
	if o.convergence != "" {
		var err error
		if convergence, err = parseConvergence(o.convergence); err != nil {
			return params, nil, fmt.Errorf("--convergence: %w", err)
		}
	}
	if convergence == nil && size > file.LITThreshold {
		return params, nil, usageError{errors.New("without a node whose files are convergent, give the secret with --convergence"), "tarn cap"}
	}
	return o.replace(params, convergence)
}

// ofNode does not read the secret if a flag replaces it.
func (o capOptions) ofNode(f folder, s *clientSettings) (file.Params, []byte, error) {
	params, err := s.params()
	if err != nil {
		return params, nil, f.wrong("client", err)
	}
	if o.convergence != "" || s.Convergent != nil && !*s.Convergent {
		return params, nil, nil
	}
	convergence, err := readSecret(f, convergenceFile, parseConvergence)
	return params, convergence, err
}

func (o capOptions) replace(p file.Params, convergence []byte) (file.Params, []byte, error) {
	if o.needed != 0 {
		p.Needed = o.needed
	}
	if o.total != 0 {
		p.Total = o.total
	}
	if o.segmentSize != "" {
		size, err := parseSize(o.segmentSize)
		if err != nil {
			return p, nil, fmt.Errorf("--segment-size: %w", err)
		}
		p.SegmentSize = size
	}
	p.Happy = 1 // has no influence on the capability, and must fit total
	return p, convergence, p.Validate()
}
