package tarn

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// askServer asks a server that this node is logged in to. The answer's body is
// the caller's.
func askServer[M wire.Message](ctx context.Context, n *Node, s client.ServerStatus, m wire.Message, body ...[]byte) (M, []byte, error) {
	var none M
	if s.State != client.LoggedIn {
		if s.Err != nil {
			return none, nil, fmt.Errorf("%w: %w", client.ErrNotConnected, s.Err)
		}
		return none, nil, client.ErrNotConnected
	}
	reply, err := env.Ask[client.Reply](ctx, n.system, s.PID, func(replyTo *env.PID) any {
		return client.Call{ReplyTo: replyTo, Frame: wire.Frame{Message: m}.WithBody(nil, body...)}
	}, nil)
	if err = errors.Join(err, reply.Err); err != nil {
		return none, nil, n.cause(err)
	}
	defer reply.Frame.Release()
	answer, ok := reply.Frame.Message.(M)
	if !ok {
		return none, nil, fmt.Errorf("unexpected answer %T", reply.Frame.Message)
	}
	return answer, slices.Clone(reply.Frame.Bytes()), nil
}

// onShares has a server renew, or give up, leases on shares, of which there may
// be any number. Each outcome is told, in order; the end is that of the last
// leases that were renewed.
func onShares(ctx context.Context, n *Node, s client.ServerStatus, renew bool, ids []lease.ShareID) (outcomes []wire.ShareOutcome, end int64, err error) {
	for part := range slices.Chunk(ids, wire.MaxShares) {
		body := make([]byte, 0, len(part)*wire.ShareSize)
		for _, id := range part {
			body = wire.AppendShare(body, id)
		}
		var m wire.Message = &wire.CancelShares{Count: uint(len(part))}
		if renew {
			m = &wire.RenewShares{Count: uint(len(part))}
		}
		done, answer, err := askServer[*wire.SharesDone](ctx, n, s, m, body)
		if err == nil && len(answer) != len(part) {
			err = fmt.Errorf("outcomes for %d shares where %d were asked about", len(answer), len(part))
		}
		if err != nil {
			return outcomes, end, err
		}
		for _, b := range answer {
			outcomes = append(outcomes, wire.ShareOutcome(b))
		}
		end = done.Expires
	}
	return outcomes, end, nil
}

// numbersAt is which shares of a file a server has, with the hash of their
// content.
func numbersAt(ctx context.Context, n *Node, s client.ServerStatus, si grid.StorageIndex) (map[grid.ShareNum][32]byte, error) {
	found, _, err := askServer[*wire.Found](ctx, n, s, &wire.Find{StorageIndex: si})
	if err != nil {
		return nil, err
	}
	have := map[grid.ShareNum][32]byte{}
	for _, share := range found.Shares {
		have[share.Num] = share.UEBHash
	}
	return have, nil
}
