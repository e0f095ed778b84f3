package sim_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

var simStart = sim.Start

// maxViolations is how many the model notes: more are the same again.
const maxViolations = 5

// violated notes that the grid is not what it promises to be.
func (g *simGrid) violated(format string, args ...any) {
	if len(g.errs) < maxViolations {
		g.errs = append(g.errs, fmt.Errorf("at %v: %w", g.Now().Sub(simStart), fmt.Errorf(format, args...)))
	}
}

// verdict is what the model has noticed.
func (g *simGrid) verdict() error { return errors.Join(g.errs...) }

// honest finds a server whose word counts.
func (g *simGrid) honest(id grid.ServerID) *storageNode {
	for _, s := range g.servers {
		if s.id() == id && s.lies == nil && !s.fickle {
			return s
		}
	}
	return nil
}

// acknowledged holds, the moment that a client is told that its file is
// stored, that a power failure everywhere would leave what it was told.
func (g *simGrid) acknowledged(f *storedFile) {
	g.Note("stored %d bytes, %d new shares, %d found", len(f.data), f.stored.Pushed, f.stored.Found)
	var edges []placement.Edge
	for n := range f.params.Total {
		num := grid.ShareNum(n)
		for _, id := range f.stored.Placement[num] {
			edges = append(edges, placement.Edge{Server: id, Share: num})
			if s := g.honest(id); s != nil {
				if err := holds(s, f, num); err != nil {
					g.violated("%s is said to hold share %d durably: %w", s.name, num, err)
				}
			}
		}
	}
	if got := placement.Happiness(edges); got < f.params.Happy || got != f.stored.Happiness {
		g.violated("happiness is %d, said to be %d, wanted %d", got, f.stored.Happiness, f.params.Happy)
	}
}

// holds checks a share, its bytes, and its lease as they would be after a
// power failure.
func holds(s *storageNode, f *storedFile, num grid.ShareNum) error {
	after, err := s.disk.AfterCrash()
	if err != nil {
		return err
	}
	id := lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num}
	if err := intact(after, f, id); err != nil {
		return err
	}
	column := lease.ColumnOf(f.client.account.PublicKey(s.id()))
	_, ok, err := after.Lease(lease.LeaseID{Column: column, Share: id})
	if err == nil && !ok {
		err = fmt.Errorf("there is no lease of %s", f.client.name)
	}
	return err
}

// recount compares every sum in the tables with what the leases say.
func (g *simGrid) recount() {
	for _, s := range g.servers {
		differences, err := s.disk.Recount()
		if err != nil {
			g.violated("%s: %w", s.name, err)
		}
		for _, d := range differences {
			g.violated("%s: %v", s.name, d)
		}
	}
}

// checkQuota holds that no account has more than it may, right after a change
// of the table.
func (g *simGrid) checkQuota(s *storageNode) {
	if g.quota == nil {
		return
	}
	for _, c := range g.clients {
		used, _, err := s.disk.Counter(lease.RootCounterKey(c.account.PublicKey(s.id())))
		if err != nil || used.Bytes > *g.quota {
			g.violated("%s holds %d bytes at %s, above its quota of %d (%v)", c.name, used.Bytes, s.name, *g.quota, err)
		}
	}
}

// checkUsage asks a server what everybody holds, what is reserved included.
func (g *simGrid) checkUsage(s *storageNode) {
	if !s.up {
		return
	}
	pid := g.inbox(func(msg any) bool {
		list, _ := msg.(server.UsageList) // a server that goes down meanwhile answers nothing
		for _, u := range list {
			if g.quota != nil && u.Below.Bytes() > *g.quota {
				g.violated("%s holds and reserves %d bytes at %s, above its quota of %d", u.Root.Petname, u.Below.Bytes(), s.name, *g.quota)
			}
		}
		return true
	})
	g.send(&s.node, actors.ToStorage{Message: server.ListUsage{}}, pid)
}

// settled holds what must hold when nothing is under way.
func (g *simGrid) settled() error {
	if err := g.For(time.Second); err != nil {
		return err
	}
	g.recount()
	for _, j := range g.puts {
		if j.open && j.life == j.c.life && j.c.up { // nothing stays open longer than its process
			g.violated("the source of a file that %s stored was not closed", j.c.name)
		}
	}
	for _, s := range g.servers {
		status, err := g.status(s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if status.Reserved != 0 || status.Uploads != 0 {
			g.violated("%s: %d bytes are reserved by %d uploads, and none is under way", s.name, status.Reserved, status.Uploads)
		}
		g.modelUsage(s)
	}
	return g.verdict()
}

// modelUsage counts what each account must hold at least (all that was
// acknowledged) and holds that the table says no less, and what it leases
// beyond that is what uploads that failed had stored.
func (g *simGrid) modelUsage(s *storageNode) {
	for _, c := range g.clients {
		column := lease.ColumnOf(c.account.PublicKey(s.id()))
		var want lease.Counter
		for id, size := range g.acknowledgedAt(s, c) {
			want.Bytes += size + lease.LeaseOverhead
			want.Leases++
			if _, ok, err := s.disk.Lease(lease.LeaseID{Column: column, Share: id}); !ok || err != nil {
				g.violated("%s has no lease on %v at %s, which was acknowledged (%v)", c.name, id, s.name, err)
			}
		}
		got, _, err := s.disk.Counter(lease.ColumnCounterKey(column))
		if err != nil || got.Bytes < want.Bytes || got.Leases < want.Leases {
			g.violated("%s at %s: %v is counted, and %v was acknowledged (%v)", c.name, s.name, got, want, err)
		}
	}
}

// acknowledgedAt is the shares of a client at a server, with their sizes.
func (g *simGrid) acknowledgedAt(s *storageNode, c *clientNode) map[lease.ShareID]int64 {
	all := map[lease.ShareID]int64{}
	for _, f := range g.files {
		if f.client != c || s.lies != nil {
			continue
		}
		for num, at := range f.stored.Placement {
			if slices.Contains(at, s.id()) {
				all[lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num}] = f.shareSize()
			}
		}
	}
	return all
}

func (f *storedFile) shareSize() int64 {
	l, err := immutable.NewLayout(int64(len(f.data)), f.params)
	if err != nil {
		panic(err) // it was stored with that
	}
	return l.ShareSize
}

// readable holds that every file that was acknowledged can be read whole by
// anybody, and so with just enough of the servers that hold it.
func (g *simGrid) readable() error {
	for i, f := range g.files {
		c := g.clients[(i+1)%len(g.clients)]
		if err := g.getNow(c, f); err != nil {
			g.violated("%s can't read file %d, which is stored: %w", c.name, i, err)
		}
	}
	return g.verdict()
}

// intact reads a share through its own hash trees and holds that it is one of
// this file.
func intact(s *store.Store, f *storedFile, id lease.ShareID) error {
	b, err := s.OpenShare(id)
	if err != nil {
		return err
	}
	v := immutable.NewShareVerifier(id.Num, b.Size)
	_, err = io.Copy(v, io.NewSectionReader(b, 0, b.Size))
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	hash, _, err := v.Finish()
	if err == nil && hash != f.cap.UEBHash {
		err = errors.New("it is a share of another file")
	}
	return err
}
