package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// sample is a frame with every field set, and its name in testdata.
type sample struct {
	name  string
	frame wire.Frame
}

// testKey is the server of the samples.
func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func testAnnouncement() grid.Announcement {
	id := grid.ServerID(grid.PublicKeyOf(testKey()))
	return grid.Announcement{
		Server: id, Sequence: 300, Nickname: "alice's cellar", NodeID: id.DefaultNodeID(),
		Hints:           []grid.Hint{"/ip4/192.0.2.7/tcp/3457", "/dns/storage.example/tcp/3457"},
		PermutationSeed: id[:], Accepts: []grid.PublicKey{fill32(0xa1)}, CertificateVersions: []uint{1},
		ReadsNeedAccount: true,
	}
}

func fill32(b byte) (a [32]byte) { return [32]byte(bytes.Repeat([]byte{b}, 32)) }
func fill64(b byte) (a [64]byte) { return [64]byte(bytes.Repeat([]byte{b}, 64)) }
func fill16(b byte) (a [16]byte) { return [16]byte(bytes.Repeat([]byte{b}, 16)) }

func signed(tb testing.TB) []byte {
	tb.Helper()
	b, err := wire.SignAnnouncement(testKey(), testAnnouncement())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// samples has every kind at least once.
func samples(tb testing.TB) []sample {
	si, free := grid.StorageIndex(fill16(0x51)), uint64(1<<20)
	two := []wire.Range{{Offset: 0, Length: 3}, {Offset: 1 << 33, Length: 2}}
	ask := func(id uint64, m wire.Message) wire.Frame { return wire.Frame{ID: id, Message: m} }
	answer := func(id uint64, m wire.Message) wire.Frame { return wire.Frame{ID: id, Answer: true, Message: m} }
	return []sample{
		{"error", answer(9, &wire.Error{Code: wire.OverQuota, Text: "5 GB are full", Limit: "max-size", Free: &free})},
		{"error-short", answer(9, &wire.Error{Code: wire.Busy})},
		{"done", answer(1, &wire.Done{})},
		{"hello", ask(0, &wire.Hello{Version: 1, Features: []string{"pull"}, MaxBody: wire.MaxBody, MaxRequests: 64})},
		{"login", ask(1, &wire.Login{Chain: []byte("chain"), Request: []byte("request")})},
		{"resume", ask(1, &wire.Resume{Reference: []byte("reference")})},
		{"login-without-key", ask(1, &wire.LoginWithoutKey{})},
		{"logged-in-without-key", answer(1, &wire.LoggedIn{Expires: 1795000000, Operations: 7})},
		{"logged-in", answer(1, &wire.LoggedIn{Reference: []byte("reference"), Expires: 1795000000, Label: fill32(0xac), Operations: 15})},
		{"find", ask(2, &wire.Find{StorageIndex: si, Ranges: two})},
		{"found", answer(2, &wire.Found{Room: 1 << 40, Shares: []wire.FoundShare{
			{Num: 3, Size: 1000, UEBHash: fill32(0xeb), Lengths: []uint64{3, 0}},
			{Num: 255, Size: 1000, UEBHash: fill32(0xeb), Lengths: []uint64{2}},
		}}).WithBody(nil, []byte("abc"), []byte("de"))},
		{"found-nothing", answer(2, &wire.Found{})},
		{"read", ask(3, &wire.Read{StorageIndex: si, Num: 7, Ranges: two})},
		{"data", answer(3, &wire.Data{Lengths: []uint64{3, 2}}).WithBody(nil, []byte("abcde"))},
		{"data-empty", answer(3, &wire.Data{})},
		{"allocate", ask(4, &wire.Allocate{StorageIndex: si, Num: 7, Size: 1 << 32, Secret: fill16(0x5e)}).WithBody(nil, []byte("first"))},
		{"allocate-if-none", ask(4, &wire.Allocate{StorageIndex: si, Num: 7, Size: 5, Secret: fill16(0x5e), IfNone: true, Window: 1 << 20}).WithBody(nil, []byte("whole"))},
		{"allocate-others", ask(4, &wire.Allocate{StorageIndex: si, Num: 7, Size: 1 << 32, Secret: fill16(0x5e), Others: []wire.Other{
			{Server: fill32(0x0a), Secret: fill16(0x5f)}, {Server: fill32(0x0b), Secret: fill16(0x60)},
		}})},
		{"allocate-standing", ask(4, &wire.Allocate{StorageIndex: si, Num: 7, Size: 1 << 32, Secret: fill16(0x5f), Standing: true})},
		{"pass-on", ask(1, &wire.PassOn{Secret: fill16(0x5f)})},
		{"passed-on", answer(4, &wire.PassedOn{Server: fill32(0x0a)})},
		{"allocated", answer(4, &wire.Allocated{State: wire.Coming, UEBHash: fill32(0), Have: 65536})},
		{"stored", ask(0, &wire.Stored{StorageIndex: si, Num: 7, UEBHash: fill32(0xeb), Code: wire.BadShare, Text: "block 3"})},
		{"abandon", ask(5, &wire.Abandon{StorageIndex: si, Num: 7})},
		{"add-lease", ask(6, &wire.AddLease{StorageIndex: si, Nums: []grid.ShareNum{0, 7, 255}})},
		{"add-lease-on-content", ask(6, &wire.AddLease{StorageIndex: si, Nums: []grid.ShareNum{7}, UEBHash: fill32(0xeb)})},
		{"renew-lease", ask(7, &wire.RenewLease{StorageIndexes: []grid.StorageIndex{si, fill16(0x52)}})},
		{"leased", answer(7, &wire.Leased{Count: 2, Expires: 1795000000})},
		{"usage", ask(8, &wire.Usage{})},
		{"usage-report", answer(8, &wire.UsageReport{Label: fill32(0xac), Bytes: 1, Shares: 2, Reserved: 3, Quota: 4,
			HasQuota: true, RootBytes: 5, BytesIn: 6, BytesOut: 7, RootShares: 8})},
		{"open-offer", ask(0, &wire.OpenOffer{Secret: fill16(0x5e)})},
		{"read-offer", ask(1, &wire.ReadOffer{Offset: 1 << 20, Length: 262144, Have: 1 << 19})},
		{"publish", ask(1, &wire.Publish{Announcement: signed(tb)})},
		{"subscribe", ask(2, &wire.Subscribe{})},
		{"announce", ask(0, &wire.Announce{Announcement: signed(tb)})},
		{"renew-shares", ask(9, &wire.RenewShares{Count: 2}).WithBody(nil, sharesBody(si, 3, 255))},
		{"cancel-shares", ask(10, &wire.CancelShares{Count: 1}).WithBody(nil, sharesBody(si, 3))},
		{"shares-done", answer(9, &wire.SharesDone{Count: 2, Expires: 1795000000}).WithBody(nil, []byte{byte(wire.ShareDone), byte(wire.ShareNoLease)})},
		{"enumerate", ask(11, &wire.Enumerate{Most: 1000})},
		{"enumerate-on", ask(11, &wire.Enumerate{After: sharesBody(si, 3), Most: 1000})},
		{"enumerated", answer(11, &wire.Enumerated{Count: 1, More: true}).WithBody(nil, leaseBody(si))},
		{"usage-below", ask(12, &wire.UsageBelow{Signer: fill32(0xac), After: fill32(0xad), Through: []grid.PublicKey{fill32(0xaf)}})},
		{"usage-below-report", answer(12, &wire.UsageBelowReport{Page: signedPage(tb, testPage())})},
		{"enrol", ask(1, &wire.Enrol{Secret: fill16(0x5e), KeyList: []byte("key list")})},
		{"enrolled", answer(1, &wire.Enrolled{Name: "alice", HasQuota: true, Quota: 1 << 40, Until: 1795000000})},
		{"ask-servers", ask(2, &wire.AskServers{})},
		{"server-list", answer(2, &wire.ServerList{Signed: []byte("server list")})},
		{"fetch-card", ask(3, &wire.FetchCard{Server: fill32(0x5e), Key: fill32(0xac), Proof: fill64(0x51)})},
		{"refresh-card", ask(4, &wire.RefreshCard{Card: []byte("card")})},
		{"ask-help", ask(1, &wire.AskHelp{Job: fill16(0x5e), StorageIndex: si, Size: 1 << 33, Needed: 3, Happy: 7, Total: 10,
			SegmentSize: 1 << 20, Anew: true, Chains: [][]byte{[]byte("chain one"), []byte("chain two")}})},
		{"help-data", ask(2, &wire.HelpData{Offset: 1 << 32}).WithBody(nil, []byte("ciphertext"))},
		{"helped", answer(2, &wire.Helped{State: wire.HelpWants, Have: 1 << 32})},
		{"helped-places", ask(0, &wire.Helped{State: wire.HelpPlaces, Have: 1 << 33, Placed: 1 << 32})},
		{"helped-done", ask(0, &wire.Helped{State: wire.HelpDone, Have: 1 << 33, UEBHash: fill32(0xeb), Pushed: 8, Found: 2})},
		{"observed", ask(0, &wire.Observed{Address: "203.0.113.7:3457"})},
		{"punch", ask(1, &wire.Punch{Key: fill32(0xac), Address: "[2001:db8::7]:3457"})},
		{"punching", answer(1, &wire.Punching{Address: "203.0.113.7:3457"})},
		{"mutate", ask(13, &wire.Mutate{StorageIndex: si, Enabler: fill32(0xee), Reads: two, Shares: []wire.MutateShare{
			{Num: 3, Tests: []wire.Test{{Offset: 1, Length: 4, Wanted: 3}}, Writes: []wire.Range{{Offset: 0, Length: 2}, {Offset: 300, Length: 1}}},
			{Num: 4, Tests: []wire.Test{{Length: 1}}, Writes: []wire.Range{{Offset: 0, Length: 1 << 30}}, Cut: true, Length: 1 << 30, Staged: fill16(0x5e)},
		}}).WithBody(nil, []byte("abcde"), []byte("f"))},
		{"mutated", answer(13, &wire.Mutated{Done: true, Expires: 1795000000, Shares: []wire.MutableShare{{Num: 3, Size: 1000, Lengths: []uint64{3, 0}}, {Num: 4, Size: 5}}}).WithBody(nil, []byte("abc"))},
		{"not-mutated", answer(13, &wire.Mutated{})},
		{"stage", ask(14, &wire.Stage{StorageIndex: si, Num: 3, Enabler: fill32(0xee), Secret: fill16(0x5e), Size: 1 << 30, Offset: 1 << 20}).WithBody(nil, []byte("part"))},
		{"unstage", ask(15, &wire.Unstage{Secret: fill16(0x5e)})},
		{"card", answer(4, &wire.Card{Chain: []byte("newer card")})},
	}
}

func sharesBody(si grid.StorageIndex, nums ...grid.ShareNum) (b []byte) {
	for _, n := range nums {
		b = wire.AppendShare(b, lease.ShareID{StorageIndex: si, Num: n})
	}
	return b
}

func leaseBody(si grid.StorageIndex) []byte {
	id := lease.ShareID{StorageIndex: si, Num: 3}
	return wire.AppendLease(nil, lease.HeldLease{Share: id, Size: 1000, Renewed: 1792321600, Expires: 1795000000})
}

func write(tb testing.TB, f wire.Frame) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := wire.WriteFrame(&b, f); err != nil {
		tb.Fatalf("write %T: %v", f.Message, err)
	}
	return b.Bytes()
}
