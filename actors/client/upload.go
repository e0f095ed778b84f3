package client

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Content is that of a file that is being stored.
type Content interface {
	// ReaderAt is used by several goroutines at a time. It gives the same
	// bytes whenever it is asked.
	io.ReaderAt
	io.Closer
}

// PutSpec says what to store and how.
type PutSpec struct {
	Source Content // closed when the upload has ended and nobody reads it any more
	Size   int64   // bytes, more than file.LITThreshold
	Key    file.Key
	Params file.Params
	// Ciphertext says that Source was encrypted by somebody else, who has the
	// key and keeps the leases alive; StorageIndex then names the file's shares.
	// Shares that are there already are counted and get no lease: who stores
	// for others may do no more than that.
	Ciphertext   bool
	StorageIndex grid.StorageIndex
	// Helper, if not nil, gets the ciphertext once and places the shares.
	// OrDirectly has them stored from here where it does not.
	Helper     *transport.Target
	OrDirectly bool
}

// si names the file's shares.
func (p PutSpec) si() grid.StorageIndex {
	if p.Ciphertext {
		return p.StorageIndex
	}
	return p.Key.StorageIndex()
}

// newEncoder is of what the source holds.
func (p PutSpec) newEncoder(l immutable.Layout) (*immutable.Encoder, error) {
	if p.Ciphertext {
		return immutable.NewCiphertextEncoder(l, p.StorageIndex)
	}
	return immutable.NewEncoder(l, p.Key)
}

// Progress tells how many bytes of a file have been encoded in this pass.
type Progress struct{ Done, Total int64 }

// Stored answers Put.
type Stored struct {
	Cap       file.CHKVerifier
	Placement map[grid.ShareNum][]grid.ServerID
	// Pushed shares are new, Found ones were there.
	Pushed, Found int
	Happiness     int
	// Labels is whose leases the shares have, by server.
	Labels map[grid.ServerID]grid.PublicKey
	// LeftOut are the servers that were not asked, by id; after a repair also those
	// that got nothing more.
	LeftOut []LeftOut
	// NotHelped is why a helper did not do what it was to do, and the shares were
	// stored from here.
	NotHelped error
}

// upload stores one file: it offers share readers, encodes as servers pull,
// and finds other places for shares that fail.
//
// Owns: where each share goes, the segments that are held encoded, the secrets of its share readers.
// On failure: ends with an error; servers drop what they had of it, and nothing that was stored before is harmed.
type upload struct {
	env     *env.Env
	log     *slog.Logger
	broker  *actor.PID
	journal Journal
	put     Put
	layout  immutable.Layout
	source  *sharedSource
	known   *file.CHKVerifier // what will come of it, if not nil
	repair  *repairing        // instead of source
	asked   time.Time         // for servers

	core    *transfer.Upload
	servers map[grid.ServerID]*uploadPeer
	order   []grid.ServerID
	left    []LeftOut
	secrets map[transfer.Offer]wire.Secret
	spares  map[transfer.Offer]*spare
	pass    *pass
	early   []readerAsked // before the pass began
	whole   [][]byte      // all shares, when the file is small
	unsent  []wholeOffer  // until then
	cap     file.CHKVerifier
	ended   bool

	answered bool // whoever asked waits for nothing more

	subcontract bool // servers may pass shares on
}

// uploadPeer is a server that may get shares.
type uploadPeer struct {
	candidate
	subscribed bool
	link       linkState // of the candidate, until there is news
}

// sharedSource closes the file when its last user is done: reading goes on in
// the executor for a moment after the upload has ended.
type sharedSource struct {
	Content
	users atomic.Int32
}

func (s *sharedSource) use() { s.users.Add(1) }

func (s *sharedSource) done() {
	if s.users.Add(-1) == 0 {
		_ = s.Close() // it was only read
	}
}

func newUpload(e *env.Env, c Config, broker *actor.PID, log *slog.Logger, m Put) env.Producer {
	source := &sharedSource{Content: m.File.Source}
	source.use()
	return newUploadOf(e, c, broker, log, m, source, nil)
}

// newUploadOf stores what is known as the file of a capability, if that is not
// nil: its shares are most likely there already.
func newUploadOf(e *env.Env, c Config, broker *actor.PID, log *slog.Logger, m Put, source *sharedSource, known *file.CHKVerifier) env.Producer {
	return func() actor.Actor {
		return &upload{
			env: e, log: log, broker: broker, journal: c.Journal, put: m, source: source, known: known, servers: map[grid.ServerID]*uploadPeer{},
			secrets: map[transfer.Offer]wire.Secret{}, spares: map[transfer.Offer]*spare{},
			subcontract: c.Subcontract && !m.File.Ciphertext,
		}
	}
}

