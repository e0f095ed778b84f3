package client

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
)

// openVersion finds the version that a reader is to see.
func (m *mutableFile) openVersion(f *flow, o OpenMutable) {
	s := m.survey(f, o.Params, false)
	v, err := s.best()
	if err != nil {
		m.answer(f, o.ReplyTo, err)
		f.ctx.Stop(f.ctx.Self()) // there is nothing to be closed
		return
	}
	m.last = s
	f.ctx.Send(o.ReplyTo, MutableOpened{f.ctx.Self(), v.Prefix})
}

// read hands on what is asked for of the newest version, or of the one that was
// opened as long as that is there.
func (m *mutableFile) read(f *flow, r ReadMutable, job *mutableJob) {
	if _, ok := m.cap.ReadKey(); !ok {
		m.answer(f, r.ReplyTo, fmt.Errorf("%w: it can only check it", ErrNotReadable))
		return
	}
	if m.of != nil && (r.Remembered || r.Version != nil && *r.Version == *m.of) {
		_ = m.opened(f, r, job, *m.of, nil) // from memory
		return
	}
	s := m.last
	if r.Version == nil {
		s = nil
	}
	for tries := 0; ; tries++ {
		if s == nil {
			s = m.survey(f, r.Params, false)
		}
		v, err := s.best()
		switch {
		case err == nil && r.Version != nil && *r.Version != v.Prefix:
			err = ErrChanged
		case err == nil:
			if m.alone {
				m.last = s
			}
			if err = m.opened(f, r, job, v.Prefix, s); !errors.Is(err, errOverwritten) {
				return // it was answered
			}
		}
		if !errors.Is(err, errOverwritten) || tries == maxSurveys {
			m.answer(f, r.ReplyTo, err)
			return
		}
		s = nil
	}
}

// opened answers with a version: from memory if it is there, else from its
// shares. Only errOverwritten is left to the caller, before anything was handed on.
func (m *mutableFile) opened(f *flow, r ReadMutable, job *mutableJob, p mutable.Prefix, s *survey) error {
	from := min(r.Offset, p.Size)
	to := p.Size
	if r.Length >= 0 {
		to = min(p.Size, from+r.Length)
	}
	f.ctx.Send(r.ReplyTo, MutableOpened{f.ctx.Self(), p})
	err := m.pieces(f, p, s, from, to, func(data []byte) {
		for job.credit <= 0 {
			f.wait()
			f.letGo()
		}
		job.credit--
		f.ctx.Send(r.ReplyTo, Piece{Data: data})
	})
	if err != nil {
		if !errors.Is(err, errOverwritten) {
			m.answer(f, r.ReplyTo, err)
		}
		return err
	}
	f.ctx.Send(r.ReplyTo, RangeEnd{})
	return nil
}

// pieces yields a part of a version, in order.
func (m *mutableFile) pieces(f *flow, p mutable.Prefix, s *survey, from, to int64, yield func([]byte)) error {
	if m.of != nil && *m.of == p {
		if from < to {
			yield(slices.Clone(m.content[from:to]))
		}
		return nil
	}
	whole := from == 0 && to == p.Size && p.Size <= keptContent
	var all []byte
	for at := from; at < to; {
		first := at / p.SegmentSize
		last := min((to-1)/p.SegmentSize, first+max(readTogether/p.SegmentSize, 1)-1)
		plain, err := m.segments(f, s, p, first, last)
		if err != nil && at > from && errors.Is(err, errOverwritten) {
			err = ErrChanged // a part was handed on
		}
		if err != nil {
			return err
		}
		end := min(to, first*p.SegmentSize+int64(len(plain)))
		data := plain[at-first*p.SegmentSize : end-first*p.SegmentSize]
		if whole {
			all = append(all, data...)
		}
		yield(data)
		at = end
	}
	if whole {
		m.content, m.of = all, &p
	}
	return nil
}

// whole is all of a version, in memory.
func (m *mutableFile) whole(f *flow, s *survey, p mutable.Prefix) ([]byte, error) {
	all := make([]byte, 0, p.Size)
	err := m.pieces(f, p, s, 0, p.Size, func(data []byte) { all = append(all, data...) })
	return all, err
}

// segments is the content of some segments that follow each other.
func (m *mutableFile) segments(f *flow, s *survey, p mutable.Prefix, first, last int64) ([]byte, error) {
	good, err := m.blocks(f, s, p, first, last)
	if err != nil {
		return nil, err
	}
	return m.decode(f, p, first, last, good)
}

// blocks fetches the blocks of some segments that follow each other, from as many
// servers as are needed; where one is late, bad or gone, another one is asked.
func (m *mutableFile) blocks(f *flow, s *survey, p mutable.Prefix, first, last int64) (map[grid.ShareNum][][]byte, error) {
	holders := m.order(s.of(p))
	good := map[grid.ShareNum][][]byte{}
	var under []*fetch
	var reasons []error
	for _, h := range holders {
		if h.failed != nil { // when it was asked before
			reasons = append(reasons, h.failed)
		}
	}
	start := func() bool {
		for len(holders) > 0 {
			h := holders[0]
			holders = holders[1:]
			_, have := good[h.num]
			if h.failed == nil && !have && !slices.ContainsFunc(under, func(t *fetch) bool { return t.of.num == h.num }) {
				under = append(under, m.fetch(f, h, h.wanted(first, last)))
				return true
			}
		}
		return false
	}
	for len(good) < p.Needed {
		for len(good)+len(under) < p.Needed && start() {
		}
		if len(under) == 0 {
			return nil, m.tooFew(len(good), p, reasons)
		}
		var all []*asked
		for _, t := range under {
			all = append(all, t.asked...)
		}
		slow := false
		f.gather(all, hedgeTime, func(late bool) bool {
			slow = late
			return late || slices.ContainsFunc(under, (*fetch).complete)
		})
		if slow && !slices.ContainsFunc(under, (*fetch).complete) && !start() {
			f.gather(all, hedgeTime, func(bool) bool { return slices.ContainsFunc(under, (*fetch).complete) })
		}
		under = slices.DeleteFunc(under, func(t *fetch) bool {
			if !t.complete() {
				return false
			}
			blocks, err := m.takeBlocks(f, t, first, last)
			t.release()
			if err != nil {
				t.of.failed = err
				reasons = append(reasons, fmt.Errorf("%s: share %d: %w", t.of.server.id.Short(), t.of.num, err))
				m.log.Warn("share not read", "server", t.of.server.id.Short(), "share", t.of.num, "error", err)
				return true
			}
			good[t.of.num] = blocks
			return true
		})
	}
	for _, t := range under {
		f.leave(t.asked)
		t.release()
	}
	return good, nil
}

