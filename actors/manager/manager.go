// Package manager is the account manager: it knows the members of a commercial
// grid and its servers, and signs membership cards. The servers know nothing
// but its key, so a new member costs no server a change, and a new server no
// member.
//
// Manager is the top. Below it the listener has an actor for each session.
//
// Promises: nothing is acknowledged before it is durable; what is decided is
// decided by lease/membership alone; who was removed, and whose membership has
// ended, gets no card from then on; a stranger costs a look into a table before
// anything is verified. Cards are not kept: a card depends on nothing but its
// key, the terms and the period, so it is signed again for whoever asks, also
// for those whose clients are off.
package manager

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// Store keeps the book over restarts. Its methods block.
type Store interface {
	Load() (membership.State, error)
	// Save makes a change durable, in the order of its fields.
	Save(membership.Change) error
}

// Config is what an account manager needs.
type Config struct {
	// Key is the manager's identity and what signs cards; the listener must
	// have the same one.
	Key    ed25519.PrivateKey
	Listen inbound.Listen
	Store  Store
	// Fatal is called when the manager can't go on: it can't listen, or what it
	// knew can't be read.
	Fatal func(error)
}

// Messages to Manager. Each is answered by what is said, or an error, once it
// is durable.
type (
	// AskStatus is answered by Status, once the manager listens.
	AskStatus struct{}
	// Add makes a membership; answered by Added.
	Add struct {
		Name         string
		Quota, Until *int64
		// ClaimUntil is when its one-time secret ends, in Unix seconds; 0 is never.
		ClaimUntil int64
	}
	// Reissue makes another one-time secret for a membership; answered by Added.
	// Another has another account take the place of the one that has it.
	Reissue struct {
		Name       string
		ClaimUntil int64
		Another    bool
	}
	// SetTerms changes those of a membership; answered by Done.
	SetTerms struct {
		Name string
		// Terms says what they are to be, given what they are.
		Terms func(membership.Member) (quota, until *int64)
	}
	// Remove ends a membership; answered by Done.
	Remove struct{ Name string }
	// AddServer makes a server one of the grid; answered by Done.
	AddServer struct{ Server membership.Server }
	// RemoveServer takes one out of it; answered by Done.
	RemoveServer struct{ ID grid.ServerID }
	// List is answered by Listing: the members behind one, with their keys if
	// that is asked for.
	List struct {
		After string
		Keys  bool
	}
	// ListServers is answered by a []membership.Server.
	ListServers struct{}
)

// Answers.
type (
	// Status is a picture of the manager.
	Status struct {
		Hints             []grid.Hint // that it listens at
		Members, Sessions int
	}
	// Added is a new member and the secret that makes an account his. It is
	// kept nowhere.
	Added struct {
		Member membership.Member
		Secret membership.Secret
	}
	// Done answers what has no other answer.
	Done struct{}
	// Listing is a part of the book. KeyCounts and, if asked for, Keys are of
	// each member; More says that there are others behind the last.
	Listing struct {
		Members   []membership.Member // by name
		KeyCounts []int
		Keys      [][]lease.ServerKey
		More      bool
	}
)

var errBusy = errors.New("the account manager has too much to do; try again")

// Manager owns the book.
//
// Owns: the book of members and servers, and its files.
// On failure: reads its files again; sessions are closed and come back by themselves.
type Manager struct {
	env      *env.Env
	config   Config
	book     *membership.Book
	servers  []byte // the signed list
	listener *actor.PID
	hints    []grid.Hint
	listens  bool

	waiting []decision // the first is being saved when saving is set
	saving  bool
	asking  []*actor.PID // who waits for a status
	early   []early      // what came before the book was read
}

type early struct {
	message any
	sender  *actor.PID
}

// decision is a change that waits for its turn: it is decided on the book as
// the changes before it left it.
type decision struct {
	replyTo *actor.PID
	request uint64 // of a session; 0 is the operator
	decide  func(*membership.Book) (membership.Change, error)
	answer  func(*membership.Book) any
}

// failed is err as the one who asked understands it.
func (d decision) failed(err error) any {
	if d.request != 0 {
		return reply{request: d.request, err: err}
	}
	return err
}

