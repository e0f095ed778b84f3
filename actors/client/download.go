package client

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
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
		// Authority to log in under where reading needs it; the node's own where
		// it is empty.
		Authority lease.Authority
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
	// StopReading ends the range that was asked for with this address for
	// replies. One that comes late ends no later range.
	StopReading struct{ ReplyTo *actor.PID }
	// CloseFile ends the reading of a file.
	CloseFile struct{}
)

// From a download.
type (
	// Opened answers Open: PID takes ReadRange and CloseFile.
	Opened struct{ PID *actor.PID }
	// Piece is verified plaintext. The receiver owns Data until it calls
	// Release, which it may leave out.
	Piece struct {
		Data    []byte
		release func()
	}
	// RangeEnd follows the last Piece of a range.
	RangeEnd struct{}
	// badShare tells a repair of a share that is not what it should be.
	badShare struct {
		server grid.ServerID
		num    grid.ShareNum
		err    error
	}
)

// Release gives the piece's buffer back.
func (p Piece) Release() {
	if p.release != nil {
		p.release()
	}
}

// download reads one file: it finds shares, fetches blocks from the fastest
// servers, checks every one, and hands plaintext on in order.
//
// Owns: what is known and proven about the shares of one file, the segments that are on their way.
// On failure: ends with an error; what was handed on before is right.
type download struct {
	env    *env.Env
	log    *slog.Logger
	broker *actor.PID
	owner  *actor.PID // who has it opened
	cap    file.CHKVerifier
	read   func() (*immutable.Reader, error)
	repair bool // for a repair, which is told of bad shares

	reader   *immutable.Reader
	core     *transfer.Download
	servers  map[grid.ServerID]candidate
	probe    []wire.Range
	probed   map[transfer.Fetch]*wireBytes // what came with Found, by server and share
	segments map[int]*segment
	given    []int // segments that were handed on, which core still wants
	// segmentSize is what the numbers of segments mean: guessed, then proven.
	segmentSize int64
	rng         *readRange
	bornFor     *readRange // the range for which core was made
	starting    bool       // waits for the servers, since asked
	asked       time.Time
	ticking     bool
	events      []transfer.DownloadEvent // not yet decided on
	deciding    bool
}

// segment is one that is wanted.
type segment struct {
	blocks   map[grid.ShareNum][]byte     // verified
	rounds   map[transfer.Fetch]int       // of fetching, to bound them
	frames   map[grid.ShareNum]wire.Frame // that hold nothing but a block
	decoding bool
	plain    []byte // when it is decoded
	release  func() // gives plain's buffer back
}

// readRange is what the reader of the file waits for.
type readRange struct {
	replyTo   *actor.PID
	next, end int64 // offsets in the file
	credit    int
	ahead     int64 // segments that are fetched at a time; grows with each that was handed on
}

// wireBytes is the bytes of some ranges of a share.
type wireBytes struct {
	ranges []wire.Range
	parts  [][]byte
}

func newDownload(e *env.Env, broker *actor.PID, log *slog.Logger, m Open) env.Producer {
	read := func() (*immutable.Reader, error) { return immutable.NewReader(m.Cap) }
	return newDownloadOf(download{env: e, log: log, broker: broker, owner: m.ReplyTo, cap: m.Cap.Verifier(), read: read})
}

// newRepairDownload reads a file as it is encrypted, and tells the owner which
// shares were found bad on the way.
func newRepairDownload(e *env.Env, broker *actor.PID, log *slog.Logger, owner *actor.PID, c file.CHKVerifier) env.Producer {
	read := func() (*immutable.Reader, error) { return immutable.NewCiphertextReader(c) }
	return newDownloadOf(download{env: e, log: log, broker: broker, owner: owner, cap: c, read: read, repair: true})
}

func newDownloadOf(d download) env.Producer {
	return func() actor.Actor {
		fresh := d
		fresh.servers, fresh.probed, fresh.segments = map[grid.ServerID]candidate{}, map[transfer.Fetch]*wireBytes{}, map[int]*segment{}
		return &fresh
	}
}

// Receive implements actor.Actor.
func (d *download) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		ctx.Send(d.owner, Opened{ctx.Self()})
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
	case brokerUp:
		if d.starting {
			d.askBroker(ctx)
		}
	case tick:
		d.tick(ctx)
	case StopReading:
		if d.rng != nil && d.rng.replyTo.Equal(m.ReplyTo) {
			d.rng = nil
			d.wantNothing(ctx)
		}
	case CloseFile, Cancel:
		d.rng = nil
		ctx.Stop(ctx.Self())
	case *actor.Restarting, *actor.Stopping:
		d.fail(ctx, ErrInterrupted)
	}
}

// readRange starts to read, and finds the servers when it is the first time
// or the last time failed.
func (d *download) readRange(ctx actor.Context, m ReadRange) {
	d.rng = &readRange{replyTo: m.ReplyTo, next: m.Offset, end: m.Offset + m.Length, credit: m.Credit, ahead: 1}
	if m.Length == 0 {
		d.deliver(ctx)
		return
	}
	if d.core != nil {
		d.startTicking(ctx)
		d.wantMore(ctx)
		d.deliver(ctx)
		return
	}
	d.find(ctx)
}

// find begins from nothing: which servers are connected, what they hold.
func (d *download) find(ctx actor.Context) {
	if d.starting {
		return
	}
	reader, err := d.read()
	if err != nil {
		d.fail(ctx, fmt.Errorf("%w: %w", ErrNotReadable, err))
		return
	}
	d.reader, d.starting = reader, true
	clear(d.segments)
	clear(d.probed)
	d.askBroker(ctx)
	d.startTicking(ctx)
}

