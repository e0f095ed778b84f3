package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// putUnder stores under an authority and wants it to be stored.
func (r *rig) putUnder(a lease.Authority, data []byte, servers int) client.Stored {
	r.Helper()
	j := r.putAs(a, data, wide(servers, 1))
	r.finish(j, time.Minute)
	if j.err != nil {
		r.Fatal(j.err)
	}
	return *j.stored
}

func holding(a lease.Account) lease.Authority {
	return lease.Authority{Holdings: []lease.Holding{{Account: a}}}
}

// card is a certificate for an account's key at a server, from another key.
func (r *rig) card(from lease.Account, to lease.Account, at grid.ServerID, signerGetsLease bool) lease.Authority {
	r.Helper()
	chain, err := lease.Chain{}.Sign(from.Key(at), lease.Certificate{
		Delegate: to.PublicKey(at), SignerGetsLease: signerGetsLease, Restrictions: lease.Restrictions{Server: &at},
	})
	r.must(err)
	return lease.Authority{Holdings: []lease.Holding{{Chain: chain, Account: to}}}
}

// An authority that comes with a request has connections of its own, which stay
// for a while and are then let go; the node's own ones are not touched.
func TestLentAuthorityHasConnectionsOfItsOwn(t *testing.T) {
	r := newRig(t, 2)
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	var stored client.Stored
	for range 2 {
		stored = r.putUnder(holding(account(2)), content(1000), 2)
	}
	for i, p := range r.peers {
		if len(p.sessions) != 2 || p.sessions[0].over || p.sessions[1].over {
			t.Fatalf("%d sessions at %s", len(p.sessions), p.name)
		}
		if got := r.status(false).Servers[i].Account; got != account(1).PublicKey(r.status(false).Servers[i].Announcement.Server) {
			t.Errorf("the node itself is logged in as %v", got)
		}
	}
	for _, l := range r.journalled(stored.Cap.StorageIndex) {
		if l.Label != account(2).PublicKey(l.Server) {
			t.Errorf("the lease at %s is of %v", l.Server.Short(), l.Label)
		}
	}
	r.pass(4 * time.Minute)
	r.putUnder(holding(account(2)), content(1000), 2)
	r.pass(4 * time.Minute)
	if p := r.peers[0]; len(p.sessions) != 2 || p.sessions[1].over {
		t.Errorf("%d sessions; it was used a while ago", len(p.sessions))
	}
	r.pass(2 * time.Minute)
	if p := r.peers[0]; !p.sessions[1].over || p.sessions[0].over {
		t.Errorf("let go: %v, the node's own: %v", p.sessions[1].over, p.sessions[0].over)
	}
	r.putUnder(holding(account(2)), content(1000), 2)
	if p := r.peers[0]; len(p.sessions) != 3 {
		t.Errorf("%d sessions after it was used again", len(p.sessions))
	}
	r.wantIdentities()
}

// What is connected under lent authorities can be seen, each under its key, and
// looking keeps nothing alive.
func TestLentAuthoritiesAreListed(t *testing.T) {
	r := newRig(t, 1)
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	if got := r.lent(); len(got) != 0 {
		t.Errorf("%d are lent before any was", len(got))
	}
	for n := range 11 {
		r.putUnder(holding(account(byte(20+n))), content(1000), 1)
	}
	server := r.status(false).Servers[0].Announcement.Server
	for range 9 {
		all := r.lent()
		if len(all) != 11 {
			t.Fatalf("%d are lent", len(all))
		}
		for n, l := range all {
			var s client.Status
			r.world.Sys.Env.Spawn.Send(l.PID, client.AskStatus{ReplyTo: r.inbox(func(m any) { s = m.(client.Status) })})
			r.until("its status", time.Minute, func() bool { return len(s.Servers) == 1 })
			if got := s.Servers[0]; got.State != client.LoggedIn || got.Account != account(byte(20+n)).PublicKey(server) {
				t.Errorf("number %d is %s under %v", n, got.State, got.Account)
			}
		}
		r.pass(30 * time.Second)
	}
	r.pass(time.Minute)
	if got := r.lent(); len(got) != 0 {
		t.Errorf("%d are lent though nobody used them", len(got))
	}
}

