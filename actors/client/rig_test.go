package client_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// rig is the client branch in a simulated world, among servers that do as a
// test tells them.
type rig struct {
	*testing.T
	world   *sim.World
	net     *fake.Network
	pid     *actor.PID
	config  client.Config
	cache   *cache
	refs    references
	journal *journal
	peers   []*peer
	inboxes int
}

// newRig makes a world; the client starts with start.
func newRig(t *testing.T, servers int) *rig {
	t.Helper()
	return newLoggingRig(t, servers, nil)
}

// newLoggingRig is newRig with what the actors log.
func newLoggingRig(t *testing.T, servers int, log *slog.Logger) *rig {
	t.Helper()
	w := sim.New(1, log)
	r := &rig{T: t, world: w, cache: &cache{}, refs: references{}, journal: &journal{Journal: store.NewMemoryJournal()}}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	r.config = client.Config{
		Dialer: r.net.Dialer("client"), Rules: clause.Rules{Connections: transport.DirectConnections}, References: r.refs, Journal: r.journal,
		Introducers: []client.Introducer{{Target: transport.Target{Server: idOf(key(200)), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}, Cache: r.cache}},
		Authority:   lease.Authority{Holdings: []lease.Holding{{Account: account(1)}}},
	}
	for i := range servers {
		p := newPeer(r, byte(i+1))
		r.peers = append(r.peers, p)
		r.cache.saved = append(r.cache.saved, p.announcement(1))
		r.net.SetLatency("client", p.name, 10*time.Millisecond, 5*time.Millisecond)
	}
	return r
}

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

func idOf(k ed25519.PrivateKey) grid.ServerID { return grid.ServerID(grid.PublicKeyOf(k)) }

func account(n byte) lease.Account { return lease.AccountOf([lease.SeedSize]byte{n}) }

// cache is a client.AnnouncementCache.
type cache struct {
	saved [][]byte
	heard map[string]time.Time // of those that a client saved
	used  map[string]time.Time
}

func (c *cache) Load() (list []client.Cached, err error) {
	for _, signed := range c.saved {
		heard, ok := c.heard[string(signed)]
		if !ok {
			heard = sim.Start
		}
		list = append(list, client.Cached{Signed: signed, Heard: heard, Used: c.used[string(signed)]})
	}
	return list, nil
}

func (c *cache) Save(list []client.Cached) error {
	c.saved, c.heard, c.used = nil, map[string]time.Time{}, map[string]time.Time{}
	for _, a := range list {
		c.saved, c.heard[string(a.Signed)] = append(c.saved, a.Signed), a.Heard
		c.used[string(a.Signed)] = a.Used
	}
	return nil
}

// references is a client.ReferenceCache.
type references map[string][]byte

func (r references) Load(id grid.ServerID, k lease.CredentialID) ([]byte, error) {
	return r[string(id[:])+string(k[:])], nil
}

func (r references) Save(id grid.ServerID, k lease.CredentialID, reference []byte) error {
	r[string(id[:])+string(k[:])] = reference
	return nil
}

// journal is a client.Journal that may fail.
type journal struct {
	*store.Journal
	err error
}

func (j *journal) Add(f lease.JournalFile, leases []lease.PlacedLease) error {
	if j.err != nil {
		return j.err
	}
	return j.Journal.Add(f, leases)
}

// journalled is every lease on a file.
func (r *rig) journalled(si grid.StorageIndex) []lease.PlacedLease {
	r.Helper()
	leases, err := r.journal.Leases(si)
	r.must(err)
	return leases
}

func (r *rig) start() {
	r.pid, _ = r.world.Sys.Root("client", client.New(r.world.Env(), r.config))
}

func (r *rig) send(msg any) { r.world.Sys.Env.Spawn.Send(r.pid, msg) }

// inbox is an address for replies.
func (r *rig) inbox(fn func(msg any)) *actor.PID {
	r.inboxes++
	return r.world.Inbox(fmt.Sprintf("inbox%d", r.inboxes), fn)
}

// until runs the world until cond holds.
func (r *rig) until(what string, within time.Duration, cond func() bool) {
	r.Helper()
	if err := r.world.Until(cond, within); err != nil {
		r.Fatalf("waiting for %s: %v", what, err)
	}
}

func (r *rig) pass(d time.Duration) {
	r.Helper()
	if err := r.world.For(d); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) status(settled bool) (s client.Status) {
	r.Helper()
	got := false
	r.send(client.AskStatus{ReplyTo: r.inbox(func(m any) { s, got = m.(client.Status) }), Settled: settled})
	r.until("a status", time.Minute, func() bool { return got })
	return s
}

// untilState waits until every server is in a state.
func (r *rig) untilState(want client.State, within time.Duration) {
	r.Helper()
	for end := r.world.Now().Add(within); ; r.pass(100 * time.Millisecond) {
		s := r.status(false)
		ok := len(s.Servers) == len(r.peers)
		for _, server := range s.Servers {
			ok = ok && server.State == want
		}
		if ok {
			return
		}
		if r.world.Now().After(end) {
			r.Fatalf("not every server is %s: %+v", want, s.Servers)
		}
	}
}

// source is a client.Plaintext.
type source struct {
	*bytes.Reader
	closed int
	reads  int
	fails  error // for reads from the middle on
}

