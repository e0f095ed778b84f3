package server

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// readJob is a Find, a Read or an Enumerate on its way to the disk.
type readJob struct {
	store   Store
	message wire.Message
	room    int64
	column  lease.Column // of the login
	most    int          // bytes of the answer's body, for which there is room
	of      *memory      // that has it
	// permit is asked first, where it is not for anyone.
	permit func() error
}

// readDone is what came of it.
type readDone struct {
	request uint64
	message wire.Message
	body    []byte
	release func()
	room    int     // that was kept for the body
	of      *memory // in this
	err     error
}

// Discard gives the body back when the session is gone; the room was given back
// with it.
func (d readDone) Discard() {
	if d.release != nil {
		d.release()
	}
}

// read serves a Find or a Read, unless too much is on its way to the client.
func (s *session) read(ctx actor.Context, f wire.Frame) {
	if s.config.ReadsNeedAccount && s.login == nil {
		s.refuse(ctx, f.ID, errLoginRequired)
		return
	}
	s.waiting = append(s.waiting, f)
	s.readWaiting(ctx)
}

// enumerate lists leases as shares are read: when there is room for the
// answer.
func (s *session) enumerate(ctx actor.Context, f wire.Frame) {
	if s.login == nil {
		s.refuse(ctx, f.ID, errLoginRequired)
		return
	}
	s.waiting = append(s.waiting, f)
	s.readWaiting(ctx)
}

// readWaiting begins with what waits, in order, as far as there is room.
func (s *session) readWaiting(ctx actor.Context) {
	for len(s.waiting) > 0 {
		f := s.waiting[0]
		of, ok := s.mayAnswer(ctx, f.Message)
		if !ok {
			return
		}
		s.waiting = s.waiting[1:]
		s.startRead(ctx, f, of)
	}
}

// mayAnswer takes room for the answer to a Find or a Read, if there is some.
// One at a time always has it in its session, but not in the server: that is
// tried again.
func (s *session) mayAnswer(ctx actor.Context, m wire.Message) (of *memory, ok bool) {
	most, of := maxAnswering, s.peers.answers
	if s.login == nil {
		most, of = earlyAnswering, s.peers.early
	}
	n := s.bound(m)
	if s.sending > 0 && s.sending+n > most {
		return nil, false
	}
	if of.take(n) {
		return of, true
	}
	if !s.trying {
		s.trying = true
		s.Env.Clock.After(answerRetry, ctx.Self(), tryAgain{})
	}
	return nil, false
}

func (s *session) startRead(ctx actor.Context, f wire.Frame, of *memory) {
	n := s.bound(f.Message)
	s.sending += n
	s.held[of] += n
	if find, ok := f.Message.(*wire.Find); ok && s.login != nil {
		// The ledger knows how much more the account may store.
		s.finding[f.ID] = find
		ctx.Send(s.peers.ledger, askRoom{ctx.Self(), f.ID, s.login.Grant, lease.ShareID{StorageIndex: find.StorageIndex}})
		return
	}
	s.start(ctx, f.ID, readJob{message: f.Message, of: of})
}

// find goes on with a Find once the ledger has answered.
func (s *session) find(ctx actor.Context, m room) {
	find, ok := s.finding[m.tag]
	if !ok {
		return
	}
	delete(s.finding, m.tag)
	s.start(ctx, m.tag, readJob{message: find, room: m.bytes, of: s.peers.answers})
}

func (s *session) start(ctx actor.Context, request uint64, j readJob) {
	j.store, j.most = s.config.Store, s.bound(j.message)
	j.permit = s.permit(j.message)
	if s.login != nil {
		j.column = s.login.Grant.Column()
	}
	s.Env.Exec.Do(env.Disk, ctx.Self(), func() any {
		d := j.run()
		d.request, d.room, d.of = request, j.most, j.of
		return d
	})
}

// bound is how large the body of the answer can be.
func (s *session) bound(m wire.Message) int {
	most := min(s.hello.MaxBody, wire.MaxRead)
	switch m := m.(type) {
	case *wire.Read:
		return int(min(most, asked(m.Ranges)))
	case *wire.Find:
		return int(min(most, asked(m.Ranges)*wire.MaxFoundShares))
	case *wire.Enumerate:
		return int(min(most, uint64(m.Most)*wire.LeaseSize))
	default:
		return 0
	}
}

// asked is the length of all ranges, which wire bounds.
func asked(ranges []wire.Range) (total uint64) {
	for _, r := range ranges {
		total += r.Length
	}
	return total
}

// permit is nil where anyone may. An account in good standing may read,
// whatever its chain is limited to, but not enumerate.
func (s *session) permit(m wire.Message) func() error {
	_, list := m.(*wire.Enumerate)
	if !list && !s.config.ReadsNeedAccount {
		return nil
	}
	grant, standing, now := s.login.Grant, s.config.standing(), s.Env.Clock.Now()
	expires := time.Unix(s.login.Expires, 0)
	ask := lease.Ask{StorageIndex: grant.Effective.StorageIndex, UEBHash: grant.Effective.UEBHash}
	if list {
		ask = lease.Ask{Operation: lease.OpEnumerate}
	}
	return func() error {
		if now.After(expires) {
			return lease.ErrAuthorityExpired
		}
		_, err := grant.Permit(ask, standing, now)
		return err
	}
}

