package client_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// mutableKey takes a while to be made, so all tests share one.
var mutableKey = sync.OnceValue(func() *mutable.Key {
	private, err := rsa.GenerateKey(rand.Reader, mutable.KeyBits)
	if err != nil {
		panic(err)
	}
	key, err := mutable.NewKey(private)
	if err != nil {
		panic(err)
	}
	return key
})

// zeros is randomness that is always the same.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// version makes all four shares of a version, any two of which give it back.
func (r *rig) version(f mutable.Format, seqnum uint64, data []byte) (mutable.Prefix, [][]byte) {
	r.Helper()
	l, err := mutable.NewLayout(f, int64(len(data)), params(2, 4, mutable.DefaultSegmentSize))
	r.must(err)
	p, shares, err := mutable.Encode(l, mutableKey(), seqnum, data, zeros{})
	r.must(err)
	return p, shares
}

// hold gives a peer a share of the mutable file.
func (r *rig) hold(f mutable.Format, peer int, num grid.ShareNum, share []byte) {
	(&peerSession{peer: r.peers[peer]}).keep(mutableKey().Capability(f).StorageIndex(), num, slices.Clone(share))
}

// holdAll gives each of the first four peers one share.
func (r *rig) holdAll(f mutable.Format, shares [][]byte) {
	for n, share := range shares {
		r.hold(f, n, grid.ShareNum(n), share)
	}
}

func verifierOf(f mutable.Format) file.Mutable { return mutableKey().Capability(f).Verifier() }

func (r *rig) beginMutableCheck(spec client.MutableSpec) *checking {
	c := &checking{}
	c.replyTo = r.inbox(c.take)
	spec.Params = params(2, 4, mutable.DefaultSegmentSize)
	spec.Params.Happy = 4
	r.send(client.CheckMutable{ReplyTo: c.replyTo, MutableSpec: spec})
	return c
}

func (r *rig) checkMutable(spec client.MutableSpec) client.Checked {
	r.Helper()
	c := r.beginMutableCheck(spec)
	r.until("the end of the check", 30*time.Minute, func() bool { return c.result != nil || c.err != nil })
	if c.err != nil {
		r.Fatalf("not checked: %v", c.err)
	}
	return *c.result
}

var formats = []mutable.Format{mutable.SDMF, mutable.MDMF}

func TestMutableCheckBelievesServers(t *testing.T) {
	for _, f := range formats {
		r := ready(t, 5)
		p, shares := r.version(f, 7, content(300_000))
		r.holdAll(f, shares)
		r.pass(time.Second) // servers are asked for their room
		asked := map[*peer]int{}
		for _, p := range r.peers {
			asked[p] = p.asked[wire.KindFind]
		}
		got := r.checkMutable(client.MutableSpec{Cap: verifierOf(f)})
		if !got.Healthy() || got.Happiness() != 4 || len(got.Responding) != 5 || got.Version != p.Name() || !strings.HasPrefix(got.Version, "seq7-") {
			t.Errorf("%s: %+v", f, got.Report)
		}
		if got.Good[2] != (health.Copy{Server: got.Responding[slices.Index(got.Responding, got.Good[2].Server)], Num: got.Good[2].Num, Version: p.Name()}) {
			t.Errorf("%s: %+v", f, got.Good)
		}
		for _, p := range r.peers {
			if p.readsOf() != 0 || p.asked[wire.KindFind] != asked[p]+1 {
				t.Errorf("%s was asked %v", p.name, p.asked)
			}
		}
	}
}

// Every version is told, and which of them a reader would get.
func TestMutableCheckTellsVersions(t *testing.T) {
	r := ready(t, 4)
	f := mutable.SDMF
	lost := r.checkMutable(client.MutableSpec{Cap: verifierOf(f)})
	if lost.Recoverable() || lost.Version != "" || lost.Needed != 2 || lost.Total != 4 || lost.JSON().Results.UnrecoverableVersions != 0 {
		t.Errorf("nothing: %+v", lost.Report)
	}
	_, old := r.version(f, 1, content(100))
	_, now := r.version(f, 2, content(200))
	_, newer := r.version(f, 3, content(300))
	r.hold(f, 0, 0, now[0])
	r.hold(f, 1, 1, now[1])
	r.hold(f, 2, 2, old[2])
	r.hold(f, 2, 3, old[3])
	r.hold(f, 3, 3, newer[3])
	got := r.checkMutable(client.MutableSpec{Cap: verifierOf(f)})
	if got.Healthy() || !got.Recoverable() || got.Shares() != 2 || len(got.Wrong) != 3 || len(got.Others) != 2 || got.Newer() != 1 {
		t.Fatalf("%+v", got.Report)
	}
	if first := got.Others[0]; !first.Newer || first.Recoverable() || first.Shares != 1 || !strings.HasPrefix(first.Name, "seq3-") {
		t.Errorf("the newest: %+v", first)
	}
	if last := got.Others[1]; last.Newer || !last.Recoverable() || !strings.HasPrefix(last.Name, "seq1-") {
		t.Errorf("the oldest: %+v", last)
	}
	counts := got.JSON().Results
	if counts.RecoverableVersions != 2 || counts.UnrecoverableVersions != 1 || counts.WrongShares != 3 || len(counts.ShareMap) != 5 {
		t.Errorf("%+v", counts.Counts)
	}

	odd := r.checkMutable(client.MutableSpec{Cap: verifierOf(mutable.MDMF)})
	if len(odd.Corrupt) != 5 || odd.Version != "" {
		t.Errorf("another format: %+v", odd.Report)
	}
}

