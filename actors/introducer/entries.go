package introducer

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
)

// entry is an announcement and what decides how long it is kept. Anybody may
// publish, so when there are too many the one goes that was not published for
// longest; first among those whose servers are not connected.
type entry struct {
	known
	source   string // network address that it came from, "" when it was only read from the file
	turn     uint64 // of its publication
	sessions int    // over which it was published, and nothing else since
}

// put keeps an announcement, in the place of another one if all places are
// taken, or all that one source may have; false if no other can go.
func (i *Introducer) put(k known, source string) bool {
	at, ok := i.index[k.server]
	if !ok {
		if at, ok = i.place(source); !ok {
			return false
		}
	}
	i.turn++
	i.index[k.server] = at
	e := entry{known: k, source: source, turn: i.turn}
	if was := i.list[at]; was.server == k.server && was.sessions > 0 {
		// Anybody can repeat what a server published; it stays that one's.
		e.source, e.sessions = was.source, was.sessions
	}
	i.list[at] = e
	return true
}

// place is where a new server's announcement goes.
func (i *Introducer) place(source string) (at int, ok bool) {
	from := 0
	for _, e := range i.list {
		if e.source == source {
			from++
		}
	}
	switch {
	case source != "" && from >= maxFromSource:
		return i.evict(func(e entry) bool { return e.source == source })
	case len(i.list) >= maxServers:
		return i.evict(func(entry) bool { return true })
	}
	i.list = append(i.list, entry{})
	return len(i.list) - 1, true
}

// evict forgets a server. One that is connected stays: it would not know, and
// not publish again.
func (i *Introducer) evict(among func(entry) bool) (at int, ok bool) {
	at = -1
	for n, e := range i.list {
		if among(e) && e.sessions == 0 && (at < 0 || e.turn < i.list[at].turn) {
			at = n
		}
	}
	if at < 0 {
		return 0, false
	}
	delete(i.index, i.list[at].server)
	return at, true
}

// attend notes which server is connected over a session: a server publishes
// itself and nobody else.
func (i *Introducer) attend(session *actor.PID, server grid.ServerID) {
	i.depart(session)
	i.publishers[session.Id] = server
	i.list[i.index[server]].sessions++
}

// depart notes that a server is not connected any more.
func (i *Introducer) depart(session *actor.PID) {
	server, ok := i.publishers[session.Id]
	if !ok {
		return
	}
	delete(i.publishers, session.Id)
	if at, ok := i.index[server]; ok {
		i.list[at].sessions--
	}
}
