package lease_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/lease"
)

var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func noSpace(string) *int64 { return nil }

// model says the same as the Ledger by adding everything up each time.
type model struct {
	bank    *bank
	now     time.Time
	grants  []lease.Grant
	leases  map[lease.LeaseID]modelLease
	coming  map[lease.LeaseID]modelLease
	sizes   map[lease.ShareID]int64
	writes  map[lease.ShareID]uint64 // of shares that can be changed
	going   []lease.GoingShare
	quota   map[string]int64
	changes int
}

type modelLease struct {
	grant   lease.Grant
	size    int64
	expires int64
}

func newModel(t *rapid.T) *model {
	m := &model{
		bank: newBank(), now: epoch, leases: map[lease.LeaseID]modelLease{},
		coming: map[lease.LeaseID]modelLease{}, sizes: map[lease.ShareID]int64{}, writes: map[lease.ShareID]uint64{},
		quota: map[string]int64{"alice": 4000, "zoe": 2500},
	}
	for name, quota := range m.quota {
		if err := m.bank.done(m.bank.PutRoots(lease.Root{Key: named(name), Quota: &quota})); err != nil {
			t.Fatal(err)
		}
	}
	space := func(name string) *int64 {
		if name == "bob" {
			return new(int64(1800))
		}
		return nil
	}
	for _, path := range []string{"alice", "zoe", "alice>bob", "alice>bob>carol", "alice>carol", "zoe>bob"} {
		m.grants = append(m.grants, chainOf(path, space))
	}
	return m
}

func (m *model) grant(t *rapid.T) lease.Grant {
	return m.grants[rapid.IntRange(0, len(m.grants)-1).Draw(t, "grant")]
}

// upload picks one that is in progress.
func (m *model) upload(t *rapid.T) (lease.LeaseID, bool) {
	keys := slices.SortedFunc(maps.Keys(m.coming), lease.LeaseID.Compare)
	if len(keys) == 0 {
		return lease.LeaseID{}, false
	}
	return keys[rapid.IntRange(0, len(keys)-1).Draw(t, "upload")], true
}

func (m *model) share(t *rapid.T) lease.ShareID {
	return shareNamed(fmt.Sprintf("share %d", rapid.IntRange(0, 5).Draw(t, "share")))
}

// step applies a change unless the error is one that may be.
func (m *model) step(t *rapid.T, c lease.Change, err error, may ...error) bool {
	for _, e := range may {
		if errors.Is(err, e) {
			return false
		}
	}
	if err := m.bank.done(c, err); err != nil {
		t.Fatal(err)
	}
	m.changes++
	return true
}

func (m *model) Reserve(t *rapid.T) {
	g, id := m.grant(t), m.share(t)
	size := rapid.Int64Range(0, 900).Draw(t, "size")
	key := lease.LeaseID{Column: g.Column(), Share: id}
	r, err := m.bank.Reserve(m.now, g, id, size, 10_000)
	have, there := m.sizes[id]
	switch {
	case r.AlreadyHave:
		if !there || have != r.Size {
			t.Fatalf("already have %v of %d bytes; it has %d, %v", id, r.Size, have, there)
		}
	case err == nil:
		if _, twice := m.coming[key]; twice || there {
			t.Fatalf("reserved %v twice", id)
		}
		m.coming[key] = modelLease{grant: g, size: size}
	case errors.Is(err, lease.ErrOverQuota):
		m.mustBeOver(t, g, size)
	case !errors.Is(err, lease.ErrComing):
		t.Fatal(err)
	}
}

// mustBeOver: a refusal needs a budget that truly has no room.
func (m *model) mustBeOver(t *rapid.T, g lease.Grant, size int64) {
	m.coming[lease.LeaseID{Share: shareNamed("what if")}] = modelLease{grant: g, size: size}
	defer delete(m.coming, lease.LeaseID{Share: shareNamed("what if")})
	if m.broken() == "" {
		t.Fatalf("refused %d bytes though every budget has room", size)
	}
}

func (m *model) Commit(t *rapid.T) {
	key, ok := m.upload(t)
	if !ok {
		return
	}
	r := m.coming[key]
	change, done, err := m.bank.Commit(m.now, key.Column, key.Share, fileBody(r.size))
	if errors.Is(err, lease.ErrOverQuota) {
		m.mustNotJoin(t, key)
		return
	}
	m.step(t, change, err)
	delete(m.coming, key)
	if !done.Dropped {
		m.sizes[key.Share] = r.size
	}
	if done.Size != m.sizes[key.Share] {
		t.Fatalf("lease on %d bytes, share has %d", done.Size, m.sizes[key.Share])
	}
	if _, mutable := m.writes[key.Share]; mutable != (done.Expires == 0) {
		t.Fatalf("a share that can be changed: %v; lease: %+v", mutable, done)
	} else if !mutable {
		m.made(key, r.grant, done)
	}
}

