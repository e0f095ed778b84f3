package sim_test

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// managerNode is an account manager.
type managerNode struct {
	node
	key  ed25519.PrivateKey
	book memberBook
}

func (n *managerNode) place() lease.Place {
	return lease.Place{Server: grid.ServerID(grid.PublicKeyOf(n.key)), Hints: []grid.Hint{grid.Hint("/dns/" + n.name + "/tcp/1")}}
}

func targetOf(p lease.Place) transport.Target {
	return transport.Target{Server: p.Server, Hints: p.Hints, Connections: transport.DirectConnections}
}

func newManager(w *sim.World, net *fake.Network) *managerNode {
	n := &managerNode{node: node{world: w, net: net, name: "manager"}, key: newKey(w)}
	n.config = func() actors.Config {
		return actors.Config{Manager: &manager.Config{Key: n.key, Listen: n.listen(n.key, nil), Store: &n.book, Fatal: func(err error) { panic(err) }}}
	}
	return n
}

// memberBook is a manager.Store for one member.
type memberBook struct{ state membership.State }

func (b *memberBook) Load() (membership.State, error) { return b.state, nil }

func (b *memberBook) Save(c membership.Change) error {
	if c.Member != nil {
		b.state.Members = []membership.Member{*c.Member}
	}
	if c.Keys != nil {
		b.state.Keys = []membership.KeyList{*c.Keys}
	}
	if c.Grid != nil {
		b.state.Servers, b.state.Sequence = c.Grid.Servers, c.Grid.Sequence
	}
	return nil
}

// cardFile is a client.MembershipStore.
type cardFile struct{ state client.MembershipState }

func (f *cardFile) Load() (client.MembershipState, error) { return f.state, nil }

func (f *cardFile) Forget() error { return f.Save(client.MembershipState{}) }

func (f *cardFile) Save(s client.MembershipState) error {
	f.state = s
	return nil
}

// renewerNode is a renewer, whose disk is a renewer.Store.
type renewerNode struct {
	node
	account lease.Account
	caps    map[string]*keptCap
}

// keptCap is a cap on the disk of a renewer, with what is kept beside it.
type keptCap struct {
	renewer.Kept
	journal *store.Journal
}

func newRenewer(w *sim.World, net *fake.Network) *renewerNode {
	n := &renewerNode{
		node: node{world: w, net: net, name: "renewer"}, caps: map[string]*keptCap{},
		account: lease.OneKeyAccount([lease.SeedSize]byte(newKey(w).Seed())),
	}
	n.config = func() actors.Config {
		return actors.Config{Renewer: &renewer.Config{Store: n, Most: 3, Fatal: func(err error) { panic(err) }}}
	}
	n.off = func() {
		for _, k := range n.caps {
			after, err := k.journal.AfterCrash()
			if err != nil {
				panic(err)
			}
			k.journal, k.Connections.Journal = after, after
		}
	}
	return n
}

// Load implements renewer.Store.
func (n *renewerNode) Load() ([]renewer.Kept, error) {
	var all []renewer.Kept
	for _, name := range slices.Sorted(maps.Keys(n.caps)) {
		all = append(all, n.caps[name].Kept)
	}
	return all, nil
}

// Save implements renewer.Store.
func (n *renewerNode) Save(name string, c lease.RenewalCap) (renewer.Kept, error) {
	authority, err := c.Authority(n.account)
	if err != nil {
		return renewer.Kept{}, err
	}
	j := store.NewMemoryJournal()
	for _, h := range c.Held {
		var leases []lease.JournalLease
		for _, id := range h.Shares {
			leases = append(leases, lease.JournalLease{Share: id, Label: h.Label})
		}
		if err := j.Adopt(h.Server, leases); err != nil {
			return renewer.Kept{}, err
		}
	}
	k := &keptCap{renewer.Kept{Name: name, Added: n.world.Now(), Cap: c}, j}
	k.Connections = client.Config{Dialer: n.net.Dialer(n.name), Rules: clause.Rules{Connections: transport.DirectConnections}, Authority: authority, Journal: j, References: references{}}
	for _, p := range c.Introducers {
		in := client.Introducer{Target: targetOf(p), Cache: &announcements{}}
		k.Connections.Introducers = append(k.Connections.Introducers, in)
	}
	for _, p := range c.Managers {
		m := client.Membership{Manager: targetOf(p), Store: &cardFile{}, Guest: true}
		k.Connections.Memberships = append(k.Connections.Memberships, m)
	}
	n.caps[name] = k
	return k.Kept, nil
}

