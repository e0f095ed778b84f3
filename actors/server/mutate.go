package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// A Mutate looks at the shares outside of any actor, tests them, and makes the
// new ones; the ledger then puts them in the place of the old ones, in one step,
// unless one of those was written meanwhile: then all of it begins anew. So no
// lock is held, and of several that race one always comes through.

// mutation is a Mutate on its way.
type mutation struct {
	request  request
	message  *wire.Mutate
	grant    lease.Grant
	small    int64
	standing lease.Standing
	now      time.Time
	staged   map[wire.Secret]*staging // those that it names
	tries    int
	asked    bool // the ledger has it
}

// tried is what came of looking at the shares.
type tried struct {
	*mutation
	held    bool // all tests did
	shares  []wire.MutableShare
	data    []byte
	release func()
	rule    lease.Mutation // what is to be written, nothing if held is not set
	made    []Incoming     // files for that, which are the table's or nobody's
	err     error
}

// Discard lets go of it all when the facet is gone, which has told the ledger.
func (t tried) Discard() {
	t.request.frame.Release()
	t.drop()
	for _, st := range t.staged {
		st.discard()
	}
}

// drop lets go of what was made for nothing.
func (t tried) drop() {
	if t.release != nil {
		t.release()
	}
	for _, f := range t.made {
		_ = f.Discard() // what is left is wiped at the next start
	}
}

// mutate begins with a Mutate.
func (f *facet) mutate(ctx actor.Context, r request, m *wire.Mutate) {
	work := &mutation{
		request: r, message: m, grant: f.grant, small: f.config.Store.SmallShare(), standing: f.config.standing(),
		now: f.env.Clock.Now(), staged: map[wire.Secret]*staging{},
	}
	for _, s := range m.Shares {
		if s.Staged == (wire.Secret{}) {
			continue
		}
		st := f.stages[s.Staged]
		if st == nil || st.id != (lease.ShareID{StorageIndex: m.StorageIndex, Num: s.Num}) || !st.idle() || work.staged[s.Staged] != nil {
			r.frame.Release()
			f.refuse(ctx, r.frame.ID, errNotStaged)
			return
		}
		work.staged[s.Staged] = st
	}
	for secret := range work.staged {
		delete(f.stages, secret) // it is this request's now
	}
	f.mutating[r.frame.ID] = work
	f.try(ctx, work)
}

func (f *facet) try(ctx actor.Context, work *mutation) {
	store := f.config.Store
	work.tries++
	f.env.Exec.Do(env.Disk, ctx.Self(), func() any { return work.try(store) })
}

// try blocks.
func (w *mutation) try(s Store) (t tried) {
	t = tried{mutation: w}
	ask := lease.Ask{Operation: lease.OpMutate, StorageIndex: &w.message.StorageIndex}
	if _, err := w.grant.Permit(ask, w.standing, w.now); err != nil {
		return t.failed(err)
	}
	there, err := s.ListShares(w.message.StorageIndex)
	if err != nil {
		return t.failed(err)
	}
	shares := map[grid.ShareNum]lease.Share{}
	for _, h := range there {
		shares[h.ID.Num] = h.Share
	}
	if err := t.read(s, there); err != nil {
		return t.failed(err)
	}
	t.held = true
	t.rule = lease.Mutation{StorageIndex: w.message.StorageIndex, Enabler: w.message.Enabler}
	rest := w.request.frame.Bytes()
	for _, m := range w.message.Shares {
		if rest, err = t.share(s, m, shares[m.Num], rest); err != nil {
			return t.failed(err)
		}
	}
	if !t.held {
		t.forget()
	}
	return t
}

func (t tried) failed(err error) tried {
	t.drop()
	t.release, t.made, t.err = nil, nil, err
	return t
}

// forget gives up what was made before a test failed.
func (t *tried) forget() {
	for _, f := range t.made {
		_ = f.Discard()
	}
	t.made, t.rule = nil, lease.Mutation{}
}

