package client

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ErrNotReadable means that a capability is of a kind that can't be read as a
// file.
var ErrNotReadable = errors.New("this kind of capability can't be read as a file")

// Messages to Client and to the download that it starts.
type (
	// Open makes a file readable; answered by Opened.
	Open struct {
		ReplyTo *actor.PID
		Cap     file.CHK
	}
	// ReadRange asks an opened file for Length bytes from Offset on, within
	// the file; answered by Pieces in order and RangeEnd, or by an error. The
	// range asked for before is given up.
	ReadRange struct {
		ReplyTo        *actor.PID
		Offset, Length int64
		Credit         int // how many Pieces may come at first
	}
	// MorePieces lets that many more come.
	MorePieces struct{ Count int }
	// StopReading ends the range that is being read.
	StopReading struct{}
	// CloseFile ends the reading of a file.
	CloseFile struct{}
)

// From a download.
type (
	// Opened answers Open: PID takes ReadRange and CloseFile.
	Opened struct{ PID *actor.PID }
	// Piece is verified plaintext; the receiver owns Data.
	Piece struct{ Data []byte }
	// RangeEnd follows the last Piece of a range.
	RangeEnd struct{}
)

// download reads one file: it finds shares, fetches blocks from the fastest
// servers, checks every one, and hands plaintext on in order.
//
// Owns: what is known and proven about the shares of one file, the segments that are on their way.
// On failure: ends with an error; what was handed on before is right.
type download struct {
	env    *env.Env
	log    *slog.Logger
	broker *actor.PID
	open   Open

	reader   *immutable.Reader
	core     *transfer.Download
	servers  map[grid.ServerID]candidate
	probe    []wire.Range
	probed   map[transfer.Fetch]*wireBytes // what came with Found, by server and share
	segments map[int]*segment
	// segmentSize is what the numbers of segments mean: guessed, then proven.
	segmentSize int64
	rng         *readRange
	starting    bool
}

// segment is one that is wanted.
type segment struct {
	blocks   map[grid.ShareNum][]byte     // verified
	rounds   map[transfer.Fetch]int       // of fetching, to bound them
	frames   map[grid.ShareNum]wire.Frame // that hold nothing but a block
	decoding bool
	plain    []byte // when it is decoded
}

// readRange is what the reader of the file waits for.
type readRange struct {
	replyTo   *actor.PID
	next, end int64 // offsets in the file
	credit    int
}

// wireBytes is the bytes of some ranges of a share.
type wireBytes struct {
	ranges []wire.Range
	parts  [][]byte
}

func newDownload(e *env.Env, broker *actor.PID, log *slog.Logger, m Open) env.Producer {
	return func() actor.Actor {
		return &download{
			env: e, log: log, broker: broker, open: m, servers: map[grid.ServerID]candidate{},
			probed: map[transfer.Fetch]*wireBytes{}, segments: map[int]*segment{},
		}
	}
}

// Receive implements actor.Actor.
func (d *download) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		ctx.Send(d.open.ReplyTo, Opened{ctx.Self()})
	case ReadRange:
		d.readRange(ctx, m)
	case candidateList:
		d.begin(ctx, m)
	case Reply:
		d.reply(ctx, m)
	case blockChecked:
		d.checked(ctx, m)
	case segmentDecoded:
		d.decoded(ctx, m)
	case MorePieces:
		if d.rng != nil {
			d.rng.credit += m.Count
			d.deliver(ctx)
		}
	case tick:
		d.tick(ctx)
	case StopReading:
		d.rng = nil
	case CloseFile, Cancel:
		ctx.Stop(ctx.Self())
	case *actor.Restarting:
		d.fail(ctx, ErrInterrupted)
	}
}

// readRange starts to read, and finds the servers when it is the first time
// or the last time failed.
func (d *download) readRange(ctx actor.Context, m ReadRange) {
	d.rng = &readRange{replyTo: m.ReplyTo, next: m.Offset, end: m.Offset + m.Length, credit: m.Credit}
	if m.Length == 0 {
		d.deliver(ctx)
		return
	}
	if d.core != nil {
		d.wantMore(ctx)
		d.deliver(ctx)
		return
	}
	if d.starting {
		return
	}
	reader, err := immutable.NewReader(d.open.Cap)
	if err != nil {
		d.fail(ctx, fmt.Errorf("%w: %w", ErrNotReadable, err))
		return
	}
	d.reader, d.starting = reader, true
	clear(d.segments)
	clear(d.probed)
	ctx.Send(d.broker, candidates{replyTo: ctx.Self(), si: d.open.Cap.StorageIndex(), want: d.open.Cap.Needed})
}

