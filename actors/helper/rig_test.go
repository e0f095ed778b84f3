package helper_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/actors/helper/spooltest"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// rig is a helper in a simulated world, with servers of a few lines and clients
// that do as a test tells them.
type rig struct {
	*testing.T
	world   *sim.World
	net     *fake.Network
	config  helper.Config
	spool   *spooltest.Memory
	pid     *actor.PID
	servers []*storage
	fatal   []error
	inboxes int
}

// space of the rig's helper, in bytes.
const space = 1 << 20

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

func idOf(k ed25519.PrivateKey) grid.ServerID { return grid.ServerID(grid.PublicKeyOf(k)) }

func account(n byte) lease.Account { return lease.AccountOf([lease.SeedSize]byte{n}) }

var helperKey = key(99)

func newRig(t *testing.T, servers int) *rig {
	t.Helper()
	w := sim.New(1, nil)
	r := &rig{T: t, world: w, spool: spooltest.NewMemory(w.Now)}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	known := &memory{}
	for i := range servers {
		s := newStorage(r, byte(i+1))
		r.servers = append(r.servers, s)
		known.list = append(known.list, client.Cached{Signed: s.announcement(), Heard: w.Now()})
	}
	r.config = helper.Config{
		Key: helperKey, Space: space,
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return r.net.Listen("helper", helperKey, accept)
		},
		Connections: client.Config{Dialer: r.net.Dialer("helper"), Rules: clause.Rules{Connections: transport.DirectConnections}, References: references{}, OnlyLent: true, Introducers: []client.Introducer{
			{Target: transport.Target{Server: idOf(key(200)), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}, Cache: known}}},
		Fatal: func(err error) { r.fatal = append(r.fatal, err) },
	}
	r.start()
	return r
}

func (r *rig) start() {
	r.Helper()
	r.config.Spool = r.spool
	r.pid, _ = r.world.Sys.Root("helper", helper.New(r.world.Env(), r.config))
	r.status() // answered once it listens
}

// restart is a power failure; spoil is what it does to a ciphertext.
func (r *rig) restart(spoil func([]byte) []byte) {
	r.Helper()
	r.world.Crash("helper")
	r.net.Crash("helper")
	r.spool = r.spool.AfterCrash(spoil)
	r.start()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) until(what string, cond func() bool) {
	r.Helper()
	if err := r.world.Until(cond, time.Hour); err != nil {
		r.Fatalf("waiting for %s: %v", what, err)
	}
}

func (r *rig) pass(d time.Duration) {
	r.Helper()
	r.must(r.world.For(d))
}

func (r *rig) status() (s helper.Status) {
	r.Helper()
	r.inboxes++
	got := false
	inbox := r.world.Inbox(fmt.Sprintf("inbox%d", r.inboxes), func(m any) { s, got = m.(helper.Status) })
	r.world.Sys.Send(r.pid, &actor.MessageEnvelope{Message: helper.AskStatus{}, Sender: inbox})
	r.until("a status", func() bool { return got })
	return s
}

// settled holds that nothing is under way, and nothing is left but this.
func (r *rig) settled(ciphertexts int) {
	r.Helper()
	r.pass(time.Second)
	s := r.status()
	if s.Jobs != 0 || len(r.spool.Ciphertexts()) != ciphertexts || r.spool.Files != 0 || len(r.fatal) > 0 {
		r.Errorf("%d jobs, %d ciphertexts, want %d, %d open files, fatal: %v", s.Jobs, len(r.spool.Ciphertexts()), ciphertexts, r.spool.Files, r.fatal)
	}
	if ciphertexts == 0 && s.Spooled != 0 {
		r.Errorf("%d bytes are said to be spooled", s.Spooled)
	}
}

// memory is a client.AnnouncementCache.
type memory struct{ list []client.Cached }

func (m *memory) Load() ([]client.Cached, error)  { return m.list, nil }
func (m *memory) Save(list []client.Cached) error { m.list = list; return nil }

// references is a client.ReferenceCache.
type references map[string][]byte

func (r references) Load(id grid.ServerID, k lease.CredentialID) ([]byte, error) {
	return r[string(id[:])+string(k[:])], nil
}

