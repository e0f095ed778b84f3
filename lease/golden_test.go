package lease

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/tarn-grid/tarn/grid"
)

// TestGolden pins the bytes of everything that is signed, sealed or stored.
// testdata/golden holds them as annotated hex; the commands build the same
// things again, in the language of the scripts. A change there is a change of
// format, and needs a new version.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "certificates":
				return annotate(t, goldenChain(t, d.Input).Encode())
			case "request":
				s := parseScript(t, d.Input)
				return annotate(t, s.request.encode())
			case "reference":
				return goldenReference(t, d.Input)
			case "authority":
				return goldenAuthority(t, d.Input)
			case "chains":
				return goldenChains(t, d.Input)
			case "keys":
				return goldenAccountKeys(t, d.Input)
			case "renewalcap":
				return goldenRenewalCap(t)
			case "repaircap":
				return goldenRepairCap(t)
			case "account":
				return goldenAccount(d.Input)
			case "card", "keylist", "serverlist", "cardproof":
				return goldenMembership(t, d.Cmd)
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
				return ""
			}
		})
	})
}

// goldenChain builds by Chain.Sign what the script builds by hand, and holds
// that both are the same bytes.
func goldenChain(t *testing.T, input string) Chain {
	t.Helper()
	s := parseScript(t, input)
	var c Chain
	for i, l := range s.links {
		signer := strings.Fields(strings.Split(strings.TrimSpace(input), "\n")[i])[0]
		c = mustSign(t, c, signer, l.cert)
	}
	if !bytes.Equal(c.Encode(), s.chain()) {
		t.Fatal("Chain.Sign and the script disagree")
	}
	return c
}

var goldenKeys = ReferenceKeys{{ID: 0x01020304, Secret: seedOf("reference key")}}

func goldenReference(t *testing.T, input string) string {
	t.Helper()
	s := parseScript(t, input)
	grant, _, err := Verify(s.chain(), s.request.encode(), s.in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := goldenKeys.Mint(grant, s.in.Now)
	if err != nil {
		t.Fatal(err)
	}
	secret := r.Secret
	return fmt.Sprintf("%x # version\n%x # key id\n%x # MAC\n", secret[:1], secret[1:5], secret[5:referenceHeader]) +
		annotate(t, secret[referenceHeader:])
}

func goldenAuthority(t *testing.T, input string) string {
	t.Helper()
	c := goldenChain(t, input)
	a := Authority{Holdings: []Holding{
		{Chain: c, Account: OneKeyAccount([SeedSize]byte(keyOf("bob").Seed()))},
		{Account: AccountOf(seedOf("bob"))},
	}}
	text, err := a.Text()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return annotateText(t, block)
}

// annotateText opens a PEM block of this package.
func annotateText(t *testing.T, block *pem.Block) string {
	return fmt.Sprintf("%x # version\n%x # checksum\n", block.Bytes[:1], block.Bytes[1:textHeader]) +
		annotate(t, block.Bytes[textHeader:])
}

// goldenChains is a chain without the key that it ends at.
func goldenChains(t *testing.T, input string) string {
	t.Helper()
	text, err := ChainsText([]Chain{goldenChain(t, input)})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return annotateText(t, block)
}

// goldenAccountKeys is bob's keys at these servers.
func goldenAccountKeys(t *testing.T, input string) string {
	t.Helper()
	var servers []grid.ServerID
	for name := range strings.FieldsSeq(input) {
		servers = append(servers, serverNamed(name))
	}
	text, err := AccountOf(seedOf("bob")).KeysAt(servers).Text()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return annotateText(t, block)
}

func goldenAccount(input string) string {
	seed := seedOf(strings.TrimSpace(input))
	server := serverNamed("S")
	account, one := AccountOf(seed), OneKeyAccount(seed)
	return fmt.Sprintf("seed      %x\nserver S  %x\ntext      %s\nkey at S  %v\none key   %s\nkey       %v\n",
		seed, server[:], account.Text(), account.PublicKey(server), one.Text(), one.PublicKey(server))
}

func goldenMembership(t *testing.T, what string) string {
	t.Helper()
	two := inOrder(2)
	switch what {
	case "card":
		return annotate(t, mustCard(t, CardTerms{Space: new(int64(50e9))}, noon).Chain.Encode())
	case "keylist":
		return annotate(t, mustKeyList(t, two))
	case "serverlist":
		b, err := ServerList{Sequence: 7, Servers: two}.Sign(keyOf("manager"))
		if err != nil {
			t.Fatal(err)
		}
		return annotate(t, b)
	}
	return fmt.Sprintf("%x # signature\n", SignCardProof(keyOf("alice at S"), pub("manager"), serverNamed("S"), pub("peer")))
}

func mustKeyList(t testing.TB, servers []grid.ServerID) []byte {
	t.Helper()
	b, err := AccountOf(seedOf("alice")).SignKeyList(pub("manager"), servers)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenBytes is the n-th vector of a file.
func goldenBytes(t testing.TB, file string, n int) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/golden/" + file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "----\n")
	if len(parts) < n+2 {
		t.Fatalf("%s has %d vectors", file, len(parts)-1)
	}
	vector, _, _ := strings.Cut(parts[n+1], "\n\n")
	return unannotate(t, vector)
}

// What is pinned is also read, not only written.
func TestGoldenIsAccepted(t *testing.T) {
	chain, request := goldenBytes(t, "certificates.txt", 1), goldenBytes(t, "request.txt", 1)
	grant, _, err := Verify(chain, request, inputAt("S", "P", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if grant.Label != pub("alice") || len(grant.Pairs) != 2 {
		t.Errorf("grant %s", castNames(showGrant(grant)))
	}
	r, err := goldenKeys.Check(goldenBytes(t, "reference.txt", 1), standingOf("alice"), noon)
	if err != nil {
		t.Fatal(err)
	}
	if castNames(showGrant(r.Grant)) != castNames(showGrant(grant)) || r.Grant.Chain != grant.Chain {
		t.Errorf("reference %s, grant %s", castNames(showGrant(r.Grant)), castNames(showGrant(grant)))
	}
	body, err := authorityKind.open(goldenBytes(t, "authority.txt", 0))
	if err != nil {
		t.Fatal(err)
	}
	holdings, err := decodeHoldings(body)
	if err != nil || len(holdings) != 2 || holdings[0].Chain.Len() != 1 || holdings[1].Account != AccountOf(seedOf("bob")) {
		t.Errorf("holdings %d, %v", len(holdings), err)
	}
}

// Signed is the tag and the body, nothing more: another program must be able
// to make the signature from this page alone.
func TestWhatIsSigned(t *testing.T) {
	c := fullChain(t, 1)
	body := encode(c.Certificates()[0])
	if !pub("k0").Verify(append([]byte("tarn certificate v1:"), body...), c.links[0].signature) {
		t.Errorf("signature is not over the tag and %s", hex.EncodeToString(body))
	}
	e, err := decodeEnvelope(mustRequest(t, c, "k1", fullRequest()))
	if err != nil {
		t.Fatal(err)
	}
	if !pub("k1").Verify(append([]byte("tarn request v1:"), e.body...), e.signature) {
		t.Error("request's signature is not over the tag and the body")
	}
	if pub("k1").Verify(append([]byte("tarn certificate v1:"), e.body...), e.signature) {
		t.Error("a request's signature holds as a certificate's")
	}
}