// read fills the answer with what was asked for of the shares that can be
// changed, as far as there is room.
func (t *tried) read(s Store, there []lease.StoredShare) error {
	ranges := t.message.Reads
	buf, release := wire.Buffer(maxMutateRead)
	t.release = release
	for _, h := range there {
		if !h.Share.Mutable() || len(t.shares) == wire.MaxFoundShares {
			continue
		}
		m := wire.MutableShare{Num: h.ID.Num, Size: uint64(h.Share.Size)}
		body, err := s.OpenShare(h.ID)
		if errors.Is(err, lease.ErrNoShare) { // it went just now
			continue
		}
		if err != nil {
			return err
		}
		lengths := cut(ranges, body.Size())
		if n := int(sum(lengths)); len(ranges) > 0 && n <= len(buf)-len(t.data) && (len(t.shares)+1)*len(ranges) <= wire.MaxFoundLengths {
			at := len(t.data)
			t.data = buf[:at+n]
			m.Lengths = lengths
			err = readRanges(body, ranges, lengths, t.data[at:])
		}
		if err = errors.Join(err, body.Close()); err != nil {
			return err
		}
		t.shares = append(t.shares, m)
	}
	return nil
}

// share tests one share and makes what it is to be. It returns what follows in
// the request's body.
func (t *tried) share(s Store, m wire.MutateShare, old lease.Share, rest []byte) ([]byte, error) {
	id := lease.ShareID{StorageIndex: t.message.StorageIndex, Num: m.Num}
	there := old.State == lease.Stable
	if there && !old.Enabler.Equal(t.message.Enabler) {
		return nil, lease.ErrWriteEnabler
	}
	body, err := openOld(s, id, there)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // it was only read
	t.rule.Seen = append(t.rule.Seen, lease.Seen{Num: m.Num, Writes: old.Writes})
	for _, test := range m.Tests {
		wanted := rest[:test.Wanted]
		rest = rest[test.Wanted:]
		if !t.held {
			continue
		}
		if t.held, err = holds(body, test, wanted); err != nil {
			return nil, err
		}
	}
	w := writer{store: s, old: body, there: there, file: old.File != 0, share: m, small: t.small}
	if st := t.staged[m.Staged]; st != nil {
		w.staged = st
	} else {
		n := m.Written()
		w.data, rest = rest[:n], rest[n:]
	}
	if !t.held || !m.Writing() {
		return rest, nil
	}
	made, file, err := w.make()
	if file != nil {
		t.made = append(t.made, file)
	}
	if err != nil {
		return nil, err
	}
	t.rule.Writes = append(t.rule.Writes, lease.ShareWrite{Num: m.Num, Body: made})
	return rest, nil
}

// openOld opens a share, or nothing where there is none.
func openOld(s Store, id lease.ShareID, there bool) (Body, error) {
	if !there {
		return noBody{bytes.NewReader(nil)}, nil
	}
	b, err := s.OpenShare(id)
	if errors.Is(err, lease.ErrNoShare) {
		err = lease.ErrRaced // it went just now
	}
	return b, err
}

type noBody struct{ *bytes.Reader }

func (noBody) Close() error { return nil }

// holds compares a part of a share with what is wanted of it.
func holds(b Body, t wire.Test, wanted []byte) (bool, error) {
	lengths := cut([]wire.Range{{Offset: t.Offset, Length: t.Length}}, b.Size())
	if lengths[0] != uint64(len(wanted)) {
		return false, nil
	}
	got := make([]byte, len(wanted))
	err := readRanges(b, []wire.Range{{Offset: t.Offset, Length: t.Length}}, lengths, got)
	return bytes.Equal(got, wanted), err
}

// writer makes a new share of an old one.
type writer struct {
	store  Store
	old    Body
	there  bool
	file   bool // it is one, and stays one
	share  wire.MutateShare
	data   []byte   // of all writes
	staged *staging // has the data instead
	small  int64
}

// size is that of the new share.
func (w writer) size() int64 {
	n := w.old.Size()
	for _, r := range w.share.Writes {
		n = max(n, int64(r.Offset+r.Length))
	}
	if w.share.Cut {
		n = min(n, int64(w.share.Length))
	}
	return n
}

func (w writer) make() (lease.Body, Incoming, error) {
	size := w.size()
	b := lease.Body{Size: size}
	if w.staged != nil && w.staged.end < int64(w.share.Written()) {
		return b, nil, errNotStaged
	}
	free, err := w.store.Free()
	if err != nil {
		return b, nil, err
	}
	if size > free {
		return b, nil, lease.ErrServerFull
	}
	if !w.file && size <= w.small {
		b.Inline = make([]byte, size)
		if _, err := w.old.ReadAt(b.Inline[:min(size, w.old.Size())], 0); err != nil && !errors.Is(err, io.EOF) {
			return b, nil, err
		}
		return b, nil, w.write(size, memoryFile(b.Inline))
	}
	if ok, err := w.takes(size, &b); ok || err != nil {
		return b, nil, err
	}
	file, err := w.store.Incoming()
	if err != nil {
		return b, nil, err
	}
	if err := copyInto(file, w.old, min(size, w.old.Size())); err != nil {
		return b, file, err
	}
	if err := w.write(size, file); err != nil {
		return b, file, err
	}
	b.File, err = file.Seal()
	return b, file, err
}

