package client

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
)

// pass is one run of the encoder over the file. Segments are encoded side by
// side, added in order, held while some server may still ask for them, and
// let go.
type pass struct {
	encoder  *immutable.Encoder
	window   *transfer.Window
	encoded  map[int]*immutable.Segment // not yet added
	held     map[int]*heldSegment       // added
	low      int
	encoding int // jobs under way
	read     int // segments that came from shares, in a repair
	adding   bool
	added    int
	finished bool
	tails    map[grid.ShareNum][]byte
	waiting  []readerAsked
}

// heldSegment counts who uses the blocks of a segment, because the transport
// still writes some when the window has moved on.
type heldSegment struct {
	*immutable.Segment
	users atomic.Int32
}

func hold(s *immutable.Segment) *heldSegment {
	h := &heldSegment{Segment: s}
	h.users.Store(1)
	return h
}

func (h *heldSegment) use() { h.users.Add(1) }

func (h *heldSegment) done() {
	if h.users.Add(-1) == 0 {
		h.Release()
	}
}

// Results of work. They name their pass, because there may be a next one.
type (
	segmentEncoded struct {
		pass    *pass
		segment *immutable.Segment
		err     error
	}
	segmentAdded struct {
		pass *pass
		err  error
	}
	passFinished struct {
		pass *pass
		cap  file.CHKVerifier
		err  error
	}
	tailMade struct {
		pass *pass
		num  grid.ShareNum
		tail []byte
		err  error
	}
)

// Discard lets a result go that nobody waits for any more.
func (m segmentEncoded) Discard() {
	if m.segment != nil {
		m.segment.Release()
	}
}

// startPass runs the encoder for the shares that are coming.
func (u *upload) startPass(ctx actor.Context) {
	if u.pass != nil {
		u.pass.release()
	}
	limit := u.windowSegments()
	encoder, err := u.newEncoder()
	if err != nil {
		u.fail(ctx, err)
		return
	}
	shape := transfer.Shape{
		DataOffset: uint64(u.layout.Data), BlockSize: uint64(u.layout.BlockSize),
		DataSize: uint64(u.layout.DataSize()), Segments: int(u.layout.NumSegments),
	}
	waiting := u.early
	u.early = nil
	u.pass = &pass{
		encoder: encoder, window: transfer.NewWindow(shape, limit, u.env.Clock.Now()),
		encoded: map[int]*immutable.Segment{}, held: map[int]*heldSegment{}, tails: map[grid.ShareNum][]byte{},
	}
	for at := range u.secrets {
		if u.core.Coming(at) {
			u.pass.window.Join(at)
		}
	}
	if u.repair != nil {
		u.readShares(ctx)
	}
	for _, m := range waiting {
		u.readerAsked(ctx, m)
	}
	u.pump(ctx)
}

func (u *upload) newEncoder() (*immutable.Encoder, error) {
	if u.repair != nil {
		return immutable.NewRepairEncoder(u.layout, u.repair.cap.StorageIndex, u.repair.ueb)
	}
	return u.put.File.newEncoder(u.layout)
}

// windowSegments is how many encoded segments may be held.
func (u *upload) windowSegments() int {
	each := u.layout.BlockSize * int64(u.layout.Total)
	return int(max(minWindow, windowBytes/each))
}

// encodersAhead is how many segments are encoded at a time, encodedAhead how many
// there are with those that wait to be added: where nobody pulls, because the shares
// are there already, the window holds none of them back.
const (
	encodersAhead = 2
	encodedAhead  = 2 * encodersAhead
)

// pump keeps encoders busy, adds what is next, and moves the window on.
func (u *upload) pump(ctx actor.Context) {
	p := u.pass
	p.letGo(p.window.Advance(u.env.Clock.Now()))
	for p.encoding < encodersAhead && p.encoding+len(p.encoded) < encodedAhead {
		i, ok := p.window.Next()
		if !ok {
			break
		}
		p.encoding++
		u.encode(ctx, i)
	}
	u.addNext(ctx)
}

