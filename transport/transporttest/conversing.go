package transporttest

import (
	"bytes"
	"errors"
	"sync/atomic"

	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

func testOrder(k *kit) {
	client, server := k.connect()
	near, far := k.pair(client, server, transport.Storage, plenty, plenty)
	if far.protocol != transport.Storage {
		k.Errorf("protocol %q arrived as %q", transport.Storage, far.protocol)
	}
	k.mu.Lock()
	far.echo = true
	k.mu.Unlock()
	const many = 500
	for id := uint64(1); id <= many; id++ {
		near.c.Send(ask(id))
	}
	near.awaitFrames(many)
	for i := range many {
		q, a := far.frames[i], near.frames[i]
		if q.ID != uint64(i+1) || q.Answer || q.Message.(*wire.ReadOffer).Offset != q.ID {
			k.Fatalf("request %d is %+v", i+1, q)
		}
		if a.ID != uint64(i+1) || !a.Answer || a.Message.Kind() != wire.KindDone {
			k.Fatalf("answer %d is %+v", i+1, a)
		}
	}
}

func testServerOpens(k *kit) {
	client, server := k.connect()
	near, far := k.pair(server, client, transport.Pull, plenty, plenty)
	if far.protocol != transport.Pull {
		k.Errorf("protocol %q arrived as %q", transport.Pull, far.protocol)
	}
	near.c.Send(ask(7))
	far.awaitFrames(1)
	far.c.Send(data(7, 100, 'x'))
	near.awaitFrames(1)
	if got := near.frames[0].Bytes(); !bytes.Equal(got, bytes.Repeat([]byte{'x'}, 100)) {
		k.Errorf("pulled %q", got)
	}
}

func testBigBodies(k *kit) {
	client, server := k.connect()
	far, near := k.pair(client, server, transport.Storage, plenty, plenty)
	sizes := []int{0, 1, 4095, 64 << 10, 256 << 10, wire.MaxRead}
	for i, n := range sizes {
		near.c.Send(data(uint64(i+1), n, byte(i)))
	}
	far.awaitFrames(len(sizes))
	for i, n := range sizes {
		got := far.frames[i]
		if len(got.Bytes()) != n || bytes.Count(got.Bytes(), []byte{byte(i)}) != max(n, 0) {
			k.Errorf("body of %d bytes arrived as %d, or changed", n, len(got.Bytes()))
		}
		got.Release()
	}
}

// testCredit sends much more than was granted: nothing is delivered beyond
// credit, and the sender keeps most of it.
func testCredit(k *kit) {
	client, server := k.connect()
	const many, size = 1000, 16 << 10
	near, far := k.pair(client, server, transport.Storage, plenty, 1)
	var released atomic.Int64
	for id := uint64(1); id <= many; id++ {
		f := wire.Frame{ID: id, Answer: true, Message: &wire.Data{Lengths: []uint64{size}}}
		near.c.Send(f.WithBody(func() { released.Add(1) }, bytes.Repeat([]byte{byte(id)}, size)))
	}
	far.awaitFrames(1)
	k.barrier(client, server)
	k.mu.Lock()
	if len(far.frames) != 1 {
		k.Errorf("%d frames delivered on a credit of 1", len(far.frames))
	}
	k.mu.Unlock()
	if n := released.Load(); n > many/2 {
		k.Errorf("%d of %d frames left the sender while the receiver takes none", n, many)
	}
	for n := 2; n <= many; n++ {
		far.c.Grant(1)
		far.awaitFrames(n)
	}
	for i, f := range far.frames {
		if f.ID != uint64(i+1) || len(f.Bytes()) != size || f.Bytes()[size-1] != byte(i+1) {
			k.Fatalf("frame %d is %+v", i+1, f)
		}
		f.Release()
	}
}

func testCloseInGoodOrder(k *kit) {
	client, server := k.connect()
	for _, c := range []struct{ from, to *side }{{client, server}, {server, client}} {
		near, far := k.pair(c.from, c.to, transport.Pull, plenty, 0)
		near.c.Send(ask(1))
		near.c.Send(ask(2))
		near.c.Close(nil)
		near.c.Close(nil)
		near.c.Send(ask(3)) // too late
		if err := near.awaitEnd(); err != nil {
			k.Errorf("closer: %v", err)
		}
		far.c.Grant(plenty)
		if err := far.awaitEnd(); err != nil {
			k.Errorf("other side: %v", err)
		}
		if len(far.frames) != 2 {
			k.Errorf("%d frames arrived before the end, want 2", len(far.frames))
		}
	}
}

func testCloseWithReason(k *kit) {
	client, server := k.connect()
	reason := errors.New("changed my mind")
	for _, c := range []struct{ from, to *side }{{client, server}, {server, client}} {
		near, far := k.pair(c.from, c.to, transport.Pull, plenty, plenty)
		near.c.Close(reason)
		if err := near.awaitEnd(); !errors.Is(err, reason) {
			k.Errorf("closer: %v", err)
		}
		if err := far.awaitEnd(); !errors.Is(err, transport.ErrClosed) {
			k.Errorf("other side: %v", err)
		}
	}
	k.barrier(client, server) // the session lives on
}

func testCloseFlushes(k *kit) {
	client, server := k.connect()
	near, far := k.pair(client, server, transport.Storage, plenty, plenty)
	const many, size = 20, 256 << 10
	for id := uint64(1); id <= many; id++ {
		near.c.Send(data(id, size, byte(id)))
	}
	near.c.Close(nil)
	if err := far.awaitEnd(); err != nil || len(far.frames) != many {
		k.Errorf("%d frames arrived, then %v; want %d", len(far.frames), err, many)
	}
	if err := near.awaitEnd(); err != nil {
		k.Errorf("closer: %v", err)
	}
}

func testRefuse(k *kit) {
	client, server := k.connect()
	k.mu.Lock()
	server.decide = func(p transport.Protocol) (int, bool) { return plenty, p != transport.Introduction }
	k.mu.Unlock()
	f := client.open(transport.Introduction, plenty)
	f.c.Send(ask(1))
	if err := f.awaitEnd(); !errors.Is(err, transport.ErrRefused) {
		k.Errorf("refused conversation: %v", err)
	}
	k.barrier(client, server)
}

func testRefuseAll(k *kit) {
	k.connect()
	var session transport.Session
	k.world.Dialer.Dial(k.target(), transport.SessionEvents{}, func(s transport.Session, err error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		defer k.ring()
		if session = s; err != nil {
			k.Errorf("dial: %v", err)
		}
	})
	k.await("session without events", func() bool { return session != nil && len(k.accepted) == 2 })
	server := k.accepted[1]
	if err := server.open(transport.Pull, plenty).awaitEnd(); !errors.Is(err, transport.ErrRefused) {
		k.Errorf("conversation that nobody listens to: %v", err)
	}
	session.Close()
	server.awaitClosed()
}

// testUnsendable sends what the other side would have to refuse.
func testUnsendable(k *kit) {
	client, server := k.connect()
	near, far := k.pair(client, server, transport.Storage, plenty, plenty)
	near.c.Send(wire.Frame{ID: 1, Message: &wire.ReadOffer{Length: wire.MaxBody + 1}})
	if err := near.awaitEnd(); !errors.Is(err, wire.ErrMalformed) {
		k.Errorf("sender: %v", err)
	}
	if err := far.awaitEnd(); !errors.Is(err, transport.ErrClosed) || len(far.frames) != 0 {
		k.Errorf("receiver: %v, %d frames", err, len(far.frames))
	}
	k.barrier(client, server)
}

// unadmitted connects without Admit.
func (k *kit) unadmitted() (client, server *side) {
	k.Helper()
	client, err := k.dial(k.target())
	if err != nil {
		k.Fatalf("dial: %v", err)
	}
	k.await("the session is accepted", func() bool { return len(k.accepted) == 1 })
	return client, k.accepted[0]
}

// testOversize sends more than a session takes before Admit.
func testOversize(k *kit) {
	client, server := k.unadmitted()
	near, far := k.pair(client, server, transport.Storage, plenty, plenty)
	near.c.Send(data(1, wire.MaxEarlyBody, 1))
	far.awaitFrames(1)
	near.c.Send(data(2, wire.MaxEarlyBody+1, 1))
	if err := far.awaitEnd(); !errors.Is(err, transport.ErrProtocol) {
		k.Errorf("receiver: %v", err)
	}
	if err := near.awaitEnd(); !errors.Is(err, transport.ErrClosed) {
		k.Errorf("sender: %v", err)
	}
}

// testBodiesPerSide sends the longest body that each side takes, and one byte
// more.
func testBodiesPerSide(k *kit) {
	client, server := k.connect()
	for _, c := range []struct {
		opener, other *side
		protocol      transport.Protocol
		answers       bool // the opener takes the body
		most          int
	}{
		{client, server, transport.Storage, true, wire.MaxRead},
		{client, server, transport.Storage, false, wire.MaxRequestBody},
		{server, client, transport.Pull, true, wire.MaxRequestBody},
		{server, client, transport.Pull, false, 0},
		{client, server, transport.Introduction, true, 0},
		{client, server, transport.Introduction, false, 0},
		{client, server, transport.Membership, true, 0},
		{client, server, transport.Helping, true, 0},
		{client, server, transport.Helping, false, wire.MaxRequestBody},
	} {
		from, to := k.pair(c.opener, c.other, c.protocol, plenty, plenty)
		if c.answers {
			from, to = to, from
		}
		from.c.Send(data(1, c.most, 1))
		to.awaitFrames(1)
		from.c.Send(data(2, c.most+1, 1))
		if err := to.awaitEnd(); !errors.Is(err, transport.ErrProtocol) {
			k.Errorf("%s, opener takes it %v, %d bytes: %v", c.protocol, c.answers, c.most+1, err)
		}
	}
}

func testLimitsBeforeAdmit(k *kit) {
	client, server := k.unadmitted()
	first, _ := k.pair(client, server, transport.Storage, plenty, plenty)
	if err := client.open(transport.Storage, plenty).awaitEnd(); !errors.Is(err, transport.ErrRefused) {
		k.Errorf("second conversation before Admit: %v", err)
	}
	server.session.Admit()
	_, far := k.pair(client, server, transport.Storage, plenty, plenty)
	far.c.Close(nil)
	first.c.Close(nil)
	if err := first.awaitEnd(); err != nil {
		k.Errorf("first conversation: %v", err)
	}
}

// testRoom has one conversation after the other where one is allowed.
func testRoom(k *kit) {
	client, server := k.unadmitted()
	for range 3 {
		near, far := k.pair(client, server, transport.Storage, plenty, plenty)
		far.c.Close(nil)
		far.awaitEnd()
		if err := near.awaitEnd(); err != nil {
			k.Errorf("conversation: %v", err)
		}
	}
	k.mu.Lock()
	server.decide = func(transport.Protocol) (int, bool) { return 0, false }
	k.mu.Unlock()
	for range 2 { // a refused one takes no room
		client.open(transport.Storage, plenty).awaitEnd()
	}
	near, _ := k.pair(client, server, transport.Storage, plenty, plenty)
	near.c.Close(nil)
	near.awaitEnd()
}

func testMany(k *kit) {
	client, server := k.connect()
	k.mu.Lock()
	server.decide = func(transport.Protocol) (int, bool) { return plenty, true }
	k.mu.Unlock()
	const conversations, each = 64, 8
	var flows []*flow
	for range conversations {
		f := client.open(transport.Storage, plenty)
		for id := uint64(1); id <= each; id++ {
			f.c.Send(ask(id))
		}
		flows = append(flows, f)
	}
	server.next(conversations - 1)
	for _, far := range server.incoming {
		far.awaitFrames(each)
		far.c.Send(data(1, 1000, 'y'))
	}
	for _, f := range flows {
		f.awaitFrames(1)
		f.c.Close(nil)
	}
	for _, far := range server.incoming {
		if err := far.awaitEnd(); err != nil {
			k.Errorf("conversation: %v", err)
		}
	}
}

// testReleased counts that each body that was sent is given back exactly once,
// whether it was written, refused, or dropped.
func testReleased(k *kit) {
	client, server := k.connect()
	near, far := k.pair(client, server, transport.Storage, 0, 1)
	const many, size = 100, 64 << 10
	counts := make([]atomic.Int64, many)
	send := func(i int) {
		f := wire.Frame{ID: uint64(i + 1), Answer: true, Message: &wire.Data{Lengths: []uint64{size}}}
		near.c.Send(f.WithBody(func() { counts[i].Add(1); k.ring() }, make([]byte, size)))
	}
	for i := range many - 1 {
		send(i)
	}
	far.awaitFrames(1)
	client.session.Close()
	near.awaitEnd()
	client.awaitClosed()
	send(many - 1)
	k.await("all bodies are released", func() bool {
		for i := range counts {
			if counts[i].Load() == 0 {
				return false
			}
		}
		return true
	})
	for i := range counts {
		if n := counts[i].Load(); n != 1 {
			k.Errorf("body %d released %d times", i, n)
		}
	}
}
