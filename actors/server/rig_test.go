package server_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// table makes a store.Store what the server needs.
type table struct {
	*store.Store
	freeSpace func() int64
	files     *int // incoming files that were made and not deleted
}

// incoming counts files.
type incoming struct {
	server.Incoming
	files   *int
	deleted bool
}

func (i *incoming) Discard() error {
	if !i.deleted {
		i.deleted = true
		*i.files--
	}
	return i.Incoming.Discard()
}

func (t table) Apply(c lease.Change) (func() error, error) {
	commit, err := t.Store.Apply(c)
	if err != nil {
		return nil, err
	}
	return commit.Wait, nil
}

func (t table) Free() (int64, error) { return t.freeSpace(), nil }

type body struct{ *store.Body }

func (b body) Size() int64 { return b.Body.Size }

func (t table) OpenShare(id lease.ShareID) (server.Body, error) {
	b, err := t.Store.OpenShare(id)
	if err != nil {
		return nil, err
	}
	return body{b}, nil
}

func (t table) SmallShare() int64 { return store.SmallShare }

func (t table) Incoming() (server.Incoming, error) {
	file, err := t.Store.Incoming()
	*t.files++
	return &incoming{file, t.files, false}, err
}

// params give four shares, each with all of the file.
var params = file.Params{Needed: 1, Happy: 1, Total: 4, SegmentSize: 128 << 10}

// shareOf makes a share 0 whose body has size bytes: some file's, of about
// that size.
func shareOf(seed string, size int) []byte { return shareNumber(0, seed, size) }

func shareNumber(num grid.ShareNum, seed string, size int) []byte {
	for length, tries := size-700, 0; tries < 20; tries++ {
		share := encode(num, []byte(strings.Repeat(seed, length/len(seed)+1)[:length]))
		if len(share) == size {
			return share
		}
		length += size - len(share)
	}
	panic(fmt.Sprintf("no share has %d bytes", size))
}

func encode(num grid.ShareNum, data []byte) []byte {
	layout, err := immutable.NewLayout(int64(len(data)), params)
	must(err)
	keys := immutable.NewKeyHasher(layout, []byte("a convergence secret"))
	keys.Write(data)
	k, err := keys.Key()
	must(err)
	e, err := immutable.NewEncoder(layout, k)
	must(err)
	share := e.Head()
	for i := range layout.NumSegments {
		off := i * layout.SegmentSize
		segment, err := e.EncodeSegment(i, data[off:off+layout.SegmentLen(i)])
		must(err)
		share = append(share, segment.Blocks[num]...)
		must(e.Add(segment))
		segment.Release()
	}
	_, err = e.Finish()
	must(err)
	tail, err := e.Tail(num)
	must(err)
	return append(share, tail...)
}

// uebOf is the hash that a share proves.
func uebOf(num grid.ShareNum, share []byte) [32]byte {
	v := immutable.NewShareVerifier(num, int64(len(share)))
	_, err := v.Write(share)
	must(err)
	hash, _, err := v.Finish()
	must(err)
	return hash
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// rig is a server in a simulated world.
type rig struct {
	testing.TB
	world  *sim.World
	net    *fake.Network
	table  table
	config server.Config
	pid    *actor.PID
	free   int64
	fatal  []error
}

var serverKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func serverID() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(serverKey)) }

func newRig(t testing.TB, seed uint64, change ...func(*server.Config)) *rig {
	t.Helper()
	return newRigIn(t, sim.New(seed, nil), change...)
}

func newRigIn(t testing.TB, w *sim.World, change ...func(*server.Config)) *rig {
	t.Helper()
	r := &rig{TB: t, world: w, free: 1 << 40}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	r.table = table{store.NewMemory(), func() int64 { return r.free }, new(int)}
	r.config = server.Config{
		Key: serverKey, Nickname: "rig", Store: r.table, Dialer: r.net.Dialer("server"),
		References: lease.ReferenceKeys{{ID: 7, Secret: [32]byte{1}}},
		Policy:     lease.LedgerPolicy{Duration: lease.LeaseDuration},
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return r.net.Listen("server", serverKey, accept)
		},
		Fatal: func(err error) { r.fatal = append(r.fatal, err) },
	}
	for _, c := range change {
		c(&r.config)
	}
	r.pid, _ = w.Sys.Root("storage", server.New(w.Env(), r.config))
	r.status() // answered once it listens
	return r
}

// until runs the world until cond holds.
func (r *rig) until(what string, cond func() bool) {
	r.Helper()
	if err := r.world.Until(cond, time.Hour); err != nil {
		r.Fatalf("waiting for %s: %v", what, err)
	}
}

// ask asks the storage actor.
func (r *rig) ask(msg any) any {
	r.Helper()
	reply := r.world.Ask(r.pid, msg)
	r.until("a reply", func() bool { return *reply != nil })
	return *reply
}

func (r *rig) status() server.Status {
	r.Helper()
	for {
		if s, ok := r.ask(server.AskStatus{}).(server.Status); ok {
			return s
		}
	}
}

// account is a key with a seed's first byte.
func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

// addAccount makes key n a root.
func (r *rig) addAccount(n byte, quota *int64) grid.PublicKey {
	r.Helper()
	pub := grid.PublicKeyOf(key(n))
	root := lease.Root{Key: pub, Petname: fmt.Sprintf("account %d", n), Quota: quota}
	if got, ok := r.ask(server.PutRoot{Root: root}).(server.Changed); !ok {
		r.Fatalf("add account: %v", got)
	}
	return pub
}

