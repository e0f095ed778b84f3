package client

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
)

// State is where a connection stands.
type State string

// The states. A server that accepts none of our keys is Connected, for
// reading.
const (
	Idle      State = "idle"
	Dialing   State = "dialing"
	Connected State = "connected"
	LoggedIn  State = "logged-in"
	Backoff   State = "backoff"
)

// Status is a picture of the client branch.
type Status struct {
	Servers     []ServerStatus     // by id
	Unused      []ServerStatus     // that nothing is to do with, and why
	Introducers []IntroducerStatus // in the order of the configuration
	// Mistakes are those of the user's file of servers.
	Mistakes []clause.Mistake
}

// ServerStatus is one server in a Status.
type ServerStatus struct {
	clause.Server
	Known time.Time // when the announcement came, zero for none
	// Sources are the introducers that announce it, by number from 1 on.
	Sources []Source
	// Stale says that none that is connected announces what counts: it is known
	// from before.
	Stale     bool
	State     State
	Since     time.Time
	Address   string
	Path      transport.Path
	Account   grid.PublicKey // zero when not logged in
	Label     grid.PublicKey // whose leases are made there; zero when not logged in
	RoundTrip time.Duration  // 0 when unknown
	Room      uint64         // bytes, as last heard
	Err       error          // why the last attempt failed
	// PID takes a Call.
	PID *actor.PID
}

// Source is an introducer that announced a server, and when it last did.
type Source struct {
	Introducer int
	Heard      time.Time
}

// IntroducerStatus is one introducer in a Status.
type IntroducerStatus struct {
	Target    transport.Target
	Connected bool
	Since     time.Time
	Err       error
}

// serverReport is what a server actor says of itself, after each change.
type serverReport struct {
	server     grid.ServerID
	pid        *actor.PID
	state      State
	generation uint64 // of the connection
	since      time.Time
	address    string
	path       transport.Path
	account    grid.PublicKey // that acts
	label      grid.PublicKey // whose the leases are
	roundTrip  time.Duration
	room       uint64
	err        error
	settled    bool // nothing is being found out right now
}

// introducerReport is what an introduction says of itself.
type introducerReport struct {
	number    int
	target    transport.Target
	connected bool
	session   int // counts connections
	since     time.Time
	err       error
	settled   bool
}

func (b *broker) picture() Status {
	s := Status{Mistakes: b.own.Mistakes}
	for _, id := range sortedServers(b.servers) {
		if e := b.servers[id]; e.unused {
			s.Unused = append(s.Unused, b.serverStatus(e))
		} else {
			s.Servers = append(s.Servers, b.serverStatus(e))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(b.intros)) {
		in := b.intros[n]
		s.Introducers = append(s.Introducers, IntroducerStatus{in.target, in.connected, in.since, in.err})
	}
	return s
}

func (b *broker) serverStatus(e *entry) ServerStatus {
	s := ServerStatus{
		Server: e.Server, Known: e.known, Stale: e.announced != nil,
		State: e.report.state, Since: e.report.since, Address: e.report.address, Path: e.report.path, Account: e.report.account, Label: e.report.label,
		RoundTrip: e.report.roundTrip, Room: e.report.room, Err: b.trouble(e), PID: e.report.pid,
	}
	for _, n := range slices.Sorted(maps.Keys(e.sources)) {
		from, in := e.sources[n], b.intros[n]
		s.Sources = append(s.Sources, Source{n, from.heard})
		s.Stale = s.Stale && !(in.connected && in.session == from.session && from.sequence == e.announced.Sequence)
	}
	return s
}

func sortedServers[V any](m map[grid.ServerID]V) []grid.ServerID {
	return slices.SortedFunc(maps.Keys(m), func(a, b grid.ServerID) int { return slices.Compare(a[:], b[:]) })
}

func itoa(n int) string { return strconv.Itoa(n) }

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
