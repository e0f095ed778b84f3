package client

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// readerAsked takes a server's request for a part of its share. It is
// answered as soon as the encoder has come so far.
func (u *upload) readerAsked(ctx actor.Context, m readerAsked) {
	at := transfer.Offer{Server: m.server, Num: m.num}
	u.forgetReads(func(r readerAsked) bool { return r.of(at) && r.conv != m.conv })
	if u.pass == nil || !u.pass.window.Reads(at) {
		u.askedEarly(m, at)
		return
	}
	end := m.read.Offset + m.read.Length
	if m.read.Length == 0 || m.read.Length > wire.MaxRead || end < m.read.Offset || end > uint64(u.layout.ShareSize) {
		refuseRead(m, wire.NewError(wire.BadRequest, "no such part of the share"))
		return
	}
	if !u.pass.window.Asked(at, m.read.Have, m.read.Offset, end) {
		refuseRead(m, wire.NewError(wire.TooSlow, "this part is not held any more"))
		u.giveUp(ctx, at)
		return
	}
	u.step(ctx, transfer.Moving{Server: m.server, Num: m.num, Have: m.read.Have})
	u.pass.waiting = append(u.pass.waiting, m)
	u.serve(ctx)
	u.pump(ctx)
}

// of reports whether a read is for this share at this server.
func (m readerAsked) of(at transfer.Offer) bool { return m.server == at.Server && m.num == at.Num }

// forgetReads drops reads that nobody waits for: a server reads each share in
// one conversation, so those of an earlier one are over.
func (u *upload) forgetReads(over func(readerAsked) bool) {
	u.early = slices.DeleteFunc(u.early, over)
	if u.pass != nil {
		u.pass.waiting = slices.DeleteFunc(u.pass.waiting, over)
	}
}

// askedEarly keeps what a server asks for before the pass that serves it.
func (u *upload) askedEarly(m readerAsked, at transfer.Offer) {
	if u.spares[at] == nil && (u.core == nil || !u.core.Coming(at)) {
		refuseRead(m, wire.NewError(wire.Abandoned, "this share is not on offer any more"))
		return
	}
	u.early = append(u.early, m)
}

func refuseRead(m readerAsked, e *wire.Error) {
	m.conv.Send(wire.Frame{ID: m.id, Answer: true, Message: e})
	m.conv.Grant(1)
}

// giveUp ends a pull that can't be served any more.
func (u *upload) giveUp(ctx actor.Context, at transfer.Offer) {
	u.step(ctx, transfer.Kept{Server: at.Server, Num: at.Num, Err: transfer.ErrTooSlow})
}

// serve answers every request that can be answered now.
func (u *upload) serve(ctx actor.Context) {
	p := u.pass
	later := p.waiting[:0]
	for _, m := range p.waiting {
		if !u.serveOne(ctx, m) {
			later = append(later, m)
		}
	}
	clear(p.waiting[len(later):])
	p.waiting = later
}

func (u *upload) serveOne(ctx actor.Context, m readerAsked) bool {
	var b body
	if !u.collect(ctx, &b, m) {
		b.release()
		return false
	}
	f := wire.Frame{ID: m.id, Answer: true, Message: &wire.Data{Lengths: []uint64{m.read.Length}}}
	m.conv.Send(f.WithBody(b.release, b.parts...))
	m.conv.Grant(1)
	return true
}

// body is parts of a share and the segments that they lie in.
type body struct {
	parts [][]byte
	using []*heldSegment
}

func (b *body) release() {
	for _, h := range b.using {
		h.done()
	}
}

// collect gathers the part of a share that was asked for; it reports false if
// some of it is not there yet.
func (u *upload) collect(ctx actor.Context, b *body, m readerAsked) bool {
	from, end := m.read.Offset, m.read.Offset+m.read.Length
	data, dataEnd := uint64(u.layout.Data), uint64(u.layout.Data+u.layout.DataSize())
	if from < data {
		upTo := min(end, data)
		b.parts = append(b.parts, u.pass.encoder.Head()[from:upTo])
		from = upTo
	}
	for from < end && from < dataEnd {
		i := int((from - data) / uint64(u.layout.BlockSize))
		h := u.pass.held[i]
		if h == nil {
			return false
		}
		h.use()
		b.using = append(b.using, h)
		start := data + uint64(i)*uint64(u.layout.BlockSize)
		block := h.Blocks[m.num]
		upTo := min(end, start+uint64(len(block)))
		b.parts = append(b.parts, block[from-start:upTo-start])
		from = upTo
	}
	if from == end {
		return true
	}
	tail := u.tail(ctx, m.num)
	if tail == nil {
		return false
	}
	b.parts = append(b.parts, tail[from-dataEnd:end-dataEnd])
	return true
}

// tail is what follows the blocks, made when it is first asked for.
func (u *upload) tail(ctx actor.Context, n grid.ShareNum) []byte {
	p := u.pass
	tail, asked := p.tails[n]
	if p.finished && !asked {
		p.tails[n] = nil
		u.env.Exec.Do(env.CPU, ctx.Self(), func() any {
			tail, err := p.encoder.Tail(n)
			return tailMade{p, n, tail, err}
		})
	}
	return tail
}

// leave takes a share out of the window: nobody reads it any more.
func (u *upload) leave(ctx actor.Context, at transfer.Offer) {
	u.forgetReads(func(r readerAsked) bool { return r.of(at) })
	if u.pass == nil || u.ended || !u.pass.window.Reads(at) {
		return
	}
	u.pass.window.Leave(at)
	delete(u.pass.tails, at.Num)
	u.pump(ctx)
}

// dropLaggards gives up servers that hold all others back, and notes who
// waits for whom: those that wait for the encoder are not late.
func (u *upload) dropLaggards(ctx actor.Context) {
	if u.pass == nil {
		return
	}
	for _, m := range u.pass.waiting {
		u.step(ctx, transfer.Owed{Server: m.server, Num: m.num})
	}
	for _, at := range u.pass.window.Laggards(u.env.Clock.Now(), windowPatience) {
		u.giveUp(ctx, at)
	}
}
