package sim_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
)

// workshop is a grid of seven servers, among them a liar, one whose disk spoils
// what is written to it, and one that loses all it has. Alice stores, and Bob,
// who has the verify capabilities alone, repairs.
type workshop struct {
	*simGrid
	liar   *liar
	lying  *storageNode
	rotten *storageNode
	losing *storageNode
}

// mended are files that stay readable whatever the three do, of one segment and
// of many.
var mended = []file.Params{
	{Needed: 2, Happy: 4, Total: 6, SegmentSize: 128 << 10},
	{Needed: 2, Happy: 4, Total: 6, SegmentSize: 8 << 10},
}

func openWorkshop(w *sim.World) (*workshop, error) {
	shop := &workshop{}
	g, err := aGrid{servers: 7, clients: 2, prepare: func(g *simGrid) {
		shop.liar, shop.lying = &liar{g: g}, g.servers[0]
		shop.lying.lies = shop.liar.wrap
		shop.rotten, shop.losing = g.servers[1], g.servers[2]
		shop.rotten.fickle, shop.losing.fickle = true, true
	}}.build(w)
	if err != nil {
		return nil, err
	}
	shop.simGrid = g
	shop.rotten.disk.wrong = spoilBodies
	for _, p := range mended {
		if _, err := g.putNow(g.clients[0], g.content(40_000), p); err != nil {
			return nil, err
		}
	}
	shop.rotten.disk.wrong = nil
	return shop, shop.lose()
}

