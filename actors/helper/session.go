package helper

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// session serves one connection: a client's, for one file.
//
// Owns: the connection.
// On failure: closes the connection; the client comes back by itself and goes on where it was.
type session struct {
	inbound.Talk
	key    ed25519.PrivateKey
	helper *actor.PID

	admitted bool
	asked    int
	job      *actor.PID
}

func newSession(e *env.Env, key ed25519.PrivateKey, helper *actor.PID, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		terms := inbound.Terms{Protocol: transport.Helping, Credit: early, HelloWithin: helloWithin}
		return &session{Talk: inbound.NewTalk(e, a, terms), key: key, helper: helper}
	}
}

// The session's own messages.
type (
	// quiet looks whether the connection is still good for something.
	quiet   struct{ asked int }
	checked struct {
		ask askHelp
		err error
	}
)

// From the helper and the job.
type (
	// following says which job the file has.
	following struct{ job *actor.PID }
	// progress goes to the client: as the answer to a request, or as a notice.
	progress struct {
		request uint64
		state   wire.HelpState
		have    int64
		placed  int64
		result  Result
	}
	refused struct {
		request uint64 // 0 is a notice
		err     error
		over    bool // the job is, for this session
	}
)

// spec is what is asked for.
type spec struct {
	si        grid.StorageIndex
	size      int64
	params    file.Params
	authority lease.Authority
}

// same reports whether two are about the same ciphertext, to be encoded alike.
func (s spec) same(o spec) bool { return s.si == o.si && s.size == o.size && s.params == o.params }

var errChains = errors.New("a certificate is not for this helper and this file")

// Receive implements actor.Actor.
func (s *session) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.lookLater(ctx)
		s.Hear(ctx)
	case inbound.Frame:
		s.frame(ctx, m)
	case quiet:
		if s.job == nil && s.asked == m.asked {
			s.Conn.Close()
			return
		}
		s.lookLater(ctx)
	case checked:
		s.checked(ctx, m)
	case following:
		s.follow(ctx, m.job)
	case progress:
		s.progress(ctx, m)
	case refused:
		s.refused(ctx, m)
	case *actor.Terminated:
		ctx.Send(ctx.Self(), gone{m.Who}) // after the last word that it sent
	case gone:
		if m.who.Equal(s.job) {
			s.Conn.Close() // it ended by a failure: the client asks again
		}
	case *actor.Stopping:
		s.leave(ctx)
		s.Hear(ctx)
	default:
		s.Hear(ctx)
	}
}

func (s *session) lookLater(ctx actor.Context) {
	s.Env.Clock.After(quietTime, ctx.Self(), quiet{s.asked})
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	data, isData := m.Message.(*wire.HelpData)
	switch {
	case !s.InOrder(m):
		m.Release()
		return
	case isData && (!s.admitted || s.job == nil):
		m.Release()
		s.Break("a ciphertext that nobody wants")
		return
	case isData:
		ctx.Send(s.job, part{ctx.Self(), m.ID, int64(data.Offset), m.Frame})
		return
	}
	m.Release()
	switch msg := m.Message.(type) {
	case *wire.Hello:
		s.Answer(ctx, m.ID, &wire.Hello{Version: wire.Version, MaxBody: maxPart, MaxRequests: window})
	case *wire.AskHelp:
		if s.asked++; s.asked > maxRequests {
			s.Break("too many requests")
			return
		}
		s.check(ctx, m.ID, msg)
	default:
		s.Answer(ctx, m.ID, &wire.Error{Code: wire.BadRequest, Text: "not a request for a helper"})
	}
}

// check reads the request outside of Receive. Whether the certificates are good
// for anything, servers say.
func (s *session) check(ctx actor.Context, request uint64, m *wire.AskHelp) {
	account, self, now := lease.OneKeyAccount([lease.SeedSize]byte(s.key.Seed())), ctx.Self(), s.Env.Clock.Now()
	s.Env.Exec.Do(env.CPU, self, func() any {
		spec, err := specOf(m, account, now)
		return checked{askHelp{self, request, m.Job, spec, m.Anew}, err}
	})
}

