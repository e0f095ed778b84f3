// Package client is the client branch of the supervision tree: it learns
// servers from introducers, keeps one connection to each, and moves files.
//
// Client is the top. Below it are vault, which signs and never exports a key;
// broker, which knows who the servers are and how each is reached; one
// introduction for each introducer; one server actor for each storage server,
// with a host and an identity of its own; renewer, which keeps alive what the
// journal lists; and one upload or download actor for each file under way.
//
// Promises: no two connections share an identity, and none is used again after
// it was lost; a connection that fails harms no other; an upload is finished
// only when enough distinct servers say that their shares are durable and
// leased; not a byte of a download is handed on before it was verified against
// the capability. The actors use nothing but their env.Env, so the simulation
// runs them as they are.
package client

import (
	"log/slog"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// Config is what the client branch needs. It is not changed once given.
type Config struct {
	// Dialer makes connections, each under a new identity.
	Dialer transport.Dialer
	// Introducers to learn servers from.
	Introducers []Introducer
	// Authority is what the node may use, the preferred holdings first.
	Authority lease.Authority
	// References keeps what servers handed out, across restarts.
	References ReferenceCache
	// Journal remembers what was stored.
	Journal Journal
}

// Introducer is one introducer and where its announcements are cached.
type Introducer struct {
	Target transport.Target
	Cache  AnnouncementCache
}

// AnnouncementCache keeps what one introducer announced. Both methods may
// block and are called by one goroutine at a time.
type AnnouncementCache interface {
	// Load returns the signed announcements (wire.OpenAnnouncement) that were
	// saved; unreadable ones are left out and reported in the error.
	Load() ([][]byte, error)
	// Save replaces them all, durably.
	Save(announcements [][]byte) error
}

// ReferenceCache keeps a reference for each credential at each server. Its
// methods may block; any goroutine may call them.
type ReferenceCache interface {
	Load(server grid.ServerID, credential lease.CredentialID) ([]byte, error) // nil when there is none
	Save(server grid.ServerID, credential lease.CredentialID, reference []byte) error
}

// Journal is the list of what this client has stored: what has to be renewed.
// It holds nothing that lets anybody read a file. Its methods may block; any
// goroutine may call them. Lists go on behind what is given, from the beginning
// where that is nil, and say whether there is more.
type Journal interface {
	// Add notes a file, and leases on its shares; durable when it returns.
	Add(lease.JournalFile, []lease.PlacedLease) error
	// SetLeases notes what a server said of leases that are there.
	SetLeases(grid.ServerID, []lease.JournalLease) error
	// LeasesAfter lists leases at a server, by share.
	LeasesAfter(server grid.ServerID, share *lease.ShareID, limit int) (leases []lease.JournalLease, more bool, err error)
}

// Client supervises the client branch.
//
// Owns: which server has which actor.
// On failure: the whole branch starts anew; uploads and downloads under way end with an error.
type Client struct {
	env     *env.Env
	config  Config
	dialer  transport.Dialer // for servers
	vault   *actor.PID
	broker  *actor.PID
	renewer *actor.PID
	intros  []*actor.PID
	servers map[grid.ServerID]*actor.PID
	jobs    int // how many files were asked for, which names requests in logs
}

// New makes a Client.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Client{env: e, config: c, dialer: transport.AtMost(c.Dialer, maxDials), servers: map[grid.ServerID]*actor.PID{}}
	}
}

// Messages to Client.
type (
	// Put stores a file; answered by Stored or an error, with Progress before.
	Put struct {
		ReplyTo *actor.PID
		File    PutSpec
	}
	// Cancel gives up what was asked for with this address for replies.
	Cancel struct{ ReplyTo *actor.PID }
	// AskStatus is answered by Status, once every connection under way is
	// decided or time is up when Settled is set.
	AskStatus struct {
		ReplyTo *actor.PID
		Settled bool
	}
	// AddAuthority lets the node use more; answered by Done.
	AddAuthority struct {
		ReplyTo   *actor.PID
		Authority lease.Authority
	}
	// RemoveAuthority lets the node use less; answered by Done. Connections that
	// are logged in are made anew.
	RemoveAuthority struct {
		ReplyTo   *actor.PID
		Authority lease.Authority
	}
)

// Done answers what has no other answer.
type Done struct{}

// Receive implements actor.Actor.
func (c *Client) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case brokerUp:
		c.tellBroker(ctx)
	case serverKnown:
		c.known(ctx, m.announcement)
	case Put:
		c.env.Spawn.Child(ctx, "upload"+jobName(m.ReplyTo), newUpload(c.env, c.config, c.broker, c.job("put"), m))
	case Open:
		c.env.Spawn.Child(ctx, "download"+jobName(m.ReplyTo), newDownload(c.env, c.broker, c.job("get"), m))
	case Cancel:
		c.cancel(ctx, m)
	case AskStatus:
		ctx.Send(c.broker, m)
	case AskRenewals, RenewNow:
		ctx.Send(c.renewer, m)
	case AddAuthority:
		ctx.Send(c.vault, m)
		ctx.Send(c.broker, tryAgain{})
	case RemoveAuthority:
		ctx.Send(c.vault, m)
		c.each(func(pid *actor.PID) { ctx.Send(pid, loginAnew{}) })
	case *actor.Terminated:
		c.terminated(ctx, m.Who)
	}
}

