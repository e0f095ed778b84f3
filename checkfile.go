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
)

// CheckOptions change how a file is checked; the zero value believes servers and
// changes nothing.
type CheckOptions struct {
	// Verify has every share read to its end and proven, in bounded memory.
	Verify bool
	// AddLease makes leases on the good shares, which are renewed from now on.
	AddLease bool
	// Progress, if not nil, is called now and then with the bytes that have been
	// read of shares, and how many there are; only with Verify.
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

// Check asks every server what it has of a file, by any capability of it: the
// verify capability is enough for all that is done. A file that can't be
// recovered is no error. Errors: ErrCap.
func (n *Node) Check(ctx context.Context, capability string, o CheckOptions, how ...Option) (CheckResult, error) {
	if n.config.Client == nil {
		return CheckResult{}, ErrNoClient
	}
	v, literal, err := checkable(capability)
	if err != nil || literal {
		return CheckResult{Report: health.Report{Literal: literal}}, err
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	spec := client.CheckSpec{Cap: v, Happy: n.config.Client.Params.Happy, Verify: o.Verify, AddLease: o.AddLease}
	checked, err := progressing[client.Checked](ctx, n, o.Progress, func(replyTo *env.PID) any {
		return actors.ToClient{Message: client.Check{ReplyTo: replyTo, CheckSpec: spec, Authority: AuthorityOf(how...)}}
	})
	if err != nil {
		return CheckResult{}, n.cause(public(err))
	}
	return checkResult(checked), nil
}

func checkResult(c client.Checked) CheckResult {
	return CheckResult{Report: c.Report, Names: c.Names, Leased: c.Leased, Unleased: leftOut(c.Unleased)}
}

// checkable is the verify capability of an immutable file, or of an immutable
// directory, which is one.
func checkable(capability string) (v file.CHKVerifier, literal bool, err error) {
	parsed, err := file.Parse(capability)
	if err != nil {
		return v, false, kind{ErrCap, err}
	}
	if d, ok := parsed.(file.Directory); ok {
		parsed = d.File
	}
	switch c := parsed.(type) {
	case file.LIT:
		return v, true, nil
	case file.CHK:
		return c.Verifier(), false, nil
	case file.CHKVerifier:
		return c, false, nil
	}
	return v, false, fmt.Errorf("%w: a capability of the kind %s can't be checked yet", ErrCap, parsed.Kind())
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
