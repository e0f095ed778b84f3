package client_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// checking is a Check under way.
type checking struct {
	replyTo  *actor.PID
	result   *client.Checked
	err      error
	progress []client.Progress
}

func (r *rig) beginCheck(spec client.CheckSpec) *checking {
	c := &checking{}
	c.replyTo = r.inbox(c.take)
	r.send(client.Check{ReplyTo: c.replyTo, CheckSpec: spec})
	return c
}

// take is for what comes of it.
func (c *checking) take(m any) {
	switch m := m.(type) {
	case client.Progress:
		c.progress = append(c.progress, m)
	case client.Checked:
		c.result = &m
	case error:
		c.err = m
	}
}

func (r *rig) check(spec client.CheckSpec) client.Checked {
	r.Helper()
	c := r.beginCheck(spec)
	r.until("the end of the check", 20*time.Minute, func() bool { return c.result != nil || c.err != nil })
	if c.err != nil {
		r.Fatalf("not checked: %v", c.err)
	}
	return *c.result
}

// verify reads all of a file of three segments, of which 3 of 4 shares are
// needed on as many servers.
func (r *rig) verify(c file.CHK) client.Checked {
	r.Helper()
	return r.check(client.CheckSpec{Cap: c.Verifier(), Happy: 4, Verify: true})
}

func (r *rig) checkedFile() file.CHK {
	r.Helper()
	return r.storedAt(content(3<<20), params(3, 4, 1<<20))
}

func numsOf(copies []health.Copy) (nums []int) {
	for _, c := range copies {
		nums = append(nums, int(c.Num))
	}
	slices.Sort(nums)
	return nums
}

func TestCheckBelievesServers(t *testing.T) {
	r := ready(t, 5)
	c := r.checkedFile()
	got := r.check(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	if !got.Healthy() || got.Happiness() != 4 || len(got.Responding) != 5 || len(got.Silent) != 0 || got.Verified {
		t.Errorf("%+v", got.Report)
	}
	for _, p := range r.peers {
		if p.readsOf() != 0 || p.asked[wire.KindFind] == 0 {
			t.Errorf("%s was asked %v", p.name, p.asked)
		}
	}
	if got.Names[r.peers[0].id()] != "server1" {
		t.Errorf("names: %v", got.Names)
	}
}

func TestVerifyReadsAll(t *testing.T) {
	r := ready(t, 4)
	c := r.checkedFile()
	j := r.beginCheck(client.CheckSpec{Cap: c.Verifier(), Happy: 4, Verify: true})
	r.until("the end", time.Minute, func() bool { return j.result != nil })
	total := int64(0)
	for i, p := range r.peers {
		total += int64(len(p.shares[c.StorageIndex()][grid.ShareNum(i)]))
	}
	last := j.progress[len(j.progress)-1]
	if !j.result.Healthy() || !j.result.Verified || last.Done != total || last.Total != total {
		t.Errorf("%+v, read %+v of %d bytes", j.result.Report, last, total)
	}
}

// Whatever is wrong with a share, a verifier names it and the others count.
func TestVerifyFindsWhatIsWrong(t *testing.T) {
	for name, spoil := range map[string]func(p *peer, si grid.StorageIndex){
		"first byte": func(p *peer, si grid.StorageIndex) { p.shares[si][0][0] ^= 1 },
		"a block":    func(p *peer, si grid.StorageIndex) { p.shares[si][0][500000] ^= 1 },
		"a hash":     func(p *peer, si grid.StorageIndex) { s := p.shares[si][0]; s[len(s)-700] ^= 1 },
		"last byte":  func(p *peer, si grid.StorageIndex) { s := p.shares[si][0]; s[len(s)-1] ^= 1 },
		"cut off":    func(p *peer, si grid.StorageIndex) { s := p.shares[si][0]; p.shares[si][0] = s[:len(s)-100] },
		"too long":   func(p *peer, si grid.StorageIndex) { p.shares[si][0] = append(p.shares[si][0], 0) },
		"endless": func(p *peer, si grid.StorageIndex) {
			p.shares[si][0] = append(p.shares[si][0], make([]byte, 8<<20)...)
		},
		"another share": func(p *peer, si grid.StorageIndex) { p.shares[si][0] = p.rig.peers[1].shares[si][1] },
		"empty":         func(p *peer, si grid.StorageIndex) { p.shares[si][0] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 4)
			c := r.checkedFile()
			honest := uebOf(0, r.peers[0].shares[c.StorageIndex()][0])
			r.peers[0].shares[c.StorageIndex()][0] = bytes.Clone(r.peers[0].shares[c.StorageIndex()][0])
			spoil(r.peers[0], c.StorageIndex())
			claimsOf(r.peers[0], map[grid.ShareNum][32]byte{0: honest})
			got := r.verify(c)
			if len(got.Corrupt) != 1 || got.Corrupt[0].Server != r.peers[0].id() || got.Corrupt[0].Num != 0 || !errors.Is(got.Corrupt[0].Err, immutable.ErrShare) {
				t.Fatalf("corrupt: %v", got.Corrupt)
			}
			if !slices.Equal(numsOf(got.Good), []int{1, 2, 3}) || got.Healthy() || !got.Recoverable() {
				t.Errorf("%+v", got.Report)
			}
			if r.peers[0].readsOf() > 8 {
				t.Errorf("it was read %d times", r.peers[0].readsOf())
			}
		})
	}
}

