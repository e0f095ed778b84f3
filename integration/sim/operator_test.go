package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// office is a grid whose operators change their minds while clients store,
// renew and cancel. Beside the two with an account there is a guest: what he
// stores is his own column and the budget of the first.
//
// A lease goes by cancelling, by its operator's will or by its end, and by
// nothing else; none comes, or lasts longer, for whom the server refuses; and
// what is counted is what is leased, after each step.
type office struct {
	*simGrid
	guest  *clientNode
	minds  map[*storageNode]map[grid.PublicKey]mind
	before map[*storageNode]map[lease.LeaseID]lease.Lease // as the operation ended
	gone   map[*storageNode]map[lease.LeaseID]bool        // cancelled since
	bytes  map[*storageNode]map[grid.PublicKey]int64      // below each account, then
	coming map[*clientNode]int64                          // promised to each account's uploads at a server, then, at most
}

// mind is what an operator thinks of a key.
type mind struct {
	root    lease.Root
	account bool
	revoked bool
}

var (
	smallOnAny = file.Params{Needed: 1, Happy: 1, Total: 3, SegmentSize: 128 << 10}
	largeOnAny = file.Params{Needed: 1, Happy: 1, Total: 3, SegmentSize: 16 << 10}
)

func openOffice(w *sim.World) (*office, error) {
	g, err := aGrid{servers: 3, clients: 3}.build(w)
	if err != nil {
		return nil, err
	}
	o := &office{simGrid: g, guest: g.clients[2], minds: map[*storageNode]map[grid.PublicKey]mind{}}
	for _, s := range g.servers {
		if _, err := ask[server.Changed](g, &s.node, actors.ToStorage{Message: server.RemoveRoot{Name: o.guest.name}}); err != nil {
			return nil, err
		}
		o.minds[s] = map[grid.PublicKey]mind{}
		for _, c := range g.clients {
			key := c.account.PublicKey(s.id())
			root := lease.Root{Key: key, Petname: c.name}
			o.minds[s][key] = mind{root: root, account: c != o.guest}
		}
	}
	if err := o.invite(); err != nil {
		return nil, err
	}
	return o, g.connected()
}

// invite has the first account sign for the guest, everywhere.
func (o *office) invite() error {
	o.guest.given = nil
	for _, s := range o.servers {
		id := s.id()
		certificate := lease.Certificate{Delegate: o.guest.account.PublicKey(id)}
		certificate.Server = &id
		chain, err := lease.Chain{}.Sign(o.host().account.Key(id), certificate)
		if err != nil {
			return err
		}
		o.guest.given = append(o.guest.given, lease.Holding{Chain: chain, Account: o.guest.account})
	}
	restart(o.guest)
	return nil
}

func restart(c *clientNode) {
	c.crash()
	c.start()
}

func (o *office) host() *clientNode { return o.clients[0] }

// payer is whose account a client uses.
func (o *office) payer(c *clientNode) *clientNode {
	if c == o.guest {
		return o.host()
	}
	return c
}

func (o *office) mind(s *storageNode, c *clientNode) mind {
	return o.minds[s][c.account.PublicKey(s.id())]
}

func (o *office) setMind(s *storageNode, c *clientNode, m mind) {
	o.minds[s][c.account.PublicKey(s.id())] = m
}

// welcome says whether a server serves a client.
func (o *office) welcome(s *storageNode, c *clientNode) bool {
	p := o.mind(s, o.payer(c))
	return p.account && !p.root.Disabled && !p.revoked && !o.mind(s, c).revoked
}

// work is one step: uploads begin, somebody does something meanwhile, and what
// was begun ends.
func (o *office) work() error {
	for _, c := range o.clients {
		o.send(&c.node, actors.ToClient{Message: client.TryAgain{}}, nil)
	}
	if err := o.For(time.Minute); err != nil {
		return err
	}
	for range o.oneOf(3) {
		o.put(o.anybody(), o.content(1000), smallOnAny, nil)
		o.put(o.anybody(), o.content(150_000), largeOnAny, nil)
	}
	if err := o.For(o.upTo(time.Second)); err != nil {
		return err
	}
	o.remember()
	if err := o.something(); err != nil {
		return err
	}
	if err := o.wait(time.Hour); err != nil {
		return err
	}
	if err := o.For(5 * time.Minute); err != nil {
		return err
	}
	o.lookAtLeases()
	if err := o.settled(); err != nil {
		return err
	}
	return o.lookAtUsage()
}

