package clause

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// Rules are the node's own settings.
type Rules struct {
	Connections transport.Connections
	// Anonymous has nothing dialled in the clear but what the user wrote down
	// himself, address and all.
	Anonymous bool
}

// Server is how this node knows one server, and connects to it.
type Server struct {
	// Announcement is the newest, with the user's nickname and addresses where
	// he wrote some.
	Announcement grid.Announcement
	Petname      string // the user's; may be empty
	Connections  transport.Connections
	// Own names the settings of the user's clause that are in force, in the order
	// of the alphabet.
	Own []string
	// Ignored servers are not used.
	Ignored bool
}

// Name is what the user calls the server, or else what it calls itself.
func (s Server) Name() string {
	if s.Petname != "" {
		return s.Petname
	}
	return s.Announcement.Nickname
}

// OwnAddresses reports whether the addresses are the user's.
func (s Server) OwnAddresses() bool { return slices.Contains(s.Own, "addresses") }

// SameRoad reports whether a connection that one of two would make is one that
// the other may keep.
func (s Server) SameRoad(t Server) bool {
	return s.Connections == t.Connections && s.OwnAddresses() == t.OwnAddresses() &&
		(!s.OwnAddresses() || slices.Equal(s.Announcement.Hints, t.Announcement.Hints))
}

// Newest is the announcement that counts: that of the introducers, or one that
// stands in the user's clause. Either may be nil.
func Newest(announced *grid.Announcement, own *Clause) *grid.Announcement {
	if own == nil || own.Announcement == nil || announced != nil && announced.Sequence >= own.Announcement.Sequence {
		return announced
	}
	return own.Announcement
}

// Merge is what comes of a server's newest announcement and the user's clause,
// each nil where there is none. Mistakes are settings of the clause that are not
// in force because of the node's own. It is not ok where nothing says how the
// server could be reached.
func (r Rules) Merge(announced *grid.Announcement, own *Clause) (s Server, mistakes []Mistake, ok bool) {
	s.Connections = r.Connections
	if a := Newest(announced, own); a != nil {
		s.Announcement = *a
	} else if own != nil {
		s.Announcement = unannounced(own.Server)
	}
	if own == nil {
		return s, nil, announced != nil
	}
	m := merging{rules: r, own: own, s: &s}
	m.names()
	m.roads()
	slices.Sort(s.Own)
	return s, m.mistakes, len(s.Announcement.Hints) > 0
}

// Why a server is not connected to, beside the Mistake of its clause.
var (
	ErrIgnored = errors.New("ignored, as private/servers.yaml says")
	ErrNowhere = errors.New("no introducer announces it, and its clause in private/servers.yaml has no addresses")
)

// Of is how a server is to be connected to: the newest announcement of it, nil
// where there is none, and the user's file together. The error is why it is not.
func (r Rules) Of(id grid.ServerID, announced *grid.Announcement, o Overrides) (Server, error) {
	var own *Clause
	if c, ok := o.Clauses[id]; ok {
		own = &c
	}
	s, _, ok := r.Merge(announced, own)
	s.Announcement.Server = id
	held, isHeld := o.Held[id]
	switch {
	case isHeld:
		return s, fmt.Errorf("mistake in private/servers.yaml: %w", held)
	case s.Ignored:
		return s, ErrIgnored
	case !ok:
		return s, ErrNowhere
	}
	return s, nil
}

// unannounced is what a server is taken for that nobody knows but the user.
func unannounced(id grid.ServerID) grid.Announcement {
	return grid.Announcement{
		Server: id, NodeID: id.DefaultNodeID(), PermutationSeed: id[:], CertificateVersions: []uint{lease.CertificateVersion},
	}
}

// merging puts the settings of a clause in force.
type merging struct {
	rules    Rules
	own      *Clause
	s        *Server
	mistakes []Mistake
}

func (m *merging) force(setting string) { m.s.Own = append(m.s.Own, setting) }

func (m *merging) names() {
	if m.own.Ignore {
		m.s.Ignored = true
		m.force("ignore")
	}
	if m.own.Petname != "" {
		m.s.Petname = m.own.Petname
		m.force("petname")
	}
	if m.own.Nickname != "" {
		m.s.Announcement.Nickname = m.own.Nickname
		m.force("nickname")
	}
	if m.own.Addresses != nil {
		m.s.Announcement.Hints = m.own.Addresses
		m.force("addresses")
	}
}

func (m *merging) roads() {
	for _, kind := range transport.Kinds() {
		way, said := m.own.Connections[kind]
		switch {
		case !said:
		case m.rules.Anonymous && way == transport.Direct && m.own.Addresses == nil:
			m.refuse(fmt.Sprintf("%s: direct is not used: under anonymous: true it needs addresses in the same clause", kind))
		default:
			m.s.Connections = m.s.Connections.With(kind, way)
			m.force("connections." + string(kind))
		}
	}
	m.s.Connections.Punch = m.s.Connections.Punch && m.s.Connections.MayPunch()
	switch {
	case m.own.Punch == nil:
	case m.rules.Anonymous && *m.own.Punch:
		m.refuse("punch: true is not used under anonymous: true")
	case *m.own.Punch && !m.s.Connections.MayPunch():
		m.refuse("punch: true is not used: " + transport.NeedsOfPunch)
	default:
		m.s.Connections.Punch = *m.own.Punch
		m.force("punch")
	}
}

func (m *merging) refuse(reason string) {
	m.mistakes = append(m.mistakes, Mistake{m.own.Line, m.own.Server, reason})
}
