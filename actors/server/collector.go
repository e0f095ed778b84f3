package server

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// collector finds leases that have expired or that the operator cancels, and
// deletes the bytes of shares that no lease keeps; where the table was made anew
// it gives starter leases to the shares that are on the disk. It does one small job at a
// time and rests after each for as long as keeps its share of the disk's time
// small, which is the ledger's part of it, too; what was cancelled comes before what has expired.
//
// Owns: how far its scans have come, the shares that are to be deleted, those on the disk that the table does not know.
// On failure: goes on where it last wrote down that it was.
type collector struct {
	env    *env.Env
	config *Config
	ledger *actor.PID

	begun  time.Time // of the job that runs; zero when none does
	asked  bool      // the ledger is at it, and will answer
	rest   func()    // ends the rest, nil when there is none
	going  []lease.GoingShare
	cancel []grid.PublicKey // roots whose leases are being cancelled
	found  bool             // in this pass over the first of them
	under  []byte           // where that pass goes on
	cursor []byte           // where the scan for expired leases goes on
	next   time.Time        // when a new scan is due
	adoption
}

func newCollector(e *env.Env, c *Config, ledger *actor.PID) env.Producer {
	return func() actor.Actor { return &collector{env: e, config: c, ledger: ledger} }
}

// The collector's own messages: work, and what came of a job.
type (
	work struct{}
	// leftOver is what an earlier run had not finished.
	leftOver struct {
		going   []lease.GoingShare
		cursor  []byte
		folders []string // where shares may be that the table does not know
		err     error
	}
	cancelling struct {
		roots []grid.PublicKey
		err   error
	}
	scannedUnder struct {
		root  grid.PublicKey
		found []lease.StoredLease
		next  []byte
		err   error
	}
	scanned struct {
		expired []lease.LeaseID
		next    []byte
		err     error
	}
	deleted struct {
		gone []lease.GoingShare
		err  error
	}
	// oldTraffic is who has days that are kept no longer.
	oldTraffic struct {
		counters []lease.CounterKey
		before   lease.Day
		err      error
	}
)

// Receive implements actor.Actor.
func (c *collector) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case work:
		c.rest = nil
		c.work(ctx)
	case collectSoon:
		c.listCancelling(ctx)
	case cancelling:
		c.cancelling(ctx, m)
	case leftOver:
		c.leftOver(ctx, m)
	case expired:
		c.expired(ctx, m)
	case scannedUnder:
		c.scannedUnder(ctx, m)
	case scanned:
		c.scanned(ctx, m)
	case deleted:
		c.deleted(ctx, m)
	case looseListed:
		c.looseListed(ctx, m)
	case looseVerified:
		c.looseVerified(ctx, m)
	case adoptionEnded:
		c.adoptionEnded(ctx, m)
	case oldTraffic:
		c.oldTraffic(ctx, m)
	}
}

func (c *collector) start(ctx actor.Context) {
	store := c.config.Store
	c.do(ctx, func() any {
		going, err := store.Going()
		cursor, cursorErr := store.Progress()
		folders, foldersErr := looseFolders(store)
		return leftOver{going, cursor, folders, errors.Join(err, cursorErr, foldersErr)}
	})
}

func looseFolders(s Store) ([]string, error) {
	adopting, err := s.Adopting()
	if err != nil || !adopting {
		return nil, err
	}
	return s.LooseFolders()
}

func (c *collector) leftOver(ctx actor.Context, m leftOver) {
	if m.err != nil {
		c.env.Log.Error("what is left to collect could not be listed", "error", m.err)
	}
	c.going, c.cursor = append(m.going, c.going...), m.cursor
	c.folders, c.due = m.folders, len(m.folders) > 0
	c.listCancelling(ctx)
	c.done(ctx)
}

// do runs a job; there is only one at a time.
func (c *collector) do(ctx actor.Context, job func() any) {
	c.begun = c.env.Clock.Now()
	c.env.Exec.Do(env.Disk, ctx.Self(), job)
}

// ask has the ledger end leases, which is a part of the job: its answer ends
// it. A ledger that failed over it gives none.
func (c *collector) ask(ctx actor.Context, step any) {
	ctx.Send(c.ledger, step)
	c.asked = true
	c.restFor(ctx, collectLongest)
}

// done rests after a job, the longer the longer it took.
func (c *collector) done(ctx actor.Context) {
	c.asked = false
	took := c.env.Clock.Now().Sub(c.begun)
	c.begun = time.Time{}
	c.restFor(ctx, max(collectPause, min(collectRest*took, collectLongest)))
}

func (c *collector) restFor(ctx actor.Context, d time.Duration) {
	if c.rest != nil {
		c.rest()
	}
	c.rest = c.env.Clock.After(d, ctx.Self(), work{})
}

// wake ends a rest that was for want of work.
func (c *collector) wake(ctx actor.Context) {
	if c.begun.IsZero() {
		c.restFor(ctx, 0)
	}
}

// work begins the most urgent job, if there is any.
func (c *collector) work(ctx actor.Context) {
	now := c.env.Clock.Now()
	if c.asked && now.Sub(c.begun) >= collectLongest {
		c.asked, c.begun = false, time.Time{}
	}
	switch {
	case !c.begun.IsZero():
	case len(c.going) > 0:
		c.delete(ctx)
	case len(c.cancel) > 0:
		c.scanUnder(ctx)
	case c.pending():
		c.adopt(ctx)
	case c.cursor != nil || !now.Before(c.next):
		c.scan(ctx, now)
	default:
		c.restFor(ctx, c.next.Sub(now))
	}
}

