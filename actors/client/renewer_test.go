package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

const day = 24 * time.Hour

// journal puts n more leases into the journal, and gives them to the peer, whose
// list then is complete.
func (p *peer) journal(n int, label grid.PublicKey) []lease.ShareID {
	r := p.rig
	if p.leases == nil {
		p.leases = map[lease.ShareID]int64{}
	}
	now, before := r.world.Now(), len(p.leases)
	var ids []lease.ShareID
	for i := before; i < before+n; i++ {
		id := lease.ShareID{StorageIndex: grid.StorageIndex{0: byte(i >> 8), 1: byte(i), 15: byte(i)}, Num: 3}
		p.leases[id] = now.Add(lease.LeaseDuration).Unix()
		l := lease.JournalLease{Share: id, Label: label, Renewed: now.Unix(), Expires: p.leases[id]}
		r.must(r.journal.Journal.Add(lease.JournalFile{StorageIndex: id.StorageIndex}, []lease.PlacedLease{{Server: p.id(), JournalLease: l}}))
		ids = append(ids, id)
	}
	return ids
}

// held is the leases that the journal has at a peer.
func (r *rig) held(p *peer) []lease.JournalLease {
	r.Helper()
	leases, _, err := r.journal.LeasesAfter(p.id(), nil, 1<<20)
	r.must(err)
	return leases
}

func (r *rig) renewals() (all client.Renewals) {
	r.Helper()
	got := false
	r.send(client.AskRenewals{ReplyTo: r.inbox(func(m any) { all, got = m.(client.Renewals) })})
	r.until("renewals", time.Minute, func() bool { return got })
	return all
}

// renewalAt is what the last round at a peer came to.
func (r *rig) renewalAt(p *peer) client.Renewal {
	r.Helper()
	for _, n := range r.renewals() {
		if n.Server == p.id() {
			return n
		}
	}
	r.Fatalf("nothing is known of renewals at %s", p.name)
	return client.Renewal{}
}

// Over half a year no lease ever has less than a third of its time left, and
// each round asks for what is due and nothing else.
func TestRenewsLongBefore(t *testing.T) {
	r := newRig(t, 2)
	for _, p := range r.peers {
		p.journal(300, account(1).PublicKey(p.id()))
	}
	r.start()
	for range 6 * 30 {
		r.pass(day)
		for _, p := range r.peers {
			for id, end := range p.leases {
				if left := time.Unix(end, 0).Sub(r.world.Now()); left < lease.LeaseDuration/3 {
					t.Fatalf("%s at %s has %v left", id, p.name, left)
				}
			}
		}
	}
	for _, p := range r.peers {
		asked := 0
		for _, b := range p.batches {
			asked += len(b)
		}
		// Six months are some 11 half months, and up to an eighth more often.
		if asked < 11*300 || asked > 16*300 || len(p.batches) < 40 {
			t.Errorf("%s was asked for %d renewals in %d requests", p.name, asked, len(p.batches))
		}
	}
	if n := r.renewalAt(r.peers[0]); n.Held != 300 || n.Lapsed != 0 || n.Err != nil || r.world.Now().Sub(n.Ended) > 12*time.Hour {
		t.Errorf("the last round: %+v", n)
	}
	for _, p := range r.peers {
		first := r.held(p)[0].DueAt()
		for _, l := range r.held(p) {
			first = min(first, l.DueAt())
		}
		if n := r.renewalAt(p); n.Next != first || first <= r.world.Now().Unix()-int64(12*time.Hour/time.Second) {
			t.Errorf("%s: the next lease is due %v, and said to be %v", p.name, time.Unix(first, 0), time.Unix(n.Next, 0))
		}
	}
}

// A file that was just stored is renewed soon, which tells when its leases end.
func TestLearnsWhenLeasesEnd(t *testing.T) {
	r := ready(t, 2)
	j := r.put(content(1000), wide(2, 2))
	r.finish(j, time.Minute)
	r.pass(8 * time.Hour)
	for _, p := range r.peers {
		held := r.held(p)
		if len(held) != 1 || held[0].Expires == 0 || held[0].Lapsed != 0 || len(p.batches) != 1 {
			t.Errorf("%s: %+v after %d requests", p.name, held, len(p.batches))
		}
	}
}

// A hundred thousand leases go in a few requests, one after the other.
func TestRenewsInBatches(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.pass(time.Minute)
	const n = 2*wire.MaxShares + 7
	p.journal(n, account(1).PublicKey(p.id()))
	r.pass(20 * day)
	sizes := 0
	for _, b := range p.batches {
		sizes += len(b)
		if len(b) > wire.MaxShares || !slices.IsSortedFunc(b, lease.ShareID.Compare) {
			t.Errorf("a request for %d leases", len(b))
		}
	}
	if sizes != n {
		t.Errorf("%d leases were renewed in %d requests", sizes, len(p.batches))
	}
}

