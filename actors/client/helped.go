package client

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ErrHelper is why a file was not stored through a helper.
var ErrHelper = errors.New("the helper did not store the file")

// helped stores one file through a helper: it sends the ciphertext once, with
// certificates for this file alone, and encodes beside that, so that it knows
// what must come of it. When the helper says that the shares are stored, an
// ordinary upload looks for them, takes over their leases, and stores what is
// missing. Where the helper fails, that upload stores all of it if it may.
//
// Owns: the connection to the helper and its identity, how much of the ciphertext went there, the encoder.
// On failure: ends with an error; the helper keeps what it has, and who puts the file again goes on from there.
type helped struct {
	env           *env.Env
	log           *slog.Logger
	config        Config
	broker, vault *actor.PID
	put           Put
	source        *sharedSource
	layout        immutable.Layout
	asked         time.Time // for servers
	servers       candidateList
	chains        [][]byte
	job           wire.Secret // names the file at the helper, between it and this account

	encoder  *immutable.Encoder
	added    int64 // segments that are in the hashes
	encoding bool
	known    *file.CHKVerifier // once all are
	sending  *heldSegment      // of which some is still to be sent

	link     *link
	lost     error     // why the last connection ended
	heard    time.Time // anything from the helper
	met      bool      // it works on the file, or did
	course   course
	sent     uint64
	requests uint64
	backoff  backoff
	again    bool // what came of it first was something else
	anew     bool // it is still to be told so
	result   wire.Helped

	upload   *actor.PID // looks for the shares
	failed   error      // why that stores them
	answered bool
}

func newHelped(e *env.Env, c Config, broker, vault *actor.PID, log *slog.Logger, m Put) env.Producer {
	source := &sharedSource{Content: m.File.Source}
	source.use()
	return func() actor.Actor {
		return &helped{
			env: e, log: log.With("helper", m.File.Helper.Server.Short()), config: c, broker: broker, vault: vault,
			put: m, source: source, backoff: backoff{env: e},
		}
	}
}

type (
	// ciphertextMade is segment i encoded; it is in the hashes now.
	ciphertextMade struct {
		segment *immutable.Segment
		err     error
	}
	hashed struct {
		known file.CHKVerifier
		err   error
	}
	dialHelper struct{}
)

// Discard lets a segment go that nobody waits for any more.
func (m ciphertextMade) Discard() {
	if m.segment != nil {
		m.segment.Release()
	}
}

// Receive implements actor.Actor.
func (h *helped) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		h.start(ctx)
	case candidateList:
		h.delegate(ctx, m)
	case grants:
		h.begin(ctx, m)
	case dialHelper:
		h.dial(ctx)
	case linkEvent:
		h.linkEvent(ctx, m)
	case ciphertextMade:
		h.made(ctx, m)
	case hashed:
		h.hashed(ctx, m)
	case brokerUp:
		if h.chains == nil && !h.answered && h.upload == nil {
			h.askBroker(ctx)
		}
	case tick:
		h.tick(ctx)
	case Progress:
		ctx.Send(h.put.ReplyTo, m)
	case Stored:
		h.stored(ctx, m)
	case error:
		h.end(ctx, m)
	case Cancel:
		h.cancel(ctx)
	case *actor.Restarting:
		h.end(ctx, fmt.Errorf("store the file: %w", ErrInterrupted))
		h.letGo()
	case *actor.Stopping:
		if !h.answered {
			h.answered = true
			ctx.Send(h.put.ReplyTo, fmt.Errorf("store the file: %w", ErrInterrupted))
		}
	case *actor.Stopped:
		h.letGo()
		source := h.source
		h.env.Exec.Do(env.Disk, nil, func() any {
			source.done()
			return nil
		})
	}
}

func (h *helped) start(ctx actor.Context) {
	p := h.put.File
	var err error
	if h.layout, err = immutable.NewLayout(p.Size, p.Params); err == nil {
		h.encoder, err = p.newEncoder(h.layout)
	}
	if err != nil {
		h.end(ctx, err)
		return
	}
	h.askBroker(ctx)
	h.env.Clock.After(tickInterval, ctx.Self(), tick{})
}

func (h *helped) askBroker(ctx actor.Context) {
	h.asked = h.env.Clock.Now()
	ctx.Send(h.broker, candidates{replyTo: ctx.Self(), si: h.put.File.si(), want: h.put.File.Params.Happy, storing: true})
}

// delegate has the helper's key signed for the servers that may get shares.
func (h *helped) delegate(ctx actor.Context, m candidateList) {
	h.servers = m
	ctx.Send(h.vault, signGrants{
		replyTo: ctx.Self(), helper: h.put.File.Helper.Server.Key(), si: h.put.File.si(), servers: m.servers,
		maxSize: h.layout.ShareSize, until: h.env.Clock.Now().Truncate(grantStep).Add(grantTime).Unix(),
	})
}

// begin connects to the helper, if there are servers enough that it may use.
func (h *helped) begin(ctx actor.Context, m grants) {
	if h.chains != nil {
		return // it was asked twice
	}
	p := h.put.File
	if n := len(m.chains); n < p.Params.Happy {
		reasons := map[grid.ServerID]error{}
		for _, l := range h.servers.left {
			reasons[l.Server] = l.Err
		}
		few := &placement.TooFewServers{
			Happy: p.Params.Happy, Happiness: n, Reachable: len(h.servers.servers), Writable: n, Total: p.Params.Total,
		}
		h.end(ctx, &UploadError{few, reasons})
		return
	}
	h.chains, h.job = m.chains, m.job
	h.course = course{size: uint64(p.Size), moved: h.env.Clock.Now()}
	h.dial(ctx)
}