// A verifier reads every byte, and needs no more than the verify capability.
func TestMutableVerifyReadsAll(t *testing.T) {
	for _, f := range formats {
		for _, size := range []int{0, 1, 2_000_003} {
			r := ready(t, 4)
			_, shares := r.version(f, 1, content(size))
			r.holdAll(f, shares)
			j := r.beginMutableCheck(client.MutableSpec{Cap: verifierOf(f), Verify: true})
			r.until("the end", time.Minute, func() bool { return j.result != nil })
			last := j.progress[len(j.progress)-1]
			if !j.result.Healthy() || !j.result.Verified || last.Total != 4*int64(len(shares[0])) || last.Done < last.Total*9/10 {
				t.Errorf("%s of %d bytes: %+v, read %+v", f, size, j.result.Report, last)
			}
		}
	}
}

// Whatever is wrong with a share, a verifier names it and the others count.
func TestMutableVerifyFindsWhatIsWrong(t *testing.T) {
	for _, f := range formats {
		r := ready(t, 4)
		_, shares := r.version(f, 1, content(400_000))
		r.holdAll(f, shares)
		share := r.peers[0].shares[verifierOf(f).StorageIndex()][0]
		parts, err := mutable.Cut(share)
		r.must(err)
		h := parts.Header
		for name, at := range map[string]int64{
			"sequence number": 8, "root": 12, "public key": h.PublicKey.Off + 100, "signature": h.Signature.End - 1, "share hash chain": h.ShareHashes.Off + 10,
			"block hash tree": h.BlockTree.End - 1, "root of the blocks": h.BlockTree.Off, "first block": h.Data.Off, "last block": h.Data.End - 1,
		} {
			for i, p := range r.peers { // only of the first share that is found the version is proven without reading it
				share := p.shares[verifierOf(f).StorageIndex()][grid.ShareNum(i)]
				share[at] ^= 1
				got := r.checkMutable(client.MutableSpec{Cap: verifierOf(f), Verify: true})
				if len(got.Corrupt) != 1 || got.Corrupt[0].Server != p.id() || int(got.Corrupt[0].Num) != i || !errors.Is(got.Corrupt[0].Err, mutable.ErrShare) {
					t.Errorf("%s, %s: corrupt %v", f, name, got.Corrupt)
				}
				if got.Shares() != 3 || got.Healthy() || !got.Recoverable() || len(got.Unread) > 0 {
					t.Errorf("%s, %s: %+v", f, name, got.Report)
				}
				share[at] ^= 1
			}
		}

		// That the key is encrypted right only its holder can tell.
		share[h.PrivateKey.End-1] ^= 1
		if got := r.checkMutable(client.MutableSpec{Cap: verifierOf(f), Verify: true}); len(got.Corrupt) != 0 {
			t.Errorf("%s, by the verify capability: %v", f, got.Corrupt)
		}
		if got := r.checkMutable(client.MutableSpec{Cap: mutableKey().Capability(f), Verify: true}); len(got.Corrupt) != 1 {
			t.Errorf("%s, by the write capability: %v", f, got.Corrupt)
		}
		share[h.PrivateKey.End-1] ^= 1

		r.peers[0].shares[verifierOf(f).StorageIndex()][0] = share[:len(share)-1]
		if got := r.checkMutable(client.MutableSpec{Cap: verifierOf(f), Verify: true}); len(got.Corrupt) != 1 {
			t.Errorf("%s, cut off: %v", f, got.Corrupt)
		}
	}
}

// A file that is written while it is verified is not taken for a damaged one.
func TestMutableVerifyWhileItIsWritten(t *testing.T) {
	r := ready(t, 4)
	f := mutable.MDMF
	_, shares := r.version(f, 1, content(2<<20))
	p, next := r.version(f, 2, content(2<<20-1))
	r.holdAll(f, shares)
	r.peers[2].instead = func(s *peerSession, m wire.Frame) bool {
		if read, ok := m.Message.(*wire.Read); ok && read.Ranges[0].Offset > 400_000 {
			r.holdAll(f, next)
		}
		return false
	}
	got := r.checkMutable(client.MutableSpec{Cap: verifierOf(f), Verify: true})
	if !got.Healthy() || got.Version != p.Name() {
		t.Errorf("%+v", got.Report)
	}
}

