package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
)

// checksAtOnce is how many objects of a tree are checked at the same time.
const checksAtOnce = 8

// maxUnhealthy is how many objects that are not healthy are listed under a
// handle, all of them are counted.
const maxUnhealthy = 10_000

// checkOptions reads what a check is to do.
func (q *request) checkOptions() (o tarn.CheckOptions, err error) {
	if o.Verify, err = q.args.flag("verify", false); err != nil {
		return o, err
	}
	if o.AddLease, err = q.args.flag("add-lease", false); err != nil {
		return o, err
	}
	repair, err := q.args.flag("repair", false)
	if err == nil && repair {
		return o, errNoRepair
	}
	return o, err
}

var errNoRepair = wrong{http.StatusNotImplemented, "This version's gateway repairs nothing yet."}

// check tells how an object is: t=check.
func (q *request) check(l tarn.Found) error {
	o, err := q.checkOptions()
	if err != nil {
		return err
	}
	to, err := q.whenDone("")
	if err != nil {
		return err
	}
	result, err := q.node.Check(q.r.Context(), l.Capability().String(), o, q.how()...)
	if err != nil {
		return err
	}
	q.w.Header().Set("Cache-Control", "no-store")
	switch {
	case to != "":
		return q.done(to, "")
	case strings.EqualFold(q.args.get("output"), "json"):
		return q.json(result.JSON())
	}
	return q.page(infoPage, infoView{Title: "Check", Facts: healthFacts(l, result.Report)})
}

// healthFacts is a report for people.
func healthFacts(l tarn.Found, r health.Report) []fact {
	facts := []fact{{"What", describe(l.Capability())}}
	if l.Name != "" {
		facts = append(facts, fact{"Name", l.Name})
	}
	if r.Literal {
		return append(facts, fact{"State", "it lies in its capability, and no server has anything of it"})
	}
	return append(facts,
		fact{"State", r.Summary()},
		fact{"Shares", fmt.Sprintf("%d of %d, and %d are needed", r.Shares(), r.Total, r.Needed)},
		fact{"Servers with shares", strconv.Itoa(r.Servers())},
		fact{"Servers that answered", strconv.Itoa(len(r.Responding))},
		fact{"Damaged shares", strconv.Itoa(len(r.Corrupt))},
	)
}

// checkedObject is a line of stream-deep-check.
type checkedObject struct {
	streamed
	Results health.JSON `json:"check-results"`
}

// inOrder has several objects checked at once, and hands them on as they came.
type inOrder struct {
	check func(tarn.Visited) (checkedObject, error)
	then  func(checkedObject) error
	queue []chan checked
}

type checked struct {
	object checkedObject
	err    error
}

// add begins a check; where enough go on, it waits for the first of them.
func (i *inOrder) add(v tarn.Visited) error {
	result := make(chan checked, 1)
	go func() { // ends with the request's context at the latest
		o, err := i.check(v)
		result <- checked{o, err}
	}()
	i.queue = append(i.queue, result)
	if len(i.queue) < checksAtOnce {
		return nil
	}
	return i.next()
}

func (i *inOrder) next() error {
	first := <-i.queue[0]
	i.queue = i.queue[1:]
	if first.err != nil {
		i.queue = nil // what comes behind it is not wanted
		return first.err
	}
	return i.then(first.object)
}

// end waits for all that go on.
func (i *inOrder) end() error {
	for len(i.queue) > 0 {
		if err := i.next(); err != nil {
			return err
		}
	}
	return nil
}

// checkTree walks through a tree, as count is told, and has each object checked.
// What came before a failure has been handed on.
func checkTree(ctx context.Context, node Node, from tarn.Found, o tarn.CheckOptions, count tarn.Walker, then func(checkedObject) error, how []tarn.Option) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	checks := &inOrder{then: then, check: func(v tarn.Visited) (checkedObject, error) {
		c := checkedObject{streamed: streamedOf(v), Results: health.Report{Literal: true}.JSON()}
		if _, unknown := v.Capability().(file.Unknown); unknown {
			return c, nil // there is nothing that could be asked
		}
		result, err := node.Check(ctx, c.Cap, o, how...)
		c.Results = result.JSON()
		return c, err
	}}
	err := tarn.Walk(ctx, node, from, tarn.Walker{
		Visit: func(v tarn.Visited) error {
			if err := checks.add(v); err != nil {
				return err
			}
			return count.Visit(v)
		},
		Enter: count.Enter,
	}, how...)
	if drained := checks.end(); err == nil {
		err = drained
	}
	return err
}