func specOf(m *wire.AskHelp, account lease.Account, now time.Time) (spec, error) {
	s := spec{si: m.StorageIndex, size: int64(m.Size)}
	s.params = file.Params{Needed: int(m.Needed), Happy: int(m.Happy), Total: int(m.Total), SegmentSize: int64(m.SegmentSize)}
	if err := s.params.Validate(); err != nil {
		return spec{}, err
	}
	layout, err := immutable.NewLayout(s.size, s.params)
	if err != nil {
		return spec{}, err
	}
	us := account.PublicKey(grid.ServerID{})
	for _, encoded := range m.Chains {
		chain, err := lease.DecodeChain(encoded)
		if err != nil {
			return spec{}, err
		}
		if err := checkChain(chain, us, s.si, layout.ShareSize, now); err != nil {
			return spec{}, err
		}
		s.authority.Holdings = append(s.authority.Holdings, lease.Holding{Chain: chain, Account: account})
	}
	return s, nil
}

// checkChain refuses a chain with which a server would refuse the file when all
// of it had come.
func checkChain(c lease.Chain, us grid.PublicKey, si grid.StorageIndex, shareSize int64, now time.Time) error {
	limits, err := c.Effective()
	if err != nil {
		return err
	}
	end, _ := c.End()
	switch {
	case end != us || limits.Server == nil || limits.StorageIndex == nil || *limits.StorageIndex != si:
		return errChains
	case !limits.Operations().Has(lease.OpUpload):
		return fmt.Errorf("%w: it lets nobody upload", errChains)
	case limits.MaxSize != nil && *limits.MaxSize < shareSize:
		return fmt.Errorf("%w: it is for shares of %d bytes at most, and these have %d", errChains, *limits.MaxSize, shareSize)
	case limits.Until != nil && now.Unix() > *limits.Until:
		return fmt.Errorf("%w: it has ended", errChains)
	}
	return nil
}

func (s *session) checked(ctx actor.Context, m checked) {
	if m.err != nil {
		s.Answer(ctx, m.ask.request, wire.NewError(wire.BadRequest, m.err.Error()))
		return
	}
	ctx.Send(s.helper, m.ask)
}

// follow watches the job, so that its failure is not taken for slowness.
func (s *session) follow(ctx actor.Context, job *actor.PID) {
	if job.Equal(s.job) {
		return
	}
	s.leave(ctx)
	s.job = job
	ctx.Watch(job)
}

// leave ends what the session has to do with its job.
func (s *session) leave(ctx actor.Context) {
	if s.job != nil {
		ctx.Unwatch(s.job)
		ctx.Send(s.job, detach{ctx.Self()})
		s.job = nil
	}
}

func (s *session) progress(ctx actor.Context, m progress) {
	if m.state == wire.HelpDone {
		s.leave(ctx)
	}
	if m.state == wire.HelpWants && !s.admitted {
		s.admitted = true
		s.Conn.Admit()
		s.Conv.Conversation.Grant(window - early)
	}
	s.say(ctx, m.request, &wire.Helped{
		State: m.state, Have: uint64(m.have), UEBHash: m.result.UEBHash,
		Pushed: uint(m.result.Pushed), Found: uint(m.result.Found), Placed: uint64(m.placed),
	})
}

func (s *session) refused(ctx actor.Context, m refused) {
	if m.over {
		s.leave(ctx)
	}
	s.say(ctx, m.request, wireError(m.err))
}

// say answers a request; 0 makes it a notice.
func (s *session) say(ctx actor.Context, request uint64, m wire.Message) {
	if request == 0 {
		s.Conv.Conversation.Send(wire.Frame{Message: m})
		return
	}
	s.Answer(ctx, request, m)
}

// wireError is why something was refused, in a code that the client acts on.
func wireError(err error) *wire.Error {
	for _, c := range []struct {
		err  error
		code wire.Code
	}{
		{errOther, wire.BadRequest},
		{errBusy, wire.Busy},
		{errReplaced, wire.BadRequest},
		{errStalled, wire.BadRequest},
		{errFull, wire.ServerFull},
		{errLarge, wire.ServerFull},
		{errShare, wire.ServerFull},
		{errNotAccepted, wire.NotAccepted},
	} {
		if errors.Is(err, c.err) {
			return wire.NewError(c.code, err.Error())
		}
	}
	return wire.NewError(wire.Internal, fmt.Sprint(err))
}
