package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// link is one conversation with the client's share reader.
type link struct {
	conv        transport.Conversation
	asked       uint64 // number of reads asked for, and the newest request id
	outstanding map[uint64]span
	next        int64   // offset of the next read
	ready       []chunk // came, and wait for the disk; by offset
}

// span is what a read asked for.
type span struct{ offset, length int64 }

// chunk is what came for it.
type chunk struct {
	offset int64
	frame  wire.Frame
}

// fromClient is an event of a link's conversation.
type fromClient struct {
	link  *link
	event transport.Event
}

// floor is the look at an upload's progress since it had that many bytes.
type floor struct {
	link *link
	had  int64
}

// heard takes an event of the conversation; an old link's say nothing.
func (p *pull) heard(ctx actor.Context, m fromClient) {
	received, ok := m.event.(transport.Received)
	if m.link != p.link || p.stage != receiving {
		if ok {
			received.Frame.Release()
		}
		return
	}
	if !ok {
		p.lost(ctx)
		return
	}
	if err := m.link.take(received.Frame); err != nil {
		received.Frame.Release()
		p.fail(ctx, err)
		return
	}
	p.advance(ctx)
}

// take accepts an answer to a read: exactly the bytes that were asked for.
func (l *link) take(f wire.Frame) error {
	want, ok := l.outstanding[f.ID]
	if !f.Answer || !ok {
		return fmt.Errorf("%w: an answer that nobody asked for", errBadShare)
	}
	delete(l.outstanding, f.ID)
	switch m := f.Message.(type) {
	case *wire.Error:
		return fmt.Errorf("%w: the client can't deliver it", errAbandoned)
	case *wire.Data:
		if len(m.Lengths) != 1 || int64(m.Lengths[0]) != want.length {
			return fmt.Errorf("%w: %d bytes came where %d were asked for", errBadShare, f.BodySize(), want.length)
		}
	default:
		return fmt.Errorf("%w: no data", errBadShare)
	}
	at, _ := slices.BinarySearchFunc(l.ready, want.offset, func(c chunk, offset int64) int { return cmp.Compare(c.offset, offset) })
	l.ready = slices.Insert(l.ready, at, chunk{want.offset, f})
	return nil
}

// advance gives the disk what it can have and asks for more.
func (p *pull) advance(ctx actor.Context) {
	if p.link == nil {
		return
	}
	if frames := p.link.following(p.have); !p.busy && len(frames) > 0 {
		p.write(ctx, frames)
	}
	p.ask()
}

// following takes the chunks that continue the share at this offset.
func (l *link) following(offset int64) []wire.Frame {
	var frames []wire.Frame
	for len(l.ready) > 0 && l.ready[0].offset == offset {
		f := l.ready[0].frame
		frames = append(frames, f)
		offset += int64(f.BodySize())
		l.ready = l.ready[1:]
	}
	return frames
}

// ask keeps a few reads outstanding. What waits for the disk counts, so a slow
// disk slows the client. Nothing is asked for that the client will have only
// when it knows that more is here.
func (p *pull) ask() {
	l := p.link
	for l.next < p.size && len(l.outstanding)+len(l.ready)+len(p.handled) < pullReads {
		s := span{l.next, min(p.stride(), p.size-l.next)}
		if s.offset+s.length > p.have+p.window {
			break
		}
		l.asked++
		l.outstanding[l.asked] = s
		l.next += s.length
		if l.asked > pullReads {
			l.conv.Grant(1)
		}
		l.conv.Send(wire.Frame{ID: l.asked, Message: &wire.ReadOffer{
			Offset: uint64(s.offset), Length: uint64(s.length), Have: uint64(p.have),
		}})
	}
}

// stride is how much one read asks for.
func (p *pull) stride() int64 {
	return min(p.readSize, p.window, max(p.window/pullReads, smallestRead))
}

// patience is how long the upload may still do without progress, over all its
// links together: who comes back and brings nothing gains no time. It is
// negative when time is up.
func (p *pull) patience() time.Duration {
	now := p.env.Clock.Now()
	if p.busy || p.have-p.mark.have >= pullFloor {
		p.mark = progress{p.have, now}
	}
	return p.mark.at.Add(detachedFor).Sub(now)
}

// lost waits for the client to come back.
func (p *pull) lost(ctx actor.Context) {
	p.log.Debug("upload interrupted", "have", p.have, "size", p.size)
	p.unlink(nil)
	p.losses++
	p.env.Clock.After(max(0, p.patience()), ctx.Self(), detached{p.losses})
}

