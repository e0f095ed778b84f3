// Package client is the client branch of the supervision tree: it learns
// servers from introducers, keeps one connection to each, and moves files.
//
// Client is the top. Below it are vault, which signs and never exports a key;
// broker, which knows who the servers are and how each is reached; one
// introduction for each introducer; one server actor for each storage server,
// with a host and an identity of its own; renewer, which keeps alive what the
// journal lists; one upload, download, check or repair actor for each file under
// way, one mutable for each mutable file in use, and keys, which makes keys for
// those.
//
// Promises: no two connections share an identity, and none is used again after
// it was lost; a connection that fails harms no other; an upload is finished
// only when enough distinct servers say that their shares are durable and
// leased; not a byte of a download is handed on before it was verified against
// the capability. The actors use nothing but their env.Env, so the simulation
// runs them as they are.
package client

import (
	"crypto/rsa"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
)

// Config is what the client branch needs. It is not changed once given.
type Config struct {
	// Dialer makes connections, each under a new identity.
	Dialer transport.Dialer
	// Rules are the node's own settings of how servers are connected to,
	// Overrides the user's for some of them; nil where there are none.
	Rules     clause.Rules
	Overrides OverrideFile
	// Introducers to learn servers from.
	Introducers []Introducer
	// Authority is what the node may use, the preferred holdings first.
	Authority lease.Authority
	// Account is the node's own, from which its keys come; Authority has it too.
	Account lease.Account
	// Memberships are the account managers whose cards the node uses.
	Memberships []Membership
	// Named are servers that may get new shares though no account manager's grid
	// has them; those that an authority names need not stand here.
	Named []grid.ServerID
	// References keeps what servers handed out, across restarts.
	References ReferenceCache
	// Journal remembers what was stored; nil where nothing is.
	Journal Journal
	// Subcontract lets servers pass shares on to others that are named to them.
	// Two of them then know that they serve one client.
	Subcontract bool
	// NewKey makes the RSA key of a mutable file; nil is how it is done. It may
	// take its time, and is called by several goroutines.
	NewKey func(random io.Reader) (*rsa.PrivateKey, error)
	// Keys keeps those that are made ahead of time, nil where they end with the
	// process. KeysTogether is how many are made at the same time for who waits, one
	// if it is not set.
	Keys         KeyStore
	KeysTogether int
	// OnlyLent has no server connected to but under an authority that comes with
	// a request.
	OnlyLent bool
}

// Introducer is one introducer and where its announcements are cached.
type Introducer struct {
	Target transport.Target
	Cache  AnnouncementCache
}

// AnnouncementCache keeps what one introducer announced. Both methods may
// block and are called by one goroutine at a time.
type AnnouncementCache interface {
	// Load returns the announcements that were saved; unreadable ones are left
	// out and reported in the error.
	Load() ([]Cached, error)
	// Save replaces them all, durably.
	Save([]Cached) error
}

// Cached is an announcement as it was signed (wire.OpenAnnouncement), when it
// was last heard, or the server there, and about when the node was last
// connected to that; zero is never.
type Cached struct {
	Signed      []byte
	Heard, Used time.Time
}

// OverrideFile is where the user says of some servers how they are to be
// reached. Its method may block and is called by one goroutine at a time.
type OverrideFile interface {
	// Load returns the content, nil where there is no file.
	Load() ([]byte, error)
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
	branch   // under the node's own authority
	config   Config
	renewer  *actor.PID
	own      *actor.PID // reads the user's file
	turns    turns
	intros   []*actor.PID
	members  members
	jobs     int                            // how many files were asked for, which names requests in logs
	using    map[string]func(actor.Context) // ends the use of an authority, by the PID id of the job
	lent     map[lease.AuthorityID]*lending
	lendings int    // how many there were, which names them
	uses     uint64 // how many requests came that have servers do something
	mutables mutables
}

// New makes a Client.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Client{
			branch: newBranch(e, c), config: c, members: newMembers(), turns: newTurns(),
			using: map[string]func(actor.Context){}, lent: map[lease.AuthorityID]*lending{}, mutables: newMutables(),
		}
	}
}