// What the server has no more is noted once, and not asked for again.
func TestLapsedIsNoted(t *testing.T) {
	r := newRig(t, 2)
	p := r.peers[0]
	ids := p.journal(10, account(1).PublicKey(p.id()))
	for _, id := range ids[:4] {
		delete(p.leases, id)
	}
	r.start()
	r.pass(20 * day)
	lapsed := 0
	for i, l := range r.held(p) {
		if (l.Lapsed != 0) != (i < 4) {
			t.Errorf("lease %d: %+v", i, l)
		}
		if l.Lapsed != 0 {
			lapsed++
		}
	}
	if n := r.renewalAt(p); n.Lapsed != 4 || n.Held != 6 || lapsed != 4 {
		t.Errorf("%d have lapsed; the last round: %+v", lapsed, n)
	}
	files, _, err := r.journal.LapsedAfter(nil, 100)
	if r.must(err); len(files) != 4 {
		t.Errorf("%d files have lapsed leases", len(files))
	}
	asked := map[lease.ShareID]int{}
	for _, b := range p.batches {
		for _, id := range b {
			asked[id]++
		}
	}
	for _, id := range ids[:4] {
		if asked[id] != 1 {
			t.Errorf("a lapsed lease was asked for %d times", asked[id])
		}
	}
}

// A server that was away when its leases were due is served when it comes back.
func TestRenewsWhenServerComesBack(t *testing.T) {
	r := newRig(t, 2)
	p := r.peers[0]
	p.journal(5, account(1).PublicKey(p.id()))
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.pass(time.Minute)
	r.net.Crash(p.name)
	r.pass(25 * day)
	if len(p.batches) != 0 {
		t.Fatal("a server that is away was asked")
	}
	p.listen()
	r.pass(30 * time.Minute)
	if len(p.batches) != 1 || len(p.batches[0]) != 5 {
		t.Errorf("asked in %d requests", len(p.batches))
	}
}

// A renewal that is refused, or never answered, is told and tried again.
func TestRenewalRefused(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.journal(5, account(1).PublicKey(p.id()))
	refuse := true
	p.instead = func(s *peerSession, f wire.Frame) bool {
		_, renew := f.Message.(*wire.RenewShares)
		if renew && refuse {
			s.answer(f, wire.NewError(wire.NotPermitted, "not for you"))
		}
		return renew && refuse
	}
	r.start()
	r.pass(20 * day)
	if n := r.renewalAt(p); n.Err == nil || n.Err.Error() != "not permitted: not for you" {
		t.Errorf("refused: %+v", n)
	}
	refuse = false
	r.pass(time.Hour)
	if n := r.renewalAt(p); n.Err != nil || len(p.batches) != 1 {
		t.Errorf("%d requests: %+v", len(p.batches), n)
	}
}

// Leases of an account that this node has no authority for are left alone, and
// told of.
func TestOthersLeasesAreLeftAlone(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.journal(5, account(2).PublicKey(p.id()))
	r.start()
	r.pass(20 * day)
	if n := r.renewalAt(p); n.Others != 5 || n.Held != 0 || n.Err != nil || len(p.batches) != 0 || len(p.sessions) != 1 {
		t.Errorf("%d requests over %d connections: %+v", len(p.batches), len(p.sessions), n)
	}
}

// Where the server's operator gave the account a new key, what the journal has
// under the old one is renewed again, and the server is not told what else the
// journal has there.
func TestLeasesOfAnOlderKeyAreAdopted(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	const n = 2*wire.MaxEnumerated + 100
	mine := map[lease.ShareID]bool{}
	for i, id := range p.journal(n, account(2).PublicKey(p.id())) {
		if i%5 == 0 {
			continue // is another account's
		}
		mine[id] = true
		p.column = append(p.column, lease.HeldLease{Share: id, Size: 1, Renewed: simStart(), Expires: p.leases[id]})
	}
	r.start()
	r.pass(20 * day)
	if got := r.renewalAt(p); got.Held != len(mine) || got.Others != n-len(mine) || got.Err != nil || got.Lapsed != 0 {
		t.Errorf("the last round: %+v", got)
	}
	if p.lists != 2 {
		t.Errorf("the server's list was read in %d parts", p.lists)
	}
	for _, batch := range p.batches {
		for _, id := range batch {
			if !mine[id] {
				t.Fatalf("the server was told of %v", id)
			}
		}
	}
	for _, l := range r.held(p) {
		if was := !mine[l.Share]; was != (l.Label == account(2).PublicKey(p.id())) || was != (l.Renewed == simStart()) {
			t.Fatalf("the journal says %+v", l)
		}
	}
}

