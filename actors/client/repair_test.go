package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// repairing is a Repair under way.
type repairing struct {
	replyTo *actor.PID
	result  *client.Repaired
	err     error
}

func (r *rig) beginRepair(spec client.CheckSpec) *repairing {
	j := &repairing{}
	j.replyTo = r.inbox(func(m any) {
		switch m := m.(type) {
		case client.Repaired:
			j.result = &m
		case error:
			j.err = m
		}
	})
	r.send(client.Repair{ReplyTo: j.replyTo, CheckSpec: spec})
	return j
}

func (r *rig) repair(spec client.CheckSpec) client.Repaired {
	r.Helper()
	j := r.beginRepair(spec)
	r.until("the end of the repair", 30*time.Minute, func() bool { return j.result != nil || j.err != nil })
	if j.err != nil {
		r.Fatalf("not repaired: %v", j.err)
	}
	return *j.result
}

// repairedFile is in three segments and four shares, any two of which give it
// back.
var repairedFile = content(3<<20 - 5)

func (r *rig) fileToRepair() (file.CHK, [][]byte) {
	r.Helper()
	return r.encode(repairedFile, params(2, 4, 1<<20))
}

// put places shares by number, server by server.
func (r *rig) placed(c file.CHK, shares [][]byte, at ...[]grid.ShareNum) {
	for i, nums := range at {
		for _, n := range nums {
			(&peerSession{peer: r.peers[i]}).keep(c.StorageIndex(), n, bytes.Clone(shares[n]))
		}
	}
}

// wantWhole holds that every share which a server has is the file's, but those
// said to be damaged, and that so many distinct servers have distinct ones.
func (r *rig) wantWhole(c file.CHK, shares [][]byte, got client.Repaired, happiness int) {
	r.Helper()
	if !got.Attempted || got.Err != nil || got.After.Happiness() != happiness || len(got.After.Missing()) != 0 {
		r.Errorf("attempted %v, %v: %s, left out %v", got.Attempted, got.Err, got.After.Summary(), got.LeftOut)
	}
	bad := 0
	for _, p := range r.peers {
		for n, share := range p.shares[c.StorageIndex()] {
			if !bytes.Equal(share, shares[n]) {
				bad++
			}
		}
	}
	if bad != len(got.After.Corrupt) {
		r.Errorf("%d shares are not the file's, and %v is said", bad, got.After.Corrupt)
	}
	again := r.check(client.CheckSpec{Cap: c.Verifier(), Happy: happiness, Verify: true})
	if again.Happiness() != happiness || len(again.Missing()) != 0 {
		r.Errorf("found afterwards: %s", again.Summary())
	}
}

func (r *rig) leasesOf(c file.CHK) int {
	r.Helper()
	return len(r.journalled(c.StorageIndex()))
}

func TestRepairMakesWhatIsMissing(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{3}, nil, []grid.ShareNum{1})
	got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	r.wantWhole(c, shares, got, 4)
	if got.Pushed != 2 || got.Before.Shares() != 2 || r.leasesOf(c) != 4 || got.Labels[r.peers[1].id()] != account(1).PublicKey(r.peers[1].id()) {
		t.Errorf("pushed %d, %d shares before, %d leases", got.Pushed, got.Before.Shares(), r.leasesOf(c))
	}
}

func TestRepairOfOneSmallSegment(t *testing.T) {
	r := ready(t, 3)
	c, shares := r.encode(content(1000), params(1, 3, 1<<20))
	r.placed(c, shares, []grid.ShareNum{2})
	r.wantWhole(c, shares, r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 3}), 3)
}

func TestRepairSpreadsWhatIsPiledUp(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0, 1, 2, 3})
	before := r.check(client.CheckSpec{Cap: c.Verifier(), Happy: 3})
	if before.Healthy() || before.Happiness() != 1 {
		t.Errorf("before: %s", before.Summary())
	}
	r.wantWhole(c, shares, r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 3}), 4)
}

func TestRepairOfWhatIsHealthyDoesNothing(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{1}, []grid.ShareNum{2}, []grid.ShareNum{3})
	got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	if got.Attempted || !got.After.Healthy() || r.leasesOf(c) != 0 {
		t.Errorf("%+v", got)
	}
	for _, p := range r.peers {
		if p.asked[wire.KindAllocate]+p.asked[wire.KindAddLease] > 0 {
			t.Errorf("%s was asked %v", p.name, p.asked)
		}
	}
}