func (m *model) Put(t *rapid.T) {
	g, id := m.grant(t), m.share(t)
	size := rapid.Int64Range(0, 900).Draw(t, "size")
	key := lease.LeaseID{Column: g.Column(), Share: id}
	change, done, err := m.bank.Put(m.now, g, id, fileBody(size), 10_000)
	have, there := m.sizes[id]
	if errors.Is(err, lease.ErrOverQuota) {
		m.mustBeOver(t, g, size)
	}
	if !m.step(t, change, err, lease.ErrOverQuota, lease.ErrComing) {
		return
	}
	if done.Dropped != there {
		t.Fatalf("%v was there: %v, dropped: %v", id, there, done.Dropped)
	}
	if there {
		if done.Size != have || done.Expires != 0 {
			t.Fatalf("%+v of a share that was there", done)
		}
		return
	}
	m.sizes[id] = size
	m.made(key, g, done)
}

// Mutate writes a share, perhaps after room for it was reserved.
func (m *model) Mutate(t *rapid.T) {
	g, id := m.grant(t), m.share(t)
	size := rapid.Int64Range(0, 900).Draw(t, "size")
	key := lease.LeaseID{Column: g.Column(), Share: id}
	enabler := lease.WriteEnabler{byte(rapid.IntRange(1, 2).Draw(t, "enabler"))}
	if rapid.Bool().Draw(t, "reserve") {
		err := m.bank.ReserveWrite(m.now, g, id, enabler, size, lease.NoLimit)
		if err != nil && !errors.Is(err, lease.ErrOverQuota) && !errors.Is(err, lease.ErrComing) && !errors.Is(err, lease.ErrWriteEnabler) {
			t.Fatal(err)
		}
		if err == nil {
			defer m.bank.Release(key.Column, key.Share)
		}
	}
	b := fileBody(size)
	b.UEBHash = lease.UEBHash{}
	change, done, err := m.bank.Mutate(m.now, g, lease.Mutation{StorageIndex: id.StorageIndex, Enabler: enabler,
		Seen: []lease.Seen{{Num: id.Num, Writes: m.writes[id]}}, Writes: []lease.ShareWrite{{Num: id.Num, Body: b}}}, lease.NoLimit)
	_, there := m.sizes[id]
	wrong := there && m.bank.view.shares[id].Enabler != enabler
	if wrong != errors.Is(err, lease.ErrWriteEnabler) {
		t.Fatalf("wrong enabler: %v, and it says %v", wrong, err)
	}
	old, had := m.leases[key]
	if errors.Is(err, lease.ErrOverQuota) {
		m.leases[key] = modelLease{grant: g, size: size}
		over := m.broken()
		delete(m.leases, key)
		if had {
			m.leases[key] = old
		}
		if over == "" {
			t.Fatalf("refused a write of %d bytes though every budget has room", size)
		}
	}
	if !m.step(t, change, err, lease.ErrOverQuota, lease.ErrWriteEnabler) {
		return
	}
	if had && done.Expires < old.expires {
		t.Fatalf("a lease until %d ends at %d after a write", old.expires, done.Expires)
	}
	m.sizes[id], m.writes[id] = size, m.writes[id]+1
	m.leases[key] = modelLease{grant: g, size: size, expires: done.Expires}
}

// mustNotJoin: a commit is only refused if the share that came first is larger
// and has no room in a budget. The reservation is still there.
func (m *model) mustNotJoin(t *rapid.T, key lease.LeaseID) {
	r := m.coming[key]
	defer func() { m.coming[key] = r }()
	m.coming[key] = modelLease{grant: r.grant, size: m.sizes[key.Share]}
	if m.sizes[key.Share] <= r.size || m.broken() == "" {
		t.Fatalf("refused to join %v", key)
	}
}

// made notes a lease that was made, or made again.
func (m *model) made(key lease.LeaseID, g lease.Grant, done lease.Committed) {
	l, had := m.leases[key]
	if !had || done.TookOver {
		l.grant, l.size = g, m.sizes[key.Share]
	}
	l.expires = done.Expires
	m.leases[key] = l
}