// All that is adopted is renewed at once where somebody asks for that, and once.
func TestAdoptedLeasesAreRenewedAtOnce(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.journal(10, account(1).PublicKey(p.id()))
	for _, id := range p.journal(20, account(2).PublicKey(p.id())) {
		p.column = append(p.column, lease.HeldLease{Share: id, Renewed: simStart(), Expires: p.leases[id]})
	}
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.pass(time.Minute)
	var got client.Renewals
	r.send(client.RenewNow{ReplyTo: r.inbox(func(m any) { got, _ = m.(client.Renewals) })})
	r.until("the answer", time.Minute, func() bool { return got != nil })
	if n := got[0]; n.Held != 30 || n.Renewed != 30 || n.Others != 0 || n.Err != nil {
		t.Errorf("renewed %+v", n)
	}
}

// A list that is lost, refused, or no list at all ends no round for good, and
// nothing is adopted that is not listed.
func TestNonsenseInsteadOfAList(t *testing.T) {
	nonsense := map[string]func(s *peerSession, f wire.Frame){
		"refused":        func(s *peerSession, f wire.Frame) { s.answer(f, wire.NewError(wire.NotPermitted, "no")) },
		"another answer": func(s *peerSession, f wire.Frame) { s.answer(f, &wire.Done{}) },
		"half a lease":   func(s *peerSession, f wire.Frame) { s.answer(f, &wire.Enumerated{Count: 1}, []byte("half")) },
		"the same for ever": func(s *peerSession, f wire.Frame) {
			s.answer(f, &wire.Enumerated{Count: 1, More: true}, wire.AppendLease(nil, lease.HeldLease{}))
		},
		"without end": func(s *peerSession, f wire.Frame) {
			s.conv.Grant(1) // there are more of them than it takes from the beginning
			m := f.Message.(*wire.Enumerate)
			var next lease.ShareID
			if after, ok := m.Behind(); ok {
				next = after
			}
			for i := 7; i >= 0; i-- { // the next storage index
				if next.StorageIndex[i]++; next.StorageIndex[i] != 0 {
					break
				}
			}
			s.answer(f, &wire.Enumerated{Count: 1, More: true}, wire.AppendLease(nil, lease.HeldLease{Share: next}))
		},
		"gone": func(s *peerSession, _ wire.Frame) { s.session.Close() },
	}
	for name, answer := range nonsense {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			p := r.peers[0]
			p.journal(3, account(1).PublicKey(p.id()))
			p.journal(4, account(2).PublicKey(p.id()))
			asked := 0
			p.instead = func(s *peerSession, f wire.Frame) bool {
				_, list := f.Message.(*wire.Enumerate)
				if list {
					asked++
					answer(s, f)
				}
				return list
			}
			r.start()
			r.pass(20 * day)
			if n := r.renewalAt(p); n.Held != 3 || n.Others != 4 && name != "gone" {
				t.Errorf("the last round: %+v", n)
			}
			if asked == 0 || asked > 20*24*60/10 {
				t.Errorf("asked for the list %d times", asked)
			}
		})
	}
}

// open is how many connections a peer has.
func (p *peer) open() (n int) {
	for _, s := range p.sessions {
		if !s.over {
			n++
		}
	}
	return n
}

// Leases of several accounts at one server are renewed each in its name, over a
// connection that is there for nothing else.
func TestRenewsForEachAccount(t *testing.T) {
	r := newRig(t, 2)
	for _, n := range []byte{2, 3} {
		r.config.Authority.Holdings = append(r.config.Authority.Holdings, lease.Holding{Account: account(n)})
	}
	p := r.peers[0]
	for n := range byte(4) {
		p.journal(4, account(n+1).PublicKey(p.id()))
	}
	r.start()
	r.pass(17 * day)
	n := r.renewalAt(p)
	if n.Held != 12 || n.Others != 4 || n.Err != nil {
		t.Errorf("the last round: %+v", n)
	}
	if p.open() != 1 || len(p.sessions) > 1+2*4 {
		t.Errorf("%d of %d connections are open", p.open(), len(p.sessions))
	}
	for i, l := range r.held(p) {
		if owner := account(byte(i/4 + 1)).PublicKey(p.id()); l.Label != owner || (l.Renewed > simStart()) != (i < 12) {
			t.Errorf("lease %d: %+v", i, l)
		}
	}
}

func simStart() int64 { return sim.Start.Unix() }

