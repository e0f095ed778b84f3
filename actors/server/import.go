package server

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file/container"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ErrImport is a file that can't be imported: it is no share file of
// Tahoe-LAFS, or what is in it is no whole share.
var ErrImport = errors.New("nothing that can be imported")

// ImportShare takes in a share; answered by lease.Importing or an error, when it
// is durable. Free is what the filesystem has left.
type ImportShare struct {
	ID    lease.ShareID
	Share lease.Imported
	Free  int64
}

func (ImportShare) operation() {}

// FileShares asks for the shares of a file that are here; answered by a list of
// FileShare, by number.
type FileShares struct{ StorageIndex grid.StorageIndex }

// FileShare is a share and when the last lease on it ends, Unix seconds.
type FileShare struct {
	lease.StoredShare
	Ends int64
}

func (FileShares) operation() {}

// Ask implements Query.
func (q FileShares) Ask(s Store, _ time.Time) (any, error) {
	shares, err := s.ListShares(q.StorageIndex)
	all := make([]FileShare, len(shares))
	for i, one := range shares {
		ends, endsErr := lastEnd(s, one.ID)
		all[i], err = FileShare{one, ends}, errors.Join(err, endsErr)
	}
	return all, err
}

// lastEnd is when the last lease on a share ends.
func lastEnd(s Store, id lease.ShareID) (ends int64, err error) {
	leases, err := s.Holders(id)
	for _, l := range leases {
		ends = max(ends, l.Lease.Expires)
	}
	return ends, err
}

// AskMutable asks whether any share here can be changed; answered by true or
// false.
type AskMutable struct{}

func (AskMutable) operation() {}

// Ask implements Query.
func (AskMutable) Ask(s Store, _ time.Time) (any, error) { return s.HasMutable() }

// importShare answers once the share is durable.
func (l *ledger) importShare(ctx actor.Context, o ImportShare) {
	change, came, err := l.rules.Import(l.env.Clock.Now(), o.ID, o.Share, o.Free)
	if err != nil {
		ctx.Respond(err)
		return
	}
	l.settle(ctx, change, nil, ctx.Sender(), came)
}

// importShare is that of a server which does not run.
func (b Books) importShare(o ImportShare, now time.Time) (any, error) {
	change, came, err := b.Rules.Import(now, o.ID, o.Share, o.Free)
	if err := b.apply(change, err); err != nil {
		return nil, err
	}
	return came, nil
}

// TakeIn reads the file, of that size, in which a Tahoe-LAFS server keeps a
// share, and proves what the share itself can prove: all of one that can't be
// changed, how one is laid out that can. What it returns is for ImportShare; the
// caller discards the file, if there is one, whatever comes of that. Errors:
// ErrImport, lease.ErrServerFull, those of r and of the disk.
func TakeIn(s Store, id lease.ShareID, r io.Reader, size int64) (lease.Imported, Incoming, error) {
	c, err := container.NewReader(r, size)
	if err != nil {
		return lease.Imported{}, nil, unfit(err, container.ErrContainer)
	}
	if free, err := s.Free(); err != nil || c.Size > free {
		return lease.Imported{}, nil, errors.Join(err, lease.ErrServerFull)
	}
	in := intake{id: id, share: c}
	got, err := in.run(s)
	if err != nil && in.file != nil {
		_ = in.file.Discard() // what is left is wiped at the next start
		in.file = nil
	}
	return got, in.file, err
}

// intake is a TakeIn under way.
type intake struct {
	id    lease.ShareID
	share *container.Reader
	file  Incoming
}

func (in *intake) run(s Store) (got lease.Imported, err error) {
	got.Body.Size, got.Enabler = in.share.Size, lease.WriteEnabler(in.share.Enabler)
	to, err := in.into(s, &got.Body)
	if err != nil {
		return got, err
	}
	if got.Body.UEBHash, err = in.prove(to); err != nil {
		return got, err
	}
	if got.Expires, err = in.share.Ends(); err != nil {
		return got, unfit(err, container.ErrContainer)
	}
	if in.file != nil {
		got.Body.File, err = in.file.Seal()
	}
	return got, err
}

// into is where the body goes.
func (in *intake) into(s Store, b *lease.Body) (io.WriterAt, error) {
	if b.Size <= s.SmallShare() {
		b.Inline = make([]byte, b.Size)
		return memoryFile(b.Inline), nil
	}
	file, err := s.Incoming()
	in.file = file
	return file, err
}

// prove copies the body, and is its UEB hash if it can't be changed.
func (in *intake) prove(to io.WriterAt) (lease.UEBHash, error) {
	w := io.NewOffsetWriter(to, 0)
	if in.share.Mutable {
		return lease.UEBHash{}, in.proveMutable(w)
	}
	v := immutable.NewShareVerifier(in.id.Num, in.share.Size)
	if _, err := io.Copy(io.MultiWriter(verifying{v}, w), in.share); err != nil {
		return lease.UEBHash{}, unfit(err, ErrNoLooseShare, container.ErrContainer)
	}
	hash, _, err := v.Finish()
	return lease.UEBHash(hash), unfit(err, immutable.ErrShare)
}

func (in *intake) proveMutable(w io.Writer) error {
	head := make([]byte, min(mutable.MaxHeaderSize, in.share.Size))
	_, err := io.ReadFull(in.share, head)
	if err != nil {
		return unfit(err, container.ErrContainer)
	}
	h, err := mutable.ParseHeader(head)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrImport, err)
	}
	if h.Size() > in.share.Size {
		return fmt.Errorf("%w: the share ends after %d bytes of %d", ErrImport, in.share.Size, h.Size())
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err = io.Copy(w, in.share)
	return unfit(err, container.ErrContainer)
}

// unfit tells what is wrong with a file from what is wrong here.
func unfit(err error, kinds ...error) error {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return fmt.Errorf("%w: %w", ErrImport, err)
		}
	}
	return err
}

// GiveOut writes a share as a Tahoe-LAFS server keeps it. A share that can be
// changed names the node for which its write enabler was made. The error is
// lease.ErrNoShare, or that of w or of the disk.
func GiveOut(s Store, id lease.ShareID, node grid.NodeID, w io.Writer) error {
	share, ok, err := s.Share(id)
	if err != nil || !ok {
		return errors.Join(err, lease.ErrNoShare)
	}
	ends, err := lastEnd(s, id)
	if err != nil {
		return err
	}
	body, err := s.OpenShare(id)
	if err != nil {
		return err
	}
	c := container.Share{Size: body.Size(), Mutable: share.Mutable(), Enabler: share.Enabler, NodeID: node}
	err = container.Write(w, c, io.NewSectionReader(body, 0, body.Size()), ends)
	return errors.Join(err, body.Close())
}
