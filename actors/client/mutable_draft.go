package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// draft is a version that is to be written: what becomes of each share.
type draft struct {
	prefix mutable.Prefix
	size   int64                    // of a share
	heads  map[grid.ShareNum][]byte // how each will begin
	parts  map[grid.ShareNum][]part // what is written of each
	whole  bool                     // the parts are all of it, so that it can be made anew
	base   *mutable.Prefix          // of the shares that are changed; nil where they are replaced
	stream *stream                  // brings the parts; nil where they are here
}

// part is written at an offset of a share.
type part struct {
	off  int64
	data []byte
}

// encode makes all shares of a version.
func (m *mutableFile) encode(f *flow, l mutable.Layout, seqnum uint64, content []byte) (*draft, error) {
	type encoded struct {
		prefix mutable.Prefix
		shares [][]byte
		err    error
	}
	key, random := m.key, m.env.Rand
	got := do(f, env.CPU, func() encoded {
		p, shares, err := mutable.Encode(l, key, seqnum, content, random)
		return encoded{p, shares, err}
	})
	if got.err != nil {
		return nil, got.err
	}
	return draftOfShares(got.prefix, got.shares), nil
}

func draftOfShares(p mutable.Prefix, shares [][]byte) *draft {
	d := &draft{prefix: p, heads: map[grid.ShareNum][]byte{}, parts: map[grid.ShareNum][]part{}, whole: true}
	for n, share := range shares {
		num := grid.ShareNum(n)
		d.size = int64(len(share))
		d.heads[num] = bytes.Clone(share[:min(len(share), surveySize)]) // is kept, and the share is not
		d.parts[num] = []part{{0, share}}
	}
	return d
}

// draft makes the new version: of a large file of which a part is written only
// the segments that this changes.
func (m *mutableFile) draft(f *flow, w WriteMutable, s *survey, p mutable.Prefix, seqnum uint64, data []byte) (*draft, []byte, error) {
	if !w.Part {
		l, err := layoutOf(p, w.Size)
		if err != nil {
			return nil, nil, err
		}
		return m.draftOf(f, l, seqnum, w.Content)
	}
	off := w.Offset
	if off < 0 {
		off = p.Size
	}
	if len(data) == 0 {
		off, data = 0, nil // nothing changes but the version
	}
	if err := checkPart(p, off, int64(len(data))); err != nil {
		return nil, nil, err
	}
	if p.Format == mutable.MDMF && len(data) > 0 && p.NumSegments() > 1 {
		if d, err := m.update(f, s, p, seqnum, off, data); !errors.Is(err, errNotAllShares) {
			return d, nil, err
		}
	}
	l, err := layoutOf(p, max(p.Size, off+int64(len(data))))
	if err != nil {
		return nil, nil, err
	}
	if streams(l.Format, l.Size) {
		d, err := m.streamDraft(l, seqnum, func(f *flow, at, size int64) ([]byte, error) { return m.spliced(f, s, p, at, size, off, data) })
		return d, nil, err
	}
	all, err := m.whole(f, s, p)
	if err != nil {
		return nil, nil, err
	}
	all = splice(all, off, data)
	d, err := m.encode(f, l, seqnum, all)
	return d, all, err
}

// spliced is some segments of a version into which data was written.
func (m *mutableFile) spliced(f *flow, s *survey, p mutable.Prefix, at, size, off int64, data []byte) ([]byte, error) {
	content := make([]byte, size)
	if end := min(at+size, p.Size); at < end {
		old, err := m.segments(f, s, p, at/p.SegmentSize, (end-1)/p.SegmentSize)
		if err != nil {
			return nil, err
		}
		copy(content, old)
	}
	from, to := max(at, off), min(at+size, off+int64(len(data)))
	if from < to {
		copy(content[from-at:], data[from-off:to-off])
	}
	return content, nil
}

// maxGap is how far behind the end of a file a part of it can begin, in bytes: what
// is between is made, encoded and sent as any other content.
const maxGap = 64 << 20

// checkPart says why a part can't be written where it is to be.
func checkPart(p mutable.Prefix, off, length int64) error {
	if off > file.MaxSize || off-p.Size > maxGap {
		return fmt.Errorf("%w: a part at %d of a file of %d bytes (want at most %d bytes between)", mutable.ErrSize, off, p.Size, maxGap)
	}
	_, err := layoutOf(p, max(p.Size, off+length))
	return err
}

// layoutOf cuts a new version as the one before was.
func layoutOf(p mutable.Prefix, size int64) (mutable.Layout, error) {
	segment := p.SegmentSize
	if p.Format == mutable.SDMF {
		segment = 0
	}
	return mutable.NewLayout(p.Format, size, file.Params{Needed: p.Needed, Total: p.Total, SegmentSize: segment})
}

