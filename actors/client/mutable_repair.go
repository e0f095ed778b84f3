package client

import (
	"errors"
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// RepairMutable checks a mutable file and, unless it is healthy, makes it so as far
// as can be; answered by Repaired or an error, with Progress before.
type RepairMutable struct {
	ReplyTo *actor.PID
	MutableSpec
	// Force gives up versions of which it is not known that nobody needs them: see
	// ErrMustForce.
	Force bool
	// Authority to store under; the node's own where it is empty.
	Authority lease.Authority
}

// Why a mutable file is not repaired.
var (
	// ErrRepairTakesWriteCap means that the capability can't write the file. Its
	// holder could make the shares that are missing, but no server could tell that
	// he may put them there, nor would its writers be let change them.
	ErrRepairTakesWriteCap = errors.New("a mutable file is repaired by its write capability alone")
	// ErrMustForce means that there is a version that a repair would give up: a
	// newer one than can be read, whose other shares may come back, or one of two
	// that were written at the same time.
	ErrMustForce = errors.New("there is another version of the file, that this would give up for good")
)

// How a mutable file is repaired. Where all shares are of one version, those that
// are missing or damaged are made from the others, byte by byte as they were, and
// put back: nobody has to be told. But the server that decides between writers is
// the first that holds a share; if there were one before it, of two writers who look
// before and after that each would have won. So where shares have to go to such a
// server, and wherever there is more than one version, the content is written as a
// new version, and a writer who was there first wins.

// repair makes a file whole.
func (m *mutableFile) repair(f *flow, r RepairMutable) {
	found, err := m.inspect(f, r.MutableSpec, r.ReplyTo)
	if err != nil {
		m.answer(f, r.ReplyTo, err)
	} else {
		m.answer(f, r.ReplyTo, m.repaired(f, r, found))
	}
	f.ctx.Stop(f.ctx.Self()) // it was for this alone
}

func (m *mutableFile) repaired(f *flow, r RepairMutable, found *inspection) Repaired {
	out := Repaired{Before: m.checked(found)}
	if len(found.versions) > 1 {
		found = m.again(f, found) // somebody may just be writing
		out.Before = m.checked(found)
	}
	out.After = out.Before
	switch {
	case out.Before.Healthy() && len(out.Before.Corrupt) == 0:
	case !m.cap.Writable():
		out.Err = ErrRepairTakesWriteCap
	default:
		out.Attempted = true
		m.mend(f, r, found, &out)
		f.ctx.Send(f.ctx.Parent(), mutableMended{m.cap.StorageIndex()})
	}
	m.log.Info("mutable file repaired", "storage-index", m.cap.StorageIndex().String(), "before", out.Before.Summary(), "after", out.After.Summary(), "pushed", out.Pushed)
	return out
}

// again asks all servers once more, until nobody is just writing. What was found
// damaged, and is as it was, is so still.
func (m *mutableFile) again(f *flow, found *inspection) *inspection {
	var next *inspection
	_, _ = m.settled(f, func() *survey { // that nothing can be read is told later
		next = m.surveyAll(f, found.spec)
		for _, h := range next.shares {
			if was := found.at(h.server.id, h.num); was != nil && was.err != nil && !was.unread && slices.Equal(was.head, h.head) {
				h.err = was.err
			}
		}
		next.count()
		return next.survey
	})
	return next
}

// at is what was found of a share at a server.
func (s *survey) at(id grid.ServerID, num grid.ShareNum) *heldShare {
	for _, h := range s.shares {
		if h.server.id == id && h.num == num {
			return h
		}
	}
	return nil
}

// mend writes what is to be written, and does so again where somebody else wrote
// meanwhile, or shares that were counted on prove to be damaged.
func (m *mutableFile) mend(f *flow, r RepairMutable, found *inspection, out *Repaired) {
	for tries := 1; ; tries++ {
		w, err := m.mendOnce(f, r, found)
		m.unstage(f.ctx)
		overwritten := errors.Is(err, errOverwritten) || errors.As(err, new(*ConflictError))
		if w != nil && err == nil {
			found, err = m.after(found, w)
			out.Pushed += len(w.at) - w.kept
			out.Labels, out.LeftOut = w.labels, append(w.left, w.refusals()...)
		}
		bad, changed := m.suspects(f, found)
		for _, fault := range bad {
			out.Before.spoil(fault)
		}
		out.After = m.checked(found)
		if (len(bad) == 0 && !changed && !overwritten) || tries == 2*maxSurveys {
			out.Err = err
			break
		}
		if overwritten || changed {
			f.sleep(m.env.Jitter(writeAgain))
			found = m.again(f, found)
			if out.After = m.checked(found); out.After.Healthy() {
				break
			}
		}
	}
	if out.Err == nil || out.Pushed > 0 {
		out.Err = errors.Join(out.Err, m.addLeases(f, found))
		out.After.Leased, out.After.Unleased = found.leased, found.unleased
	}
}

// refusals are servers that got nothing, or nothing more, and why.
func (w *writing) refusals() (list []LeftOut) {
	for _, id := range sortedServers(w.refused) {
		name := ""
		if i := slices.IndexFunc(w.found.servers, func(c candidate) bool { return c.id == id }); i >= 0 {
			name = w.found.servers[i].name
		}
		list = append(list, LeftOut{id, name, w.refused[id]})
	}
	return list
}

// suspects looks at shares that did not give what they should have: those that are
// damaged count no more.
func (m *mutableFile) suspects(f *flow, found *inspection) (bad []health.Fault, changed bool) {
	for _, h := range found.shares {
		if h.err != nil || h.failed == nil {
			continue
		}
		changed = m.fault(f, h, h.failed) || changed
		if !h.unread {
			bad = append(bad, health.Fault{Copy: health.Copy{Server: h.server.id, Num: h.num, Version: h.share.Header.Name()}, Err: h.err})
		}
	}
	found.count()
	return bad, changed
}

// after is what there is once a version was written.
func (m *mutableFile) after(found *inspection, w *writing) (*inspection, error) {
	shares, err := w.held()
	if err != nil {
		return found, err
	}
	fresh := len(shares)
	for _, h := range found.shares {
		if !slices.ContainsFunc(shares[:fresh], func(n *heldShare) bool { return n.server.id == h.server.id && n.num == h.num }) {
			shares = append(shares, h)
		}
	}
	next := m.surveyOf(found.servers, shares)
	next.silent = found.silent
	return &inspection{spec: found.spec, survey: next, left: found.left}, nil
}

// mendOnce writes a file from the version that can be read. It returns nothing where
// nothing is to be done that could be.
func (m *mutableFile) mendOnce(f *flow, r RepairMutable, found *inspection) (*writing, error) {
	v, err := found.best()
	if err != nil {
		return nil, err
	}
	if !r.Force && found.contested(v) {
		return nil, fmt.Errorf("%w: read is %s, and there is %s", ErrMustForce, v.Name(), found.rival(v).Name())
	}
	if err := m.openKey(f, found.survey); err != nil {
		return nil, err
	}
	if len(found.versions) == 1 {
		w, damaged, possible := m.plan(f, found, v)
		w.told = r.ReplyTo
		switch {
		case len(damaged) == 0 && len(m.places(f, w)) == 0:
			return nil, nil
		case possible:
			return w, m.putBack(f, found, w, damaged, v)
		}
	}
	return m.republish(f, r.ReplyTo, found, v)
}

// contested reports whether a version would be lost that may be wanted.
func (s *survey) contested(v mutable.Version) bool { return s.rival(v).Total > 0 }

// rival is a version that is newer, or as new and can be read; none has no shares in
// total.
func (s *survey) rival(v mutable.Version) mutable.Version {
	for _, other := range s.versions {
		if other.Prefix != v.Prefix && (other.Seqnum > v.Seqnum || other.Seqnum == v.Seqnum && other.Recoverable()) {
			return other
		}
	}
	return mutable.Version{}
}

// plan begins with the shares that are there. It tells which are damaged, and
// whether those and what is missing can be put back: each at a server that is not
// before the one that decides.
func (m *mutableFile) plan(f *flow, found *inspection, v mutable.Version) (w *writing, damaged [][]target, possible bool) {
	w = m.newWriting(found.survey, &v.Prefix, &draft{prefix: v.Prefix}, found.spec.Params)
	w.spread = true
	for _, h := range found.shares {
		switch {
		case h.err == nil:
			w.keep(h)
		case !h.unread && int(h.num) < v.Total:
			damaged = addTarget(damaged, target{h.server, h.num, h.seen()})
		}
	}
	at := w.at
	for _, group := range damaged {
		w.at = append(slices.Clip(w.at), group...)
	}
	decides := w.mayPutBack()
	possible = true
	for _, group := range slices.Concat(damaged, m.places(f, w)) {
		possible = possible && decides[group[0].server.id]
	}
	w.at = at
	if possible {
		w.may = decides
	}
	return w, damaged, possible
}

// keep counts a share that is there.
func (w *writing) keep(h *heldShare) {
	w.placed[h.num] = append(w.placed[h.num], h.server.id)
	if !h.server.label.IsZero() {
		w.labels[h.server.id] = h.server.label
	}
	w.at = append(w.at, target{h.server, h.num, h.seen()})
	w.kept++
}

// mayPutBack are the servers from the one on that decides between writers.
func (w *writing) mayPutBack() map[grid.ServerID]bool {
	may := map[grid.ServerID]bool{}
	for _, c := range w.found.servers {
		if len(may) > 0 || slices.ContainsFunc(w.at[:w.kept], func(t target) bool { return t.server.id == c.id }) {
			may[c.id] = true
		}
	}
	return may
}

// putBack makes the shares of a version once more and brings them where they are
// missing or damaged.
func (m *mutableFile) putBack(f *flow, found *inspection, w *writing, damaged [][]target, v mutable.Version) error {
	d, err := m.rebuild(f, found.survey, v.Prefix)
	if err != nil {
		return err
	}
	w.draft = d
	if len(damaged) > 0 {
		if err := m.sendMore(f, w, damaged); err != nil {
			return err
		}
		w.passOver(damaged)
	}
	for w.conflicts == 0 {
		more := m.places(f, w)
		if len(more) == 0 {
			return nil
		}
		if err := m.sendMore(f, w, more); err != nil {
			return err
		}
	}
	return &ConflictError{Clean: true}
}

// passOver lets a server have other shares of the file that keeps something else
// under some numbers, for somebody else.
func (w *writing) passOver(damaged [][]target) {
	for _, group := range damaged {
		id := group[0].server.id
		if errors.Is(w.refused[id], &wire.Error{Code: wire.WrongEnabler}) {
			delete(w.refused, id)
			for _, t := range group {
				w.never[id] = append(w.never[id], t.num)
			}
		}
	}
}

// rebuild makes all shares of a version once more, from the blocks of enough of
// them.
func (m *mutableFile) rebuild(f *flow, s *survey, p mutable.Prefix) (*draft, error) {
	e, err := mutable.NewEncoder(p.Layout, m.key)
	if err != nil {
		return nil, err
	}
	from := newStream(e, p.Layout)
	from.segments = func(f *flow, first, last int64) ([]*mutable.Segment, error) {
		good, err := m.blocks(f, s, p, first, last)
		if err != nil {
			return nil, err
		}
		return each(f, first, last, func(i int64) (*mutable.Segment, error) {
			blocks := map[grid.ShareNum][]byte{}
			for num, list := range good {
				blocks[num] = list[i-first]
			}
			return e.Recode(p, i, blocks)
		})
	}
	from.finish = func() (mutable.Prefix, error) { return p, finishAs(e, p, s) }
	if streams(p.Format, p.Size) {
		return from.draft(p), nil
	}
	return m.collect(f, from)
}

// finishAs ends a version with its own signature, which one of the shares has.
func finishAs(e *mutable.Encoder, p mutable.Prefix, s *survey) (err error) {
	for _, h := range s.of(p) {
		if err = e.FinishAs(p, h.share.Signature); err == nil {
			break
		}
	}
	return err
}

// collect has all of a stream's shares made at once.
func (m *mutableFile) collect(f *flow, s *stream) (*draft, error) {
	var all []*mutable.Segment
	together := s.together()
	for first := int64(0); first < s.layout.NumSegments(); first += together {
		segments, err := s.segments(f, first, min(first+together, s.layout.NumSegments())-1)
		if err != nil {
			return nil, err
		}
		all = append(all, segments...)
	}
	type made struct {
		prefix mutable.Prefix
		shares [][]byte
		err    error
	}
	got := do(f, env.CPU, func() (out made) {
		for _, segment := range all {
			if out.err = s.encoder.Add(segment); out.err != nil {
				return out
			}
		}
		if out.prefix, out.err = s.finish(); out.err == nil {
			out.shares, out.err = s.encoder.Shares(all)
		}
		return out
	})
	if got.err != nil {
		return nil, got.err
	}
	return draftOfShares(got.prefix, got.shares), nil
}

// republish writes the content of a version as a new one.
func (m *mutableFile) republish(f *flow, told *actor.PID, found *inspection, v mutable.Version) (*writing, error) {
	seqnum, err := mutable.NextSeqnum(found.versions)
	if err != nil {
		return nil, err
	}
	var d *draft
	if streams(v.Format, v.Size) {
		d, err = m.streamDraft(v.Layout, seqnum, func(f *flow, off, size int64) ([]byte, error) {
			return m.segments(f, found.survey, v.Prefix, off/v.SegmentSize, (off+size-1)/v.SegmentSize)
		})
	} else {
		var content []byte
		if content, err = m.whole(f, found.survey, v.Prefix); err == nil {
			d, err = m.encode(f, v.Layout, seqnum, content)
		}
	}
	if err != nil {
		return nil, err
	}
	w := m.newWriting(found.survey, &v.Prefix, d, found.spec.Params)
	w.spread, w.told = true, told
	return w, m.place(f, w)
}
