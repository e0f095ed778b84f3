package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/transport/wire"
)

// standingAt is an offer that stands at a peer.
type standingAt struct {
	at *peerSession
	m  *wire.Allocate
}

// subcontracting is a rig whose client lets shares be passed on, of which the
// first server that is offered one keeps none; pass does what it does instead.
func subcontracting(t *testing.T, servers int, pass func(r *rig, offers map[wire.Secret]standingAt, s *peerSession, f wire.Frame, m *wire.Allocate)) (r *rig, passer func() *peer) {
	t.Helper()
	r = newRig(t, servers)
	r.config.Subcontract = true
	offers := map[wire.Secret]standingAt{}
	var first *peer
	for _, p := range r.peers {
		p.instead = func(s *peerSession, f wire.Frame) bool {
			m, ok := f.Message.(*wire.Allocate)
			switch {
			case ok && m.Standing:
				offers[m.Secret] = standingAt{s, m}
				s.answer(f, &wire.Done{})
				return true
			case ok && first == nil && len(m.Others) > 0:
				first = p
				pass(r, offers, s, f, m)
				return true
			}
			return false
		}
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	return r, func() *peer {
		if first == nil {
			t.Fatal("nobody was allowed to pass a share on")
		}
		return first
	}
}

// storeLarge stores a file whose shares are pulled.
func (r *rig) storeLarge() *job {
	r.Helper()
	data := content(500_000)
	j := r.put(data, wide(3, 3))
	r.finish(j, 30*time.Second) // nobody is waited for in vain
	r.wantStored(j, data, wide(3, 3))
	return j
}

// untilStanding waits for the offer of a secret: it comes over another
// connection.
func untilStanding(r *rig, offers map[wire.Secret]standingAt, m *wire.Allocate, then func(standingAt)) {
	secret := m.Others[0].Secret
	if one, ok := offers[secret]; ok {
		then(one)
		return
	}
	r.world.After(time.Millisecond, func() { untilStanding(r, offers, m, then) })
}

func TestShareIsPassedOn(t *testing.T) {
	for name, late := range map[string]time.Duration{"and pulled": 0, "and pulled long before the client knows": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var afterwards *peerPull
			r, passer := subcontracting(t, 6, func(r *rig, offers map[wire.Secret]standingAt, s *peerSession, f wire.Frame, m *wire.Allocate) {
				untilStanding(r, offers, m, func(one standingAt) {
					one.at.pull(one.m)
					r.world.After(late, func() {
						s.answer(f, &wire.PassedOn{Server: one.at.id()})
						r.world.After(time.Second, func() { afterwards = s.pull(m) })
					})
				})
			})
			j := r.storeLarge()
			r.pass(5 * time.Second)
			if !afterwards.over || len(afterwards.pulled[afterwards.m.Num]) > 0 || j.stored.Happiness != 3 || j.holds(passer()) {
				t.Errorf("what the server that passed on read: %+v; stored %+v", afterwards, j.stored)
			}
			for _, l := range r.journalled(j.stored.Cap.StorageIndex) {
				if l.Label != account(1).PublicKey(l.Server) {
					t.Errorf("the lease at %s is %v's", l.Server.Short(), l.Label)
				}
			}
		})
	}
}

// holds reports whether a share is said to be at a server.
func (j *job) holds(p *peer) bool {
	for _, servers := range j.stored.Placement {
		if slices.Contains(servers, p.id()) {
			return true
		}
	}
	return false
}

// The notice that the pull failed may be faster than the answer that the share
// was passed on.
func TestPassedOnAndLost(t *testing.T) {
	r, passer := subcontracting(t, 6, func(r *rig, offers map[wire.Secret]standingAt, s *peerSession, f wire.Frame, m *wire.Allocate) {
		untilStanding(r, offers, m, func(one standingAt) {
			one.at.conv.Send(wire.Frame{Message: &wire.Stored{StorageIndex: m.StorageIndex, Num: m.Num, Code: wire.ServerFull}})
			r.world.After(time.Second, func() { s.answer(f, &wire.PassedOn{Server: one.at.id()}) })
		})
	})
	if j := r.storeLarge(); j.holds(passer()) {
		t.Error("a share is said to be where it was not taken")
	}
}

// A server that keeps the share leaves nothing for those that stood by.
func TestNothingStandsWhereItIsKept(t *testing.T) {
	refused := false
	r, passer := subcontracting(t, 6, func(r *rig, offers map[wire.Secret]standingAt, s *peerSession, f wire.Frame, m *wire.Allocate) {
		untilStanding(r, offers, m, func(one standingAt) {
			s.allocate(f, m)
			r.world.After(time.Second, func() {
				p := one.at.pull(one.m)
				r.world.After(time.Second, func() { refused = p.over })
			})
		})
	})
	j := r.storeLarge()
	r.pass(5 * time.Second)
	if !j.holds(passer()) || !refused {
		t.Errorf("refused: %v", refused)
	}
}

// A server that names itself, as one that may not pass the share on, is one
// that refuses it.
func TestPassedAway(t *testing.T) {
	r, passer := subcontracting(t, 6, func(_ *rig, _ map[wire.Secret]standingAt, s *peerSession, f wire.Frame, _ *wire.Allocate) {
		s.answer(f, &wire.PassedOn{Server: s.id()})
	})
	if j := r.storeLarge(); j.holds(passer()) {
		t.Error("a share is said to be where it was not taken")
	}
}

// Without leave nobody is named, nor where every server gets a share of its
// own.
func TestNobodyIsNamed(t *testing.T) {
	for name, r := range map[string]*rig{"without leave": newRig(t, 6), "nobody left": newRig(t, 3)} {
		t.Run(name, func(t *testing.T) {
			r.config.Subcontract = len(r.peers) == 3
			for _, p := range r.peers {
				p.instead = func(s *peerSession, f wire.Frame) bool {
					if m, ok := f.Message.(*wire.Allocate); ok && (len(m.Others) > 0 || m.Standing) {
						t.Errorf("%s is offered %+v", s.name, m)
					}
					return false
				}
			}
			r.start()
			r.untilState(client.LoggedIn, 10*time.Second)
			r.storeLarge()
		})
	}
}