func (o *office) anybody() *clientNode { return o.clients[o.oneOf(len(o.clients))] }

// something is done by a client or by an operator.
func (o *office) something() error {
	s, c := o.servers[o.oneOf(len(o.servers))], o.anybody()
	p := o.payer(c)
	switch n := o.oneOf(10); {
	case n < 1:
		return o.renewAll(c)
	case n < 3:
		return o.cancelSome(s, c)
	case n < 4:
		return o.sleep()
	case n < 5:
		return o.operate(s, server.Revoke{Name: c.account.PublicKey(s.id()).String(), Again: o.mind(s, c).revoked}, c, func(m *mind) { m.revoked = !m.revoked })
	case n < 6:
		return o.rekey(p)
	case !o.mind(s, p).account:
		return o.putBack(s, p)
	case n < 7:
		return o.remove(s, p)
	case n < 9:
		return o.quota(s, p)
	}
	disabled := !o.mind(s, p).root.Disabled
	return o.operate(s, server.SetDisabled{Name: p.name, Disabled: disabled}, p, func(m *mind) { m.root.Disabled = disabled })
}

// operate has an operator change his mind of a client, sometimes while the
// server's power fails: what was answered holds, and what was not answered is
// whole or not at all.
func (o *office) operate(s *storageNode, op server.Operation, c *clientNode, change func(*mind)) error {
	was := o.mind(s, c)
	is := was
	change(&is)
	answered, err := o.mayFail(s, op)
	if err != nil {
		return fmt.Errorf("%T at %s: %w", op, s.name, err)
	}
	found, err := o.read(s, was.root.Key)
	switch {
	case err != nil:
		return err
	case found.same(is):
		o.setMind(s, c, is)
	case answered || !found.same(was):
		o.violated("%s: after %T the table says %+v, not %+v", s.name, op, found, is)
	}
	o.remember()
	return nil
}

// mayFail sends an operation; whether it was answered.
func (o *office) mayFail(s *storageNode, op server.Operation) (answered bool, err error) {
	if o.oneOf(3) > 0 {
		_, err := ask[server.Changed](o.simGrid, &s.node, actors.ToStorage{Message: op})
		return err == nil, err
	}
	o.send(&s.node, actors.ToStorage{Message: op}, o.inbox(func(m any) bool {
		_, answered = m.(server.Changed)
		return true
	}))
	if err := o.For(o.upTo(30 * time.Millisecond)); err != nil {
		return false, err
	}
	was := answered
	s.bounce(s.life, time.Second)
	return was, o.For(2 * time.Second)
}

// read is what the table says of a key.
func (o *office) read(s *storageNode, key grid.PublicKey) (mind, error) {
	root, account, err := s.disk.Root(key)
	revoked, failed := s.disk.Revoked(key)
	return mind{root, account, revoked}, errors.Join(err, failed)
}

func (m mind) same(n mind) bool {
	quota := func(m mind) int64 {
		if m.root.Quota == nil {
			return lease.NoLimit
		}
		return *m.root.Quota
	}
	return m.account == n.account && m.revoked == n.revoked &&
		(!m.account || m.root.Disabled == n.root.Disabled && quota(m) == quota(n))
}

func (o *office) quota(s *storageNode, c *clientNode) error {
	var q *int64
	if o.oneOf(3) > 0 { // often less than what is used
		q = new(int64(o.oneOf(int(2*o.bytes[s][c.account.PublicKey(s.id())] + 2))))
	}
	return o.operate(s, server.SetQuota{Name: c.name, Quota: q}, c, func(m *mind) { m.root.Quota = q })
}

