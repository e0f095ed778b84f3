package transporttest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"sync/atomic"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

func testConnect(k *kit) {
	client, server := k.connect()
	key := grid.PublicKeyOf(k.key)
	if client.session.Remote() != key || server.session.Local() != key {
		k.Errorf("the server is %s to the client, %s to itself", client.session.Remote(), server.session.Local())
	}
	if client.session.Local() != server.session.Remote() || client.session.Local().IsZero() {
		k.Errorf("the client is %s to itself, %s to the server", client.session.Local(), server.session.Remote())
	}
	if client.session.Address() == "" || server.session.Address() == "" {
		k.Error("a session without an address")
	}
}

func testNewIdentity(k *kit) {
	a, _ := k.connect()
	b, _ := k.connect()
	if a.session.Local() == b.session.Local() {
		k.Error("two sessions under one identity")
	}
}

func testWrongIdentity(k *kit) {
	t := k.target()
	t.Server = grid.ServerID(grid.PublicKeyOf(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))))
	want := transport.ErrWrongServer
	if k.world.Relayed {
		want = transport.ErrUnreachable
	}
	if _, err := k.dial(t); !errors.Is(err, want) {
		k.Errorf("dialled another's address: %v", err)
	}
	k.connect() // the right one is not harmed
}

func testNobodyThere(k *kit) {
	t := k.target()
	t.Hints = []grid.Hint{k.world.DeadHint}
	if _, err := k.dial(t); !errors.Is(err, transport.ErrUnreachable) {
		k.Errorf("dialled a dead address: %v", err)
	}
	t.Hints = append(t.Hints, k.listener.Hints()...)
	if _, err := k.dial(t); err != nil {
		k.Errorf("a dead address beside a good one: %v", err)
	}
}

func testNoAddress(k *kit) {
	t := k.target()
	t.Hints = nil
	if _, err := k.dial(t); !errors.Is(err, transport.ErrNoAddress) {
		k.Errorf("dialled nowhere: %v", err)
	}
}

// testDisabledKind has only ways that lead elsewhere: what the server's
// addresses need does not exist then.
func testDisabledKind(k *kit) {
	t := k.target()
	t.Hints = append([]grid.Hint{k.world.DeadHint}, t.Hints...)
	all := transport.Connections{TCP: transport.Direct, QUIC: transport.Direct, Onion: transport.Tor, Relay: transport.Direct}
	for name, others := range map[string]transport.Connections{"nothing": {}, "other kinds": without(all, t.Hints)} {
		t.Connections = others
		if _, err := k.dial(t); !errors.Is(err, transport.ErrNoAddress) {
			k.Errorf("dialled although the clause allows %s: %v", name, err)
		}
	}
	k.connect()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.accepted) != 1 {
		k.Errorf("%d sessions where one was allowed", len(k.accepted))
	}
}

// without disables the kinds of the hints.
func without(c transport.Connections, hints []grid.Hint) transport.Connections {
	for _, h := range hints {
		switch transport.KindOf(h) {
		case transport.TCP:
			c.TCP = transport.Disabled
		case transport.QUIC:
			c.QUIC = transport.Disabled
		case transport.Onion:
			c.Onion = transport.Disabled
		case transport.Relay:
			c.Relay = transport.Disabled
		}
	}
	return c
}

func testCancelledDial(k *kit) {
	answers := 0
	var failure error
	s := &side{k: k}
	cancel := k.world.Dialer.Dial(k.target(), k.events(s), func(got transport.Session, err error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		defer k.ring()
		answers++
		if failure = err; got != nil {
			got.Close()
		}
	})
	cancel()
	cancel()
	k.await("the dial is answered", func() bool { return answers > 0 })
	k.connect()
	k.mu.Lock()
	defer k.mu.Unlock()
	if answers != 1 || (failure != nil && !errors.Is(failure, transport.ErrClosed)) {
		k.Errorf("cancelled dial answered %d times, %v", answers, failure)
	}
}

func testSessionClosedHere(k *kit) {
	checkSessionEnd(k, func(client, _ *side) { client.session.Close() })
}
func testSessionClosedThere(k *kit) {
	checkSessionEnd(k, func(_, server *side) { server.session.Close() })
}

func testListenerClosed(k *kit) {
	checkSessionEnd(k, func(_, _ *side) {
		if err := k.listener.Close(); err != nil {
			k.Errorf("close listener: %v", err)
		}
	})
	if _, err := k.dial(k.target()); !errors.Is(err, transport.ErrUnreachable) {
		k.Errorf("dialled a closed listener: %v", err)
	}
}

// checkSessionEnd ends a session with conversations of both sides in it, with
// and without frames that nobody granted credit for.
func checkSessionEnd(k *kit, end func(client, server *side)) {
	client, server := k.connect()
	var flows []*flow
	add := func(a, b *flow) { flows = append(flows, a, b) }
	add(k.pair(client, server, transport.Storage, 1, 1))
	add(k.pair(server, client, transport.Pull, 0, 0))
	add(k.pair(client, server, transport.Introduction, 0, plenty))
	flows[0].c.Send(ask(1))
	flows[1].awaitFrames(1)
	flows[2].c.Send(ask(1))
	flows[5].c.Send(ask(1))
	end(client, server)
	for i, f := range flows {
		if err := f.awaitEnd(); !errors.Is(err, transport.ErrClosed) {
			k.Errorf("conversation end %d: %v", i, err)
		}
	}
	for _, s := range []*side{client, server} {
		if err := s.awaitClosed(); !errors.Is(err, transport.ErrClosed) {
			k.Errorf("session: %v", err)
		}
		s.session.Close() // again, does nothing
	}
	flows[0].c.Send(ask(2)) // nor do these
	flows[0].c.Grant(1)
	flows[0].c.Close(nil)
	flows[0].awaitEnd()
	client.awaitClosed()
	server.awaitClosed()
}

func testOpenOnClosed(k *kit) {
	client, _ := k.connect()
	client.session.Close()
	client.awaitClosed()
	var released atomic.Int64
	f := &flow{k: k, owner: &side{k: k}}
	k.mu.Lock()
	f.c = client.session.Open(transport.Storage, f.handle, plenty)
	k.mu.Unlock()
	f.c.Send(data(1, 10, 1).WithBody(func() { released.Add(1) }, make([]byte, 10)))
	if err := f.awaitEnd(); !errors.Is(err, transport.ErrClosed) {
		k.Errorf("conversation on a closed session: %v", err)
	}
	if n := released.Load(); n != 1 {
		k.Errorf("body released %d times", n)
	}
}
