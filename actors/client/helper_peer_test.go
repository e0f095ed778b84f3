package client_test

import (
	"crypto/ed25519"
	"slices"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// helperPeer is a helper of a few lines, which misbehaves as it is told. It
// places share n at the n-th server by itself.
type helperPeer struct {
	rig      *rig
	key      ed25519.PrivateKey
	listener transport.Listener

	sessions int
	asks     []*wire.AskHelp
	got      []byte // of the ciphertext
	received int    // bytes in all
	idle     bool   // stores nothing
	// spoil changes the ciphertext before it is encoded, for the n-th time.
	spoil func(n int, ciphertext []byte)
	made  int
	// rightHash is told of what came, whatever was made of it.
	rightHash bool
	copies    int // how many servers get each share; 0 is one
	// instead is asked about each frame that comes: whether it did something else.
	instead func(s *helperSession, f wire.Frame) bool
	// after is told of each frame that was served.
	after func(s *helperSession, f wire.Frame)
	// greet is told of each session.
	greet func(s *helperSession)
}

type helperSession struct {
	*helperPeer
	session transport.Session
	conv    transport.Conversation
}

func newHelperPeer(r *rig) *helperPeer {
	p := &helperPeer{rig: r, key: key(99)}
	l, err := r.net.Listen("helper", p.key, p.accept)
	r.must(err)
	p.listener = l
	return p
}

func (p *helperPeer) target() *transport.Target {
	return &transport.Target{Server: idOf(p.key), Hints: []grid.Hint{"/dns/helper/tcp/1"}, Connections: transport.DirectConnections}
}

func (p *helperPeer) accept(s transport.Session) transport.SessionEvents {
	p.sessions++
	hs := &helperSession{helperPeer: p, session: s}
	s.Admit()
	if p.greet != nil {
		p.greet(hs)
	}
	return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
		hs.conv = c
		return hs.heard, 1000
	}}
}

func (s *helperSession) heard(ev transport.Event) {
	m, ok := ev.(transport.Received)
	if !ok {
		return
	}
	defer m.Frame.Release()
	if s.instead != nil && s.instead(s, m.Frame) {
		return
	}
	s.serve(m.Frame)
	if s.after != nil {
		s.after(s, m.Frame)
	}
}

func (s *helperSession) serve(f wire.Frame) {
	switch m := f.Message.(type) {
	case *wire.Hello:
		s.answer(f, &wire.Hello{Version: wire.Version, MaxBody: 1 << 20, MaxRequests: 4})
	case *wire.AskHelp:
		s.asks = append(s.asks, m)
		if m.Anew {
			s.got = nil
		}
		s.answer(f, s.state())
		s.finish()
	case *wire.HelpData:
		s.received += f.BodySize()
		if int(m.Offset) != len(s.got) {
			s.rig.Errorf("a part at %d, and %d are there", m.Offset, len(s.got))
		}
		s.got = append(s.got, f.Bytes()...)
		s.answer(f, s.state())
		s.finish()
	}
}

func (s *helperSession) ask() *wire.AskHelp { return s.asks[len(s.asks)-1] }

func (s *helperSession) state() *wire.Helped {
	h := &wire.Helped{State: wire.HelpWants, Have: uint64(len(s.got))}
	if h.Have == s.ask().Size {
		h.State = wire.HelpPlaces
	}
	return h
}

// finish places the file once it is whole.
func (s *helperSession) finish() {
	m := s.ask()
	if uint64(len(s.got)) < m.Size {
		return
	}
	ciphertext := slices.Clone(s.got)
	s.made++
	if s.spoil != nil {
		s.spoil(s.made, ciphertext)
	}
	hash, shares := s.encode(m, ciphertext)
	if s.rightHash {
		hash, _ = s.encode(m, s.got)
	}
	if !s.idle {
		s.place(m.StorageIndex, shares)
	}
	s.say(&wire.Helped{State: wire.HelpDone, Have: m.Size, UEBHash: hash, Pushed: uint(len(shares))})
}

func (p *helperPeer) place(si grid.StorageIndex, shares [][]byte) {
	for n, share := range shares {
		for i := range max(1, p.copies) {
			server := p.rig.peers[(n+i)%len(p.rig.peers)]
			(&peerSession{peer: server}).keep(si, grid.ShareNum(n), share)
		}
	}
}

func (p *helperPeer) encode(m *wire.AskHelp, ciphertext []byte) ([32]byte, [][]byte) {
	params := file.Params{Needed: int(m.Needed), Happy: int(m.Happy), Total: int(m.Total), SegmentSize: int64(m.SegmentSize)}
	l, err := immutable.NewLayout(int64(m.Size), params)
	p.rig.must(err)
	e, err := immutable.NewCiphertextEncoder(l, m.StorageIndex)
	p.rig.must(err)
	c, shares := p.rig.encodeWith(e, ciphertext)
	return c.UEBHash, shares
}

func (s *helperSession) answer(f wire.Frame, m wire.Message) {
	s.conv.Send(wire.Frame{ID: f.ID, Answer: true, Message: m})
}

// say is a notice.
func (s *helperSession) say(m wire.Message) { s.conv.Send(wire.Frame{Message: m}) }
