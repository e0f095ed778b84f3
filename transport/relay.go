package transport

import (
	"cmp"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// RelayLimits bound what a relay does for others. The zero value of each
// field means its default.
type RelayLimits struct {
	// Reservations is how many servers have a slot at a time, and
	// ReservationsPerAddress how many of them may come from one network address
	// (IPv6: one /64). Default 128 and 8.
	Reservations, ReservationsPerAddress int
	// Circuits is how many connections are relayed at a time, CircuitsPerServer
	// how many of them to one server, CircuitsPerAddress how many from one network
	// address. Default 256, 128 and 64.
	Circuits, CircuitsPerServer, CircuitsPerAddress int
	// Time is how long a reservation lasts unless it is renewed, and in which Data
	// bytes may pass to and from one server, both ways together. What goes beyond
	// ends its circuits, and there are none until the time is over. Default one
	// hour and 16 GB.
	Time time.Duration
	Data int64
	// CircuitTime is after how long a circuit ends in any case. Default 24 h.
	CircuitTime time.Duration
}

// WithDefaults is l with every default in its place.
func (l RelayLimits) WithDefaults() RelayLimits {
	l.Reservations = cmp.Or(l.Reservations, 128)
	l.ReservationsPerAddress = cmp.Or(l.ReservationsPerAddress, 8)
	l.Circuits = cmp.Or(l.Circuits, 256)
	l.CircuitsPerServer = cmp.Or(l.CircuitsPerServer, 128)
	l.CircuitsPerAddress = cmp.Or(l.CircuitsPerAddress, 64)
	l.Time = cmp.Or(l.Time, time.Hour)
	l.Data = cmp.Or(l.Data, 16e9)
	l.CircuitTime = cmp.Or(l.CircuitTime, 24*time.Hour)
	return l
}

// RelayService passes on connections to servers that nobody can dial. It sees
// who talks to which server, when and how much, and nothing of what they say.
type RelayService interface {
	// Hints are the addresses to announce.
	Hints() []grid.Hint
	// Status is what it does now.
	Status() RelayStatus
	// Close ends the relay and every circuit.
	Close() error
}

// RelayStatus is a picture of a relay.
type RelayStatus struct {
	Slots    []RelaySlot    // by server
	Circuits []RelayCircuit // oldest first
	// Bytes were relayed since the relay began, both ways together; Refused is
	// how many reservations and circuits were not granted.
	Bytes, Refused uint64
}

// RelaySlot is a server's reservation.
type RelaySlot struct {
	Server   grid.ServerID
	Until    time.Time // it ends then unless it is renewed
	Bytes    uint64    // relayed of those that it may have
	Circuits int
}

// RelayCircuit is a connection that is relayed.
type RelayCircuit struct {
	Server grid.ServerID
	Since  time.Time
	// ToServer and FromServer are bytes.
	ToServer, FromServer uint64
}
