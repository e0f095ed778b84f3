package sim_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// repairerNode is a repairer, whose disk is a repairer.Store.
type repairerNode struct {
	node
	account lease.Account
	intro   *introducerNode
	kept    map[string]map[grid.StorageIndex]repairer.File
	notes   int
}

func newRepairer(w *sim.World, net *fake.Network, intro *introducerNode) *repairerNode {
	n := &repairerNode{
		node: node{world: w, net: net, name: "repairer"}, intro: intro, kept: map[string]map[grid.StorageIndex]repairer.File{},
		account: lease.OneKeyAccount([lease.SeedSize]byte(newKey(w).Seed())),
	}
	n.config = func() actors.Config {
		return actors.Config{Repairer: &repairer.Config{
			Store: n, Most: 10, Every: day, Verify: 2 * day, Fatal: func(err error) { panic(err) },
		}}
	}
	return n
}

func (n *repairerNode) owner(name string) repairer.Owner {
	o := repairer.Owner{Name: name, Connections: client.Config{
		Dialer: n.net.Dialer(n.name), Rules: clause.Rules{Connections: transport.DirectConnections}, OnlyLent: true, References: references{},
		Introducers: []client.Introducer{{Target: n.intro.target(), Cache: &announcements{}}},
	}}
	for _, si := range slices.SortedFunc(maps.Keys(n.kept[name]), func(a, b grid.StorageIndex) int { return slices.Compare(a[:], b[:]) }) {
		o.Files = append(o.Files, n.kept[name][si])
	}
	return o
}

// Load implements repairer.Store.
func (n *repairerNode) Load() ([]repairer.Owner, error) {
	var all []repairer.Owner
	for _, name := range slices.Sorted(maps.Keys(n.kept)) {
		all = append(all, n.owner(name))
	}
	return all, nil
}

// Save implements repairer.Store.
func (n *repairerNode) Save(name string, files []repairer.File) (repairer.Owner, error) {
	if n.kept[name] == nil {
		n.kept[name] = map[grid.StorageIndex]repairer.File{}
	}
	for _, f := range files {
		n.kept[name][f.Verifier.StorageIndex] = f
	}
	return n.owner(name), nil
}

// Note implements repairer.Store.
func (n *repairerNode) Note(name string, f repairer.File) error {
	n.notes++
	n.kept[name][f.Verifier.StorageIndex] = f
	return nil
}

// Remove implements repairer.Store.
func (n *repairerNode) Remove(name string, si *grid.StorageIndex) (repairer.Owner, error) {
	if si != nil {
		delete(n.kept[name], *si)
	}
	if si == nil || len(n.kept[name]) == 0 {
		delete(n.kept, name)
	}
	return n.owner(name), nil
}

// repairCap is what the owner of a file hands to the repairer.
func (s *workshop) repairCap(n *repairerNode, f *storedFile) (repairer.File, error) {
	var servers []grid.ServerID
	for _, at := range s.servers {
		servers = append(servers, at.id())
	}
	mine := lease.Authority{Holdings: []lease.Holding{{Account: f.client.account}}}
	v := f.cap.Verifier()
	c, err := mine.RepairCap(n.account.PublicKey(grid.ServerID{}), s.Now().AddDate(3, 0, 0).Unix(), v.StorageIndex, lease.UEBHash(v.UEBHash), servers)
	if err != nil {
		return repairer.File{}, err
	}
	c.VerifyCap, c.Happy = v.String(), f.params.Happy
	authority, err := c.Authority(n.account)
	return repairer.File{Cap: c, Verifier: v, Authority: authority, Added: s.Now()}, err
}

func (s *workshop) toRepairer(n *repairerNode, message any) error {
	_, err := ask[repairer.Done](s.simGrid, &n.node, actors.ToRepairer{Message: message})
	return err
}