// client is the other side of one connection.
type client struct {
	*rig
	session  transport.Session
	conv     transport.Conversation
	next     uint64
	answers  map[uint64]wire.Message
	bodies   map[uint64][]byte
	stored   []*wire.Stored
	closed   error
	offers   map[wire.Secret][]byte
	reads    []wire.ReadOffer
	holding  bool // offers are not answered
	pulls    int  // conversations that the server has open
	earlyEnd error
}

// dial connects and says hello.
func (r *rig) dial(name string) *client {
	r.Helper()
	return r.dialCredit(name, 1000)
}

// dialCredit is for a client that takes no more than so many frames.
func (r *rig) dialCredit(name string, credit int) *client {
	r.Helper()
	c := &client{rig: r, answers: map[uint64]wire.Message{}, bodies: map[uint64][]byte{}, offers: map[wire.Secret][]byte{}}
	r.net.Dialer(name).Dial(transport.Target{Server: serverID(), Hints: []grid.Hint{"/dns/server/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Incoming: c.pulled, Closed: func(err error) { c.closed = err }},
		func(s transport.Session, err error) {
			if err != nil {
				r.Fatalf("dial: %v", err)
			}
			c.session = s
		})
	r.until("a session", func() bool { return c.session != nil })
	c.conv = c.session.Open(transport.Storage, c.heard, credit)
	if hello, ok := c.do(&wire.Hello{Version: wire.Version, MaxBody: 1 << 20}).(*wire.Hello); !ok || hello.Version != 1 {
		r.Fatalf("hello answered by %v", hello)
	}
	return c
}

func (c *client) heard(ev transport.Event) {
	m, ok := ev.(transport.Received)
	if !ok {
		c.earlyEnd = ev.(transport.Ended).Err
		return
	}
	defer m.Frame.Release()
	if s, ok := m.Frame.Message.(*wire.Stored); ok {
		c.stored = append(c.stored, s)
		return
	}
	c.answers[m.Frame.ID] = m.Frame.Message
	c.bodies[m.Frame.ID] = append([]byte{}, m.Frame.Bytes()...)
}

// ask sends a request and returns its id.
func (c *client) send(m wire.Message, body ...[]byte) uint64 {
	c.next++
	c.conv.Send(wire.Frame{ID: c.next, Message: m}.WithBody(nil, body...))
	return c.next
}

func (c *client) wait(id uint64) wire.Message {
	c.Helper()
	c.until("an answer", func() bool { return c.answers[id] != nil || c.closed != nil })
	return c.answers[id]
}

// do sends a request and waits for its answer.
func (c *client) do(m wire.Message, body ...[]byte) wire.Message {
	c.Helper()
	return c.wait(c.send(m, body...))
}

// pulled serves the server's pulls from offers.
func (c *client) pulled(conv transport.Conversation, p transport.Protocol) (transport.Handler, int) {
	var share []byte
	c.pulls++
	return func(ev transport.Event) {
		m, ok := ev.(transport.Received)
		if !ok {
			c.pulls--
			return
		}
		switch msg := m.Frame.Message.(type) {
		case *wire.OpenOffer:
			if share, ok = c.offers[msg.Secret]; !ok {
				conv.Close(errors.New("no such offer"))
			}
		case *wire.ReadOffer:
			c.reads = append(c.reads, *msg)
			if !c.holding {
				b := share[msg.Offset : msg.Offset+msg.Length]
				conv.Send(wire.Frame{ID: m.Frame.ID, Answer: true, Message: &wire.Data{Lengths: []uint64{msg.Length}}}.WithBody(nil, b))
			}
		}
	}, 1000
}

// request is a signed request of the key for this connection.
func (c *client) request(k ed25519.PrivateKey, chain lease.Chain, labelled bool) []byte {
	c.Helper()
	server := serverID()
	req := lease.Request{Beneficiary: c.session.Local(), SignerGetsLease: labelled, Restrictions: lease.Restrictions{Server: &server}}
	signed, err := req.Sign(chain, k)
	if err != nil {
		c.Fatal(err)
	}
	return signed
}

// logIn logs in as account n.
func (c *client) logIn(n byte) *wire.LoggedIn {
	c.Helper()
	var chain lease.Chain
	got := c.do(&wire.Login{Chain: chain.Encode(), Request: c.request(key(n), chain, true)})
	in, ok := got.(*wire.LoggedIn)
	if !ok {
		c.Fatalf("login answered by %v", got)
	}
	return in
}

func allocate(n byte, num grid.ShareNum, share []byte) *wire.Allocate {
	return &wire.Allocate{
		StorageIndex: grid.StorageIndex{n}, Num: num, Size: uint64(len(share)), Secret: wire.Secret{n, byte(num)},
	}
}

// wantCode fails unless m is an error of this code.
func wantCode(t testing.TB, m wire.Message, code wire.Code) *wire.Error {
	t.Helper()
	e, ok := m.(*wire.Error)
	if !ok || e.Code != code {
		t.Fatalf("got %T %v, want error %v", m, m, code)
	}
	return e
}

func (t table) OpenLoose(id lease.ShareID) (server.Body, error) {
	b, err := t.Store.OpenLoose(id)
	if err != nil {
		return nil, err
	}
	return body{b}, nil
}