// remove forgets an account, with or without its leases.
func (o *office) remove(s *storageNode, c *clientNode) error {
	cancel := o.oneOf(2) == 0
	s.fickle = cancel
	err := o.operate(s, server.RemoveRoot{Name: c.name, CancelLeases: cancel}, c, func(m *mind) { m.account = false })
	if err != nil || !cancel || o.mind(s, c).account {
		return err
	}
	if err := errors.Join(o.wait(time.Hour), o.For(10*time.Minute)); err != nil {
		return err
	}
	s.fickle = false
	for id := range o.before[s] {
		if slices.ContainsFunc(o.clients, func(d *clientNode) bool { return o.payer(d) == c && id.Column == column(s, d) }) {
			o.gone[s][id] = true
		}
	}
	used, _, err := s.disk.Counter(lease.RootCounterKey(c.account.PublicKey(s.id())))
	if used != (lease.Counter{}) || err != nil {
		o.violated("%s: %v is left of an account that was removed with its leases (%v)", s.name, used, err)
	}
	for _, f := range o.files {
		if o.payer(f.client) == c {
			f.lost(s, nil)
		}
	}
	return nil
}

// putBack gives a client the account again that was removed, but not to a key
// that is revoked.
func (o *office) putBack(s *storageNode, c *clientNode) error {
	back := lease.Root{Key: c.account.PublicKey(s.id()), Petname: c.name}
	op := server.PutRoot{Root: back, New: true}
	if !o.mind(s, c).revoked {
		return o.operate(s, op, c, func(m *mind) { m.root, m.account = back, true })
	}
	if _, err := ask[server.Changed](o.simGrid, &s.node, actors.ToStorage{Message: op}); !errors.Is(err, lease.ErrKeyRevoked) {
		o.violated("%s: a revoked key got an account: %w", s.name, orNil(err))
	}
	return nil
}

// rekey gives a client a new account, and everything that the old one has.
func (o *office) rekey(c *clientNode) error {
	for _, s := range o.servers {
		if !o.mind(s, c).account {
			return nil
		}
	}
	var seed [lease.SeedSize]byte
	_, _ = o.Rand().Read(seed[:]) // never fails
	fresh := lease.AccountOf(seed)
	for _, s := range o.servers {
		s.fickle = true
		if err := o.rekeyAt(s, c, fresh.PublicKey(s.id())); err != nil {
			return err
		}
	}
	c.account = fresh
	restart(c)
	if err := errors.Join(o.invite(), o.wait(time.Hour), o.For(time.Minute)); err != nil {
		return err
	}
	for _, s := range o.servers {
		s.fickle = false
	}
	o.remember()
	return nil
}

func (o *office) rekeyAt(s *storageNode, c *clientNode, to grid.PublicKey) error {
	was := o.mind(s, c)
	held, err := o.leasesOf(s, c.account.PublicKey(s.id()))
	if err != nil {
		return err
	}
	for {
		if _, err := o.mayFail(s, server.Rekey{Name: c.name, Key: to}); err != nil {
			return err
		}
		if found, err := o.read(s, to); found.account || err != nil {
			break
		}
	}
	now, err := o.leasesOf(s, to)
	if err != nil {
		return err
	}
	for id := range held {
		if _, ok := now[lease.LeaseID{Column: lease.ColumnOf(to), Share: id.Share}]; !ok {
			o.violated("%s: a lease on %v is not the new key's", s.name, id.Share)
		}
	}
	delete(o.minds[s], was.root.Key)
	was.root.Key, was.revoked = to, false // the new key was never
	o.minds[s][to] = was
	return nil
}

// renewAll has a client renew everything at once.
func (o *office) renewAll(c *clientNode) error {
	if err := o.For(day); err != nil {
		return err
	}
	done := false
	pid := o.inbox(func(m any) bool { _, done = m.(client.Renewals); return done })
	o.send(&c.node, actors.ToClient{Message: client.RenewNow{ReplyTo: pid}}, pid)
	return o.Until(func() bool { return done }, time.Hour)
}