// begin starts the decisions once the servers are known.
func (d *download) begin(ctx actor.Context, m candidateList) {
	d.starting = false
	var order []grid.ServerID
	for _, c := range m.servers {
		d.servers[c.id] = c
		order = append(order, c.id)
	}
	d.core = transfer.NewDownload(transfer.DownloadSpec{
		Needed: d.open.Cap.Needed, Total: d.open.Cap.Total, Order: order, Hedge: hedgeTime,
	})
	l, _ := d.reader.Layout()
	d.segmentSize = l.SegmentSize
	d.makeProbe()
	d.carryOut(ctx, d.core.Start(d.env.Clock.Now()))
	d.wantMore(ctx)
	d.env.Clock.After(tickInterval/4, ctx.Self(), tick{})
}

// makeProbe is what is read along with the question which shares there are,
// if the first segment is small: then that is all that has to be asked.
func (d *download) makeProbe() {
	if d.rng == nil {
		return
	}
	l, _ := d.reader.Layout()
	ranges, err := d.reader.Want(0, l.SegmentOf(d.rng.next))
	if err != nil {
		return
	}
	var sum int64
	for _, r := range ranges {
		sum += r.Len
	}
	if sum <= probeSize {
		d.probe = wireRanges(ranges)
	}
}

func wireRanges(ranges []immutable.Range) []wire.Range {
	out := make([]wire.Range, len(ranges))
	for i, r := range ranges {
		out[i] = wire.Range{Offset: uint64(r.Off), Length: uint64(r.Len)}
	}
	return out
}

// wantMore asks for the segments that the range needs next, a few ahead.
func (d *download) wantMore(ctx actor.Context) {
	if d.rng == nil || d.core == nil || d.rng.next >= d.rng.end {
		return
	}
	l, proven := d.reader.Layout()
	first, last := l.SegmentOf(d.rng.next), l.SegmentOf(d.rng.end-1)
	ahead := max(1, min(readAhead, readAheadBytes/l.SegmentSize))
	if !proven {
		ahead = 1 // the size of segments may turn out to be another
	}
	d.forgetOutside(ctx, int(first), int(last))
	for i := first; i <= min(last, first+ahead-1); i++ {
		if d.segments[int(i)] == nil {
			d.segments[int(i)] = &segment{blocks: map[grid.ShareNum][]byte{}, rounds: map[transfer.Fetch]int{}, frames: map[grid.ShareNum]wire.Frame{}}
			d.step(ctx, transfer.Want{Segment: int(i)})
		}
	}
}

// forgetOutside lets go of segments that the range does not need (any more).
func (d *download) forgetOutside(ctx actor.Context, first, last int) {
	for _, i := range sortedInts(d.segments) {
		if i < first || i > last {
			delete(d.segments, i)
			d.step(ctx, transfer.Forget{Segment: i})
		}
	}
}

func (d *download) step(ctx actor.Context, ev transfer.DownloadEvent) {
	if d.core != nil {
		d.carryOut(ctx, d.core.Step(d.env.Clock.Now(), ev))
	}
}

func (d *download) carryOut(ctx actor.Context, effects []transfer.DownloadEffect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case transfer.Look:
			m := &wire.Find{StorageIndex: d.open.Cap.StorageIndex(), Ranges: d.probe}
			ctx.Send(d.servers[e.Server].pid, Call{ReplyTo: ctx.Self(), Tag: lookTag{d.core, e.Server}, Frame: wire.Frame{Message: m}})
		case transfer.Fetch:
			d.fetch(ctx, e)
		case transfer.Decode:
			d.decode(ctx, e.Segment)
		case transfer.GiveUp:
			d.fail(ctx, e.Err)
			return
		}
	}
}

// deliver hands on what is next, as far as it is there and wanted.
func (d *download) deliver(ctx actor.Context) {
	r := d.rng
	if r == nil {
		return
	}
	for r.next < r.end && r.credit > 0 {
		l, _ := d.reader.Layout()
		i := l.SegmentOf(r.next)
		s := d.segments[int(i)]
		if s == nil || s.plain == nil {
			return
		}
		start := i * l.SegmentSize
		from, to := r.next-start, min(r.end-start, int64(len(s.plain)))
		r.next, r.credit = start+to, r.credit-1
		ctx.Send(r.replyTo, Piece{s.plain[from:to:to]})
		if r.next < r.end {
			d.wantMore(ctx)
		}
		if d.rng != r {
			return
		}
	}
	if r.next >= r.end {
		ctx.Send(r.replyTo, RangeEnd{})
		d.rng = nil
	}
}

// fail ends the range; a later one starts anew.
func (d *download) fail(ctx actor.Context, err error) {
	if d.rng != nil {
		d.log.Warn("file not read", "storage-index", d.open.Cap.StorageIndex().String(), "error", err)
		ctx.Send(d.rng.replyTo, err)
	}
	d.rng, d.core, d.probe = nil, nil, nil
}

func (d *download) tick(ctx actor.Context) {
	if d.core == nil {
		return
	}
	d.step(ctx, transfer.Clock{})
	d.env.Clock.After(tickInterval/4, ctx.Self(), tick{})
}
