package server

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// To the ledger. A tag is repeated in the answer.
type (
	// reserve asks for room for an upload; answered by reserved.
	reserve struct {
		replyTo *actor.PID
		grant   lease.Grant
		id      lease.ShareID
		size    int64
	}
	// commit asks to make a verified share STABLE; answered by committed.
	commit struct {
		replyTo *actor.PID
		column  lease.Column
		id      lease.ShareID
		body    lease.Body
	}
	// put asks to store a share that is all here; answered by wasPut.
	put struct {
		replyTo *actor.PID
		tag     uint64
		grant   lease.Grant
		id      lease.ShareID
		body    lease.Body
	}
	// reserveWrite asks for room for a share that is on its way to be written;
	// answered by reservedWrite. mutate writes shares; answered by mutated.
	reserveWrite struct {
		replyTo *actor.PID
		grant   lease.Grant
		id      lease.ShareID
		enabler lease.WriteEnabler
		size    int64
		secret  wire.Secret
	}
	mutate struct {
		replyTo *actor.PID
		grant   lease.Grant
		of      tried
	}
	// release ends an upload's reservation.
	release struct {
		column lease.Column
		id     lease.ShareID
	}
	// workOnLeases does the same to many leases; answered by leased.
	workOnLeases struct {
		replyTo   *actor.PID
		tag       uint64
		grant     lease.Grant
		ids       []lease.ShareID
		work      leaseWork
		content   *lease.UEBHash // of the shares to be leased; nil is any
		collector *actor.PID     // deletes what no lease keeps any more
		done      leased         // of the ids before these
	}
	// askUsage is answered by usage, askBelow by below, askRoom by room.
	askUsage struct {
		replyTo *actor.PID
		tag     uint64
		grant   lease.Grant
	}
	askBelow struct {
		replyTo *actor.PID
		tag     uint64
		grant   lease.Grant
		of      wire.UsageBelow
	}
	askRoom struct {
		replyTo *actor.PID
		tag     uint64
		grant   lease.Grant
		of      lease.ShareID // its storage index
	}
	// traffic counts bytes that moved; the zero grant is the server's own
	// budget.
	traffic struct {
		grant lease.Grant
		moved lease.Traffic
	}
	// expire ends those of the leases that have expired; answered by expired, for
	// each turn that it takes.
	expire struct {
		replyTo *actor.PID
		leases  []lease.LeaseID
	}
	// cancelUnder ends leases under a root that the operator removed, if they
	// are still to be; answered as expire is. endCancelling says that there are
	// no more.
	cancelUnder struct {
		replyTo *actor.PID
		root    grid.PublicKey
		leases  []lease.LeaseID
	}
	endCancelling struct{ root grid.PublicKey }
	// adopt gives a share that was found on the disk a starter lease.
	adopt struct {
		id   lease.ShareID
		body lease.Body
	}
	// diskFull says that a write found no room.
	diskFull struct{}
	// forgetTraffic deletes a counter's days before one.
	forgetTraffic struct {
		of     lease.CounterKey
		before lease.Day
	}
	// gone says that the bytes of shares are deleted.
	gone struct{ shares []lease.GoingShare }
)

// From the ledger.
type (
	// bar ends an upload that may not go on, by way of Storage.
	bar struct {
		id  lease.LeaseID
		err error
	}
	// collectSoon tells the collector, by way of Storage, that there are leases
	// to be cancelled.
	collectSoon struct{}
	// ledgerUp tells its parent that it has begun, with nothing reserved.
	ledgerUp struct{ managers managers }
	// managers tells its parent the keys whose certificates are good here, by
	// key, whenever a root has changed.
	managers []grid.PublicKey
	reserved struct {
		alreadyHere bool
		content     lease.UEBHash // of what is here
		err         error
	}
	committed struct {
		done lease.Committed
		err  error
	}
	wasPut struct {
		tag  uint64
		done lease.Committed
		err  error
	}
	reservedWrite struct {
		secret wire.Secret
		err    error
	}
	mutated struct {
		of   tried
		done lease.Mutated
		err  error
	}
	leased struct {
		tag     uint64
		count   uint
		expires int64 // the earliest
		// outcomes has a byte for each lease, where that was asked for.
		outcomes []byte
		err      error
	}
	usage struct {
		tag    uint64
		report *wire.UsageReport
		err    error
	}
	below struct {
		tag  uint64
		page wire.UsagePage
		err  error
	}
	room struct {
		tag   uint64
		bytes int64
	}
	// expired is shares that have no lease any more; last says that nothing more
	// comes of an expire or cancelUnder.
	expired struct {
		going []lease.GoingShare
		last  bool
		err   error
	}
)

// leaseWork is what is done to leases.
type leaseWork uint8

const (
	addLeases leaseWork = iota
	renewLeases
	cancelLeases
)

// To a session, from its facet or a pull.
type (
	// answer answers one of the client's requests.
	answer struct {
		request uint64
		message wire.Message
		body    []byte
	}
	// notice tells the client something that it did not ask for just now.
	notice struct{ message wire.Message }
)

// To the facet, from its session: a request that needs a login.
type request struct {
	frame wire.Frame
	log   *slog.Logger
}

// To Storage, and on to a pull: offer is an Allocate, abandon an Abandon.
type (
	offer struct {
		session *actor.PID
		conn    transport.Session
		grant   lease.Grant
		share   wire.Allocate
		frame   wire.Frame // its body is the share's beginning
		log     *slog.Logger
		passed  *passOn // by another server, which is answered instead
		stays   bool    // it is not to be passed on
	}
	abandon struct {
		session *actor.PID
		request uint64
		grant   lease.Grant
		id      lease.LeaseID
	}
)

// leaseID is what the offer is about: no account uploads a share twice at a
// time.
func (o *offer) leaseID() lease.LeaseID {
	return lease.LeaseID{Column: o.grant.Column(), Share: o.shareID()}
}

func (o *offer) shareID() lease.ShareID {
	return lease.ShareID{StorageIndex: o.share.StorageIndex, Num: o.share.Num}
}

// uploader is the key that acts under a grant: that of the last certificate,
// zero for a client without one.
func uploader(g lease.Grant) grid.PublicKey {
	if len(g.Keys) == 0 {
		return grid.PublicKey{}
	}
	return g.Keys[len(g.Keys)-1]
}

// refuse answers the offer with an error and lets its bytes go.
func (o *offer) refuse(ctx actor.Context, err error) {
	o.answer(ctx, wireError(err, mayReadUsage(o.grant)))
}

func (o *offer) answer(ctx actor.Context, m wire.Message) {
	if o.passed != nil {
		o.answerPassed(ctx, m)
		return
	}
	ctx.Send(o.session, answer{request: o.frame.ID, message: m})
}
