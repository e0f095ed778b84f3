package transfer

import (
	"cmp"
	"slices"
	"time"
)

// Window decides which segments of a file are held encoded while servers pull
// their shares: a bounded run [low, next) that moves forward as every reader
// moves on. The slowest reader holds it back, until it has held it back for
// too long; then Laggards names it.
//
// Positions are offsets in the share body, in bytes; blocks of one segment
// have the same place in every share.
type Window struct {
	shape Shape
	limit int // segments held at most

	low, next int // held: low <= segment < next
	readers   map[Offer]*reader
	moved     time.Time // when low last moved, or the window last was not full
}

// Shape is where the blocks lie in a share body.
type Shape struct {
	DataOffset uint64 // of the first block, bytes
	BlockSize  uint64 // of every block but the last, bytes
	Segments   int
	DataSize   uint64 // of all blocks, bytes
}

// reader is one server's pull of one share.
type reader struct {
	have uint64 // the server holds everything before it
	want uint64 // the end of what it has asked for
}

// NewWindow holds at most limit segments (at least 1).
func NewWindow(shape Shape, limit int, now time.Time) *Window {
	return &Window{shape: shape, limit: max(limit, 1), readers: map[Offer]*reader{}, moved: now}
}

// Join adds a reader, which holds nothing yet.
func (w *Window) Join(o Offer) { w.readers[o] = &reader{} }

// Reads reports whether o has joined and not left.
func (w *Window) Reads(o Offer) bool { return w.readers[o] != nil }

// Leave removes a reader: it is done, or given up.
func (w *Window) Leave(o Offer) { delete(w.readers, o) }

// Asked notes that a reader holds have bytes and wants those from offset from
// up to end. It reports false when some of them were let go already: this
// reader can't be served any more.
func (w *Window) Asked(o Offer, have, from, end uint64) bool {
	r, ok := w.readers[o]
	if !ok {
		return false
	}
	r.have, r.want = max(r.have, have), max(r.want, end)
	gone := min(w.start(w.low), w.dataEnd()) // all blocks before it
	return from >= gone || end <= w.shape.DataOffset || w.low == 0
}

// Advance lets go of what every reader holds and returns the new low end:
// segments below it are not needed again in this pass.
func (w *Window) Advance(now time.Time) int {
	low := w.next
	for _, r := range w.readers {
		low = min(low, w.segmentAt(r.have))
	}
	if low > w.low {
		w.low, w.moved = low, now
	}
	if !w.full() {
		w.moved = now
	}
	return w.low
}

// Next returns the next segment to encode, if there is room for it.
func (w *Window) Next() (segment int, ok bool) {
	if w.next >= w.shape.Segments || w.full() {
		return 0, false
	}
	w.next++
	return w.next - 1, true
}

func (w *Window) full() bool { return w.next-w.low >= w.limit }

// Done reports whether every segment has been handed out by Next.
func (w *Window) Done() bool { return w.next >= w.shape.Segments }

// Laggards are the readers that have held a full window back for patience,
// while another one wants what comes after it, by share number.
func (w *Window) Laggards(now time.Time, patience time.Duration) []Offer {
	if !w.full() || w.Done() || now.Sub(w.moved) < patience || !w.starved() {
		return nil
	}
	var out []Offer
	for o, r := range w.readers {
		if w.segmentAt(r.have) <= w.low {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b Offer) int {
		return cmp.Or(cmp.Compare(a.Num, b.Num), slices.Compare(a.Server[:], b.Server[:]))
	})
	return out
}

// starved reports whether somebody asks for more than the window holds.
func (w *Window) starved() bool {
	for _, r := range w.readers {
		if r.want > w.start(w.next) {
			return true
		}
	}
	return false
}

// start is the offset of a segment's block.
func (w *Window) start(segment int) uint64 {
	return w.shape.DataOffset + uint64(segment)*w.shape.BlockSize
}

func (w *Window) dataEnd() uint64 { return w.shape.DataOffset + w.shape.DataSize }

// segmentAt is the first segment of which a reader that holds have bytes
// still lacks something.
func (w *Window) segmentAt(have uint64) int {
	switch {
	case have >= w.dataEnd():
		return w.shape.Segments
	case have < w.shape.DataOffset:
		return 0
	}
	return int((have - w.shape.DataOffset) / w.shape.BlockSize)
}
