package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// helpedRig is a client that is logged in everywhere, and a helper.
func helpedRig(t *testing.T, servers int) (*rig, *helperPeer) {
	t.Helper()
	r := ready(t, servers)
	h := newHelperPeer(r)
	r.net.SetLatency("client", "helper", 10*time.Millisecond, 5*time.Millisecond)
	return r, h
}

// helpedFile has four segments, each of which goes to a helper as one part.
var helpedFile = content(4*128<<10 - 1000)

func (r *rig) putHelped(h *helperPeer, total, happy int, directly bool) *job {
	return r.putSpec(lease.Authority{}, helpedFile, client.PutSpec{
		Params: wide(total, happy), Helper: h.target(), OrDirectly: directly,
	})
}

// wantStoredHere holds that what the client says is stored is stored, by these many
// bytes that servers pulled from it, and that the leases there are its own.
func (r *rig) wantStoredHere(j *job, pulledShares int) {
	r.Helper()
	if j.err != nil {
		r.Fatalf("not stored: %v", j.err)
	}
	si := j.stored.Cap.StorageIndex
	for num, at := range j.stored.Placement {
		for _, id := range at {
			for _, p := range r.peers {
				if p.id() == id && uebOf(num, p.shares[si][num]) != j.stored.Cap.UEBHash {
					r.Errorf("share %d is said to be at %s", num, p.name)
				}
			}
		}
	}
	want, _ := r.encode(helpedFile, wide(4, 1))
	if total := len(j.stored.Placement); total == 4 && j.stored.Cap != want.Verifier() {
		r.Errorf("stored as %v", j.stored.Cap)
	}
	pulls := 0
	for _, p := range r.peers {
		pulls += len(p.pulls)
	}
	if pulls != pulledShares {
		r.Errorf("servers pulled %d shares from the client, want %d", pulls, pulledShares)
	}
	if leases := r.journalled(si); len(leases) != len(j.stored.Placement) {
		r.Errorf("%d leases in the journal", len(leases))
	}
}

// bound is how long a helper can keep a client that gets nowhere.
const bound = 12 * time.Minute

func TestHelpedUpload(t *testing.T) {
	r, h := helpedRig(t, 4)
	j := r.putHelped(h, 4, 3, false)
	r.finish(j, time.Minute)
	r.wantStoredHere(j, 0)
	if h.sessions != 1 || h.received != len(helpedFile) || j.stored.Pushed != 4 || j.stored.NotHelped != nil {
		t.Errorf("%d sessions, %d bytes, %+v", h.sessions, h.received, j.stored)
	}
	for _, p := range r.peers {
		if p.asked[wire.KindAddLease] != 1 {
			t.Errorf("%d leases were made at %s", p.asked[wire.KindAddLease], p.name)
		}
	}
}

// The job at the helper is the account's own: another one of the same file does
// not know it, and the same one does, later, with the same certificates.
func TestHelpedJobIsTheAccountsOwn(t *testing.T) {
	r, h := helpedRig(t, 2)
	for _, a := range []lease.Authority{{}, {}, holding(account(2))} {
		j := r.putSpec(a, helpedFile, client.PutSpec{Params: wide(2, 2), Helper: h.target()})
		r.finish(j, time.Minute)
		if j.err != nil {
			t.Fatal(j.err)
		}
		h.got = nil
	}
	one, again, other := h.asks[0], h.asks[1], h.asks[2]
	if one.Job != again.Job || string(one.Chains[0]) != string(again.Chains[0]) {
		t.Error("the same account has another job, or other certificates")
	}
	if one.Job == other.Job || one.StorageIndex != other.StorageIndex {
		t.Error("two accounts have one job")
	}
}