func (p *pass) letGo(low int) {
	for ; p.low < low; p.low++ {
		if h := p.held[p.low]; h != nil {
			h.done()
			delete(p.held, p.low)
		}
	}
}

func (u *upload) encode(ctx actor.Context, i int) {
	if u.repair != nil {
		ctx.Send(u.repair.reader, MorePieces{1}) // each is a segment, in order
		return
	}
	p, source, length, offset := u.pass, u.source, u.layout.SegmentLen(int64(i)), int64(i)*u.layout.SegmentSize
	source.use()
	u.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		defer source.done()
		content, release := immutable.SegmentBuffer(int(length))
		defer release()
		if err := readSegment(source, offset, content); err != nil {
			return segmentEncoded{pass: p, err: err}
		}
		s, err := p.encoder.EncodeSegment(int64(i), content)
		return segmentEncoded{p, s, err}
	})
}

func readSegment(source io.ReaderAt, offset int64, content []byte) error {
	if n, err := source.ReadAt(content, offset); n < len(content) {
		return fmt.Errorf("read the file at %d: %w", offset, err)
	}
	return nil
}

// addNext takes the next segment into the whole file's hashes, one at a time.
func (u *upload) addNext(ctx actor.Context) {
	p := u.pass
	s := p.encoded[p.added]
	if p.adding || p.finished {
		return
	}
	if s != nil {
		p.adding = true
		u.env.Exec.Do(env.CPU, ctx.Self(), func() any { return segmentAdded{p, p.encoder.Add(s)} })
		return
	}
	if int64(p.added) == u.layout.NumSegments {
		p.adding = true
		u.env.Exec.Do(env.CPU, ctx.Self(), func() any {
			c, err := p.encoder.Finish()
			return passFinished{p, c, err}
		})
	}
}

// encodedSomething takes the result of work on the file.
func (u *upload) encodedSomething(ctx actor.Context, m any) {
	switch m := m.(type) {
	case segmentEncoded:
		if u.stale(m.pass) {
			m.Discard()
			return
		}
		m.pass.encoding--
		if u.failedWork(ctx, m.err) {
			return
		}
		m.pass.encoded[int(m.segment.Index)] = m.segment
		u.pump(ctx)
	case segmentAdded:
		if !u.stale(m.pass) && !u.failedWork(ctx, m.err) {
			u.segmentAdded(ctx)
		}
	case passFinished:
		if !u.stale(m.pass) && !u.failedWork(ctx, m.err) {
			m.pass.finished = true
			u.cap = m.cap
			u.serve(ctx)
			u.step(ctx, transfer.Encoded{UEBHash: m.cap.UEBHash})
		}
	case tailMade:
		if !u.stale(m.pass) && !u.failedWork(ctx, m.err) {
			m.pass.tails[m.num] = m.tail
			u.serve(ctx)
		}
	case wholeMade:
		if !u.ended && !u.failedWork(ctx, m.err) {
			u.wholeMade(ctx, m)
		}
	}
}

func (u *upload) stale(p *pass) bool { return u.ended || p != u.pass }

func (u *upload) failedWork(ctx actor.Context, err error) bool {
	if err != nil {
		u.fail(ctx, fmt.Errorf("encode the file: %w", err))
	}
	return err != nil
}

func (u *upload) segmentAdded(ctx actor.Context) {
	p := u.pass
	p.held[p.added] = hold(p.encoded[p.added])
	delete(p.encoded, p.added)
	p.added++
	p.adding = false
	if p.added <= p.low {
		p.held[p.added-1].done()
		delete(p.held, p.added-1)
	}
	ctx.Send(u.put.ReplyTo, Progress{min(int64(p.added)*u.layout.SegmentSize, u.layout.Size), u.layout.Size})
	u.serve(ctx)
	u.pump(ctx)
}

// release lets all memory of the pass go.
func (p *pass) release() {
	for _, h := range p.held {
		h.done()
	}
	clear(p.held)
	for i, s := range p.encoded {
		if !p.adding || i != p.added {
			s.Release()
		}
	}
}
