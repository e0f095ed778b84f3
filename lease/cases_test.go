package lease

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// cases is how many random cases the tests of this file try: few, unless
// TARN_LEASE_CASES says more. CI tries a million.
func cases(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("TARN_LEASE_CASES")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unsigned is a chain with these certificates and no signatures, which the
// words of a login don't need.
func unsigned(certificates []Certificate) Chain {
	var c Chain
	for i, cert := range certificates {
		e := envelope{body: encode(cert), signature: make([]byte, 64)}
		e.signature[0] = byte(i)
		if i == 0 {
			e.signer = new(pub("k0"))
		}
		c.links = append(c.links, link{e, cert})
	}
	return c
}

// field is one of the limits, drawn by itself: a few values, so that chains
// often agree and often don't.
type field struct {
	name string
	draw func(r *rand.Rand, into *Restrictions)
	// wider reports whether the child grants more there than the parent.
	wider func(child, parent Restrictions) bool
}

func pick[T any](r *rand.Rand, values ...T) *T { return new(values[r.IntN(len(values))]) }

// usually is the first value, or once in a while another one.
func usually[T any](r *rand.Rand, usual, other T) *T {
	if r.IntN(8) == 0 {
		return &other
	}
	return &usual
}

var fields = []field{
	{"root", func(r *rand.Rand, x *Restrictions) { x.Root = usually(r, pub("k0"), pub("k1")) },
		func(c, p Restrictions) bool { return unpinned(c.Root, p.Root) }},
	{"until", func(r *rand.Rand, x *Restrictions) { x.Until = new(noon.Unix() - 400 + r.Int64N(9000)) },
		func(c, p Restrictions) bool { return wider(c.Until, p.Until) }},
	{"storage-index", func(r *rand.Rand, x *Restrictions) {
		x.StorageIndex = usually(r, grid.StorageIndex{1}, grid.StorageIndex{2})
	}, func(c, p Restrictions) bool { return unpinned(c.StorageIndex, p.StorageIndex) }},
	{"ueb-hash", func(r *rand.Rand, x *Restrictions) { x.UEBHash = usually(r, UEBHash{1}, UEBHash{2}) },
		func(c, p Restrictions) bool { return unpinned(c.UEBHash, p.UEBHash) }},
	{"server", func(r *rand.Rand, x *Restrictions) { x.Server = usually(r, serverS, serverT) },
		func(c, p Restrictions) bool { return unpinned(c.Server, p.Server) }},
	{"operation", func(r *rand.Rand, x *Restrictions) { x.Operation = new(Operation(r.IntN(int(AllOperations) + 1))) },
		func(c, p Restrictions) bool { return c.Operations()&^p.Operations() != 0 }},
	{"max-size", func(r *rand.Rand, x *Restrictions) { x.MaxSize = pick(r, int64(0), 1, 10, 100) },
		func(c, p Restrictions) bool { return wider(c.MaxSize, p.MaxSize) }},
	{"space", func(r *rand.Rand, x *Restrictions) { x.Space = pick(r, int64(0), 1, 10, 100) }, nil},
}

var serverS, serverT = serverNamed("S"), serverNamed("T")

// drawCertificate sets each limit once in four times.
func drawCertificate(r *rand.Rand, delegate grid.PublicKey) Certificate {
	c := Certificate{Delegate: delegate}
	for _, f := range fields {
		if r.IntN(4) == 0 {
			f.draw(r, &c.Restrictions)
		}
	}
	return c
}

// words is what a chain and a request mean, without their signatures.
func words(c Chain, r Restrictions, keys []grid.PublicKey) (Grant, error) {
	_, labelled := c.Label()
	r.Space = nil
	request := Request{Beneficiary: keys[0], SignerGetsLease: !labelled, Restrictions: r}
	all := c.Keys()
	if c.Len() == 0 {
		all = keys[:1]
	}
	return login{c, signedRequest{request: request}, all}.grant(VerifyInput{Server: serverS, Peer: keys[0], Now: noon})
}

// A certificate below a chain, whatever it says, never grants more than the
// chain, in any field, nor lets anything be done that the chain does not: a
// million of them (TARN_LEASE_CASES).
func TestChildNeverGrantsMore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var keys []grid.PublicKey
	for i := range MaxCertificates + 1 {
		keys = append(keys, pub(keyName(i)))
	}
	limited := map[string]int{} // how often both were granted and the parent had that limit
	tried, want, plain := 0, cases(t, 20_000), Restrictions{Server: &serverS}
	for tried < want {
		var list []Certificate
		parent, err := words(Chain{}, plain, keys)
		for i := 0; i < MaxCertificates && err == nil && tried < want; i++ {
			// Now and then somebody gives back what he got, or it to himself.
			list = append(list, drawCertificate(r, keys[i+1-min(i, r.IntN(2)*r.IntN(3))]))
			list[i].SignerGetsLease = r.IntN(12) == 0
			tried++
			c := unsigned(list)
			var child Grant
			if child, err = words(c, plain, keys); err != nil {
				break // it grants nothing
			}
			checkChild(t, r, child, parent, limited)
			checkWords(t, child, list)
			parent = child
			request := drawCertificate(r, keys[0])
			request.Server = &serverS
			asked, refused := words(c, request.Restrictions, keys)
			if refused == nil {
				checkChild(t, r, asked, parent, limited)
				checkWords(t, asked, append(list[:len(list):len(list)], request))
			}
		}
	}
	for _, f := range fields {
		if limited[f.name] < want/100 {
			t.Errorf("%s was limited in %d of %d cases: the property was hardly tried", f.name, limited[f.name], want)
		}
	}
	t.Logf("%d certificates; limited where both grant: %v", tried, limited)
}

