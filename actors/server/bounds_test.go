package server_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// TestRenewManyFiles renews more leases than the ledger does in one go, and
// names each file more than once.
func TestRenewManyFiles(t *testing.T) {
	r := newRig(t, 81)
	r.addAccount(1, nil)
	c := r.dial("c")
	c.logIn(1)
	const files = 300
	share := shareOf("any", 1000)
	var all []grid.StorageIndex
	for i := range files {
		si := grid.StorageIndex{byte(i), byte(i >> 8)}
		m := &wire.Allocate{StorageIndex: si, Size: uint64(len(share)), Secret: wire.Secret{1}}
		if got, ok := c.do(m, share).(*wire.Allocated); !ok || got.State != wire.NowStored {
			t.Fatal(got)
		}
		all = append(all, si, si, si)
	}
	if m, ok := c.do(&wire.RenewLease{StorageIndexes: all}).(*wire.Leased); !ok || m.Count != files || m.Expires == 0 {
		t.Errorf("renewed: %+v", m)
	}
	wantCode(t, c.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{{0xff, 0xff}}}), wire.NoSuchShare)
}

// TestBodyBeyondHello breaks the bound that the server's hello set.
func TestBodyBeyondHello(t *testing.T) {
	r := newRig(t, 82)
	r.addAccount(1, nil)
	c := r.dial("c")
	c.logIn(1)
	m := &wire.Allocate{StorageIndex: grid.StorageIndex{9}, Size: 1 << 30, Secret: wire.Secret{1}}
	if got := c.do(m, make([]byte, 256<<10+1)); got != nil || c.closed == nil {
		t.Errorf("answered by %v, closed %v", got, c.closed)
	}
}

// served sends requests over a connection that does not read on, and counts
// for how many of them the answer is made all the same.
func (c *client) served(requests int, m wire.Message) (n int) {
	c.Helper()
	c.world.Inject = func(_ string, m any) bool {
		if fmt.Sprintf("%T", m) == "server.readDone" {
			n++
		}
		return false
	}
	before := len(c.answers)
	for range requests {
		c.send(m)
	}
	if err := c.world.For(20 * time.Second); err != nil {
		c.Fatal(err)
	}
	made := n
	c.conv.Grant(requests)
	c.until("all answers", func() bool { return len(c.answers) == before+requests })
	return made
}

// TestAnswersOfAllTogether has many strangers ask for megabytes and not read
// them. What is kept for them is bounded; an account is served meanwhile; the
// room of who goes is there for others.
func TestAnswersOfAllTogether(t *testing.T) {
	r := newRig(t, 84)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("much", 2<<20)
	c.offer(allocate(1, 0, share), share)
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	made := 0
	r.world.Inject = func(_ string, m any) bool {
		if fmt.Sprintf("%T", m) == "server.readDone" {
			made++
		}
		return false
	}
	read := &wire.Read{StorageIndex: grid.StorageIndex{1}, Ranges: []wire.Range{{Length: 1 << 20}}}
	const many, each = 60, 3
	var strangers []*client
	for i := range many {
		s := r.dialCredit(fmt.Sprint("stranger", i), 1) // hello
		for range each {
			s.send(read)
		}
		strangers = append(strangers, s)
	}
	if err := r.world.For(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	// The network takes one of each, whatever its size.
	if made < many || made > many+33 {
		t.Errorf("%d answers of 1 MiB are made for %d strangers who don't read", made, many)
	}
	if got, ok := c.do(read).(*wire.Data); !ok {
		t.Errorf("an account is answered by %v", got)
	}
	for _, s := range strangers[many/2:] {
		s.session.Close()
	}
	for _, s := range strangers[:many/2] {
		s.conv.Grant(each)
		r.until("all answers", func() bool { return len(s.answers) == each+1 })
	}
}

// TestAnswersNobodyReads asks for megabytes with every request that reads.
func TestAnswersNobodyReads(t *testing.T) {
	r := newRig(t, 83)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("much", 2<<20)
	c.offer(allocate(1, 0, share), share)
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	ranges := []wire.Range{{Length: 1 << 20}}
	find := &wire.Find{StorageIndex: grid.StorageIndex{1}, Ranges: ranges}
	read := &wire.Read{StorageIndex: grid.StorageIndex{1}, Ranges: ranges}

	early := r.dialCredit("stranger", 1) // hello
	if n := early.served(4, read); n > 2 {
		t.Errorf("before login %d answers of 1 MiB wait for a client that does not read", n)
	}
	late := r.dialCredit("reader", 2) // and the login's answer
	late.logIn(1)
	if n := late.served(64, find); n > 10 {
		t.Errorf("%d answers to Find of 1 MiB wait for a client that does not read", n)
	}
}

// TestManyDelegates has an account sign for more keys than anybody wants to
// hear of at a time.
func TestManyDelegates(t *testing.T) {
	r := diskRig(t, t.TempDir())
	r.addAccount(1, nil)
	const many = 20_500
	delegates := r.haveDelegates(1, many)
	all := r.usage(t)
	if n := len(all[slices.IndexFunc(all, func(u server.AccountUsage) bool { return u.More })].Delegated); n != 20_000 {
		t.Errorf("%d delegates are listed of %d", n, many)
	}

	c := r.dial("many")
	c.logIn(1)
	after := grid.PublicKey{}
	for page := range 2 {
		got := c.below(&wire.UsageBelow{After: after})
		if !got.More || len(got.Delegates) != wire.MaxBelow {
			t.Fatalf("page %d: %v", page, got)
		}
		for i, d := range got.Delegates {
			if d.Delegate != delegates[page*wire.MaxBelow+i] || d.Shares != 1 {
				t.Fatalf("page %d, delegate %d: %+v", page, i, d)
			}
		}
		after = got.Delegates[wire.MaxBelow-1].Delegate
	}
	last := c.below(&wire.UsageBelow{After: delegates[many-3]})
	if last.More || len(last.Delegates) != 2 {
		t.Errorf("at the end: %d delegates, more: %v", len(last.Delegates), last.More)
	}

	turns := 0
	r.world.Inject = func(_ string, m any) bool {
		if fmt.Sprintf("%T", m) == "server.belowTurn" {
			turns++
		}
		return false
	}
	first, second := c.send(&wire.UsageBelow{}), c.send(&wire.UsageBelow{})
	c.wait(first)
	c.wait(second)
	if least := 2 * (many / 512); turns < least {
		t.Errorf("two lists let others have %d turns, want %d", turns, least)
	}
}

// haveDelegates has so many keys hold a share each below account n, and
// returns them in order.
func (r *rig) haveDelegates(n byte, many int) (all []grid.PublicKey) {
	root := grid.PublicKeyOf(key(n))
	rules := lease.NewLedger(r.table, r.config.Policy)
	for i := range many {
		k := grid.PublicKey{1: byte(i), 2: byte(i >> 8), 31: 7}
		all = append(all, k)
		g := lease.Grant{Root: root, Keys: []grid.PublicKey{root, k}, Label: k, Chain: lease.Digest(k), Pairs: []lease.Pair{{Signer: root, Delegate: k}}}
		change, _, err := rules.Put(r.world.Now(), g, lease.ShareID{StorageIndex: grid.StorageIndex(k[:16])}, lease.Body{Size: 1, Inline: []byte{1}}, lease.NoLimit)
		must(err)
		_, err = r.table.Apply(change)
		must(err)
	}
	slices.SortFunc(all, func(a, b grid.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return all
}