func (c *collector) listCancelling(ctx actor.Context) {
	store := c.config.Store
	c.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		roots, err := store.CancellingRoots()
		return cancelling{roots, err}
	})
}

func (c *collector) cancelling(ctx actor.Context, m cancelling) {
	if m.err != nil {
		c.env.Log.Error("the leases to be cancelled could not be found", "error", m.err)
		return
	}
	c.cancel, c.under, c.found = m.roots, nil, false
	if len(m.roots) > 0 {
		c.wake(ctx)
	}
}

func (c *collector) scanUnder(ctx actor.Context) {
	store, root, from := c.config.Store, c.cancel[0], c.under
	c.do(ctx, func() any {
		found, next, err := store.ScanUnder(root, from, collectStep)
		return scannedUnder{root, found, next, err}
	})
}

// scannedUnder has the ledger end what was found. A root is through when a
// pass over all leases has found nothing under it.
func (c *collector) scannedUnder(ctx actor.Context, m scannedUnder) {
	switch {
	case m.err != nil:
		c.env.Log.Error("the leases to be cancelled could not be scanned; the next start tries again", "error", m.err)
		c.cancel = nil
		c.done(ctx)
	case len(c.cancel) == 0 || c.cancel[0] != m.root:
		c.done(ctx) // the list is new
	case len(m.found) > 0:
		ids := make([]lease.LeaseID, len(m.found))
		for i, l := range m.found {
			ids[i] = l.ID
		}
		c.found = true
		c.ask(ctx, cancelUnder{ctx.Self(), m.root, ids})
		c.passUnder(ctx, m)
	default:
		c.passUnder(ctx, m)
		c.done(ctx)
	}
}

// passUnder goes on with a pass over all leases.
func (c *collector) passUnder(ctx actor.Context, m scannedUnder) {
	c.under = m.next
	if m.next != nil {
		return
	}
	if c.found {
		c.listCancelling(ctx) // the operator may have taken the root back
		return
	}
	ctx.Send(c.ledger, endCancelling{m.root})
	c.cancel = c.cancel[1:]
}

func (c *collector) scan(ctx actor.Context, now time.Time) {
	store, from := c.config.Store, c.cursor
	c.do(ctx, func() any {
		found, next, err := store.ScanExpired(now, from, collectStep)
		return scanned{found, next, errors.Join(err, store.SaveProgress(next))}
	})
}

func (c *collector) scanned(ctx actor.Context, m scanned) {
	if m.err != nil {
		c.env.Log.Error("leases could not be scanned", "error", m.err)
		m.next = nil
	}
	if len(m.expired) > 0 {
		c.ask(ctx, expire{ctx.Self(), m.expired})
	} else {
		c.done(ctx)
	}
	c.cursor = m.next
	if m.next == nil {
		c.next = c.env.Clock.Now().Add(c.env.Jitter(collectEvery))
		c.findOldTraffic(ctx)
	}
}

// findOldTraffic follows each scan.
func (c *collector) findOldTraffic(ctx actor.Context) {
	store, before := c.config.Store, lease.DayOf(c.env.Clock.Now())-trafficDays
	c.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		counters, err := store.CountersWithTraffic(before)
		return oldTraffic{counters, before, err}
	})
}

func (c *collector) oldTraffic(ctx actor.Context, m oldTraffic) {
	if m.err != nil {
		c.env.Log.Error("old traffic could not be found", "error", m.err)
	}
	for _, of := range m.counters {
		ctx.Send(c.ledger, forgetTraffic{of, m.before})
	}
}

// expired takes shares that the table has given up, durably.
func (c *collector) expired(ctx actor.Context, m expired) {
	if m.err != nil {
		c.env.Log.Error("leases could not be ended", "error", m.err)
	}
	c.going = append(c.going, m.going...)
	switch {
	case m.last && c.asked:
		c.done(ctx)
	case len(m.going) > 0:
		c.wake(ctx)
	}
}

// step is how many of the shares that are going one job deletes.
func (c *collector) step() int {
	files := 0
	for n, g := range c.going[:min(len(c.going), goneStep)] {
		if g.File == 0 {
			continue
		}
		if files++; files > deleteStep {
			return n
		}
	}
	return min(len(c.going), goneStep)
}

// delete deletes some of the shares that are going.
func (c *collector) delete(ctx actor.Context) {
	store, n := c.config.Store, c.step()
	some := c.going[:n:n]
	c.going = c.going[n:]
	c.do(ctx, func() any {
		gone, err := store.Delete(some...)
		return deleted{gone, err}
	})
}

func (c *collector) deleted(ctx actor.Context, m deleted) {
	defer c.done(ctx)
	if m.err != nil {
		c.env.Log.Error("shares could not be deleted; the next start tries again", "error", m.err)
	}
	if len(m.gone) > 0 {
		ctx.Send(c.ledger, gone{m.gone})
		c.env.Log.Info("shares without a lease deleted", "shares", len(m.gone))
	}
}
