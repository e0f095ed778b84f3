package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// peers is the little that a host has to know of others: at which addresses to
// dial the few that it dials. libp2p's own takes 22 KiB and a goroutine for each host,
// and keeps the key of everybody who ever came, which here is another one for each
// connection; every key that counts is in its owner's name.
type peers struct {
	id  peer.ID
	key crypto.PrivKey

	mu    sync.Mutex
	addrs map[peer.ID][]ma.Multiaddr
}

var (
	_ peerstore.Peerstore         = (*peers)(nil)
	_ peerstore.CertifiedAddrBook = (*peers)(nil)
)

func newPeers(id peer.ID, key crypto.PrivKey) *peers {
	return &peers{id: id, key: key, addrs: map[peer.ID][]ma.Multiaddr{}}
}

// Addrs are those of a peer.
func (p *peers) Addrs(id peer.ID) []ma.Multiaddr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.addrs[id])
}

// AddAddrs adds those that are not known yet, for as long as the host lives.
func (p *peers) AddAddrs(id peer.ID, addrs []ma.Multiaddr, _ time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addrs {
		if !slices.ContainsFunc(p.addrs[id], a.Equal) {
			p.addrs[id] = append(p.addrs[id], a)
		}
	}
}

// SetAddrs replaces them.
func (p *peers) SetAddrs(id peer.ID, addrs []ma.Multiaddr, _ time.Duration) {
	p.ClearAddrs(id)
	p.AddAddrs(id, addrs, 0)
}

// ClearAddrs forgets them.
func (p *peers) ClearAddrs(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.addrs, id)
}

// PeersWithAddrs are those that are dialled.
func (p *peers) PeersWithAddrs() peer.IDSlice {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all peer.IDSlice
	for id := range p.addrs {
		all = append(all, id)
	}
	return all
}

// AddrStream gives those that are known.
func (p *peers) AddrStream(_ context.Context, id peer.ID) <-chan ma.Multiaddr {
	addrs := p.Addrs(id)
	all := make(chan ma.Multiaddr, len(addrs))
	for _, a := range addrs {
		all <- a
	}
	close(all)
	return all
}

// PubKey is in the name.
func (p *peers) PubKey(id peer.ID) crypto.PubKey {
	key, err := id.ExtractPublicKey()
	if err != nil {
		return nil
	}
	return key
}

// PrivKey is the host's own.
func (p *peers) PrivKey(id peer.ID) crypto.PrivKey {
	if id != p.id {
		return nil
	}
	return p.key
}

// PeerInfo is a peer with its addresses.
func (p *peers) PeerInfo(id peer.ID) peer.AddrInfo { return peer.AddrInfo{ID: id, Addrs: p.Addrs(id)} }

// What follows is as short as the rest of a peerstore can be: nothing here uses it.

var errNotKept = errors.New("a host keeps nothing of its peers")

func (p *peers) AddAddr(id peer.ID, a ma.Multiaddr, ttl time.Duration) {
	p.AddAddrs(id, []ma.Multiaddr{a}, ttl)
}

func (p *peers) SetAddr(id peer.ID, a ma.Multiaddr, ttl time.Duration) {
	p.SetAddrs(id, []ma.Multiaddr{a}, ttl)
}

func (p *peers) Put(_ peer.ID, key string, _ any) error { return fmt.Errorf("%w: %s", errNotKept, key) }

func (p *peers) ConsumePeerRecord(*record.Envelope, time.Duration) (bool, error) { return true, nil }
func (p *peers) FirstSupportedProtocol(peer.ID, ...protocol.ID) (protocol.ID, error) {
	return "", nil
}
func (p *peers) SupportsProtocols(peer.ID, ...protocol.ID) ([]protocol.ID, error) { return nil, nil }
func (p *peers) GetProtocols(peer.ID) ([]protocol.ID, error)                      { return nil, nil }
func (p *peers) AddProtocols(peer.ID, ...protocol.ID) error                       { return nil }
func (p *peers) SetProtocols(peer.ID, ...protocol.ID) error                       { return nil }
func (p *peers) RemoveProtocols(peer.ID, ...protocol.ID) error                    { return nil }
func (p *peers) UpdateAddrs(peer.ID, time.Duration, time.Duration)                {}
func (p *peers) GetPeerRecord(peer.ID) *record.Envelope                           { return nil }
func (p *peers) AddPubKey(peer.ID, crypto.PubKey) error                           { return nil }
func (p *peers) AddPrivKey(peer.ID, crypto.PrivKey) error                         { return nil }
func (p *peers) PeersWithKeys() peer.IDSlice                                      { return peer.IDSlice{p.id} }
func (p *peers) Get(peer.ID, string) (any, error)                                 { return nil, peerstore.ErrNotFound }
func (p *peers) RecordLatency(peer.ID, time.Duration)                             {}
func (p *peers) LatencyEWMA(peer.ID) time.Duration                                { return 0 }
func (p *peers) Peers() peer.IDSlice                                              { return p.PeersWithAddrs() }
func (p *peers) RemovePeer(peer.ID)                                               {}
func (p *peers) Close() error                                                     { return nil }
