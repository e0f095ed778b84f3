package tarn

import (
	"context"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Servers is what a client knows of servers, and from whom.
type Servers struct {
	Servers []KnownServer // by id
	// File is where the node's owner says how servers are to be reached; it need
	// not exist. Mistakes are what is wrong with it.
	File     string
	Mistakes []OverrideMistake
}

// OverrideMistake is what is wrong with private/servers.yaml: it costs the clause
// that it is in.
type OverrideMistake struct {
	Line   int           // from 1 on; 0 is the whole file
	Server grid.ServerID // whose clause it is; zero if that can't be told
	Reason string
}

// KnownServer is one server, and how this node connects to it.
type KnownServer struct {
	// ServerStatus has no state where the node does not run. LastError is also
	// why the server is not connected to.
	ServerStatus
	// Addresses are those that count; Connections say which of them may be
	// dialled, and how.
	Addresses   []grid.Hint
	Connections Connections
	// Introducers are those that announce it.
	Introducers []AnnouncedBy
	// Own names what the owner's file decides: addresses, connections.tcp,
	// ignore, nickname, petname, punch.
	Own []string
	// Ignored servers are not connected to.
	Ignored bool

	announcement grid.Announcement
}

// AnnouncedBy is an introducer that announces a server.
type AnnouncedBy struct {
	Number     int // in the node's settings, from 1 on; then those of memberships
	Introducer grid.ServerID
	Heard      time.Time // when it was last sure
}

// Servers lists what this node's client knows of servers, and from whom.
func (n *Node) Servers(ctx context.Context) (Servers, error) {
	if n.config.Client == nil {
		return Servers{}, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	picture, err := n.clientPicture(ctx, client.AskStatus{})
	if err != nil {
		return Servers{}, n.cause(err)
	}
	all := Servers{File: n.folder.overrides().path, Mistakes: mistakesOf(picture.Mistakes)}
	for _, s := range append(picture.Servers, picture.Unused...) {
		k := knownServer(n.serverStatus(s), s.Server)
		for _, from := range s.Sources {
			k.Introducers = append(k.Introducers, AnnouncedBy{from.Introducer, picture.Introducers[from.Introducer-1].Target.Server, from.Heard})
		}
		all.Servers = append(all.Servers, k)
	}
	all.sort()
	return all, nil
}

func knownServer(status ServerStatus, s clause.Server) KnownServer {
	return KnownServer{
		ServerStatus: status, Addresses: s.Announcement.Hints, Connections: s.Connections, Own: s.Own, Ignored: s.Ignored,
		announcement: s.Announcement,
	}
}

func mistakesOf(mistakes []clause.Mistake) []OverrideMistake {
	out := make([]OverrideMistake, len(mistakes))
	for i, m := range mistakes {
		out[i] = OverrideMistake(m)
	}
	return out
}

func (s *Servers) sort() {
	slices.SortFunc(s.Servers, func(a, b KnownServer) int { return slices.Compare(a.Server[:], b.Server[:]) })
}

// ReadServers lists what the client of a node that does not run would know when
// it starts. Errors: ErrNoClient.
func ReadServers(c Config) (Servers, error) {
	if c.Client == nil {
		return Servers{}, ErrNoClient
	}
	return nodeFolder{c.Dir}.known(c)
}

// overrides is the owner's file of servers.
func (f nodeFolder) overrides() overrideFile { return overrideFile{f.private("servers.yaml")} }

// known puts together caches and the owner's file.
func (f nodeFolder) known(c Config) (Servers, error) {
	content, err := f.overrides().Load()
	if err != nil {
		return Servers{}, err
	}
	introducers, err := f.allIntroducers(c)
	if err != nil {
		return Servers{}, err
	}
	m := merger{rules: c.rules(), own: clause.Overrides{}.Then(content).Under(c.rules()), entries: map[grid.ServerID]*mergeEntry{}}
	for i, ref := range introducers {
		list, _ := f.announcements(c, ref).Load() // they are only caches
		for _, one := range list {
			m.cached(one, AnnouncedBy{i + 1, ref.Server, one.Heard})
		}
	}
	return m.servers(f.overrides().path), nil
}

// allIntroducers are those of the settings, then those that memberships brought.
func (f nodeFolder) allIntroducers(c Config) ([]IntroducerRef, error) {
	all := slices.Clone(c.Introducers)
	memberships, err := f.memberships()
	for _, m := range memberships {
		all = append(all, unknownOf(m.Introducers, all)...)
	}
	return all, err
}

// unknownOf are those that are not among others.
func unknownOf(refs, others []IntroducerRef) []IntroducerRef {
	return slices.DeleteFunc(slices.Clone(refs), func(ref IntroducerRef) bool {
		return slices.ContainsFunc(others, func(known IntroducerRef) bool { return known.Server == ref.Server })
	})
}

// merger does for a node that does not run what its broker does when it runs.
type merger struct {
	rules   clause.Rules
	own     clause.Overrides
	entries map[grid.ServerID]*mergeEntry
}

type mergeEntry struct {
	newest *grid.Announcement
	from   []AnnouncedBy
}

func (m *merger) cached(c client.Cached, by AnnouncedBy) {
	a, err := wire.OpenAnnouncement(c.Signed)
	if err != nil {
		return
	}
	e := m.entry(a.Server)
	e.from = append(e.from, by)
	if e.newest == nil || e.newest.Sequence < a.Sequence {
		e.newest = &a
	}
}

func (m *merger) entry(id grid.ServerID) *mergeEntry {
	if m.entries[id] == nil {
		m.entries[id] = &mergeEntry{}
	}
	return m.entries[id]
}

func (m *merger) servers(file string) Servers {
	all := Servers{File: file, Mistakes: mistakesOf(m.own.Mistakes)}
	for id := range m.own.Clauses {
		m.entry(id)
	}
	for id := range m.own.Held {
		m.entry(id)
	}
	for id, e := range m.entries {
		s, err := m.rules.Of(id, e.newest, m.own)
		k := knownServer(ServerStatus{Server: id, Nickname: s.Announcement.Nickname, Petname: s.Petname, Stale: e.newest != nil, LastError: errorText(err)}, s)
		k.Introducers = e.from
		all.Servers = append(all.Servers, k)
	}
	all.sort()
	return all
}