func (h *helped) dial(ctx actor.Context) {
	if h.link == nil && h.upload == nil {
		h.heard = h.env.Clock.Now()
		h.link = dial(h.env, ctx.Self(), h.config.Dialer, *h.put.File.Helper, false)
	}
}

func (h *helped) linkEvent(ctx actor.Context, m linkEvent) {
	if m.link != h.link {
		m.Discard()
		return
	}
	switch e := m.event.(type) {
	case linkOpen:
		h.link.open(e.session, transport.Helping)
		h.requests = 1
		h.link.send(wire.Frame{ID: 1, Message: &wire.Hello{Version: wire.Version, MaxRequests: helpWindow}})
		h.ask()
	case linkFrame:
		e.frame.Release()
		h.link.grant(1)
		h.hear(ctx, e.frame)
	case linkClosed:
		h.hangUp(ctx, e.err)
	}
}

// ask asks for help, at first and over each new connection.
func (h *helped) ask() {
	p := h.put.File
	h.requests++
	h.course.ask(h.requests)
	h.link.send(wire.Frame{ID: h.requests, Message: &wire.AskHelp{
		Job: h.job, StorageIndex: p.si(), Size: uint64(p.Size), Anew: h.anew, Chains: h.chains,
		Needed: uint(p.Params.Needed), Happy: uint(p.Params.Happy), Total: uint(p.Params.Total), SegmentSize: uint64(p.Params.SegmentSize),
	}})
}

// hangUp ends the connection and tries again later, unless the helper was never
// reached or has not come on for too long.
func (h *helped) hangUp(ctx actor.Context, err error) {
	h.log.Info("the helper is not connected", "error", err)
	unreached := !h.met && h.link.session == nil
	h.hush()
	h.lost = err
	switch {
	case unreached || errors.Is(err, transport.ErrRefused) || errors.Is(err, transport.ErrWrongServer):
		h.giveUp(ctx, fmt.Errorf("it can't be reached: %w", err))
	case h.course.late(h.env.Clock.Now()):
		h.giveUp(ctx, h.lateness())
	default:
		h.env.Clock.After(min(h.backoff.next(), helperSilence/4), ctx.Self(), dialHelper{})
	}
}

// lateness is why nobody waits any longer.
func (h *helped) lateness() error {
	if h.lost != nil && h.course.state == 0 {
		return fmt.Errorf("it did not go on within %v: %w", h.course.patience(), h.lost)
	}
	return fmt.Errorf("it did not go on within %v", h.course.patience())
}

// hush ends the connection.
func (h *helped) hush() {
	h.link.close()
	h.link = nil
	h.course.ask(0)
	h.drop()
}

// drop forgets the segment that was being sent.
func (h *helped) drop() {
	if h.sending != nil {
		h.sending.done()
		h.sending = nil
	}
}

// tick lets time pass: who says nothing is asked again.
func (h *helped) tick(ctx actor.Context) {
	now := h.env.Clock.Now()
	switch {
	case h.answered || h.upload != nil:
		return
	case h.chains == nil:
		if now.Sub(h.asked) > 2*settleTime {
			h.askBroker(ctx) // it failed and forgot us
		}
	case h.course.ours():
		h.heard, h.course.moved = now, now
	case h.course.late(now):
		h.giveUp(ctx, h.lateness())
	case h.course.state != 0 && now.Sub(h.heard) > helperSilence:
		h.hangUp(ctx, fmt.Errorf("%w: silent for %v", transport.ErrClosed, helperSilence))
	}
	if !h.answered {
		h.env.Clock.After(tickInterval, ctx.Self(), tick{})
	}
}

// giveUp ends what the helper was to do: what is left is to store the shares
// from here, or to say why not.
func (h *helped) giveUp(ctx actor.Context, err error) {
	err = fmt.Errorf("%w: %w", ErrHelper, err)
	if !h.put.File.OrDirectly || h.answered {
		h.end(ctx, err)
		return
	}
	h.log.Warn("the shares are sent from here", "storage-index", h.put.File.si().String(), "error", err)
	h.failed = err
	h.place(ctx)
}

// place has an ordinary upload look for the shares and store what is missing.
func (h *helped) place(ctx actor.Context) {
	h.hush()
	m := h.put
	m.ReplyTo = ctx.Self()
	h.source.use()
	h.upload = h.env.Spawn.Child(ctx, "upload", newUploadOf(h.env, h.config, h.broker, h.log, m, h.source, h.known))
}

// stored is what the ordinary upload found.
func (h *helped) stored(ctx actor.Context, m Stored) {
	theirs := min(int(h.result.Pushed), m.Found)
	m.Pushed, m.Found = m.Pushed+theirs, m.Found-theirs
	m.LeftOut, m.NotHelped = h.servers.left, h.failed
	h.answered = true
	ctx.Send(h.put.ReplyTo, m)
	ctx.Stop(ctx.Self())
}

// end ends with an error.
func (h *helped) end(ctx actor.Context, err error) {
	if !h.answered {
		h.answered = true
		h.log.Warn("file not stored through the helper", "storage-index", h.put.File.si().String(), "error", err)
		ctx.Send(h.put.ReplyTo, err)
	}
	ctx.Stop(ctx.Self())
}

func (h *helped) cancel(ctx actor.Context) {
	h.answered = true
	if h.upload != nil {
		ctx.Send(h.upload, Cancel{ReplyTo: ctx.Self()})
	}
	ctx.Stop(ctx.Self())
}

func (h *helped) letGo() {
	h.link.close()
	h.link = nil
	h.drop()
}
