package server

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// What comes whole and is small is stored by the facet itself, in one step of
// the ledger: no pull is needed, and nothing is reserved before.

// looked is what the disk and the verifier say of an offer.
type looked struct {
	offer offer
	held  []lease.StoredShare // of the file, where that was asked for
	body  *lease.Body         // verified; nil where it is to be pulled
	err   error
}

// Discard lets go of the bytes when the facet is gone.
func (l looked) Discard() { l.offer.frame.Release() }

// take looks at an offer that may be answered without a pull, and gives the
// others to Storage.
func (f *facet) take(ctx actor.Context, o offer) {
	store := f.config.Store
	whole := uint64(o.frame.BodySize()) == o.share.Size && int64(o.share.Size) <= store.SmallShare()
	if o.share.Standing || !whole && !o.share.IfNone {
		f.handOver(ctx, o)
		return
	}
	f.env.Exec.Do(env.Disk, ctx.Self(), func() any { return look(store, o, whole) })
}

func (f *facet) handOver(ctx actor.Context, o offer) {
	f.open--
	ctx.Send(f.peers.storage, o)
}

// look blocks.
func look(store Store, o offer, whole bool) looked {
	l := looked{offer: o}
	if o.share.IfNone {
		if l.held, l.err = store.ListShares(o.share.StorageIndex); l.err != nil || len(l.held) > 0 {
			return l
		}
	}
	if whole {
		l.body, l.err = verifyWhole(o.share.Num, o.frame.Bytes())
	}
	return l
}

// verifyWhole proves a share. The bytes are copied: the frame's are given back.
func verifyWhole(num grid.ShareNum, share []byte) (*lease.Body, error) {
	v := immutable.NewShareVerifier(num, int64(len(share)))
	if _, err := v.Write(share); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadShare, err)
	}
	hash, _, err := v.Finish()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadShare, err)
	}
	return &lease.Body{UEBHash: lease.UEBHash(hash), Size: int64(len(share)), Inline: append([]byte(nil), share...)}, nil
}

func (f *facet) looked(ctx actor.Context, l looked) {
	o := l.offer
	switch {
	case l.err == nil && len(l.held) == 0 && l.body == nil:
		f.handOver(ctx, o)
		return // its bytes are the pull's
	case l.err != nil:
		f.refuse(ctx, o.frame.ID, l.err)
	case len(l.held) > 0:
		f.finding[o.frame.ID] = l.held
		ctx.Send(f.peers.ledger, askRoom{ctx.Self(), o.frame.ID, f.grant, o.shareID()})
	default:
		ctx.Send(f.peers.ledger, put{ctx.Self(), o.frame.ID, f.grant, o.shareID(), *l.body})
	}
	if n := o.frame.BodySize(); n > 0 {
		ctx.Send(f.peers.ledger, traffic{f.grant, lease.Traffic{In: int64(n)}})
	}
	o.frame.Release()
}

// room answers an offer with what is there instead.
func (f *facet) room(ctx actor.Context, m room) {
	answer := &wire.Found{Room: uint64(m.bytes)}
	for _, s := range f.finding[m.tag][:min(len(f.finding[m.tag]), wire.MaxFoundShares)] {
		answer.Shares = append(answer.Shares, wire.FoundShare{Num: s.ID.Num, Size: uint64(s.Share.Size), UEBHash: s.Share.UEBHash})
	}
	delete(f.finding, m.tag)
	f.answer(ctx, m.tag, answer)
}

func (f *facet) stored(ctx actor.Context, m wasPut) {
	if m.err != nil {
		f.refuse(ctx, m.tag, m.err)
		return
	}
	state := wire.NowStored
	if m.done.Dropped {
		state = wire.AlreadyHere
	}
	f.answer(ctx, m.tag, &wire.Allocated{State: state, UEBHash: m.done.UEBHash})
}