// newRepairUpload makes the shares of a file once more, from those that are
// there.
func newRepairUpload(e *env.Env, c Config, broker *actor.PID, log *slog.Logger, m Put, r repairing) env.Producer {
	return func() actor.Actor {
		fresh := r
		return &upload{
			env: e, log: log, broker: broker, journal: c.Journal, put: m, known: &r.cap, repair: &fresh, servers: map[grid.ServerID]*uploadPeer{},
			secrets: map[transfer.Offer]wire.Secret{}, spares: map[transfer.Offer]*spare{}, subcontract: c.Subcontract,
		}
	}
}

type (
	tick struct{}
	// journalled ends an upload.
	journalled struct {
		answer Stored
		err    error
	}
)

// Tags of calls to servers.
type (
	askTag   struct{ server grid.ServerID }
	offerTag struct {
		transfer.Offer
		tried bool
	}
	leaseTag struct{ transfer.Offer }
)

// Receive implements actor.Actor.
func (u *upload) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		u.start(ctx)
	case candidateList:
		u.begin(ctx, m)
	case Reply:
		u.reply(ctx, m)
	case linkState:
		u.linkState(ctx, m)
	case shareStored:
		u.shareStored(ctx, m)
	case readerAsked:
		u.readerAsked(ctx, m)
	case segmentEncoded, segmentAdded, passFinished, tailMade, wholeMade:
		u.encodedSomething(ctx, m)
	case brokerUp:
		u.brokerUp(ctx, m)
	case Piece:
		u.pieceRead(ctx, m)
	case badShare:
		ctx.Send(u.put.ReplyTo, m)
	case error:
		u.fail(ctx, m)
	case tick:
		u.tick(ctx)
	case journalled:
		u.answer(ctx, m)
	case *actor.Terminated:
		u.serverEnded(ctx, m.Who)
	case Cancel:
		u.answered = true
		u.withdrawAll(ctx)
		ctx.Stop(ctx.Self())
	case *actor.Restarting:
		// What was under way is lost with this incarnation: the next one only
		// ends.
		u.interrupted(ctx)
		ctx.Stop(ctx.Self())
		u.withdrawAll(ctx)
		u.unwatch(ctx)
	case *actor.Stopping:
		u.interrupted(ctx)
		u.unwatch(ctx)
	case *actor.Stopped:
		u.release()
	}
}

func (u *upload) start(ctx actor.Context) {
	if u.repair != nil {
		u.layout = u.repair.Layout
	} else if layout, err := immutable.NewLayout(u.put.File.Size, u.put.File.Params); err == nil {
		u.layout = layout
	} else {
		u.fail(ctx, err)
		return
	}
	u.askBroker(ctx)
	u.env.Clock.After(tickInterval, ctx.Self(), tick{})
}

func (u *upload) askBroker(ctx actor.Context) {
	u.asked = u.env.Clock.Now()
	ctx.Send(u.broker, candidates{replyTo: ctx.Self(), si: u.si(), want: u.put.File.Params.Happy, storing: true})
}

// brokerUp asks a broker again that failed.
func (u *upload) brokerUp(ctx actor.Context, m brokerUp) {
	if u.core == nil && !u.ended {
		u.askBroker(ctx)
	}
	if u.repair != nil && u.repair.reader != nil {
		ctx.Send(u.repair.reader, m)
	}
}

// begin starts the decisions once the servers are known. A small file is
// encoded meanwhile.
func (u *upload) begin(ctx actor.Context, m candidateList) {
	if u.core != nil {
		return // it was asked twice
	}
	u.left = m.left
	for _, c := range m.servers {
		u.servers[c.id] = &uploadPeer{candidate: c, link: linkState{c.id, true, c.generation}}
		u.order = append(u.order, c.id)
	}
	p := u.put.File
	spec := transfer.UploadSpec{
		ShareSize: uint64(u.layout.ShareSize), Happy: p.Params.Happy, Total: p.Params.Total, Order: u.order,
		Whole: u.small(), AnswerPatience: answerPatience, LinkPatience: linkPatience, PullPatience: pullPatience, PullFloor: pullFloor,
	}
	if u.known != nil {
		u.cap, spec.Known = *u.known, (*[32]byte)(&u.known.UEBHash)
	}
	if u.repair != nil {
		spec.Repair = u.repair.survey(u.order)
	}
	u.core = transfer.NewUpload(spec)
	if u.small() {
		u.encodeWhole(ctx)
	}
	u.carryOut(ctx, u.core.Start())
}

