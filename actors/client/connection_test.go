package client_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// wantIdentities fails unless every connection had an identity of its own.
func (r *rig) wantIdentities() {
	r.Helper()
	seen := map[grid.PublicKey]string{}
	for _, p := range r.peers {
		for _, s := range p.sessions {
			if other, ok := seen[s.session.Remote()]; ok {
				r.Fatalf("%s and %s saw the same identity", other, p.name)
			}
			seen[s.session.Remote()] = p.name
		}
	}
}

func TestLogsInEverywhereFromTheCache(t *testing.T) {
	r := newRig(t, 3)
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	r.wantIdentities()
	s := r.status(false)
	if in := s.Introducers[0]; in.Connected || in.Err == nil {
		t.Errorf("nobody is there and the introducer is %+v", in)
	}
	for _, p := range r.peers {
		if p.asked[wire.KindLogin] != 1 || p.asked[wire.KindResume] != 0 {
			t.Errorf("%s saw %v", p.name, p.asked)
		}
	}
}

func TestResumesWithTheReference(t *testing.T) {
	r := newRig(t, 2)
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	r.net.Drop("client", r.peers[0].name)
	r.until("another session", time.Minute, func() bool { return len(r.peers[0].sessions) == 2 })
	r.untilState(client.LoggedIn, 10*time.Second)
	if p := r.peers[0]; p.asked[wire.KindLogin] != 1 || p.asked[wire.KindResume] != 1 {
		t.Errorf("saw %v", p.asked)
	}
	if p := r.peers[1]; len(p.sessions) != 1 {
		t.Errorf("a connection that failed harmed another")
	}
	r.wantIdentities()
}