func (r references) Save(id grid.ServerID, k lease.CredentialID, reference []byte) error {
	r[string(id[:])+string(k[:])] = reference
	return nil
}

// storage is a storage server that takes whole shares of whoever shows a chain
// from a root.
type storage struct {
	rig     *rig
	name    string
	key     ed25519.PrivateKey
	roots   map[grid.PublicKey]bool
	shares  map[lease.ShareID][]byte
	labels  map[lease.ShareID]grid.PublicKey
	logins  int
	resumes int
	// slow has answers to an Allocate come later.
	slow    time.Duration
	refuses bool // shares
}

func newStorage(r *rig, n byte) *storage {
	s := &storage{
		rig: r, name: fmt.Sprint("server", n), key: key(n), roots: map[grid.PublicKey]bool{},
		shares: map[lease.ShareID][]byte{}, labels: map[lease.ShareID]grid.PublicKey{},
	}
	for n := range byte(4) {
		s.roots[account(n).PublicKey(s.id())] = true
	}
	_, err := r.net.Listen(s.name, s.key, s.accept)
	r.must(err)
	return s
}

func (s *storage) id() grid.ServerID { return idOf(s.key) }

func (s *storage) announcement() []byte {
	id := s.id()
	b, err := wire.SignAnnouncement(s.key, grid.Announcement{
		Server: id, Sequence: 1, Nickname: s.name, NodeID: id.DefaultNodeID(), PermutationSeed: id[:],
		Hints: []grid.Hint{grid.Hint("/dns/" + s.name + "/tcp/1")}, CertificateVersions: []uint{1},
	})
	s.rig.must(err)
	return b
}

func (s *storage) accept(session transport.Session) transport.SessionEvents {
	var label grid.PublicKey
	session.Admit()
	return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
		return func(ev transport.Event) {
			m, ok := ev.(transport.Received)
			if !ok {
				return
			}
			f := m.Frame
			answer := func(m wire.Message) { c.Send(wire.Frame{ID: f.ID, Answer: true, Message: m}) }
			defer f.Release()
			switch m := f.Message.(type) {
			case *wire.Hello:
				answer(&wire.Hello{Version: wire.Version, MaxBody: 1 << 20, MaxRequests: 64})
			case *wire.Login:
				s.logins++
				answer(s.logIn(m.Chain, &label))
			case *wire.Resume:
				s.resumes++
				label = grid.PublicKey(m.Reference)
				answer(s.loggedIn(label))
			case *wire.Find:
				answer(s.find(m.StorageIndex))
			case *wire.Allocate:
				s.allocate(m, f.Bytes(), label, answer)
			default:
				answer(&wire.Done{})
			}
		}, 1000
	}}
}

// logIn takes a chain whose signatures hold and whose root is known.
func (s *storage) logIn(encoded []byte, label *grid.PublicKey) wire.Message {
	chain, err := lease.DecodeChain(encoded)
	s.rig.must(err)
	root, _ := chain.Root()
	if err := chain.Check(); err != nil || !s.roots[root] {
		return wire.NewError(wire.NotAccepted, fmt.Sprint("no account of this server ", err))
	}
	*label, _ = chain.Label()
	return s.loggedIn(*label)
}

func (s *storage) loggedIn(label grid.PublicKey) wire.Message {
	return &wire.LoggedIn{Reference: label[:], Label: label, Expires: s.rig.world.Now().Add(24 * time.Hour).Unix()}
}

func (s *storage) find(si grid.StorageIndex) *wire.Found {
	found := &wire.Found{Room: 1 << 30}
	for n := range grid.ShareNum(10) {
		if share, ok := s.shares[lease.ShareID{StorageIndex: si, Num: n}]; ok {
			found.Shares = append(found.Shares, wire.FoundShare{Num: n, Size: uint64(len(share)), UEBHash: uebOf(n, share)})
		}
	}
	return found
}