// Remove implements renewer.Store.
func (n *renewerNode) Remove(name string) error {
	delete(n.caps, name)
	return nil
}

// memberGrid is a grid whose servers know the account manager, whose only member
// the first client is, and the account of the second client.
type memberGrid struct {
	*simGrid
	manager *managerNode
	renewer *renewerNode
	cards   cardFile
	handed  map[grid.ServerID]int // leases
}

func openMemberGrid(w *sim.World) (*memberGrid, error) {
	g, err := aGrid{servers: 3, clients: 2}.build(w)
	if err != nil {
		return nil, err
	}
	m := &memberGrid{simGrid: g, manager: newManager(w, g.net), renewer: newRenewer(w, g.net), handed: map[grid.ServerID]int{}}
	m.manager.start()
	m.renewer.start()
	for _, s := range g.servers {
		if err := m.introduce(s); err != nil {
			return nil, err
		}
	}
	return m, m.join()
}

// introduce has a server accept members, and no longer the first client itself,
// and makes it one of the manager's grid.
func (m *memberGrid) introduce(s *storageNode) error {
	root := lease.Root{Key: grid.PublicKeyOf(m.manager.key), Petname: "members"}
	_, added := ask[server.Changed](m.simGrid, &s.node, actors.ToStorage{Message: server.PutRoot{Root: root}})
	_, removed := ask[server.Changed](m.simGrid, &s.node, actors.ToStorage{Message: server.RemoveRoot{Name: m.member().name}})
	_, listed := ask[manager.Done](m.simGrid, &m.manager.node, actors.ToManager{Message: manager.AddServer{Server: membership.Server{ID: s.id()}}})
	return errors.Join(added, removed, listed)
}

func (m *memberGrid) member() *clientNode { return m.clients[0] }

// join makes the first client a member.
func (m *memberGrid) join() error {
	added, err := ask[manager.Added](m.simGrid, &m.manager.node, actors.ToManager{Message: manager.Add{Name: "alice"}})
	if err != nil {
		return err
	}
	own := client.Membership{Manager: targetOf(m.manager.place()), Store: &m.cards}
	copy(own.Secret[:], added.Secret[:])
	var joined any
	pid := m.inbox(func(msg any) bool { joined = msg; return true })
	m.send(&m.member().node, actors.ToClient{Message: client.Join{ReplyTo: pid, Membership: own}}, pid)
	if err := m.Until(func() bool { return joined != nil && len(m.cards.state.Cards) == len(m.servers) }, time.Hour); err != nil {
		return fmt.Errorf("join: %w (%v)", err, joined)
	}
	m.member().memberships = []client.Membership{own}
	restart(m.member())
	return m.connected()
}

// cap is what the member hands to the renewer.
func (m *memberGrid) cap() (lease.RenewalCap, error) {
	c := m.member()
	mine := lease.Authority{Holdings: []lease.Holding{{Account: c.account}}}
	for _, b := range m.cards.state.Cards {
		card, err := lease.ReadCard(b, grid.PublicKeyOf(m.manager.key))
		if err != nil {
			return lease.RenewalCap{}, err
		}
		mine.Holdings = append(mine.Holdings, lease.Holding{Chain: card.Chain, Account: c.account})
	}
	var held []lease.HeldLeases
	for _, s := range m.servers {
		leases, _, err := c.journal.LeasesAfter(s.id(), nil, 1000)
		if err != nil {
			return lease.RenewalCap{}, err
		}
		h := lease.HeldLeases{Server: s.id(), Label: c.account.PublicKey(s.id())}
		for _, l := range leases {
			h.Shares = append(h.Shares, l.Share)
		}
		held = append(held, h)
		m.handed[s.id()] = len(h.Shares)
	}
	slices.SortFunc(held, func(a, b lease.HeldLeases) int { return slices.Compare(a.Server[:], b.Server[:]) })
	made, left, err := mine.RenewalCap(m.renewer.account.PublicKey(grid.ServerID{}), m.Now().AddDate(3, 0, 0).Unix(), held)
	if err == nil && left > 0 {
		err = fmt.Errorf("%d leases are left out", left)
	}
	in := m.intro.target()
	made.Managers, made.Introducers = []lease.Place{m.manager.place()}, []lease.Place{{Server: in.Server, Hints: in.Hints}}
	return made, err
}

