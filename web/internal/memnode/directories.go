package memnode

import (
	"context"
	"fmt"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// List reads a directory.
func (n *Node) List(ctx context.Context, dir string, how ...tarn.Option) (tarn.Listing, error) {
	parsed, err := file.Parse(dir)
	if err != nil {
		return tarn.Listing{}, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	c, ok := parsed.(file.Directory)
	if !ok {
		return tarn.Listing{}, tarn.ErrNotDirectory
	}
	d, err := n.ReadDirectory(ctx, c, how...)
	if err != nil {
		return tarn.Listing{}, err
	}
	lesser, err := file.ReadOnly(c)
	if err != nil {
		return tarn.Listing{}, err
	}
	n.mu.Lock()
	n.lists++
	n.mu.Unlock()
	l := tarn.Listing{Cap: dir, ReadCap: lesser.String(), Mutable: !c.Immutable(), Writable: c.Writable()}
	for _, name := range d.Names() {
		e, _ := d.Entry(name)
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

// Lists is how often directories were listed so far.
func (n *Node) Lists() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lists
}

// Edits is how often directories were written so far.
func (n *Node) Edits() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.edits
}
