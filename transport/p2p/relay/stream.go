package relay

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// asked is a stream by which somebody asks for a slot or a circuit; that
// circuit's client then uses it.
type asked struct {
	network.Stream
	once sync.Once
	end  func()
}

// ask counts a stream in; false if its address has too many.
func (s *Service) ask(st network.Stream) (network.Stream, bool) {
	c := st.Conn()
	from, ok := sourceOf(c.RemoteMultiaddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || s.asking[from] >= s.limits.CircuitsPerAddress+s.limits.ReservationsPerAddress {
		s.refused++
		return nil, false
	}
	s.asking[from]++
	s.uses[c]++
	return &asked{Stream: st, end: func() { s.answered(from, c) }}, true
}

func (s *Service) answered(from netip.Prefix, c network.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking[from]--; s.asking[from] == 0 {
		delete(s.asking, from)
	}
	if s.uses[c]--; s.uses[c] == 0 {
		delete(s.uses, c)
	}
}

// Close, Reset and ResetWithError end the stream; the relay calls one of them.
func (a *asked) Close() error {
	defer a.once.Do(a.end)
	return a.Stream.Close()
}

func (a *asked) Reset() error {
	defer a.once.Do(a.end)
	return a.Stream.Reset()
}

func (a *asked) ResetWithError(code network.StreamErrorCode) error {
	defer a.once.Do(a.end)
	return a.Stream.ResetWithError(code)
}

// passing is the server's end of a circuit: every byte of it, and of its
// handshake, goes through here.
type passing struct {
	network.Stream
	service  *Service
	server   peer.ID
	slot     *slot
	since    time.Time
	to, from atomic.Uint64 // bytes
	once     sync.Once
}

// pass counts a circuit in.
func (s *Service) pass(st network.Stream, server peer.ID) (network.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.slots[server]
	if r == nil || len(s.circuits) >= s.limits.Circuits {
		_ = st.Reset() // nobody waits for it
		return nil, fmt.Errorf("open circuit: %w", network.ErrResourceLimitExceeded)
	}
	c := &passing{Stream: st, service: s, server: server, slot: r, since: time.Now()}
	r.circuits++
	s.circuits[c] = struct{}{}
	return c, nil
}

func (c *passing) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	c.from.Add(uint64(n))
	if !c.service.spend(c.slot, n) {
		return 0, errSpent
	}
	return n, err
}

func (c *passing) Write(b []byte) (int, error) {
	if !c.service.spend(c.slot, len(b)) {
		return 0, errSpent
	}
	n, err := c.Stream.Write(b)
	c.to.Add(uint64(n))
	return n, err
}

// Close, Reset and ResetWithError end the circuit; the relay calls one of them.
func (c *passing) Close() error {
	defer c.once.Do(c.ended)
	return c.Stream.Close()
}

func (c *passing) Reset() error {
	defer c.once.Do(c.ended)
	return c.Stream.Reset()
}

func (c *passing) ResetWithError(code network.StreamErrorCode) error {
	defer c.once.Do(c.ended)
	return c.Stream.ResetWithError(code)
}

func (c *passing) ended() {
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	delete(c.service.circuits, c)
	c.slot.circuits--
}
