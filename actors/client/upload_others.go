package client

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// spare is the share of an offer, standing at another server for the case that
// it is passed on.
type spare struct {
	of    transfer.Offer
	ended *shareStored // came before the answer that it was passed on
}

// errPassedAway refuses a server that passes a share on to whom it was not
// allowed to.
var errPassedAway = fmt.Errorf("%w: the server passed the share on to one that was not named to it", errAnswer)

// standBy makes a standing offer to some servers that get nothing of the file,
// and names them.
func (u *upload) standBy(ctx actor.Context, at transfer.Offer) (others []wire.Other) {
	if !u.subcontract {
		return nil
	}
	for _, id := range u.core.Spare(at.Num, othersNamed) {
		to := transfer.Offer{Server: id, Num: at.Num}
		if u.spares[to] != nil || !u.servers[id].link.up {
			continue
		}
		secret := u.newSecret(to)
		u.spares[to] = &spare{of: at}
		ctx.Send(u.servers[id].pid, offerReader{secret, offeredReader{ctx.Self(), at.Num}})
		m := u.allocate(to, secret)
		m.Standing = true
		u.call(ctx, id, nil, m) // without it nothing can be passed on to the server, which is no harm
		others = append(others, wire.Other{Server: id, Secret: secret})
	}
	return others
}

// standDown takes back what stands by for an offer.
func (u *upload) standDown(ctx actor.Context, at transfer.Offer) {
	for _, id := range u.order {
		to := transfer.Offer{Server: id, Num: at.Num}
		if s := u.spares[to]; s != nil && s.of == at {
			delete(u.spares, to)
			u.withdraw(ctx, to)
		}
	}
}

// passedOn follows a share to where it was passed on, if that was allowed.
func (u *upload) passedOn(ctx actor.Context, at transfer.Offer, server grid.ServerID) {
	to := transfer.Offer{Server: server, Num: at.Num}
	s := u.spares[to]
	if s == nil || s.of != at {
		u.standDown(ctx, at)
		u.refused(ctx, at, errPassedAway)
		return
	}
	u.log.Info("share passed on", "server", at.Server.Short(), "share", at.Num, "to", server.Short())
	delete(u.spares, to)
	u.standDown(ctx, at)
	u.step(ctx, transfer.PassedOn{Server: at.Server, Num: at.Num, To: server})
	if s.ended != nil {
		u.shareStored(ctx, *s.ended)
	}
}