// Servers that come to no end do not hold a check up for ever, and are named.
func TestMutableCheckComesToAnEnd(t *testing.T) {
	answers := func(kind wire.Kind, answer func(*peerSession, wire.Frame)) func(*peerSession, wire.Frame) bool {
		return func(s *peerSession, f wire.Frame) bool {
			if f.Message.Kind() == kind {
				answer(s, f)
			}
			return f.Message.Kind() == kind
		}
	}
	for name, c := range map[string]struct {
		instead                 func(*peerSession, wire.Frame) bool
		silent, unread, corrupt int
	}{
		"says nothing":  {answers(wire.KindFind, func(*peerSession, wire.Frame) {}), 1, 0, 0},
		"reads nothing": {answers(wire.KindRead, func(*peerSession, wire.Frame) {}), 0, 1, 0},
		"closes":        {answers(wire.KindRead, func(s *peerSession, _ wire.Frame) { s.session.Close() }), 0, 1, 0},
		"lost it meanwhile": {answers(wire.KindRead, func(s *peerSession, f wire.Frame) {
			s.answer(f, wire.NewError(wire.NoSuchShare, "none"))
		}), 0, 1, 0},
		"answers oddly": {answers(wire.KindRead, func(s *peerSession, f wire.Frame) { s.answer(f, &wire.Done{}) }), 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 4)
			_, shares := r.version(mutable.MDMF, 1, content(400_000))
			r.holdAll(mutable.MDMF, shares)
			r.peers[0].instead = c.instead
			got := r.checkMutable(client.MutableSpec{Cap: verifierOf(mutable.MDMF), Verify: true})
			if len(got.Silent) != c.silent || len(got.Unread) != c.unread || len(got.Corrupt) != c.corrupt || got.Shares() != 3 {
				t.Errorf("silent %v, unread %v, corrupt %v, good %v", got.Silent, got.Unread, got.Corrupt, got.Good)
			}
		})
	}
}

// Leases are made on what counts, and stand in the journal.
func TestMutableCheckAddsLeases(t *testing.T) {
	r := ready(t, 4)
	f := mutable.SDMF
	_, shares := r.version(f, 1, content(1000))
	r.holdAll(f, shares)
	r.peers[1].instead = func(s *peerSession, m wire.Frame) bool {
		if m.Message.Kind() == wire.KindAddLease {
			s.answer(m, wire.NewError(wire.OverQuota, "enough"))
		}
		return m.Message.Kind() == wire.KindAddLease
	}
	spec := client.MutableSpec{Cap: verifierOf(f), AddLease: true}
	got := r.checkMutable(spec)
	if got.Leased != 3 || len(got.Unleased) != 1 || got.Unleased[0].Server != r.peers[1].id() || !got.Healthy() {
		t.Errorf("%+v", got)
	}
	if n := len(r.journalled(spec.Cap.StorageIndex())); n != 3 {
		t.Errorf("%d leases in the journal", n)
	}
	r.journal.err = errors.New("the disk is full")
	j := r.beginMutableCheck(spec)
	r.until("the end", time.Minute, func() bool { return j.err != nil })
	if !strings.Contains(j.err.Error(), "the disk is full") {
		t.Error(j.err)
	}
}

// A check that fails inside of the node says so, and one that is not wanted any
// more lets go: nothing of it is left.
func TestMutableCheckEnds(t *testing.T) {
	r := ready(t, 4)
	_, shares := r.version(mutable.SDMF, 1, content(1000))
	r.holdAll(mutable.SDMF, shares)
	spec := client.MutableSpec{Cap: verifierOf(mutable.SDMF)}
	inject := func(what func(m any) bool) {
		r.world.Inject = func(id string, m any) bool {
			if strings.Contains(id, "/mutable/") && what(m) {
				r.world.Inject = nil
				return true
			}
			return false
		}
	}
	inject(func(m any) bool { _, reply := m.(client.Reply); return reply })
	j := r.beginMutableCheck(spec)
	r.until("the end", time.Minute, func() bool { return j.err != nil })
	if !errors.Is(j.err, client.ErrInterrupted) {
		t.Error(j.err)
	}
	for range 3 {
		r.peers[0].instead = func(*peerSession, wire.Frame) bool { return true }
		given := r.beginMutableCheck(spec)
		r.pass(100 * time.Millisecond)
		r.send(client.Cancel{ReplyTo: given.replyTo})
		r.pass(time.Minute)
		if given.err != nil || given.result != nil {
			t.Errorf("given up, it answered %v", given.err)
		}
		r.peers[0].instead = nil
		r.pass(time.Minute)
		if got := r.checkMutable(spec); !got.Healthy() {
			t.Errorf("%+v", got.Report)
		}
	}
	left := 0
	r.world.Inject = func(id string, _ any) bool {
		if strings.Contains(id, "/mutable/") {
			left++
		}
		return false
	}
	r.pass(10 * time.Minute)
	if left > 0 {
		t.Errorf("%d messages to checks that have ended", left)
	}
}