// entrusted: Alice hands her files to a repairer and goes away for longer than a
// lease lasts. Servers lose and spoil shares, the repairer loses its power, and
// nobody else renews her leases: still her files are whole, and the leases are
// hers alone.
func entrusted(w *sim.World) error {
	s, err := openWorkshop(w)
	if err != nil {
		return err
	}
	s.lying = nil
	n := newRepairer(w, s.net, s.intro)
	n.start()
	add := repairer.Add{Name: "alice"}
	for _, f := range s.files {
		entrusted, err := s.repairCap(n, f)
		if err != nil {
			return err
		}
		add.Files = append(add.Files, entrusted)
	}
	if err := s.readmit(); err != nil {
		return err
	}
	if err := s.toRepairer(n, add); err != nil {
		return err
	}
	for _, c := range s.clients {
		c.crash()
	}
	for week := range 5 {
		if err := s.For(7 * day); err != nil {
			return err
		}
		switch week {
		case 0, 2:
			n.crash()
			s.After(day, n.start)
		case 1:
			if err := s.loseAll(s.servers[3+s.oneOf(4)]); err != nil {
				return err
			}
		}
	}
	for i, f := range s.files {
		if after := s.truth(f); !after.Healthy() {
			s.violated("file %d after five weeks: %s", i, after.Summary())
		}
		if found := n.kept["alice"][f.cap.StorageIndex()].State; !found.Healthy || found.Lost == 0 || found.Pushed == 0 || s.Now().Sub(found.Checked) > 2*day {
			s.violated("the repairer says %+v", found)
		}
	}
	s.onlyOf(s.clients[0])
	s.recount()
	return errors.Join(s.verdict(), s.narrow(n, add.Files[0]))
}

// readmit gives Alice her account back where all was lost with it.
func (s *workshop) readmit() error {
	if err := s.addAccounts(); err != nil {
		return err
	}
	return s.For(time.Minute)
}

// loseAll has a server lose all that Alice has there, but not her.
func (s *workshop) loseAll(n *storageNode) error {
	n.fickle = true
	s.losing = n
	return errors.Join(s.lose(), s.readmit())
}

// onlyOf holds that all leases are of one account.
func (s *workshop) onlyOf(c *clientNode) {
	leases := int64(0)
	for _, n := range s.servers {
		for _, other := range s.clients {
			used, _, err := n.disk.Counter(lease.RootCounterKey(other.account.PublicKey(n.id())))
			if leases += used.Leases; err != nil || other != c && used.Leases > 0 {
				s.violated("%s has %d leases at %s (%v)", other.name, used.Leases, n.name, err)
			}
		}
	}
	if want := int64(len(s.files) * mended[0].Total); leases < want {
		s.violated("there are %d leases, and each of the %d shares should have one", leases, want)
	}
}

// narrow holds that nobody stores anything else by a repair cap, nor what it is
// for but with another content: not even who has its key.
func (s *workshop) narrow(n *repairerNode, f repairer.File) error {
	thief := s.clients[1]
	thief.start()
	if err := s.For(time.Minute); err != nil {
		return err
	}
	for _, size := range []int{40_000, 100} {
		err := s.putUnder(thief, f.Authority, s.content(size))
		if err == nil {
			return fmt.Errorf("a file of %d bytes was stored by a repair cap", size)
		}
		s.Note("a file of %d bytes is not stored by a repair cap: %v", size, err)
	}
	return nil
}

// putUnder stores under an authority; the error is why not.
func (s *workshop) putUnder(c *clientNode, a lease.Authority, data []byte) (failed error) {
	p := file.Params{Needed: 1, Happy: 1, Total: 2, SegmentSize: 16 << 10}
	key, err := keyOf(data, p)
	if err != nil {
		return err
	}
	j := s.begin(c, "put by a repair cap", func(err error) { failed = err })
	j.open = true
	pid := s.inbox(func(msg any) bool {
		switch m := msg.(type) {
		case client.Stored:
			j.end(nil)
		case error:
			j.end(m)
		}
		return j.done
	})
	j.replyTo = pid
	spec := client.PutSpec{Source: source{bytes.NewReader(data), j}, Size: int64(len(data)), Key: key, Params: p}
	s.send(&c.node, actors.ToClient{Message: client.Put{ReplyTo: pid, File: spec, Authority: a}}, pid)
	if err := s.wait(time.Hour); err != nil {
		return err
	}
	return failed
}

// Five weeks of seven servers take seconds, so four worlds are enough.
func TestEntrusted(t *testing.T) {
	seeds := fewer(1)
	for _, seed := range seeds[:min(4, len(seeds))] {
		if err := check(seed, entrusted); err != nil {
			t.Error(err)
		}
	}
}

var _ repairer.Store = (*repairerNode)(nil)