func (s *storage) allocate(m *wire.Allocate, body []byte, label grid.PublicKey, answer func(wire.Message)) {
	id := lease.ShareID{StorageIndex: m.StorageIndex, Num: m.Num}
	switch {
	case s.refuses:
		answer(wire.NewError(wire.OverQuota, "no room"))
	case m.IfNone && len(s.find(m.StorageIndex).Shares) > 0:
		answer(s.find(m.StorageIndex))
	case s.shares[id] != nil:
		answer(&wire.Allocated{State: wire.AlreadyHere, UEBHash: uebOf(m.Num, s.shares[id])})
	default:
		s.shares[id], s.labels[id] = append([]byte{}, body...), label
		hash := uebOf(m.Num, body)
		s.rig.world.After(s.slow, func() { answer(&wire.Allocated{State: wire.NowStored, UEBHash: hash}) })
	}
}

// uebOf is the hash that a share proves; zero if it proves none.
func uebOf(n grid.ShareNum, share []byte) [32]byte {
	v := immutable.NewShareVerifier(n, int64(len(share)))
	if _, err := v.Write(share); err != nil {
		return [32]byte{}
	}
	hash, _, err := v.Finish()
	if err != nil {
		return [32]byte{}
	}
	return hash
}

// upload is a file as a client asks to have it stored.
type upload struct {
	ciphertext []byte
	*wire.AskHelp
}

// newUpload is of account n, with a share at each server.
func (r *rig) newUpload(n byte, si byte, size int) *upload {
	r.Helper()
	u := &upload{ciphertext: make([]byte, size), AskHelp: &wire.AskHelp{
		Job: wire.Secret{n, si}, StorageIndex: grid.StorageIndex{si}, Size: uint64(size), Needed: uint(len(r.servers)),
		Happy: uint(len(r.servers)), Total: uint(len(r.servers)), SegmentSize: 1 << 20,
	}}
	for i := range u.ciphertext {
		u.ciphertext[i] = byte(i*7) + n
	}
	for _, s := range r.servers {
		u.Chains = append(u.Chains, r.chain(n, s, u).Encode())
	}
	return u
}

// chain is what a client's vault signs for a helper.
func (r *rig) chain(n byte, at *storage, u *upload) lease.Chain {
	r.Helper()
	id := at.id()
	d := lease.Delegation{SignerGetsLease: true}
	d.Operation, d.StorageIndex, d.Server = new(lease.OpUpload), &u.StorageIndex, &id
	d.MaxSize, d.Until = new(r.shareSize(u)), new(r.world.Now().Add(24*time.Hour).Unix())
	c, err := lease.Credential{Key: account(n).Key(id)}.Delegate(grid.PublicKeyOf(helperKey), d)
	r.must(err)
	return c
}

func (u *upload) params() file.Params {
	return file.Params{Needed: int(u.Needed), Happy: int(u.Happy), Total: int(u.Total), SegmentSize: int64(u.SegmentSize)}
}

func (r *rig) shareSize(u *upload) int64 {
	r.Helper()
	l, err := immutable.NewLayout(int64(u.Size), u.params())
	r.must(err)
	return l.ShareSize
}

// ueb is what must come of the ciphertext.
func (r *rig) ueb(u *upload) [32]byte {
	r.Helper()
	l, err := immutable.NewLayout(int64(u.Size), u.params())
	r.must(err)
	e, err := immutable.NewCiphertextEncoder(l, u.StorageIndex)
	r.must(err)
	s, err := e.EncodeSegment(0, u.ciphertext)
	r.must(err)
	r.must(e.Add(s))
	known, err := e.Finish()
	r.must(err)
	return known.UEBHash
}

// peer is a client's end of a connection.
type peer struct {
	*rig
	session transport.Session
	conv    transport.Conversation
	next    uint64
	answers map[uint64]wire.Message
	notices []wire.Message
	closed  bool
}

