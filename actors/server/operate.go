package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Errors that the operator acts on.
var (
	// ErrExists is a key or a petname that an account has already.
	ErrExists = errors.New("there is such an account already")
	// ErrNoAccount is a petname or a key that no account has.
	ErrNoAccount = errors.New("there is no such account here")
	// ErrAmbiguous is a petname of several keys where one is meant.
	ErrAmbiguous = errors.New("there are several keys under that name")
)

// Operation is what the operator asks of the ledger, through Storage while the
// server runs and through Books when it does not. A Name in it is a petname or
// a key, pub-v0-...; a petname means every key under it, unless only one can be
// meant.
type Operation interface{ operation() }

// Operations that change something; answered by Changed or an error, when it
// is durable.
type (
	// PutRoot adds an account or changes what the operator decided about it.
	PutRoot struct {
		Root lease.Root
		// New refuses (ErrExists) a key that is there already, and a petname
		// unless Another is set: one more key of somebody who has an account. It
		// refuses a revoked key, too: lease.ErrKeyRevoked.
		New, Another bool
	}
	// SetDisabled refuses everything to an account, or ends that.
	SetDisabled struct {
		Name     string
		Disabled bool
	}
	// SetQuota changes one account's quota; nil is none.
	SetQuota struct {
		Name  string
		Quota *int64
	}
	// RemoveRoot forgets an account; its leases stay until they lapse, unless
	// CancelLeases is set: then the collector ends all that were made under it.
	RemoveRoot struct {
		Name         string
		CancelLeases bool
	}
	// Rekey gives all that one account has to another key.
	Rekey struct {
		Name string
		Key  grid.PublicKey
	}
	// Revoke refuses, or with Again accepts again, everything in which a key
	// stands, an account's or not.
	Revoke struct {
		Name  string
		Again bool
	}
)

func (PutRoot) operation()     {}
func (SetDisabled) operation() {}
func (SetQuota) operation()    {}
func (RemoveRoot) operation()  {}
func (Rekey) operation()       {}
func (Revoke) operation()      {}

// Changed says what an operation was about: accounts as they are now, of a
// removal as they were; or revoked keys. Ended is how many uploads in progress
// it ended.
type Changed struct {
	Roots []lease.Root
	Keys  []grid.PublicKey
	Ended int
}

// Books are a lease table and its rules, for who owns both.
type Books struct {
	Store Store
	Rules *lease.Ledger
}

// step makes the change of the table: one, so that an operation about several
// keys happens whole or not at all.
type step func() (lease.Change, error)

// plan is what an operation that changes something does, and what it is about.
func (b Books) plan(o Operation) (step, Changed, error) {
	switch o := o.(type) {
	case PutRoot:
		return b.putRoot(o)
	case SetDisabled:
		return b.edit(o.Name, b.resolve, func(r *lease.Root) { r.Disabled = o.Disabled })
	case SetQuota:
		return b.edit(o.Name, b.one, func(r *lease.Root) { r.Quota = o.Quota })
	case RemoveRoot:
		return b.remove(o)
	case Rekey:
		return b.rekey(o)
	case Revoke:
		return b.revoke(o)
	default:
		return nil, Changed{}, fmt.Errorf("%T changes nothing", o) // a bug
	}
}

func (b Books) putRoot(o PutRoot) (step, Changed, error) {
	if o.New {
		if err := b.unknown(o.Root, o.Another); err != nil {
			return nil, Changed{}, err
		}
	}
	return b.put(o.Root), Changed{Roots: []lease.Root{o.Root}}, nil
}

func (b Books) put(roots ...lease.Root) step {
	return func() (lease.Change, error) { return b.Rules.PutRoots(roots...) }
}

func (b Books) edit(name string, find func(string) ([]lease.Root, error), edit func(*lease.Root)) (step, Changed, error) {
	roots, err := find(name)
	for i := range roots {
		edit(&roots[i])
	}
	return b.put(roots...), Changed{Roots: roots}, err
}

func (b Books) remove(o RemoveRoot) (step, Changed, error) {
	roots, err := b.resolve(o.Name)
	return func() (lease.Change, error) { return b.Rules.RemoveRoots(o.CancelLeases, keysOf(roots)...) }, Changed{Roots: roots}, err
}

func keysOf(roots []lease.Root) []grid.PublicKey {
	keys := make([]grid.PublicKey, len(roots))
	for i, r := range roots {
		keys[i] = r.Key
	}
	return keys
}

func (b Books) rekey(o Rekey) (step, Changed, error) {
	roots, err := b.one(o.Name)
	if err != nil {
		return nil, Changed{}, err
	}
	old := roots[0].Key
	roots[0].Key = o.Key
	return func() (lease.Change, error) { return b.Rules.Rekey(old, o.Key) }, Changed{Roots: roots}, nil
}

