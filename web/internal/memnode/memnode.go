// Package memnode is a node for tests that keeps files in memory and can be
// told to fail. It promises what *tarn.Node promises towards web and
// web/control: typed errors, ranges, and that nothing wrong is ever written.
package memnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// Node is the node. Its fields may be set before it is used.
type Node struct {
	// Now is what Status answers, Known what Servers does; Own and Failed what
	// OwnUsage does.
	Now    tarn.Status
	Known  tarn.Servers
	Own    []tarn.AccountUsage
	Failed []tarn.ServerError
	// PutError, if set, is what Put returns before it reads anything.
	PutError error
	// ReadError, if set, is what reading returns after ReadLimit bytes.
	ReadError error
	ReadLimit int64
	// Mutable are its mutable files and directories.
	Mutable Slots
	// Server is what Operator gives; without it the node is no storage server.
	Server tarn.Operator
	// Journal is about leases, Health about checks.
	Journal Journal
	Health  Health
	// Moving and Moved are what Transfers tells.
	Moving, Moved []tarn.Transfer

	// Grid is what Aggregator gives; without it the node is no aggregator.
	Grid tarn.Aggregator
	// Renewals is what Renewer gives; without it the node is no renewer. Cap is
	// what its own client would hand to one.
	Renewals tarn.Renewer
	Cap      lease.RenewalCap
	// Repairs is what Repairer gives, Mending what its own client would hand to one.
	Repairs tarn.Repairer
	Mending lease.RepairCap
	// Book is that of an account manager; nil is none.
	Book *membership.Book

	// EditError, if set, is what changes of directories end with.
	EditError error

	mu          sync.Mutex
	lists       int
	edits       int
	files       map[string][]byte
	options     []tarn.PutOptions
	under       []lease.Authority
	memberships []tarn.Membership
}

// Transfers are those that Moving and Moved say.
func (n *Node) Transfers() (active, recent []tarn.Transfer) { return n.Moving, n.Moved }

// Under is the authorities of all calls of Open and OwnUsage so far.
func (n *Node) Under() []lease.Authority {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]lease.Authority(nil), n.under...)
}

func (n *Node) noteAuthority(how []tarn.Option) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.under = append(n.under, tarn.AuthorityOf(how...))
}

// Options are those of all calls of Put so far.
func (n *Node) Options() []tarn.PutOptions {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]tarn.PutOptions(nil), n.options...)
}

// Stored is how many files are kept.
func (n *Node) Stored() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.files)
}

// Put keeps the file; the key is the start of its hash.
func (n *Node) Put(_ context.Context, r io.Reader, o tarn.PutOptions) (tarn.PutResult, error) {
	n.mu.Lock()
	n.options = append(n.options, o)
	n.mu.Unlock()
	if n.PutError != nil {
		return tarn.PutResult{}, n.PutError
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return tarn.PutResult{}, fmt.Errorf("read the input: %w", err)
	}
	size := int64(len(content))
	if o.Size >= 0 && o.Size != size {
		return tarn.PutResult{}, fmt.Errorf("the input has %d bytes, not %d as was said", size, o.Size)
	}
	if o.Progress != nil {
		o.Progress(size, size)
	}
	return n.keep(content), nil
}

func (n *Node) keep(content []byte) tarn.PutResult {
	size := int64(len(content))
	if size <= file.LITThreshold {
		return tarn.PutResult{Cap: file.LIT{Data: string(content)}.String(), Size: size}
	}
	sum := sha256.Sum256(content)
	c := file.CHK{Key: file.Key(sum[:16]), UEBHash: tagged.Hash(sum), Needed: 1, Total: 1, Size: size}.String()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.files == nil {
		n.files = map[string][]byte{}
	}
	n.files[c] = content
	return tarn.PutResult{
		Cap: c, Size: size, Pushed: 1, Happiness: 1,
		Placement: map[grid.ShareNum][]grid.ServerID{0: {{1}}},
	}
}