// Where the other account is refused, or its connection is lost at any moment,
// the round goes on and the next one tries again.
func TestErrandsFail(t *testing.T) {
	for name, spoil := range map[string]func(*rig, *peer){
		"refused": func(_ *rig, p *peer) {
			p.accepts = func(n int) wire.Message {
				if n > 1 && n < 4 {
					return wire.NewError(wire.NotAccepted, "no such account")
				}
				return nil
			}
		},
		"lost": func(r *rig, p *peer) {
			lost := 0
			p.instead = func(s *peerSession, f wire.Frame) bool {
				_, renew := f.Message.(*wire.RenewShares)
				if renew && lost < 2 {
					lost++
					s.session.Close()
				}
				return renew && s.over
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.config.Authority.Holdings = append(r.config.Authority.Holdings, lease.Holding{Account: account(2)})
			p := r.peers[0]
			p.journal(5, account(2).PublicKey(p.id()))
			spoil(r, p)
			r.start()
			r.pass(18 * day)
			if n := r.renewalAt(p); n.Held != 5 || n.Others != 0 || p.open() != 1 {
				t.Errorf("%d connections are open; the last round: %+v", p.open(), n)
			}
		})
	}
}

// A renewer that fails at any moment of a round goes on where the journal says.
func TestRenewerFails(t *testing.T) {
	r := newRig(t, 2)
	for _, p := range r.peers {
		p.journal(50, account(1).PublicKey(p.id()))
	}
	r.start()
	moments := []string{"client.beginRound", "client.leasesRead", "client.Reply", "client.leasesNoted", "client.serverNews"}
	failures := 0
	r.world.Inject = func(id string, m any) bool {
		fails := id == "client/renewer" && fmt.Sprintf("%T", m) == moments[failures%len(moments)]
		if fails {
			failures++
			r.net.Drop("client", r.peers[0].name) // its news come again
		}
		return fails
	}
	for range 90 {
		r.pass(day)
		for _, p := range r.peers {
			for id, end := range p.leases {
				if time.Unix(end, 0).Before(r.world.Now()) {
					t.Fatalf("%s at %s has lapsed after %d failures", id, p.name, failures)
				}
			}
		}
	}
	if failures < 2*len(moments) {
		t.Errorf("only %d failures", failures)
	}
}

// A server that answers with nonsense harms nobody.
func TestNonsenseInsteadOfRenewal(t *testing.T) {
	for i, answer := range []wire.Message{&wire.SharesDone{Count: 1}, &wire.Done{}, &wire.SharesDone{}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := newRig(t, 1)
			p := r.peers[0]
			p.journal(5, account(1).PublicKey(p.id()))
			p.instead = func(s *peerSession, f wire.Frame) bool {
				_, renew := f.Message.(*wire.RenewShares)
				if renew {
					s.answer(f, answer, make([]byte, bodyOf(answer)))
				}
				return renew
			}
			r.start()
			r.pass(20 * day)
			if n := r.renewalAt(p); n.Err == nil || n.Renewed != 0 {
				t.Errorf("answered by %T: %+v", answer, n)
			}
		})
	}
}

func bodyOf(m wire.Message) int {
	if d, ok := m.(*wire.SharesDone); ok {
		return int(d.Count)
	}
	return 0
}

// Whoever asks has everything renewed at once, and waits until it is.
func TestRenewNow(t *testing.T) {
	r := newRig(t, 3)
	for _, p := range r.peers {
		p.journal(50, account(1).PublicKey(p.id()))
	}
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.pass(day)
	r.net.Crash(r.peers[2].name)
	r.pass(time.Minute)
	for range 2 { // two at a time, and while another one is under way
		var answers []client.Renewals
		for range 2 {
			r.send(client.RenewNow{ReplyTo: r.inbox(func(m any) { answers = append(answers, m.(client.Renewals)) })})
		}
		r.until("the answers", time.Minute, func() bool { return len(answers) == 2 })
		for _, n := range answers[1] {
			if away := n.Server == r.peers[2].id(); !away && n.Renewed != 50 {
				t.Errorf("renewed %+v", n)
			}
		}
	}
	for _, p := range r.peers[:2] {
		if len(p.batches) != 2 {
			t.Errorf("%s was asked in %d requests", p.name, len(p.batches))
		}
	}
	if len(r.peers[2].batches) != 0 {
		t.Error("a server that is away was asked")
	}
}

// Whoever waits is told when the renewer fails.
func TestRenewNowIsInterrupted(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.journal(5, account(1).PublicKey(p.id()))
	p.instead = func(_ *peerSession, f wire.Frame) bool { _, renew := f.Message.(*wire.RenewShares); return renew }
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.pass(time.Minute)
	var got any
	r.send(client.RenewNow{ReplyTo: r.inbox(func(m any) { got = m })})
	r.pass(time.Second)
	r.world.Inject = func(id string, _ any) bool { return id == "client/renewer" }
	r.send(client.AskRenewals{})
	r.until("an answer", time.Minute, func() bool { return got != nil })
	if err, ok := got.(error); !ok || !errors.Is(err, client.ErrInterrupted) {
		t.Errorf("answered by %v", got)
	}
}
