package client

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
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
	Introducers []IntroducerStatus // in the order of the configuration
}

// ServerStatus is one server in a Status.
type ServerStatus struct {
	Announcement grid.Announcement
	Known        time.Time // when that arrived
	State        State
	Since        time.Time
	Address      string
	Path         transport.Path
	Account      grid.PublicKey // zero when not logged in
	Label        grid.PublicKey // whose leases are made there; zero when not logged in
	RoundTrip    time.Duration  // 0 when unknown
	Room         uint64         // bytes, as last heard
	Err          error          // why the last attempt failed
	// PID takes a Call.
	PID *actor.PID
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
	since     time.Time
	err       error
	settled   bool
}

func (b *broker) picture() Status {
	var s Status
	for _, id := range sortedServers(b.servers) {
		e := b.servers[id]
		s.Servers = append(s.Servers, ServerStatus{
			Announcement: e.announcement, Known: e.known,
			State: e.report.state, Since: e.report.since, Address: e.report.address, Path: e.report.path, Account: e.report.account, Label: e.report.label,
			RoundTrip: e.report.roundTrip, Room: e.report.room, Err: b.trouble(e), PID: e.report.pid,
		})
	}
	for _, n := range slices.Sorted(maps.Keys(b.intros)) {
		in := b.intros[n]
		s.Introducers = append(s.Introducers, IntroducerStatus{in.target, in.connected, in.since, in.err})
	}
	return s
}

func sortedServers[V any](m map[grid.ServerID]V) []grid.ServerID {
	return slices.SortedFunc(maps.Keys(m), func(a, b grid.ServerID) int { return slices.Compare(a[:], b[:]) })
}

func itoa(n int) string { return strconv.Itoa(n) }

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