func TestReferenceThatIsRefusedCostsOneLogin(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	_ = r.refs.Save(p.id(), lease.Credential{Key: account(1).Key(p.id())}.ID(), []byte("old"))
	p.instead = func(s *peerSession, f wire.Frame) bool {
		_, resume := f.Message.(*wire.Resume)
		if resume {
			s.answer(f, wire.NewError(wire.AuthorityExpired, "expired"))
		}
		return resume
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	if len(p.sessions) != 1 || p.asked[wire.KindLogin] != 1 || p.asked[wire.KindResume] != 1 {
		t.Errorf("%d sessions saw %v", len(p.sessions), p.asked)
	}
}

func TestNextCredentialOverANewConnection(t *testing.T) {
	r := newRig(t, 1)
	r.config.Authority.Holdings = append(r.config.Authority.Holdings, lease.Holding{Account: account(2)})
	p := r.peers[0]
	p.accepts = func(n int) wire.Message {
		if n == 1 {
			return wire.NewError(wire.NotAccepted, "no root")
		}
		return nil
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	if len(p.sessions) != 2 || !p.sessions[0].over {
		t.Errorf("%d sessions", len(p.sessions))
	}
	if got := r.status(false).Servers[0].Account; got != account(2).PublicKey(p.id()) {
		t.Errorf("logged in as %v", got)
	}
	r.wantIdentities()
}

func TestReadsOnlyUntilThereIsMoreAuthority(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.accepts = func(n int) wire.Message {
		if n <= 2 {
			return wire.NewError(wire.NotAccepted, "no root")
		}
		return nil
	}
	r.start()
	r.untilState(client.Connected, 10*time.Second)
	if err := r.status(false).Servers[0].Err; err == nil || !strings.Contains(err.Error(), "no root") {
		t.Errorf("the status says %v", err)
	}
	// The old key is refused again, then the new one is shown.
	r.send(client.AddAuthority{ReplyTo: r.inbox(func(any) {}), Authority: lease.Authority{Holdings: []lease.Holding{{Account: account(2)}}}})
	r.untilState(client.LoggedIn, 10*time.Second)
	r.wantIdentities()
}

// A key that is shown under two chains has a reference for each: one taken back
// is not used through the cache.
func TestRemovedAuthorityIsUsedNoMore(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	id := p.id()
	card, err := lease.Chain{}.Sign(account(9).Key(id), lease.Certificate{
		Delegate: account(1).PublicKey(id), Restrictions: lease.Restrictions{Server: &id},
	})
	r.must(err)
	given := lease.Authority{Holdings: []lease.Holding{{Chain: card, Account: account(1)}}}
	r.config.Authority = given.Join(r.config.Authority)
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	p.instead = func(s *peerSession, f wire.Frame) bool {
		if m, ok := f.Message.(*wire.Login); ok && len(m.Chain) != 1 {
			t.Error("the chain was shown again")
		}
		return false
	}
	r.send(client.RemoveAuthority{ReplyTo: r.inbox(func(any) {}), Authority: given})
	r.until("another login", time.Minute, func() bool { return p.asked[wire.KindLogin] == 2 })
	r.untilState(client.LoggedIn, 10*time.Second)
	if p.asked[wire.KindResume] != 0 || len(p.sessions) != 2 || !p.sessions[0].over {
		t.Errorf("%d sessions saw %v", len(p.sessions), p.asked)
	}
	r.wantIdentities()
}

// TestStoresWithoutAKeyWhereItMay: a key of one's own is preferred as soon as
// there is one that the server accepts.
func TestStoresWithoutAKeyWhereItMay(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	open := true
	p.accepts = func(n int) wire.Message {
		if n <= 3 {
			return wire.NewError(wire.NotAccepted, "no root")
		}
		return nil
	}
	p.instead = func(s *peerSession, f wire.Frame) bool {
		_, is := f.Message.(*wire.LoginWithoutKey)
		if is && open {
			s.answer(f, &wire.LoggedIn{Expires: r.world.Now().Add(time.Hour).Unix()})
		}
		return is && open
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	if s := r.status(false).Servers[0]; !s.Account.IsZero() || s.Err != nil {
		t.Errorf("logged in as %v (%v)", s.Account, s.Err)
	}
	r.until("its room", time.Minute, func() bool { return r.status(false).Servers[0].Room > 0 })
	open = false // the operator now wants accounts, and has added none of ours
	r.untilState(client.Connected, time.Hour)
	r.send(client.AddAuthority{ReplyTo: r.inbox(func(any) {}), Authority: lease.Authority{Holdings: []lease.Holding{{Account: account(2)}}}})
	r.untilState(client.LoggedIn, 10*time.Second)
	if s := r.status(false).Servers[0]; s.Account.IsZero() {
		t.Error("no key is used")
	}
	r.wantIdentities()
}

func TestBackoffDoublesUpToItsBound(t *testing.T) {
	r := newRig(t, 1)
	r.must(r.peers[0].listener.Close())
	r.start()
	var at []time.Time // of failures
	for len(at) < 12 {
		r.pass(250 * time.Millisecond)
		if s := r.status(false).Servers; len(s) == 1 && s[0].State == client.Backoff && (len(at) == 0 || s[0].Since.After(at[len(at)-1])) {
			at = append(at, s[0].Since)
		}
	}
	for i := 1; i < len(at); i++ {
		pause, want := at[i].Sub(at[i-1]), min(time.Second<<(i-1), 5*time.Minute)
		if pause < want*3/4 || pause > want*5/4+time.Second {
			t.Errorf("pause %d was %v, not about %v", i, pause, want)
		}
	}
}

func TestHelloThatNeverComes(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.instead = func(*peerSession, wire.Frame) bool { return len(p.sessions) == 1 }
	r.start()
	r.until("a second try", time.Minute, func() bool { return len(p.sessions) == 2 })
	if !p.sessions[0].over {
		t.Error("the silent connection is still open")
	}
	r.untilState(client.LoggedIn, 10*time.Second)
}

func TestNoticesAndAnswersThatMakeNoSense(t *testing.T) {
	for name, m := range map[string]wire.Frame{
		"a request":    {ID: 9, Message: &wire.Usage{}},
		"a notice":     {Message: &wire.Done{}},
		"hello as one": {ID: 1, Answer: true, Message: &wire.Done{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			p := r.peers[0]
			p.instead = func(s *peerSession, _ wire.Frame) bool {
				if len(p.sessions) == 1 {
					s.conv.Send(m)
				}
				return len(p.sessions) == 1
			}
			r.start()
			r.until("a second try", 5*time.Second, func() bool { return len(p.sessions) == 2 })
			r.untilState(client.LoggedIn, 10*time.Second)
		})
	}
}

func TestRenewsWithoutANewConnection(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.expires = time.Hour
	p.accepts = func(n int) wire.Message {
		if n == 2 {
			return wire.NewError(wire.Busy, "later")
		}
		return nil
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	r.pass(49 * time.Minute)
	if p.logins != 1 {
		t.Fatalf("%d logins long before the end", p.logins)
	}
	r.pass(3 * time.Minute)
	if p.logins != 3 || len(p.sessions) != 1 {
		t.Errorf("%d logins over %d connections", p.logins, len(p.sessions))
	}
}

// A login that was good and is no longer is told to the owner of the node, once
// for each time; a server that accepts it never is not new.
func TestRefusedRenewalIsTold(t *testing.T) {
	var log bytes.Buffer
	r := newLoggingRig(t, 2, slog.New(slog.NewTextHandler(&log, nil)))
	p := r.peers[0]
	p.expires = time.Hour
	refusal := wire.NewError(wire.AuthorityRevoked, "the account was removed")
	p.accepts = func(n int) wire.Message {
		if n > 1 {
			return refusal
		}
		return nil
	}
	p.instead = func(s *peerSession, f wire.Frame) bool {
		switch f.Message.(type) {
		case *wire.Resume, *wire.LoginWithoutKey:
			s.answer(f, refusal)
			return true
		}
		return false
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	r.pass(45 * time.Minute)
	const warning = `level=WARN msg="the server accepts this node's authority no longer"`
	if strings.Contains(log.String(), warning) {
		t.Fatalf("told before it was so: %s", log.String())
	}
	r.pass(5 * time.Hour)
	var told []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, warning) {
			told = append(told, line)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "nickname=server1") || !strings.Contains(told[0], "the account was removed") {
		t.Errorf("told: %q", told)
	}
	for _, s := range r.status(false).Servers {
		if refused := s.Announcement.Server == p.id(); refused != (s.State == client.Connected) || refused != (s.Err != nil) {
			t.Errorf("%s is %s: %v", s.Announcement.Nickname, s.State, s.Err)
		}
	}
}

func TestServerThatIsSlowAboutOneAnswer(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	p.instead = func(_ *peerSession, f wire.Frame) bool { return f.Message.Kind() == wire.KindUsage }
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	var reply client.Reply
	got := false
	to := r.inbox(func(m any) { reply, got = m.(client.Reply) })
	r.world.Sys.Send(r.status(false).Servers[0].PID, client.Call{ReplyTo: to, Tag: 7, Frame: wire.Frame{Message: &wire.Usage{}}})
	r.pass(29 * time.Second)
	if got {
		t.Fatal("it was not given its time")
	}
	r.until("the end of patience", 3*time.Second, func() bool { return got })
	if !errors.Is(reply.Err, client.ErrNoAnswer) || reply.Tag != 7 {
		t.Errorf("reply %+v", reply)
	}
}

func TestCallsWaitTheirTurn(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	var held []wire.Frame
	p.instead = func(s *peerSession, f wire.Frame) bool {
		if f.Message.Kind() == wire.KindHello {
			s.answer(f, &wire.Hello{Version: wire.Version, MaxRequests: 2})
			return true
		}
		if f.Message.Kind() == wire.KindUsage {
			held = append(held, f)
			return true
		}
		return false
	}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	r.pass(time.Second)
	replies := 0
	to := r.inbox(func(any) { replies++ })
	for range 5 {
		r.world.Sys.Send(r.status(false).Servers[0].PID, client.Call{ReplyTo: to, Frame: wire.Frame{Message: &wire.Usage{}}})
	}
	for answered := range 5 {
		r.pass(time.Second)
		if want := min(2+answered, 5); len(held) != want {
			t.Fatalf("after %d answers %d requests had come, not %d", answered, len(held), want)
		}
		p.sessions[0].answer(held[answered], &wire.Done{})
	}
	r.until("all replies", time.Second, func() bool { return replies == 5 })
}

func TestForgedAndStaleAnnouncementsAreIgnored(t *testing.T) {
	r := newRig(t, 1)
	forged := r.peers[0].announcement(9)
	forged[len(forged)-1] ^= 1
	r.cache.saved = append(r.cache.saved, forged, []byte("garbage"), nil, r.peers[0].announcement(0))
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	if s := r.status(true).Servers; len(s) != 1 || s[0].Announcement.Sequence != 1 {
		t.Errorf("knows %+v", s)
	}
}

// TestRequestsAreNumberedAnew: what is asked over a connection is numbered from 1,
// however much was asked over those before it.
func TestRequestsAreNumberedAnew(t *testing.T) {
	r := newRig(t, 1)
	p := r.peers[0]
	asked := map[*peerSession][]uint64{}
	p.instead = func(s *peerSession, f wire.Frame) bool {
		asked[s] = append(asked[s], f.ID)
		return false
	}
	r.start()
	for round := range 3 {
		r.untilState(client.LoggedIn, time.Minute)
		j := r.put(content(1000+round), wide(1, 1))
		r.finish(j, time.Minute)
		if round == 1 {
			r.net.Crash("client")
			r.world.Crash("client")
			r.start()
			continue
		}
		r.net.Drop("client", p.name)
		r.pass(5 * time.Second)
	}
	if len(p.sessions) != 4 {
		t.Fatalf("%d sessions", len(p.sessions))
	}
	for n, s := range p.sessions {
		if ids := asked[s]; len(ids) < 3 || !slices.IsSorted(ids) || ids[0] != 1 || ids[len(ids)-1] != uint64(len(ids)) {
			t.Errorf("session %d: requests %v", n, ids)
		}
	}
}
