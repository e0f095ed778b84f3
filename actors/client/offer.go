package client

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// offeredReader is a share reader: whose it is and which share it reads.
type offeredReader struct {
	owner *actor.PID
	num   grid.ShareNum
}

// pull is a server's reading of an offered share.
type pull struct {
	conv   transport.Conversation
	secret wire.Secret
	offeredReader
}

// To a server actor, from an upload.
type (
	// offerReader makes a share readable for whoever names the secret on this
	// server's connection, now and after a reconnect.
	offerReader struct {
		secret wire.Secret
		offeredReader
	}
	withdrawReader struct{ secret wire.Secret }
	// subscribe asks for the present linkState and all later ones.
	subscribe struct{ pid *actor.PID }
)

// From a server actor, to an upload.
type (
	// linkState says whether the server is logged in to. Generations tell
	// connections apart.
	linkState struct {
		server     grid.ServerID
		up         bool
		generation uint64
	}
	// readerAsked is a request of a server that pulls a share.
	readerAsked struct {
		server grid.ServerID
		num    grid.ShareNum
		conv   transport.Conversation
		id     uint64
		read   wire.ReadOffer
	}
	// shareStored is the server's notice that a pull has ended.
	shareStored struct {
		server grid.ServerID
		notice wire.Stored
	}
)

// pullFrame finds whose share a server reads and passes the request on.
func (s *server) pullFrame(ctx actor.Context, e pullFrame) {
	e.frame.Release()
	i := slices.IndexFunc(s.pulls, func(p pull) bool { return p.conv == e.conv })
	switch m := e.frame.Message.(type) {
	case *wire.OpenOffer:
		r, ok := s.offers[m.Secret]
		if !ok || i >= 0 {
			e.conv.Close(transport.ErrRefused)
			return
		}
		s.endPulls(m.Secret) // the server begins anew
		s.pulls = append(s.pulls, pull{e.conv, m.Secret, r})
		e.conv.Grant(1)
	case *wire.ReadOffer:
		if i < 0 {
			e.conv.Close(transport.ErrProtocol)
			return
		}
		r := s.pulls[i].offeredReader
		ctx.Send(r.owner, readerAsked{s.known.Announcement.Server, r.num, e.conv, e.frame.ID, *m})
	default:
		e.conv.Close(transport.ErrProtocol)
	}
}

// withdraw makes an offer unreadable and ends the reading of it.
func (s *server) withdraw(secret wire.Secret) {
	delete(s.offers, secret)
	s.endPulls(secret)
}

// endPulls ends the reading of one offer: there is one conversation for each.
func (s *server) endPulls(secret wire.Secret) {
	s.pulls = slices.DeleteFunc(s.pulls, func(p pull) bool {
		if p.secret != secret {
			return false
		}
		p.conv.Close(transport.ErrRefused)
		return true
	})
}

// pullEnded forgets a conversation that the server closed.
func (s *server) pullEnded(conv transport.Conversation) {
	s.pulls = slices.DeleteFunc(s.pulls, func(p pull) bool { return p.conv == conv })
}

// notice is what a server says unasked.
func (s *server) notice(ctx actor.Context, f wire.Frame) {
	f.Release()
	m, ok := f.Message.(*wire.Stored)
	if !ok {
		s.lost(ctx, transport.ErrProtocol)
		return
	}
	for _, name := range sortedNames(s.subs) {
		ctx.Send(s.subs[name], shareStored{s.known.Announcement.Server, *m})
	}
}

func (s *server) subscribe(ctx actor.Context, m subscribe) {
	if s.subs[m.pid.Id] == nil {
		s.subs[m.pid.Id] = m.pid
		ctx.Watch(m.pid)
	}
	ctx.Send(m.pid, s.linkState())
}

// unsubscribe forgets an upload that has ended, and what it offered.
func (s *server) unsubscribe(who *actor.PID) {
	delete(s.subs, who.Id)
	secrets := slices.SortedFunc(maps.Keys(s.offers), func(a, b wire.Secret) int { return slices.Compare(a[:], b[:]) })
	for _, secret := range secrets {
		if s.offers[secret].owner.Equal(who) {
			s.withdraw(secret)
		}
	}
}

func (s *server) linkState() linkState {
	return linkState{s.known.Announcement.Server, s.report.state == LoggedIn, s.generation}
}

func (s *server) tellSubscribers(ctx actor.Context) {
	for _, name := range sortedNames(s.subs) {
		ctx.Send(s.subs[name], s.linkState())
	}
}
