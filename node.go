package tarn

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/actors/relay"
	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/tor"
)

// Node is a running node. Its methods are safe for concurrent use.
type Node struct {
	config  Config
	folder  nodeFolder
	log     *slog.Logger
	started time.Time

	system    *env.System
	root      *env.PID
	warm      *warmer
	counters  counters
	transfers transfers
	wholes    *semaphore.Weighted // what of holdWhole is in use

	prohibited *blacklist
	metrics    *prometheus.Registry
	lock       *os.File
	store      *store.Store   // nil without the storage role
	journal    *store.Journal // nil without the client role
	caps       *renewalFiles  // nil without the renewer role
	onions     onions

	// joining guards introducers, those of the client: configured, or brought by
	// a membership.
	joining     sync.Mutex
	introducers []IntroducerRef

	done    chan struct{}
	once    sync.Once // closes done
	err     error     // why, set before done is closed
	closing sync.Once
}

// leaseDuration is how long a lease lasts, as in Tahoe-LAFS.
const leaseDuration = 31 * 24 * time.Hour

// Open starts a node in this process. It returns when the node can be used;
// its connections are made meanwhile. Errors: ErrFolderInUse, ErrPortInUse.
func Open(ctx context.Context, c Config) (*Node, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{config: c.withOnions(), folder: nodeFolder{c.Dir}, log: c.Log, started: time.Now(), done: make(chan struct{}), counters: newCounters(), wholes: semaphore.NewWeighted(wholeBudget)}
	n.prohibited = &blacklist{path: n.folder.path(blacklistFile), log: c.Log}
	n.metrics = n.newRegistry()
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(public(err), n.release())
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) (err error) {
	if err := n.config.checkAnonymous(); err != nil {
		return err
	}
	if n.lock, err = n.folder.lock(); err != nil {
		return err
	}
	if err := n.folder.prepare(); err != nil {
		return err
	}
	if _, err := n.folder.overrides().Load(); err != nil {
		return fmt.Errorf("read the file of servers: %w", err)
	}
	parts, err := n.parts()
	if err != nil {
		return err
	}
	n.system = env.NewReal(n.log)
	n.warm = newWarmer(n.system)
	root, dead := n.system.Root("node", actors.New(n.system.Env, parts))
	n.root = root
	go func() { // ends with the root, which Close ends
		<-dead
		n.end(errors.New("a failure inside the node; the log says more"))
	}()
	if err := n.listening(ctx); err != nil {
		return errors.Join(err, n.system.Stop(ctx))
	}
	return nil
}

// dialPace is what all roles of a node dial together: what a client may, and some
// for the others, so that they need not wait for all of its servers.
var dialPace = transport.Pace{PerMinute: 360, Burst: 150}

// parts puts the roles together.
func (n *Node) parts() (actors.Config, error) {
	c := actors.Config{Fatal: n.end}
	dialer := transport.Paced(p2p.NewDialer(p2p.Options{SOCKS: tor.Address(n.config.Tor.SOCKS)}), dialPace)
	if n.config.Client != nil {
		parts, err := n.clientParts(dialer)
		if err != nil {
			return c, err
		}
		c.Client = parts
	}
	if n.config.Storage != nil {
		parts, err := n.storageParts(dialer)
		if err != nil {
			return c, err
		}
		c.Storage = parts
	}
	if in := n.config.Introducer; in != nil {
		c.Introducer = &introducer.Config{
			Listen: n.listen(in.Key, in.Listen, in.OnionKey), Store: published{n.folder.private("announcements")}, Fatal: n.end,
		}
	}
	if n.config.Relay != nil {
		parts, err := n.relayParts(dialer)
		if err != nil {
			return c, err
		}
		c.Relay = parts
	}
	if m := n.config.Manager; m != nil {
		c.Manager = &manager.Config{Key: m.Key, Listen: n.listen(m.Key, m.Listen, m.OnionKey), Store: n.folder.memberFiles(), Fatal: n.end}
	}
	if n.config.Aggregator != nil {
		parts, err := n.aggregatorParts(dialer)
		if err != nil {
			return c, err
		}
		c.Aggregator = parts
	}
	if n.config.Helper != nil {
		c.Helper = n.helperParts(dialer)
	}
	if n.config.Renewer != nil {
		c.Renewer = n.renewerParts(dialer)
	}
	if n.config.Repairer != nil {
		c.Repairer = n.repairerParts(dialer)
	}
	return c, nil
}

