package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// checkHow is what a check is to do.
type checkHow struct {
	tarn.CheckOptions
	repair bool
}

func (q *request) checkHow() (h checkHow, err error) {
	if h.Verify, err = q.args.flag("verify", false); err != nil {
		return h, err
	}
	if h.AddLease, err = q.args.flag("add-lease", false); err != nil {
		return h, err
	}
	h.repair, err = q.args.flag("repair", false)
	return h, err
}

// outcome is what a check found and, if it was to repair, what became of it: one
// of the two.
type outcome struct {
	Checked  *health.JSON       `json:"check-results,omitempty"`
	Repaired *health.RepairJSON `json:"check-and-repair-results,omitempty"`

	before, after health.Report
}

// checkOne checks an object, and repairs it if that is wanted.
func checkOne(ctx context.Context, node Node, capability string, h checkHow, how []tarn.Option) (o outcome, err error) {
	if !h.repair {
		result, err := node.Check(ctx, capability, h.CheckOptions, how...)
		return checkedOnly(result.Report), err
	}
	result, err := node.Repair(ctx, capability, h.CheckOptions, how...)
	j := health.JSONOfRepair(result.Before.Report, result.After.Report, result.Attempted)
	return outcome{Repaired: &j, before: result.Before.Report, after: result.After.Report}, err
}

func checkedOnly(r health.Report) outcome {
	j := r.JSON()
	return outcome{Checked: &j, before: r, after: r}
}

