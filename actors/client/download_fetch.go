package client

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Tags of calls, and results of work. They carry the decisions that they
// belong to, because a failed download starts anew.
type (
	lookTag struct {
		core   *transfer.Download
		server grid.ServerID
	}
	fetchTag struct {
		core   *transfer.Download
		fetch  transfer.Fetch
		ranges []wire.Range
	}
	blockChecked struct {
		core  *transfer.Download
		fetch transfer.Fetch
		data  []byte
		err   error
	}
	segmentDecoded struct {
		core    *transfer.Download
		number  int
		of      *segment
		plain   []byte
		release func()
		err     error
	}
)

// errManyRounds refuses a share that always needs one thing more.
var errManyRounds = fmt.Errorf("%w: its parts never come to an end", errAnswer)

// maxRounds is how many times a server is asked for what one block needs
// besides its bytes: a wrong guess of the layout costs two or three.
const maxRounds = 8

// oneRead is the first of what is wanted, as much as one Read may name.
func oneRead(ranges []immutable.Range) []wire.Range {
	var out []wire.Range
	left := int64(wire.MaxRead)
	for _, r := range ranges {
		if len(out) == wire.MaxRanges || left == 0 {
			break
		}
		n := min(r.Len, left)
		out = append(out, wire.Range{Offset: uint64(r.Off), Length: uint64(n)})
		left -= n
	}
	return out
}

// reply turns a server's answer into events.
func (d *download) reply(ctx actor.Context, m Reply) {
	switch tag := m.Tag.(type) {
	case lookTag:
		if tag.core == d.core {
			d.looked(ctx, tag.server, m)
		}
	case fetchTag:
		if tag.core == d.core && d.core.Waits(tag.fetch) {
			d.fetched(ctx, tag, m)
			return
		}
		m.Frame.Release()
	}
}

func (d *download) looked(ctx actor.Context, id grid.ServerID, m Reply) {
	f, ok := m.Frame.Message.(*wire.Found)
	if !ok {
		d.step(ctx, transfer.Looked{Server: id, Err: unexpected(m)})
		return
	}
	body := m.Frame.Bytes()
	var nums []grid.ShareNum
	for _, s := range f.Shares {
		parts, rest, ok := cut(body, s.Lengths)
		if !ok || len(parts) > 0 && len(parts) != len(d.probe) {
			d.step(ctx, transfer.Looked{Server: id, Err: errAnswer})
			return
		}
		body = rest
		if len(parts) > 0 {
			d.probed[transfer.Fetch{Server: id, Num: s.Num}] = &wireBytes{d.probe, parts}
		}
		nums = append(nums, s.Num)
	}
	d.step(ctx, transfer.Looked{Server: id, Shares: nums})
}

// cut splits a body into parts of these lengths.
func cut(body []byte, lengths []uint64) (parts [][]byte, rest []byte, ok bool) {
	for _, n := range lengths {
		if n > uint64(len(body)) {
			return nil, nil, false
		}
		parts = append(parts, body[:n:n])
		body = body[n:]
	}
	return parts, body, true
}

// fetch asks for what a block still needs, or takes what came with Found.
func (d *download) fetch(ctx actor.Context, f transfer.Fetch) {
	key := transfer.Fetch{Server: f.Server, Num: f.Num}
	if p := d.probed[key]; p != nil {
		delete(d.probed, key)
		if err := d.take(f, p); err != nil {
			d.bad(ctx, f, err)
			return
		}
	}
	d.fetchRest(ctx, f)
}

func (d *download) fetchRest(ctx actor.Context, f transfer.Fetch) {
	s := d.segments[f.Segment]
	if s == nil {
		return
	}
	ranges, err := d.reader.Want(f.Num, int64(f.Segment))
	if d.layoutChanged(ctx) {
		return
	}
	if err != nil {
		d.bad(ctx, f, err)
		return
	}
	if len(ranges) == 0 {
		d.check(ctx, f)
		return
	}
	l, _ := d.reader.Layout()
	if s.rounds[f]++; int64(s.rounds[f]) > maxRounds+l.BlockSize/wire.MaxRead {
		d.bad(ctx, f, errManyRounds)
		return
	}
	want := oneRead(ranges)
	ctx.Send(d.servers[f.Server].pid, Call{
		ReplyTo: ctx.Self(), Tag: fetchTag{d.core, f, want},
		Frame: wire.Frame{Message: &wire.Read{StorageIndex: d.cap.StorageIndex, Num: f.Num, Ranges: want}},
	})
}

// layoutChanged starts over with the right segments when the first share
// proved that they are not of the size that was guessed.
func (d *download) layoutChanged(ctx actor.Context) bool {
	l, proven := d.reader.Layout()
	if !proven || d.segmentSize == l.SegmentSize {
		return false
	}
	d.segmentSize = l.SegmentSize
	d.wantNothing(ctx)
	d.wantMore(ctx)
	return true
}

