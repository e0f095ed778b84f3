package client

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// CheckMutable asks every server what it has of a mutable file; answered by
// Checked or an error. Where shares are read, Progress comes before.
type CheckMutable struct {
	ReplyTo *actor.PID
	MutableSpec
	// Authority to log in under; the node's own where it is empty.
	Authority lease.Authority
}

// MutableSpec says what to check and how.
type MutableSpec struct {
	Cap file.Mutable
	// Params are the node's: on how many distinct servers the file should be, and
	// how many shares there should be where none is found that says so.
	Params file.Params
	// Verify, AddLease and Patient are those of CheckSpec.
	Verify, AddLease, Patient bool
}

// inspection is what was found of a mutable file.
type inspection struct {
	spec MutableSpec
	*survey
	left     []LeftOut // servers that were not asked
	leased   int
	unleased []LeftOut
}

// check says how the file is.
func (m *mutableFile) check(f *flow, c CheckMutable) {
	found, err := m.inspect(f, c.MutableSpec, c.ReplyTo)
	if err != nil {
		m.answer(f, c.ReplyTo, err)
	} else {
		m.answer(f, c.ReplyTo, m.checked(found))
	}
	f.ctx.Stop(f.ctx.Self()) // it was for this alone
}

// inspect asks every server, reads the shares if it is to, and makes leases on
// those that count. Where somebody writes meanwhile it begins anew.
func (m *mutableFile) inspect(f *flow, spec MutableSpec, replyTo *actor.PID) (*inspection, error) {
	found := m.surveyAll(f, spec)
	for tries := 1; spec.Verify; tries++ {
		if !m.verify(f, found.survey, replyTo) || tries == maxSurveys {
			break
		}
		found = m.surveyAll(f, spec)
	}
	if spec.AddLease {
		if err := m.addLeases(f, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// surveyAll waits for every server that is connected.
func (m *mutableFile) surveyAll(f *flow, spec MutableSpec) *inspection {
	list := m.candidates(f, candidates{want: spec.Params.Total, patient: spec.Patient})
	s := &survey{servers: list.servers, asked: len(list.servers)}
	m.askHolders(f, s, list.servers, lostTime, func([]candidate, []*asked) bool { return true })
	return &inspection{spec: spec, survey: s, left: list.left}
}

// counts is the version whose shares count: the one that is read or, where there
// is none, the newest. It reports false where there is none at all.
func (s *survey) counts() (mutable.Version, bool) {
	if v, err := mutable.Best(s.versions); err == nil {
		return v, true
	}
	if len(s.versions) == 0 {
		return mutable.Version{}, false
	}
	return s.versions[0], true
}

// addLeases makes leases on the shares that count, and notes them in the journal.
func (m *mutableFile) addLeases(f *flow, found *inspection) error {
	v, ok := found.counts()
	if !ok {
		return nil
	}
	held := map[grid.ServerID][]grid.ShareNum{}
	for _, h := range found.of(v.Prefix) {
		held[h.server.id] = append(held[h.server.id], h.num)
	}
	var all []*asked
	var at []candidate
	for _, c := range found.servers {
		if nums := held[c.id]; len(nums) > 0 {
			slices.Sort(nums)
			add := &wire.AddLease{StorageIndex: m.cap.StorageIndex(), Nums: nums}
			all, at = append(all, f.ask(c.pid, Call{Frame: wire.Frame{Message: add}})), append(at, c)
		}
	}
	f.gatherBut(all)
	var made []lease.PlacedLease
	for i, a := range all {
		nums := held[at[i].id]
		leased, ok := a.reply.Frame.Message.(*wire.Leased)
		if !ok {
			found.unleased = append(found.unleased, LeftOut{at[i].id, at[i].name, unexpected(*a.reply)})
		} else if found.leased += int(leased.Count); int(leased.Count) >= len(nums) {
			for _, num := range nums {
				made = append(made, m.placedLease(at[i].id, num, at[i].label, leased.Expires))
			}
		}
		a.reply.Frame.Release()
	}
	return m.journalLeases(f, v.Size, made)
}

// checked puts together what is known.
func (m *mutableFile) checked(found *inspection) Checked {
	spec := found.spec
	out := Checked{
		Report: health.Report{
			StorageIndex: m.cap.StorageIndex(), Mutable: true, Verified: spec.Verify,
			Needed: spec.Params.Needed, Total: spec.Params.Total, Happy: spec.Params.Happy,
		},
		Names: map[grid.ServerID]string{}, Leased: found.leased, Unleased: found.unleased,
	}
	v, ok := found.counts()
	if ok {
		out.Version, out.Needed, out.Total = v.Name(), v.Needed, v.Total
	}
	for _, other := range found.versions {
		if other.Prefix != v.Prefix {
			newer := v.Recoverable() && other.Seqnum > v.Seqnum
			out.Others = append(out.Others, health.Version{Name: other.Name(), Needed: other.Needed, Total: other.Total, Shares: len(other.Shares), Newer: newer})
		}
	}
	for _, c := range found.servers {
		out.Names[c.id] = c.name
		if !slices.ContainsFunc(found.silent, func(l LeftOut) bool { return l.Server == c.id }) {
			out.Responding = append(out.Responding, c.id)
		}
	}
	for _, l := range slices.Concat(found.silent, found.left) {
		out.Names[l.Server] = l.Name
		out.Silent = append(out.Silent, health.Silence{Server: l.Server, Err: l.Err})
	}
	for _, h := range found.shares {
		h.addTo(&out.Report)
	}
	return out
}

func (h *heldShare) addTo(r *health.Report) {
	at := health.Copy{Server: h.server.id, Num: h.num}
	switch {
	case h.unread:
		r.Unread = append(r.Unread, health.Fault{Copy: at, Err: h.err})
		return
	case h.err != nil:
		r.Corrupt = append(r.Corrupt, health.Fault{Copy: at, Err: h.err})
		return
	}
	if at.Version = h.share.Header.Name(); at.Version == r.Version {
		r.Good = append(r.Good, at)
	} else {
		r.Wrong = append(r.Wrong, at)
	}
}