// unlink ends the conversation and forgets what came over it and was not
// given to the disk.
func (p *pull) unlink(reason error) {
	if p.link == nil {
		return
	}
	p.link.conv.Close(reason)
	for _, c := range p.link.ready {
		c.frame.Release()
	}
	p.link = nil
}

// checkFloor ends an upload that keeps its reservation and brings nothing. A
// job that is running is the disk's slowness, not the client's.
func (p *pull) checkFloor(ctx actor.Context, m floor) {
	if p.link != m.link || p.stage != receiving {
		return
	}
	if !p.busy && p.have-m.had < pullFloor {
		p.fail(ctx, errTooSlow)
		return
	}
	p.patience()
	p.env.Clock.After(pullCheck, ctx.Self(), floor{m.link, p.have})
}

// fail ends the upload: first its file goes, then its reservation, then the
// client is told.
func (p *pull) fail(ctx actor.Context, err error) {
	if p.failure != nil || p.stage == ended {
		return
	}
	p.failure = err
	if errors.Is(err, syscall.ENOSPC) {
		ctx.Send(p.ledger, diskFull{})
	}
	p.unlink(err)
	if p.stage == reserving || p.busy {
		return // goes on when the ledger, or the job, has answered
	}
	p.clean(ctx)
}

func (p *pull) clean(ctx actor.Context) {
	p.stage = ending
	p.discard(ctx.Self())
}

// discard deletes the file outside of Receive; to hears of it.
func (p *pull) discard(to *actor.PID) {
	if p.sink == nil {
		return
	}
	s, log := p.sink, p.log
	p.env.Exec.Do(env.Disk, to, func() any {
		if err := s.discard(); err != nil {
			log.Warn("an incoming file could not be deleted; the next start will", "error", err)
		}
		return discarded{}
	})
}

// cleaned ends the reservation; nothing of the upload is left.
func (p *pull) cleaned(ctx actor.Context) {
	ctx.Send(p.ledger, release{p.id.Column, p.id.Share})
	p.end(ctx)
}

// end tells whoever waits, and Storage.
func (p *pull) end(ctx actor.Context) {
	if p.have > 0 {
		ctx.Send(p.ledger, traffic{p.grant, lease.Traffic{In: p.have}})
	}
	if p.failure != nil {
		p.tellFailure(ctx)
	}
	for _, a := range p.abandons {
		ctx.Send(a.session, answer{request: a.request, message: &wire.Done{}})
	}
	p.stage, p.abandons = ended, nil
	ctx.Send(ctx.Parent(), pullEnded{p.id})
	for _, m := range p.stashed {
		ctx.Send(ctx.Parent(), m)
	}
	p.stashed = nil
}

func (p *pull) tellFailure(ctx actor.Context) {
	p.log.Log(context.Background(), severity(p.failure), "upload ended without a share", "error", p.failure, "have", p.have, "size", p.size)
	e := wireError(p.failure, mayReadUsage(p.grant))
	switch {
	case p.owed != nil:
		p.owed.answer(ctx, e)
	case p.to != nil:
		share := p.id.Share
		ctx.Send(p.to, notice{&wire.Stored{StorageIndex: share.StorageIndex, Num: share.Num, Code: e.Code, Text: e.Text}})
	}
	p.settled()
}

// abandoned gives the upload up, unless it is too late for that. Among those
// who upload for one account nobody ends what another began.
func (p *pull) abandoned(ctx actor.Context, m abandon) {
	switch {
	case p.stage == idle, p.stage == ended, uploader(m.grant) != uploader(p.grant):
		ctx.Send(m.session, answer{request: m.request, message: &wire.Done{}})
	case p.stage == committing:
		err := fmt.Errorf("%w: the share is just being made durable", errBusy)
		ctx.Send(m.session, answer{request: m.request, message: wireError(err, false)})
	default:
		p.abandons = append(p.abandons, m)
		p.fail(ctx, errAbandoned)
	}
}

// giveUp leaves nothing behind where the actor ends before the upload does. A
// file that a job is just writing is wiped at the next start.
func (p *pull) giveUp(ctx actor.Context) {
	p.unlink(errAbandoned)
	if p.stage == idle || p.stage == ended {
		return
	}
	if !p.busy {
		p.discard(nil)
	}
	ctx.Send(p.ledger, release{p.id.Column, p.id.Share})
	if p.failure == nil {
		p.failure = errInterrupted
	}
	p.tellFailure(ctx)
	p.stage = ended
}
