package server_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// flood is strangers who come through one onion service, and so from one address:
// one after the other, each as soon as it may.
func (r *rig) flood(every time.Duration, came *int) {
	r.net.Dialer("onion").Dial(
		transport.Target{Server: serverID(), Hints: []grid.Hint{"/dns/server/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{}, func(transport.Session, error) { *came++ })
	r.world.After(every, func() { r.flood(every, came) })
}

// tryLogin dials through the onion service and logs in, or is closed before.
func (r *rig) tryLogin(n byte) bool {
	r.Helper()
	c := &client{rig: r, answers: map[uint64]wire.Message{}, bodies: map[uint64][]byte{}, offers: map[wire.Secret][]byte{}}
	over := false
	r.net.Dialer("onion").Dial(
		transport.Target{Server: serverID(), Hints: []grid.Hint{"/dns/server/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(error) { over = true }},
		func(s transport.Session, err error) {
			if over = err != nil; over {
				return
			}
			c.session, c.conv = s, s.Open(transport.Storage, c.heard, 1000)
			var chain lease.Chain
			c.send(&wire.Hello{Version: wire.Version, MaxBody: 1 << 20})
			c.send(&wire.Login{Chain: chain.Encode(), Request: c.request(key(n), chain, true)})
		})
	r.until("a login or the end", func() bool { return over || len(c.answers) == 2 })
	return len(c.answers) == 2
}

// TestLoginAmongAFlood: more strangers than there are places come while a client's
// login is on its way, all from its own address; it gets in within some tries.
func TestLoginAmongAFlood(t *testing.T) {
	const tries = 40
	r := newRig(t, 97)
	r.addAccount(1, nil)
	r.net.SetLatency("onion", "server", 250*time.Millisecond, 0)
	came, tried := 0, 1
	r.flood(500*time.Microsecond, &came)
	r.until("all places to be taken", func() bool { return came > 1000 })
	before := came
	for ; !r.tryLogin(1) && tried <= tries; tried++ {
	}
	if tried > tries {
		t.Fatalf("not in after %d tries", tries)
	}
	each := (came - before) / tried
	t.Logf("in after %d tries, while %d came each time", tried, each)
	if each < 900 {
		t.Errorf("only %d came during a try, too few to show anything", each)
	}
	if s := r.status(); s.Sessions < 700 {
		t.Errorf("only %d sessions are open", s.Sessions)
	}
}