// streamDeepCheck is t=stream-deep-check.
func (q *request) streamDeepCheck(l tarn.Found) error {
	o, err := q.checkOptions()
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", jsonType)
	q.w.Header().Set("Cache-Control", "no-store")
	out := newLines(q.w)
	var stats tarn.DeepStats
	err = checkTree(q.r.Context(), q.node, l, o, tarn.Walker{Visit: stats.Visit, Enter: stats.Enter}, func(c checkedObject) error { return out.object(c) }, q.how())
	stats.Done()
	return out.end(err, stats)
}

// deepCheck is t=start-deep-check.
type deepCheck struct {
	census
	checker Node
	options tarn.CheckOptions
	result  deepCheckJSON // under the census' lock
}

// deepCheckJSON is what Tahoe says of a deep check.
type deepCheckJSON struct {
	Finished    bool           `json:"finished"`
	Root        string         `json:"root-storage-index"`
	Checked     int            `json:"count-objects-checked"`
	Healthy     int            `json:"count-objects-healthy"`
	Unhealthy   int            `json:"count-objects-unhealthy"`
	Corrupt     int            `json:"count-corrupt-shares"`
	ListCorrupt [][3]any       `json:"list-corrupt-shares"` // server, storage index, share number
	List        []unhealthy    `json:"list-unhealthy-files"`
	Stats       tarn.DeepStats `json:"stats"`
}

// unhealthy is an object that is not; in JSON it is path and results.
type unhealthy struct{ checkedObject }

func (u unhealthy) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{u.Path, u.Results})
}

func (d *deepCheck) run(ctx context.Context) error {
	return checkTree(ctx, d.checker, d.from, d.options, d.counting(), d.add, d.how)
}

// add counts an object that was checked; what lies in its capability is none.
func (d *deepCheck) add(c checkedObject) error {
	if c.Results.Results.Counts == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.result
	r.Checked++
	r.Corrupt += c.Results.Results.CorruptShares
	if c.Results.Results.Healthy {
		r.Healthy++
	} else {
		r.Unhealthy++
	}
	if len(r.ListCorrupt) < maxUnhealthy {
		r.ListCorrupt = append(r.ListCorrupt, c.Results.Results.ListCorrupt...)
	}
	if !c.Results.Results.Healthy && len(r.List) < maxUnhealthy {
		r.List = append(r.List, unhealthy{c})
	}
	return nil
}

// soFar is what is known now.
func (d *deepCheck) soFar(finished bool) deepCheckJSON {
	stats := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.result
	r.Finished, r.Root, r.Stats = finished, storageIndexText(d.from.Capability()), stats
	r.ListCorrupt = append([][3]any{}, r.ListCorrupt...)
	r.List = append([]unhealthy{}, r.List...)
	return r
}

func (d *deepCheck) writeJSON(w io.Writer, finished bool) error {
	return writeIndented(w, d.soFar(finished))
}

func (d *deepCheck) writeText(w io.Writer, finished bool) error { return d.writeJSON(w, finished) }

func (d *deepCheck) page(finished bool) operationView {
	r, n := d.soFar(finished), strconv.Itoa
	v := operationView{Title: "Deep check", Facts: []fact{
		{"Checked", n(r.Checked)}, {"Healthy", n(r.Healthy)}, {"Not healthy", n(r.Unhealthy)}, {"Damaged shares", n(r.Corrupt)},
	}}
	for _, u := range r.List {
		v.Objects = append(v.Objects, listed{Path: strings.Join(u.Path, "/"), Link: objectPath(u.Cap) + "?t=info", Kind: u.Results.Summary})
	}
	return v
}

func (q *request) startDeepCheck(l tarn.Found) error {
	o, err := q.checkOptions()
	if err != nil {
		return err
	}
	return q.startOperation(&deepCheck{census: q.census(l), checker: q.node, options: o})
}
