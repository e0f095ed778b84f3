//go:build integration

package nodes

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// leaseOverhead is what each lease is charged besides its share, bytes.
const leaseOverhead = 128

// ShareFiles are the files of a server's shares; those of at most 32 KiB lie
// in the lease table instead.
func (n *Node) ShareFiles() []string { return n.files("storage", "shares") }

// Incoming are the files of uploads under way.
func (n *Node) Incoming() []string { return n.files("storage", "incoming") }

// files are all below a folder; one that vanishes meanwhile is none.
func (n *Node) files(parts ...string) []string {
	n.t.Helper()
	var all []string
	err := filepath.WalkDir(n.Path(parts...), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// IncomingBytes is how much of uploads under way is on the disk.
func (n *Node) IncomingBytes() (size int64) {
	n.t.Helper()
	for _, path := range n.Incoming() {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	return size
}

// Usage is what all accounts of a running server are charged together.
func (n *Node) Usage() (bytes, shares, reserved int64) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	list, err := n.Control.Operator().Usage(ctx)
	if err != nil {
		n.t.Fatalf("ask %s for usage: %v", n.Name, err)
	}
	for _, u := range list {
		bytes, shares, reserved = bytes+u.Bytes, shares+u.Shares, reserved+u.Reserved
	}
	return bytes, shares, reserved
}

// LoseDisk ends a server and removes all that it stored, the lease table with the
// small shares and the accounts in it, too; its identity it keeps.
func (n *Node) LoseDisk() {
	n.t.Helper()
	n.Stop()
	if err := os.RemoveAll(n.Path("storage")); err != nil {
		n.t.Fatal(err)
	}
}

// CheckClean fails the test unless the server, to which nobody uploads, has
// nothing reserved, nothing unfinished, and charges for exactly the shares
// that are on its disk, all of which are files.
func (n *Node) CheckClean() {
	n.t.Helper()
	var onDisk int64
	files := n.ShareFiles()
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			n.t.Fatal(err)
		}
		onDisk += info.Size()
	}
	bytes, shares, reserved := n.Usage()
	if reserved != 0 || n.Status().Storage.Reserved != 0 {
		n.t.Errorf("%s: %d bytes are reserved for accounts, %d of the disk", n.Name, reserved, n.Status().Storage.Reserved)
	}
	if left := n.Incoming(); len(left) > 0 {
		n.t.Errorf("%s: unfinished files: %q", n.Name, left)
	}
	if shares != int64(len(files)) || bytes != onDisk+shares*leaseOverhead {
		n.t.Errorf("%s charges %d bytes for %d shares, but has %d files of %d bytes", n.Name, bytes, shares, len(files), onDisk)
	}
}

// Leftovers are the files of puts that are under way or were left behind.
func (n *Node) Leftovers() []string { return n.files("tmp") }