// step lets the decisions know of something and does what they want.
func (u *upload) step(ctx actor.Context, ev transfer.UploadEvent) {
	if !u.ended {
		u.carryOut(ctx, u.core.Step(u.env.Clock.Now(), ev))
	}
}

func (u *upload) carryOut(ctx actor.Context, effects []transfer.UploadEffect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case transfer.Ask:
			u.call(ctx, e.Server, askTag{e.Server}, &wire.Find{StorageIndex: u.si()})
		case transfer.Try:
			u.offerWhole(ctx, wholeOffer{transfer.Offer(e), true})
		case transfer.Offer:
			u.offer(ctx, e)
		case transfer.Lease:
			if u.put.File.Ciphertext {
				ctx.Send(ctx.Self(), Reply{Tag: leaseTag{transfer.Offer(e)}, Frame: wire.Frame{Message: &wire.Leased{Count: 1}}})
				continue
			}
			u.call(ctx, e.Server, leaseTag{transfer.Offer(e)}, &wire.AddLease{StorageIndex: u.si(), Nums: []grid.ShareNum{e.Num}, UEBHash: u.cap.UEBHash})
		case transfer.Withdraw:
			u.withdraw(ctx, transfer.Offer(e))
		case transfer.Encode:
			u.startPass(ctx)
		case transfer.Finished:
			u.finish(ctx, e)
		case transfer.Failed:
			u.fail(ctx, &UploadError{Err: e.Err, Reasons: u.reasons(e.Reasons)})
		}
	}
}

func (u *upload) si() grid.StorageIndex {
	if u.repair != nil {
		return u.repair.cap.StorageIndex
	}
	return u.put.File.si()
}

func (u *upload) call(ctx actor.Context, to grid.ServerID, tag any, m wire.Message) {
	u.send(ctx, to, tag, wire.Frame{Message: m})
}

func (u *upload) send(ctx actor.Context, to grid.ServerID, tag any, f wire.Frame) {
	peer := u.servers[to]
	if !peer.subscribed {
		peer.subscribed = true
		ctx.Watch(peer.pid)
		ctx.Send(peer.pid, subscribe{ctx.Self()})
	}
	ctx.Send(peer.pid, Call{ReplyTo: ctx.Self(), Tag: tag, Frame: f})
}

// offer shows a share to a server: whole if the file is small, else as a share
// reader that the server pulls.
func (u *upload) offer(ctx actor.Context, at transfer.Offer) {
	if u.small() {
		u.offerWhole(ctx, wholeOffer{Offer: at})
		return
	}
	secret, again := u.secrets[at]
	if !again {
		secret = u.newSecret(at)
	}
	ctx.Send(u.servers[at.Server].pid, offerReader{secret, offeredReader{ctx.Self(), at.Num}})
	m := u.allocate(at, secret)
	if !again {
		m.Others = u.standBy(ctx, at)
	}
	u.call(ctx, at.Server, offerTag{Offer: at}, m)
}

func (u *upload) newSecret(at transfer.Offer) (secret wire.Secret) {
	_, _ = u.env.Rand.Read(secret[:]) // never fails
	u.secrets[at] = secret
	return secret
}

func (u *upload) allocate(at transfer.Offer, secret wire.Secret) *wire.Allocate {
	m := &wire.Allocate{StorageIndex: u.si(), Num: at.Num, Size: uint64(u.layout.ShareSize), Secret: secret}
	if !u.small() {
		m.Window = uint64(int64(u.windowSegments()-1) * u.layout.BlockSize) // the first segment may be done but for a byte
	}
	return m
}

func (u *upload) withdraw(ctx actor.Context, at transfer.Offer) {
	if secret, ok := u.secrets[at]; ok {
		ctx.Send(u.servers[at.Server].pid, withdrawReader{secret})
		delete(u.secrets, at)
	}
	u.call(ctx, at.Server, nil, &wire.Abandon{StorageIndex: u.si(), Num: at.Num})
	u.leave(ctx, at)
}

// withdrawAll ends the decisions and takes back what is not stored.
func (u *upload) withdrawAll(ctx actor.Context) {
	if !u.ended && u.core != nil {
		u.carryOut(ctx, u.core.Cancel())
	}
	u.ended = true
}

// unwatch has server actors forget this one: a watcher that is kept keeps
// everything that it has, long after its own end.
func (u *upload) unwatch(ctx actor.Context) {
	for _, id := range u.order {
		if p := u.servers[id]; p.subscribed {
			ctx.Unwatch(p.pid)
		}
	}
}

// serverEnded takes the end of a server actor for the end of its link.
func (u *upload) serverEnded(ctx actor.Context, who *actor.PID) {
	for _, id := range u.order {
		if u.servers[id].pid.Equal(who) {
			u.linkState(ctx, linkState{server: id})
		}
	}
}

