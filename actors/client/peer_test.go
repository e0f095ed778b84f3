package client_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// peer is a storage server of a few lines, which misbehaves as it is told.
type peer struct {
	rig      *rig
	name     string
	key      ed25519.PrivateKey
	listener transport.Listener

	sessions []*peerSession
	asked    map[wire.Kind]int
	shares   map[grid.StorageIndex]map[grid.ShareNum][]byte
	pulled   map[grid.ShareNum][]byte // what has come of shares on their way
	pulls    []*peerPull
	reads    []uint64                      // offsets that were pulled
	accepts  func(signer int) wire.Message // answers the n-th login of all; nil accepts
	expires  time.Duration                 // of references
	leases   map[lease.ShareID]int64       // when each ends, Unix seconds; nil holds all that it is asked about
	batches  [][]lease.ShareID             // that were to be renewed
	column   []lease.HeldLease             // what it lists, by share
	lists    int                           // how many parts of it it was asked for
	instead  func(s *peerSession, f wire.Frame) bool
	patience int // reads outstanding in a pull
	stop     uint64
	logins   int
}

type peerSession struct {
	*peer
	session transport.Session
	conv    transport.Conversation
	over    bool
}

func newPeer(r *rig, n byte) *peer { return newPeerOf(r, int(n)) }

func newPeerOf(r *rig, n int) *peer {
	seed := binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), uint64(n))
	p := &peer{
		rig: r, name: fmt.Sprintf("server%d", n), key: ed25519.NewKeyFromSeed(seed), asked: map[wire.Kind]int{}, expires: 24 * time.Hour, patience: 4,
		shares: map[grid.StorageIndex]map[grid.ShareNum][]byte{}, pulled: map[grid.ShareNum][]byte{},
	}
	p.listen()
	return p
}

func (p *peer) listen() {
	l, err := p.rig.net.Listen(p.name, p.key, p.accept)
	p.rig.must(err)
	p.listener = l
}

func (p *peer) id() grid.ServerID { return idOf(p.key) }

func (p *peer) announcement(sequence uint64) []byte {
	id := p.id()
	b, err := wire.SignAnnouncement(p.key, grid.Announcement{
		Server: id, Sequence: sequence, Nickname: p.name, NodeID: id.DefaultNodeID(), PermutationSeed: id[:],
		Hints: []grid.Hint{grid.Hint("/dns/" + p.name + "/tcp/1")}, CertificateVersions: []uint{1},
	})
	p.rig.must(err)
	return b
}

func (p *peer) accept(s transport.Session) transport.SessionEvents {
	ps := &peerSession{peer: p, session: s}
	p.sessions = append(p.sessions, ps)
	s.Admit()
	return transport.SessionEvents{
		Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
			ps.conv = c
			return ps.heard, 1000
		},
		Closed: func(error) { ps.over = true },
	}
}

func (s *peerSession) heard(ev transport.Event) {
	m, ok := ev.(transport.Received)
	if !ok {
		return
	}
	defer m.Frame.Release()
	s.asked[m.Frame.Message.Kind()]++
	if s.instead != nil && s.instead(s, m.Frame) {
		return
	}
	s.serve(m.Frame)
}

func (s *peerSession) serve(f wire.Frame) {
	switch m := f.Message.(type) {
	case *wire.Hello:
		s.answer(f, &wire.Hello{Version: wire.Version, MaxBody: 1 << 20, MaxRequests: 64})
	case *wire.Login:
		s.logins++
		if s.accepts != nil {
			if refusal := s.accepts(s.logins); refusal != nil {
				s.answer(f, refusal)
				return
			}
		}
		s.answer(f, s.loggedIn())
	case *wire.Resume:
		s.answer(f, s.loggedIn())
	case *wire.Find:
		s.find(f, m)
	case *wire.Read:
		s.read(f, m)
	case *wire.Allocate:
		s.allocate(f, m)
	case *wire.RenewShares:
		s.renewShares(f)
	case *wire.Enumerate:
		s.enumerate(f, m)
	case *wire.AddLease:
		s.answer(f, &wire.Leased{Count: 1, Expires: 1})
	default:
		s.answer(f, &wire.Done{})
	}
}

// renewShares renews for a month what the peer has leases on.
func (s *peerSession) renewShares(f wire.Frame) {
	ids, err := wire.Shares(f.Bytes())
	s.rig.must(err)
	s.batches = append(s.batches, ids)
	end := s.rig.world.Now().Add(lease.LeaseDuration).Unix()
	outcomes := make([]byte, len(ids))
	for i, id := range ids {
		if _, ok := s.leases[id]; !ok && s.leases != nil {
			outcomes[i] = byte(wire.ShareNoLease)
		} else if ok {
			s.leases[id] = end
		}
	}
	s.answer(f, &wire.SharesDone{Count: uint(len(ids)), Expires: end}, outcomes)
}

// enumerate lists a part of the column.
func (s *peerSession) enumerate(f wire.Frame, m *wire.Enumerate) {
	s.lists++
	rest := s.column
	if after, ok := m.Behind(); ok {
		rest = slices.DeleteFunc(slices.Clone(rest), func(l lease.HeldLease) bool { return l.Share.Compare(after) <= 0 })
	}
	part := rest[:min(int(m.Most), len(rest))]
	var body []byte
	for _, l := range part {
		body = wire.AppendLease(body, l)
	}
	s.answer(f, &wire.Enumerated{Count: uint(len(part)), More: len(part) < len(rest)}, body)
}