func newSource(data []byte) *source { return &source{Reader: bytes.NewReader(data)} }

func (s *source) ReadAt(b []byte, off int64) (int, error) {
	s.reads++
	if s.closed > 0 {
		return 0, errors.New("read after close")
	}
	if s.fails != nil && off >= s.Size()/2 {
		return 0, s.fails
	}
	return s.Reader.ReadAt(b, off)
}

func (s *source) Close() error { s.closed++; return nil }

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16 + i>>8 + i*7)
	}
	return b
}

var fileKey = file.Key{1, 2, 3}

// encode gives the capability and all shares.
func (r *rig) encode(data []byte, p file.Params) (file.CHK, [][]byte) {
	r.Helper()
	l, err := immutable.NewLayout(int64(len(data)), p)
	r.must(err)
	e, err := immutable.NewEncoder(l, fileKey)
	r.must(err)
	c, shares := r.encodeWith(e, data)
	return c.WithKey(fileKey), shares
}

// encodeWith gives what an encoder makes of a file.
func (r *rig) encodeWith(e *immutable.Encoder, data []byte) (file.CHKVerifier, [][]byte) {
	r.Helper()
	l := e.Layout()
	shares := make([][]byte, l.Total)
	for n := range shares {
		shares[n] = e.Head()
	}
	for i := range l.NumSegments {
		off := i * l.SegmentSize
		s, err := e.EncodeSegment(i, data[off:off+l.SegmentLen(i)])
		r.must(err)
		for n := range shares {
			shares[n] = append(shares[n], s.Blocks[n]...)
		}
		r.must(e.Add(s))
	}
	c, err := e.Finish()
	r.must(err)
	for n := range shares {
		tail, err := e.Tail(grid.ShareNum(n))
		r.must(err)
		shares[n] = append(shares[n], tail...)
	}
	return c, shares
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// job is a Put under way.
type job struct {
	source   *source
	replyTo  *actor.PID
	stored   *client.Stored
	err      error
	progress []client.Progress
}

func (j *job) over() bool { return j.stored != nil || j.err != nil }

func (r *rig) put(data []byte, p file.Params) *job { return r.putAs(lease.Authority{}, data, p) }

// putAs stores under an authority.
func (r *rig) putAs(a lease.Authority, data []byte, p file.Params) *job {
	return r.putSpec(a, data, client.PutSpec{Params: p})
}

// putSpec stores data as a spec says.
func (r *rig) putSpec(a lease.Authority, data []byte, spec client.PutSpec) *job {
	j := &job{source: newSource(data)}
	j.replyTo = r.inbox(func(m any) {
		switch m := m.(type) {
		case client.Progress:
			j.progress = append(j.progress, m)
		case client.Stored:
			j.stored = &m
		case error:
			j.err = m
		}
	})
	spec.Source, spec.Size, spec.Key = j.source, int64(len(data)), fileKey
	r.send(client.Put{ReplyTo: j.replyTo, File: spec, Authority: a})
	return j
}

// finish waits for the end of a Put, and that its source is closed once.
func (r *rig) finish(j *job, within time.Duration) {
	r.Helper()
	r.until("the end of the upload", within, j.over)
	r.pass(time.Second)
	if j.source.closed != 1 {
		r.Fatalf("the source was closed %d times", j.source.closed)
	}
}

// reading is an open file.
type reading struct {
	pid    *actor.PID
	pieces int
	data   []byte
	ended  bool
	err    error
	hold   bool // pieces are taken without asking for more
}

func (r *rig) open(c file.CHK) *reading {
	r.Helper()
	return r.openAs(lease.Authority{}, c)
}

// openAs opens a file under an authority.
func (r *rig) openAs(a lease.Authority, c file.CHK) *reading {
	r.Helper()
	f := &reading{}
	r.send(client.Open{ReplyTo: r.inbox(func(m any) { f.pid = m.(client.Opened).PID }), Cap: c, Authority: a})
	r.until("an open file", time.Minute, func() bool { return f.pid != nil })
	return f
}

func (r *rig) read(f *reading, offset, length int64, credit int) {
	f.data, f.pieces, f.ended, f.err = nil, 0, false, nil
	to := f.pid
	in := r.inbox(func(m any) {
		switch m := m.(type) {
		case client.Piece:
			f.data, f.pieces = append(f.data, m.Data...), f.pieces+1
			if !f.hold {
				r.world.Sys.Send(to, client.MorePieces{Count: 1})
			}
		case client.RangeEnd:
			f.ended = true
		case error:
			f.err = m
		}
	})
	r.world.Sys.Send(to, client.ReadRange{ReplyTo: in, Offset: offset, Length: length, Credit: credit})
}

// readAll reads a range and wants it to be right.
func (r *rig) readAll(f *reading, data []byte, offset, length int64) {
	r.Helper()
	r.read(f, offset, length, 2)
	r.until("the end of the range", 10*time.Minute, func() bool { return f.ended || f.err != nil })
	if f.err != nil || !bytes.Equal(f.data, data[offset:offset+length]) {
		r.Fatalf("%d bytes from %d: %d came, error %v", length, offset, len(f.data), f.err)
	}
}