func (s *session) readDone(ctx actor.Context, m readDone) {
	s.sending -= m.room
	s.held[m.of] -= m.room
	m.of.give(m.room - len(m.body))
	if m.err != nil {
		s.Log.Log(context.Background(), severity(m.err), "a share could not be read", "request", m.request, "error", m.err)
		s.refuse(ctx, m.request, m.err)
		return
	}
	s.sent += len(m.body)
	if _, list := m.message.(*wire.Enumerated); !list && len(m.body) > 0 {
		s.countOut(ctx, int64(len(m.body)))
	}
	s.send(ctx, wire.Frame{ID: m.request, Answer: true, Message: m.message}, func() {
		if m.release != nil {
			m.release()
		}
		m.of.give(len(m.body))
	}, [][]byte{m.body})
}

// countOut counts bytes for the account, or for the server where there is none.
func (s *session) countOut(ctx actor.Context, n int64) {
	t := traffic{moved: lease.Traffic{Out: n}}
	if s.login != nil {
		t.grant = s.login.Grant
	}
	ctx.Send(s.peers.ledger, t)
}

func (j readJob) run() readDone {
	if j.permit != nil {
		if err := j.permit(); err != nil {
			return readDone{err: err}
		}
	}
	switch m := j.message.(type) {
	case *wire.Find:
		return j.find(m)
	case *wire.Read:
		return j.read(m)
	case *wire.Enumerate:
		return j.enumerate(m)
	default:
		return readDone{err: errOutOfOrder}
	}
}

func (j readJob) read(m *wire.Read) readDone {
	body, err := j.store.OpenShare(lease.ShareID{StorageIndex: m.StorageIndex, Num: m.Num})
	if err != nil {
		return readDone{err: err}
	}
	lengths := cut(m.Ranges, body.Size())
	if sum(lengths) > uint64(j.most) {
		return readDone{err: errors.Join(errTooMuch, body.Close())}
	}
	buf, release := wire.Buffer(int(sum(lengths)))
	err = errors.Join(readRanges(body, m.Ranges, lengths, buf), body.Close())
	if err != nil {
		release()
		return readDone{err: err}
	}
	return readDone{message: &wire.Data{Lengths: lengths}, body: buf, release: release}
}

// enumerate lists as many leases as were asked for and fit into one answer.
func (j readJob) enumerate(m *wire.Enumerate) readDone {
	var after *lease.ShareID
	if id, ok := m.Behind(); ok {
		after = &id
	}
	most := j.most / wire.LeaseSize
	if most == 0 {
		return readDone{err: errTooMuch}
	}
	leases, more, err := j.store.LeasesAfter(j.column, after, most)
	if err != nil {
		return readDone{err: err}
	}
	buf, release := wire.Buffer(len(leases) * wire.LeaseSize)
	body := buf[:0]
	for _, l := range leases {
		body = wire.AppendLease(body, lease.HeldLease{
			Share: l.ID.Share, Size: l.Lease.Size, Renewed: l.Lease.Renewed, Expires: l.Lease.Expires,
		})
	}
	return readDone{message: &wire.Enumerated{Count: uint(len(leases)), More: more}, body: body, release: release}
}

// find lists the shares of a file, with the bytes asked for as far as they fit
// into one answer.
func (j readJob) find(m *wire.Find) readDone {
	shares, err := j.store.ListShares(m.StorageIndex)
	if err != nil {
		return readDone{err: err}
	}
	answer := &wire.Found{Room: uint64(j.room)}
	left, lengths := j.most, 0
	for _, s := range shares[:min(len(shares), wire.MaxFoundShares)] {
		f := wire.FoundShare{Num: s.ID.Num, Size: uint64(s.Share.Size), UEBHash: s.Share.UEBHash}
		if lengths += len(m.Ranges); lengths <= wire.MaxFoundLengths {
			if l := cut(m.Ranges, s.Share.Size); sum(l) <= uint64(left) {
				f.Lengths = l
				left -= int(sum(l))
			}
		}
		answer.Shares = append(answer.Shares, f)
	}
	return j.fill(m, answer, j.most-left)
}

// fill reads the bytes that answer promises.
func (j readJob) fill(m *wire.Find, answer *wire.Found, total int) readDone {
	buf, release := wire.Buffer(total)
	rest := buf
	for _, f := range answer.Shares {
		n := int(sum(f.Lengths))
		if n == 0 {
			continue
		}
		err := j.readShare(lease.ShareID{StorageIndex: m.StorageIndex, Num: f.Num}, m.Ranges, f, rest[:n])
		if errors.Is(err, lease.ErrNoShare) { // it went just now, so list anew
			release()
			return j.find(m)
		}
		if err != nil {
			release()
			return readDone{err: err}
		}
		rest = rest[n:]
	}
	return readDone{message: answer, body: buf, release: release}
}

func (j readJob) readShare(id lease.ShareID, ranges []wire.Range, f wire.FoundShare, buf []byte) error {
	body, err := j.store.OpenShare(id)
	if err != nil {
		return err
	}
	return errors.Join(readRanges(body, ranges, f.Lengths, buf), body.Close())
}

// cut is how much of each range there is, up to the share's end.
func cut(ranges []wire.Range, size int64) []uint64 {
	lengths := make([]uint64, len(ranges))
	for i, r := range ranges {
		if r.Offset < uint64(size) {
			lengths[i] = min(r.Length, uint64(size)-r.Offset)
		}
	}
	return lengths
}

func sum(lengths []uint64) (total uint64) {
	for _, n := range lengths {
		total += n
	}
	return total
}

// readRanges fills buf with the ranges, one after the other.
func readRanges(r io.ReaderAt, ranges []wire.Range, lengths []uint64, buf []byte) error {
	for i, n := range lengths {
		if n == 0 {
			continue
		}
		got, err := r.ReadAt(buf[:n], int64(ranges[i].Offset))
		if uint64(got) < n {
			return errors.Join(io.ErrUnexpectedEOF, err)
		}
		buf = buf[n:]
	}
	return nil
}