// cancelSome has a client end its leases on a file at a server.
func (o *office) cancelSome(s *storageNode, c *clientNode) error {
	var f *storedFile
	for _, g := range o.files {
		if g.client == c && len(g.sharesAt(s.id())) > 0 && (f == nil || o.oneOf(2) == 0) {
			f = g
		}
	}
	at, err := o.connection(s, c)
	if f == nil || at == nil || err != nil {
		return err
	}
	nums := f.sharesAt(s.id())
	slices.Sort(nums)
	var body []byte
	for _, num := range nums {
		body = wire.AppendShare(body, lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num})
	}
	var reply *client.Reply
	pid := o.inbox(func(m any) bool {
		r, ok := m.(client.Reply)
		reply = &r
		return ok
	})
	frame := wire.Frame{Message: &wire.CancelShares{Count: uint(len(nums))}}.WithBody(nil, body)
	o.Sys.Send(at.PID, client.Call{ReplyTo: pid, Frame: frame})
	if err := o.Until(func() bool { return reply != nil }, time.Hour); err != nil {
		return err
	}
	defer reply.Frame.Release()
	if welcome := o.welcome(s, c); welcome != (reply.Err == nil) {
		o.violated("%s: %s cancels: %w; it is welcome: %v", s.name, c.name, orNil(reply.Err), welcome)
	}
	if reply.Err != nil {
		return nil
	}
	for i, outcome := range reply.Frame.Bytes() {
		id := lease.LeaseID{Column: column(s, c), Share: lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: nums[i]}}
		o.gone[s][id] = true
		if _, there, err := s.disk.Lease(id); there || err != nil || wire.ShareOutcome(outcome) != wire.ShareDone {
			o.violated("%s: a lease was cancelled (%d) and is there: %v (%v)", s.name, outcome, there, err)
		}
	}
	f.lost(s, nil)
	return nil
}

// connection is a client's at a server; nil where it is not logged in.
func (o *office) connection(s *storageNode, c *clientNode) (*client.ServerStatus, error) {
	status, err := o.picture(c)
	for _, at := range status.Servers {
		if at.Announcement.Server == s.id() && at.State == client.LoggedIn {
			return &at, err
		}
	}
	return nil, err
}

// sleep lets ten days go by, at night: nothing is under way then.
func (o *office) sleep() error {
	if err := o.wait(time.Hour); err != nil {
		return err
	}
	return o.For(10 * day)
}

func column(s *storageNode, c *clientNode) lease.Column {
	return lease.ColumnOf(c.account.PublicKey(s.id()))
}

func (o *office) leasesOf(s *storageNode, key grid.PublicKey) (map[lease.LeaseID]lease.Lease, error) {
	list, more, err := s.disk.LeasesAfter(lease.ColumnOf(key), nil, 10_000)
	if more {
		err = errors.New("a client has more leases than this test looks at")
	}
	all := map[lease.LeaseID]lease.Lease{}
	for _, l := range list {
		all[l.ID] = l.Lease
	}
	return all, err
}

// remember is what there is, from which on each change needs a reason.
func (o *office) remember() {
	o.coming = map[*clientNode]int64{}
	for _, c := range o.clients {
		for _, j := range c.jobs { // what was promised stays so when the quota is lowered
			o.coming[o.payer(c)] += int64(smallOnAny.Total * (j.size + 1<<10))
		}
	}
	o.before, o.gone, o.bytes = map[*storageNode]map[lease.LeaseID]lease.Lease{}, map[*storageNode]map[lease.LeaseID]bool{}, map[*storageNode]map[grid.PublicKey]int64{}
	for _, s := range o.servers {
		o.before[s], o.gone[s], o.bytes[s] = map[lease.LeaseID]lease.Lease{}, map[lease.LeaseID]bool{}, map[grid.PublicKey]int64{}
		for _, c := range o.clients {
			key := c.account.PublicKey(s.id())
			all, err := o.leasesOf(s, key)
			used, _, failed := s.disk.Counter(lease.RootCounterKey(key))
			if err := errors.Join(err, failed); err != nil {
				o.violated("%s: %w", s.name, err)
			}
			for id, l := range all {
				o.before[s][id] = l
			}
			o.bytes[s][key] = used.Bytes
		}
	}
}