// reply turns a server's answer into an event.
func (u *upload) reply(ctx actor.Context, m Reply) {
	m.Frame.Release()
	switch tag := m.Tag.(type) {
	case askTag:
		u.found(ctx, tag.server, m)
	case offerTag:
		u.offered(ctx, tag, m)
	case leaseTag:
		if l, ok := m.Frame.Message.(*wire.Leased); !ok || l.Count == 0 {
			u.refused(ctx, tag.Offer, unexpected(m))
			return
		}
		u.step(ctx, transfer.Leased{Server: tag.Server, Num: tag.Num})
	}
}

func (u *upload) found(ctx actor.Context, id grid.ServerID, m Reply) {
	f, ok := m.Frame.Message.(*wire.Found)
	if !ok {
		u.step(ctx, transfer.NoAnswer{Server: id, Err: unexpected(m)})
		return
	}
	u.holds(ctx, id, f)
}

func (u *upload) holds(ctx actor.Context, id grid.ServerID, f *wire.Found) {
	shares := map[grid.ShareNum][32]byte{}
	for _, s := range f.Shares {
		shares[s.Num] = s.UEBHash
	}
	u.step(ctx, transfer.Holds{Server: id, Shares: shares, Room: f.Room})
}

func (u *upload) offered(ctx actor.Context, tag offerTag, m Reply) {
	at := tag.Offer
	if p, ok := m.Frame.Message.(*wire.PassedOn); ok {
		u.passedOn(ctx, at, p.Server)
		return
	}
	u.standDown(ctx, at)
	if f, ok := m.Frame.Message.(*wire.Found); ok && tag.tried {
		u.holds(ctx, at.Server, f)
		return
	}
	a, ok := m.Frame.Message.(*wire.Allocated)
	if !ok {
		u.refused(ctx, at, unexpected(m))
		return
	}
	if a.State == wire.Coming && u.small() {
		u.refused(ctx, at, errAskedAgain)
		return
	}
	if a.State == wire.AlreadyHere {
		u.step(ctx, transfer.Here{Server: at.Server, Num: at.Num, UEBHash: a.UEBHash})
		return
	}
	u.step(ctx, transfer.Taken{Server: at.Server, Num: at.Num, UEBHash: a.UEBHash, Stored: a.State == wire.NowStored})
}

func (u *upload) refused(ctx actor.Context, at transfer.Offer, err error) {
	u.log.Info("share refused", "server", at.Server.Short(), "share", at.Num, "error", err)
	u.step(ctx, transfer.Refused{Server: at.Server, Num: at.Num, Err: err, LinkLost: isLinkLoss(err)})
}

func (u *upload) linkState(ctx actor.Context, m linkState) {
	p := u.servers[m.server]
	before := p.link
	p.link = m
	if before.up && (!m.up || m.generation != before.generation) {
		u.step(ctx, transfer.LinkDown{Server: m.server})
	}
	if m.up && (!before.up || m.generation != before.generation) {
		u.step(ctx, transfer.LinkUp{Server: m.server})
	}
}

func (u *upload) shareStored(ctx actor.Context, m shareStored) {
	if m.notice.StorageIndex != u.si() {
		return
	}
	if s := u.spares[transfer.Offer{Server: m.server, Num: m.notice.Num}]; s != nil {
		s.ended = &m
		return
	}
	var err error
	if m.notice.Code != 0 {
		err = wire.NewError(m.notice.Code, m.notice.Text)
	}
	if err != nil {
		u.log.Info("share failed", "server", m.server.Short(), "share", m.notice.Num, "error", err)
	}
	u.leave(ctx, transfer.Offer{Server: m.server, Num: m.notice.Num})
	u.step(ctx, transfer.Kept{Server: m.server, Num: m.notice.Num, UEBHash: m.notice.UEBHash, Err: err})
}

// tick lets time pass, and asks servers for the state of their links again in
// case one of them was restarted.
func (u *upload) tick(ctx actor.Context) {
	switch {
	case u.ended:
		return
	case u.core == nil && u.env.Clock.Now().Sub(u.asked) > 2*settleTime:
		u.askBroker(ctx) // it failed and forgot us
	}
	for _, id := range u.order {
		if p := u.servers[id]; p.subscribed {
			ctx.Send(p.pid, subscribe{ctx.Self()})
		}
	}
	if u.core != nil {
		u.dropLaggards(ctx)
		u.step(ctx, transfer.Tick{})
	}
	u.env.Clock.After(tickInterval, ctx.Self(), tick{})
}