// Whatever a helper does, a client does not say that a file is stored that is
// not, and comes to an end.
func TestLyingHelpers(t *testing.T) {
	spoilt := func(ciphertext []byte) { ciphertext[len(ciphertext)/2] ^= 1 }
	for name, c := range map[string]struct {
		lie    func(r *rig, h *helperPeer)
		says   string // why it is not stored; empty if it is
		pulled int    // shares that the client had to store itself
	}{
		"stores nothing": {lie: func(_ *rig, h *helperPeer) { h.idle = true }, pulled: 4},
		"makes another file at first": {
			lie: func(_ *rig, h *helperPeer) {
				h.idle = true
				h.spoil = func(n int, ciphertext []byte) {
					if n == 1 {
						spoilt(ciphertext)
					} else {
						h.idle = false
					}
				}
			}},
		"makes another file": {
			lie:  func(_ *rig, h *helperPeer) { h.spoil = func(_ int, ciphertext []byte) { spoilt(ciphertext) } },
			says: "what it stored is not what it was sent, twice"},
		"says the right hash of other shares": {
			lie: func(_ *rig, h *helperPeer) {
				h.rightHash = true
				h.spoil = func(_ int, ciphertext []byte) { spoilt(ciphertext) }
			},
			pulled: 4},
		"says the right hash of other shares, everywhere": {
			lie: func(_ *rig, h *helperPeer) {
				h.rightHash, h.copies = true, 4
				h.spoil = func(_ int, ciphertext []byte) { spoilt(ciphertext) }
			},
			says: "the server holds other content under this storage index"},
		"has it at once": {
			lie: func(r *rig, h *helperPeer) {
				h.instead = onAsk(func(s *helperSession, f wire.Frame) {
					s.answer(f, &wire.Helped{State: wire.HelpDone, Have: s.ask().Size})
				})
			},
			says: "what it stored is not what it was sent, twice"},
	} {
		t.Run(name, func(t *testing.T) {
			r, h := helpedRig(t, 4)
			c.lie(r, h)
			j := r.putHelped(h, 4, 3, false)
			r.finish(j, bound)
			if c.says == "" {
				r.wantStoredHere(j, c.pulled)
			} else {
				r.wantHelperError(j, c.says)
			}
			for _, p := range r.peers {
				if (c.says != "" || c.pulled > 0) && p.asked[wire.KindAddLease] > 0 {
					t.Errorf("a lease was made at %s on what is not ours", p.name)
				}
			}
		})
	}
}

func (r *rig) wantHelperError(j *job, says string) {
	r.Helper()
	var few *placement.TooFewServers
	if j.err == nil || !strings.Contains(j.err.Error(), says) || !errors.Is(j.err, client.ErrHelper) && !errors.As(j.err, &few) {
		r.Errorf("ended by %v, stored %+v; want %q", j.err, j.stored, says)
	}
}

// onAsk does something in place of the answer to an AskHelp.
func onAsk(do func(*helperSession, wire.Frame)) func(*helperSession, wire.Frame) bool {
	return func(s *helperSession, f wire.Frame) bool {
		m, ok := f.Message.(*wire.AskHelp)
		if ok {
			s.asks = append(s.asks, m)
			do(s, f)
		}
		return ok
	}
}

// onPart does something in place of the answer to a part, from the n-th on.
func onPart(n int, do func(*helperSession, wire.Frame)) func(*helperSession, wire.Frame) bool {
	parts := 0
	return func(s *helperSession, f wire.Frame) bool {
		if _, ok := f.Message.(*wire.HelpData); !ok {
			return false
		}
		if parts++; parts < n {
			return false
		}
		s.received += f.BodySize()
		do(s, f)
		return true
	}
}

// hush says nothing any more.
func hush(*helperSession, wire.Frame) {}

// closes closes the connection.
func closes(s *helperSession, _ wire.Frame) { s.session.Close() }

// always is for every frame.
func always(do func(*helperSession, wire.Frame)) func(*helperSession, wire.Frame) bool {
	return func(s *helperSession, f wire.Frame) bool {
		do(s, f)
		return true
	}
}

// garbage is an answer to another question.
func garbage(s *helperSession, f wire.Frame) { s.answer(f, &wire.Found{}) }

func helped(state wire.HelpState, have, placed uint64) *wire.Helped {
	return &wire.Helped{State: state, Have: have, Placed: placed}
}

// beats says every ten seconds what next makes.
func (s *helperSession) beats(next func() wire.Message) {
	s.rig.world.After(10*time.Second, func() {
		s.say(next())
		s.beats(next)
	})
}

const segment = 128 << 10