func (d *download) askBroker(ctx actor.Context) {
	d.asked = d.env.Clock.Now()
	ctx.Send(d.broker, candidates{replyTo: ctx.Self(), si: d.cap.StorageIndex, want: d.cap.Needed})
}

// begin starts the decisions once the servers are known.
func (d *download) begin(ctx actor.Context, m candidateList) {
	if !d.starting {
		return // it was asked twice
	}
	d.starting, d.bornFor = false, d.rng
	var order []grid.ServerID
	for _, c := range m.servers {
		d.servers[c.id] = c
		order = append(order, c.id)
	}
	d.core = transfer.NewDownload(transfer.DownloadSpec{
		Needed: d.cap.Needed, Total: d.cap.Total, Order: order,
		Hedge: hedgeTime, Patience: silentTime,
	})
	l, _ := d.reader.Layout()
	d.segmentSize = l.SegmentSize
	d.makeProbe()
	d.carryOut(ctx, d.core.Start(d.env.Clock.Now()))
	d.wantMore(ctx)
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

// wantMore asks for the segments that the range needs next, a few ahead; at
// first for one, because whoever asked waits for that.
func (d *download) wantMore(ctx actor.Context) {
	if d.rng == nil || d.core == nil || d.rng.next >= d.rng.end {
		return
	}
	l, proven := d.reader.Layout()
	first, last := l.SegmentOf(d.rng.next), l.SegmentOf(d.rng.end-1)
	ahead := max(1, min(d.rng.ahead, readAhead, readAheadBytes/l.SegmentSize))
	if !proven {
		ahead = 1 // the size of segments may turn out to be another
	}
	for _, i := range d.given {
		d.step(ctx, transfer.Forget{Segment: i})
	}
	d.given = nil
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

// wantNothing lets go of all segments.
func (d *download) wantNothing(ctx actor.Context) { d.forgetOutside(ctx, 0, -1) }

// step lets the decisions know of something. What carrying them out leads to
// is decided on afterwards, one event after the other.
func (d *download) step(ctx actor.Context, ev transfer.DownloadEvent) {
	d.events = append(d.events, ev)
	if d.deciding {
		return
	}
	d.deciding = true
	for d.core != nil && len(d.events) > 0 {
		next := d.events[0]
		d.events = d.events[1:]
		d.carryOut(ctx, d.core.Step(d.env.Clock.Now(), next))
	}
	d.deciding, d.events = false, nil
}

func (d *download) carryOut(ctx actor.Context, effects []transfer.DownloadEffect) {
	core := d.core
	for _, effect := range effects {
		if d.core != core {
			return // what came before ended it
		}
		switch e := effect.(type) {
		case transfer.Look:
			m := &wire.Find{StorageIndex: d.cap.StorageIndex, Ranges: d.probe}
			ctx.Send(d.servers[e.Server].pid, Call{ReplyTo: ctx.Self(), Tag: lookTag{d.core, e.Server}, Frame: wire.Frame{Message: m}})
		case transfer.Switch:
			d.reader.Forget(e.Num)
		case transfer.Fetch:
			d.fetch(ctx, e)
		case transfer.Decode:
			d.decode(ctx, e.Segment)
		case transfer.GiveUp:
			d.giveUp(ctx, e.Err)
		}
	}
}

// giveUp ends the range, unless what is known was found for an earlier one:
// then it may be out of date, and the search begins anew.
func (d *download) giveUp(ctx actor.Context, err error) {
	if d.rng == nil || d.rng == d.bornFor {
		d.fail(ctx, err)
		return
	}
	d.core, d.probe, d.given = nil, nil, nil
	d.find(ctx)
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
		r.next, r.credit, r.ahead = start+to, r.credit-1, min(2*r.ahead, readAhead)
		ctx.Send(r.replyTo, d.piece(int(i), s, from, to))
		d.wantMore(ctx)
		if d.rng != r {
			return
		}
	}
	if r.next >= r.end {
		clear(d.probed)
		ctx.Send(r.replyTo, RangeEnd{})
		d.rng = nil
	}
}

// piece is a part of a segment. With the last of it the segment is given
// away; before that it stays, because a next range may go on in it.
func (d *download) piece(i int, s *segment, from, to int64) Piece {
	if to < int64(len(s.plain)) {
		return Piece{Data: bytes.Clone(s.plain[from:to])}
	}
	delete(d.segments, i)
	d.given = append(d.given, i)
	return Piece{Data: s.plain[from:to:to], release: s.release}
}

// fail ends the range; a later one starts anew.
func (d *download) fail(ctx actor.Context, err error) {
	if d.rng != nil {
		d.log.Warn("file not read", "storage-index", d.cap.StorageIndex.String(), "error", err)
		ctx.Send(d.rng.replyTo, err)
	}
	d.rng, d.core, d.probe, d.given = nil, nil, nil, nil
}

// startTicking lets time pass while a range is being read.
func (d *download) startTicking(ctx actor.Context) {
	if !d.ticking {
		d.ticking = true
		d.env.Clock.After(tickInterval/4, ctx.Self(), tick{})
	}
}

func (d *download) tick(ctx actor.Context) {
	d.ticking = false
	switch {
	case d.starting && d.env.Clock.Now().Sub(d.asked) > 2*settleTime:
		d.askBroker(ctx) // it failed and forgot us
	case d.core != nil:
		d.step(ctx, transfer.Clock{})
	}
	if d.rng != nil || d.starting {
		d.startTicking(ctx)
	}
}