func (c *Client) start(ctx actor.Context) {
	c.vault = c.env.Spawn.Child(ctx, "vault", newVault(c.config.Authority))
	c.broker = c.env.Spawn.Child(ctx, "broker", newBroker(c.env, len(c.config.Introducers)))
	c.renewer = c.env.Spawn.Child(ctx, "renewer", newRenewer(c.env, c.config.Journal, c.broker))
	for i, in := range c.config.Introducers {
		c.intros = append(c.intros, c.env.Spawn.Child(ctx, "introduction/"+itoa(i+1), newIntroduction(c.env, c.config.Dialer, in, i+1, c.broker)))
	}
}

// tellBroker has everything said again to a broker that knows nothing.
func (c *Client) tellBroker(ctx actor.Context) {
	for _, pid := range c.intros {
		ctx.Send(pid, sayAgain{})
	}
	c.each(func(pid *actor.PID) { ctx.Send(pid, sayAgain{}) })
	ctx.Send(c.renewer, sayAgain{})
}

// each visits the server actors in the order of their ids.
func (c *Client) each(visit func(*actor.PID)) {
	for _, id := range sortedServers(c.servers) {
		visit(c.servers[id])
	}
}

// known starts the actor of a server, or tells it what is new of it.
func (c *Client) known(ctx actor.Context, a grid.Announcement) {
	if pid := c.servers[a.Server]; pid != nil {
		ctx.Send(pid, announced{a})
		return
	}
	parts := serverParts{dialer: c.dialer, references: c.config.References, vault: c.vault, broker: c.broker}
	c.servers[a.Server] = c.env.Spawn.Child(ctx, "server/"+a.Server.String(), newServer(c.env, parts, a))
}

// cancel reaches a job by the name that it was given.
func (c *Client) cancel(ctx actor.Context, m Cancel) {
	for _, child := range ctx.Children() {
		if strings.HasSuffix(child.Id, jobName(m.ReplyTo)) {
			ctx.Send(child, m)
		}
	}
}

// job is the log of a file under way: all lines of it carry its name.
func (c *Client) job(kind string) *slog.Logger {
	c.jobs++
	return c.env.Log.With("request", kind+"-"+itoa(c.jobs))
}

// jobName ties a job to the address that its answers go to.
func jobName(replyTo *actor.PID) string { return "/for-" + replyTo.Id }

// terminated follows the end of a child: a file under way needs nothing more,
// a server is forgotten until it is announced again, and without the others
// there is no client.
func (c *Client) terminated(ctx actor.Context, who *actor.PID) {
	for id, pid := range c.servers {
		if pid.Equal(who) {
			delete(c.servers, id)
			ctx.Send(c.broker, serverGone{id})
			return
		}
	}
	if who.Equal(c.vault) || who.Equal(c.broker) || who.Equal(c.renewer) {
		panic("client: " + who.Id + " failed for good")
	}
}

// vault holds private keys. It signs and never exports.
//
// Owns: the authority that this node may use.
// On failure: starts anew with the authority that the node was started with.
type vault struct{ authority lease.Authority }

func newVault(a lease.Authority) env.Producer {
	return func() actor.Actor { return &vault{a} }
}

// signLogin asks for the login of the n-th credential at a server; answered
// by signedLogin.
type signLogin struct {
	replyTo     *actor.PID
	generation  uint64
	server      grid.ServerID
	beneficiary grid.PublicKey
	nonce       lease.Nonce
	credential  int
}

// signedLogin has ok false when there is no such credential.
type signedLogin struct {
	generation uint64
	ok         bool
	key        grid.PublicKey // that signed
	label      grid.PublicKey // whose the leases are
	id         lease.CredentialID
	chain      []byte
	request    []byte
	err        error
}

// Receive implements actor.Actor.
func (v *vault) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case signLogin:
		ctx.Send(m.replyTo, v.sign(m))
	case AddAuthority:
		v.authority = v.authority.Join(m.Authority)
		ctx.Send(m.ReplyTo, Done{})
	case RemoveAuthority:
		v.authority = v.authority.Without(m.Authority)
		ctx.Send(m.ReplyTo, Done{})
	}
}

func (v *vault) sign(m signLogin) signedLogin {
	credentials := v.authority.For(m.server)
	if m.credential >= len(credentials) {
		return signedLogin{generation: m.generation}
	}
	c := credentials[m.credential]
	_, labelled := c.Chain.Label()
	request := lease.Request{Beneficiary: m.beneficiary, Nonce: m.nonce, SignerGetsLease: !labelled}
	request.Server = &m.server
	signed, err := request.Sign(c.Chain, c.Key)
	return signedLogin{
		generation: m.generation, ok: true, err: err,
		key: grid.PublicKeyOf(c.Key), label: c.Label(), id: c.ID(), chain: c.Chain.Encode(), request: signed,
	}
}
