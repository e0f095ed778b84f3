package lease

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// grantOf verifies a full chain of this length.
func grantOf(t testing.TB, length int) Grant {
	t.Helper()
	c := fullChain(t, length)
	r := fullRequest()
	r.SignerGetsLease = length == 0
	grant, _, err := Verify(c.Encode(), mustRequest(t, c, keyName(length), r), inputAt("S", "peer", "k0"))
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

func mint(t testing.TB, ks ReferenceKeys, g Grant) Reference {
	t.Helper()
	r, err := ks.Mint(g, noon)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReferenceCarriesTheGrant(t *testing.T) {
	for length := range MaxCertificates + 1 {
		g := grantOf(t, length)
		minted := mint(t, goldenKeys, g)
		checked, err := goldenKeys.Check(minted.Secret, standingOf("k0"), noon)
		if err != nil {
			t.Fatalf("%d certificates: %v", length, err)
		}
		if !bytes.Equal(encode(limitsOf(checked.Grant)), encode(limitsOf(g))) || showGrant(checked.Grant) != showGrant(g) {
			t.Errorf("%d certificates: %s, want %s", length, showGrant(checked.Grant), showGrant(g))
		}
		if checked.Expires != minted.Expires || len(minted.Secret) > MaxReferenceSize*3/4 {
			t.Errorf("%d certificates: expires %d, want %d; %d bytes", length, checked.Expires, minted.Expires, len(minted.Secret))
		}
	}
}

func TestReferenceExpiry(t *testing.T) {
	day := noon.Add(ReferenceLifetime).Unix()
	for _, c := range []struct {
		name  string
		until *int64
		want  int64
	}{
		{"no until", nil, day},
		{"until next year", new(noon.AddDate(1, 0, 0).Unix()), day},
		{"until in an hour", new(noon.Unix() + 3600), noon.Unix() + 3600 + 300},
		{"until just before a day", new(day - 1), day},
		{"until now", new(noon.Unix()), noon.Unix() + 300},
		{"until the end of numbers", new(int64(1<<63 - 1)), day},
	} {
		if got := expiry(c.until, noon); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestReferenceEnds(t *testing.T) {
	g := grantOf(t, 1)
	g.Effective.Until = nil
	r := mint(t, goldenKeys, g)
	if _, err := goldenKeys.Check(r.Secret, standingOf("k0"), noon.Add(ReferenceLifetime)); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	if _, err := goldenKeys.Check(r.Secret, standingOf("k0"), noon.Add(ReferenceLifetime+time.Second)); !errors.Is(err, ErrAuthorityExpired) {
		t.Errorf("after it: %v", err)
	}
}

// Every byte counts.
func TestReferenceMutants(t *testing.T) {
	secret := mint(t, goldenKeys, grantOf(t, 2)).Secret
	for i := range secret {
		for _, bit := range []byte{1, 0x80} {
			mutant := bytes.Clone(secret)
			mutant[i] ^= bit
			if _, err := goldenKeys.Check(mutant, standingOf("k0"), noon); err == nil {
				t.Fatalf("byte %d changed, and still accepted", i)
			}
		}
		if _, err := goldenKeys.Check(secret[:i], standingOf("k0"), noon); err == nil {
			t.Fatalf("accepted the first %d bytes", i)
		}
	}
	if _, err := goldenKeys.Check(append(bytes.Clone(secret), 0), standingOf("k0"), noon); !errors.Is(err, ErrForged) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := goldenKeys.Check(make([]byte, MaxReferenceSize+1), standingOf("k0"), noon); !errors.Is(err, ErrMalformed) {
		t.Errorf("too long: %v", err)
	}
}

func TestReferenceKeysRotate(t *testing.T) {
	before := ReferenceKeys{{ID: 1, Secret: [32]byte{1}}}
	after := ReferenceKeys{{ID: 2, Secret: [32]byte{2}}, before[0]}
	g := grantOf(t, 1)
	old, fresh := mint(t, before, g), mint(t, after, g)
	check := func(what string, ks ReferenceKeys, r Reference, want error) {
		t.Helper()
		if _, err := ks.Check(r.Secret, standingOf("k0"), noon); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("an old one after rotation", after, old, nil)
	check("a fresh one", after, fresh, nil)
	check("an old one once its key is gone", after[:1], old, ErrAuthorityExpired)
	check("a fresh one at a server that knows only the old key", before, fresh, ErrAuthorityExpired)
	check("another secret under the same id", ReferenceKeys{{ID: 1, Secret: [32]byte{9}}}, old, ErrForged)
	check("no keys", nil, old, ErrAuthorityExpired)
	if _, err := (ReferenceKeys{}).Mint(g, noon); err == nil {
		t.Error("minted without a key")
	}
}

// Every key of the chain is looked up at each use.
func TestReferenceFollowsStanding(t *testing.T) {
	r := mint(t, goldenKeys, grantOf(t, 3))
	for i := range 4 {
		standing := standingOf("k0")
		standing.Revoked = func(k grid.PublicKey) bool { return k == pub(keyName(i)) }
		if _, err := goldenKeys.Check(r.Secret, standing, noon); !errors.Is(err, ErrAuthorityRevoked) {
			t.Errorf("%s revoked: %v", keyName(i), err)
		}
	}
	if _, err := goldenKeys.Check(r.Secret, standingOf("k1", "k2", "k3"), noon); !errors.Is(err, ErrNoSuchRoot) {
		t.Errorf("root removed: %v", err)
	}
}

// A server whose own limits make no sense says so, and does not panic.
func TestReferenceOfOddLimits(t *testing.T) {
	all := Restrictions{Operation: new(AllOperations)}
	for name, l := range map[string]limits{
		"no key":        {Effective: all},
		"label outside": {Keys: []grid.PublicKey{pub("k0")}, Label: 1, Effective: all},
		"no spaces":     {Keys: []grid.PublicKey{pub("k0"), pub("k1")}, Effective: all},
		"no operation":  {Keys: []grid.PublicKey{pub("k0")}},
		"ten keys":      {Keys: make([]grid.PublicKey, 10), Spaces: make([]*int64, 9), Effective: all},
	} {
		l.Expires = noon.Unix() + 60
		if _, err := goldenKeys.Check(goldenKeys[0].seal(encode(l)), standingOf("k0"), noon); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkReferenceCheck is what a connection with a cached reference costs
// instead of a login, by the length of the chain that it was made under.
func BenchmarkReferenceCheck(b *testing.B) {
	for _, length := range []int{0, 1, 4, 8} {
		b.Run(keyName(length)[1:], func(b *testing.B) {
			r, standing := mint(b, goldenKeys, grantOf(b, length)), standingOf("k0")
			for b.Loop() {
				if _, err := goldenKeys.Check(r.Secret, standing, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMint seals the reference that a login ends with.
func BenchmarkMint(b *testing.B) {
	g := grantOf(b, 4)
	for b.Loop() {
		if _, err := goldenKeys.Mint(g, noon); err != nil {
			b.Fatal(err)
		}
	}
}