// takes makes what was staged the share, where that is all of it: nothing is
// copied then.
func (w writer) takes(size int64, b *lease.Body) (ok bool, err error) {
	if w.staged == nil || len(w.share.Writes) != 1 || w.share.Writes[0].Offset != 0 || w.staged.end != size ||
		w.share.Writes[0].Length != uint64(size) {
		return false, nil
	}
	b.File, err = w.staged.seal()
	return err == nil, err
}

// write does the writes, as far as they reach into the new share.
func (w writer) write(size int64, to io.WriterAt) error {
	var at int64 // in data
	for _, r := range w.share.Writes {
		n := min(int64(r.Length), max(0, size-int64(r.Offset)))
		if err := w.copy(to, int64(r.Offset), at, n); err != nil {
			return err
		}
		at += int64(r.Length)
	}
	return nil
}

func (w writer) copy(to io.WriterAt, off, at, n int64) error {
	if w.staged == nil {
		_, err := to.WriteAt(w.data[at:at+n], off)
		return err
	}
	return copyInto(io.NewOffsetWriter(to, off), io.NewSectionReader(w.staged.file, at, n), n)
}

// copyInto copies the first n bytes.
func copyInto(to io.WriterAt, from io.ReaderAt, n int64) error {
	_, err := io.Copy(io.NewOffsetWriter(to, 0), io.NewSectionReader(from, 0, n))
	if err != nil {
		return fmt.Errorf("copy a share: %w", err)
	}
	return nil
}

// memoryFile is written at places within it.
type memoryFile []byte

// WriteAt implements io.WriterAt.
func (m memoryFile) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// tried goes on with what came of looking: answers, or has the ledger write.
func (f *facet) tried(ctx actor.Context, t tried) {
	switch {
	case errors.Is(t.err, lease.ErrRaced):
		f.raced(ctx, t)
	case t.err != nil:
		t.request.log.Log(context.Background(), severity(t.err), "a share could not be changed", "error", t.err)
		f.endMutation(ctx, t, wireError(t.err, mayReadUsage(f.grant)))
	case len(t.rule.Writes) == 0:
		f.endMutation(ctx, t, &wire.Mutated{Done: t.held, Shares: t.shares})
	default:
		t.asked = true
		ctx.Send(f.peers.ledger, mutate{replyTo: ctx.Self(), grant: f.grant, of: t})
	}
}

// raced begins anew, since a share was written meanwhile.
func (f *facet) raced(ctx actor.Context, t tried) {
	t.asked = false
	f.drop(t)
	if t.tries >= maxMutateTries {
		f.endMutation(ctx, tried{mutation: t.mutation}, wireError(errBusy, false))
		return
	}
	f.try(ctx, t.mutation)
}

// mutated answers once the ledger has written, or refused to.
func (f *facet) mutated(ctx actor.Context, m mutated) {
	switch {
	case errors.Is(m.err, lease.ErrRaced):
		f.raced(ctx, m.of)
	case m.err != nil:
		f.endMutation(ctx, m.of, wireError(m.err, mayReadUsage(f.grant)))
	default:
		f.endMutation(ctx, m.of, &wire.Mutated{Done: true, Expires: m.done.Expires, Shares: m.of.shares})
	}
}

// endMutation answers and lets go of what the request had. A file that has become
// a share's is not deleted.
func (f *facet) endMutation(ctx actor.Context, t tried, answered wire.Message) {
	delete(f.mutating, t.request.frame.ID)
	a := answer{request: t.request.frame.ID, message: answered}
	if _, ok := answered.(*wire.Mutated); ok {
		a.body = append([]byte(nil), t.data...)
	}
	moved := lease.Traffic{In: int64(t.request.frame.BodySize()), Out: int64(len(a.body))}
	if moved != (lease.Traffic{}) {
		ctx.Send(f.peers.ledger, traffic{f.grant, moved})
	}
	t.request.frame.Release()
	for _, s := range t.message.Shares {
		if st := t.staged[s.Staged]; st != nil {
			f.dropStage(ctx, st)
		}
	}
	f.drop(t)
	f.answerWith(ctx, a)
}

func (f *facet) drop(t tried) {
	f.env.Exec.Do(env.Disk, nil, func() any {
		t.drop()
		return nil
	})
}
