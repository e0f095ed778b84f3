package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// changed asks for an operation that must succeed.
func (r *rig) changed(o server.Operation) server.Changed {
	r.Helper()
	got, ok := r.ask(o).(server.Changed)
	if !ok {
		r.Fatalf("%T was not carried out", o)
	}
	return got
}

func (r *rig) refused(o server.Operation, want error) {
	r.Helper()
	if err, _ := r.ask(o).(error); !errors.Is(err, want) {
		r.Errorf("%+v: %v, want %v", o, err, want)
	}
}

// TestOperatorEndsUploadsInFlight has one upload for each way to lose an
// account, and one of somebody else.
func TestOperatorEndsUploadsInFlight(t *testing.T) {
	for name, c := range map[string]struct {
		o    server.Operation
		code wire.Code
	}{
		"removed":   {server.RemoveRoot{Name: "account 1"}, wire.NotAccepted},
		"disabled":  {server.SetDisabled{Name: "account 1", Disabled: true}, wire.AuthorityRevoked},
		"revoked":   {server.Revoke{Name: grid.PublicKeyOf(key(1)).String()}, wire.AuthorityRevoked},
		"given new": {server.Rekey{Name: "account 1", Key: grid.PublicKeyOf(key(9))}, wire.NotAccepted},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 81)
			r.addAccount(1, nil)
			r.addAccount(2, nil)
			barred, other := r.dial("barred"), r.dial("other")
			barred.logIn(1)
			other.logIn(2)
			barred.holding, other.holding = true, true
			share := shareOf("in flight", 1_000_000)
			barred.offer(allocate(1, 0, share), share)
			other.offer(allocate(2, 0, share), share)
			if got := r.changed(c.o); got.Ended != 1 {
				t.Errorf("%d uploads ended, want 1", got.Ended)
			}
			r.until("the end", func() bool { return len(barred.stored) == 1 })
			if s := barred.stored[0]; s.Code != c.code || s.Text == "" {
				t.Errorf("told %+v, want %v", s, c.code)
			}
			r.until("its bytes are free", func() bool { return r.status().Reserved == 1_000_128 })
			if s := r.status(); s.Uploads != 1 || len(other.stored) != 0 {
				t.Errorf("%d uploads, the other was told %v", s.Uploads, other.stored)
			}
		})
	}
}

// TestOperatorChangesHoldAtTheNextUse: what was taken away comes back.
func TestOperatorChangesHoldAtTheNextUse(t *testing.T) {
	r := newRig(t, 82)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("x", 1000)
	n := byte(0)
	upload := func() wire.Message { n++; return c.do(allocate(n, 0, share), share) }
	stored := func() {
		t.Helper()
		if got, ok := upload().(*wire.Allocated); !ok || got.State != wire.NowStored {
			t.Errorf("not stored: %v", got)
		}
	}
	stored()
	r.changed(server.SetDisabled{Name: "account 1", Disabled: true})
	wantCode(t, upload(), wire.AuthorityRevoked)
	r.changed(server.SetDisabled{Name: "account 1"})
	stored()
	r.changed(server.Revoke{Name: "account 1"})
	wantCode(t, upload(), wire.AuthorityRevoked)
	r.changed(server.Revoke{Name: "account 1", Again: true})
	stored()
	r.changed(server.SetQuota{Name: "account 1", Quota: new(int64(10))})
	wantCode(t, upload(), wire.OverQuota)
	r.changed(server.SetQuota{Name: "account 1"})
	stored()
	if u := r.usage(t)[0]; u.Own.Stored.Leases != 4 {
		t.Errorf("%d leases", u.Own.Stored.Leases)
	}
}

