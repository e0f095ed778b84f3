package sim_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ward is a counter that is looked after, at servers that lose what they hold, or go
// back to what they held.
type ward struct {
	*counter
	liars []*liar
	empty []*store.Store // of each server, as it was before the file
}

// openWard makes a file of so many bytes; the lies are told from then on.
func openWard(w *sim.World, servers int, f mutable.Format, size int) (*ward, error) {
	v := &ward{}
	g, err := aGrid{servers: servers, clients: 3, prepare: func(g *simGrid) {
		for _, s := range g.servers {
			l := &liar{g: g}
			s.lies, v.liars = l.wrap, append(v.liars, l)
		}
	}}.build(w)
	if err != nil {
		return nil, err
	}
	for _, s := range g.servers {
		before, err := s.disk.AfterCrash()
		if err != nil {
			return nil, err
		}
		v.empty = append(v.empty, before)
	}
	v.counter = &counter{simGrid: g, format: f, size: size}
	return v, v.create()
}

// lose has a server forget the file.
func (v *ward) lose(i int) error { return v.rollBack(i, v.empty[i]) }

// rollBack has a server be as it was.
func (v *ward) rollBack(i int, was *store.Store) error {
	s := v.servers[i]
	copied, err := was.AfterCrash()
	if err != nil {
		return err
	}
	s.crash()
	s.disk.Store = copied
	if err := v.For(2 * time.Minute); err != nil { // until all have noticed
		return err
	}
	s.start()
	return v.connected()
}

// snapshot is what a server holds now.
func (v *ward) snapshot(i int) (*store.Store, error) {
	now, err := v.servers[i].disk.AfterCrash()
	if err != nil {
		return nil, err
	}
	v.servers[i].disk.Store, err = now.AfterCrash()
	return now, err
}

func (v *ward) spec() client.MutableSpec {
	return client.MutableSpec{Cap: v.cap, Params: counterParams, Verify: true}
}

// repairBy has a client repair the file; what comes of it is told in its time.
func (v *ward) repairBy(n *clientNode, force bool, then func(client.Repaired, error)) {
	v.ask(n, "repair", func(j *job) any {
		return client.RepairMutable{ReplyTo: j.replyTo, MutableSpec: v.spec(), Force: force}
	}, func(last any, err error) {
		r, _ := last.(client.Repaired)
		v.Note("repaired: %s, then %s (%v, %v)", r.Before.Summary(), r.After.Summary(), r.Err, err)
		then(r, err)
	})
}

func (v *ward) repairNow(n *clientNode, force bool) (r client.Repaired, err error) {
	v.repairBy(n, force, func(got client.Repaired, failed error) { r, err = got, failed })
	if waitErr := v.wait(time.Hour); waitErr != nil {
		return r, waitErr
	}
	return r, err
}

// checked is what a client finds that reads all of it.
func (v *ward) checked(n *clientNode) (client.Checked, error) {
	last, err := v.job(n, "check", func(j *job) any {
		spec := v.spec()
		spec.Cap = spec.Cap.Verifier()
		return client.CheckMutable{ReplyTo: j.replyTo, MutableSpec: spec}
	})
	got, _ := last.(client.Checked)
	return got, err
}

// whole holds that the file is healthy, for who reads all of it, and that no
// addition is lost.
func (v *ward) whole() error {
	got, err := v.checked(v.clients[2])
	if err != nil {
		return err
	}
	if !got.Healthy() || len(got.Corrupt) > 0 {
		return fmt.Errorf("after the repair: %s, wrong %v, corrupt %v", got.Summary(), got.Wrong, got.Corrupt)
	}
	return v.shown()
}

// someAdditions are made by one client after the other.
func (v *ward) someAdditions() error {
	clients := v.clients
	v.clients = clients[:1]
	err := v.race(2)
	v.clients = clients
	return err
}

var wards = []struct {
	format mutable.Format
	size   int
}{{mutable.SDMF, 1}, {mutable.MDMF, 1}, {mutable.SDMF, 200_000}, {mutable.MDMF, 400_000}}

