package lease

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

func TestVerifyFullChain(t *testing.T) {
	c := fullChain(t, MaxCertificates)
	request := mustRequest(t, c, keyName(MaxCertificates), fullRequest())
	grant, nonce, err := Verify(c.Encode(), request, inputAt("S", "peer", "k0"))
	if err != nil {
		t.Fatal(err)
	}
	if nonce != (Nonce{7}) {
		t.Errorf("nonce %x", nonce)
	}
	if grant.Root != pub("k0") || grant.Label != pub("k0") || grant.Chain != c.Digest() {
		t.Errorf("root %v, label %v, chain %v", grant.Root, grant.Label, grant.Chain)
	}
	if !slices.Equal(grant.Keys, c.Keys()) || len(grant.Keys) != 9 {
		t.Errorf("keys %v", grant.Keys)
	}
	if len(grant.Pairs) != 8 || *grant.Pairs[7].Space != 993<<40 || grant.Pairs[7].Delegate != pub("k8") {
		t.Errorf("pairs %+v", grant.Pairs)
	}
	if grant.Effective.Space != nil || *grant.Effective.Operation != OpUpload|OpAddLease {
		t.Errorf("effective %+v", grant.Effective)
	}
	if size := len(c.Encode()); size > MaxChainSize/2 {
		t.Errorf("a full chain takes %d bytes: more than half of what is allowed", size)
	}
	if len(request) > MaxRequestSize/2 {
		t.Errorf("a full request takes %d bytes: more than half of what is allowed", len(request))
	}
}

