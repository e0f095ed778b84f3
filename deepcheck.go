package tarn

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
)

// How many objects of a tree are checked at the same time: where servers are
// asked what they have, and where shares are read as well.
const (
	checksAtOnce = 32
	readsAtOnce  = 8
)

// Checker reads, checks and repairs what a tree is made of: a Node, or who
// stands in for one.
type Checker interface {
	DirectoryReader
	Check(ctx context.Context, capability string, o CheckOptions, how ...Option) (CheckResult, error)
	Repair(ctx context.Context, capability string, o CheckOptions, how ...Option) (RepairResult, error)
}

// DeepCheckOptions change how a tree is checked.
type DeepCheckOptions struct {
	// Verify and AddLease are those of CheckOptions.
	Verify, AddLease bool
	// Repair has what is not healthy repaired, a directory before it is given up
	// as one that can't be read.
	Repair bool
	// Known, if not nil, reports that an object was found healthy before and need
	// not be checked again.
	Known func(grid.StorageIndex) bool
	// Walker is told what the walk comes to, which is before it is checked. Its
	// Unread is not used.
	Walker Walker
	// Progress, if not nil, is called now and then, from any goroutine, with how
	// many objects have been checked and how many bytes were read for that.
	Progress func(objects, bytes int64)
}

// Examined is what was found of an object of a tree. Without a repair, Before and
// After are the same.
type Examined struct {
	Visited
	RepairResult
	// Known says that it was not checked, as DeepCheckOptions.Known wanted.
	Known bool
	// Failed is why it could not be checked.
	Failed error
	// Unread is why it, a directory, could not be read, so that all that can be
	// reached only through it was not checked.
	Unread error
}

// Healthy reports whether it is in order now, and what is in it was checked, too.
func (e Examined) Healthy() bool {
	return e.Failed == nil && e.Unread == nil && (e.Known || e.After.Healthy())
}

// DeepCheck checks all that can be reached from a link, several objects at once,
// and repairs it if that is wanted. Each is handed to then once, in the order of
// Walk; an error of then ends it. What can't be checked, and directories that
// can't be read, end nothing: they are handed on as such.
//
// The memory is that of Walk, and a few hundred reports.
func DeepCheck(ctx context.Context, c Checker, from Found, o DeepCheckOptions, then func(Examined) error, how ...Option) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	turns := checksAtOnce
	if o.Verify || o.Repair {
		turns = readsAtOnce
	}
	d := &deepCheck{ctx: ctx, checker: c, options: o, how: how, checks: newInOrder(ctx, turns, then)}
	err := Walk(ctx, c, from, Walker{Visit: d.visit, Enter: d.enter, Unread: d.unread, mended: d.mended}, how...)
	if rest := d.checks.end(); err == nil {
		err = rest
	}
	return err
}

// deepCheck is one on its way.
type deepCheck struct {
	ctx     context.Context
	checker Checker
	options DeepCheckOptions
	how     []Option
	checks  *inOrder[Examined]

	last           *begun[Examined] // of what was visited last
	objects, bytes atomic.Int64
}

// visit begins to check an object.
func (d *deepCheck) visit(v Visited) (err error) {
	if visit := d.options.Walker.Visit; visit != nil {
		if err := visit(v); err != nil {
			return err
		}
	}
	d.last, err = d.checks.begin(func() Examined { return d.examine(v) })
	return err
}

func (d *deepCheck) enter(v Visited, content *directory.Directory) error {
	if d.options.Walker.Enter == nil {
		return nil
	}
	return d.options.Walker.Enter(v, content)
}

// unread is called right after the visit of the directory.
func (d *deepCheck) unread(_ Visited, err error) error {
	<-d.last.done
	d.last.result.Unread = err
	return nil
}

// mended is asked before that. What was known to be well is so no more if it can't
// be read.
func (d *deepCheck) mended(v Visited) bool {
	<-d.last.done
	if d.last.result.Known {
		d.last.result = d.check(v)
	}
	return d.last.result.Attempted
}

// examine checks one object, unless that is known to be well.
func (d *deepCheck) examine(v Visited) Examined {
	defer d.report(1, 0)
	index, shares := file.StorageIndexOf(v.Capability())
	if shares && d.options.Known != nil && d.options.Known(index) {
		return Examined{Visited: v, Known: true}
	}
	return d.check(v)
}

// check checks one object, and repairs it if that is wanted.
func (d *deepCheck) check(v Visited) Examined {
	e := Examined{Visited: v}
	c := v.Capability()
	_, shares := file.StorageIndexOf(c)
	switch {
	case !shares: // there is nothing that could be asked for
		whole := CheckResult{Report: health.Report{Literal: true}}
		e.Before, e.After = whole, whole
	case d.options.Repair:
		e.RepairResult, e.Failed = d.checker.Repair(d.ctx, c.String(), d.each(), d.how...)
	default:
		e.Before, e.Failed = d.checker.Check(d.ctx, c.String(), d.each(), d.how...)
		e.After = e.Before
	}
	return e
}

// each are the options for one object.
func (d *deepCheck) each() CheckOptions {
	var mu sync.Mutex
	last := int64(0)
	return CheckOptions{Verify: d.options.Verify, AddLease: d.options.AddLease, Progress: func(done, _ int64) {
		mu.Lock()
		defer mu.Unlock()
		if done < last { // what was read comes before what is encoded
			last = 0
		}
		d.report(0, done-last)
		last = done
	}}
}

func (d *deepCheck) report(objects, bytes int64) {
	o, b := d.objects.Add(objects), d.bytes.Add(bytes)
	if d.options.Progress != nil {
		d.options.Progress(o, b)
	}
}