func (m *memberGrid) toRenewer(message any) error {
	_, err := ask[renewer.Done](m.simGrid, &m.renewer.node, actors.ToRenewer{Message: message})
	return err
}

// rounds is what the renewer's last rounds for the member came to.
func (m *memberGrid) rounds() (client.Renewals, error) {
	caps, err := ask[renewer.Caps](m.simGrid, &m.renewer.node, actors.ToRenewer{Message: renewer.AskCaps{}})
	if err != nil || len(caps) != 1 {
		return nil, cmp.Or(err, fmt.Errorf("%d caps", len(caps)))
	}
	var all client.Renewals
	pid := m.inbox(func(msg any) bool { all, _ = msg.(client.Renewals); return true })
	m.Sys.Send(caps[0].PID, client.AskRenewals{ReplyTo: pid})
	return all, m.Until(func() bool { return all != nil }, time.Hour)
}

// longJourney stores files, hands their renewal to the renewer, or does not, and
// turns the member's client off for two hundred days. Meanwhile the renewer fails
// and loses its power, the account manager is away for ten days, and cards end.
func (m *memberGrid) longJourney(handed bool) error {
	for range 3 {
		if err := m.putBoth(m.member()); err != nil {
			return err
		}
	}
	if handed {
		c, err := m.cap()
		if err != nil {
			return err
		}
		if err := m.toRenewer(renewer.Add{Name: "alice", Cap: c}); err != nil {
			return err
		}
	}
	m.member().crash()
	for day20 := range 10 {
		if err := m.For(20 * day); err != nil {
			return err
		}
		switch day20 {
		case 1, 6:
			m.renewer.crash()
			m.After(3*day, m.renewer.start)
		case 3:
			m.manager.crash()
			m.After(10*day, m.manager.start)
		case 4:
			if handed {
				m.failOnce("renewer/renewer/")
			}
		}
	}
	return nil
}

// failOnce has the next message fail to any actor below.
func (m *memberGrid) failOnce(below string) {
	m.Inject = func(id string, _ any) bool {
		fails := len(id) > len(below) && id[:len(below)] == below
		if fails {
			m.Inject = nil
		}
		return fails
	}
}

// renewed: a member whose laptop is off for two hundred days loses nothing where
// a renewer has a renewal cap; once that is removed, everything.
func renewed(w *sim.World) error {
	m, err := openMemberGrid(w)
	if err != nil {
		return err
	}
	if err := m.longJourney(true); err != nil {
		return err
	}
	if err := m.settled(); err != nil { // the model wants every lease to be there
		return err
	}
	rounds, err := m.rounds()
	if err != nil {
		return err
	}
	for _, r := range rounds { // what has become due since a round waits for the next one
		left := r.Next <= r.Ended.Add(-time.Minute).Unix()
		if r.Held != m.handed[r.Server] || r.Lapsed+r.Others+r.Refused != 0 || r.Err != nil || m.Now().Sub(r.Ended) > 12*time.Hour || left {
			m.violated("the renewer says %+v", r)
		}
	}
	if len(rounds) != len(m.servers) {
		m.violated("the renewer was at %d servers", len(rounds))
	}
	m.member().start()
	if err := m.For(time.Hour); err != nil {
		return err
	}
	if err := m.readable(); err != nil {
		return err
	}
	m.member().crash()
	if err := m.toRenewer(renewer.Remove{Name: "alice"}); err != nil {
		return err
	}
	if err := m.For(lease.LeaseDuration + day); err != nil {
		return err
	}
	return m.lost()
}

// lost holds that nothing of the member's is there any more.
func (m *memberGrid) lost() error {
	files := slices.DeleteFunc(slices.Clone(m.files), func(f *storedFile) bool { return f.client != m.member() })
	m.files = nil
	for i, f := range files {
		if err := m.getNow(m.clients[1], f); err == nil {
			m.violated("file %d of %d is there, though nobody renews it", i, len(files))
		}
	}
	return m.verdict()
}

// unrenewed: without a renewer the same member loses everything.
func unrenewed(w *sim.World) error {
	m, err := openMemberGrid(w)
	if err != nil {
		return err
	}
	if err := m.longJourney(false); err != nil {
		return err
	}
	return m.lost()
}

func TestRenewerKeepsAlive(t *testing.T) { checkSeeds(t, 2, renewed) }

func TestLostWithoutRenewer(t *testing.T) { checkSeeds(t, 1, unrenewed) }

var _ renewer.Store = (*renewerNode)(nil)
