package privacy

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
)

// observed is a grid of two real storage servers behind observers, and the
// clients that are to be told apart.
type observed struct {
	*testing.T
	system    *env.System
	observers [2]*observer
	servers   [2]*env.PID
	announced []client.Cached
	manager   ed25519.PrivateKey
	clients   []*watched
	times     []string // that each has connected, by what for
}

// watched is a client, of whom the test knows under which keys it came.
type watched struct {
	transport.Dialer
	refs   references
	config client.Config
	pid    *env.PID
	dead   <-chan struct{}
	starts int

	mu   sync.Mutex
	keys []map[grid.ServerID]grid.PublicKey // by time
}

// Dial notes the key of each session: where all come at once some are turned away
// and come again.
func (w *watched) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	return w.Dialer.Dial(t, ev, func(s transport.Session, err error) {
		if err == nil {
			w.mu.Lock()
			w.keys[len(w.keys)-1][t.Server] = s.Local()
			w.mu.Unlock()
		}
		done(s, err)
	})
}

func newKey(t *testing.T) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newObserved has servers that know TLS alone, or Noise alone.
func newObserved(t *testing.T, noise bool) *observed {
	g := &observed{T: t, times: []string{"connect"}, system: env.NewReal(slog.New(slog.DiscardHandler)), manager: newKey(t)}
	for i := range g.observers {
		o, err := newObserver(newKey(t), noise)
		g.must(err)
		g.observers[i] = o
		fatal := func(err error) { t.Errorf("server %d can't go on: %v", i, err) }
		g.servers[i], _ = g.system.Root(fmt.Sprintf("server%d", i), actors.New(g.system.Env, actors.Config{
			Storage: &server.Config{
				Key: o.key, Nickname: fmt.Sprint("server", i), Store: table{store.NewMemory()},
				Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
					return o.serve(accept), nil
				},
				References: lease.ReferenceKeys{{ID: 1, Secret: [32]byte{byte(i + 1)}}},
				Policy:     lease.LedgerPolicy{Duration: lease.LeaseDuration}, Fatal: fatal,
			},
			Fatal: fatal,
		}))
		signed, err := wire.SignAnnouncement(o.key, grid.Announcement{
			Server: o.id(), Sequence: 1, Hints: o.Hints(), Nickname: fmt.Sprint("server", i), PermutationSeed: []byte{byte(i)},
		})
		g.must(err)
		g.announced = append(g.announced, client.Cached{Signed: signed, Heard: time.Now()})
		g.putRoot(i, lease.Root{Key: grid.PublicKeyOf(g.manager), Petname: "manager"})
	}
	t.Cleanup(func() { g.must(g.system.Stop(context.Background())) })
	return g
}

func (g *observed) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *observed) putRoot(at int, r lease.Root) {
	_, err := env.Ask[server.Changed](g.Context(), g.system, g.servers[at], func(*env.PID) any {
		return actors.ToStorage{Message: server.PutRoot{Root: r}}
	}, nil)
	g.must(err)
}

// habits are how a client differs from others.
type habits struct {
	dialer transport.Dialer
	card   func(server grid.ServerID, key grid.PublicKey) lease.Chain // nil is none
	mixed  bool                                                       // it shows a server what another one gave it
}

// joinAll starts clients and waits until all are logged in at both servers.
func (g *observed) joinAll(n int, as func(client int) habits) {
	for i := range n {
		g.join(as(i))
		if last := len(g.clients) - atATime; last >= 0 {
			g.loggedIn(g.clients[last])
		}
	}
	for _, w := range g.clients[max(0, len(g.clients)-atATime+1):] {
		g.loggedIn(w)
	}
}

// atATime is how many clients connect at once.
const atATime = 8

