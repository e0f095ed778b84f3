package helper

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"

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
	env    *env.Env
	log    *slog.Logger
	key    ed25519.PrivateKey
	helper *actor.PID
	conn   transport.Session
	conv   *inbound.Opened

	greeted, admitted bool
	asked             int
	job               *actor.PID
}

func newSession(e *env.Env, key ed25519.PrivateKey, helper *actor.PID, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		return &session{env: e, log: e.Log.With("session", a.Number), key: key, helper: helper, conn: a.Session}
	}
}

// The session's own messages.
type (
	silence struct{}
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
		result  Result
		part    bool // answers one, so that another may come
	}
	refused struct {
		request uint64 // 0 is a notice
		err     error
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
		s.env.Clock.After(helloWithin, ctx.Self(), silence{})
	case *inbound.Opened:
		s.opened(ctx, m)
	case inbound.Frame:
		s.frame(ctx, m)
	case inbound.Ended:
		if m.Of == s.conv {
			s.conn.Close()
		}
	case inbound.Closed:
		ctx.Stop(ctx.Self())
	case silence:
		if s.asked == 0 {
			s.conn.Close()
		}
	case checked:
		s.checked(ctx, m)
	case following:
		s.follow(ctx, m.job)
	case progress:
		s.progress(m)
	case refused:
		s.send(m.request, wireError(m.err))
	case *actor.Terminated:
		s.conn.Close() // the job ended by a failure: the client asks again
	case *actor.Restarting:
		s.conn.Close()
		ctx.Stop(ctx.Self()) // a fresh self would not know the conversation
	case *actor.Stopping:
		s.conn.Close()
		if s.job != nil {
			ctx.Unwatch(s.job)
			ctx.Send(s.job, detach{ctx.Self()})
		}
	}
}

// opened takes the one conversation that a session needs.
func (s *session) opened(ctx actor.Context, o *inbound.Opened) {
	if s.conv != nil || o.Protocol != transport.Helping {
		o.Conversation.Close(transport.ErrRefused)
		return
	}
	s.conv = o
	o.Take(ctx.Self(), early)
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	data, isData := m.Message.(*wire.HelpData)
	_, hello := m.Message.(*wire.Hello)
	if m.Of != s.conv || m.Answer || m.ID == 0 || hello == s.greeted || isData && !s.admitted || s.asked > maxRequests {
		m.Release()
		s.log.Debug("connection closed", "error", "out of order", "address", s.conn.Address())
		s.conn.Close()
		return
	}
	if isData {
		ctx.Send(s.job, part{ctx.Self(), m.ID, int64(data.Offset), m.Frame})
		return
	}
	m.Release()
	s.conv.Conversation.Grant(1)
	switch msg := m.Message.(type) {
	case *wire.Hello:
		s.greeted = true
		s.send(m.ID, &wire.Hello{Version: wire.Version, MaxBody: maxPart, MaxRequests: window})
	case *wire.AskHelp:
		s.asked++
		s.check(ctx, m.ID, msg)
	default:
		s.send(m.ID, &wire.Error{Code: wire.BadRequest, Text: "not a request for a helper"})
	}
}

// check reads the request outside of Receive. Whether the certificates are good
// for anything, servers say.
func (s *session) check(ctx actor.Context, request uint64, m *wire.AskHelp) {
	account, self := lease.OneKeyAccount([lease.SeedSize]byte(s.key.Seed())), ctx.Self()
	s.env.Exec.Do(env.CPU, self, func() any {
		spec, err := specOf(m, account)
		return checked{askHelp{self, request, m.Job, spec, m.Anew}, err}
	})
}

func specOf(m *wire.AskHelp, account lease.Account) (spec, error) {
	s := spec{si: m.StorageIndex, size: int64(m.Size)}
	s.params = file.Params{Needed: int(m.Needed), Happy: int(m.Happy), Total: int(m.Total), SegmentSize: int64(m.SegmentSize)}
	if err := s.params.Validate(); err != nil {
		return spec{}, err
	}
	if _, err := immutable.NewLayout(s.size, s.params); err != nil {
		return spec{}, err
	}
	us := account.PublicKey(grid.ServerID{})
	for _, encoded := range m.Chains {
		chain, err := lease.DecodeChain(encoded)
		if err != nil {
			return spec{}, err
		}
		limits, err := chain.Effective()
		if err != nil {
			return spec{}, err
		}
		end, _ := chain.End()
		if end != us || limits.Server == nil || limits.StorageIndex == nil || *limits.StorageIndex != s.si {
			return spec{}, errChains
		}
		s.authority.Holdings = append(s.authority.Holdings, lease.Holding{Chain: chain, Account: account})
	}
	return s, nil
}

func (s *session) checked(ctx actor.Context, m checked) {
	if m.err != nil {
		s.send(m.ask.request, wire.NewError(wire.BadRequest, m.err.Error()))
		return
	}
	ctx.Send(s.helper, m.ask)
}

// follow watches the job, so that its failure is not taken for slowness.
func (s *session) follow(ctx actor.Context, job *actor.PID) {
	if s.job != nil {
		ctx.Unwatch(s.job)
	}
	s.job = job
	ctx.Watch(job)
}

func (s *session) progress(m progress) {
	if m.state == wire.HelpWants && !s.admitted {
		s.admitted = true
		s.conn.Admit()
		s.conv.Conversation.Grant(window)
	}
	if m.part {
		s.conv.Conversation.Grant(1)
	}
	s.send(m.request, &wire.Helped{
		State: m.state, Have: uint64(m.have), UEBHash: m.result.UEBHash,
		Pushed: uint(m.result.Pushed), Found: uint(m.result.Found),
	})
}

// send answers a request; 0 makes it a notice.
func (s *session) send(request uint64, m wire.Message) {
	s.conv.Conversation.Send(wire.Frame{ID: request, Answer: request != 0, Message: m})
}

// wireError is why something was refused, in a code that the client acts on.
func wireError(err error) *wire.Error {
	for _, c := range []struct {
		err  error
		code wire.Code
	}{
		{errOther, wire.BadRequest},
		{errBusy, wire.Busy},
		{errFull, wire.ServerFull},
		{errNotAccepted, wire.NotAccepted},
	} {
		if errors.Is(err, c.err) {
			return wire.NewError(c.code, err.Error())
		}
	}
	return wire.NewError(wire.Internal, fmt.Sprint(err))
}