// New makes a Manager.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor { return &Manager{env: e, config: c} }
}

type (
	loaded struct {
		book    *membership.Book
		servers []byte
		err     error
	}
	saved struct {
		change  membership.Change
		servers []byte // signed anew, if the change is about them
		err     error
	}
)

// Receive implements actor.Actor.
func (m *Manager) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		m.load(ctx)
	case loaded:
		m.loaded(ctx, msg)
	case inbound.Listening:
		m.hints, m.listens = msg.Hints, true
		m.countSessions(ctx)
	case inbound.Failed:
		m.config.Fatal(msg.Err)
	case AskStatus:
		m.asking = append(m.asking, ctx.Sender())
		m.countSessions(ctx)
	case inbound.Sessions:
		m.status(ctx, int(msg))
	case saved:
		m.saved(ctx, msg)
	case *actor.Terminated:
		m.config.Fatal(fmt.Errorf("%s keeps failing; this is a bug", msg.Who.Id))
	case Add, Reissue, SetTerms, Remove, AddServer, RemoveServer, List, ListServers:
		m.operate(ctx, msg)
	case enrol:
		m.enrol(ctx, msg)
	case verifiedList:
		m.verified(ctx, msg)
	case askCard:
		m.card(ctx, msg)
	case askServers:
		ctx.Send(msg.session, reply{request: msg.request, servers: m.servers})
	}
}

// operate does what the operator asks for, once the book was read.
func (m *Manager) operate(ctx actor.Context, msg any) {
	if m.book == nil {
		m.early = append(m.early, early{msg, ctx.Sender()})
		return
	}
	switch msg := msg.(type) {
	case Add:
		m.add(ctx, msg)
	case SetTerms:
		m.decide(ctx, msg.Decide)
	case Remove:
		m.decide(ctx, func(b *membership.Book) (membership.Change, error) { return b.Remove(msg.Name) })
	case AddServer:
		m.decide(ctx, func(b *membership.Book) (membership.Change, error) { return b.AddServer(msg.Server) })
	case RemoveServer:
		m.decide(ctx, func(b *membership.Book) (membership.Change, error) { return b.RemoveServer(msg.ID) })
	case Reissue:
		m.reissue(ctx, msg)
	case List:
		ctx.Respond(msg.Of(m.book))
	case ListServers:
		ctx.Respond(m.book.Grid().Servers)
	}
}

// Of is the part of a book that is asked for.
func (m List) Of(b *membership.Book) Listing {
	most := listStep
	if m.Keys {
		most = listKeysStep
	}
	var l Listing
	l.Members, l.More = b.Members(m.After, most)
	for _, member := range l.Members {
		l.KeyCounts = append(l.KeyCounts, b.KeyCountOf(member.Name))
		if m.Keys {
			l.Keys = append(l.Keys, b.Keys(member.Name))
		}
	}
	return l
}

// Decide is what becomes of the terms.
func (m SetTerms) Decide(b *membership.Book) (membership.Change, error) {
	member, err := b.Member(m.Name)
	if err != nil {
		return membership.Change{}, err
	}
	quota, until := m.Terms(member)
	return b.SetTerms(m.Name, quota, until)
}

func (m *Manager) load(ctx actor.Context) {
	store, key := m.config.Store, m.config.Key
	m.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		state, err := store.Load()
		if err != nil {
			return loaded{err: err}
		}
		book, err := membership.NewBook(grid.PublicKeyOf(key), state)
		if err != nil {
			return loaded{err: err}
		}
		servers, err := book.Grid().List().Sign(key)
		return loaded{book, servers, err}
	})
}

func (m *Manager) loaded(ctx actor.Context, msg loaded) {
	if msg.err != nil {
		m.config.Fatal(fmt.Errorf("read the account manager's members: %w", msg.err))
		return
	}
	m.book, m.servers = msg.book, msg.servers
	self := ctx.Self()
	m.listener = m.env.Spawn.Child(ctx, "listener", inbound.New(m.env, inbound.Config{
		Listen:      m.config.Listen,
		Session:     func(a inbound.Arrival) env.Producer { return newSession(m.env, self, a) },
		MaxSessions: maxSessions,
	}))
	for _, e := range m.early {
		ctx.RequestWithCustomSender(self, e.message, e.sender)
	}
	m.early = nil
}