// lookAtLeases holds that what has changed since had a reason.
func (o *office) lookAtLeases() {
	for _, s := range o.servers {
		for _, c := range o.clients {
			now, err := o.leasesOf(s, c.account.PublicKey(s.id()))
			if err != nil {
				o.violated("%s: %w", s.name, err)
			}
			o.none(s, c, now)
			for id, was := range o.before[s] {
				_, there := now[id]
				if there || id.Column != column(s, c) {
					continue
				}
				if !o.gone[s][id] && was.Expires > o.Now().Unix() {
					o.violated("%s: a lease of %s on %v is gone, and nobody ended it", s.name, c.name, id.Share)
				}
				for _, f := range o.files {
					if f.client == c && f.cap.StorageIndex() == id.Share.StorageIndex {
						f.lost(s, &id.Share.Num)
					}
				}
			}
		}
	}
}

// none holds that nothing came of what a server refuses.
func (o *office) none(s *storageNode, c *clientNode, now map[lease.LeaseID]lease.Lease) {
	for id, l := range now {
		if was, ok := o.before[s][id]; !o.welcome(s, c) && (!ok || l.Expires > was.Expires) {
			o.violated("%s: %s is refused and has a lease on %v that was there before: %v", s.name, c.name, id.Share, ok)
		}
	}
	m, key := o.mind(s, c), c.account.PublicKey(s.id())
	used, _, err := s.disk.Counter(lease.RootCounterKey(key))
	if err != nil || m.account && m.root.Quota != nil && used.Bytes > max(*m.root.Quota, o.bytes[s][key]+o.coming[c]) {
		o.violated("%s: %d bytes are below %s, %d before, and the quota is %d (%v)", s.name, used.Bytes, c.name, o.bytes[s][key], *m.root.Quota, err)
	}
}

// lost notes that a share, or with nil each, is not kept at a server any more.
func (f *storedFile) lost(s *storageNode, num *grid.ShareNum) {
	for n, at := range f.stored.Placement {
		if num == nil || n == *num {
			f.stored.Placement[n] = slices.DeleteFunc(slices.Clone(at), func(id grid.ServerID) bool { return id == s.id() })
		}
	}
}

// lookAtUsage holds that each server says of each account what its leases add
// up to, and names nobody else.
func (o *office) lookAtUsage() error {
	for _, s := range o.servers {
		list, err := ask[server.UsageList](o.simGrid, &s.node, actors.ToStorage{Message: server.ListUsage{}})
		if err != nil {
			return err
		}
		said := map[grid.PublicKey]server.AccountUsage{}
		for _, u := range list {
			said[u.Root.Key] = u
			if _, known := o.minds[s][u.Root.Key]; !known && u.Below != (lease.Usage{}) {
				o.violated("%s: %v holds %v, and nobody is that", s.name, u.Root.Key, u.Below)
			}
		}
		for _, c := range o.clients[:2] {
			own, err := o.sum(s, c)
			below := own
			if c == o.host() && err == nil {
				var guest lease.Counter
				guest, err = o.sum(s, o.guest)
				below = lease.Counter{Bytes: own.Bytes + guest.Bytes, Leases: own.Leases + guest.Leases}
			}
			if err != nil {
				return err
			}
			u := said[c.account.PublicKey(s.id())]
			if u.Own != (lease.Usage{Stored: own}) || u.Below != (lease.Usage{Stored: below}) {
				o.violated("%s: %s is said to hold %v and %v below; the leases are %v and %v", s.name, c.name, u.Own, u.Below, own, below)
			}
		}
	}
	return o.verdict()
}

// sum adds up the leases of a client, and each chain once.
func (o *office) sum(s *storageNode, c *clientNode) (lease.Counter, error) {
	leases, err := o.leasesOf(s, c.account.PublicKey(s.id()))
	var sum lease.Counter
	chains := map[uint32]bool{}
	for _, l := range leases {
		sum.Bytes += l.Size + lease.LeaseOverhead
		sum.Leases++
		chains[l.Chain] = true
	}
	for id := range chains {
		chain, _, failed := s.disk.Chain(id)
		err = errors.Join(err, failed)
		sum.Bytes += chain.Cost()
	}
	return sum, err
}

// operated is a month of an office.
func operated(w *sim.World) error {
	o, err := openOffice(w)
	if err != nil {
		return err
	}
	for i := range 20 {
		if err := o.work(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return o.verdict()
}

func TestOperatorsSeeds(t *testing.T) { checkSeeds(t, 3, operated) }