// A damaged share is replaced elsewhere, whether it is found by reading all of
// them or on the way.
func TestRepairReplacesDamagedShares(t *testing.T) {
	for _, verify := range []bool{true, false} {
		t.Run(fmt.Sprint("verify ", verify), func(t *testing.T) {
			r := ready(t, 4)
			c, shares := r.fileToRepair()
			r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{2}, []grid.ShareNum{3})
			share := r.peers[0].shares[c.StorageIndex()][0]
			share[len(share)/2] ^= 1
			claimsOf(r.peers[0], map[grid.ShareNum][32]byte{0: c.UEBHash, 1: c.UEBHash})
			for _, p := range r.peers[1:] { // so that the damaged one is preferred
				r.net.SetLatency("client", p.name, 100*time.Millisecond, 0)
			}
			got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4, Verify: verify})
			r.wantWhole(c, shares, got, 4)
			if len(got.Before.Corrupt) != 1 {
				t.Errorf("before: %v", got.Before.Corrupt)
			}
		})
	}
}

// Other content under the file's storage index is passed over, and does not keep
// a server from getting another share.
func TestRepairAmongOtherContent(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	_, others := r.encode(content(500), params(1, 4, 1<<20))
	r.placed(c, shares, []grid.ShareNum{0, 1})
	for _, p := range r.peers[1:] {
		(&peerSession{peer: p}).keep(c.StorageIndex(), 0, others[0])
	}
	got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	if got.Err != nil || got.After.Happiness() != 4 || len(got.After.Missing()) != 0 || len(got.After.Corrupt) != 3 {
		t.Errorf("%v: %s, %v", got.Err, got.After.Summary(), got.LeftOut)
	}
}

func TestRepairOfWhatIsLost(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{0})
	got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	var few *transfer.NotEnoughShares
	if !errors.As(got.Err, &few) || few.Found != 1 || few.Needed != 2 || got.After.Recoverable() || got.Pushed != 0 {
		t.Errorf("%+v", got)
	}
}

// Where there is too little room, as much is done as can be, and the rest is
// told.
func TestRepairAsFarAsItGoes(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0, 1, 2})
	for _, p := range r.peers[2:] {
		p.instead = func(s *peerSession, f wire.Frame) bool {
			if f.Message.Kind() == wire.KindAllocate {
				s.answer(f, wire.NewError(wire.ServerFull, "no room for it"))
			}
			return f.Message.Kind() == wire.KindAllocate
		}
	}
	got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	if got.Err != nil || got.After.Happiness() != 2 || len(got.After.Missing()) != 0 || got.After.Healthy() {
		t.Errorf("%v: %s", got.Err, got.After.Summary())
	}
	if len(got.LeftOut) != 2 || !strings.Contains(got.LeftOut[0].Err.Error(), "no room for it") {
		t.Errorf("left out: %v", got.LeftOut)
	}
}

// Servers that accept no key of ours are read from, and what they have counts;
// they get nothing and are asked for no lease.
func TestRepairCountsWhatIsOnlyRead(t *testing.T) {
	r := newRig(t, 4)
	for _, p := range r.peers[:2] {
		p.accepts = func(int) wire.Message { return wire.NewError(wire.NotPermitted, "no account") }
		p.instead = func(s *peerSession, f wire.Frame) bool {
			_, ask := f.Message.(*wire.LoginWithoutKey)
			if ask {
				s.answer(f, wire.NewError(wire.NotPermitted, "no account"))
			}
			return ask
		}
	}
	r.start()
	r.pass(10 * time.Second)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{1})
	got := r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	r.wantWhole(c, shares, got, 4)
	if got.Pushed != 2 || r.leasesOf(c) != 2 || r.peers[0].asked[wire.KindAddLease]+r.peers[1].asked[wire.KindAllocate] != 0 {
		t.Errorf("pushed %d, %d leases, asked %v", got.Pushed, r.leasesOf(c), r.peers[0].asked)
	}
}