// checkWords holds that a grant is within each certificate that led to it, the
// last of which may be the request.
func checkWords(t *testing.T, g Grant, list []Certificate) {
	t.Helper()
	for i, c := range list {
		for _, f := range fields {
			if f.wider != nil && f.wider(g.Effective, c.Restrictions) {
				t.Fatalf("%s: %+v under certificate %+v", f.name, g.Effective, c)
			}
		}
		if i+1 == len(g.Keys) {
			break // a request has no space
		}
		if p := g.pair(g.Keys[i], g.Keys[i+1]); p == nil || wider(p.Space, c.Space) {
			t.Fatalf("space: %+v under certificate %+v", p, c)
		}
	}
}

func checkChild(t *testing.T, r *rand.Rand, child, parent Grant, limited map[string]int) {
	t.Helper()
	for _, f := range fields {
		if f.wider != nil && f.wider(child.Effective, parent.Effective) {
			t.Fatalf("%s: %+v from %+v", f.name, child.Effective, parent.Effective)
		}
	}
	p := parent.Effective
	for name, set := range map[string]bool{
		"root": p.Root != nil, "until": p.Until != nil, "storage-index": p.StorageIndex != nil, "ueb-hash": p.UEBHash != nil,
		"server": p.Server != nil, "operation": p.Operations() != AllOperations, "max-size": p.MaxSize != nil,
	} {
		if set {
			limited[name]++
		}
	}
	for _, pair := range parent.Pairs {
		same := child.pair(pair.Signer, pair.Delegate)
		if same == nil || wider(same.Space, pair.Space) {
			t.Fatalf("space: %+v from %+v", same, pair)
		}
		if pair.Space != nil {
			limited["space"]++
		}
	}
	if child.Root != parent.Root || !slices.Equal(child.Keys[:len(parent.Keys)], parent.Keys) {
		t.Fatalf("keys %v from %v", child.Keys, parent.Keys)
	}
	ask := Ask{
		Operation: 1 << r.IntN(7), StorageIndex: &grid.StorageIndex{byte(1 + r.IntN(2))},
		UEBHash: &UEBHash{byte(1 + r.IntN(2))}, Size: r.Int64N(120),
	}
	now := noon.Add(time.Duration(r.IntN(10_000)) * time.Second)
	if _, err := child.Permit(ask, everybody, now); err != nil {
		return
	}
	if _, err := parent.Permit(ask, everybody, now); err != nil {
		t.Fatalf("child may %+v, parent not: %v", ask, err)
	}
}

// everybody accepts each key as a root.
var everybody = Standing{
	Roots:   func(k grid.PublicKey) (Root, bool) { return Root{Key: k}, true },
	Revoked: func(grid.PublicKey) bool { return false },
}

// mutate changes bytes at random: one, several, a piece taken out, doubled, put
// elsewhere or replaced by one of another encoding.
func mutate(r *rand.Rand, b []byte, other []byte) []byte {
	m := bytes.Clone(b)
	at, length := r.IntN(len(m)), 1+r.IntN(40)
	end := min(len(m), at+length)
	switch r.IntN(7) {
	case 0:
		m[at] ^= byte(1 + r.IntN(255))
	case 1:
		for range 1 + r.IntN(5) {
			m[r.IntN(len(m))] = byte(r.Uint32())
		}
	case 2:
		m = slices.Delete(m, at, end)
	case 3:
		m = slices.Insert(m, r.IntN(len(m)), b[at:end]...)
	case 4:
		piece := bytes.Clone(m[at:end])
		m = slices.Delete(m, at, end)
		m = slices.Insert(m, r.IntN(len(m)+1), piece...)
	case 5:
		from := r.IntN(len(other))
		copy(m[at:end], other[from:])
	case 6:
		from := r.IntN(len(other))
		m = slices.Insert(m, at, other[from:min(len(other), from+length)]...)
	}
	return m
}

// No mutation of a valid chain, request or reference is accepted: a million of
// them (TARN_LEASE_CASES).
func TestNoMutationIsAccepted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := fullChain(t, 3)
	chain, request := c.Encode(), mustRequest(t, c, "k3", fullRequest())
	unlike := mustSign(t, mustSign(t, Chain{}, "k0", Certificate{Delegate: pub("k3")}), "k3", Certificate{Delegate: pub("k1")}).Encode()
	in := inputAt("S", "peer", "k0")
	grant, _, err := Verify(chain, request, in)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := goldenKeys.Mint(grant, noon)
	if err != nil {
		t.Fatal(err)
	}
	kinds := []struct {
		name, valid string
		other       []byte
		accept      func([]byte) error
	}{
		{"chain", string(chain), unlike, func(b []byte) error { _, _, err := Verify(b, request, in); return err }},
		{"request", string(request), chain, func(b []byte) error { _, _, err := Verify(chain, b, in); return err }},
		{"reference", string(reference.Secret), goldenBytes(t, "reference.txt", 0), func(b []byte) error {
			_, err := goldenKeys.Check(b, in.Standing, noon)
			return err
		}},
	}
	refused := map[string]int{}
	for n := range cases(t, 6000) {
		k := kinds[n%len(kinds)]
		m := mutate(r, []byte(k.valid), k.other)
		if string(m) == k.valid {
			continue
		}
		err := k.accept(m)
		if err == nil {
			t.Fatalf("a mutated %s was accepted: %x", k.name, m)
		}
		refused[k.name+", "+sentinelOf(t, err)]++
	}
	if forged := refused["chain, ErrForged"]; forged == 0 {
		t.Error("no mutation came as far as the signatures")
	}
	t.Logf("%v", refused)
}
