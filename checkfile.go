package tarn

import (
	"context"
	"fmt"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// CheckOptions change how a file is checked, or repaired; the zero value believes
// servers.
type CheckOptions struct {
	// Verify has every share read to its end and proven, in bounded memory.
	Verify bool
	// AddLease makes leases on the good shares, which are renewed from now on.
	AddLease bool
	// Force has a repair of a mutable file give up a version that Err would else be
	// ErrMustForce for.
	Force bool
	// Progress, if not nil, is called now and then with the bytes that have been
	// read of shares, and how many there are, if they are read; of a repair then
	// with those of the file that have been encoded.
	Progress func(done, total int64)
}

// CheckResult is what a check found of a file.
type CheckResult struct {
	health.Report
	// Names is what people call the servers in it.
	Names map[grid.ServerID]string
	// Leased is on how many shares leases were made, Unleased where they could not
	// be.
	Leased   int
	Unleased []ServerError
}

// Check asks every server what it has of a file or directory, by any capability of
// it: the verify capability is enough for all that is done, but only who can write
// a mutable file can prove the copies of its key. A file that can't be recovered is
// no error. Errors: ErrCap.
func (n *Node) Check(ctx context.Context, capability string, o CheckOptions, how ...Option) (CheckResult, error) {
	what, literal, err := n.checkable(capability, o)
	if err != nil || literal {
		return CheckResult{Report: health.Report{Literal: literal}}, err
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	checked, err := progressing[client.Checked](ctx, n, o.Progress, func(replyTo *env.PID) any {
		return actors.ToClient{Message: what.check(replyTo, AuthorityOf(how...))}
	})
	if err != nil {
		return CheckResult{}, n.cause(public(err))
	}
	return checkResult(checked), nil
}

// RepairResult is what became of a file that was to be repaired.
type RepairResult struct {
	// Before is what was found, After what there is now.
	Before, After CheckResult
	// Attempted is whether there was anything to do; a healthy file is left alone.
	Attempted bool
	// Pushed is how many shares are new.
	Pushed int
	// LeftOut are the servers that got nothing, or nothing more, and why.
	LeftOut []ServerError
	// Unrenewed are the servers where nobody renews the file's leases: it was
	// repaired under an authority that this node does not have.
	Unrenewed []grid.ServerID
	// Err is why it was given up: too few shares are left (ErrNotEnoughShares), the
	// file is mutable and the capability not the one that can write (ErrReadOnly: then
	// nothing was attempted), another version of it would be lost (ErrMustForce), or
	// something failed on the way. Where servers were too few, that is no error: what
	// can be done is done, and After says how far that is.
	Err error
}

// Repair checks a file or directory and, unless it is healthy, makes its shares once
// more from those that are good and brings them to as many servers as can be, in
// bounded memory. All shares that count have leases of the caller's authority then,
// and are renewed from now on. The verify capability is enough for an immutable file;
// a mutable one takes the write capability. Where that one has several versions, the
// newest that can be read is written as a new one. Errors: ErrCap.
func (n *Node) Repair(ctx context.Context, capability string, o CheckOptions, how ...Option) (RepairResult, error) {
	what, literal, err := n.checkable(capability, o)
	if err != nil || literal {
		whole := CheckResult{Report: health.Report{Literal: literal}}
		return RepairResult{Before: whole, After: whole}, err
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	authority := AuthorityOf(how...)
	m, err := progressing[client.Repaired](ctx, n, o.Progress, func(replyTo *env.PID) any {
		return actors.ToClient{Message: what.repair(replyTo, authority)}
	})
	if err != nil {
		return RepairResult{}, n.cause(public(err))
	}
	result := RepairResult{
		Before: checkResult(m.Before), After: checkResult(m.After), Attempted: m.Attempted, Pushed: m.Pushed,
		LeftOut: leftOut(m.LeftOut), Err: public(m.Err),
	}
	if len(authority.Holdings) > 0 {
		result.Unrenewed = n.renewing(ctx, nil, m.Labels)
	}
	return result, nil
}

func checkResult(c client.Checked) CheckResult {
	return CheckResult{Report: c.Report, Names: c.Names, Leased: c.Leased, Unleased: leftOut(c.Unleased)}
}

// checkable is what can be checked, as messages to the client branch.
type checkable interface {
	check(replyTo *env.PID, a lease.Authority) any
	repair(replyTo *env.PID, a lease.Authority) any
}

type checkableCHK struct{ client.CheckSpec }

func (c checkableCHK) check(replyTo *env.PID, a lease.Authority) any {
	return client.Check{ReplyTo: replyTo, CheckSpec: c.CheckSpec, Authority: a}
}

func (c checkableCHK) repair(replyTo *env.PID, a lease.Authority) any {
	return client.Repair{ReplyTo: replyTo, CheckSpec: c.CheckSpec, Authority: a}
}

type checkableMutable struct {
	client.MutableSpec
	force bool
}

func (c checkableMutable) check(replyTo *env.PID, a lease.Authority) any {
	return client.CheckMutable{ReplyTo: replyTo, MutableSpec: c.MutableSpec, Authority: a}
}

func (c checkableMutable) repair(replyTo *env.PID, a lease.Authority) any {
	return client.RepairMutable{ReplyTo: replyTo, MutableSpec: c.MutableSpec, Force: c.force, Authority: a}
}

// checkable is what a capability names, unless that lies in it.
func (n *Node) checkable(capability string, o CheckOptions) (what checkable, literal bool, err error) {
	if n.config.Client == nil {
		return nil, false, ErrNoClient
	}
	parsed, err := file.Parse(capability)
	if err != nil {
		return nil, false, kind{ErrCap, err}
	}
	if d, ok := parsed.(file.Directory); ok {
		parsed = d.File
	}
	params := n.config.Client.Params
	chk := client.CheckSpec{Happy: params.Happy, Verify: o.Verify, AddLease: o.AddLease}
	switch c := parsed.(type) {
	case file.LIT:
		return nil, true, nil
	case file.CHK:
		chk.Cap = c.Verifier()
		return checkableCHK{chk}, false, nil
	case file.CHKVerifier:
		chk.Cap = c
		return checkableCHK{chk}, false, nil
	case file.Mutable:
		return checkableMutable{client.MutableSpec{Cap: c, Params: params, Verify: o.Verify, AddLease: o.AddLease}, o.Force}, false, nil
	}
	return nil, false, fmt.Errorf("%w: a capability of the kind %s can't be checked", ErrCap, parsed.Kind())
}

// progressing sends a message to the client branch and waits for its answer,
// which Progress comes before.
func progressing[R any](ctx context.Context, n *Node, progress func(done, total int64), message func(*env.PID) any) (answer R, err error) {
	call := n.system.Open(ctx, n.root, message,
		func(replyTo *env.PID) any { return actors.ToClient{Message: client.Cancel{ReplyTo: replyTo}} })
	defer call.Close()
	for {
		reply, err := call.Next()
		if err != nil {
			return answer, err
		}
		switch m := reply.(type) {
		case client.Progress:
			if progress != nil {
				progress(m.Done, m.Total)
			}
		case R:
			return m, nil
		case error:
			return answer, m
		}
	}
}