func (b Books) revoke(o Revoke) (step, Changed, error) {
	var keys []grid.PublicKey
	if key, err := grid.ParsePublicKey(o.Name); err == nil {
		keys = []grid.PublicKey{key}
	} else {
		roots, err := b.resolve(o.Name)
		if err != nil {
			return nil, Changed{}, err
		}
		keys = keysOf(roots)
	}
	if slices.ContainsFunc(keys, grid.PublicKey.IsZero) {
		return nil, Changed{}, fmt.Errorf("%w: clients without a key have none to revoke", ErrNoAccount)
	}
	return func() (lease.Change, error) { return b.Rules.SetRevoked(!o.Again, keys...) }, Changed{Keys: keys}, nil
}

// resolve finds the accounts of a petname, or that of a key.
func (b Books) resolve(name string) ([]lease.Root, error) {
	if name == "" {
		return nil, fmt.Errorf("%w: the name is empty", ErrNoAccount)
	}
	roots, err := b.Store.Roots()
	if err != nil {
		return nil, err
	}
	key, notKey := grid.ParsePublicKey(name)
	var found []lease.Root
	for _, r := range roots {
		if (notKey == nil && r.Key == key) || (notKey != nil && r.Petname == name) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoAccount, name)
	}
	return found, nil
}

// one finds the only account of a petname.
func (b Books) one(name string) ([]lease.Root, error) {
	found, err := b.resolve(name)
	if err != nil || len(found) == 1 {
		return found, err
	}
	var keys []string
	for _, r := range found {
		keys = append(keys, r.Key.String())
	}
	return nil, fmt.Errorf("%w: %s is %s; say which", ErrAmbiguous, name, strings.Join(keys, " and "))
}

// unknown refuses a key that is there already or revoked, and a petname unless
// another key of the same person may come.
func (b Books) unknown(r lease.Root, another bool) error {
	roots, err := b.Store.Roots()
	if err != nil {
		return err
	}
	named := false
	for _, old := range roots {
		if old.Key == r.Key {
			return fmt.Errorf("%w: the key of %s", ErrExists, old.Petname)
		}
		named = named || r.Petname != "" && old.Petname == r.Petname
	}
	switch {
	case named && !another:
		return fmt.Errorf("%w: %s", ErrExists, r.Petname)
	case another && !named:
		return fmt.Errorf("%w: %s", ErrNoAccount, r.Petname)
	}
	revoked, err := b.Store.Revoked(r.Key)
	if err == nil && revoked {
		return fmt.Errorf("%w: %s", lease.ErrKeyRevoked, r.Key)
	}
	return err
}

// Carry carries out an operation on a server that is not running; what it
// answers is what the ledger would.
func (b Books) Carry(o Operation, now time.Time) (any, error) {
	switch o := o.(type) {
	case ListUsage:
		return b.usage(now)
	case Query:
		return o.Ask(b.Store, now)
	case ImportShare:
		return b.importShare(o, now)
	}
	step, done, err := b.plan(o)
	if err != nil {
		return nil, err
	}
	if err := b.apply(step()); err != nil {
		return nil, err
	}
	return done, nil
}

// apply writes a change and waits for the disk.
func (b Books) apply(c lease.Change, err error) error {
	if err != nil {
		return err
	}
	wait, err := b.Store.Apply(c)
	if err != nil {
		return err
	}
	return wait()
}

// operate carries out what the operator asks for.
func (l *ledger) operate(ctx actor.Context, o Operation) {
	switch o := o.(type) {
	case ListUsage:
		l.walk(ctx, usageTurn{ctx.Sender(), newUsageWalk(l.books(), l.env.Clock.Now())})
	case Query:
		l.query(ctx, o)
	case ImportShare:
		l.importShare(ctx, o)
	default:
		l.change(ctx, o)
	}
}

func (l *ledger) books() Books { return Books{l.config.Store, l.rules} }

// change answers the operator once everything is durable; uploads that may not
// go on end.
func (l *ledger) change(ctx actor.Context, o Operation) {
	step, done, err := l.books().plan(o)
	if err != nil {
		ctx.Respond(err)
		return
	}
	change, err := step()
	if err != nil {
		ctx.Respond(err)
		return
	}
	if !l.apply(ctx, change) {
		return
	}
	barred, err := l.rules.Barred(l.env.Clock.Now())
	if err != nil {
		ctx.Respond(err)
		return
	}
	for _, b := range barred {
		ctx.Send(ctx.Parent(), bar{b.ID, b.Err})
	}
	if _, removed := o.(RemoveRoot); removed {
		ctx.Send(ctx.Parent(), collectSoon{})
	}
	done.Ended = len(barred)
	l.settle(ctx, lease.Change{}, nil, ctx.Sender(), done)
}

// query answers from the table outside of Receive: it may have to look at all
// of it.
func (l *ledger) query(ctx actor.Context, q Query) {
	l.flush(ctx) // so that the table has all traffic
	b, to, now := l.books(), ctx.Sender(), l.env.Clock.Now()
	l.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		reply, err := q.Ask(b.Store, now)
		if err != nil {
			reply = err
		}
		return queried{to, reply}
	})
}

// queried is the answer to a Query.
type queried struct {
	to    *actor.PID
	reply any
}