// check tells how an object is: t=check.
func (q *request) check(l tarn.Found) error {
	h, err := q.checkHow()
	if err != nil {
		return err
	}
	to, err := q.whenDone("")
	if err != nil {
		return err
	}
	result, err := checkOne(q.r.Context(), q.node, l.Capability().String(), h, q.how())
	if err != nil {
		return err
	}
	q.w.Header().Set("Cache-Control", "no-store")
	switch {
	case to != "":
		return q.done(to, "")
	case strings.EqualFold(q.args.get("output"), "json") && h.repair:
		return q.json(result.Repaired)
	case strings.EqualFold(q.args.get("output"), "json"):
		return q.json(result.Checked)
	}
	v := infoView{Title: "Check", Facts: healthFacts(l, result.after)}
	if h.repair && !result.before.Literal {
		v.Facts = append(v.Facts, fact{"Before the repair", result.before.Summary()})
	}
	return q.page(infoPage, v)
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
	outcome
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
func checkTree(ctx context.Context, node Node, from tarn.Found, h checkHow, count tarn.Walker, then func(checkedObject) error, how []tarn.Option) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	checks := &inOrder{then: then, check: func(v tarn.Visited) (checkedObject, error) {
		c := checkedObject{streamed: streamedOf(v)}
		if _, unknown := v.Capability().(file.Unknown); unknown { // there is nothing that could be asked
			c.outcome = checkedOnly(health.Report{Literal: true})
			return c, nil
		}
		var err error
		c.outcome, err = checkOne(ctx, node, c.Cap, h, how)
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
	h, err := q.checkHow()
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", jsonType)
	q.w.Header().Set("Cache-Control", "no-store")
	out := newLines(q.w)
	var stats tarn.DeepStats
	err = checkTree(q.r.Context(), q.node, l, h, tarn.Walker{Visit: stats.Visit, Enter: stats.Enter}, func(c checkedObject) error { return out.object(c) }, q.how())
	stats.Done()
	return out.end(err, stats)
}

// deepCheck is t=start-deep-check.
type deepCheck struct {
	census
	checker Node
	what    checkHow

	// Under the census' lock.
	before, after tally
	attempted     int
	ill           []unhealthy // not healthy before
}

// tally counts what is well and what is not.
type tally struct {
	checked, healthy, corrupt int
	list                      [][3]any // of corrupt shares: server, storage index, share number
}

func (t *tally) add(r health.Report) {
	t.checked++
	t.corrupt += len(r.Corrupt)
	if r.Healthy() {
		t.healthy++
	}
	if c := r.JSON().Results.Counts; c != nil && len(t.list) < maxUnhealthy {
		t.list = append(t.list, c.ListCorrupt...)
	}
}

// unhealthy is an object that was not; in JSON it is path and results.
type unhealthy struct{ checkedObject }

func (u unhealthy) MarshalJSON() ([]byte, error) {
	if u.Repaired != nil {
		return json.Marshal([2]any{u.Path, u.Repaired})
	}
	return json.Marshal([2]any{u.Path, u.Checked})
}

func (d *deepCheck) run(ctx context.Context) error {
	return checkTree(ctx, d.checker, d.from, d.what, d.counting(), d.add, d.how)
}

// add counts an object that was checked; what lies in its capability is none.
func (d *deepCheck) add(c checkedObject) error {
	if c.before.Literal {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before.add(c.before)
	d.after.add(c.after)
	if c.Repaired != nil && c.Repaired.Attempted {
		d.attempted++
	}
	if !c.before.Healthy() && len(d.ill) < maxUnhealthy {
		d.ill = append(d.ill, unhealthy{c})
	}
	return nil
}

// writeJSON says what Tahoe does of a deep check, and of one that repairs.
func (d *deepCheck) writeJSON(w io.Writer, finished bool) error {
	stats := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	b, a := d.before, d.after
	answer := map[string]any{
		"finished": finished, "root-storage-index": storageIndexText(d.from.Capability()), "count-objects-checked": b.checked,
		"list-corrupt-shares": append([][3]any{}, b.list...), "list-unhealthy-files": append([]unhealthy{}, d.ill...), "stats": stats,
	}
	if !d.what.repair {
		answer["count-objects-healthy"], answer["count-objects-unhealthy"] = b.healthy, b.checked-b.healthy
		answer["count-corrupt-shares"] = b.corrupt
		return writeIndented(w, answer)
	}
	successful := a.healthy - b.healthy
	for name, count := range map[string]int{
		"count-objects-healthy-pre-repair": b.healthy, "count-objects-unhealthy-pre-repair": b.checked - b.healthy,
		"count-objects-healthy-post-repair": a.healthy, "count-objects-unhealthy-post-repair": a.checked - a.healthy,
		"count-repairs-attempted": d.attempted, "count-repairs-successful": successful, "count-repairs-unsuccessful": d.attempted - successful,
		"count-corrupt-shares-pre-repair": b.corrupt, "count-corrupt-shares-post-repair": a.corrupt,
	} {
		answer[name] = count
	}
	answer["list-remaining-corrupt-shares"] = append([][3]any{}, a.list...)
	return writeIndented(w, answer)
}

func (d *deepCheck) writeText(w io.Writer, finished bool) error { return d.writeJSON(w, finished) }

func (d *deepCheck) page(bool) operationView {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := strconv.Itoa
	v := operationView{Title: "Deep check", Facts: []fact{
		{"Checked", n(d.before.checked)}, {"Healthy", n(d.before.healthy)}, {"Not healthy", n(d.before.checked - d.before.healthy)}, {"Damaged shares", n(d.before.corrupt)},
	}}
	if d.what.repair {
		v.Facts = append(v.Facts, fact{"Repairs tried", n(d.attempted)}, fact{"Healthy now", n(d.after.healthy)})
	}
	for _, u := range d.ill {
		v.Objects = append(v.Objects, listed{Path: strings.Join(u.Path, "/"), Link: objectPath(u.Cap) + "?t=info", Kind: u.after.Summary()})
	}
	return v
}

func (q *request) startDeepCheck(l tarn.Found) error {
	h, err := q.checkHow()
	if err != nil {
		return err
	}
	return q.startOperation(&deepCheck{census: q.census(l), checker: q.node, what: h})
}