// TestNames: a petname may have several keys, and then some things want to
// know which.
func TestNames(t *testing.T) {
	r := newRig(t, 83)
	first, second := grid.PublicKeyOf(key(1)), grid.PublicKeyOf(key(2))
	add := func(k grid.PublicKey, another bool) server.PutRoot {
		return server.PutRoot{Root: lease.Root{Key: k, Petname: "bob"}, New: true, Another: another}
	}
	r.changed(add(first, false))
	r.refused(add(second, false), server.ErrExists)
	r.changed(add(second, true))
	r.refused(add(second, true), server.ErrExists)
	r.refused(server.SetQuota{Name: "bob"}, server.ErrAmbiguous)
	r.refused(server.Rekey{Name: "bob", Key: grid.PublicKeyOf(key(3))}, server.ErrAmbiguous)
	r.refused(server.Rekey{Name: first.String(), Key: second}, lease.ErrKeyInUse)
	r.refused(server.SetDisabled{Name: "rob"}, server.ErrNoAccount)
	r.refused(server.SetDisabled{}, server.ErrNoAccount)
	r.refused(server.RemoveRoot{Name: grid.PublicKeyOf(key(3)).String()}, server.ErrNoAccount)
	if got := r.changed(server.SetDisabled{Name: "bob", Disabled: true}); len(got.Roots) != 2 || !got.Roots[1].Disabled {
		t.Errorf("disabled %+v", got)
	}
	if got := r.changed(server.SetDisabled{Name: second.String()}); len(got.Roots) != 1 || got.Roots[0].Key != second {
		t.Errorf("enabled %+v", got)
	}
	if got := r.changed(server.Revoke{Name: "bob"}); len(got.Keys) != 2 {
		t.Errorf("revoked %v", got.Keys)
	}
	if got := r.ask(server.ListAccounts{}).(server.AccountList); len(got.Revoked) != 2 || len(got.Roots) != 2 {
		t.Errorf("accounts: %+v", got)
	}
	if got := r.changed(server.RemoveRoot{Name: "bob"}); len(got.Roots) != 2 || len(r.usage(t)) != 0 {
		t.Errorf("removed %+v, left %+v", got, r.usage(t))
	}
}

// powerCut is a table that a power cut ends at a sync: none of what is applied
// from then on is durable.
type powerCut struct {
	table
	left *int // syncs before it
}

var errPowerCut = errors.New("injected: the power is gone")

func (p powerCut) Apply(c lease.Change) (func() error, error) {
	wait, err := p.table.Apply(c)
	if *p.left--; *p.left < 0 {
		return func() error { return errPowerCut }, err
	}
	return wait, err
}

// TestSeveralKeysChangeAtOnce: an operation on a petname of several keys that a
// power cut interrupts has happened for all of them or for none.
func TestSeveralKeysChangeAtOnce(t *testing.T) {
	keys := []grid.PublicKey{grid.PublicKeyOf(key(1)), grid.PublicKeyOf(key(2)), grid.PublicKeyOf(key(3))}
	open := func(s *store.Store, left *int) server.Books {
		return server.Books{Store: powerCut{table{Store: s}, left}, Rules: lease.NewLedger(s, lease.LedgerPolicy{})}
	}
	for _, o := range []server.Operation{
		server.SetDisabled{Name: "bob", Disabled: true},
		server.RemoveRoot{Name: "bob", CancelLeases: true},
		server.Revoke{Name: "bob"},
	} {
		for cut := range len(keys) {
			s := store.NewMemory()
			left := len(keys) + cut
			books := open(s, &left)
			for i, k := range keys {
				if _, err := books.Carry(server.PutRoot{Root: lease.Root{Key: k, Petname: "bob"}, New: true, Another: i > 0}, sim.Start); err != nil {
					t.Fatal(err)
				}
			}
			done, err := books.Carry(o, sim.Start)
			if (err == nil) != (cut > 0) {
				t.Fatalf("%T with a power cut after sync %d: %+v, %v", o, cut, done, err)
			}
			if s, err = s.AfterCrash(); err != nil {
				t.Fatal(err)
			}
			if n := changedKeys(t, s, keys); n != 0 && n != len(keys) || (n > 0) != (cut > 0) {
				t.Errorf("%T with a power cut after sync %d: %d of %d keys are changed", o, cut, n, len(keys))
			}
		}
	}
}

// changedKeys counts those that are no more what they were when they were added.
func changedKeys(t *testing.T, s *store.Store, keys []grid.PublicKey) (n int) {
	t.Helper()
	for _, k := range keys {
		root, there, err := s.Root(k)
		revoked, err2 := s.Revoked(k)
		if err = errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if !there || root.Disabled || revoked {
			n++
		}
	}
	return n
}