func (r *rig) lent() (list client.Lent) {
	r.Helper()
	got := false
	r.send(client.AskLent{ReplyTo: r.inbox(func(m any) { list, got = m.(client.Lent) })})
	r.until("what is lent", time.Minute, func() bool { return got })
	return list
}

// A file can be stored under an authority in the moment in which the node
// starts: it waits for what introducers have to say.
func TestLentAuthorityWaitsForServers(t *testing.T) {
	r := newRig(t, 3)
	r.introducer()
	for i, p := range r.peers {
		r.net.SetLatency("client", p.name, time.Duration(i+1)*50*time.Millisecond, 0)
	}
	r.start()
	j := r.putAs(holding(account(2)), content(1000), wide(3, 1))
	r.finish(j, time.Minute)
	if j.err != nil || j.stored.Happiness != 3 {
		t.Errorf("%v", j.err)
	}
}

// Who gets the lease is written into the journal, also where that is the signer.
func TestLabelIsTheSigners(t *testing.T) {
	r := newRig(t, 1)
	id := r.peers[0].id()
	r.start()
	labels := map[grid.PublicKey]bool{}
	for _, signer := range []bool{true, false} {
		stored := r.putUnder(r.card(account(8), account(2), id, signer), content(1000), 1)
		for _, l := range r.journalled(stored.Cap.StorageIndex) {
			labels[l.Label] = true
		}
	}
	if len(labels) != 2 || !labels[account(8).PublicKey(id)] || !labels[account(2).PublicKey(id)] {
		t.Errorf("labels %v", labels)
	}
}

// A server for which the authority has nothing is not dialled, and the user is
// told that it was left out and why; likewise one that refused.
func TestLeftOut(t *testing.T) {
	r := newRig(t, 3)
	named, refusing, other := r.peers[0], r.peers[1], r.peers[2]
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	refusing.accepts = func(int) wire.Message { return wire.NewError(wire.NotAccepted, "no root") }
	both := r.card(account(8), account(2), named.id(), false).Join(r.card(account(8), account(2), refusing.id(), false))
	stored := r.putUnder(both, content(1000), 1)
	if len(stored.LeftOut) != 2 || len(other.sessions) != 1 || len(named.sessions) != 2 {
		t.Fatalf("left out %v; %d sessions", stored.LeftOut, len(other.sessions))
	}
	for _, l := range stored.LeftOut {
		if want := map[grid.ServerID]string{refusing.id(): "no root", other.id(): "not for this server"}[l.Server]; !strings.Contains(l.Err.Error(), want) {
			t.Errorf("%s was left out: %v", l.Name, l.Err)
		}
	}
	j := r.putAs(both, content(1000), wide(2, 2))
	r.finish(j, time.Minute)
	var failed *client.UploadError
	if !errors.As(j.err, &failed) || !errors.Is(failed.Reasons[other.id()], lease.ErrUnfit) || failed.Reasons[refusing.id()] == nil {
		t.Errorf("%v", j.err)
	}
}

// Reading under an authority reaches the servers for which it has nothing, too.
func TestReadingUnderALentAuthority(t *testing.T) {
	r := newRig(t, 2)
	data := content(3000)
	c, shares := r.encode(data, wide(1, 1))
	r.peers[1].shares[c.StorageIndex()] = map[grid.ShareNum][]byte{0: shares[0]}
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	f := r.openAs(r.card(account(8), account(2), r.peers[0].id(), false), c)
	r.readAll(f, data, 0, int64(len(data)))
	if p := r.peers[1]; len(p.sessions) != 2 || p.logins != 1 {
		t.Errorf("%d sessions, %d logins", len(p.sessions), p.logins)
	}
	r.wantIdentities()
}