func (m *model) Release(t *rapid.T) {
	key, ok := m.upload(t)
	if ok != m.bank.Release(key.Column, key.Share) {
		t.Fatalf("release of %v", key)
	}
	delete(m.coming, key)
}

func (m *model) AddLease(t *rapid.T) {
	g, id := m.grant(t), m.share(t)
	change, done, err := m.bank.AddLease(m.now, g, id, nil, lease.NoLimit)
	if errors.Is(err, lease.ErrOverQuota) {
		m.mustBeOver(t, g, m.sizes[id])
	}
	if m.step(t, change, err, lease.ErrOverQuota, lease.ErrNoShare) {
		m.made(lease.LeaseID{Column: g.Column(), Share: id}, g, done)
	}
}

// Renew renews some leases in one step: each as if it were alone, one after the
// other.
func (m *model) Renew(t *rapid.T) {
	g := m.grant(t)
	var ids []lease.ShareID
	for range rapid.IntRange(1, 4).Draw(t, "how many") {
		ids = append(ids, m.share(t))
	}
	change, results, err := m.bank.RenewLeases(m.now, g, ids)
	m.step(t, change, err)
	for i, r := range results {
		key := lease.LeaseID{Column: g.Column(), Share: ids[i]}
		old, had := m.leases[key]
		if had != (r.Err == nil) || had && r.Expires < old.expires {
			t.Fatalf("renewed to %d: %v; there was a lease: %v", r.Expires, r.Err, had)
		}
		if had {
			m.made(key, g, r.Committed)
		}
	}
}

// Cancel ends some leases in one step.
func (m *model) Cancel(t *rapid.T) {
	g, ids := m.grant(t), []lease.ShareID{m.share(t), m.share(t)}
	change, results, going, err := m.bank.CancelLeases(m.now, g, ids)
	m.step(t, change, err)
	m.going = append(m.going, going...)
	for i, id := range ids {
		key := lease.LeaseID{Column: g.Column(), Share: id}
		if _, had := m.leases[key]; had != (results[i].Err == nil) {
			t.Fatalf("cancelled %v: %v; there was a lease: %v", id, results[i].Err, had)
		}
		delete(m.leases, key)
	}
	for _, g := range going {
		for key := range m.leases {
			if key.Share == g.ID {
				t.Fatalf("%v goes though %v has a lease on it", g.ID, key.Column)
			}
		}
		delete(m.sizes, g.ID)
		delete(m.writes, g.ID)
	}
}

func (m *model) Expire(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "days")) * 24 * time.Hour)
	var all []lease.LeaseID
	for key := range m.leases {
		all = append(all, key)
	}
	change, going, err := m.bank.Expire(m.now, all)
	m.step(t, change, err)
	m.going = append(m.going, going...)
	left := map[lease.ShareID]int{}
	for key, l := range m.leases {
		if l.expires <= m.now.Unix() {
			delete(m.leases, key)
		} else {
			left[key.Share]++
		}
	}
	for _, g := range going {
		if left[g.ID] > 0 {
			t.Fatalf("%v goes though it has %d leases", g.ID, left[g.ID])
		}
		delete(m.sizes, g.ID)
		delete(m.writes, g.ID)
	}
}

func (m *model) Gone(t *rapid.T) {
	for _, g := range m.going {
		change, err := m.bank.Gone(g)
		m.step(t, change, err)
	}
	m.going = nil
}

// sums adds up what every counter must be.
func (m *model) sums(of map[lease.LeaseID]modelLease) map[lease.CounterKey]lease.Counter {
	sums := map[lease.CounterKey]lease.Counter{}
	for _, l := range of {
		for _, k := range counters(l.grant) {
			c := sums[k]
			sums[k] = lease.Counter{Bytes: c.Bytes + l.size + lease.LeaseOverhead, Leases: c.Leases + 1}
		}
	}
	return sums
}

func counters(g lease.Grant) []lease.CounterKey {
	keys := []lease.CounterKey{lease.ColumnCounterKey(g.Column()), lease.RootCounterKey(g.Root)}
	for _, p := range g.Pairs {
		keys = append(keys, lease.PairCounterKey(p.Signer, p.Delegate))
	}
	return keys
}