// TestRekeyToAKeyOfNoUse: neither the operator's slip nor a lost key's ghost
// leaves an account with a key that can't use it.
func TestRekeyToAKeyOfNoUse(t *testing.T) {
	r := newRig(t, 90)
	own := r.addAccount(1, nil)
	other := r.addAccount(2, nil)
	revoked := grid.PublicKeyOf(key(3))
	r.changed(server.Revoke{Name: revoked.String()})
	for to, want := range map[grid.PublicKey]error{own: lease.ErrKeyInUse, other: lease.ErrKeyInUse, revoked: lease.ErrKeyRevoked, {}: lease.ErrMalformed} {
		r.refused(server.Rekey{Name: "account 1", Key: to}, want)
	}
	r.refused(server.PutRoot{Root: lease.Root{Key: revoked, Petname: "new"}, New: true}, lease.ErrKeyRevoked)
	c := r.dial("still there")
	c.logIn(1)
	r.changed(server.Revoke{Name: revoked.String(), Again: true})
	r.changed(server.Rekey{Name: "account 1", Key: revoked})
	r.dial("with the new key").logIn(3)
}

// TestWithoutKey: clients without a key store where the operator lets them,
// up to a quota of their own.
func TestWithoutKey(t *testing.T) {
	r := newRig(t, 84)
	share := shareOf("anybody's", 1000)
	c := r.dial("client")
	wantCode(t, c.do(&wire.LoginWithoutKey{}), wire.NotAccepted)
	wantCode(t, c.do(allocate(1, 0, share), share), wire.LoginRequired)

	few := lease.OpUpload | lease.OpAddLease | lease.OpRenewLease
	r.changed(server.PutRoot{Root: lease.Root{Petname: server.AnonymousPetname, Quota: new(int64(1500)), Operation: &few}})
	in, ok := c.do(&wire.LoginWithoutKey{}).(*wire.LoggedIn)
	if !ok || !in.Label.IsZero() || len(in.Reference) != 0 || in.Operations != uint(few) {
		t.Fatalf("logged in as %+v", in)
	}
	if got, ok := c.do(allocate(1, 0, share), share).(*wire.Allocated); !ok || got.State != wire.NowStored {
		t.Fatalf("not stored: %v", got)
	}
	if got, ok := c.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{{1}}}).(*wire.Leased); !ok || got.Count != 1 {
		t.Errorf("not renewed: %v", got)
	}
	wantCode(t, c.do(allocate(2, 0, share), share), wire.OverQuota)
	wantCode(t, c.do(&wire.Usage{}), wire.NotPermitted)
	if found := c.do(&wire.Find{}).(*wire.Found); found.Room != 1500-1000-2*lease.LeaseOverhead {
		t.Errorf("room for %d", found.Room)
	}
	if u := r.usage(t); len(u) != 1 || u[0].Root.Petname != "anonymous" || u[0].Below.Stored.Bytes != 1128 || r.status().Accounts != 0 {
		t.Errorf("usage %+v", u)
	}

	r.changed(server.RemoveRoot{Name: "anonymous", CancelLeases: true})
	wantCode(t, c.do(allocate(3, 0, share), share), wire.NotAccepted)
	r.until("the leases are cancelled", func() bool { return len(r.usage(t)) == 0 })
}

