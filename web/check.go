package web

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// maxUnhealthy is how many objects that are not healthy are listed under a
// handle, maxHealthy how many others can be asked about; all of them are counted.
const (
	maxUnhealthy = 10_000
	maxHealthy   = 100_000
)

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
	if h.Force, err = q.args.flag("force", false); err != nil {
		return h, err
	}
	h.repair, err = q.args.flag("repair", false)
	return h, err
}

// deepCheckHow is the same for all that can be reached.
func (q *request) deepCheckHow() (checkHow, error) {
	h, err := q.checkHow()
	if err == nil && h.Force {
		err = badRequest("force= gives up a version of one object; say it with t=check of that.")
	}
	return h, err
}

// tree are the options for all that can be reached, with who counts it.
func (h checkHow) tree(count tarn.Walker) tarn.DeepCheckOptions {
	return tarn.DeepCheckOptions{Verify: h.Verify, AddLease: h.AddLease, Repair: h.repair, Walker: count}
}

// examine checks an object, and repairs it if that is wanted.
func (q *request) examine(c file.Capability, h checkHow) (tarn.RepairResult, error) {
	if h.repair {
		return q.node.Repair(q.r.Context(), c.String(), h.CheckOptions, q.how()...)
	}
	found, err := q.node.Check(q.r.Context(), c.String(), h.CheckOptions, q.how()...)
	return tarn.RepairResult{Before: found, After: found}, err
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
	result, err := q.examine(l.Capability(), h)
	if err != nil {
		return err
	}
	q.w.Header().Set("Cache-Control", "no-store")
	switch {
	case to != "":
		return q.done(to, "")
	case strings.EqualFold(q.args.get("output"), "json"):
		return q.json(resultsJSON(result, h.repair))
	}
	path := q.address.path()
	return q.page(infoPage, infoView{
		Title: "Check", Trail: q.trail(len(path)), Facts: resultFacts(l, result, h.repair),
		Links: []step{{"About it", objectPath(q.address.elements[0], path...) + "?t=info"}},
	})
}

// resultsJSON is what Tahoe says of one object.
func resultsJSON(r tarn.RepairResult, repair bool) any {
	results := tahoe.ResultsOf(r, repair)
	if repair {
		return results.Repaired
	}
	return results.Checked
}

// resultFacts is what became of an object, for people.
func resultFacts(l tarn.Found, r tarn.RepairResult, repair bool) []fact {
	facts := healthFacts(l, r.After.Report)
	if repair && !r.Before.Literal {
		facts = append(facts, fact{"Before the repair", r.Before.Summary()})
	}
	if r.Err != nil {
		facts = append(facts, fact{"The repair was given up", r.Err.Error()})
	}
	return facts
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

// streamDeepCheck is t=stream-deep-check.
func (q *request) streamDeepCheck(l tarn.Found) error {
	h, err := q.deepCheckHow()
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", jsonType)
	q.w.Header().Set("Cache-Control", "no-store")
	out := newLines(q.w)
	var stats tarn.DeepStats
	count := tarn.Walker{Visit: stats.Visit, Enter: stats.Enter}
	err = tarn.DeepCheck(q.r.Context(), q.node, l, h.tree(count), func(e tarn.Examined) error {
		if e.Failed != nil {
			return e.Failed
		}
		if err := out.object(tahoe.CheckedLineOf(e, h.repair)); err != nil {
			return err
		}
		return e.Unread // which ends Tahoe's answer, too
	}, q.how()...)
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
	ill           []tarn.Examined // not healthy before
	well          map[grid.StorageIndex]file.Capability
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

func (d *deepCheck) run(ctx context.Context) error {
	return tarn.DeepCheck(ctx, d.checker, d.from, d.what.tree(d.counting()), d.add, d.how...)
}

// add counts an object that was checked; what lies in its capability is none.
func (d *deepCheck) add(e tarn.Examined) error {
	if e.Failed != nil {
		return e.Failed
	}
	if e.Before.Literal {
		return e.Unread
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before.add(e.Before.Report)
	d.after.add(e.After.Report)
	if e.Attempted {
		d.attempted++
	}
	index, _ := file.StorageIndexOf(e.Capability())
	switch {
	case e.Before.Healthy() && len(d.well) < maxHealthy:
		d.well[index] = e.Capability()
	case !e.Before.Healthy() && len(d.ill) < maxUnhealthy:
		d.ill = append(d.ill, e)
	}
	return e.Unread
}

// detail implements detailed. What was healthy is looked at once more.
func (d *deepCheck) detail(ctx context.Context, storageIndex string) (object any, facts []fact, err error) {
	ill, well := d.known(storageIndex)
	switch {
	case ill != nil:
		facts = append([]fact{{"Path", strings.Join(ill.Path, "/")}}, resultFacts(ill.Found, ill.RepairResult, d.what.repair)...)
		return resultsJSON(ill.RepairResult, d.what.repair), facts, nil
	case well == nil:
		return nil, nil, errUnknownObject
	}
	r, err := d.checker.Check(ctx, well.String(), tarn.CheckOptions{Verify: d.what.Verify}, d.how...)
	if err != nil {
		return nil, nil, err
	}
	now := tarn.RepairResult{Before: r, After: r}
	return resultsJSON(now, d.what.repair), resultFacts(tarn.FoundOf(well), now, d.what.repair), nil
}

// known is what is remembered of an object; nil if that is nothing.
func (d *deepCheck) known(storageIndex string) (ill *tarn.Examined, well file.Capability) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.ill {
		if tahoe.StorageIndexText(e.Capability()) == storageIndex {
			return &e, nil
		}
	}
	if index, err := grid.ParseStorageIndex(storageIndex); err == nil {
		return nil, d.well[index]
	}
	return nil, nil
}

// illJSON are the objects that were not healthy, as pairs of path and results.
func (d *deepCheck) illJSON() [][2]any {
	list := make([][2]any, len(d.ill))
	for i, e := range d.ill {
		list[i] = [2]any{append([]string{}, e.Path...), resultsJSON(e.RepairResult, d.what.repair)}
	}
	return list
}

// writeJSON says what Tahoe does of a deep check, and of one that repairs.
func (d *deepCheck) writeJSON(w io.Writer, finished bool) error {
	stats := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	b, a := d.before, d.after
	answer := map[string]any{
		"finished": finished, "root-storage-index": tahoe.StorageIndexText(d.from.Capability()), "count-objects-checked": b.checked,
		"list-corrupt-shares": append([][3]any{}, b.list...), "list-unhealthy-files": d.illJSON(), "stats": stats,
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
	for _, e := range d.ill {
		v.Objects = append(v.Objects, listed{Path: strings.Join(e.Path, "/"), Link: objectPath(e.Capability().String()) + "?t=info", Kind: e.After.Summary(), Detail: tahoe.StorageIndexText(e.Capability())})
	}
	return v
}

func (q *request) startDeepCheck(l tarn.Found) error {
	h, err := q.deepCheckHow()
	if err != nil {
		return err
	}
	return q.startOperation(&deepCheck{census: q.census(l), checker: q.node, what: h, well: map[grid.StorageIndex]file.Capability{}})
}
