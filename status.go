package tarn

import (
	"context"
	"errors"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Status is a picture of the node as it is now.
func (n *Node) Status(ctx context.Context) (Status, error) {
	ctx, cancel := n.until(ctx)
	defer cancel()
	s := Status{Nickname: n.config.Nickname, Version: version(), Started: n.started}
	if n.config.Control != nil {
		s.Control = grid.PublicKeyOf(n.config.Control)
	}
	for _, fill := range []func(context.Context, *Status) error{n.clientStatus, n.onionStatus, n.storageStatus, n.introducerStatus, n.relayStatus, n.managerStatus, n.helperStatus, n.renewerStatus, n.repairerStatus} {
		if err := fill(ctx, &s); err != nil {
			return Status{}, n.cause(err)
		}
	}
	return s, nil
}

func (n *Node) clientStatus(ctx context.Context, s *Status) error {
	if n.config.Client == nil {
		return nil
	}
	c, err := n.clientPicture(ctx, client.AskStatus{})
	if err != nil {
		return err
	}
	for _, srv := range c.Servers {
		s.Servers = append(s.Servers, n.serverStatus(srv))
	}
	for _, in := range c.Introducers {
		s.Introducers = append(s.Introducers, IntroducerStatus{
			Ref: IntroducerRef{in.Target.Server, in.Target.Hints}, Connected: in.Connected, Since: in.Since, LastError: errorText(in.Err),
		})
	}
	s.Mistakes = mistakesOf(c.Mistakes)
	if s.Lent, err = n.lentStatus(ctx); err != nil {
		return err
	}
	s.Leases, err = n.leaseStatus()
	return err
}

// lentStatus is what is connected under authorities that came with requests.
// Servers where one is of no use, and nothing is connected, are left out.
func (n *Node) lentStatus(ctx context.Context) ([]ServerStatus, error) {
	all, err := env.Ask[client.Lent](ctx, n.system, n.root, func(to *env.PID) any {
		return actors.ToClient{Message: client.AskLent{ReplyTo: to}}
	}, nil)
	if err != nil {
		return nil, err
	}
	var list []ServerStatus
	for _, l := range all {
		picture, err := env.Ask[client.Status](ctx, n.system, l.PID, func(to *env.PID) any { return client.AskStatus{ReplyTo: to} }, nil)
		if errors.Is(err, env.ErrGone) {
			continue // let go meanwhile
		}
		if err != nil {
			return nil, err
		}
		for _, s := range picture.Servers {
			if s.State != client.Idle {
				list = append(list, lentServerStatus(l.Authority, s))
			}
		}
	}
	return list, nil
}

// lentServerStatus has the key that is used at the server, or would be.
func lentServerStatus(a lease.Authority, s client.ServerStatus) ServerStatus {
	out := serverStatus(s)
	if keys := a.For(out.Server); out.Account.IsZero() && len(keys) > 0 {
		out.Account = grid.PublicKeyOf(keys[0].Key)
	}
	return out
}

func (n *Node) leaseStatus() (*LeaseStatus, error) {
	files, err := n.journal.Files()
	if err != nil {
		return nil, err
	}
	s := &LeaseStatus{Files: files}
	servers, err := n.journal.Servers()
	for _, at := range servers {
		s.Leases += at.Leases
		s.Lapsed += at.Lapsed
	}
	return s, err
}

func (n *Node) clientPicture(ctx context.Context, question client.AskStatus) (client.Status, error) {
	return env.Ask[client.Status](ctx, n.system, n.root, func(replyTo *env.PID) any {
		question.ReplyTo = replyTo
		return actors.ToClient{Message: question}
	}, nil)
}

func (n *Node) serverStatus(s client.ServerStatus) ServerStatus {
	out := serverStatus(s)
	if out.Account.IsZero() {
		out.Account = n.AccountKey(out.Server)
	}
	return out
}

func serverStatus(s client.ServerStatus) ServerStatus {
	return ServerStatus{
		Server: s.Announcement.Server, Nickname: s.Announcement.Nickname, Petname: s.Petname, Stale: s.Stale, State: string(s.State), Since: s.Since,
		Address: s.Address, Path: string(s.Path), Account: s.Account, LoggedIn: s.State == client.LoggedIn, RoundTrip: s.RoundTrip,
		LastError: errorText(s.Err), Known: s.Known, Room: int64(min(s.Room, 1<<62)),
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (n *Node) storageStatus(ctx context.Context, s *Status) error {
	if n.config.Storage == nil {
		return nil
	}
	st, err := ask[server.Status](ctx, n, actors.ToStorage{Message: server.AskStatus{}})
	if err != nil {
		return err
	}
	s.Storage = &StorageStatus{
		Server: st.Server, Hints: st.Hints, Sessions: st.Sessions,
		Free: st.Free, Reserved: st.Reserved, Accounts: st.Accounts,
	}
	return nil
}

func (n *Node) introducerStatus(ctx context.Context, s *Status) error {
	if n.config.Introducer == nil {
		return nil
	}
	st, err := ask[introducer.Status](ctx, n, actors.ToIntroducer{Message: introducer.AskStatus{}})
	if err != nil {
		return err
	}
	ref := IntroducerRef{Server: grid.ServerID(grid.PublicKeyOf(n.config.Introducer.Key)), Hints: st.Hints}
	if len(n.config.Introducer.Announce) > 0 {
		ref.Hints = n.config.Introducer.Announce
	}
	s.Introducer = &ref
	return nil
}

func (n *Node) managerStatus(ctx context.Context, s *Status) error {
	if n.config.Manager == nil {
		return nil
	}
	st, err := ask[manager.Status](ctx, n, actors.ToManager{Message: manager.AskStatus{}})
	if err != nil {
		return err
	}
	s.Manager = &ManagerStatus{
		Key: grid.PublicKeyOf(n.config.Manager.Key), Hints: n.config.Manager.hints(st.Hints),
		Members: st.Members, Sessions: st.Sessions,
	}
	return nil
}

// AccountKey is this node's own account at a server: what its operator adds.
func (n *Node) AccountKey(id grid.ServerID) grid.PublicKey {
	if n.config.Client == nil {
		return grid.PublicKey{}
	}
	return n.config.Client.Account.PublicKey(id)
}

// Metrics are the node's counters for Prometheus.
func (n *Node) Metrics() prometheus.Gatherer { return n.metrics }

// isInUse reports whether an address is taken.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