// TestCancelLeases frees at once what was made under a removed account, and
// nothing else, over a crash in the middle.
func TestCancelLeases(t *testing.T) {
	r := newRig(t, 85)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	mine, others, member := r.dial("mine"), r.dial("others"), r.delegate(10, false, lease.OpUpload)
	mine.logIn(1)
	others.logIn(2)
	small, large := shareOf("small", 1000), shareOf("large", 100_000)
	mine.do(allocate(1, 0, small), small)
	mine.do(allocate(2, 0, large), large)
	member.do(allocate(3, 0, small), small)
	others.do(allocate(4, 0, small), small)
	others.do(&wire.AddLease{StorageIndex: grid.StorageIndex{2}})

	want, ok := r.ask(server.AskRemoval{Name: "account 1"}).(server.Removal)
	if !ok || want.Leases.Leases != 3 || want.Last.Leases != 2 || want.Last.Bytes != 2000 || len(want.Accounts) != 2 || len(want.LastShares) != 2 {
		t.Fatalf("would remove %+v", want)
	}
	r.changed(server.RemoveRoot{Name: "account 1", CancelLeases: true})
	crashed, err := r.table.AfterCrash()
	if err != nil {
		t.Fatal(err)
	}
	r.world.Crash("storage")
	r.net.Crash("server")
	r.table.Store = crashed
	r.config.Store = r.table
	r.pid, _ = r.world.Sys.Root("storage", server.New(r.world.Env(), r.config))
	r.until("the leases are cancelled", func() bool {
		roots, err := r.table.CancellingRoots()
		return err == nil && len(roots) == 0
	})
	u := r.usage(t)
	if len(u) != 1 || u[0].Root.Petname != "account 2" || u[0].Own.Stored.Leases != 2 {
		t.Errorf("usage %+v", u)
	}
	r.until("the shares are deleted", func() bool { going, err := r.table.Going(); return err == nil && len(going) == 0 })
	for n, there := range map[byte]bool{1: false, 2: true, 3: false, 4: true} {
		if list, err := r.table.ListShares(grid.StorageIndex{n}); err != nil || (len(list) == 1) != there {
			t.Errorf("share %d: %v, %v", n, list, err)
		}
	}
	if took := r.world.Now().Sub(sim.Start); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// TestUsageTree shows delegates below who delegated to them, each once, and
// an account that was removed as long as it holds anything.
func TestUsageTree(t *testing.T) {
	r := newRig(t, 86)
	pub := r.addAccount(1, nil)
	share := shareOf("x", 1000)
	for n := byte(10); n < 13; n++ {
		c := r.delegate(n, false, lease.OpUpload)
		c.do(allocate(n, 0, share), share)
	}
	// 10 passes on to 1, in a circle, and to 20.
	circle := r.chain([]byte{1, 10, 1})
	c := r.dial("circle")
	c.loggedIn(circle, key(1), true)
	c.do(allocate(50, 0, share), share)
	c = r.dial("member of a member")
	c.loggedIn(r.chain([]byte{1, 10, 20}), key(20), true)
	c.do(allocate(51, 0, share), share)

	check := func(removed bool) {
		t.Helper()
		list := r.usage(t)
		if len(list) != 1 || list[0].Removed != removed || list[0].Root.Key != pub || list[0].Below.Stored.Leases != 5 {
			t.Fatalf("usage %+v", list)
		}
		var text strings.Builder
		writeTree(&text, list[0].Delegated)
		names := map[string]string{}
		for n := byte(1); n < 21; n++ {
			names[grid.PublicKeyOf(key(n)).Short()] = string('a' + rune(n))
		}
		got := text.String()
		for short, name := range names {
			got = strings.ReplaceAll(got, short, name)
		}
		for _, want := range []string{"k:3(", "b:1()", "u:1()", "l:1()", "m:1()"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("no %s in %s", want, got)
			}
		}
	}
	check(false)
	r.changed(server.RemoveRoot{Name: pub.String()})
	check(true)
}

func writeTree(w *strings.Builder, list []server.DelegatedUsage) {
	for _, d := range list {
		fmt.Fprintf(w, "%s:%d(", d.Delegate.Short(), d.Usage.Stored.Leases)
		writeTree(w, d.Below)
		w.WriteString(")")
	}
}

// chain is signed by each of the keys for the next.
func (r *rig) chain(keys []byte) (c lease.Chain) {
	r.Helper()
	for i, n := range keys[1:] {
		var err error
		if c, err = c.Sign(key(keys[i]), lease.Certificate{Delegate: grid.PublicKeyOf(key(n))}); err != nil {
			r.Fatal(err)
		}
	}
	return c
}

