package lease

import (
	"bytes"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

var (
	repairSI  = grid.StorageIndex{7}
	repairUEB = UEBHash{9}
)

// sampleRepairCap is for a file of alice's at S and T.
func sampleRepairCap(t testing.TB) RepairCap {
	t.Helper()
	_, mine := member(t)
	c, err := mine.RepairCap(pub("repairer"), renewalEnd, repairSI, repairUEB, []grid.ServerID{serverNamed("S"), serverNamed("T")})
	if err != nil {
		t.Fatal(err)
	}
	c.VerifyCap, c.Happy = "URI:CHK-Verifier:of-the-file", 7
	c.Managers = []Place{{Server: grid.ServerID(pub("manager")), Hints: []grid.Hint{"/dns/manager/tcp/1"}}}
	c.Introducers = []Place{{Server: serverNamed("I"), Hints: []grid.Hint{"/dns/introducer/tcp/1"}}}
	return c
}

func repairText(t testing.TB, c RepairCap) []byte {
	t.Helper()
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func goldenRepairCap(t *testing.T) string {
	block, _ := pem.Decode(repairText(t, sampleRepairCap(t)))
	return annotateText(t, block)
}

func TestRepairCapText(t *testing.T) {
	c := sampleRepairCap(t)
	text := append([]byte("Dear Bob, keep these whole.\n"), repairText(t, c)...)
	other := c
	other.Happy = 3
	got, err := ReadRepairCaps(bytes.NewReader(append(text, repairText(t, other)...)))
	if err != nil || len(got) != 2 {
		t.Fatalf("%d caps, %v", len(got), err)
	}
	if !bytes.Equal(repairText(t, got[0]), repairText(t, c)) || !reflect.DeepEqual(got[0].Managers, c.Managers) || got[1].Happy != 3 || got[0].VerifyCap != c.VerifyCap {
		t.Errorf("read %+v", got)
	}
	si, ueb := got[0].File()
	if si != repairSI || ueb != repairUEB || got[0].Key() != pub("repairer") || got[0].Until() != renewalEnd || !got[0].OfSame(c) {
		t.Errorf("%s, %s until %d", si, got[0].Key(), got[0].Until())
	}
}

// Under each chain of a cap its holder stores and leases shares of that file with
// that content, for the owner, and is refused all else.
func TestRepairCapRepairsAndNothingElse(t *testing.T) {
	c := sampleRepairCap(t)
	repairer := OneKeyAccount([SeedSize]byte(keyOf("repairer").Seed()))
	all, err := c.Authority(repairer)
	if err != nil {
		t.Fatal(err)
	}
	alice, _ := member(t)
	at := serverNamed("S")
	accepted := 0
	for _, credential := range all.For(at) {
		in := inputAt("S", "peer", "manager")
		in.Server = at
		r := Request{Beneficiary: pub("peer")}
		r.Server = &at
		signed, err := r.Sign(credential.Chain, credential.Key)
		if err != nil {
			t.Fatal(err)
		}
		grant, _, err := Verify(credential.Chain.Encode(), signed, in)
		if err != nil {
			continue
		}
		accepted++
		if grant.Label != alice.PublicKey(at) {
			t.Errorf("the leases are those of %s", grant.Label)
		}
		refuses(t, grant, in)
	}
	if accepted != 1 {
		t.Errorf("%d chains are accepted", accepted)
	}
	if _, err := c.Authority(OneKeyAccount(seedOf("mallory"))); !errors.Is(err, ErrNotSigner) {
		t.Errorf("for another repairer: %v", err)
	}
}

// refuses holds that the grant is for nothing but storing and leasing the file.
func refuses(t *testing.T, grant Grant, in VerifyInput) {
	t.Helper()
	standing := in.Standing
	may := func(ask Ask) error {
		_, err := grant.Permit(ask, standing, in.Now)
		return err
	}
	for _, op := range []Operation{OpUpload, OpAddLease} {
		if err := may(Ask{Operation: op, StorageIndex: &repairSI, UEBHash: &repairUEB}); err != nil {
			t.Errorf("%s of the file: %v", op, err)
		}
		otherSI, otherUEB := grid.StorageIndex{8}, UEBHash{8}
		for _, ask := range []Ask{
			{Operation: op, StorageIndex: &otherSI, UEBHash: &repairUEB},
			{Operation: op, StorageIndex: &repairSI, UEBHash: &otherUEB},
		} {
			if err := may(ask); !errors.Is(err, ErrNotPermitted) {
				t.Errorf("%s of another file: %v", op, err)
			}
		}
	}
	for _, op := range []Operation{OpRenewLease, OpCancelLease, OpEnumerate, OpReadUsage, OpMutate} {
		if err := may(Ask{Operation: op, StorageIndex: &repairSI, UEBHash: &repairUEB}); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// What somebody can't store himself he can't have repaired.
func TestRepairCapOfWhoMayNotStore(t *testing.T) {
	alice, _ := member(t)
	for name, r := range map[string]Restrictions{
		"may not upload": {Operation: new(OpRenewLease)},
		"another file":   {StorageIndex: &grid.StorageIndex{8}},
	} {
		narrow := Authority{Holdings: []Holding{{mustSign(t, Chain{}, "carol", Certificate{Delegate: alice.PublicKey(serverNamed("S")), Restrictions: r}), alice}}}
		if _, err := narrow.RepairCap(pub("repairer"), renewalEnd, repairSI, repairUEB, []grid.ServerID{serverNamed("S")}); err == nil {
			t.Errorf("%s: there is a cap", name)
		}
	}
	if _, err := (Authority{}).RepairCap(pub("repairer"), renewalEnd, repairSI, repairUEB, []grid.ServerID{serverNamed("S")}); !errors.Is(err, ErrNoCommonServer) {
		t.Errorf("without any authority: %v", err)
	}
}

// spoiledRepairCap is the sample with a change, written without being looked at.
func spoiledRepairCap(t *testing.T, change func(*repairRecord)) []byte {
	t.Helper()
	block, _ := pem.Decode(repairText(t, sampleRepairCap(t)))
	var r repairRecord
	if err := repairKind.decode(manyMode, block.Bytes[textHeader:], &r); err != nil {
		t.Fatal(err)
	}
	change(&r)
	text, err := repairKind.write(encode(r), len(r.Chains))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBadRepairCaps(t *testing.T) {
	good := repairText(t, sampleRepairCap(t))
	_, mine := member(t)
	signed := func(change func(*Delegation)) []byte {
		d := Delegation{SignerGetsLease: true}
		d.Operation, d.StorageIndex, d.UEBHash = new(repairs), &repairSI, &repairUEB
		change(&d)
		chains, err := mine.Delegate(Recipient{Key: pub("repairer")}, d, []grid.ServerID{serverNamed("T")})
		if err != nil {
			t.Fatal(err)
		}
		return chains[0].Encode()
	}
	with := func(change func(*Delegation)) []byte {
		return spoiledRepairCap(t, func(r *repairRecord) { r.Chains[1] = signed(change) })
	}
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"nothing":        {nil, "no line -----BEGIN TARN REPAIR CAP-----"},
		"a renewal cap":  {capText(t, sampleCap(t)), "it is a renewal cap"},
		"cut off":        {good[:len(good)/2], "a block is damaged or its end is missing"},
		"too large":      {bytes.Repeat([]byte{' '}, MaxRepairCapSize+1), "larger than"},
		"no chain":       {spoiledRepairCap(t, func(r *repairRecord) { r.Chains = nil }), "no certificate"},
		"garbled chain":  {spoiledRepairCap(t, func(r *repairRecord) { r.Chains[1] = []byte{1} }), "chain 2"},
		"no file":        {spoiledRepairCap(t, func(r *repairRecord) { r.VerifyCap = "" }), "a verify capability of 0 bytes"},
		"a long file":    {spoiledRepairCap(t, func(r *repairRecord) { r.VerifyCap = strings.Repeat("u", 257) }), "257 bytes"},
		"no happiness":   {spoiledRepairCap(t, func(r *repairRecord) { r.Happy = 0 }), "a happiness of 0"},
		"too happy":      {spoiledRepairCap(t, func(r *repairRecord) { r.Happy = 257 }), "a happiness of 257"},
		"forged":         {spoiledRepairCap(t, func(r *repairRecord) { c := r.Chains[len(r.Chains)-1]; c[len(c)-1] ^= 1 }), "chain 3"},
		"renews, too":    {with(func(d *Delegation) { d.Operation = new(repairs | OpRenewLease) }), "lets more be done than store and lease shares"},
		"only leases":    {with(func(d *Delegation) { d.Operation = new(OpAddLease) }), "it lets no share be stored"},
		"any file":       {with(func(d *Delegation) { d.StorageIndex = nil }), "not limited to one file"},
		"any content":    {with(func(d *Delegation) { d.UEBHash = nil }), "not limited to one file"},
		"another file":   {with(func(d *Delegation) { d.StorageIndex = &grid.StorageIndex{8} }), "for another file than the first one"},
		"nobody's lease": {with(func(d *Delegation) { d.SignerGetsLease = false }), "does not say whose"},
		"nowhere":        {spoiledRepairCap(t, func(r *repairRecord) { r.Managers[0].Hints = nil }), "0 addresses"},
	} {
		_, err := ReadRepairCaps(bytes.NewReader(c.text))
		if !errors.Is(err, ErrRepairCap) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
