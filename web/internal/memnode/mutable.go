package memnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// Slots are mutable files by storage index.
type Slots struct {
	// Meanwhile, if set, is called once before a directory is written: somebody
	// else writes it first.
	Meanwhile func()

	made     int
	contents map[grid.StorageIndex][]byte
}

// CreateMutable keeps a mutable file. Its key is made of the private key's text,
// or of a count.
func (n *Node) CreateMutable(_ context.Context, r io.Reader, o tarn.MutableOptions) (tarn.MutableResult, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return tarn.MutableResult{}, fmt.Errorf("read the input: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Mutable.made++
	seed := o.PrivateKey
	if seed == nil {
		seed = binary.BigEndian.AppendUint64(nil, uint64(n.Mutable.made))
	}
	sum := sha256.Sum256(seed)
	m := file.NewMutable(o.Format == tarn.MDMF, file.WriteKey(sum[:16]), tagged.Hash(sum))
	if n.Mutable.contents == nil {
		n.Mutable.contents = map[grid.StorageIndex][]byte{}
	}
	n.Mutable.contents[m.StorageIndex()] = content
	n.under = append(n.under, o.Authority)
	return resultOf(m, content), nil
}

func resultOf(m file.Mutable, content []byte) tarn.MutableResult {
	return tarn.MutableResult{Cap: m.String(), ReadCap: m.ReadOnly().String(), Size: int64(len(content)), Happiness: 1}
}

// Overwrite replaces the content.
func (n *Node) Overwrite(_ context.Context, capability string, r io.Reader, how ...tarn.Option) (tarn.MutableResult, error) {
	return n.change(capability, r, how, func(_, data []byte) []byte { return data })
}

// WriteAt replaces a part of the content, and fills a gap with zeros.
func (n *Node) WriteAt(_ context.Context, capability string, r io.Reader, offset int64, how ...tarn.Option) (tarn.MutableResult, error) {
	return n.change(capability, r, how, func(old, data []byte) []byte {
		content := make([]byte, max(int64(len(old)), offset+int64(len(data))))
		copy(content, old)
		copy(content[offset:], data)
		return content
	})
}

func (n *Node) change(capability string, r io.Reader, how []tarn.Option, to func(old, data []byte) []byte) (tarn.MutableResult, error) {
	n.noteAuthority(how)
	parsed, err := file.Parse(capability)
	m, ok := parsed.(file.Mutable)
	switch {
	case err != nil || !ok:
		return tarn.MutableResult{}, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	case !m.Writable():
		return tarn.MutableResult{}, tarn.ErrReadOnly
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return tarn.MutableResult{}, fmt.Errorf("read the input: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	old, ok := n.Mutable.contents[m.StorageIndex()]
	if !ok {
		return tarn.MutableResult{}, fmt.Errorf("%w: found 0 of 1", tarn.ErrNotEnoughShares)
	}
	content := to(old, data)
	n.Mutable.contents[m.StorageIndex()] = content
	return resultOf(m, content), nil
}

// slot is what a mutable file holds.
func (n *Node) slot(m file.Mutable) ([]byte, error) {
	if _, ok := m.ReadKey(); !ok {
		return nil, fmt.Errorf("%w: %s", tarn.ErrCap, m.Kind())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	content, ok := n.Mutable.contents[m.StorageIndex()]
	if !ok {
		return nil, fmt.Errorf("%w: found 0 of 1", tarn.ErrNotEnoughShares)
	}
	return content, nil
}

// MakeDirectory keeps a mutable directory.
func (n *Node) MakeDirectory(ctx context.Context, o tarn.MutableOptions, children ...tarn.Link) (tarn.MutableResult, error) {
	result, err := n.CreateMutable(ctx, bytes.NewReader(nil), o)
	if err != nil {
		return result, err
	}
	for _, text := range []*string{&result.Cap, &result.ReadCap} {
		c, err := file.Parse(*text)
		if err != nil {
			return result, err
		}
		*text = file.Directory{File: c}.String()
	}
	_, err = n.Link(ctx, result.Cap, children)
	return result, err
}

// EditDirectory changes a directory, and once more if somebody else did.
func (n *Node) EditDirectory(_ context.Context, dir string, change func(*directory.Directory) error, how ...tarn.Option) (tarn.MutableResult, error) {
	parsed, err := file.Parse(dir)
	if err != nil {
		return tarn.MutableResult{}, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	c, _ := parsed.(file.Directory)
	m, ok := c.File.(file.Mutable)
	if !ok || !m.Writable() {
		return tarn.MutableResult{}, tarn.ErrReadOnly
	}
	n.noteAuthority(how)
	if n.EditError != nil {
		return tarn.MutableResult{}, n.EditError
	}
	for {
		before, err := n.slot(m)
		if err != nil {
			return tarn.MutableResult{}, err
		}
		d, err := directory.Parse(c, before)
		if err != nil {
			return tarn.MutableResult{}, err
		}
		if err := change(d); err != nil {
			return tarn.MutableResult{}, err
		}
		text, err := d.Encode()
		if err != nil {
			return tarn.MutableResult{}, err
		}
		if other := n.Mutable.Meanwhile; other != nil {
			n.Mutable.Meanwhile = nil
			other()
		}
		if n.replace(m, before, text) {
			return resultOf(m, text), nil
		}
	}
}

// replace writes a directory if it is what it was before.
func (n *Node) replace(m file.Mutable, before, text []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !bytes.Equal(n.Mutable.contents[m.StorageIndex()], before) {
		return false
	}
	if !bytes.Equal(before, text) {
		n.edits++
		n.Mutable.contents[m.StorageIndex()] = text
	}
	return true
}

// Link puts children into a directory.
func (n *Node) Link(ctx context.Context, dir string, children []tarn.Link, how ...tarn.Option) (tarn.MutableResult, error) {
	return n.EditDirectory(ctx, dir, func(d *directory.Directory) error { return tarn.SetLinks(d, time.Now(), children) }, how...)
}

// Unlink takes a child out of a directory.
func (n *Node) Unlink(ctx context.Context, dir, name string, how ...tarn.Option) (was tarn.Entry, err error) {
	_, err = n.EditDirectory(ctx, dir, func(d *directory.Directory) error {
		e, ok := d.Entry(name)
		if !ok {
			return fmt.Errorf("%w: %q", tarn.ErrNoEntry, name)
		}
		was = e
		_, err := d.Remove(name)
		return err
	}, how...)
	return was, err
}

// Rename moves a child.
func (n *Node) Rename(ctx context.Context, fromDir, from, toDir, to string, replace tarn.Replace, how ...tarn.Option) error {
	if fromDir == toDir && from == to {
		return nil
	}
	c, err := file.Parse(fromDir)
	if err != nil {
		return err
	}
	links, err := tarn.Follow(ctx, n, c, []string{from}, how...)
	if err != nil {
		return err
	}
	if !c.Writable() {
		return tarn.ErrReadOnly
	}
	e := links[1]
	l := tarn.Link{Name: to, Cap: e.Capability().String(), Metadata: string(e.Metadata), Replace: replace}
	if _, err := n.Link(ctx, toDir, []tarn.Link{l}, how...); err != nil {
		return err
	}
	_, err = n.Unlink(ctx, fromDir, from, how...)
	return err
}
