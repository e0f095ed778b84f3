package tarn_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"sync"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// putUnder stores a random file of so many bytes under each authority, all at
// once, and is how many were stored; the others were refused for want of room.
func (g *testGrid) putUnder(size int, authorities ...lease.Authority) int {
	g.t.Helper()
	var stored int
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, a := range authorities {
		all.Go(func() {
			_, err := g.client.Put(g.t.Context(), bytes.NewReader(random(size)), tarn.PutOptions{Size: -1, Authority: a})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				stored++
			case !errors.Is(err, tarn.ErrTooFewServers):
				g.t.Errorf("put: %v", err)
			}
		})
	}
	all.Wait()
	return stored
}

func oneKey(t testing.TB) lease.Authority {
	t.Helper()
	var seed [lease.SeedSize]byte
	_, _ = rand.Read(seed[:]) // never fails
	return lease.Authority{Holdings: []lease.Holding{{Account: lease.OneKeyAccount(seed)}}}
}

func keyOf(a lease.Authority) grid.PublicKey { return a.Holdings[0].Account.PublicKey(grid.ServerID{}) }

// handOn is what a gives to somebody with this authority's key.
func handOn(t testing.TB, a, to lease.Authority, d lease.Delegation) lease.Authority {
	t.Helper()
	chains, err := a.Delegate(lease.Recipient{Key: keyOf(to)}, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	adopted, err := to.Adopt(chains, nil)
	if err != nil {
		t.Fatal(err)
	}
	return adopted
}

func space(bytes int64) lease.Delegation {
	return lease.Delegation{Restrictions: lease.Restrictions{Space: &bytes}}
}

func managerGrid(t *testing.T, quota *int64) (*testGrid, lease.Authority) {
	t.Helper()
	p := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20}
	g := newGrid(t, 0, p)
	g.addServer("s1", newAccount(t))
	op, err := g.servers[0].Operator()
	if err != nil {
		t.Fatal(err)
	}
	manager := oneKey(t)
	if _, err := op.AddManager(t.Context(), "manager", keyOf(manager), quota); err != nil {
		t.Fatal(err)
	}
	g.await(0) // it is known, and accepts nothing of the client's own
	return g, manager
}

// Bob signs ten keys of his own and uploads with each, all at once, and then
// signs for himself along a longer and longer chain: his space still stops him,
// and a renewed card is still the same space.
func TestSigningForOneselfEscapesNothing(t *testing.T) {
	g, manager := managerGrid(t, nil)
	bob := oneKey(t)
	card := handOn(t, manager, bob, space(100_000))
	var keys []lease.Authority
	for range 10 {
		keys = append(keys, handOn(t, card, oneKey(t), space(100_000)))
	}
	if n := g.putUnder(30_000, keys...); n != 3 {
		t.Errorf("%d files of 30 kB in 100 kB under ten keys", n)
	}
	again := card
	for i := range int64(3) {
		again = handOn(t, again, bob, lease.Delegation{Restrictions: lease.Restrictions{Until: new(4e9 - i)}})
	}
	renewed := handOn(t, manager, bob, lease.Delegation{Restrictions: lease.Restrictions{Space: new(int64(100_000)), Until: new(int64(4e9))}})
	if n := g.putUnder(30_000, card, again, renewed, handOn(t, renewed, oneKey(t), lease.Delegation{})); n != 0 {
		t.Errorf("%d files more with another card or chain", n)
	}
	if n := g.putUnder(30_000, handOn(t, manager, oneKey(t), space(100_000))); n != 1 {
		t.Error("another member has no room")
	}
}

// A manager's quota at a server holds over all whom he and his partners sign
// for; a partner's space over all his customers; a customer's over himself.
func TestResellerChain(t *testing.T) {
	g, manager := managerGrid(t, new(int64(500_000)))
	partner := handOn(t, manager, oneKey(t), space(200_000))
	small, large := handOn(t, partner, oneKey(t), space(50_000)), handOn(t, partner, oneKey(t), lease.Delegation{})
	if n := g.putUnder(30_000, small, small, small); n != 1 {
		t.Errorf("%d files of 30 kB in a customer's 50 kB", n)
	}
	if n := g.putUnder(30_000, large, large, large, large, large, large, large); n != 5 {
		t.Errorf("%d more of 30 kB in the partner's 200 kB, of which 30 kB are used", n)
	}
	usage, _, err := g.client.OwnUsage(t.Context(), tarn.Under(large))
	if err != nil || len(usage) != 1 || usage[0].Shares != 5 || usage[0].Key == keyOf(partner) {
		t.Errorf("the larger customer: %+v, %v", usage, err)
	}
	if usage, _, err = g.client.OwnUsage(t.Context(), tarn.Under(partner)); err != nil || usage[0].Shares != 0 || *usage[0].Quota != 200_000 {
		t.Errorf("the partner, who holds nothing himself: %+v, %v", usage, err)
	}
	other := handOn(t, manager, oneKey(t), lease.Delegation{})
	if n := g.putUnder(100_000, other, other, other, other); n != 3 {
		t.Errorf("%d of 100 kB in the manager's 500 kB, of which 180 kB are used", n)
	}
}

// Files that are stored and read under different authorities are the same files.
func TestReadUnderAnAuthority(t *testing.T) {
	g, manager := managerGrid(t, nil)
	content := random(50_000)
	stored, err := g.client.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1, Authority: handOn(t, manager, oneKey(t), lease.Delegation{})})
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]tarn.Option{nil, {tarn.Under(handOn(t, manager, oneKey(t), lease.Delegation{}))}} {
		f, err := g.client.Open(t.Context(), stored.Cap, how...)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := errors.Join(f.WriteRange(&got, 0, f.Size()), f.Close()); err != nil || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%d bytes, %v", got.Len(), err)
		}
	}
}
