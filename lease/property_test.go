package lease

import (
	"bytes"
	"cmp"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
)

// drawRestrictions mostly leaves fields out and draws the rest from a few
// values, so that chains often agree and often don't.
func drawRestrictions(t *rapid.T, space bool) Restrictions {
	r := Restrictions{
		Until:        maybe(t, "until", rapid.Int64Range(noon.Unix()-1000, noon.Unix()+100000)),
		MaxSize:      maybe(t, "max-size", rapid.Int64Range(0, 100)),
		Operation:    maybe(t, "operation", rapid.Map(rapid.Uint16Range(0, uint16(AllOperations)), func(v uint16) Operation { return Operation(v) })),
		StorageIndex: rarely(t, "storage-index", grid.StorageIndex{1}, grid.StorageIndex{2}),
		UEBHash:      rarely(t, "ueb-hash", UEBHash{1}, UEBHash{2}),
		Root:         rarely(t, "root", pub("k0"), pub("k1")),
		Server:       rarely(t, "server", serverNamed("S"), serverNamed("T")),
	}
	if space {
		r.Space = maybe(t, "space", rapid.Int64Range(0, 100))
	}
	return r
}

func maybe[T any](t *rapid.T, name string, g *rapid.Generator[T]) *T {
	if !rapid.Bool().Draw(t, name+"?") {
		return nil
	}
	return new(g.Draw(t, name))
}

// rarely is nothing, mostly; else the usual value, or once in a while the other.
func rarely[T any](t *rapid.T, name string, usual, other T) *T {
	switch n := rapid.IntRange(0, 19).Draw(t, name); {
	case n < 14:
		return nil
	case n < 19:
		return &usual
	default:
		return &other
	}
}

// loginUnder asks with these restrictions; labelled says that a certificate
// already has signer-gets-lease.
func loginUnder(t *rapid.T, c Chain, end int, labelled bool, r Restrictions) (Grant, bool) {
	if r.Server == nil {
		r.Server = new(serverNamed("S"))
	}
	request := Request{Beneficiary: pub("P"), SignerGetsLease: !labelled, Restrictions: r}
	b, err := request.Sign(c, keyOf(keyName(end)))
	if err != nil {
		t.Fatal(err)
	}
	g, _, err := Verify(c.Encode(), b, inputAt("S", "P", "k0"))
	return g, err == nil
}

func wider[T cmp.Ordered](child, parent *T) bool {
	return parent != nil && (child == nil || *child > *parent)
}

func unpinned[T comparable](child, parent *T) bool {
	return parent != nil && (child == nil || *child != *parent)
}

// Narrow does not care which side comes first, nor how often.
func TestNarrowIsAnIntersection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRestrictions(t, true), drawRestrictions(t, true)
		ab, errAB := a.Narrow(b)
		ba, errBA := b.Narrow(a)
		if (errAB == nil) != (errBA == nil) || !bytes.Equal(encode(ab), encode(ba)) {
			t.Fatalf("%+v and %+v: one way %+v, %v, the other %+v, %v", a, b, ab, errAB, ba, errBA)
		}
		if errAB != nil {
			return
		}
		if again, err := ab.Narrow(a); err != nil || !bytes.Equal(encode(again), encode(ab)) {
			t.Fatalf("narrowing by the same again gives %+v, %v", again, err)
		}
	})
}

// No byte of a login can be changed.
func TestLoginMutants(t *testing.T) {
	for _, length := range []int{0, 2} {
		c := fullChain(t, length)
		r := fullRequest()
		r.SignerGetsLease = length == 0
		chain, request := c.Encode(), mustRequest(t, c, keyName(length), r)
		in := inputAt("S", "peer", "k0")
		if _, _, err := Verify(chain, request, in); err != nil {
			t.Fatal(err)
		}
		tryMutants(t, chain, func(mutant []byte) error { _, _, err := Verify(mutant, request, in); return err })
		tryMutants(t, request, func(mutant []byte) error { _, _, err := Verify(chain, mutant, in); return err })
	}
}

func tryMutants(t *testing.T, b []byte, accept func([]byte) error) {
	t.Helper()
	for i := range b {
		for _, bit := range []byte{1, 0x20} {
			mutant := bytes.Clone(b)
			mutant[i] ^= bit
			err := accept(mutant)
			if err == nil {
				t.Fatalf("byte %d changed by %#x, and still accepted", i, bit)
			}
			sentinelOf(t, err)
		}
		if accept(b[:i]) == nil {
			t.Fatalf("accepted the first %d bytes", i)
		}
	}
	if accept(append(bytes.Clone(b), 0)) == nil {
		t.Fatal("accepted with a byte more")
	}
}