// splice writes into content, which grows where it has to.
func splice(content []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(content)) {
		content = append(content, make([]byte, end-int64(len(content)))...)
	}
	copy(content[off:], data)
	return content
}

// errNotAllShares means that the hashes of some share are not to be had.
var errNotAllShares = errors.New("not all shares of the version are there")

// update encodes the segments that change. It takes the hashes of the others from
// all of the shares.
func (m *mutableFile) update(f *flow, s *survey, p mutable.Prefix, seqnum uint64, off int64, data []byte) (*draft, error) {
	u, err := mutable.NewUpdate(p.Layout, off, int64(len(data)))
	if err != nil {
		return nil, err
	}
	shares, err := m.proveTrees(f, s, p)
	if err != nil {
		return nil, err
	}
	old := map[int64][]byte{}
	for i := u.First; i <= u.Last; i++ {
		if u.NeedsOld(i) {
			if old[i], err = m.segments(f, s, p, i, i); err != nil {
				return nil, err
			}
		}
	}
	type encoded struct {
		d   *draft
		err error
	}
	key, random := m.key, m.env.Rand
	got := do(f, env.CPU, func() encoded {
		d, err := encodeUpdate(u, key, seqnum, shares, old, data, random)
		return encoded{d, err}
	})
	if got.err == nil {
		got.d.base = &p
	}
	return got.d, got.err
}

// proveTrees fetches the block hash trees of one share of each number.
func (m *mutableFile) proveTrees(f *flow, s *survey, p mutable.Prefix) (map[grid.ShareNum]*heldShare, error) {
	shares := map[grid.ShareNum]*heldShare{}
	var all []*fetch
	var calls []*asked
	for _, h := range s.of(p) {
		if shares[h.num] != nil {
			continue
		}
		shares[h.num] = h
		if h.blocks == nil {
			t := m.fetch(f, h, h.wanted(0, -1))
			all, calls = append(all, t), append(calls, t.asked...)
		}
	}
	if len(shares) < p.Total {
		f.leave(calls)
		return nil, errNotAllShares
	}
	f.gather(calls, 0, nil)
	var failed error
	for _, t := range all {
		if _, err := m.takeBlocks(f, t, 0, -1); err != nil {
			t.of.failed, failed = err, err
		}
		t.release()
	}
	if errors.Is(failed, mutable.ErrShare) {
		return nil, fmt.Errorf("%w: %w", errOverwritten, failed)
	}
	if failed != nil {
		return nil, errNotAllShares
	}
	return shares, nil
}

// encodeUpdate burns the CPU.
func encodeUpdate(u mutable.Update, key *mutable.Key, seqnum uint64, shares map[grid.ShareNum]*heldShare, old map[int64][]byte, data []byte, random io.Reader) (*draft, error) {
	e, err := mutable.NewEncoder(u.New, key)
	if err != nil {
		return nil, err
	}
	var segments []*mutable.Segment
	for i := u.First; i <= u.Last; i++ {
		content, err := u.Content(i, old[i], data)
		if err != nil {
			return nil, err
		}
		var salt [mutable.SaltSize]byte
		if _, err := io.ReadFull(random, salt[:]); err != nil {
			return nil, err
		}
		segment, err := e.EncodeSegment(i, content, salt)
		if err != nil {
			return nil, err
		}
		if err := e.Add(segment); err != nil {
			return nil, err
		}
		segments = append(segments, segment)
	}
	for _, i := range u.Kept() {
		hashes := make([]tagged.Hash, u.New.Total)
		for n := range hashes {
			hash, ok := shares[grid.ShareNum(n)].blocks.Hash(i)
			if !ok {
				return nil, errNotAllShares
			}
			hashes[n] = hash
		}
		if err := e.Keep(i, hashes); err != nil {
			return nil, err
		}
	}
	return updateDraft(e, u, seqnum, segments, random)
}

func updateDraft(e *mutable.Encoder, u mutable.Update, seqnum uint64, segments []*mutable.Segment, random io.Reader) (*draft, error) {
	p, err := e.Finish(seqnum, random)
	if err != nil {
		return nil, err
	}
	h := e.Header()
	d := &draft{prefix: p, size: h.Size(), heads: map[grid.ShareNum][]byte{}, parts: map[grid.ShareNum][]part{}}
	for n := range u.New.Total {
		num := grid.ShareNum(n)
		head, err := e.Head(num)
		if err != nil {
			return nil, err
		}
		tail, err := e.Tail(num)
		if err != nil {
			return nil, err
		}
		var blocks []byte
		for _, s := range segments {
			blocks = append(blocks, s.Blocks[n]...)
		}
		d.heads[num] = head
		d.parts[num] = []part{{0, head}, {h.Block(u.First).Off, blocks}, {h.BlockTree.Off, tail}}
	}
	return d, nil
}