// order begins with those that have answered before, and have small numbers: of
// those nothing need be computed.
func (m *mutableFile) order(list []*heldShare) []*heldShare {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *heldShare) int { return cmp.Compare(a.num, b.num) })
	return list
}

// tooFew tells a version that was overwritten from one that can't be read.
func (m *mutableFile) tooFew(good int, p mutable.Prefix, reasons []error) error {
	for _, err := range reasons {
		if errors.Is(err, mutable.ErrShare) {
			return fmt.Errorf("%w: %w", errOverwritten, errors.Join(reasons...))
		}
	}
	err := fmt.Errorf("%w: %d of the %d that are needed could be read", mutable.ErrUnrecoverable, good, p.Needed)
	if why := errors.Join(reasons...); why != nil {
		err = fmt.Errorf("%w; %w", err, why)
	}
	return err
}

// wanted is what is to be fetched of a share for some of its segments: what
// proves them comes along, once.
func (h *heldShare) wanted(first, last int64) (all []mutable.Section) {
	header := h.share.Header
	if h.blocks == nil {
		if h.share.ShareHashes == nil {
			all = append(all, header.ShareHashes)
		}
		if h.share.BlockTree == nil {
			all = append(all, header.BlockTree)
		}
	}
	if first <= last && h.share.Data == nil {
		all = append(all, mutable.Section{Off: header.Block(first).Off, End: header.Block(last).End})
	}
	return all
}

// takeBlocks proves what came of a share.
func (m *mutableFile) takeBlocks(f *flow, t *fetch, first, last int64) ([][]byte, error) {
	parts, err := t.bytes()
	if err != nil {
		return nil, err
	}
	type proven struct {
		blocks *mutable.Blocks
		data   [][]byte
		err    error
	}
	h := t.of
	got := do(f, env.CPU, func() (out proven) {
		share, blocks := h.share, h.blocks
		if blocks == nil {
			if share.ShareHashes == nil {
				share.ShareHashes, parts = parts[0], parts[1:]
			}
			if share.BlockTree == nil {
				share.BlockTree, parts = parts[0], parts[1:]
			}
			if blocks, out.err = share.Blocks(h.num); out.err != nil {
				return out
			}
		}
		out.blocks = blocks
		for i := first; i <= last && out.err == nil; i++ {
			at := share.Header.Block(i)
			data, off := share.Data, share.Header.Data.Off
			if data == nil {
				data, off = parts[0], share.Header.Block(first).Off
			}
			block := data[at.Off-off : at.End-off]
			out.data = append(out.data, slices.Clone(block))
			out.err = blocks.Check(i, block)
		}
		return out
	})
	if got.err == nil {
		h.blocks = got.blocks
	}
	return got.data, got.err
}

// decode makes plaintext of the blocks of enough shares.
func (m *mutableFile) decode(f *flow, p mutable.Prefix, first, last int64, good map[grid.ShareNum][][]byte) ([]byte, error) {
	key, _ := m.cap.ReadKey()
	type decoded struct {
		plain []byte
		err   error
	}
	got := do(f, env.CPU, func() (out decoded) {
		for i := first; i <= last; i++ {
			blocks := map[grid.ShareNum][]byte{}
			for num, list := range good {
				blocks[num] = list[i-first]
			}
			var plain []byte
			if plain, out.err = mutable.Decode(p, key, i, blocks); out.err != nil {
				return out
			}
			out.plain = append(out.plain, plain...)
		}
		return out
	})
	return got.plain, got.err
}

// openKey finds the private key in a share.
func (m *mutableFile) openKey(f *flow, s *survey) error {
	if m.key != nil {
		return nil
	}
	c := m.cap
	err := fmt.Errorf("%w: no share that has the key of the file can be read", mutable.ErrUnrecoverable)
	for _, h := range s.shares {
		if h.err != nil {
			continue
		}
		encrypted := h.share.PrivateKey
		if encrypted == nil {
			t := m.fetch(f, h, []mutable.Section{h.share.Header.PrivateKey})
			f.gather(t.asked, 0, nil)
			parts, readErr := t.bytes()
			if readErr == nil {
				encrypted = slices.Clone(parts[0])
			}
			t.release()
		}
		if encrypted == nil {
			continue
		}
		type opened struct {
			key *mutable.Key
			err error
		}
		got := do(f, env.CPU, func() opened {
			key, err := mutable.OpenKey(c, encrypted)
			return opened{key, err}
		})
		if got.err == nil {
			m.key = got.key
			return nil
		}
		err = got.err
	}
	return err
}

var errReadOnly = fmt.Errorf("%w: the capability can only read the file", file.ErrAttenuate)