// claimsOf has a peer say what its shares are.
func claimsOf(p *peer, uebs map[grid.ShareNum][32]byte) {
	p.instead = func(s *peerSession, f wire.Frame) bool {
		m, ok := f.Message.(*wire.Find)
		if !ok || len(s.shares[m.StorageIndex]) == 0 {
			return false
		}
		found := &wire.Found{Room: 1 << 40}
		for _, n := range slices.Sorted(maps.Keys(s.shares[m.StorageIndex])) {
			size := uint64(len(s.shares[m.StorageIndex][n]))
			found.Shares = append(found.Shares, wire.FoundShare{Num: n, Size: size, UEBHash: uebs[n]})
		}
		s.answer(f, found)
		return true
	}
}

// A share of another content is told without reading it.
func TestCheckSeesOtherContent(t *testing.T) {
	r := ready(t, 4)
	c := r.checkedFile()
	_, others := r.encode(content(3<<20+1), params(3, 4, 1<<20))
	(&peerSession{peer: r.peers[2]}).keep(c.StorageIndex(), 2, others[2])
	got := r.check(client.CheckSpec{Cap: c.Verifier(), Happy: 4})
	if len(got.Corrupt) != 1 || !errors.Is(got.Corrupt[0].Err, transfer.ErrOtherFile) || got.Shares() != 3 {
		t.Errorf("%+v", got.Report)
	}
}

// Servers that come to no end do not hold a check up for ever, and are named.
func TestCheckComesToAnEnd(t *testing.T) {
	quiet := func(kind wire.Kind) func(*peerSession, wire.Frame) bool {
		return func(s *peerSession, f wire.Frame) bool { return f.Message.Kind() == kind && s.readsOf() != 1 }
	}
	for name, c := range map[string]struct {
		do             func(r *rig, p *peer)
		silent, unread int
		corrupt        int
	}{
		"says nothing": {do: func(_ *rig, p *peer) { p.instead = quiet(wire.KindFind) }, silent: 1},
		"reads nothing": {do: func(_ *rig, p *peer) {
			p.instead = func(_ *peerSession, f wire.Frame) bool { return f.Message.Kind() == wire.KindRead }
		}, unread: 1},
		"stops reading": {do: func(_ *rig, p *peer) { p.instead = quiet(wire.KindRead) }, unread: 1},
		"closes": {do: func(_ *rig, p *peer) {
			p.instead = func(s *peerSession, f wire.Frame) bool {
				if f.Message.Kind() == wire.KindRead {
					s.session.Close()
				}
				return f.Message.Kind() == wire.KindRead
			}
		}, unread: 1},
		"lost it meanwhile": {do: func(_ *rig, p *peer) {
			p.instead = func(s *peerSession, f wire.Frame) bool {
				if f.Message.Kind() == wire.KindRead {
					s.answer(f, wire.NewError(wire.NoSuchShare, "none"))
				}
				return f.Message.Kind() == wire.KindRead
			}
		}, unread: 1},
		"answers oddly": {do: func(_ *rig, p *peer) {
			p.instead = func(s *peerSession, f wire.Frame) bool {
				if f.Message.Kind() == wire.KindRead {
					s.answer(f, &wire.Data{Lengths: []uint64{1, 1}}, []byte("ab"))
				}
				return f.Message.Kind() == wire.KindRead
			}
		}, corrupt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 4)
			f := r.checkedFile()
			c.do(r, r.peers[0])
			got := r.verify(f)
			if len(got.Silent) != c.silent || len(got.Unread) != c.unread || len(got.Corrupt) != c.corrupt || got.Shares() != 3 {
				t.Errorf("silent %v, unread %v, corrupt %v, good %v", got.Silent, got.Unread, got.Corrupt, got.Good)
			}
		})
	}
}

// Leases are made on what is good, and stand in the journal.
func TestCheckAddsLeases(t *testing.T) {
	r := ready(t, 4)
	c := r.checkedFile()
	r.peers[1].instead = func(s *peerSession, f wire.Frame) bool {
		if f.Message.Kind() == wire.KindAddLease {
			s.answer(f, wire.NewError(wire.OverQuota, "enough"))
		}
		return f.Message.Kind() == wire.KindAddLease
	}
	got := r.check(client.CheckSpec{Cap: c.Verifier(), Happy: 4, AddLease: true})
	if got.Leased != 3 || len(got.Unleased) != 1 || got.Unleased[0].Server != r.peers[1].id() || !got.Healthy() {
		t.Errorf("%+v", got)
	}
	if n := len(r.journalled(c.StorageIndex())); n != 3 {
		t.Errorf("%d leases in the journal", n)
	}
	r.journal.err = errors.New("the disk is full")
	j := r.beginCheck(client.CheckSpec{Cap: c.Verifier(), AddLease: true})
	r.until("the end", time.Minute, func() bool { return j.err != nil })
	if !strings.Contains(j.err.Error(), "the disk is full") {
		t.Error(j.err)
	}
}

// A check that fails inside of the node says so, and one that is not wanted any
// more lets go.
func TestCheckIsInterrupted(t *testing.T) {
	r := ready(t, 3)
	c := r.checkedFile()
	r.world.Inject = func(id string, m any) bool {
		_, reply := m.(client.Reply)
		if reply && strings.Contains(id, "/check/") {
			r.world.Inject = nil
			return true
		}
		return false
	}
	j := r.beginCheck(client.CheckSpec{Cap: c.Verifier()})
	r.until("the end", time.Minute, func() bool { return j.err != nil })
	if !errors.Is(j.err, client.ErrInterrupted) {
		t.Error(j.err)
	}
}