// addChains charges each chain in use once.
func addChains(sums map[lease.CounterKey]lease.Counter, of ...map[lease.LeaseID]modelLease) {
	seen := map[string]bool{}
	for _, leases := range of {
		for _, l := range leases {
			if name := l.grant.Root.String() + l.grant.Chain.String(); !seen[name] {
				seen[name] = true
				for _, k := range counters(l.grant) {
					c := sums[k]
					c.Bytes += lease.CertificateOverhead * int64(len(l.grant.Keys)-1)
					sums[k] = c
				}
			}
		}
	}
}

// broken names a budget that stored and reserved bytes exceed.
func (m *model) broken() string {
	total := m.sums(m.leases)
	for k, c := range m.sums(m.coming) {
		total[k] = lease.Counter{Bytes: total[k].Bytes + c.Bytes, Leases: total[k].Leases + c.Leases}
	}
	addChains(total, m.leases, m.coming)
	for name, quota := range m.quota {
		if used := total[lease.RootCounterKey(named(name))].Bytes; used > quota {
			return fmt.Sprintf("root %s uses %d of %d", name, used, quota)
		}
	}
	for _, signer := range []string{"alice", "zoe"} {
		if used := total[lease.PairCounterKey(named(signer), named("bob"))].Bytes; used > 1800 {
			return fmt.Sprintf("pair %s, bob uses %d of 1800", signer, used)
		}
	}
	return ""
}

// check compares everything after each step.
func (m *model) check(t *rapid.T) {
	if what := m.broken(); what != "" {
		t.Fatal(what)
	}
	want := m.sums(m.leases)
	addChains(want, m.leases)
	if len(want) != len(m.bank.view.counters) {
		t.Fatalf("%d counters, want %d", len(m.bank.view.counters), len(want))
	}
	for k, c := range m.bank.view.counters {
		if c != want[k] {
			t.Fatalf("%v is %+v, want %+v", k, c, want[k])
		}
	}
	if got := m.bank.Reserved(); got.Leases != int64(len(m.coming)) || got.Bytes < 0 {
		t.Fatalf("%+v reserved, want %d", got, len(m.coming))
	}
	m.checkLeftovers(t)
}

// checkLeftovers: no chain and no key without a lease or root.
func (m *model) checkLeftovers(t *rapid.T) {
	if len(m.leases) > 0 {
		return
	}
	if n := len(m.bank.view.chains) + len(m.bank.view.chainIDs) + len(m.bank.view.chainRefs); n != 0 {
		t.Fatalf("%d records of chains are left over", n)
	}
	if n := len(m.bank.view.keys); n != len(m.quota) {
		t.Fatalf("%d keys are known, want the %d roots", n, len(m.quota))
	}
	if len(m.coming) == 0 && m.bank.Reserved() != (lease.Counter{}) {
		t.Fatalf("%+v reserved by nobody", m.bank.Reserved())
	}
	for _, g := range m.grants {
		for _, k := range counters(g) {
			if u, _ := m.bank.Usage(k); len(m.coming) == 0 && u != (lease.Usage{}) {
				t.Fatalf("%v uses %+v of nothing", k, u)
			}
		}
	}
}

func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"reserve": m.Reserve, "reserve more": m.Reserve, "commit": m.Commit, "commit more": m.Commit,
			"put": m.Put, "mutate": m.Mutate, "mutate more": m.Mutate,
			"release": m.Release, "add": m.AddLease, "renew": m.Renew, "cancel": m.Cancel, "expire": m.Expire, "gone": m.Gone,
			"": m.check,
		})
	})
}

// 64 uploads at once where 10 have room: the ledger's one owner takes them one
// by one, in whatever order they come.
func TestConcurrentReservationsAtTheEdge(t *testing.T) {
	b := newBank()
	b.addRoot(t, "alice", 10*(1000+lease.LeaseOverhead))
	g := chainOf("alice", noSpace)
	var owner sync.Mutex
	var group sync.WaitGroup
	granted, refused := 0, 0
	for i := range 64 {
		group.Go(func() {
			owner.Lock()
			defer owner.Unlock()
			_, err := b.Reserve(epoch, g, shareNamed(fmt.Sprint(i)), 1000, lease.NoLimit)
			switch {
			case err == nil:
				granted++
			case errors.Is(err, lease.ErrOverQuota):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if granted != 10 || refused != 54 {
		t.Errorf("%d granted, %d refused; want 10 and 54", granted, refused)
	}
	u, err := b.Usage(lease.RootCounterKey(named("alice")))
	b.must(t, err)
	if u.Bytes() != 10*(1000+lease.LeaseOverhead) {
		t.Errorf("%d bytes reserved", u.Bytes())
	}
}