// Messages to Client.
type (
	// Put stores a file; answered by Stored or an error, with Progress before.
	Put struct {
		ReplyTo *actor.PID
		File    PutSpec
		// Authority to store under; the node's own where it is empty.
		Authority lease.Authority
	}
	// Cancel gives up what was asked for with this address for replies.
	Cancel struct{ ReplyTo *actor.PID }
	// AskStatus is answered by Status, once every connection under way is
	// decided or time is up when Settled is set.
	AskStatus struct {
		ReplyTo *actor.PID
		Settled bool
		// Authority under which servers are connected; the node's own where it
		// is empty.
		Authority lease.Authority
	}
	// AskLent is answered by Lent. Looking is no use of an authority: it is let
	// go as if nobody had asked.
	AskLent struct{ ReplyTo *actor.PID }
	// TryAgain has servers tried at once that can't be reached or did not accept
	// the node.
	TryAgain struct{}
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

// Lent is what is connected under authorities that came with requests, in the
// order in which they were lent.
type Lent []LentAuthority

// LentAuthority is one of them.
type LentAuthority struct {
	Authority lease.Authority
	// PID takes an AskStatus.
	PID *actor.PID
}

// Done answers what has no other answer.
type Done struct{}

// Receive implements actor.Actor.
func (c *Client) Receive(ctx actor.Context) {
	if isUse(ctx.Message()) {
		c.uses++
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.start(ctx)
	case brokerUp:
		c.tellPlaces(ctx)
		ctx.Send(c.own, sayAgain{})
		c.each(func(pid *actor.PID) { ctx.Send(pid, sayAgain{}) })
		if c.renewer != nil {
			ctx.Send(c.renewer, sayAgain{})
		}
		c.askIntroducers(ctx)
		c.tellJobs(ctx, m)
	case lentUp:
		ctx.Send(c.own, sayAgain{})
		c.askIntroducers(ctx)
		c.tellJobs(ctx, brokerUp{})
	case heard:
		if m.used {
			c.turns.value(m.announcement.Server)
		}
		c.tellBrokers(ctx, m)
	case introducerReport:
		c.introductionSays(ctx, m)
	case overridden:
		c.userSays(ctx, m)
	case valued:
		c.valued(ctx, m)
	case pushedOut:
		c.tellBrokers(ctx, m.unheard)
	case aged:
		ctx.Send(c.broker, m)
	case reached:
		ctx.Send(c.intros[m.introducer-1], m)
	case unheard:
		c.tellBrokers(ctx, m)
		ctx.Send(c.intros[m.introducer-1], m)
	case serverKnown:
		if !c.config.OnlyLent {
			c.tellServer(ctx, m)
		}
	case serverLeft:
		c.drop(ctx, m.server)
	case askTurn:
		c.turns.ask(m)
		c.giveTurns(ctx)
	case turnOver:
		c.turns.over(m.pid)
		c.giveTurns(ctx)
	case turnsDue:
		c.turns.timer = false
		c.giveTurns(ctx)
	case Put:
		c.put(ctx, m)
	case Open:
		broker, done := c.under(ctx, m.Authority)
		// Child: client.download
		pid := c.env.Spawn.Child(ctx, "download"+jobName(m.ReplyTo), newDownload(c.env, broker, c.job("get"), m))
		c.using[pid.Id] = done
	case Check:
		broker, done := c.under(ctx, m.Authority)
		pid := c.env.Spawn.Child(ctx, "check"+jobName(m.ReplyTo), newCheck(c.env, c.config, broker, c.job("check"), m, false))
		c.using[pid.Id] = done
	case AskKey:
		ctx.Send(c.mutables.keys, m)
	case CreateMutable:
		c.createMutable(ctx, m)
	case OpenMutable:
		c.lookAtMutable(ctx, "open", m.ReplyTo, m.Cap, m.Authority, m)
	case CheckMutable:
		c.lookAtMutable(ctx, "check", m.ReplyTo, m.Cap, m.Authority, m)
	case RepairMutable:
		c.lookAtMutable(ctx, "repair", m.ReplyTo, m.Cap, m.Authority, m)
	case ReadMutable:
		c.useMutable(ctx, m.Cap, m.Authority, m)
	case WriteMutable:
		c.useMutable(ctx, m.Cap, m.Authority, m)
	case askUses:
		ctx.Send(m.replyTo, uses{c.uses})
	case restingMutable:
		for _, pid := range c.mutables.rests(m) {
			ctx.Poison(pid)
		}
	case idleMutable:
		c.idleMutable(ctx, m)
	case versionSeen:
		c.mutables.seen.note(m)
	case mutableMended:
		c.mutableMended(ctx, m)
	case Repair:
		broker, done := c.under(ctx, m.Authority)
		pid := c.env.Spawn.Child(ctx, "repair"+jobName(m.ReplyTo), newRepair(c.env, c.config, broker, c.job("repair"), m))
		c.using[pid.Id] = done
	case letGo:
		c.letGo(ctx, m)
	case Cancel:
		c.cancel(ctx, m)
	case AskStatus:
		broker, done := c.under(ctx, m.Authority)
		ctx.Send(broker, m)
		done(ctx)
	case AskLent:
		ctx.Send(m.ReplyTo, c.listLent())
	case TryAgain:
		ctx.Send(c.broker, tryAgain{})
	case PassOn:
		c.env.Spawn.Child(ctx, "passing"+jobName(m.ReplyTo), newPassing(c.env, c.parts(), m))
	case AskRenewals, RenewNow:
		ctx.Send(c.renewer, m)
	case AddAuthority:
		ctx.Send(c.vault, m)
		ctx.Send(c.broker, named{namedIn(m.Authority)})
		ctx.Send(c.broker, tryAgain{})
	case RemoveAuthority:
		ctx.Send(c.vault, m)
		c.each(func(pid *actor.PID) { ctx.Send(pid, loginAnew{}) })
	case Join:
		c.join(ctx, m)
	case membershipReport:
		if c.members.actors[m.status.Manager] != nil {
			c.members.status[m.status.Manager] = m.status
		}
	case Leave:
		c.leave(ctx, m)
	case notAMember:
		c.left(ctx, m.manager)
	case AskMemberships:
		ctx.Send(m.ReplyTo, c.members.list())
	case *actor.Terminated:
		c.terminated(ctx, m.Who)
	}
}

// isUse tells requests for which somebody waits.
func isUse(m any) bool {
	switch m.(type) {
	case Put, Open, Check, Repair, PassOn, AskKey, CreateMutable, OpenMutable, ReadMutable, WriteMutable:
		return true
	}
	return false
}

func (c *Client) start(ctx actor.Context) {
	c.branch.turns = ctx.Self()
	c.startBranch(ctx, c.config.Authority, c.config.Account, len(c.config.Introducers))
	c.mutables.keys = c.env.Spawn.Child(ctx, "keys", newKeys(c.env, c.config))
	c.own = c.env.Spawn.Child(ctx, "overrides", newOverrides(c.env, c.config.Overrides, c.config.Rules))
	if c.config.Journal != nil {
		c.renewer = c.env.Spawn.Child(ctx, "renewer", newRenewer(c.env, c.config.Journal, c.parts()))
	}
	for _, in := range c.config.Introducers {
		c.introduce(ctx, in)
	}
	for _, m := range c.config.Memberships {
		c.member(ctx, m)
	}
}

// put stores a file, through a helper if one is named.
func (c *Client) put(ctx actor.Context, m Put) {
	broker, done := c.under(ctx, m.Authority)
	var pid *actor.PID
	if m.File.Helper == nil {
		pid = c.env.Spawn.Child(ctx, "upload"+jobName(m.ReplyTo), newUpload(c.env, c.config, broker, c.job("put"), m))
	} else {
		vault := c.vault
		if len(m.Authority.Holdings) > 0 {
			vault = broker // it has one of its own
		}
		pid = c.env.Spawn.Child(ctx, "helped"+jobName(m.ReplyTo), newHelped(c.env, c.config, broker, vault, c.job("put"), m))
	}
	c.using[pid.Id] = done
}

func (c *Client) introduce(ctx actor.Context, in Introducer) {
	n := len(c.intros) + 1
	c.intros = append(c.intros, c.env.Spawn.Child(ctx, "introduction/"+itoa(n), newIntroduction(c.env, c.config.Dialer, c.config.Rules, in, n, ctx.Self())))
}

// askIntroducers has everything said again for a broker that knows nothing.
func (c *Client) askIntroducers(ctx actor.Context) {
	for _, pid := range c.intros {
		ctx.Send(pid, sayAgain{})
	}
}

// tellJobs tells the files under way.
func (c *Client) tellJobs(ctx actor.Context, m any) {
	for _, child := range ctx.Children() {
		if c.using[child.Id] != nil {
			ctx.Send(child, m)
		}
	}
}

// cancel reaches a job by the name that it was given.
func (c *Client) cancel(ctx actor.Context, m Cancel) {
	for _, child := range ctx.Children() {
		_, file := c.mutables.names[child.Id]
		if file || strings.HasSuffix(child.Id, jobName(m.ReplyTo)) {
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

// terminated follows the end of a child: a file under way uses no authority any
// more, and one that was lent and failed is lent anew when it is asked for.
func (c *Client) terminated(ctx actor.Context, who *actor.PID) {
	c.mutables.gone(who)
	if done := c.using[who.Id]; done != nil {
		delete(c.using, who.Id)
		done(ctx)
		return
	}
	for id, l := range c.lent {
		if l.pid.Equal(who) {
			delete(c.lent, id)
			return
		}
	}
	c.members.gone(who)
	if who.Equal(c.renewer) || who.Equal(c.own) || who.Equal(c.mutables.keys) {
		panic("client: " + who.Id + " failed for good")
	}
	c.ended(ctx, who)
}