// A root that acts for itself sends no certificate at all.
func TestVerifyRootItself(t *testing.T) {
	r := Request{Beneficiary: pub("peer"), SignerGetsLease: true, Restrictions: Restrictions{Server: new(serverNamed("S"))}}
	grant, _, err := Verify(Chain{}.Encode(), mustRequest(t, Chain{}, "alice", r), inputAt("S", "peer", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if grant.Root != pub("alice") || grant.Label != pub("alice") || len(grant.Pairs) != 0 || grant.Chain != (Digest{}) {
		t.Errorf("grant %+v", grant)
	}
	if *grant.Effective.Operation != AllOperations {
		t.Errorf("operations %v", grant.Effective.Operation)
	}
}

// What is cheap is refused before anything costs a signature, and a stranger
// before his words are weighed.
func TestVerifyLooksUpTheRootFirst(t *testing.T) {
	c := fullChain(t, 1)
	c.links[0].signature = make([]byte, 64)
	request := mustRequest(t, c, "k1", fullRequest())
	in := inputAt("elsewhere", "someone", "bob")
	if _, _, err := Verify(c.Encode(), request, in); !errors.Is(err, ErrNoSuchRoot) {
		t.Errorf("got %v, want ErrNoSuchRoot", err)
	}
	in.Standing = standingOf("k0")
	if _, _, err := Verify(c.Encode(), request, in); !errors.Is(err, ErrWrongServer) {
		t.Errorf("got %v, want ErrWrongServer", err)
	}
}

// The same pair twice in a chain is one budget, the smaller one.
func TestPairStandsOnce(t *testing.T) {
	ring := Chain{}
	for _, step := range []struct {
		signer, delegate string
		space            *int64
	}{{"a", "b", new(int64(50))}, {"b", "a", nil}, {"a", "b", new(int64(20))}, {"b", "a", new(int64(30))}} {
		ring = mustSign(t, ring, step.signer, Certificate{Delegate: pub(step.delegate), Restrictions: Restrictions{Space: step.space}})
	}
	r := Request{Beneficiary: pub("peer"), SignerGetsLease: true, Restrictions: Restrictions{Server: new(serverNamed("S"))}}
	grant, _, err := Verify(ring.Encode(), mustRequest(t, ring, "a", r), inputAt("S", "peer", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if len(grant.Pairs) != 2 || *grant.Pairs[0].Space != 20 || *grant.Pairs[1].Space != 30 {
		t.Errorf("pairs %+v", grant.Pairs)
	}
}

func TestSkewIsAllowedOnceOnly(t *testing.T) {
	until := noon.Unix()
	c := mustSign(t, Chain{}, "a", Certificate{Delegate: pub("b"), SignerGetsLease: true, Restrictions: Restrictions{Until: &until}})
	request := mustRequest(t, c, "b", Request{Beneficiary: pub("peer"), Restrictions: Restrictions{Server: new(serverNamed("S"))}})
	in := inputAt("S", "peer", "a")
	in.Now = noon.Add(ClockSkew)
	if _, _, err := Verify(c.Encode(), request, in); err != nil {
		t.Errorf("at the end of the skew: %v", err)
	}
	in.Now = noon.Add(ClockSkew + time.Second)
	if _, _, err := Verify(c.Encode(), request, in); !errors.Is(err, ErrAuthorityExpired) {
		t.Errorf("after the skew: %v", err)
	}
}

// BenchmarkVerify is a login with a chain of so many certificates: all but the
// reference, which costs what BenchmarkMint says.
func BenchmarkVerify(b *testing.B) {
	for _, length := range []int{0, 1, 4, 8} {
		b.Run(keyName(length)[1:], func(b *testing.B) { benchmarkVerify(b, length) })
	}
}

func benchmarkVerify(b *testing.B, length int) {
	c := fullChain(b, length)
	r := fullRequest()
	r.SignerGetsLease = length == 0
	chain, request, in := c.Encode(), mustRequest(b, c, keyName(length), r), inputAt("S", "peer", "k0")
	for b.Loop() {
		if _, _, err := Verify(chain, request, in); err != nil {
			b.Fatal(err)
		}
	}
}

// permission is one line of the table below.
type permission struct {
	name    string
	grant   Restrictions
	policy  Root
	ask     Ask
	refused Limit // 0: permitted
}

func TestPermit(t *testing.T) {
	si, other := grid.StorageIndex{1}, grid.StorageIndex{2}
	content := UEBHash{1}
	for _, p := range []permission{
		{name: "no limits", ask: Ask{Operation: OpUpload, StorageIndex: &si, Size: 1 << 50}},
		{name: "operation", grant: Restrictions{Operation: new(OpUpload)}, ask: Ask{Operation: OpRenewLease}, refused: LimitOperation},
		{name: "one of two", grant: Restrictions{Operation: new(OpUpload)}, ask: Ask{Operation: OpUpload | OpAddLease}, refused: LimitOperation},
		{name: "none at all", grant: Restrictions{Operation: new(Operation(0))}, ask: Ask{Operation: OpUpload}, refused: LimitOperation},
		{name: "operator", policy: Root{Operation: new(OpRenewLease)}, ask: Ask{Operation: OpUpload}, refused: LimitOperation},
		{name: "its file", grant: Restrictions{StorageIndex: &si}, ask: Ask{Operation: OpUpload, StorageIndex: &si}},
		{name: "another file", grant: Restrictions{StorageIndex: &si}, ask: Ask{Operation: OpUpload, StorageIndex: &other}, refused: LimitStorageIndex},
		{name: "no file", grant: Restrictions{StorageIndex: &si}, ask: Ask{Operation: OpUpload}, refused: LimitStorageIndex},
		{name: "usage under a file", grant: Restrictions{StorageIndex: &si}, ask: Ask{Operation: OpReadUsage}, refused: LimitStorageIndex},
		{name: "its content", grant: Restrictions{UEBHash: &content}, ask: Ask{Operation: OpUpload, UEBHash: &content}},
		{name: "unknown content", grant: Restrictions{UEBHash: &content}, ask: Ask{Operation: OpUpload}, refused: LimitUEBHash},
		{name: "list under a content", grant: Restrictions{UEBHash: &content}, ask: Ask{Operation: OpEnumerate}, refused: LimitUEBHash},
		{name: "mutate under a content", grant: Restrictions{UEBHash: &content}, ask: Ask{Operation: OpMutate, UEBHash: &content}, refused: LimitUEBHash},
		{name: "mutate under a file", grant: Restrictions{StorageIndex: &si}, ask: Ask{Operation: OpMutate, StorageIndex: &si}},
		{name: "largest", grant: Restrictions{MaxSize: new(int64(9))}, ask: Ask{Operation: OpUpload, Size: 9}},
		{name: "too large", grant: Restrictions{MaxSize: new(int64(9))}, ask: Ask{Operation: OpUpload, Size: 10}, refused: LimitMaxSize},
	} {
		t.Run(p.name, func(t *testing.T) { checkPermission(t, p) })
	}
}

func checkPermission(t *testing.T, p permission) {
	standing := standingOf()
	standing.Roots = func(grid.PublicKey) (Root, bool) { return p.policy, true }
	g := Grant{Root: pub("a"), Keys: []grid.PublicKey{pub("a")}, Label: pub("a"), Effective: p.grant}
	_, err := g.Permit(p.ask, standing, noon)
	if p.refused == 0 {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var refusal *NotPermittedError
	if !errors.As(err, &refusal) || refusal.Limit != p.refused || !errors.Is(err, ErrNotPermitted) {
		t.Errorf("got %v, want a refusal by %v", err, p.refused)
	}
}

// The numbers go over the wire; the names are the fields'.
func TestLimitNames(t *testing.T) {
	want := []string{"root", "storage-index", "ueb-hash", "operation", "max-size", "limit 6"}
	for i, name := range want {
		if got := Limit(i + 1).String(); got != name {
			t.Errorf("limit %d is %s, want %s", i+1, got, name)
		}
	}
}

// What the operator decides holds for grants that are out.
func TestPermitFollowsTheOperator(t *testing.T) {
	g := newGrant([]grid.PublicKey{pub("a"), pub("b")}, []*int64{nil}, 0, Restrictions{Until: new(noon.Unix() + 60)}, Digest{1})
	root := Root{Key: pub("a"), Quota: new(int64(5))}
	known, revoked := true, grid.PublicKey{}
	standing := Standing{
		Roots:   func(grid.PublicKey) (Root, bool) { return root, known },
		Revoked: func(k grid.PublicKey) bool { return k == revoked },
	}
	expect := func(what string, now time.Time, want error) {
		t.Helper()
		policy, err := g.Permit(Ask{Operation: OpUpload}, standing, now)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if want == nil && *policy.Quota != 5 {
			t.Errorf("%s: policy %+v", what, policy)
		}
	}
	expect("at first", noon, nil)
	expect("after until", noon.Add(time.Minute+ClockSkew+time.Second), ErrAuthorityExpired)
	root.Disabled = true
	expect("disabled", noon, ErrAuthorityRevoked)
	root.Disabled, root.Until = false, new(noon.Unix()-1)
	expect("account ended", noon, ErrAuthorityExpired)
	root.Until, revoked = nil, pub("b")
	expect("delegate revoked", noon, ErrAuthorityRevoked)
	revoked, known = grid.PublicKey{}, false
	expect("removed", noon, ErrNoSuchRoot)
}