func (n *Node) clientParts(dialer transport.Dialer) (*client.Config, error) {
	w, err := OpenWallet(n.config)
	if err != nil {
		return nil, err
	}
	authority, err := w.given() // cards come from the memberships themselves
	if err != nil {
		return nil, err
	}
	authority = authority.Join(w.ownAuthority())
	if n.journal, err = n.folder.openJournal(); err != nil {
		return nil, err
	}
	c := &client.Config{
		Dialer: dialer, Rules: n.config.rules(), Overrides: n.folder.overrides(), Account: n.config.Client.Account, Authority: authority, Named: n.namedServers(),
		References: references{n.folder.private("references")}, Journal: n.journal,
		Subcontract: n.config.Client.Subcontract, Keys: keyFolder{n.folder.private("keys")}, KeysTogether: runtime.GOMAXPROCS(0),
	}
	for _, ref := range n.config.Introducers {
		c.Introducers = append(c.Introducers, n.introducer(ref))
	}
	n.introducers = slices.Clone(n.config.Introducers)
	memberships, err := n.folder.memberships()
	if err != nil {
		return nil, err
	}
	for _, ref := range memberships {
		c.Memberships = append(c.Memberships, n.folder.membership(n.config, ref))
		for _, in := range n.addIntroducers(ref.Introducers) {
			c.Introducers = append(c.Introducers, n.introducer(in))
		}
	}
	return c, nil
}

// namedServers are those that get new shares whatever an account manager says:
// the node's own among them.
func (n *Node) namedServers() []grid.ServerID {
	named := slices.Clone(n.config.Client.Servers)
	if n.config.Storage != nil {
		named = append(named, grid.ServerID(grid.PublicKeyOf(n.config.Storage.Key)))
	}
	return named
}

func (n *Node) storageParts(dialer transport.Dialer) (*server.Config, error) {
	keys, err := n.folder.referenceKeys(func(b []byte) { _, _ = rand.Read(b) }) // never fails
	if err != nil {
		return nil, err
	}
	if n.store, err = n.folder.openStorage(); err != nil {
		return nil, err
	}
	sequence, err := n.folder.sequence(uint64(n.started.UnixMilli()))
	if err != nil {
		return nil, err
	}
	s := n.config.Storage
	c := &server.Config{
		Key: s.Key, Nickname: n.config.Nickname, Listen: n.listen(s.Key, s.Listen, s.OnionKey), Announce: s.Announce,
		NodeID: s.NodeID, PermutationSeed: s.PermutationSeed, Sequence: sequence, Dialer: dialer, Store: serverStore{n.store}, References: keys,
		Policy:           lease.LedgerPolicy{Duration: leaseDuration, ReservedSpace: reservedSpace(s.ReservedSpace)},
		ReadsNeedAccount: s.ReadsNeedAccount, Relays: n.config.relays(), Introducers: n.config.targets(), Anonymous: n.config.Anonymous, Fatal: n.end,
	}
	if s.PassOnBelow > 0 {
		if err := os.MkdirAll(n.folder.private("storage"), 0o700); err != nil {
			return nil, fmt.Errorf("prepare the node's folder: %w", err)
		}
		c.Passing = &server.Passing{Below: s.PassOnBelow, Connections: n.roleConnections("storage", dialer)}
		c.Passing.Connections.References = newHelperReferences() // nothing is ever in it: it has no key to log in with
	}
	return c, nil
}

// roleConnections are those of a role that reaches servers without an authority
// of its own.
func (n *Node) roleConnections(role string, dialer transport.Dialer) client.Config {
	c := client.Config{Dialer: dialer, Rules: n.config.rules(), Overrides: n.folder.overrides(), OnlyLent: true}
	for _, ref := range n.config.Introducers {
		c.Introducers = append(c.Introducers, n.introducer(ref, role))
	}
	return c
}

// reservedSpace is what shares may not take, so that the table does not take
// what is reserved for others.
func reservedSpace(configured int64) int64 {
	if configured == 0 {
		return 0
	}
	return configured + store.Growth
}

// end notes why the node ended; only the first reason counts.
func (n *Node) end(err error) {
	n.once.Do(func() {
		n.err = err
		close(n.done)
	})
}