// eachWard runs a scenario for files of each kind.
func eachWard(t *testing.T, seeds int, servers int, scenario func(*ward) error) {
	t.Helper()
	err := sim.EachSeed(sim.Seeds(seeds), func(seed uint64) error {
		of := wards[seed%uint64(len(wards))]
		v, err := openWard(sim.New(seed, nil), servers, of.format, of.size)
		if err == nil {
			err = v.someAdditions()
		}
		if err == nil {
			err = scenario(v)
		}
		if err != nil {
			err = fmt.Errorf("seed %d, %s of %d bytes: %w", seed, of.format, of.size, err)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What two of six servers lose is put back, on as many servers as there are shares.
func TestMutableRepairSeeds(t *testing.T) {
	eachWard(t, 8, 6, func(v *ward) error {
		for range 2 {
			if err := v.lose(v.oneOf(6)); err != nil {
				return err
			}
		}
		before, err := v.checked(v.clients[1])
		if err != nil {
			return err
		}
		r, err := v.repairNow(v.clients[1], false)
		if err != nil || r.Err != nil || r.Attempted == before.Healthy() || !r.After.Healthy() || r.Pushed < len(before.Missing()) || r.Attempted && r.After.Leased != len(r.After.Good) {
			return fmt.Errorf("repaired %+v, %w", r, errors.Join(err, r.Err))
		}
		if err := v.whole(); err != nil {
			return err
		}
		r, err = v.repairNow(v.clients[0], false)
		if err != nil || r.Attempted || r.Pushed > 0 {
			return fmt.Errorf("what is whole was repaired: %+v, %w", r, err)
		}
		// It can be written still, by who looks where its shares are now.
		if err := errors.Join(v.For(2*time.Minute), v.someAdditions()); err != nil {
			return err
		}
		return v.whole()
	})
}

// What the first server in the order of the file has lost is not put back there, since
// then two servers would have decided between writers: the content becomes a new
// version. What any other has lost is put back as it was.
func TestNothingIsPutBackBeforeWhoDecidesSeeds(t *testing.T) {
	eachWard(t, 4, 4, func(v *ward) error {
		first, err := v.firstOf()
		if err != nil {
			return err
		}
		for i, s := range v.servers {
			if err := v.lose(i); err != nil {
				return err
			}
			r, err := v.repairNow(v.clients[1], false)
			if err != nil || r.Err != nil || !r.After.Healthy() {
				return fmt.Errorf("repaired %+v, %w", r, errors.Join(err, r.Err))
			}
			if written := r.After.Version != r.Before.Version; written != (s.id() == first) {
				v.violated("%s lost its share: a new version was written: %v; the first in the order of the file is %s", s.name, written, first.Short())
			}
		}
		return v.verdict()
	})
}

// firstOf is the server that comes first in the order of the file.
func (v *ward) firstOf() (grid.ServerID, error) {
	status, err := v.picture(v.clients[0])
	if err != nil {
		return grid.ServerID{}, err
	}
	var all []placement.Candidate
	for _, at := range status.Servers {
		all = append(all, placement.Candidate{ID: at.Announcement.Server, Seed: at.Announcement.PermutationSeed})
	}
	return placement.Permute(v.cap.StorageIndex(), all)[0].ID, nil
}

// Shares of an older version, and of one that was lost in the making, go; the newest
// that can be read stays.
func TestMutableRepairOfVersionsSeeds(t *testing.T) {
	eachWard(t, 8, 4, func(v *ward) error {
		at := v.oneOf(4)
		old, err := v.snapshot(at)
		if err != nil {
			return err
		}
		if err := v.someAdditions(); err != nil {
			return err
		}
		if err := v.rollBack(at, old); err != nil {
			return err
		}
		r, err := v.repairNow(v.clients[1], false)
		if err != nil || r.Err != nil || len(r.Before.Wrong) == 0 || len(r.Before.Others) != 1 || !r.After.Healthy() {
			return fmt.Errorf("repaired %+v, %w", r, errors.Join(err, r.Err))
		}
		return v.whole()
	})
}

// A newer version of which a writer could write one share alone is given up only by
// who says so.
func TestMutableRepairMustBeForced(t *testing.T) {
	eachWard(t, 4, 4, func(v *ward) error {
		mutates := 0
		for _, l := range v.liars {
			l.hears = func(f wire.Frame) []wire.Frame {
				if _, ok := f.Message.(*wire.Mutate); !ok {
					return nil
				}
				if mutates++; mutates == 1 {
					return nil
				}
				return []wire.Frame{{ID: f.ID, Answer: true, Message: &wire.Error{Code: wire.OverQuota}}}
			}
		}
		text := v.text(99)
		_, err := v.job(v.clients[0], "write", func(j *job) any {
			return client.WriteMutable{ReplyTo: j.replyTo, Cap: v.cap, Content: contentOf(text), Size: int64(len(text)), Params: counterParams}
		})
		if err == nil {
			return errors.New("one share of two that are needed was enough")
		}
		for _, l := range v.liars {
			l.hears = nil
		}
		r, err := v.repairNow(v.clients[1], false)
		if err != nil || !errors.Is(r.Err, client.ErrMustForce) || r.Before.Newer() != 1 || r.After.Healthy() || r.Pushed > 0 {
			return fmt.Errorf("not forced: %+v, %w", r, errors.Join(err, r.Err))
		}
		r, err = v.repairNow(v.clients[1], true)
		if err != nil || r.Err != nil || !r.After.Healthy() {
			return fmt.Errorf("forced: %+v, %w", r, errors.Join(err, r.Err))
		}
		return v.whole()
	})
}

// Two write while two repair what a server lost: every addition that was acknowledged
// counts, and in the end the file is whole.
func TestMutableRepairAmongWritersSeeds(t *testing.T) {
	eachWard(t, 8, 6, func(v *ward) error {
		if err := v.lose(v.oneOf(6)); err != nil {
			return err
		}
		repairs := 0
		var begin func(n *clientNode, times int)
		begin = func(n *clientNode, times int) {
			if times == 0 {
				return
			}
			repairs++
			v.repairBy(n, false, func(client.Repaired, error) {
				repairs--
				v.After(time.Duration(v.oneOf(3000))*time.Millisecond, func() { begin(n, times-1) })
			})
		}
		begin(v.clients[1], 4)
		begin(v.clients[2], 4)
		clients := v.clients
		v.clients = clients[:2]
		err := v.race(8)
		v.clients = clients
		if err == nil {
			err = v.Until(func() bool { return repairs == 0 }, time.Hour)
		}
		if err != nil {
			return err
		}
		if _, err := v.repairNow(v.clients[2], true); err != nil {
			return err
		}
		return v.whole()
	})
}

// One server that lies harms nobody: the file is whole among the others.
func TestMutableRepairAmongLiarsSeeds(t *testing.T) {
	for name, lie := range mutableLies {
		eachWard(t, 2, 6, func(v *ward) error {
			if err := v.lose(1); err != nil {
				return err
			}
			lie(v.simGrid, v.liars[2])
			var r client.Repaired
			for range 3 { // a liar may have got shares that it did not keep
				var err error
				if r, err = v.repairNow(v.clients[1], true); err != nil {
					return fmt.Errorf("a server that %s: %w", name, err)
				}
			}
			honest := r.After.Report
			honest.Good = nil
			for _, c := range r.After.Good {
				if c.Server != v.servers[2].id() {
					honest.Good = append(honest.Good, c)
				}
			}
			if honest.Happiness() < counterParams.Happy || !honest.Recoverable() {
				return fmt.Errorf("a server that %s: %s, without it %s, %w", name, r.After.Summary(), honest.Summary(), r.Err)
			}
			return v.shown()
		})
	}
}

// A file that is too large to be held in memory is put back, and written anew, in
// parts.
func TestMutableRepairOfALargeFile(t *testing.T) {
	v, err := openWard(sim.New(1, nil), 5, mutable.MDMF, 17<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.servers {
		if err := v.lose(i); err != nil {
			t.Fatal(err)
		}
		r, err := v.repairNow(v.clients[1], false)
		if err != nil || r.Err != nil || !r.After.Healthy() {
			t.Fatalf("server %d lost it: %+v, %v", i, r, err)
		}
	}
	if err := v.whole(); err != nil {
		t.Error(err)
	}
}

// The write capability it takes, and what is lost is lost.
func TestMutableRepairThatCannotBe(t *testing.T) {
	v, err := openWard(sim.New(1, nil), 4, mutable.SDMF, 100)
	if err != nil {
		t.Fatal(err)
	}
	write := v.cap
	for _, c := range []file.Mutable{write.ReadOnly(), write.Verifier()} {
		v.cap = c
		if r, err := v.repairNow(v.clients[0], false); err != nil || r.Err != nil || r.Attempted {
			t.Errorf("of what is whole: %+v, %v", r, err)
		}
	}
	if err := v.lose(0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []file.Mutable{write.ReadOnly(), write.Verifier()} {
		v.cap = c
		r, err := v.repairNow(v.clients[0], false)
		if err != nil || !errors.Is(r.Err, client.ErrRepairTakesWriteCap) || r.Attempted || r.Before.Healthy() {
			t.Errorf("by %s: %+v, %v", c.Kind(), r, err)
		}
	}
	v.cap = write
	for i := range 3 {
		if err := v.lose(i); err != nil {
			t.Fatal(err)
		}
	}
	r, err := v.repairNow(v.clients[0], true)
	if err != nil || !errors.Is(r.Err, mutable.ErrUnrecoverable) || !r.Attempted || r.Pushed > 0 || r.After.Recoverable() {
		t.Errorf("%+v, %v", r, err)
	}
}
