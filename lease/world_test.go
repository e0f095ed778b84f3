package lease

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// noon is the moment at which tests happen unless they say otherwise.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keyOf makes the same key from the same name, always.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(name string) grid.PublicKey { return grid.PublicKeyOf(keyOf(name)) }

func serverNamed(name string) grid.ServerID { return grid.ServerID(pub("server " + name)) }

func seedOf(name string) [SeedSize]byte { return sha256.Sum256([]byte("test seed " + name)) }

// standingOf accepts these names as roots and revokes nothing.
func standingOf(names ...string) Standing {
	roots := map[grid.PublicKey]Root{}
	for _, name := range names {
		roots[pub(name)] = Root{Key: pub(name), Petname: name}
	}
	return Standing{
		Roots:   func(k grid.PublicKey) (Root, bool) { r, ok := roots[k]; return r, ok },
		Revoked: func(grid.PublicKey) bool { return false },
	}
}

func inputAt(server, peer string, roots ...string) VerifyInput {
	return VerifyInput{Standing: standingOf(roots...), Server: serverNamed(server), Peer: pub(peer), Now: noon}
}

func mustSign(t testing.TB, c Chain, signer string, cert Certificate) Chain {
	t.Helper()
	longer, err := c.Sign(keyOf(signer), cert)
	if err != nil {
		t.Fatalf("sign by %s: %v", signer, err)
	}
	return longer
}

func mustRequest(t testing.TB, c Chain, signer string, r Request) []byte {
	t.Helper()
	b, err := r.Sign(c, keyOf(signer))
	if err != nil {
		t.Fatalf("request by %s: %v", signer, err)
	}
	return b
}

// fullChain has length certificates, k0 -> k1 -> ..., every field set, the
// first signer as label.
func fullChain(t testing.TB, length int) Chain {
	t.Helper()
	var c Chain
	for i := range length {
		c = mustSign(t, c, keyName(i), Certificate{
			Delegate:        pub(keyName(i + 1)),
			SignerGetsLease: i == 0,
			Restrictions:    fullRestrictions(int64(1000 - i)),
		})
	}
	return c
}

func keyName(i int) string { return "k" + string(rune('0'+i)) }

func fullRestrictions(space int64) Restrictions {
	return Restrictions{
		Root:         new(pub("k0")),
		Until:        new(noon.Unix() + 3600),
		StorageIndex: &grid.StorageIndex{1, 2, 3},
		UEBHash:      &UEBHash{4, 5, 6},
		Server:       new(serverNamed("S")),
		Operation:    new(OpUpload | OpAddLease),
		MaxSize:      new(int64(1) << 40),
		Space:        new(space << 40),
	}
}

func fullRequest() Request {
	r := Request{Beneficiary: pub("peer"), Nonce: Nonce{7}, Restrictions: fullRestrictions(0)}
	r.Space = nil
	return r
}
