package server

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
)

// collector finds leases that have expired and deletes the bytes of shares
// that no lease keeps, in small steps with pauses: nobody is in a hurry for
// either.
//
// Owns: how far the scan has come.
// On failure: begins the scan again.
type collector struct {
	env    *env.Env
	config *Config
	ledger *actor.PID
	cursor []byte
}

func newCollector(e *env.Env, c *Config, ledger *actor.PID) env.Producer {
	return func() actor.Actor { return &collector{env: e, config: c, ledger: ledger} }
}

type (
	scan    struct{} // the next step
	scanned struct {
		expired []lease.LeaseID
		next    []byte
		err     error
	}
	// leftOver is what an earlier run had not finished deleting.
	leftOver struct {
		going []lease.GoingShare
		err   error
	}
	deleted struct {
		gone []lease.GoingShare
		err  error
	}
)

// Receive implements actor.Actor.
func (c *collector) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case leftOver:
		if m.err != nil {
			c.env.Log.Error("shares to be deleted could not be listed", "error", m.err)
		}
		c.delete(ctx, m.going)
		ctx.Send(ctx.Self(), scan{})
	case scan:
		c.scan(ctx)
	case scanned:
		c.scanned(ctx, m)
	case expired:
		c.expired(ctx, m)
	case deleted:
		c.deleted(ctx, m)
	}
}

func (c *collector) start(ctx actor.Context) {
	store := c.config.Store
	c.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		going, err := store.Going()
		return leftOver{going, err}
	})
}

func (c *collector) scan(ctx actor.Context) {
	store, now, from := c.config.Store, c.env.Clock.Now(), c.cursor
	c.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		found, next, err := store.ScanExpired(now, from, collectStep)
		return scanned{found, next, err}
	})
}

// scanned goes on after a pause: a short one within a scan, a long one after it.
func (c *collector) scanned(ctx actor.Context, m scanned) {
	if m.err != nil {
		c.env.Log.Error("leases could not be scanned", "error", m.err)
		m.next = nil
	}
	if len(m.expired) > 0 {
		ctx.Send(c.ledger, expire{ctx.Self(), m.expired})
	}
	c.cursor = m.next
	pause := collectPause
	if m.next == nil {
		pause = c.env.Jitter(collectEvery)
	}
	c.env.Clock.After(pause, ctx.Self(), scan{})
}

func (c *collector) expired(ctx actor.Context, m expired) {
	if m.err != nil {
		c.env.Log.Error("leases could not be ended", "error", m.err)
		return
	}
	c.delete(ctx, m.going)
}

// delete deletes what the table has already given up, durably.
func (c *collector) delete(ctx actor.Context, going []lease.GoingShare) {
	if len(going) == 0 {
		return
	}
	store := c.config.Store
	c.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		var d deleted
		for _, g := range going {
			if err := store.Delete(g); err != nil {
				d.err = errors.Join(d.err, err)
				continue
			}
			d.gone = append(d.gone, g)
		}
		return d
	})
}

func (c *collector) deleted(ctx actor.Context, m deleted) {
	if m.err != nil {
		c.env.Log.Error("shares could not be deleted; the next start tries again", "error", m.err)
	}
	for _, g := range m.gone {
		ctx.Send(c.ledger, gone{g})
	}
	if len(m.gone) > 0 {
		c.env.Log.Info("shares without a lease deleted", "shares", len(m.gone))
	}
}