// listening waits until the roles that listen do, which is when they answer, and
// lets a node's own client store on it.
func (n *Node) listening(ctx context.Context) error {
	ctx, cancel := n.until(ctx)
	defer cancel()
	if n.config.Introducer != nil {
		if _, err := ask[introducer.Status](ctx, n, actors.ToIntroducer{Message: introducer.AskStatus{}}); err != nil {
			return n.cause(err)
		}
	}
	if n.config.Relay != nil {
		if _, err := ask[relay.Status](ctx, n, actors.ToRelay{Message: relay.AskStatus{}}); err != nil {
			return n.cause(err)
		}
	}
	if n.config.Manager != nil {
		if _, err := ask[manager.Status](ctx, n, actors.ToManager{Message: manager.AskStatus{}}); err != nil {
			return n.cause(err)
		}
	}
	if n.config.Helper != nil {
		if _, err := ask[helper.Status](ctx, n, actors.ToHelper{Message: helper.AskStatus{}}); err != nil {
			return n.cause(err)
		}
	}
	if n.config.Renewer != nil {
		if _, err := ask[renewer.Caps](ctx, n, actors.ToRenewer{Message: renewer.AskCaps{}}); err != nil {
			return n.cause(err)
		}
	}
	if n.config.Repairer != nil {
		if _, err := ask[repairer.Owners](ctx, n, actors.ToRepairer{Message: repairer.AskOwners{}}); err != nil {
			return n.cause(err)
		}
	}
	if n.config.Storage == nil {
		return nil
	}
	if _, err := ask[server.Status](ctx, n, actors.ToStorage{Message: server.AskStatus{}}); err != nil {
		return n.cause(err)
	}
	if n.config.Client == nil {
		return nil
	}
	return n.addSelf(ctx)
}

// until is a context that also ends with the node.
func (n *Node) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-n.done:
			cancel(n.err)
		case <-stop:
		}
	}()
	return ctx, sync.OnceFunc(func() { close(stop); cancel(context.Canceled) })
}

// cause prefers the reason of the node's end to its consequences.
func (n *Node) cause(err error) error {
	select {
	case <-n.done:
		return n.err
	default:
		return err
	}
}

// ask sends a message to the root and waits for the answer.
func ask[R any](ctx context.Context, n *Node, message any) (R, error) {
	return env.Ask[R](ctx, n.system, n.root, func(*env.PID) any { return message }, nil)
}

// askRole is ask for as long as the node lives; it says why where that ends.
func askRole[R any](ctx context.Context, n *Node, message any) (R, error) {
	ctx, cancel := n.until(ctx)
	defer cancel()
	answer, err := ask[R](ctx, n, message)
	return answer, n.cause(err)
}

// accountOf is the account of a role that has one key for everybody.
func accountOf(key ed25519.PrivateKey) lease.Account {
	return lease.OneKeyAccount([lease.SeedSize]byte(key.Seed()))
}

// Close ends the node in good order: what is under way fails, what was
// acknowledged is durable.
func (n *Node) Close(ctx context.Context) error {
	var err error
	n.closing.Do(func() {
		n.end(ErrClosed)
		n.warm.close()
		err = errors.Join(n.system.Stop(ctx), n.release())
	})
	return err
}

// release lets the folder go.
func (n *Node) release() error {
	var err error
	if n.store != nil {
		err = n.store.Close()
	}
	if n.journal != nil {
		err = errors.Join(err, n.journal.Close())
	}
	if n.caps != nil {
		err = errors.Join(err, n.caps.close())
	}
	if n.lock != nil {
		err = errors.Join(err, n.lock.Close())
	}
	return err
}

// Done is closed when the node has ended, by itself or by Close. Err then says
// why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node ended; nil while it runs.
func (n *Node) Err() error {
	select {
	case <-n.done:
		return n.err
	default:
		return nil
	}
}

// punches says that a server which is reached through a relay tells clients its
// address, so that they connect directly.
func (n *Node) punches() bool {
	return n.config.Storage != nil && n.config.Storage.Relays != nil && !n.config.Anonymous && n.config.rules().Connections.MayPunch()
}

// listen is how a role accepts connections.
func (n *Node) listen(key ed25519.PrivateKey, addresses []string, onion ed25519.PrivateKey) inbound.Listen {
	return func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
		l, err := p2p.Listen(key, addresses, p2p.Options{SOCKS: tor.Address(n.config.Tor.SOCKS), Onion: n.onionOf(onion), Punch: n.punches()}, accept)
		if err != nil && isInUse(err) {
			return nil, fmt.Errorf("%w: %w", ErrPortInUse, err)
		}
		return l, err
	}
}

// version is the module's, as the build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