// An old URI extension block is kept as it is, so that the shares remain the
// file's.
func TestRepairKeepsTheBlock(t *testing.T) {
	r := ready(t, 3)
	data := content(100_000)
	l, err := immutable.NewLayout(int64(len(data)), params(1, 3, 30_000))
	r.must(err)
	e, err := immutable.NewEncoder(l, fileKey)
	r.must(err)
	v, shares := r.encodeWith(e, data)
	ueb := append(bytes.Clone(shares[0][l.UEB+4:]), "x_old:3:abc,"...)
	for n := range shares {
		shares[n] = append(append(shares[n][:l.UEB], 0, 0, byte(len(ueb)>>8), byte(len(ueb))), ueb...)
	}
	v.UEBHash = immutable.HashUEB(ueb)
	c := v.WithKey(fileKey)
	r.placed(c, shares, []grid.ShareNum{1})
	r.wantWhole(c, shares, r.repair(client.CheckSpec{Cap: v, Happy: 3}), 3)
}

// A server that is lost while it gets a share is replaced.
func TestRepairGoesOnElsewhere(t *testing.T) {
	r := ready(t, 5)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{1})
	lost := 0
	for _, p := range r.peers[2:] {
		p.stop = 1 << 20
		p.instead = func(s *peerSession, f wire.Frame) bool {
			if _, ok := f.Message.(*wire.Allocate); ok && lost == 0 {
				lost++
				s.rig.world.After(100*time.Millisecond, func() { s.session.Close(); s.rig.must(s.listener.Close()) })
			} else if ok {
				s.stop = 0
			}
			return false
		}
	}
	r.wantWhole(c, shares, r.repair(client.CheckSpec{Cap: c.Verifier(), Happy: 4}), 4)
}

// What is not wanted any more is taken back, and a failure inside is told.
func TestRepairEndsInTheMiddle(t *testing.T) {
	begin := func(t *testing.T) (*rig, *repairing) {
		r := ready(t, 4)
		c, shares := r.fileToRepair()
		r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{1})
		for _, p := range r.peers[2:] {
			p.stop = 1 << 18
		}
		j := r.beginRepair(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
		r.until("pulls", time.Minute, func() bool { return len(r.peers[2].pulls)+len(r.peers[3].pulls) == 2 })
		return r, j
	}
	over := func(r *rig) {
		r.Helper()
		r.until("withdrawn offers", time.Minute, func() bool { return r.peers[2].pulls[0].over && r.peers[3].pulls[0].over })
	}
	t.Run("cancelled", func(t *testing.T) {
		r, j := begin(t)
		r.send(client.Cancel{ReplyTo: j.replyTo})
		over(r)
		if j.result != nil || j.err != nil {
			t.Errorf("it answered: %v, %v", j.result, j.err)
		}
	})
	for _, child := range []string{"/download", "/upload/1", "/repair/"} {
		t.Run("failure of "+child, func(t *testing.T) {
			r, j := begin(t)
			r.world.Inject = func(id string, _ any) bool {
				if strings.Contains(id, "/repair/") && strings.Contains(id, child) {
					r.world.Inject = nil
					return true
				}
				return false
			}
			r.until("the end", 10*time.Minute, func() bool { return j.result != nil || j.err != nil })
			if j.err == nil && j.result.Err == nil && len(j.result.LeftOut) == 0 { // those that stop pulling
				t.Errorf("ended by nothing: %s", j.result.After.Summary())
			}
			over(r)
		})
	}
}

// Under an authority that came with the request the leases are its own.
func TestRepairUnderAnAuthority(t *testing.T) {
	r := ready(t, 4)
	c, shares := r.fileToRepair()
	r.placed(c, shares, []grid.ShareNum{0}, []grid.ShareNum{1})
	j := &repairing{}
	to := r.inbox(func(m any) {
		if m, ok := m.(client.Repaired); ok {
			j.result = &m
		}
	})
	r.send(client.Repair{ReplyTo: to, CheckSpec: client.CheckSpec{Cap: c.Verifier(), Happy: 4}, Authority: holding(account(2))})
	r.until("the end", 10*time.Minute, func() bool { return j.result != nil })
	r.wantWhole(c, shares, *j.result, 4)
	if len(j.result.Labels) != 4 {
		t.Errorf("labels %v", j.result.Labels)
	}
}