// connect dials the helper, without a word.
func (r *rig) connect() *peer {
	r.Helper()
	r.inboxes++
	p := &peer{rig: r, answers: map[uint64]wire.Message{}}
	r.net.Dialer(fmt.Sprint("client", r.inboxes)).Dial(transport.Target{Server: idOf(helperKey), Hints: []grid.Hint{"/dns/helper/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(error) { p.closed = true }},
		func(s transport.Session, err error) {
			r.must(err)
			p.session = s
		})
	r.until("a session", func() bool { return p.session != nil })
	p.conv = p.session.Open(transport.Helping, p.heard, 1000)
	return p
}

// dial connects and says hello.
func (r *rig) dial() *peer {
	r.Helper()
	p := r.connect()
	if m, ok := p.do(&wire.Hello{Version: wire.Version}).(*wire.Hello); !ok || m.MaxBody != wire.MaxHelpData {
		r.Fatalf("hello answered by %v", m)
	}
	return p
}

func (p *peer) heard(ev transport.Event) {
	m, ok := ev.(transport.Received)
	switch {
	case !ok:
	case m.Frame.Answer:
		p.answers[m.Frame.ID] = m.Frame.Message
	default:
		p.notices = append(p.notices, m.Frame.Message)
	}
}

func (p *peer) send(m wire.Message, body ...[]byte) uint64 {
	p.next++
	p.conv.Send(wire.Frame{ID: p.next, Message: m}.WithBody(nil, body...))
	return p.next
}

// do waits for the answer; nil is a closed connection.
func (p *peer) do(m wire.Message, body ...[]byte) wire.Message {
	p.Helper()
	id := p.send(m, body...)
	p.until("an answer", func() bool { return p.answers[id] != nil || p.closed })
	return p.answers[id]
}

// wants asks for help and holds that so many bytes are there already.
func (p *peer) wants(u *upload, have int) {
	p.Helper()
	m := p.do(u.AskHelp)
	if h, ok := m.(*wire.Helped); !ok || h.State != wire.HelpWants || h.Have != uint64(have) {
		p.Fatalf("asked for help with %d bytes: %v, want that %d are there", u.Size, m, have)
	}
}

// part sends bytes of the ciphertext and returns the answer.
func (p *peer) part(u *upload, from, to int) wire.Message {
	p.Helper()
	return p.do(&wire.HelpData{Offset: uint64(from)}, u.ciphertext[from:to])
}

// sendAll sends the ciphertext from an offset on, in two parts, and waits until
// it is placed.
func (p *peer) sendAll(u *upload, from int) *wire.Helped {
	p.Helper()
	middle := (from + len(u.ciphertext)) / 2
	if h, ok := p.part(u, from, middle).(*wire.Helped); !ok || h.State != wire.HelpWants || h.Have != uint64(middle) {
		p.Fatalf("a part is answered by %+v", h)
	}
	if h, ok := p.part(u, middle, len(u.ciphertext)).(*wire.Helped); !ok || h.State != wire.HelpPlaces || h.Have != u.Size {
		p.Fatalf("the last part is answered by %+v", h)
	}
	return p.done()
}

// done waits for the notice that ends a job.
func (p *peer) done() *wire.Helped {
	p.Helper()
	p.until("the end", func() bool {
		return p.closed || len(p.notices) > 0 && !isLifeSign(p.notices[len(p.notices)-1])
	})
	h, ok := p.notices[len(p.notices)-1].(*wire.Helped)
	if !ok {
		p.Fatalf("it ended with %v", p.notices)
	}
	return h
}

func isLifeSign(m wire.Message) bool {
	h, ok := m.(*wire.Helped)
	return ok && h.State == wire.HelpPlaces
}

// wantStored holds that a file is at every server, in its account's name.
func (r *rig) wantStored(n byte, u *upload, h *wire.Helped) {
	r.Helper()
	if h.State != wire.HelpDone || h.UEBHash != r.ueb(u) || h.Pushed != uint(len(r.servers)) {
		r.Errorf("stored: %+v", h)
	}
	for _, s := range r.servers {
		found := false
		for id, share := range s.shares {
			if id.StorageIndex == u.StorageIndex && uebOf(id.Num, share) == r.ueb(u) {
				found = s.labels[id] == account(n).PublicKey(s.id())
			}
		}
		if !found {
			r.Errorf("%s has no share of it in the name of account %d", s.name, n)
		}
	}
}

// wantCode fails unless m is an error of this code.
func wantCode(t *testing.T, m wire.Message, code wire.Code) *wire.Error {
	t.Helper()
	e, ok := m.(*wire.Error)
	if !ok || e.Code != code {
		t.Fatalf("got %T %v, want error %v", m, m, code)
	}
	return e
}