// Helpers that come to no end, each at another stage.
var badHelpers = map[string]struct {
	do   func(h *helperPeer)
	says string
}{
	"silent":                {func(h *helperPeer) { h.instead = always(hush) }, "it did not go on within 2m0s"},
	"silent after hello":    {func(h *helperPeer) { h.instead = onAsk(hush) }, "it did not go on within 2m0s"},
	"silent after a part":   {func(h *helperPeer) { h.instead = onPart(2, hush) }, "it did not go on within 2m0s"},
	"silent when it has it": {func(h *helperPeer) { h.instead = onPart(4, hush) }, "it did not go on within 2m0s"},
	"places for ever": {func(h *helperPeer) {
		h.instead = onPart(4, func(s *helperSession, f wire.Frame) {
			size := s.ask().Size
			s.answer(f, helped(wire.HelpPlaces, size, 0))
			s.beats(func() wire.Message { return helped(wire.HelpPlaces, size, 0) })
		})
	}, "it did not go on within 5m0s"},
	"places a little for ever": {func(h *helperPeer) {
		h.instead = onPart(4, func(s *helperSession, f wire.Frame) {
			size, placed := s.ask().Size, uint64(0)
			s.answer(f, helped(wire.HelpPlaces, size, 0))
			s.beats(func() wire.Message { placed++; return helped(wire.HelpPlaces, size, placed) })
		})
	}, "it did not go on within 5m0s"},
	"places over and over": {func(h *helperPeer) {
		h.instead = onPart(4, func(s *helperSession, f wire.Frame) {
			size, placed := s.ask().Size, uint64(0)
			s.answer(f, helped(wire.HelpPlaces, size, 0))
			s.beats(func() wire.Message { placed += size / 2; return helped(wire.HelpPlaces, size, placed) })
		})
	}, "it did not go on within 5m0s"},
	"closes": {func(h *helperPeer) {
		h.greet = func(s *helperSession) { s.rig.world.After(time.Millisecond, s.session.Close) }
	}, "it did not go on within 2m0s"},
	"closes at hello":      {func(h *helperPeer) { h.instead = always(closes) }, "it did not go on within 2m0s"},
	"closes when asked":    {func(h *helperPeer) { h.instead = onAsk(closes) }, "it did not go on within 2m0s"},
	"closes at a part":     {func(h *helperPeer) { h.instead = onPart(1, closes) }, "it did not go on within 2m0s"},
	"closes at the end":    {func(h *helperPeer) { h.instead = onPart(4, closes) }, "it did not go on within 2m0s"},
	"forgets all of it":    {func(h *helperPeer) { h.instead = forgetsAt(4 * segment) }, "it forgets again and again"},
	"forgets each part":    {func(h *helperPeer) { h.instead = forgetsAt(segment) }, "it forgets again and again"},
	"is busy for ever":     {func(h *helperPeer) { h.instead = onAsk(refuse(wire.Busy)) }, "busy"},
	"is full":              {func(h *helperPeer) { h.instead = onAsk(refuse(wire.ServerFull)) }, "server full"},
	"refuses the file":     {func(h *helperPeer) { h.instead = onPart(2, refuse(wire.BadRequest)) }, "bad request"},
	"answers hello oddly":  {func(h *helperPeer) { h.instead = always(garbage) }, "does not belong to the question"},
	"answers oddly":        {func(h *helperPeer) { h.instead = onAsk(garbage) }, "does not belong to the question"},
	"answers a part oddly": {func(h *helperPeer) { h.instead = onPart(2, garbage) }, "does not belong to the question"},
	"has more":             {func(h *helperPeer) { h.instead = onAsk(says(wire.HelpPlaces, 1<<30)) }, "it has more than was asked for"},
	"places what it has not": {
		func(h *helperPeer) { h.instead = onAsk(says(wire.HelpPlaces, segment)) }, "nor place what it has not"},
	"wants what it has": {
		func(h *helperPeer) { h.instead = onAsk(says(wire.HelpWants, uint64(len(helpedFile)))) }, "it can't want what it has"},
	"has what it was not sent": {
		func(h *helperPeer) { h.instead = onPart(1, says(wire.HelpWants, 3*segment)) }, "it does not have what it was sent"},
	"lacks what it was sent": {
		func(h *helperPeer) { h.instead = onPart(2, says(wire.HelpWants, segment)) }, "it does not have what it was sent"},
	"answers what nobody asked": {
		func(h *helperPeer) {
			h.after = func(s *helperSession, f wire.Frame) {
				if _, ok := f.Message.(*wire.AskHelp); ok {
					for id := range uint64(100) {
						s.conv.Send(wire.Frame{ID: f.ID + 1 + id, Answer: true, Message: helped(wire.HelpWants, 0, 0)})
					}
				}
			}
		}, "it does not have what it was sent"},
	"answers another request": {
		func(h *helperPeer) {
			h.instead = onPart(1, func(s *helperSession, f wire.Frame) {
				f.ID++
				s.answer(f, helped(wire.HelpWants, segment, 0))
			})
		}, "the answer to another request"},
	"speaks first": {
		func(h *helperPeer) {
			h.instead = onAsk(func(s *helperSession, _ wire.Frame) { s.say(helped(wire.HelpWants, 0, 0)) })
		},
		"no answer to the first request"},
	"goes back": {
		func(h *helperPeer) {
			h.instead = onPart(4, func(s *helperSession, f wire.Frame) {
				s.answer(f, helped(wire.HelpPlaces, s.ask().Size, 0))
				s.say(helped(wire.HelpWants, 3*segment, 0))
			})
		}, "it does not have what it was sent"},
}

