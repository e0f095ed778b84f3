package lease

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

func TestSignRefuses(t *testing.T) {
	c := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("bob")})
	if _, err := c.Sign(keyOf("mallory"), Certificate{Delegate: pub("carol")}); !errors.Is(err, ErrNotSigner) {
		t.Errorf("by a stranger: %v", err)
	}
	if _, err := c.Sign(keyOf("bob"), Certificate{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("for nobody: %v", err)
	}
	if _, err := c.Sign(keyOf("bob"), Certificate{Delegate: pub("carol"), Restrictions: Restrictions{Space: new(int64(-1))}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("negative space: %v", err)
	}
	full := fullChain(t, MaxCertificates)
	if _, err := full.Sign(keyOf(keyName(MaxCertificates)), Certificate{Delegate: pub("carol")}); !errors.Is(err, ErrMalformed) {
		t.Errorf("ninth certificate: %v", err)
	}
	if _, err := fullRequest().Sign(c, keyOf("mallory")); !errors.Is(err, ErrNotSigner) {
		t.Errorf("request by a stranger: %v", err)
	}
	if _, err := c.Sign(keyOf("bob"), Certificate{Delegate: pub("carol"), Restrictions: Restrictions{Root: new(grid.PublicKey)}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("root of zeros: %v", err)
	}
	if _, err := (Request{Restrictions: Restrictions{Server: new(serverNamed("S"))}}).Sign(c, keyOf("bob")); !errors.Is(err, ErrMalformed) {
		t.Errorf("request for no connection: %v", err)
	}
	if _, err := (Request{Beneficiary: pub("P")}).Sign(c, keyOf("bob")); !errors.Is(err, ErrMalformed) {
		t.Errorf("request for no server: %v", err)
	}
}

// Two certificates below one chain don't disturb each other.
func TestSignLeavesTheChainAlone(t *testing.T) {
	c := fullChain(t, 3) // its slice has room for a fourth
	before := c.Encode()
	carol := mustSign(t, c, "k3", Certificate{Delegate: pub("carol")})
	carols := carol.Encode()
	mustSign(t, c, "k3", Certificate{Delegate: pub("dave")})
	if !bytes.Equal(c.Encode(), before) || !bytes.Equal(carol.Encode(), carols) {
		t.Error("a chain changed when another was made from it")
	}
}

// A renewed certificate takes the place of the old one under what was
// delegated below it.
func TestRenewedCardKeepsWhatIsBelow(t *testing.T) {
	card := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("bob"), Restrictions: Restrictions{Until: new(noon.Unix() - 9999)}})
	below := mustSign(t, card, "bob", Certificate{Delegate: pub("carol"), SignerGetsLease: true})
	request := mustRequest(t, below, "carol", Request{Beneficiary: pub("P"), Restrictions: Restrictions{Server: new(serverNamed("S"))}})
	in := inputAt("S", "P", "alice")
	if _, _, err := Verify(below.Encode(), request, in); !errors.Is(err, ErrAuthorityExpired) {
		t.Fatalf("old card: %v", err)
	}
	renewed := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("bob"), Restrictions: Restrictions{Until: new(noon.Unix() + 9999)}})
	renewed.links = append(renewed.links, below.links[1])
	grant, _, err := Verify(renewed.Encode(), request, in)
	if err != nil || grant.Label != pub("bob") {
		t.Errorf("renewed card: %v", err)
	}
}

func TestChainEnds(t *testing.T) {
	var empty Chain
	if _, ok := empty.Root(); ok {
		t.Error("empty chain has a root")
	}
	if _, ok := empty.End(); ok || len(empty.Keys()) != 0 || empty.Digest() != (Digest{}) {
		t.Error("empty chain has an end")
	}
	c := fullChain(t, 3)
	root, _ := c.Root()
	end, _ := c.End()
	if root != pub("k0") || end != pub("k3") || c.Len() != 3 || c.Certificates()[2].Delegate != end {
		t.Errorf("root %v, end %v", root, end)
	}
	if shorter := fullChain(t, 2); c.Digest() == shorter.Digest() || len(c.Digest().String()) != 52 {
		t.Error("digest does not tell chains apart")
	}
}

func TestOperationText(t *testing.T) {
	for set := range AllOperations + 1 {
		if got, err := ParseOperation(set.String()); err != nil || got != set {
			t.Errorf("%s: %v, %v", set, got, err)
		}
	}
	for _, bad := range []string{"", "Upload", "upload,", "read", "none,upload"} {
		if _, err := ParseOperation(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if s := (OpUpload | 1<<9).String(); s != "upload,unknown" {
		t.Errorf("unknown bit: %s", s)
	}
}