func (m *Manager) add(ctx actor.Context, msg Add) {
	m.invite(ctx, msg.ClaimUntil, func(b *membership.Book, c membership.Claim, now time.Time) (membership.Change, error) {
		return b.Add(msg.Name, msg.Quota, msg.Until, c, now)
	})
}

func (m *Manager) reissue(ctx actor.Context, msg Reissue) {
	m.invite(ctx, msg.ClaimUntil, func(b *membership.Book, c membership.Claim, now time.Time) (membership.Change, error) {
		return b.Reissue(msg.Name, c, msg.Another, now)
	})
}

// invite queues a change that makes a one-time secret.
func (m *Manager) invite(ctx actor.Context, until int64, decide func(*membership.Book, membership.Claim, time.Time) (membership.Change, error)) {
	var secret membership.Secret
	_, _ = m.env.Rand.Read(secret[:]) // never fails
	now := m.env.Clock.Now()
	var member membership.Member
	m.enqueue(ctx, decision{
		replyTo: ctx.Sender(),
		decide: func(b *membership.Book) (membership.Change, error) {
			c, err := decide(b, membership.Claim{Hash: secret.Hash(), Until: until}, now)
			if err == nil {
				member = *c.Member
			}
			return c, err
		},
		answer: func(*membership.Book) any { return Added{member, secret} },
	})
}

// decide queues a change whose answer is Done.
func (m *Manager) decide(ctx actor.Context, decide func(*membership.Book) (membership.Change, error)) {
	m.enqueue(ctx, decision{
		replyTo: ctx.Sender(), decide: decide,
		answer: func(*membership.Book) any { return Done{} },
	})
}

func (m *Manager) enqueue(ctx actor.Context, d decision) {
	if len(m.waiting) >= maxChanges {
		ctx.Send(d.replyTo, d.failed(errBusy))
		return
	}
	m.waiting = append(m.waiting, d)
	m.next(ctx)
}

// next takes the oldest change that is one, and saves it.
func (m *Manager) next(ctx actor.Context) {
	for !m.saving && len(m.waiting) > 0 {
		d := m.waiting[0]
		change, err := d.decide(m.book)
		switch {
		case err != nil:
			m.done(ctx, d.failed(err))
		case change.Empty():
			m.done(ctx, d.answer(m.book))
		default:
			m.save(ctx, change)
		}
	}
}

// done answers the oldest decision.
func (m *Manager) done(ctx actor.Context, answer any) {
	d := m.waiting[0]
	m.waiting[0] = decision{}
	m.waiting = m.waiting[1:]
	ctx.Send(d.replyTo, answer)
}

func (m *Manager) save(ctx actor.Context, c membership.Change) {
	m.saving = true
	store, key := m.config.Store, m.config.Key
	m.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		var servers []byte
		if c.Grid != nil {
			var err error
			if servers, err = c.Grid.List().Sign(key); err != nil {
				return saved{c, nil, err}
			}
		}
		return saved{c, servers, store.Save(c)}
	})
}

func (m *Manager) saved(ctx actor.Context, msg saved) {
	m.saving = false
	if msg.err != nil {
		m.env.Log.Error("a change of the account manager could not be saved", "error", msg.err)
		m.done(ctx, m.waiting[0].failed(fmt.Errorf("save it: %w", msg.err)))
	} else {
		m.book.Apply(msg.change)
		if msg.servers != nil {
			m.servers = msg.servers
		}
		m.done(ctx, m.waiting[0].answer(m.book))
	}
	m.next(ctx)
}

// countSessions begins the answer to those who ask for a status. Before the
// manager listens they wait.
func (m *Manager) countSessions(ctx actor.Context) {
	if m.listens && len(m.asking) > 0 {
		ctx.Send(m.listener, inbound.Count{ReplyTo: ctx.Self()})
	}
}

func (m *Manager) status(ctx actor.Context, sessions int) {
	for _, to := range m.asking {
		ctx.Send(to, Status{Hints: m.hints, Members: m.book.Len(), Sessions: sessions})
	}
	m.asking = nil
}