func refuse(code wire.Code) func(*helperSession, wire.Frame) {
	return func(s *helperSession, f wire.Frame) { s.answer(f, wire.NewError(code, "no, says the helper")) }
}

func says(state wire.HelpState, have uint64) func(*helperSession, wire.Frame) {
	return func(s *helperSession, f wire.Frame) { s.answer(f, helped(state, have, 0)) }
}

// forgetsAt loses what came when about so much is there, and closes.
func forgetsAt(have int) func(*helperSession, wire.Frame) bool {
	return func(s *helperSession, f wire.Frame) bool {
		m, ok := f.Message.(*wire.HelpData)
		if !ok {
			return false
		}
		if s.got == nil && m.Offset > 0 {
			return true // of the session that is being closed
		}
		s.received += f.BodySize()
		s.got = append(s.got, f.Bytes()...)
		if len(s.got) >= have-segment/2 {
			s.got = nil
			s.rig.world.After(20*time.Millisecond, s.session.Close) // after the answer
		}
		if have := m.Offset + uint64(f.BodySize()); have < s.ask().Size {
			s.answer(f, helped(wire.HelpWants, have, 0))
		}
		return true
	}
}

func TestBadHelpersComeToAnEnd(t *testing.T) {
	for name, bad := range badHelpers {
		t.Run(name, func(t *testing.T) {
			r, h := helpedRig(t, 3)
			bad.do(h)
			j := r.putHelped(h, 3, 2, false)
			r.finish(j, bound)
			r.wantHelperError(j, bad.says)
			if most := 6 * len(helpedFile); h.received > most {
				t.Errorf("%d bytes were sent for a file of %d", h.received, len(helpedFile))
			}
		})
	}
}

// Where it may, the client then stores the shares itself, and says so.
func TestBadHelpersAreDoneWithout(t *testing.T) {
	for name, bad := range badHelpers {
		t.Run(name, func(t *testing.T) {
			r, h := helpedRig(t, 3)
			bad.do(h)
			j := r.putHelped(h, 3, 2, true)
			r.finish(j, bound)
			r.wantStoredHere(j, 3)
			if got := j.stored.NotHelped; !errors.Is(got, client.ErrHelper) || !strings.Contains(got.Error(), bad.says) {
				t.Errorf("stored from here because %v", got)
			}
		})
	}
}

// A helper that can't be reached is told at once.
func TestUnreachableHelper(t *testing.T) {
	for _, directly := range []bool{false, true} {
		r, h := helpedRig(t, 3)
		r.must(h.listener.Close())
		j := r.putHelped(h, 3, 2, directly)
		r.finish(j, 10*time.Second)
		if directly {
			r.wantStoredHere(j, 3)
			continue
		}
		r.wantHelperError(j, "it can't be reached")
	}
}

// One that was lost in the middle is waited for, and goes on where it was.
func TestHelperComesBack(t *testing.T) {
	r, h := helpedRig(t, 3)
	h.after = func(s *helperSession, f wire.Frame) {
		if _, ok := f.Message.(*wire.HelpData); ok && h.sessions == 1 && len(h.got) >= 2*segment {
			r.must(h.listener.Close())
			r.world.After(90*time.Second, func() {
				l, err := r.net.Listen("helper", h.key, h.accept)
				r.must(err)
				h.listener = l
			})
			h.after = nil
		}
	}
	j := r.putHelped(h, 3, 2, false)
	r.finish(j, bound)
	r.wantStoredHere(j, 0)
	if h.received != len(helpedFile) {
		t.Errorf("%d bytes were sent", h.received)
	}
}
