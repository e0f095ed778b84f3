package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// target is a place for a share.
type target struct {
	server candidate
	num    grid.ShareNum
	seen   []byte // what is there, nil for nothing
}

// writing is a version on its way to its servers.
type writing struct {
	*draft
	params file.Params
	found  *survey
	over   *mutable.Prefix // the version before, nil for a new file
	// spread has shares go to as many servers as can be, not only those that have
	// no place; may are the servers that get any then, nil for all.
	spread bool
	may    map[grid.ServerID]bool
	never  map[grid.ServerID][]grid.ShareNum // that are held there for others
	room   []candidate                       // that may get new shares; nil until they were asked for
	told   *actor.PID                        // hears Progress of what is streamed; nil for nobody
	left   []LeftOut

	placed    map[grid.ShareNum][]grid.ServerID
	labels    map[grid.ServerID]grid.PublicKey
	at        []target // where it is
	kept      int      // of these, where it was before, the first ones
	refused   map[grid.ServerID]error
	conflicts int // places where others wrote at the same time
}

func (m *mutableFile) newWriting(s *survey, over *mutable.Prefix, d *draft, p file.Params) *writing {
	return &writing{draft: d, params: p, found: s, over: over, placed: map[grid.ShareNum][]grid.ServerID{},
		labels: map[grid.ServerID]grid.PublicKey{}, refused: map[grid.ServerID]error{}, never: map[grid.ServerID][]grid.ShareNum{}}
}

func (w *writing) happiness() int {
	var edges []placement.Edge
	for num, ids := range w.placed {
		for _, id := range ids {
			edges = append(edges, placement.Edge{Server: id, Share: num})
		}
	}
	return placement.Happiness(edges)
}

func (w *writing) reasons() map[grid.ServerID]error {
	all := maps.Clone(w.refused)
	for _, l := range w.left {
		all[l.Server] = l.Err
	}
	return all
}

// place writes a version: to the server that decides, to all others that hold
// shares, and where shares have no place to servers that have the fewest.
func (m *mutableFile) place(f *flow, w *writing) error {
	err := m.placeAll(f, w)
	m.unstage(f.ctx)
	return err
}

func (m *mutableFile) placeAll(f *flow, w *writing) error {
	groups := w.existing()
	if w.stream != nil {
		w.at = w.planned(groups)
		more := m.places(f, w)
		w.at = nil
		if err := m.stageStream(f, w, slices.Concat(groups, more)); err != nil {
			return err
		}
		groups = append(groups, more...)
	}
	for len(groups) > 0 && len(w.at) == 0 {
		first := groups[0]
		groups = groups[1:]
		if err := m.decide(f, w, first); err != nil {
			return err
		}
	}
	m.sendAll(f, w, groups)
	for w.conflicts == 0 && w.whole {
		more := m.places(f, w)
		if len(more) == 0 {
			break
		}
		if err := m.sendMore(f, w, more); err != nil {
			return err
		}
	}
	return w.verdict()
}

// sendMore writes to some places, wherever the content is.
func (m *mutableFile) sendMore(f *flow, w *writing, groups [][]target) error {
	if w.stream != nil {
		if err := m.stageStream(f, w, groups); err != nil {
			return err
		}
	}
	m.sendAll(f, w, groups)
	return nil
}

// decide writes to the server that decides. One that is gone or refuses leaves it
// to the next.
func (m *mutableFile) decide(f *flow, w *writing, group []target) error {
	for tries := 0; ; tries++ {
		if late := m.send(f, w, [][]target{group}); len(late) > 0 {
			return &ConflictError{Clean: true}
		}
		err := w.refused[group[0].server.id]
		switch {
		case w.conflicts > 0:
			return &ConflictError{Clean: true}
		case err == nil || tries >= 3 || !busy(err):
			return nil
		}
		delete(w.refused, group[0].server.id)
		f.sleep(m.env.Jitter(writeAgain))
	}
}

func busy(err error) bool { return errors.Is(err, &wire.Error{Code: wire.Busy}) }

// existing are the places that hold shares, by server, in the order of the file,
// but that the one which decides comes first. Where parts are written only shares of the version they are of count.
func (w *writing) existing() (groups [][]target) {
	decides := -1
	for _, c := range w.found.servers {
		var group []target
		newest := false
		for _, h := range w.found.shares {
			if h.server.id != c.id || int(h.num) >= w.prefix.Total {
				continue
			}
			if w.base != nil && (h.err != nil || h.share.Header.Prefix != *w.base) {
				continue
			}
			group = append(group, target{h.server, h.num, h.seen()})
			newest = newest || h.err == nil && w.over != nil && h.share.Header.Prefix == *w.over
		}
		if newest && decides < 0 {
			decides = len(groups)
		}
		if len(group) > 0 {
			slices.SortFunc(group, func(a, b target) int { return int(a.num) - int(b.num) })
			groups = append(groups, group)
		}
	}
	if decides > 0 {
		first := groups[decides]
		groups = slices.Insert(slices.Delete(groups, decides, decides+1), 0, first)
	}
	return groups
}