func (d *download) fetched(ctx actor.Context, tag fetchTag, m Reply) {
	f := tag.fetch
	data, ok := m.Frame.Message.(*wire.Data)
	if !ok {
		d.missed(ctx, f, unexpected(m))
		return
	}
	parts, rest, ok := cut(m.Frame.Bytes(), data.Lengths)
	if !ok || len(rest) > 0 || len(parts) != len(tag.ranges) {
		d.bad(ctx, f, errAnswer)
		return
	}
	d.keep(f, tag.ranges, parts, m.Frame)
	if err := d.take(f, &wireBytes{tag.ranges, parts}); err != nil {
		d.bad(ctx, f, err)
		return
	}
	d.fetchRest(ctx, f)
}

// keep notes that the answer's buffer goes back when the segment is decoded,
// if it holds nothing of lasting use: what is small is copied, so that no few
// bytes pin a large buffer.
func (d *download) keep(f transfer.Fetch, ranges []wire.Range, parts [][]byte, frame wire.Frame) {
	s := d.segments[f.Segment]
	l, _ := d.reader.Layout()
	block := l.BlockRange(int64(f.Segment))
	pinned := s == nil
	for i, r := range ranges {
		if int64(r.Offset) != block.Off || int64(r.Length) != block.Len {
			pinned = pinned || len(parts[i]) > smallPart
			parts[i] = bytes.Clone(parts[i])
		}
	}
	if !pinned {
		s.frames[f.Num] = frame
	}
}

// smallPart is up to how many bytes are copied without a second thought.
const smallPart = 16 << 10

func (d *download) take(f transfer.Fetch, b *wireBytes) error {
	for i, r := range b.ranges {
		if err := d.reader.Got(f.Num, immutable.Range{Off: int64(r.Offset), Len: int64(r.Length)}, b.parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// missed gives the server up, or only the share if that is what it refuses.
func (d *download) missed(ctx actor.Context, f transfer.Fetch, err error) {
	if refusal := (*wire.Error)(nil); errors.As(err, &refusal) {
		d.step(ctx, transfer.Bad{Server: f.Server, Num: f.Num, Err: err})
		return
	}
	d.step(ctx, transfer.Missed{Server: f.Server, Num: f.Num, Segment: f.Segment, Err: err})
}

// bad gives a share up. If no share can help, the file can't be read.
func (d *download) bad(ctx actor.Context, f transfer.Fetch, err error) {
	var share *immutable.ShareError
	if !errors.As(err, &share) && !errors.Is(err, errAnswer) {
		d.fail(ctx, err)
		return
	}
	d.log.Warn("bad share", "server", f.Server.Short(), "storage-index", d.cap.StorageIndex.String(), "share", f.Num, "error", err)
	if d.repair {
		ctx.Send(d.owner, badShare{f.Server, f.Num, err})
	}
	d.step(ctx, transfer.Bad{Server: f.Server, Num: f.Num, Err: err})
}

// check verifies a block that is complete.
func (d *download) check(ctx actor.Context, f transfer.Fetch) {
	block, ok := d.reader.Block(f.Num, int64(f.Segment))
	if !ok {
		d.bad(ctx, f, fmt.Errorf("%w: the block is missing", errAnswer))
		return
	}
	core := d.core
	d.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		return blockChecked{core, f, block.Data, block.Verify()}
	})
}

func (d *download) checked(ctx actor.Context, m blockChecked) {
	if m.core != d.core {
		return
	}
	if m.err != nil {
		d.bad(ctx, m.fetch, m.err)
		return
	}
	if s := d.segments[m.fetch.Segment]; s != nil && !s.decoding && s.plain == nil {
		s.blocks[m.fetch.Num] = m.data
	}
	d.step(ctx, transfer.Got{Server: m.fetch.Server, Num: m.fetch.Num, Segment: m.fetch.Segment})
}

// decode makes plaintext of k blocks.
func (d *download) decode(ctx actor.Context, i int) {
	s := d.segments[i]
	decoding, err := d.reader.Decode(int64(i), s.blocks)
	if err != nil {
		d.fail(ctx, err)
		return
	}
	s.decoding = true
	core := d.core
	d.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		buf, release := immutable.SegmentBuffer(decoding.BufferSize())
		plain, err := decoding.Run(buf)
		return segmentDecoded{core, i, s, plain, release, err}
	})
}

func (d *download) decoded(ctx actor.Context, m segmentDecoded) {
	if m.core != d.core {
		return
	}
	if m.err != nil {
		d.fail(ctx, m.err)
		return
	}
	if s := d.segments[m.number]; s != nil && s == m.of {
		for num := range s.blocks {
			s.frames[num].Release() // checked and decoded: nobody looks at it any more
		}
		s.plain, s.release, s.blocks, s.frames = m.plain, m.release, nil, nil
		d.deliver(ctx)
	}
}

func sortedInts[V any](m map[int]V) []int { return slices.Sorted(maps.Keys(m)) }
