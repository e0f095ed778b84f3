package aggregator

import (
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Errors that make a report worth nothing.
var (
	// ErrNonsense is a report that no honest server makes.
	ErrNonsense = errors.New("the server's report makes no sense")
	// ErrIncomplete is a report of which pages were left out.
	ErrIncomplete = errors.New("pages of the report are missing")
)

// reading puts a server's pages together: the page after page of those directly
// below who asks, then of those below each who may be asked for.
type reading struct {
	report tally.Report
	begun  bool
	bytes  int      // of all pages
	queue  []branch // the first is being read
	seen   map[grid.PublicKey]bool
}

// branch is a key below which is still to be read.
type branch struct {
	of, under grid.PublicKey
	through   []grid.PublicKey
	after     grid.PublicKey
}

func newReading(server grid.ServerID) *reading {
	return &reading{report: tally.Report{Server: server}, queue: []branch{{}}, seen: map[grid.PublicKey]bool{}}
}

// question is what comes next, if anything does.
func (r *reading) question() (*wire.UsageBelow, bool) {
	if len(r.queue) == 0 {
		return nil, false
	}
	b := r.queue[0]
	return &wire.UsageBelow{Signer: b.under, After: b.after, Through: b.through}, true
}

// take reads the page that answers the question. Errors: ErrNonsense,
// wire.ErrUsageSignature.
func (r *reading) take(signed []byte) error {
	if r.bytes += len(signed); r.bytes > maxReport {
		return fmt.Errorf("%w: more than %d bytes", ErrNonsense, maxReport)
	}
	p, err := wire.OpenUsagePage(signed, r.report.Server)
	if errors.Is(err, wire.ErrUsageSignature) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNonsense, err)
	}
	if len(r.queue) == 0 {
		return fmt.Errorf("%w: a page that nobody asked for", ErrNonsense)
	}
	b := &r.queue[0]
	if !r.begun {
		r.begun, r.report.Of, r.report.Said, b.of = true, p.Of, p.At, p.Of
	}
	if p.Of != b.of || p.After != b.after {
		return fmt.Errorf("%w: a page that does not go on where the last one ended", ErrIncomplete)
	}
	r.report.Said = min(r.report.Said, p.At)
	if len(r.report.Rows)+len(p.Delegates) > maxRows {
		return fmt.Errorf("%w: more than %d keys", ErrNonsense, maxRows)
	}
	for _, d := range p.Delegates {
		r.report.Rows = append(r.report.Rows, tally.Row{
			Key: d.Delegate, Bytes: int64(d.Bytes), Reserved: int64(d.Reserved), Shares: int64(d.Shares), Under: b.under,
		})
		r.enqueue(*b, d)
	}
	if b = &r.queue[0]; p.More {
		b.after = p.Last()
	} else {
		r.queue = r.queue[1:]
	}
	return nil
}

// enqueue notes that there is more below a delegate; each key is asked for once.
func (r *reading) enqueue(b branch, d wire.DelegatedUsage) {
	if !d.Below || r.seen[d.Delegate] || d.Delegate == r.report.Of || len(b.through) >= lease.MaxCertificates-1 {
		return
	}
	r.seen[d.Delegate] = true
	next := branch{of: d.Delegate, under: d.Delegate}
	if !b.under.IsZero() {
		next.through = append(b.through[:len(b.through):len(b.through)], b.under)
	}
	r.queue = append(r.queue, next)
}

// ReadReport reads the pages of one report, as somebody else has kept them. It
// believes nothing that the server has not signed, and wants all of it: Said is
// when the oldest page was signed. Errors: ErrNonsense, ErrIncomplete,
// wire.ErrUsageSignature.
func ReadReport(server grid.ServerID, pages [][]byte) (tally.Report, error) {
	r := newReading(server)
	for _, page := range pages {
		if err := r.take(page); err != nil {
			return tally.Report{}, err
		}
	}
	if _, more := r.question(); more {
		return tally.Report{}, ErrIncomplete
	}
	return r.report, nil
}