func (s *peerSession) loggedIn() wire.Message {
	return &wire.LoggedIn{Reference: []byte("a reference"), Label: account(1).PublicKey(s.id()), Expires: s.rig.world.Now().Add(s.expires).Unix()}
}

func (s *peerSession) answer(f wire.Frame, m wire.Message, body ...[]byte) {
	s.conv.Send(wire.Frame{ID: f.ID, Answer: true, Message: m}.WithBody(nil, body...))
}

func cutRanges(share []byte, ranges []wire.Range) (lengths []uint64, body [][]byte) {
	for _, r := range ranges {
		from := min(r.Offset, uint64(len(share)))
		part := share[from:min(r.Offset+r.Length, uint64(len(share)))]
		lengths, body = append(lengths, uint64(len(part))), append(body, slices.Clone(part))
	}
	return lengths, body
}

func (s *peerSession) find(f wire.Frame, m *wire.Find) {
	found := &wire.Found{Room: 1 << 40}
	var body [][]byte
	for _, n := range slices.Sorted(maps.Keys(s.shares[m.StorageIndex])) {
		share := s.shares[m.StorageIndex][n]
		lengths, parts := cutRanges(share, m.Ranges)
		found.Shares = append(found.Shares, wire.FoundShare{Num: n, Size: uint64(len(share)), UEBHash: uebOf(n, share), Lengths: lengths})
		body = append(body, parts...)
	}
	s.answer(f, found, body...)
}

func (s *peerSession) read(f wire.Frame, m *wire.Read) {
	share, ok := s.shares[m.StorageIndex][m.Num]
	if !ok {
		s.answer(f, wire.NewError(wire.NoSuchShare, "none"))
		return
	}
	lengths, body := cutRanges(share, m.Ranges)
	s.answer(f, &wire.Data{Lengths: lengths}, body...)
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

func (s *peerSession) keep(si grid.StorageIndex, n grid.ShareNum, share []byte) {
	if s.shares[si] == nil {
		s.shares[si] = map[grid.ShareNum][]byte{}
	}
	s.shares[si][n] = share
}

func (s *peerSession) allocate(f wire.Frame, m *wire.Allocate) {
	if m.IfNone && len(s.shares[m.StorageIndex]) > 0 {
		s.find(f, &wire.Find{StorageIndex: m.StorageIndex})
		return
	}
	if body := slices.Clone(f.Bytes()); len(body) == int(m.Size) {
		s.keep(m.StorageIndex, m.Num, body)
		s.answer(f, &wire.Allocated{State: wire.NowStored, UEBHash: uebOf(m.Num, body)})
		return
	}
	s.answer(f, &wire.Allocated{State: wire.Coming, Have: uint64(len(s.pulled[m.Num]))})
	s.pull(m)
}

// peerPull reads an offered share.
type peerPull struct {
	*peerSession
	conv transport.Conversation
	m    *wire.Allocate
	next uint64 // offset of the next read
	open int
	id   uint64
	err  *wire.Error
	over bool // the client ended it
}

const pullStep = 64 << 10

func (s *peerSession) pull(m *wire.Allocate) *peerPull {
	p := &peerPull{peerSession: s, m: m, next: uint64(len(s.pulled[m.Num]))}
	p.conv = s.session.Open(transport.Pull, p.heard, 100)
	p.conv.Send(wire.Frame{Message: &wire.OpenOffer{Secret: m.Secret}})
	s.pulls = append(s.pulls, p)
	p.ask()
	return p
}

// ask reads on, up to where the peer was told to stop.
func (p *peerPull) ask() {
	for p.open < p.patience && p.next < p.m.Size && (p.stop == 0 || p.next < p.stop) {
		n := min(pullStep, p.m.Size-p.next)
		p.id++
		p.peer.reads = append(p.peer.reads, p.next)
		p.conv.Send(wire.Frame{ID: p.id, Message: &wire.ReadOffer{Offset: p.next, Length: n, Have: uint64(len(p.pulled[p.m.Num]))}})
		p.next += n
		p.open++
	}
}

func (p *peerPull) heard(ev transport.Event) {
	m, ok := ev.(transport.Received)
	if !ok {
		p.over = true
		return
	}
	p.conv.Grant(1)
	p.open--
	if e, refused := m.Frame.Message.(*wire.Error); refused {
		p.err = e
		return
	}
	p.pulled[p.m.Num] = append(p.pulled[p.m.Num], m.Frame.Bytes()...)
	m.Frame.Release()
	if share := p.pulled[p.m.Num]; uint64(len(share)) == p.m.Size {
		p.keep(p.m.StorageIndex, p.m.Num, share)
		p.peerSession.conv.Send(wire.Frame{Message: &wire.Stored{StorageIndex: p.m.StorageIndex, Num: p.m.Num, UEBHash: uebOf(p.m.Num, share)}})
		return
	}
	p.ask()
}