// Open finds a file again.
func (n *Node) Open(_ context.Context, capability string, how ...tarn.Option) (tarn.File, error) {
	n.noteAuthority(how)
	parsed, err := file.Parse(capability)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	switch c := parsed.(type) {
	case file.LIT:
		return &memFile{n, []byte(c.Data)}, nil
	case file.CHK:
	case file.Mutable:
		content, err := n.slot(c)
		if err != nil {
			return nil, err
		}
		return &memFile{n, content}, nil
	default:
		return nil, fmt.Errorf("%w: %s", tarn.ErrCap, c.Kind())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	content, ok := n.files[parsed.String()]
	if !ok {
		return nil, fmt.Errorf("%w: found 0 of 1", tarn.ErrNotEnoughShares)
	}
	return &memFile{n, content}, nil
}

// ReadDirectory parses a directory that was stored.
func (n *Node) ReadDirectory(ctx context.Context, c file.Directory, how ...tarn.Option) (*directory.Directory, error) {
	f, err := n.Open(ctx, c.File.String(), how...)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := f.WriteRange(&text, 0, f.Size()); err != nil {
		return nil, err
	}
	return directory.Parse(c, text.Bytes())
}

// PutDirectory keeps an immutable directory.
func (n *Node) PutDirectory(ctx context.Context, d *directory.Directory, o tarn.PutOptions) (tarn.PutResult, error) {
	text, err := d.Encode()
	if err != nil {
		return tarn.PutResult{}, err
	}
	o.Size = int64(len(text))
	result, err := n.Put(ctx, bytes.NewReader(text), o)
	if err != nil {
		return result, err
	}
	c, err := file.Parse(result.Cap)
	result.Cap = file.Directory{File: c}.String()
	return result, err
}

// Spool keeps the input in memory.
func (n *Node) Spool(_ context.Context, r io.Reader) (tarn.Spooled, error) {
	content, err := io.ReadAll(r)
	return spooled{bytes.NewReader(content)}, err
}

type spooled struct{ *bytes.Reader }

func (spooled) Close() error { return nil }

type memFile struct {
	node    *Node
	content []byte
}

func (f *memFile) Size() int64  { return int64(len(f.content)) }
func (f *memFile) Close() error { return nil }

func (f *memFile) WriteRange(w io.Writer, offset, length int64) error {
	from := f.content[offset : offset+length]
	if f.node.ReadError != nil && f.node.ReadLimit < length {
		if _, err := w.Write(from[:f.node.ReadLimit]); err != nil {
			return err
		}
		return f.node.ReadError
	}
	_, err := io.Copy(w, bytes.NewReader(from))
	return err
}

// Status is what Now says.
func (n *Node) Status(context.Context) (tarn.Status, error) { return n.Now, nil }

// Servers is what Known says.
func (n *Node) Servers(context.Context) (tarn.Servers, error) { return n.Known, nil }

// OwnUsage is what Own and Failed say.
func (n *Node) OwnUsage(_ context.Context, how ...tarn.Option) ([]tarn.AccountUsage, []tarn.ServerError, error) {
	n.noteAuthority(how)
	return n.Own, n.Failed, nil
}

// RemoveAuthority has nothing to remove.
func (n *Node) RemoveAuthority(_ context.Context, name string) (tarn.AuthoritySummary, error) {
	return tarn.AuthoritySummary{}, fmt.Errorf("%w: %s", tarn.ErrNoAuthority, name)
}

// ReadAuthority reads a real authority.
func (n *Node) ReadAuthority(r io.Reader) (lease.Authority, error) { return lease.ReadAuthority(r) }

// AddAuthority reads a real authority and forgets it.
func (n *Node) AddAuthority(_ context.Context, r io.Reader) (tarn.AuthoritySummary, error) {
	_, err := lease.ReadAuthority(r)
	return tarn.AuthoritySummary{}, err
}

// Metrics is a registry with nothing in it.
func (n *Node) Metrics() prometheus.Gatherer { return prometheus.NewRegistry() }

// Operator is what Server is, if anything.
func (n *Node) Operator() (tarn.Operator, error) {
	if n.Server == nil {
		return nil, tarn.ErrNoStorage
	}
	return n.Server, nil
}
