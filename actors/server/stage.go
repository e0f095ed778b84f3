package server

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// errNotStaged refuses a Mutate that names what did not come.
var errNotStaged = errors.New("what is to be written was not staged over this connection")

// staging is what has come for a later Mutate, in a file. Its facet has one job at
// a time for it.
type staging struct {
	id       lease.ShareID
	secret   wire.Secret
	size     int64 // what is reserved
	end      int64 // of what was written
	file     Incoming
	sealed   uint64 // its number, once it is a share's or nobody's
	reserved bool
	busy     bool
	ended    bool
	waiting  []request
}

func (s *staging) idle() bool { return s.reserved && !s.busy && len(s.waiting) == 0 }

// seal can be repeated.
func (s *staging) seal() (uint64, error) {
	if s.sealed != 0 {
		return s.sealed, nil
	}
	number, err := s.file.Seal()
	s.sealed = number
	return number, err
}

// discard deletes the file, unless it has become a share's.
func (s *staging) discard() {
	if s.file != nil {
		_ = s.file.Discard() // what is left is wiped at the next start
	}
}

// stageWritten is what became of a part.
type stageWritten struct {
	of      *staging
	request request
	file    Incoming
	end     int64
	err     error
}

// Discard deletes the file when the facet is gone.
func (w stageWritten) Discard() {
	w.request.frame.Release()
	if w.file != nil {
		_ = w.file.Discard() // what is left is wiped at the next start
	}
}

// stage takes a part of what a Mutate will write.
func (f *facet) stage(ctx actor.Context, r request, m *wire.Stage) {
	id := lease.ShareID{StorageIndex: m.StorageIndex, Num: m.Num}
	s := f.stages[m.Secret]
	switch {
	case s == nil && len(f.stages) >= maxStages:
		f.endStage(ctx, r, errBusy)
		return
	case s == nil:
		s = &staging{id: id, secret: m.Secret, size: int64(m.Size)}
		f.stages[m.Secret] = s
		ctx.Send(f.peers.ledger, reserveWrite{ctx.Self(), f.grant, id, m.Enabler, s.size, m.Secret})
	case s.id != id || s.size != int64(m.Size):
		f.endStage(ctx, r, errOtherSize)
		return
	}
	s.waiting = append(s.waiting, r)
	f.writeStage(ctx, s)
}

func (f *facet) endStage(ctx actor.Context, r request, err error) {
	r.frame.Release()
	if err != nil {
		f.refuse(ctx, r.frame.ID, err)
		return
	}
	f.answer(ctx, r.frame.ID, &wire.Done{})
}

// reservedWrite begins to write what waits, or refuses it.
func (f *facet) reservedWrite(ctx actor.Context, m reservedWrite) {
	s := f.stages[m.secret]
	if s == nil || s.reserved {
		return
	}
	if m.err == nil {
		s.reserved = true
		f.writeStage(ctx, s)
		return
	}
	delete(f.stages, m.secret)
	for _, r := range s.waiting {
		f.endStage(ctx, r, m.err)
	}
}

func (f *facet) writeStage(ctx actor.Context, s *staging) {
	if !s.reserved || s.busy || len(s.waiting) == 0 {
		return
	}
	r := s.waiting[0]
	s.waiting, s.busy = s.waiting[1:], true
	store, file, end := f.config.Store, s.file, s.end
	f.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		w := stageWritten{of: s, request: r, file: file, end: end}
		if w.file == nil {
			if w.file, w.err = store.Incoming(); w.err != nil {
				w.file = nil
				return w
			}
		}
		off := int64(r.frame.Message.(*wire.Stage).Offset)
		n, err := w.file.WriteAt(r.frame.Bytes(), off)
		w.end, w.err = max(end, off+int64(n)), err
		return w
	})
}

func (f *facet) stageWritten(ctx actor.Context, m stageWritten) {
	s := m.of
	s.file, s.end, s.busy = m.file, m.end, false
	if n := m.request.frame.BodySize(); m.err == nil {
		ctx.Send(f.peers.ledger, traffic{f.grant, lease.Traffic{In: int64(n)}})
	}
	f.endStage(ctx, m.request, m.err)
	switch {
	case s.ended:
		f.dropStage(ctx, s)
	case m.err != nil:
		delete(f.stages, s.secret)
		for _, r := range s.waiting {
			f.endStage(ctx, r, m.err)
		}
		s.waiting = nil
		f.dropStage(ctx, s)
	default:
		f.writeStage(ctx, s)
	}
}

// unstage gives up what was staged.
func (f *facet) unstage(ctx actor.Context, m *wire.Unstage) {
	s := f.stages[m.Secret]
	if s == nil {
		return
	}
	delete(f.stages, m.Secret)
	for _, r := range s.waiting {
		f.endStage(ctx, r, errAbandoned)
	}
	s.waiting, s.ended = nil, true
	if !s.busy {
		f.dropStage(ctx, s)
	}
}

// dropStage lets go of the file, unless it has become a share's, and of what was
// reserved.
func (f *facet) dropStage(ctx actor.Context, s *staging) {
	ctx.Send(f.peers.ledger, release{f.grant.Column(), s.id})
	if s.file != nil {
		f.env.Exec.Do(env.Disk, nil, func() any {
			s.discard()
			return nil
		})
	}
}

func compareSecrets(a, b wire.Secret) int { return bytes.Compare(a[:], b[:]) }

// dropStages follows the end of the facet. What is just being written, or tried,
// discards itself. A file that the ledger may be making a share of is left alone:
// if it does not, the next start wipes it.
func (f *facet) dropStages(ctx actor.Context) {
	for _, secret := range slices.SortedFunc(maps.Keys(f.stages), compareSecrets) {
		s := f.stages[secret]
		for _, r := range s.waiting {
			r.frame.Release()
		}
		if s.busy {
			s.file = nil
		}
		f.dropStage(ctx, s)
	}
	for _, request := range slices.Sorted(maps.Keys(f.mutating)) {
		w := f.mutating[request]
		for _, secret := range slices.SortedFunc(maps.Keys(w.staged), compareSecrets) {
			s := w.staged[secret]
			ctx.Send(f.peers.ledger, release{f.grant.Column(), s.id}) // it hears that after the mutate
			if w.asked && s.sealed == 0 {
				f.env.Exec.Do(env.Disk, nil, func() any {
					s.discard()
					return nil
				})
			}
		}
	}
	f.stages, f.mutating = map[wire.Secret]*staging{}, map[uint64]*mutation{}
}
