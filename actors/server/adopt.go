package server

import (
	"errors"
	"fmt"
	"io"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/lease"
)

// ErrNoLooseShare is a file that has the name of a share and is none.
var ErrNoLooseShare = errors.New("it is no whole share")

// VerifyLoose reads the file of a share that the table does not know and proves
// it by its own hashes. The body is for lease.Ledger.Adopt. Errors:
// ErrNoLooseShare, and those of the disk.
func VerifyLoose(s Store, id lease.ShareID) (lease.Body, error) {
	f, err := s.OpenLoose(id)
	if err != nil {
		return lease.Body{}, err
	}
	body, err := verifyLoose(f, id)
	if err = errors.Join(err, f.Close()); err != nil {
		return lease.Body{}, fmt.Errorf("share %v: %w", id, err)
	}
	body.File = s.NumberLoose()
	return body, nil
}

func verifyLoose(f Body, id lease.ShareID) (lease.Body, error) {
	v := immutable.NewShareVerifier(id.Num, f.Size())
	if _, err := io.Copy(verifying{v}, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return lease.Body{}, err
	}
	hash, _, err := v.Finish()
	if err != nil {
		return lease.Body{}, fmt.Errorf("%w: %w", ErrNoLooseShare, err)
	}
	return lease.Body{UEBHash: lease.UEBHash(hash), Size: f.Size()}, nil
}

// verifying tells a share that is wrong from a disk that fails.
type verifying struct{ v *immutable.ShareVerifier }

func (w verifying) Write(p []byte) (int, error) {
	n, err := w.v.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNoLooseShare, err)
	}
	return n, err
}

// adoption is what the collector has still to look at, where the table was
// made anew beside the files of shares.
type adoption struct {
	folders []string
	loose   []lease.ShareID
	due     bool // EndAdopting is
	adopted int
}

func (a *adoption) pending() bool { return a.due || len(a.folders)+len(a.loose) > 0 }

type (
	looseListed struct {
		loose  []lease.ShareID
		strays []string
		err    error
	}
	looseVerified struct {
		id   lease.ShareID
		body lease.Body
		err  error
	}
	adoptionEnded struct{ err error }
)

// adopt does the next job: verify a file, else list a folder, else end.
func (c *collector) adopt(ctx actor.Context) {
	store, a := c.config.Store, &c.adoption
	switch {
	case len(a.loose) > 0:
		id := a.loose[0]
		a.loose = a.loose[1:]
		c.do(ctx, func() any {
			body, err := VerifyLoose(store, id)
			return looseVerified{id, body, err}
		})
	case len(a.folders) > 0:
		folder := a.folders[0]
		a.folders = a.folders[1:]
		c.do(ctx, func() any {
			loose, strays, err := store.LooseShares(folder)
			return looseListed{loose, strays, err}
		})
	default:
		a.due = false
		c.do(ctx, func() any { return adoptionEnded{store.EndAdopting()} })
	}
}

func (c *collector) looseListed(ctx actor.Context, m looseListed) {
	defer c.done(ctx)
	if m.err != nil {
		c.env.Log.Error("a folder of shares could not be read; tarn server fsck tries again", "error", m.err)
	}
	for _, path := range m.strays {
		c.env.Log.Warn("a file among the shares is none; it is left alone", "file", path)
	}
	c.adoption.loose = m.loose
}

func (c *collector) looseVerified(ctx actor.Context, m looseVerified) {
	defer c.done(ctx)
	if m.err != nil {
		c.env.Log.Warn("a file of a share that the table does not know is left alone", "error", m.err)
		return
	}
	c.adoption.adopted++
	ctx.Send(c.ledger, adopt{m.id, m.body})
}

func (c *collector) adoptionEnded(ctx actor.Context, m adoptionEnded) {
	defer c.done(ctx)
	if m.err != nil {
		c.env.Log.Error("the next start looks at all files of shares again", "error", m.err)
	}
	c.env.Log.Info("shares that the lease table did not know have starter leases", "shares", c.adoption.adopted)
}