// TestTrafficByDay is kept a year.
func TestTrafficByDay(t *testing.T) {
	r := newRig(t, 87)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("x", 1000)
	c.do(allocate(1, 0, share), share)
	today := lease.DayOf(r.world.Now())
	traffic := func() server.TrafficList {
		t.Helper()
		list, ok := r.ask(server.ListTraffic{}).(server.TrafficList)
		if !ok {
			t.Fatal("no list of traffic")
		}
		return list
	}
	list := traffic()
	if len(list) != 1 || list[0].Petname != "account 1" || list[0].Day != today || list[0].In != 1000 {
		t.Fatalf("traffic %+v", list)
	}
	if err := r.world.For(365 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if list := traffic(); len(list) != 1 {
		t.Errorf("traffic after 365 days: %+v", list)
	}
	if err := r.world.For(50 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if list := traffic(); len(list) != 0 {
		t.Errorf("traffic after 367 days: %+v", list)
	}
}

// TestAudit names every lease with the chain as it was shown. A login by
// reference shows none, so what is stored under a chain that is new is told by
// its keys until the chain is shown again.
func TestAudit(t *testing.T) {
	r := newRig(t, 88)
	r.addAccount(1, nil)
	share := shareOf("x", 1000)
	owner, si := r.dial("owner"), grid.StorageIndex{1}
	owner.logIn(1)
	owner.do(allocate(1, 0, share), share)

	chain := r.chain([]byte{1, 10, 20})
	shown := r.dial("shown")
	shown.loggedIn(chain, key(20), true)
	shorter := r.chain([]byte{1, 10})
	first, resumed := r.dial("first"), r.dial("resumed")
	in := first.do(&wire.Login{Chain: shorter.Encode(), Request: first.request(key(10), shorter, true)}).(*wire.LoggedIn)
	if _, ok := resumed.do(&wire.Resume{Reference: in.Reference}).(*wire.LoggedIn); !ok {
		t.Fatal("not resumed")
	}
	shown.do(&wire.AddLease{StorageIndex: si})
	resumed.do(&wire.AddLease{StorageIndex: si})

	audit := func() server.Audit {
		t.Helper()
		a, ok := r.ask(server.AskAudit{StorageIndex: si}).(server.Audit)
		if !ok || len(a.Leases) != 3 {
			t.Fatalf("audit %+v", a)
		}
		return a
	}
	for _, l := range audit().Leases {
		switch l.ID.Column.Key {
		case grid.PublicKeyOf(key(1)):
			if !l.Kept || len(l.Keys) != 1 || l.Certificates.Len() != 0 {
				t.Errorf("the owner's lease: %+v", l)
			}
		case grid.PublicKeyOf(key(20)):
			if !l.Kept || string(l.Certificates.Encode()) != string(chain.Encode()) || len(l.Keys) != 3 || l.Lease.Expires == 0 {
				t.Errorf("lease of who showed his chain: %+v", l)
			}
		case grid.PublicKeyOf(key(10)):
			if l.Kept || len(l.Keys) != 2 {
				t.Errorf("lease of who did not: %+v", l)
			}
		}
	}
	first.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{si}})
	for _, l := range audit().Leases {
		if !l.Kept {
			t.Errorf("still not kept: %+v", l)
		}
	}
	if a := audit(); a.Petnames[grid.PublicKeyOf(key(1))] != "account 1" {
		t.Errorf("petnames %v", a.Petnames)
	}
}

// TestFullDiskKeepsLeases: where nothing more fits, nobody gets a new lease, and
// old ones are renewed.
func TestFullDiskKeepsLeases(t *testing.T) {
	r := newRig(t, 89)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	mine, others := r.dial("mine"), r.dial("others")
	mine.logIn(1)
	others.logIn(2)
	share, si := shareOf("x", 1000), grid.StorageIndex{1}
	mine.do(allocate(1, 0, share), share)
	r.free = 100
	room := func() uint64 {
		if err := r.world.For(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		others.do(&wire.Find{}) // has the disk asked
		if err := r.world.For(time.Second); err != nil {
			t.Fatal(err)
		}
		return others.do(&wire.Find{}).(*wire.Found).Room
	}
	if n := room(); n != 0 {
		t.Errorf("room for %d bytes", n)
	}
	wantCode(t, others.do(&wire.AddLease{StorageIndex: si}), wire.ServerFull)
	wantCode(t, others.do(allocate(2, 0, share), share), wire.ServerFull)
	if got, ok := mine.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{si}}).(*wire.Leased); !ok || got.Count != 1 {
		t.Errorf("not renewed: %v", got)
	}
	r.free = 1 << 40
	if n := room(); n == 0 {
		t.Error("there is no room again")
	}
	if got, ok := others.do(&wire.AddLease{StorageIndex: si}).(*wire.Leased); !ok || got.Count != 1 {
		t.Errorf("no lease: %v", got)
	}
}