// lose has a server forget all that Alice has there, and her with it.
func (s *workshop) lose() error {
	remove := server.RemoveRoot{Name: s.clients[0].name, CancelLeases: true}
	if _, err := ask[server.Changed](s.simGrid, &s.losing.node, actors.ToStorage{Message: remove}); err != nil {
		return err
	}
	for range 100 {
		if err := s.For(time.Minute); err != nil {
			return err
		}
		left := 0
		for _, f := range s.files {
			shares, err := s.losing.disk.ListShares(f.cap.StorageIndex())
			if err != nil {
				return err
			}
			left += len(shares)
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("the server that is to lose its shares still has some")
}

// repairing has a client repair a file; the result comes in its time.
func (s *workshop) repairing(c *clientNode, f *storedFile, then func(client.Repaired, error)) *job {
	var result client.Repaired
	j := s.begin(c, "repair", func(err error) { then(result, err) })
	pid := s.inbox(func(msg any) bool {
		if j.done {
			return true
		}
		j.moved = s.Now()
		switch m := msg.(type) {
		case client.Repaired:
			result = m
			j.end(m.Err)
		case error:
			j.end(m)
		}
		return j.done
	})
	j.replyTo = pid
	spec := client.CheckSpec{Cap: f.cap.Verifier(), Happy: f.params.Happy, Verify: true}
	s.send(&c.node, actors.ToClient{Message: client.Repair{ReplyTo: pid, CheckSpec: spec}}, pid)
	return j
}

// repairBound is how long a repair may take that a liar holds up: the questions
// and reads of a check, and what an upload of two rounds may.
const repairBound = 2*liarsBound + 10*time.Minute

// repairAll has clients repair all files at a time, and holds what they say
// against what there is.
func (s *workshop) repairAll(clients ...*clientNode) ([]client.Repaired, error) {
	var all []client.Repaired
	var failed error
	for _, f := range s.files {
		for _, c := range clients {
			s.repairing(c, f, func(r client.Repaired, err error) {
				failed = errors.Join(failed, err)
				if err == nil {
					all = append(all, r)
					s.repaired(c, f, r)
				}
			})
		}
	}
	if err := s.wait(repairBound); err != nil {
		return nil, err
	}
	return all, failed
}

// repaired holds, the moment that a repair is over, that a power failure
// everywhere would leave what it says.
func (s *workshop) repaired(c *clientNode, f *storedFile, r client.Repaired) {
	s.Note("repaired: %s, then %s", r.Before.Summary(), r.After.Summary())
	for _, at := range r.After.Good {
		if node := s.at(at.Server); node != s.lying && s.durable(node, f, at.Num) != nil {
			s.violated("share %d of %s is said to be good at %s: %w", at.Num, f.cap.StorageIndex(), node.name, s.durable(node, f, at.Num))
		}
	}
	for id := range r.Labels {
		node := s.at(id)
		if node == s.lying || r.Labels[id] != c.account.PublicKey(id) {
			continue
		}
		if used, _, err := node.disk.Counter(lease.RootCounterKey(r.Labels[id])); err != nil || used.Leases == 0 {
			s.violated("%s is said to have leases at %s and has none (%v)", c.name, node.name, err)
		}
	}
}

func (s *workshop) at(id grid.ServerID) *storageNode {
	i := slices.IndexFunc(s.servers, func(n *storageNode) bool { return n.id() == id })
	return s.servers[i]
}

// durable is nil where a share would be there and right after a power failure.
func (s *workshop) durable(n *storageNode, f *storedFile, num grid.ShareNum) error {
	after, err := n.disk.AfterCrash()
	if err != nil {
		return err
	}
	return intact(after, f, lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num})
}

// truth is how well a file is at the servers that do not lie.
func (s *workshop) truth(f *storedFile) health.Report {
	r := health.Report{Needed: f.params.Needed, Happy: f.params.Happy, Total: f.params.Total}
	for _, n := range s.servers {
		for num := range grid.ShareNum(f.params.Total) {
			if n != s.lying && s.durable(n, f, num) == nil {
				r.Good = append(r.Good, health.Copy{Server: n.id(), Num: num})
			}
		}
	}
	return r
}

// mends: whatever one server says, files are happy among the others after a
// repair in fine weather, though one of those lost its shares, one has damaged
// ones, and some fail while a first repair is under way.
func mends(lie func(*liar)) func(w *sim.World) error {
	return func(w *sim.World) error {
		s, err := openWorkshop(w)
		if err != nil {
			return err
		}
		for i, f := range s.files {
			if before := s.truth(f); before.Healthy() || !before.Recoverable() {
				return fmt.Errorf("file %d is to be repairable, and is: %s", i, before.Summary())
			}
		}
		lie(s.liar)
		for range 3 {
			failing := s.servers[3+s.oneOf(4)]
			s.After(time.Duration(s.oneOf(5000))*time.Millisecond, func() { failing.bounce(failing.life, 20*time.Second) })
		}
		// What comes of it in bad weather is not said, but that it comes to an end and is true.
		if _, err := s.repairAll(s.clients[1]); err != nil {
			s.Note("in bad weather: %v", err)
		}
		if err := errors.Join(s.connectedBut(), s.inFineWeather()); err != nil {
			return err
		}
		s.recount()
		return s.verdict()
	}
}

// connectedBut waits until the clients are logged in at all servers but the liar.
func (s *workshop) connectedBut() error {
	for end := s.Now().Add(time.Hour); s.Now().Before(end); {
		up := 0
		for _, c := range s.clients[1:] {
			p, err := s.picture(c)
			if err != nil {
				return err
			}
			for _, known := range p.Servers {
				if known.State == client.LoggedIn && known.Announcement.Server != s.lying.id() {
					up++
				}
			}
		}
		if up == (len(s.servers)-1)*(len(s.clients)-1) {
			return nil
		}
		if err := s.For(time.Second); err != nil {
			return err
		}
	}
	return errors.New("after an hour not every server is reached")
}

func (s *workshop) inFineWeather() error {
	for range 2 { // a liar may have got a share that it did not keep
		if _, err := s.repairAll(s.clients[1]); err != nil {
			return fmt.Errorf("in fine weather: %w", err)
		}
	}
	for i, f := range s.files {
		if after := s.truth(f); after.Happiness() < f.params.Happy || !after.Recoverable() {
			s.violated("file %d after the repair, at the servers that do not lie: %s", i, after.Summary())
		}
		if err := s.getNow(s.clients[1], f); err != nil {
			s.violated("file %d can't be read after the repair: %w", i, err)
		}
	}
	return nil
}

func TestRepairAmongLiarsSeeds(t *testing.T) {
	honest := map[string]func(*liar){"is honest": func(*liar) {}}
	maps.Copy(honest, lies)
	for _, name := range slices.Sorted(maps.Keys(honest)) {
		for _, seed := range fewer(1) {
			if err := check(seed, mends(honest[name])); err != nil {
				t.Errorf("a server that %s: %v", name, err)
			}
		}
	}
}

// together: Alice and Bob repair the same files at one time, both at once.
func together(w *sim.World) error {
	s, err := openWorkshop(w)
	if err != nil {
		return err
	}
	s.lying = nil // nobody does here
	results, err := s.repairAll(s.clients...)
	if err != nil {
		return err
	}
	for _, r := range results {
		if !r.After.Healthy() {
			s.violated("one of two repairers says: %s (left out: %v)", r.After.Summary(), r.LeftOut)
		}
	}
	for i, f := range s.files {
		if after := s.truth(f); !after.Healthy() {
			s.violated("file %d after two repairs: %s", i, after.Summary())
		}
	}
	s.recount()
	return s.verdict()
}

func TestTwoRepairersSeeds(t *testing.T) { checkSeeds(t, 2, together) }

// The model of a repair notices when a server that says so has not kept a share.
func TestRepairModelFindsAPlantedBug(t *testing.T) {
	forgetful := func(w *sim.World) error {
		s, err := openWorkshop(w)
		if err != nil {
			return err
		}
		s.losing.disk.forgetful = true // which gets shares anew
		_, err = s.repairAll(s.clients[1])
		return errors.Join(err, s.verdict())
	}
	err := forgetful(sim.New(1, nil))
	if err == nil || !strings.Contains(err.Error(), "is said to be good at server2") {
		t.Errorf("the model says: %v", err)
	}
}
