package client

import (
	"fmt"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// finish notes where the version is, for the renewer before anybody is told, and
// for what is done next with the file. On too few servers it does not count: should
// they be away at once, who writes then does not know of it.
func (m *mutableFile) finish(f *flow, to *actor.PID, w *writing, err error, content []byte) {
	if err == nil {
		err = m.note(f, w)
	}
	if err == nil {
		err = w.tooFew()
	}
	if err != nil {
		m.forget()
		m.answer(f, to, err)
		return
	}
	m.remember(w, content)
	m.saw(f, w.prefix.Seqnum)
	m.log.Info("mutable file written", "storage-index", m.cap.StorageIndex().String(), "size", w.prefix.Size, "version", w.prefix.Seqnum, "shares", len(w.at))
	m.answer(f, to, MutableWritten{Cap: m.cap, Version: w.prefix, Placement: w.placed, Happiness: w.happiness(), Labels: w.labels, LeftOut: w.left})
}

// remember makes what was written the survey of the next write.
func (m *mutableFile) remember(w *writing, content []byte) {
	m.content, m.of, m.known = nil, nil, nil
	if content != nil && len(content) <= keptContent {
		m.content, m.of = content, &w.prefix
	}
	shares, err := w.held()
	if err != nil {
		return
	}
	m.known = m.surveyOf(w.found.servers, shares)
}

// held are the shares that were written.
func (w *writing) held() ([]*heldShare, error) {
	var shares []*heldShare
	for _, t := range w.at[w.kept:] {
		h := &heldShare{server: t.server, num: t.num, head: w.heads[t.num]}
		if h.share, h.err = mutable.Cut(h.head); h.err != nil {
			return nil, h.err
		}
		shares = append(shares, h)
	}
	return shares, nil
}

// surveyOf is what asking servers would find, by the shares that they hold.
func (m *mutableFile) surveyOf(servers []candidate, shares []*heldShare) *survey {
	s := &survey{servers: slices.Clip(servers), shares: shares}
	for _, h := range shares {
		if !slices.ContainsFunc(s.servers, func(c candidate) bool { return c.id == h.server.id }) {
			s.servers = append(s.servers, h.server)
		}
	}
	s.order(m.cap.StorageIndex())
	s.count()
	return s
}

// note writes leases that are new into the journal.
func (m *mutableFile) note(f *flow, w *writing) error {
	if m.journal == nil {
		return nil
	}
	var fresh bool
	var leases []lease.PlacedLease
	for _, num := range slices.Sorted(maps.Keys(w.placed)) {
		for _, id := range w.placed[num] {
			l := m.placedLease(id, num, w.labels[id], 0)
			name := l
			name.Renewed = 0
			fresh = fresh || !m.noted[name]
			m.noted[name] = true
			leases = append(leases, l)
		}
	}
	if !fresh {
		return nil
	}
	return m.journalLeases(f, w.prefix.Size, leases)
}

// placedLease is one that was made now.
func (m *mutableFile) placedLease(at grid.ServerID, num grid.ShareNum, label grid.PublicKey, expires int64) lease.PlacedLease {
	id := lease.ShareID{StorageIndex: m.cap.StorageIndex(), Num: num}
	return lease.PlacedLease{Server: at, JournalLease: lease.JournalLease{Share: id, Label: label, Renewed: m.env.Clock.Now().Unix(), Expires: expires}}
}

// journalLeases has leases renewed from now on.
func (m *mutableFile) journalLeases(f *flow, size int64, leases []lease.PlacedLease) error {
	if m.journal == nil || len(leases) == 0 {
		return nil
	}
	entry := lease.JournalFile{StorageIndex: m.cap.StorageIndex(), VerifyCap: m.cap.Verifier().String(), Size: size, Stored: m.env.Clock.Now().Unix()}
	journal := m.journal
	type noted struct{ err error }
	got := do(f, env.Disk, func() noted { return noted{journal.Add(entry, leases)} })
	if got.err != nil {
		return fmt.Errorf("leases were made but could not be written into the journal, so they will not be renewed: %w", got.err)
	}
	return nil
}
