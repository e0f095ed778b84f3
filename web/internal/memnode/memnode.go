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
	// Server is what Operator gives; without it the node is no storage server.
	Server tarn.Operator
	// Journal is about leases, Health about checks.
	Journal Journal
	Health  Health

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

	mu          sync.Mutex
	files       map[string][]byte
	options     []tarn.PutOptions
	under       []lease.Authority
	memberships []tarn.Membership
}

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

// CreateMutable keeps a file that can be written. Its key is no real one.
func (n *Node) CreateMutable(_ context.Context, r io.Reader, o tarn.MutableOptions) (tarn.MutableResult, error) {
	n.mu.Lock()
	n.under = append(n.under, o.Authority)
	key := file.WriteKey{byte(len(n.files) + 1)}
	n.mu.Unlock()
	return n.write(file.NewMutable(o.Format == tarn.MDMF, key, tagged.Hash{}), r)
}

// Overwrite writes such a file.
func (n *Node) Overwrite(_ context.Context, capability string, r io.Reader, how ...tarn.Option) (tarn.MutableResult, error) {
	n.noteAuthority(how)
	parsed, err := file.Parse(capability)
	c, ok := parsed.(file.Mutable)
	switch {
	case err != nil || !ok:
		return tarn.MutableResult{}, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	case !c.Writable():
		return tarn.MutableResult{}, tarn.ErrReadOnly
	}
	return n.write(c, r)
}

func (n *Node) write(c file.Mutable, r io.Reader) (tarn.MutableResult, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return tarn.MutableResult{}, fmt.Errorf("read the input: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.files == nil {
		n.files = map[string][]byte{}
	}
	n.files[c.String()], n.files[c.ReadOnly().String()] = content, content
	return tarn.MutableResult{Cap: c.String(), ReadCap: c.ReadOnly().String(), Size: int64(len(content)), Happiness: 1}, nil
}

// Open finds a file again.
func (n *Node) Open(_ context.Context, capability string, how ...tarn.Option) (tarn.File, error) {
	n.noteAuthority(how)
	parsed, err := file.Parse(capability)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	if lit, ok := parsed.(file.LIT); ok {
		return &memFile{n, []byte(lit.Data)}, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	content, ok := n.files[parsed.String()]
	if !ok {
		return nil, fmt.Errorf("%w: found 0 of 1", tarn.ErrNotEnoughShares)
	}
	return &memFile{n, content}, nil
}

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
