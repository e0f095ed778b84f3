package tarn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Errors of what goes from and to servers of Tahoe-LAFS.
var (
	// ErrImport is a file that is no whole share of Tahoe-LAFS.
	ErrImport = server.ErrImport
	// ErrOtherShare is a share that is here with another content, or another write
	// enabler.
	ErrOtherShare = lease.ErrOtherShare
	// ErrNoShare is a share that is not here.
	ErrNoShare = lease.ErrNoShare
	// ErrServerFull means that the server has no room for it.
	ErrServerFull = lease.ErrServerFull
)

// KeptShare is a share that a server keeps.
type KeptShare struct {
	Num  grid.ShareNum
	Size int64 // bytes
	// UEBHash says what is in it; it is zero where the share is Mutable.
	UEBHash lease.UEBHash
	Mutable bool
	// Ends is when the last lease on it does.
	Ends time.Time
}

// ShareOffer says what a share is that might be imported.
type ShareOffer struct {
	// UEBHash says what is in it; it is zero where there is an Enabler, the write
	// enabler of a share that can be changed.
	UEBHash lease.UEBHash
	Enabler lease.WriteEnabler
	// Ends is when the last lease on it does, zero if none is on it.
	Ends time.Time
}

// Shares implements Operator.
func (o operations) Shares(ctx context.Context, si grid.StorageIndex) ([]KeptShare, error) {
	list, err := carried[[]server.FileShare](ctx, o, server.FileShares{StorageIndex: si})
	out := make([]KeptShare, len(list))
	for i, s := range list {
		out[i] = KeptShare{s.ID.Num, s.Share.Size, s.Share.UEBHash, s.Share.Mutable(), time.Unix(s.Ends, 0)}
	}
	return out, err
}

// OfferShare implements Operator.
func (o operations) OfferShare(ctx context.Context, id lease.ShareID, s ShareOffer) (wanted bool, err error) {
	m := lease.Imported{Body: lease.Body{UEBHash: s.UEBHash}, Bare: true, Enabler: s.Enabler}
	if !s.Ends.IsZero() {
		m.Expires = s.Ends.Unix()
	}
	came, err := carried[lease.Importing](ctx, o, server.ImportShare{ID: id, Share: m})
	return came == lease.ImportWanted, err
}

// ImportShare implements Operator.
func (o operations) ImportShare(ctx context.Context, id lease.ShareID, r io.Reader, size int64) (stored bool, err error) {
	s, file, err := server.TakeIn(o.store, id, reading{ctx, r}, size)
	if err != nil {
		return false, public(err)
	}
	free, err := o.store.Free()
	var came lease.Importing
	if err == nil {
		came, err = carried[lease.Importing](ctx, o, server.ImportShare{ID: id, Share: s, Free: free})
	}
	if file != nil { // it is the share's now, or nobody's
		err = errors.Join(err, file.Discard())
	}
	return came == lease.ImportStored, err
}

// reading ends when the context does.
type reading struct {
	ctx context.Context
	r   io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// ExportShare implements Operator.
func (o operations) ExportShare(_ context.Context, id lease.ShareID, w io.Writer) error {
	if err := server.GiveOut(o.store, id, o.nodeID, w); err != nil {
		return fmt.Errorf("share %v: %w", id, public(err))
	}
	return nil
}

// HasMutable implements Operator.
func (o operations) HasMutable(ctx context.Context) (bool, error) {
	return carried[bool](ctx, o, server.AskMutable{})
}