// planned are the places of all groups.
func (w *writing) planned(groups [][]target) (all []target) {
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

// places are where shares are still to go.
func (m *mutableFile) places(f *flow, w *writing) [][]target {
	if w.spread {
		return m.spread(f, w)
	}
	return m.homeless(f, w)
}

// spread finds places so that as many distinct servers as can be hold distinct
// shares.
func (m *mutableFile) spread(f *flow, w *writing) (groups [][]target) {
	m.askRoom(f, w)
	held := map[grid.ServerID][]grid.ShareNum{}
	for _, t := range w.at {
		held[t.server.id] = append(held[t.server.id], t.num)
	}
	in := placement.Input{Total: w.prefix.Total}
	gets := map[grid.ServerID]candidate{}
	for _, c := range w.room {
		if w.refused[c.id] == nil && (w.may == nil || w.may[c.id]) {
			gets[c.id] = c
			in.Servers = append(in.Servers, placement.Server{ID: c.id, Shares: held[c.id], Never: w.never[c.id]})
		}
	}
	for _, t := range w.at {
		if _, listed := gets[t.server.id]; !listed {
			gets[t.server.id] = t.server
			in.Servers = append(in.Servers, placement.Server{ID: t.server.id, ReadOnly: true, Shares: held[t.server.id]})
		}
	}
	plan, err := placement.NewPlan(in)
	if err != nil {
		return nil // which is not for any happiness
	}
	for _, a := range plan.Assignments {
		if !slices.Contains(held[a.Server], a.Share) {
			groups = addTarget(groups, target{gets[a.Server], a.Share, w.found.seenAt(a.Server, a.Share)})
		}
	}
	return groups
}

// addTarget puts a place to the others at its server.
func addTarget(groups [][]target, t target) [][]target {
	for i, group := range groups {
		if group[0].server.id == t.server.id {
			groups[i] = append(group, t)
			return groups
		}
	}
	return append(groups, []target{t})
}

// askRoom finds out, once, who may get new shares.
func (m *mutableFile) askRoom(f *flow, w *writing) {
	if w.room == nil {
		list := m.candidates(f, candidates{want: w.params.Happy, storing: true})
		w.room, w.left = list.servers, list.left
	}
}

// homeless finds places for shares that have none.
func (m *mutableFile) homeless(f *flow, w *writing) (groups [][]target) {
	var nums []grid.ShareNum
	for n := range w.prefix.Total {
		num := grid.ShareNum(n)
		if len(w.placed[num]) == 0 && !slices.ContainsFunc(w.at, func(t target) bool { return t.num == num }) {
			nums = append(nums, num)
		}
	}
	if len(nums) == 0 {
		return nil
	}
	m.askRoom(f, w)
	given := map[grid.ServerID]int{}
	for _, t := range w.at {
		given[t.server.id]++
	}
	for _, num := range nums {
		c, ok := w.emptiest(given)
		if !ok {
			return groups
		}
		given[c.id]++
		groups = addTarget(groups, target{c, num, w.found.seenAt(c.id, num)})
	}
	return groups
}

// emptiest is the server with the fewest shares that has refused none.
func (w *writing) emptiest(given map[grid.ServerID]int) (best candidate, ok bool) {
	for _, c := range w.room {
		if w.refused[c.id] == nil && (!ok || given[c.id] < given[best.id]) {
			best, ok = c, true
		}
	}
	return best, ok
}

// seenAt is what a server was found to hold as a share.
func (s *survey) seenAt(id grid.ServerID, num grid.ShareNum) []byte {
	for _, h := range s.shares {
		if h.server.id == id && h.num == num {
			return h.seen()
		}
	}
	return nil
}

// verdict says whether the version counts: enough of its shares are durable, and
// nobody wrote at the same time. Who tells of a newer version may have seen this one,
// or another one of the same number that was written where this writer could not
// reach: nothing in it tells.
func (w *writing) verdict() error {
	switch {
	case len(w.placed) >= w.prefix.Needed && w.conflicts == 0:
		return nil
	case len(w.placed) >= w.prefix.Needed:
		return &ConflictError{}
	case w.conflicts > 0:
		return &ConflictError{Clean: len(w.at) == 0}
	}
	return w.tooFewFor(w.prefix.Needed)
}

// tooFewFor counts the servers of which too few hold the version.
func (w *writing) tooFewFor(want int) error {
	few := &placement.TooFewServers{Happy: want, Happiness: w.happiness(), Total: w.prefix.Total}
	counted := map[grid.ServerID]bool{}
	for _, c := range slices.Concat(w.found.servers, w.room) {
		if counted[c.id] {
			continue
		}
		counted[c.id] = true
		few.Reachable++
		if w.refused[c.id] == nil {
			few.Writable++
		}
		if slices.ContainsFunc(w.at, func(t target) bool { return t.server.id == c.id }) {
			few.Holding++
		}
	}
	return &UploadError{Err: few, Reasons: w.reasons()}
}

// tooFew is an error where the version is not on as many servers as it should be.
func (w *writing) tooFew() error {
	want := min(w.params.Happy, w.prefix.Total)
	switch {
	case w.happiness() >= want:
		return nil
	case w.over == nil:
		return w.tooFewFor(want)
	}
	return fmt.Errorf("the new version is written, but not where it would last: %w", w.tooFewFor(want))
}
