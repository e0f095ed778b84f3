package client

import (
	"io"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// wholeMade is a small file, encoded: all shares, by number.
type wholeMade struct {
	cap    file.CHKVerifier
	shares [][]byte
	err    error
}

// small reports whether shares are sent along with their offers.
func (u *upload) small() bool {
	return u.repair == nil && u.layout.NumSegments == 1 && u.layout.ShareSize <= wholeShare
}

func (u *upload) encodeWhole(ctx actor.Context) {
	source, spec, layout := u.source, u.put.File, u.layout
	source.use()
	u.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		defer source.done()
		c, shares, err := encodeWhole(source, spec, layout)
		return wholeMade{c, shares, err}
	})
}

// encodeWhole makes every share of a file of one segment.
func encodeWhole(source io.ReaderAt, spec PutSpec, l immutable.Layout) (file.CHKVerifier, [][]byte, error) {
	content := make([]byte, l.Size)
	if err := readSegment(source, 0, content); err != nil {
		return file.CHKVerifier{}, nil, err
	}
	e, err := spec.newEncoder(l)
	if err != nil {
		return file.CHKVerifier{}, nil, err
	}
	s, err := e.EncodeSegment(0, content)
	if err != nil {
		return file.CHKVerifier{}, nil, err
	}
	defer s.Release()
	if err := e.Add(s); err != nil {
		return file.CHKVerifier{}, nil, err
	}
	c, err := e.Finish()
	if err != nil {
		return file.CHKVerifier{}, nil, err
	}
	shares := make([][]byte, l.Total)
	for n := range shares {
		tail, err := e.Tail(grid.ShareNum(n))
		if err != nil {
			return file.CHKVerifier{}, nil, err
		}
		share := append(make([]byte, 0, l.ShareSize), e.Head()...)
		shares[n] = append(append(share, s.Blocks[n]...), tail...)
	}
	return c, shares, nil
}

func (u *upload) wholeMade(ctx actor.Context, m wholeMade) {
	u.whole, u.cap = m.shares, m.cap
	unsent := u.unsent
	u.unsent = nil
	for _, o := range unsent {
		u.offerWhole(ctx, o)
	}
	u.step(ctx, transfer.Encoded{UEBHash: m.cap.UEBHash})
}

// wholeOffer is a share that is sent along with its offer.
type wholeOffer struct {
	transfer.Offer
	ifNone bool // only for a server that holds nothing of the file
}

// offerWhole sends a small share along with its offer, once it is encoded.
func (u *upload) offerWhole(ctx actor.Context, o wholeOffer) {
	if u.whole == nil {
		u.unsent = append(u.unsent, o)
		return
	}
	var secret wire.Secret
	_, _ = u.env.Rand.Read(secret[:]) // never fails
	m := u.allocate(o.Offer, secret)
	m.IfNone = o.ifNone
	u.send(ctx, o.Server, offerTag{o.Offer, o.ifNone}, wire.Frame{Message: m}.WithBody(nil, u.whole[o.Num]))
}