// join starts a client.
func (g *observed) join(h habits) {
	account, err := lease.NewAccount(rand.Reader)
	g.must(err)
	w := &watched{
		Dialer: h.dialer, keys: []map[grid.ServerID]grid.PublicKey{{}},
		refs: references{all: map[string][]byte{}, mixed: h.mixed, saved: make(chan struct{}, 16), known: map[grid.ServerID]bool{}},
	}
	var authority lease.Authority
	for i, o := range g.observers {
		key := account.PublicKey(o.id())
		if h.card != nil {
			authority.Holdings = append(authority.Holdings, lease.Holding{Account: account, Chain: h.card(o.id(), key)})
			continue
		}
		g.putRoot(i, lease.Root{Key: key, Petname: fmt.Sprint("client", len(g.clients))})
		authority.Holdings = []lease.Holding{{Account: account}}
	}
	g.clients = append(g.clients, w)
	w.config = client.Config{
		Dialer: w, Rules: clause.Rules{Connections: transport.DirectConnections},
		Introducers: []client.Introducer{{Target: transport.Target{Server: grid.ServerID(grid.PublicKeyOf(newKey(g.T)))}, Cache: &cache{g.announced}}},
		Authority:   authority, Account: account, References: &w.refs, Journal: store.NewMemoryJournal(),
	}
	g.start(len(g.clients)-1, w)
}

func (g *observed) start(n int, w *watched) {
	w.starts++
	w.pid, w.dead = g.system.Root(fmt.Sprintf("client%d-%d", n, w.starts), actors.New(g.system.Env, actors.Config{
		Client: &w.config, Fatal: func(err error) { g.Errorf("a client can't go on: %v", err) },
	}))
}

// loggedIn waits for two logins.
func (g *observed) loggedIn(w *watched) {
	for range g.observers {
		select {
		case <-w.refs.saved:
		case <-time.After(time.Minute):
			g.Fatal("a client is not logged in within a minute")
		}
	}
}

// reconnect ends all connections and waits until every client is back.
func (g *observed) reconnect() {
	g.again("reconnect")
	for _, o := range g.observers {
		o.drop()
	}
	for _, w := range g.clients {
		g.loggedIn(w)
	}
}

// restart starts every client anew, with what it has on its disk, and waits until
// all are back.
func (g *observed) restart() {
	g.again("restart")
	for i, w := range g.clients {
		g.system.End(w.pid)
		<-w.dead
		g.start(i, w)
		if i >= atATime {
			g.loggedIn(g.clients[i-atATime])
		}
	}
	for _, w := range g.clients[max(0, len(g.clients)-atATime):] {
		g.loggedIn(w)
	}
}

// again begins a time that clients connect.
func (g *observed) again(what string) {
	g.times = append(g.times, what)
	for _, w := range g.clients {
		w.mu.Lock()
		w.keys = append(w.keys, map[grid.ServerID]grid.PublicKey{})
		w.mu.Unlock()
		w.refs.again()
	}
}

// population is what the observers saw.
func (g *observed) population() Population {
	var p Population
	for i, w := range g.clients {
		w.mu.Lock()
		sighting := func(o *observer) Sighting {
			s := NewSighting()
			for n, connection := range g.times {
				key, came := w.keys[n][o.id()]
				if !came {
					g.Fatalf("client %d did not come: %s", i, connection)
				}
				s.Values[connection+".key"] = key.String()
				o.of(key).add(s, connection)
			}
			return s
		}
		p = append(p, Client{A: sighting(g.observers[0]), B: sighting(g.observers[1])})
		w.mu.Unlock()
	}
	return p
}

// realDialer is the one of a node.
func realDialer() transport.Dialer { return p2p.NewDialer(p2p.Options{}) }

// cache is a client.AnnouncementCache.
type cache struct{ all []client.Cached }

func (c *cache) Load() ([]client.Cached, error) { return c.all, nil }
func (c *cache) Save(all []client.Cached) error { c.all = all; return nil }

// references is a client.ReferenceCache that tells when a first login at a server
// has succeeded.
type references struct {
	mu    sync.Mutex
	all   map[string][]byte
	mixed bool // there is one for all servers
	saved chan struct{}
	known map[grid.ServerID]bool // that were told
}

// again has the next login at each server told.
func (r *references) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = map[grid.ServerID]bool{}
}

func (r *references) at(id grid.ServerID, c lease.CredentialID) string {
	if r.mixed {
		return ""
	}
	return string(id[:]) + string(c[:])
}

func (r *references) Load(id grid.ServerID, c lease.CredentialID) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[r.at(id, c)], nil
}

func (r *references) Save(id grid.ServerID, c lease.CredentialID, reference []byte) error {
	r.mu.Lock()
	r.all[r.at(id, c)] = reference
	first := !r.known[id]
	r.known[id] = true
	r.mu.Unlock()
	if first {
		r.saved <- struct{}{}
	}
	return nil
}
